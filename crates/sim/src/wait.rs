//! Waiting with a deadline, and the wall clock: the only module of `sim` that knows time.
//!
//! System tests never sleep for a guessed time; they ask again until the answer is there, and fail
//! with what they waited for when the deadline passes.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Long enough for a loaded machine with two cores; nothing waits this long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Asks `probe` until it answers.
///
/// # Panics
/// When `limit` passes, with `what`.
pub async fn until<T, F, Fut>(what: &str, limit: Duration, mut probe: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Microseconds since 1970.
#[allow(clippy::disallowed_methods, reason = "this is the module that owns the clock")]
pub fn now_micros() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("the clock is after 1970");
    i64::try_from(since.as_micros()).expect("microseconds fit until the year 294,000")
}

/// A seed: from `MILLRACE_SEED` if a failure has to be repeated, else from the clock.
pub fn seed() -> u64 {
    match std::env::var("MILLRACE_SEED") {
        Ok(text) => text.parse().expect("MILLRACE_SEED is a number"),
        Err(_) => now_micros().unsigned_abs() % 1_000_000,
    }
}
