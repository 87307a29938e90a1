//! Times written by a template.

use arrow::datatypes::IntervalMonthDayNano;
use millrace_types::Report;

use super::fields::{DAYS, Field, MONTHS, Part};
use crate::functions::date_part::{of_interval, of_timestamp};

/// What a field of a value is, as a whole number.
type Get<'a> = &'a dyn Fn(&str) -> Option<i128>;

/// A timestamp, with a zone or without.
pub(super) fn timestamp(time: i64, zoned: bool, parts: &[Part]) -> Result<String, Report> {
    let get = |unit: &str| of_timestamp(unit, time, zoned).map(|value| value.div_euclid(1_000_000));
    write(parts, &get, |field| words(field, &get, zoned))
}

/// An interval, which has no names and no calendar.
pub(super) fn interval(span: IntervalMonthDayNano, parts: &[Part]) -> Result<String, Report> {
    let get = |unit: &str| of_interval(unit, span).map(|value| value / 1_000_000);
    write(parts, &get, |_| None)
}

fn write(
    parts: &[Part],
    get: Get<'_>,
    words: impl Fn(&Field) -> Option<String>,
) -> Result<String, Report> {
    let mut shown = String::new();
    for part in parts {
        let field = match part {
            Part::Character(c, _) => {
                shown.push(*c);
                continue;
            }
            Part::Field(field) => field,
        };
        let text = match number(field, get) {
            Some((value, width)) => {
                let width = if field.short { 0 } else { width };
                let sign = if value < 0 { "-" } else { "" };
                let ordinal = field.ordinal.as_deref().map(|th| ordinal(value, th));
                let digits = format!("{:0width$}", value.unsigned_abs());
                Some(format!("{sign}{digits}{}", ordinal.unwrap_or_default()))
            }
            None => words(field),
        };
        let unknown = || Report::unsupported(format!("the field {} in a template", field.name));
        shown.push_str(&text.ok_or_else(unknown)?);
    }
    Ok(shown)
}

/// The number that a field shows, and how wide it is.
fn number(field: &Field, get: Get<'_>) -> Option<(i128, usize)> {
    let of = |unit: &str, width: usize| get(unit).map(|value| (value, width));
    let last = |unit: &str, width: usize, modulus: i128| {
        get(unit).map(|value| (value.rem_euclid(modulus), width))
    };
    let hour = || get("hour");
    // Parts of the second; the microseconds count its minute.
    let part = |divisor: i128, width: usize| {
        get("microsecond").map(|value| ((value % 1_000_000).abs() / divisor, width))
    };
    match field.name {
        "HH24" => of("hour", 2),
        "HH12" | "HH" => hour().map(|hour| ((hour + 11).rem_euclid(12) + 1, 2)),
        "MI" => of("minute", 2),
        "SS" => of("second", 2),
        "SSSS" | "SSSSS" => {
            let minutes = hour()? * 60 + get("minute")?;
            Some((minutes * 60 + get("second")?, 0))
        }
        "MS" | "FF3" => part(1_000, 3),
        "US" | "FF6" => part(1, 6),
        "FF1" => part(100_000, 1),
        "FF2" => part(10_000, 2),
        "FF4" => part(100, 4),
        "FF5" => part(10, 5),
        "YYYY" => get("year").map(|year| (year.abs(), 4)),
        "YYY" => last("year", 3, 1_000),
        "YY" => last("year", 2, 100),
        "Y" => last("year", 1, 10),
        "IYYY" => get("isoyear").map(|year| (year.abs(), 4)),
        "IYY" => last("isoyear", 3, 1_000),
        "IY" => last("isoyear", 2, 100),
        "I" => last("isoyear", 1, 10),
        "MM" => of("month", 2),
        "DD" => of("day", 2),
        "DDD" => of("doy", 3),
        "D" => get("dow").map(|day| (day + 1, 1)),
        "ID" => of("isodow", 1),
        "IDDD" => Some(((get("week")? - 1) * 7 + get("isodow")?, 3)),
        "IW" => of("week", 2),
        "WW" => get("doy").map(|day| ((day - 1) / 7 + 1, 2)),
        "W" => get("dow").and_then(|_| get("day")).map(|day| ((day - 1) / 7 + 1, 1)),
        "Q" => get("dow").and_then(|_| of("quarter", 1)),
        "CC" => of("century", 2),
        "J" => of("julian", 0),
        _ => None,
    }
}

fn ordinal(value: i128, written: &str) -> String {
    let value = value.abs();
    let ending = match (value % 10, value / 10 % 10) {
        (_, 1) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    if written.starts_with('T') { ending.to_uppercase() } else { ending.to_owned() }
}

/// Fields that show words.
fn words(field: &Field, get: Get<'_>, zoned: bool) -> Option<String> {
    let index = |unit: &str| get(unit).and_then(|value| usize::try_from(value).ok());
    let name = |names: &[&str], at: usize, long: bool| {
        let name = names.get(at)?;
        let text = if long { *name } else { &name[..3] };
        // Long names fill up to the longest.
        let width = if long && !field.short { 9 } else { 0 };
        Some(format!("{:width$}", in_case(text, &field.written)))
    };
    match field.name {
        "MONTH" => name(&MONTHS, index("month")? - 1, true),
        "MON" => name(&MONTHS, index("month")? - 1, false),
        "DAY" => name(&DAYS, index("dow")?, true),
        "DY" => name(&DAYS, index("dow")?, false),
        "AM" | "PM" => {
            let half = if get("hour")? < 12 { "AM" } else { "PM" };
            Some(in_case(half, &field.written))
        }
        "A.M." | "P.M." => {
            let half = if get("hour")? < 12 { "A.M." } else { "P.M." };
            Some(in_case(half, &field.written))
        }
        "BC" | "AD" => Some(in_case(if get("year")? < 0 { "BC" } else { "AD" }, &field.written)),
        "B.C." | "A.D." => {
            Some(in_case(if get("year")? < 0 { "B.C." } else { "A.D." }, &field.written))
        }
        "Y,YYY" => get("year").map(|year| format!("{},{:03}", year / 1_000, year % 1_000)),
        "TZ" => Some(if zoned { in_case("UTC", &field.written) } else { String::new() }),
        "TZH" | "OF" => Some("+00".to_owned()),
        "TZM" => Some("00".to_owned()),
        _ => None,
    }
}

/// A word in the case in which the field was written.
fn in_case(word: &str, written: &str) -> String {
    let mut letters = written.chars().filter(|c| c.is_alphabetic());
    let (first, second) = (letters.next(), letters.next());
    match (first.is_some_and(char::is_lowercase), second.is_some_and(char::is_lowercase)) {
        (true, _) => word.to_lowercase(),
        (false, true) => word.to_owned(),
        (false, false) => word.to_uppercase(),
    }
}
