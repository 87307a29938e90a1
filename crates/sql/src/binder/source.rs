//! `CREATE SOURCE`: columns, watermark, connector and options. What the connector makes of its own
//! options it says itself, when the server opens it.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr as SqlExpr, Interval};
use millrace_types::{ObjectId, Report, SqlState, SqlType};

use super::options;
use super::relation::is_time;
use crate::ast::{ColumnDef, CreateSource, Format, Name, OptionItem, WatermarkDef};
use crate::catalog::{Catalog, Include, Source, SourceColumn, SourceWatermark};
use crate::names::{Quoted, fold};
use crate::typenames::column_type;

/// Columns that a connector decides, each with the types that it can have, the usual one first.
pub type FixedColumns = Vec<(String, Vec<SqlType>)>;

/// Finds the columns that a connector with some options decides; None if the statement declares them.
pub type FindColumns<'a> =
    dyn Fn(&str, &BTreeMap<String, String>) -> Option<FixedColumns> + Sync + 'a;

/// What the binder has to know of connectors.
pub struct Connectors<'a> {
    /// The names of those that exist.
    pub names: &'a [&'a str],
    /// The columns that they decide.
    pub columns: &'a FindColumns<'a>,
}

/// Binds a source. Its start offsets are left empty.
///
/// # Errors
/// What is wrong with its columns, watermark or options.
pub fn bind_source(create: &CreateSource, connectors: &Connectors<'_>) -> Result<Source, Report> {
    bind(create, connectors, Reader::Views)
}

/// The option that has the columns found by looking at the topic.
const INFER: &str = "schema.infer";

/// The source without columns, if the statement wants them to be found by looking at its messages.
///
/// # Errors
/// Declared columns beside that, or what is wrong with the options.
pub fn source_to_infer(
    create: &CreateSource,
    connectors: &Connectors<'_>,
) -> Result<Option<Source>, Report> {
    let given = options::by_name(&create.options)?;
    let Some(item) = given.get(INFER) else { return Ok(None) };
    match item.value.to_lowercase().as_str() {
        "true" => {}
        "false" => return Ok(None),
        _ => return Err(options::invalid(item, "Write true or false.")),
    }
    let at = |report: Report| Err(Report { position: item.name.position, ..report });
    if create.columns.iter().any(|column| column.computed.is_none()) {
        let message = "schema.infer finds the columns, they cannot be declared too";
        return at(Report::new(SqlState::INVALID_OBJECT_DEFINITION, message));
    }
    let (connector, options) = connector(create, connectors.names)?;
    let (format, encode) = format_of(create, &connector, Reader::Views)?;
    if encode != "JSON" || (connectors.columns)(&connector, &options).is_some() {
        return at(
            Report::unsupported("schema.infer without ENCODE JSON").hint("Write the columns.")
        );
    }
    let (columns, include, start, key) = Default::default();
    let watermark = None;
    Ok(Some(Source {
        columns,
        include,
        watermark,
        connector,
        options,
        secrets: BTreeMap::new(),
        start,
        identity: None,
        format,
        encode,
        key,
    }))
}

/// The secrets that options name: by option the number of the secret. Whether they may be used is for
/// the caller to see.
///
/// # Errors
/// A secret that does not exist.
pub fn bind_secrets(
    catalog: &Catalog,
    items: &[OptionItem],
) -> Result<BTreeMap<String, ObjectId>, Report> {
    let mut secrets = BTreeMap::new();
    for item in items.iter().filter(|item| item.is_secret) {
        let Some(secret) = catalog.find_secret(&item.value) else {
            let message = format!("secret {} does not exist", Quoted(&item.value));
            let report = Report::new(SqlState::UNDEFINED_OBJECT, message);
            let report = report.hint("CREATE SECRET name AS 'value' makes one.");
            return Err(Report { position: item.value_position, ..report });
        };
        secrets.insert(item.name.name.clone(), secret.id);
    }
    Ok(secrets)
}

/// Who reads a source.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// Views: each message is a row.
    Views,
    /// A table with a primary key, or one without.
    Table { keyed: bool },
}

pub(super) fn bind(
    create: &CreateSource,
    connectors: &Connectors<'_>,
    reader: Reader,
) -> Result<Source, Report> {
    let mut columns = create.columns.iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let include = create.include.iter();
    let include = include.map(|i| Include { kind: i.kind, name: i.name.name.clone() });
    let (connector, options) = connector(create, connectors.names)?;
    let (format, encode) = format_of(create, &connector, reader)?;
    if let Some(fixed) = (connectors.columns)(&connector, &options) {
        check_fixed(create, &columns, &fixed)?;
        if columns.iter().all(|column| column.computed.is_some()) {
            columns.splice(..0, fixed.into_iter().filter_map(fixed_column));
        }
    }
    let mut source = Source {
        columns,
        include: include.collect(),
        watermark: None,
        connector,
        options,
        secrets: BTreeMap::new(),
        start: Vec::new(),
        identity: None,
        format,
        encode,
        key: Vec::new(),
    };
    check_names(create, &source)?;
    source.check_computed(create)?;
    if let Some(watermark) = &create.watermark {
        source.watermark = Some(bind_watermark(watermark, &source)?);
    }
    Ok(source)
}

