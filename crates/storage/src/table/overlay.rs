//! An [`Overlay`]: the changes of one time or of several adjacent ones, sorted when first needed.
//!
//! Invariants: 1. sorting happens once and its input is then let go ([`Overlay::sorted`]); 2. within
//! one time a row that sets a key wins over one that removes it, between times the later one wins.

use std::sync::{Arc, OnceLock};

use arrow::array::BooleanArray;
use arrow::buffer::BooleanBuffer;
use millrace_types::{Delta, Ts};
use parking_lot::Mutex;

use crate::block::Piece;
use crate::error::Result;
use crate::layout::Layout;
use crate::run::MemoryRun;
use crate::table::sort::sort;

/// Immutable changes from `low` to `high`.
pub(super) struct Overlay {
    pub(super) low: Ts,
    pub(super) high: Ts,
    input: Mutex<Input>,
    sorted: OnceLock<Arc<MemoryRun>>,
    /// Rows of the input, an upper bound of the sorted ones.
    input_rows: usize,
}

enum Input {
    Published(Vec<Delta>),
    Merged(Vec<Arc<Overlay>>),
    Sorted,
}

/// One overlay for some adjacent ones, from old to new.
pub(super) fn join(mut overlays: Vec<Arc<Overlay>>) -> Arc<Overlay> {
    if overlays.len() == 1 {
        return overlays.swap_remove(0);
    }
    let low = overlays.first().expect("there is something to join").low;
    let high = overlays.last().expect("there is something to join").high;
    let input_rows = overlays.iter().map(|overlay| overlay.rows()).sum();
    let input = Mutex::new(Input::Merged(overlays));
    Arc::new(Overlay { low, high, input, sorted: OnceLock::new(), input_rows })
}

impl Overlay {
    pub(super) fn published(ts: Ts, deltas: Vec<Delta>) -> Overlay {
        let input_rows = deltas.iter().map(Delta::len).sum();
        let input = Mutex::new(Input::Published(deltas));
        Overlay { low: ts, high: ts, input, sorted: OnceLock::new(), input_rows }
    }

    /// Rows at most.
    pub(super) fn rows(&self) -> usize {
        self.sorted.get().map_or(self.input_rows, |run| run.piece.len())
    }

    /// Bytes in memory; those of merged overlays count where they are listed.
    pub(super) fn bytes(&self) -> usize {
        if let Some(run) = self.sorted.get() {
            return run.piece.bytes();
        }
        match &*self.input.lock() {
            Input::Published(deltas) => deltas.iter().map(Delta::bytes).sum(),
            Input::Merged(_) | Input::Sorted => 0,
        }
    }

    /// The rows sorted, each key once. The first caller pays; others wait for it.
    pub(super) fn sorted(&self, layout: &Layout) -> Result<&Arc<MemoryRun>> {
        if let Some(run) = self.sorted.get() {
            return Ok(run);
        }
        let mut input = self.input.lock();
        if self.sorted.get().is_none() {
            let mut pieces = Vec::new();
            input.pieces(layout, &mut pieces)?;
            let run = Arc::new(MemoryRun::new(layout, sort(layout, &pieces)?)?);
            *input = Input::Sorted;
            return Ok(self.sorted.get_or_init(|| run));
        }
        Ok(self.sorted.get().expect("checked under the lock"))
    }

    /// Appends the rows, from old to new: sorted where they are, else as they came.
    pub(super) fn pieces(&self, layout: &Layout, pieces: &mut Vec<Piece>) -> Result<()> {
        if let Some(run) = self.sorted.get() {
            pieces.push(run.piece.clone());
            return Ok(());
        }
        let input = self.input.lock();
        match self.sorted.get() {
            Some(run) => pieces.push(run.piece.clone()),
            None => input.pieces(layout, pieces)?,
        }
        Ok(())
    }
}

impl Input {
    /// The rows in an order in which the last one of a key is the one that counts.
    fn pieces(&self, layout: &Layout, pieces: &mut Vec<Piece>) -> Result<()> {
        match self {
            Input::Sorted => {}
            Input::Merged(overlays) => {
                overlays.iter().try_for_each(|overlay| overlay.pieces(layout, pieces))?;
            }
            Input::Published(deltas) => {
                for sign in [-1, 1] {
                    for delta in deltas {
                        pieces.extend(with_sign(layout, delta, sign)?);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The rows of a delta that remove (-1) or set (1) their key; None if there are none.
fn with_sign(layout: &Layout, delta: &Delta, sign: i64) -> Result<Option<Piece>> {
    let weights = delta.weights.values();
    let fits = |row: usize| weights[row].signum() == sign;
    let keep = BooleanBuffer::collect_bool(weights.len(), fits);
    let rows = match keep.count_set_bits() {
        0 => return Ok(None),
        all if all == weights.len() => layout.accept(&delta.rows)?,
        _ => layout.accept(&delta.filter(&BooleanArray::new(keep, None))?.rows)?,
    };
    let gone = (sign < 0).then(|| BooleanBuffer::new_set(rows.num_rows()));
    Ok(Some(Piece { rows, gone }))
}
