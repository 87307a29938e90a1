//! Rows of one partition in the making: payload, INCLUDE columns, partition and offset.
//!
//! Invariant: all columns have as many values as `offsets`; a bad message adds to none of them.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Array, Int64Array, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use millrace_dataflow::source::{BadRow, Chunk, SourceError};
use millrace_types::{DELETED_COLUMN, OFFSET_COLUMN, PARTITION_COLUMN, PartitionId, TIME_ZONE};

use crate::decode::{Decoder, Decoding};
use crate::{Include, IncludeKind};

/// How much of a bad message is kept.
const RAW_MAX: usize = 16 << 10;
/// How much of the reason is kept, in characters: it may repeat what stood in the message.
const REASON_MAX: usize = 500;

/// Which columns the rows of a source have.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) schema: SchemaRef,
    pub(crate) columns: Vec<FieldRef>,
    pub(crate) include: Vec<Include>,
}

impl Layout {
    pub(crate) fn new(columns: &[FieldRef], include: &[Include]) -> Layout {
        Layout::with(columns, include, columns.to_vec(), None)
    }

    /// Of rows that change: what is no key is NULL in a row that is deleted.
    pub(crate) fn of_changes(columns: &[FieldRef], include: &[Include], key: &[String]) -> Layout {
        let open = |column: &FieldRef| {
            let nullable = column.is_nullable() || !key.contains(column.name());
            Arc::new(column.as_ref().clone().with_nullable(nullable))
        };
        let deleted = Arc::new(Field::new(DELETED_COLUMN, DataType::Boolean, false));
        Layout::with(columns, include, columns.iter().map(open).collect(), Some(deleted))
    }

    fn with(
        columns: &[FieldRef],
        include: &[Include],
        mut fields: Vec<FieldRef>,
        deleted: Option<FieldRef>,
    ) -> Layout {
        fields.extend(include.iter().map(|column| Arc::new(column.field())));
        fields.extend(deleted);
        fields.push(Arc::new(Field::new(PARTITION_COLUMN, DataType::Int32, false)));
        fields.push(Arc::new(Field::new(OFFSET_COLUMN, DataType::Int64, false)));
        Layout {
            schema: Arc::new(Schema::new(fields)),
            columns: columns.to_vec(),
            include: include.to_vec(),
        }
    }

    /// The columns behind the payload's.
    pub(crate) fn finish(
        &self,
        mut columns: Vec<ArrayRef>,
        extra: Vec<ArrayRef>,
        partition: PartitionId,
        offsets: Vec<i64>,
    ) -> Result<RecordBatch, ArrowError> {
        columns.extend(extra);
        columns.push(Arc::new(Int32Array::from(vec![partition.0; offsets.len()])));
        columns.push(Arc::new(Int64Array::from(offsets)));
        RecordBatch::try_new(self.schema.clone(), columns)
    }
}

/// A message as it came.
pub(crate) trait Message {
    fn offset(&self) -> i64;
    /// None is a tombstone.
    fn payload(&self) -> Option<&[u8]>;
    fn key(&self) -> Option<&[u8]>;
    /// Milliseconds since 1970.
    fn timestamp(&self) -> Option<i64>;
    /// The headers as a JSON object.
    fn headers(&self) -> Option<String>;
}

/// Values of one INCLUDE column that differ from row to row.
enum Extra {
    /// Made from partition and offsets when the chunk is complete.
    Derived(IncludeKind),
    Timestamp(Int64Builder),
    Key(BinaryBuilder),
    Headers(StringBuilder),
}

/// Collects the rows of one partition.
pub(crate) struct Rows {
    layout: Arc<Layout>,
    topic: Arc<str>,
    partition: PartitionId,
    message_max: usize,
    decoder: Decoder,
    extra: Vec<Extra>,
    offsets: Vec<i64>,
    bad: Vec<BadRow>,
    bytes: usize,
}

