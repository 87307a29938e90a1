//! Evaluation errors as data: PostgreSQL's code and message for what a library reports, and a
//! printed key by which a later retraction finds the error.

use std::any::Any;
use std::fmt::Write;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::DataFusionError;
use millrace_types::{Report, SqlState, SqlType};

/// Why an expression has no value for a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The kind.
    pub(crate) code: SqlState,
    /// PostgreSQL's message.
    pub(crate) message: String,
}

impl Failure {
    fn new(code: SqlState, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into() }
    }

    /// A library's panic, caught.
    pub(crate) fn of_panic(payload: &(dyn Any + Send)) -> Failure {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        let text = text.unwrap_or_else(|| "no message".to_owned());
        Failure::new(SqlState::INTERNAL_ERROR, format!("a function failed: {}", line(&text)))
    }

    /// An error of an expression that results in `data_type`.
    pub(crate) fn of(error: &DataFusionError, data_type: Option<&DataType>) -> Failure {
        match error.find_root() {
            DataFusionError::ArrowError(arrow, _) => Failure::of_arrow(arrow, data_type),
            DataFusionError::External(inner) => match inner.downcast_ref::<Report>() {
                Some(report) => Failure::new(report.code, &report.message),
                None => Failure::new(SqlState::DATA_EXCEPTION, line(&inner.to_string())),
            },
            DataFusionError::Execution(text) => Failure::of_text(text),
            other => Failure::new(SqlState::DATA_EXCEPTION, line(&other.strip_backtrace())),
        }
    }

    fn of_arrow(error: &ArrowError, data_type: Option<&DataType>) -> Failure {
        match error {
            ArrowError::DivideByZero => {
                Failure::new(SqlState::DIVISION_BY_ZERO, "division by zero")
            }
            ArrowError::ArithmeticOverflow(_) => {
                let name = data_type.and_then(SqlType::of_arrow).map(|t| match t {
                    SqlType::SmallInt | SqlType::Integer | SqlType::BigInt => t.name(),
                    _ => "value".to_owned(),
                });
                let name = name.unwrap_or_else(|| "value".to_owned());
                Failure::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{name} out of range"))
            }
            ArrowError::CastError(text) | ArrowError::ParseError(text) => Failure::of_cast(text),
            ArrowError::ExternalError(inner) => match inner.downcast_ref::<Report>() {
                Some(report) => Failure::new(report.code, &report.message),
                None => Failure::of_text(&inner.to_string()),
            },
            ArrowError::InvalidArgumentError(text) | ArrowError::ComputeError(text) => {
                Failure::of_text(text)
            }
            other => Failure::new(SqlState::DATA_EXCEPTION, line(&other.to_string())),
        }
    }

    /// A failed cast: of text that does not read as the type, or of a number beyond its range.
    fn of_cast(text: &str) -> Failure {
        let quoted = text.split_once('\'').and_then(|(_, rest)| rest.split_once('\''));
        match quoted {
            Some((value, _)) if text.contains("string") => Failure::new(
                SqlState::INVALID_TEXT_REPRESENTATION,
                format!("invalid input syntax: \"{}\"", line(value)),
            ),
            _ if text.contains("arsing") || text.contains("arser") => {
                Failure::new(SqlState::INVALID_TEXT_REPRESENTATION, line(text))
            }
            _ => Failure::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, line(text)),
        }
    }

    /// Some functions report what went wrong in words alone.
    fn of_text(text: &str) -> Failure {
        let lower = text.to_ascii_lowercase();
        let code = if lower.contains("divi") && lower.contains("zero") {
            return Failure::new(SqlState::DIVISION_BY_ZERO, "division by zero");
        } else if lower.contains("overflow") || lower.contains("out of range") {
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE
        } else {
            SqlState::DATA_EXCEPTION
        };
        Failure::new(code, line(text))
    }
}

/// The first line, cut to a length that fits a table.
fn line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}

/// The key of a row: `name=value, ...`.
pub(crate) fn print_key<'a>(
    columns: impl Iterator<Item = (&'a str, &'a ArrayRef)>,
    row: usize,
) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let mut key = String::new();
    for (name, column) in columns {
        let comma = if key.is_empty() { "" } else { ", " };
        let printed = match ArrayFormatter::try_new(column, &options) {
            Ok(formatter) => write!(key, "{comma}{name}={}", formatter.value(row)),
            Err(_) => write!(key, "{comma}{name}=?"),
        };
        printed.expect("writing to a String does not fail");
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn library_errors_get_the_codes_of_postgresql() {
        let code = |error: ArrowError| {
            let error = DataFusionError::ArrowError(Box::new(error), None);
            Failure::of(&error.context("while projecting"), Some(&DataType::Int64))
        };
        assert_eq!(code(ArrowError::DivideByZero).code, SqlState::DIVISION_BY_ZERO);
        let overflow = code(ArrowError::ArithmeticOverflow("1 + 2".into()));
        assert_eq!(overflow.code, SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
        assert_eq!(overflow.message, "bigint out of range");
        let cast = "Cannot cast string 'abc' to value of Int64 type";
        let cast = code(ArrowError::CastError(cast.into()));
        assert_eq!(cast.code, SqlState::INVALID_TEXT_REPRESENTATION);
        assert_eq!(cast.message, "invalid input syntax: \"abc\"");
        let report = Report::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range");
        let external = DataFusionError::External(Box::new(report));
        assert_eq!(Failure::of(&external, None).code, SqlState::DATETIME_FIELD_OVERFLOW);
    }
}
