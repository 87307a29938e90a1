//! Values written as text.

use std::num::IntErrorKind;
use std::str::FromStr;

use arrow::array::{ArrayRef, StringArray};
use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, IntervalMonthDayNano, i256};
use datafusion::common::ScalarValue;
use millrace_types::{NUMERIC_PRECISION, NUMERIC_SCALE, Report, SqlState, SqlType, timestamptz};

use super::{array, invalid, out_of_range};

/// Reads text as a value of a type.
pub(super) fn value(text: &str, sql: &SqlType) -> Result<ScalarValue, Report> {
    Ok(match sql {
        SqlType::Boolean => {
            ScalarValue::Boolean(Some(boolean(text).ok_or_else(|| invalid(sql, text))?))
        }
        SqlType::SmallInt => ScalarValue::Int16(Some(integer(text, sql)?)),
        SqlType::Integer => ScalarValue::Int32(Some(integer(text, sql)?)),
        SqlType::BigInt => ScalarValue::Int64(Some(integer(text, sql)?)),
        SqlType::Numeric(size) => numeric(text, *size)?,
        SqlType::Real => {
            let value: f32 = float(text, sql, |value: &f32| value.is_infinite())?;
            ScalarValue::Float32(Some(value))
        }
        SqlType::Double => {
            let value: f64 = float(text, sql, |value: &f64| value.is_infinite())?;
            ScalarValue::Float64(Some(value))
        }
        SqlType::Text => ScalarValue::Utf8(Some(text.to_owned())),
        SqlType::Bytea => ScalarValue::Binary(Some(bytea(text).ok_or_else(|| invalid(sql, text))?)),
        SqlType::Date | SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz => {
            temporal(text, sql)?
        }
        SqlType::Interval => {
            let interval = interval(text.trim()).ok_or_else(|| invalid(sql, text))?;
            ScalarValue::IntervalMonthDayNano(Some(interval))
        }
        SqlType::Array(element) => array::parse(text, element)?,
    })
}

/// Any prefix of the words counts that means one of them only.
fn boolean(text: &str) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    let is_prefix_of = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    if text == "1" || text == "on" || is_prefix_of("true", 1) || is_prefix_of("yes", 1) {
        Some(true)
    } else if text == "0"
        || is_prefix_of("off", 2)
        || is_prefix_of("false", 1)
        || is_prefix_of("no", 1)
    {
        Some(false)
    } else {
        None
    }
}

fn integer<T: FromStr<Err = std::num::ParseIntError>>(
    text: &str,
    sql: &SqlType,
) -> Result<T, Report> {
    text.trim().parse::<T>().map_err(|error| match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => out_of_range(sql, text.trim()),
        _ => invalid(sql, text),
    })
}

fn float<T: FromStr>(
    text: &str,
    sql: &SqlType,
    is_infinite: impl Fn(&T) -> bool,
) -> Result<T, Report> {
    let trimmed = text.trim();
    let value: T = trimmed.parse().map_err(|_| invalid(sql, text))?;
    let meant = trimmed.trim_start_matches(['-', '+']).starts_with(['i', 'I']);
    if is_infinite(&value) && !meant {
        return Err(Report::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("\"{trimmed}\" is out of range for type {}", sql.name()),
        ));
    }
    Ok(value)
}

/// Reads a decimal number with an optional exponent.
pub(super) fn numeric(text: &str, size: Option<(u8, i8)>) -> Result<ScalarValue, Report> {
    let sql = SqlType::Numeric(None);
    let (precision, scale) = size.unwrap_or((NUMERIC_PRECISION, NUMERIC_SCALE));
    let trimmed = text.trim();
    let name = trimmed.trim_start_matches(['-', '+']).to_ascii_lowercase();
    if matches!(name.as_str(), "nan" | "inf" | "infinity") {
        return Err(Report::unsupported(format!("numeric value {trimmed}")));
    }
    let overflow = || {
        let detail = format!(
            "A field with precision {precision}, scale {scale} must round to an absolute value less \
             than 10^{}.",
            i16::from(precision) - i16::from(scale)
        );
        Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow").detail(detail)
    };
    let (negative, digits, exponent) = scientific(trimmed).ok_or_else(|| invalid(&sql, text))?;
    let magnitude = scaled(&digits, exponent + i64::from(scale)).ok_or_else(overflow)?;
    let limit = i256::from_i128(10).checked_pow(u32::from(precision)).ok_or_else(overflow)?;
    if magnitude >= limit {
        return Err(overflow());
    }
    let value = if negative { magnitude.wrapping_neg() } else { magnitude };
    Ok(match (size, value.to_i128()) {
        (Some((precision, scale)), Some(value)) if precision <= 38 => {
            ScalarValue::Decimal128(Some(value), precision, scale)
        }
        _ => ScalarValue::Decimal256(Some(value), precision, scale),
    })
}

/// Sign, digits and exponent: the value is `digits * 10^exponent`.
fn scientific(text: &str) -> Option<(bool, String, i64)> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, i64::from(exponent.parse::<i32>().ok()?)),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((negative, digits, exponent - i64::try_from(fraction.len()).ok()?))
}

