//! SUBSCRIBE: the rows of a view and then its changes, as long as the client wants them.
//!
//! A subscription reads what the view keeps of its changes, up to the last epoch that it has completed:
//! durable, and the same again after a crash. It holds no more than a page of them.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use millrace_dataflow::runtime::{HISTORY_COLUMNS, HISTORY_EPOCH, HISTORY_WEIGHT};
use millrace_pg::session::{ENDLESS, Outcome, Prepared};
use millrace_sql::ast::{Name, Subscribe};
use millrace_sql::{Kind, Object, TableLookup, nothing_to_follow};
use millrace_storage::{Scan, ScanRows};
use millrace_types::{Epoch, ObjectId, Report, SqlState, is_hidden};
use tokio::sync::watch;

use super::Conn;
use super::show::positioned;
use super::tables::{QueryTables, stopped};
use crate::coordinator::Request;
use crate::serving::{Changes, Page, check_kept, not_kept};
use crate::shared::Shared;

/// How long a subscription waits for recovery before it begins.
const WAIT: Duration = Duration::from_secs(30);

/// Where a subscription begins.
struct Beginning {
    changes: Changes,
    rows: Option<ScanRows>,
}

impl Conn {
    pub(super) async fn subscribe(&mut self, subscribe: &Subscribe) -> Result<Outcome, Report> {
        let (schema, rows) = self.subscription(subscribe).await?;
        Ok(Outcome::Rows { schema, rows, verb: ENDLESS })
    }

    pub(super) fn prepare_subscribe(&self, subscribe: &Subscribe) -> Result<Prepared, Report> {
        let object = self.followable(&subscribe.name)?;
        Ok(Prepared { parameters: Vec::new(), columns: Some(shown_schema(&object)) })
    }

    /// A view or table whose changes can be followed.
    pub(super) fn followable(&self, name: &Name) -> Result<Arc<Object>, Report> {
        let catalog = self.shared.catalog();
        let object = catalog.find(&name.name).ok_or_else(|| nothing_to_follow(name))?;
        match object.kind {
            Kind::MaterializedView(_) | Kind::Table(_) => {
                self.check_named(&[object.id])?;
                Ok(Arc::clone(object))
            }
            Kind::Source(_) | Kind::View(_) | Kind::Index(_) | Kind::Sink(_) => {
                let message =
                    format!("\"{}\" keeps no rows whose changes could be followed", name.name);
                let report = Report::new(SqlState::WRONG_OBJECT_TYPE, message);
                Err(positioned(report.hint("Create a materialized view of it."), name))
            }
        }
    }

    /// The columns and rows of a subscription.
    pub(super) async fn subscription(
        &mut self,
        subscribe: &Subscribe,
    ) -> Result<(SchemaRef, SendableRecordBatchStream), Report> {
        let object = self.followable(&subscribe.name)?;
        let as_of = subscribe.as_of.map(Epoch);
        let snapshot = subscribe.snapshot.unwrap_or(as_of.is_none());
        if snapshot && as_of.is_some() {
            let report = Report::unsupported("AS OF with snapshot = true");
            return Err(
                report.hint("AS OF gives the changes after an epoch, without the rows before.")
            );
        }
        let Beginning { changes, rows } = self.begin(&object, as_of, snapshot).await?;
        let at = changes.given();
        self.seen = self.seen.max(at);
        if snapshot {
            self.refuse_errors(&object, at)?;
        }
        let schema = shown_schema(&object);
        let stored = object.full_schema();
        let visible = stored.fields().iter().enumerate().filter(|(_, f)| !is_hidden(f.name()));
        let subscription = Subscription {
            shared: self.shared.clone(),
            view: object.id,
            name: object.name.clone(),
            changes,
            rows,
            columns: visible.map(|(column, _)| column).collect(),
            schema: schema.clone(),
            progress: subscribe.progress,
            watch: self.shared.changes.subscribe(),
        };
        let next = |subscription: Option<Subscription>| async move {
            let mut subscription = subscription?;
            match subscription.next().await {
                Ok(batch) => Some((Ok(batch), Some(subscription))),
                Err(report) => Some((Err(DataFusionError::External(report.into())), None)),
            }
        };
        let stream = futures::stream::unfold(Some(subscription), next);
        Ok((schema.clone(), Box::pin(RecordBatchStreamAdapter::new(schema, stream))))
    }

