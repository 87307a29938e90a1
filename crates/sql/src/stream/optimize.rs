//! The rules that a view's logical plan goes through: our own list, without a clock.
//!
//! Not on the list: rules that fold a limit or an empty input into the plan (a view has neither),
//! that rewrite DISTINCT into forms that cannot retract, and everything that takes `now()` for a
//! constant.

use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::optimize_unions::OptimizeUnions;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use millrace_types::Report;

use super::refuse::failure;
use super::topn::without_distinct_on;

type Rule = Arc<dyn OptimizerRule + Send + Sync>;

fn rules() -> Vec<Rule> {
    vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(OptimizeUnions::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        // Before it each subquery stands once, and is one join.
        Arc::new(SimplifyExpressions::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ]
}

/// The analyzed and optimized plan.
pub(super) fn optimize(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan, Report> {
    let mut options = state.config_options().as_ref().clone();
    // A scalar subquery is a join, correlated or not; each has at most one row by then.
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    let options = Arc::new(options);
    let analyzer = state.analyzer();
    let analyzed = analyzer.execute_and_check(plan, &options, |_, _| {}).map_err(failure)?;
    let analyzed = without_distinct_on(analyzed)?;
    let context = OptimizerContext::new_with_config_options(options)
        .without_query_execution_start_time()
        .with_skip_failing_rules(false);
    Optimizer::with_rules(rules()).optimize(analyzed, &context, |_, _| {}).map_err(failure)
}
