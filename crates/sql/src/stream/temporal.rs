//! Temporal filters: conditions that compare a time of the row with `now()`.
//!
//! `now()` is no value that an expression could have: it moves while no row does. A condition such as
//! `ts > now() - INTERVAL '1 hour'` says until when a row is shown (`now() < ts + 1 hour`), or from
//! when, and becomes a [`Stay`] over a column with that time.
//!
//! Invariants: 1. no expression of a plan has `now()` in it (`Planner::physical` refuses it). 2. times
//! are whole microseconds, so that `now() <= t` is `now() < t + 1`.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Expr, Operator};
use millrace_plan::{Clock, Meta, Node, Stay};
use millrace_types::{Report, SqlState};

use super::hop::shifted;
use super::relation::{Carry, Columns, Relation, column, refers};
use super::time::{affine, keeps_micros};
use super::translate::Planner;
use crate::functions::{TIME_BETWEEN, is_span};

/// One side of the time for which a row is shown.
enum Side {
    From(Expr),
    Until(Expr),
}

/// True if an expression asks for the time.
pub(super) fn uses_now(expr: &Expr) -> bool {
    expr.exists(|part| Ok(is_now(part))).unwrap_or(false)
}

fn is_now(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if is_clock(call.name()))
}

/// True for the functions that a temporal filter understands.
pub(super) fn is_clock(function: &str) -> bool {
    matches!(function, "now" | "localtimestamp")
}

/// The report for a `now()` that is no temporal filter.
pub(super) fn refused() -> Report {
    let message =
        "now() in a materialized view is only supported where WHERE compares it with a time";
    Report::new(SqlState::FEATURE_NOT_SUPPORTED, message)
        .detail("Its value changes while the view's input does not.")
        .hint(
            "Write conditions such as ts > now() - INTERVAL '1 hour', joined by AND; a month, and \
             a day unless the session is in UTC, is added to the other side. Elsewhere use now() in the SELECT that reads the view.",
        )
}

/// The constant microseconds by which an expression is above `now()`.
fn above_now(expr: &Expr) -> Option<i64> {
    let (core, shift) = affine(expr);
    match core {
        Expr::Cast(Cast { expr, field }) if keeps_micros(field.data_type()) => {
            above_now(expr)?.checked_add(shift)
        }
        core => is_now(core).then_some(shift),
    }
}

/// `now() <op> time` as what it says of a row.
fn sides(op: Operator, time: Expr) -> Option<Vec<Side>> {
    let later = |time: Expr| shifted(time, 1);
    Some(match op {
        Operator::Lt => vec![Side::Until(time)],
        Operator::LtEq => vec![Side::Until(later(time))],
        Operator::Gt => vec![Side::From(later(time))],
        Operator::GtEq => vec![Side::From(time)],
        Operator::Eq => vec![Side::From(time.clone()), Side::Until(later(time))],
        _ => return None,
    })
}

/// What a condition says of the time for which a row is shown; None if it is of another form.
fn understood(condition: &Expr) -> Option<Vec<Side>> {
    match condition {
        Expr::Alias(alias) => understood(&alias.expr),
        Expr::Between(Between { expr, negated: false, low, high }) => {
            let mut both = compared(expr, Operator::GtEq, low)?;
            both.extend(compared(expr, Operator::LtEq, high)?);
            Some(both)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => compared(left, *op, right),
        _ => None,
    }
}

fn compared(left: &Expr, op: Operator, right: &Expr) -> Option<Vec<Side>> {
    if let (Some(shift), false) = (above_now(left), uses_now(right)) {
        return sides(op, shifted(right.clone(), shift.checked_neg()?));
    }
    if let (Some(shift), false) = (above_now(right), uses_now(left)) {
        return sides(op.swap()?, shifted(left.clone(), shift.checked_neg()?));
    }
    if let (Some((from, to)), Some(length)) = (between(left), constant(right)) {
        return spanned(from, to, op, length);
    }
    let ((from, to), length) = (between(right)?, constant(left)?);
    spanned(from, to, op.swap()?, length)
}

/// `(to - from) <op> length`, in microseconds.
fn spanned(from: &Expr, to: &Expr, op: Operator, length: i64) -> Option<Vec<Side>> {
    if let (Some(shift), false) = (above_now(to), uses_now(from)) {
        return sides(op, shifted(from.clone(), length.checked_sub(shift)?));
    }
    let shift = above_now(from).filter(|_| !uses_now(to))?;
    sides(op.swap()?, shifted(to.clone(), shift.checked_add(length)?.checked_neg()?))
}

/// The times whose difference an interval is, the earlier one first.
fn between(span: &Expr) -> Option<(&Expr, &Expr)> {
    let Expr::ScalarFunction(ScalarFunction { args, .. }) = span else { return None };
    let ([Expr::ScalarFunction(minus)], true) = (args.as_slice(), is_span(span)) else {
        return None;
    };
    match minus.args.as_slice() {
        [to, from] if minus.name() == TIME_BETWEEN => Some((from, to)),
        _ => None,
    }
}

/// The constant length of an interval.
fn constant(span: &Expr) -> Option<i64> {
    match span {
        Expr::Literal(ScalarValue::Decimal128(Some(micros), _, 0), _) => {
            i64::try_from(*micros).ok()
        }
        _ => None,
    }
}

impl Planner<'_> {
    /// Keeps rows while conditions with `now()` are true.
    pub(super) fn temporal(
        &self,
        mut relation: Relation,
        conditions: &[Expr],
    ) -> Result<Relation, Report> {
        let (mut from, mut until) = (Vec::new(), Vec::new());
        for condition in conditions {
            for side in understood(condition).ok_or_else(refused)? {
                match side {
                    Side::From(time) => from.push(time),
                    Side::Until(time) => until.push(time),
                }
            }
        }
        while !from.is_empty() || !until.is_empty() {
            relation = self.staying(relation, from.pop(), until.pop())?;
        }
        Ok(relation)
    }

    fn staying(
        &self,
        relation: Relation,
        from: Option<Expr>,
        until: Option<Expr>,
    ) -> Result<Relation, Report> {
        let Relation { node, columns, event_time, hop } = relation;
        let before = Arc::clone(&node.meta().schema);
        let pending = hop.iter().flat_map(|hop| hop.filters.iter().chain([&hop.time]));
        let needed: Vec<&Expr> = columns.iter().chain(pending).collect();
        let mut wanted = Columns::default();
        for (index, field) in before.fields().iter().enumerate() {
            let same = |expr: &&Expr| refers(expr, &|column| column.name == *field.name());
            if needed.iter().any(same) {
                wanted.push(column(&before, index), field.name());
            }
        }
        let mut add = |time: Option<Expr>, name| time.map(|time| wanted.push(time, name));
        let (from, until) = (add(from, "shown_from"), add(until, "shown_until"));
        let plain = Relation { node, columns: Vec::new(), event_time, hop: None };
        let (input, event_time) = self.project(plain, wanted, Carry::KeyAndTime)?;
        let meta = Meta {
            append_only: input.meta().append_only && until.is_none(),
            // A row that comes by the clock comes after the watermark.
            watermarks: Vec::new(),
            ..input.meta().clone()
        };
        let node = Node::Stay(Box::new(Stay { input, clock: Clock::Now, from, until, meta }));
        Ok(Relation { node, columns, event_time, hop })
    }
}
