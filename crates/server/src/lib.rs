//! The server: coordinator, sessions, serving, configuration, and what the `millrace` binary runs.
//!
//! [`coordinator`] is the one thread that opens and seals epochs and orders commits; [`session`] is
//! what a client talks to; [`serving`] are the tables that its queries read. They meet in
//! [`shared::Shared`].

pub mod access;
mod apart;
pub mod clock;
pub mod config;
pub mod coordinator;
pub mod demo;
pub mod error;
pub mod http;
mod http_login;
pub mod locks;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod offline;
pub mod private;
pub mod queries;
mod sequences;
pub mod serve;
pub mod serving;
pub mod session;
pub mod sessions;
pub mod shared;
pub mod shell;
mod sinks;
mod sources;
mod stops;
