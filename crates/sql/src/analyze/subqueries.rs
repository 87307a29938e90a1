//! Subqueries as values, in the forms that can be made into joins.
//!
//! DataFusion makes a join of `EXISTS` and `IN` where a WHERE clause asks for them and of scalar
//! subqueries that aggregate. Everything else is brought to such a scalar subquery here: `EXISTS` as
//! a value counts rows, `IN` as a value counts equal rows and looks for NULLs, and a subquery that may
//! have several rows gives a list of at most two values, of which `only` takes the one.
//!
//! Invariants: 1. the meaning is PostgreSQL's, NULLs included; more than one row is an error of the
//! row that asks, and of no other.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema, Result, ScalarValue, not_impl_err};
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_nested::make_array::make_array;
use datafusion::logical_expr::expr::{
    AggregateFunction, Exists, InSubquery, SetComparison, SetQuantifier, Sort,
};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{
    conjunction, merge_schema, split_conjunction, split_conjunction_owned,
};
use datafusion::logical_expr::{
    AggregateUDF, Expr, FetchType, LogicalPlan, LogicalPlanBuilder, Operator, SkipType, Subquery,
    binary_expr, lit, not, when,
};

use super::existence;
use crate::functions::only;

/// The one column of a subquery that IN, ANY or ALL look through.
const ITEM: &str = "__item";

/// See the module.
pub(crate) fn as_values(plan: LogicalPlan) -> Result<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(node_values)?;
    Ok(changed.data)
}

fn node_values(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !node.expressions().iter().any(has_subquery) {
        return Ok(Transformed::no(node));
    }
    let names = NamePreserver::new(&node);
    let is_filter = matches!(node, LogicalPlan::Filter(_));
    let schema = merge_schema(&node.inputs());
    let changed = node.map_expressions(|expr| {
        if !has_subquery(&expr) {
            return Ok(Transformed::no(expr));
        }
        if is_filter {
            let parts = split_conjunction_owned(expr).into_iter();
            let parts = parts.map(membership).map(|part| match is_join(&part) {
                true => Ok(part),
                false => expression(part, &schema),
            });
            let whole = conjunction(parts.collect::<Result<Vec<_>>>()?);
            return Ok(Transformed::yes(whole.unwrap_or_else(|| lit(true))));
        }
        let name = names.save(&expr);
        Ok(Transformed::yes(name.restore(expression(expr, &schema)?)))
    })?;
    changed.map_data(LogicalPlan::recompute_schema)
}

fn has_subquery(expr: &Expr) -> bool {
    let is = |part: &Expr| {
        matches!(
            part,
            Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::ScalarSubquery(_)
                | Expr::SetComparison(_)
        )
    };
    expr.exists(|part| Ok(is(part))).unwrap_or(false)
}

/// `= ANY` is `IN`, and `<> ALL` is `NOT IN`.
fn membership(condition: Expr) -> Expr {
    match condition {
        Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
            match (op, quantifier) {
                (Operator::Eq, SetQuantifier::Any) => {
                    Expr::InSubquery(InSubquery { expr, subquery, negated: false })
                }
                (Operator::NotEq, SetQuantifier::All) => {
                    Expr::InSubquery(InSubquery { expr, subquery, negated: true })
                }
                _ => Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }),
            }
        }
        other => other,
    }
}

/// True for a condition of a WHERE clause that is a semi or anti join as it stands.
fn is_join(condition: &Expr) -> bool {
    match condition {
        Expr::Exists(asked) => !existence::is_other(&asked.subquery.subquery),
        Expr::InSubquery(membership) => is_semi_join(membership, false),
        Expr::Not(inner) => match inner.as_ref() {
            Expr::Exists(asked) => !existence::is_other(&asked.subquery.subquery),
            Expr::InSubquery(membership) => is_semi_join(membership, true),
            _ => false,
        },
        _ => false,
    }
}

/// `NOT IN` asks for NULLs too: only one column beside one subquery is a join then.
fn is_semi_join(membership: &InSubquery, inverted: bool) -> bool {
    let is_correlated = !membership.subquery.outer_ref_columns.is_empty();
    let alone = !is_correlated && !membership.expr.column_refs().is_empty();
    let matches =
        !is_correlated || !existence::has_row_without_match(&membership.subquery.subquery);
    !has_subquery(&membership.expr) && (membership.negated == inverted || alone) && matches
}

