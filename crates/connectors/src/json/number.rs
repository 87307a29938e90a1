//! Numbers as PostgreSQL's input functions read them.
//!
//! A JSON string converts as PostgreSQL converts the same text; a JSON number converts if it loses
//! nothing, so that `42.0` is a bigint and `42.5` is none. Numeric rounds to its scale, ties away
//! from zero.

use arrow::datatypes::i256;

use millrace_types::json::{Number, Token};

/// Why a text is not a value of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// Not written like one.
    Syntax,
    /// Written like one, but too large or too small.
    Range,
    /// More digits than `numeric(p, s)` has.
    Overflow,
}

/// An integer of any width, from any scalar.
#[inline]
pub(crate) fn integer(token: Token<'_>) -> Result<i64, Misfit> {
    match token {
        Token::Number(number) => integer_of(number),
        Token::Text(text) => text.trim().parse::<i64>().map_err(|error| match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                Misfit::Range
            }
            _ => Misfit::Syntax,
        }),
        Token::Boolean(_) | Token::Nested(_) => Err(Misfit::Syntax),
    }
}

#[inline]
fn integer_of(number: Number<'_>) -> Result<i64, Misfit> {
    if number.power == 0
        && number.exact
        && let Ok(magnitude) = i64::try_from(number.mantissa)
    {
        return Ok(if number.negative { -magnitude } else { magnitude });
    }
    let magnitude = whole(number)?;
    let value = if number.negative { -magnitude } else { magnitude };
    i64::try_from(value).map_err(|_| Misfit::Range)
}

/// The magnitude of a number written with a point or an exponent, if nothing is behind the point.
fn whole(number: Number<'_>) -> Result<i128, Misfit> {
    let mantissa = i128::from(number.mantissa);
    if mantissa == 0 && number.exact {
        return Ok(0);
    }
    if number.power >= 0 {
        let factor = ten_to_i128(number.power.unsigned_abs());
        return factor.and_then(|ten| mantissa.checked_mul(ten)).ok_or(Misfit::Range);
    }
    match ten_to_i128(number.power.unsigned_abs()) {
        Some(ten) if number.exact && mantissa % ten == 0 => Ok(mantissa / ten),
        _ => Err(Misfit::Syntax),
    }
}

fn ten_to_i128(power: u32) -> Option<i128> {
    10_i128.checked_pow(power)
}

const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];
/// Integers up to here are doubles.
const EXACT_MAX: u64 = 1 << 53;

/// A double from any scalar.
#[inline]
pub(crate) fn double(token: Token<'_>) -> Result<f64, Misfit> {
    match token {
        Token::Number(number) => double_of(number),
        Token::Text(text) => float(text.trim()),
        Token::Boolean(_) | Token::Nested(_) => Err(Misfit::Syntax),
    }
}

/// With a mantissa and a power of ten that are both doubles, one operation rounds correctly.
#[inline]
fn double_of(number: Number<'_>) -> Result<f64, Misfit> {
    let power = usize::try_from(number.power.unsigned_abs()).unwrap_or(usize::MAX);
    if number.exact
        && number.mantissa <= EXACT_MAX
        && let Some(ten) = TENS.get(power)
    {
        let mantissa = exact_double(number.mantissa);
        let magnitude = if number.power < 0 { mantissa / ten } else { mantissa * ten };
        return Ok(if number.negative { -magnitude } else { magnitude });
    }
    float(number.text)
}

fn exact_double(mantissa: u64) -> f64 {
    mantissa as f64
}

/// A real from any scalar.
pub(crate) fn real(token: Token<'_>) -> Result<f32, Misfit> {
    match token {
        Token::Number(Number { text, .. }) => float(text),
        Token::Text(text) => float(text.trim()),
        Token::Boolean(_) | Token::Nested(_) => Err(Misfit::Syntax),
    }
}

