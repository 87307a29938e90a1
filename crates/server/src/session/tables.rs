//! The tables of one query: found while it is bound, pinned to one epoch before it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlan, TableSource};
use millrace_pg::catalog::{Catalog as Schemas, Client};
use millrace_sql::{CHANGED, Catalog, Kind, SYSTEM_SCHEMA, TableLookup};
use millrace_storage::{Points, Scan, Snapshot};
use millrace_types::{Epoch, ObjectId, Report, SqlState};
use parking_lot::Mutex;

use super::moment::{Moment, not_there_then, snapshots};
use crate::coordinator::built_source;
use crate::serving::{
    LATE_ROWS, PendingRows, TopicProvider, ViewProvider, is_of_views, system_table,
};
use crate::shared::{Shared, ViewStatus};

/// How long a query waits for recovery or for an epoch that its session has read.
const WAIT: Duration = Duration::from_secs(30);

/// An epoch that all views of a query have completed, and where each is read from.
type Readable = (Epoch, BTreeMap<ObjectId, ViewStatus>);

/// Looks names up for one query.
pub(super) struct QueryTables {
    shared: Arc<Shared>,
    catalog: Arc<Catalog>,
    views: Mutex<BTreeMap<ObjectId, Arc<ViewProvider>>>,
    failed: Mutex<Option<Report>>,
    /// It reads what all views turned away.
    of_all_views: AtomicBool,
    /// Rows that stand for a name, whatever the catalog says.
    given: BTreeMap<String, Arc<dyn TableProvider>>,
    /// Of a table only the rows with some keys are asked for.
    asked: Option<(ObjectId, Arc<Points>)>,
    /// What the session's transaction has changed.
    pending: BTreeMap<ObjectId, Arc<PendingRows>>,
    /// The catalog as a session sees it.
    schemas: Option<(Arc<Schemas>, Client)>,
}

impl QueryTables {
    pub(super) fn new(shared: Arc<Shared>) -> QueryTables {
        let catalog = shared.catalog();
        let (views, failed, of_all_views, given) = Default::default();
        let (asked, pending, schemas) = Default::default();
        QueryTables { shared, catalog, views, failed, of_all_views, given, asked, pending, schemas }
    }

    /// The same, with what a transaction has changed in a table.
    pub(super) fn changed(mut self, table: ObjectId, pending: Arc<PendingRows>) -> QueryTables {
        self.pending.insert(table, pending);
        self
    }

    /// The same, for a query that needs of a table the rows with some keys alone, if it names the table
    /// once: see [`QueryTables::bound`].
    pub(super) fn asking(mut self, table: ObjectId, keys: Points) -> QueryTables {
        self.asked = Some((table, Arc::new(keys)));
        self
    }

    /// The same, with a table as it is stored.
    pub(super) fn unchanged(mut self, table: ObjectId) -> QueryTables {
        self.pending.remove(&table);
        self
    }

    /// The same, in which a session sees the catalog too.
    pub(super) fn seeing(mut self, schemas: &Arc<Schemas>, client: Client) -> QueryTables {
        self.schemas = Some((Arc::clone(schemas), client));
        self
    }

