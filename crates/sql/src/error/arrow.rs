//! What Arrow's kernels say about values.

use arrow::error::ArrowError;
use millrace_types::{Report, SqlState, of_pattern};

use super::{first_line, messages};

pub(super) fn describe(error: &ArrowError) -> Report {
    match error {
        ArrowError::DivideByZero => Report::new(SqlState::DIVISION_BY_ZERO, "division by zero"),
        ArrowError::ArithmeticOverflow(message) => {
            let code = SqlState::NUMERIC_VALUE_OUT_OF_RANGE;
            Report::new(code, messages::overflow(message))
        }
        ArrowError::CastError(message) => cast(message),
        ArrowError::ParseError(message) => parse(message),
        ArrowError::NotYetImplemented(message) => {
            Report::new(SqlState::FEATURE_NOT_SUPPORTED, first_line(message))
        }
        ArrowError::InvalidArgumentError(message) if messages::is_overflow(message) => {
            Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow")
                .detail(first_line(message))
        }
        ArrowError::ComputeError(message) if messages::is_overflow(message) => {
            Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range")
        }
        ArrowError::InvalidArgumentError(message) | ArrowError::ComputeError(message) => {
            let unknown = || Report::new(SqlState::DATA_EXCEPTION, first_line(message));
            of_pattern(message).unwrap_or_else(unknown)
        }
        ArrowError::OffsetOverflowError(_) | ArrowError::DictionaryKeyOverflowError => {
            let message = "a column of a batch is too large";
            Report::new(SqlState::STATEMENT_TOO_COMPLEX, message)
        }
        other => Report::new(SqlState::INTERNAL_ERROR, first_line(&other.to_string())),
    }
}

/// `Cannot cast string 'x' to value of Int64 type`, `Can't cast value 300 to type Int8`
fn cast(message: &str) -> Report {
    if let Some((value, data_type)) = messages::between(message, "cast string '", "' to value of ")
    {
        let data_type = messages::shown_type(data_type.trim_end_matches(" type"));
        return invalid_text(&data_type, value);
    }
    if let Some((_, data_type)) = messages::between(message, "cast value ", " to type ") {
        let message = format!("{} out of range", messages::shown_type(data_type));
        return Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message);
    }
    Report::new(SqlState::INVALID_TEXT_REPRESENTATION, first_line(message))
}

fn invalid_text(data_type: &str, value: &str) -> Report {
    let is_time =
        ["timestamp", "date", "time", "interval"].iter().any(|t| data_type.starts_with(t));
    let code = match is_time {
        true => SqlState::INVALID_DATETIME_FORMAT,
        false => SqlState::INVALID_TEXT_REPRESENTATION,
    };
    Report::new(code, format!("invalid input syntax for type {data_type}: \"{value}\""))
}

/// `Error parsing timestamp from 'x': reason`, and what the interval parser says.
fn parse(message: &str) -> Report {
    if let Some((value, _)) = messages::between(message, "Error parsing timestamp from '", "'") {
        return invalid_text("timestamp", value);
    }
    if message.to_lowercase().contains("interval") {
        let value = messages::quoted(message).unwrap_or_default();
        return invalid_text("interval", value);
    }
    Report::new(SqlState::INVALID_TEXT_REPRESENTATION, first_line(message))
}
