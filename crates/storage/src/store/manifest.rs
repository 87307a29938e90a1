//! The manifest: which runs of which segments are in use, in memory as in the metadata store.
//!
//! Changes are planned as an [`Edit`], written with the batch of the commit, and applied here when
//! the batch is durable.
//!
//! Invariants: 1. memory holds what the last durable batch says ([`Manifest::apply`] after it); 2. a
//! segment without a run in use is not named.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_types::{Epoch, TableId};

use crate::codec::{Decoded, Reader, Writer};
use crate::error::{Error, Result};
use crate::files::Files;
use crate::keyspace;
use crate::meta::{MetaStore, Op};
use crate::segment::SegmentFile;

const VERSION: u8 = 1;
/// The file that errors about stored metadata name.
pub(super) const META_FILE: &str = "metadata store";

/// A run in use: its place in the segment's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NamedRun {
    pub(super) ordinal: usize,
    pub(super) table: TableId,
    pub(super) sequence: u64,
}

/// A segment in use.
pub(super) struct NamedSegment {
    pub(super) file: Arc<SegmentFile>,
    pub(super) runs: Vec<NamedRun>,
}

/// What is durable, besides catalog and log.
pub(super) struct Manifest {
    pub(super) checkpoint: Epoch,
    pub(super) segments: BTreeMap<u64, NamedSegment>,
    pub(super) trims: BTreeMap<TableId, i64>,
    pub(super) next_sequence: u64,
}

/// A change of the manifest.
#[derive(Default)]
pub(super) struct Edit {
    pub(super) checkpoint: Option<Epoch>,
    pub(super) add: Vec<(u64, NamedSegment)>,
    /// Segment and place in it.
    pub(super) remove: BTreeSet<(u64, usize)>,
    pub(super) trims: BTreeMap<TableId, Option<i64>>,
}

impl Manifest {
    pub(super) fn load(meta: &dyn MetaStore, files: &Arc<dyn Files>) -> Result<Manifest> {
        let damaged = |reason| Error::damaged(META_FILE, 0, reason);
        let checkpoint = match meta.get(keyspace::CHECKPOINT)? {
            Some(value) => {
                let number = decode_number(&value).map_err(damaged)?;
                let epoch = Epoch(number.cast_unsigned());
                if epoch > Epoch::LAST {
                    return Err(damaged("the checkpoint is no epoch"));
                }
                epoch
            }
            None => Epoch(0),
        };
        let (mut segments, mut trims, mut next_sequence) = (BTreeMap::new(), BTreeMap::new(), 1);
        let (from, to) = keyspace::all(keyspace::SEGMENT);
        for (key, value) in meta.scan(&from, &to)? {
            let number = keyspace::number(&key).ok_or_else(|| damaged("bad key"))?;
            let runs = decode_runs(&value).map_err(damaged)?;
            let file = SegmentFile::open(files, number)?;
            for run in &runs {
                next_sequence = next_sequence.max(run.sequence + 1);
                if file.directory.get(run.ordinal).is_none_or(|entry| entry.table != run.table) {
                    return Err(file.damaged(0, "the directory lacks a run that is in use"));
                }
            }
            segments.insert(number, NamedSegment { file: Arc::new(file), runs });
        }
        let (from, to) = keyspace::all(keyspace::TRIM);
        for (key, value) in meta.scan(&from, &to)? {
            let table = keyspace::number(&key).ok_or_else(|| damaged("bad key"))?;
            trims.insert(TableId(table), decode_number(&value).map_err(damaged)?);
        }
        Ok(Manifest { checkpoint, segments, trims, next_sequence })
    }

    /// The runs of a table in use.
    pub(super) fn runs_of(
        &self,
        table: TableId,
    ) -> impl Iterator<Item = (&NamedSegment, &NamedRun)> {
        let named = self.segments.values();
        let runs = named.flat_map(|segment| segment.runs.iter().map(move |run| (segment, run)));
        runs.filter(move |(_, run)| run.table == table)
    }

