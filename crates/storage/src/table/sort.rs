//! Sorting rows of one table by their key, the last row of each key only.

use std::sync::Arc;

use arrow::array::{BooleanBufferBuilder, UInt32Array};
use arrow::compute::take_record_batch;

use crate::block::Piece;
use crate::error::Result;
use crate::keys::KeyCodec;
use crate::layout::{Layout, too_long};

/// The rows of all pieces, sorted; of a key that several rows have, the last one of the last piece.
pub(crate) fn sort(layout: &Layout, pieces: &[Piece]) -> Result<Piece> {
    let all = Piece::concat(&layout.stored, pieces)?;
    match order(layout, &all)? {
        Some(order) => permute(&all, &order),
        None => Ok(all),
    }
}

/// The rows that stay, in key order; None when that is all of them as they are.
pub(crate) fn order(layout: &Layout, all: &Piece) -> Result<Option<UInt32Array>> {
    if u32::try_from(all.len()).is_err() {
        return Err(too_long(all.len()).into());
    }
    let columns: Vec<_> =
        layout.sort.iter().map(|column| Arc::clone(all.rows.column(*column))).collect();
    let keys = KeyCodec::for_columns(&columns)?.encode(&columns, all.len())?;
    Ok(keys.order().map(UInt32Array::from))
}

/// The rows at some places, in that order.
pub(crate) fn permute(all: &Piece, order: &UInt32Array) -> Result<Piece> {
    let rows = take_record_batch(&all.rows, order)?;
    let gone = all.gone.as_ref().map(|gone| {
        let mut sorted = BooleanBufferBuilder::new(order.len());
        order.values().iter().for_each(|row| sorted.append(gone.value(*row as usize)));
        sorted.finish()
    });
    Ok(Piece::new(rows, gone))
}
