//! ASOF joins: each left row with the right row of its key that is nearest in time.
//!
//! Where watermarks bound the times of both inputs, state goes. If the nearest row is an earlier one, a
//! left row whose time both have passed has its last match, and of the right rows of a key before that only
//! the last one can still be taken. If it is a later one, left rows are done when the row that they have
//! taken has passed, and no left row to come takes that one. Rows of a source below the watermark are late
//! then.
//!
//! Invariants: 1. the visible columns of the right input come first, in their order: they decide between
//! right rows with one time, as in a plain SELECT.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan};
use millrace_plan::{JoinPair, Meta, Nearest, NearestSide, Node, Watermark};
use millrace_types::Report;

use super::join::{Input, rename, shifted};
use super::refuse::{self, failure, internal, not_yet};
use super::relation::{Carry, Relation, column, with_type};
use super::translate::Planner;
use crate::nearest::AsOfJoin;

impl Planner<'_> {
    /// A node that is not DataFusion's.
    pub(super) fn extension(
        &self,
        extension: &Extension,
        plan: &LogicalPlan,
    ) -> Result<Relation, Report> {
        match extension.node.as_any().downcast_ref::<AsOfJoin>() {
            Some(join) => self.nearest(join),
            None => Err(refuse::node(plan)),
        }
    }

    fn nearest(&self, join: &AsOfJoin) -> Result<Relation, Report> {
        let compared = join.compared().map_err(failure)?;
        let (one, other): (Vec<Expr>, Vec<Expr>) =
            compared.on.into_iter().chain([compared.times]).unzip();
        let mut left = self.keyed(&join.left, &one)?;
        let mut right = self.keyed(&join.right, &other)?;
        let data_type = |input: &Input, at: usize| -> DataType {
            input.node.meta().schema.field(input.keys[at]).data_type().clone()
        };
        if (0..one.len()).any(|at| data_type(&left, at) != data_type(&right, at)) {
            return Err(not_yet("an ASOF join that compares two types is").hint("Add a cast."));
        }
        let side = NearestSide { later: compared.later, strict: compared.strict };
        let pair = |(left, right): (&usize, &usize)| JoinPair {
            left: *left,
            right: *right,
            null_equal: false,
        };
        let mut on: Vec<JoinPair> = left.keys.iter().zip(&right.keys).map(pair).collect();
        let times = on.pop().ok_or_else(|| internal("an ASOF join compares nothing"))?;
        let settled = self.settled(&mut left, &mut right, times, side.later)?;
        let mut taken = BTreeSet::new();
        rename(&mut left.node, &mut taken, false)?;
        rename(&mut right.node, &mut taken, false)?;
        let from = left.node.meta();
        let keeps_left = join.keeps_left;
        let schema = Nearest::output_schema(keeps_left, &from.schema, &right.node.meta().schema);
        let places = shifted(&left.places, &right.places, from.schema.fields().len());
        let mut watermarks: Vec<Watermark> = settled.iter().cloned().collect();
        if side.later {
            // A pair is final when its right row has passed; where there is none its time is NULL.
            watermarks.retain(|_| !keeps_left);
            watermarks.iter_mut().for_each(|bound| bound.column += from.schema.fields().len());
        }
        let key = from.key.clone();
        let meta = Meta { schema: Arc::clone(&schema), key, append_only: false, watermarks };
        let (left, right) = (left.node, right.node);
        let node = Nearest { left, right, keeps_left, on, times, side, settled, meta };
        let output: &DFSchema = datafusion::logical_expr::UserDefinedLogicalNodeCore::schema(join);
        let columns = output.fields().iter().zip(&places).map(|(field, place)| {
            let place = place.ok_or_else(|| internal("a join has lost a column"))?;
            let stored = schema.field(place).data_type();
            Ok(with_type(column(&schema, place), stored, field.data_type()))
        });
        let columns = columns.collect::<Result<_, Report>>()?;
        Ok(Relation { node: Node::Nearest(Box::new(node)), columns, event_time: None, hop: None })
    }

    /// An input with the columns that are compared.
    fn keyed(&self, plan: &LogicalPlan, compared: &[Expr]) -> Result<Input, Report> {
        let relation = self.copied(self.translate(plan)?)?;
        self.input(relation, plan.schema(), compared, Carry::Key)
    }

    /// When rows are done; late rows are taken out of the inputs.
    fn settled(
        &self,
        left: &mut Input,
        right: &mut Input,
        times: JoinPair,
        later: bool,
    ) -> Result<Option<Watermark>, Report> {
        let one = self.promise(left.node.meta(), times.left);
        let other = self.promise(right.node.meta(), times.right);
        let (Some(one), Some(other)) = (one, other) else { return Ok(None) };
        left.node = self.punctual(left.node.clone(), &one)?;
        right.node = self.punctual(right.node.clone(), &other)?;
        let sources: BTreeSet<_> = one.sources.iter().chain(&other.sources).copied().collect();
        let sources = sources.into_iter().collect();
        let column = if later { times.right } else { times.left };
        Ok(Some(Watermark { column, shift: one.shift.max(other.shift), sources }))
    }
}
