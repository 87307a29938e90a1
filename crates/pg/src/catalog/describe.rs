//! Functions that say what an object is made of: definitions, comments, sizes, types.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int32Type};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility};

use super::constraints::definition;
use super::functions::{Body, Shared, argument, array, function, oids, texts};
use super::model::{Relation, Relations};
use super::named::{class_oid, find, quoted};

/// All of them.
pub(super) fn all(shared: &Arc<Shared>) -> Vec<ScalarUDF> {
    let text = |name, of: fn(&Shared, u32) -> Option<String>| by_number(name, shared, of);
    let size = |name, of: fn(&[Relation], u32) -> i64| sized(name, shared, of);
    let own = |all: &[Relation], oid: u32| {
        all.iter().find(|one| one.oid == oid).map_or(0, |one| one.bytes)
    };
    let indexes = |all: &[Relation], oid: u32| {
        let on = all.iter().filter(|one| one.index.as_ref().is_some_and(|index| index.on == oid));
        on.map(|one| one.bytes).sum::<i64>()
    };
    vec![
        viewdef(shared),
        indexdef(shared),
        text("pg_get_constraintdef", definition),
        text("pg_get_ruledef", rule),
        text("pg_get_function_result", |shared, oid| shared.known.result_of(oid)),
        text("pg_get_function_arguments", |shared, oid| shared.known.arguments_of(oid, true)),
        text("pg_get_function_identity_arguments", |shared, oid| {
            shared.known.arguments_of(oid, false)
        }),
        expression(),
        format_type(shared),
        type_list(shared),
        comment("obj_description", shared),
        comment("shobj_description", shared),
        column_comment(shared),
        size("pg_table_size", own),
        size("pg_relation_size", own),
        size("pg_indexes_size", indexes),
        size("pg_total_relation_size", |all, oid| {
            let index = |one: &&Relation| one.index.as_ref().is_some_and(|index| index.on == oid);
            let own = all.iter().find(|one| one.oid == oid).map_or(0, |one| one.bytes);
            own + all.iter().filter(index).map(|one| one.bytes).sum::<i64>()
        }),
        size("pg_database_size", |all, _| all.iter().map(|one| one.bytes).sum()),
    ]
}

/// A text that belongs to a number.
fn by_number(
    name: &str,
    shared: &Arc<Shared>,
    of: fn(&Shared, u32) -> Option<String>,
) -> ScalarUDF {
    let shared = Arc::clone(shared);
    let body: Body = Arc::new(move |args, rows| {
        let found = oids(args, rows)?.into_iter().map(|oid| of(&shared, oid?));
        array(found.collect::<StringArray>())
    });
    function(name, Volatility::Stable, DataType::Utf8, body)
}

/// A number of bytes that belongs to a relation, which may be named.
fn sized(name: &str, shared: &Arc<Shared>, of: fn(&[Relation], u32) -> i64) -> ScalarUDF {
    let shared = Arc::clone(shared);
    let body: Body = Arc::new(move |args, rows| {
        let relations = shared.relations();
        let found = numbers_or_names(args, rows, &relations)?;
        let sizes = found.into_iter().map(|oid| Some(of(&relations, oid?)));
        array(sizes.collect::<Int64Array>())
    });
    function(name, Volatility::Stable, DataType::Int64, body)
}

/// The relations of an argument, by number or by name.
fn numbers_or_names(
    args: &[ColumnarValue],
    rows: usize,
    relations: &[Relation],
) -> DfResult<Vec<Option<u32>>> {
    if args.first().is_some_and(|value| value.data_type().is_integer()) {
        return oids(args, rows);
    }
    let names = texts(args, 0, rows)?;
    let number = |name: Option<&str>| match name?.parse() {
        Ok(number) => Some(number),
        Err(_) => find(relations, name?).map(|relation| relation.oid),
    };
    Ok(names.iter().map(number).collect())
}

fn viewdef(shared: &Arc<Shared>) -> ScalarUDF {
    let shared = Arc::clone(shared);
    let body: Body = Arc::new(move |args, rows| {
        let relations = shared.relations();
        let definition = |oid: u32| {
            let view = relations.iter().find(|one| one.oid == oid && one.index.is_none())?;
            Some(statement(view.definition.as_deref()?))
        };
        let found = numbers_or_names(args, rows, &relations)?;
        array(found.into_iter().map(|oid| definition(oid?)).collect::<StringArray>())
    });
    function("pg_get_viewdef", Volatility::Stable, DataType::Utf8, body)
}

/// A query as PostgreSQL shows that of a view: set off, with a semicolon.
fn statement(query: &str) -> String {
    format!(" {};", query.trim().trim_end_matches(';').trim_end())
}

