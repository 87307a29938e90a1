//! Clients that ask for too much, are too many, too slow, or vanish: each keeps to itself what it does, and
//! leaves nothing behind.
//!
//! `MILLRACE_LOAD_CONNECTIONS=10000` has more short connections than a check of every change has time for.

mod many;
mod process;
mod raw;
mod refused;
mod runaway;
mod slow;
mod vanish;
