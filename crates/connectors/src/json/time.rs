//! Dates and times in ISO 8601, as sensors write them.
//!
//! `2024-05-01T12:00:00.25Z`, `2024-05-01 12:00:00+02`, `2024-05-01`. A time with a zone given to
//! a column without one keeps its local reading, a time without a zone given to `timestamptz` is
//! UTC: as PostgreSQL does with the session's zone UTC. `infinity` and `-infinity` are times, too.

use millrace_types::input;

const DAY_US: i64 = 86_400_000_000;

/// Microseconds since 1970 in UTC.
pub(crate) fn timestamptz(text: &str) -> Option<i64> {
    let Some((local, offset)) = moment(text) else { return infinite(text) };
    local.checked_sub(offset.unwrap_or(0).checked_mul(1_000_000)?)
}

/// Microseconds since 1970 as the clock on the wall shows them; a zone is ignored.
pub(crate) fn timestamp(text: &str) -> Option<i64> {
    moment(text).map(|(local, _)| local).or_else(|| infinite(text))
}

/// Days since 1970; a time of day is ignored.
pub(crate) fn date(text: &str) -> Option<i32> {
    let Some((local, _)) = moment(text) else {
        let endless = |days: &i32| matches!(*days, i32::MIN | i32::MAX);
        return input::date(text).ok().filter(endless);
    };
    i32::try_from(local.div_euclid(DAY_US)).ok()
}

/// The time before or after all others, if the text is one of them.
#[cold]
fn infinite(text: &str) -> Option<i64> {
    let endless = |time: &i64| matches!(*time, i64::MIN | i64::MAX);
    input::timestamp(text).ok().filter(endless)
}

/// Microseconds since midnight.
pub(crate) fn time(text: &str) -> Option<i64> {
    let mut reader = Reader { bytes: text.trim().as_bytes() };
    let clock = reader.clock()?;
    reader.bytes.is_empty().then_some(clock)
}

