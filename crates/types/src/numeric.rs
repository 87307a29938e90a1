//! Exact averages and variances, with the number of digits that PostgreSQL shows.
//!
//! PostgreSQL divides numerics to a scale that depends on both operands: at least sixteen
//! significant digits. Views and plain SELECT must agree to the last digit, so both call these
//! functions. Results are unscaled values of [`NUMERIC_SCALE`], never more than twenty places.
//!
//! Invariants: 1. nothing wraps: what does not fit is None. 2. ties round away from zero.

use arrow::datatypes::i256;

use crate::sqltype::NUMERIC_SCALE;

/// Which measure of spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spread {
    /// `var_pop`
    VarPop,
    /// `var_samp`
    VarSamp,
    /// `stddev_pop`
    StddevPop,
    /// `stddev_samp`
    StddevSamp,
}

impl Spread {
    /// The divisor takes one value off.
    pub fn is_sample(self) -> bool {
        matches!(self, Spread::VarSamp | Spread::StddevSamp)
    }

    /// The square root of the variance.
    pub fn is_root(self) -> bool {
        matches!(self, Spread::StddevPop | Spread::StddevSamp)
    }

    /// The measure of doubles, from the sum of squared distances from their mean. None where SQL
    /// says NULL.
    pub fn of_doubles(self, count: i64, squared_distances: f64) -> Option<f64> {
        let divisor = if self.is_sample() { count - 1 } else { count };
        if divisor <= 0 {
            return None;
        }
        let variance = squared_distances / to_f64(divisor);
        // Not `max`, for which NaN is no number and so 0.
        let variance = if variance < 0.0 { 0.0 } else { variance };
        Some(if self.is_root() { variance.sqrt() } else { variance })
    }
}

/// A count as a double; exact below 2^53.
#[allow(clippy::cast_precision_loss, reason = "a divisor needs no more than a double holds")]
fn to_f64(count: i64) -> f64 {
    count as f64
}

fn ten_to(power: u32) -> Option<i256> {
    i256::from_i128(10).checked_pow(power)
}

/// An unscaled value of one scale in another; digits that fall off are rounded.
pub fn rescale(value: i256, from: i8, to: i8) -> Option<i256> {
    let places = i32::from(to) - i32::from(from);
    let factor = ten_to(places.unsigned_abs())?;
    if places >= 0 { value.checked_mul(factor) } else { divide(value, factor, 0) }
}

/// `sum / count`, where `sum` is unscaled with `scale` places. None when it does not fit; the
/// caller has checked that there are rows.
///
/// For unconstrained numeric the places that the sum needs count as its scale.
pub fn avg_numeric(sum: i256, scale: i8, count: i64) -> Option<i256> {
    if count <= 0 {
        return None;
    }
    let count = i256::from_i128(i128::from(count));
    quotient(sum, shown_scale(sum, scale), scale, count).map(|(value, _)| value)
}

/// `left / right`, each an unscaled value with its scale, as an unscaled value of [`NUMERIC_SCALE`]
/// with PostgreSQL's number of places. None when it does not fit, or `right` is zero.
pub fn quotient_of(left: (i256, i8), right: (i256, i8)) -> Option<i256> {
    let ((left, left_scale), (right, right_scale)) = (trimmed(left)?, trimmed(right)?);
    let (numerator, divisor) = match right.is_negative() {
        true => (left.checked_neg()?, right.checked_neg()?),
        false => (left, right),
    };
    let (weight, first) = leading_group(numerator, i32::from(left_scale));
    let (divisor_weight, divisor_first) = leading_group(divisor, i32::from(right_scale));
    let weight = weight - divisor_weight - i32::from(first <= divisor_first);
    let shown = i32::from(left_scale.max(right_scale));
    let places = (16 - 4 * weight).max(shown).clamp(0, i32::from(NUMERIC_SCALE));
    let shift = places + i32::from(right_scale) - i32::from(left_scale);
    let rounded = match shift >= 0 {
        true => divide(numerator, divisor, shift.unsigned_abs())?,
        false => divide(numerator, divisor.checked_mul(ten_to(shift.unsigned_abs())?)?, 0)?,
    };
    rescale(rounded, i8::try_from(places).ok()?, NUMERIC_SCALE).filter(holds)
}

/// `left * right`, each an unscaled value with its scale, as an unscaled value of [`NUMERIC_SCALE`].
/// None when it does not fit.
pub fn product_of(left: (i256, i8), right: (i256, i8)) -> Option<i256> {
    let ((left, left_scale), (right, right_scale)) = (trimmed(left)?, trimmed(right)?);
    let product = left.checked_mul(right)?;
    rescale(product, left_scale.checked_add(right_scale)?, NUMERIC_SCALE).filter(holds)
}

