//! When the state of a group goes: after its window has closed.
//!
//! Slots are listed by the window that their key names. When the watermark passes a window's end,
//! its list is dropped; nothing else is looked at. Lists may name a slot that was freed and used
//! again since: what its key says now decides.

use std::collections::BTreeMap;

use arrow::array::Array;
use arrow::datatypes::{DataType, TimeUnit};
use millrace_types::ObjectId;

use super::super::slots::Index;
use super::Touched;
use crate::graph::AggregateSpec;
use crate::natives;
use crate::operator::{Context, Error};

/// Which groups are settled: those whose key column is at or below the watermark less `shift`.
#[derive(Clone, Debug)]
pub(super) struct Settle {
    /// A position in the group columns.
    pub(super) key: usize,
    shift: i64,
    sources: Vec<ObjectId>,
}

impl Settle {
    /// From the plan, where the column is one of the output.
    ///
    /// # Errors
    /// A column that is not a timestamp of the key.
    pub(super) fn new(spec: &AggregateSpec) -> Result<Option<Settle>, Error> {
        let Some(settled) = &spec.settled else { return Ok(None) };
        let (key, shift) = match &spec.hop {
            Some(hop) if settled.column == spec.group.len() => {
                (hop.column, settled.shift.saturating_add(hop.size))
            }
            _ => (settled.column, settled.shift),
        };
        let data_type = spec.group.get(key).map(|c| spec.input.schema.field(*c).data_type());
        if !matches!(data_type, Some(DataType::Timestamp(TimeUnit::Microsecond, _))) {
            return Err(Error::Unsupported("state that settles by a column of no window".into()));
        }
        Ok(Some(Settle { key, shift, sources: settled.sources.clone() }))
    }
}

/// Slots by window.
pub(super) struct Windows {
    settle: Option<Settle>,
    slots: BTreeMap<i64, Vec<u32>>,
    /// Groups go before their window closes: a listed slot may be another group's by then.
    reuses: bool,
    listed: usize,
    /// Groups may be in the store alone: what has closed is trimmed there whether or not a slot is listed.
    /// Up to here it has been.
    away: Option<i64>,
    /// Groups whose first state column is below this have gone since the last hand-over.
    trim: Option<i64>,
}

impl Windows {
    /// Without slots.
    pub(super) fn new(settle: Option<Settle>, append_only: bool) -> Windows {
        let (slots, reuses) = (BTreeMap::new(), !append_only);
        Windows { settle, slots, reuses, listed: 0, away: None, trim: None }
    }

    /// The position in the group columns of the column that settles.
    pub(super) fn key(&self) -> Option<usize> {
        self.settle.as_ref().map(|settle| settle.key)
    }

    /// Windows whose key is at or below this have closed.
    pub(super) fn closed(&self, context: &Context) -> Option<i64> {
        let settle = self.settle.as_ref()?;
        context.watermark(&settle.sources)?.checked_sub(settle.shift)
    }

    /// Lists slots that did not exist before.
    pub(super) fn add(&mut self, touched: &Touched, existed: &[bool]) {
        let Some(settle) = &self.settle else { return };
        let column = &touched.keys[settle.key];
        let values = natives::values::<i64>(column);
        let slots = touched.slots.iter().zip(existed).enumerate();
        let mut slots = slots.filter(|(row, (_, old))| !**old && column.is_valid(*row)).peekable();
        while let Some((row, (slot, _))) = slots.next() {
            // Neighbours are mostly of one window.
            let list = self.slots.entry(values[row]).or_default();
            let before = list.len();
            list.push(*slot);
            while let Some((_, (slot, _))) = slots.next_if(|(next, _)| values[*next] == values[row])
            {
                list.push(*slot);
            }
            self.listed += list.len() - before;
        }
    }

    /// The slots whose window has closed; may name a slot twice.
    pub(super) fn settle(
        &mut self,
        context: &Context,
        index: &dyn Index,
    ) -> Result<Vec<u32>, Error> {
        let mut settled = Vec::new();
        let (Some(key), Some(closed)) = (self.key(), self.closed(context)) else {
            return Ok(settled);
        };
        if self.away.is_some_and(|upto| upto < closed) {
            (self.away, self.trim) = (Some(closed), Some(closed.saturating_add(1)));
        }
        while let Some(first) = self.slots.first_entry().filter(|w| *w.key() <= closed) {
            let (window, slots) = first.remove_entry();
            self.listed -= slots.len();
            self.trim = Some(closed.saturating_add(1));
            if !self.reuses && index.is_new() {
                settled.extend(slots);
                continue;
            }
            let column = &index.decode(&slots)?[key];
            let values = natives::values::<i64>(column);
            let same = |row: usize| column.is_valid(row) && values[row] == window;
            settled.extend(slots.iter().enumerate().filter(|(row, _)| same(*row)).map(|(_, s)| *s));
        }
        Ok(settled)
    }

    /// No slot is in memory any more.
    pub(super) fn let_go(&mut self) {
        self.slots.clear();
        self.listed = 0;
        self.away.get_or_insert(i64::MIN);
    }

    /// What has gone since this was asked last.
    pub(super) fn take_trim(&mut self) -> Option<i64> {
        self.trim.take()
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.listed * size_of::<u32>()
    }
}
