//! The Postgres protocol: connections, authentication, encoding of rows, pg_catalog.
//!
//! This is the only crate that knows the wire. What a statement means is behind
//! [`session::Session`]. Messages are pgwire's; the loop over a connection is our own, because rows leave as they come, under backpressure and cancellable between any two of them.

mod admission;
mod attempts;
pub mod catalog;
pub mod client;
mod connection;
pub mod copy;
mod decode;
mod encode;
mod endpoint;
mod failure;
mod frontend;
#[cfg(test)]
#[path = "../../sim/src/fuzz/run.rs"]
mod fuzz_run;
mod listener;
pub mod portal;
mod report;
pub mod scram;
pub mod session;
mod settings;
mod startup;
pub mod text_rows;
mod tls;
mod types;
mod wire;

#[cfg(test)]
mod tests;

pub use attempts::{Attempts, TooMany};
pub use listener::{Config, serve};
pub use report::report_of;
pub use settings::default_setting;
pub use startup::attend_stream;
pub use tls::{Certificate, Tls, TlsError};