/// Local microseconds, and the zone's seconds east of UTC if there is one.
fn moment(text: &str) -> Option<(i64, Option<i64>)> {
    let mut reader = Reader { bytes: text.trim().as_bytes() };
    let days = reader.date()?;
    let mut clock = 0;
    let mut offset = None;
    if reader.one_of(b"Tt ") {
        clock = reader.clock()?;
        reader.one_of(b" ");
        offset = reader.zone()?;
    }
    if !reader.bytes.is_empty() {
        return None;
    }
    Some((days.checked_mul(DAY_US)?.checked_add(clock)?, offset))
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn one_of(&mut self, wanted: &[u8]) -> bool {
        match self.bytes.split_first() {
            Some((first, rest)) if wanted.contains(first) => {
                self.bytes = rest;
                true
            }
            _ => false,
        }
    }

    /// A number of at least `least` and at most `most` digits.
    fn number(&mut self, least: usize, most: usize) -> Option<i64> {
        let length = self.bytes.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        if length < least {
            return None;
        }
        let (digits, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        Some(digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
    }

    fn date(&mut self) -> Option<i64> {
        let year = self.number(4, 6)?;
        let month = self.one_of(b"-").then(|| self.number(1, 2))??;
        let day = self.one_of(b"-").then(|| self.number(1, 2))??;
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let last = match month {
            4 | 6 | 9 | 11 => 30,
            2 => 28 + i64::from(leap),
            1..=12 => 31,
            _ => return None,
        };
        (year > 0 && (1..=last).contains(&day)).then(|| days_from_civil(year, month, day))
    }

    /// Microseconds since midnight; 24:00 and a leap second run into the next day or minute.
    fn clock(&mut self) -> Option<i64> {
        let hour = self.number(1, 2)?;
        let minute = self.one_of(b":").then(|| self.number(2, 2))??;
        let mut second = 0;
        let mut micros = 0;
        if self.one_of(b":") {
            second = self.number(2, 2)?;
            if self.one_of(b".") {
                micros = self.fraction()?;
            }
        }
        let whole = hour * 3600 + minute * 60 + second;
        let fits = hour < 24 || (hour == 24 && minute == 0 && second == 0 && micros == 0);
        (fits && minute < 60 && second <= 60).then_some(whole * 1_000_000 + micros)
    }

    /// Digits behind the point as microseconds, rounded.
    fn fraction(&mut self) -> Option<i64> {
        let before = self.bytes.len();
        let value = self.number(1, 6)?;
        let length = before - self.bytes.len();
        let micros = (length..6).fold(value, |value, _| value * 10);
        let next = self.number(0, 1)?;
        while !self.bytes.is_empty() && self.bytes[0].is_ascii_digit() {
            self.bytes = &self.bytes[1..];
        }
        Some(micros + i64::from(next >= 5))
    }

    /// None is a zone that is not understood.
    fn zone(&mut self) -> Option<Option<i64>> {
        if self.bytes.is_empty() {
            return Some(None);
        }
        if self.one_of(b"Zz") {
            return Some(Some(0));
        }
        if self.bytes.eq_ignore_ascii_case(b"utc") || self.bytes.eq_ignore_ascii_case(b"gmt") {
            self.bytes = &[];
            return Some(Some(0));
        }
        let west = self.bytes.first() == Some(&b'-');
        if !self.one_of(b"+-") {
            return None;
        }
        let hours = self.number(2, 2)?;
        let colon = self.one_of(b":");
        let minutes = match self.bytes.is_empty() && !colon {
            true => 0,
            false => self.number(2, 2)?,
        };
        let seconds = hours * 3600 + minutes * 60;
        (hours < 16 && minutes < 60).then_some(Some(if west { -seconds } else { seconds }))
    }
}

/// Days since 1970 of a date of the Gregorian calendar. The year is taken to begin in March, so
/// that the leap day comes last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_times_are_microseconds_in_utc() {
        let second = 1_714_564_800_000_000; // 2024-05-01 12:00:00 UTC
        for (text, wanted) in [
            ("2024-05-01T12:00:00Z", Some(second)),
            (" 2024-05-01 12:00:00 ", Some(second)),
            ("2024-05-01T12:00:00.25Z", Some(second + 250_000)),
            ("2024-05-01T12:00:00.1234565Z", Some(second + 123_457)),
            ("2024-05-01T14:00:00+02:00", Some(second)),
            ("2024-05-01T14:00:00+02", Some(second)),
            ("2024-05-01T06:30:00-0530", Some(second)),
            ("2024-05-01 12:00 UTC", Some(second)),
            ("2024-05-01", Some(second - 12 * 3_600_000_000)),
            ("1969-12-31T23:59:59.999999Z", Some(-1)),
            ("2024-02-29", Some(1_709_164_800_000_000)),
            ("2023-02-29", None),
            ("2024-13-01", None),
            ("2024-05-01T25:00:00Z", None),
            ("2024-05-01T12:61:00Z", None),
            ("2024-05-01T12:00:00X", None),
            ("2024-05-01T12:00:00+", None),
            ("2024-05-01Z12", None),
            ("1714564800", None),
            ("", None),
        ] {
            assert_eq!(timestamptz(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_column_without_a_zone_keeps_the_local_reading() {
        assert_eq!(timestamp("2024-05-01T14:00:00+02:00"), timestamp("2024-05-01 14:00"));
        assert_eq!(date("1970-01-02T23:00:00-05:00"), Some(1));
        assert_eq!(time("12:30:00.5"), Some(45_000_500_000));
        assert_eq!(time("24:00"), Some(DAY_US));
        assert_eq!(time("24:01"), None);
    }

    #[test]
    fn infinity_is_a_time_and_a_date_but_no_time_of_day() {
        assert_eq!(timestamptz("infinity"), Some(i64::MAX));
        assert_eq!(timestamp(" -Infinity "), Some(i64::MIN));
        assert_eq!((date("infinity"), date("-infinity")), (Some(i32::MAX), Some(i32::MIN)));
        assert_eq!((time("infinity"), timestamptz("infinit")), (None, None));
    }
}