/// True for what unconstrained numeric holds.
fn holds(value: &i256) -> bool {
    let limit = ten_to(76).expect("76 digits fit");
    *value < limit && *value > limit.wrapping_neg()
}

/// The value without zeros at its end, so that more fits on the way.
fn trimmed((value, scale): (i256, i8)) -> Option<(i256, i8)> {
    let shown = shown_places(value, scale);
    Some((rescale(value, scale, shown)?, shown))
}

/// The spread of `count` numbers, from their sum (unscaled, `scale` places) and the sum of their
/// squares (twice as many places).
///
/// # Errors
/// [`OutOfRange`] when an intermediate value does not fit. `Ok(None)` is SQL's NULL.
pub fn variance_numeric(
    spread: Spread,
    sum: i256,
    squares: i256,
    scale: i8,
    count: i64,
) -> Result<Option<i256>, OutOfRange> {
    let least = if spread.is_sample() { 2 } else { 1 };
    if count < least {
        return Ok(None);
    }
    exact_spread(spread, sum, squares, scale, count).map(Some).ok_or(OutOfRange)
}

/// A value that 76 digits do not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("value out of range for type numeric")]
pub struct OutOfRange;

fn exact_spread(spread: Spread, sum: i256, squares: i256, scale: i8, count: i64) -> Option<i256> {
    let n = i256::from_i128(i128::from(count));
    let distance = n.checked_mul(squares)?.checked_sub(sum.checked_mul(sum)?)?;
    if !distance.is_positive() {
        return Some(i256::ZERO);
    }
    let other = if spread.is_sample() { n.checked_sub(i256::ONE)? } else { n };
    let shown = 2 * shown_scale(sum, scale);
    let (variance, places) =
        quotient(distance, shown, scale.checked_mul(2)?, n.checked_mul(other)?)?;
    if !spread.is_root() {
        return Some(variance);
    }
    let at_places = rescale(variance, NUMERIC_SCALE, places)?;
    let root = root_to(at_places, u32::from(places.unsigned_abs()))?;
    rescale(root, places, NUMERIC_SCALE)
}

/// The places that PostgreSQL would show for a sum: those of its type, or for unconstrained numeric
/// as many as are not zero.
fn shown_scale(value: i256, scale: i8) -> i8 {
    if scale != NUMERIC_SCALE {
        return scale.max(0);
    }
    shown_places(value, scale)
}

/// The places up to the last that is not zero.
fn shown_places(value: i256, scale: i8) -> i8 {
    let ten = i256::from_i128(10);
    let (mut rest, mut places) = (value, scale);
    while places > 0 && rest.wrapping_rem(ten) == i256::ZERO {
        rest = rest.wrapping_div(ten);
        places -= 1;
    }
    places
}

/// `numerator / divisor` rounded to PostgreSQL's places for it, and those places. The numerator has
/// `scale` places, of which `shown` are shown; the divisor is a positive whole number.
fn quotient(numerator: i256, shown: i8, scale: i8, divisor: i256) -> Option<(i256, i8)> {
    let narrow = match (numerator.to_i128(), divisor.to_i128()) {
        (Some(numerator), Some(divisor)) => narrow_quotient(numerator, shown, scale, divisor),
        _ => None,
    };
    narrow.or_else(|| wide_quotient(numerator, shown, scale, divisor))
}

/// The same in 128 bits, ten times faster, for what fits there on the whole way: nearly everything.
fn narrow_quotient(numerator: i128, shown: i8, scale: i8, divisor: i128) -> Option<(i256, i8)> {
    let ten_to = |power: i32| 10i128.checked_pow(u32::try_from(power).ok()?);
    let group = |value: i128, scale: i32| -> Option<(i32, u128)> {
        let magnitude = value.unsigned_abs();
        let Some(exponent) = magnitude.checked_ilog10() else { return Some((0, 0)) };
        let weight = (i32::try_from(exponent).ok()? - scale).div_euclid(4);
        let power = ten_to((scale + 4 * weight).abs())?.unsigned_abs();
        let first = if scale + 4 * weight >= 0 { magnitude / power } else { magnitude * power };
        Some((weight, first))
    };
    let (weight, first) = group(numerator, i32::from(scale))?;
    let (divisor_weight, divisor_first) = group(divisor, 0)?;
    let weight = weight - divisor_weight - i32::from(first <= divisor_first);
    let places = (16 - 4 * weight).max(i32::from(shown)).clamp(0, i32::from(NUMERIC_SCALE));
    let shift = places - i32::from(scale);
    let power = ten_to(shift.max(0))?;
    let divisor = divisor.checked_mul(ten_to((-shift).max(0))?)?;
    let rest = (numerator % divisor).checked_mul(power)?;
    let left = (rest % divisor).abs();
    let away = if left >= divisor - left { numerator.signum() } else { 0 };
    let rounded = (numerator / divisor).checked_mul(power)?.checked_add(rest / divisor + away)?;
    let to_scale = ten_to(i32::from(NUMERIC_SCALE) - places)?;
    let value = i256::from_i128(rounded).checked_mul(i256::from_i128(to_scale))?;
    Some((value, i8::try_from(places).ok()?))
}

