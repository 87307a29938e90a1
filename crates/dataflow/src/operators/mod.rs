//! The operators that keep state, one folder each.

mod aggregate;
mod away;
mod join;
mod nearest;
mod over;
mod pieces;
mod session;
mod slots;
mod sorted;
mod stay;
mod topn;
mod upsert;

pub(crate) use aggregate::Aggregate;
pub(crate) use join::Join;
pub(crate) use nearest::Nearest;
pub(crate) use over::Over;
pub(crate) use session::Session;
pub(crate) use stay::Stay;
pub(crate) use topn::TopN;
pub(crate) use upsert::Upsert;
