//! What a connector implements to write the changes of a view.
//!
//! A sink is written by one thread, outside of the dataflow: first the rows that are there, then the
//! changes of whole epochs. What is written becomes visible with [`Writer::commit`], together with the
//! epoch that it leads to, or not at all.
//!
//! Invariants: 1. [`Writer::position`] is the epoch of the last commit that readers see, whoever made
//! it; after [`Sink::open`] nobody else can commit any more.

use std::time::Duration;

use arrow::array::RecordBatch;
use millrace_types::Epoch;

/// Why a sink cannot go on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SinkError {
    /// The other end cannot be reached now; try again later.
    #[error("{0}")]
    Unreachable(String),
    /// The other end does not take it: a person must act, then it goes on.
    #[error("{0}")]
    Refused(String),
    /// The sink is described wrongly.
    #[error("{0}")]
    Invalid(String),
}

/// Rows that come and go, in the schema of what is followed.
pub struct Changes<'a> {
    /// The rows, by epoch, within it by their key, and of one key those that go first.
    pub rows: &'a RecordBatch,
    /// +1 comes, -1 goes.
    pub weights: &'a [i64],
    /// Their epoch.
    pub epoch: Epoch,
    /// They were there before the sink.
    pub snapshot: bool,
}

/// One sink, described.
pub trait Sink: Send + Sync {
    /// Whether it can be written to. Waits at most `timeout`.
    ///
    /// # Errors
    /// See [`SinkError`].
    fn check(&self, timeout: Duration) -> Result<(), SinkError>;

    /// Begins to write; whoever did so before cannot commit any more.
    ///
    /// # Errors
    /// See [`SinkError`].
    fn open(&self) -> Result<Box<dyn Writer>, SinkError>;
}

/// Writes one sink. After an error it is dropped, and what it had not committed never shows.
pub trait Writer: Send {
    /// The epoch of the last commit; None before the first.
    fn position(&self) -> Option<Epoch>;

    /// Writes changes; how many messages that made.
    ///
    /// # Errors
    /// See [`SinkError`].
    fn write(&mut self, changes: &Changes<'_>) -> Result<u64, SinkError>;

    /// Everything written so far becomes visible, and with it that all is there up to an epoch; how
    /// many messages were left to write.
    ///
    /// # Errors
    /// See [`SinkError`].
    fn commit(&mut self, epoch: Epoch) -> Result<u64, SinkError>;
}
