//! Functions of text that PostgreSQL has of bytea too, and `||` of byteas.
//!
//! DataFusion takes bytes for text there, and counts characters in them. A bytea comes here; anything
//! else goes on to DataFusion's function, but `substring(text from pattern)`, which it does not have
//! ([`super::regexp`]).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Int32Array, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::Result;
use datafusion::functions::{core, string, unicode};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use millrace_types::{Report, SqlState};

use super::cast::external;
use super::domain::check_length;
use super::invoke::{over_columns, text, texts};
use super::regexp::{self, Regexp};
use super::{chain, encodings, no_function, user_error};

/// What is done with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Of {
    Length,
    Bits,
    Part,
    Place,
    /// At both ends, at the begin, at the end.
    Trim {
        begin: bool,
        end: bool,
    },
    Overlay,
}

/// A function of text or bytes.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct OfBytes {
    of: Of,
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

pub(super) fn all() -> Vec<OfBytes> {
    vec![
        OfBytes::new(Of::Length, unicode::character_length()),
        OfBytes::new(Of::Length, string::octet_length()),
        OfBytes::new(Of::Bits, string::bit_length()),
        part(),
        place(),
        OfBytes::new(Of::Trim { begin: true, end: true }, string::btrim()),
        OfBytes::new(Of::Trim { begin: true, end: false }, string::ltrim()),
        OfBytes::new(Of::Trim { begin: false, end: true }, string::rtrim()),
        overlay(),
    ]
}

/// `substr`
pub(super) fn part() -> OfBytes {
    OfBytes::new(Of::Part, unicode::substr())
}

/// `strpos`
pub(super) fn place() -> OfBytes {
    OfBytes::new(Of::Place, unicode::strpos())
}

/// `overlay`
pub(super) fn overlay() -> OfBytes {
    OfBytes::new(Of::Overlay, core::overlay())
}

fn is_bytes(data_type: &DataType) -> bool {
    *data_type == DataType::Binary
}

impl OfBytes {
    fn new(of: Of, inner: Arc<ScalarUDF>) -> OfBytes {
        OfBytes { of, inner, signature: Signature::user_defined(Volatility::Immutable) }
    }

    /// The types of a call of bytes; None for any other.
    fn bytes(&self, types: &[DataType]) -> Option<Vec<DataType>> {
        let fits = |found: &DataType| is_bytes(found) || found.is_string() || found.is_null();
        let integer = |found: &DataType| found.is_integer() || found.is_null();
        match (self.of, types) {
            (Of::Length | Of::Bits, [value]) if is_bytes(value) => Some(types.to_vec()),
            // In an encoding.
            (Of::Length, [value, name])
                if is_bytes(value) && (name.is_string() || name.is_null()) =>
            {
                Some(vec![DataType::Binary, DataType::Utf8])
            }
            (Of::Trim { .. }, [value, trimmed])
                if fits(value) && fits(trimmed) && (is_bytes(value) || is_bytes(trimmed)) =>
            {
                Some(vec![DataType::Binary; 2])
            }
            (Of::Overlay, [value, new, numbers @ ..])
                if fits(value)
                    && fits(new)
                    && (is_bytes(value) || is_bytes(new))
                    && (1..=2).contains(&numbers.len())
                    && numbers.iter().all(integer) =>
            {
                let numbers = numbers.iter().map(|_| DataType::Int64);
                Some([DataType::Binary, DataType::Binary].into_iter().chain(numbers).collect())
            }
            (Of::Part, [value, numbers @ ..])
                if is_bytes(value)
                    && (1..=2).contains(&numbers.len())
                    && numbers.iter().all(integer) =>
            {
                let numbers = numbers.iter().map(|_| DataType::Int64);
                Some(std::iter::once(DataType::Binary).chain(numbers).collect())
            }
            (Of::Place, [value, part])
                if fits(value) && fits(part) && (is_bytes(value) || is_bytes(part)) =>
            {
                Some(vec![DataType::Binary; 2])
            }
            _ => None,
        }
    }

    /// The type of what is not left to DataFusion.
    fn own_type(&self, types: &[DataType]) -> Option<DataType> {
        match (self.bytes(types), self.of) {
            (Some(_), Of::Part | Of::Trim { .. } | Of::Overlay) => Some(DataType::Binary),
            (Some(_), _) => Some(DataType::Int32),
            (None, _) => self.is_pattern(types).then_some(DataType::Utf8),
        }
    }

    fn is_pattern(&self, types: &[DataType]) -> bool {
        // A NULL could be a place as well.
        let is_text = |known: Option<&DataType>| known.is_some_and(DataType::is_string);
        self.of == Of::Part
            && (is_text(types.get(1)) || is_text(types.get(2)))
            && regexp::coerced(Regexp::Substring, types).is_some()
    }
}

