//! A scalar expression over the columns of one input, and what a column of a source is computed by.

use std::fmt;
use std::sync::Arc;

use datafusion::physical_expr::PhysicalExpr;

/// A DataFusion physical expression whose column indexes count the columns of the step's input.
#[derive(Clone)]
pub struct Scalar(pub Arc<dyn PhysicalExpr>);

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What gives a computed column of a source.
#[derive(Clone, Debug)]
pub enum Computed {
    /// An expression over the columns that the connector reads.
    Scalar(Scalar),
    /// `PROCTIME()`: the time at which the row is read.
    ReadTime,
}
