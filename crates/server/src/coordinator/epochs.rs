//! Sealing and completing epochs.
//!
//! A seal is due when rows have come and the interval has passed, when a gate is full, when a timer
//! of an idle source moves its watermark, when a view has changes by the clock or by a watermark that the
//! last seal has moved, or when a commit waits for a checkpoint. The interval
//! stretches so that the seal's own cost stays under 5% of the time.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_dataflow::runtime::Command;
use millrace_storage::{EpochRecord, PartitionRecord, SourceRecord};
use millrace_types::{Epoch, ObjectId};

use super::{
    Coordinator, IN_FLIGHT_MAX, InFlight, OLD_IN_FLIGHT_MAX, SMALL_AGE_MAX_US, SMALL_BYTES_MAX,
    SMALL_IN_FLIGHT_MAX, View, watermark,
};
use crate::clock::micros;
use crate::error::ServerError;
use crate::shared::EpochStatus;

const EPOCHS_SHOWN: usize = 1_000;
/// How often an idle source's watermark is moved by the clock, microseconds.
const CLOCK_STEP_US: i64 = 1_000_000;

impl Coordinator {
    /// Microseconds between seals: as set, or twenty times what a seal costs.
    pub(super) fn interval(&self) -> i64 {
        let set = micros(self.shared.config.epoch_interval);
        set.max(self.checkpoints.seal_cost_us().saturating_mul(20))
    }

    pub(super) fn seal_due(&self, now: i64) -> bool {
        if self.in_flight_full() || self.recovering() {
            return false;
        }
        if self.seal_wanted() || !self.changes.is_empty() || !self.flushes.is_empty() {
            return true;
        }
        if self.disk.is_full() {
            return false;
        }
        let since = now.saturating_sub(self.last_seal_at);
        let full = self.sources.values().any(|source| source.feed.gate.is_full());
        let changed = self.sources.values().any(|source| source.feed.gate.peek_changed());
        let rested = self.shared.config.epoch_interval.min(std::time::Duration::from_millis(20));
        (full && since >= micros(rested) / 4)
            || (since >= self.interval() && self.turn_due(now))
            || (changed && since >= self.interval())
            || (since >= self.interval() && self.kept_due(now))
            || (since >= CLOCK_STEP_US && self.clock_moves(now))
    }

    /// True if no epoch may be sealed before one is complete: what waits for the workers is bounded.
    pub(super) fn in_flight_full(&self) -> bool {
        let bytes: usize = self.in_flight.iter().map(|epoch| epoch.bytes).sum();
        let limit = match self.under_pressure() {
            true => 1,
            false if bytes > SMALL_BYTES_MAX => IN_FLIGHT_MAX,
            false if self.oldest_in_flight() > SMALL_AGE_MAX_US => OLD_IN_FLIGHT_MAX,
            false => SMALL_IN_FLIGHT_MAX,
        };
        self.in_flight.len() >= limit
    }

    /// How long the oldest sealed epoch has waited for the views, microseconds.
    fn oldest_in_flight(&self) -> i64 {
        let oldest = self.in_flight.front();
        oldest.map_or(0, |epoch| self.shared.clock.now().saturating_sub(epoch.sealed_at))
    }

    /// True if a view has changes at this time, though no rows have come.
    fn turn_due(&self, now: i64) -> bool {
        let closes = |view: &View| self.moved && view.graph.follows_watermarks();
        let mut live = self.views.values().filter(|view| view.live_from.is_some());
        live.any(|view| closes(view) || view.turn().is_some_and(|at| at <= now))
    }

    /// The time at which the next view has changes, if no rows come.
    pub(super) fn next_turn(&self, now: i64) -> Option<i64> {
        if self.turn_due(now) {
            return Some(now);
        }
        let live = self.views.values().filter(|view| view.live_from.is_some());
        live.filter_map(View::turn).min()
    }

    /// True if the clock alone would move a watermark now.
    fn clock_moves(&self, now: i64) -> bool {
        self.sources.values().any(|source| {
            source.rule.is_some()
                && source.watermark_after(&source.feed.gate.peek(), now) > source.watermark
        })
    }

    /// True if no rows have come and a watermark has moved just now: what the clock alone moves is moved in
    /// steps, or each seal would be the reason for the next one.
    fn watermarks_rest(&self, now: i64) -> bool {
        let quiet = !self.sources.values().any(|source| source.feed.gate.peek_changed());
        quiet && now.saturating_sub(self.moved_at) < CLOCK_STEP_US
    }

