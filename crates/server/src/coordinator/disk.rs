//! What is done when the disk is full: readers wait, statements that make data grow are refused, and what is
//! complete is read on; when there is room, everything goes on by itself.
//!
//! What is left of the disk is spent in steps. Below the reserve nothing new is taken. Below half of it no
//! segment is written and no epoch is sealed, below a quarter nothing is committed at all. So the epoch log,
//! whose failed write ends the process, does not meet a full disk.
//!
//! A checkpoint that finds no room is given up: its rows stay in memory and its epochs in the log, and the next
//! one takes them along. Until then the disk counts as full, whatever is free.
//!
//! Invariants: 1. no epoch is logged into the lower half of the reserve ([`Coordinator::may_seal`]).

use std::sync::Arc;

use millrace_storage::Room;
use millrace_types::Report;

use super::Coordinator;
use super::ddl::Request;
use crate::shared::{DiskStatus, Shared};

/// How often the disk is looked at while nothing is written, microseconds.
const LOOK_US: i64 = 250_000;
/// How long after a checkpoint that found no room the next one is tried, microseconds; each time twice as
/// long, up to the second.
const RETRY_US: i64 = 2_000_000;
const RETRY_US_MAX: i64 = 60_000_000;

/// The reserve, if the options say nothing: so many parts of the disk, within these bounds.
const RESERVE_PARTS: u64 = 20;
const RESERVE_MIN: u64 = 16 << 20;
const RESERVE_MAX: u64 = 256 << 20;

/// A change is logged, may be moved once by the metadata store, and is written by a checkpoint.
const WRITTEN_TIMES: u64 = 3;

/// How it stands with the disk.
pub(super) struct Disk {
    /// None where there is no directory.
    room: Option<Arc<Room>>,
    reserve: u64,
    /// Free bytes at the last look.
    free: u64,
    looked_at: i64,
    /// Bytes of what was let in since.
    let_in: u64,
    full: bool,
    owed: Option<Owed>,
}

/// A checkpoint that has found no room.
struct Owed {
    retry_at: i64,
    wait_us: i64,
}

impl Disk {
    pub(super) fn start(shared: &Shared) -> Disk {
        let room = shared.store.room().cloned();
        let set = shared.config.disk_reserve.map(|bytes| bytes as u64);
        let whole = room.as_ref().and_then(|room| room.total().ok());
        let reserve = set.unwrap_or_else(|| usual_reserve(whole.unwrap_or(u64::MAX)));
        if let Some(room) = &room {
            room.set_reserve(reserve);
        }
        let (free, looked_at) = (u64::MAX, i64::MIN);
        Disk { room, reserve, free, looked_at, let_in: 0, full: false, owed: None }
    }

    /// True while nothing is taken that makes data grow.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    fn look(&mut self, now: i64) {
        // A file system that does not say is taken to be as before.
        if let Some(Ok(free)) = self.room.as_ref().map(|room| room.free()) {
            self.free = free;
        }
        (self.looked_at, self.let_in) = (now, 0);
        self.full = self.owed.is_some() || is_below(self.free, self.reserve, self.full);
    }

    /// True if there is room for so many bytes more above the reserve.
    fn has_room_for(&self, bytes: u64) -> bool {
        let wanted = self.reserve.saturating_add(self.let_in).saturating_add(bytes);
        !self.full && (self.reserve == 0 || self.free >= wanted)
    }

    fn status(&self) -> DiskStatus {
        DiskStatus { free: self.free, reserve: self.reserve, full: self.full }
    }
}

/// What is below the reserve stays so until a quarter more is free.
fn is_below(free: u64, reserve: u64, was: bool) -> bool {
    free < if was { reserve.saturating_add(reserve / 4) } else { reserve }
}

fn usual_reserve(whole: u64) -> u64 {
    (whole / RESERVE_PARTS).clamp(RESERVE_MIN, RESERVE_MAX)
}

impl Coordinator {
    /// Looks at the disk if it is time.
    pub(super) fn watch_disk(&mut self, now: i64) {
        if now.saturating_sub(self.disk.looked_at) >= LOOK_US {
            self.look_at_disk(now);
        }
    }

