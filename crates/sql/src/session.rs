//! DataFusion sessions with our functions, types and settings.
//!
//! One session is built at the first use and cloned after that: the functions are shared.

use std::fmt;
use std::sync::{Arc, LazyLock};

use datafusion::common::DataFusionError;
use datafusion::common::Result;
use datafusion::common::config::{ConfigOptions, Dialect};
use datafusion::common::tree_node::Transformed;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{ApplyOrder, Optimizer, OptimizerConfig, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::SessionConfig;
use millrace_types::TIME_ZONE;
use millrace_types::input::Zone;

use crate::analyze;
use crate::equalities::single_equalities;
use crate::extremes::float_extremes;
use crate::frames::sliding_frames;
use crate::functions;
use crate::guard::Guard;
use crate::names::{DATABASE, SCHEMA};
use crate::nearest::without_asof;
use crate::orders::own_orders;
use crate::shared_parts::SharedParts;
use crate::typenames::Types;
use crate::windows::PlainWindows;

/// What differs between sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many threads one query may use.
    pub target_partitions: usize,
    /// Rows of a batch.
    pub batch_size: usize,
    /// The zone in which times are read, shown and moved by days.
    pub zone: Zone,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { target_partitions: 2, batch_size: 8192, zone: Zone::Utc }
    }
}

type SharedRule = Arc<dyn OptimizerRule + Send + Sync>;

static BASE: LazyLock<SessionState> = LazyLock::new(base);

/// A session that can be changed without changing others.
pub fn session_state(settings: &Settings) -> SessionState {
    let mut state = BASE.clone();
    let config = state.config().clone();
    *state.config_mut() = config
        .with_target_partitions(settings.target_partitions.max(1))
        .with_batch_size(settings.batch_size.max(1));
    if settings.zone != Zone::Utc {
        let zone = settings.zone.to_string();
        state.config_mut().options_mut().execution.time_zone = Some(zone);
    }
    state
}

/// The time zone of a session's options.
///
/// # Errors
/// It is none.
pub(crate) fn zone(options: &ConfigOptions) -> Result<Zone> {
    match options.execution.time_zone.as_deref() {
        None | Some(TIME_ZONE) => Ok(Zone::Utc),
        Some(name) => Zone::of(name).map_err(|report| DataFusionError::External(Box::new(report))),
    }
}

/// The session with default settings, shared.
pub(crate) fn shared() -> &'static SessionState {
    &BASE
}

/// A rule that looks at each node by itself, those below first.
struct Rewrite {
    name: &'static str,
    node: fn(LogicalPlan) -> Result<Transformed<LogicalPlan>>,
}

impl fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl OptimizerRule for Rewrite {
    fn name(&self) -> &str {
        self.name
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        (self.node)(plan)
    }
}

fn shared_rule(rule: impl OptimizerRule + Send + Sync + 'static) -> SharedRule {
    Arc::new(rule)
}

/// Rules of DataFusion's optimizer that are left out.
const WITHOUT: [&str; 3] = [
    // It adds partial sums up with the same function, which for us has another type.
    "single_distinct_aggregation_to_group_by",
    // They take fields of records out to read no more of a file, and fail where one is taken twice above a
    // join. We have no such files.
    "extract_leaf_expressions",
    "push_down_leaf_projections",
];

fn base() -> SessionState {
    let mut builder = SessionStateBuilder::new_with_default_features()
        .with_config(config())
        .with_type_planner(Arc::new(Types))
        .with_analyzer_rules(analyze::rules())
        .with_physical_optimizer_rules(physical_rules())
        .with_physical_optimizer_rule(Arc::new(Guard));
    let rules = Optimizer::new().rules.into_iter().filter(|rule| !WITHOUT.contains(&rule.name()));
    let shared = shared_rule(SharedParts::new());
    let rules = rules.map(|rule| match rule.name() == shared.name() {
        true => Arc::clone(&shared),
        false => rule,
    });
    let own = [
        Rewrite { name: "without_asof", node: without_asof },
        Rewrite { name: "float_extremes", node: float_extremes },
        Rewrite { name: "own_orders", node: own_orders },
        Rewrite { name: "sliding_frames", node: sliding_frames },
    ];
    let last = [Rewrite { name: "single_equalities", node: single_equalities }];
    let rules = own.into_iter().map(shared_rule).chain(rules).chain(last.map(shared_rule));
    builder = builder.with_optimizer_rules(rules.collect());
    builder.expr_planners().get_or_insert_default().insert(0, Arc::new(analyze::Operators));
    builder.scalar_functions().get_or_insert_default().extend(functions::scalar_functions());
    builder.aggregate_functions().get_or_insert_default().extend(functions::aggregate_functions());
    builder.build()
}

/// Ours for window functions, then DataFusion's but for the one that moves filters through physical plans: above an outer hash
/// join whose inputs have columns of one name it takes the other input's. Filters have been moved in
/// the logical plan already.
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let first: Arc<dyn PhysicalOptimizerRule + Send + Sync> = Arc::new(PlainWindows);
    let rules = PhysicalOptimizer::new().rules.into_iter();
    let rules = rules.filter(|rule| rule.name() != "FilterPushdown");
    std::iter::once(first).chain(rules).collect()
}

fn config() -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(DATABASE, SCHEMA)
        .with_information_schema(false);
    let options = config.options_mut();
    options.sql_parser.dialect = Dialect::PostgreSQL;
    options.sql_parser.enable_ident_normalization = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    // `analyze/sorted` wants to see them.
    options.sql_parser.enable_subquery_sort_elimination = false;
    options.sql_parser.parse_float_as_decimal = true;
    // Whether a CASE can be NULL is seen otherwise in logical plans and in physical ones.
    options.execution.skip_physical_aggregate_schema_check = true;
    options.execution.time_zone = Some(TIME_ZONE.to_owned());
    config
}
