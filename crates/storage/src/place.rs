//! A [`PlaceRecord`]: how far a view has been filled at a checkpoint, so that a recovery goes on from
//! there. [`KeyBound`] is the part of a table that has been read.
//!
//! Invariants: 1. a record decodes to the same value; other bytes do not decode (checksum).

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::DataType;
use millrace_types::{Delta, ObjectId, decode_delta, encode_delta};

use crate::codec::{Decoded, Reader, Writer};
use crate::error::Result;
use crate::keys::{KeyCodec, Keys};
use crate::record::{SourceRecord, read_source, write_source};

const VERSION: u8 = 2;

/// How far a hydration is.
#[derive(Clone, Debug, Default)]
pub struct PlaceRecord {
    /// Sources: where its own readers stand, with what they have counted.
    pub sources: Vec<SourceRecord>,
    /// The sources that nobody read before it.
    pub first_reads: Vec<ObjectId>,
    /// Views below, by the position of the leaf.
    pub leaves: Vec<LeafRecord>,
}

/// How far a hydration has read a view below.
#[derive(Clone, Debug)]
pub struct LeafRecord {
    /// The position of the leaf.
    pub leaf: u32,
    /// Rows read.
    pub rows: u64,
    /// Up to which key.
    pub reach: Reach,
}

/// Which part of a table has been read.
#[derive(Clone, Debug, Default)]
pub enum Reach {
    /// Nothing.
    #[default]
    Nothing,
    /// The rows up to and with a key.
    UpTo(KeyBound),
    /// All rows.
    All,
}

/// The key of one row, as values: keys compare as the rows of the table are sorted.
#[derive(Clone, Debug)]
pub struct KeyBound {
    columns: Vec<ArrayRef>,
}

impl KeyBound {
    /// The key of a row: of these columns, in the order of the table's key.
    pub fn of_row(rows: &RecordBatch, sort: &[usize], row: usize) -> KeyBound {
        KeyBound { columns: sort.iter().map(|column| rows.column(*column).slice(row, 1)).collect() }
    }

    /// For each row, given by its key columns, whether it lies up to the bound.
    ///
    /// # Errors
    /// Columns of other types.
    pub fn covers(&self, columns: &[ArrayRef], rows: usize) -> Result<BooleanArray> {
        let (codec, bound) = self.codec(columns.iter().any(|column| column.null_count() > 0))?;
        let keys = codec.encode(columns, rows)?;
        Ok((0..rows).map(|row| Some(keys.compare(row, &bound, 0).is_le())).collect())
    }

    /// A codec for keys with or without NULLs, and the bound in it.
    pub(crate) fn codec(&self, nulls: bool) -> Result<(KeyCodec, Keys)> {
        let types: Vec<&DataType> = self.columns.iter().map(|column| column.data_type()).collect();
        let nulls = nulls || self.columns.iter().any(|column| column.null_count() > 0);
        let codec = KeyCodec::new(&types, nulls)?;
        let bound = codec.encode(&self.columns, 1)?;
        Ok((codec, bound))
    }

    fn encode(&self) -> std::result::Result<Vec<u8>, arrow::error::ArrowError> {
        let named = self.columns.iter().enumerate();
        let named = named.map(|(at, column)| (format!("k{at}"), column.clone(), true));
        encode_delta(&Delta::constant(RecordBatch::try_from_iter_with_nullable(named)?, 1))
    }

    fn decode(bytes: &[u8]) -> Decoded<KeyBound> {
        let delta = decode_delta(bytes).map_err(|_| "a key cannot be read")?;
        match delta.len() {
            1 => Ok(KeyBound { columns: delta.rows.columns().to_vec() }),
            _ => Err("a key is one row"),
        }
    }
}

impl PlaceRecord {
    /// The record's bytes, as `docs/formats.md` draws them.
    ///
    /// # Errors
    /// [`crate::Error::Arrow`] for a key that cannot be written.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut writer = Writer::new(VERSION);
        writer.u64(self.sources.len() as u64);
        self.sources.iter().for_each(|source| write_source(&mut writer, source));
        writer.u64(self.first_reads.len() as u64);
        self.first_reads.iter().for_each(|source| writer.u64(u64::from(source.0)));
        writer.u64(self.leaves.len() as u64);
        for leaf in &self.leaves {
            writer.u64(u64::from(leaf.leaf));
            writer.u64(leaf.rows);
            writer.bool(matches!(leaf.reach, Reach::All));
            match &leaf.reach {
                Reach::UpTo(key) => writer.bytes(&key.encode()?),
                Reach::Nothing | Reach::All => writer.bytes(&[]),
            }
        }
        Ok(writer.finish())
    }

    /// The record of some bytes.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> std::result::Result<PlaceRecord, &'static str> {
        let mut reader = Reader::open(bytes, VERSION)?;
        let sources =
            (0..reader.count()?).map(|_| read_source(&mut reader)).collect::<Decoded<_>>()?;
        let first_reads =
            (0..reader.count()?).map(|_| reader.u32().map(ObjectId)).collect::<Decoded<_>>()?;
        let leaves = (0..reader.count()?).map(|_| leaf(&mut reader)).collect::<Decoded<_>>()?;
        reader.finish()?;
        Ok(PlaceRecord { sources, first_reads, leaves })
    }
}

fn leaf(reader: &mut Reader<'_>) -> Decoded<LeafRecord> {
    let (leaf, rows, all) = (reader.u32()?, reader.u64()?, reader.bool()?);
    let key = reader.bytes()?;
    let reach = match (all, key.is_empty()) {
        (true, _) => Reach::All,
        (false, true) => Reach::Nothing,
        (false, false) => Reach::UpTo(KeyBound::decode(key)?),
    };
    Ok(LeafRecord { leaf, rows, reach })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;

    fn rows() -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(1), Some(1), Some(2)]));
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("z"), None, Some("b"), None]));
        let columns = [("n", numbers, true), ("name", names, true)];
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    #[test]
    fn a_place_comes_back_and_its_key_covers_the_same_rows() {
        let rows = rows();
        let reach = Reach::UpTo(KeyBound::of_row(&rows, &[0, 1], 1));
        let leaves = vec![
            LeafRecord { leaf: 1, rows: 7, reach },
            LeafRecord { leaf: 2, rows: 9, reach: Reach::All },
            LeafRecord { leaf: 3, rows: 0, reach: Reach::Nothing },
        ];
        let source = SourceRecord { source: ObjectId(4), ..SourceRecord::default() };
        let place = PlaceRecord { sources: vec![source], first_reads: vec![ObjectId(4)], leaves };
        let bytes = place.encode().unwrap();
        let found = PlaceRecord::decode(&bytes).unwrap();
        assert_eq!((found.sources, found.first_reads), (place.sources, place.first_reads));
        let [first, all, nothing] = found.leaves.as_slice() else { panic!("three leaves") };
        let Reach::UpTo(key) = &first.reach else { panic!("a key") };
        let covered = key.covers(rows.columns(), rows.num_rows()).unwrap();
        assert_eq!(covered, BooleanArray::from(vec![true, true, false, false]));
        assert!(matches!((&all.reach, &nothing.reach), (Reach::All, Reach::Nothing)));
        assert!(PlaceRecord::decode(&bytes[..bytes.len() - 1]).is_err());
    }
}
