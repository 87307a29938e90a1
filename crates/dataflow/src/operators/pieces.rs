//! The rows of a time, cut by key where there are many: an operator that looks at each key by itself
//! finishes one piece after the other, and others take their turns in between.
//!
//! Invariants: 1. rows of one key are in one piece ([`Pieces::next`]): a key is touched once in a time.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, UInt32Array};
use millrace_types::{Delta, Ts, concat_deltas, hash_rows};

use crate::operator::Error;

/// Rows of one piece, more or less.
const ROWS: usize = 1 << 16;

/// See the head of the file.
pub(super) struct Pieces {
    /// The columns of the key.
    key: Vec<usize>,
    absorbed: BTreeMap<Ts, Vec<Delta>>,
    /// Of the time that is being finished: all rows, and which of them the pieces to come have.
    cut: Option<(Delta, Vec<Vec<u32>>)>,
    rows: usize,
}

impl Pieces {
    /// Without rows.
    pub(super) fn new(key: &[usize]) -> Pieces {
        Pieces { key: key.to_vec(), absorbed: BTreeMap::new(), cut: None, rows: ROWS }
    }

    /// How many rows a piece has, more or less.
    pub(super) fn set_rows(&mut self, rows: usize) {
        self.rows = rows.max(1);
    }

    /// Takes rows of a time in.
    pub(super) fn absorb(&mut self, ts: Ts, delta: Delta) {
        if !delta.is_empty() {
            self.absorbed.entry(ts).or_default().push(delta);
        }
    }

    /// The next piece of a time; None if it has no rows.
    ///
    /// # Errors
    /// Arrow's.
    pub(super) fn next(&mut self, ts: Ts) -> Result<Option<Delta>, Error> {
        if self.cut.is_none() {
            let absorbed = self.absorbed.remove(&ts).unwrap_or_default();
            let Some(delta) = concat_deltas(&absorbed)? else { return Ok(None) };
            if delta.len() <= self.rows || self.key.is_empty() {
                return Ok(Some(delta));
            }
            let pieces = self.pieces(&delta)?;
            self.cut = Some((delta, pieces));
        }
        let Some((delta, pieces)) = &mut self.cut else { return Ok(None) };
        let piece = pieces.pop().map(UInt32Array::from);
        let piece = piece.map(|rows| delta.take(&rows)).transpose()?;
        if pieces.is_empty() {
            self.cut = None;
        }
        Ok(piece)
    }

    /// The rows of each piece: those whose hashes lie in one part of all hashes.
    fn pieces(&self, delta: &Delta) -> Result<Vec<Vec<u32>>, Error> {
        let key = self.key.iter().map(|column| delta.rows.column(*column).clone());
        let hashes = hash_rows(&key.collect::<Vec<ArrayRef>>(), delta.len())?;
        let count = delta.len().div_ceil(self.rows);
        let mut pieces = vec![Vec::new(); count];
        for (row, hash) in (0u32..).zip(hashes) {
            let part = (u128::from(hash) * count as u128) >> u64::BITS;
            pieces[usize::try_from(part).expect("below their count")].push(row);
        }
        pieces.retain(|rows| !rows.is_empty());
        Ok(pieces)
    }

    /// True while the time that is being finished has more pieces.
    pub(super) fn has_more(&self) -> bool {
        self.cut.is_some()
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        let cut = self.cut.as_ref().map_or(0, |(delta, pieces)| {
            delta.bytes() + pieces.iter().map(Vec::len).sum::<usize>() * size_of::<u32>()
        });
        cut + self.absorbed.values().flatten().map(Delta::bytes).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::Int64Type;
    use millrace_types::Epoch;

    use super::*;

    #[test]
    fn all_rows_come_once_and_those_of_a_key_together() {
        let mut pieces = Pieces::new(&[0]);
        pieces.set_rows(10);
        let ts = Epoch(1).ts();
        for part in 0..4i64 {
            let keys: ArrayRef = Arc::new((0..25).map(|n| Some(n % 13)).collect::<Int64Array>());
            let rows: ArrayRef =
                Arc::new((0..25).map(|n| Some(part * 25 + n)).collect::<Int64Array>());
            let rows = RecordBatch::try_from_iter([("key", keys), ("row", rows)]).unwrap();
            pieces.absorb(ts, Delta::constant(rows, 1));
        }
        let (mut seen, mut rows, mut count) = (BTreeMap::new(), Vec::new(), 0);
        while let Some(piece) = pieces.next(ts).unwrap() {
            count += 1;
            for (key, row) in piece
                .rows
                .column(0)
                .as_primitive::<Int64Type>()
                .values()
                .iter()
                .zip(piece.rows.column(1).as_primitive::<Int64Type>().values())
            {
                assert_eq!(*seen.entry(*key).or_insert(count), count, "a key in two pieces");
                rows.push(*row);
            }
            if !pieces.has_more() {
                break;
            }
        }
        rows.sort_unstable();
        assert_eq!(rows, (0..100).collect::<Vec<_>>());
        assert!(count > 3, "{count} pieces");
        assert!(pieces.next(ts).unwrap().is_none());
    }
}