impl Rows {
    pub(crate) fn new(
        layout: &Arc<Layout>,
        topic: &Arc<str>,
        partition: PartitionId,
        message_max: usize,
        decoding: &Decoding,
    ) -> Result<Rows, SourceError> {
        let extra = |include: &Include| match include.kind {
            IncludeKind::Timestamp => Extra::Timestamp(Int64Builder::new()),
            IncludeKind::Key => Extra::Key(BinaryBuilder::new()),
            IncludeKind::Headers => Extra::Headers(StringBuilder::new()),
            kind @ (IncludeKind::Partition | IncludeKind::Offset | IncludeKind::Topic) => {
                Extra::Derived(kind)
            }
        };
        Ok(Rows {
            layout: layout.clone(),
            topic: topic.clone(),
            partition,
            message_max,
            decoder: decoding.decoder(layout)?,
            extra: layout.include.iter().map(extra).collect(),
            offsets: Vec::new(),
            bad: Vec::new(),
            bytes: 0,
        })
    }

    /// Takes one message: a row, or a bad row.
    #[inline]
    pub(crate) fn push(&mut self, message: &impl Message) {
        let payload = message.payload();
        self.bytes += payload.map_or(0, <[u8]>::len);
        let decoded = match payload {
            Some(payload) if payload.len() > self.message_max => Err(format!(
                "the message has {} bytes, more than max.message.bytes = {}",
                payload.len(),
                self.message_max
            )),
            _ => self.decoder.push(message),
        };
        match decoded {
            Ok(rows) => {
                for _ in 0..rows {
                    self.offsets.push(message.offset());
                    self.extra.iter_mut().for_each(|extra| extra.push(message));
                }
            }
            Err(reason) => self.refuse(message.offset(), reason, payload.unwrap_or_default()),
        }
    }

    #[cold]
    fn refuse(&mut self, offset: i64, reason: String, payload: &[u8]) {
        // One line, whatever the message says.
        let shown = reason.chars().take(REASON_MAX);
        let reason = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
        let raw = payload[..payload.len().min(RAW_MAX)].to_vec();
        self.bad.push(BadRow { offset, reason, raw });
    }

    /// Payload bytes since the last chunk.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everything since the last chunk as one.
    pub(crate) fn finish(&mut self, from: i64, to: i64, at_end: bool) -> Result<Chunk, ArrowError> {
        let offsets = std::mem::take(&mut self.offsets);
        self.offsets.reserve(offsets.len());
        let (columns, deleted) = self.decoder.finish()?;
        let (topic, partition) = (&self.topic, self.partition);
        let extra = self.extra.iter_mut().map(|extra| extra.finish(topic, partition, &offsets));
        let extra = extra.chain(deleted).collect();
        let rows = self.layout.finish(columns, extra, partition, offsets)?;
        Ok(Chunk {
            partition,
            from,
            to,
            rows,
            bad: std::mem::take(&mut self.bad),
            bytes: std::mem::take(&mut self.bytes),
            at_end,
        })
    }
}

impl Extra {
    fn push(&mut self, message: &impl Message) {
        match self {
            Extra::Derived(_) => {}
            Extra::Timestamp(values) => {
                values.append_option(message.timestamp().map(|t| t.saturating_mul(1000)));
            }
            Extra::Key(values) => values.append_option(message.key()),
            Extra::Headers(values) => values.append_option(message.headers()),
        }
    }

    fn finish(&mut self, topic: &str, partition: PartitionId, offsets: &[i64]) -> ArrayRef {
        match self {
            Extra::Derived(kind) => derived(*kind, topic, partition, offsets),
            Extra::Timestamp(values) => {
                let values: TimestampMicrosecondArray = values.finish().reinterpret_cast();
                Arc::new(values.with_timezone(TIME_ZONE))
            }
            Extra::Key(values) => Arc::new(values.finish()),
            Extra::Headers(values) => Arc::new(values.finish()),
        }
    }
}

/// An INCLUDE column that partition and offsets tell; NULL for what they do not.
pub(crate) fn derived(
    kind: IncludeKind,
    topic: &str,
    partition: PartitionId,
    offsets: &[i64],
) -> ArrayRef {
    match kind {
        IncludeKind::Partition => Arc::new(Int32Array::from(vec![partition.0; offsets.len()])),
        IncludeKind::Offset => Arc::new(Int64Array::from(offsets.to_vec())),
        IncludeKind::Topic => {
            let mut values = StringBuilder::new();
            offsets.iter().for_each(|_| values.append_value(topic));
            Arc::new(values.finish())
        }
        IncludeKind::Timestamp | IncludeKind::Key | IncludeKind::Headers => {
            arrow::array::new_null_array(&kind.data_type(), offsets.len())
        }
    }
}
