//! Joins that bound the times of their inputs against each other: interval joins, and joins of equal
//! windows.
//!
//! `a.ts BETWEEN b.ts - INTERVAL '1 hour' AND b.ts` says that a row meets only rows within an hour. When
//! the watermark has passed all that a row could meet, and the row itself does not change any more, its
//! state goes. Rows of a source that come below the watermark are then late: what they would meet
//! may be gone.
//!
//! Invariants: 1. state goes by the lesser of both inputs' watermarks, and rows are late by that of
//! their own source, which is no less: a row that is not late meets nothing that has gone. 2. what leaves such a join keeps the
//! promise that its watermark makes.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Expr, Operator};
use millrace_plan::{JoinPair, LateCheck, Meta, Node, Scalar, Step, Watermark};
use millrace_types::Report;

use super::relation::{as_column, column, origin, step};
use super::time::{affine, keeps_micros};
use super::translate::Planner;

/// The difference of a left and a right column, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Distance {
    left: usize,
    right: usize,
    least: Option<i64>,
    most: Option<i64>,
}

/// When the rows of both inputs are done.
pub(super) struct Cleaning {
    /// By input.
    pub(super) clean: [Watermark; 2],
    /// By input, of a column of it: the promise on the pairs.
    pub(super) pairs: [Watermark; 2],
    /// By input: the promise on its own rows, with the allowed lateness if they can be late.
    pub(super) own: [Watermark; 2],
}

/// What a condition says of distances; `width` is how many columns the left input has.
fn distances(condition: &Expr, pairs: &Schema, width: usize, found: &mut Vec<Distance>) {
    match condition {
        Expr::Alias(alias) => distances(&alias.expr, pairs, width, found),
        Expr::Between(Between { expr, negated: false, low, high }) => {
            found.extend(distance(expr, Operator::GtEq, low, pairs, width));
            found.extend(distance(expr, Operator::LtEq, high, pairs, width));
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            found.extend(distance(left, *op, right, pairs, width));
        }
        _ => {}
    }
}

fn distance(
    left: &Expr,
    op: Operator,
    right: &Expr,
    pairs: &Schema,
    width: usize,
) -> Option<Distance> {
    let ((one, above), (other, below)) = (shifted(left, pairs)?, shifted(right, pairs)?);
    // `one + above <op> other + below`
    let (left, right, op, by) = match (one < width, other < width) {
        (true, false) => (one, other - width, op, below.checked_sub(above)?),
        (false, true) => (other, one - width, op.swap()?, above.checked_sub(below)?),
        _ => return None,
    };
    let (least, most) = match op {
        Operator::Eq => (Some(by), Some(by)),
        Operator::LtEq => (None, Some(by)),
        Operator::Lt => (None, Some(by.checked_sub(1)?)),
        Operator::GtEq => (Some(by), None),
        Operator::Gt => (Some(by.checked_add(1)?), None),
        _ => return None,
    };
    Some(Distance { left, right, least, most })
}

/// A column and the constant that is added to it.
fn shifted(expr: &Expr, schema: &Schema) -> Option<(usize, i64)> {
    let (core, shift) = affine(expr);
    match core {
        Expr::Cast(Cast { expr, field }) if keeps_micros(field.data_type()) => {
            let (column, more) = shifted(expr, schema)?;
            Some((column, shift.checked_add(more)?))
        }
        core => Some((as_column(core, schema)?, shift)),
    }
}

/// Both bounds of the distances between each two columns.
fn joined(found: Vec<Distance>) -> Vec<(usize, usize, i64, i64)> {
    let mut all: Vec<Distance> = Vec::new();
    for next in found {
        let known = all.iter_mut().find(|d| (d.left, d.right) == (next.left, next.right));
        match known {
            Some(known) => {
                known.least = known.least.max(next.least);
                known.most = match (known.most, next.most) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
            }
            None => all.push(next),
        }
    }
    all.into_iter().filter_map(|d| Some((d.left, d.right, d.least?, d.most?))).collect()
}

impl Planner<'_> {
    /// When the rows of two inputs are done, if the conditions of their join say so.
    pub(super) fn cleaning(
        &self,
        (left, right): (&Meta, &Meta),
        on: &[JoinPair],
        conditions: &[Expr],
        pairs: &Schema,
    ) -> Option<Cleaning> {
        let width = left.schema.fields().len();
        let mut found: Vec<Distance> = on
            .iter()
            .filter(|pair| !pair.null_equal)
            .map(|pair| Distance {
                left: pair.left,
                right: pair.right,
                least: Some(0),
                most: Some(0),
            })
            .collect();
        conditions.iter().for_each(|condition| distances(condition, pairs, width, &mut found));
        let each = joined(found).into_iter().filter_map(|(one, other, least, most)| {
            let (one, other) = (self.promise(left, one)?, self.promise(right, other)?);
            cleaned(one, other, (least, most), (left.append_only, right.append_only))
        });
        each.min_by_key(|found| found.clean[0].shift.saturating_add(found.clean[1].shift))
    }

    /// What an input promises of a column; of rows that can be late, once those are turned away.
    pub(super) fn promise(&self, input: &Meta, column: usize) -> Option<Watermark> {
        let found = input.watermarks.iter().find(|watermark| watermark.column == column)?;
        if !input.append_only {
            return Some(found.clone());
        }
        origin(input)?;
        let shift = found.shift.checked_add(self.options.allowed_lateness_us)?;
        Some(Watermark { shift, ..found.clone() })
    }

    /// An input without its late rows; `own` is its promise.
    pub(super) fn punctual(&self, input: Node, own: &Watermark) -> Result<Node, Report> {
        let meta = input.meta().clone();
        let Some(origin) = origin(&meta) else { return Ok(input) };
        let close = own.clone();
        // A time of the row itself is promised from one microsecond on.
        let event_time = meta.watermarks.iter().find(|watermark| watermark.shift == 1);
        let check = LateCheck {
            to_end: close.shift.saturating_sub(self.options.allowed_lateness_us),
            close,
            hop: None,
            event_time: event_time.map(|watermark| watermark.column),
            origin,
        };
        let checked = step(input, Step::Late(check), meta.clone());
        // The columns get their names in a projection.
        let schema = Arc::clone(&meta.schema);
        let each = (0..schema.fields().len()).map(|at| self.physical(column(&schema, at), &schema));
        let expressions = each.collect::<Result<Vec<Scalar>, _>>()?;
        Ok(step(checked, Step::Project { expressions, schema }, meta))
    }
}

fn cleaned(
    left: Watermark,
    right: Watermark,
    (least, most): (i64, i64),
    (left_appends, right_appends): (bool, bool),
) -> Option<Cleaning> {
    let sources: BTreeSet<_> = left.sources.iter().chain(&right.sources).copied().collect();
    let sources: Vec<_> = sources.into_iter().collect();
    // The latest that a left row `v` can meet is `v - least`, a right one `v + most`.
    let to_left = right.shift.checked_sub(least)?;
    let to_right = left.shift.checked_add(most)?;
    let done = |own: &Watermark, other: i64, appends: bool| Watermark {
        shift: if appends { other } else { other.max(own.shift) },
        sources: sources.clone(),
        ..own.clone()
    };
    let final_at = |own: &Watermark, other: i64| done(own, other, false);
    Some(Cleaning {
        clean: [done(&left, to_left, left_appends), done(&right, to_right, right_appends)],
        pairs: [final_at(&left, to_left), final_at(&right, to_right)],
        own: [left, right],
    })
}
