//! The queries behind the catalog's views, planned once: they read the lists when they run.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, IntervalUnit, Schema};
use datafusion::common::{Column, Result as DfResult};
use datafusion::datasource::ViewTable;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use datafusion::prelude::{SessionConfig, SessionContext};
use millrace_types::timestamptz;

use super::{
    OWNER, PUBLIC, Relations, Tables, in_memory, information_schema, live,
    tables::{self, OIDS},
};

/// The tables of `pg_catalog` and of `information_schema`, without those that are wholly PostgreSQL's.
pub(super) async fn tables(
    database: &str,
    relations: &Arc<dyn Relations>,
    statics: &BTreeMap<String, RecordBatch>,
) -> DfResult<(Tables, Tables)> {
    let context = context(database, relations, statics)?;
    let mut pg_catalog = views(&context, database, tables::VIEWS).await?;
    for (name, of) in tables::ALIASES {
        if let Some(view) = pg_catalog.get(of).cloned() {
            pg_catalog.insert(name.to_owned(), view);
        }
    }
    let mut others = views(&context, database, information_schema::VIEWS).await?;
    for (into, tables) in
        [(&mut pg_catalog, tables::NO_ROWS), (&mut others, information_schema::NO_ROWS)]
    {
        for (name, columns) in tables {
            into.insert((*name).to_owned(), in_memory(RecordBatch::new_empty(schema(columns)))?);
        }
    }
    Ok((pg_catalog, others))
}

fn context(
    database: &str,
    relations: &Arc<dyn Relations>,
    statics: &BTreeMap<String, RecordBatch>,
) -> DfResult<SessionContext> {
    let mut config = SessionConfig::new().with_default_catalog_and_schema(database, PUBLIC);
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let config = config.set_str("datafusion.sql_parser.dialect", "postgres");
    let context = SessionContext::new_with_config(config);
    for (name, rows) in live::LISTS {
        context.register_table(name, Arc::new(live::table(relations, rows)?))?;
    }
    for (name, theirs) in [("their_types", "pg_type"), ("their_description", "pg_description")] {
        if let Some(batch) = statics.get(theirs) {
            context.register_table(name, in_memory(batch.clone())?)?;
        }
    }
    Ok(context)
}

async fn views(
    context: &SessionContext,
    database: &str,
    definitions: &[(&str, &str)],
) -> DfResult<Tables> {
    let variables = [
        ("{grants}", information_schema::GRANTS.to_owned()),
        ("{database}", database.replace('\'', "''")),
        ("{owner}", OWNER.to_owned()),
        ("{none}", "arrow_cast(NULL, 'List(Utf8)')".to_owned()),
        ("{smalls}", "arrow_cast(NULL, 'List(Int16)')".to_owned()),
        ("{oids}", "arrow_cast(NULL, 'List(UInt32)')".to_owned()),
        ("{number}", "arrow_cast(NULL, 'UInt32')".to_owned()),
        ("{zeros}", "array_repeat(0 :: smallint, index_width)".to_owned()),
        ("{never}", "arrow_cast(NULL, 'Timestamp(Microsecond, Some(\"UTC\"))')".to_owned()),
    ];
    let mut views = Tables::new();
    for (name, query) in definitions {
        let mut query = (*query).to_owned();
        for (variable, value) in &variables {
            query = query.replace(variable, value);
        }
        let plan = context.sql(&query).await?.into_unoptimized_plan();
        let view = ViewTable::new(numbered(plan)?, None);
        views.insert((*name).to_owned(), Arc::new(view));
    }
    Ok(views)
}

/// The plan with numbers of objects in the columns that hold them.
fn numbered(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let columns = plan.schema().iter().map(|(table, field)| {
        let column = Expr::Column(Column::new(table.cloned(), field.name()));
        let name = field.name().as_str();
        let is_number = name == "oid" || OIDS.contains(&name);
        match is_number && field.data_type().is_integer() {
            true if *field.data_type() != DataType::UInt32 => {
                cast(column, DataType::UInt32).alias(name)
            }
            _ => column.alias(name),
        }
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// Columns as `name type, name type`.
fn schema(columns: &str) -> Arc<Schema> {
    let field = |column: &str| {
        let mut words = column.split_whitespace();
        let (name, kind) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let data_type = match kind {
            "oid" => DataType::UInt32,
            "int" => DataType::Int32,
            "smallint" => DataType::Int16,
            "bigint" => DataType::Int64,
            "float" => DataType::Float64,
            "bool" => DataType::Boolean,
            "texts" => DataType::new_list(DataType::Utf8, true),
            "timestamptz" => timestamptz(),
            "interval" => DataType::Interval(IntervalUnit::MonthDayNano),
            _ => DataType::Utf8,
        };
        Field::new(name, data_type, true)
    };
    Arc::new(Schema::new(columns.split(',').map(field).collect::<Vec<_>>()))
}