fn wide_quotient(numerator: i256, shown: i8, scale: i8, divisor: i256) -> Option<(i256, i8)> {
    let places = quotient_places(numerator, scale, divisor).max(i32::from(shown));
    let places = i8::try_from(places.min(i32::from(NUMERIC_SCALE))).expect("at most twenty");
    let shift = i32::from(places) - i32::from(scale);
    let rounded = if shift >= 0 {
        divide(numerator, divisor, shift.unsigned_abs())?
    } else {
        divide(numerator, divisor.checked_mul(ten_to(shift.unsigned_abs())?)?, 0)?
    };
    Some((rescale(rounded, places, NUMERIC_SCALE)?, places))
}

/// At least sixteen significant digits, counted in groups of four as PostgreSQL stores them.
fn quotient_places(numerator: i256, scale: i8, divisor: i256) -> i32 {
    let (weight, first) = leading_group(numerator, i32::from(scale));
    let (divisor_weight, divisor_first) = leading_group(divisor, 0);
    let mut quotient_weight = weight - divisor_weight;
    if first <= divisor_first {
        quotient_weight -= 1;
    }
    (16 - 4 * quotient_weight).max(0)
}

/// The first group of four digits that is not zero, and which power of 10,000 it counts.
fn leading_group(value: i256, scale: i32) -> (i32, i256) {
    let Some(magnitude) = value.checked_abs().filter(|v| *v != i256::ZERO) else {
        return (0, i256::ZERO);
    };
    let exponent = i32::try_from(magnitude.ilog10()).expect("at most 76") - scale;
    let weight = exponent.div_euclid(4);
    let shift = scale + 4 * weight;
    let power = ten_to(shift.unsigned_abs()).expect("at most 76 digits");
    let first = match shift >= 0 {
        true => magnitude.wrapping_div(power),
        false => magnitude.wrapping_mul(power),
    };
    (weight, first)
}

/// `numerator * 10^places / divisor`, rounded. The whole part is divided first, so that only the
/// remainder has to fit with all its places.
fn divide(numerator: i256, divisor: i256, places: u32) -> Option<i256> {
    let power = ten_to(places)?;
    let whole = numerator.checked_div(divisor)?;
    let rest = numerator.checked_rem(divisor)?.checked_mul(power)?;
    let part = rest.checked_div(divisor)?;
    let left = rest.checked_rem(divisor)?.checked_abs()?;
    let up = left >= divisor.checked_sub(left)?;
    let away = match (up, numerator.is_negative()) {
        (false, _) => i256::ZERO,
        (true, false) => i256::ONE,
        (true, true) => i256::MINUS_ONE,
    };
    whole.checked_mul(power)?.checked_add(part)?.checked_add(away)
}

