//! Compaction: merges runs of about the same size, so that a reader merges few and a row is written
//! again a logarithmic number of times.
//!
//! Sizes fall into tiers, each [`FANOUT`] times as large as the one before. When [`FANOUT`] runs of
//! a table lie in one tier, they and what lies between them and after them become one. Small work
//! of many tables goes into one segment. A segment most of whose bytes are no longer in use is emptied
//! by moving the rest.
//!
//! Invariants: 1. only runs that are adjacent in age merge, and the result takes the place of the
//! newest; 2. tombstones go only when the oldest run of the table takes part ([`Job::bottom`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use millrace_types::TableId;

use crate::error::{Error, Result};
use crate::merge::{Input, Merge, MergeOptions};
use crate::run::{Run, Source};
use crate::segment::SegmentWriter;
use crate::store::Store;
use crate::store::commit::{attach, name};
use crate::store::manifest::Edit;
use crate::table::{RunChange, Table};

/// How many runs of a tier become one of the next.
const FANOUT: usize = 8;
/// Runs up to here are in the lowest tier; few bytes in tests, so that small tables have tiers.
const TIER_BYTES: u64 = if cfg!(test) { 8 << 10 } else { 64 << 10 };
/// Work is gathered up to here for one unit; a larger merge is a unit of its own.
const UNIT_BYTES: u64 = 32 << 20;
/// A segment is emptied when less than one part in so many is in use.
const IN_USE_PARTS: u64 = 4;

/// Runs of one table, from old to new, that become one.
struct Job {
    table: Arc<Table>,
    inputs: Vec<Arc<Run>>,
    /// The oldest run is among them.
    bottom: bool,
}

impl Job {
    /// The place of the result: that of the newest input.
    fn sequence(&self) -> u64 {
        self.inputs.last().expect("a job has inputs").sequence
    }
}

impl Store {
    /// Does one unit of compaction, if there is any to do. One runs at a time; a second call waits.
    ///
    /// # Errors
    /// [`crate::Error::Io`] leaves everything as it was;
    /// [`crate::Error::Durability`]: end the process.
    pub fn compact(&self) -> Result<bool> {
        self.compact_within(u64::MAX)
    }

    /// The same, of what needs no more than so many bytes of disk until its inputs go.
    ///
    /// # Errors
    /// As [`Store::compact`].
    pub fn compact_within(&self, most: u64) -> Result<bool> {
        let _one = self.compacting.lock();
        let jobs = self.pick(most);
        if jobs.is_empty() {
            return Ok(false);
        }
        let mut writer = SegmentWriter::new(&self.files, self.next_segment())?;
        let mut sequences = Vec::with_capacity(jobs.len());
        for job in &jobs {
            match self.merge(job, &mut writer) {
                Ok(true) => sequences.push(job.sequence()),
                Ok(false) => {}
                Err(error @ Error::Damaged { .. }) => {
                    self.leave(job.table.id(), &error);
                    return Ok(true);
                }
                Err(error) => return Err(error),
            }
        }
        let written = writer.finish()?.map(|(file, new)| {
            let rows: u64 = new.iter().map(|run| run.index.rows()).sum();
            self.written.compaction_rows.fetch_add(rows, Ordering::Relaxed);
            self.written.compaction_bytes.fetch_add(file.bytes, Ordering::Relaxed);
            attach(&Arc::new(file), &new, &sequences)
        });
        let unused = self.replace(&jobs, &written.unwrap_or_default())?;
        // Files that nobody reads are removed here, outside of the locks.
        drop((unused, jobs));
        Ok(true)
    }

    /// A table with damaged runs is not compacted any more: whoever needs their rows is told so.
    fn leave(&self, table: TableId, error: &Error) {
        tracing::error!(%table, %error, "a table is not compacted any more");
        self.damaged.lock().insert(table);
    }

    /// Commits the results of jobs in the place of their inputs. Gives the runs that went.
    fn replace(&self, jobs: &[Job], results: &[Arc<Run>]) -> Result<Vec<Vec<Arc<Run>>>> {
        let mut manifest = self.manifest.lock();
        let mut edit = Edit::default();
        let mut changes: BTreeMap<TableId, RunChange> = BTreeMap::new();
        let mut kept = Vec::new();
        for job in jobs {
            let table = job.table.id();
            let current = self.table(table).map_or(Vec::new(), |table| table.runs());
            let is_current = |run: &&Arc<Run>| current.iter().any(|c| Arc::ptr_eq(run, c));
            let replaced: Vec<_> =
                job.inputs.iter().filter(is_current).map(|run| run.id()).collect();
            // Dropped or trimmed away meanwhile: then so is the result.
            if replaced.is_empty() {
                continue;
            }
            let of_job =
                |run: &&Arc<Run>| run.layout.table == table && run.sequence == job.sequence();
            let result: Vec<Arc<Run>> = results.iter().filter(of_job).cloned().collect();
            kept.extend(result.iter().cloned());
            edit.remove.extend(replaced.iter().copied());
            let change = changes.entry(table).or_default();
            change.add.extend(result);
            change.remove.extend(replaced);
        }
        edit.add.extend(kept.first().and_then(|run| name(&run.file, &kept)));
        // From here on the manifest may name the file, whatever the commit reports.
        edit.add.iter().for_each(|(_, segment)| segment.file.keep(true));
        let ops = manifest.ops(&edit);
        if !ops.is_empty() {
            self.meta.commit(ops)?;
        }
        manifest.apply(edit);
        let install = |(id, change)| self.table(id).map(|table| table.install(change));
        Ok(changes.into_iter().filter_map(install).collect())
    }

