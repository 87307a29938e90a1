//! Blocks: at most [`BLOCK_ROWS`] rows as one Arrow IPC record batch message with LZ4.
//!
//! The schema is not in the file: the table knows it, and a fingerprint guards against another one.
//! Bytes: length of the message's header as `u32`; how many columns are narrow as `u16`, and for each
//! its place and its bytes a value as two `u16`; the header; zeros up to a multiple of 64; the body.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use arrow::ipc::{CompressionType, MetadataVersion, root_as_message};

use crate::error::Result;
use crate::layout::{Layout, row_count};
use crate::narrow::{Narrow, narrow, narrow_schema, widen};

/// Rows of a full block; few in tests, so that small tables have many blocks.
pub(crate) const BLOCK_ROWS: usize = if cfg!(test) { 16 } else { 8192 };

const ALIGNMENT: usize = 64;

/// Rows of one table, sorted, with their tombstones: where `gone` is set, the row's key has no row.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// In the stored schema.
    pub(crate) rows: RecordBatch,
    /// None without tombstones.
    pub(crate) gone: Option<BooleanBuffer>,
}

impl Piece {
    pub(crate) fn new(rows: RecordBatch, gone: Option<BooleanBuffer>) -> Piece {
        let gone = gone.filter(|gone| gone.count_set_bits() > 0);
        Piece { rows, gone }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.num_rows()
    }

    pub(crate) fn slice(&self, offset: usize, len: usize) -> Piece {
        let gone = self.gone.as_ref().map(|gone| gone.slice(offset, len));
        Piece::new(self.rows.slice(offset, len), gone)
    }

    /// Some of the columns.
    pub(crate) fn project(&self, columns: &[usize]) -> Result<Piece> {
        Ok(Piece { rows: self.rows.project(columns)?, gone: self.gone.clone() })
    }

    pub(crate) fn filter(&self, keep: BooleanBuffer) -> Result<Piece> {
        let keep = BooleanArray::new(keep, None);
        let rows = filter_record_batch(&self.rows, &keep)?;
        let gone = self.gone.as_ref().map(|gone| -> Result<BooleanBuffer> {
            let gone = arrow::compute::filter(&BooleanArray::new(gone.clone(), None), &keep)?;
            Ok(gone.as_boolean().values().clone())
        });
        Ok(Piece::new(rows, gone.transpose()?))
    }

    /// All pieces as one, in order.
    pub(crate) fn concat(schema: &SchemaRef, pieces: &[Piece]) -> Result<Piece> {
        if let [piece] = pieces {
            return Ok(piece.clone());
        }
        let rows = concat_batches(schema, pieces.iter().map(|piece| &piece.rows))?;
        if pieces.iter().all(|piece| piece.gone.is_none()) {
            return Ok(Piece { rows, gone: None });
        }
        let mut gone = arrow::array::BooleanBufferBuilder::new(rows.num_rows());
        for piece in pieces {
            match &piece.gone {
                Some(bits) => gone.append_buffer(bits),
                None => gone.append_n(piece.len(), false),
            }
        }
        Ok(Piece::new(rows, Some(gone.finish())))
    }

    /// Bytes in memory. Columns of one block may share a buffer, so only what they use counts.
    pub(crate) fn bytes(&self) -> usize {
        let columns = self.rows.columns().iter();
        let used = columns.map(|column| column.to_data().get_slice_memory_size().unwrap_or(0));
        used.sum::<usize>() + self.gone.as_ref().map_or(0, |gone| gone.len() / 8)
    }

    /// How many rows are tombstones.
    pub(crate) fn tombstones(&self) -> usize {
        self.gone.as_ref().map_or(0, BooleanBuffer::count_set_bits)
    }
}

/// Writes batches as IPC messages.
pub(crate) struct Encoder {
    options: IpcWriteOptions,
}

impl Encoder {
    pub(crate) fn new() -> Result<Encoder> {
        let codec = Some(CompressionType::LZ4_FRAME);
        Ok(Encoder { options: IpcWriteOptions::default().try_with_compression(codec)? })
    }