/// The square root of an unscaled value, with as many places as the value has, rounded.
fn root_to(value: i256, places: u32) -> Option<i256> {
    let wanted = value.checked_mul(ten_to(places)?)?;
    let bits = 256 - wanted.leading_zeros();
    let mut root = i256::from_i128(2).checked_pow(bits.div_ceil(2))?;
    loop {
        let next = root.checked_add(wanted.checked_div(root)?)?.checked_div(i256::from_i128(2))?;
        if next >= root {
            break;
        }
        root = next;
    }
    let left = wanted.checked_sub(root.checked_mul(root)?)?;
    if left > root { root.checked_add(i256::ONE) } else { Some(root) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(value: i128) -> i256 {
        i256::from_i128(value)
    }

    fn shown(value: i256) -> String {
        let digits = format!("{:0>21}", value.checked_abs().unwrap().to_string());
        let (whole, part) = digits.split_at(digits.len() - 20);
        let sign = if value.is_negative() { "-" } else { "" };
        let text = format!("{sign}{whole}.{part}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }

    #[test]
    fn averages_have_the_digits_of_postgresql() {
        let cases = [
            (1, 0, 3, "0.33333333333333333333"),
            (2, 0, 3, "0.66666666666666666667"),
            (-2, 0, 3, "-0.66666666666666666667"),
            (3, 0, 2, "1.5"),
            (10, 0, 3, "3.3333333333333333"),
            (200_000, 0, 3, "66666.666666666667"),
            (100, 2, 3, "0.33333333333333333333"),
            (1_000_000_000_000, 0, 7, "142857142857.14285714"),
        ];
        for (sum, scale, count, wanted) in cases {
            let got = avg_numeric(wide(sum), scale, count).unwrap();
            assert_eq!(shown(got), wanted, "{sum} / {count}");
        }
    }

    #[test]
    fn an_average_of_unconstrained_numeric_is_that_of_its_value() {
        let ten = wide(10).checked_mul(ten_to(20).unwrap()).unwrap();
        assert_eq!(avg_numeric(ten, 20, 3), avg_numeric(wide(10), 0, 3));
    }

    #[test]
    fn quotients_and_products_have_the_digits_of_postgresql() {
        for (left, right, wanted) in [
            ((10, 0), (30, 1), "3.3333333333333333"),
            ((2, 0), (30, 1), "0.66666666666666666667"),
            ((-1, 0), (7, 0), "-0.14285714285714285714"),
            ((100_000, 0), (-30, 1), "-33333.333333333333"),
            ((15, 1), (5, 1), "3"),
            ((10_000_000_000, 0), (70, 1), "1428571428.57142857"),
        ] {
            let part = |(value, scale): (i128, i8)| (wide(value), scale);
            let got = quotient_of(part(left), part(right)).unwrap();
            assert_eq!(shown(got), wanted, "{left:?} / {right:?}");
        }
        assert_eq!(quotient_of((wide(1), 0), (wide(0), 0)), None);
        let large = wide(10).checked_pow(55).unwrap();
        assert_eq!(shown(product_of((wide(-15), 1), (wide(125), 2)).unwrap()), "-1.875");
        assert_eq!(product_of((large, 0), (large, 0)), None);
    }

    #[test]
    fn variances_have_the_digits_of_postgresql() {
        let cases = [
            (Spread::VarPop, &[1i128, 2, 4][..], "1.5555555555555556"),
            (Spread::VarSamp, &[1, 2, 4], "2.3333333333333333"),
            (Spread::StddevSamp, &[1, 2, 4], "1.5275252316519467"),
            (Spread::StddevPop, &[1, 2, 4], "1.2472191289246471"),
            (Spread::VarPop, &[5, 5, 5], "0"),
        ];
        for (spread, values, wanted) in cases {
            let sum = wide(values.iter().sum());
            let squares = wide(values.iter().map(|v| v * v).sum());
            let count = i64::try_from(values.len()).unwrap();
            let got = variance_numeric(spread, sum, squares, 0, count).unwrap().unwrap();
            assert_eq!(shown(got), wanted, "{spread:?} of {values:?}");
        }
        assert_eq!(variance_numeric(Spread::VarSamp, wide(1), wide(1), 0, 1), Ok(None));
    }

    #[test]
    fn narrow_and_wide_division_agree() {
        let mut state = 1u64;
        let mut random = |bits: u32| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            i128::from(state >> (64 - bits))
        };
        for round in 0..20_000u32 {
            let sign = if round % 2 == 0 { 1 } else { -1 };
            let numerator = sign * random(1 + round % 60) * (1 + random(1 + round % 20));
            let divisor = 1 + random(1 + round % 33);
            let scale = [0, 2, 6, 20][round as usize % 4];
            let shown = if scale == 20 { 3 } else { scale };
            let full = wide_quotient(wide(numerator), shown, scale, wide(divisor));
            let narrow = narrow_quotient(numerator, shown, scale, divisor);
            assert!(narrow.is_none() || narrow == full, "{numerator} / {divisor} at {scale}");
        }
        assert_eq!(narrow_quotient(10, 0, 0, 3), wide_quotient(wide(10), 0, 0, wide(3)));
    }

    #[test]
    fn extremes_are_refused_not_wrapped() {
        assert_eq!(variance_numeric(Spread::VarPop, i256::MAX, i256::MAX, 0, 2), Err(OutOfRange));
        assert_eq!(rescale(i256::MAX, 0, 20), None);
        assert_eq!(rescale(wide(-25), 1, 0), Some(wide(-3)));
    }
}
