//! How far a hydration is, in checkpoints: its operators hand over beside those of live views, and
//! what it has read by then is stored with what they hold.
//!
//! A view over other views takes part in each checkpoint C. What it has read of them is of epoch C
//! then, as they are themselves; a place of an earlier epoch would lack the changes in between, which
//! the log holds no more. So where it cannot take part, its place is forgotten, and it would begin
//! anew. A view over sources alone takes part now and then: its place holds offsets, and state that is
//! written in the middle of a hydration is written in vain unless there is a crash.
//!
//! A checkpoint waits for a step under way, but not for long: a view that joins everything with
//! everything works at one step for minutes. It leaves the checkpoint then, and begins no other step
//! until it has taken part in one.
//!
//! Invariants: 1. what was read before the cut and nothing else is below the mark (`take_due_place`:
//! gates are cut, the place is taken from these cuts, and the time moves behind the mark).

use millrace_dataflow::runtime::Command;
use millrace_storage::{LeafRecord, Op, PartitionRecord, PlaceRecord, SourceRecord};
use millrace_types::{Epoch, ObjectId};

use super::feeds::{Private, add};
use super::resume::{forget_place, job_key, place_key};
use super::{Hydration, Phase};
use crate::clock::micros;
use crate::coordinator::Coordinator;
use crate::error::ServerError;

/// How long a checkpoint waits for one step, microseconds: without it the view would begin anew after
/// a crash.
const PATIENCE_US: i64 = 10_000_000;
/// A checkpoint that somebody waits for waits so many times as long as a step should take.
const PATIENCE: i64 = 4;
/// Each checkpoint that has not waited for long enough doubles that, so many times at most: or a view
/// whose steps are slow, but not that slow, would never have a place.
const DOUBLINGS_MAX: u32 = 3;

/// Changes of the catalog, and what each view had read.
type Places = (Vec<Op>, Vec<(ObjectId, i64)>);

/// When a hydration's place is taken.
pub(super) struct Taking {
    /// The checkpoint that waits for it.
    due: Option<Epoch>,
    /// What goes with a checkpoint, and what had been read by then.
    taken: Option<(Epoch, PlaceRecord, i64)>,
    /// The clock when the last one was asked for.
    at: i64,
    /// Content in memory should be written.
    wanted: bool,
    /// A checkpoint has gone on without it since.
    missed: bool,
    /// How many have waited for it in vain since.
    left: u32,
}

impl Taking {
    pub(super) fn new(now: i64) -> Taking {
        Taking { due: None, taken: None, at: now, wanted: false, missed: false, left: 0 }
    }

    /// True while a checkpoint waits for it.
    pub(super) fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// True from there until the checkpoint is written.
    pub(super) fn is_pending(&self) -> bool {
        self.due.is_some() || self.taken.is_some()
    }

    /// Asks for a checkpoint, to free memory.
    pub(super) fn want_now(&mut self) {
        self.wanted = true;
    }

    /// A checkpoint goes on without it.
    fn miss(&mut self) {
        (self.due, self.taken, self.missed) = (None, None, true);
    }
}

impl Hydration {
    /// True if it has worked at one step for longer than a checkpoint waits, which others may wait for.
    fn is_slow(&self, now: i64, awaited: bool) -> bool {
        let begun = |step: &super::Step| self.completed_at.max(step.at);
        let longest = match awaited {
            true => (PATIENCE * self.step_wanted()) << self.place.left.min(DOUBLINGS_MAX),
            false => PATIENCE_US,
        };
        self.under_way.front().is_some_and(|step| now - begun(step) > longest)
    }

    /// True if it can take part in a checkpoint that is marked now or later.
    fn has_places(&self) -> bool {
        matches!(self.phase, Phase::History { .. } | Phase::Join)
    }

    /// True if the next step has to wait until it has taken part in a checkpoint.
    pub(super) fn waits_for_place(&self) -> bool {
        self.place.missed && self.has_places()
    }

    /// How far it is, with what its gates had counted when they were last cut.
    fn place(&self) -> PlaceRecord {
        let mut read = self.read.clone();
        for private in &self.feeds {
            let Some(source) = private.source() else { continue };
            let read = read.entry(source).or_default();
            private.at.iter().for_each(|(id, cut)| add(read.entry(*id).or_default(), cut));
        }
        let sources = read.into_iter().map(|(source, partitions)| SourceRecord {
            source,
            watermark: None,
            read_at: None,
            partitions: partitions
                .into_iter()
                .map(|(partition, cut)| PartitionRecord {
                    partition,
                    end: cut.end,
                    max_event_time: cut.max_event_time,
                    idle: false,
                    rows: cut.rows,
                    malformed: cut.malformed,
                    future: cut.future,
                })
                .collect(),
        });
        let leaf = |(leaf, below): (&usize, &super::Below)| LeafRecord {
            leaf: u32::try_from(*leaf).expect("leaves are few"),
            rows: below.rows,
            reach: below.reach.clone(),
        };
        PlaceRecord {
            sources: sources.collect(),
            first_reads: self.first_reads.iter().copied().collect(),
            leaves: self.below.iter().map(leaf).collect(),
        }
    }
}