    /// Waits until the view may be read and its changes are kept.
    async fn begin(
        &self,
        object: &Object,
        as_of: Option<Epoch>,
        snapshot: bool,
    ) -> Result<Beginning, Report> {
        let seen = self.seen.max(self.shared.last_change());
        let mut changes = self.shared.changes.subscribe();
        let deadline = tokio::time::Instant::now() + WAIT;
        loop {
            let (status, _following) = {
                let board = self.shared.board.lock();
                let status = board.views.get(&object.id).cloned();
                let history = status.as_ref().and_then(|status| status.history.as_ref());
                // From here on it does not end.
                let following = history.map(|history| history.follow());
                (status, following)
            };
            if let Some(reason) = status.as_ref().and_then(|status| status.failed.as_deref()) {
                return Err(stopped(&self.shared.catalog(), object.id, reason));
            }
            let complete = status.as_ref().and_then(|status| status.complete());
            if let (Some(status), Some(complete)) = (status, complete) {
                let Some(history) = status.history else {
                    if let Some(as_of) = as_of {
                        let message = format!("\"{}\" does not keep its changes", object.name);
                        return Err(not_kept(message, complete.max(as_of)));
                    }
                    let id = object.id;
                    self.ask(|reply| Request::Follow(id, reply)).await?;
                    continue;
                };
                if let Some(as_of) = as_of {
                    check_kept(&history, as_of)?;
                    self.has_come(as_of, complete)?;
                    let changes = Changes::after(history, as_of);
                    return Ok(Beginning { changes, rows: None });
                }
                if complete >= seen && complete.next() >= history.first() {
                    let content = &status.tables.content;
                    match snapshot.then(|| content.snapshot(complete)).transpose() {
                        Ok(found) => {
                            let rows = found.map(|found| found.scan(Scan::default()));
                            let changes = Changes::after(history, complete);
                            return Ok(Beginning { changes, rows });
                        }
                        Err(millrace_storage::Error::TooOld { .. }) => continue,
                        Err(error) => return Err(error.report()),
                    }
                }
            }
            let changed = tokio::time::timeout_at(deadline, changes.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                let message = "the server has not yet read the log again";
                return Err(Report::new(SqlState::CANNOT_CONNECT_NOW, message)
                    .hint("Try again; SHOW SOURCES and millrace.views tell how far it is."));
            }
        }
    }

    /// Nobody has ever been told of an epoch that is not sealed.
    fn has_come(&self, epoch: Epoch, complete: Epoch) -> Result<(), Report> {
        let sealed = self.shared.board.lock().epochs.back().map(|status| status.epoch);
        if epoch <= sealed.unwrap_or_default().max(complete) {
            return Ok(());
        }
        let message = format!("epoch {epoch} has not come yet");
        Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, message)
            .hint(format!("The last complete epoch is {complete}.")))
    }

    /// Rows that have failed are missing among those that the subscription begins with.
    fn refuse_errors(&mut self, object: &Object, at: Epoch) -> Result<(), Report> {
        let tables = QueryTables::new(self.shared.clone());
        drop(tables.table(&TableReference::bare(object.name.clone())));
        let Some((count, report)) = tables.view_errors(at)? else { return Ok(()) };
        if self.settings.lock().get("view_errors")? != "warn" {
            return Err(report);
        }
        let missing = if count == 1 { "1 row is" } else { &format!("{count} rows are") };
        let message = format!("{missing} missing because of an error: {report}");
        self.warn(SqlState::WARNING, &message);
        Ok(())
    }
}

