//! Checkpoints: writing segments, and the one batch that makes them count.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use millrace_types::{Epoch, TableId};

use crate::error::{Error, Result};
use crate::keyspace::catalog_op;
use crate::meta::Op;
use crate::run::Run;
use crate::segment::{NewRun, SegmentFile, SegmentWriter};
use crate::store::Store;
use crate::store::manifest::{Edit, Manifest, NamedRun, NamedSegment};
use crate::table::{Change, RunChange, Sorted, Table};

/// A segment that is durable but not named yet. Dropped without a commit, its file goes.
pub struct Segment {
    pub(super) file: Option<Arc<SegmentFile>>,
    pub(super) runs: Vec<NewRun>,
}

impl Segment {
    /// Bytes of the file; 0 when nothing had changed and there is none.
    pub fn bytes(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.bytes)
    }
}

/// What one commit makes durable, all or nothing.
#[derive(Default)]
pub struct Commit {
    /// The epoch that the tables are at afterwards; the log is cut there. None for changes between
    /// checkpoints, which must not carry segments.
    pub epoch: Option<Epoch>,
    /// New runs. Of one table, those of later segments are newer.
    pub segments: Vec<Segment>,
    /// Tables that go, with their runs.
    pub drop_tables: Vec<TableId>,
    /// Per table, the mark below which rows are gone: compared with the first sort column, a bigint
    /// or a timestamp in microseconds. A mark never falls.
    pub trims: Vec<(TableId, i64)>,
    /// Changes of the catalog.
    pub ops: Vec<Op>,
}

/// What a commit does to one table.
type Changes = BTreeMap<TableId, RunChange>;

impl Store {
    /// Sorts the changes and writes them as one segment file, which is durable when this returns.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk is full or the like: the checkpoint may be tried again.
    /// [`Error::Durability`]: end the process.
    pub fn write_segment(&self, changes: Vec<(TableId, Change)>) -> Result<Segment> {
        let mut writer = SegmentWriter::new(&self.files, self.next_segment())?;
        let mut rows = 0;
        let changes = changes.into_iter().map(|(id, mut change)| {
            let table = self.table(id).ok_or(Error::UnknownTable(id))?;
            for piece in &mut change.pieces {
                piece.rows = table.layout.accept(&piece.rows)?;
            }
            Ok((table, change))
        });
        let changes: Vec<(Arc<Table>, Change)> = changes.collect::<Result<_>>()?;
        for ((table, _), sorted) in changes.iter().zip(sort_all(&changes)) {
            let sorted = sorted?;
            rows += sorted.len() as u64;
            writer.begin(&table.layout, table.flushing());
            writer.sorted(&sorted)?;
            writer.end()?;
        }
        let Some((file, runs)) = writer.finish()? else {
            return Ok(Segment { file: None, runs: Vec::new() });
        };
        self.written.checkpoint_rows.fetch_add(rows, Ordering::Relaxed);
        self.written.checkpoint_bytes.fetch_add(file.bytes, Ordering::Relaxed);
        Ok(Segment { file: Some(Arc::new(file)), runs })
    }

    /// Commits a checkpoint, DDL or both. Afterwards new snapshots read the new runs.
    ///
    /// # Errors
    /// [`Error::Durability`]: it is unknown whether the commit is there; end the process.
    pub fn commit(&self, commit: Commit) -> Result<()> {
        let mut manifest = self.manifest.lock();
        let (edit, mut changes) = self.plan(&mut manifest, &commit);
        let mut ops = manifest.ops(&edit);
        ops.extend(commit.ops.into_iter().map(catalog_op));
        // From here on the manifest may name the files, whatever the commit reports.
        edit.add.iter().for_each(|(_, segment)| segment.file.keep(true));
        if !ops.is_empty() {
            self.meta.commit(ops)?;
        }
        manifest.apply(edit);
        let mut unused = Vec::new();
        {
            let mut tables = self.tables.write();
            for id in &commit.drop_tables {
                changes.remove(id);
                unused.extend(tables.remove(id).map(|table| table.clear()));
            }
            for (id, change) in changes {
                unused.extend(tables.get(&id).map(|table| table.install(change)));
            }
        }
        drop(manifest);
        // Files that nobody reads are removed here, outside of the locks.
        drop(unused);
        Ok(())
    }

