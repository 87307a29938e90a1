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
    if u32::try_from(all.len()).is_err() {
        return Err(too_long(all.len()).into());
    }
    let columns: Vec<_> =
        layout.sort.iter().map(|column| Arc::clone(all.rows.column(*column))).collect();
    let keys = KeyCodec::for_columns(&columns)?.encode(&columns, all.len())?;
    let Some(order) = keys.order() else { return Ok(all) };
    let order = UInt32Array::from(order);
    let rows = take_record_batch(&all.rows, &order)?;
    let gone = all.gone.map(|gone| {
        let mut sorted = BooleanBufferBuilder::new(order.len());
        order.values().iter().for_each(|row| sorted.append(gone.value(*row as usize)));
        sorted.finish()
    });
    Ok(Piece::new(rows, gone))
}
