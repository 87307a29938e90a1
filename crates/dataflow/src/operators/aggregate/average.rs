//! Averages of integers without 256-bit division, for the usual sizes.
//!
//! The result is that of [`millrace_types::numeric::avg_numeric`] to the last digit (a test
//! compares them), only faster: each touched group needs two of them in every epoch.

use arrow::datatypes::i256;
use millrace_types::NUMERIC_SCALE;

/// The powers of ten that 128 bits hold.
const POWERS: [u128; 39] = {
    let mut powers = [1; 39];
    let mut n = 1;
    while n < powers.len() {
        powers[n] = 10 * powers[n - 1];
        n += 1;
    }
    powers
};

/// Powers of ten thousand.
const GROUPS: [u64; 5] = [1, 10_000, 100_000_000, 1_000_000_000_000, 10_000_000_000_000_000];

/// Groups of four digits that stand before the point, less one, and the first of them.
fn leading_group(value: u64) -> (i32, u64) {
    let weight = GROUPS[1..].iter().take_while(|group| value >= **group).count();
    (i32::try_from(weight).expect("at most four"), value / GROUPS[weight])
}

/// `sum / count` with twenty places; None where the general way has to be taken.
pub(super) fn of_small(sum: i128, count: i64) -> Option<i256> {
    let divisor = u64::try_from(count).ok().filter(|c| (1..1 << 56).contains(c))?;
    let magnitude = u64::try_from(sum.unsigned_abs()).ok()?;
    let (whole, rest) = (magnitude / divisor, magnitude % divisor);
    let most = NUMERIC_SCALE.unsigned_abs();
    let unscaled = if rest == 0 {
        u128::from(whole).checked_mul(POWERS[usize::from(most)])?
    } else {
        let (weight, first) = leading_group(magnitude);
        let (divisor_weight, divisor_first) = leading_group(divisor);
        let quotient_weight = weight - divisor_weight - i32::from(first <= divisor_first);
        let places = u8::try_from(16 - 4 * quotient_weight).unwrap_or(0).min(most);
        let power = POWERS[usize::from(places)];
        let part = rounded(u128::from(rest) * power, divisor);
        let scaled = u128::from(whole).checked_mul(power)? + part;
        scaled.checked_mul(POWERS[usize::from(most - places)])?
    };
    let value = i128::try_from(unscaled).ok()?;
    Some(i256::from_i128(if sum < 0 { -value } else { value }))
}

/// `dividend / divisor`, rounded half up. Mostly 64 bits hold it, which divide much faster.
fn rounded(dividend: u128, divisor: u64) -> u128 {
    let numerator = 2 * dividend + u128::from(divisor);
    match u64::try_from(numerator) {
        Ok(small) => u128::from(small / (2 * divisor)),
        Err(_) => numerator / (2 * u128::from(divisor)),
    }
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
