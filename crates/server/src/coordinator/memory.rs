//! What is done when memory is short: epochs come one at a time, checkpoints early, and at each of them operators
//! let go of their state; above the limit readers wait.
//!
//! Above the limit readers are stopped until a checkpoint has written what it can; then they go on
//! for one look, because state that has to be in memory would otherwise stop them for ever. So the
//! server slows down, and goes on.

use std::sync::Arc;

use millrace_dataflow::ingest::Gate;
use millrace_types::Epoch;

use super::Coordinator;
use crate::memory;

/// The longest time that readers wait for a checkpoint, microseconds.
const WAIT_US: i64 = 5_000_000;
/// The shortest time that they read between two waits, microseconds.
const READ_US: i64 = 500_000;

/// The shortest time between two looks for memory that malloc keeps, where the last one was worth it, and where it
/// was not, microseconds.
const TIDY_US: [i64; 2] = [500_000, 5_000_000];

/// What a checkpoint takes for a moment, bytes: what it hands over is in memory twice.
const ROOM: usize = 768 << 20;

/// Memory is short above this. A quarter of the limit is room for what comes before state has left, and
/// up to three eighths of a small one: what changes from checkpoint to checkpoint does not shrink with it.
fn short_above(limit: usize) -> usize {
    limit - (limit / 4).max((limit / 8 * 3).min(ROOM))
}

/// How it stands with memory.
#[derive(Default)]
pub(super) struct Shortage {
    /// While readers wait: since when, and the last checkpoint then.
    waiting: Option<(i64, Epoch)>,
    resumed_at: i64,
    told: bool,
    /// When malloc is asked again at the earliest.
    tidy_at: i64,
}

impl Shortage {
    /// True while readers wait for memory.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }
}

impl Coordinator {
    /// Looks at what the process uses. Close to the limit malloc gives back what it has kept of what was freed: with ten
    /// million keys at 512 MB that was 190 MB of 490.
    pub(super) fn look_at_memory(&mut self, now: i64) {
        self.resident = memory::resident();
        let limit = self.shared.config.memory_limit;
        if self.resident <= limit - limit / 8 || now < self.shortage.tidy_at {
            return;
        }
        let before = self.resident;
        memory::give_back();
        self.resident = memory::resident();
        let [soon, late] = TIDY_US;
        let worth_it = before.saturating_sub(self.resident) > limit / 16;
        self.shortage.tidy_at = now + if worth_it { soon } else { late };
    }

    /// True when memory is short: one epoch at a time, and checkpoints as soon as they can be.
    pub(super) fn under_pressure(&self) -> bool {
        self.staged > self.shared.config.memory_limit / 3 || self.is_short()
    }

    /// True when state should leave memory that is stored: operators let go of it when they have handed over.
    pub(super) fn is_short(&self) -> bool {
        self.resident > short_above(self.shared.config.memory_limit)
    }

    /// Stops readers above the limit and lets them go on again.
    pub(super) fn gate_readers(&mut self, now: i64) {
        if self.stopping {
            return;
        }
        let checkpoint = self.shared.store.checkpoint();
        if let Some((since, before)) = self.shortage.waiting {
            if checkpoint > before || now.saturating_sub(since) >= WAIT_US {
                self.shortage.waiting = None;
                self.shortage.resumed_at = now;
                self.pause(false);
            }
            return;
        }
        if self.resident <= self.shared.config.memory_limit {
            if std::mem::take(&mut self.shortage.told) {
                tracing::info!("memory is below its limit again");
            }
            return;
        }
        // Without views there is nothing that a checkpoint could write.
        if self.views.is_empty()
            || self.recovering()
            || now.saturating_sub(self.shortage.resumed_at) < READ_US
        {
            return;
        }
        if !std::mem::replace(&mut self.shortage.told, true) {
            let (resident, limit) = (self.resident >> 20, self.shared.config.memory_limit >> 20);
            tracing::warn!(resident, limit, "memory is above its limit (MB), readers wait");
        }
        self.shortage.waiting = Some((now, checkpoint));
        self.pause(true);
        self.hydrations.values_mut().for_each(super::hydrate::Hydration::want_place);
        self.checkpoints.want();
    }

    /// Stops readers, or lets them go on unless the disk is full.
    pub(super) fn pause(&self, paused: bool) {
        let paused = paused || self.disk.is_full();
        let live = self.sources.values().map(|source| &source.feed.gate);
        let private = self.hydrations.values().flat_map(super::hydrate::Hydration::gates);
        let gates: Vec<Arc<Gate>> = live.chain(private).cloned().collect();
        gates.iter().for_each(|gate| gate.pause(paused));
    }
}

#[cfg(test)]
mod tests {
    use super::short_above;

    #[test]
    fn a_small_limit_leaves_more_room_than_a_large_one() {
        assert_eq!(short_above(512 << 20), 320 << 20);
        assert_eq!(short_above(2 << 30), (2 << 30) - (768 << 20));
        assert_eq!(short_above(16 << 30), 12 << 30);
    }
}
