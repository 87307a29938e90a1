//! The binder: names and types. It turns a parsed query into a DataFusion logical plan over the
//! tables that it is given: the catalog's for a maintained view, snapshots for a SELECT.
//!
//! DataFusion's `SqlToRel` plans with our own context ([`context`]), which hides hidden columns,
//! expands views and knows TUMBLE and HOP ([`relation`]); before it the output columns get
//! PostgreSQL's names ([`columns`]). The plan that leaves has been analyzed: its types are final.
//!
//! Invariants: 1. every error is a report with PostgreSQL's words. 2. an output column's name in the
//! plan is its SQL name, unless that name is given to several columns ([`columns::shown`]).

mod arguments;
mod asof;
mod assignment;
mod calls;
mod change;
mod columns;
mod computed;
mod constraint;
mod context;
mod fetch;
mod fold;
mod grouping;
mod index;
mod lateral;
mod like;
mod literal;
mod locate;
mod locking;
mod named_windows;
mod nested;
mod options;
mod parameters;
mod precision;
mod records;
mod relation;
mod returning;
mod rows;
mod scopes;
mod set;
mod sink;
mod source;
mod stars;
mod syntax;
mod table;
mod table_as;
mod table_def;
mod table_function;
mod using;
mod version;
mod view;
mod whole_rows;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{Query, Statement as SqlStatement};
use millrace_types::{ObjectId, Report, SqlState, is_hidden};

pub use change::{ChangeKind, ChangePlan, Conflict, EXCLUDED, plan_change, query_of_rows};
pub use constraint::{BoundConstraints, bind_constraints};
pub use index::bind_index;
pub use locking::{LockWait, RowLock, has_row_locks, row_locks, without_rows};
pub(crate) use options::{interval_us, invalid as invalid_option, unknown as unknown_option};
pub use parameters::Parameters;
pub use returning::Returning;
pub use sink::bind_sink;
pub use source::{
    Connectors, FindColumns, FixedColumns, bind_secrets, bind_source, source_to_infer,
};
pub use table::{CatalogTable, CatalogTables, TableLookup};
pub use table_as::rows_of_table;
pub use table_def::bind_table;
pub use view::{BoundView, view_zone};

use crate::analyze::{
    as_counts, as_values, lifted, orders_apart, rows_apart, with_orders, with_sorted, with_ties,
};
use crate::ast::Name;
use crate::catalog::Catalog;
use crate::error::report_in;
use crate::names::Quoted;
use context::Context;

/// Binds queries against one snapshot of the catalog.
pub struct Binder<'a> {
    catalog: &'a Catalog,
    tables: &'a dyn TableLookup,
    state: &'a SessionState,
    /// The table whose hidden columns are seen where it is named in [`crate::CHANGED`].
    opened: Option<ObjectId>,
}

/// A query with names and types resolved.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Analyzed, not optimized.
    pub plan: LogicalPlan,
    /// Names, which may repeat, and types of the result.
    pub columns: SchemaRef,
    /// The types of `$1`, `$2`, ...
    pub parameters: Vec<DataType>,
    /// The catalog's objects that the query names, ascending.
    pub depends_on: Vec<ObjectId>,
}

