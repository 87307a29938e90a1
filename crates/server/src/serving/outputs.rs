//! The columns of a view's side tables: rows turned away and rows that failed.
//!
//! `dataflow::runtime` publishes them in these columns; it owns the schemas, and this module gives
//! them the names under which the server stores them.

pub use millrace_dataflow::runtime::{error_schema, late_schema};
