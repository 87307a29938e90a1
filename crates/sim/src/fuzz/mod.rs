//! Fuzzers: inputs that are nearly right, made from seeds, against what reads them.
//!
//! | what | where |
//! |---|---|
//! | SQL in this process: parser, binder, planner | [`sql`] |
//! | SQL over the wire, by a server that must stay | [`server`] |
//! | its edges: sources, sinks, COPY, roles | [`edges`] |
//! | a data directory's files and records | [`storage`] |
//! | the wire protocol | `crates/pg/src/tests/fuzz.rs` |
//! | messages of sources | `crates/connectors/src/fuzz.rs` |
//!
//! They are tests like others, of some seconds each; `scripts/fuzz` runs them for longer.

mod edges;
mod run;
mod server;
mod sql;
mod statements;
mod storage;