impl<'a> Binder<'a> {
    /// A binder over a snapshot; `tables` gives what is scanned.
    pub fn new(
        catalog: &'a Catalog,
        tables: &'a dyn TableLookup,
        state: &'a SessionState,
    ) -> Binder<'a> {
        Binder { catalog, tables, state, opened: None }
    }

    /// The same, which sees the hidden columns of a table where it is named in [`crate::CHANGED`]: for a statement that
    /// changes it.
    #[must_use]
    pub fn opening(self, table: ObjectId) -> Binder<'a> {
        Binder { opened: Some(table), ..self }
    }

    /// Binds a query; `text` is the statement that holds it, for positions.
    ///
    /// # Errors
    /// What is wrong with the query.
    pub fn bind_query(
        &self,
        query: &Query,
        text: &str,
        parameters: &Parameters<'_>,
    ) -> Result<Bound, Report> {
        self.bind_once(query, text, parameters).map_err(|report| {
            let again = |changed: &Query| self.bind_once(changed, text, parameters).err();
            let position = locate::place(query, &report, text, &again).or(report.position);
            Report { position, ..report }
        })
    }

    fn bind_once(
        &self,
        query: &Query,
        text: &str,
        parameters: &Parameters<'_>,
    ) -> Result<Bound, Report> {
        let mut query = query.clone();
        columns::name_outputs(&mut query);
        let mut context = Context::new(self.catalog, self.tables, self.state, text);
        context.opened = self.opened;
        syntax::normalize(&mut query, text, &|name| context.columns(name))?;
        let (plan, parameters) = parameters.plan(&context, &query, text)?;
        check_reads(&plan)?;
        let plan = self.analyze(plan, text)?;
        let columns = output_schema(&plan);
        Ok(Bound { plan, columns, parameters, depends_on: context.named() })
    }

    /// Resolves types and puts casts where they are needed.
    fn analyze(&self, plan: LogicalPlan, text: &str) -> Result<LogicalPlan, Report> {
        let options = self.state.config_options();
        let analyzed = crate::analyze::check_casts(plan)
            .and_then(rows_apart)
            .and_then(orders_apart)
            .and_then(with_sorted)
            .and_then(with_ties)
            .and_then(as_counts)
            .and_then(as_values)
            .and_then(|plan| self.state.analyzer().execute_and_check(plan, options, |_, _| {}))
            .and_then(lifted)
            .and_then(with_orders);
        analyzed.map_err(|error| report_in(&error, text))
    }
}

/// A query only reads: `SELECT ... INTO` is a statement of another kind.
fn check_reads(plan: &LogicalPlan) -> Result<(), Report> {
    match plan {
        LogicalPlan::Ddl(_) => Err(Report::unsupported("SELECT INTO")
            .hint("CREATE MATERIALIZED VIEW name AS ... keeps the result of a query.")),
        LogicalPlan::Dml(_) | LogicalPlan::Copy(_) | LogicalPlan::Statement(_) => {
            Err(Report::unsupported("a query that writes"))
        }
        _ => Ok(()),
    }
}

/// The result columns of a plan, with the names that a client sees.
pub fn output_schema(plan: &LogicalPlan) -> SchemaRef {
    let fields = plan.schema().fields().iter();
    let shown = fields.map(|field| {
        Field::new(columns::shown(field.name()), field.data_type().clone(), field.is_nullable())
    });
    Arc::new(Schema::new(shown.collect::<Vec<_>>()))
}

/// A query as DataFusion plans it, in a context.
fn plan_query(
    context: &Context<'_>,
    query: &Query,
    types: &[Option<DataType>],
) -> datafusion::common::Result<LogicalPlan> {
    let field = |data_type: &DataType| Arc::new(Field::new("", data_type.clone(), true));
    let types = types.iter().map(|t| t.as_ref().map(field)).collect();
    let mut planner = PlannerContext::new().with_prepare_param_data_types(types);
    let statement = SqlStatement::Query(Box::new(query.clone()));
    let plan =
        SqlToRel::new(context).sql_statement_to_plan_with_context(statement, &mut planner)?;
    using::without_marks(plan)
}

/// Columns have different names, and none that is kept for hidden ones.
fn check_names<'n>(names: impl Iterator<Item = &'n Name> + Clone) -> Result<(), Report> {
    if let Some(twice) = duplicates(names.clone().map(|name| name.name.as_str())).first() {
        let message = format!("column {} specified more than once", Quoted(twice));
        let last = names.filter(|name| name.name == *twice).last();
        let report = Report::new(SqlState::DUPLICATE_COLUMN, message);
        return Err(Report { position: last.and_then(|name| name.position), ..report });
    }
    match names.clone().find(|name| is_hidden(&name.name)) {
        Some(name) => Err(Report { position: name.position, ..view::reserved(&name.name) }),
        None => Ok(()),
    }
}

/// The names given more than once.
fn duplicates<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    let mut seen = BTreeSet::new();
    names.into_iter().filter(|name| !seen.insert(*name)).collect()
}
