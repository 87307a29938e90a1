//! Values of parameters, text or binary, to scalars of the type that the statement wants.
//!
//! A value is read as the type that the client was told or declared; where the statement wants
//! another, it is cast, and a cast that loses the value is an error.

mod array;
mod binary;
mod text;

use arrow::compute::CastOptions;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use millrace_types::input::Zone;
use millrace_types::{Report, SqlState, SqlType};

use crate::encode::Format;
use crate::types;

/// Decodes a parameter; `oid` is its type on the wire, `wanted` the statement's. Texts of times are read by
/// a clock of the zone.
///
/// # Errors
/// Text or bytes that are no value of the type.
pub(crate) fn parameter(
    value: Option<&[u8]>,
    format: Format,
    (oid, wanted): (u32, &DataType),
    zone: Zone,
) -> Result<ScalarValue, Report> {
    let wanted = if wanted.is_null() { &DataType::Utf8 } else { wanted };
    let Some(value) = value else {
        return ScalarValue::try_from(wanted).map_err(|error| {
            Report::new(SqlState::FEATURE_NOT_SUPPORTED, error.strip_backtrace())
        });
    };
    let sent = types::sql_type(oid).unwrap_or(SqlType::Text);
    // Precision and scale are the statement's: the wire does not tell them.
    let read = match SqlType::of_arrow(wanted) {
        Some(sql) if types::oid(wanted) == oid => sql,
        _ => sent,
    };
    let scalar = match format {
        Format::Text => text::value(utf8(value)?, &read, zone)?,
        Format::Binary => binary::value(value, &read, oid)?,
    };
    if scalar.data_type() == *wanted {
        return Ok(scalar);
    }
    // Text that a driver did not type is read as what the statement wants.
    if let (
        ScalarValue::Utf8(Some(text)),
        Some(sql @ (SqlType::Jsonb | SqlType::Uuid | SqlType::TimestampTz)),
    ) = (&scalar, SqlType::of_arrow(wanted))
    {
        return text::value(text, &sql, zone);
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    scalar.cast_to_with_options(wanted, &options).map_err(|error| {
        let name = SqlType::of_arrow(wanted).map_or_else(|| wanted.to_string(), |sql| sql.name());
        let message = format!("cannot cast the value of a parameter to type {name}");
        Report::new(SqlState::CANNOT_COERCE, message).detail(error.strip_backtrace())
    })
}

/// Decodes the binary form of a value.
///
/// # Errors
/// Bytes that are none.
pub(crate) fn binary_value(value: &[u8], sql: &SqlType, oid: u32) -> Result<ScalarValue, Report> {
    binary::value(value, sql, oid)
}

/// Looks whether a text is a value of a type.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_text(text: &str, sql: &SqlType) -> Result<(), Report> {
    text::value(text, sql, Zone::Utc).map(|_| ())
}

/// Names the parameter in the report on its bytes, as PostgreSQL does.
pub(crate) fn of_parameter(mut report: Report, number: usize) -> Report {
    if report.code == SqlState::INVALID_BINARY_REPRESENTATION {
        report.message = format!("incorrect binary data format in bind parameter {number}");
    }
    report
}

/// The text of some bytes; one with a zero byte is none.
fn utf8(bytes: &[u8]) -> Result<&str, Report> {
    let message = "invalid byte sequence for encoding \"UTF8\"";
    let report = |message: String| Report::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message);
    match std::str::from_utf8(bytes) {
        Ok(text) if text.contains('\0') => Err(report(format!("{message}: 0x00"))),
        read => read.map_err(|_| report(message.to_owned())),
    }
}

/// The report for a number that its type cannot hold.
fn out_of_range(sql: &SqlType, text: &str) -> Report {
    let message = format!("value \"{text}\" is out of range for type {}", sql.name());
    Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

/// The report for bytes that are no value of their type.
fn malformed() -> Report {
    Report::new(SqlState::INVALID_BINARY_REPRESENTATION, "incorrect binary data format")
}

#[cfg(test)]
mod tests;