    /// The same, in which a name stands for some rows.
    pub(super) fn with(mut self, name: &str, rows: RecordBatch) -> Result<QueryTables, Report> {
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]]);
        let table = table.map_err(|error| super::report_of(&error))?;
        self.given.insert(name.to_owned(), Arc::new(table));
        Ok(self)
    }

    /// The query is bound. One that reads the table elsewhere too, in a subquery say, needs all of it.
    pub(super) fn bound(&self, plan: &LogicalPlan) -> Result<(), Report> {
        let Some((table, _)) = &self.asked else { return Ok(()) };
        let Some(provider) = self.views.lock().get(table).cloned() else { return Ok(()) };
        let name = self.catalog.get(*table).map(|object| object.name.clone());
        let mut scans = 0;
        let counted = plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                scans += u32::from(Some(scan.table_name.table()) == name.as_deref());
            }
            Ok(TreeNodeRecursion::Continue)
        });
        counted.map_err(|error| super::report_of(&error))?;
        if scans != 1 {
            provider.ask_for_all();
        }
        Ok(())
    }

    pub(super) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// A table that could not be opened while the query was bound.
    pub(super) fn failure(&self) -> Result<(), Report> {
        self.failed.lock().take().map_or(Ok(()), Err)
    }

    /// What a view or table of the catalog is read from, if the name stands for it.
    pub(super) fn view(&self, id: ObjectId, name: &str) -> Option<Arc<ViewProvider>> {
        let is_it = self.catalog.get(id).is_some_and(|object| object.name == name);
        let found = self.views.lock().get(&id).cloned();
        found.filter(|_| is_it && !self.given.contains_key(name))
    }

    /// Opens what a query reads that was bound before.
    pub(super) fn open_again(&self, ids: &[ObjectId]) -> Result<(), Report> {
        for object in ids.iter().filter_map(|id| self.catalog.get(*id)) {
            self.open(&TableReference::bare(object.name.as_str()))?;
        }
        Ok(())
    }

    fn open(&self, reference: &TableReference) -> Result<Option<Arc<dyn TableProvider>>, Report> {
        if reference.schema() == Some(CHANGED) {
            if let Some(table) = self.given.get(CHANGED) {
                return Ok(Some(Arc::clone(table)));
            }
            return self.open(&TableReference::bare(reference.table()));
        }
        let is_ours = reference.schema().is_none_or(|schema| schema == "public");
        if let Some(table) = self.given.get(reference.table()).filter(|_| is_ours) {
            return Ok(Some(Arc::clone(table)));
        }
        if reference.schema() == Some(SYSTEM_SCHEMA) {
            if is_of_views(reference.table()) {
                self.of_all_views.store(true, Ordering::Relaxed);
            }
            let table = system_table(&self.shared, reference.table());
            if let Some(table) = table.map_err(|error| super::report_of(&error))? {
                return Ok(Some(table));
            }
            // Others of them are in the catalog.
            let name = format!("{SYSTEM_SCHEMA}.{}", reference.table());
            return self.open_object(&name);
        }
        if let Some(schema) = reference.schema().filter(|schema| *schema != "public") {
            return self.open_of_catalog(Some(schema), reference.table());
        }
        match self.open_object(reference.table())? {
            // As PostgreSQL looks into `pg_catalog` by itself.
            None if reference.schema().is_none() => self.open_of_catalog(None, reference.table()),
            found => Ok(found),
        }
    }

    fn open_of_catalog(
        &self,
        schema: Option<&str>,
        name: &str,
    ) -> Result<Option<Arc<dyn TableProvider>>, Report> {
        let Some((schemas, client)) = &self.schemas else { return Ok(None) };
        schemas.table(schema, name, client).map_err(|error| super::report_of(&error))
    }

    fn open_object(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, Report> {
        let Some(object) = self.catalog.find(name) else { return Ok(None) };
        match &object.kind {
            Kind::MaterializedView(_) | Kind::Table(_) => {
                let mut views = self.views.lock();
                let provider = views.entry(object.id).or_insert_with(|| {
                    let name = object.name.clone();
                    let asked = self.asked.as_ref().filter(|(table, _)| *table == object.id);
                    let asked = asked.map(|(_, keys)| Arc::clone(keys));
                    let provider = ViewProvider::new(name, object.full_schema(), asked);
                    Arc::new(provider.changed(self.pending.get(&object.id).cloned()))
                });
                let provider: Arc<dyn TableProvider> = provider.clone();
                Ok(Some(provider))
            }
            Kind::Source(source) => {
                let (store, clock) = (&self.shared.store, &self.shared.clock);
                let built = built_source(store, clock, object.id, source);
                let built = built.map_err(|error| error.report())?;
                Ok(Some(Arc::new(TopicProvider::new(Arc::new(built)))))
            }
            // The binder expands views itself.
            Kind::View(_) | Kind::Index(_) | Kind::Sink(_) => Ok(None),
        }
    }

    /// Waits until all views of the query may be read, and pins them to one epoch, at least `seen`, or
    /// to a moment, which is taken if it has not been; that epoch, if there are views.
    pub(super) async fn pin(
        &self,
        seen: Epoch,
        mut moment: Option<&mut Moment>,
    ) -> Result<Option<Epoch>, Report> {
        let mut ids: Vec<ObjectId> = self.views.lock().keys().copied().collect();
        ids.extend(self.indexes(&ids));
        let all = self.of_all_views.load(Ordering::Relaxed);
        if ids.is_empty() && !all {
            return Ok(None);
        }
        if let Some(moment) = moment.as_deref()
            && let Some(epoch) = moment.epoch()
        {
            self.pin_then(&ids, moment)?;
            return Ok(Some(epoch));
        }
        // What any session was told to be there is there.
        let seen = seen.max(self.shared.last_change());
        let mut changes = self.shared.changes.subscribe();
        let deadline = tokio::time::Instant::now() + WAIT;
        loop {
            let late = self.late_listed(&ids);
            let waits = (all && !self.all_read(seen)) || late.is_none();
            let seen = seen.max(late.unwrap_or_default());
            if !waits && ids.is_empty() {
                return Ok(None);
            }
            if !waits
                && let Some((epoch, statuses)) = self.readable(&ids, seen)?
                && self.pin_to(epoch, &statuses, moment.as_deref_mut())?
            {
                return Ok(Some(epoch));
            }
            let changed = tokio::time::timeout_at(deadline, changes.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                let message = "the server has not yet read the log again";
                return Err(Report::new(SqlState::CANNOT_CONNECT_NOW, message)
                    .hint("Try again; SHOW SOURCES and millrace.views tell how far it is."));
            }
        }
    }

    /// The last epoch that brought rows to `millrace.late_rows`, if the query reads that; None while rows
    /// have been found that it does not hold yet.
    fn late_listed(&self, ids: &[ObjectId]) -> Option<Epoch> {
        let list = self.catalog.find(&format!("{SYSTEM_SCHEMA}.{LATE_ROWS}"));
        if !list.is_some_and(|list| ids.contains(&list.id)) {
            return Some(Epoch::default());
        }
        let board = self.shared.board.lock();
        (!board.late_waits).then_some(board.late_listed)
    }

    /// True if every view that runs may be read and has completed an epoch.
    fn all_read(&self, seen: Epoch) -> bool {
        let board = self.shared.board.lock();
        let mut running = board.views.values().filter(|view| view.failed.is_none());
        running.all(|view| view.complete() >= Some(seen))
    }

    /// Takes the snapshots; false if a checkpoint has just passed the epoch by.
    fn pin_to(
        &self,
        epoch: Epoch,
        statuses: &BTreeMap<ObjectId, ViewStatus>,
        moment: Option<&mut Moment>,
    ) -> Result<bool, Report> {
        let Some(own) = snapshots(epoch, statuses.iter())? else { return Ok(false) };
        if let Some(moment) = moment {
            let views = self.shared.board.lock().views.clone();
            let Some(mut all) = snapshots(epoch, views.iter())? else { return Ok(false) };
            all.extend(own.iter().map(|(id, snapshot)| (*id, snapshot.clone())));
            moment.take(epoch, all);
        }
        self.pin_all(own);
        Ok(true)
    }

    /// Pins views and indexes to what they held at a moment.
    fn pin_then(&self, ids: &[ObjectId], moment: &Moment) -> Result<(), Report> {
        let mut then = BTreeMap::new();
        for id in ids {
            let object = self.catalog.get(*id);
            match (moment.of(*id), object) {
                (Some(snapshot), _) => drop(then.insert(*id, snapshot)),
                // An index that came later is not needed.
                (None, Some(object)) if matches!(object.kind, Kind::Index(_)) => {}
                (None, object) => {
                    let name = object.map(|object| object.name.clone()).unwrap_or_default();
                    return Err(not_there_then(&name));
                }
            }
        }
        self.pin_all(then);
        Ok(())
    }

    fn pin_all(&self, snapshots: BTreeMap<ObjectId, Snapshot>) {
        let views = self.views.lock();
        for (id, snapshot) in snapshots {
            match self.catalog.get(id).map(|object| (&object.kind, &object.name)) {
                Some((Kind::Index(index), name)) => {
                    if let Some(provider) = views.get(&index.on) {
                        provider.pin_index(name.clone(), snapshot);
                    }
                }
                _ => {
                    if let Some(provider) = views.get(&id) {
                        provider.pin(snapshot);
                    }
                }
            }
        }
    }

    /// The indexes on some tables and views, without those that have stopped.
    fn indexes(&self, on: &[ObjectId]) -> Vec<ObjectId> {
        let board = self.shared.board.lock();
        let runs = |id: &ObjectId| board.views.get(id).is_some_and(|view| view.failed.is_none());
        let indexes = on.iter().flat_map(|on| self.catalog.indexes(*on));
        indexes.map(|(object, _)| object.id).filter(runs).collect()
    }

    /// The epoch that all views have completed; None while one has not.
    fn readable(&self, ids: &[ObjectId], seen: Epoch) -> Result<Option<Readable>, Report> {
        let board = self.shared.board.lock();
        let mut least: Option<Epoch> = None;
        let mut statuses = BTreeMap::new();
        for id in ids {
            // Neither failed nor shown yet: recovery is still building it.
            let Some(status) = board.views.get(id) else { return Ok(None) };
            if let Some(reason) = &status.failed {
                return Err(stopped(&self.catalog, *id, reason));
            }
            let Some(complete) = status.complete() else { return Ok(None) };
            least = Some(least.map_or(complete, |least| least.min(complete)));
            statuses.insert(*id, status.clone());
        }
        Ok(least.filter(|epoch| *epoch >= seen).map(|epoch| (epoch, statuses)))
    }

    /// The query's views and all that they stand on: a row that failed below is missing above, too.
    fn with_those_below(&self) -> BTreeSet<ObjectId> {
        let mut open: Vec<ObjectId> = self.views.lock().keys().copied().collect();
        let mut all = BTreeSet::new();
        while let Some(id) = open.pop() {
            if !all.insert(id) {
                continue;
            }
            match self.catalog.get(id).map(|object| &object.kind) {
                Some(Kind::MaterializedView(view)) => open.extend(&view.depends_on),
                Some(Kind::View(view)) => open.extend(&view.depends_on),
                _ => {}
            }
        }
        all
    }

    /// Why the first of the sources below the query's views has stopped at a message.
    pub(super) fn stopped_source(&self) -> Option<Report> {
        let ids = self.with_those_below();
        let board = self.shared.board.lock();
        let mut stopped = ids.iter().filter_map(|id| Some((id, board.sources.get(id)?)));
        let (id, reason) = stopped.find_map(|(id, s)| Some((*id, s.stopped.clone()?)))?;
        let name = self.catalog.get(id).map(|object| object.name.clone()).unwrap_or_default();
        let message =
            format!("source \"{name}\" has stopped at a message that is no row: {reason}");
        let hint = format!(
            "ALTER SOURCE {name} SET (on_error = 'record') lets it go on; SET view_errors = 'warn' \
             reads what its views held before."
        );
        Some(Report::new(SqlState::FOREIGN_DATA_ERROR, message).hint(hint))
    }

    /// Rows that failed at an epoch in the query's views or below: how many, and the first.
    pub(super) fn view_errors(&self, epoch: Epoch) -> Result<Option<(usize, Report)>, Report> {
        let ids = self.with_those_below();
        let mut count = 0;
        let mut first = None;
        for id in ids {
            let Some(status) = self.shared.board.lock().views.get(&id).cloned() else { continue };
            let snapshot = match status.tables.errors.snapshot(epoch) {
                Ok(snapshot) => snapshot,
                // A checkpoint has passed the epoch by: what it holds now is as good.
                Err(_) => status
                    .tables
                    .errors
                    .snapshot(self.shared.store.checkpoint())
                    .map_err(|e| e.report())?,
            };
            if snapshot.rows_upper_bound() == 0 {
                continue;
            }
            for rows in snapshot.scan(Scan::default()) {
                let rows = rows.map_err(|error| error.report())?;
                if rows.num_rows() > 0 && first.is_none() {
                    let name = self.catalog.get(id).map(|object| object.name.clone());
                    first = Some(row_error(&rows, &name.unwrap_or_default()));
                }
                count += rows.num_rows();
            }
        }
        Ok(first.map(|report| (count, report)))
    }
}

