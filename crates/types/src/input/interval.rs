//! `interval`: `1 day 02:00:00`, `90 minutes ago`, `1-2`, `P1DT2H`.
//!
//! A text is a row of numbers, each with a unit behind it; a number without one takes its unit from
//! where it stands: before a time of day it counts days, at the end seconds. Parts of months are
//! days of a thirtieth, parts of days are time.

use arrow::datatypes::IntervalMonthDayNano;

use super::invalid;
use crate::report::{Report, SqlState};
use crate::sqltype::SqlType;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// An interval, to the microsecond.
///
/// # Errors
/// `22007`, and `22015` for one that is too long.
pub fn interval(text: &str) -> Result<IntervalMonthDayNano, Report> {
    let trimmed = text.trim();
    let found = match trimmed.strip_prefix(['P', 'p']) {
        Some(designated) => iso(designated),
        None => verbose(trimmed),
    };
    let sum = found.ok_or_else(|| invalid(&SqlType::Interval, text))?;
    sum.value().ok_or_else(|| {
        let message = format!("interval field value out of range: \"{text}\"");
        Report::new(SqlState::INTERVAL_FIELD_OVERFLOW, message)
    })
}

/// What has been read. Sums that do not fit are remembered.
#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    micros: i64,
    overflows: bool,
    seen: Vec<Unit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
    Decade,
    Century,
    Millennium,
    Clock,
}

impl Unit {
    fn named(word: &str) -> Option<Unit> {
        Some(match word {
            "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds"
            | "microsecon" => Unit::Microsecond,
            "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds"
            | "millisecon" => Unit::Millisecond,
            "s" | "sec" | "secs" | "second" | "seconds" => Unit::Second,
            "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
            "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Hour,
            "d" | "day" | "days" => Unit::Day,
            "w" | "week" | "weeks" => Unit::Week,
            "mon" | "mons" | "month" | "months" => Unit::Month,
            "y" | "yr" | "yrs" | "year" | "years" => Unit::Year,
            "dec" | "decs" | "decade" | "decades" => Unit::Decade,
            "c" | "cent" | "century" | "centuries" => Unit::Century,
            "mil" | "mils" | "millennia" | "millennium" => Unit::Millennium,
            _ => return None,
        })
    }

    /// Months of a unit that is made of them.
    fn months(self) -> Option<i64> {
        match self {
            Unit::Month => Some(1),
            Unit::Year => Some(12),
            Unit::Decade => Some(120),
            Unit::Century => Some(1_200),
            Unit::Millennium => Some(12_000),
            _ => None,
        }
    }

    fn micros(self) -> i64 {
        match self {
            Unit::Microsecond => 1,
            Unit::Millisecond => 1_000,
            Unit::Second => SECOND,
            Unit::Minute => 60 * SECOND,
            Unit::Hour => 3_600 * SECOND,
            Unit::Week => 7 * DAY,
            _ => DAY,
        }
    }
}

/// A number as it is written: whole part, and billionths.
#[derive(Clone, Copy)]
struct Number {
    negative: bool,
    whole: i64,
    billionths: i64,
}

impl Number {
    /// The digits that come first, with their sign, and what follows.
    fn split(text: &str) -> Option<(Number, &str)> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, text[1..].trim_start()),
            b'+' => (false, text[1..].trim_start()),
            _ => (false, text),
        };
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, rest) = rest.split_at(digits(rest));
        let (fraction, rest) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(digits(rest)),
            None => ("", rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let whole = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(i64::MAX) };
        let padded: String = fraction.chars().chain("000000000".chars()).take(9).collect();
        Some((Number { negative, whole, billionths: padded.parse().ok()? }, rest))
    }

    fn signed(self, value: i64) -> i64 {
        if self.negative { -value } else { value }
    }

    /// So many times a number of units, rounded to a whole one.
    fn times(self, units: i64) -> Option<i64> {
        let part = (i128::from(self.billionths) * i128::from(units) + 500_000_000) / 1_000_000_000;
        let whole = self.whole.checked_mul(units)?.checked_add(i64::try_from(part).ok()?)?;
        Some(self.signed(whole))
    }
}

impl Sum {
    /// None for a unit that has been there.
    fn add(&mut self, number: Number, unit: Unit) -> Option<()> {
        if self.seen.contains(&unit) {
            return None;
        }
        self.seen.push(unit);
        let done = match unit.months() {
            Some(1) => self.add_months(number.whole, number),
            Some(months) => {
                let part = i128::from(number.billionths) * i128::from(months) / 1_000_000_000;
                let whole = number.whole.checked_mul(months);
                let whole = whole.and_then(|w| w.checked_add(i64::try_from(part).ok()?));
                self.add_months(whole.unwrap_or(i64::MAX), Number { billionths: 0, ..number })
            }
            None if matches!(unit, Unit::Day | Unit::Week) => {
                let days = if unit == Unit::Week { 7 } else { 1 };
                self.add_days(number, days)
            }
            None => number.times(unit.micros()).and_then(|micros| self.add_micros(micros)),
        };
        self.overflows |= done.is_none();
        Some(())
    }

    fn add_months(&mut self, whole: i64, number: Number) -> Option<()> {
        self.months = self.months.checked_add(number.signed(whole))?;
        self.add_days(Number { whole: 0, ..number }, 30)
    }

