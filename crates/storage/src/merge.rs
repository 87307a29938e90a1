//! Merges sorted sources of one table into one sorted sequence of rows: of each key the newest row.
//!
//! It works on blocks. The block whose last key is least is taken next; if no other source has keys
//! up to there, its rows pass through without being looked at. Otherwise the rows up to that key of
//! every source that has some are merged row by row. Memory: one block a source.
//!
//! Invariants: 1. sources are ordered from old to new and each has a key at most once; 2. every step
//! consumes one block wholly, so a merge ends; 3. output keys ascend strictly (tested against a map
//! in `store/tests.rs`).

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, BooleanBufferBuilder, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{interleave, take};
use arrow::datatypes::DataType;

use crate::block::Piece;
use crate::cache::BlockCache;
use crate::error::Result;
use crate::keys::{KeyCodec, KeyList, Keys};
use crate::layout::{Layout, row_count, too_long};
use crate::run::{Caching, Source};
use crate::table::Points;

/// What a merge keeps.
#[derive(Clone, Debug, Default)]
pub(crate) struct MergeOptions {
    /// The columns of the output; None for all.
    pub(crate) columns: Option<Vec<usize>>,
    /// Tombstones stay, as there may be older rows that they hide.
    pub(crate) keep_gone: bool,
    /// Rows whose first key column is below this are dropped.
    pub(crate) trim: Option<i64>,
    /// Rows with other values of the leading key columns are dropped, before they are merged.
    pub(crate) points: Option<Arc<Points>>,
    /// Blocks that are read go into the cache.
    pub(crate) fill_cache: bool,
}

/// A merge under way.
pub(crate) struct Merge {
    /// Of the columns that are loaded.
    layout: Arc<Layout>,
    /// The columns that are loaded: the key and those of the output; None for all.
    loaded: Option<Vec<usize>>,
    cache: Arc<BlockCache>,
    options: MergeOptions,
    codec: KeyCodec,
    /// From old to new; those without blocks left are removed.
    cursors: Vec<Cursor>,
    /// Rows that were read.
    visited: u64,
}

/// A source and the blocks of it that take part.
pub(crate) struct Input {
    pub(crate) source: Source,
    pub(crate) blocks: Vec<usize>,
}

struct Cursor {
    input: Input,
    /// The current block, as a position in `input.blocks`.
    at: usize,
    keys: BlockKeys,
    current: Option<Current>,
}

struct Current {
    piece: Piece,
    /// Encoded when the block is first merged row by row.
    keys: Option<Keys>,
    /// Rows before this have been consumed.
    offset: usize,
}

impl Input {
    /// All blocks of a source.
    pub(crate) fn whole(source: Source) -> Input {
        let blocks = (0..source.index().blocks.len()).collect();
        Input { source, blocks }
    }
}

/// The codec that fits the keys of all sources.
pub(crate) fn codec(layout: &Layout, inputs: &[Input]) -> Result<KeyCodec> {
    let types: Vec<&DataType> =
        layout.sort.iter().map(|column| layout.stored.field(*column).data_type()).collect();
    KeyCodec::new(&types, inputs.iter().any(|input| input.source.index().null_keys))
}

/// First and last keys of an input's blocks.
pub(crate) struct BlockKeys {
    pub(crate) first: Keys,
    pub(crate) last: Keys,
    pub(crate) blocks: usize,
}

/// The keys between which the input's blocks lie.
pub(crate) fn block_keys(codec: &KeyCodec, input: &Input) -> Result<BlockKeys> {
    let index = input.source.index();
    let blocks = input.blocks.iter().map(|block| *block as u64);
    let blocks = arrow::array::UInt64Array::from_iter_values(blocks);
    let encode = |columns: &[Arc<dyn Array>]| -> Result<Keys> {
        let columns = columns.iter().map(|column| take(column, &blocks, None));
        codec.encode(&columns.collect::<std::result::Result<Vec<_>, _>>()?, blocks.len())
    };
    let (first, last) = (encode(&index.first)?, encode(&index.last)?);
    Ok(BlockKeys { first, last, blocks: input.blocks.len() })
}

impl Merge {
    /// Starts a merge of inputs from old to new.
    pub(crate) fn new(
        layout: &Arc<Layout>,
        cache: &Arc<BlockCache>,
        inputs: Vec<Input>,
        mut options: MergeOptions,
    ) -> Result<Merge> {
        let mut layout = Arc::clone(layout);
        let mut loaded = None;
        if let Some(columns) = &mut options.columns {
            let mut all: Vec<usize> = columns.iter().chain(&layout.sort).copied().collect();
            all.sort_unstable();
            all.dedup();
            layout = Arc::new(layout.project(&all)?);
            let place = |column: &usize| all.binary_search(column).expect("it is among them");
            *columns = columns.iter().map(place).collect();
            loaded = Some(all);
        }
        let codec = codec(&layout, &inputs)?;
        let mut cursors = Vec::with_capacity(inputs.len());
        for input in inputs.into_iter().filter(|input| !input.blocks.is_empty()) {
            let keys = block_keys(&codec, &input)?;
            cursors.push(Cursor { input, at: 0, keys, current: None });
        }
        Ok(Merge { layout, loaded, cache: Arc::clone(cache), options, codec, cursors, visited: 0 })
    }

