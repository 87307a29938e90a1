//! `CREATE TABLE`: columns, defaults, the primary key, and what fills it.

use millrace_types::{Report, SqlState};

use super::source::{self, Connectors, Reader};
use crate::ast::{ColumnDef, CreateSource, CreateTable, Feed, Name, TableColumnDef};
use crate::catalog::{Include, Source, Table, TableColumn};
use crate::names::Quoted;
use crate::typenames::{column_type, text_length};

/// Binds a table. Its defaults are bound when a row needs them.
///
/// # Errors
/// What is wrong with its columns or its key.
pub fn bind_table(create: &CreateTable, connectors: &Connectors<'_>) -> Result<Table, Report> {
    let source = create.feed.as_ref().map(|feed| bind_feed(create, feed, connectors));
    let source = source.transpose()?;
    if create.columns.is_empty() {
        let message = "a table needs at least one column";
        let report = Report::new(SqlState::INVALID_TABLE_DEFINITION, message);
        return Err(Report { position: create.name.position, ..report });
    }
    super::check_names(create.columns.iter().map(|column| &column.name))?;
    let mut columns = create.columns.iter().map(column).collect::<Result<Vec<_>, _>>()?;
    columns.extend(source.iter().flat_map(|source| &source.include).map(included));
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
    let Some(mut source) = source else {
        let mut table = Table::new(columns, key);
        table.constraints.key_name = create.key_name.as_ref().map(|name| name.name.clone());
        return Ok(table);
    };
    for place in &key {
        source.key.push(columns[*place].name.clone());
        if let Some(column) = source.columns.get_mut(*place) {
            column.not_null = true;
        }
    }
    Ok(Table::fed(columns, key, source))
}

/// What fills the table: a source with its columns.
fn bind_feed(
    create: &CreateTable,
    feed: &Feed,
    connectors: &Connectors<'_>,
) -> Result<Source, Report> {
    let with_default = create.columns.iter().find_map(|column| column.default.as_ref());
    if let Some(default) = with_default {
        let what = "DEFAULT in a table with a connector";
        return Err(Report { position: default.position, ..Report::unsupported(what) });
    }
    let column = |column: &TableColumnDef| ColumnDef {
        name: column.name.clone(),
        data_type: column.data_type.clone(),
        type_position: column.type_position,
        not_null: column.not_null,
        computed: None,
    };
    let create_source = CreateSource {
        name: create.name.clone(),
        if_not_exists: create.if_not_exists,
        columns: create.columns.iter().map(column).collect(),
        watermark: None,
        include: feed.include.clone(),
        options: feed.options.clone(),
        format: feed.format.clone(),
        text: create.text.clone(),
    };
    source::bind(&create_source, connectors, Reader::Table { keyed: !create.key.is_empty() })
}

/// The column that an item of INCLUDE gives.
fn included(include: &Include) -> TableColumn {
    TableColumn {
        name: include.name.clone(),
        sql_type: include.kind.sql_type(),
        length: None,
        not_null: !include.kind.nullable(),
        default: None,
    }
}

fn twice_in_key(name: &Name) -> Report {
    let message = format!("column {} appears twice in primary key constraint", Quoted(&name.name));
    Report::new(SqlState::DUPLICATE_COLUMN, message)
}

fn column(column: &TableColumnDef) -> Result<TableColumn, Report> {
    let at = |report: Report| Report { position: column.type_position, ..report };
    let sql_type = column_type(&column.data_type).map_err(at)?;
    let length = text_length(&column.data_type).map_err(at)?;
    Ok(TableColumn {
        name: column.name.name.clone(),
        sql_type,
        length,
        not_null: column.not_null,
        default: column.default.as_ref().map(|default| default.text.clone()),
    })
}