    /// Days, and what is left of them as time.
    fn add_days(&mut self, number: Number, days: i64) -> Option<()> {
        let billionths = i128::from(number.billionths) * i128::from(days);
        let part = i64::try_from(billionths / 1_000_000_000).ok()?;
        let left = i64::try_from(billionths % 1_000_000_000).ok()?;
        let whole = number.whole.checked_mul(days)?.checked_add(part)?;
        self.days = self.days.checked_add(number.signed(whole))?;
        let rest = Number { whole: 0, billionths: left, ..number };
        rest.times(DAY).and_then(|micros| self.add_micros(micros))
    }

    fn add_micros(&mut self, micros: i64) -> Option<()> {
        self.micros = self.micros.checked_add(micros)?;
        Some(())
    }

    fn negated(self) -> Sum {
        Sum {
            months: self.months.wrapping_neg(),
            days: self.days.wrapping_neg(),
            micros: self.micros.wrapping_neg(),
            ..self
        }
    }

    fn value(&self) -> Option<IntervalMonthDayNano> {
        if self.overflows {
            return None;
        }
        let (months, days) = (i32::try_from(self.months).ok()?, i32::try_from(self.days).ok()?);
        Some(IntervalMonthDayNano::new(months, days, self.micros.checked_mul(1_000)?))
    }
}

/// Numbers and units in words.
fn verbose(text: &str) -> Option<Sum> {
    let lower = text.to_ascii_lowercase();
    let mut rest = lower.strip_prefix('@').unwrap_or(&lower).trim();
    let ago = rest.strip_suffix("ago").filter(|rest| rest.ends_with(char::is_whitespace));
    rest = ago.unwrap_or(rest).trim();
    let mut sum = Sum::default();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = Number::split(rest)?;
        if after.starts_with(':') {
            let (micros, after) = clock(number, after)?;
            if sum.seen.contains(&Unit::Clock) {
                return None;
            }
            sum.seen.push(Unit::Clock);
            sum.overflows |= sum.add_micros(micros).is_none();
            rest = after;
        } else if let Some(months) = after.strip_prefix('-') {
            let (months, after) = Number::split(months)?;
            sum.add(number, Unit::Year)?;
            sum.add(Number { negative: number.negative, ..months }, Unit::Month)?;
            rest = after;
        } else {
            let after = after.trim_start();
            let length = after.bytes().take_while(u8::is_ascii_alphabetic).count();
            let unit = match &after[..length] {
                "" if after.is_empty() => Unit::Second,
                "" => Unit::Day,
                word => Unit::named(word)?,
            };
            // A number in the middle counts days only before a time of day.
            if length == 0 && !after.is_empty() && !is_clock(after) {
                return None;
            }
            sum.add(number, unit)?;
            rest = &after[length..];
        }
        rest = rest.trim_start();
    }
    Some(if ago.is_some() { sum.negated() } else { sum })
}

/// True if the next word is a time of day.
fn is_clock(text: &str) -> bool {
    Number::split(text).is_some_and(|(_, after)| after.starts_with(':'))
}

/// The microseconds of `h:mm[:ss[.f]]`, whose hours have been read, and what follows.
fn clock(hours: Number, text: &str) -> Option<(i64, &str)> {
    let (minutes, after) = Number::split(text.strip_prefix(':')?)?;
    let (seconds, after) = match after.strip_prefix(':') {
        Some(after) => Number::split(after)?,
        None => (Number { negative: false, whole: 0, billionths: 0 }, after),
    };
    if hours.billionths != 0 || minutes.negative || seconds.negative {
        return None;
    }
    if minutes.billionths != 0 || minutes.whole > 59 || seconds.whole > 60 {
        return None;
    }
    let whole = hours.whole.checked_mul(3_600)?.checked_add(minutes.whole * 60)?;
    let micros = whole.checked_mul(SECOND)?.checked_add(seconds.times(SECOND)?)?;
    Some((hours.signed(micros), after))
}

/// ISO 8601 behind its `P`: units by letters, or a date and a time.
fn iso(text: &str) -> Option<Sum> {
    let mut sum = Sum::default();
    let (mut rest, mut in_time) = (text, false);
    if rest.is_empty() || rest.ends_with(['T', 't']) {
        return None;
    }
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(['T', 't']) {
            (rest, in_time) = (after, true);
            continue;
        }
        let (number, after) = Number::split(rest)?;
        let letter = after.chars().next()?.to_ascii_uppercase();
        let unit = match (letter, in_time) {
            ('Y', false) => Unit::Year,
            ('M', false) => Unit::Month,
            ('W', false) => Unit::Week,
            ('D', false) => Unit::Day,
            ('H', true) => Unit::Hour,
            ('M', true) => Unit::Minute,
            ('S', true) => Unit::Second,
            ('-', false) => return iso_fields(text),
            (':', true) => {
                let (micros, after) = clock(number, after)?;
                sum.overflows |= sum.add_micros(micros).is_none();
                rest = after;
                continue;
            }
            _ => return None,
        };
        sum.add(number, unit)?;
        rest = &after[1..];
    }
    Some(sum)
}

/// `0001-02-03T04:05:06`
fn iso_fields(text: &str) -> Option<Sum> {
    let (date, time) = text.split_once(['T', 't']).unwrap_or((text, ""));
    let mut sum = Sum::default();
    for (part, unit) in date.split('-').zip([Unit::Year, Unit::Month, Unit::Day]) {
        let (number, after) = Number::split(part)?;
        after.is_empty().then(|| sum.add(number, unit)).flatten()?;
    }
    if !time.is_empty() {
        let (hours, after) = Number::split(time)?;
        let (micros, after) = clock(hours, after)?;
        sum.overflows |= sum.add_micros(micros).is_none();
        after.is_empty().then_some(())?;
    }
    Some(sum)
}
