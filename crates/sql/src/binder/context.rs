//! What `SqlToRel` asks for while it plans: tables, functions, types, options.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Column, DataFusionError, Result, TableReference};
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::planner::{
    ContextProvider, ExprPlanner, RelationPlanner, TypePlanner,
};
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource,
    WindowUDF,
};
use datafusion::sql::sqlparser::ast::ObjectName;
use millrace_types::{ObjectId, Report, SqlState, is_hidden};

use super::asof::AsOfJoins;
use super::relation::Windows;
use super::table_function::TableFunctions;
use super::using::Merges;
use super::version::Versions;
use super::{TableLookup, columns, plan_query, syntax};
use crate::catalog::{Catalog, Kind, Object, View, visible};
use crate::error::elsewhere;
use crate::functions;
use crate::names::{self, Quoted};
use crate::parser::parse_query;
use crate::typenames::Types;

/// The context of one query.
pub(super) struct Context<'a> {
    catalog: &'a Catalog,
    tables: &'a dyn TableLookup,
    pub(super) state: &'a SessionState,
    relations: Vec<Arc<dyn RelationPlanner>>,
    /// What the query has named so far.
    named: RefCell<BTreeSet<ObjectId>>,
    /// The table whose hidden columns are seen.
    pub(super) opened: Option<ObjectId>,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        catalog: &'a Catalog,
        tables: &'a dyn TableLookup,
        state: &'a SessionState,
        text: &str,
    ) -> Context<'a> {
        let relations: Vec<Arc<dyn RelationPlanner>> = vec![
            Arc::new(Merges::new(text)),
            Arc::new(Windows::new(text)),
            Arc::new(Versions::new(text)),
            Arc::new(AsOfJoins::new(text)),
            Arc::new(TableFunctions::new(text)),
        ];
        Context { catalog, tables, state, relations, named: RefCell::default(), opened: None }
    }

    /// The objects that were named, ascending.
    pub(super) fn named(&self) -> Vec<ObjectId> {
        self.named.borrow().iter().copied().collect()
    }

    fn source(&self, reference: &TableReference) -> Result<Arc<dyn TableSource>, Report> {
        let local = names::local(reference)?;
        let is_changed = local.schema() == Some(names::CHANGED);
        let object = match &local {
            TableReference::Bare { table } => self.catalog.find(table),
            TableReference::Partial { table, .. } if is_changed => self.catalog.find(table),
            TableReference::Partial { schema, table } if &**schema == names::SYSTEM_SCHEMA => {
                self.catalog.find(&names::of_server(table))
            }
            _ => None,
        };
        if let Some(object) = object {
            self.named.borrow_mut().insert(object.id);
            match &object.kind {
                Kind::View(view) => return self.expand(object, view),
                Kind::Index(_) => return Err(is_index(&object.name)),
                Kind::Sink(_) => return Err(is_sink(&object.name)),
                Kind::Source(_) | Kind::Table(_) | Kind::MaterializedView(_) => {}
            }
        }
        match (self.tables.table(&local), object) {
            (Some(source), Some(object)) if is_changed && self.opened == Some(object.id) => {
                Ok(source)
            }
            (Some(source), _) => show_visible(&local, source),
            (None, Some(object)) => {
                let code = SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE;
                Err(Report::new(code, format!("{} cannot be read now", Quoted(&object.name))))
            }
            (None, None) => Err(missing(&local)),
        }
    }

    /// The names of the columns of a table or view, in order.
    pub(super) fn columns(&self, name: &ObjectName) -> Option<Vec<String>> {
        let parts = name.0.iter().map(|part| part.as_ident().map(names::fold));
        let reference = match parts.collect::<Option<Vec<_>>>()?.as_slice() {
            [table] => TableReference::bare(table.as_str()),
            [schema, table] => TableReference::partial(schema.as_str(), table.as_str()),
            [database, _, table] if database == names::CHANGED => {
                TableReference::bare(table.as_str())
            }
            _ => return None,
        };
        let local = names::local(&reference).ok()?;
        let object = match &local {
            TableReference::Bare { table } => self.catalog.find(table),
            _ => None,
        };
        let schema = match object.map(|object| &object.kind) {
            Some(Kind::View(view)) => Arc::clone(&view.schema),
            _ => visible(&self.tables.table(&local)?.schema()),
        };
        Some(schema.fields().iter().map(|field| field.name().clone()).collect())
    }

    /// A view is a macro: its stored query is planned in its place.
    fn expand(&self, object: &Object, view: &View) -> Result<Arc<dyn TableSource>, Report> {
        let failed = |report: Report| {
            let detail = format!("It happened in the query of view {}.", Quoted(&object.name));
            Report { position: None, ..report }.detail(detail)
        };
        let mut query = parse_query(&view.query_text).map_err(failed)?;
        columns::name_outputs(&mut query);
        let columns = |name: &ObjectName| self.columns(name);
        syntax::normalize(&mut query, &view.query_text, &columns).map_err(failed)?;
        let context = Context::new(self.catalog, self.tables, self.state, &view.query_text);
        let plan = plan_query(&context, &query, &[]);
        let renamed = plan.and_then(|plan| rename(plan, &view.schema));
        let plan = renamed.map_err(|error| failed(crate::error::report(error)))?;
        Ok(Arc::new(Inlined { schema: Arc::clone(&view.schema), plan }))
    }
}

