//! Statements that take long to read and plan: what else waits on their thread goes on meanwhile.
//!
//! Sessions share some threads, and so do statements. Parsing and planning a statement of some thousand tokens may
//! take a second, in which its thread would serve nobody; tokio gives what else waits there to another one.

use std::future::{Future, poll_fn};
use std::pin::pin;

use tokio::task::block_in_place;

/// Shorter texts are planned within milliseconds, and most statements are.
const LONG_TEXT_BYTES: usize = 2_000;

/// True if a statement of this text may take long to plan.
pub(crate) fn is_long(text: &str) -> bool {
    text.len() >= LONG_TEXT_BYTES
}

/// Does some work, apart from what else waits on this thread if it is `long`.
pub(crate) async fn apart<F: Future>(long: bool, work: F) -> F::Output {
    if !long {
        return work.await;
    }
    let mut work = pin!(work);
    poll_fn(|context| block_in_place(|| work.as_mut().poll(context))).await
}