/// A float that was not written as infinite may not become so, and one that has a digit above zero
/// may not vanish.
fn float<F>(text: &str) -> Result<F, Misfit>
where
    F: std::str::FromStr + Copy + Into<f64>,
{
    let value: F = text.parse().map_err(|_| Misfit::Syntax)?;
    let wide: f64 = value.into();
    let digits = text.split(['e', 'E']).next().unwrap_or_default();
    let named = text.contains(['n', 'N']);
    if wide.is_infinite() && !named
        || wide == 0.0 && digits.contains(|c: char| c.is_ascii_digit() && c != '0')
    {
        return Err(Misfit::Range);
    }
    Ok(value)
}

/// The unscaled value of `numeric(precision, scale)`, from any scalar.
pub(crate) fn numeric(token: Token<'_>, precision: u8, scale: i8) -> Result<i256, Misfit> {
    let (text, short) = match token {
        Token::Number(number) => (number.text, short_numeric(number, scale)),
        Token::Text(text) => (text.trim(), None),
        Token::Boolean(_) | Token::Nested(_) => return Err(Misfit::Syntax),
    };
    let value = match short {
        Some(value) => value,
        None => long_numeric(text, scale)?,
    };
    let limit = i256::from_i128(10).checked_pow(u32::from(precision));
    match limit {
        Some(limit) if value >= limit || value <= -limit => Err(Misfit::Overflow),
        _ => Ok(value),
    }
}

/// Most numbers: few digits, none of them cut off.
fn short_numeric(number: Number<'_>, scale: i8) -> Option<i256> {
    let shift = number.power.checked_add(i32::from(scale))?;
    if !number.exact || shift < 0 {
        return None;
    }
    let value = i128::from(number.mantissa).checked_mul(ten_to_i128(shift.unsigned_abs())?)?;
    Some(i256::from_i128(if number.negative { -value } else { value }))
}

/// Any number of digits, cut at the scale and rounded by the first digit that falls off.
fn long_numeric(text: &str, scale: i8) -> Result<i256, Misfit> {
    let (text, negative) = match text.as_bytes().first() {
        Some(b'-') => (&text[1..], true),
        Some(b'+') => (&text[1..], false),
        _ => (text, false),
    };
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i64>().map_err(|_| Misfit::Syntax)?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = || whole.bytes().chain(fraction.bytes());
    if whole.len() + fraction.len() == 0 || !all().all(|digit| digit.is_ascii_digit()) {
        return Err(Misfit::Syntax);
    }
    // How many of the digits stand before the last place that is kept.
    let whole_length = i64::try_from(whole.len()).map_err(|_| Misfit::Overflow)?;
    let kept = whole_length.saturating_add(exponent).saturating_add(i64::from(scale));
    let mut value = i256::ZERO;
    let ten = i256::from_i128(10);
    let mut push = |digit: u8| -> Result<bool, Misfit> {
        value = value
            .checked_mul(ten)
            .and_then(|value| value.checked_add(i256::from_i128(i128::from(digit - b'0'))))
            .ok_or(Misfit::Overflow)?;
        Ok(value == i256::ZERO)
    };
    let mut digits = all();
    let mut place = 0;
    while place < kept {
        let zero = push(digits.next().unwrap_or(b'0'))?;
        // Behind the last digit of a zero there are only more zeros.
        if zero && place > whole_length.saturating_add(i64::try_from(fraction.len()).unwrap_or(0)) {
            break;
        }
        place += 1;
    }
    let up = kept >= 0 && digits.next().is_some_and(|digit| digit >= b'5');
    let value = if up { value.checked_add(i256::ONE).ok_or(Misfit::Overflow)? } else { value };
    Ok(if negative { -value } else { value })
}

/// PostgreSQL's words for true and false, which may be cut short.
pub(crate) fn boolean(token: Token<'_>) -> Result<bool, Misfit> {
    if let Token::Boolean(value) = token {
        return Ok(value);
    }
    let text = token.text().trim().to_ascii_lowercase();
    let begins = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    if text == "1" || begins("true", 1) || begins("yes", 1) || text == "on" {
        return Ok(true);
    }
    if text == "0" || begins("false", 1) || begins("no", 1) || begins("off", 2) {
        return Ok(false);
    }
    Err(Misfit::Syntax)
}
