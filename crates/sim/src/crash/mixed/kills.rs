//! When and how the server ends, and with what it starts again.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use super::super::rounds;
use super::readers::Seen;
use crate::server::Server;
use crate::wait;

/// So little that state leaves memory at each checkpoint, and so much that it never does.
const LIMITS: [&str; 2] = ["64MB", "4GB"];

/// A server that has not started yet.
pub(super) fn server() -> Server {
    Server::new(&[
        "--checkpoint-interval",
        "500ms",
        "--workers",
        "2",
        "--memory-limit",
        LIMITS[1],
        "--kept-rows",
        "100000000",
    ])
    .expecting("memory is above its limit")
    .expecting("a sink cannot go on")
}

/// How many kills in how many seconds.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    rounds: usize,
    seconds: u64,
}

impl Plan {
    /// 8 kills in some 30 seconds, or as the environment says.
    pub(super) fn asked() -> Plan {
        let rounds = rounds(8).max(1);
        let seconds = std::env::var("MILLRACE_CRASH_SECONDS");
        let default = u64::try_from(rounds).expect("not so many") * 4;
        let seconds = seconds
            .map_or(default, |text| text.parse().expect("MILLRACE_CRASH_SECONDS is a number"));
        Plan { rounds, seconds }
    }

    /// Between bursts of readings: about a million in all, however long it takes.
    pub(super) fn pause_ms_max(self) -> u64 {
        (self.seconds / 5).clamp(200, 1_000)
    }

    /// Between changes of a writer: some hundred thousand in all, as the subscriber keeps what it has seen of them.
    pub(super) fn rest_ms_max(self) -> u64 {
        (self.seconds / 18).min(200)
    }
}

/// Kills, one after the other.
pub(super) struct Kills {
    plan: Plan,
    random: StdRng,
    begin_us: i64,
    done: usize,
    /// From the end of a process to the first answer of the next, milliseconds.
    gaps_ms: Vec<i64>,
}

impl Kills {
    pub(super) fn new(seed: u64, plan: Plan) -> Kills {
        let random = StdRng::seed_from_u64(seed ^ 0x6b69_6c6c);
        Kills { plan, random, begin_us: wait::now_micros(), done: 0, gaps_ms: Vec::new() }
    }

    /// Since the beginning.
    pub(super) fn seconds(&self) -> i64 {
        (wait::now_micros() - self.begin_us) / 1_000_000
    }

    /// Waits for its moment, ends the server, starts it again, waits for an answer. False when all is done.
    pub(super) async fn next(&mut self, server: &mut Server, seen: &Seen) -> bool {
        if self.done == self.plan.rounds {
            return false;
        }
        self.pause().await;
        let how = self.end(server).await;
        let ended_us = wait::now_micros();
        let early = self.end_while_starting(server).await;
        let (workers, small) = (self.random.random_range(1..=4), self.random.random_bool(0.5));
        // The last one is asked for everything at once.
        let small = small && self.done + 1 < self.plan.rounds;
        let limit = LIMITS[usize::from(!small)];
        seen.small.store(small, Ordering::SeqCst);
        server.set("--workers", &workers.to_string());
        server.set("--memory-limit", limit);
        server.start().await;
        let before = seen.answers.load(Ordering::SeqCst);
        wait::until("the reader gets an answer after a restart", wait::PATIENCE, || async {
            (seen.answers.load(Ordering::SeqCst) > before).then_some(())
        })
        .await;
        let gap_ms = (wait::now_micros() - ended_us) / 1_000;
        self.gaps_ms.push(gap_ms);
        self.done += 1;
        println!(
            "{} s: kill {} of {}, {how}, {early} while starting; {workers} workers, {limit}: an answer after {gap_ms} ms; {}",
            self.seconds(),
            self.done,
            self.plan.rounds,
            line(seen)
        );
        true
    }

    /// Until a random moment of this round's share of the time; at least a little, if it is late.
    async fn pause(&mut self) {
        let share = self.plan.seconds * 1_000_000 / u64::try_from(self.plan.rounds).expect("few");
        let round = u64::try_from(self.done).expect("few");
        let at = self.begin_us.unsigned_abs()
            + round * share
            + self.random.random_range(0..share.max(1));
        let least = Duration::from_millis(self.random.random_range(50..600));
        let left = at.saturating_sub(wait::now_micros().unsigned_abs());
        sleep(Duration::from_micros(left).max(least)).await;
    }

    async fn end(&mut self, server: &mut Server) -> &'static str {
        match self.random.random_range(0..10) {
            0 => {
                server.stop().await;
                "stopped in good order"
            }
            1..5 => {
                until_segment(server.data_dir()).await;
                sleep(Duration::from_micros(self.random.random_range(0..30_000))).await;
                server.kill().await;
                "in a checkpoint"
            }
            _ => {
                server.kill().await;
                "at any moment"
            }
        }
    }

    async fn end_while_starting(&mut self, server: &mut Server) -> usize {
        let mut count = 0;
        while self.random.random_bool(0.3) {
            server.spawn().expect("the program is there");
            sleep(Duration::from_millis(self.random.random_range(0..1_000))).await;
            server.kill().await;
            count += 1;
        }
        count
    }

    /// The last lines.
    pub(super) fn summary(&mut self, seen: &Seen) {
        self.gaps_ms.sort_unstable();
        let at = |part: usize| self.gaps_ms.get(self.gaps_ms.len() * part / 100).copied();
        let (middle, most) = (at(50).unwrap_or(0), self.gaps_ms.last().copied().unwrap_or(0));
        println!(
            "{} kills in {} s; from the end to an answer {middle} ms (middle), {most} ms (longest); {}",
            self.done,
            self.seconds(),
            line(seen)
        );
    }
}

fn line(seen: &Seen) -> String {
    let at = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::SeqCst);
    format!(
        "{} readings, {} changes acknowledged, {} views compared ({} too large), {} answers, {} audits, {} views came \
         and went, {} backups",
        at(&seen.readings),
        at(&seen.acknowledged),
        at(&seen.compared),
        at(&seen.refused),
        at(&seen.answers),
        at(&seen.audits),
        at(&seen.churned),
        at(&seen.backups)
    )
}

/// Waits until a checkpoint, or a compaction, has begun to write a file.
async fn until_segment(data_dir: &Path) {
    let last = || {
        let files = std::fs::read_dir(data_dir.join("segments")).ok()?;
        files.filter_map(|file| Some(file.ok()?.file_name())).max()
    };
    let before = last();
    for _ in 0..5_000 {
        if last() > before {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
}
