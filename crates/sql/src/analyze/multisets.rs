//! `INTERSECT ALL` and `EXCEPT ALL`: a row as often as both sides say.
//!
//! DataFusion's semi and anti joins give every left row that has a match, or none, however often.
//! Here the rows of both sides are counted together, and each is given again as often as it should:
//! the smaller of the two counts, or how many more there are on the left.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, JoinType, NullEquality, Result, ScalarValue, UnnestOptions};
use datafusion::functions::core::expr_fn::least;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_nested::range::range_udf;
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::logical_plan::Join;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, LogicalPlanBuilder, lit};

const LEFT: &str = "millrace_left";
const RIGHT: &str = "millrace_right";
const PART: &str = "millrace_part";
const TIMES: &str = "millrace_times";

/// See the module.
pub(crate) fn as_counts(plan: LogicalPlan) -> Result<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Join(join) if keeps_duplicates(join) => counted(join).map(Transformed::yes),
        _ => Ok(Transformed::no(node)),
    });
    Ok(changed?.data)
}

/// True for INTERSECT ALL and EXCEPT ALL in a plan as it was written.
fn keeps_duplicates(join: &Join) -> bool {
    join.null_equality == NullEquality::NullEqualsNull
        && matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && !matches!(join.left.as_ref(), LogicalPlan::Distinct(Distinct::All(_)))
}

fn counted(join: &Join) -> Result<LogicalPlan> {
    let rows = side(&join.left, true)?.union(side(&join.right, false)?.build()?)?;
    let columns = rows.schema().columns();
    let width = columns.len().saturating_sub(2);
    let group: Vec<Expr> = columns[..width].iter().cloned().map(Expr::Column).collect();
    let count = |name: &str| {
        let args = vec![Expr::Column(Column::new_unqualified(name))];
        let call = AggregateFunction::new_udf(count_udaf(), args, false, None, Vec::new(), None);
        Expr::AggregateFunction(call).alias(format!("{name}_count"))
    };
    // DataFusion keeps what it knows of a key through an unnest, where it is no key any more. Of this
    // one a part is projected away.
    let part = group.iter().take(1).map(|column| column.clone().is_null().alias(PART));
    let key = group.iter().cloned().chain(part).collect::<Vec<_>>();
    let rows = rows.aggregate(key, vec![count(LEFT), count(RIGHT)])?;
    let counted = |name: &str| Expr::Column(Column::new_unqualified(format!("{name}_count")));
    let (left, right) = (counted(LEFT), counted(RIGHT));
    let times = match join.join_type {
        JoinType::LeftSemi => least(vec![left, right]),
        _ => left - right,
    };
    let args = vec![lit(0i64), times.clone(), lit(1i64)];
    let places = Expr::ScalarFunction(ScalarFunction::new_udf(range_udf(), args)).alias(TIMES);
    let rows = rows.filter(times.gt(lit(0i64)))?;
    let rows = rows.project(group.iter().cloned().chain([places]))?;
    let options = UnnestOptions::new().with_preserve_nulls(false);
    let rows = rows.unnest_column_with_options(Column::new_unqualified(TIMES), options)?;
    let named = join.schema.iter().zip(group).map(|((table, field), column)| {
        column.alias_qualified(table.cloned(), field.name().clone())
    });
    rows.project(named.collect::<Vec<_>>())?.build()
}

/// A side's rows, with a number that says whose they are and is NULL on the other side.
fn side(input: &Arc<LogicalPlan>, is_left: bool) -> Result<LogicalPlanBuilder> {
    let mark = |here: bool| lit(ScalarValue::Int64(here.then_some(1)));
    let columns = input.schema().columns().into_iter().enumerate();
    let columns = columns.map(|(at, column)| Expr::Column(column).alias(format!("c{at}")));
    let marks = [mark(is_left).alias(LEFT), mark(!is_left).alias(RIGHT)];
    LogicalPlanBuilder::from(Arc::clone(input)).project(columns.chain(marks))
}
