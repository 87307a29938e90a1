//! Cursors over subscriptions: DECLARE, FETCH, CLOSE.
//!
//! A cursor lives until CLOSE, or the end of the transaction in which it was declared. FETCH gives what
//! is there; it waits for a first row as long as its timeout says.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result as Fetched;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use millrace_pg::session::{Outcome, Prepared, Transaction};
use millrace_sql::ast::{DeclareCursor, Fetch, Name, OptionItem};
use millrace_types::{Report, SqlState};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::Conn;
use super::show::positioned;

/// A declared cursor.
pub(super) struct OpenCursor {
    schema: SchemaRef,
    rows: Arc<Mutex<Rest>>,
    /// It was declared in the open transaction, and goes with it.
    in_transaction: bool,
}

/// What has not been fetched.
struct Rest {
    stream: SendableRecordBatchStream,
    batch: Option<RecordBatch>,
}

impl Conn {
    pub(super) async fn declare(&mut self, declare: &DeclareCursor) -> Result<(), Report> {
        let name = &declare.name;
        if self.cursors.contains_key(&name.name) {
            let message = format!("cursor \"{}\" already exists", name.name);
            return Err(positioned(Report::new(SqlState::DUPLICATE_CURSOR, message), name));
        }
        let (schema, stream) = self.subscription(&declare.subscribe).await?;
        let rows = Arc::new(Mutex::new(Rest { stream, batch: None }));
        let in_transaction = self.transaction == Transaction::Open;
        self.cursors.insert(name.name.clone(), OpenCursor { schema, rows, in_transaction });
        Ok(())
    }

    fn cursor(&self, name: &Name) -> Result<&OpenCursor, Report> {
        self.cursors.get(&name.name).ok_or_else(|| positioned(missing(&name.name), name))
    }

    pub(super) fn prepare_fetch(&self, fetch: &Fetch) -> Result<Prepared, Report> {
        let columns = Some(self.cursor(&fetch.name)?.schema.clone());
        Ok(Prepared { parameters: Vec::new(), columns })
    }

    pub(super) fn fetch(&self, fetch: &Fetch) -> Result<Outcome, Report> {
        let cursor = self.cursor(&fetch.name)?;
        let timeout = fetch.timeout.as_ref().map(timeout).transpose()?.unwrap_or_default();
        let left = fetch.count.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let until = Instant::now() + timeout;
        let state = (cursor.rows.clone(), left.unwrap_or(usize::MAX), until);
        let stream = futures::stream::unfold(state, |(rows, left, until)| async move {
            let batch = next(&rows, left, until).await?;
            let taken = batch.as_ref().map_or(0, RecordBatch::num_rows);
            // With a first row there is nothing to wait for any more.
            Some((batch, (rows, left - taken, Instant::now())))
        });
        let schema = cursor.schema.clone();
        let rows = Box::pin(RecordBatchStreamAdapter::new(schema.clone(), stream));
        Ok(Outcome::Rows { schema, rows, verb: "FETCH" })
    }

    pub(super) fn close_cursor(&mut self, name: Option<&str>) -> Result<(), Report> {
        match name {
            None => self.cursors.clear(),
            Some(name) => drop(self.cursors.remove(name).ok_or_else(|| missing(name))?),
        }
        Ok(())
    }

    /// The transaction has ended.
    pub(super) fn close_its_cursors(&mut self) {
        self.cursors.retain(|_, cursor| !cursor.in_transaction);
    }
}

/// The next rows, `left` at most; None if there are none by then.
async fn next(rows: &Mutex<Rest>, left: usize, until: Instant) -> Option<Fetched<RecordBatch>> {
    if left == 0 {
        return None;
    }
    let mut rest = rows.lock().await;
    let batch = match rest.batch.take() {
        Some(batch) => batch,
        None => match timeout_at(until, rest.stream.next()).await.ok()?? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error)),
        },
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
