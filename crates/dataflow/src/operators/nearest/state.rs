//! The state tables of an ASOF join, one a side: hand-over and the way back. Rows alone are stored.

use arrow::array::{Array, RecordBatch};

use super::Nearest;
use super::side::Side;
use crate::operator::{Error, StateChange};
use crate::operators::sorted::by_group;
use crate::operators::sorted::layout::damaged;
use crate::operators::sorted::{group_of, row_of};

impl Side {
    /// The rows that came since the last hand-over, and those that are gone.
    pub(super) fn changes(&mut self) -> Result<Option<StateChange>, Error> {
        let slots = self.marks.drain();
        let gone = std::mem::take(&mut self.gone);
        if slots.is_empty() && gone.is_empty() {
            return Ok(None);
        }
        let there = self.rows.decode(&slots)?;
        let gone = self.rows.decode_bytes(gone.iter().map(AsRef::as_ref))?;
        self.rows.mark_stored(&slots);
        Ok(Some(self.layout.change(&there, &[], &gone, None)?))
    }
}

impl Nearest {
    /// Stored rows of a side come back.
    pub(super) fn take_back(&mut self, side: usize, rows: &RecordBatch) -> Result<(), Error> {
        let (columns, _) = self.sides[side].layout.read(rows)?;
        let time = self.time(side);
        if columns[time].null_count() > 0 {
            return Err(damaged("a row without a time".into()));
        }
        let encoded = self.sides[side].rows.encode(&columns)?;
        let times = self.converter.convert_columns(&[columns[time].clone()])?;
        let micros = self.sides[side].micros_of(&columns);
        let keys = self.keys(side, &columns, rows.num_rows())?;
        let name = self.spec.name.clone();
        for packed in by_group(&keys) {
            let (key, row) = (group_of(packed), row_of(packed));
            let bytes = encoded.row(row);
            if self.sides[side].has(key, bytes.as_ref()) {
                return Err(damaged("a row is there twice".into()));
            }
            let time = (times.row(row).as_ref().len(), micros.get(row).copied());
            self.sides[side].insert(&name, key, bytes.as_ref(), time);
        }
        let slots = self.sides[side].marks.drain();
        self.sides[side].rows.mark_stored(&slots);
        self.is_restored = true;
        Ok(())
    }
}
