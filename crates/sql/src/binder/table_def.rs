//! `CREATE TABLE`: columns, defaults and the primary key.

use millrace_types::{Report, SqlState};

use crate::ast::{CreateTable, Name, TableColumnDef};
use crate::catalog::{Table, TableColumn};
use crate::names::Quoted;
use crate::typenames::column_type;

/// Binds a table. Its defaults are bound when a row needs them.
///
/// # Errors
/// What is wrong with its columns or its key.
pub fn bind_table(create: &CreateTable) -> Result<Table, Report> {
    if create.columns.is_empty() {
        let message = "a table needs at least one column";
        let report = Report::new(SqlState::INVALID_TABLE_DEFINITION, message);
        return Err(Report { position: create.name.position, ..report });
    }
    super::check_names(create.columns.iter().map(|column| &column.name))?;
    let mut columns = create.columns.iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let mut key = Vec::new();
    for name in &create.key {
        let at = |report: Report| Report { position: name.position, ..report };
        let Some(place) = columns.iter().position(|column| column.name == name.name) else {
            let message = format!("column {} named in key does not exist", Quoted(&name.name));
            return Err(at(Report::new(SqlState::UNDEFINED_COLUMN, message)));
        };
        if key.contains(&place) {
            return Err(at(twice_in_key(name)));
        }
        columns[place].not_null = true;
        key.push(place);
    }
    Ok(Table::new(columns, key))
}

fn twice_in_key(name: &Name) -> Report {
    let message = format!("column {} appears twice in primary key constraint", Quoted(&name.name));
    Report::new(SqlState::DUPLICATE_COLUMN, message)
}

fn column(column: &TableColumnDef) -> Result<TableColumn, Report> {
    let sql_type = column_type(&column.data_type)
        .map_err(|report| Report { position: column.type_position, ..report })?;
    Ok(TableColumn {
        name: column.name.name.clone(),
        sql_type,
        not_null: column.not_null,
        default: column.default.as_ref().map(|default| default.text.clone()),
    })
}
