//! An [`EpochRecord`]: what the coordinator logs when it seals an epoch, so that a recovery reads
//! exactly the same input again under the same epoch number.
//!
//! Invariants: 1. a record that was logged decodes to the same value; bytes that were not written
//! by this module do not decode (checksum, tested below).

use millrace_types::{Epoch, ObjectId, PartitionId};

use crate::codec::{Decoded, Reader, Writer};

const VERSION: u8 = 3;

/// One sealed epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochRecord {
    /// The epoch.
    pub epoch: Epoch,
    /// The clock when it was sealed, microseconds since 1970; never falls.
    pub now: i64,
    /// The sources that took part, or that have a watermark.
    pub sources: Vec<SourceRecord>,
    /// What statements changed in tables, in the order of the statements.
    pub changes: Vec<ChangeRecord>,
}

/// What one statement changed in a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeRecord {
    /// The table.
    pub table: ObjectId,
    /// Rows with weights, as the server encodes them.
    pub rows: Vec<u8>,
}

/// One source in a sealed epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceRecord {
    /// The source.
    pub source: ObjectId,
    /// Its watermark, microseconds; None before the first event time.
    pub watermark: Option<i64>,
    /// The time at which the rows of the epoch were read, where a column shows it, microseconds.
    pub read_at: Option<i64>,
    /// Its partitions.
    pub partitions: Vec<PartitionRecord>,
}

/// One partition of a source in a sealed epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionRecord {
    /// The partition.
    pub partition: PartitionId,
    /// The offset after the epoch's last message.
    pub end: i64,
    /// The greatest event time so far, microseconds.
    pub max_event_time: Option<i64>,
    /// Read to its end and silent for the timeout.
    pub idle: bool,
    /// Rows so far.
    pub rows: u64,
    /// Messages so far that were not rows.
    pub malformed: u64,
    /// Rows so far that lay too far in the future to move the watermark.
    pub future: u64,
}

impl EpochRecord {
    /// The record's bytes, as `docs/formats.md` draws them.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(VERSION);
        writer.u64(self.epoch.0);
        writer.i64(self.now);
        writer.u64(self.sources.len() as u64);
        self.sources.iter().for_each(|source| write_source(&mut writer, source));
        writer.u64(self.changes.len() as u64);
        for change in &self.changes {
            writer.u64(u64::from(change.table.0));
            writer.bytes(&change.rows);
        }
        writer.finish()
    }

    /// The record of some bytes.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> std::result::Result<EpochRecord, &'static str> {
        let mut reader = Reader::open(bytes, VERSION)?;
        let epoch = Epoch(reader.u64()?);
        let now = reader.i64()?;
        let sources =
            (0..reader.count()?).map(|_| read_source(&mut reader)).collect::<Decoded<_>>()?;
        let changes = (0..reader.count()?).map(|_| change(&mut reader)).collect::<Decoded<_>>()?;
        reader.finish()?;
        Ok(EpochRecord { epoch, now, sources, changes })
    }
}

fn change(reader: &mut Reader<'_>) -> Decoded<ChangeRecord> {
    Ok(ChangeRecord { table: ObjectId(reader.u32()?), rows: reader.bytes()?.to_vec() })
}

pub(crate) fn write_source(writer: &mut Writer, source: &SourceRecord) {
    writer.u64(u64::from(source.source.0));
    writer.optional(source.watermark);
    writer.optional(source.read_at);
    writer.u64(source.partitions.len() as u64);
    for partition in &source.partitions {
        writer.i64(i64::from(partition.partition.0));
        writer.i64(partition.end);
        writer.optional(partition.max_event_time);
        writer.bool(partition.idle);
        writer.u64(partition.rows);
        writer.u64(partition.malformed);
        writer.u64(partition.future);
    }
}

pub(crate) fn read_source(reader: &mut Reader<'_>) -> Decoded<SourceRecord> {
    let source = ObjectId(reader.u32()?);
    let watermark = reader.optional()?;
    let read_at = reader.optional()?;
    let partitions = (0..reader.count()?).map(|_| partition(reader)).collect::<Decoded<_>>()?;
    Ok(SourceRecord { source, watermark, read_at, partitions })
}

fn partition(reader: &mut Reader<'_>) -> Decoded<PartitionRecord> {
    Ok(PartitionRecord {
        partition: PartitionId(reader.i32()?),
        end: reader.i64()?,
        max_event_time: reader.optional()?,
        idle: reader.bool()?,
        rows: reader.u64()?,
        malformed: reader.u64()?,
        future: reader.u64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_decodes_to_itself_and_a_cut_one_does_not() {
        let partition = PartitionRecord {
            partition: PartitionId(3),
            end: 1 << 40,
            max_event_time: Some(-5),
            idle: true,
            rows: 7,
            malformed: 1,
            future: u64::MAX,
        };
        let source = SourceRecord {
            source: ObjectId(9),
            watermark: None,
            read_at: Some(1 << 50),
            partitions: vec![partition, PartitionRecord::default()],
        };
        let changes = vec![ChangeRecord { table: ObjectId(4), rows: vec![1, 0, 255] }];
        let record = EpochRecord { epoch: Epoch(12), now: -1, sources: vec![source], changes };
        let bytes = record.encode();
        assert_eq!(EpochRecord::decode(&bytes), Ok(record));
        for len in 0..bytes.len() {
            assert!(EpochRecord::decode(&bytes[..len]).is_err());
        }
    }
}
