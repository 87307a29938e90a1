//! [`Changes`]: the kept changes of a view from an epoch on, read a page at a time.
//!
//! Between two pages nothing is held, neither files nor memory: who reads slowly delays nobody, and is
//! told when what it has not read is no longer kept.
//!
//! Invariants: 1. all changes of an epoch are given before [`Page::Complete`] names it, none twice:
//! pages go on behind the last key, up to an epoch that was complete when the first was read.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use millrace_dataflow::runtime::HISTORY_EPOCH;
use millrace_storage::{ColumnRange, Error, KeyBound, Scan};
use millrace_types::{Epoch, Report, SqlState};

use crate::shared::History;

/// What a reader gets.
pub enum Page {
    /// Changes in the schema of the history, of epochs in ascending order.
    Rows(RecordBatch),
    /// All changes up to and with this epoch have been given.
    Complete(Epoch),
    /// A checkpoint has just passed the epoch by: ask with a newer one.
    Again,
}

/// See the module's documentation.
pub struct Changes {
    history: Arc<History>,
    _follower: Arc<()>,
    given: Epoch,
    /// What is being read: up to which epoch, and behind which key.
    reading: Option<(Epoch, Option<KeyBound>)>,
}

impl Changes {
    /// The changes after an epoch.
    pub fn after(history: Arc<History>, given: Epoch) -> Changes {
        let follower = history.follow();
        Changes { history, _follower: follower, given, reading: None }
    }

    /// The last epoch whose changes have all been given.
    pub fn given(&self) -> Epoch {
        self.given
    }

    /// The next changes; `complete` is an epoch that the view has completed, later than what was given.
    ///
    /// # Errors
    /// `55000` if they are no longer kept; what keeps the table from being read.
    pub fn next(&mut self, complete: Epoch) -> Result<Page, Report> {
        let (upto, after) = self.reading.take().unwrap_or((complete, None));
        if upto <= self.given {
            return Ok(Page::Complete(self.given));
        }
        let snapshot = match self.history.table.snapshot(complete) {
            Err(Error::TooOld { .. }) => {
                self.reading = Some((upto, after));
                return Ok(Page::Again);
            }
            snapshot => snapshot.map_err(|error| error.report())?,
        };
        // What goes is announced before it goes: this snapshot has all, or this says so.
        check(&self.history, self.given)?;
        let bound = |epoch: Epoch| -> ArrayRef { Arc::new(Int64Array::from(vec![number(epoch)])) };
        let (min, max) = (Some(bound(self.given.next())), Some(bound(upto)));
        let ranges = vec![ColumnRange { column: HISTORY_EPOCH, min, max }];
        for rows in snapshot.scan(Scan { ranges, after, ..Scan::default() }) {
            let rows = rows.map_err(|error| error.report())?;
            let found = within(&rows, self.given, upto)?;
            let Some(last) = found.num_rows().checked_sub(1) else { continue };
            let bound = KeyBound::of_row(&found, snapshot.sort(), last);
            self.reading = Some((upto, Some(bound)));
            return Ok(Page::Rows(found));
        }
        self.given = upto;
        Ok(Page::Complete(upto))
    }
}

fn number(epoch: Epoch) -> i64 {
    i64::try_from(epoch.0).unwrap_or(i64::MAX)
}

/// The rows of the epochs after one, up to another.
fn within(rows: &RecordBatch, after: Epoch, upto: Epoch) -> Result<RecordBatch, Report> {
    let (after, upto) = (number(after), number(upto));
    let epochs = rows.column(HISTORY_EPOCH).as_primitive::<Int64Type>().values();
    let wanted: BooleanArray = epochs.iter().map(|e| Some(after < *e && *e <= upto)).collect();
    filter_record_batch(rows, &wanted)
        .map_err(|error| Report::new(SqlState::INTERNAL_ERROR, error.to_string()))
}

/// Whether all changes after an epoch are still kept.
///
/// # Errors
/// `55000`, which names the first epoch after which they are.
pub fn check(history: &History, after: Epoch) -> Result<(), Report> {
    let first = history.first();
    if after.next() >= first {
        return Ok(());
    }
    let message = format!("the changes after epoch {after} are not kept any more");
    Err(not_kept(message, first.previous()))
}

/// The error for an epoch that is not readable.
pub fn not_kept(message: String, first: Epoch) -> Report {
    Report::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
        .detail(format!("The first readable epoch is {first}."))
        .hint(
            "The option retain_history of a materialized view says how long its changes are kept.",
        )
}
