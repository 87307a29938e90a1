//! From accumulators to the results of the calls.
//!
//! A result depends on the accumulators alone, and these are exact: the result that a group had
//! before an epoch is computed again from the state before it, bit for bit as it was sent then. A
//! result that its type cannot hold is the group's error, not a wrong number.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, NullBufferBuilder};
use arrow::compute::cast;
use arrow::datatypes::{ArrowNativeType, DataType, SchemaRef, i256};
use millrace_plan::{Call, Class, Function};
use millrace_types::SqlState;
use millrace_types::numeric::{Spread, avg_numeric, rescale, variance_numeric};
use num_bigint::BigInt;

use super::accumulator::{Accumulator, part};
use super::average;
use super::count::Count;
use super::extreme::results;
use super::float::{FloatSum, Wide};
use super::multiset::{End, Multiset};
use super::parts::{Kind, Part, Parts};
use super::rebuild::{Layout, Rebuilder};
use super::round::{DOUBLE, REAL, nearest, nearest_big, nearest_quotient};
use super::sum::{IntSum, WideSum};
use crate::failure::Failure;
use crate::natives;
use crate::operator::Error;

/// Failures by row of the asked slots; the first call that fails counts.
pub(super) type Failures = BTreeMap<usize, Failure>;

type Cells = [Box<dyn Accumulator>];

/// How the argument of a call is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbers {
    Integers,
    Decimals,
    Floats,
}

/// The result of one call: which parts it is made of and how.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    function: Function,
    numbers: Numbers,
    /// The count of rows or values.
    count: usize,
    /// The sum, extreme or count of trues.
    value: usize,
    /// The sum of squares.
    squares: usize,
    /// Places of the argument.
    scale: i8,
    /// From the places of the argument to those of the result, where there are more of these.
    factor: Option<i256>,
    data_type: DataType,
    /// The value is an end of a multiset.
    counted: bool,
    rebuilder: Option<Arc<Rebuilder>>,
}

/// What a call needs to know of the rows that come in.
#[derive(Clone, Copy)]
pub(super) struct Incoming<'a> {
    pub(super) schema: &'a SchemaRef,
    /// The key columns, which break ties.
    pub(super) ties: &'a [usize],
    pub(super) append_only: bool,
}

impl Outcome {
    /// True of a function that is run again over the values of a group.
    pub(super) fn is_rebuilt(&self) -> bool {
        self.rebuilder.is_some()
    }

    /// The part over which a function is run again.
    pub(super) fn rebuilt_over(&self) -> Option<usize> {
        self.rebuilder.as_ref().map(|_| self.value)
    }

