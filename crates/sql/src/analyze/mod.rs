//! Analyzer rules: operators and casts as PostgreSQL has them.
//!
//! While names are resolved, operators get operands of the types that PostgreSQL gives them
//! ([`operators`]), and casts that it does not have are turned away ([`casts`]). Rules before DataFusion's
//! type coercion do the same for what has no hook there; one after it puts our functions in place of
//! operators that wrap ([`arithmetic`]) and of casts that read, round or write in another way. When all
//! types are known ([`with_orders`]), orders and partitions get what equal values are known by
//! ([`equal`]), and which of the rows that an order leaves tied comes first is decided ([`ties`]). Names
//! of columns stay.
//!
//! Invariants: 1. running a rule again changes nothing: DataFusion runs all of them before it executes a
//! plan. 2. a constant that is cast is a constant.

mod arithmetic;
mod casts;
mod choices;
mod concat;
mod correlated;
mod equal;
mod existence;
mod json;
mod listed;
mod multisets;
mod nested;
mod operators;
mod ordered;
mod sorted;
mod subqueries;
mod ties;
mod unions;
mod with_ties;
mod zoned;

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::resolve_grouping_function::ResolveGroupingFunction;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;

use crate::functions::{self, ASSIGNED, Regexp};
use crate::session;

pub(crate) use correlated::lifted;
pub(crate) use listed::rows_apart;
pub(crate) use multisets::as_counts;
pub(crate) use operators::Operators;
pub(crate) use ordered::orders_apart;
pub(crate) use sorted::with_sorted;
pub(crate) use subqueries::as_values;
pub(crate) use ties::call as window_call;
pub(crate) use with_ties::with_ties;
pub use zoned::depends_on_zone;

/// The rule that puts our functions in place of casts and operators.
const FUNCTIONS: &str = "postgres_functions";

/// All analyzer rules, in order.
pub(crate) fn rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    vec![
        Arc::new(ResolveGroupingFunction::new()),
        Arc::new(Nodes { name: "postgres_unions", change: unions::widen }),
        Arc::new(Rule { name: "postgres_types", change: operators::adapt }),
        Arc::new(TypeCoercion::new()),
        Arc::new(SessionZone),
        Arc::new(Rule { name: FUNCTIONS, change: replaced }),
    ]
}

/// A plan whose operands and arguments have the types that they take, with casts where they have others;
/// for what the places of parameters say of them.
pub(crate) fn coerced(plan: LogicalPlan, options: &ConfigOptions) -> Result<LogicalPlan> {
    let mut rules = rules().into_iter().filter(|rule| rule.name() != FUNCTIONS);
    rules.try_fold(plan, |plan, rule| rule.analyze(plan, options))
}

/// A plan whose types are known, with orders that decide. It is done once: what is added to an order
/// to decide between equal values must be told from what was asked for.
pub(crate) fn with_orders(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(equal::compare)?.data;
    ties::decided(plan)
}

/// Turns a plan away that has a cast which PostgreSQL does not have. It is for a plan as it was
/// written: DataFusion's own rules put casts of other kinds into it.
pub(crate) fn check_casts(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rule = Rule { name: "postgres_casts", change: written };
    rule.analyze(plan, &ConfigOptions::default())
}

fn written(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    choices::check_conditions(&expr, schema)?;
    casts::check(expr, schema)
}

/// The same for an expression that stands alone.
pub(crate) fn check_casts_in(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(expr.transform_up(|expr| casts::check(expr, schema))?.data)
}

/// An expression whose types are resolved, with our functions in it.
pub(crate) fn with_functions(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(expr.transform_up(|expr| replaced(expr, schema))?.data)
}

fn replaced(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(binary) => Ok(match Regexp::of(binary.op) {
            Some(regexp) => {
                let args = vec![*binary.left, *binary.right];
                Transformed::yes(functions::regexp(regexp, args))
            }
            None => arithmetic::checked(binary, schema),
        }),
        Expr::Negative(inner) => arithmetic::negated(inner, schema),
        Expr::Cast(cast) => casts::converted(cast, schema),
        Expr::ScalarFunction(call) if call.name() == ASSIGNED => casts::assigned(call, schema),
        other => Ok(Transformed::no(other)),
    }
}

/// Changes each node of a plan.
#[derive(Debug)]
struct Nodes {
    name: &'static str,
    change: fn(LogicalPlan) -> Result<Transformed<LogicalPlan>>,
}

impl AnalyzerRule for Nodes {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(self.change)?.data)
    }

    fn name(&self) -> &str {
        self.name
    }
}

/// Changes each expression of a plan, with the schema of what it can name.
struct Rule {
    name: &'static str,
    change: fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl AnalyzerRule for Rule {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(|plan| rewritten(plan, self.change))?.data)
    }

    fn name(&self) -> &str {
        self.name
    }
}

/// Tells the session's time zone to what depends on one.
#[derive(Debug)]
struct SessionZone;

impl AnalyzerRule for SessionZone {
    fn analyze(&self, plan: LogicalPlan, options: &ConfigOptions) -> Result<LogicalPlan> {
        let zone = session::zone(options)?;
        if zone.is_utc() {
            return Ok(plan);
        }
        let told = |expr: Expr, schema: &DFSchema| zoned::told(expr, schema, zone);
        Ok(plan.transform_up_with_subqueries(|plan| rewritten(plan, told))?.data)
    }

    fn name(&self) -> &str {
        "session_zone"
    }
}

/// A plan whose own expressions are changed; columns keep their names.
fn rewritten(
    plan: LogicalPlan,
    change: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let mut schema = match &plan {
        LogicalPlan::TableScan(scan) => scan.projected_schema.as_ref().clone(),
        _ => DFSchema::empty(),
    };
    for input in plan.inputs() {
        schema.merge(input.schema());
    }
    let names = NamePreserver::new(&plan);
    let named = |expr: Expr| {
        let saved = names.save(&expr);
        let changed = expr.transform_up(|expr| change(expr, &schema))?;
        Ok(changed.update_data(|expr| saved.restore(expr)))
    };
    plan.map_expressions(|expr| match expr {
        // What is above names the columns inside.
        Expr::GroupingSet(set) => {
            let each = |exprs: Vec<Expr>| exprs.into_iter().map(|e| Ok(named(e)?.data)).collect();
            let set = match set {
                GroupingSet::Rollup(exprs) => GroupingSet::Rollup(each(exprs)?),
                GroupingSet::Cube(exprs) => GroupingSet::Cube(each(exprs)?),
                GroupingSet::GroupingSets(sets) => {
                    let sets = sets.into_iter().map(each).collect::<Result<_>>()?;
                    GroupingSet::GroupingSets(sets)
                }
            };
            Ok(Transformed::yes(Expr::GroupingSet(set)))
        }
        expr => named(expr),
    })
}
