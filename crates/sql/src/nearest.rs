//! ASOF joins in logical plans: a node of our own.
//!
//! The stream planner keeps it as it is. A plan that is executed has windows in its place
//! ([`without_asof`]): each left row is joined with all right rows that it could take, and the first of
//! them in the order of the times stays.
//!
//! Invariants: 1. of right rows with one time the first in the order of their columns is taken, ascending,
//! NULLs last, in both.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, DFSchemaRef, JoinType, Result, plan_err};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{Sort, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::logical_plan::builder::build_join_schema;
use datafusion::logical_expr::{
    BinaryExpr, Expr, Extension, LogicalPlan, LogicalPlanBuilder, Operator,
    UserDefinedLogicalNodeCore, WindowFrame, WindowFunctionDefinition, lit,
};

/// The number of a left row.
const LEFT: &str = "\u{0}left";
/// The place of a right row among those that the left row could take.
const PLACE: &str = "\u{0}place";

/// An ASOF join.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AsOfJoin {
    pub(crate) left: Arc<LogicalPlan>,
    pub(crate) right: Arc<LogicalPlan>,
    /// Left rows without a right one stay.
    pub(crate) keeps_left: bool,
    /// Equalities of an expression over the left input and one over the right input.
    on: Vec<Expr>,
    /// The comparison of their times.
    times: Expr,
    schema: DFSchemaRef,
}

/// What an ASOF join compares; the left side of each comparison is over the left input.
pub(crate) struct Compared {
    pub(crate) on: Vec<(Expr, Expr)>,
    pub(crate) times: (Expr, Expr),
    /// The right row is at the left row's time or later.
    pub(crate) later: bool,
    /// It is not at that very time.
    pub(crate) strict: bool,
}

/// The sides of a comparison, that over the left input first; None if it is of another form.
pub(crate) fn sides(
    expr: &Expr,
    left: &DFSchema,
    right: &DFSchema,
) -> Option<(Expr, Operator, Expr)> {
    // A rule that turns it round keeps its name.
    if let Expr::Alias(alias) = expr {
        return sides(&alias.expr, left, right);
    }
    let Expr::BinaryExpr(BinaryExpr { left: one, op, right: other }) = expr else { return None };
    let is_over = |expr: &Expr, schema: &DFSchema| {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.iter().all(|column| schema.index_of_column(column).is_ok())
    };
    let (one, other) = (one.as_ref(), other.as_ref());
    if is_over(one, left) && is_over(other, right) {
        return Some((one.clone(), *op, other.clone()));
    }
    let swapped = is_over(one, right) && is_over(other, left);
    swapped.then_some((other.clone(), op.swap()?, one.clone()))
}

/// True for the comparisons of times.
pub(crate) fn orders(op: Operator) -> bool {
    matches!(op, Operator::GtEq | Operator::Gt | Operator::LtEq | Operator::Lt)
}

impl AsOfJoin {
    pub(crate) fn try_new(
        left: LogicalPlan,
        right: LogicalPlan,
        keeps_left: bool,
        on: Vec<Expr>,
        times: Expr,
    ) -> Result<AsOfJoin> {
        let kind = if keeps_left { JoinType::Left } else { JoinType::Inner };
        let schema = Arc::new(build_join_schema(left.schema(), right.schema(), &kind)?);
        Ok(AsOfJoin { left: left.into(), right: right.into(), keeps_left, on, times, schema })
    }

