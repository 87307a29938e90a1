//! EXPLAIN: of a view's dataflow, or of a query.

use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{displayable, execute_stream};
use futures::StreamExt;
use millrace_pg::session::Outcome;
use millrace_plan::ViewPlan;
use millrace_sql::ast::{self, Name, Statement};
use millrace_sql::stream::InputInfo;
use millrace_sql::{Binder, BoundView, Catalog, CatalogTables, Kind, Object, Parameters, View};
use millrace_types::{ObjectId, Report};

use super::rows::text_rows;
use super::tables::QueryTables;
use super::{Conn, report_of};

impl Conn {
    pub(super) async fn explain(
        &mut self,
        explain: ast::Explain,
        text: &str,
    ) -> Result<Outcome, Report> {
        let lines = match *explain.inner {
            Statement::CreateMaterializedView(create) => {
                let (plan, _) = self.plan_view(&create)?;
                let catalog = self.shared.catalog();
                let name = |id: ObjectId| {
                    catalog.get(id).map_or_else(|| id.to_string(), |object| object.name.clone())
                };
                millrace_sql::stream::explain(&plan, &name)
            }
            Statement::Query(query) => {
                let tables = QueryTables::new(self.shared.clone());
                let state = self.state();
                let bound = Binder::new(tables.catalog(), &tables, &state).bind_query(
                    &query,
                    text,
                    &Parameters::none(),
                );
                tables.failure()?;
                let plan = bound?.plan;
                tables.pin(self.seen).await?;
                let physical = state.create_physical_plan(&plan).await;
                let physical = physical.map_err(|error| report_of(&error))?;
                if explain.analyze {
                    let mut rows = execute_stream(physical.clone(), state.task_ctx())
                        .map_err(|error| report_of(&error))?;
                    while let Some(batch) = rows.next().await {
                        batch.map_err(|error| report_of(&error))?;
                    }
                    DisplayableExecutionPlan::with_metrics(physical.as_ref())
                        .indent(false)
                        .to_string()
                } else {
                    displayable(physical.as_ref()).indent(false).to_string()
                }
            }
            other => return Err(Report::unsupported(format!("EXPLAIN of {}", other.tag()))),
        };
        let rows = lines.lines().map(|line| vec![Some(line.to_owned())]).collect();
        Ok(text_rows("EXPLAIN", &["QUERY PLAN"], rows))
    }

    /// Binds and plans a materialized view.
    pub(super) fn plan_view(
        &self,
        create: &ast::CreateMaterializedView,
    ) -> Result<(ViewPlan, BoundView), Report> {
        let catalog = self.shared.catalog();
        let state = self.state();
        let tables = CatalogTables(&catalog);
        let bound =
            Binder::new(&catalog, &tables, &state).bind_materialized_view(create, &create.text)?;
        let options = bound.stream_options();
        let inputs = |id: ObjectId| input(&catalog, id);
        let plan = millrace_sql::stream::plan(bound.plan.clone(), &state, &inputs, &options)?;
        Ok((plan, bound))
    }

    /// Binds a view: a macro.
    pub(super) fn bind_view(&self, create: &ast::CreateView) -> Result<Object, Report> {
        let catalog = self.shared.catalog();
        let state = self.state();
        let tables = CatalogTables(&catalog);
        let view: View = Binder::new(&catalog, &tables, &state).bind_view(create, &create.text)?;
        let Name { name, .. } = create.name.clone();
        Ok(Object {
            id: ObjectId::default(),
            name,
            kind: Kind::View(view),
            sql: create.text.clone(),
        })
    }
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
        Kind::View(_) | Kind::Index(_) => {
            unreachable!("the binder expands views and reads no index")
        }
    }
}
