//! Single bytes and bits: `get_byte`, `set_byte`, `get_bit`, `set_bit` and `bit_count` of bytea; `to_hex`, which
//! shows the bits of a negative number, as many as its type has.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, BinaryBuilder, Int32Array, Int64Array, StringArray,
};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::{Report, SqlState};

use super::cast::external;
use super::invoke::over_columns;
use super::no_function;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Which {
    GetByte,
    SetByte,
    GetBit,
    SetBit,
    Count,
    Hex,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Bits {
    which: Which,
    signature: Signature,
}

pub(super) fn all() -> Vec<Bits> {
    let signature = || Signature::user_defined(Volatility::Immutable);
    [Which::GetByte, Which::SetByte, Which::GetBit, Which::SetBit, Which::Count, Which::Hex]
        .map(|which| Bits { which, signature: signature() })
        .into()
}

impl ScalarUDFImpl for Bits {
    fn name(&self) -> &'static str {
        match self.which {
            Which::GetByte => "get_byte",
            Which::SetByte => "set_byte",
            Which::GetBit => "get_bit",
            Which::SetBit => "set_bit",
            Which::Count => "bit_count",
            Which::Hex => "to_hex",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.which {
            Which::GetByte | Which::GetBit => DataType::Int32,
            Which::SetByte | Which::SetBit => DataType::Binary,
            Which::Count => DataType::Int64,
            Which::Hex => DataType::Utf8,
        })
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let wrong = || no_function(self.name(), types);
        if self.which == Which::Hex {
            return match types {
                [DataType::Int64] => Ok(vec![DataType::Int64]),
                [one] if one.is_integer() || one.is_null() => Ok(vec![DataType::Int32]),
                _ => Err(wrong()),
            };
        }
        let numbers = match self.which {
            Which::GetByte | Which::GetBit => 1,
            Which::SetByte | Which::SetBit => 2,
            Which::Count | Which::Hex => 0,
        };
        let is_bytes =
            |found: &DataType| *found == DataType::Binary || found.is_string() || found.is_null();
        let is_number = |found: &DataType| found.is_integer() || found.is_null();
        match types {
            [value, others @ ..]
                if is_bytes(value) && others.len() == numbers && others.iter().all(is_number) =>
            {
                let others = others.iter().map(|_| DataType::Int64);
                Ok(std::iter::once(DataType::Binary).chain(others).collect())
            }
            _ => Err(wrong()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |columns| match (self.which, columns) {
            (Which::Hex, [numbers]) => Ok(hex(numbers)),
            (Which::Count, [values]) => Ok(counts(values.as_binary())),
            (which, [values, places]) => {
                read(which, values.as_binary(), places.as_primitive()).map_err(external)
            }
            (which, [values, places, new]) => {
                let places = (places.as_primitive(), new.as_primitive());
                changed(which, values.as_binary(), places).map_err(external)
            }
            _ => Err(no_function(self.name(), &[])),
        })
    }
}

fn hex(numbers: &ArrayRef) -> ArrayRef {
    let shown: StringArray = match numbers.as_primitive_opt::<Int32Type>() {
        Some(narrow) => narrow.iter().map(|n| n.map(|n| format!("{n:x}"))).collect(),
        None => {
            let wide = numbers.as_primitive::<Int64Type>();
            wide.iter().map(|n| n.map(|n| format!("{n:x}"))).collect()
        }
    };
    Arc::new(shown)
}

fn counts(values: &BinaryArray) -> ArrayRef {
    let ones = |value: &[u8]| value.iter().map(|byte| i64::from(byte.count_ones())).sum::<i64>();
    Arc::new(values.iter().map(|value| value.map(ones)).collect::<Int64Array>())
}

/// The place of a byte, and of a bit in it, from the lowest.
///
/// # Errors
/// `2202E` outside of the value.
fn place(which: Which, value: &[u8], at: i64) -> Result<(usize, u32), Report> {
    let size: usize = if matches!(which, Which::GetBit | Which::SetBit) { 8 } else { 1 };
    let count = i64::try_from(value.len().saturating_mul(size)).unwrap_or(i64::MAX);
    let found = usize::try_from(at).ok().filter(|_| at < count);
    let Some(found) = found else {
        let message = format!("index {at} out of valid range, 0..{}", count - 1);
        return Err(Report::new(SqlState::ARRAY_SUBSCRIPT_ERROR, message));
    };
    Ok((found / size, u32::try_from(found % size).unwrap_or(0)))
}

fn read(which: Which, values: &BinaryArray, places: &Int64Array) -> Result<ArrayRef, Report> {
    let one = |(value, at): (Option<&[u8]>, Option<i64>)| {
        let Some((value, at)) = value.zip(at) else { return Ok(None) };
        let (byte, bit) = place(which, value, at)?;
        let byte = i32::from(value[byte]);
        Ok(Some(if which == Which::GetBit { byte >> bit & 1 } else { byte }))
    };
    let found = values.iter().zip(places).map(one).collect::<Result<Int32Array, Report>>()?;
    Ok(Arc::new(found))
}

fn changed(
    which: Which,
    values: &BinaryArray,
    (places, new): (&Int64Array, &Int64Array),
) -> Result<ArrayRef, Report> {
    let mut result = BinaryBuilder::new();
    for ((value, at), new) in values.iter().zip(places).zip(new) {
        let Some(((value, at), new)) = value.zip(at).zip(new) else {
            result.append_null();
            continue;
        };
        let (byte, bit) = place(which, value, at)?;
        let mut value = value.to_vec();
        value[byte] = match (which, new) {
            // The lowest byte of a larger number.
            (Which::SetByte, new) => new.to_le_bytes()[0],
            (_, 0) => value[byte] & !(1 << bit),
            (_, 1) => value[byte] | 1 << bit,
            _ => {
                let message = "new bit must be 0 or 1";
                return Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, message));
            }
        };
        result.append_value(value);
    }
    Ok(Arc::new(result.finish()))
}
