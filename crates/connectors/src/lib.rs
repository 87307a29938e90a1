//! Connectors: how rows get from Kafka, or from nowhere, into the dataflow.
//!
//! [`connect`] turns the options of a CREATE SOURCE into a
//! [`Connector`](millrace_dataflow::source::Connector). Only this crate knows Kafka; its readers
//! decode on the reading thread, so that what leaves is columnar.

mod connect;
pub mod datagen;
mod decode;
mod envelope;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
#[path = "../../sim/src/fuzz/run.rs"]
mod fuzz_run;
mod include;
mod json;
pub mod kafka;
mod nexmark;
mod options;
mod random;
mod rows;

pub use connect::{Definition, NAMES, connect, fixed_columns, infer, known_options, sink};
pub use decode::{Encoding, Format};
pub use envelope::{SinkFormat, SinkShape};
pub use include::{Include, IncludeKind};
pub use json::{JsonDecoder, UnknownType};
