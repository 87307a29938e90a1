//! Values as PostgreSQL writes them: what `::text` gives.

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType, i256,
};
use datafusion::common::Result;
use millrace_types::input::{self, Zone, uuid_text};
use millrace_types::json::{self, Json};
use millrace_types::{NUMERIC_PRECISION, NUMERIC_SCALE};

use super::{DAY, nested, plain, plain_unit};

const SECOND: i64 = 1_000_000;

/// The texts of a column.
pub(in crate::functions) fn texts(array: &ArrayRef) -> Result<StringArray> {
    macro_rules! each {
        ($kind:ty, $array:expr, $show:expr) => {
            $array.as_primitive::<$kind>().iter().map(|value| value.map($show)).collect()
        };
    }
    Ok(match array.data_type() {
        DataType::Float64 => each!(Float64Type, array, |v: f64| float(&format!("{v:e}"), 15)),
        DataType::Float32 => each!(Float32Type, array, |v: f32| float(&format!("{v:e}"), 6)),
        DataType::Decimal128(_, scale) => {
            each!(Decimal128Type, array, |v| decimal(i256::from_i128(v), *scale, false))
        }
        DataType::Decimal256(precision, scale) => {
            let trim = (*precision, *scale) == (NUMERIC_PRECISION, NUMERIC_SCALE);
            each!(Decimal256Type, array, |v| decimal(v, *scale, trim))
        }
        DataType::Date32 => each!(Date32Type, array, date),
        DataType::Time64(_) => {
            let array = plain(array, &DataType::Time64(arrow::datatypes::TimeUnit::Microsecond))?;
            each!(Time64MicrosecondType, array, clock)
        }
        DataType::Timestamp(_, zone) => {
            let suffix = if zone.is_some() { "+00" } else { "" };
            let array = plain_unit::<TimestampMicrosecondType>(array)?;
            each!(TimestampMicrosecondType, array, |v| timestamp(v, suffix))
        }
        DataType::Interval(_) | DataType::Duration(_) => {
            let array = plain_unit::<IntervalMonthDayNanoType>(array)?;
            each!(IntervalMonthDayNanoType, array, interval)
        }
        DataType::LargeBinary => {
            let values = array.as_binary::<i64>();
            values.iter().map(|value| value.map(json_text)).collect()
        }
        DataType::FixedSizeBinary(16) => {
            array.as_fixed_size_binary().iter().map(|value| value.map(uuid)).collect()
        }
        DataType::List(_) => nested::array_texts(array.as_list::<i32>())?,
        DataType::Struct(_) => nested::record_texts(array.as_struct())?,
        DataType::Binary | DataType::BinaryView => {
            let array = plain(array, &DataType::Binary)?;
            array.as_binary::<i32>().iter().map(|value| value.map(hexadecimal)).collect()
        }
        _ => plain(array, &DataType::Utf8)?.as_string::<i32>().clone(),
    })
}

/// A float from its shortest digits with an exponent: plain up to so many digits, as C's `%g`.
fn float(scientific: &str, plain_digits: i32) -> String {
    let special = [("NaN", "NaN"), ("inf", "Infinity"), ("-inf", "-Infinity")];
    if let Some((_, shown)) = special.into_iter().find(|(name, _)| *name == scientific) {
        return shown.to_owned();
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    if !(-4..plain_digits).contains(&exponent) {
        let direction = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{direction}{:02}", exponent.unsigned_abs());
    }
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let Ok(before) = usize::try_from(exponent + 1) else {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("{sign}0.{zeros}{digits}");
    };
    match (digits.len() > before, before) {
        (true, 0) => format!("{sign}0.{digits}"),
        (true, _) => format!("{sign}{}.{}", &digits[..before], &digits[before..]),
        (false, _) => format!("{sign}{digits}{}", "0".repeat(before - digits.len())),
    }
}

fn decimal(value: i256, scale: i8, trim: bool) -> String {
    let places = usize::from(scale.max(0).unsigned_abs());
    let sign = if value.is_negative() { "-" } else { "" };
    let magnitude = value.to_string();
    let digits = format!("{:0>width$}", magnitude.trim_start_matches('-'), width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let fraction = if trim { fraction.trim_end_matches('0') } else { fraction };
    let zeros = "0".repeat(usize::from(scale.min(0).unsigned_abs()));
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{zeros}{point}{fraction}")
}

/// Year, month and day of a day number; in the Gregorian calendar, year 0 is 1 BC.
pub(in crate::functions) fn civil(days: i64) -> (i64, i64, i64) {
    // Eras of 400 years that begin on 1 March, so that the leap day is the last of its year.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day - (153 * shifted + 2) / 5 + 1)
}

/// The date, and what goes to the end of the whole.
fn day(days: i64) -> (String, &'static str) {
    let (year, month, day) = civil(days);
    let (shown, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{shown:04}-{month:02}-{day:02}"), era)
}

fn date(days: i32) -> String {
    match days {
        i32::MAX => "infinity".to_owned(),
        i32::MIN => "-infinity".to_owned(),
        days => {
            let (date, era) = day(i64::from(days));
            date + era
        }
    }
}

fn clock(micros: i64) -> String {
    let seconds = micros / SECOND;
    let mut shown = format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if micros % SECOND != 0 {
        let fraction = format!(".{:06}", micros % SECOND);
        shown.push_str(fraction.trim_end_matches('0'));
    }
    shown
}

fn timestamp(micros: i64, zone: &str) -> String {
    match micros {
        i64::MAX => "infinity".to_owned(),
        i64::MIN => "-infinity".to_owned(),
        micros => {
            let (date, era) = day(micros.div_euclid(DAY));
            format!("{date} {}{zone}{era}", clock(micros.rem_euclid(DAY)))
        }
    }
}

/// A time as a clock of a zone shows it, with its offset; as JSON has it if `is_iso`. None for a time beyond
/// all clocks.
pub(in crate::functions) fn at(time: i64, zone: Zone, is_iso: bool) -> Option<String> {
    let offset = zone.offset(time);
    let suffix = match is_iso && offset % 3_600 == 0 {
        true => format!("{}:00", input::east(offset)),
        false => input::east(offset),
    };
    let shown = timestamp(zone.reading(time)?, &suffix);
    Some(if is_iso { shown.replacen(' ', "T", 1) } else { shown })
}

fn interval(value: IntervalMonthDayNano) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut after_negative = false;
    // A plus shows that the minus before it does not go on.
    let plus = |after_negative: bool| if after_negative { "+" } else { "" };
    let units = [(value.months / 12, "year"), (value.months % 12, "mon"), (value.days, "day")];
    for (count, unit) in units.into_iter().filter(|(count, _)| *count != 0) {
        let sign = if count > 0 { plus(after_negative) } else { "" };
        let plural = if count == 1 { "" } else { "s" };
        parts.push(format!("{sign}{count} {unit}{plural}"));
        after_negative = count < 0;
    }
    let micros = value.nanoseconds / 1_000;
    if micros != 0 || parts.is_empty() {
        let sign = if micros < 0 { "-" } else { plus(after_negative) };
        parts.push(format!("{sign}{}", clock(micros.abs())));
    }
    parts.join(" ")
}

fn json_text(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(2 * bytes.len());
    json::show(Json::new(bytes), &mut shown);
    shown
}

fn uuid(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(36);
    uuid_text(bytes, &mut shown);
    shown
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(2 + 2 * bytes.len());
    shown.push_str("\\x");
    for byte in bytes {
        write!(shown, "{byte:02x}").expect("a string grows");
    }
    shown
}
