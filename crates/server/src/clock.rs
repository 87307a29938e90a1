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
        Clock::started(micros(wall), floor)
    }

    /// A clock that starts when the wall clock, which is not asked again, shows `wall`.
    fn started(wall: i64, floor: i64) -> Clock {
        Clock { wall: wall.max(floor), start: Instant::now() }
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

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;

    #[test]
    fn a_wall_clock_that_went_back_while_the_server_was_down_does_not_take_it_back() {
        let logged = 50 * DAY;
        let now = Clock::started(logged - DAY, logged).now();
        assert!((logged..logged + DAY).contains(&now), "{now}");
    }

    #[test]
    fn while_it_runs_it_moves_by_monotonic_time_alone() {
        let clock = Clock::started(50 * DAY, 0);
        // The wall clock of this machine is decades ahead: asked again, it would show.
        let before = clock.now();
        let again = clock.clone().shared()();
        assert!(before <= again && again < 51 * DAY, "{before} {again}");
    }
}
