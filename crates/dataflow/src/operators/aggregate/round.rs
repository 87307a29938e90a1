//! Rounding an exact number `mantissa * 2^exponent` to the nearest float, ties to even.

use num_bigint::{BigInt, Sign};

/// A floating-point format: bits of precision and exponent of the least unit.
#[derive(Clone, Copy)]
pub(super) struct Format {
    bits: i32,
    least: i32,
}

/// `double precision`
pub(super) const DOUBLE: Format = Format { bits: 53, least: -1074 };
/// `real`
pub(super) const REAL: Format = Format { bits: 24, least: -149 };

/// The nearest number of a format, as a double; infinite beyond the range of doubles. `more`: the
/// exact magnitude lies above the given one, by less than one unit; the magnitude then has at
/// least 66 bits.
pub(super) fn nearest(
    negative: bool,
    magnitude: u128,
    more: bool,
    exponent: i32,
    format: Format,
) -> f64 {
    if magnitude == 0 {
        return 0.0;
    }
    let top = 127 - magnitude.leading_zeros().cast_signed() + exponent;
    let unit = (top - format.bits + 1).max(format.least);
    let shift = unit - exponent;
    let units = match shift {
        ..=0 => magnitude << shift.unsigned_abs(),
        1..=127 => {
            let kept = magnitude >> shift;
            let (rest, half) = (magnitude & ((1 << shift) - 1), 1 << (shift - 1));
            kept + u128::from(rest > half || rest == half && (more || kept & 1 == 1))
        }
        128 => u128::from(magnitude > 1 << 127 || magnitude == 1 << 127 && more),
        _ => 0,
    };
    let value = compose(u64::try_from(units).expect("at most 53 bits and a carry"), unit);
    if negative { -value } else { value }
}

/// `units * 2^exponent`, which a double holds exactly unless it is too large.
fn compose(units: u64, exponent: i32) -> f64 {
    if units == 0 {
        return 0.0;
    }
    let top = 63 - units.leading_zeros().cast_signed();
    let exponent = exponent + top - 52;
    let units = if top <= 52 { units << (52 - top) } else { units >> (top - 52) };
    match exponent + 1075 {
        2047.. => f64::INFINITY,
        biased @ 1.. => {
            let biased = u64::from(biased.unsigned_abs());
            f64::from_bits(biased << 52 | units & ((1 << 52) - 1))
        }
        below => f64::from_bits(units >> (1 - below).unsigned_abs()),
    }
}

/// The nearest number to a big mantissa times `2^exponent`.
pub(super) fn nearest_big(mantissa: &BigInt, exponent: i32, format: Format) -> f64 {
    let excess = mantissa.bits().saturating_sub(128);
    let top = u128::try_from(mantissa.magnitude() >> excess).expect("the topmost 128 bits");
    let more = mantissa.trailing_zeros().is_some_and(|zeros| zeros < excess);
    let excess = i32::try_from(excess).expect("as long as the range of exponents");
    nearest(mantissa.sign() == Sign::Minus, top, more, exponent + excess, format)
}

/// The nearest double to `numerator * 2^exponent / divisor`, for a divisor above 0.
pub(super) fn nearest_quotient(numerator: &BigInt, divisor: &BigInt, exponent: i32) -> f64 {
    let shift = (divisor.bits() + 130).saturating_sub(numerator.bits());
    let scaled = numerator << shift;
    let quotient = &scaled / divisor;
    let more = &quotient * divisor != scaled;
    // One more bit stands for the remainder: it only has to be below the rounded ones.
    let negative = quotient.sign() == Sign::Minus;
    let magnitude = (BigInt::from(quotient.magnitude().clone()) << 1u32) + u32::from(more);
    let shift = i32::try_from(shift).expect("as long as the range of exponents");
    let value = nearest_big(&magnitude, exponent - shift - 1, DOUBLE);
    if negative { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_come_back_from_their_parts() {
        for value in [1.0, 0.1, 5e-324, f64::MIN_POSITIVE, f64::MAX, 1e-310, 123_456.789] {
            let bits = value.to_bits();
            let exponent = i32::try_from(bits >> 52).unwrap();
            let fraction = u128::from(bits & ((1 << 52) - 1));
            let (magnitude, exponent) = if exponent == 0 {
                (fraction, -1074)
            } else {
                (fraction | 1 << 52, exponent - 1075)
            };
            assert_eq!(nearest(false, magnitude, false, exponent, DOUBLE), value);
            assert_eq!(nearest(true, magnitude << 60, false, exponent - 60, DOUBLE), -value);
        }
    }

    #[test]
    fn ties_go_to_even_and_anything_above_goes_up() {
        let one = 1u128 << 100;
        let half = 1u128 << 47;
        let of = |magnitude, more| nearest(false, magnitude, more, -100, DOUBLE);
        assert_eq!(of(one + half, false), 1.0);
        assert_eq!(of(one + half, true), 1.0 + f64::EPSILON);
        assert_eq!(of(one + 3 * half, false), 1.0 + 2.0 * f64::EPSILON);
        assert_eq!(nearest(false, 1 << 127, false, -1074 - 128, DOUBLE), 0.0);
        assert_eq!(nearest(false, 3 << 126, false, -1074 - 128, DOUBLE), 5e-324);
        assert_eq!(nearest(false, 1, false, 2000, DOUBLE), f64::INFINITY);
    }

    #[test]
    fn quotients_are_rounded_once() {
        for (n, d) in [(1i64, 3i64), (-2, 7), (10, 5), (i64::MAX, 10), (0, 9)] {
            let (n, d) = (n, d);
            let got = nearest_quotient(&BigInt::from(n), &BigInt::from(d), 0);
            assert_eq!(got, n as f64 / d as f64, "{n} / {d}");
        }
    }

    #[test]
    fn real_rounds_to_its_own_precision() {
        let exact = nearest(false, (1 << 24) + 1, false, 0, REAL);
        assert_eq!(exact, f64::from(1u32 << 24));
        assert_eq!(nearest(false, 3, false, -150, REAL), f64::from(f32::from_bits(2)));
    }
}