impl ScalarUDFImpl for OfBytes {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match self.own_type(types) {
            Some(own) => Ok(own),
            None => self.inner.inner().return_type(types),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> =
            args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        match self.own_type(&types) {
            Some(own) => Ok(Arc::new(Field::new(self.name(), own, true))),
            None => self.inner.inner().return_field_from_args(args),
        }
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if let Some(types) = self.bytes(types) {
            return Ok(types);
        }
        if self.is_pattern(types) {
            return Ok(vec![DataType::Utf8; types.len()]);
        }
        let is_other = |found: &DataType| is_bytes(found) || *found == DataType::LargeBinary;
        if types.iter().any(is_other) {
            return Err(no_function(self.name(), types));
        }
        let field = |found: &DataType| Arc::new(Field::new("", found.clone(), true));
        let fields: Vec<FieldRef> = types.iter().map(field).collect();
        let fields = fields_with_udf(&fields, self.inner.as_ref())?;
        Ok(fields.iter().map(|field| field.data_type().clone()).collect())
    }

    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(ExprSimplifyResult::Original(args))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<DataType> = args.args.iter().map(ColumnarValue::data_type).collect();
        if self.is_pattern(&types) {
            let rows = args.number_rows;
            return regexp::invoke(Regexp::Substring, &args.args, rows, &DataType::Utf8);
        }
        if self.bytes(&types).is_none() {
            if let (Of::Part, Some(length)) = (self.of, args.args.get(2)) {
                check_length(length)?;
            }
            return self.inner.inner().invoke_with_args(args);
        }
        over_columns(&args.args, |columns| match (self.of, columns) {
            (Of::Part, [values, numbers @ ..]) => parts(values.as_binary(), numbers),
            (Of::Place, [values, part]) => Ok(places(values.as_binary(), part.as_binary())),
            (Of::Length, [values, names]) => lengths_in(values.as_binary(), names),
            (Of::Trim { begin, end }, [values, sets]) => {
                Ok(trimmed(values.as_binary(), sets.as_binary(), (begin, end)))
            }
            (Of::Overlay, [values, new, numbers @ ..]) => {
                overlaid(values.as_binary(), new.as_binary(), numbers)
            }
            (of, [values, ..]) => lengths(values.as_binary(), if of == Of::Bits { 8 } else { 1 }),
            (_, []) => Err(no_function(self.name(), &[])),
        })
    }
}

