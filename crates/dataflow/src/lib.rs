//! Running views: operators as plain structs, and the runtime that drives them.

pub mod chain;
pub mod driver;
mod failure;
pub mod graph;
pub mod ingest;
mod natives;
pub mod operator;
mod operators;
pub mod runtime;
pub mod sink;
pub mod source;
