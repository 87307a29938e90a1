//! `f(DISTINCT x)`: the set of values, given to the function at the end.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use datafusion::common::{HashSet, Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

/// The values seen so far, and the function.
#[derive(Debug)]
pub(super) struct Distinct {
    input: DataType,
    seen: HashSet<ScalarValue>,
    function: Box<dyn Accumulator>,
}

impl Distinct {
    pub(super) fn new(input: DataType, function: Box<dyn Accumulator>) -> Distinct {
        Distinct { input, seen: HashSet::default(), function }
    }

    fn insert(&mut self, values: &ArrayRef) -> Result<()> {
        for row in 0..values.len() {
            if values.is_valid(row) {
                self.seen.insert(ScalarValue::try_from_array(values, row)?);
            }
        }
        Ok(())
    }

    /// The values in order, so that sums of doubles do not depend on the set's order.
    fn sorted(&self) -> Vec<ScalarValue> {
        let mut values: Vec<ScalarValue> = self.seen.iter().cloned().collect();
        values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        values
    }
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.insert(&values[0])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states[0].as_list::<i32>();
        for row in 0..lists.len() {
            if lists.is_valid(row) {
                self.insert(&lists.value(row))?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let values = self.sorted();
        if !values.is_empty() {
            let array = ScalarValue::iter_to_array(values)?;
            self.function.update_batch(std::slice::from_ref(&array))?;
            let result = self.function.evaluate();
            self.function.retract_batch(&[array])?;
            return result;
        }
        self.function.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = ScalarValue::new_list(&self.sorted(), &self.input, true);
        Ok(vec![ScalarValue::List(list)])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.seen.capacity() * size_of::<ScalarValue>() + self.function.size()
    }
}
