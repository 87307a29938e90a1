//! Cursors over queries and subscriptions: DECLARE, FETCH, MOVE, CLOSE.
//!
//! A cursor lives until CLOSE, or the end of the transaction in which it was declared; WITH HOLD, it goes
//! only if that is rolled back. One over a query shows the epoch in which it was declared, and the rows
//! are made as they are fetched. Of a subscription FETCH gives what is there; it waits for a first row as
//! long as its timeout says.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{Result as Fetched, ScalarValue};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use millrace_pg::session::{Outcome, Prepared, Transaction};
use millrace_sql::ast::{CursorRows, DeclareCursor, Fetch, Name, OptionItem};
use millrace_types::{Report, SqlState};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::show::positioned;
use super::{Conn, report_of};

/// A declared cursor.
pub(super) struct OpenCursor {
    schema: SchemaRef,
    rows: Arc<Mutex<Rest>>,
    /// It was declared in the open transaction, and goes with it.
    in_transaction: bool,
    /// Savepoints that were there when it was declared.
    savepoints: usize,
    /// It goes only if the transaction is rolled back.
    held: bool,
    /// It is a subscription's.
    endless: bool,
}

impl OpenCursor {
    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// True if it was declared in the open transaction after so many savepoints and one more.
    pub(super) fn is_after(&self, savepoints: usize) -> bool {
        self.in_transaction && self.savepoints > savepoints
    }

    /// The savepoints after so many have gone, and not what was done after them.
    pub(super) fn belong_to(&mut self, savepoints: usize) {
        self.savepoints = self.savepoints.min(savepoints);
    }
}

/// What has not been fetched.
struct Rest {
    /// None once it has ended.
    stream: Option<SendableRecordBatchStream>,
    batch: Option<RecordBatch>,
}

impl Conn {
    pub(super) async fn declare(
        &mut self,
        declare: DeclareCursor,
        text: &str,
        parameters: Vec<ScalarValue>,
    ) -> Result<(), Report> {
        let name = &declare.name;
        if self.cursors.contains_key(&name.name) {
            let message = format!("cursor \"{}\" already exists", name.name);
            return Err(positioned(Report::new(SqlState::DUPLICATE_CURSOR, message), name));
        }
        let (in_transaction, held) = (self.transaction == Transaction::Open, declare.hold);
        let endless = matches!(declare.rows, CursorRows::Subscribe(_));
        let (schema, stream) = match declare.rows {
            CursorRows::Subscribe(subscribe) => self.subscription(&subscribe).await?,
            CursorRows::Query(_) if !in_transaction && !held => {
                let message = "DECLARE CURSOR can only be used in transaction blocks";
                let report = Report::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, message);
                return Err(report.hint("BEGIN one, or declare it WITH HOLD."));
            }
            CursorRows::Query(query) => {
                let outcome = self.query(*query, text, parameters).await?;
                let Outcome::Rows { schema, rows, .. } = outcome else { return Ok(()) };
                (schema, rows)
            }
        };
        let rows = Arc::new(Mutex::new(Rest { stream: Some(stream), batch: None }));
        let savepoints = self.uncommitted.savepoints();
        let cursor = OpenCursor { schema, rows, in_transaction, savepoints, held, endless };
        self.cursors.insert(name.name.clone(), cursor);
        Ok(())
    }

    /// The parameters of a query that a cursor is to be declared for.
    pub(super) async fn prepare_declare(
        &mut self,
        declare: DeclareCursor,
        text: &str,
        hints: &[Option<DataType>],
    ) -> Result<Prepared, Report> {
        let parameters = match declare.rows {
            CursorRows::Subscribe(_) => Vec::new(),
            CursorRows::Query(query) => self.prepare_query(*query, text, hints).await?.parameters,
        };
        Ok(Prepared { parameters, columns: None })
    }

    fn cursor(&self, name: &Name) -> Result<&OpenCursor, Report> {
        self.cursors.get(&name.name).ok_or_else(|| positioned(missing(&name.name), name))
    }

    pub(super) fn prepare_fetch(&self, fetch: &Fetch) -> Result<Prepared, Report> {
        let schema = self.cursor(&fetch.name)?.schema.clone();
        let columns = (!fetch.passes_over).then_some(schema);
        Ok(Prepared { parameters: Vec::new(), columns })
    }

    pub(super) async fn fetch(&self, fetch: &Fetch) -> Result<Outcome, Report> {
        let cursor = self.cursor(&fetch.name)?;
        let timeout = fetch.timeout.as_ref().map(timeout).transpose()?;
        let left = fetch.count.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let endless = cursor.endless;
        let until = match timeout {
            Some(timeout) => Some(Instant::now() + timeout),
            None => endless.then(Instant::now),
        };
        let state = (cursor.rows.clone(), left.unwrap_or(usize::MAX), until);
        let stream = futures::stream::unfold(state, move |(rows, left, until)| async move {
            let batch = next(&rows, left, until).await?;
            let taken = batch.as_ref().map_or(0, RecordBatch::num_rows);
            // With a first row there is nothing to wait for any more.
            let until = if endless { Some(Instant::now()) } else { until };
            Some((batch, (rows, left - taken, until)))
        });
        let schema = cursor.schema.clone();
        let mut rows = Box::pin(RecordBatchStreamAdapter::new(schema.clone(), stream));
        if !fetch.passes_over {
            return Ok(Outcome::Rows { schema, rows, verb: "FETCH" });
        }
        let mut passed = 0;
        while let Some(batch) = rows.next().await {
            passed += batch.map_err(|error| report_of(&error))?.num_rows();
        }
        Ok(Outcome::Done(format!("MOVE {passed}")))
    }

    pub(super) fn close_cursor(&mut self, name: Option<&str>) -> Result<(), Report> {
        match name {
            None => self.cursors.clear(),
            Some(name) => drop(self.cursors.remove(name).ok_or_else(|| missing(name))?),
        }
        Ok(())
    }

    /// The transaction has ended.
    pub(super) fn close_its_cursors(&mut self, committed: bool) {
        self.cursors.retain(|_, cursor| !cursor.in_transaction || (cursor.held && committed));
        self.cursors.values_mut().for_each(|cursor| cursor.in_transaction = false);
    }
}

/// The next rows, `left` at most; None if there are none by then, or at the end.
async fn next(
    rows: &Mutex<Rest>,
    left: usize,
    until: Option<Instant>,
) -> Option<Fetched<RecordBatch>> {
    if left == 0 {
        return None;
    }
    let mut rest = rows.lock().await;
    let batch = match rest.batch.take() {
        Some(batch) => batch,
        None => {
            let next = rest.stream.as_mut()?.next();
            let next = match until {
                Some(until) => timeout_at(until, next).await.ok()?,
                None => next.await,
            };
            match next {
                Some(Ok(batch)) => batch,
                ended => {
                    rest.stream = None;
                    return ended;
                }
            }
        }
    };
    if batch.num_rows() <= left {
        return Some(Ok(batch));
    }
    rest.batch = Some(batch.slice(left, batch.num_rows() - left));
    Some(Ok(batch.slice(0, left)))
}

fn timeout(item: &OptionItem) -> Result<Duration, Report> {
    let wrong = |reason: String| {
        let report = Report::new(SqlState::INVALID_PARAMETER_VALUE, reason);
        Report { position: item.value_position, ..report }
    };
    crate::config::duration(&item.value).map_err(wrong)
}

fn missing(name: &str) -> Report {
    let message = format!("cursor \"{name}\" does not exist");
    Report::new(SqlState::INVALID_CURSOR_NAME, message)
}
