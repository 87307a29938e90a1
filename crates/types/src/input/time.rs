//! Dates, times of day and timestamps: ISO 8601 and its relatives, with zones by offset or by name.
//!
//! The order of the parts is free only where it cannot be mistaken: year first, or a month by its
//! name. `infinity` is the greatest number and `-infinity` the least, as PostgreSQL stores them.

use super::invalid;
use super::zone::Zone;
use crate::report::{Report, SqlState};
use crate::sqltype::SqlType;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// The days that PostgreSQL's types hold: from 4714 BC to the end of 5874897, and of 294276.
const DAYS_MIN: i64 = -2_440_588;
const DATE_MAX: i64 = 2_145_031_948;
const TIMESTAMP_MAX: i64 = 106_751_991;

/// Why text is no time.
enum Wrong {
    Syntax,
    /// The parts are there, but one of them is too large.
    Field,
    /// All parts are right, but the type does not hold the whole.
    Range,
    Displacement,
    Zone(String),
}

type Parsed<T> = Result<T, Wrong>;

fn explain(wrong: &Wrong, sql: &SqlType, text: &str) -> Report {
    let overflow = |message: String| Report::new(SqlState::DATETIME_FIELD_OVERFLOW, message);
    match wrong {
        Wrong::Syntax => invalid(sql, text),
        Wrong::Field => overflow(format!("date/time field value out of range: \"{text}\"")),
        Wrong::Range => {
            let name = if *sql == SqlType::Date { "date" } else { "timestamp" };
            overflow(format!("{name} out of range: \"{text}\""))
        }
        Wrong::Displacement => {
            let message = format!("time zone displacement out of range: \"{text}\"");
            Report::new(SqlState::INVALID_TIME_ZONE_DISPLACEMENT, message)
        }
        Wrong::Zone(name) => {
            let message = format!("time zone \"{name}\" not recognized");
            Report::new(SqlState::INVALID_PARAMETER_VALUE, message)
        }
    }
}

/// `date`: days since 1970. A time of day is passed over.
///
/// # Errors
/// `22007`, `22008`.
pub fn date(text: &str) -> Result<i32, Report> {
    let days = || match infinite(text) {
        Some(true) => Ok(i32::MAX),
        Some(false) => Ok(i32::MIN),
        None => {
            let days = moment(text)?.days;
            let held = Some(days).filter(|days| (DAYS_MIN..=DATE_MAX).contains(days));
            held.and_then(|days| i32::try_from(days).ok()).ok_or(Wrong::Range)
        }
    };
    days().map_err(|wrong| explain(&wrong, &SqlType::Date, text))
}

/// `time`: microseconds since midnight. A date before it is passed over.
///
/// # Errors
/// `22007`, `22008`.
pub fn time(text: &str) -> Result<i64, Report> {
    let alone = || {
        let mut reader = Reader { rest: text.trim() };
        if text.trim().eq_ignore_ascii_case("allballs") {
            return Ok(0);
        }
        let clock = reader.clock(true)?;
        reader.zone().map(|_| clock)
    };
    let clock = || match alone() {
        Err(Wrong::Syntax) => moment(text)?.clock.ok_or(Wrong::Syntax),
        found => found,
    };
    clock().map_err(|wrong| explain(&wrong, &SqlType::Time, text))
}

/// `timestamp`: microseconds since 1970 as the clock on the wall shows them. A zone is passed over.
///
/// # Errors
/// `22007`, `22008`.
pub fn timestamp(text: &str) -> Result<i64, Report> {
    let local = || match infinite(text) {
        Some(positive) => Ok(if positive { i64::MAX } else { i64::MIN }),
        None => moment(text)?.local(),
    };
    local().map_err(|wrong| explain(&wrong, &SqlType::Timestamp, text))
}

/// `timestamp with time zone`: microseconds since 1970 in UTC. A text without a zone is read in UTC.
///
/// # Errors
/// `22007`, `22008`, and `22023` for a zone that is not known.
pub fn timestamptz(text: &str) -> Result<i64, Report> {
    timestamptz_in(text, Zone::Utc)
}

