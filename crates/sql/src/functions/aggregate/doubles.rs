//! Sums of doubles. The sum of squared distances from the mean is kept as values come, by Youngs
//! and Cramer's update, which does not lose its digits when the mean is large.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::EmitTo;
use millrace_types::SqlState;

use super::super::user_error;
use super::Measure;
use super::sums::{Rows, Sums, counts_of};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Doubles {
    measure: Measure,
    output: DataType,
    groups: Vec<Group>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Group {
    count: i64,
    sum: f64,
    /// Sum of squared distances from the mean.
    spread: f64,
}

#[allow(clippy::cast_precision_loss, reason = "a divisor needs no more than a double holds")]
fn number(count: i64) -> f64 {
    count as f64
}

/// A result beyond all numbers, of terms that are not.
fn overflow() -> DataFusionError {
    user_error(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow")
}

/// The result, unless it is infinite and no term is.
fn within(result: f64, terms: [f64; 2]) -> Result<f64> {
    match result.is_infinite() && terms.iter().all(|term| term.is_finite()) {
        true => Err(overflow()),
        false => Ok(result),
    }
}

impl Group {
    fn add(&mut self, value: f64) -> Result<()> {
        self.count += 1;
        let before = self.sum;
        self.sum = within(before + value, [before, value])?;
        if self.count > 1 {
            self.spread = self.spread_with(self.distance(value), [before, value])?;
        } else if !value.is_finite() {
            self.spread = f64::NAN;
        }
        Ok(())
    }

    fn take(&mut self, value: f64) {
        if self.count > 1 {
            self.spread = (self.spread - self.distance(value)).max(0.0);
        }
        self.count -= 1;
        self.sum -= value;
        if self.count <= 1 {
            self.spread = 0.0;
        }
        if self.count == 0 {
            self.sum = 0.0;
        }
    }

    /// The spread and something more. No number is the distance from what is infinite.
    fn spread_with(&self, more: f64, terms: [f64; 2]) -> Result<f64> {
        match terms.iter().all(|term| term.is_finite()) {
            true => within(self.spread + more, terms),
            false => Ok(f64::NAN),
        }
    }

    /// What a value that is in the sum adds to the spread.
    fn distance(&self, value: f64) -> f64 {
        let count = number(self.count);
        let apart = value * count - self.sum;
        apart * apart / (count * (count - 1.0))
    }

    fn merge(&mut self, other: Group) -> Result<()> {
        if other.count == 0 {
            return Ok(());
        }
        if self.count > 0 {
            let (left, right) = (number(self.count), number(other.count));
            let apart = self.sum / left - other.sum / right;
            let more = other.spread + left * right * apart * apart / (left + right);
            self.spread = self.spread_with(more, [self.sum, other.sum])?;
        } else {
            self.spread = other.spread;
        }
        self.count += other.count;
        self.sum = within(self.sum + other.sum, [self.sum, other.sum])?;
        Ok(())
    }

    fn result(&self, measure: Measure) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        match measure {
            Measure::Sum => Some(self.sum),
            Measure::Avg => Some(self.sum / number(self.count)),
            Measure::Spread(spread) => spread.of_doubles(self.count, self.spread),
        }
    }
}

impl Doubles {
    pub(super) fn new(measure: Measure, output: DataType) -> Doubles {
        Doubles { measure, output, groups: Vec::new() }
    }
}

impl Sums for Doubles {
    fn fresh(&self) -> Doubles {
        Doubles::new(self.measure, self.output.clone())
    }

    fn resize(&mut self, groups: usize) {
        self.groups.resize(groups, Group::default());
    }

    fn change(&mut self, values: &ArrayRef, rows: &Rows<'_>, sign: i64) -> Result<()> {
        let values = cast(values, &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>();
        rows.each(values, |row, group| {
            match sign {
                1 => self.groups[group].add(values.value(row))?,
                _ => self.groups[group].take(values.value(row)),
            }
            Ok(())
        })
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize]) -> Result<()> {
        let counts = counts_of(states);
        let sums = states[1].as_primitive::<Float64Type>();
        let spreads = states[2].as_primitive::<Float64Type>();
        for (row, group) in groups.iter().enumerate() {
            let (count, sum) = (counts.value(row), sums.value(row));
            self.groups[*group].merge(Group { count, sum, spread: spreads.value(row) })?;
        }
        Ok(())
    }

    fn split(&mut self, emit: EmitTo) -> Doubles {
        Doubles { groups: emit.take_needed(&mut self.groups), ..self.fresh() }
    }

    fn finish(&self) -> Result<ArrayRef> {
        let results = self.groups.iter().map(|group| group.result(self.measure));
        let array: ArrayRef = Arc::new(results.collect::<Float64Array>());
        let result = cast(&array, &self.output)?;
        if let (Some(narrow), wide) =
            (result.as_primitive_opt::<Float32Type>(), array.as_primitive::<Float64Type>())
            && narrow.iter().zip(wide).any(|(narrow, wide)| {
                narrow.is_some_and(f32::is_infinite) && wide.is_some_and(f64::is_finite)
            })
        {
            return Err(overflow());
        }
        Ok(result)
    }

    fn states(&self) -> Vec<ArrayRef> {
        let counts = Int64Array::from_iter_values(self.groups.iter().map(|g| g.count));
        let sums = Float64Array::from_iter_values(self.groups.iter().map(|g| g.sum));
        let spreads = Float64Array::from_iter_values(self.groups.iter().map(|g| g.spread));
        vec![Arc::new(counts), Arc::new(sums), Arc::new(spreads)]
    }

    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Int64, DataType::Float64, DataType::Float64]
    }

    fn bytes(&self) -> usize {
        size_of_val(self) + self.groups.capacity() * size_of::<Group>()
    }
}
