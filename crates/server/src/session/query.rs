//! SELECT: bound, pinned to one epoch, planned by DataFusion, streamed.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use millrace_pg::catalog::Client;
use millrace_pg::session::{Outcome, Prepared};
use millrace_sql::sqlparser::ast::Query;
use millrace_sql::{Binder, Parameters, Settings, session_state};
use millrace_types::{Report, SqlState};
use tokio::time::{Instant, timeout_at};

use super::tables::QueryTables;
use super::{Conn, DATABASE, report_of};

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

    /// When the statement that begins now must be done, by `statement_timeout`.
    fn deadline(&self) -> Result<Option<Instant>, Report> {
        let text = self.settings.lock().get("statement_timeout")?;
        // PostgreSQL counts a bare number in milliseconds.
        let text = if text.bytes().all(|b| b.is_ascii_digit()) { text + "ms" } else { text };
        let wrong = |reason| Report::new(SqlState::INVALID_PARAMETER_VALUE, reason);
        let limit = crate::config::duration(&text).map_err(wrong)?;
        Ok((!limit.is_zero()).then(|| Instant::now() + limit))
    }

    pub(super) fn prepare_query(
        &mut self,
        query: &Query,
        text: &str,
        hints: &[Option<DataType>],
    ) -> Result<Prepared, Report> {
        let tables = QueryTables::new(self.shared.clone());
        let state = self.state();
        let bound = Binder::new(tables.catalog(), &tables, &state).bind_query(
            query,
            text,
            &Parameters::typed(hints),
        );
        tables.failure()?;
        let bound = bound?;
        Ok(Prepared { parameters: bound.parameters, columns: Some(bound.columns) })
    }

    pub(super) async fn query(
        &mut self,
        query: &Query,
        text: &str,
        parameters: Vec<ScalarValue>,
    ) -> Result<Outcome, Report> {
        self.read_changed_tables().await?;
        let tables = self.tables()?;
        let state = self.state();
        // The values have the types that the statement was prepared with; without them a `$1` that
        // the client declared would be guessed anew, as text.
        let hints: Vec<_> = parameters.iter().map(|value| hint(&value.data_type())).collect();
        let bound = Binder::new(tables.catalog(), &tables, &state).bind_query(
            query,
            text,
            &Parameters::values(&hints, &parameters),
        );
        tables.failure()?;
        let bound = bound?;
        self.check_reads(&bound, None)?;
        if let Some(epoch) = tables.pin(self.seen).await? {
            self.seen = epoch;
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
        let deadline = self.deadline()?;
        limited(run(&state, &bound.plan, bound.columns), deadline).await
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
        let context = self.catalog_context()?;
        let plan = self.catalog_plan(&context, text).await?;
        let plan = plan.with_param_values(parameters).map_err(|error| report_of(&error))?;
        let columns = Arc::new(plan.schema().as_arrow().clone());
        let deadline = self.deadline()?;
        limited(run(&context.state(), &plan, columns), deadline).await
    }
}

/// The type of a value, if it has one.
pub(super) fn hint(data_type: &DataType) -> Option<DataType> {
    (*data_type != DataType::Null).then(|| data_type.clone())
}

/// Runs a query up to a deadline, its rows too.
async fn limited(
    query: impl Future<Output = Result<Outcome, Report>>,
    deadline: Option<Instant>,
) -> Result<Outcome, Report> {
    let Some(deadline) = deadline else { return query.await };
    let outcome = timeout_at(deadline, query).await.map_err(|_| timed_out())??;
    let Outcome::Rows { schema, rows, verb } = outcome else { return Ok(outcome) };
    let next = move |rows: Option<SendableRecordBatchStream>| async move {
        let mut rows = rows?;
        match timeout_at(deadline, rows.next()).await {
            Ok(batch) => batch.map(|batch| (batch, Some(rows))),
            Err(_) => Some((Err(DataFusionError::External(timed_out().into())), None)),
        }
    };
    let stream = futures::stream::unfold(Some(rows), next);
    let rows = Box::pin(RecordBatchStreamAdapter::new(schema.clone(), stream));
    Ok(Outcome::Rows { schema, rows, verb })
}

fn timed_out() -> Report {
    Report::new(SqlState::QUERY_CANCELED, "canceling statement due to statement timeout")
}

/// Plans and starts a query.
async fn run(
    state: &SessionState,
    plan: &LogicalPlan,
    schema: SchemaRef,
) -> Result<Outcome, Report> {
    let physical = state.create_physical_plan(plan).await.map_err(|error| report_of(&error))?;
    let rows = execute_stream(physical, state.task_ctx()).map_err(|error| report_of(&error))?;
    Ok(Outcome::Rows { schema, rows, verb: "SELECT" })
}
