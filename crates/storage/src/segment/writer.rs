//! Writes one segment: the runs of many tables, one after the other, in blocks.
//!
//! The file is created with the first run, so that nothing changed means no file. Small writes are
//! gathered.
//!
//! Invariants: 1. rows of a run come sorted, each key once (the callers sort or merge); 2. the file
//! and its name are synced before [`SegmentWriter::finish`] returns it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use millrace_types::Ts;

use crate::block::{BLOCK_ROWS, Encoder, Piece};
use crate::error::{Error, Result};
use crate::files::{FileWriter, Files};
use crate::index::{BlockEntry, BlockIndex, Bounds, IndexBuilder};
use crate::layout::{Layout, too_long};
use crate::segment::{DirectoryEntry, MAGIC, SegmentFile, encode_directory, file_name};
use crate::table::Sorted;

const WRITE_BYTES: usize = 256 << 10;

/// A run that has been written but is not named yet.
pub(crate) struct NewRun {
    pub(crate) layout: Arc<Layout>,
    pub(crate) index: Arc<BlockIndex>,
    pub(crate) data_bytes: u64,
    /// The run holds the table's overlays up to here.
    pub(crate) flushed: Option<Ts>,
}

/// How many encoded blocks of a thread may wait to be written.
const BLOCKS_AHEAD: usize = 4;

/// A block that is encoded but has no place yet.
struct Block {
    bytes: Vec<u8>,
    entry: BlockEntry,
    bounds: Bounds,
}

impl Block {
    fn new(encoder: &Encoder, layout: &Layout, piece: &Piece) -> Result<Block> {
        let mut bytes = Vec::new();
        let length = encoder.piece(layout, piece, &mut bytes)?;
        let entry = BlockEntry {
            offset: 0,
            length: u32::try_from(length).map_err(|_| too_long(piece.len()))?,
            crc: crc32fast::hash(&bytes),
            rows: u32::try_from(piece.len()).expect("a block is small"),
            tombstones: u32::try_from(piece.tombstones()).expect("at most its rows"),
        };
        Ok(Block { bytes, entry, bounds: Bounds::of(layout, piece)? })
    }
}

/// A segment while it is written.
pub(crate) struct SegmentWriter {
    files: Arc<dyn Files>,
    number: u64,
    encoder: Encoder,
    file: Option<Box<dyn FileWriter>>,
    buffer: Vec<u8>,
    /// Bytes given to the file and the buffer.
    offset: u64,
    runs: Vec<NewRun>,
    open: Option<OpenRun>,
}

struct OpenRun {
    layout: Arc<Layout>,
    flushed: Option<Ts>,
    index: IndexBuilder,
    start: u64,
    pending: Vec<Piece>,
    pending_rows: usize,
}

impl SegmentWriter {
    pub(crate) fn new(files: &Arc<dyn Files>, number: u64) -> Result<SegmentWriter> {
        Ok(SegmentWriter {
            files: Arc::clone(files),
            number,
            encoder: Encoder::new()?,
            file: None,
            buffer: MAGIC.to_vec(),
            offset: MAGIC.len() as u64,
            runs: Vec::new(),
            open: None,
        })
    }

    /// Starts the run of a table.
    pub(crate) fn begin(&mut self, layout: &Arc<Layout>, flushed: Option<Ts>) {
        assert!(self.open.is_none(), "runs do not nest");
        let (index, pending) = Default::default();
        let layout = Arc::clone(layout);
        let start = self.offset;
        self.open = Some(OpenRun { layout, flushed, index, start, pending, pending_rows: 0 });
    }

    /// Appends rows to the run; they are cut into blocks here.
    pub(crate) fn push(&mut self, piece: Piece) -> Result<()> {
        let run = self.open.as_mut().expect("a run was begun");
        run.pending_rows += piece.len();
        run.pending.push(piece);
        if run.pending_rows >= BLOCK_ROWS { self.cut(BLOCK_ROWS) } else { Ok(()) }
    }

    /// Writes pending rows as blocks while at least so many are left.
    fn cut(&mut self, least: usize) -> Result<()> {
        let run = self.open.as_mut().expect("a run was begun");
        let layout = Arc::clone(&run.layout);
        let pending = Piece::concat(&layout.stored, &std::mem::take(&mut run.pending))?;
        let mut start = 0;
        while pending.len() - start >= least {
            let rows = BLOCK_ROWS.min(pending.len() - start);
            self.block(&layout, &pending.slice(start, rows))?;
            start += rows;
        }
        let run = self.open.as_mut().expect("a run was begun");
        run.pending_rows = pending.len() - start;
        if run.pending_rows > 0 {
            run.pending.push(pending.slice(start, run.pending_rows));
        }
        Ok(())
    }

    fn block(&mut self, layout: &Layout, piece: &Piece) -> Result<()> {
        let block = Block::new(&self.encoder, layout, piece)?;
        self.add(block)
    }

