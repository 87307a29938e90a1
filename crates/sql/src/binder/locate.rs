//! Where an error of types stands: in a plan, where types are known, expressions have no places any more.
//!
//! So the query is planned again with parts of it left out, and the part with which the error comes and goes is where
//! it stands. PostgreSQL points at the first operand that does not fit: of COALESCE and its like at the first value
//! with which the error comes, of UNION at the column on its right side, of an operator at the operator.
//!
//! Invariants: 1. only what failed is planned again, [`TRIES`] times and [`BYTES_MAX`] of it at most. 2. the error stays what it is: only
//! its place is found.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CaseWhen, Expr, Function, FunctionArguments, Query, Select, SelectItem, SetExpr, Spanned,
    Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Location;
use millrace_types::{Report, SqlState};

use crate::names::fold;
use crate::text::Text;

/// How often a query is planned again.
const TRIES: usize = 48;
/// How many bytes of a query that may be: an error without a place is better than one that comes late.
const BYTES_MAX: usize = 20_000;

/// The place of an error of types in a query; `bind` says what is wrong with another form of it.
pub(super) fn place(
    query: &Query,
    report: &Report,
    text: &str,
    bind: &dyn Fn(&Query) -> Option<Report>,
) -> Option<usize> {
    let wanted = Wanted::of(report)?;
    let tries = TRIES.min(1 + BYTES_MAX / text.len().max(1));
    let text = Text::new(text);
    let fails = |query: &Query| {
        bind(query)
            .is_some_and(|found| found.code == report.code && found.message == report.message)
    };
    // A number in a condition has not the type that it has in a select list.
    let plain = |message: &str| message.replace("bigint", "integer");
    let fails_alike = |query: &Query| {
        bind(query).is_some_and(|found| {
            found.code == report.code && plain(&found.message) == plain(&report.message)
        })
    };
    // Without any of them nothing fails, or it does so elsewhere, in a view.
    let mut none = query.clone();
    let none_of = Change { at: usize::MAX, as_truth: false };
    let count = visit(&mut none, &wanted, &text, none_of).len();
    if count == 0 || fails(&none) {
        return None;
    }
    for at in 0..count.min(tries) {
        let mut changed = query.clone();
        let all = visit(&mut changed, &wanted, &text, Change { at, as_truth: false });
        let slot = all.get(at)?;
        // A part that is left alone fails by itself, as a value or in a condition; one that is left out takes the
        // error with it.
        let is_it = match slot.alone {
            false => !fails(&changed),
            true => {
                let mut condition = query.clone();
                visit(&mut condition, &wanted, &text, Change { at, as_truth: true });
                fails_alike(&changed) || fails_alike(&condition)
            }
        };
        if is_it {
            return slot.place.and_then(|place| text.position(place));
        }
    }
    None
}

/// What an error is about.
enum Wanted {
    /// An operator, by its name.
    Operator(String),
    /// `COALESCE` and its like, in small letters.
    Choice(String),
    Case,
    CaseWhen,
    Filter,
    Truth,
    Array,
    Set,
    Values,
    Where,
    On,
    Subquery,
}

impl Wanted {
    fn of(report: &Report) -> Option<Wanted> {
        let message = report.message.as_str();
        if let Some(operands) = message.strip_prefix("operator does not exist: ")
            && report.code == SqlState::UNDEFINED_FUNCTION
        {
            let is_operator =
                |part: &&str| !part.chars().any(|c| c.is_alphanumeric() || "[]()\",".contains(c));
            let operator = operands.split(' ').find(is_operator)?;
            return Some(Wanted::Operator(operator.to_owned()));
        }
        if message == "subquery must return only one column" {
            return Some(Wanted::Subquery);
        }
        if report.code != SqlState::DATATYPE_MISMATCH {
            return None;
        }
        if let Some(of) = message.strip_prefix("argument of ") {
            return match of.split(" must be").next()? {
                "CASE/WHEN" => Some(Wanted::CaseWhen),
                "FILTER" => Some(Wanted::Filter),
                "WHERE" => Some(Wanted::Where),
                "JOIN/ON" => Some(Wanted::On),
                "IS TRUE" => Some(Wanted::Truth),
                _ => None,
            };
        }
        match message.split(" types").next()? {
            "CASE" => Some(Wanted::Case),
            "ARRAY" => Some(Wanted::Array),
            "UNION" | "INTERSECT" | "EXCEPT" => Some(Wanted::Set),
            "VALUES" => Some(Wanted::Values),
            of @ ("COALESCE" | "GREATEST" | "LEAST") => {
                Some(Wanted::Choice(of.to_ascii_lowercase()))
            }
            _ => None,
        }
    }
}

/// A part of a query that may be what is wrong.
struct Slot {
    place: Option<Location>,
    /// It is tried alone, in the place of all that stands around it, and not left out.
    alone: bool,
}

/// Which part is changed.
#[derive(Clone, Copy)]
struct Change {
    at: usize,
    /// A part that stands alone is made a truth value.
    as_truth: bool,
}

