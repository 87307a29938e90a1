//! The state table of window functions: hand-over and the way back. What was said of a row, or why
//! nothing could be said, is added to it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};

use super::Over;
use crate::operator::{Error, StateChange};
use crate::operators::sorted::layout::damaged;

impl Over {
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
        let mut added = self.results(&slots)?;
        let failures: Vec<_> = match self.failures.is_empty() {
            true => vec![None; slots.len()],
            false => {
                let groups = self.groups(&there, slots.len())?;
                groups.iter().map(|group| self.failures.get(group)).collect()
            }
        };
        let codes = failures.iter().map(|failure| failure.map(|(code, _)| code));
        added.push(Arc::new(codes.collect::<StringArray>()));
        let messages = failures.iter().map(|failure| failure.map(|(_, message)| message));
        added.push(Arc::new(messages.collect::<StringArray>()));
        self.rows.mark_stored(&slots);
        Ok(Some(self.layout.change(&there, &added, &gone, trim)?))
    }

    /// The columns of results of some slots; NULLs where nothing is shown.
    fn results(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, Error> {
        let nothing: Vec<ArrayRef> = (self.spec.calls.iter())
            .map(|call| arrow::array::new_null_array(call.output.data_type(), 1))
            .collect();
        let nothing = self.calls.encode(&nothing)?;
        let nothing = nothing.row(0);
        let said = slots.iter().map(|slot| match &self.said[*slot as usize] {
            Some(said) => said.as_ref(),
            None => nothing.as_ref(),
        });
        self.calls.columns(said)
    }

    /// Stored rows come back.
    pub(super) fn take_back(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        let (columns, mut added) = self.layout.read(rows)?;
        let messages = added.pop().ok_or_else(|| damaged("it has no error".into()))?;
        let codes = added.pop().ok_or_else(|| damaged("it has no error".into()))?;
        let (messages, codes) = (messages.as_string::<i32>(), codes.as_string::<i32>());
        let said = self.calls.encode(&added)?;
        let encoded = self.rows.encode(&columns)?;
        let groups = self.groups(&columns, rows.num_rows())?;
        self.closing.add(&groups, &columns, &self.lists);
        let mut slots = Vec::with_capacity(groups.len());
        for (row, group) in groups.into_iter().enumerate() {
            let bytes = encoded.row(row);
            let place = match self.lists[group as usize].find(bytes.as_ref(), &self.rows) {
                Err(place) => place,
                Ok(_) => return Err(damaged("a row is there twice".into())),
            };
            let slot = self.keep(bytes.as_ref());
            self.lists[group as usize].insert(place, slot);
            if codes.is_valid(row) {
                let failure = (codes.value(row).to_owned(), messages.value(row).to_owned());
                self.failures.insert(group, failure);
            } else {
                self.said[slot as usize] = Some(said.row(row).as_ref().into());
            }
            slots.push(slot);
        }
        self.rows.mark_stored(&slots);
        Ok(())
    }
}
