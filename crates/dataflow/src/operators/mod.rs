//! The operators that keep state, one folder each.

mod aggregate;

pub(crate) use aggregate::Aggregate;
