//! Hopping windows: an unnested list of window starts in the logical plan.
//!
//! The list is never built. Until something needs the window's start as a column, the windows are
//! pending: an aggregation then takes them as panes. Otherwise a step copies each row into its
//! windows. A row without a time stays once, with NULL bounds, as a NULL list is unnested.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, NullHandling, ScalarValue};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, Unnest, lit};
use millrace_plan::{Hop, Meta, Step};
use millrace_types::Report;

use super::refuse::{self, failure, internal};
use super::relation::{PendingHop, Relation, WINDOW, as_column, column, step, with_type};
use super::time::{affine, bound, hopping};
use super::translate::Planner;

/// What stands for the bounds of a window in expressions.
pub(super) struct Bounds {
    pub(super) start: Expr,
    pub(super) end: Expr,
    pub(super) size: i64,
}

/// An expression that stands for the start of pending windows.
pub(super) fn window() -> Expr {
    Expr::Column(Column::new_unqualified(WINDOW))
}

/// `expr + micros`, in the form that costs least to evaluate.
pub(super) fn shifted(expr: Expr, micros: i64) -> Expr {
    match micros {
        0 => expr,
        micros => expr + lit(ScalarValue::DurationMicrosecond(Some(micros))),
    }
}

impl Bounds {
    /// Puts the bounds in the place of the pending window.
    pub(super) fn replace(&self, expr: &Expr) -> Result<Expr, Report> {
        let replaced = expr.clone().transform_down(|part| {
            let (core, shift) = affine(&part);
            if *core != window() {
                return Ok(Transformed::no(part));
            }
            let with = match shift == self.size {
                true => self.end.clone(),
                false => shifted(self.start.clone(), shift),
            };
            Ok(Transformed::new(with, true, TreeNodeRecursion::Jump))
        });
        Ok(replaced.map_err(failure)?.data)
    }
}

impl Planner<'_> {
    pub(super) fn unnest(&self, unnest: &Unnest, plan: &LogicalPlan) -> Result<Relation, Report> {
        let mut relation = self.copied(self.translate(&unnest.input)?)?;
        let windows = match unnest.list_type_columns.as_slice() {
            [(list, _)] => Some((*list, relation.columns[*list].clone())),
            _ => None,
        };
        let found = windows.as_ref().and_then(|(list, expr)| Some((*list, hopping(expr)?)));
        let Some((list, (time, hop))) = found else {
            return self.unnested(relation, unnest, plan);
        };
        match unnest.options.null_handling {
            NullHandling::Preserve => {}
            NullHandling::Drop => relation = self.filter(relation, time.clone().is_not_null())?,
            NullHandling::PreserveAndExpandEmpty => return Err(refuse::node(plan)),
        }
        let outputs = unnest.dependency_indices.iter().map(|from| match *from == list {
            true => window(),
            false => relation.columns[*from].clone(),
        });
        relation.columns = outputs.collect();
        relation.hop = Some(PendingHop { time: time.clone(), hop, filters: Vec::new() });
        Ok(relation)
    }

    /// The relation with its rows copied into pending windows, if there are any.
    pub(super) fn copied(&self, mut relation: Relation) -> Result<Relation, Report> {
        let Some(PendingHop { time, hop, filters }) = relation.hop.take() else {
            return Ok(relation);
        };
        let seen = self.type_of(&time, relation.schema())?;
        let (mut relation, time, filters) = match as_column(&time, relation.schema()) {
            Some(column) => (relation, column, filters),
            None => self.computed_time(relation, time, filters)?,
        };
        let hop = Hop { column: time, ..hop };
        let (meta, bounds) = copied_meta(relation.node.meta(), &hop, &seen);
        let schema = Arc::clone(&meta.schema);
        relation.node = step(relation.node, Step::Hop { hop, schema }, meta);
        let columns = relation.columns.iter().map(|expr| bounds.replace(expr));
        relation.columns = columns.collect::<Result<_, _>>()?;
        let filters =
            filters.iter().map(|expr| bounds.replace(expr)).collect::<Result<Vec<_>, _>>()?;
        match conjunction(filters) {
            Some(condition) => self.filter(relation, condition),
            None => Ok(relation),
        }
    }

    /// Computes the time of windows in a column, among all that is still needed.
    fn computed_time(
        &self,
        mut relation: Relation,
        time: Expr,
        filters: Vec<Expr>,
    ) -> Result<(Relation, usize, Vec<Expr>), Report> {
        relation.columns.push(time);
        let last = relation.columns.len() - 1;
        // The filters' columns are needed, too; what the windows are does not matter here.
        let hop = Hop { column: 0, slide: 1, size: 1, offset: 0, cumulates: false };
        relation.hop = Some(PendingHop { time: window(), hop, filters });
        let mut relation = self.share(relation, &[last])?;
        let filters = relation.hop.take().map(|hop| hop.filters).unwrap_or_default();
        let time = relation.columns.pop().ok_or_else(|| internal("a window has no time"))?;
        let time = if let Expr::Cast(cast) = time { *cast.expr } else { time };
        let time = as_column(&time, relation.schema());
        let time = time.ok_or_else(|| internal("the time of a window is not a column"))?;
        Ok((relation, time, filters))
    }
}

/// What is known after the copying step, and the columns that it appends.
fn copied_meta(before: &Meta, hop: &Hop, seen: &DataType) -> (Meta, Bounds) {
    let data_type = before.schema.field(hop.column).data_type();
    let mut fields: Vec<Arc<Field>> = before.schema.fields().iter().cloned().collect();
    let start = fields.len();
    for name in ["window_start", "window_end"] {
        let mut unused = name.to_owned();
        while fields.iter().any(|field| *field.name() == unused) {
            unused.push('_');
        }
        fields.push(Arc::new(Field::new(unused, data_type.clone(), true)));
    }
    let schema = Arc::new(Schema::new(fields));
    let mut meta = Meta { schema: Arc::clone(&schema), ..before.clone() };
    meta.key.push(start);
    let time = bound(&column(&before.schema, hop.column), &before.schema, &before.watermarks);
    if let Some(start_bound) = time.and_then(|bound| bound.lowered(hop.size - 1)) {
        let end = start_bound.clone().lowered(-hop.size);
        meta.watermarks.push(start_bound.on(start));
        meta.watermarks.extend(end.map(|bound| bound.on(start + 1)));
    }
    let typed = |index| with_type(column(&schema, index), data_type, seen);
    let bounds = Bounds { start: typed(start), end: typed(start + 1), size: hop.size };
    (meta, bounds)
}
