//! A time of the fields that a template has read.

use millrace_types::input::{self, Zone};
use millrace_types::{Report, SqlState};

use super::days::{EPOCH, monday};
use super::read::{Read, wrong};
use crate::functions::cast::civil;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

fn overflow(text: &str) -> Report {
    let message = format!("date/time field value out of range: \"{text}\"");
    Report::new(SqlState::DATETIME_FIELD_OVERFLOW, message)
}

/// Days since 1970.
pub(super) fn days(read: &Read, text: &str) -> Result<i32, Report> {
    clock(read, text)?;
    day(read, text).and_then(|day| i32::try_from(day).map_err(|_| overflow(text)))
}

/// Microseconds since 1970 in UTC; where nothing of a zone was read, by a clock of `zone`.
pub(super) fn micros(read: &Read, text: &str, zone: Zone) -> Result<i64, Report> {
    let clock = clock(read, text)?;
    let day = day(read, text)?;
    let (hours, minutes) = (read.zone_hour, read.zone_minute);
    if !(0..=15).contains(&hours) || !(0..60).contains(&minutes) {
        return Err(overflow(text));
    }
    let zone = match read.zone_sign {
        0 => zone,
        sign => Zone::East(sign * (hours * 3_600 + minutes * 60)),
    };
    let local = day.checked_mul(DAY).and_then(|day| day.checked_add(clock));
    let time = local.and_then(|local| zone.time(local));
    let message = || format!("timestamp out of range: \"{text}\"");
    time.filter(|time| input::is_timestamp(*time))
        .ok_or_else(|| Report::new(SqlState::DATETIME_FIELD_OVERFLOW, message()))
}

/// Microseconds since midnight.
fn clock(read: &Read, text: &str) -> Result<i64, Report> {
    let either = |own: i64, of_day: i64| if own == 0 { of_day } else { own };
    let of_day = read.seconds_of_day;
    let mut hour = either(read.hour, of_day / 3_600);
    let minute = either(read.minute, of_day / 60 % 60);
    let second = either(read.second, of_day % 60);
    if read.twelve_hours {
        if !(1..=12).contains(&hour) {
            let message = format!("hour \"{hour}\" is invalid for the 12-hour clock");
            let hint = "Use the 24-hour clock, or give an hour between 1 and 12.";
            return Err(wrong(message).hint(hint));
        }
        hour = hour % 12 + if read.afternoon == 0 { 0 } else { 12 };
    }
    let micros = read.millis * 1_000 + read.micros;
    let fits = (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second)
        && (0..SECOND).contains(&micros);
    match fits {
        true => Ok((hour * 3_600 + minute * 60 + second) * SECOND + micros),
        false => Err(overflow(text)),
    }
}

/// Year 0 is 1 BC.
fn year(read: &Read) -> i64 {
    let is_before = read.before_christ != 0;
    let century = if is_before { -read.century } else { read.century };
    match (read.year, century) {
        (0, 0) => 0,
        (0, century) if century > 0 => (century - 1) * 100 + 1,
        (0, century) => century * 100 + 1,
        (year, century) if century != 0 && read.year_size <= 2 => match year % 100 {
            0 => century * 100 + i64::from(century < 0),
            year if century > 0 => year + (century - 1) * 100,
            year => (century + 1) * 100 - year + 1,
        },
        (year, _) => {
            let year = if is_before { -year } else { year };
            if year < 0 { year + 1 } else { year }
        }
    }
}

/// Days since 1970.
fn day(read: &Read, text: &str) -> Result<i64, Report> {
    let (mut year, mut month, mut day) = (year(read), 1, 1);
    let by_weeks = read.by_weeks == Some(true);
    let mut day_of_year = read.day_of_year;
    let mut set = |julian: i64| (year, month, day) = civil(julian - EPOCH);
    if read.julian != 0 {
        set(read.julian);
    }
    if read.week != 0 {
        match (by_weeks, read.weekday) {
            (false, _) => day_of_year = (read.week - 1) * 7 + 1,
            (true, 0) => set(monday(self::year(read), read.week)),
            (true, 1) => set(monday(self::year(read), read.week) + 6),
            (true, weekday) => set(monday(self::year(read), read.week) + weekday - 2),
        }
    }
    let of_month = match read.week_of_month {
        0 => read.day,
        week => (week - 1) * 7 + 1,
    };
    day = if of_month == 0 { day } else { of_month };
    month = if read.month == 0 { month } else { read.month };
    if day_of_year != 0 && (month <= 1 || day <= 1) {
        if year == 0 && read.before_christ == 0 {
            let message = "cannot calculate day of year without year information";
            return Err(wrong(message.to_owned()));
        }
        let first = match by_weeks {
            true => monday(year, 1) - EPOCH,
            false => input::days(year, 1, 1).ok_or_else(|| overflow(text))?,
        };
        let (of_year, found_month, found_day) = civil(first + day_of_year - 1);
        if by_weeks {
            (year, month, day) = (of_year, found_month, found_day);
        } else if of_year != year {
            return Err(overflow(text));
        } else {
            month = if month <= 1 { found_month } else { month };
            day = if day <= 1 { found_day } else { day };
        }
    }
    input::days(year, month, day).ok_or_else(|| overflow(text))
}