/// `digits * 10^shift`, rounded half away from zero; None beyond 76 digits.
fn scaled(digits: &str, shift: i64) -> Option<i256> {
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(i256::ZERO);
    }
    let limit = usize::from(NUMERIC_PRECISION);
    if let Ok(zeros) = usize::try_from(shift) {
        if digits.len().saturating_add(zeros) > limit {
            return None;
        }
        return i256::from_string(&format!("{digits}{}", "0".repeat(zeros)));
    }
    let dropped = usize::try_from(shift.unsigned_abs()).ok()?;
    if dropped > digits.len() {
        return Some(i256::ZERO);
    }
    let (kept, rest) = digits.split_at(digits.len() - dropped);
    if kept.len() > limit {
        return None;
    }
    let kept = if kept.is_empty() { i256::ZERO } else { i256::from_string(kept)? };
    let up = rest.as_bytes().first().is_some_and(|digit| *digit >= b'5');
    Some(if up { kept.wrapping_add(i256::ONE) } else { kept })
}

fn bytea(text: &str) -> Option<Vec<u8>> {
    if let Some(hex) = text.strip_prefix("\\x") {
        let digits: Vec<u32> = hex
            .chars()
            .filter(|c| !c.is_ascii_whitespace())
            .map(|c| c.to_digit(16))
            .collect::<Option<_>>()?;
        let (pairs, rest) = digits.as_chunks::<2>();
        let bytes = pairs.iter().map(|[high, low]| u8::try_from(high * 16 + low).ok());
        return if rest.is_empty() { bytes.collect() } else { None };
    }
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next()? {
            b'\\' => out.push(b'\\'),
            first => {
                let octal = [first, bytes.next()?, bytes.next()?];
                out.push(u8::from_str_radix(std::str::from_utf8(&octal).ok()?, 8).ok()?);
            }
        }
    }
    Some(out)
}

fn temporal(text: &str, sql: &SqlType) -> Result<ScalarValue, Report> {
    let trimmed = text.trim();
    let infinite = match trimmed.to_ascii_lowercase().as_str() {
        "infinity" => Some(true),
        "-infinity" => Some(false),
        _ => None,
    };
    if let (Some(positive), false) = (infinite, matches!(sql, SqlType::Time)) {
        let days = if positive { i32::MAX } else { i32::MIN };
        let microseconds = if positive { i64::MAX } else { i64::MIN };
        return Ok(match sql {
            SqlType::Date => ScalarValue::Date32(Some(days)),
            SqlType::Timestamp => ScalarValue::TimestampMicrosecond(Some(microseconds), None),
            _ => ScalarValue::TimestampMicrosecond(
                Some(microseconds),
                Some(millrace_types::TIME_ZONE.into()),
            ),
        });
    }
    let wanted = match sql {
        SqlType::TimestampTz => timestamptz(),
        other => other.arrow(),
    };
    parsed(trimmed, &wanted).ok_or_else(|| invalid(sql, text))
}

/// Reads text by Arrow's cast.
fn parsed(text: &str, wanted: &DataType) -> Option<ScalarValue> {
    let array: ArrayRef = std::sync::Arc::new(StringArray::from(vec![text]));
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let array = cast_with_options(&array, wanted, &options).ok()?;
    ScalarValue::try_from_array(&array, 0).ok().filter(|scalar| !scalar.is_null())
}

/// Units by Arrow's parser, `[-]h:mm[:ss[.f]]` by ours.
fn interval(text: &str) -> Option<IntervalMonthDayNano> {
    let (clock, units): (Vec<&str>, Vec<&str>) =
        text.split_whitespace().partition(|word| word.contains(':'));
    let units: Vec<&str> =
        units.into_iter().map(|word| word.strip_prefix('+').unwrap_or(word)).collect();
    if units.is_empty() && clock.is_empty() || clock.len() > 1 {
        return None;
    }
    let base = if units.is_empty() {
        IntervalMonthDayNano::ZERO
    } else {
        parse_interval_month_day_nano(&units.join(" ")).ok()?
    };
    let time = match clock.first() {
        Some(clock) => clock_nanoseconds(clock)?,
        None => 0,
    };
    let nanoseconds = base.nanoseconds.checked_add(time)?;
    Some(IntervalMonthDayNano::new(base.months, base.days, nanoseconds))
}

fn clock_nanoseconds(text: &str) -> Option<i64> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = rest.split(':');
    let number = |part: &str| -> Option<i64> {
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten()
    };
    let (hours, minutes) = (number(parts.next()?)?, number(parts.next()?)?);
    let (seconds, fraction) = match parts.next() {
        None => (0, 0),
        Some(part) => {
            let (whole, fraction) = part.split_once('.').unwrap_or((part, ""));
            let fraction: String = fraction.chars().chain("000000000".chars()).take(9).collect();
            (number(whole)?, number(&fraction)?)
        }
    };
    if parts.next().is_some() || minutes > 59 || seconds > 60 {
        return None;
    }
    let seconds = hours.checked_mul(3_600)?.checked_add(minutes * 60 + seconds)?;
    let nanoseconds = seconds.checked_mul(1_000_000_000)?.checked_add(fraction)?;
    Some(if negative { -nanoseconds } else { nanoseconds })
}
