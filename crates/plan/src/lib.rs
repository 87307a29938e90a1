//! The plan of a maintained view: what `sql` produces and `dataflow` runs, and nothing else between them.
//!
//! A [`ViewPlan`] is a tree of [`Node`]s. Scalar expressions are DataFusion's physical expressions
//! over the columns of the node's input. Plans are stored in the catalog in a versioned form, so
//! that a restart runs what was planned at creation.

mod aggregate;
mod codec;
mod join;
mod nearest;
mod node;
mod over;
mod scalar;
mod session;
mod sliding;
mod stay;
mod topn;
mod upsert;

pub use aggregate::{Aggregate, Call, Class, Function, Hop, Order, Rebuild};
pub use codec::{PLAN_VERSION, PlanError, decode_plan, encode_plan};
pub use join::{Join, JoinKind, JoinPair};
pub use nearest::{Nearest, NearestSide};
pub use node::{
    Chain, LateCheck, Leaf, LeafKind, Meta, Node, Step, Union, Upstream, Values, ViewPlan,
    Watermark,
};
pub use over::{Over, OverCall};
pub use scalar::{Computed, Scalar};
pub use session::Session;
pub use sliding::sliding;
pub use stay::{Clock, Stay};
pub use topn::TopN;
pub use upsert::Upsert;