    /// Adds what a call needs to the parts.
    ///
    /// # Errors
    /// An argument type that the function does not take.
    pub(super) fn new(
        call: &Call,
        incoming: Incoming<'_>,
        parts: &mut Parts,
    ) -> Result<Outcome, Error> {
        let schema = incoming.schema;
        let argument = call.args.first().copied();
        let argument_type = argument.map(|a| schema.field(a).data_type().clone());
        let data_type = call.output.data_type().clone();
        let unsupported = || {
            let of = argument_type.as_ref().map_or_else(|| "*".to_owned(), DataType::to_string);
            Error::Unsupported(format!("{}({of}) as {data_type}", call.function.name()))
        };
        let valued = match call.function {
            Function::FirstValue | Function::LastValue | Function::Rebuilt => None,
            _ => argument.filter(|a| schema.field(*a).is_nullable()),
        };
        let over = match (call.class(), argument) {
            (Class::Distinct, Some(argument)) => {
                Some(parts.add_distinct(argument, call.filter, valued))
            }
            (Class::Distinct, None) => return Err(unsupported()),
            _ => None,
        };
        let mut add = |kind: Kind, columns: Vec<usize>, valued: Option<usize>| {
            // What takes distinct values takes those that have passed the filter.
            let filter = call.filter.filter(|_| over.is_none());
            parts.add(Part { kind, columns, filter, valued, over })
        };
        let count = add(Kind::Count, Vec::new(), valued);
        let numbers = numbers(argument_type.as_ref());
        let mut outcome = Outcome::of_count(call, argument_type.as_ref(), count);
        outcome.counted = !incoming.append_only;
        if call.function == Function::Count {
            return Ok(outcome);
        }
        if let Some(rebuild) = &call.rebuild {
            let layout = Layout::new(call, rebuild, incoming.ties);
            let kind = Kind::Multiset { order: layout.order.to_vec(), distinct: call.distinct };
            outcome.value = add(kind, layout.columns.clone(), None);
            outcome.rebuilder = Some(Arc::new(Rebuilder::new(call, rebuild, &layout, schema)?));
            return Ok(outcome);
        }
        let argument = argument.ok_or_else(unsupported)?;
        let mut over = |kind: Kind| add(kind, vec![argument], valued);
        match call.function {
            Function::Count | Function::Rebuilt => {}
            Function::Min | Function::Max if outcome.counted => {
                let kind = Kind::Multiset { order: Vec::new(), distinct: false };
                outcome.value = over(kind);
            }
            Function::Min => outcome.value = over(Kind::Least),
            Function::Max => outcome.value = over(Kind::Greatest),
            Function::BoolAnd | Function::BoolOr => outcome.value = over(Kind::Trues),
            Function::FirstValue | Function::LastValue => {
                let (kind, columns) = end(call, incoming, argument);
                outcome.value = add(kind, columns, None);
            }
            _ => {
                let (sum, squares) = match numbers.ok_or_else(unsupported)? {
                    Numbers::Integers => (Kind::IntSum, Kind::Squares),
                    Numbers::Decimals => (Kind::WideSum, Kind::Squares),
                    Numbers::Floats => (Kind::FloatSum, Kind::FloatSquares),
                };
                outcome.value = over(sum);
                if spread(call.function).is_some() {
                    outcome.squares = over(squares);
                }
            }
        }
        if outcome.fits() { Ok(outcome) } else { Err(unsupported()) }
    }

    /// With the count alone.
    fn of_count(call: &Call, argument: Option<&DataType>, count: usize) -> Outcome {
        let outcome = Outcome {
            function: call.function,
            numbers: numbers(argument).unwrap_or(Numbers::Integers),
            count,
            value: count,
            squares: count,
            scale: argument.and_then(scale).unwrap_or(0),
            factor: None,
            data_type: call.output.data_type().clone(),
            counted: false,
            rebuilder: None,
        };
        Outcome { factor: outcome.factor(), ..outcome }
    }

    fn factor(&self) -> Option<i256> {
        let places = scale(&self.data_type)?.checked_sub(self.scale)?;
        i256::from_i128(10).checked_pow(u32::try_from(places).ok()?)
    }

    /// True if results of this type can be made.
    fn fits(&self) -> bool {
        let numeric = scale(&self.data_type).is_some();
        let float = matches!(self.data_type, DataType::Float32 | DataType::Float64);
        match (self.function, self.numbers) {
            (Function::Count, _) => self.data_type == DataType::Int64,
            (Function::BoolAnd | Function::BoolOr, _) => self.data_type == DataType::Boolean,
            (Function::Min | Function::Max, _)
            | (Function::FirstValue | Function::LastValue | Function::Rebuilt, _) => true,
            (Function::Sum, Numbers::Integers) => numeric || self.data_type == DataType::Int64,
            (_, Numbers::Integers | Numbers::Decimals) => numeric,
            (_, Numbers::Floats) => float,
        }
    }

