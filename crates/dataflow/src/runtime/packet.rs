//! What crosses an exchange: a delta, and between processes its Arrow IPC bytes.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use millrace_types::Delta;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const WEIGHT: &str = "_weight";

/// A delta on its way to the worker `delta.dest`.
#[derive(Clone, Debug)]
pub(super) struct Packet(pub(super) Delta);

impl Serialize for Packet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = encode(&self.0).map_err(S::Error::custom)?;
        (self.0.dest, bytes).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Packet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Packet, D::Error> {
        let (dest, bytes) = <(u32, Vec<u8>)>::deserialize(deserializer)?;
        decode(&bytes, dest).map(Packet).map_err(D::Error::custom)
    }
}

fn encode(delta: &Delta) -> Result<Vec<u8>, ArrowError> {
    let mut fields = delta.rows.schema().fields().to_vec();
    fields.push(Arc::new(Field::new(WEIGHT, DataType::Int64, false)));
    let mut columns = delta.rows.columns().to_vec();
    columns.push(Arc::new(delta.weights.clone()));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
    writer.write(&batch)?;
    writer.into_inner()
}

fn decode(bytes: &[u8], dest: u32) -> Result<Delta, ArrowError> {
    let mut reader = StreamReader::try_new(Cursor::new(bytes), None)?;
    let missing = || ArrowError::IpcError("a packet without a batch".into());
    let batch = reader.next().ok_or_else(missing)??;
    let last = batch.num_columns().checked_sub(1).ok_or_else(missing)?;
    let weights: Int64Array = batch.column(last).as_primitive::<Int64Type>().clone();
    let rows = batch.project(&(0..last).collect::<Vec<_>>())?;
    let mut delta = Delta::new(rows, weights);
    delta.dest = dest;
    Ok(delta)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_survives_the_wire() {
        let column = Arc::new(Int64Array::from(vec![Some(1), None])) as arrow::array::ArrayRef;
        let rows = RecordBatch::try_from_iter_with_nullable([("v", column, true)]).unwrap();
        let mut delta = Delta::new(rows, Int64Array::from(vec![2, -1]));
        delta.dest = 3;
        let back = decode(&encode(&delta).unwrap(), 3).unwrap();
        assert_eq!((back.rows, back.weights, back.dest), (delta.rows, delta.weights, 3));
    }
}
