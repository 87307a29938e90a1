//! Expressions as bytes: DataFusion's messages, of which deep ones are cut.
//!
//! Protobuf reads messages that stand in each other a hundred deep, and a sum of fifty columns is deeper.
//! So what is [`DEPTH`] levels down goes as bytes of its own into the message above it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema};
use datafusion::common::{Result, internal_err};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr_common::physical_expr::proto_decode::PhysicalExprDecodeCtx;
use datafusion::physical_expr_common::physical_expr::proto_encode::PhysicalExprEncodeCtx;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use datafusion_proto::physical_plan::from_proto::parse_physical_expr;
use datafusion_proto::physical_plan::to_proto::serialize_physical_expr;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use datafusion_proto::protobuf::PhysicalExprNode;
use prost::Message;

use super::PlanError;
use crate::Scalar;

/// Levels of one message; a level is up to three messages in each other.
const DEPTH: usize = 24;

pub(super) fn encode(scalar: &Scalar) -> Result<Vec<u8>, PlanError> {
    let bytes = bytes(&scalar.0)?;
    // The reader of the catalog must not be the one to find out.
    PhysicalExprNode::decode(bytes.as_slice()).map_err(|_| PlanError::TooDeep)?;
    Ok(bytes)
}

/// The expression over some columns.
pub(super) fn decode(
    bytes: &[u8],
    functions: &TaskContext,
    input: &Schema,
) -> Result<Scalar, PlanError> {
    let message = PhysicalExprNode::decode(bytes)?;
    Ok(Scalar(parse_physical_expr(&message, functions, input, &Codec)?))
}

fn bytes(expr: &Arc<dyn PhysicalExpr>) -> Result<Vec<u8>> {
    Ok(serialize_physical_expr(&cut(expr, DEPTH)?, &Codec)?.encode_to_vec())
}

/// The expression with everything that many levels down apart.
fn cut(expr: &Arc<dyn PhysicalExpr>, levels: usize) -> Result<Arc<dyn PhysicalExpr>> {
    let children = expr.children();
    if children.is_empty() {
        return Ok(Arc::clone(expr));
    }
    if levels == 0 {
        return Ok(Arc::new(Apart(Arc::clone(expr))));
    }
    let below = children.iter().map(|child| cut(child, levels - 1)).collect::<Result<Vec<_>>>()?;
    let same = below.iter().zip(&children).all(|(new, old)| Arc::ptr_eq(new, old));
    if same { Ok(Arc::clone(expr)) } else { Arc::clone(expr).with_new_children(below) }
}

/// A deep part, while it is written.
#[derive(Debug, Eq)]
struct Apart(Arc<dyn PhysicalExpr>);

impl PartialEq for Apart {
    fn eq(&self, other: &Apart) -> bool {
        self.0.eq(&other.0)
    }
}

impl Hash for Apart {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for Apart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PhysicalExpr for Apart {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.0.evaluate(batch)
    }

    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.0.return_field(input)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(self)
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_sql(f)
    }
}

/// Writes and reads deep parts.
#[derive(Debug)]
struct Codec;

impl PhysicalExtensionCodec for Codec {
    fn try_decode(
        &self,
        _: &[u8],
        _: &[Arc<dyn ExecutionPlan>],
        _: &TaskContext,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        internal_err!("expressions have no plans in them")
    }

    fn try_encode(
        &self,
        _: Arc<dyn ExecutionPlan>,
        _: &mut Vec<u8>,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        internal_err!("expressions have no plans in them")
    }

    fn try_decode_expr(
        &self,
        bytes: &[u8],
        _: &[Arc<dyn PhysicalExpr>],
        context: &PhysicalExprDecodeCtx<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let part = PhysicalExprNode::decode(bytes);
        context.decode(&part.map_err(|error| DataFusionError::External(Box::new(error)))?)
    }

    fn try_encode_expr(
        &self,
        expr: &Arc<dyn PhysicalExpr>,
        buffer: &mut Vec<u8>,
        _: &PhysicalExprEncodeCtx<'_>,
    ) -> Result<()> {
        let Some(Apart(part)) = expr.downcast_ref::<Apart>() else {
            return internal_err!("{expr} has no stored form");
        };
        buffer.extend(bytes(part)?);
        Ok(())
    }
}
