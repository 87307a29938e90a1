//! What every layer of Millrace speaks about: epochs, deltas, keys, SQL types and reports.
//!
//! Nothing here does I/O, waits or knows a clock; each module holds one idea.

mod concealed;
mod delta;
mod epoch;
mod hidden;
mod ids;
pub mod input;
pub mod json;
pub mod numeric;
mod order;
mod pattern;
pub mod quote;
mod report;
mod sentence;
mod sqltype;
mod vnode;
mod wire;

pub use concealed::Concealed;
pub use delta::{Delta, DeltaError, concat_deltas};
pub use epoch::{Epoch, Ts};
pub use hidden::{DELETED_COLUMN, OFFSET_COLUMN, PARTITION_COLUMN, is_hidden};
pub use ids::{ObjectId, PartitionId, TableId, WorkerId};
pub use order::last_of_each_key;
pub use pattern::of_pattern;
pub use report::{About, Report, SqlState};
pub use sentence::of_sentence;
pub use sqltype::{NUMERIC_PRECISION, NUMERIC_SCALE, SqlType, TIME_ZONE, timestamptz};
pub use vnode::{VNODES, VNode, hash_rows, vnodes, worker_of};
pub use wire::{decode_delta, encode_delta};

/// The stack of each thread that plans or runs statements, bytes. Plans are trees that are walked by
/// recursion; how deep they may be follows from this (the parser's limits). Only what is used of it is
/// in memory.
pub const STACK_BYTES: usize = 256 << 20;
