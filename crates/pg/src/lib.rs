//! The Postgres protocol: connections, authentication, encoding of rows, pg_catalog.
//!
//! This is the only crate that knows the wire. What a statement means is behind
//! [`session::Session`]. Messages and SCRAM are pgwire's; the loop over a connection is our own,
//! because rows leave as they come, under backpressure and cancellable between any two of them.

pub mod catalog;
pub mod client;
mod connection;
mod decode;
mod encode;
mod failure;
mod frontend;
mod listener;
mod report;
pub mod session;
mod settings;
mod startup;
mod types;
mod wire;

#[cfg(test)]
mod tests;

pub use listener::{Config, Error, Tls, serve};
pub use report::report_of;
pub use settings::default_setting;
