//! The one place that asks the machine for the time.
//!
//! The clock starts at the wall clock and then moves with the monotonic one, so a jump of the wall
//! clock while the server runs moves no watermark and no `now()`.

#![allow(clippy::disallowed_methods, reason = "this module owns the clocks")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time as microseconds since 1970, never falling.
#[derive(Clone, Debug)]
pub struct Clock {
    wall: i64,
    start: Instant,
}

impl Clock {
    /// A clock that starts now, but not before `floor` (the last time that was ever logged).
    pub fn start(floor: i64) -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { wall: micros(wall).max(floor), start: Instant::now() }
    }

    /// Microseconds since 1970.
    pub fn now(&self) -> i64 {
        self.wall.saturating_add(micros(self.start.elapsed()))
    }

    /// The same as a shared function.
    pub fn shared(&self) -> Arc<dyn Fn() -> i64 + Send + Sync> {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}

/// A duration in whole microseconds.
pub fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