fn expression(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let changed = expr.transform_up(|part| match part {
        Expr::Exists(Exists { subquery, negated }) => {
            let found = exists(subquery.subquery.as_ref().clone(), schema, &subquery)?;
            Ok(Transformed::yes(if negated { not(found) } else { found }))
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) if is_plain(&expr, &subquery) => {
            let asked = Quantified { any: true, operator: Operator::Eq, subquery };
            let found = asked.answer(*expr, schema)?;
            Ok(Transformed::yes(if negated { not(found) } else { found }))
        }
        Expr::SetComparison(SetComparison { expr, subquery, op, quantifier })
            if is_plain(&expr, &subquery) =>
        {
            let any = quantifier == SetQuantifier::Any;
            let asked = Quantified { any, operator: op, subquery };
            Ok(Transformed::yes(asked.answer(*expr, schema)?))
        }
        Expr::ScalarSubquery(subquery) => one_value(subquery),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(changed.data)
}

fn call(function: Arc<AggregateUDF>, arg: Expr) -> Expr {
    let args = vec![arg];
    Expr::AggregateFunction(AggregateFunction::new_udf(function, args, false, None, vec![], None))
}

pub(super) fn count(arg: Expr) -> Expr {
    call(count_udaf(), arg)
}

/// One value of aggregates over a query's rows, as a subquery.
pub(super) fn aggregated(
    input: LogicalPlan,
    calls: Vec<Expr>,
    value: impl FnOnce(Vec<Expr>) -> Result<Expr>,
    spans: &Subquery,
) -> Result<Expr> {
    let plan = LogicalPlanBuilder::from(input).aggregate(Vec::<Expr>::new(), calls)?.build()?;
    let columns = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let value = value(columns)?.alias("value");
    scalar(LogicalPlanBuilder::from(plan).project(vec![value])?.build()?, spans)
}

/// A query of one column and one row as a value.
pub(super) fn scalar(plan: LogicalPlan, spans: &Subquery) -> Result<Expr> {
    Ok(Expr::ScalarSubquery(subquery(plan, spans)?))
}

fn subquery(plan: LogicalPlan, spans: &Subquery) -> Result<Subquery> {
    let outer_ref_columns = outer_columns(&plan)?;
    Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: spans.spans.clone() })
}