/// `pg_get_indexdef(index [, column, pretty])`
fn indexdef(shared: &Arc<Shared>) -> ScalarUDF {
    let shared = Arc::clone(shared);
    let body: Body = Arc::new(move |args, rows| {
        let relations = shared.relations();
        let columns = match args.len() {
            0 | 1 => None,
            _ => Some(argument(args, 1, rows, &DataType::Int32)?),
        };
        let numbers = oids(args, rows)?;
        let row = |(row, oid): (usize, Option<u32>)| {
            let index = relations.iter().find(|one| Some(one.oid) == oid)?;
            index.index.as_ref()?;
            let column = columns.as_ref().map(|all| all.as_primitive::<Int32Type>().value(row));
            match column.filter(|column| *column > 0) {
                None => index.definition.clone(),
                Some(column) => {
                    let at = usize::try_from(column - 1).ok()?;
                    Some(quoted(index.columns.fields().get(at)?.name()))
                }
            }
        };
        array(numbers.into_iter().enumerate().map(row).collect::<StringArray>())
    });
    function("pg_get_indexdef", Volatility::Stable, DataType::Utf8, body)
}

/// The rule that stands for a view's query.
fn rule(shared: &Shared, oid: u32) -> Option<String> {
    let relations = shared.relations();
    let view = relations.iter().find(|one| one.oid + super::live::RULES == oid)?;
    let query = statement(view.definition.as_deref()?);
    let name = quoted(&view.name);
    Some(format!("CREATE RULE \"_RETURN\" AS\n    ON SELECT TO {name} DO INSTEAD {query}"))
}

/// `pg_get_expr(expression, relation [, pretty])`: expressions are kept as text.
fn expression() -> ScalarUDF {
    let body: Body = Arc::new(|args, rows| array(texts(args, 0, rows)?));
    function("pg_get_expr", Volatility::Stable, DataType::Utf8, body)
}

/// `format_type(type, modifier)`
fn format_type(shared: &Arc<Shared>) -> ScalarUDF {
    let shared = Arc::clone(shared);
    let body: Body = Arc::new(move |args, rows| {
        let modifiers = argument(args, 1, rows, &DataType::Int32)?;
        let modifiers = modifiers.as_primitive::<Int32Type>();
        let shown = oids(args, rows)?.into_iter().enumerate().map(|(row, oid)| {
            let modifier = (!modifiers.is_null(row)).then(|| modifiers.value(row));
            Some(shared.known.type_shown(oid?, modifier))
        });
        array(shown.collect::<StringArray>())
    });
    function("format_type", Volatility::Stable, DataType::Utf8, body)
}

/// `oidvectortypes(types)`
fn type_list(shared: &Arc<Shared>) -> ScalarUDF {
    let shared = Arc::clone(shared);
    let body: Body = Arc::new(move |args, rows| {
        let wanted = DataType::new_list(DataType::UInt32, true);
        let lists = argument(args, 0, rows, &wanted)?;
        let shown = lists.as_list::<i32>().iter().map(|list| {
            let list = list?;
            let oids = list.as_primitive::<arrow::datatypes::UInt32Type>();
            let names = oids.iter().flatten().map(|oid| shared.known.type_shown(oid, None));
            Some(names.collect::<Vec<_>>().join(", "))
        });
        array(shown.collect::<StringArray>())
    });
    function("oidvectortypes", Volatility::Stable, DataType::Utf8, body)
}

/// `obj_description(object [, catalog])`
fn comment(name: &str, shared: &Arc<Shared>) -> ScalarUDF {
    let shared = Arc::clone(shared);
    let body: Body = Arc::new(move |args, rows| {
        let comments = shared.comments();
        let catalogs = match args.len() {
            0 | 1 => None,
            _ => Some(texts(args, 1, rows)?),
        };
        let numbers = oids(args, rows)?;
        let row = |(row, oid): (usize, Option<u32>)| {
            let class = match &catalogs {
                Some(names) => Some(class_oid(names.value(row))?),
                None => None,
            };
            let mut found = comments.iter().filter(|one| one.column == 0);
            let found = found.find(|one| {
                Some(one.object) == oid && class.is_none_or(|class| class == one.class)
            });
            found.map(|comment| comment.text.clone())
        };
        array(numbers.into_iter().enumerate().map(row).collect::<StringArray>())
    });
    function(name, Volatility::Stable, DataType::Utf8, body)
}

/// `col_description(relation, column)`
fn column_comment(shared: &Arc<Shared>) -> ScalarUDF {
    let shared = Arc::clone(shared);
    let body: Body = Arc::new(move |args, rows| {
        let comments = shared.comments();
        let columns = argument(args, 1, rows, &DataType::Int32)?;
        let columns = columns.as_primitive::<Int32Type>();
        let numbers = oids(args, rows)?;
        let row = |(row, oid): (usize, Option<u32>)| {
            let of = |one: &&super::Comment| {
                Some(one.object) == oid && one.column == columns.value(row) && one.column > 0
            };
            comments.iter().find(of).map(|comment| comment.text.clone())
        };
        array(numbers.into_iter().enumerate().map(row).collect::<StringArray>())
    });
    function("col_description", Volatility::Stable, DataType::Utf8, body)
}
