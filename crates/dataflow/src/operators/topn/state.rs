//! The state table of a Top-N: hand-over and the way back. The weight is added to the rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;

use super::TopN;
use crate::operator::{Error, StateChange};
use crate::operators::sorted::layout::damaged;

impl TopN {
    /// The rows that changed since the last hand-over, and those that are gone.
    pub(super) fn changes(&mut self) -> Result<Option<StateChange>, Error> {
        let slots = self.marks.drain();
        let gone = std::mem::take(&mut self.gone);
        let trim = self.closing.take_trim();
        if slots.is_empty() && gone.is_empty() && trim.is_none() {
            return Ok(None);
        }
        let there = self.rows.decode(&slots)?;
        let gone = self.rows.decode_bytes(gone.iter().map(AsRef::as_ref))?;
        let weights = slots.iter().map(|slot| self.rows.weight(*slot));
        let weights: ArrayRef = Arc::new(Int64Array::from_iter_values(weights));
        self.rows.mark_stored(&slots);
        Ok(Some(self.layout.change(&there, &[weights], &gone, trim)?))
    }

    /// Stored rows come back.
    pub(super) fn take_back(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        let (columns, added) = self.layout.read(rows)?;
        let weights = added[0].as_primitive::<Int64Type>();
        let encoded = self.rows.encode(&columns)?;
        let peers = self.peers.as_ref().map(|peers| peers.lengths(&columns)).transpose()?;
        let groups = self.groups(&columns, rows.num_rows())?;
        self.closing.add(&groups, &columns, &self.lists);
        let mut slots = Vec::with_capacity(groups.len());
        for (row, group) in groups.into_iter().enumerate() {
            let weight = weights.value(row);
            let bytes = encoded.row(row);
            let list = &mut self.lists[group as usize];
            let place = match list.find(bytes.as_ref(), &self.rows) {
                Err(place) if weight > 0 && weights.is_valid(row) => place,
                _ => return Err(damaged(format!("a row has the weight {weight} or is double"))),
            };
            let slot = self.rows.add(bytes.as_ref(), weight);
            list.insert(place, slot);
            if let (Some(known), Some(lengths)) = (&mut self.peers, &peers) {
                known.note(slot, lengths[row]);
            }
            slots.push(slot);
        }
        self.rows.mark_stored(&slots);
        Ok(())
    }
}
