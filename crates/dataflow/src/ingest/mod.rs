//! Feeds: reading a source into a running dataflow, cut into epochs.
//!
//! A [`Feed`] has one reader thread per worker that has partitions. Each reader polls its
//! partitions, computes the computed columns and hands chunks to the [`Gate`], which tags them with
//! the open time and passes them to the worker. The coordinator cuts the gate: what came before
//! belongs to the epoch that it then seals.

mod decorate;
mod feed;
mod gate;

pub use decorate::{Decorated, Decorator};
pub use feed::{Feed, FeedSpec, FeedStatus, OnError};
pub use gate::{BadMessage, Cut, Gate, GateSpec, Logged, LoggedEnd, PartitionCut, Sink};
