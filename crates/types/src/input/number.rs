//! Numbers: integers, floats, and decimals with an exponent.

use std::num::IntErrorKind;
use std::str::FromStr;

use arrow::datatypes::i256;

use super::invalid;
use crate::report::{Report, SqlState};
use crate::sqltype::{NUMERIC_PRECISION, NUMERIC_SCALE, SqlType};

fn out_of_range(message: String) -> Report {
    Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

/// An integer of the width of `T`, which is what `sql` says.
///
/// # Errors
/// `22P02`, and `22003` for a number that is too large.
pub fn integer<T>(text: &str, sql: &SqlType) -> Result<T, Report>
where
    T: FromStr<Err = std::num::ParseIntError>,
{
    text.trim().parse::<T>().map_err(|error| match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => {
            out_of_range(format!("value \"{text}\" is out of range for type {}", sql.name()))
        }
        _ => invalid(sql, text),
    })
}

/// `double precision`
///
/// # Errors
/// `22P02`, and `22003` for a number that is too large or too small.
pub fn double(text: &str) -> Result<f64, Report> {
    let value: f64 = text.trim().parse().map_err(|_| invalid(&SqlType::Double, text))?;
    fitting(text, &SqlType::Double, value, value.is_infinite(), value == 0.0)
}

/// `real`
///
/// # Errors
/// `22P02`, and `22003` for a number that is too large or too small.
pub fn real(text: &str) -> Result<f32, Report> {
    let value: f32 = text.trim().parse().map_err(|_| invalid(&SqlType::Real, text))?;
    fitting(text, &SqlType::Real, value, value.is_infinite(), value == 0.0)
}

/// The value, unless its digits say something else than infinity or zero.
fn fitting<T>(
    text: &str,
    sql: &SqlType,
    value: T,
    is_infinite: bool,
    is_zero: bool,
) -> Result<T, Report> {
    let digits = text.trim().trim_start_matches(['-', '+']);
    let mantissa = digits.split(['e', 'E']).next().unwrap_or_default();
    let overflows = is_infinite && !digits.starts_with(['i', 'I']);
    let underflows = is_zero && mantissa.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    match overflows || underflows {
        true => {
            let name = sql.name();
            Err(out_of_range(format!("\"{}\" is out of range for type {name}", text.trim())))
        }
        false => Ok(value),
    }
}

/// The unscaled value of a `numeric`, with as many places as its type has.
///
/// # Errors
/// `22P02`; `22003` for a number with too many digits before the point; `0A000` for NaN and infinity.
pub fn numeric(text: &str, size: Option<(u8, i8)>) -> Result<i256, Report> {
    let (precision, scale) = size.unwrap_or((NUMERIC_PRECISION, NUMERIC_SCALE));
    let trimmed = text.trim();
    let name = trimmed.trim_start_matches(['-', '+']).to_ascii_lowercase();
    if matches!(name.as_str(), "nan" | "inf" | "infinity") {
        return Err(Report::unsupported(format!("numeric value {trimmed}")));
    }
    let (negative, digits, exponent) =
        scientific(trimmed).ok_or_else(|| invalid(&SqlType::Numeric(None), text))?;
    let overflow = || field_overflow(precision, scale);
    let magnitude = scaled(&digits, exponent + i64::from(scale)).ok_or_else(overflow)?;
    let limit = i256::from_i128(10).checked_pow(u32::from(precision)).ok_or_else(overflow)?;
    if magnitude >= limit {
        return Err(overflow());
    }
    Ok(if negative { magnitude.wrapping_neg() } else { magnitude })
}

/// The error for a value that `numeric(precision, scale)` does not hold.
pub fn field_overflow(precision: u8, scale: i8) -> Report {
    if (precision, scale) == (NUMERIC_PRECISION, NUMERIC_SCALE) {
        return out_of_range("value overflows numeric format".to_owned());
    }
    let whole = i16::from(precision) - i16::from(scale);
    let limit = if whole == 0 { "1".to_owned() } else { format!("10^{whole}") };
    out_of_range("numeric field overflow".to_owned()).detail(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less than {limit}."
    ))
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