/// All parts in the order in which PostgreSQL looks at them; the n-th is left out of the query, or alone in it.
fn visit(query: &mut Query, wanted: &Wanted, text: &Text<'_>, change: Change) -> Vec<Slot> {
    let Change { at, as_truth } = change;
    let mut parts = Parts {
        wanted,
        text,
        at,
        as_truth,
        slots: Vec::new(),
        depth: 0,
        roots: vec![0],
        starts: Vec::new(),
        alone: None,
    };
    let ControlFlow::Continue(()) = VisitMut::visit(query, &mut parts);
    parts.slots
}

struct Parts<'a> {
    wanted: &'a Wanted,
    text: &'a Text<'a>,
    at: usize,
    as_truth: bool,
    slots: Vec<Slot>,
    /// How many expressions are around, in the query and in those around it.
    depth: usize,
    /// How many there were where each of the queries around begins.
    roots: Vec<usize>,
    /// How many parts there were before the outermost expressions around.
    starts: Vec<usize>,
    /// What stands alone once the outermost expression around it has been seen.
    alone: Option<(usize, Expr)>,
}

impl Parts<'_> {
    /// A part that fails alone, in such a form.
    fn add(&mut self, place: Option<Location>, form: Expr) {
        if self.at == self.slots.len() {
            let root = self.roots.last().copied().unwrap_or(0);
            let form = Box::new(Expr::Nested(Box::new(form)));
            self.alone = Some((root, if self.as_truth { Expr::IsNull(form) } else { *form }));
        }
        self.slots.push(Slot { place, alone: true });
    }

    /// A part without which nothing fails.
    fn add_out(&mut self, place: Location, part: &mut Expr, stand_in: Value) {
        if self.at == self.slots.len() || self.at == usize::MAX {
            *part = Expr::value(stand_in);
        }
        self.slots.push(Slot { place: Some(place), alone: false });
    }

    /// Values of which one is the result, each with those before it.
    fn add_values(&mut self, values: &[Expr], form: impl Fn(&[Expr]) -> Expr) {
        for count in 2..=values.len() {
            let place = values[count - 1].span().start;
            self.add(Some(place), form(&values[..count]));
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match (self.wanted, expr) {
            (Wanted::Operator(wanted), _) => {
                if let Some(left) = operand_before(expr, wanted) {
                    let place = self.text.following(left);
                    self.add(place, expr.clone());
                } else if names_operator(expr, wanted) {
                    self.add(Some(expr.span().start), expr.clone());
                }
            }
            (Wanted::Choice(wanted), Expr::Function(function)) if is_named(function, wanted) => {
                let values = arguments(function);
                self.add_values(&values, |values| super::syntax::call(wanted, values.to_vec()));
            }
            (Wanted::Array, Expr::Array(array)) => {
                let form = |values: &[Expr]| {
                    let mut part = array.clone();
                    part.elem = values.to_vec();
                    Expr::Array(part)
                };
                self.add_values(&array.elem, form);
            }
            (Wanted::Case, Expr::Case { conditions, else_result, .. }) => {
                for count in 1..=conditions.len() {
                    let place = conditions[count - 1].result.span().start;
                    self.add(Some(place), shortened(expr, &conditions[..count]));
                }
                if let Some(result) = else_result {
                    self.add(Some(result.span().start), expr.clone());
                }
            }
            (Wanted::CaseWhen, Expr::Case { conditions, .. }) => {
                for one in conditions {
                    let place = one.condition.span().start;
                    self.add(Some(place), shortened(expr, std::slice::from_ref(one)));
                }
            }
            (Wanted::Truth, Expr::IsTrue(of) | Expr::IsNotTrue(of))
            | (Wanted::Truth, Expr::IsFalse(of) | Expr::IsNotFalse(of)) => {
                self.add(Some(of.span().start), expr.clone());
            }
            (Wanted::Filter, Expr::Function(function)) => {
                if let Some(filter) = &function.filter {
                    self.add(Some(filter.span().start), expr.clone());
                }
            }
            (Wanted::Subquery, Expr::Subquery(query)) => {
                let place = self.text.opening(query.span().start);
                self.add(place, expr.clone());
            }
            _ => {}
        }
    }

    /// The right sides of UNION and its like, those inside first.
    fn set(&mut self, body: &mut SetExpr) {
        let SetExpr::SetOperation { left, right, .. } = body else { return };
        self.set(left);
        self.set(right);
        if let Some(select) = first_select(right) {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
                {
                    self.add_out(expr.span().start, expr, Value::Null);
                }
            }
        }
    }
}