/// The columns from outside that a query uses, nested queries included.
fn outer_columns(plan: &LogicalPlan) -> Result<Vec<Expr>> {
    let mut found: Vec<Expr> = Vec::new();
    plan.apply(|node| {
        for outer in node.all_out_ref_exprs() {
            if !found.contains(&outer) {
                found.push(outer);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// `EXISTS (...)` is `(SELECT count(*) ...) > 0`, where that can be a join.
fn exists(input: LogicalPlan, schema: &DFSchema, spans: &Subquery) -> Result<Expr> {
    if let Some(found) = existence::other(&input, schema, spans)? {
        return Ok(found);
    }
    if !by_equality(&input)? {
        return Ok(Expr::Exists(Exists { subquery: subquery(input, spans)?, negated: false }));
    }
    Ok(aggregated(input, vec![count(lit(1i64))], first, spans)?.gt(lit(0i64)))
}

/// True if all that a query takes from outside are values that its columns equal.
fn by_equality(plan: &LogicalPlan) -> Result<bool> {
    let mut all = true;
    plan.apply(|node| {
        for expr in node.expressions() {
            all &= match node {
                LogicalPlan::Filter(_) => split_conjunction(&expr).into_iter().all(|part| {
                    let equal =
                        matches!(part, Expr::BinaryExpr(binary) if binary.op == Operator::Eq);
                    equal || !part.contains_outer()
                }),
                _ => !expr.contains_outer(),
            };
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(all)
}

/// One value beside the one column of a subquery.
fn is_plain(expr: &Expr, subquery: &Subquery) -> bool {
    !has_subquery(expr) && subquery.subquery.schema().fields().len() == 1
}

pub(super) fn first(columns: Vec<Expr>) -> Result<Expr> {
    columns
        .into_iter()
        .next()
        .ok_or_else(|| DataFusionError::Internal("a subquery without a column".to_owned()))
}

/// `x operator ANY | ALL (SELECT y ...)`
struct Quantified {
    any: bool,
    operator: Operator,
    subquery: Subquery,
}

impl Quantified {
    /// Decided (true for ANY, false for ALL) if one `y` decides; otherwise NULL if there is a NULL
    /// among them, or if `x` is NULL and there are any; otherwise the other way.
    fn answer(&self, x: Expr, schema: &DFSchema) -> Result<Expr> {
        let (input, y) = self.items(&x)?;
        let nulls = LogicalPlanBuilder::from(input.clone()).filter(y.clone().is_null())?.build()?;
        let exists = |plan| exists(plan, schema, &self.subquery);
        let vague = x.clone().is_null().and(exists(input.clone())?);
        let unknown = lit(ScalarValue::Boolean(None));
        let same = || {
            let same = y.clone().eq(outer(x.clone(), schema)?);
            exists(LogicalPlanBuilder::from(input.clone()).filter(same)?.build()?)
        };
        when(self.decided(x.clone(), same, (&input, &y))?, lit(self.any))
            .when(exists(nulls)?, unknown.clone())
            .when(vague, unknown)
            .otherwise(lit(!self.any))
    }

    /// The query and its one column, under a name that no other table's column has: the table of `x`
    /// may be that of `y`, too.
    fn items(&self, x: &Expr) -> Result<(LogicalPlan, Expr)> {
        let input = self.subquery.subquery.as_ref();
        let column = first(input.schema().columns().into_iter().map(Expr::Column).collect())?;
        let outside = x.column_refs();
        let mut hidden = false;
        input.apply(|node| {
            for expr in node.expressions().iter().filter(|expr| expr.contains_outer()) {
                hidden |= expr.column_refs().iter().any(|inside| outside.contains(inside));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        if hidden {
            return not_impl_err!(
                "IN, ANY or ALL of a correlated subquery over a table that stands outside it under the same name"
            );
        }
        let items = vec![column.alias(ITEM)];
        let input = LogicalPlanBuilder::from(input.clone()).project(items)?.build()?;
        Ok((input, Expr::Column(Column::new_unqualified(ITEM))))
    }

    fn decided(
        &self,
        x: Expr,
        same: impl FnOnce() -> Result<Expr>,
        (input, y): (&LogicalPlan, &Expr),
    ) -> Result<Expr> {
        let extreme = |function: Arc<AggregateUDF>| {
            aggregated(input.clone(), vec![call(function, y.clone())], first, &self.subquery)
        };
        let beside = |operator, extreme| binary_expr(x.clone(), operator, extreme);
        // ALL is decided by one value for which the comparison is false.
        let operator = if self.any { Some(self.operator) } else { self.operator.negate() };
        match operator {
            Some(Operator::Eq) => same(),
            Some(Operator::NotEq) => Ok(beside(Operator::NotEq, extreme(min_udaf())?)
                .or(beside(Operator::NotEq, extreme(max_udaf())?))),
            Some(operator @ (Operator::Gt | Operator::GtEq)) => {
                Ok(beside(operator, extreme(min_udaf())?))
            }
            Some(operator @ (Operator::Lt | Operator::LtEq)) => {
                Ok(beside(operator, extreme(max_udaf())?))
            }
            _ => not_impl_err!("{} before ANY or ALL of a subquery", self.operator),
        }
    }
}

/// An expression over the columns of the outer query, inside a subquery.
fn outer(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let changed = expr.transform_up(|part| match part {
        Expr::Column(column) => {
            let field = Arc::clone(schema.field_from_column(&column)?);
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(changed.data)
}

/// A subquery that may have several rows as one that has one value or none.
fn one_value(subquery: Subquery) -> Result<Transformed<Expr>> {
    let plan = subquery.subquery.as_ref();
    if let Some((input, value, order)) = first_of(plan) {
        let call =
            AggregateFunction::new_udf(first_value_udaf(), vec![value], false, None, order, None);
        let calls = vec![Expr::AggregateFunction(call)];
        return Ok(Transformed::yes(aggregated(input, calls, first, &subquery)?));
    }
    let column = plan.schema().columns().into_iter().next();
    let Some(column) = column.filter(|_| !at_most_one(plan)) else {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    };
    let calls = vec![count(lit(1i64)), call(first_value_udaf(), Expr::Column(column))];
    let list = |columns: Vec<Expr>| {
        let [rows, value] = columns.as_slice() else { return first(columns) };
        when(rows.clone().gt(lit(1i64)), make_array(vec![value.clone(), value.clone()]))
            .when(rows.clone().eq(lit(1i64)), make_array(vec![value.clone()]))
            .end()
    };
    Ok(Transformed::yes(only(aggregated(plan.clone(), calls, list, &subquery)?)))
}

/// True if a query never has two rows.
fn at_most_one(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Values(values) => values.values.len() < 2,
        LogicalPlan::Limit(limit) => {
            matches!(limit.get_fetch_type(), Ok(FetchType::Literal(Some(0 | 1))))
                || at_most_one(&limit.input)
        }
        LogicalPlan::Projection(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Window(_) => plan.inputs().into_iter().all(at_most_one),
        _ => false,
    }
}

/// Of `SELECT value ... ORDER BY order LIMIT 1`: the rows, the value, the order.
fn first_of(plan: &LogicalPlan) -> Option<(LogicalPlan, Expr, Vec<Sort>)> {
    let LogicalPlan::Limit(limit) = plan else { return None };
    let one = matches!(limit.get_fetch_type(), Ok(FetchType::Literal(Some(1))));
    let from_start = matches!(limit.get_skip_type(), Ok(SkipType::Literal(0)));
    if !one || !from_start {
        return None;
    }
    let (sorted, value) = match limit.input.as_ref() {
        LogicalPlan::Projection(projection) => {
            let sorted = matches!(projection.input.as_ref(), LogicalPlan::Sort(_));
            let [value] = projection.expr.as_slice() else { return None };
            match sorted {
                true => (projection.input.as_ref(), Some(value.clone().unalias())),
                false => (limit.input.as_ref(), None),
            }
        }
        other => (other, None),
    };
    let (input, order) = match sorted {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => (sort.input.as_ref(), sort.expr.clone()),
        LogicalPlan::Sort(_) => return None,
        other => (other, Vec::new()),
    };
    let value = value.or_else(|| input.schema().columns().into_iter().next().map(Expr::Column))?;
    Some((input.clone(), value, order))
}