    /// The results of some slots; failed rows are listed and hold any value.
    ///
    /// # Errors
    /// Arrow's.
    pub(super) fn column(
        &self,
        cells: &Cells,
        slots: &[u32],
        failures: &mut Failures,
    ) -> Result<ArrayRef, Error> {
        let count: &Count = part(cells, self.count);
        match self.function {
            Function::Count => {
                let counts = slots.iter().map(|slot| count.get(*slot));
                Ok(Arc::new(Int64Array::from_iter_values(counts)))
            }
            Function::BoolAnd | Function::BoolOr => {
                let trues: &Count = part(cells, self.value);
                let all = self.function == Function::BoolAnd;
                Ok(Arc::new(BooleanArray::from_iter(slots.iter().map(|slot| {
                    let (count, trues) = (count.get(*slot), trues.get(*slot));
                    (count > 0).then_some(if all { trues == count } else { trues > 0 })
                }))))
            }
            Function::Rebuilt => self.rebuilt(cells, slots, failures),
            Function::Min | Function::Max | Function::FirstValue | Function::LastValue
                if self.counted =>
            {
                let greatest = matches!(self.function, Function::Max | Function::LastValue);
                let end = if greatest { End::Greatest } else { End::Least };
                let column = part::<Multiset>(cells, self.value).ends(slots, end)?;
                match column.data_type() == &self.data_type {
                    true => Ok(column),
                    false => Ok(cast(&column, &self.data_type)?),
                }
            }
            Function::Min | Function::Max | Function::FirstValue | Function::LastValue => {
                let valid: Vec<bool> = slots.iter().map(|slot| count.get(*slot) > 0).collect();
                let column = results(cells[self.value].as_ref()).results(slots, &valid)?;
                match column.data_type() == &self.data_type {
                    true => Ok(column),
                    false => Ok(cast(&column, &self.data_type)?),
                }
            }
            _ => self.number(cells, slots, failures),
        }
    }

    fn rebuilt(
        &self,
        cells: &Cells,
        slots: &[u32],
        failures: &mut Failures,
    ) -> Result<ArrayRef, Error> {
        let Some(rebuilder) = &self.rebuilder else {
            return Err(Error::Unsupported("a function that nobody named".into()));
        };
        let rows: &Multiset = part(cells, self.value);
        let mut values = Vec::with_capacity(slots.len());
        for (row, slot) in slots.iter().enumerate() {
            values.push(match rebuilder.value(rows, *slot)? {
                Ok(value) => value,
                Err(failure) => {
                    failures.entry(row).or_insert(failure);
                    rebuilder.nothing()?
                }
            });
        }
        rebuilder.column(values)
    }

    fn number(
        &self,
        cells: &Cells,
        slots: &[u32],
        failures: &mut Failures,
    ) -> Result<ArrayRef, Error> {
        let count: &Count = part(cells, self.count);
        let mut gather = Gather { slots, count, failures };
        match &self.data_type {
            DataType::Int64 => {
                let sums: &IntSum = part(cells, self.value);
                let message = || out_of_range("bigint");
                gather.column(&self.data_type, |slot, _| {
                    i64::try_from(sums.get(slot)).map(Some).map_err(|_| message())
                })
            }
            DataType::Float64 => {
                gather.column(&self.data_type, |slot, count| self.float(cells, slot, count))
            }
            DataType::Float32 => gather.column(&self.data_type, |slot, count| {
                self.float(cells, slot, count).and_then(|value| value.map(real).transpose())
            }),
            DataType::Decimal128(precision, _) => {
                let bound = bound(*precision);
                gather.column(&self.data_type, |slot, count| {
                    let value = self.decimal(cells, slot, count, bound)?;
                    Ok(value.map(|v| v.to_i128().expect("bounded by 38 digits")))
                })
            }
            DataType::Decimal256(precision, _) => {
                let small = self.small(cells, *precision);
                if let Some(values) = small.and_then(|small| small.values(slots, count)) {
                    return Ok(natives::array(&self.data_type, values, None)?);
                }
                let bound = bound(*precision);
                gather
                    .column(&self.data_type, |slot, count| self.decimal(cells, slot, count, bound))
            }
            other => Err(Error::Unsupported(format!("a number of type {other}"))),
        }
    }

