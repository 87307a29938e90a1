//! SELECT: bound, pinned to one epoch, planned by DataFusion, streamed.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::execution::SessionState;
use datafusion::logical_expr::ScalarUDF;
use millrace_pg::catalog::Client;
use millrace_pg::session::{Outcome, Prepared, Session};
use millrace_sql::sqlparser::ast::Query;
use millrace_sql::{Binder, Bound, Catalog, Kind, Parameters, Settings, session_state};
use millrace_types::input::Zone;
use millrace_types::{ObjectId, Report, SqlState};

use super::lookup::Reading;
use super::tables::QueryTables;
use super::{Conn, DATABASE};
use crate::queries::Running;

impl Conn {
    pub(super) fn client(&self) -> Client {
        Client {
            process: self.process,
            user: self.role().map(|role| role.name.clone()).unwrap_or_default(),
            session_user: self.user_name(),
            database: DATABASE.to_owned(),
            settings: self.settings.clone(),
            lists: self.named.clone(),
        }
    }

    /// The functions of the catalog, made anew when another role counts.
    fn functions(&self) -> Vec<Arc<ScalarUDF>> {
        let client = self.client();
        let mut made = self.functions.lock();
        match &*made {
            Some((user, functions)) if *user == client.user => functions.clone(),
            _ => {
                let functions = self.catalog_schemas.functions(&client).into_iter();
                let functions: Vec<_> = functions.map(Arc::new).collect();
                *made = Some((client.user, functions.clone()));
                functions
            }
        }
    }

    pub(super) fn state(&self) -> SessionState {
        let zone = self.settings.lock().zone();
        self.state_in(zone)
    }

    /// The same where clocks are those of a zone.
    pub(super) fn state_in(&self, zone: Zone) -> SessionState {
        let mut state = session_state(&Settings { zone, ..Settings::default() });
        let now = chrono::DateTime::from_timestamp_micros(self.shared.clock.now());
        state.execution_props_mut().query_execution_start_time = now;
        for function in self.functions() {
            // A function of DataFusion's own wins over one of pg_catalog.
            if state.scalar_functions().contains_key(function.name()) {
                continue;
            }
            drop(datafusion::execution::FunctionRegistry::register_udf(&mut state, function));
        }
        state
    }

    pub(super) async fn prepare_query(
        &mut self,
        mut query: Query,
        text: &str,
        hints: &[Option<DataType>],
    ) -> Result<Prepared, Report> {
        self.check_row_locks(&mut query, text)?;
        let running = self.shared.queries.begin(text);
        let tables = QueryTables::new(self.shared.clone());
        let tables = Arc::new(tables.seeing(&self.catalog_schemas, self.client()));
        let (kept, hints) = (text, hints.to_vec());
        let asked = Asked { query, text: text.to_owned(), hints, values: None, opened: None };
        let (bound, _) = bound(&running, &tables, self.state(), asked).await?;
        self.lookups.keep((tables.catalog(), self.settings.lock().zone()), kept, &bound);
        Ok(Prepared { parameters: bound.parameters, columns: Some(bound.columns) })
    }

    pub(super) async fn query(
        &mut self,
        mut query: Query,
        text: &str,
        parameters: Vec<ScalarValue>,
    ) -> Result<Outcome, Report> {
        let passes_over = self.lock_rows(&mut query, text).await?;
        let running = self.shared.queries.begin(text);
        if !passes_over && let Some(outcome) = self.look_up(&running, text, &parameters).await? {
            return Ok(outcome);
        }
        let mut tables = Arc::new(self.tables()?);
        // The values have the types that the statement was prepared with; without them a `$1` that
        // the client declared would be guessed anew, as text.
        let hints = parameters.iter().map(|value| hint(&value.data_type())).collect();
        let (text, values) = (text.to_owned(), Some(parameters));
        let asked = Asked { query, text, hints, values, opened: None };
        let again = self.has_gathered().then(|| asked.clone());
        let (mut found, mut state) = bound(&running, &tables, self.state(), asked).await?;
        if let Some(mut asked) = again.filter(|_| self.reads_views(&found)) {
            // What waits is not in views before it takes effect, and the locks go with it.
            self.settle_before().await?;
            self.lock_rows(&mut asked.query, &asked.text).await?;
            tables = Arc::new(self.tables()?);
            (found, state) = bound(&running, &tables, self.state(), asked).await?;
        }
        let bound = found;
        self.check_reads(&bound, None)?;
        self.pin_well(&tables).await?;
        if let Some(reading) = Reading::of(&bound, &tables, &[])? {
            return reading.outcome(&running).await;
        }
        let (plan, schema) = (bound.plan, bound.columns);
        let rows = running.rows(state, plan).await?;
        Ok(Outcome::Rows { schema, rows, verb: "SELECT" })
    }

    /// True if a query reads something else than tables.
    fn reads_views(&self, bound: &Bound) -> bool {
        let catalog = self.shared.catalog();
        !bound.depends_on.iter().all(|id| is_of_tables(&catalog, *id))
    }

    /// Pins a query to an epoch, and looks whether its views show all that they should.
    pub(super) async fn pin_well(&mut self, tables: &QueryTables) -> Result<(), Report> {
        let Some(epoch) = self.pin(tables).await? else { return Ok(()) };
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
        Ok(())
    }
}

/// The type of a value, if it has one.
pub(super) fn hint(data_type: &DataType) -> Option<DataType> {
    (*data_type != DataType::Null).then(|| data_type.clone())
}

/// A query as it was asked.
#[derive(Clone)]
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
        let Asked { mut query, text, hints, values, opened } = asked;
        let is_users = |name: &str| tables.catalog().find(name).is_some();
        millrace_pg::catalog::rewrite(&mut query, &is_users);
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

/// True for a table, and for a view that reads tables alone: both show at once what a transaction has changed.
pub(super) fn is_of_tables(catalog: &Catalog, id: ObjectId) -> bool {
    catalog.get(id).is_some_and(|object| match &object.kind {
        Kind::Table(_) => true,
        Kind::View(view) => view.depends_on.iter().all(|id| is_of_tables(catalog, *id)),
        _ => false,
    })
}
