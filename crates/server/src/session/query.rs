//! SELECT: bound, pinned to one epoch, planned by DataFusion, streamed.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use millrace_pg::catalog::Client;
use millrace_pg::session::{Outcome, Prepared};
use millrace_sql::sqlparser::ast::Query;
use millrace_sql::{Binder, Bound, Parameters, Settings, session_state};
use millrace_types::{ObjectId, Report, SqlState};

use super::tables::QueryTables;
use super::{Conn, DATABASE, report_of};
use crate::queries::Running;

impl Conn {
    fn client(&self) -> Client {
        Client {
            user: self.role().map(|role| role.name.clone()).unwrap_or_default(),
            session_user: self.user_name(),
            database: DATABASE.to_owned(),
            settings: self.settings.clone(),
        }
    }

    pub(super) fn state(&self) -> SessionState {
        let mut state = session_state(&Settings::default());
        let now = chrono::DateTime::from_timestamp_micros(self.shared.clock.now());
        state.execution_props_mut().query_execution_start_time = now;
        for function in self.catalog_schemas.functions(&self.client()) {
            // A function of DataFusion's own wins over one of pg_catalog.
            if state.scalar_functions().contains_key(function.name()) {
                continue;
            }
            drop(datafusion::execution::FunctionRegistry::register_udf(
                &mut state,
                Arc::new(function),
            ));
        }
        state
    }

    pub(super) async fn prepare_query(
        &mut self,
        query: Query,
        text: &str,
        hints: &[Option<DataType>],
    ) -> Result<Prepared, Report> {
        let running = self.shared.queries.begin(text);
        let tables = Arc::new(QueryTables::new(self.shared.clone()));
        let (text, hints) = (text.to_owned(), hints.to_vec());
        let asked = Asked { query, text, hints, values: None, opened: None };
        let (bound, _) = bound(&running, &tables, self.state(), asked).await?;
        Ok(Prepared { parameters: bound.parameters, columns: Some(bound.columns) })
    }

    pub(super) async fn query(
        &mut self,
        query: Query,
        text: &str,
        parameters: Vec<ScalarValue>,
    ) -> Result<Outcome, Report> {
        self.read_changed_tables().await?;
        let running = self.shared.queries.begin(text);
        let tables = Arc::new(self.tables()?);
        // The values have the types that the statement was prepared with; without them a `$1` that
        // the client declared would be guessed anew, as text.
        let hints = parameters.iter().map(|value| hint(&value.data_type())).collect();
        let (text, values) = (text.to_owned(), Some(parameters));
        let asked = Asked { query, text, hints, values, opened: None };
        let (bound, state) = bound(&running, &tables, self.state(), asked).await?;
        self.check_reads(&bound, None)?;
        if let Some(epoch) = self.pin(&tables).await? {
            if let Some(report) = tables.stopped_source() {
                if self.settings.lock().get("view_errors")? != "warn" {
                    return Err(report);
                }
                self.warn(SqlState::WARNING, &report.to_string());
            }
            if let Some((count, report)) = tables.view_errors(epoch)? {
                let mode = self.settings.lock().get("view_errors")?;
                if mode != "warn" {
                    return Err(report);
                }
                let missing = if count == 1 { "1 row is" } else { &format!("{count} rows are") };
                let message = format!("{missing} missing because of an error: {report}");
                self.warn(SqlState::WARNING, &message);
            }
        }
        let (plan, schema) = (bound.plan, bound.columns);
        let rows = running.rows(state, plan).await?;
        Ok(Outcome::Rows { schema, rows, verb: "SELECT" })
    }

    fn catalog_context(&self) -> Result<SessionContext, Report> {
        let context = SessionContext::new_with_state(self.state());
        self.catalog_schemas.install(&context, &self.client()).map_err(|e| report_of(&e))?;
        Ok(context)
    }

    pub(super) async fn prepare_catalog_query(
        &mut self,
        text: &str,
        hints: &[Option<DataType>],
    ) -> Result<Prepared, Report> {
        let plan = self.catalog_plan(&self.catalog_context()?, text).await?;
        let found = plan.get_parameter_types().map_err(|error| report_of(&error))?;
        let mut parameters = Vec::new();
        while let Some(found) = found.get(&format!("${}", parameters.len() + 1)) {
            let hint = hints.get(parameters.len()).cloned().flatten();
            parameters.push(hint.or_else(|| found.clone()).unwrap_or(DataType::Utf8));
        }
        let columns = Some(Arc::new(plan.schema().as_arrow().clone()));
        Ok(Prepared { parameters, columns })
    }

    async fn catalog_plan(
        &self,
        context: &SessionContext,
        text: &str,
    ) -> Result<LogicalPlan, Report> {
        let statement = millrace_pg::catalog::rewrite(text)?;
        let statement = datafusion::sql::parser::Statement::Statement(Box::new(statement));
        context.state().statement_to_plan(statement).await.map_err(|error| report_of(&error))
    }

    pub(super) async fn catalog_query(
        &mut self,
        text: &str,
        parameters: Vec<ScalarValue>,
    ) -> Result<Outcome, Report> {
        let running = self.shared.queries.begin(text);
        let context = self.catalog_context()?;
        let plan = self.catalog_plan(&context, text).await?;
        let plan = plan.with_param_values(parameters).map_err(|error| report_of(&error))?;
        let schema = Arc::new(plan.schema().as_arrow().clone());
        let rows = running.rows(context.state(), plan).await?;
        Ok(Outcome::Rows { schema, rows, verb: "SELECT" })
    }
}

/// The type of a value, if it has one.
pub(super) fn hint(data_type: &DataType) -> Option<DataType> {
    (*data_type != DataType::Null).then(|| data_type.clone())
}

/// A query as it was asked.
pub(super) struct Asked {
    pub(super) query: Query,
    pub(super) text: String,
    /// The types of its parameters, where they are known.
    pub(super) hints: Vec<Option<DataType>>,
    /// Their values; None while it is prepared.
    pub(super) values: Option<Vec<ScalarValue>>,
    /// The table whose hidden columns it sees.
    pub(super) opened: Option<ObjectId>,
}

/// Binds a query on the threads of statements.
pub(super) async fn bound(
    running: &Running,
    tables: &Arc<QueryTables>,
    state: SessionState,
    asked: Asked,
) -> Result<(Bound, SessionState), Report> {
    let tables = Arc::clone(tables);
    let bind = async move {
        let Asked { query, text, hints, values, opened } = asked;
        let parameters = match &values {
            Some(values) => Parameters::values(&hints, values),
            None => Parameters::typed(&hints),
        };
        let mut binder = Binder::new(tables.catalog(), tables.as_ref(), &state);
        if let Some(table) = opened {
            binder = binder.opening(table);
        }
        let bound = binder.bind_query(&query, &text, &parameters);
        tables.failure()?;
        bound.map(|bound| (bound, state))
    };
    running.run(bind).await
}
