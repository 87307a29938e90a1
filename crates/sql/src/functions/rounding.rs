//! `round`, `trunc`, `ceil` and `floor`: numerics lose their places, floats round halves to even.

#![allow(clippy::cast_possible_truncation, reason = "places are clamped before they are narrowed")]

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type, i256};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::numeric::rescale;
use millrace_types::{NUMERIC_PRECISION, NUMERIC_SCALE, SqlType, input};

use super::cast::{decimals, external, plain, unscaled};
use super::no_function;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Direction {
    Nearest,
    Zero,
    Up,
    Down,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Rounding {
    direction: Direction,
    name: &'static str,
    aliases: Vec<String>,
    signature: Signature,
}

pub(super) fn all() -> Vec<Rounding> {
    let function = |direction, name, aliases: &[&str]| Rounding {
        direction,
        name,
        aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        signature: Signature::user_defined(Volatility::Immutable),
    };
    vec![
        function(Direction::Nearest, "round", &[]),
        function(Direction::Zero, "trunc", &[]),
        function(Direction::Up, "ceil", &["ceiling"]),
        function(Direction::Down, "floor", &[]),
    ]
}

/// The type of a numeric with so many places; unconstrained where that is not known.
fn with_places(data_type: &DataType, places: Option<i64>) -> DataType {
    let (precision, scale, wide) = match data_type {
        DataType::Decimal256(NUMERIC_PRECISION, NUMERIC_SCALE) => return data_type.clone(),
        DataType::Decimal128(p, s) => (*p, *s, false),
        DataType::Decimal256(p, s) => (*p, *s, true),
        other => return other.clone(),
    };
    let unconstrained = SqlType::Numeric(None).arrow();
    let Some(places) = places else { return unconstrained };
    let places = places.clamp(0, 38) as i8;
    let whole = i16::from(precision) - i16::from(scale) + 1;
    match u8::try_from(whole + i16::from(places)) {
        Ok(precision) if precision <= 38 && !wide => DataType::Decimal128(precision, places),
        Ok(precision) if precision <= 76 => DataType::Decimal256(precision, places),
        _ => unconstrained,
    }
}

impl ScalarUDFImpl for Rounding {
    fn name(&self) -> &'static str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let first = types.first().ok_or_else(|| no_function(self.name, types))?;
        Ok(with_places(first, (types.len() == 1).then_some(0)))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let Some(first) = args.arg_fields.first() else {
            return Err(no_function(self.name, &[]));
        };
        let places = match args.scalar_arguments.get(1).copied() {
            None => Some(0),
            Some(value) => match value {
                Some(ScalarValue::Int64(places)) => *places,
                Some(ScalarValue::Int32(places)) => places.map(i64::from),
                _ => None,
            },
        };
        Ok(Arc::new(Field::new(self.name, with_places(first.data_type(), places), true)))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let takes_places = matches!(self.direction, Direction::Nearest | Direction::Zero);
        match types {
            [number] => match number {
                t if t.is_decimal() => Ok(vec![t.clone()]),
                t if t.is_numeric() || t.is_null() => Ok(vec![DataType::Float64]),
                _ => Err(no_function(self.name, types)),
            },
            [number, places] if takes_places && (places.is_integer() || places.is_null()) => {
                let taken = match number {
                    t if t.is_decimal() => t.clone(),
                    t if t.is_integer() || t.is_null() => DataType::Decimal128(20, 0),
                    _ => return Err(no_function(self.name, types)),
                };
                Ok(vec![taken, DataType::Int64])
            }
            _ => Err(no_function(self.name, types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let numbers = arrays.first().ok_or_else(|| no_function(self.name, &[]))?;
        let places = match arrays.get(1) {
            Some(places) => {
                plain(places, &DataType::Int64)?.as_primitive::<Int64Type>().iter().collect()
            }
            None => vec![Some(0); numbers.len()],
        };
        let result = match args.return_field.data_type() {
            DataType::Float64 => self.floats(numbers)?,
            wanted => self.exact(numbers, &places, wanted)?,
        };
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
            false => ColumnarValue::Array(result),
        })
    }
}

impl Rounding {
    fn floats(&self, numbers: &ArrayRef) -> Result<ArrayRef> {
        let whole = match self.direction {
            Direction::Nearest => f64::round_ties_even,
            Direction::Zero => f64::trunc,
            Direction::Up => f64::ceil,
            Direction::Down => f64::floor,
        };
        let doubles = plain(numbers, &DataType::Float64)?;
        let result: Float64Array = doubles.as_primitive::<Float64Type>().unary(whole);
        Ok(Arc::new(result))
    }

    fn exact(
        &self,
        numbers: &ArrayRef,
        places: &[Option<i64>],
        wanted: &DataType,
    ) -> Result<ArrayRef> {
        let (DataType::Decimal128(precision, to) | DataType::Decimal256(precision, to)) = wanted
        else {
            return Err(no_function(self.name, std::slice::from_ref(wanted)));
        };
        let (values, scale) = unscaled(numbers)?;
        let limit = i256::from_i128(10).checked_pow(u32::from(*precision));
        let round = |(value, places): (Option<i256>, &Option<i64>)| {
            let (Some(value), Some(places)) = (value, *places) else { return Ok(None) };
            let places = places.clamp(-76, i64::from(scale)) as i8;
            let rounded = self.at(value, scale, places).and_then(|v| rescale(v, places, *to));
            let fits = rounded.filter(|v| limit.is_none_or(|l| *v < l && *v > l.wrapping_neg()));
            let overflow = || external(input::field_overflow(*precision, *to));
            fits.map(Some).ok_or_else(overflow)
        };
        let rounded = values.into_iter().zip(places).map(round);
        decimals(rounded.collect::<Result<Vec<_>>>()?, wanted)
    }

    /// An unscaled value at fewer places.
    fn at(&self, value: i256, scale: i8, places: i8) -> Option<i256> {
        if self.direction == Direction::Nearest || places >= scale {
            return rescale(value, scale, places);
        }
        let dropped = u32::try_from(i16::from(scale) - i16::from(places)).ok()?;
        let power = i256::from_i128(10).checked_pow(dropped)?;
        let (whole, rest) = (value.checked_div(power)?, value.checked_rem(power)?);
        match self.direction {
            Direction::Up if rest.is_positive() => whole.checked_add(i256::ONE),
            Direction::Down if rest.is_negative() => whole.checked_sub(i256::ONE),
            _ => Some(whole),
        }
    }
}