    /// The fast way to sums and averages of integers.
    fn small<'a>(&self, cells: &'a Cells, precision: u8) -> Option<Small<'a>> {
        let factor = self.factor?.to_i128().filter(|_| self.numbers == Numbers::Integers)?;
        let average = match self.function {
            Function::Sum => false,
            Function::Avg => scale(&self.data_type) == Some(millrace_types::NUMERIC_SCALE),
            _ => return None,
        };
        // Below that, 128 bits could hold too much.
        let sums = part(cells, self.value);
        (precision > 38).then(|| Small { sums, factor, most: i128::MAX / factor, average })
    }

    fn decimal(
        &self,
        cells: &Cells,
        slot: u32,
        count: i64,
        bound: i256,
    ) -> Result<Option<i256>, Failure> {
        let too_large = || Failure {
            code: SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            message: "value overflows numeric format".into(),
        };
        let sum = match self.numbers {
            Numbers::Integers => i256::from_i128(part::<IntSum>(cells, self.value).get(slot)),
            _ => part::<WideSum>(cells, self.value).small(slot).ok_or_else(too_large)?,
        };
        let value = match spread(self.function) {
            None if self.function == Function::Sum => match self.factor {
                Some(factor) => sum.checked_mul(factor),
                None => rescale(sum, self.scale, scale(&self.data_type).unwrap_or(0)),
            },
            None => avg_numeric(sum, self.scale, count).and_then(|v| self.at_scale(v)),
            Some(spread) => {
                let squares: &WideSum = part(cells, self.squares);
                let squares = squares.small(slot).ok_or_else(too_large)?;
                match variance_numeric(spread, sum, squares, self.scale, count) {
                    Ok(None) => return Ok(None),
                    Ok(Some(value)) => self.at_scale(value),
                    Err(_) => None,
                }
            }
        };
        value.filter(|v| *v < bound && *v > -bound).map(Some).ok_or_else(too_large)
    }

    /// From the scale of averages to that of the result.
    fn at_scale(&self, value: i256) -> Option<i256> {
        match scale(&self.data_type) {
            Some(millrace_types::NUMERIC_SCALE) => Some(value),
            other => rescale(value, millrace_types::NUMERIC_SCALE, other?),
        }
    }

    fn float(&self, cells: &Cells, slot: u32, count: i64) -> Result<Option<f64>, Failure> {
        let sums: &FloatSum<i128> = part(cells, self.value);
        if let Some(spread) = spread(self.function) {
            let squares: &FloatSum<i256> = part(cells, self.squares);
            let (sum, squares) = (sums.get(slot), squares.get(slot));
            if !(sum.is_finite() && squares.is_finite()) {
                return Ok(spread.of_doubles(count, 0.0).map(|_| f64::NAN));
            }
            let distances = squared_distances(count, &sum, &squares);
            return finite(distances).map(|d| spread.of_doubles(count, d));
        }
        let format = if self.data_type == DataType::Float32 { REAL } else { DOUBLE };
        let sum = match sums.small(slot) {
            Some((mantissa, exponent)) => finite(nearest(
                mantissa < 0,
                mantissa.unsigned_abs(),
                false,
                i32::from(exponent),
                format,
            ))?,
            None => match sums.get(slot) {
                wide if wide.is_finite() => {
                    finite(nearest_big(&wide.mantissa, wide.exponent, format))?
                }
                wide => special(&wide),
            },
        };
        Ok(Some(if self.function == Function::Avg { sum / divisor(count) } else { sum }))
    }
}

/// The part of a `first_value` or `last_value`: the columns are order, ties, value.
fn end(call: &Call, incoming: Incoming<'_>, argument: usize) -> (Kind, Vec<usize>) {
    let order = call.order.iter().map(|o| o.column);
    let columns = order.chain(incoming.ties.iter().copied()).chain([argument]).collect();
    let (order, last) = (call.order.clone(), call.function == Function::LastValue);
    let kind = match incoming.append_only {
        true => Kind::Row { last, order },
        false => Kind::Multiset { order, distinct: false },
    };
    (kind, columns)
}

/// A count as a double; exact below 2^53.
#[allow(clippy::cast_precision_loss, reason = "a divisor needs no more than a double holds")]
fn divisor(count: i64) -> f64 {
    count as f64
}

#[allow(clippy::cast_possible_truncation, reason = "the value was rounded to real before")]
fn real(value: f64) -> Result<f32, Failure> {
    let real = value as f32;
    if real.is_infinite() && value.is_finite() { Err(overflow()) } else { Ok(real) }
}