    fn plan(&self, manifest: &mut Manifest, commit: &Commit) -> (Edit, Changes) {
        let mut edit = Edit { checkpoint: commit.epoch, ..Edit::default() };
        let mut changes = Changes::new();
        manifest.forget(&mut edit, |table| commit.drop_tables.contains(&table));
        for (id, mark) in &commit.trims {
            let Some(table) = self.table(*id) else { continue };
            if commit.drop_tables.contains(id) || !table.layout.is_trimmable() {
                continue;
            }
            let mark = manifest.trims.get(id).map_or(*mark, |old| (*old).max(*mark));
            edit.trims.insert(*id, Some(mark));
            let change = changes.entry(*id).or_default();
            (change.trim, change.epoch) = (Some(mark), commit.epoch);
            change.remove = below(&table, mark);
            edit.remove.extend(change.remove.iter().copied());
        }
        for segment in &commit.segments {
            let Some(file) = &segment.file else { continue };
            let dropped = |run: &&NewRun| commit.drop_tables.contains(&run.layout.table);
            let first = manifest.next_sequence;
            let sequences: Vec<u64> = (first..).take(segment.runs.len()).collect();
            manifest.next_sequence += sequences.len() as u64;
            for run in segment.runs.iter().filter(|run| !dropped(run)) {
                let change = changes.entry(run.layout.table).or_default();
                change.flushed = change.flushed.max(run.flushed);
            }
            let runs = attach(file, &segment.runs, &sequences);
            let kept = runs.iter().filter(|run| !commit.drop_tables.contains(&run.layout.table));
            let kept: Vec<Arc<Run>> = kept.cloned().collect();
            edit.add.extend(name(file, &kept));
            for run in kept {
                changes.entry(run.layout.table).or_default().add.push(run);
            }
        }
        (edit, changes)
    }
}

/// Sorts each change; large ones at the same time.
fn sort_all(changes: &[(Arc<Table>, Change)]) -> Vec<Result<Sorted<'_>>> {
    fn sort((table, change): &(Arc<Table>, Change)) -> Result<Sorted<'_>> {
        Sorted::new(&table.layout, &change.pieces)
    }
    std::thread::scope(|scope| {
        let begun: Vec<_> = changes
            .iter()
            .map(|change| match change.1.rows() >= ROWS_A_THREAD {
                true => Err(scope.spawn(move || sort(change))),
                false => Ok(sort(change)),
            })
            .collect();
        let join = |sorted| match sorted {
            Ok(sorted) => sorted,
            Err(thread) => match std::thread::ScopedJoinHandle::join(thread) {
                Ok(sorted) => sorted,
                Err(panic) => std::panic::resume_unwind(panic),
            },
        };
        begun.into_iter().map(join).collect()
    })
}

/// Rows whose sorting is worth a thread.
const ROWS_A_THREAD: usize = 50_000;

/// The runs of a table that a trim leaves nothing of.
fn below(table: &Table, mark: i64) -> Vec<(u64, usize)> {
    let runs = table.runs();
    let below = runs.iter().filter(|run| run.is_wholly_below(mark));
    below.map(|run| run.id()).collect()
}

/// New runs as tables hold them.
pub(super) fn attach(file: &Arc<SegmentFile>, runs: &[NewRun], sequences: &[u64]) -> Vec<Arc<Run>> {
    let run = |(ordinal, (run, sequence)): (usize, (&NewRun, &u64))| {
        Arc::new(Run {
            file: Arc::clone(file),
            ordinal,
            sequence: *sequence,
            layout: Arc::clone(&run.layout),
            index: Arc::clone(&run.index),
            data_bytes: run.data_bytes,
        })
    };
    runs.iter().zip(sequences).enumerate().map(run).collect()
}

/// The manifest's entry for a new segment with the runs that are wanted; None without any.
pub(super) fn name(file: &Arc<SegmentFile>, wanted: &[Arc<Run>]) -> Option<(u64, NamedSegment)> {
    let named = wanted.iter().map(|run| NamedRun {
        ordinal: run.ordinal,
        table: run.layout.table,
        sequence: run.sequence,
    });
    let segment = NamedSegment { file: Arc::clone(file), runs: named.collect() };
    (!segment.runs.is_empty()).then_some((file.number, segment))
}
