//! Averages of integers without 256-bit division, for the usual sizes.
//!
//! The result is that of [`millrace_types::numeric::avg_numeric`] to the last digit (a test
//! compares them), only faster: each touched group needs two of them in every epoch.

use arrow::datatypes::i256;
use millrace_types::NUMERIC_SCALE;

/// Groups of four digits that stand before the point, less one, and the first of them.
fn leading_group(value: u64) -> (i32, u64) {
    let weight = value.checked_ilog10().map_or(0, |exponent| exponent / 4);
    (weight.cast_signed(), value / 10_u64.pow(4 * weight))
}

/// `sum / count` with twenty places; None where the general way has to be taken.
pub(super) fn of_small(sum: i128, count: i64) -> Option<i256> {
    let divisor = u64::try_from(count).ok().filter(|c| (1..1 << 56).contains(c))?;
    let magnitude = u64::try_from(sum.unsigned_abs()).ok()?;
    let (weight, first) = leading_group(magnitude);
    let (divisor_weight, divisor_first) = leading_group(divisor);
    let quotient_weight = weight - divisor_weight - i32::from(first <= divisor_first);
    let most = i32::from(NUMERIC_SCALE);
    let places = (16 - 4 * quotient_weight).clamp(0, most);
    let power = 10_u128.pow(places.unsigned_abs());
    let (whole, rest) = (u128::from(magnitude / divisor), u128::from(magnitude % divisor));
    let divisor = u128::from(divisor);
    let part = (2 * rest * power + divisor) / (2 * divisor);
    let padding = 10_u128.pow((most - places).unsigned_abs());
    let unscaled = (whole.checked_mul(power)? + part).checked_mul(padding)?;
    let value = i256::from_i128(i128::try_from(unscaled).ok()?);
    Some(if sum < 0 { value.wrapping_neg() } else { value })
}

#[cfg(test)]
mod tests {
    use millrace_types::numeric::avg_numeric;

    use super::*;

    #[test]
    fn averages_are_those_of_the_general_way() {
        let mut compared = 0;
        for sum in [0i128, 1, 2, 5, 9_999, 10_000, 10_001, 123_456_789, 99_999_999, 1 << 50] {
            for count in [1i64, 2, 3, 7, 9_999, 10_000, 12_345, 100_000_000, 1 << 40] {
                for sum in [sum, -sum] {
                    let Some(got) = of_small(sum, count) else { continue };
                    compared += 1;
                    assert_eq!(
                        Some(got),
                        avg_numeric(i256::from_i128(sum), 0, count),
                        "{sum} / {count}"
                    );
                }
            }
        }
        assert!(compared > 150);
    }
}