    /// The next rows in key order; None at the end.
    pub(crate) fn next_piece(&mut self) -> Result<Option<Piece>> {
        while let Some(least) = self.least_last_key() {
            let group = self.overlapping(least);
            let piece = match group.as_slice() {
                [one] => self.pass(*one)?,
                _ => self.merge_rows(&group, least)?,
            };
            self.cursors.retain(|cursor| cursor.at < cursor.input.blocks.len());
            if piece.len() > 0 {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// How many rows were read so far.
    pub(crate) fn visited(&self) -> u64 {
        self.visited
    }

    /// Reads the current block of a cursor, if it is not there yet: the rows of interest.
    fn load(&mut self, cursor: usize) -> Result<()> {
        let cursor = &mut self.cursors[cursor];
        if cursor.current.is_some() {
            return Ok(());
        }
        let caching = Caching { cache: &self.cache, insert: self.options.fill_cache };
        let block = cursor.input.blocks[cursor.at];
        let mut piece = cursor.input.source.load(block, self.loaded.as_deref(), caching)?;
        self.visited += piece.len() as u64;
        if let Some(points) = &self.options.points {
            let key = self.layout.sort[..points.width()].iter();
            let key: Vec<_> = key.map(|column| Arc::clone(piece.rows.column(*column))).collect();
            piece = piece.filter(points.pick(&key, piece.len())?)?;
        }
        cursor.current = Some(Current { piece, keys: None, offset: 0 });
        Ok(())
    }

    /// The cursor whose current block ends first.
    fn least_last_key(&self) -> Option<usize> {
        (0..self.cursors.len()).min_by(|a, b| {
            let (a, b) = (&self.cursors[*a], &self.cursors[*b]);
            a.keys.last.compare(a.at, &b.keys.last, b.at)
        })
    }

    /// The cursors that have keys up to the end of that block, itself among them.
    fn overlapping(&self, least: usize) -> Vec<usize> {
        let bound = &self.cursors[least];
        let within = |cursor: &Cursor| match &cursor.current {
            Some(Current { keys: Some(keys), offset, .. }) if *offset > 0 => {
                keys.compare(*offset, &bound.keys.last, bound.at).is_le()
            }
            _ => cursor.keys.first.compare(cursor.at, &bound.keys.last, bound.at).is_le(),
        };
        (0..self.cursors.len()).filter(|n| *n == least || within(&self.cursors[*n])).collect()
    }

    /// The rest of a block that overlaps nothing.
    fn pass(&mut self, cursor: usize) -> Result<Piece> {
        self.load(cursor)?;
        let cursor = &mut self.cursors[cursor];
        let current = cursor.current.take().expect("just loaded");
        cursor.at += 1;
        let rest = current.piece.slice(current.offset, current.piece.len() - current.offset);
        let rest = match self.dropped(&rest) {
            Some(dropped) => rest.filter(!&dropped)?,
            None => rest,
        };
        match &self.options.columns {
            Some(columns) => rest.project(columns),
            None => Ok(rest),
        }
    }

    /// Which rows the options drop; None for none.
    fn dropped(&self, piece: &Piece) -> Option<BooleanBuffer> {
        let gone = piece.gone.as_ref().filter(|_| !self.options.keep_gone);
        let trimmed = self.options.trim.and_then(|mark| {
            let leading = self.layout.leading(&piece.rows)?;
            let below =
                BooleanBuffer::collect_bool(leading.len(), |row| leading.is_below(row, mark));
            (below.count_set_bits() > 0).then_some(below)
        });
        match (gone, trimmed) {
            (Some(gone), Some(trimmed)) => Some(gone | &trimmed),
            (Some(gone), None) => Some(gone.clone()),
            (None, trimmed) => trimmed,
        }
    }

    /// Merges the rows of some cursors up to the end of one's block.
    fn merge_rows(&mut self, group: &[usize], least: usize) -> Result<Piece> {
        for n in group {
            self.load(*n)?;
            let cursor = &mut self.cursors[*n];
            cursor.encode(&self.codec, &self.layout)?;
        }
        let (bound, last) = (&self.cursors[least].keys.last, self.cursors[least].at);
        let members: Vec<Member<'_>> = group
            .iter()
            .map(|n| {
                let (current, keys) = self.cursors[*n].loaded();
                let rows = current.offset..current.piece.len();
                let end = keys.end_of(rows, bound, last);
                Member { piece: &current.piece, keys, rows: current.offset..end }
            })
            .collect();
        let dropped: Vec<_> = members.iter().map(|member| self.dropped(member.piece)).collect();
        let mut winners = winners(&members)?;
        if dropped.iter().any(Option::is_some) {
            winners.retain(|(member, row)| {
                !dropped[*member].as_ref().is_some_and(|dropped| dropped.value(*row))
            });
        }
        let piece = self.gather(&members, &winners)?;
        let ends: Vec<usize> = members.iter().map(|member| member.rows.end).collect();
        for (n, end) in group.iter().zip(ends) {
            self.cursors[*n].consume(end);
        }
        Ok(piece)
    }

    /// The chosen rows as one piece.
    fn gather(&self, members: &[Member<'_>], rows: &[(usize, usize)]) -> Result<Piece> {
        let wanted: Vec<usize> = match &self.options.columns {
            Some(columns) => columns.clone(),
            None => (0..self.layout.stored.fields().len()).collect(),
        };
        let mut columns = Vec::with_capacity(wanted.len());
        for column in &wanted {
            let arrays: Vec<&dyn Array> =
                members.iter().map(|member| member.piece.rows.column(*column).as_ref()).collect();
            columns.push(interleave(&arrays, rows)?);
        }
        let schema = Arc::new(self.layout.stored.project(&wanted)?);
        let batch = RecordBatch::try_new_with_options(schema, columns, &row_count(rows.len()))?;
        if members.iter().all(|member| member.piece.gone.is_none()) {
            return Ok(Piece { rows: batch, gone: None });
        }
        let mut gone = BooleanBufferBuilder::new(rows.len());
        for (member, row) in rows {
            gone.append(members[*member].piece.gone.as_ref().is_some_and(|gone| gone.value(*row)));
        }
        Ok(Piece::new(batch, Some(gone.finish())))
    }
}

impl Cursor {
    fn encode(&mut self, codec: &KeyCodec, layout: &Layout) -> Result<()> {
        let current = self.current.as_mut().expect("loaded before");
        if current.keys.is_none() {
            let rows = &current.piece.rows;
            let columns: Vec<_> =
                layout.sort.iter().map(|column| Arc::clone(rows.column(*column))).collect();
            current.keys = Some(codec.encode(&columns, rows.num_rows())?);
        }
        Ok(())
    }

    fn loaded(&self) -> (&Current, &Keys) {
        let current = self.current.as_ref().expect("loaded before");
        (current, current.keys.as_ref().expect("encoded before"))
    }

    /// Rows before `end` are done.
    fn consume(&mut self, end: usize) {
        let current = self.current.as_mut().expect("loaded before");
        current.offset = end;
        if end == current.piece.len() {
            self.current = None;
            self.at += 1;
        }
    }
}

/// The rows of one cursor that take part in a step.
struct Member<'a> {
    piece: &'a Piece,
    keys: &'a Keys,
    rows: Range<usize>,
}

/// Member and row of the newest row of each key, in key order.
fn winners(members: &[Member<'_>]) -> Result<Vec<(usize, usize)>> {
    let rows = members.iter().map(|member| member.rows.len()).sum();
    if u32::try_from(rows).is_err() {
        return Err(too_long(rows).into());
    }
    let ranges: Vec<Range<usize>> = members.iter().map(|member| member.rows.clone()).collect();
    let packed: Option<Vec<&Vec<u128>>> = members.iter().map(|m| m.keys.packed()).collect();
    if let Some(lists) = packed {
        return Ok(merge_lists(&lists, ranges));
    }
    let lists: Option<Vec<_>> = members.iter().map(|member| member.keys.rows()).collect();
    Ok(merge_lists(&lists.expect("one merge has one form of keys"), ranges))
}

/// Merges sorted ranges; of equal keys the one of the last list stays.
fn merge_lists<'a, L: KeyList>(
    lists: &[&'a L],
    mut ranges: Vec<Range<usize>>,
) -> Vec<(usize, usize)> {
    let mut out = Vec::with_capacity(ranges.iter().map(ExactSizeIterator::len).sum());
    let head = |ranges: &[Range<usize>], n: usize| -> Option<L::Key<'a>> {
        let list: &'a L = lists[n];
        (!ranges[n].is_empty()).then(|| list.key(ranges[n].start))
    };
    loop {
        let mut best: Option<(usize, L::Key<'a>)> = None;
        for n in 0..lists.len() {
            if let Some(key) = head(&ranges, n)
                && best.is_none_or(|(_, least)| key <= least)
            {
                best = Some((n, key));
            }
        }
        let Some((winner, least)) = best else { return out };
        out.push((winner, ranges[winner].start));
        ranges[winner].start += 1;
        let mut bound: Option<L::Key<'a>> = None;
        for n in (0..lists.len()).filter(|n| *n != winner) {
            if head(&ranges, n) == Some(least) {
                ranges[n].start += 1;
            }
            if let Some(key) = head(&ranges, n) {
                bound = Some(bound.map_or(key, |bound| bound.min(key)));
            }
        }
        // Rows of the winner below every other head follow without another comparison of all.
        while let Some(key) = head(&ranges, winner)
            && bound.is_none_or(|bound| key < bound)
        {
            out.push((winner, ranges[winner].start));
            ranges[winner].start += 1;
        }
    }
}