    /// Writes the merged runs of a job; false if no row is left.
    fn merge(&self, job: &Job, writer: &mut SegmentWriter) -> Result<bool> {
        let inputs = job.inputs.iter().map(|run| Input::whole(Source::Disk(Arc::clone(run))));
        let options = MergeOptions {
            keep_gone: !job.bottom,
            trim: job.table.trim(),
            ..MergeOptions::default()
        };
        let layout = &job.table.layout;
        let mut merge = Merge::new(layout, &self.cache, inputs.collect(), options)?;
        let mut any = false;
        writer.begin(layout, None);
        while let Some(piece) = merge.next_piece()? {
            writer.push(piece)?;
            any = true;
        }
        writer.end()?;
        Ok(any)
    }

    /// The work of one unit, which reads at most so many bytes.
    fn pick(&self, most: u64) -> Vec<Job> {
        let sparse = self.sparse_segments();
        let damaged = self.damaged.lock().clone();
        let tables: Vec<Arc<Table>> = self.tables.read().values().cloned().collect();
        let tables = tables.into_iter().filter(|table| !damaged.contains(&table.id()));
        let mut jobs = Vec::new();
        let mut bytes = 0;
        for table in tables {
            let runs = table.runs();
            let mut work: Vec<Job> = Vec::new();
            let start = mergeable(&runs);
            if let Some(start) = start {
                let inputs = runs[start..].to_vec();
                work.push(Job { table: Arc::clone(&table), inputs, bottom: start == 0 });
            }
            for (n, run) in runs[..start.unwrap_or(runs.len())].iter().enumerate() {
                if sparse.contains(&run.file.number) {
                    let inputs = vec![Arc::clone(run)];
                    work.push(Job { table: Arc::clone(&table), inputs, bottom: n == 0 });
                }
            }
            for job in work {
                let more: u64 = job.inputs.iter().map(|run| run.data_bytes).sum();
                let fits = bytes + more <= most;
                if fits && (jobs.is_empty() || bytes + more <= UNIT_BYTES) {
                    bytes += more;
                    jobs.push(job);
                }
            }
        }
        jobs
    }

    /// Segments that keep a large file for little.
    fn sparse_segments(&self) -> BTreeSet<u64> {
        let manifest = self.manifest.lock();
        let sparse = manifest.segments.iter().filter(|(_, segment)| {
            let directory = &segment.file.directory;
            let sizes = segment.runs.iter().map(|run| directory[run.ordinal].data_bytes);
            let all = directory.iter().map(|entry| entry.data_bytes);
            sizes.sum::<u64>() * IN_USE_PARTS < all.sum::<u64>()
        });
        sparse.map(|(number, _)| *number).collect()
    }
}

fn tier(bytes: u64) -> u32 {
    (bytes / TIER_BYTES).checked_ilog(FANOUT as u64).map_or(0, |tier| tier + 1)
}

/// Where the newest runs that should become one begin.
fn mergeable(runs: &[Arc<Run>]) -> Option<usize> {
    let tiers: Vec<u32> = runs.iter().map(|run| tier(run.data_bytes)).collect();
    mergeable_tiers(&tiers)
}

fn mergeable_tiers(tiers: &[u32]) -> Option<usize> {
    let highest = tiers.iter().max().copied()?;
    (0..=highest).find_map(|highest| {
        let start = tiers.iter().rposition(|tier| *tier > highest).map_or(0, |above| above + 1);
        let newest = &tiers[start..];
        let of_tier = newest.iter().filter(|tier| **tier == highest).count();
        (of_tier >= FANOUT || newest.len() >= 2 * FANOUT).then_some(start)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_runs_of_a_tier_merge_and_larger_older_ones_stay() {
        assert_eq!(mergeable_tiers(&[0; 7]), None);
        assert_eq!(mergeable_tiers(&[0; 8]), Some(0));
        assert_eq!(mergeable_tiers(&[2, 1, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(mergeable_tiers(&[2, 1, 0, 0, 0, 0, 0, 0, 0, 0]), Some(2));
        assert_eq!(mergeable_tiers(&[1, 0, 1, 1, 1, 1, 1, 1, 1]), Some(0));
        assert_eq!((tier(TIER_BYTES - 1), tier(TIER_BYTES), tier(TIER_BYTES * 8)), (0, 1, 2));
    }

    /// Bytes written per changed byte over 400 checkpoints, each of which changes a share of the
    /// keys at random. Merged runs hold as many distinct keys as chance gives.
    fn amplification(keys: f64, changed: f64) -> f64 {
        let mut runs: Vec<f64> = Vec::new();
        let mut written = 0.0;
        for _ in 0..400 {
            runs.push(changed);
            written += changed;
            loop {
                let bytes = |rows: &f64| format!("{:.0}", rows * 50.0).parse().unwrap();
                let tiers: Vec<u32> = runs.iter().map(|rows| tier(bytes(rows))).collect();
                let Some(start) = mergeable_tiers(&tiers) else { break };
                let missing: f64 = runs.drain(start..).map(|rows| 1.0 - rows / keys).product();
                runs.push(keys * (1.0 - missing));
                written += keys * (1.0 - missing);
            }
            assert!(runs.len() < 4 * FANOUT, "{runs:?}");
        }
        written / (400.0 * changed)
    }

    #[test]
    fn bytes_written_per_changed_row_are_flat_from_ten_thousand_to_a_million_keys() {
        for share in [0.01, 0.1, 0.5] {
            let small = amplification(1e4, 1e4 * share);
            let large = amplification(1e6, 1e6 * share);
            assert!(large < 2.0 * small && large < 4.0, "{share}: {small:.2} and {large:.2}");
        }
    }
}