/// `timestamp with time zone`: microseconds since 1970 in UTC. A text without a zone is read in `zone`.
///
/// # Errors
/// As of [`timestamptz`].
pub fn timestamptz_in(text: &str, zone: Zone) -> Result<i64, Report> {
    let utc = || match infinite(text) {
        Some(positive) => Ok(if positive { i64::MAX } else { i64::MIN }),
        None => {
            let moment = moment(text)?;
            moment.zone.unwrap_or(zone).time(moment.local()?).ok_or(Wrong::Range)
        }
    };
    utc().map_err(|wrong| explain(&wrong, &SqlType::TimestampTz, text))
}

/// Seconds of an offset alone, `+03`, `-0330` or `+03:30:15`; None for other texts.
pub(super) fn displacement(text: &str) -> Option<i64> {
    match (Reader { rest: text }).zone() {
        Ok(Some(Zone::East(seconds))) if text.starts_with(['+', '-']) => Some(seconds),
        _ => None,
    }
}

/// Days since 1970 of a date of the Gregorian calendar, in which year 0 is 1 BC; None for a day that is not
/// there, or that no type holds.
pub fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let held = |days: &i64| (DAYS_MIN..=DATE_MAX).contains(days);
    let is_near = (-10_000..10_000_000).contains(&year);
    days_of(year, month, day).ok().filter(|days| is_near && held(days))
}

/// True for microseconds since 1970 that a timestamp holds.
pub fn is_timestamp(micros: i64) -> bool {
    (DAYS_MIN..=TIMESTAMP_MAX).contains(&micros.div_euclid(DAY))
}

fn infinite(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "infinity" => Some(true),
        "-infinity" => Some(false),
        _ => None,
    }
}

/// What a text says.
struct Moment {
    days: i64,
    /// Microseconds since midnight, up to the end of the day.
    clock: Option<i64>,
    zone: Option<Zone>,
}

impl Moment {
    fn local(&self) -> Parsed<i64> {
        if !(DAYS_MIN..=TIMESTAMP_MAX).contains(&self.days) {
            return Err(Wrong::Range);
        }
        let micros = self.days.checked_mul(DAY).ok_or(Wrong::Range)?;
        micros.checked_add(self.clock.unwrap_or(0)).ok_or(Wrong::Range)
    }
}