    /// Appends a batch to some bytes; gives how many it took.
    pub(crate) fn batch(&self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<usize> {
        let mut dictionaries = DictionaryTracker::new(true);
        let (batch, narrow) = narrow(batch)?;
        let (first, message) = IpcDataGenerator::default().encode(
            &batch,
            &mut dictionaries,
            &self.options,
            &mut Default::default(),
        )?;
        if !first.is_empty() {
            let reason = "dictionaries are not stored".to_owned();
            return Err(ArrowError::NotYetImplemented(reason).into());
        }
        let start = out.len();
        let header = message.ipc_message.len();
        let header_u32 = u32::try_from(header).map_err(|_| crate::layout::too_long(header))?;
        out.extend_from_slice(&header_u32.to_le_bytes());
        let count = u16::try_from(narrow.len()).map_err(|_| crate::layout::too_long(header))?;
        out.extend_from_slice(&count.to_le_bytes());
        for Narrow { column, width } in narrow {
            out.extend_from_slice(&column.to_le_bytes());
            out.extend_from_slice(&width.to_le_bytes());
        }
        out.extend_from_slice(&message.ipc_message);
        out.resize(start + (out.len() - start).next_multiple_of(ALIGNMENT), 0);
        out.extend_from_slice(&message.arrow_data);
        Ok(out.len() - start)
    }

    /// Appends a block; its tombstones are a last column, there only if there are any.
    pub(crate) fn piece(&self, layout: &Layout, piece: &Piece, out: &mut Vec<u8>) -> Result<usize> {
        let Some(gone) = &piece.gone else { return self.batch(&piece.rows, out) };
        let mut columns = piece.rows.columns().to_vec();
        columns.push(Arc::new(BooleanArray::new(gone.clone(), None)));
        self.batch(&RecordBatch::try_new(Arc::clone(&layout.stored_gone), columns)?, out)
    }
}

/// Reads what [`Encoder::batch`] wrote, or some columns of it. The bytes have passed a checksum.
pub(crate) fn decode_batch(
    bytes: Vec<u8>,
    schema: &SchemaRef,
    columns: Option<&[usize]>,
) -> std::result::Result<RecordBatch, String> {
    let length = bytes.first_chunk::<4>().ok_or("block is too short")?;
    let header = u32::from_le_bytes(*length) as usize;
    let mut numbers = bytes[4..].as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
    let count = usize::from(numbers.next().ok_or("block is too short")?);
    let mut found = Vec::with_capacity(count);
    while found.len() < count {
        let (column, width) = numbers.next().zip(numbers.next()).ok_or("block is too short")?;
        found.push(Narrow { column, width });
    }
    let start = 6 + 4 * count;
    let header_bytes = bytes.get(start..start + header).ok_or("block header is too long")?.to_vec();
    let body = (start + header).next_multiple_of(ALIGNMENT);
    if body > bytes.len() {
        return Err("block header is too long".into());
    }
    let message = root_as_message(&header_bytes).map_err(|error| error.to_string())?;
    let batch = message.header_as_record_batch().ok_or("block is not a record batch")?;
    let body = Buffer::from_vec(bytes).slice(body);
    let version = MetadataVersion::V5;
    let stored = narrow_schema(schema, &found).map_err(|error| error.to_string())?;
    let wanted = match columns {
        Some(columns) => Arc::new(schema.project(columns).map_err(|error| error.to_string())?),
        None => Arc::clone(schema),
    };
    read_record_batch(&body, batch, stored, &Default::default(), columns, &version)
        .and_then(|batch| widen(batch, &wanted))
        .map_err(|error| error.to_string())
}

/// Reads what [`Encoder::piece`] wrote, or some columns of it.
pub(crate) fn decode_piece(
    bytes: Vec<u8>,
    layout: &Layout,
    tombstones: bool,
    columns: Option<&[usize]>,
) -> std::result::Result<Piece, String> {
    if !tombstones {
        return Ok(Piece { rows: decode_batch(bytes, &layout.stored, columns)?, gone: None });
    }
    let with_gone: Option<Vec<usize>> =
        columns.map(|c| c.iter().copied().chain([layout.stored.fields().len()]).collect());
    let all = decode_batch(bytes, &layout.stored_gone, with_gone.as_deref())?;
    let (gone, rows) = all.columns().split_last().ok_or("block has no columns")?;
    let options = row_count(all.num_rows());
    let stored = match columns {
        Some(columns) => layout.stored.project(columns).map(Arc::new),
        None => Ok(Arc::clone(&layout.stored)),
    };
    let rows = stored
        .and_then(|stored| RecordBatch::try_new_with_options(stored, rows.to_vec(), &options))
        .map_err(|error| error.to_string())?;
    Ok(Piece::new(rows, Some(gone.as_boolean().values().clone())))
}
