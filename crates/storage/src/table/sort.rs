//! Sorting rows of one table by their key, the last row of each key only.
//!
//! Only keys are sorted; the rows are gathered from where they are, whole or block by block: what is
//! written needs no sorted copy in memory.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanBufferBuilder, RecordBatch, UInt32Array, new_empty_array,
};
use arrow::compute::{concat, interleave, take_record_batch};

use crate::block::Piece;
use crate::error::Result;
use crate::keys::KeyCodec;
use crate::layout::{Layout, row_count, too_long};

/// The rows of some pieces in key order; of a key that several rows have, the last one of the last
/// piece.
pub(crate) struct Sorted<'a> {
    layout: &'a Layout,
    pieces: &'a [Piece],
    /// How many rows come before each piece.
    starts: Vec<u32>,
    /// The rows that stay, counted through all pieces; None when that is all of them as they are.
    order: Option<Vec<u32>>,
    len: usize,
}

impl<'a> Sorted<'a> {
    pub(crate) fn new(layout: &'a Layout, pieces: &'a [Piece]) -> Result<Sorted<'a>> {
        let mut starts = Vec::with_capacity(pieces.len());
        let mut all = 0;
        for piece in pieces {
            starts.push(u32::try_from(all).map_err(|_| too_long(all))?);
            all += piece.len();
        }
        if u32::try_from(all).is_err() {
            return Err(too_long(all).into());
        }
        let columns = layout.sort.iter().map(|column| -> Result<ArrayRef> {
            let parts: Vec<&dyn Array> =
                pieces.iter().map(|piece| piece.rows.column(*column).as_ref()).collect();
            match parts.as_slice() {
                [] => Ok(new_empty_array(layout.stored.field(*column).data_type())),
                parts => Ok(concat(parts)?),
            }
        });
        let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        let order = KeyCodec::encode_alone(&columns, all)?.order();
        let len = order.as_ref().map_or(all, Vec::len);
        Ok(Sorted { layout, pieces, starts, order, len })
    }

    pub(crate) fn layout(&self) -> &Layout {
        self.layout
    }

    /// How many rows stay.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Some of them.
    pub(crate) fn rows(&self, range: Range<usize>) -> Result<Piece> {
        match (self.pieces, &self.order) {
            ([piece], None) => Ok(piece.slice(range.start, range.len())),
            ([piece], Some(order)) => permute(piece, &UInt32Array::from(order[range].to_vec())),
            _ => self.gather(range),
        }
    }

    /// Piece and row there of some of the rows.
    fn places(&self, range: Range<usize>) -> Vec<(usize, usize)> {
        let place = |row: u32| {
            let piece = self.starts.partition_point(|start| *start <= row) - 1;
            (piece, (row - self.starts[piece]) as usize)
        };
        match &self.order {
            Some(order) => order[range].iter().map(|row| place(*row)).collect(),
            None => {
                let row = |row| u32::try_from(row).expect("checked when it was made");
                range.map(|at| place(row(at))).collect()
            }
        }
    }

    fn gather(&self, range: Range<usize>) -> Result<Piece> {
        let places = self.places(range);
        let mut columns = Vec::with_capacity(self.layout.stored.fields().len());
        for column in 0..self.layout.stored.fields().len() {
            let parts: Vec<&dyn Array> =
                self.pieces.iter().map(|piece| piece.rows.column(column).as_ref()).collect();
            columns.push(match parts.is_empty() {
                true => new_empty_array(self.layout.stored.field(column).data_type()),
                false => interleave(&parts, &places)?,
            });
        }
        let schema = Arc::clone(&self.layout.stored);
        let rows = RecordBatch::try_new_with_options(schema, columns, &row_count(places.len()))?;
        if self.pieces.iter().all(|piece| piece.gone.is_none()) {
            return Ok(Piece { rows, gone: None });
        }
        let mut gone = BooleanBufferBuilder::new(places.len());
        for (piece, row) in places {
            gone.append(self.pieces[piece].gone.as_ref().is_some_and(|gone| gone.value(row)));
        }
        Ok(Piece::new(rows, Some(gone.finish())))
    }
}

/// The rows of all pieces, sorted, as one.
pub(crate) fn sort(layout: &Layout, pieces: &[Piece]) -> Result<Piece> {
    let sorted = Sorted::new(layout, pieces)?;
    sorted.rows(0..sorted.len())
}

/// The rows at some places, in that order.
fn permute(all: &Piece, order: &UInt32Array) -> Result<Piece> {
    let rows = take_record_batch(&all.rows, order)?;
    let gone = all.gone.as_ref().map(|gone| {
        let mut sorted = BooleanBufferBuilder::new(order.len());
        order.values().iter().for_each(|row| sorted.append(gone.value(*row as usize)));
        sorted.finish()
    });
    Ok(Piece::new(rows, gone))
}