    /// The node as a plan.
    pub(crate) fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }

    /// What it compares.
    ///
    /// # Errors
    /// A comparison that a rule has given another form.
    pub(crate) fn compared(&self) -> Result<Compared> {
        let split = |expr: &Expr| match sides(expr, self.left.schema(), self.right.schema()) {
            Some(sides) => Ok(sides),
            None => plan_err!("an ASOF join cannot compare by {expr}"),
        };
        let on = self.on.iter().map(|expr| split(expr).map(|(left, _, right)| (left, right)));
        let (left, op, right) = split(&self.times)?;
        Ok(Compared {
            on: on.collect::<Result<_>>()?,
            times: (left, right),
            later: matches!(op, Operator::Lt | Operator::LtEq),
            strict: matches!(op, Operator::Lt | Operator::Gt),
        })
    }

    /// The same, whose times are compared by something else.
    ///
    /// # Errors
    /// As [`AsOfJoin::compared`].
    pub(crate) fn comparing(&self, by: impl Fn(Expr, &DFSchema) -> Expr) -> Result<AsOfJoin> {
        let Some((left, op, right)) = sides(&self.times, self.left.schema(), self.right.schema())
        else {
            return plan_err!("an ASOF join cannot compare by {}", self.times);
        };
        let (left, right) = (by(left, self.left.schema()), by(right, self.right.schema()));
        let times = Expr::BinaryExpr(BinaryExpr { left: left.into(), op, right: right.into() });
        Ok(AsOfJoin { times, ..self.clone() })
    }

    /// The same with joins and window functions alone.
    fn lowered(&self) -> Result<LogicalPlan> {
        let Compared { times, later, .. } = self.compared()?;
        let left = LogicalPlanBuilder::from(self.left.as_ref().clone()).window([number(
            Vec::new(),
            Vec::new(),
        )
        .alias(LEFT)])?;
        let kind = if self.keeps_left { JoinType::Left } else { JoinType::Inner };
        let conditions = self.on.iter().chain([&self.times]);
        let conditions = conditions.map(|expr| expr.clone().unalias_nested().data);
        let column = |name: &str| Expr::Column(Column::new_unqualified(name));
        let mut order = vec![times.1.sort(later, false)];
        let ties = self.right.schema().columns().into_iter();
        order.extend(ties.map(|tie| Expr::Column(tie).sort(true, false)));
        let shown = self.schema.columns().into_iter().map(Expr::Column);
        left.join_on(self.right.as_ref().clone(), kind, conditions)?
            .window([number(vec![column(LEFT)], order).alias(PLACE)])?
            .filter(column(PLACE).lt_eq(lit(1u64)))?
            .project(shown.collect::<Vec<_>>())?
            .build()
    }
}

/// `row_number() OVER (PARTITION BY ... ORDER BY ...)`
fn number(partition_by: Vec<Expr>, order_by: Vec<Sort>) -> Expr {
    let params = WindowFunctionParams {
        args: Vec::new(),
        window_frame: WindowFrame::new((!order_by.is_empty()).then_some(false)),
        partition_by,
        order_by,
        filter: None,
        null_treatment: None,
        distinct: false,
    };
    let fun = WindowFunctionDefinition::WindowUDF(row_number_udwf());
    Expr::WindowFunction(Box::new(WindowFunction { fun, params }))
}

impl PartialOrd for AsOfJoin {
    fn partial_cmp(&self, other: &AsOfJoin) -> Option<Ordering> {
        let own = |join: &AsOfJoin| (join.keeps_left, join.on.clone(), join.times.clone());
        own(self)
            .partial_cmp(&own(other))
            .filter(|order| *order != Ordering::Equal || self == other)
    }
}

impl UserDefinedLogicalNodeCore for AsOfJoin {
    fn name(&self) -> &str {
        "AsOfJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.on.iter().chain([&self.times]).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.keeps_left { "left" } else { "inner" };
        write!(f, "AsOfJoin: {kind}, {}", self.times)?;
        self.on.iter().try_for_each(|on| write!(f, ", {on}"))
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        inputs: Vec<LogicalPlan>,
    ) -> Result<AsOfJoin> {
        let Ok([left, right]) = <[LogicalPlan; 2]>::try_from(inputs) else {
            return plan_err!("an ASOF join has two inputs");
        };
        match exprs.pop() {
            Some(times) => AsOfJoin::try_new(left, right, self.keeps_left, exprs, times),
            None => plan_err!("an ASOF join compares times"),
        }
    }

    fn necessary_children_exprs(&self, _: &[usize]) -> Option<Vec<Vec<usize>>> {
        // All columns of a right row decide which one is taken.
        let all = |plan: &LogicalPlan| (0..plan.schema().fields().len()).collect();
        Some(vec![all(&self.left), all(&self.right)])
    }
}

/// Puts what can be executed in the place of an ASOF join.
pub(crate) fn without_asof(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if let LogicalPlan::Extension(extension) = &plan
        && let Some(join) = extension.node.as_any().downcast_ref::<AsOfJoin>()
    {
        return join.lowered().map(Transformed::yes);
    }
    Ok(Transformed::no(plan))
}
