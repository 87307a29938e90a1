//! Reading a table at one epoch: a [`Snapshot`] holds what it reads, a [`Scan`] says which columns
//! and ranges, [`ScanRows`] gives the rows in key order.
//!
//! Ranges prune blocks by their bounds; rows outside of them still come, and the reader filters. Points
//! prune blocks and pick rows.
//!
//! Invariants: 1. a block is left out for a column outside the key only if no older block has keys
//! in its range, as its rows may hide older ones ([`prune`]; the model test in `store/tests.rs`
//! scans with ranges). Key columns are the same in all versions of a row, so they always prune.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, Scalar};
use arrow::compute::concat_batches;
use arrow::compute::kernels::cmp::{gt_eq, lt_eq};
use arrow::datatypes::{DataType, SchemaRef};

use crate::block::Piece;
use crate::cache::BlockCache;
use crate::error::Result;
use crate::layout::{Layout, Leading, row_count};
use crate::merge::{BlockKeys, Input, Merge, MergeOptions, block_keys, codec};
use crate::place::KeyBound;
use crate::run::{Run, Source};
use crate::table::overlay::Overlay;
use crate::table::points::Points;

/// Smaller batches of one scan are joined.
const BATCH_ROWS: usize = 2048;
/// Decoded rows are about this many times as large as on disk.
const DECODED_FACTOR: usize = 4;

/// A range of one column, both ends included. Rows with NULL there are of no interest.
#[derive(Clone, Debug)]
pub struct ColumnRange {
    /// The column.
    pub column: usize,
    /// The least value of interest: one row of the column's type, other types are ignored.
    pub min: Option<ArrayRef>,
    /// The greatest value of interest, likewise.
    pub max: Option<ArrayRef>,
}

impl ColumnRange {
    /// True if one value bounds it from both sides.
    pub fn is_point(&self) -> bool {
        match (&self.min, &self.max) {
            (Some(min), Some(max)) => Arc::ptr_eq(min, max) || min == max,
            _ => false,
        }
    }
}

/// What to read of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// The columns, in this order; None for all.
    pub columns: Option<Vec<usize>>,
    /// Which rows are of interest. Others may come too, also as versions that are no longer
    /// current: filter by the same ranges.
    pub ranges: Vec<ColumnRange>,
    /// Rows with other values of the leading key columns are left out. Points of other types than
    /// these columns are ignored.
    pub points: Option<Arc<Points>>,
    /// Rows up to and with this key are left out. Only with all columns.
    pub after: Option<KeyBound>,
}

/// A table at one epoch. It holds what it reads: files stay until it is dropped.
#[derive(Clone)]
pub struct Snapshot {
    layout: Arc<Layout>,
    cache: Arc<BlockCache>,
    overlays: Vec<Arc<Overlay>>,
    runs: Vec<Arc<Run>>,
    trim: Option<i64>,
}

impl Snapshot {
    pub(super) fn new(
        layout: Arc<Layout>,
        cache: Arc<BlockCache>,
        overlays: Vec<Arc<Overlay>>,
        runs: Vec<Arc<Run>>,
        trim: Option<i64>,
    ) -> Snapshot {
        Snapshot { layout, cache, overlays, runs, trim }
    }

