//! `CREATE TABLE`: columns, defaults, the primary key, and what fills it.

use millrace_types::{ObjectId, Report, SqlState, SqlType};

use super::source::{self, Connectors, Reader};
use crate::ast::{
    ColumnDef, CreateSource, CreateTable, Feed, IdentityDef, IdentityKind, Name, TableColumnDef,
};
use crate::catalog::{Identity, Include, Source, Table, TableColumn};
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
    let columns = create.columns.iter();
    let columns = columns.map(|column| self::column(column, &create.name));
    let mut columns = columns.collect::<Result<Vec<_>, _>>()?;
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
    let numbered = create.columns.iter().find_map(|column| column.identity.as_ref());
    if let Some(identity) = numbered {
        let what = "a column that takes numbers in a table with a connector";
        return Err(Report { position: identity.position, ..Report::unsupported(what) });
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
        identity: None,
    }
}

fn twice_in_key(name: &Name) -> Report {
    let message = format!("column {} appears twice in primary key constraint", Quoted(&name.name));
    Report::new(SqlState::DUPLICATE_COLUMN, message)
}

fn column(column: &TableColumnDef, table: &Name) -> Result<TableColumn, Report> {
    let at = |report: Report| Report { position: column.type_position, ..report };
    let sql_type = column_type(&column.data_type).map_err(at)?;
    let length = text_length(&column.data_type).map_err(at)?;
    Ok(TableColumn {
        name: column.name.name.clone(),
        length,
        not_null: column.not_null,
        default: column.default.as_ref().map(|default| default.text.clone()),
        identity: column
            .identity
            .as_ref()
            .map(|def| identity(column, def, &sql_type, table))
            .transpose()?,
        sql_type,
    })
}

/// The numbers that a column takes.
fn identity(
    column: &TableColumnDef,
    def: &IdentityDef,
    sql_type: &SqlType,
    table: &Name,
) -> Result<Identity, Report> {
    let at = |report: Report| Report { position: def.position, ..report };
    let (lowest, highest) = match sql_type {
        SqlType::SmallInt => (i64::from(i16::MIN), i64::from(i16::MAX)),
        SqlType::Integer => (i64::from(i32::MIN), i64::from(i32::MAX)),
        SqlType::BigInt => (i64::MIN, i64::MAX),
        _ => {
            let message = "identity column type must be smallint, integer, or bigint";
            return Err(at(Report::new(SqlState::INVALID_PARAMETER_VALUE, message)));
        }
    };
    if column.default.is_some() {
        let what = match def.kind {
            IdentityKind::Serial => "multiple default values",
            IdentityKind::ByDefault | IdentityKind::Always => "both default and identity",
        };
        let (name, table) = (Quoted(&column.name.name), Quoted(&table.name));
        let message = format!("{what} specified for column {name} of table {table}");
        return Err(at(Report::new(SqlState::SYNTAX_ERROR, message)));
    }
    let invalid = |message: String| at(Report::new(SqlState::INVALID_PARAMETER_VALUE, message));
    let increment = def.increment.unwrap_or(1);
    if increment == 0 {
        return Err(invalid("INCREMENT must not be zero".into()));
    }
    let (first, last) = if increment > 0 { (1, highest) } else { (lowest, -1) };
    let (least, greatest) = (def.least.unwrap_or(first), def.greatest.unwrap_or(last));
    for (word, bound) in [("MINVALUE", least), ("MAXVALUE", greatest)] {
        if !(lowest..=highest).contains(&bound) {
            let name = sql_type.name();
            let message = format!("{word} ({bound}) is out of range for sequence data type {name}");
            return Err(invalid(message));
        }
    }
    if least >= greatest {
        let message = format!("MINVALUE ({least}) must be less than MAXVALUE ({greatest})");
        return Err(invalid(message));
    }
    let start = def.start.unwrap_or(if increment > 0 { least } else { greatest });
    if start < least {
        let message = format!("START value ({start}) cannot be less than MINVALUE ({least})");
        return Err(invalid(message));
    }
    if start > greatest {
        let message = format!("START value ({start}) cannot be greater than MAXVALUE ({greatest})");
        return Err(invalid(message));
    }
    let (kind, sequence, name, cycles) = (def.kind, ObjectId::default(), String::new(), def.cycles);
    Ok(Identity { kind, sequence, name, start, increment, least, greatest, cycles })
}