fn lengths(values: &BinaryArray, factor: i32) -> Result<ArrayRef> {
    let length = |value: &[u8]| i32::try_from(value.len()).ok()?.checked_mul(factor);
    let too_long = || user_error(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range");
    let lengths = values
        .iter()
        .map(|value| value.map(|value| length(value).ok_or_else(too_long)).transpose());
    Ok(Arc::new(lengths.collect::<Result<Int32Array>>()?))
}

/// How many characters of an encoding they are.
fn lengths_in(values: &BinaryArray, names: &ArrayRef) -> Result<ArrayRef> {
    let names = texts(names)?;
    let mut last = encodings::Last::new("");
    let mut length = |row: usize| {
        let name = text(&names, row).filter(|_| values.is_valid(row));
        let length = name.map(|name| last.named(name)?.length(values.value(row))).transpose();
        Ok(length?.and_then(|length| i32::try_from(length).ok()))
    };
    let lengths = (0..values.len()).map(&mut length).collect::<Result<Int32Array, Report>>();
    Ok(Arc::new(lengths.map_err(external)?))
}

/// Without the bytes of a set at their ends.
fn trimmed(values: &BinaryArray, sets: &BinaryArray, (begin, end): (bool, bool)) -> ArrayRef {
    let trim = |(value, set): (Option<&[u8]>, Option<&[u8]>)| {
        let (value, set) = value.zip(set)?;
        let stays = |byte: &u8| !set.contains(byte);
        let from = if begin { value.iter().position(stays) } else { Some(0) };
        let until = if end { value.iter().rposition(stays).map(|at| at + 1) } else { None };
        let (from, until) = (from.unwrap_or(value.len()), until.unwrap_or(value.len()));
        // Where nothing stays there is neither begin nor end.
        let is_empty = end && value.iter().all(|byte| set.contains(byte));
        Some(if is_empty { Vec::new() } else { value[from..until].to_vec() })
    };
    Arc::new(values.iter().zip(sets).map(trim).collect::<BinaryArray>())
}

/// With others in the place of some bytes: from a place on, which counts from 1, so many; as many as the others are
/// where that is not said.
fn overlaid(values: &BinaryArray, new: &BinaryArray, numbers: &[ArrayRef]) -> Result<ArrayRef> {
    let numbers: Vec<&Int64Array> =
        numbers.iter().map(|column| column.as_primitive::<Int64Type>()).collect();
    let mut result = BinaryBuilder::new();
    for (row, (value, new)) in values.iter().zip(new).enumerate() {
        let present = numbers.iter().all(|column| column.is_valid(row));
        let Some((value, new)) = value.zip(new).filter(|_| present) else {
            result.append_null();
            continue;
        };
        let from = numbers.first().map_or(1, |column| column.value(row));
        if from <= 0 {
            let message = "negative substring length not allowed";
            return Err(user_error(SqlState::SUBSTRING_ERROR, message));
        }
        let length = i64::try_from(new.len()).unwrap_or(i64::MAX);
        let length = numbers.get(1).map_or(length, |column| column.value(row));
        let rest = from.checked_add(length).filter(|rest| i32::try_from(*rest).is_ok());
        let too_far = || user_error(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range");
        let rest = rest.ok_or_else(too_far)?;
        let place = |at: i64| usize::try_from(at.saturating_sub(1)).unwrap_or(0).min(value.len());
        result.append_value([&value[..place(from)], new, &value[place(rest)..]].concat());
    }
    Ok(Arc::new(result.finish()))
}

/// The bytes from a place on, which counts from 1, and so many.
fn parts(values: &BinaryArray, numbers: &[ArrayRef]) -> Result<ArrayRef> {
    let numbers: Vec<&Int64Array> =
        numbers.iter().map(|column| column.as_primitive::<Int64Type>()).collect();
    let mut result = BinaryBuilder::new();
    for row in 0..values.len() {
        if values.is_null(row) || numbers.iter().any(|column| column.is_null(row)) {
            result.append_null();
            continue;
        }
        let value = values.value(row);
        let from = numbers.first().map_or(1, |column| column.value(row));
        let until = match numbers.get(1).map(|column| column.value(row)) {
            Some(..0) => {
                let message = "negative substring length not allowed";
                return Err(user_error(SqlState::SUBSTRING_ERROR, message));
            }
            Some(length) => from.saturating_add(length),
            None => i64::MAX,
        };
        let place = |at: i64| usize::try_from(at.saturating_sub(1)).unwrap_or(0).min(value.len());
        let (from, until) = (place(from), place(until));
        result.append_value(&value[from.min(until)..until]);
    }
    Ok(Arc::new(result.finish()))
}

/// Where bytes stand in others, from 1; 0 for nowhere.
fn places(values: &BinaryArray, parts: &BinaryArray) -> ArrayRef {
    let place = |value: &[u8], part: &[u8]| match part.is_empty() {
        true => 1,
        false => {
            let found = value.windows(part.len()).position(|window| window == part);
            found.and_then(|at| i32::try_from(at + 1).ok()).unwrap_or(0)
        }
    };
    let pairs = values.iter().zip(parts);
    let places: Int32Array = pairs.map(|(value, part)| Some(place(value?, part?))).collect();
    Arc::new(places)
}

/// `a || b` of byteas.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Joined {
    signature: Signature,
}

impl Joined {
    pub(super) fn new() -> Joined {
        let types = vec![DataType::Binary; 2];
        Joined { signature: Signature::exact(types, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Joined {
    fn name(&self) -> &'static str {
        "byteacat"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(chain::call(self.name(), args))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |columns| {
            let [left, right] = columns else { return Err(no_function(self.name(), &[])) };
            let pairs = left.as_binary::<i32>().iter().zip(right.as_binary::<i32>());
            let joined: BinaryArray =
                pairs.map(|(left, right)| Some([left?, right?].concat())).collect();
            Ok(Arc::new(joined) as ArrayRef)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_bytes_begin_and_end_where_there_are_some() {
        let value = BinaryArray::from_vec(vec![b"abcd"]);
        let part = |from: i64, length: Option<i64>| {
            let numbers = std::iter::once(from).chain(length);
            let numbers: Vec<ArrayRef> =
                numbers.map(|n| Arc::new(Int64Array::from(vec![n])) as ArrayRef).collect();
            parts(&value, &numbers).map(|found| found.as_binary::<i32>().value(0).to_vec())
        };
        assert_eq!(part(2, Some(2)).unwrap(), b"bc");
        assert_eq!(part(-1, Some(3)).unwrap(), b"a");
        assert_eq!(part(0, None).unwrap(), b"abcd");
        assert_eq!(part(9, Some(1)).unwrap(), b"");
        assert_eq!(part(3, Some(i64::MAX)).unwrap(), b"cd");
        assert!(part(1, Some(-1)).is_err());
    }
}
