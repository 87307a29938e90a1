//! Dates, times and intervals as PostgreSQL writes them (DateStyle ISO, IntervalStyle postgres).
//!
//! Arrow counts from 1970, PostgreSQL's binary formats from 2000. The greatest and the least number
//! stand for infinity in both.

use std::fmt::Write;

use arrow::datatypes::IntervalMonthDayNano;
use bytes::{BufMut, BytesMut};
use millrace_types::input::Zone;
use millrace_types::{Report, SqlState};

use super::number::{digit, integer};

/// Days from 1970 to 2000.
pub(crate) const EPOCH_DAYS: i32 = 10_957;
/// Microseconds from 1970 to 2000.
pub(crate) const EPOCH_MICROSECONDS: i64 = EPOCH_DAYS as i64 * DAY;
/// Microseconds of a day.
pub(crate) const DAY: i64 = 86_400 * SECOND;
const SECOND: i64 = 1_000_000;

/// Year, month and day of a day number; in the proleptic Gregorian calendar, year 0 is 1 BC.
fn civil(days: i64) -> (i64, i64, i64) {
    // Eras of 400 years that begin on 1 March, so that the leap day is the last of its year.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    (year, month, day - (153 * shifted + 2) / 5 + 1)
}

/// So many digits of a number that is not negative, zeros before it.
fn put_digits(value: i64, count: usize, out: &mut BytesMut) {
    let mut digits = [b'0'; 6];
    let mut rest = value.unsigned_abs();
    for place in digits[..count].iter_mut().rev() {
        *place = digit(rest);
        rest /= 10;
    }
    out.put_slice(&digits[..count]);
}

/// The date; true if it is before Christ, which goes to the end of the whole.
fn put_date(days: i64, out: &mut BytesMut) -> bool {
    let (year, month, day) = civil(days);
    let shown = if year > 0 { year } else { 1 - year };
    if shown < 10_000 {
        put_digits(shown, 4, out);
    } else {
        integer(shown, out);
    }
    out.put_u8(b'-');
    put_digits(month, 2, out);
    out.put_u8(b'-');
    put_digits(day, 2, out);
    year <= 0
}

fn put_time(microseconds: i64, out: &mut BytesMut) {
    let seconds = microseconds / SECOND;
    let hour = seconds / 3_600;
    if hour < 100 {
        put_digits(hour, 2, out);
    } else {
        integer(hour, out);
    }
    out.put_u8(b':');
    put_digits(seconds / 60 % 60, 2, out);
    out.put_u8(b':');
    put_digits(seconds % 60, 2, out);
    let fraction = microseconds % SECOND;
    if fraction != 0 {
        out.put_u8(b'.');
        put_digits(fraction, 6, out);
        while out.last() == Some(&b'0') {
            out.truncate(out.len() - 1);
        }
    }
}

pub(super) fn date(days: i32, out: &mut BytesMut) {
    match days {
        i32::MAX => out.put_slice(b"infinity"),
        i32::MIN => out.put_slice(b"-infinity"),
        days => {
            if put_date(i64::from(days), out) {
                out.put_slice(b" BC");
            }
        }
    }
}

pub(super) fn time(microseconds: i64, out: &mut BytesMut) {
    put_time(microseconds, out);
}

pub(super) fn timestamp(microseconds: i64, out: &mut BytesMut) {
    put_timestamp(microseconds, None, out);
}

pub(super) fn timestamptz(microseconds: i64, zone: Zone, out: &mut BytesMut) {
    put_timestamp(microseconds, Some(zone.offset(microseconds)), out);
}

fn put_timestamp(microseconds: i64, offset: Option<i64>, out: &mut BytesMut) {
    match microseconds {
        i64::MAX => return out.put_slice(b"infinity"),
        i64::MIN => return out.put_slice(b"-infinity"),
        _ => {}
    }
    let local = microseconds.saturating_add(offset.unwrap_or(0) * SECOND);
    let before_christ = put_date(local.div_euclid(DAY), out);
    out.put_u8(b' ');
    put_time(local.rem_euclid(DAY), out);
    if let Some(offset) = offset {
        out.put_u8(if offset < 0 { b'-' } else { b'+' });
        let (hour, minute, second) =
            (offset.abs() / 3_600, offset.abs() / 60 % 60, offset.abs() % 60);
        put_digits(hour, 2, out);
        if minute != 0 || second != 0 {
            out.put_u8(b':');
            put_digits(minute, 2, out);
        }
        if second != 0 {
            out.put_u8(b':');
            put_digits(second, 2, out);
        }
    }
    if before_christ {
        out.put_slice(b" BC");
    }
}

pub(super) fn interval(value: IntervalMonthDayNano, out: &mut BytesMut) {
    let start = out.len();
    let mut before_negative = false;
    let units = [(value.months / 12, "year"), (value.months % 12, "mon"), (value.days, "day")];
    for (count, unit) in units.into_iter().filter(|(count, _)| *count != 0) {
        let space = if out.len() > start { " " } else { "" };
        // A plus shows that the minus before it does not go on.
        let sign = if before_negative && count > 0 { "+" } else { "" };
        let plural = if count == 1 { "" } else { "s" };
        out.write_fmt(format_args!("{space}{sign}{count} {unit}{plural}")).expect("a buffer grows");
        before_negative = count < 0;
    }
    let microseconds = value.nanoseconds / 1_000;
    if microseconds != 0 || out.len() == start {
        if out.len() > start {
            out.put_u8(b' ');
        }
        if microseconds < 0 {
            out.put_u8(b'-');
        } else if before_negative {
            out.put_u8(b'+');
        }
        put_time(microseconds.abs(), out);
    }
}

pub(super) fn date_binary(days: i32, out: &mut BytesMut) -> Result<(), Report> {
    let shifted = match days {
        i32::MAX | i32::MIN => Some(days),
        days => days.checked_sub(EPOCH_DAYS),
    };
    out.put_i32(shifted.ok_or_else(|| out_of_range("date"))?);
    Ok(())
}

pub(super) fn timestamp_binary(microseconds: i64, out: &mut BytesMut) -> Result<(), Report> {
    let shifted = match microseconds {
        i64::MAX | i64::MIN => Some(microseconds),
        microseconds => microseconds.checked_sub(EPOCH_MICROSECONDS),
    };
    out.put_i64(shifted.ok_or_else(|| out_of_range("timestamp"))?);
    Ok(())
}

pub(super) fn interval_binary(value: IntervalMonthDayNano, out: &mut BytesMut) {
    out.put_i64(value.nanoseconds / 1_000);
    out.put_i32(value.days);
    out.put_i32(value.months);
}

fn out_of_range(what: &str) -> Report {
    Report::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("{what} out of range"))
}
