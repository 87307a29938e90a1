//! Selects over tables of the catalog that never have rows: what such a select would calculate for each row is
//! never asked for.
//!
//! Clients look for policies, publications or extended statistics with subqueries of every kind, also such
//! as cannot be planned. A select that joins a table without rows has none itself, so its subqueries are left
//! out; whether names are right is still seen in all of the rest.

use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, DataType, Expr, FunctionArguments, GroupByExpr, Ident, JoinOperator,
    ObjectName, Select, SelectItem, SetExpr, TableFactor, Value, VisitMut, VisitorMut,
};

use super::rewrite::{array_of, cast, catalog_table, folded, null, parts};
use super::{information_schema, statics, tables};

/// Kinds of types that `pg_type` has none of: composite ones, domains, enumerations.
const NO_KINDS: [&str; 3] = ["c", "d", "e"];

/// Takes the branches out of a CASE that ask for a type of such a kind: `CASE WHEN t.typtype = 'd' THEN ...`.
pub(super) fn without_dead_branches(conditions: &mut [CaseWhen]) {
    for branch in conditions {
        if asks_for_no_kind(&branch.condition) {
            branch.condition = Expr::Value(Value::Boolean(false).with_empty_span());
            branch.result = null_of(&branch.result);
        }
    }
}

fn asks_for_no_kind(condition: &Expr) -> bool {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = condition else { return false };
    let column = match left.as_ref() {
        Expr::CompoundIdentifier(path) => path.last(),
        _ => None,
    };
    let kind = match right.as_ref() {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(kind) => Some(kind.as_str()),
            _ => None,
        },
        _ => None,
    };
    column.is_some_and(|column| folded(column) == "typtype")
        && kind.is_some_and(|kind| NO_KINDS.contains(&kind))
}

/// What a subquery without rows is as a value: NULL of its type, if that shows.
pub(super) fn value(expr: &Expr, is_own: &dyn Fn(&str) -> bool) -> Option<Expr> {
    let Expr::Subquery(query) = expr else { return None };
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let is_empty = query.with.is_none() && has_no_rows(select, is_own) && !aggregates(select);
    let null = is_empty.then(|| null_of(expr))?;
    // A NULL whose type is not known might change that of a column.
    matches!(null, Expr::Cast { .. }).then_some(null)
}

/// NULL of the type that a subquery's value has, as far as it shows.
fn null_of(result: &Expr) -> Expr {
    let Expr::Subquery(query) = result else { return null() };
    let SetExpr::Select(select) = query.body.as_ref() else { return null() };
    let [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }] =
        select.projection.as_slice()
    else {
        return null();
    };
    let text = value.to_string().to_ascii_lowercase();
    let oid = || DataType::Custom(ObjectName::from(vec![Ident::new("oid")]), Vec::new());
    match (text.starts_with("array_agg"), text.contains("typid"), text == "oid") {
        (true, true, _) => cast(null(), array_of(oid())),
        (true, false, _) => cast(null(), array_of(DataType::Text)),
        (false, _, true) => cast(null(), oid()),
        _ if text.starts_with("json") => cast(null(), DataType::JSONB),
        _ => null(),
    }
}

/// Aggregates without GROUP BY give a row where there is none.
const AGGREGATES: [&str; 10] = [
    "count",
    "min",
    "max",
    "sum",
    "avg",
    "array_agg",
    "string_agg",
    "bool_and",
    "bool_or",
    "json_agg",
];

/// Takes the subqueries out of a select that has no rows whatever they say.
/// `is_own` is true for a name without a schema that is not the catalog's.
pub(super) fn without_subqueries(select: &mut Select, is_own: &dyn Fn(&str) -> bool) {
    if !has_no_rows(select, is_own) || aggregates(select) {
        return;
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            let ControlFlow::Continue(()) = VisitMut::visit(expr, &mut Without);
        }
    }
    if let Some(condition) = &mut select.selection {
        let ControlFlow::Continue(()) = VisitMut::visit(condition, &mut Without);
    }
}

fn is_empty(factor: &TableFactor, is_own: &dyn Fn(&str) -> bool) -> bool {
    let TableFactor::Table { name, args: None, .. } = factor else { return false };
    let Some(table) = catalog_table(name) else { return false };
    if name.0.len() == 1 && is_own(&table) {
        return false;
    }
    let table = table.as_str();
    let named = |tables: &[(&str, &str)]| tables.iter().any(|(name, _)| *name == table);
    statics::EMPTY.contains(&table) || named(tables::NO_ROWS) || named(information_schema::NO_ROWS)
}

/// True if an item of FROM without rows is joined in such a way that there are none at all.
fn has_no_rows(select: &Select, is_own: &dyn Fn(&str) -> bool) -> bool {
    select.from.iter().any(|from| {
        let keeps_left = |operator: &JoinOperator| {
            matches!(
                operator,
                JoinOperator::Join(_)
                    | JoinOperator::Inner(_)
                    | JoinOperator::CrossJoin(_)
                    | JoinOperator::Left(_)
                    | JoinOperator::LeftOuter(_)
            )
        };
        let inner = |operator: &JoinOperator| {
            matches!(
                operator,
                JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_)
            )
        };
        let left = from.joins.iter().all(|join| keeps_left(&join.join_operator));
        let joined = |join: &datafusion::sql::sqlparser::ast::Join| {
            inner(&join.join_operator) && is_empty(&join.relation, is_own)
        };
        left && (is_empty(&from.relation, is_own) || from.joins.iter().any(joined))
    })
}

pub(super) fn aggregates(select: &Select) -> bool {
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let mut finder = Finder(false);
    for item in &mut select.projection.clone() {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
            && !matches!(expr, Expr::Subquery(_))
        {
            let ControlFlow::Continue(()) = VisitMut::visit(expr, &mut finder);
        }
    }
    !grouped && finder.0
}

/// Whether an aggregate is called outside of subqueries.
struct Finder(bool);

impl VisitorMut for Finder {
    type Break = Infallible;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        match expr {
            Expr::Subquery(_) => *expr = null(),
            Expr::Function(function) => {
                if let FunctionArguments::Subquery(_) = function.args {
                    *expr = null();
                    return ControlFlow::Continue(());
                }
                let name = parts(&function.name).pop();
                self.0 |= name.is_some_and(|name| AGGREGATES.contains(&name.as_str()));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

struct Without;

impl VisitorMut for Without {
    type Break = Infallible;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        let no = || Expr::Value(Value::Boolean(false).with_empty_span());
        let new = match expr {
            Expr::Subquery(_) => Some(null()),
            Expr::Exists { .. } | Expr::InSubquery { .. } => Some(no()),
            Expr::Function(function) => match function.args {
                FunctionArguments::Subquery(_) => Some(cast(null(), array_of(DataType::Text))),
                _ => None,
            },
            _ => None,
        };
        if let Some(new) = new {
            *expr = new;
        }
        ControlFlow::Continue(())
    }
}
