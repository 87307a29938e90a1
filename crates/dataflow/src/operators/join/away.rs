//! Rows that have left memory, and come back when their join key is touched.
//!
//! Rows that are done by their time are sorted by that first: they cannot be found by their join key, and
//! stay in memory until they are done.
//!
//! Invariants: 1. of a join key that has a slot all rows of both sides are in memory ([`Join::bring_back`]).

use std::sync::Arc;

use arrow::array::ArrayRef;

use super::{Join, LEFT, RIGHT};
use crate::operator::{Error, Stored};
use crate::operators::away::can_be_found;

impl Join {
    /// True if the rows of a join key can be found in the tables of both sides.
    fn can_let_go(&self) -> bool {
        [LEFT, RIGHT].into_iter().all(|side| {
            let (schema, on) = (&self.spec.inputs[side].schema, &self.on[side]);
            let once = on.iter().enumerate().all(|(at, column)| !on[..at].contains(column));
            let exact = can_be_found(on.iter().map(|column| schema.field(*column)));
            once && exact && self.sides[side].clean_column().is_none()
        })
    }

    /// All rows leave memory; false if they cannot be found again by their join keys.
    pub(super) fn let_all_go(&mut self, stored: &Arc<dyn Stored>) -> Result<bool, Error> {
        assert!(self.finishing.is_none(), "{}: it hands over between two times", self.spec.name);
        if !self.can_let_go() {
            return Ok(false);
        }
        let Join { keys, sides, .. } = Join::new(Arc::clone(&self.spec))?;
        self.keys = keys;
        for (side, empty) in self.sides.iter_mut().zip(sides) {
            side.let_all_go(empty);
        }
        self.away.begin(stored);
        Ok(true)
    }

    /// What is stored of the join keys of a side's rows comes back, of both sides.
    pub(super) fn bring_back(
        &mut self,
        side: usize,
        columns: &[ArrayRef],
        rows: usize,
    ) -> Result<(), Error> {
        let keys: Vec<ArrayRef> =
            self.on[side].iter().map(|column| Arc::clone(&columns[*column])).collect();
        let Some(missing) = self.away.missing(self.keys.as_ref(), &keys, rows)? else {
            return Ok(());
        };
        for (table, side) in self.kept().iter().enumerate() {
            for rows in self.away.fetch(table, &missing)? {
                self.take_back(*side, &rows)?;
            }
        }
        Ok(())
    }
}