    /// Marks every run and mark of some tables for removal.
    pub(super) fn forget(&self, edit: &mut Edit, is_gone: impl Fn(TableId) -> bool) {
        for (number, segment) in &self.segments {
            let gone = segment.runs.iter().filter(|run| is_gone(run.table));
            edit.remove.extend(gone.map(|run| (*number, run.ordinal)));
        }
        let gone = self.trims.keys().filter(|table| is_gone(**table));
        edit.trims.extend(gone.map(|table| (*table, None)));
    }

    /// The changes of the metadata store that make an edit durable.
    pub(super) fn ops(&self, edit: &Edit) -> Vec<Op> {
        let mut ops = Vec::new();
        if let Some(epoch) = edit.checkpoint {
            let value = encode_number(epoch.0.cast_signed());
            ops.push(Op::Put(keyspace::CHECKPOINT.to_vec(), value));
            ops.push(keyspace::cut_epochs(epoch));
        }
        let touched: BTreeSet<u64> = edit.remove.iter().map(|(number, _)| *number).collect();
        for number in touched {
            let Some(segment) = self.segments.get(&number) else { continue };
            let kept = |run: &&NamedRun| !edit.remove.contains(&(number, run.ordinal));
            let kept: Vec<NamedRun> = segment.runs.iter().filter(kept).copied().collect();
            let key = keyspace::segment(number);
            ops.push(match kept.is_empty() {
                true => Op::Delete(key),
                false => Op::Put(key, encode_runs(&kept)),
            });
        }
        for (number, segment) in &edit.add {
            ops.push(Op::Put(keyspace::segment(*number), encode_runs(&segment.runs)));
        }
        for (table, mark) in &edit.trims {
            let key = keyspace::trim(*table);
            ops.push(match mark {
                Some(mark) => Op::Put(key, encode_number(*mark)),
                None => Op::Delete(key),
            });
        }
        ops
    }

    /// Takes over an edit that is durable. Segments that are no longer named are let go.
    pub(super) fn apply(&mut self, edit: Edit) {
        self.checkpoint = edit.checkpoint.unwrap_or(self.checkpoint);
        for (number, ordinal) in edit.remove {
            let Some(segment) = self.segments.get_mut(&number) else { continue };
            segment.runs.retain(|run| run.ordinal != ordinal);
            if segment.runs.is_empty() {
                segment.file.keep(false);
                self.segments.remove(&number);
            }
        }
        self.segments.extend(edit.add);
        for (table, mark) in edit.trims {
            match mark {
                Some(mark) => self.trims.insert(table, mark),
                None => self.trims.remove(&table),
            };
        }
    }
}

fn encode_number(number: i64) -> Vec<u8> {
    let mut writer = Writer::new(VERSION);
    writer.i64(number);
    writer.finish()
}

pub(super) fn decode_number(bytes: &[u8]) -> Decoded<i64> {
    let mut reader = Reader::open(bytes, VERSION)?;
    let number = reader.i64()?;
    reader.finish()?;
    Ok(number)
}

fn encode_runs(runs: &[NamedRun]) -> Vec<u8> {
    let mut writer = Writer::new(VERSION);
    writer.u64(runs.len() as u64);
    for run in runs {
        writer.u64(run.ordinal as u64);
        writer.u64(run.table.0);
        writer.u64(run.sequence);
    }
    writer.finish()
}

pub(super) fn decode_runs(bytes: &[u8]) -> Decoded<Vec<NamedRun>> {
    let mut reader = Reader::open(bytes, VERSION)?;
    let count = reader.count()?;
    let mut runs = Vec::with_capacity(count);
    for _ in 0..count {
        let ordinal = usize::try_from(reader.u64()?).map_err(|_| "number is too large")?;
        let (table, sequence) = (TableId(reader.u64()?), reader.u64()?);
        runs.push(NamedRun { ordinal, table, sequence });
    }
    reader.finish()?;
    Ok(runs)
}
