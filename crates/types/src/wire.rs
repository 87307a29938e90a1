//! A delta as bytes: an Arrow IPC stream of one batch, whose last column is the weights. It crosses
//! exchanges between processes, and changes of tables are logged in it.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::Delta;

const WEIGHT: &str = "_weight";

/// The bytes of a delta, its `dest` left out.
///
/// # Errors
/// Arrow's.
pub fn encode_delta(delta: &Delta) -> Result<Vec<u8>, ArrowError> {
    let mut fields = delta.rows.schema().fields().to_vec();
    fields.push(Arc::new(Field::new(WEIGHT, DataType::Int64, false)));
    let mut columns = delta.rows.columns().to_vec();
    columns.push(Arc::new(delta.weights.clone()));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
    writer.write(&batch)?;
    writer.into_inner()
}

/// The delta of some bytes.
///
/// # Errors
/// Bytes that [`encode_delta`] did not write.
pub fn decode_delta(bytes: &[u8]) -> Result<Delta, ArrowError> {
    let wrong = || ArrowError::IpcError("no rows with weights".into());
    let batch = StreamReader::try_new(bytes, None)?.next().ok_or_else(wrong)??;
    let last = batch.num_columns().checked_sub(1).ok_or_else(wrong)?;
    let weights = batch.column(last).as_primitive_opt::<Int64Type>().ok_or_else(wrong)?.clone();
    if weights.null_count() > 0 {
        return Err(wrong());
    }
    Ok(Delta::new(batch.project(&(0..last).collect::<Vec<_>>())?, weights))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn a_delta_comes_back_with_its_weights_and_other_bytes_do_not() {
        let columns: [(&str, ArrayRef); 2] = [
            ("a", Arc::new(Int64Array::from(vec![Some(1), None]))),
            ("b", Arc::new(StringArray::from(vec![None, Some("x")]))),
        ];
        let rows = columns.map(|(name, column)| (name, column, true));
        let rows = RecordBatch::try_from_iter_with_nullable(rows).unwrap();
        let delta = Delta::new(rows, Int64Array::from(vec![2, -1]));
        let bytes = encode_delta(&delta).unwrap();
        let found = decode_delta(&bytes).unwrap();
        assert_eq!((found.rows, found.weights), (delta.rows, delta.weights));
        assert!(decode_delta(&bytes[..bytes.len() / 2]).is_err());
        assert!(decode_delta(&[]).is_err());
    }
}
