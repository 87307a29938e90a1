//! A run: the sorted rows of one table in one segment, with their index in memory.
//!
//! A [`Source`] is a run or sorted rows in memory: what merges and scans read.

use std::sync::Arc;

use crate::block::{BLOCK_ROWS, Piece, decode_piece};
use crate::cache::{BlockCache, Cached};
use crate::error::Result;
use crate::index::BlockIndex;
use crate::layout::{Layout, Leading};
use crate::segment::{DirectoryEntry, SegmentFile};

/// Sorted rows of one table on disk.
pub(crate) struct Run {
    pub(crate) file: Arc<SegmentFile>,
    /// Its place in the segment's directory.
    pub(crate) ordinal: usize,
    /// Of two runs of a table, the one with the higher number is newer.
    pub(crate) sequence: u64,
    pub(crate) layout: Arc<Layout>,
    pub(crate) index: Arc<BlockIndex>,
    pub(crate) data_bytes: u64,
}

impl Run {
    /// Attaches a run that the manifest names: reads its index.
    pub(crate) fn attach(
        file: &Arc<SegmentFile>,
        ordinal: usize,
        sequence: u64,
        entry: &DirectoryEntry,
        layout: &Arc<Layout>,
    ) -> Result<Run> {
        let bytes = file.read_index(entry)?;
        let index = BlockIndex::decode(&bytes, layout)
            .map_err(|reason| file.damaged(entry.index_offset, reason))?;
        Ok(Run {
            file: Arc::clone(file),
            ordinal,
            sequence,
            layout: Arc::clone(layout),
            index: Arc::new(index),
            data_bytes: entry.data_bytes,
        })
    }

    /// What names it among all runs: its segment and its place there.
    pub(crate) fn id(&self) -> (u64, usize) {
        (self.file.number, self.ordinal)
    }

    /// A block, or some columns of it, ascending.
    fn load(&self, block: usize, columns: Option<&[usize]>, caching: Caching<'_>) -> Result<Piece> {
        let entry = &self.index.blocks[block];
        let id = (self.file.number, entry.offset);
        let all: Vec<usize>;
        let columns = match columns {
            Some(columns) => columns,
            None => {
                all = (0..self.layout.stored.fields().len()).collect();
                &all
            }
        };
        let cached = caching.cache.get(id);
        let mut read = columns.to_vec();
        if let Some(cached) = cached {
            let place = |column| cached.columns.binary_search(column).ok();
            if let Some(places) = columns.iter().map(place).collect::<Option<Vec<_>>>() {
                return cached.piece.project(&places);
            }
            if caching.insert {
                // What others ask for stays.
                read.extend(cached.columns.iter());
                read.sort_unstable();
                read.dedup();
            }
        }
        let bytes = self.file.read(entry.offset, entry.length, entry.crc)?;
        let piece = decode_piece(bytes, &self.layout, entry.tombstones > 0, Some(&read))
            .map_err(|reason| self.file.damaged(entry.offset, reason))?;
        if piece.len() != entry.rows as usize {
            return Err(self.file.damaged(entry.offset, "the block has another number of rows"));
        }
        if !caching.insert {
            return Ok(piece);
        }
        let place = |column| read.binary_search(column).expect("the columns are read");
        let places: Vec<usize> = columns.iter().map(place).collect();
        let wanted = piece.project(&places);
        caching.cache.put(id, Cached { columns: read.into(), piece });
        wanted
    }

    /// True when a trim at `mark` leaves no row of it.
    pub(crate) fn is_wholly_below(&self, mark: i64) -> bool {
        // NULL keys sort first, so the last key of the last block is the greatest.
        let last = self.index.last.first().and_then(Leading::of);
        let blocks = self.index.blocks.len();
        !self.index.null_keys && last.is_some_and(|last| last.is_below(blocks - 1, mark))
    }
}

/// How a reader uses the block cache.
#[derive(Clone, Copy)]
pub(crate) struct Caching<'a> {
    pub(crate) cache: &'a BlockCache,
    /// False for large scans and compactions, which would push everything else out.
    pub(crate) insert: bool,
}

/// Sorted rows of one table in memory, each key once.
pub(crate) struct MemoryRun {
    pub(crate) piece: Piece,
    pub(crate) index: BlockIndex,
}

impl MemoryRun {
    pub(crate) fn new(layout: &Layout, piece: Piece) -> Result<MemoryRun> {
        let index = BlockIndex::of_memory(layout, &piece)?;
        Ok(MemoryRun { piece, index })
    }
}

/// What a merge reads.
#[derive(Clone)]
pub(crate) enum Source {
    Memory(Arc<MemoryRun>),
    Disk(Arc<Run>),
}

impl Source {
    pub(crate) fn index(&self) -> &BlockIndex {
        match self {
            Source::Memory(run) => &run.index,
            Source::Disk(run) => &run.index,
        }
    }

    /// A block, or some columns of it, ascending.
    pub(crate) fn load(
        &self,
        block: usize,
        columns: Option<&[usize]>,
        caching: Caching<'_>,
    ) -> Result<Piece> {
        match self {
            Source::Memory(run) => {
                let start = block * BLOCK_ROWS;
                let piece = run.piece.slice(start, BLOCK_ROWS.min(run.piece.len() - start));
                columns.map_or(Ok(piece.clone()), |columns| piece.project(columns))
            }
            Source::Disk(run) => run.load(block, columns, caching),
        }
    }

    /// Bytes on disk of some blocks; nothing for rows in memory.
    pub(crate) fn disk_bytes(&self, blocks: &[usize]) -> u64 {
        match self {
            Source::Memory(_) => 0,
            Source::Disk(run) => {
                blocks.iter().map(|block| u64::from(run.index.blocks[*block].length)).sum()
            }
        }
    }
}
