//! Numbers as bytes that compare as numbers do.
//!
//! A byte for the sign; for others than zero the power of ten as four bytes, the decimal digits two
//! by two, each pair plus one, and 0. A number is `0.d1d2d3... * 10^power` with `d1` not 0 and no zeros
//! at its end, so that there is one form of each; what is below zero has all bits turned around.

use crate::report::{Report, SqlState};

const NEGATIVE: u8 = 0;
const ZERO: u8 = 1;
const POSITIVE: u8 = 2;
/// PostgreSQL's `numeric` has at most so many digits before the point.
const POWER_MAX: i64 = 131_072;
/// And so many behind it.
const PLACES_MAX: i64 = 16_383;

/// Appends a number as SQL or JSON write it.
///
/// # Errors
/// `22003` for more digits than PostgreSQL's `numeric` has.
pub(super) fn put(text: &str, out: &mut Vec<u8>) -> Result<(), Report> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(i64::from(i32::MAX));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = || whole.bytes().chain(fraction.bytes()).map(|digit| digit.wrapping_sub(b'0'));
    let Some(first) = all().position(|digit| digit != 0) else {
        out.push(ZERO);
        return Ok(());
    };
    let length = |digits: usize| i64::try_from(digits).unwrap_or(i64::MAX);
    let last =
        all().enumerate().filter(|(_, digit)| *digit != 0).last().map_or(first, |(at, _)| at);
    let power = length(whole.len()).saturating_sub(length(first)).saturating_add(exponent);
    let places = length(last + 1 - first).saturating_sub(power);
    if power > POWER_MAX || places > PLACES_MAX {
        let message = "value overflows numeric format";
        return Err(Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message));
    }
    out.push(if negative { NEGATIVE } else { POSITIVE });
    let start = out.len();
    let power = i32::try_from(power).unwrap_or(i32::MIN);
    out.extend_from_slice(&(power.cast_unsigned() ^ (1 << 31)).to_be_bytes());
    let mut kept = all().skip(first).take(last + 1 - first);
    while let Some(tens) = kept.next() {
        out.push(tens * 10 + kept.next().unwrap_or(0) + 1);
    }
    out.push(0);
    if negative {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
    Ok(())
}

/// How many bytes the number at the beginning has; None if there is none.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let end = match *bytes.first()? {
        ZERO => return Some(1),
        POSITIVE => 0,
        NEGATIVE => u8::MAX,
        _ => return None,
    };
    let digits = bytes.get(5..)?;
    Some(6 + digits.iter().position(|byte| *byte == end)?)
}

/// Appends the number in plain digits.
pub(super) fn show(bytes: &[u8], out: &mut String) {
    let turn = match bytes.first() {
        Some(&POSITIVE) => 0,
        Some(&NEGATIVE) => u8::MAX,
        _ => return out.push('0'),
    };
    let Some((power, pairs)) = bytes[1..].split_first_chunk::<4>() else { return out.push('0') };
    let power = (u32::from_be_bytes(power.map(|byte| byte ^ turn)) ^ (1 << 31)).cast_signed();
    let pairs = pairs.iter().map(|byte| byte ^ turn).take_while(|byte| *byte != 0);
    let mut digits: Vec<u8> =
        pairs.flat_map(|pair| [(pair - 1) / 10 + b'0', (pair - 1) % 10 + b'0']).collect();
    if digits.last() == Some(&b'0') {
        digits.pop();
    }
    if turn != 0 {
        out.push('-');
    }
    let digit = |at: i32| {
        let found = usize::try_from(at).ok().and_then(|at| digits.get(at));
        char::from(found.copied().unwrap_or(b'0'))
    };
    let power = power.min(i32::try_from(POWER_MAX).unwrap_or(i32::MAX));
    match power {
        ..=0 => out.push('0'),
        whole => out.extend((0..whole).map(digit)),
    }
    let places = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if places > power {
        out.push('.');
        let zeros = power.saturating_neg().clamp(0, i32::try_from(PLACES_MAX).unwrap_or(i32::MAX));
        out.extend((0..zeros).map(|_| '0'));
        out.extend((power.max(0)..places).map(digit));
    }
}