impl TableLookup for QueryTables {
    fn table(&self, reference: &TableReference) -> Option<Arc<dyn TableSource>> {
        match self.open(reference) {
            Ok(table) => table.map(provider_as_source),
            Err(report) => {
                self.failed.lock().get_or_insert(report);
                None
            }
        }
    }
}

pub(super) fn stopped(catalog: &Catalog, view: ObjectId, reason: &str) -> Report {
    let name = catalog.get(view).map(|object| object.name.clone()).unwrap_or_default();
    let message = format!("materialized view \"{name}\" has stopped: {reason}");
    Report::new(SqlState::FOREIGN_DATA_ERROR, message)
        .hint("Drop the view and create it again: it reads what its sources still hold.")
}

fn row_error(rows: &arrow::array::RecordBatch, view: &str) -> Report {
    use arrow::array::AsArray;
    let text = |column: usize| rows.column(column).as_string::<i32>().value(0).to_owned();
    let code = SqlState::from_code(&text(1)).unwrap_or(SqlState::DATA_EXCEPTION);
    // A result over all rows has no key, and one that nobody wrote says nothing.
    let key = text(0);
    let row = match key.is_empty() || key.starts_with('_') {
        true => String::new(),
        false => format!(", row with {key}"),
    };
    Report::new(code, text(2))
        .detail(format!("In materialized view \"{view}\"{row}."))
        .hint("SET view_errors = 'warn' reads the other rows; millrace.view_errors lists all.")
}
