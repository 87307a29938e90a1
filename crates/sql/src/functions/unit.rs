//! Units of time and fields of times, under the names that PostgreSQL knows them by.

use arrow::datatypes::DataType;
use datafusion::common::DataFusionError;
use millrace_types::{Report, SqlState};

use super::cast::external;
use super::type_name;

/// The one name of a unit or field; None for a word that is none. PostgreSQL looks at ten characters of it.
pub(crate) fn unit(written: &str) -> Option<&'static str> {
    let lower = written.to_lowercase();
    let word: String = lower.chars().take(10).collect();
    Some(match word.as_str() {
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecon" => "microsecond",
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecon" => "millisecond",
        "s" | "sec" | "secs" | "second" | "seconds" => "second",
        "m" | "min" | "mins" | "minute" | "minutes" => "minute",
        "h" | "hr" | "hrs" | "hour" | "hours" => "hour",
        "d" | "day" | "days" => "day",
        "w" | "week" | "weeks" => "week",
        "mon" | "mons" | "month" | "months" => "month",
        "qtr" | "quarter" => "quarter",
        "y" | "yr" | "yrs" | "year" | "years" => "year",
        "dec" | "decs" | "decade" | "decades" => "decade",
        "c" | "cent" | "century" | "centuries" => "century",
        "mil" | "mils" | "millennia" | "millennium" => "millennium",
        "dow" => "dow",
        "doy" => "doy",
        "isodow" => "isodow",
        "isoyear" => "isoyear",
        "epoch" => "epoch",
        "j" | "jd" | "julian" => "julian",
        "timezone" => "timezone",
        "timezone_h" => "timezone_hour",
        "timezone_m" => "timezone_minute",
        _ => return None,
    })
}

/// The error for a word that is no unit.
pub(super) fn not_recognized(written: &str, of: &DataType) -> DataFusionError {
    let unit = written.to_lowercase();
    let message = format!("unit \"{unit}\" not recognized for type {}", type_name(of));
    external(Report::new(SqlState::INVALID_PARAMETER_VALUE, message))
}

/// The error for a unit that a type does not have.
pub(super) fn not_supported(written: &str, of: &DataType) -> DataFusionError {
    let unit = written.to_lowercase();
    let message = format!("unit \"{unit}\" not supported for type {}", type_name(of));
    external(Report::new(SqlState::FEATURE_NOT_SUPPORTED, message))
}
