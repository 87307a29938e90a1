//! Numbers as numbers of another type: rounded where digits fall off, an error where they don't fit.

#![allow(clippy::cast_possible_truncation, reason = "a float's range is checked before its cast")]

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, i256,
};
use datafusion::common::Result;
use millrace_types::numeric::rescale;
use millrace_types::{Report, SqlState, input};

use super::text::decimals;
use super::{external, integers, plain};
use crate::functions::type_name;

/// Digits before and after the point of an exact type.
fn digits(data_type: &DataType) -> Option<(i16, i16)> {
    match data_type {
        DataType::Int8 => Some((3, 0)),
        DataType::Int16 | DataType::UInt8 => Some((5, 0)),
        DataType::Int32 | DataType::UInt16 => Some((10, 0)),
        DataType::Int64 | DataType::UInt32 => Some((19, 0)),
        DataType::UInt64 => Some((20, 0)),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => Some((i16::from(*p) - i16::from(*s), i16::from(*s))),
        _ => None,
    }
}

/// True if Arrow's cast gives every value as PostgreSQL would.
pub(super) fn keeps(from: &DataType, to: &DataType) -> bool {
    let wider = || match (digits(from), digits(to)) {
        (Some((whole, after)), Some((to_whole, to_after))) => {
            whole <= to_whole && after <= to_after
        }
        _ => false,
    };
    match (from, to) {
        (from, to) if from.is_integer() && to.is_integer() => wider() && !to.is_unsigned_integer(),
        (_, to) if to.is_decimal() => digits(from).is_some() && wider(),
        (from, to) if from.is_integer() || from.is_floating() => {
            to.is_floating() && (from, to) != (&DataType::Float64, &DataType::Float32)
        }
        _ => false,
    }
}

/// The numbers as another type.
pub(super) fn convert(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    match to {
        DataType::Int16 => whole::<Int16Type>(array),
        DataType::Int32 => whole::<Int32Type>(array),
        DataType::Int64 => whole::<Int64Type>(array),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            decimals(scaled(array, *precision, *scale)?, to)
        }
        DataType::Float32 if array.data_type().is_floating() => narrow(array),
        DataType::Float32 if array.data_type().is_decimal() => narrow(&doubles(array)?),
        DataType::Float64 if array.data_type().is_decimal() => doubles(array),
        _ => plain(array, to),
    }
}

fn out_of_range(message: impl Into<String>) -> Report {
    Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

/// A column of decimals as unscaled values, and their scale.
pub(in crate::functions) fn unscaled(array: &ArrayRef) -> Result<(Vec<Option<i256>>, i8)> {
    match array.data_type() {
        DataType::Decimal128(_, scale) => {
            let values = array.as_primitive::<Decimal128Type>().iter();
            Ok((values.map(|value| value.map(i256::from_i128)).collect(), *scale))
        }
        DataType::Decimal256(_, scale) => {
            Ok((array.as_primitive::<Decimal256Type>().iter().collect(), *scale))
        }
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            unscaled(&plain(array, &DataType::Decimal128(*precision, *scale))?)
        }
        DataType::UInt64 => unscaled(&plain(array, &DataType::Decimal128(20, 0))?),
        _ => {
            let values = integers(array)?;
            let wide = |value: i64| i256::from_i128(i128::from(value));
            Ok((values.iter().map(|value| value.map(wide)).collect(), 0))
        }
    }
}

/// The numbers as integers, rounded: floats to even, decimals away from zero.
fn whole<T>(array: &ArrayRef) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i128>,
{
    let fit = |value: Option<i128>| {
        let value = value.and_then(|value| T::Native::try_from(value).ok());
        let message = || format!("{} out of range", type_name(&T::DATA_TYPE));
        value.ok_or_else(|| external(out_of_range(message())))
    };
    let result: PrimitiveArray<T> = match array.data_type() {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let doubles = plain(array, &DataType::Float64)?;
            doubles.as_primitive::<Float64Type>().try_unary(|value| {
                let rounded = value.round_ties_even();
                fit((rounded.abs() < 1e30).then_some(rounded as i128))
            })?
        }
        from if from.is_integer() && *from != DataType::UInt64 => {
            integers(array)?.try_unary(|value| fit(Some(i128::from(value))))?
        }
        _ => {
            let (values, scale) = unscaled(array)?;
            let whole = |value| fit(rescale(value, scale, 0).and_then(i256::to_i128));
            let values = values.into_iter().map(|value| value.map(whole).transpose());
            values.collect::<Result<_>>()?
        }
    };
    Ok(Arc::new(result))
}

/// The numbers as unscaled decimals.
fn scaled(array: &ArrayRef, precision: u8, scale: i8) -> Result<Vec<Option<i256>>> {
    let overflow = || external(input::field_overflow(precision, scale));
    if array.data_type().is_floating() {
        let digits = if *array.data_type() == DataType::Float64 { 14 } else { 5 };
        let doubles = plain(array, &DataType::Float64)?;
        let read = |value: f64| {
            if !value.is_finite() {
                return Err(external(Report::unsupported(format!("numeric value {value}"))));
            }
            // As many digits as every double keeps.
            input::numeric(&format!("{value:.digits$e}"), Some((precision, scale)))
                .map_err(external)
        };
        let values = doubles.as_primitive::<Float64Type>().iter();
        return values.map(|value| value.map(read).transpose()).collect();
    }
    let limit = i256::from_i128(10).checked_pow(u32::from(precision)).ok_or_else(overflow)?;
    let (values, from) = unscaled(array)?;
    let fit = |value| {
        let value = rescale(value, from, scale);
        value.filter(|value| *value < limit && *value > limit.wrapping_neg()).ok_or_else(overflow)
    };
    values.into_iter().map(|value| value.map(fit).transpose()).collect()
}

fn narrow(array: &ArrayRef) -> Result<ArrayRef> {
    let doubles = plain(array, &DataType::Float64)?;
    let result: PrimitiveArray<Float32Type> =
        doubles.as_primitive::<Float64Type>().try_unary(|value| {
            let single = value as f32;
            if single.is_infinite() && !value.is_infinite() {
                return Err(external(out_of_range("value out of range: overflow")));
            }
            if single == 0.0 && value != 0.0 {
                return Err(external(out_of_range("value out of range: underflow")));
            }
            Ok(single)
        })?;
    Ok(Arc::new(result))
}

/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Decimals as the nearest doubles.
fn doubles(array: &ArrayRef) -> Result<ArrayRef> {
    let (values, scale) = unscaled(array)?;
    let nearest = |value: i256| {
        // Both exact, so that the quotient is the nearest double.
        let small = value.to_i128().filter(|value| value.unsigned_abs() < 1 << 53);
        let power = usize::try_from(scale).ok().and_then(|scale| EXACT_POWERS.get(scale));
        match (small, power) {
            #[allow(clippy::cast_precision_loss, reason = "below 2^53 nothing is lost")]
            (Some(small), Some(power)) => Ok(small as f64 / power),
            _ => input::double(&format!("{value}e{}", -i16::from(scale))).map_err(external),
        }
    };
    let values = values.into_iter().map(|value| value.map(nearest).transpose());
    let result: PrimitiveArray<Float64Type> = values.collect::<Result<_>>()?;
    Ok(Arc::new(result))
}
