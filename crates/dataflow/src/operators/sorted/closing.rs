//! When the state of a group goes: after the time that its key names has passed.
//!
//! Groups are listed by that time. When the watermark passes it, the list is dropped; nothing else is
//! looked at. A list may name a slot that was freed and used again since: what its key says now
//! decides.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, TimeUnit};
use millrace_plan::{Meta, Watermark};

use super::super::slots::Index;
use super::List;
use crate::natives;
use crate::operator::{Context, Error};

/// See the head of the file.
pub(in crate::operators) struct Closing {
    /// The watermark, on a column of the input; and that column's position in the group.
    settled: Option<(Watermark, usize)>,
    groups: BTreeMap<i64, Vec<u32>>,
    listed: usize,
    /// Groups may be in the store alone: what has passed is trimmed there whether or not a group is listed.
    /// Up to here it has been.
    away: Option<i64>,
    /// Rows whose first state column is below this have gone since the last hand-over.
    trim: Option<i64>,
}

impl Closing {
    /// Without groups.
    ///
    /// # Errors
    /// A column that is not a timestamp of the group.
    pub(in crate::operators) fn new(
        settled: Option<&Watermark>,
        group: &[usize],
        input: &Meta,
    ) -> Result<Closing, Error> {
        let place = |settled: &Watermark| {
            let position = group.iter().position(|column| *column == settled.column);
            let data_type = input.schema.field(settled.column).data_type();
            match (position, data_type) {
                (Some(position), DataType::Timestamp(TimeUnit::Microsecond, _)) => {
                    Ok((settled.clone(), position))
                }
                _ => Err(Error::Unsupported("state that settles by a column of no group".into())),
            }
        };
        let settled = settled.map(place).transpose()?;
        Ok(Closing { settled, groups: BTreeMap::new(), listed: 0, away: None, trim: None })
    }

    /// Lists the groups of rows that have no row yet, by the rows' columns.
    pub(in crate::operators) fn add(
        &mut self,
        groups: &[u32],
        columns: &[ArrayRef],
        lists: &[List],
    ) {
        let Some((settled, _)) = &self.settled else { return };
        let column = &columns[settled.column];
        let times = natives::values::<i64>(column);
        let mut last = None;
        for (row, group) in groups.iter().enumerate() {
            let is_new = lists[*group as usize].is_empty() && last != Some(*group);
            if is_new && column.is_valid(row) {
                self.groups.entry(times[row]).or_default().push(*group);
                self.listed += 1;
            }
            last = Some(*group);
        }
    }

    /// The groups whose time has passed; may name one twice.
    ///
    /// # Errors
    /// Arrow's.
    pub(in crate::operators) fn passed(
        &mut self,
        context: &Context,
        index: &dyn Index,
    ) -> Result<Vec<u32>, Error> {
        let mut passed = Vec::new();
        let Some((settled, position)) = &self.settled else { return Ok(passed) };
        let watermark = context.watermark(&settled.sources);
        let closed = watermark.and_then(|watermark| watermark.checked_sub(settled.shift));
        let Some(closed) = closed else { return Ok(passed) };
        if self.away.is_some_and(|upto| upto < closed) {
            (self.away, self.trim) = (Some(closed), Some(closed.saturating_add(1)));
        }
        while let Some(first) = self.groups.first_entry().filter(|first| *first.key() <= closed) {
            let (time, groups) = first.remove_entry();
            self.listed -= groups.len();
            self.trim = Some(closed.saturating_add(1));
            let column = &index.decode(&groups)?[*position];
            let times = natives::values::<i64>(column);
            let same = |row: usize| column.is_valid(row) && times[row] == time;
            passed.extend(groups.iter().enumerate().filter(|(row, _)| same(*row)).map(|(_, g)| *g));
        }
        Ok(passed)
    }

    /// No group is in memory any more.
    pub(in crate::operators) fn let_go(&mut self) {
        self.groups.clear();
        self.listed = 0;
        self.away.get_or_insert(i64::MIN);
    }

    /// What has gone since this was asked last.
    pub(in crate::operators) fn take_trim(&mut self) -> Option<i64> {
        self.trim.take()
    }

    /// Bytes in memory.
    pub(in crate::operators) fn bytes(&self) -> usize {
        self.listed * size_of::<u32>()
    }
}
