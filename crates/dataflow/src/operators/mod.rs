//! The operators that keep state, one folder each.

mod aggregate;
mod join;

pub(crate) use aggregate::Aggregate;
pub(crate) use join::Join;