    /// Seals the open epoch: cuts the gates, logs, tells the workers.
    pub(super) fn seal(&mut self, now: i64) -> Result<(), ServerError> {
        let epoch = self.open;
        let now = now.max(self.last_now);
        self.count_staged();
        let hand_over = self.checkpoint_due(now);
        let next = epoch.next();
        self.joins_before_cut(epoch);
        let (changes, changed) = self.logged_changes();
        let rests = self.watermarks_rest(now) && changes.is_empty();
        let (mut bytes, mut moved) = (changes.iter().map(|change| change.rows.len()).sum(), false);
        let mut record = EpochRecord { epoch, now, sources: Vec::new(), changes };
        let (mut watermarks, mut bad) = (BTreeMap::new(), Vec::new());
        for (id, source) in &mut self.sources {
            let (rule, opened, before) = (source.rule, source.opened, source.watermark);
            let mut after = before;
            let mut cut = source.feed.gate.cut(now, |cut| {
                if rule.is_some() && (cut.changed || !rests) {
                    after = source.watermark_after(cut, now);
                }
                (next.ts(), after)
            });
            source.watermark = after;
            bad.extend(cut.bad.drain(..).map(|message| (*id, message)));
            moved |= after > before;
            if let Some(after) = after {
                watermarks.insert(*id, after);
            }
            source.sealed.clone_from(&cut.partitions);
            bytes += cut.bytes;
            record.sources.push(source_record(*id, after, &cut, |partition| {
                rule.is_some_and(|rule| watermark::is_idle(partition, rule, opened))
            }));
        }
        let (logged, kept) = self.kept_changes(epoch, now, bad)?;
        record.changes.extend(logged);
        let begun = self.shared.clock.now();
        self.shared.store.append_epoch(&record)?;
        let cost = self.shared.clock.now() - begun;
        // The content has them from here on.
        record.changes.clear();
        self.send_changes(epoch, changed)?;
        kept.into_iter().for_each(|(table, rows)| self.send_rows(table, epoch.ts(), rows));
        for reply in self.flushes.drain(..) {
            // A client that has gone needs no answer.
            drop(reply.send(Ok(epoch)));
        }
        self.read_gained();
        self.tails_after_cut(&record);
        self.checkpoints.sealed(epoch, record, cost, hand_over, now);
        let watermarks = Arc::new(watermarks);
        self.runtime.broadcast(&Command::Seal { epoch, watermarks, now, hand_over });
        self.open = next;
        self.last_seal_at = now;
        self.moved = moved;
        if moved {
            self.moved_at = now;
        }
        self.last_now = now;
        self.in_flight.push_back(InFlight { epoch, sealed_at: now, bytes });
        self.post_epoch(EpochStatus {
            epoch,
            sealed_at: now,
            seal_us: cost,
            complete_us: None,
            bytes,
            checkpoint: hand_over,
        });
        if hand_over {
            self.expect_hand_over(epoch, now);
        }
        Ok(())
    }

    /// Shows an epoch that has been sealed.
    fn post_epoch(&self, status: EpochStatus) {
        let mut board = self.shared.board.lock();
        board.figures.seals.add(status.seal_us);
        board.epochs.push_back(status);
        while board.epochs.len() > EPOCHS_SHOWN {
            board.epochs.pop_front();
        }
    }

    /// Takes epochs that all live views have completed out of flight.
    pub(super) fn complete(&mut self, now: i64) {
        let upper = self.live_upper();
        while let Some(InFlight { epoch, sealed_at, .. }) = self.in_flight.front() {
            let (epoch, sealed_at) = (*epoch, *sealed_at);
            if upper.is_some_and(|upper| upper <= epoch) {
                return;
            }
            self.in_flight.pop_front();
            let mut board = self.shared.board.lock();
            board.figures.epochs.add(now - sealed_at);
            if let Some(status) = board.epochs.iter_mut().rev().find(|s| s.epoch == epoch) {
                status.complete_us = Some(now - sealed_at);
            }
        }
    }

    /// The least upper over live views; None without any.
    pub(super) fn live_upper(&self) -> Option<Epoch> {
        let live = self.views.values().filter(|view| view.live_from.is_some());
        live.map(|view| view.upper().epoch()).min()
    }

    /// Shows sessions how far the views are.
    pub(super) fn post_uppers(&mut self) {
        let mut board = self.shared.board.lock();
        let mut moved = false;
        for (id, view) in &self.views {
            if let Some(status) = board.views.get_mut(id)
                && status.upper < view.upper()
            {
                status.upper = view.upper();
                moved = true;
            }
        }
        drop(board);
        if moved {
            self.shared.changed();
        }
    }
}

fn source_record(
    source: ObjectId,
    watermark: Option<i64>,
    cut: &millrace_dataflow::ingest::Cut,
    idle: impl Fn(&millrace_dataflow::ingest::PartitionCut) -> bool,
) -> SourceRecord {
    let partitions = cut
        .partitions
        .iter()
        .map(|(id, partition)| PartitionRecord {
            partition: *id,
            end: partition.end,
            max_event_time: partition.max_event_time,
            idle: idle(partition),
            rows: partition.rows,
            malformed: partition.malformed,
            future: partition.future,
        })
        .collect();
    SourceRecord { source, watermark, read_at: cut.read_at, partitions }
}