    /// The columns of the table.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.layout.declared)
    }

    /// Its key columns in sort order.
    pub fn sort(&self) -> &[usize] {
        &self.layout.sort
    }

    /// Rows at most; versions of a row and removals count too.
    pub fn rows_upper_bound(&self) -> u64 {
        let memory = self.overlays.iter().map(|overlay| overlay.rows() as u64);
        memory.chain(self.runs.iter().map(|run| run.index.rows())).sum()
    }

    /// As [`Snapshot::rows_upper_bound`], without the blocks that end up to a key.
    ///
    /// # Errors
    /// [`crate::Error::Arrow`] for a key of other types.
    pub fn rows_after(&self, bound: &KeyBound) -> Result<u64> {
        let mut rows = 0;
        for mut input in self.inputs()? {
            leave_out(&mut input, bound)?;
            let index = input.source.index();
            rows += input.blocks.iter().map(|at| u64::from(index.blocks[*at].rows)).sum::<u64>();
        }
        Ok(rows)
    }

    /// The rows in key order. Nothing is read before the first call of `next`.
    pub fn scan(&self, scan: Scan) -> ScanRows {
        ScanRows {
            snapshot: self.clone(),
            scan: Some(scan),
            merge: None,
            schema: None,
            after: None,
            visited: 0,
        }
    }

    /// Everything that it reads, from old to new.
    fn inputs(&self) -> Result<Vec<Input>> {
        let mut inputs = Vec::with_capacity(self.runs.len() + self.overlays.len());
        inputs.extend(self.runs.iter().map(|run| Input::whole(Source::Disk(Arc::clone(run)))));
        for overlay in &self.overlays {
            let run = Arc::clone(overlay.sorted(&self.layout)?);
            inputs.push(Input::whole(Source::Memory(run)));
        }
        Ok(inputs)
    }

    fn start(&self, scan: &Scan) -> Result<Merge> {
        let mut inputs = self.inputs()?;
        if let Some(points) = &scan.points {
            for input in &mut inputs {
                let reach = points.reach(input.source.index())?;
                input.blocks.retain(|block| reach[*block]);
            }
        }
        prune(&self.layout, &mut inputs, &scan.ranges, self.trim)?;
        if let Some(bound) = &scan.after {
            inputs.iter_mut().try_for_each(|input| leave_out(input, bound))?;
        }
        let bytes: u64 = inputs.iter().map(|input| input.source.disk_bytes(&input.blocks)).sum();
        let room = self.cache.capacity() / DECODED_FACTOR / 2;
        let options = MergeOptions {
            columns: scan.columns.clone(),
            keep_gone: false,
            trim: self.trim,
            points: scan.points.clone(),
            fill_cache: usize::try_from(bytes).is_ok_and(|bytes| bytes <= room),
        };
        Merge::new(&self.layout, &self.cache, inputs, options)
    }
}

/// The rows of a scan.
pub struct ScanRows {
    snapshot: Snapshot,
    /// None once it has begun.
    scan: Option<Scan>,
    merge: Option<Merge>,
    schema: Option<SchemaRef>,
    /// Rows up to here are still left out.
    after: Option<KeyBound>,
    /// Rows that were read, once it has ended.
    visited: u64,
}

impl ScanRows {
    /// How many rows were read so far: of look-ups more than came.
    pub fn visited(&self) -> u64 {
        self.merge.as_ref().map_or(self.visited, Merge::visited)
    }

    fn begin(&mut self, mut scan: Scan) -> Result<()> {
        let layout = &self.snapshot.layout;
        self.schema = Some(match &scan.columns {
            Some(columns) => Arc::new(layout.declared.project(columns)?),
            None => Arc::clone(&layout.declared),
        });
        scan.points = scan.points.filter(|points| points.fit(layout));
        self.merge = Some(self.snapshot.start(&scan)?);
        self.after = scan.after;
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(scan) = self.scan.take() {
            self.begin(scan)?;
        }
        let (Some(merge), Some(schema)) = (&mut self.merge, &self.schema) else { return Ok(None) };
        let mut batches = VecDeque::new();
        let mut rows = 0;
        while rows < BATCH_ROWS
            && let Some(mut piece) = merge.next_piece()?
        {
            if let Some(bound) = &self.after {
                let above = above(&self.snapshot.layout.sort, &piece, bound)?;
                if above < piece.len() {
                    // Rows ascend: nothing that comes later lies up to the bound.
                    self.after = None;
                }
                piece = piece.slice(above, piece.len() - above);
            }
            rows += piece.len();
            let columns = piece.rows.columns().to_vec();
            let options = row_count(piece.len());
            let batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
            batches.push_back(batch);
        }
        Ok(match batches.len() {
            0 => None,
            1 => batches.pop_front(),
            _ => Some(concat_batches(schema, &batches)?),
        })
    }
}

impl Iterator for ScanRows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        let next = self.next_batch().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.visited = self.visited();
            (self.scan, self.merge) = (None, None);
        }
        next
    }
}

/// Leaves out the blocks that end up to a key.
fn leave_out(input: &mut Input, bound: &KeyBound) -> Result<()> {
    let (codec, bound) = bound.codec(input.source.index().null_keys)?;
    let keys = block_keys(&codec, input)?;
    let mut at = 0;
    input.blocks.retain(|_| {
        at += 1;
        keys.last.compare(at - 1, &bound, 0).is_gt()
    });
    Ok(())
}

