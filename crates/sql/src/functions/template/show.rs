//! Times written by a template.

use arrow::datatypes::IntervalMonthDayNano;
use millrace_types::input::{self, Zone};
use millrace_types::{Report, SqlState};

use super::days::{EPOCH, iso_week, julian, monday, weekday};
use super::digits::ordinal;
use super::fields::{DAYS, Field, MONTHS, Ordinal, Part, ROMAN_MONTHS};
use crate::functions::cast::civil;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// A time in its parts.
struct Moment {
    /// 0 is 1 BC.
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    day_of_year: i64,
    kind: Kind,
    /// What the zone is called, and its seconds to the east of UTC; empty and 0 without one.
    zone: (String, i64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Local,
    Zoned,
    Interval,
}

/// A timestamp: of one with a zone what a clock there shows.
pub(super) fn timestamp(time: i64, zone: Option<Zone>, parts: &[Part]) -> Result<String, Report> {
    let off = |zone: Zone| (zone.abbreviation(time), zone.offset(time));
    let message = "timestamp out of range";
    let overflow = || Report::new(SqlState::DATETIME_FIELD_OVERFLOW, message);
    let reading = zone.unwrap_or_default().reading(time).ok_or_else(overflow)?;
    let (days, clock) = (reading.div_euclid(DAY), reading.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let moment = Moment {
        year,
        month,
        day,
        hour: clock / (3_600 * SECOND),
        minute: clock / (60 * SECOND) % 60,
        second: clock / SECOND % 60,
        micros: clock % SECOND,
        day_of_year: days + EPOCH - julian(year, 1, 1) + 1,
        kind: if zone.is_some() { Kind::Zoned } else { Kind::Local },
        zone: zone.map(off).unwrap_or_default(),
    };
    moment.written(parts)
}

/// An interval, which has no names and no calendar.
pub(super) fn interval(span: IntervalMonthDayNano, parts: &[Part]) -> Result<String, Report> {
    let (months, days) = (i64::from(span.months), i64::from(span.days));
    let clock = span.nanoseconds / 1_000;
    let moment = Moment {
        year: months / 12,
        month: months % 12,
        day: days,
        hour: clock / (3_600 * SECOND),
        minute: clock / (60 * SECOND) % 60,
        second: clock / SECOND % 60,
        micros: clock % SECOND,
        day_of_year: months * 30 + days,
        kind: Kind::Interval,
        zone: Default::default(),
    };
    moment.written(parts)
}

impl Moment {
    fn written(&self, parts: &[Part]) -> Result<String, Report> {
        let mut shown = String::new();
        for part in parts {
            match part {
                Part::Character(c) | Part::Separator(c) => shown.push(*c),
                Part::Field(field) => match self.number(field) {
                    Some(digits) => shown.push_str(&with_ordinal(digits, field)),
                    None => shown.push_str(&self.word(field)?),
                },
            }
        }
        Ok(shown)
    }

    /// The year as it is counted: 1 BC is 1.
    fn counted(&self, year: i64) -> i64 {
        if self.kind == Kind::Interval || year > 0 { year } else { 1 - year }
    }

    /// The digits of a field; None for one that shows a word.
    fn number(&self, field: &Field) -> Option<String> {
        let wide =
            |value: i64, width: usize| Some(digits(value, if field.short { 0 } else { width }));
        // A sign stands before the digits.
        let signed = |value: i64, width: usize| wide(value, width + usize::from(value < 0));
        let (iso_year, week) = match field.name {
            "IYYY" | "IYY" | "IY" | "I" | "IW" | "IDDD" => {
                iso_week(self.year, self.month, self.day)
            }
            _ => (0, 0),
        };
        let (year, iso) = (self.counted(self.year), self.counted(iso_year));
        // PostgreSQL goes by the sign of the other year.
        let before = usize::from(year < 0);
        let number = || julian(self.year, self.month, self.day);
        match field.name {
            "HH24" => signed(self.hour, 2),
            "HH12" | "HH" => {
                let hour = if self.hour % 12 == 0 { 12 } else { self.hour % 12 };
                wide(hour, if self.hour < 0 { 3 } else { 2 })
            }
            "MI" => signed(self.minute, 2),
            "SS" => signed(self.second, 2),
            "SSSS" | "SSSSS" => Some(digits(self.hour * 3_600 + self.minute * 60 + self.second, 0)),
            "MS" | "FF3" => Some(digits(self.micros / 1_000, 3)),
            "US" | "FF6" => Some(digits(self.micros, 6)),
            "FF1" => Some(digits(self.micros / 100_000, 1)),
            "FF2" => Some(digits(self.micros / 10_000, 2)),
            "FF4" => Some(digits(self.micros / 100, 4)),
            "FF5" => Some(digits(self.micros / 10, 5)),
            "Y,YYY" => Some(format!("{},{}", year / 1_000, digits(year % 1_000, 3))),
            "YYYY" => signed(year, 4),
            "YYY" => signed(year % 1_000, 3),
            "YY" => signed(year % 100, 2),
            "Y" => wide(year % 10, 1),
            "IYYY" => wide(iso, 4 + before),
            "IYY" => wide(iso % 1_000, 3 + before),
            "IY" => wide(iso % 100, 2 + before),
            "I" => wide(iso % 10, 1),
            "MM" => signed(self.month, 2),
            "DD" => wide(self.day, 2),
            "DDD" => wide(self.day_of_year, 3),
            "IDDD" => wide(number() - monday(iso_year, 1) + 1, 3),
            "IW" => wide(week, 2),
            "WW" => wide((self.day_of_year - 1) / 7 + 1, 2),
            "W" => Some(digits((self.day - 1) / 7 + 1, 0)),
            "Q" if self.month != 0 => Some(digits((self.month - 1) / 3 + 1, 0)),
            "CC" => signed(self.century(), 2),
            "J" => Some(digits(number(), 0)),
            "D" if self.kind != Kind::Interval => Some(digits(weekday(number()) + 1, 0)),
            "ID" if self.kind != Kind::Interval => Some(digits((weekday(number()) + 6) % 7 + 1, 0)),
            _ => None,
        }
    }

    fn century(&self) -> i64 {
        match (self.kind, self.year > 0) {
            (Kind::Interval, _) => self.year / 100,
            (_, true) => (self.year - 1) / 100 + 1,
            (_, false) => self.year / 100 - 1,
        }
    }

    /// Fields that show words.
    fn word(&self, field: &Field) -> Result<String, Report> {
        let lower = field.written.starts_with(char::is_lowercase);
        let cased = |word: &str| if lower { word.to_lowercase() } else { word.to_owned() };
        let afternoon = self.hour % 24 >= 12;
        match field.name {
            "AM" | "PM" => return Ok(cased(if afternoon { "PM" } else { "AM" })),
            "A.M." | "P.M." => return Ok(cased(if afternoon { "P.M." } else { "A.M." })),
            "RM" => return Ok(self.roman(field)),
            "Q" | "FX" => return Ok(String::new()),
            _ => {}
        }
        if self.kind == Kind::Interval {
            let message = "invalid format specification for an interval value";
            return Err(Report::new(SqlState::INVALID_DATETIME_FORMAT, message)
                .hint("Intervals are not tied to specific calendar dates."));
        }
        let at = |index: i64| usize::try_from(index).unwrap_or(0);
        let month = MONTHS.get(at(self.month - 1)).copied().unwrap_or_default();
        let weekday = weekday(julian(self.year, self.month, self.day));
        let weekday = DAYS.get(at(weekday)).copied().unwrap_or_default();
        let (zone, east) = (&self.zone.0, self.zone.1);
        Ok(match field.name {
            "MONTH" => long(month, field),
            "DAY" => long(weekday, field),
            "MON" => in_case(&month[..3], &field.written),
            "DY" => in_case(&weekday[..3], &field.written),
            "BC" | "AD" => cased(if self.year <= 0 { "BC" } else { "AD" }),
            "B.C." | "A.D." => cased(if self.year <= 0 { "B.C." } else { "A.D." }),
            "TZ" => cased(zone),
            "OF" if field.short => format!("{:+}{}", east / 3_600, &input::east(east)[3..]),
            "OF" => input::east(east),
            "TZH" => input::east(east)[..3].to_owned(),
            "TZM" => format!("{:02}", east.unsigned_abs() / 60 % 60),
            _ => String::new(),
        })
    }

    fn roman(&self, field: &Field) -> String {
        let at = match self.month {
            0 if self.year == 0 => return String::new(),
            0 if self.year > 0 => 0,
            0 => 11,
            month if month < 0 => -(month + 1),
            month => 12 - month,
        };
        let at = usize::try_from(at).unwrap_or(0);
        let month = ROMAN_MONTHS.get(at).copied().unwrap_or_default();
        let width = if field.short { 0 } else { 4 };
        let lower = field.written.starts_with(char::is_lowercase);
        let month = if lower { month.to_lowercase() } else { month.to_owned() };
        format!("{month:width$}")
    }
}

/// Digits filled up with zeros to a width that counts the sign.
fn digits(value: i64, width: usize) -> String {
    format!("{value:0width$}")
}

fn with_ordinal(digits: String, field: &Field) -> String {
    match field.ordinal {
        Some(case) => format!("{digits}{}", ordinal(&digits, case == Ordinal::Upper)),
        None => digits,
    }
}

/// A whole name, filled up to the longest.
fn long(name: &str, field: &Field) -> String {
    let width = if field.short || field.translated { 0 } else { 9 };
    format!("{:width$}", in_case(name, &field.written))
}

/// A word in the case in which the field was written.
fn in_case(word: &str, written: &str) -> String {
    let mut letters = written.chars();
    match (letters.next().is_some_and(char::is_lowercase), letters.next()) {
        (true, _) => word.to_lowercase(),
        (false, Some(second)) if second.is_lowercase() => word.to_owned(),
        (false, _) => word.to_uppercase(),
    }
}
