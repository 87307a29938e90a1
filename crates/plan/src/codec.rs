//! Plans as bytes for the catalog: a restart runs what was planned at creation.
//!
//! The bytes are a protobuf message of a version and the plan. The version is read first, so that a
//! plan of a newer Millrace is refused by name and never half understood.
//!
//! Invariants: 1. what [`encode_plan`] gives, [`decode_plan`] takes with the same functions
//! registered (nesting is checked while encoding). 2. [`decode_plan`] never panics on any bytes, and
//! no index of what it returns points outside its schema.

mod decode;
mod encode;
mod expression;
mod proto;
#[cfg(test)]
mod tests;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use prost::{DecodeError, Message};

use crate::ViewPlan;

/// The version that [`encode_plan`] writes.
pub const PLAN_VERSION: u32 = 2;

/// Why a plan cannot be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Written by a newer Millrace.
    #[error("the plan has version {found}, this Millrace reads up to {PLAN_VERSION}")]
    Newer {
        /// The plan's version.
        found: u32,
    },
    /// The bytes are no plan.
    #[error("the stored plan is damaged: {0}")]
    Damaged(String),
    /// Messages are nested too deeply to be read again.
    #[error("it is nested too deeply")]
    TooDeep,
    /// DataFusion cannot store or read an expression or a type, for example of a function that is
    /// not registered.
    #[error("{0}")]
    DataFusion(#[from] DataFusionError),
    /// As above.
    #[error("{0}")]
    Arrow(#[from] ArrowError),
}

impl From<DecodeError> for PlanError {
    fn from(error: DecodeError) -> PlanError {
        PlanError::Damaged(error.to_string())
    }
}

fn damaged(reason: impl Into<String>) -> PlanError {
    PlanError::Damaged(reason.into())
}

/// The stored form of a plan.
///
/// # Errors
/// An expression or type that DataFusion cannot write.
pub fn encode_plan(plan: &ViewPlan) -> Result<Vec<u8>, PlanError> {
    let plan = encode::view(plan)?.encode_to_vec();
    proto::ViewPlan::decode(plan.as_slice()).map_err(|_| PlanError::TooDeep)?;
    Ok(proto::Stored { version: PLAN_VERSION, plan }.encode_to_vec())
}

/// The plan of its stored form. Functions are resolved by name in `functions`.
///
/// # Errors
/// See [`PlanError`].
pub fn decode_plan(bytes: &[u8], functions: &TaskContext) -> Result<ViewPlan, PlanError> {
    let stored = proto::Stored::decode(bytes)?;
    match stored.version {
        // Those of version 1 have nothing that stands apart.
        1 | PLAN_VERSION => {
            let plan = proto::ViewPlan::decode(stored.plan.as_slice())?;
            decode::Decoder { functions }.view(plan)
        }
        0 => Err(damaged("it has no version")),
        found => Err(PlanError::Newer { found }),
    }
}