impl Coordinator {
    /// How long a hydration goes without a place, microseconds.
    fn place_interval(&self, hydration: &Hydration) -> i64 {
        let every = micros(self.shared.config.checkpoint_interval);
        if hydration.below.is_empty() { every.saturating_mul(2) } else { every }
    }

    /// Asks for a checkpoint if a place is wanted.
    pub(super) fn want_place(&mut self, hydration: &Hydration, now: i64) {
        let taking = &hydration.place;
        let late = now.saturating_sub(taking.at) >= self.place_interval(hydration);
        let wanted = taking.wanted || taking.missed || late;
        let awaited = self.checkpoints.is_awaited();
        if wanted && hydration.has_places() && !hydration.is_slow(now, awaited) {
            self.checkpoints.want();
        }
    }

    /// The checkpoint that is marked goes on without the views that work at one step for long.
    pub(in crate::coordinator) fn leave_slow(&mut self, now: i64) {
        let awaited = self.checkpoints.is_awaited();
        for (view, hydration) in &mut self.hydrations {
            if !hydration.is_slow(now, awaited) || !self.checkpoints.waits_for(*view) {
                continue;
            }
            hydration.place.miss();
            hydration.place.left += 1;
            self.checkpoints.leave(*view);
        }
    }

    /// A checkpoint is marked: the hydrations that take part in it.
    pub(in crate::coordinator) fn places_due(&mut self, epoch: Epoch, now: i64) -> Vec<ObjectId> {
        let intervals: Vec<i64> =
            self.hydrations.values().map(|hydration| self.place_interval(hydration)).collect();
        let (mut due, awaited) = (Vec::new(), self.checkpoints.is_awaited());
        for ((view, hydration), interval) in self.hydrations.iter_mut().zip(intervals) {
            // Behind the seal at which it joined come rows that it has not let in.
            let joins = matches!(hydration.phase, Phase::Tail { epoch: joined } if joined == epoch);
            let can = joins || hydration.has_places();
            let taking = &hydration.place;
            let wanted = taking.wanted || taking.missed || now - taking.at >= interval;
            if !can || (hydration.below.is_empty() && (!wanted || self.stopping)) {
                continue;
            }
            if hydration.is_slow(now, awaited) {
                hydration.place.miss();
                continue;
            }
            let taking = &mut hydration.place;
            (taking.due, taking.at) = (Some(epoch), now);
            (taking.wanted, taking.missed) = (false, false);
            due.push(*view);
        }
        due
    }

    /// Takes the place that a checkpoint waits for, if the views below have completed its epoch.
    pub(super) fn take_due_place(&mut self, view: ObjectId, hydration: &mut Hydration) {
        let Some(epoch) = hydration.place.due else { return };
        if !self.completed_below(hydration, epoch) {
            return;
        }
        hydration.place.due = None;
        let leaves: Vec<usize> = hydration.feeds.iter().filter_map(Private::leaf).collect();
        for leaf in leaves {
            self.close_snapshot(view, hydration, leaf);
        }
        self.runtime.broadcast(&Command::Mark { view, at: epoch.ts() });
        self.move_to(view, hydration, epoch.ts().next());
        hydration.place.taken = Some((epoch, hydration.place(), hydration.ended()));
    }

    /// The changes of the catalog that go with a checkpoint: the places of the hydrations. With what
    /// has been read, by view.
    pub(in crate::coordinator) fn place_ops(
        &mut self,
        epoch: Epoch,
    ) -> Result<Places, ServerError> {
        let (mut ops, mut kept) = (Vec::new(), Vec::new());
        for (view, hydration) in &mut self.hydrations {
            match hydration.place.taken.take_if(|(of, ..)| *of == epoch) {
                Some((_, place, read)) => {
                    hydration.place.left = 0;
                    let object = hydration.object.encode();
                    let object = object.map_err(|e| ServerError::Catalog(e.to_string()))?;
                    kept.push((*view, read));
                    // Its tables have got their ids since it was asked for.
                    ops.push(Op::Put(job_key(*view), object));
                    ops.push(Op::Put(place_key(*view), place.encode()?));
                }
                None if hydration.below.is_empty() => {}
                None => ops.push(forget_place(*view)),
            }
        }
        if !ops.is_empty() {
            ops.push(self.ids_op());
        }
        Ok((ops, kept))
    }

    /// A checkpoint has not been written: they take part in the next one before they go on.
    pub(in crate::coordinator) fn places_missed(&mut self, kept: Vec<(ObjectId, i64)>) {
        for (view, _) in kept {
            if let Some(hydration) = self.hydrations.get_mut(&view) {
                hydration.place.miss();
            }
        }
    }

    /// What the hydrations had read by a checkpoint is durable.
    pub(in crate::coordinator) fn places_kept(&mut self, kept: Vec<(ObjectId, i64)>) {
        for (view, read) in kept {
            if let Some(hydration) = self.hydrations.get_mut(&view) {
                hydration.kept = read;
            }
        }
    }
}
