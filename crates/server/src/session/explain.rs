//! EXPLAIN: of a view's dataflow, or of a query.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use futures::StreamExt;
use millrace_dataflow::runtime::Work;
use millrace_pg::session::{Outcome, Prepared};
use millrace_plan::{Upstream, ViewPlan};
use millrace_sql::ast::{self, Explained, Name, Statement};
use millrace_sql::sqlparser::ast::Query;
use millrace_sql::stream::InputInfo;
use millrace_sql::{Access, Binder, BoundView, Catalog, CatalogTables, Kind, Object, View};
use millrace_types::input::Zone;
use millrace_types::{ObjectId, Report, SqlState};
use parking_lot::Mutex;

use super::explain_json;
use super::query::{Asked, bound, hint};
use super::rows::text_rows;
use super::show::{positioned, timestamp};
use super::{Conn, report_of};
use crate::queries;

impl Conn {
    /// It is not run for its columns: with ANALYZE it may change tables.
    pub(super) async fn prepare_explain(
        &mut self,
        explain: ast::Explain,
        text: &str,
        hints: &[Option<DataType>],
    ) -> Result<Prepared, Report> {
        let parameters = match explain.inner {
            Explained::Statement(inner) => match *inner {
                Statement::Query(query) => {
                    self.prepare_query(*query, text, hints).await?.parameters
                }
                Statement::Change(change) => self.prepare_change(&change, hints)?.parameters,
                _ => Vec::new(),
            },
            Explained::MaterializedView(_) => Vec::new(),
        };
        let columns = match query_plan("", false) {
            Outcome::Rows { schema, .. } => Some(schema),
            _ => None,
        };
        Ok(Prepared { parameters, columns })
    }

    pub(super) async fn explain(
        &mut self,
        explain: ast::Explain,
        text: &str,
        parameters: Vec<ScalarValue>,
    ) -> Result<Outcome, Report> {
        let inner = match explain.inner {
            Explained::MaterializedView(name) => {
                return self.explain_view(&name, explain.analyze, explain.json);
            }
            Explained::Statement(inner) => *inner,
        };
        if explain.analyze {
            self.check_mode(&inner)?;
        }
        let lines = match inner {
            Statement::CreateMaterializedView(create) => {
                let (plan, _) = self.plan_view(&create)?;
                let catalog = self.shared.catalog();
                millrace_sql::stream::explain(&plan, &|id| name_of(&catalog, id))
            }
            Statement::Query(query) => {
                self.explain_query(*query, text, parameters, explain.analyze).await?
            }
            Statement::Change(change) if explain.analyze => {
                let watched = Watched::new(&self.explained);
                self.change(&change, parameters).await?;
                watched.plans().join("")
            }
            Statement::Change(change) => self.planned_change(&change, &parameters).await?,
            other => return Err(Report::unsupported(format!("EXPLAIN of {}", other.tag()))),
        };
        Ok(query_plan(&lines, explain.json))
    }

    /// The plan of a query; with `analyze` after it has run, with what each operator has done.
    async fn explain_query(
        &mut self,
        mut query: Query,
        text: &str,
        parameters: Vec<ScalarValue>,
        analyze: bool,
    ) -> Result<String, Report> {
        match analyze {
            true => drop(self.lock_rows(&mut query, text).await?),
            false => self.check_row_locks(&mut query, text)?,
        }
        let running = self.shared.queries.begin(text);
        let tables = Arc::new(self.tables()?);
        let hints = parameters.iter().map(|value| hint(&value.data_type())).collect();
        let (text, values) = (text.to_owned(), Some(parameters));
        let asked = Asked { query, text, hints, values, opened: None };
        let (bound, state) = bound(&running, &tables, self.state(), asked).await?;
        self.check_reads(&bound, None)?;
        self.pin(&tables).await?;
        let (physical, state) = running.plan(state, bound.plan).await?;
        if !analyze {
            return Ok(queries::planned(physical.as_ref()));
        }
        let mut rows = running.start(&state, physical.clone())?;
        while let Some(batch) = rows.next().await {
            batch.map_err(|error| report_of(&error))?;
        }
        Ok(queries::shown(physical.as_ref()))
    }

