//! Groups that have left memory, and come back when they are touched.

use std::sync::Arc;

use arrow::array::ArrayRef;

use super::{Aggregate, Groups};
use crate::operator::{Error, Stored};
use crate::operators::away::can_be_found;

impl Aggregate {
    /// All groups leave memory; false if they cannot be found again by their keys.
    pub(super) fn let_all_go(&mut self, stored: &Arc<dyn Stored>) -> Result<bool, Error> {
        assert!(self.finishing.is_none(), "{}: it hands over between two times", self.spec.name);
        let fields = self.spec.group.iter().map(|column| self.spec.input.schema.field(*column));
        if !can_be_found(fields) {
            return Ok(false);
        }
        self.state = Groups::new(&self.spec, &self.parts)?;
        self.spare = None;
        self.windows.let_go();
        self.marks.shrink();
        self.away.begin(stored);
        Ok(true)
    }

    /// What is stored of the groups of some rows comes back.
    pub(super) fn bring_back(&mut self, keys: &[ArrayRef], rows: usize) -> Result<(), Error> {
        let index = self.state.index.as_ref();
        let Some(missing) = self.away.missing(index, keys, rows)? else { return Ok(()) };
        let order = self.key_order();
        let missing: Vec<ArrayRef> = order.into_iter().map(|at| Arc::clone(&missing[at])).collect();
        for rows in self.away.fetch(0, &missing)? {
            self.take_back(&rows)?;
        }
        for table in 0..self.counted().len() {
            for rows in self.away.fetch(table + 1, &missing)? {
                self.take_entries_back(table, &rows)?;
            }
        }
        Ok(())
    }
}
