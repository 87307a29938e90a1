//! `CREATE INDEX`: what it is on, and its columns.

use arrow::datatypes::DataType;
use millrace_types::{Report, SqlState, is_hidden};

use crate::ast::{CreateIndex, Name, ObjectKind};
use crate::catalog::{Catalog, Index, Kind, Object};
use crate::names::Quoted;

/// Binds an index; with its name.
///
/// # Errors
/// What is wrong with the table or the columns.
pub fn bind_index(catalog: &Catalog, create: &CreateIndex) -> Result<(String, Index), Report> {
    let at = |report: Report, name: &Name| Report { position: name.position, ..report };
    let Some(on) = catalog.find(&create.on.name) else {
        let message = format!("relation {} does not exist", Quoted(&create.on.name));
        return Err(at(Report::new(SqlState::UNDEFINED_TABLE, message), &create.on));
    };
    let schema = on.full_schema();
    let find = |name: &Name| {
        let visible = schema.index_of(&name.name).ok().filter(|_| !is_hidden(&name.name));
        visible.ok_or_else(|| {
            let message = format!("column {} does not exist", Quoted(&name.name));
            at(Report::new(SqlState::UNDEFINED_COLUMN, message), name)
        })
    };
    create.included.iter().try_for_each(|name| find(name).map(|_| ()))?;
    let mut columns = Vec::new();
    for name in &create.columns {
        let column = find(name)?;
        if !is_ordered(schema.field(column).data_type()) {
            let what = format!(
                "an index on column {}, by whose type nothing is looked up,",
                Quoted(&name.name)
            );
            return Err(at(Report::unsupported(what), name));
        }
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    let Some(mut index) = Index::new(on, columns).filter(|_| can_have_one(on)) else {
        return Err(at(no_rows(on), &create.on));
    };
    if create.unique.is_some() {
        let is_changed = matches!(&on.kind, Kind::Table(table) if table.feed.is_none());
        if !is_changed {
            let report = Report::unsupported("a unique index on what statements do not change");
            let report = report.hint("CREATE INDEX makes look-ups fast.");
            return Err(at(report, &create.on));
        }
        index.unique = create.unique;
    }
    let name = create.name.as_ref().map(|name| name.name.clone());
    Ok((name.unwrap_or_else(|| free_name(catalog, create)), index))
}

fn can_have_one(on: &Object) -> bool {
    matches!(on.kind, Kind::Table(_) | Kind::MaterializedView(_))
}

fn no_rows(on: &Object) -> Report {
    let message = format!("cannot create index on relation {}", Quoted(&on.name));
    let kinds = match on.object_kind() {
        ObjectKind::Index => "indexes".to_owned(),
        kind => format!("{}s", kind.word()),
    };
    let detail = format!("This operation is not supported for {kinds}.");
    let report = Report::new(SqlState::WRONG_OBJECT_TYPE, message).detail(detail);
    report.hint("Tables and materialized views keep rows, and can have indexes.")
}

/// Types whose values are compared when blocks are chosen.
fn is_ordered(data_type: &DataType) -> bool {
    !data_type.is_nested() && !matches!(data_type, DataType::Binary | DataType::Interval(_))
}

/// As PostgreSQL names an index that has no name.
fn free_name(catalog: &Catalog, create: &CreateIndex) -> String {
    let columns: Vec<&str> = create.columns.iter().map(|name| name.name.as_str()).collect();
    let base = format!("{}_{}_idx", create.on.name, columns.join("_"));
    let mut name = base.clone();
    let mut number = 0;
    while catalog.find(&name).is_some() {
        number += 1;
        name = format!("{base}{number}");
    }
    name
}
