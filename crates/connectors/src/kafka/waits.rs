//! librdkafka's waits, by the monotonic clock.
//!
//! It waits with C11's `cnd_timedwait`, whose deadline is a time of the wall clock. Where somebody sets that
//! clock back by hours while a thread waits for some milliseconds, glibc's own would wait for hours: a
//! silent source could not be dropped, its statistics and reconnects would stand still. The linker takes
//! this function for it instead, which reckons the deadline at once as one of the monotonic clock.
//!
//! `sim: wall_clock` shows it on a server.

#![cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
#![allow(unsafe_code, reason = "it stands in for a function of the C library")]

use std::ffi::{c_int, c_void};

/// `struct timespec`.
#[repr(C)]
struct Time {
    seconds: i64,
    nanos: i64,
}

const WALL: c_int = 0;
const MONOTONIC: c_int = 1;
const SECOND: i64 = 1_000_000_000;

/// What C11 calls them, as glibc numbers them.
const SUCCESS: c_int = 0;
const ERROR: c_int = 2;
const TIMED_OUT: c_int = 4;
const ETIMEDOUT: c_int = 110;

unsafe extern "C" {
    fn clock_gettime(clock: c_int, now: *mut Time) -> c_int;
    fn pthread_cond_clockwait(
        cond: *mut c_void,
        mutex: *mut c_void,
        clock: c_int,
        until: *const Time,
    ) -> c_int;
}

impl Time {
    fn now(clock: c_int) -> Time {
        let mut now = Time { seconds: 0, nanos: 0 };
        // SAFETY: writes one struct of this shape; both clocks exist.
        unsafe { clock_gettime(clock, &raw mut now) };
        now
    }

    /// Nanoseconds from another time to this one.
    fn since(&self, other: &Time) -> i64 {
        let seconds = self.seconds.saturating_sub(other.seconds);
        seconds.saturating_mul(SECOND).saturating_add(self.nanos - other.nanos)
    }

    fn after(&self, nanos: i64) -> Time {
        let nanos = self.nanos.saturating_add(nanos);
        Time {
            seconds: self.seconds.saturating_add(nanos.div_euclid(SECOND)),
            nanos: nanos.rem_euclid(SECOND),
        }
    }
}

/// Waits for a condition until a time of the wall clock, as that clock stands now.
///
/// # Safety
/// As for C's: the mutex is held, `until` can be read. glibc's `cnd_t` and `mtx_t` are its pthread types by
/// another name.
#[unsafe(no_mangle)]
unsafe extern "C" fn cnd_timedwait(
    cond: *mut c_void,
    mutex: *mut c_void,
    until: *const Time,
) -> c_int {
    // SAFETY: the caller's time; the condition and the mutex are the caller's, and passed on.
    let code = unsafe {
        let until = Time::now(MONOTONIC).after((*until).since(&Time::now(WALL)));
        pthread_cond_clockwait(cond, mutex, MONOTONIC, &raw const until)
    };
    match code {
        0 => SUCCESS,
        ETIMEDOUT => TIMED_OUT,
        _ => ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_added_up_over_whole_seconds() {
        let begin = Time { seconds: 10, nanos: 900_000_000 };
        let end = begin.after(200_000_000);
        assert_eq!((end.seconds, end.nanos), (11, 100_000_000));
        assert_eq!(end.since(&begin), 200_000_000);
        let before = begin.after(-1_000_000_000);
        assert_eq!((before.seconds, before.nanos), (9, 900_000_000));
    }
}