    /// The plan of a view that is there; with `analyze` what each operator has done so far.
    fn explain_view(&self, name: &Name, analyze: bool, json: bool) -> Result<Outcome, Report> {
        let object = self.object(name)?;
        let Kind::MaterializedView(view) = &object.kind else {
            let message = format!("\"{}\" is not a materialized view", name.name);
            return Err(positioned(Report::new(SqlState::WRONG_OBJECT_TYPE, message), name));
        };
        let (plan, catalog) = (&view.plan, self.shared.catalog());
        let names = |id: ObjectId| name_of(&catalog, id);
        if !analyze {
            return Ok(query_plan(&millrace_sql::stream::explain(plan, &names), json));
        }
        let status = self.shared.board.lock().views.get(&object.id).cloned();
        let Some(figures) = status.as_ref().and_then(|status| status.figures.clone()) else {
            let reason = status.and_then(|status| status.failed);
            let message = format!("materialized view \"{}\" does not run", name.name);
            let report = Report::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message);
            return Err(match reason {
                Some(reason) => report.detail(reason),
                None => report,
            });
        };
        let line = |operator: Upstream| {
            let (name, work) = figures.total(operator)?;
            Some(work_line(name, &work, matches!(operator, Upstream::Stage(_))))
        };
        let plan = millrace_sql::stream::explain_with(plan, &names, &line);
        let (since, workers) = (timestamp(figures.since), self.shared.config.workers);
        let head = format!("Running since {since}; figures are sums over {workers} workers since");
        Ok(query_plan(&format!("{head}\n{plan}"), json))
    }

    /// Binds and plans a materialized view.
    pub(super) fn plan_view(
        &self,
        create: &ast::CreateMaterializedView,
    ) -> Result<(ViewPlan, BoundView), Report> {
        let zone = self.settings.lock().zone();
        let (plan, bound) = self.plan_view_in(&self.shared.catalog(), create, zone)?;
        self.check_named(&bound.depends_on)?;
        Ok((plan, bound))
    }

    /// The same in some catalog, whoever may read what it names; `zone` is that of a view that names none.
    pub(super) fn plan_view_in(
        &self,
        catalog: &Catalog,
        create: &ast::CreateMaterializedView,
        zone: Zone,
    ) -> Result<(ViewPlan, BoundView), Report> {
        let state = self.state_in(millrace_sql::view_zone(&create.options).unwrap_or(zone));
        let tables = CatalogTables(catalog);
        let bound =
            Binder::new(catalog, &tables, &state).bind_materialized_view(create, &create.text)?;
        let options = bound.stream_options();
        let inputs = |id: ObjectId| input(catalog, id);
        let plan = millrace_sql::stream::plan(bound.plan.clone(), &state, &inputs, &options)?;
        Ok((plan, bound))
    }

    /// Binds a view: a macro.
    pub(super) fn bind_view(
        &self,
        catalog: &Catalog,
        create: &ast::CreateView,
    ) -> Result<Object, Report> {
        let state = self.state();
        let tables = CatalogTables(catalog);
        let view: View = Binder::new(catalog, &tables, &state).bind_view(create, &create.text)?;
        let Name { name, .. } = create.name.clone();
        Ok(Object {
            id: ObjectId::default(),
            name,
            kind: Kind::View(view),
            sql: create.text.clone(),
            access: Access::of(self.role()?.id),
        })
    }
}

/// Keeps the plans of a statement while it runs; however that ends, nobody watches the next one.
struct Watched(Arc<Mutex<Option<Vec<String>>>>);

impl Watched {
    fn new(plans: &Arc<Mutex<Option<Vec<String>>>>) -> Watched {
        *plans.lock() = Some(Vec::new());
        Watched(Arc::clone(plans))
    }

    fn plans(&self) -> Vec<String> {
        self.0.lock().take().unwrap_or_default()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

/// A plan as lines, or as one value.
pub(super) fn query_plan(lines: &str, json: bool) -> Outcome {
    let rows = match json {
        true => vec![vec![Some(explain_json::of(lines))]],
        false => lines.lines().map(|line| vec![Some(line.to_owned())]).collect(),
    };
    text_rows("EXPLAIN", &["QUERY PLAN"], rows)
}

fn name_of(catalog: &Catalog, id: ObjectId) -> String {
    catalog.get(id).map_or_else(|| id.to_string(), |object| object.name.clone())
}

/// `aggregate 0: 1000 rows in, 10 out, state of 10 rows in 2048 bytes, 1.204 ms`; of one that others had
/// to wait for also `, behind for 0.512 ms`, and `, 20 rows wait` while they do.
fn work_line(name: &str, work: &Work, keeps_state: bool) -> String {
    let mut line = format!("{name}: {} rows in, {} out", work.rows_in, work.rows_out);
    if keeps_state {
        let (rows, bytes) = (work.state_rows, work.state_bytes);
        line.push_str(&format!(", state of {rows} rows in {bytes} bytes"));
    }
    let time = |us: u64| format!("{}.{:03} ms", us / 1_000, us % 1_000);
    line.push_str(&format!(", {}", time(work.busy_us)));
    if work.behind_us > 0 {
        line.push_str(&format!(", behind for {}", time(work.behind_us)));
    }
    if work.rows_waiting > 0 {
        line.push_str(&format!(", {} rows wait", work.rows_waiting));
    }
    line
}

/// What a view may know of an object that it reads.
fn input(catalog: &Catalog, id: ObjectId) -> InputInfo {
    let object = catalog.get(id).expect("the binder found it in this catalog");
    match &object.kind {
        Kind::Source(source) => {
            let event_time = source.watermark.as_ref().map(|watermark| watermark.column);
            InputInfo::source(id, source.full_schema(), event_time)
        }
        Kind::MaterializedView(view) => InputInfo::view(id, view.plan.root.meta()),
        Kind::Table(table) => InputInfo::view(id, table.stored.plan.root.meta()),
        Kind::View(_) | Kind::Index(_) | Kind::Sink(_) => {
            unreachable!("the binder expands views and reads no index and no sink")
        }
    }
}
