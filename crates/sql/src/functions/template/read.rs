//! Text read by a template.

use millrace_types::{Report, SqlState, input};

use super::fields::{DAYS, Field, MONTHS, Part};

/// What has been read; what has not begins its unit.
#[derive(Default)]
struct Read {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    afternoon: Option<bool>,
    before_christ: bool,
    zone: i64,
}

/// Days since 1970.
pub(super) fn date(text: &str, parts: &[Part]) -> Result<i32, Report> {
    input::date(&written(&read(text, parts)?)).map_err(|report| about(report, text))
}

/// Microseconds since 1970 in UTC.
pub(super) fn timestamp(text: &str, parts: &[Part]) -> Result<i64, Report> {
    let read = read(text, parts)?;
    let whole = input::timestamptz(&written(&read)).map_err(|report| about(report, text))?;
    Ok(whole + read.micros - read.zone * 1_000_000)
}

/// The report on the text that the user wrote.
fn about(report: Report, text: &str) -> Report {
    match report.message.split_once(": ") {
        Some((start, _)) => Report { message: format!("{start}: \"{text}\""), ..report },
        None => report,
    }
}

/// The parts in the order that every reader of times takes.
fn written(read: &Read) -> String {
    let hour = match read.afternoon {
        Some(afternoon) => read.hour % 12 + if afternoon { 12 } else { 0 },
        None => read.hour,
    };
    let (month, day) = match (read.month, read.day, read.day_of_year) {
        (None, None, Some(day)) => month_and_day(read.year.unwrap_or(0), day),
        (month, day, _) => (month.unwrap_or(1), day.unwrap_or(1)),
    };
    let year = read.year.unwrap_or(0);
    let (year, era) = match (year <= 0, read.before_christ) {
        (true, _) => (1 - year, " BC"),
        (false, true) => (year, " BC"),
        (false, false) => (year, ""),
    };
    let clock = format!("{hour:02}:{:02}:{:02}", read.minute, read.second);
    format!("{year:04}-{month:02}-{day:02} {clock}{era}")
}

fn month_and_day(year: i64, mut day: i64) -> (i64, i64) {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    for (month, length) in (1..).zip(lengths) {
        if day <= length {
            return (month, day);
        }
        day -= length;
    }
    (13, day)
}

fn read(text: &str, parts: &[Part]) -> Result<Read, Report> {
    let mut read = Read::default();
    let mut rest = text.trim_start();
    for (at, part) in parts.iter().enumerate() {
        match part {
            Part::Character(c, quoted) => {
                let next = rest.chars().next();
                let separates = next.is_some_and(|n| !n.is_alphanumeric() && n != '-' && n != '+');
                let is_same = next == Some(*c);
                if is_same || *quoted || (separates && !c.is_alphanumeric()) {
                    rest = &rest[next.map_or(0, char::len_utf8)..];
                }
            }
            Part::Field(field) => {
                rest = rest.trim_start();
                if rest.is_empty() {
                    break;
                }
                let adjoins = matches!(parts.get(at + 1), Some(Part::Field(_)));
                rest = self::field(field, adjoins, rest, &mut read)?;
                if field.ordinal.is_some() {
                    rest = rest.get(2..).unwrap_or_default();
                }
            }
        }
    }
    Ok(read)
}