impl VisitorMut for Parts<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        self.roots.push(self.depth);
        match (self.wanted, query.body.as_mut()) {
            (Wanted::Set, body) => self.set(body),
            (Wanted::Values, SetExpr::Values(values)) => {
                for value in values.rows.iter_mut().skip(1).flat_map(|row| &mut row.content) {
                    self.add_out(value.span().start, value, Value::Null);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Self::Break> {
        self.roots.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        if let (Wanted::Where, Some(condition)) = (self.wanted, &mut select.selection) {
            self.add_out(condition.span().start, condition, Value::Boolean(true));
        }
        if let Wanted::On = self.wanted {
            for join in select.from.iter_mut().flat_map(|from| &mut from.joins) {
                if let Some(condition) = condition_of(&mut join.join_operator) {
                    self.add_out(condition.span().start, condition, Value::Boolean(true));
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, _: &mut Expr) -> ControlFlow<Self::Break> {
        if self.roots.last() == Some(&self.depth) {
            self.starts.push(self.slots.len());
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        self.expr(expr);
        self.depth -= 1;
        if self.roots.last() == Some(&self.depth)
            && let Some(start) = self.starts.pop()
        {
            let at = self.at;
            let is_alone = |slot: &Slot| slot.alone;
            match self.alone.take() {
                Some((root, form)) if root == self.depth => *expr = form,
                Some(other) => self.alone = Some(other),
                // Another part may fail as well.
                None if !(start..self.slots.len()).contains(&at)
                    && self.slots[start..].iter().any(is_alone) =>
                {
                    *expr = Expr::IsNull(Box::new(Expr::value(Value::Null)));
                }
                None => {}
            }
        }
        ControlFlow::Continue(())
    }
}

/// The end of what stands before an operator between operands.
fn operand_before(expr: &Expr, wanted: &str) -> Option<Location> {
    let negated =
        |negated: bool, plain: &'static str, not: &'static str| if negated { not } else { plain };
    let (left, operators) = match expr {
        Expr::BinaryOp { left, op, .. } => {
            return (op.to_string() == wanted).then(|| left.span().end);
        }
        Expr::Like { expr, negated: not, .. } => (expr, [negated(*not, "~~", "!~~"), "~~"]),
        Expr::ILike { expr, negated: not, .. } => (expr, [negated(*not, "~~*", "!~~*"), "~~*"]),
        Expr::InList { expr, negated: not, .. } => (expr, [negated(*not, "=", "<>"), "="]),
        Expr::InSubquery { expr, .. } => (expr, ["=", "="]),
        Expr::Between { expr, .. } => (expr, [">=", "<="]),
        Expr::IsDistinctFrom(left, _) | Expr::IsNotDistinctFrom(left, _) => (left, ["=", "="]),
        Expr::AnyOp { left, .. } | Expr::AllOp { left, .. } => (left, [wanted_of(expr), "="]),
        Expr::Case { operand: Some(operand), .. } => (operand, ["=", "="]),
        _ => return None,
    };
    operators.contains(&wanted).then(|| left.span().end)
}

fn wanted_of(expr: &Expr) -> &'static str {
    use datafusion::sql::sqlparser::ast::BinaryOperator as Op;
    let (Expr::AnyOp { compare_op, .. } | Expr::AllOp { compare_op, .. }) = expr else { return "" };
    match compare_op {
        Op::Lt => "<",
        Op::LtEq => "<=",
        Op::Gt => ">",
        Op::GtEq => ">=",
        Op::NotEq => "<>",
        _ => "=",
    }
}

/// True for what stands where its operator would: before its operand, or as a call.
fn names_operator(expr: &Expr, wanted: &str) -> bool {
    match expr {
        Expr::UnaryOp { op, .. } => op.to_string() == wanted,
        Expr::Function(function) => wanted == "=" && is_named(function, "nullif"),
        _ => false,
    }
}

fn is_named(function: &Function, wanted: &str) -> bool {
    let name = function.name.0.last().and_then(|part| part.as_ident());
    name.is_some_and(|name| fold(name) == wanted)
}

fn arguments(function: &Function) -> Vec<Expr> {
    use datafusion::sql::sqlparser::ast::{FunctionArg, FunctionArgExpr};
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let value = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value.clone()),
        _ => None,
    };
    list.args.iter().filter_map(value).collect()
}

/// A CASE with some of its branches.
fn shortened(case: &Expr, branches: &[CaseWhen]) -> Expr {
    let mut case = case.clone();
    if let Expr::Case { conditions, .. } = &mut case {
        *conditions = branches.to_vec();
    }
    case
}

fn first_select(body: &mut SetExpr) -> Option<&mut Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => first_select(&mut query.body),
        SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}

fn condition_of(operator: &mut datafusion::sql::sqlparser::ast::JoinOperator) -> Option<&mut Expr> {
    use datafusion::sql::sqlparser::ast::{JoinConstraint, JoinOperator};
    match operator {
        JoinOperator::Join(JoinConstraint::On(on))
        | JoinOperator::Inner(JoinConstraint::On(on))
        | JoinOperator::Left(JoinConstraint::On(on))
        | JoinOperator::LeftOuter(JoinConstraint::On(on))
        | JoinOperator::Right(JoinConstraint::On(on))
        | JoinOperator::RightOuter(JoinConstraint::On(on))
        | JoinOperator::FullOuter(JoinConstraint::On(on)) => Some(on),
        _ => None,
    }
}