    fn look_at_disk(&mut self, now: i64) {
        let was = self.disk.full;
        self.disk.look(now);
        let status = self.disk.status();
        let DiskStatus { free, reserve, full } = status;
        self.shared.board.lock().disk = status;
        match (was, full) {
            (false, true) => {
                tracing::warn!(free, reserve, "the disk is full, writes wait and reads go on");
            }
            (true, false) => {
                tracing::info!(free, reserve, "the disk has room again, writes go on");
                self.pause(self.shortage.is_waiting());
            }
            _ => {}
        }
        // Those that have come since, too. What the log holds is read again without being written.
        if full && !self.recovering() {
            self.pause(true);
        }
    }

    fn no_room(&self) -> Report {
        self.disk.status().report(&self.shared.config.data_dir)
    }

    /// Why a change of so many bytes is not taken; counts it if it is.
    pub(super) fn refuses_change(&mut self, bytes: usize) -> Option<Report> {
        let bytes = (bytes as u64).saturating_mul(WRITTEN_TIMES);
        if !self.disk.has_room_for(bytes) {
            self.look_at_disk(self.shared.clock.now());
        }
        if !self.disk.has_room_for(bytes) {
            return Some(self.no_room());
        }
        self.disk.let_in = self.disk.let_in.saturating_add(bytes);
        None
    }

    /// Why a request is not taken. What may make room is, and what says who may come in.
    pub(super) fn refuses_request(&mut self, request: &Request) -> Option<Report> {
        self.look_at_disk(self.shared.clock.now());
        let refused = match request {
            Request::Create(..)
            | Request::CreateView(..)
            | Request::CreateTableAs(..)
            | Request::CreateMaterializedView(..)
            | Request::Alter(..)
            | Request::Constrain(..) => self.disk.full,
            Request::MayDrop(..)
            | Request::Drop(..)
            | Request::CancelJob(..)
            | Request::Access(..) => self.disk.free < self.disk.reserve / 4,
            // Its rows are there already.
            Request::Filled(..) | Request::Follow(..) => false,
        };
        refused.then(|| self.no_room())
    }

    /// Why a FLUSH cannot be done now.
    pub(super) fn refuses_flush(&self) -> Option<Report> {
        self.disk.full.then(|| self.no_room())
    }

    /// True if an epoch may be logged. Who waits for it is told if it may not.
    pub(super) fn may_seal(&mut self, now: i64) -> bool {
        self.look_at_disk(now);
        if self.disk.free >= self.disk.reserve / 2 {
            return true;
        }
        // Clients that have gone need no answer.
        let report = self.no_room();
        for change in self.changes.drain(..) {
            change.refuse(report.clone());
        }
        for reply in self.flushes.drain(..) {
            drop(reply.send(Err(report.clone())));
        }
        if self.stopping {
            self.checkpoints.want_no_more();
        }
        false
    }

    /// True if a checkpoint may be begun: the last one that found no room was long ago.
    pub(super) fn may_checkpoint(&self) -> bool {
        let now = self.shared.clock.now();
        self.stopping || self.disk.owed.as_ref().is_none_or(|owed| now >= owed.retry_at)
    }

    /// A checkpoint has found no room.
    pub(super) fn owe_checkpoint(&mut self) {
        let now = self.shared.clock.now();
        let before = self.disk.owed.as_ref().map(|owed| owed.wait_us.saturating_mul(2));
        let wait_us = before.unwrap_or(RETRY_US).min(RETRY_US_MAX);
        self.disk.owed = Some(Owed { retry_at: now.saturating_add(wait_us), wait_us });
        self.look_at_disk(now);
    }

    /// A checkpoint has been written.
    pub(super) fn owe_nothing(&mut self) {
        if self.disk.owed.take().is_some() {
            self.look_at_disk(self.shared.clock.now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_room_again_when_a_quarter_more_than_the_reserve_is_free() {
        assert!(!is_below(100, 100, false) && is_below(99, 100, false));
        assert!(is_below(124, 100, true) && !is_below(125, 100, true));
        assert!(
            !is_below(0, 0, false) && !is_below(0, 0, true),
            "without a reserve it is never full"
        );
    }

    #[test]
    fn the_reserve_is_a_part_of_the_disk_within_bounds() {
        assert_eq!(usual_reserve(1 << 20), RESERVE_MIN);
        assert_eq!(usual_reserve(2 << 30), (2 << 30) / 20);
        assert_eq!(usual_reserve(1 << 40), RESERVE_MAX);
    }
}
