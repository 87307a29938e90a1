//! The steps in which a view is filled: how large they are, and when they end.
//!
//! Steps are as long as they take: a step delays other views by its own length, and checkpoints.

use millrace_dataflow::runtime::Command;
use millrace_types::{ObjectId, Ts};

use super::Hydration;
use crate::clock::micros;
use crate::coordinator::Coordinator;

const STEPS_IN_FLIGHT: usize = 3;
/// Rows of a step at most while other views run: their epochs wait for the end of a step.
pub(super) const STEP_BYTES: usize = 8 << 20;
/// Rows of a step at most while no other view runs: each group is then touched seldom.
const STEP_BYTES_ALONE: usize = 64 << 20;
/// Content of a view that is being filled above which it is written; no step ends above twice that.
const CONTENT_BYTES_MAX: usize = 128 << 20;
/// Rows of the first step; how long it takes decides on those that follow.
pub(super) const STEP_BYTES_FIRST: usize = 1 << 20;
/// Rows of a step at least.
const STEP_BYTES_MIN: usize = 128 << 10;
/// How long a step should take, microseconds: other views wait for it, and so does a checkpoint.
const STEP_US: i64 = 100_000;
/// How long it may take while no other view runs.
pub(super) const STEP_US_ALONE: i64 = 1_000_000;

/// A step that has ended.
pub(super) struct Step {
    pub(super) ts: Ts,
    /// What had been read at its end.
    pub(super) read: i64,
    /// The clock at its end.
    pub(super) at: i64,
}

impl Hydration {
    /// Takes in which steps the view has completed, and lets the next ones be as long as they should.
    pub(super) fn complete(&mut self, upper: Ts, now: i64) {
        let wanted = self.step_wanted();
        while let Some(step) = self.under_way.pop_front_if(|step| step.ts < upper) {
            let took = now - self.completed_at.max(step.at);
            (self.completed, self.completed_at, self.took) = (step.read, now, took);
            self.step_bytes = match took {
                _ if took > wanted * 2 => (self.step_bytes / 2).max(STEP_BYTES_MIN),
                _ if took < wanted / 2 => (self.step_bytes * 2).min(self.step_bytes_max),
                _ => self.step_bytes,
            };
            self.gates().for_each(|gate| gate.set_bytes_max(self.step_bytes));
        }
    }

    /// How long a step should take, microseconds.
    pub(super) fn step_wanted(&self) -> i64 {
        if self.step_bytes_max > STEP_BYTES { STEP_US_ALONE } else { STEP_US }
    }
}

impl Coordinator {
    /// Large steps delay other views, and rows that are copied into many windows need small ones.
    pub(super) fn step_bytes_max(&self, view: ObjectId) -> usize {
        let alone = self.views.keys().all(|other| *other == view || self.kept.is(*other));
        let copies = self.views.get(&view).is_some_and(|found| found.graph.copies_rows());
        if !alone || copies {
            return STEP_BYTES;
        }
        (self.shared.config.memory_limit / 32).clamp(STEP_BYTES, STEP_BYTES_ALONE)
    }

    /// Ends the open step if it holds something and the view keeps up.
    pub(super) fn step(&mut self, view: ObjectId, hydration: &mut Hydration, now: i64) {
        if hydration.waits_for_place() {
            return;
        }
        let changed = hydration.feeds.iter().any(|f| f.feed.gate.peek_changed());
        let full = hydration.feeds.iter().any(|f| f.feed.gate.is_full());
        let rested = hydration.step_bytes_max == STEP_BYTES
            && now - hydration.last_step_at >= micros(self.shared.config.epoch_interval);
        let room = self.content_bytes(view) <= 2 * self.content_max();
        if changed && (full || rested) && hydration.under_way.len() < STEPS_IN_FLIGHT && room {
            hydration.last_step_at = now;
            self.move_to(view, hydration, hydration.ts.next());
        }
    }

    /// What is in memory of the view's content.
    pub(super) fn content_bytes(&self, view: ObjectId) -> usize {
        self.views.get(&view).map_or(0, |view| view.tables.content.bytes())
    }

    pub(super) fn content_max(&self) -> usize {
        self.staged_max().min(CONTENT_BYTES_MAX)
    }

    /// Ends the open step and opens another one at a later time.
    pub(super) fn move_to(&mut self, view: ObjectId, hydration: &mut Hydration, ts: Ts) {
        assert!(ts > hydration.ts, "a hydration went back from {} to {ts}", hydration.ts);
        let ended = std::mem::replace(&mut hydration.ts, ts);
        let at = self.shared.clock.now();
        for private in &mut hydration.feeds {
            let cut = private.feed.gate.cut(at, |_| (ts, None));
            private.at = cut.partitions;
            if let Some(source) = private.source().filter(|id| hydration.first_reads.contains(id)) {
                self.kept.take_read(source, cut.bad);
            }
        }
        hydration.under_way.push_back(Step { ts: ended, read: hydration.ended(), at });
        if self.content_bytes(view) > self.content_max() {
            hydration.place.want_now();
        }
        self.runtime.broadcast(&Command::Advance { view, upto: ts });
    }
}