/// The sum with NaN or infinities among its terms.
fn special(wide: &Wide) -> f64 {
    match (wide.nans != 0, wide.infinities != 0, wide.negative_infinities != 0) {
        (true, _, _) | (_, true, true) => f64::NAN,
        (_, true, _) => f64::INFINITY,
        _ => f64::NEG_INFINITY,
    }
}

fn finite(value: f64) -> Result<f64, Failure> {
    if value.is_finite() { Ok(value) } else { Err(overflow()) }
}

fn overflow() -> Failure {
    Failure {
        code: SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
        message: "value out of range: overflow".into(),
    }
}

fn out_of_range(type_name: &str) -> Failure {
    Failure {
        code: SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
        message: format!("{type_name} out of range"),
    }
}

/// `sum((x - mean)^2) = (n * sum(x^2) - sum(x)^2) / n`, rounded once.
fn squared_distances(count: i64, sum: &Wide, squares: &Wide) -> f64 {
    let n = BigInt::from(count);
    let (left, right) = (&n * &squares.mantissa, &sum.mantissa * &sum.mantissa);
    let exponent = squares.exponent.min(2 * sum.exponent);
    let left = left << (squares.exponent - exponent).unsigned_abs();
    let right = right << (2 * sum.exponent - exponent).unsigned_abs();
    nearest_quotient(&(left - right), &n, exponent)
}

fn bound(precision: u8) -> i256 {
    i256::from_i128(10).checked_pow(u32::from(precision)).expect("at most 76 digits")
}

fn numbers(data_type: Option<&DataType>) -> Option<Numbers> {
    match data_type? {
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => Some(Numbers::Integers),
        DataType::Decimal32(_, _)
        | DataType::Decimal64(_, _)
        | DataType::Decimal128(_, _)
        | DataType::Decimal256(_, _) => Some(Numbers::Decimals),
        DataType::Float32 | DataType::Float64 => Some(Numbers::Floats),
        _ => None,
    }
}

fn scale(data_type: &DataType) -> Option<i8> {
    match data_type {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => Some(*scale),
        _ => None,
    }
}

fn spread(function: Function) -> Option<Spread> {
    match function {
        Function::VarPop => Some(Spread::VarPop),
        Function::VarSamp => Some(Spread::VarSamp),
        Function::StddevPop => Some(Spread::StddevPop),
        Function::StddevSamp => Some(Spread::StddevSamp),
        _ => None,
    }
}

/// Sums or averages of integers that 128 bits hold with all places of the result.
struct Small<'a> {
    sums: &'a IntSum,
    factor: i128,
    /// The greatest sum that can be multiplied.
    most: i128,
    average: bool,
}

impl Small<'_> {
    /// None where the general way has to be taken.
    fn values(&self, slots: &[u32], count: &Count) -> Option<Vec<i256>> {
        let mut values = Vec::with_capacity(slots.len());
        for slot in slots {
            let (sum, count) = (self.sums.get(*slot), count.get(*slot));
            if count < 1 {
                return None;
            }
            values.push(match self.average && count > 1 {
                true => average::of_small(sum, count)?,
                false if sum > self.most || sum < -self.most => return None,
                false => i256::from_i128(sum * self.factor),
            });
        }
        Some(values)
    }
}

/// Collects one value a slot: NULL for a group without values.
struct Gather<'a> {
    slots: &'a [u32],
    count: &'a Count,
    failures: &'a mut Failures,
}

impl Gather<'_> {
    fn column<N: ArrowNativeType>(
        &mut self,
        data_type: &DataType,
        value: impl Fn(u32, i64) -> Result<Option<N>, Failure>,
    ) -> Result<ArrayRef, Error> {
        let mut values = Vec::with_capacity(self.slots.len());
        let mut valid = NullBufferBuilder::new(self.slots.len());
        for (row, slot) in self.slots.iter().enumerate() {
            let found = match self.count.get(*slot) {
                count if count > 0 => value(*slot, count),
                _ => Ok(None),
            };
            let found = found.unwrap_or_else(|failure| {
                self.failures.entry(row).or_insert(failure);
                None
            });
            valid.append(found.is_some());
            values.push(found.unwrap_or_default());
        }
        Ok(natives::array(data_type, values, valid.finish())?)
    }
}
