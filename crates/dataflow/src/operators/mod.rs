//! The operators that keep state, one folder each.

mod aggregate;
mod join;
mod sorted;
mod stay;
mod topn;

pub(crate) use aggregate::Aggregate;
pub(crate) use join::Join;
pub(crate) use stay::Stay;
pub(crate) use topn::TopN;