/// Epoch, weight, and the columns of a view, which rows of progress leave NULL.
fn shown_schema(object: &Object) -> SchemaRef {
    let own = ["epoch", "weight"].map(|name| Field::new(name, DataType::Int64, false));
    let visible = object.visible_schema();
    let columns = visible.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(own.into_iter().chain(columns).collect::<Vec<_>>()))
}

/// A subscription under way.
struct Subscription {
    shared: Arc<Shared>,
    view: ObjectId,
    name: String,
    changes: Changes,
    /// What is left of the rows that it begins with.
    rows: Option<ScanRows>,
    /// The columns that are shown, by their place in the stored schema.
    columns: Vec<usize>,
    schema: SchemaRef,
    progress: bool,
    watch: watch::Receiver<u64>,
}

impl Subscription {
    async fn next(&mut self) -> Result<RecordBatch, Report> {
        loop {
            if let Some(rows) = self.beginning()? {
                return Ok(rows);
            }
            let complete = self.complete()?;
            if complete > self.changes.given() {
                match self.changes.next(complete)? {
                    Page::Rows(rows) => return self.changed(&rows),
                    Page::Complete(epoch) if self.progress => return self.told(epoch),
                    Page::Complete(_) | Page::Again => continue,
                }
            }
            // The sender lives as long as the server.
            drop(self.watch.changed().await);
        }
    }

    /// The next of the rows that it begins with.
    fn beginning(&mut self) -> Result<Option<RecordBatch>, Report> {
        let Some(scan) = &mut self.rows else { return Ok(None) };
        let at = self.changes.given();
        match scan.next() {
            Some(rows) => {
                let rows = rows.map_err(|error| error.report())?;
                let count = rows.num_rows();
                let epoch = i64::try_from(at.0).unwrap_or(i64::MAX);
                let epochs: ArrayRef = Arc::new(Int64Array::from_value(epoch, count));
                let weights: ArrayRef = Arc::new(Int64Array::from_value(1, count));
                let columns = self.columns.iter().map(|column| rows.column(*column).clone());
                self.shown([epochs, weights].into_iter().chain(columns).collect()).map(Some)
            }
            None => {
                self.rows = None;
                self.progress.then(|| self.told(at)).transpose()
            }
        }
    }

    fn complete(&self) -> Result<Epoch, Report> {
        let status = self.shared.board.lock().views.get(&self.view).cloned();
        let gone = || {
            let message = format!("\"{}\" has been dropped", self.name);
            Report::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
        };
        let status = status.ok_or_else(gone)?;
        match &status.failed {
            Some(reason) => Err(stopped(&self.shared.catalog(), self.view, reason)),
            None => Ok(status.complete().unwrap_or_default()),
        }
    }

    /// Changes as they are shown.
    fn changed(&self, rows: &RecordBatch) -> Result<RecordBatch, Report> {
        let own = [HISTORY_EPOCH, HISTORY_WEIGHT];
        let columns = self.columns.iter().map(|column| column + HISTORY_COLUMNS);
        let columns = own.into_iter().chain(columns).map(|column| rows.column(column).clone());
        self.shown(columns.collect())
    }

    /// The row that says that an epoch is complete: of weight 0.
    fn told(&self, epoch: Epoch) -> Result<RecordBatch, Report> {
        let epoch = i64::try_from(epoch.0).unwrap_or(i64::MAX);
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![epoch])), Arc::new(Int64Array::from(vec![0]))];
        let rest = self.schema.fields().iter().skip(columns.len());
        columns.extend(rest.map(|field| new_null_array(field.data_type(), 1)));
        self.shown(columns)
    }

    fn shown(&self, columns: Vec<ArrayRef>) -> Result<RecordBatch, Report> {
        RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(|error| Report::new(SqlState::INTERNAL_ERROR, error.to_string()))
    }
}
