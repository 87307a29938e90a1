//! `CREATE SOURCE`: columns, watermark, connector and options. What the connector makes of its own
//! options it says itself, when the server opens it.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr as SqlExpr, Interval};
use millrace_types::{Report, SqlState, SqlType};

use super::options;
use super::relation::is_time;
use crate::ast::{ColumnDef, CreateSource, Format, OptionItem, WatermarkDef};
use crate::catalog::{Include, Source, SourceColumn, SourceWatermark};
use crate::names::{Quoted, fold};
use crate::typenames::column_type;

/// Binds a source; `connectors` are the names of those that exist. Its start offsets are left empty.
///
/// # Errors
/// What is wrong with its columns, watermark or options.
pub fn bind_source(create: &CreateSource, connectors: &[&str]) -> Result<Source, Report> {
    let columns = create.columns.iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let include = create.include.iter();
    let include = include.map(|i| Include { kind: i.kind, name: i.name.name.clone() });
    let (connector, options) = connector(create, connectors)?;
    check_format(create, &connector)?;
    let mut source = Source {
        columns,
        include: include.collect(),
        watermark: None,
        connector,
        options,
        start: Vec::new(),
    };
    check_names(create)?;
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

fn check_names(create: &CreateSource) -> Result<(), Report> {
    if create.columns.is_empty() {
        let message = "a source needs at least one column";
        let report = Report::new(SqlState::INVALID_OBJECT_DEFINITION, message);
        return Err(Report { position: create.name.position, ..report });
    }
    let columns = create.columns.iter().map(|column| &column.name);
    super::check_names(columns.chain(create.include.iter().map(|include| &include.name)))
}

/// Connectors of the dialect that are not there yet.
const LATER: [&str; 1] = ["nexmark"];

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
    if let Some(infer) = given.get("schema.infer") {
        let report = Report::unsupported("schema.infer").hint("Write the columns.");
        return Err(Report { position: infer.name.position, ..report });
    }
    let connector = item.value.to_lowercase();
    let there = format!("Connectors are {}.", connectors.join(", "));
    if LATER.contains(&connector.as_str()) {
        let report = Report::unsupported(format!("connector '{connector}'")).hint(there);
        return Err(Report { position: item.value_position, ..report });
    }
    if !connectors.contains(&connector.as_str()) {
        return Err(options::invalid(item, &there));
    }
    let value = |item: &OptionItem| item.value.clone();
    let mut all: BTreeMap<String, String> = given
        .iter()
        .filter(|(name, _)| **name != "connector")
        .map(|(name, item)| ((*name).to_owned(), value(item)))
        .collect();
    if let Some(format) = &create.format {
        for (name, item) in options::by_name(&format.options)? {
            all.insert(format!("encode.{name}"), value(item));
        }
    }
    Ok((connector, all))
}

/// What makes rows itself needs no format; everything else is JSON for now.
fn check_format(create: &CreateSource, connector: &str) -> Result<(), Report> {
    let makes_rows = matches!(connector, "datagen" | "nexmark");
    match &create.format {
        None if makes_rows => Ok(()),
        None => {
            let message = format!("a source with connector '{connector}' needs a format");
            let report = Report::new(SqlState::INVALID_OBJECT_DEFINITION, message);
            let report = report.hint("Write FORMAT PLAIN ENCODE JSON after WITH (...).");
            Err(Report { position: create.name.position, ..report })
        }
        Some(format) if makes_rows => {
            let message = format!("a source with connector '{connector}' has no format");
            let report = Report::new(SqlState::INVALID_OBJECT_DEFINITION, message);
            Err(Report { position: format.position, ..report })
        }
        Some(Format { format, encode, position, .. }) => {
            let what = match (format.as_str(), encode.as_str()) {
                ("PLAIN", "JSON") => return Ok(()),
                ("PLAIN", "CSV" | "BYTES" | "AVRO" | "PROTOBUF") => format!("ENCODE {encode}"),
                ("UPSERT" | "DEBEZIUM", _) => format!("FORMAT {format}"),
                _ => {
                    let message = format!("unknown format {format} ENCODE {encode}");
                    let report = Report::new(SqlState::INVALID_PARAMETER_VALUE, message);
                    let report = report.hint("Write FORMAT PLAIN ENCODE JSON.");
                    return Err(Report { position: *position, ..report });
                }
            };
            let report = Report::unsupported(what).hint("Write FORMAT PLAIN ENCODE JSON.");
            Err(Report { position: *position, ..report })
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
