//! Text as PostgreSQL reads it: the input syntax of each type.
//!
//! Casts in SQL, parameters sent as text and values in messages all come through here, so that one
//! text means one value everywhere. Blanks around a value don't count.
//!
//! Invariants: 1. text that is no value is an error with PostgreSQL's words and SQLSTATE. 2. nothing
//! depends on a clock, and on a session only what is told its zone: that of a time without one is UTC.

mod array;
mod bytes;
mod interval;
mod number;
mod time;
mod uuid;
mod zone;

#[cfg(test)]
mod tests;

use crate::report::{Report, SqlState};
use crate::sqltype::SqlType;

pub use array::{Item, array, record};
pub use bytes::bytea;
pub use interval::interval;
pub use number::{double, field_overflow, integer, numeric, real};
pub use time::{date, days, is_timestamp, time, timestamp, timestamptz, timestamptz_in};
pub use uuid::{uuid, uuid_text};
pub use zone::{Zone, east};

/// `boolean`: any prefix of the words counts that means one of them only.
///
/// # Errors
/// `22P02`.
pub fn boolean(text: &str) -> Result<bool, Report> {
    let word = text.trim().to_ascii_lowercase();
    let is = |whole: &str, least: usize| word.len() >= least && whole.starts_with(&word);
    if word == "1" || word == "on" || is("true", 1) || is("yes", 1) {
        Ok(true)
    } else if word == "0" || is("off", 2) || is("false", 1) || is("no", 1) {
        Ok(false)
    } else {
        Err(invalid(&SqlType::Boolean, text))
    }
}

/// The error for text that is no value of a type.
fn invalid(sql: &SqlType, text: &str) -> Report {
    let code = match sql {
        SqlType::Date
        | SqlType::Time
        | SqlType::Timestamp
        | SqlType::TimestampTz
        | SqlType::Interval => SqlState::INVALID_DATETIME_FORMAT,
        _ => SqlState::INVALID_TEXT_REPRESENTATION,
    };
    let name = match sql {
        SqlType::Numeric(_) => "numeric".to_owned(),
        // PostgreSQL's parser of times says it in one word.
        SqlType::Time => "time".to_owned(),
        SqlType::Timestamp => "timestamp".to_owned(),
        other => other.name(),
    };
    Report::new(code, format!("invalid input syntax for type {name}: \"{text}\""))
}