fn is_sink(name: &str) -> Report {
    let message = format!("cannot open relation {}", Quoted(name));
    let report = Report::new(SqlState::WRONG_OBJECT_TYPE, message);
    report.detail("This operation is not supported for sinks.")
}

fn is_index(name: &str) -> Report {
    let message = format!("cannot open relation {}", Quoted(name));
    let report = Report::new(SqlState::WRONG_OBJECT_TYPE, message);
    report.detail("This operation is not supported for indexes.")
}

/// The error for a name that nothing has.
pub(super) fn missing(reference: &TableReference) -> Report {
    let message = format!("relation {} does not exist", Quoted(&reference.to_string()));
    let hint = elsewhere::relation(&reference.to_string()).map(str::to_owned);
    Report { hint, ..Report::new(SqlState::UNDEFINED_TABLE, message) }
}

/// The plan with other names for its columns.
pub(super) fn rename(plan: LogicalPlan, wanted: &SchemaRef) -> Result<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    let same = schema.fields().iter().zip(wanted.fields()).all(|(a, b)| a.name() == b.name());
    if same {
        return Ok(plan);
    }
    let columns = schema.columns().into_iter().zip(wanted.fields());
    let renamed = columns.map(|(column, field)| Expr::Column(column).alias(field.name()));
    LogicalPlanBuilder::from(plan).project(renamed)?.build()
}

/// A table without its hidden columns: a projection over its scan, so that the scan still has them.
fn show_visible(
    reference: &TableReference,
    source: Arc<dyn TableSource>,
) -> Result<Arc<dyn TableSource>, Report> {
    let schema = source.schema();
    if !schema.fields().iter().any(|field| is_hidden(field.name())) {
        return Ok(source);
    }
    let shown = visible(&schema);
    let column = |name: &String| Expr::Column(Column::new(Some(reference.clone()), name));
    let columns = shown.fields().iter().map(|field| column(field.name()));
    let plan = LogicalPlanBuilder::scan(reference.clone(), source, None)
        .and_then(|scan| scan.project(columns.collect::<Vec<_>>())?.build())
        .map_err(crate::error::report)?;
    Ok(Arc::new(Inlined { schema: shown, plan }))
}

/// A table that is a plan.
struct Inlined {
    schema: SchemaRef,
    plan: LogicalPlan,
}

impl TableSource for Inlined {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

/// Identifiers without parentheses that SQL reads as calls; DataFusion falls back to columns.
const BARE: [&str; 8] = [
    "user",
    "current_user",
    "session_user",
    "current_role",
    "current_catalog",
    "current_schema",
    "current_date",
    "current_time",
];

/// A cast of a literal as the literal that it is.
fn literal(expr: Expr) -> Expr {
    match &expr {
        Expr::Cast(Cast { expr: inner, field }) => match literal(inner.as_ref().clone()) {
            Expr::Literal(value, metadata) => functions::value_as(&value, field.data_type())
                .map_or(expr, |value| Expr::Literal(value, metadata)),
            _ => expr,
        },
        _ => expr,
    }
}

/// Clients write `pg_catalog.version()`.
fn plain(name: &str) -> &str {
    name.strip_prefix("pg_catalog.").unwrap_or(name)
}

impl Context<'_> {
    fn is_function(&self, name: &str) -> bool {
        self.state.aggregate_functions().contains_key(name)
            || self.state.window_functions().contains_key(name)
            || self.state.higher_order_functions().contains_key(name)
            || BARE.contains(&name)
            || name.starts_with("unnest")
            || matches!(name, "map" | "make_map")
    }
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, reference: TableReference) -> Result<Arc<dyn TableSource>> {
        self.source(&reference).map_err(|report| DataFusionError::External(Box::new(report)))
    }

    fn get_table_function_source(
        &self,
        name: &str,
        args: Vec<Expr>,
    ) -> Result<Arc<dyn TableSource>> {
        let name = name.to_ascii_lowercase();
        let Some(function) = self.state.table_functions().get(&name) else {
            let message = format!("function {name}(...) does not exist");
            return Err(DataFusionError::Plan(message));
        };
        let args: Vec<Expr> = args.into_iter().map(literal).collect();
        let provider = function.create_table_provider_with_args(
            datafusion::catalog::TableFunctionArgs::new(&args, self.state),
        )?;
        Ok(datafusion::datasource::provider_as_source(provider))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        let table = datafusion::catalog::cte_worktable::CteWorkTable::new(name, schema);
        Ok(datafusion::datasource::provider_as_source(Arc::new(table)))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relations
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let name = plain(name);
        let known = self.state.scalar_functions().get(name).cloned();
        known.or_else(|| (!self.is_function(name)).then(|| crate::functions::unknown(name)))
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(plain(name)).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(plain(name)).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
