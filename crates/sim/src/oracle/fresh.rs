//! Cases of seeds that nobody ran before, for a time.
//!
//! Failures are collected, so that one long run finds more than one. A case that does not end would
//! say nothing: a thread watches, and ends the process with the seed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::coverage::Coverage;
use super::run;

/// A case takes milliseconds; one that takes this long does not end.
const CASE_MAX: Duration = Duration::from_secs(120);
/// How often it is said how far the run is.
const REPORT: Duration = Duration::from_secs(10);

#[allow(clippy::disallowed_methods, reason = "how long to go on is asked of the clock")]
fn now() -> Instant {
    Instant::now()
}

/// How far a run is, for the thread that watches it.
#[derive(Default)]
struct Progress {
    seed: AtomicU64,
    over: AtomicBool,
}

impl Progress {
    /// Ends the process if a seed stands for too long.
    #[allow(clippy::disallowed_methods, reason = "a watch looks at the clock now and then")]
    fn watch(&self) {
        let mut last = (self.seed.load(Ordering::Relaxed), now());
        while !self.over.load(Ordering::Relaxed) {
            std::thread::park_timeout(Duration::from_millis(200));
            let seed = self.seed.load(Ordering::Relaxed);
            if seed != last.0 {
                last = (seed, now());
            }
            if last.1.elapsed() > CASE_MAX {
                eprintln!("MILLRACE_SEED={seed} does not end");
                std::process::abort();
            }
        }
    }
}

/// Runs cases for `seconds`, from seed `from` or from a random one.
///
/// # Panics
/// At the end, with the seeds of the cases that failed.
pub(super) fn run_for(seconds: u64, from: Option<u64>, coverage: &mut Coverage) {
    let progress = Progress::default();
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| progress.watch());
        let failed = run_cases(seconds, from, coverage, &progress);
        progress.over.store(true, Ordering::Relaxed);
        watch.thread().unpark();
        assert!(failed.is_empty(), "failed: {failed:?}");
    });
}

fn run_cases(
    seconds: u64,
    from: Option<u64>,
    coverage: &mut Coverage,
    progress: &Progress,
) -> Vec<u64> {
    let until = now() + Duration::from_secs(seconds);
    let first = from.unwrap_or_else(|| rand::random_range(0..u64::MAX / 2));
    let (mut pairs, mut failed, mut reported) = (0, Vec::new(), now());
    let report = |next: u64, pairs: usize, failed: &[u64]| {
        eprintln!(
            "{pairs} pairs equal in {} cases from seed {first}, {} failed; \
             MILLRACE_ORACLE_FROM={next} goes on",
            next - first,
            failed.len(),
        );
    };
    for seed in first.. {
        if now() >= until {
            report(seed, pairs, &failed);
            break;
        }
        if reported.elapsed() >= REPORT {
            report(seed, pairs, &failed);
            reported = now();
        }
        progress.seed.store(seed, Ordering::Relaxed);
        match catch_unwind(AssertUnwindSafe(|| run(seed, coverage))) {
            Ok(queries) => pairs += queries,
            Err(_) => failed.push(seed),
        }
    }
    failed
}
