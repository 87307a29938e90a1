//! Sums of integers and decimals: exact, in 256 bits.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal256Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal256Type, Int64Type, i256};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::EmitTo;
use millrace_types::numeric::{OutOfRange, avg_numeric, rescale, variance_numeric};
use millrace_types::{NUMERIC_PRECISION, NUMERIC_SCALE, SqlState};

use super::Measure;
use super::sums::{Rows, Sums, counts_of};
use crate::functions::user_error;

/// See the module. Sums are unscaled: integers have scale 0.
#[derive(Clone, Debug)]
pub(super) struct Exact {
    measure: Measure,
    /// The places of the argument, if it is a decimal.
    decimals: Option<i8>,
    output: DataType,
    counts: Vec<i64>,
    sums: Vec<i256>,
    /// Of the measures of spread only.
    squares: Vec<i256>,
}

impl Exact {
    pub(super) fn integers(measure: Measure, output: DataType) -> Exact {
        Exact::new(measure, None, output)
    }

    pub(super) fn decimals(measure: Measure, scale: i8, output: DataType) -> Exact {
        Exact::new(measure, Some(scale), output)
    }

    fn new(measure: Measure, decimals: Option<i8>, output: DataType) -> Exact {
        let (counts, sums, squares) = (Vec::new(), Vec::new(), Vec::new());
        Exact { measure, decimals, output, counts, sums, squares }
    }

    fn scale(&self) -> i8 {
        self.decimals.unwrap_or(0)
    }

    fn has_squares(&self) -> bool {
        matches!(self.measure, Measure::Spread(_))
    }

    fn add(&mut self, group: usize, value: i256, sign: i64) -> Result<()> {
        self.counts[group] += sign;
        let change = |sum: i256, by: i256| match sign {
            1 => sum.checked_add(by),
            _ => sum.checked_sub(by),
        };
        self.sums[group] = change(self.sums[group], value).ok_or_else(numeric_overflow)?;
        if self.has_squares() {
            let square = value.checked_mul(value).ok_or_else(numeric_overflow)?;
            self.squares[group] =
                change(self.squares[group], square).ok_or_else(numeric_overflow)?;
        }
        Ok(())
    }

    /// The result of a group as an unscaled decimal.
    fn numeric(&self, group: usize) -> Result<Option<i256>> {
        let (count, sum) = (self.counts[group], self.sums[group]);
        if count == 0 {
            return Ok(None);
        }
        let value = match self.measure {
            Measure::Sum => match self.decimals {
                Some(_) => Some(sum),
                None => rescale(sum, 0, NUMERIC_SCALE),
            },
            Measure::Avg => avg_numeric(sum, self.scale(), count),
            Measure::Spread(spread) => {
                let squares = self.squares[group];
                let value = variance_numeric(spread, sum, squares, self.scale(), count);
                match value.map_err(|OutOfRange| numeric_overflow())? {
                    None => return Ok(None),
                    some => some,
                }
            }
        };
        let digits = |v: &i256| v.checked_abs().is_some_and(|v| v == i256::ZERO || v.ilog10() < 76);
        value.filter(digits).map(Some).ok_or_else(numeric_overflow)
    }
}

fn numeric_overflow() -> DataFusionError {
    user_error(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}

fn unscaled(values: Vec<i256>) -> ArrayRef {
    let array = Decimal256Array::from(values);
    Arc::new(array.with_data_type(DataType::Decimal256(NUMERIC_PRECISION, 0)))
}

impl Sums for Exact {
    fn fresh(&self) -> Exact {
        Exact::new(self.measure, self.decimals, self.output.clone())
    }

    fn resize(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
        self.sums.resize(groups, i256::ZERO);
        if self.has_squares() {
            self.squares.resize(groups, i256::ZERO);
        }
    }

    fn change(&mut self, values: &ArrayRef, rows: &Rows<'_>, sign: i64) -> Result<()> {
        match self.decimals {
            Some(scale) => {
                let values = cast(values, &DataType::Decimal256(NUMERIC_PRECISION, scale))?;
                let values = values.as_primitive::<Decimal256Type>();
                rows.each(values, |row, group| self.add(group, values.value(row), sign))
            }
            None => {
                let values = cast(values, &DataType::Int64)?;
                let values = values.as_primitive::<Int64Type>();
                rows.each(values, |row, group| {
                    self.add(group, i256::from_i128(i128::from(values.value(row))), sign)
                })
            }
        }
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize]) -> Result<()> {
        let counts = counts_of(states);
        let sums = states[1].as_primitive::<Decimal256Type>();
        let squares = states.get(2).map(|s| s.as_primitive::<Decimal256Type>());
        for (row, group) in groups.iter().enumerate() {
            self.counts[*group] += counts.value(row);
            let sum = self.sums[*group].checked_add(sums.value(row));
            self.sums[*group] = sum.ok_or_else(numeric_overflow)?;
            if let Some(squares) = squares {
                let square = self.squares[*group].checked_add(squares.value(row));
                self.squares[*group] = square.ok_or_else(numeric_overflow)?;
            }
        }
        Ok(())
    }

    fn split(&mut self, emit: EmitTo) -> Exact {
        let mut taken = self.fresh();
        taken.counts = emit.take_needed(&mut self.counts);
        taken.sums = emit.take_needed(&mut self.sums);
        if self.has_squares() {
            taken.squares = emit.take_needed(&mut self.squares);
        }
        taken
    }

    fn finish(&self) -> Result<ArrayRef> {
        let groups = 0..self.counts.len();
        if self.output == DataType::Int64 {
            let value = |group: usize| match self.counts[group] {
                0 => Ok(None),
                _ => self.sums[group].to_i128().and_then(|v| i64::try_from(v).ok()).map_or_else(
                    || {
                        let code = SqlState::NUMERIC_VALUE_OUT_OF_RANGE;
                        Err(user_error(code, "bigint out of range"))
                    },
                    |v| Ok(Some(v)),
                ),
            };
            return Ok(Arc::new(groups.map(value).collect::<Result<Int64Array>>()?));
        }
        let values = groups.map(|group| self.numeric(group)).collect::<Result<Vec<_>>>()?;
        let array = Decimal256Array::from(values).with_data_type(self.output.clone());
        Ok(Arc::new(array))
    }

    fn states(&self) -> Vec<ArrayRef> {
        let counts: ArrayRef = Arc::new(Int64Array::from(self.counts.clone()));
        let mut states = vec![counts, unscaled(self.sums.clone())];
        if self.has_squares() {
            states.push(unscaled(self.squares.clone()));
        }
        states
    }

    fn state_types(&self) -> Vec<DataType> {
        let wide = DataType::Decimal256(NUMERIC_PRECISION, 0);
        let sums = if self.has_squares() { 2 } else { 1 };
        std::iter::once(DataType::Int64).chain(std::iter::repeat_n(wide, sums)).collect()
    }

    fn bytes(&self) -> usize {
        size_of_val(self)
            + self.counts.capacity() * size_of::<i64>()
            + (self.sums.capacity() + self.squares.capacity()) * size_of::<i256>()
    }
}
