//! What functions of DataFusion say of values that they do not take, with PostgreSQL's codes.
//!
//! The planner and the server both meet these sentences: a constant is evaluated by the one, a column by the
//! other.

use crate::report::{Report, SqlState};

/// A part of a sentence, the code, and PostgreSQL's message.
const SENTENCES: &[(&str, SqlState, &str)] = &[
    ("negative count not allowed", SqlState::SUBSTRING_ERROR, SUBSTRING),
    ("overlay start position must be", SqlState::SUBSTRING_ERROR, SUBSTRING),
    (
        "field position must not be zero",
        SqlState::INVALID_PARAMETER_VALUE,
        "field position must not be zero",
    ),
    (
        "NTILE requires a positive integer",
        SqlState::INVALID_ARGUMENT_FOR_NTILE,
        "argument of ntile must be greater than zero",
    ),
    (
        "factorial of a negative number",
        SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
        "factorial of a negative number is undefined",
    ),
    ("Int16Array overflow on abs", SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "smallint out of range"),
    ("Int32Array overflow on abs", SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range"),
    ("Int64Array overflow on abs", SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range"),
    ("Month value '", SqlState::DATETIME_FIELD_OVERFLOW, DATE),
    ("Day value '", SqlState::DATETIME_FIELD_OVERFLOW, DATE),
    ("Unable to parse date from", SqlState::DATETIME_FIELD_OVERFLOW, DATE),
    ("Hour value '", SqlState::DATETIME_FIELD_OVERFLOW, TIME),
    ("Minute value '", SqlState::DATETIME_FIELD_OVERFLOW, TIME),
    ("Second value '", SqlState::DATETIME_FIELD_OVERFLOW, TIME),
    ("Unable to parse time from", SqlState::DATETIME_FIELD_OVERFLOW, TIME),
    ("Invalid escape character", SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string"),
    ("LIMIT must be >= 0", SqlState::INVALID_ROW_COUNT_IN_LIMIT, "LIMIT must not be negative"),
    ("OFFSET must be >=0", SqlState::INVALID_ROW_COUNT_IN_OFFSET, "OFFSET must not be negative"),
    (
        "Expected LIMIT to be an integer",
        SqlState::DATATYPE_MISMATCH,
        "argument of LIMIT must be type bigint",
    ),
    (
        "Expected OFFSET to be an integer",
        SqlState::DATATYPE_MISMATCH,
        "argument of OFFSET must be type bigint",
    ),
];

const SUBSTRING: &str = "negative substring length not allowed";
const DATE: &str = "date field value out of range";
const TIME: &str = "time field value out of range";

/// The report for a sentence, if it is one of these.
pub fn of_sentence(message: &str) -> Option<Report> {
    if let Some((_, value)) = message.split_once("invalid Unicode scalar value: ") {
        return Some(of_character(value.lines().next().unwrap_or_default()));
    }
    if let Some((_, rest)) = message.split_once("Unsupported date_trunc granularity: '") {
        let unit = rest.split('\'').next().unwrap_or_default();
        let message = format!("unit \"{unit}\" not recognized for type timestamp with time zone");
        return Some(Report::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    let found = SENTENCES.iter().find(|(part, _, _)| message.contains(part));
    found.map(|(_, code, words)| Report::new(*code, *words))
}

/// A number that is no character.
fn of_character(number: &str) -> Report {
    match number.starts_with('-') {
        true => {
            let message = "character number must be positive";
            Report::new(SqlState::INVALID_PARAMETER_VALUE, message)
        }
        false => {
            let message = format!("requested character too large for encoding: {number}");
            Report::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_have_postgresql_codes() {
        let code = |message: &str| of_sentence(message).map(|report| report.code.code());
        assert_eq!(code("negative count not allowed: -1"), Some("22011"));
        assert_eq!(code("LIMIT must be >= 0, '-1' was provided"), Some("2201W"));
        assert_eq!(code("invalid Unicode scalar value: -1"), Some("22023"));
        assert_eq!(code("invalid Unicode scalar value: 1114112"), Some("54000"));
        assert_eq!(code("division by zero"), None);
    }
}
