//! The columns of a GROUP BY: which are kept as the group's key, and what is computed above.

use arrow::datatypes::{DataType, FieldRef, SchemaRef, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Expr;
use millrace_plan::Hop;
use millrace_types::Report;

use super::aggregate::determined;
use super::call::CallExpr;
use super::hop::{shifted, window};
use super::refuse::failure;
use super::relation::{PendingHop, column, uses_window, with_type};
use super::time::affine;
use super::translate::Planner;

/// A group's expressions.
pub(super) struct Group {
    /// As asked for.
    pub(super) exprs: Vec<Expr>,
    /// Those that the others follow from.
    pub(super) kept: Vec<Expr>,
    /// The position in `kept` of the pending window.
    pub(super) pane: Option<usize>,
    /// The pending windows.
    pub(super) hop: Option<Hop>,
}

/// Expressions over the columns that leave the aggregation.
pub(super) struct Above<'a> {
    group: &'a Group,
    schema: &'a SchemaRef,
    /// The types of the kept expressions in the logical plan.
    types: Vec<DataType>,
}

impl Group {
    pub(super) fn new(exprs: Vec<Expr>, hop: Option<Hop>) -> Group {
        let mut kept = candidates(&exprs, hop.is_some());
        for index in (0..kept.len()).rev() {
            let expr = kept.remove(index);
            if kept.is_empty() || !determined(&expr, &kept) {
                kept.insert(index, expr);
            }
        }
        let pane = kept.iter().position(|expr| *expr == window());
        Group { exprs, kept, pane, hop }
    }

    /// True if pending windows can be grouped as panes: the group tells the window, and nothing
    /// else depends on it.
    pub(super) fn panes_serve(group: &[Expr], calls: &[CallExpr], filters: &[Expr]) -> bool {
        let kept = candidates(group, true);
        group.iter().any(|expr| *affine(expr).0 == window())
            && group.iter().chain(filters).all(|expr| determined(expr, &kept))
            && !calls.iter().flat_map(CallExpr::exprs).any(uses_window)
    }

    /// True if the group was asked for by the windows' ends and not by their starts.
    pub(super) fn shows_end_only(&self) -> bool {
        let size = self.hop.as_ref().map(|hop| hop.size);
        let shows = |shift| self.exprs.iter().any(|expr| affine(expr) == (&window(), shift));
        !shows(0) && size.is_some_and(shows)
    }

    /// The types of the kept expressions.
    pub(super) fn types(
        &self,
        planner: &Planner,
        schema: &SchemaRef,
        pending: Option<&PendingHop>,
    ) -> Result<Vec<DataType>, Report> {
        let each = self.kept.iter().enumerate().map(|(index, expr)| {
            match pending.filter(|_| self.pane == Some(index)) {
                Some(pending) => planner.type_of(&pending.time, schema),
                None => planner.type_of(expr, schema),
            }
        });
        each.collect()
    }

    /// A name for a kept expression: that of the output column which shows it.
    pub(super) fn name(&self, index: usize, output: &[FieldRef]) -> String {
        let kept = &self.kept[index];
        let shows = |expr: &Expr| expr == kept || affine(expr) == (kept, 0);
        match self.exprs.iter().position(shows) {
            Some(position) => output[position].name().clone(),
            None if self.pane == Some(index) => "window_start".to_owned(),
            None => kept.schema_name().to_string(),
        }
    }

    pub(super) fn above<'a>(&'a self, schema: &'a SchemaRef, types: Vec<DataType>) -> Above<'a> {
        Above { group: self, schema, types }
    }
}

/// The group's expressions, each once; with panes the window itself stands for those over it.
fn candidates(group: &[Expr], panes: bool) -> Vec<Expr> {
    let mut kept = Vec::with_capacity(group.len());
    for expr in group {
        let expr = if panes && uses_window(expr) { window() } else { expr.clone() };
        if !kept.contains(&expr) {
            kept.push(expr);
        }
    }
    kept
}

impl Above<'_> {
    fn kept(&self, index: usize) -> Expr {
        let stored = self.schema.field(index).data_type();
        with_type(column(self.schema, index), stored, &self.types[index])
    }

    /// A kept expression plus microseconds.
    fn kept_plus(&self, index: usize, micros: i64) -> Option<Expr> {
        if micros == 0 {
            return Some(self.kept(index));
        }
        if self.group.pane == Some(index)
            && self.group.hop.as_ref().is_some_and(|hop| hop.size == micros)
        {
            let end = self.group.kept.len();
            let stored = self.schema.field(end).data_type();
            return Some(with_type(column(self.schema, end), stored, &self.types[index]));
        }
        let time = matches!(self.types[index], DataType::Timestamp(TimeUnit::Microsecond, _));
        time.then(|| shifted(self.kept(index), micros))
    }

    /// An expression over the group's expressions as one over the aggregation's columns.
    pub(super) fn rewrite(&self, expr: &Expr) -> Result<Expr, Report> {
        let position = |expr: &Expr| self.group.kept.iter().position(|kept| kept == expr);
        let replaced = expr.clone().transform_down(|part| {
            let (core, shift) = affine(&part);
            let found = match position(&part) {
                Some(index) => Some(self.kept(index)),
                None => position(core).and_then(|index| self.kept_plus(index, shift)),
            };
            Ok(match found {
                Some(column) => Transformed::new(column, true, TreeNodeRecursion::Jump),
                None => Transformed::no(part),
            })
        });
        Ok(replaced.map_err(failure)?.data)
    }

    /// The columns of the calls.
    pub(super) fn calls<'s>(&'s self, fields: &'s [FieldRef]) -> impl Iterator<Item = Expr> + 's {
        let before = self.group.kept.len() + usize::from(self.group.pane.is_some());
        fields.iter().enumerate().map(move |(index, field)| {
            let stored = self.schema.field(before + index).data_type();
            with_type(column(self.schema, before + index), stored, field.data_type())
        })
    }
}