    fn add(&mut self, block: Block) -> Result<()> {
        let entry = BlockEntry { offset: self.offset, ..block.entry };
        self.append(&block.bytes);
        self.open.as_mut().expect("a run was begun").index.add(block.bounds, entry);
        self.write(WRITE_BYTES)
    }

    /// Appends sorted rows to the run, nothing else before or after. Blocks are gathered and encoded
    /// by as many threads as there are processors, this one writes them in order.
    pub(crate) fn sorted(&mut self, rows: &Sorted<'_>) -> Result<()> {
        let blocks = rows.len().div_ceil(BLOCK_ROWS);
        let encode = |encoder: &Encoder, number: usize| -> Result<Block> {
            let start = number * BLOCK_ROWS;
            let piece = rows.rows(start..rows.len().min(start + BLOCK_ROWS))?;
            Block::new(encoder, rows.layout(), &piece)
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(blocks);
        if threads < 2 {
            return (0..blocks).try_for_each(|number| self.add(encode(&self.encoder, number)?));
        }
        let next = AtomicUsize::new(0);
        let (sender, receiver) = sync_channel(BLOCKS_AHEAD * threads);
        let encoder = Encoder::new()?;
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let (sender, next, encoder) = (sender.clone(), &next, &encoder);
                scope.spawn(move || {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        // Nobody receives any more after an error.
                        if number >= blocks
                            || sender.send((number, encode(encoder, number))).is_err()
                        {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            let mut early = BTreeMap::new();
            for number in 0..blocks {
                let block = loop {
                    if let Some(block) = early.remove(&number) {
                        break block;
                    }
                    // A thread that panics sends no more; the scope passes its panic on.
                    let Ok((number, block)) = receiver.recv() else { return Ok(()) };
                    early.insert(number, block);
                };
                self.add(block?)?;
            }
            Ok(())
        })
    }

    /// Ends the run; one without rows leaves no trace.
    pub(crate) fn end(&mut self) -> Result<()> {
        if self.open.as_ref().is_some_and(|run| run.pending_rows > 0) {
            self.cut(1)?;
        }
        let mut run = self.open.take().expect("a run was begun");
        let index = Arc::new(std::mem::take(&mut run.index).finish(&run.layout)?);
        if !index.blocks.is_empty() {
            let data_bytes = self.offset - run.start;
            let OpenRun { layout, flushed, .. } = run;
            self.runs.push(NewRun { layout, index, data_bytes, flushed });
        }
        Ok(())
    }

    /// Gives the buffer to the file when it is long enough.
    fn write(&mut self, least: usize) -> Result<()> {
        if self.buffer.len() < least {
            return Ok(());
        }
        let failed = |error| Error::io(format!("write file \"{}\"", file_name(self.number)), error);
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(self.files.create(&file_name(self.number)).map_err(failed)?),
        };
        file.write_all(&self.buffer).map_err(failed)?;
        self.buffer.clear();
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        self.offset += bytes.len() as u64;
    }

    /// Writes indexes, directory and trailer and makes all of it durable. None without runs.
    ///
    /// # Errors
    /// [`Error::Io`] while nothing depends on the file, [`Error::Durability`] when a sync failed.
    pub(crate) fn finish(mut self) -> Result<Option<(SegmentFile, Vec<NewRun>)>> {
        assert!(self.open.is_none(), "the last run was ended");
        if self.runs.is_empty() {
            return Ok(None);
        }
        let runs = std::mem::take(&mut self.runs);
        let mut directory = Vec::with_capacity(runs.len());
        for run in &runs {
            let index = run.index.encode(&run.layout, &self.encoder)?;
            directory.push(DirectoryEntry {
                table: run.layout.table,
                index_offset: self.offset,
                index_bytes: index.len() as u64,
                data_bytes: run.data_bytes,
            });
            self.append(&index);
        }
        let encoded = encode_directory(&directory);
        let (offset, length) = (self.offset, encoded.len() as u64);
        self.append(&encoded);
        for part in [&offset.to_le_bytes(), &length.to_le_bytes(), MAGIC] {
            self.append(part);
        }
        self.write(1)?;
        let file = self.file.as_mut().expect("the trailer was written");
        let name = file_name(self.number);
        let lost = |error| Error::Durability(format!("fsync of file \"{name}\": {error}"));
        file.sync().map_err(lost)?;
        self.files.sync_dir().map_err(lost)?;
        self.file = None;
        let reader = self.files.open(&name);
        let reader = reader.map_err(|e| Error::io(format!("open file \"{name}\""), e))?;
        let (number, bytes) = (self.number, self.offset);
        let files = Arc::clone(&self.files);
        let kept = AtomicBool::new(false);
        Ok(Some((SegmentFile { number, name, reader, files, kept, bytes, directory }, runs)))
    }
}

impl Drop for SegmentWriter {
    /// A file that was not finished is of no use to anybody.
    fn drop(&mut self) {
        if self.file.take().is_some()
            && let Err(error) = self.files.remove(&file_name(self.number))
        {
            tracing::warn!(segment = self.number, %error, "could not remove an unfinished segment");
        }
    }
}