fn column(column: &ColumnDef) -> Result<SourceColumn, Report> {
    let sql_type = column_type(&column.data_type)
        .map_err(|report| Report { position: column.type_position, ..report })?;
    Ok(SourceColumn {
        name: column.name.name.clone(),
        sql_type,
        computed: column.computed.as_ref().map(|computed| computed.text.clone()),
        not_null: column.not_null,
    })
}

fn fixed_column((name, types): (String, Vec<SqlType>)) -> Option<SourceColumn> {
    let sql_type = types.into_iter().next()?;
    Some(SourceColumn { name, sql_type, computed: None, not_null: false })
}

/// Declared columns must be among those that the connector has, with a type that it gives.
fn check_fixed(
    create: &CreateSource,
    columns: &[SourceColumn],
    fixed: &FixedColumns,
) -> Result<(), Report> {
    for (declared, column) in create.columns.iter().zip(columns) {
        if column.computed.is_some() {
            continue;
        }
        let known = fixed.iter().find(|(name, _)| *name == column.name);
        let Some((_, types)) = known else {
            let names: Vec<&str> = fixed.iter().map(|(name, _)| name.as_str()).collect();
            let message = format!("the connector has no column {}", Quoted(&column.name));
            let report = Report::new(SqlState::UNDEFINED_COLUMN, message);
            let report = report.hint(format!("It has {}.", names.join(", ")));
            return Err(Report { position: declared.name.position, ..report });
        };
        if !types.contains(&column.sql_type) {
            let types: Vec<String> = types.iter().map(SqlType::name).collect();
            let message = format!(
                "column {} must be of type {}, not {}",
                Quoted(&column.name),
                types.join(" or "),
                column.sql_type.name()
            );
            let report = Report::new(SqlState::DATATYPE_MISMATCH, message);
            return Err(Report { position: declared.type_position, ..report });
        }
    }
    Ok(())
}

fn check_names(create: &CreateSource, source: &Source) -> Result<(), Report> {
    if source.columns.is_empty() {
        let message = "a source needs at least one column";
        let report = Report::new(SqlState::INVALID_OBJECT_DEFINITION, message);
        return Err(Report { position: create.name.position, ..report });
    }
    let declared = |name: &str| create.columns.iter().find(|column| column.name.name == name);
    let found = source.columns.iter().filter(|column| declared(&column.name).is_none());
    let position = create.name.position;
    let found: Vec<Name> = found.map(|c| Name { name: c.name.clone(), position }).collect();
    let columns = create.columns.iter().map(|column| &column.name).chain(&found);
    super::check_names(columns.chain(create.include.iter().map(|include| &include.name)))
}

/// The connector's name and its options.
fn connector(
    create: &CreateSource,
    connectors: &[&str],
) -> Result<(String, BTreeMap<String, String>), Report> {
    let given = options::by_name(&create.options)?;
    let Some(item) = given.get("connector") else {
        let message = "option \"connector\" is missing";
        let report = Report::new(SqlState::INVALID_PARAMETER_VALUE, message);
        let hint = format!("Write WITH (connector = '{}').", connectors.join("' | '"));
        return Err(Report { position: create.name.position, ..report.hint(hint) });
    };
    let connector = item.value.to_lowercase();
    let there = format!("Connectors are {}.", connectors.join(", "));
    if item.is_secret || !connectors.contains(&connector.as_str()) {
        return Err(options::invalid(item, &there));
    }
    let value = |item: &OptionItem| item.value.clone();
    let mut all: BTreeMap<String, String> = given
        .iter()
        .filter(|(name, item)| !["connector", INFER].contains(name) && !item.is_secret)
        .map(|(name, item)| ((*name).to_owned(), value(item)))
        .collect();
    if let Some(format) = &create.format {
        for (name, item) in options::by_name(&format.options)? {
            if item.is_secret {
                let what = "a secret in the options of an encoding";
                return Err(Report { position: item.value_position, ..Report::unsupported(what) });
            }
            all.insert(format!("encode.{name}"), value(item));
        }
    }
    Ok((connector, all))
}