fn moment(text: &str) -> Parsed<Moment> {
    let mut trimmed = text.trim();
    if trimmed.eq_ignore_ascii_case("epoch") {
        return Ok(Moment { days: 0, clock: Some(0), zone: Some(Zone::Utc) });
    }
    let mut before_christ = false;
    for (era, negative) in [(" bc", true), (" ad", false)] {
        let cut = trimmed.len().saturating_sub(era.len());
        if trimmed.get(cut..).is_some_and(|end| end.eq_ignore_ascii_case(era)) {
            trimmed = &trimmed[..cut];
            before_christ = negative;
            break;
        }
    }
    let mut reader = Reader { rest: trimmed };
    let days = match reader.julian() {
        Some(days) => days,
        None => {
            let (year, month, day) = reader.date(before_christ)?;
            if year == 0 {
                return Err(Wrong::Field);
            }
            days_of(if before_christ { 1 - year } else { year }, month, day)?
        }
    };
    let mut moment = Moment { days, clock: None, zone: None };
    let apart = reader.skip(|c| c == 'T' || c == 't') || reader.skip(char::is_whitespace);
    if !reader.rest.is_empty() {
        if apart && reader.rest.starts_with(|c: char| c.is_ascii_digit()) {
            moment.clock = Some(reader.clock(false)?);
        }
        moment.zone = reader.zone()?;
    }
    Ok(moment)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip(&mut self, wanted: impl Fn(char) -> bool) -> bool {
        let found = self.rest.starts_with(&wanted);
        if found {
            self.rest = self.rest.trim_start_matches(wanted);
        }
        found
    }

    fn one(&mut self, wanted: &[char]) -> bool {
        match self.rest.chars().next() {
            Some(c) if wanted.contains(&c) => {
                self.rest = &self.rest[c.len_utf8()..];
                true
            }
            _ => false,
        }
    }

    /// The digits that come next.
    fn digits(&mut self) -> &str {
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        digits
    }

    /// A number of `least` to `most` digits.
    fn number(&mut self, least: usize, most: usize) -> Parsed<i64> {
        let digits = self.digits();
        let fits = (least..=most).contains(&digits.len());
        fits.then(|| digits.parse().ok()).flatten().ok_or(Wrong::Syntax)
    }

    /// `J2451187`: days since 4714 BC, as days since 1970.
    fn julian(&mut self) -> Option<i64> {
        let days = self.rest.strip_prefix(['J', 'j'])?;
        let length = days.bytes().take_while(u8::is_ascii_digit).count();
        let found = days[..length].parse::<i64>().ok().filter(|days| *days < DATE_MAX)?;
        self.rest = &days[length..];
        Some(found + DAYS_MIN)
    }

    /// A year; two digits are those around 2020, but not before Christ.
    fn year(&mut self, before_christ: bool) -> Parsed<i64> {
        let before = self.rest.len();
        let year = self.number(1, 6)?;
        let is_short = before - self.rest.len() <= 2 && !before_christ;
        Ok(if is_short { of_century(year) } else { year })
    }

    /// Year, month and day.
    fn date(&mut self, before_christ: bool) -> Parsed<(i64, i64, i64)> {
        if let Some(month) = self.month_name() {
            self.skip(|c| c == ' ' || c == '-' || c == '.');
            let day = self.number(1, 2)?;
            self.skip(|c| c == ' ' || c == ',' || c == '-');
            return Ok((self.year(before_christ)?, month, day));
        }
        let first = self.digits().to_owned();
        let number = |digits: &str| digits.parse::<i64>().map_err(|_| Wrong::Syntax);
        if first.len() == 8 && !self.rest.starts_with(['-', '/']) {
            return Ok((number(&first[..4])?, number(&first[4..6])?, number(&first[6..])?));
        }
        if first.len() == 6 && !self.rest.starts_with(['-', '/', '.']) {
            let year = of_century(number(&first[..2])?);
            return Ok((year, number(&first[2..4])?, number(&first[4..])?));
        }
        let separators: &[char] = &['-', '/', '.', ' '];
        if first.len() <= 2 && !first.is_empty() {
            self.one(separators);
            if let Some(month) = self.month_name() {
                self.one(separators);
                return Ok((self.year(before_christ)?, month, number(&first)?));
            }
            // Month, day, year: PostgreSQL's default where the year is last.
            let day = self.number(1, 2)?;
            return match self.one(&['-', '/', '.']) {
                true => Ok((self.year(before_christ)?, number(&first)?, day)),
                false => Err(Wrong::Syntax),
            };
        }
        if first.len() < 3 || first.len() > 7 || !self.one(&['-', '/', '.']) {
            return Err(Wrong::Syntax);
        }
        let month = match self.month_name() {
            Some(month) => month,
            None => {
                let before = self.rest.len();
                let number = self.number(1, 3)?;
                if before - self.rest.len() == 3 {
                    return day_of_year(first.parse().map_err(|_| Wrong::Syntax)?, number);
                }
                number
            }
        };
        match self.one(&['-', '/', '.']) {
            true => Ok((number(&first)?, month, self.number(1, 2)?)),
            false => Err(Wrong::Syntax),
        }
    }

    fn month_name(&mut self) -> Option<i64> {
        const MONTHS: [&str; 12] = [
            "january",
            "february",
            "march",
            "april",
            "may",
            "june",
            "july",
            "august",
            "september",
            "october",
            "november",
            "december",
        ];
        let length = self.rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let word = self.rest[..length].to_ascii_lowercase();
        let is = |month: &&str| word == month[..3] || word == **month;
        let found = if word == "sept" { Some(8) } else { MONTHS.iter().position(is) };
        let month = i64::try_from(found?).ok()? + 1;
        self.rest = &self.rest[length..];
        Some(month)
    }

    /// Microseconds since midnight. Hours alone, without minutes, are digits in one row.
    fn clock(&mut self, alone: bool) -> Parsed<i64> {
        let first = self.digits().to_owned();
        let number = |digits: &str| digits.parse::<i64>().map_err(|_| Wrong::Syntax);
        let (hour, minute, second) = if self.one(&[':']) {
            let hour = if first.len() <= 2 { number(&first)? } else { return Err(Wrong::Syntax) };
            let minute = self.number(1, 2)?;
            let second = if self.one(&[':']) { self.number(1, 2)? } else { 0 };
            (hour, minute, second)
        } else if first.len() == 6 || (first.len() == 4 && alone) {
            let second = first.get(4..).filter(|digits| !digits.is_empty());
            (number(&first[..2])?, number(&first[2..4])?, second.map_or(Ok(0), number)?)
        } else {
            return Err(Wrong::Syntax);
        };
        let micros = if self.one(&['.']) { self.fraction()? } else { 0 };
        let hour = self.half_of_day(hour)?;
        let clock = (hour * 3_600 + minute * 60 + second) * SECOND + micros;
        let fits = hour <= 24 && minute < 60 && second <= 60 && clock <= DAY;
        if fits { Ok(clock) } else { Err(Wrong::Field) }
    }

    /// Digits behind the point as microseconds, rounded.
    fn fraction(&mut self) -> Parsed<i64> {
        let digits = self.digits();
        let padded: String = digits.chars().chain("0000000".chars()).take(7).collect();
        let tenths = padded.parse::<i64>().map_err(|_| Wrong::Syntax)?;
        Ok((tenths + 5) / 10)
    }

    /// The hour, with what `AM` or `PM` behind it makes of it.
    fn half_of_day(&mut self, hour: i64) -> Parsed<i64> {
        let rest = self.rest.trim_start();
        let after = match rest.get(..2) {
            Some(word) if word.eq_ignore_ascii_case("am") => 0,
            Some(word) if word.eq_ignore_ascii_case("pm") => 12,
            _ => return Ok(hour),
        };
        if rest[2..].starts_with(|c: char| c.is_alphanumeric()) {
            return Ok(hour);
        }
        self.rest = &rest[2..];
        if hour > 12 { Err(Wrong::Field) } else { Ok(hour % 12 + after) }
    }

    /// The zone, which is the rest of the text.
    fn zone(&mut self) -> Parsed<Option<Zone>> {
        let text = self.rest.trim();
        self.rest = text;
        let west = match text.chars().next() {
            None => return Ok(None),
            Some('-') => true,
            Some('+') => false,
            Some(c) if c.is_ascii_alphabetic() => {
                let is_name = text.contains('/') || text.contains('_');
                let unknown =
                    if is_name { Wrong::Zone(text.to_lowercase()) } else { Wrong::Syntax };
                return Zone::named(text).map(Some).ok_or(unknown);
            }
            Some(_) => return Err(Wrong::Syntax),
        };
        self.rest = &text[1..];
        let hours = self.digits().to_owned();
        let number = |digits: &str| digits.parse::<i64>().map_err(|_| Wrong::Syntax);
        let (hours, mut minutes, mut seconds) = match hours.len() {
            1 | 2 => (number(&hours)?, 0, 0),
            4 => (number(&hours[..2])?, number(&hours[2..])?, 0),
            _ => return Err(Wrong::Syntax),
        };
        if self.one(&[':']) {
            minutes = self.number(2, 2)?;
            if self.one(&[':']) {
                seconds = self.number(2, 2)?;
            }
        }
        if !self.rest.is_empty() {
            return Err(Wrong::Syntax);
        }
        if hours > 15 || minutes > 59 || seconds > 59 {
            return Err(Wrong::Displacement);
        }
        let offset = hours * 3_600 + minutes * 60 + seconds;
        Ok(Some(Zone::East(if west { -offset } else { offset })))
    }
}

/// The year of which two digits are written.
fn of_century(year: i64) -> i64 {
    year + if year < 70 { 2_000 } else { 1_900 }
}

/// The date of the n-th day of a year.
fn day_of_year(year: i64, day: i64) -> Parsed<(i64, i64, i64)> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut left = day;
    for (month, length) in (1..).zip(lengths) {
        if (1..=length).contains(&left) {
            return Ok((year, month, left));
        }
        left -= length;
    }
    Err(Wrong::Field)
}

fn days_of(year: i64, month: i64, day: i64) -> Parsed<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        1..=12 => 31,
        _ => return Err(Wrong::Field),
    };
    match (1..=last).contains(&day) {
        true => Ok(days_from_civil(year, month, day)),
        false => Err(Wrong::Field),
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
