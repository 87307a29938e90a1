//! Running sums of groups, and the two shapes in which DataFusion wants them.

use std::fmt::Debug;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

/// Running sums of a number of groups. A group without rows gives NULL.
pub(super) trait Sums: Clone + Debug + Send + Sync + 'static {
    /// The same function without groups.
    fn fresh(&self) -> Self;

    /// Makes room for groups.
    fn resize(&mut self, groups: usize);

    /// Adds (`sign` 1) or takes away (-1) one value a row; the filter has no nulls.
    fn change(&mut self, values: &ArrayRef, rows: &Rows<'_>, sign: i64) -> Result<()>;

    /// Adds sums that came from [`Sums::states`].
    fn merge(&mut self, states: &[ArrayRef], groups: &[usize]) -> Result<()>;

    /// Takes groups out, in order.
    fn split(&mut self, emit: EmitTo) -> Self;

    /// The results of all groups.
    fn finish(&self) -> Result<ArrayRef>;

    /// The sums of all groups, to be merged elsewhere.
    fn states(&self) -> Vec<ArrayRef>;

    /// The types of the states.
    fn state_types(&self) -> Vec<DataType>;

    /// Bytes in memory.
    fn bytes(&self) -> usize;
}

/// Which group each row belongs to, and which rows count.
pub(super) struct Rows<'a> {
    groups: &'a [usize],
    filter: Option<&'a BooleanArray>,
}

impl Rows<'_> {
    /// Calls `change` with the group of every row that counts and has a value.
    pub(super) fn each(
        &self,
        values: &dyn Array,
        mut change: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<()> {
        if self.filter.is_none() && values.null_count() == 0 {
            for (row, group) in self.groups.iter().enumerate() {
                change(row, *group)?;
            }
            return Ok(());
        }
        for (row, group) in self.groups.iter().enumerate() {
            let counts = self.filter.is_none_or(|f| f.is_valid(row) && f.value(row));
            if counts && values.is_valid(row) {
                change(row, *group)?;
            }
        }
        Ok(())
    }
}

/// The counts of a state, in its first column.
pub(super) fn counts_of(states: &[ArrayRef]) -> &Int64Array {
    states[0].as_primitive::<Int64Type>()
}

/// Many groups at once.
#[derive(Debug)]
pub(super) struct Grouped<S>(S);

impl<S: Sums> Grouped<S> {
    pub(super) fn new(sums: S) -> Grouped<S> {
        Grouped(sums)
    }
}

impl<S: Sums> GroupsAccumulator for Grouped<S> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.0.resize(total);
        self.0.change(&values[0], &Rows { groups, filter }, 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.0.resize(total);
        self.0.merge(states, groups)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        self.0.split(emit).finish()
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(self.0.split(emit).states())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let groups: Vec<usize> = (0..values[0].len()).collect();
        let mut sums = self.0.fresh();
        sums.resize(groups.len());
        sums.change(&values[0], &Rows { groups: &groups, filter }, 1)?;
        Ok(sums.states())
    }

    fn size(&self) -> usize {
        self.0.bytes()
    }
}

/// One group.
#[derive(Debug)]
pub(super) struct Single<S>(S);

impl<S: Sums> Single<S> {
    pub(super) fn new(mut sums: S) -> Single<S> {
        sums.resize(1);
        Single(sums)
    }

    fn change(&mut self, values: &[ArrayRef], sign: i64) -> Result<()> {
        let groups = vec![0; values[0].len()];
        self.0.change(&values[0], &Rows { groups: &groups, filter: None }, sign)
    }
}

impl<S: Sums> Accumulator for Single<S> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.change(values, 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.change(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let groups = vec![0; states[0].len()];
        self.0.merge(states, &groups)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&self.0.finish()?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.states().iter().map(|state| ScalarValue::try_from_array(state, 0)).collect()
    }

    fn size(&self) -> usize {
        self.0.bytes()
    }
}
