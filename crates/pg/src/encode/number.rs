//! Numbers as PostgreSQL writes them.
//!
//! Floats are written with the fewest digits that read back as the same value; `numeric` in binary
//! is a row of digits to the base 10,000 around the decimal point.

use std::fmt::LowerExp;
use std::io::Write;

use arrow::datatypes::i256;
use bytes::{BufMut, BytesMut};

/// Digits after the point of a `numeric`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// How many the value has.
    pub(crate) digits: i8,
    /// Whether zeros at the end are shown.
    pub(crate) trim: bool,
}

/// Text on the stack, long enough for any number.
struct Digits {
    bytes: [u8; 96],
    length: usize,
}

impl Digits {
    fn of(arguments: std::fmt::Arguments<'_>) -> Digits {
        let mut bytes = [0; 96];
        let mut rest = &mut bytes[..];
        rest.write_fmt(arguments).expect("a 256-bit number has at most 78 digits and a sign");
        let length = 96 - rest.len();
        Digits { bytes, length }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The sign and the digits after it.
    fn split(&self) -> (bool, &[u8]) {
        match self.as_bytes() {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        }
    }
}

pub(super) fn integer(value: impl Into<i64>, out: &mut BytesMut) {
    let value: i64 = value.into();
    if value < 0 {
        out.put_u8(b'-');
    }
    let mut digits = [0; 20];
    let mut first = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        first -= 1;
        digits[first] = digit(rest % 10);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.put_slice(&digits[first..]);
}

/// The character of a number below 10.
pub(super) fn digit(value: u64) -> u8 {
    b"0123456789"[usize::try_from(value % 10).unwrap_or(0)]
}

pub(super) fn real(value: f32, out: &mut BytesMut) {
    float(value, f64::from(value), 6, out);
}

pub(super) fn double(value: f64, out: &mut BytesMut) {
    float(value, value, 15, out);
}

/// `wide` decides the special cases; from `10^fixed_below` on the form is scientific.
fn float(value: impl LowerExp, wide: f64, fixed_below: i32, out: &mut BytesMut) {
    if !wide.is_finite() {
        let name: &[u8] = match wide {
            _ if wide.is_nan() => b"NaN",
            _ if wide > 0.0 => b"Infinity",
            _ => b"-Infinity",
        };
        out.put_slice(name);
        return;
    }
    let text = Digits::of(format_args!("{value:e}"));
    let (negative, text) = text.split();
    let at = text.iter().position(|byte| *byte == b'e').unwrap_or(text.len());
    let exponent: i32 =
        text.get(at + 1..).and_then(|e| std::str::from_utf8(e).ok()?.parse().ok()).unwrap_or(0);
    let mut digits = [0; 24];
    let mut count = 0;
    for byte in text[..at].iter().filter(|byte| **byte != b'.') {
        digits[count] = *byte;
        count += 1;
    }
    if negative {
        out.put_u8(b'-');
    }
    let digits = &digits[..count];
    if (-4..fixed_below).contains(&exponent) {
        fixed(digits, exponent, out);
    } else {
        out.put_u8(digits[0]);
        if count > 1 {
            out.put_u8(b'.');
            out.put_slice(&digits[1..]);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        let exponent = exponent.abs();
        out.put_slice(Digits::of(format_args!("e{sign}{exponent:02}")).as_bytes());
    }
}

/// `d.ddd * 10^exponent` without an exponent.
fn fixed(digits: &[u8], exponent: i32, out: &mut BytesMut) {
    let Ok(whole) = usize::try_from(exponent + 1) else {
        out.put_slice(b"0.");
        out.put_bytes(b'0', usize::try_from(-exponent - 1).unwrap_or(0));
        out.put_slice(digits);
        return;
    };
    match whole {
        0 => {
            out.put_slice(b"0.");
            out.put_slice(digits);
        }
        whole if whole >= digits.len() => {
            out.put_slice(digits);
            out.put_bytes(b'0', whole - digits.len());
        }
        whole => {
            out.put_slice(&digits[..whole]);
            out.put_u8(b'.');
            out.put_slice(&digits[whole..]);
        }
    }
}

pub(super) fn decimal(value: i128, scale: Scale, out: &mut BytesMut) {
    numeric_text(&Numeric::new(&Digits::of(format_args!("{value}")), scale), out);
}

pub(super) fn wide_decimal(value: i256, scale: Scale, out: &mut BytesMut) {
    match value.to_i128() {
        Some(value) => decimal(value, scale, out),
        None => numeric_text(&Numeric::new(&Digits::of(format_args!("{value}")), scale), out),
    }
}

pub(super) fn decimal_binary(value: i128, scale: Scale, out: &mut BytesMut) {
    numeric_binary(&Numeric::new(&Digits::of(format_args!("{value}")), scale), out);
}

pub(super) fn wide_decimal_binary(value: i256, scale: Scale, out: &mut BytesMut) {
    match value.to_i128() {
        Some(value) => decimal_binary(value, scale, out),
        None => numeric_binary(&Numeric::new(&Digits::of(format_args!("{value}")), scale), out),
    }
}

/// A number's decimal digits around its point: at most 78 of the value and 128 zeros of the scale.
struct Numeric {
    negative: bool,
    digits: [u8; 224],
    length: usize,
    /// How many of the digits stand before the point.
    whole: usize,
}

impl Numeric {
    fn new(value: &Digits, scale: Scale) -> Numeric {
        let (negative, value) = value.split();
        let mut digits = [b'0'; 224];
        let (mut length, whole);
        match usize::try_from(scale.digits) {
            Ok(places) => {
                // At least one digit before the point.
                length = value.len().max(places + 1);
                digits[length - value.len()..length].copy_from_slice(value);
                whole = length - places;
            }
            Err(_) => {
                let zeros = usize::from(scale.digits.unsigned_abs());
                length = if value == b"0" { 1 } else { value.len() + zeros };
                digits[..value.len()].copy_from_slice(value);
                whole = length;
            }
        }
        if scale.trim {
            while length > whole && digits[length - 1] == b'0' {
                length -= 1;
            }
        }
        Numeric { negative, digits, length, whole }
    }

    fn whole(&self) -> &[u8] {
        &self.digits[..self.whole]
    }

    fn fraction(&self) -> &[u8] {
        &self.digits[self.whole..self.length]
    }
}

fn numeric_text(value: &Numeric, out: &mut BytesMut) {
    if value.negative {
        out.put_u8(b'-');
    }
    out.put_slice(value.whole());
    if !value.fraction().is_empty() {
        out.put_u8(b'.');
        out.put_slice(value.fraction());
    }
}

fn numeric_binary(value: &Numeric, out: &mut BytesMut) {
    const PLACES: [u16; 4] = [1000, 100, 10, 1];
    let group = |digits: &[u8], skip: usize| -> u16 {
        let places = PLACES[skip..].iter();
        digits.iter().zip(places).map(|(digit, place)| u16::from(digit - b'0') * place).sum()
    };
    let (whole, fraction) = (value.whole(), value.fraction());
    // Groups of four digits count from the point in both directions.
    let first = whole.len() % 4;
    let mut groups = [0; 60];
    let mut count = 0;
    let mut push = |group: u16| {
        groups[count] = group;
        count += 1;
    };
    if first > 0 {
        push(group(&whole[..first], 4 - first));
    }
    whole[first..].chunks(4).for_each(|digits| push(group(digits, 0)));
    let wholes = whole.len().div_ceil(4);
    fraction.chunks(4).for_each(|digits| push(group(digits, 0)));
    let groups = &groups[..count];
    let leading = groups.iter().take_while(|group| **group == 0).count();
    let trailing = groups[leading..].iter().rev().take_while(|group| **group == 0).count();
    let significant = &groups[leading..groups.len() - trailing];
    let small = |number: usize| i16::try_from(number).unwrap_or(i16::MAX);
    let weight = if significant.is_empty() { 0 } else { small(wholes) - small(leading) - 1 };
    out.put_i16(small(significant.len()));
    out.put_i16(weight);
    out.put_u16(if value.negative { 0x4000 } else { 0 });
    out.put_i16(small(fraction.len()));
    significant.iter().for_each(|group| out.put_u16(*group));
}