/// The words after FORMAT and ENCODE. What makes rows itself needs none.
fn format_of(
    create: &CreateSource,
    connector: &str,
    reader: Reader,
) -> Result<(String, String), Report> {
    let makes_rows = matches!(connector, "datagen" | "nexmark");
    if makes_rows && reader != Reader::Views {
        let what = format!("a table with connector '{connector}'");
        let report = Report { position: create.name.position, ..Report::unsupported(what) };
        return Err(report.hint("CREATE SOURCE, and a materialized view that keeps its rows."));
    }
    let Some(Format { format, encode, position, .. }) = &create.format else {
        if makes_rows {
            return Ok(("PLAIN".to_owned(), "JSON".to_owned()));
        }
        let message = format!("a source with connector '{connector}' needs a format");
        let report = Report::new(SqlState::INVALID_OBJECT_DEFINITION, message);
        let report = report.hint("Write FORMAT PLAIN ENCODE JSON after WITH (...).");
        return Err(Report { position: create.name.position, ..report });
    };
    let at = |report: Report| Err(Report { position: *position, ..report });
    if makes_rows {
        let message = format!("a source with connector '{connector}' has no format");
        return at(Report::new(SqlState::INVALID_OBJECT_DEFINITION, message));
    }
    match (format.as_str(), encode.as_str(), reader) {
        ("PLAIN", "JSON" | "CSV" | "BYTES", _)
        | ("UPSERT" | "DEBEZIUM", "JSON", Reader::Table { keyed: true }) => {
            Ok((format.clone(), encode.clone()))
        }
        ("UPSERT" | "DEBEZIUM", "JSON", Reader::Table { keyed: false }) => {
            let message = format!("FORMAT {format} needs a primary key");
            at(Report::new(SqlState::INVALID_TABLE_DEFINITION, message))
        }
        ("UPSERT" | "DEBEZIUM", "JSON", Reader::Views) => {
            at(Report::unsupported(format!("FORMAT {format} in a source"))
                .hint("CREATE TABLE with a PRIMARY KEY keeps the newest row of each key."))
        }
        ("PLAIN" | "UPSERT" | "DEBEZIUM", "AVRO" | "PROTOBUF" | "CSV" | "BYTES", _) => {
            let what = format!("FORMAT {format} ENCODE {encode}");
            at(Report::unsupported(what).hint("Write ENCODE JSON."))
        }
        _ => {
            let message = format!("unknown format {format} ENCODE {encode}");
            let report = Report::new(SqlState::INVALID_PARAMETER_VALUE, message);
            at(report.hint("Write FORMAT PLAIN ENCODE JSON."))
        }
    }
}

/// `column` or `column - INTERVAL '...'`
fn bind_watermark(watermark: &WatermarkDef, source: &Source) -> Result<SourceWatermark, Report> {
    let at = |report: Report| Report { position: watermark.column.position, ..report };
    let name = &watermark.column.name;
    let schema = source.full_schema();
    let Ok(column) = schema.index_of(name) else {
        let message = format!("column {} does not exist", Quoted(name));
        return Err(at(Report::new(SqlState::UNDEFINED_COLUMN, message)));
    };
    let sql_type = SqlType::of_arrow(schema.field(column).data_type());
    if !sql_type.as_ref().is_some_and(is_time) {
        let found = sql_type.map_or_else(|| "unknown".to_owned(), |t| t.name());
        let message = format!(
            "the watermark's column must be of type timestamp or timestamp with time zone, not {found}"
        );
        return Err(at(Report::new(SqlState::DATATYPE_MISMATCH, message)));
    }
    let delay_us = delay(&watermark.expr.expr, name).ok_or_else(|| {
        let message = "the watermark must be its column, or its column minus a constant interval";
        let report = Report::new(SqlState::INVALID_OBJECT_DEFINITION, message);
        let hint = format!("Write WATERMARK FOR {name} AS {name} - INTERVAL '5 seconds'.");
        Report { position: watermark.expr.position, ..report.hint(hint) }
    })?;
    Ok(SourceWatermark { column, delay_us })
}

/// Microseconds, never negative; None if the expression has another form.
fn delay(expr: &SqlExpr, column: &str) -> Option<i64> {
    match expr {
        SqlExpr::Nested(inner) => delay(inner, column),
        SqlExpr::Identifier(ident) => (fold(ident) == column).then_some(0),
        SqlExpr::BinaryOp { left, op: BinaryOperator::Minus, right } => {
            delay(left, column)?;
            interval(right).filter(|micros| *micros >= 0)
        }
        _ => None,
    }
}

fn interval(expr: &SqlExpr) -> Option<i64> {
    match expr {
        SqlExpr::Nested(inner) => interval(inner),
        SqlExpr::Interval(Interval { value, leading_field, last_field: None, .. }) => {
            let SqlExpr::Value(value) = value.as_ref() else { return None };
            let text = value.value.clone().into_string()?;
            let unit = leading_field.as_ref().map(ToString::to_string).unwrap_or_default();
            options::interval_us(format!("{text} {unit}").trim())
        }
        _ => None,
    }
}
