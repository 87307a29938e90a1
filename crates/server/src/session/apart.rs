//! Statements that take long to read and plan: other sessions go on meanwhile.
//!
//! Sessions share some threads. Parsing and planning a statement of some thousand tokens may take a second, in which its
//! thread would serve nobody; tokio gives the thread's other sessions to another one.

use std::future::{Future, poll_fn};
use std::pin::pin;

use tokio::task::block_in_place;

/// Shorter texts are planned within milliseconds, and most statements are.
const LONG_TEXT_BYTES: usize = 2_000;

/// Does the work of a statement with this text.
pub(super) async fn apart<F: Future>(text: &str, work: F) -> F::Output {
    if text.len() < LONG_TEXT_BYTES {
        return work.await;
    }
    let mut work = pin!(work);
    poll_fn(|context| block_in_place(|| work.as_mut().poll(context))).await
}