/// How many rows of a piece, sorted, lie up to a key.
fn above(sort: &[usize], piece: &Piece, bound: &KeyBound) -> Result<usize> {
    let columns: Vec<ArrayRef> = sort.iter().map(|at| Arc::clone(piece.rows.column(*at))).collect();
    let (codec, bound) = bound.codec(columns.iter().any(|column| column.null_count() > 0))?;
    let keys = codec.encode(&columns, piece.len())?;
    Ok(keys.end_of(0..piece.len(), &bound, 0))
}

/// Leaves out the blocks that no row of interest can be in.
fn prune(
    layout: &Layout,
    inputs: &mut Vec<Input>,
    ranges: &[ColumnRange],
    trim: Option<i64>,
) -> Result<()> {
    let (on_key, on_rest): (Vec<_>, Vec<_>) =
        ranges.iter().partition(|range| layout.sort.contains(&range.column));
    for input in inputs.iter_mut() {
        let index = input.source.index();
        let fits = fitting(input, &on_key)?;
        let last = index.last.first().and_then(Leading::of);
        input.blocks.retain(|block| {
            let above = |mark| last.as_ref().is_none_or(|last| !last.is_below(*block, mark));
            fits[*block] && (index.null_keys || trim.is_none_or(above))
        });
    }
    inputs.retain(|input| !input.blocks.is_empty());
    if on_rest.is_empty() {
        return Ok(());
    }
    let codec = codec(layout, inputs)?;
    let keys = inputs.iter().map(|input| block_keys(&codec, input));
    let keys: Vec<BlockKeys> = keys.collect::<Result<_>>()?;
    let mut kept = Vec::with_capacity(inputs.len());
    for (n, input) in inputs.iter().enumerate() {
        let fits = fitting(input, &on_rest)?;
        let hides = |at: usize| keys[..n].iter().any(|older| overlaps(older, &keys[n], at));
        let blocks = input.blocks.iter().enumerate();
        let blocks = blocks.filter(|(at, block)| fits[**block] || hides(*at));
        kept.push(blocks.map(|(_, block)| *block).collect());
    }
    for (input, blocks) in inputs.iter_mut().zip(kept) {
        input.blocks = blocks;
    }
    Ok(())
}

/// True when some block of the one input shares a range of keys with a block of the other.
fn overlaps(older: &BlockKeys, newer: &BlockKeys, block: usize) -> bool {
    let (mut low, mut high) = (0, older.blocks);
    while low < high {
        let middle = low + (high - low) / 2;
        let below = older.last.compare(middle, &newer.first, block).is_lt();
        if below { low = middle + 1 } else { high = middle }
    }
    low < older.blocks && older.first.compare(low, &newer.last, block).is_le()
}

/// For each block of the source, whether its bounds reach into all ranges.
fn fitting(input: &Input, ranges: &[&ColumnRange]) -> Result<Vec<bool>> {
    let index = input.source.index();
    let mut fits = vec![true; index.blocks.len()];
    let mut narrow = |mask: BooleanArray| {
        for (block, fits) in fits.iter_mut().enumerate() {
            *fits &= mask.is_null(block) || mask.value(block);
        }
    };
    for range in ranges {
        let (least, greatest) = (&index.min[range.column], &index.max[range.column]);
        if let Some(min) = bound(&range.min, greatest.data_type())? {
            narrow(gt_eq(greatest, &min)?);
        }
        if let Some(max) = bound(&range.max, least.data_type())? {
            narrow(lt_eq(least, &max)?);
        }
    }
    Ok(fits)
}

/// The bound as a value of the column's type; None if there is none or it is of another type.
fn bound(bound: &Option<ArrayRef>, data_type: &DataType) -> Result<Option<Scalar<ArrayRef>>> {
    let usable = |bound: &&ArrayRef| bound.len() == 1 && bound.is_valid(0);
    let Some(bound) = bound.as_ref().filter(usable) else { return Ok(None) };
    // Time zones of one unit differ in name only.
    let bound = match (bound.data_type(), data_type) {
        (found, wanted) if found == wanted => Arc::clone(bound),
        (DataType::Timestamp(a, Some(_)), DataType::Timestamp(b, Some(_))) if a == b => {
            arrow::compute::cast(bound, data_type)?
        }
        _ => return Ok(None),
    };
    Ok((!data_type.is_nested()).then(|| Scalar::new(bound)))
}