/// Reads one field; what follows it.
fn field<'a>(
    field: &Field,
    adjoins: bool,
    text: &'a str,
    read: &mut Read,
) -> Result<&'a str, Report> {
    let width = match field.name {
        "YYYY" => 4,
        "YYY" | "DDD" | "MS" | "FF3" => 3,
        "US" | "FF6" => 6,
        "SSSS" | "SSSSS" => 5,
        "Y" | "D" | "FF1" => 1,
        _ => 2,
    };
    // Digits go on to the next separator, unless another field follows at once.
    let most = if adjoins || field.name.starts_with("FF") { width } else { 9 };
    let number = || number(field, text, most);
    match field.name {
        "YYYY" | "YYY" | "YY" | "Y" => {
            let (value, rest, digits) = number()?;
            read.year = Some(year(field, value, digits));
            Ok(rest)
        }
        "MONTH" | "MON" => {
            let (month, rest) = name(field, text, &MONTHS)?;
            read.month = Some(month + 1);
            Ok(rest)
        }
        "DAY" | "DY" => name(field, text, &DAYS).map(|(_, rest)| rest),
        "AM" | "PM" | "A.M." | "P.M." => {
            let (afternoon, rest) = half_of_day(field, text)?;
            read.afternoon = Some(afternoon);
            Ok(rest)
        }
        "BC" | "AD" => {
            read.before_christ = text.starts_with(['b', 'B']);
            Ok(text.get(2..).unwrap_or_default())
        }
        "MS" | "US" | "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => {
            let (value, rest, digits) = number()?;
            // The digits stand behind a point.
            let scale = (digits..6).fold(1, |scale, _| scale * 10);
            read.micros = value * scale / (6..digits).fold(1, |scale, _| scale * 10);
            Ok(rest)
        }
        "TZH" => {
            let west = text.starts_with('-');
            let unsigned = text.trim_start_matches(['+', '-']);
            let (value, rest, _) = self::number(field, unsigned, 2)?;
            read.zone = if west { -value * 3_600 } else { value * 3_600 };
            Ok(rest)
        }
        other => {
            let (value, rest, _) = number()?;
            match other {
                "MM" => read.month = Some(value),
                "DD" => read.day = Some(value),
                "DDD" => read.day_of_year = Some(value),
                "HH24" => read.hour = value,
                "HH12" | "HH" if !(1..=12).contains(&value) => {
                    let message = format!("hour \"{value}\" is invalid for the 12-hour clock");
                    return Err(Report::new(SqlState::INVALID_DATETIME_FORMAT, message)
                        .hint("Use the 24-hour clock, or give an hour between 1 and 12."));
                }
                "HH12" | "HH" => {
                    read.hour = value;
                    read.afternoon.get_or_insert(false);
                }
                "MI" => read.minute = value,
                "SS" => read.second = value,
                "TZM" => read.zone += value * 60 * if read.zone < 0 { -1 } else { 1 },
                _ => return Err(Report::unsupported(format!("reading the field {other}"))),
            }
            Ok(rest)
        }
    }
}

/// True for the afternoon, and what follows.
fn half_of_day<'a>(field: &Field, text: &'a str) -> Result<(bool, &'a str), Report> {
    let afternoon = text.starts_with(['p', 'P']);
    if !afternoon && !text.starts_with(['a', 'A']) {
        return Err(invalid(field, text));
    }
    Ok((afternoon, text.get(field.name.len()..).unwrap_or_default()))
}

/// Two digits are the years around 2020, as PostgreSQL takes them.
fn year(field: &Field, value: i64, digits: usize) -> i64 {
    match digits {
        1 | 2 if field.name != "YYYY" => value + if value < 70 { 2_000 } else { 1_900 },
        3 if field.name == "YYY" => value + 2_000,
        _ => value,
    }
}

fn invalid(field: &Field, text: &str) -> Report {
    let value: String = text.chars().take(field.name.len()).collect();
    let message = format!("invalid value \"{value}\" for \"{}\"", field.written);
    Report::new(SqlState::INVALID_DATETIME_FORMAT, message)
}

/// A number, what follows it, and how many digits it has.
fn number<'a>(field: &Field, text: &'a str, most: usize) -> Result<(i64, &'a str, usize), Report> {
    let length = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(length);
    match digits.parse() {
        Ok(value) => Ok((value, rest, length)),
        Err(_) => Err(invalid(field, text).detail("Value must be an integer.")),
    }
}

/// The index of a name, whole or of three letters, and what follows it.
fn name<'a>(field: &Field, text: &'a str, names: &[&str]) -> Result<(i64, &'a str), Report> {
    let starts = |name: &str| text.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name));
    let whole = field.name.len() > 3 || field.name == "DAY";
    for (index, name) in (0..).zip(names) {
        let short = &name[..3];
        let found = if whole && starts(name) { Some(*name) } else { None };
        if let Some(found) = found.or_else(|| starts(short).then_some(short)) {
            return Ok((index, &text[found.len()..]));
        }
    }
    let report = invalid(field, text);
    Err(report.detail("The given value did not match any of the allowed values for this field."))
}
