//! Cursors over queries and subscriptions: DECLARE, FETCH, MOVE, CLOSE.
//!
//! A cursor lives until CLOSE, or the end of the transaction in which it was declared; WITH HOLD, it goes
//! only if that is rolled back. One over a query shows the epoch in which it was declared, and the rows
//! are made as they are fetched. A portal that the client has bound under a name is a cursor too: its rows
//! begin when they are first fetched, here or by the protocol. Of a subscription FETCH gives what is there;
//! it waits for a first row as long as its timeout says.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use millrace_pg::catalog::CursorRow;
use millrace_pg::portal::PortalRows;
use millrace_pg::session::{
    BoundPortal, ENDLESS, Outcome, Prepared, Statement as Text, Transaction,
};
use millrace_sql::ast::{CursorRows, DeclareCursor, Fetch, Name, OptionItem, Statement};
use millrace_sql::has_row_locks;
use millrace_types::{Report, SqlState};
use tokio::time::Instant;

use super::show::positioned;
use super::{Conn, parse_one, report_of};

/// A declared cursor.
pub(super) struct OpenCursor {
    /// The text that has declared it, or that is bound.
    statement: String,
    rows: Arc<PortalRows>,
    /// What makes the rows of a portal.
    portal: Option<(Text, Vec<ScalarValue>)>,
    /// When it came to be, microseconds since 1970.
    at: i64,
    /// It was declared in the open transaction, and goes with it.
    in_transaction: bool,
    /// Savepoints that were there when it was declared.
    savepoints: usize,
    /// It goes only if the transaction is rolled back.
    held: bool,
}

impl Drop for OpenCursor {
    fn drop(&mut self) {
        self.rows.close();
    }
}

impl OpenCursor {
    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(self.rows.schema())
    }

    /// As `pg_cursors` shows it.
    pub(super) fn row(&self, name: &str) -> CursorRow {
        let (name, statement) = (name.to_owned(), self.statement.clone());
        CursorRow { name, statement, is_held: self.held, at: self.at }
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

impl Conn {
    pub(super) async fn declare(
        &mut self,
        declare: DeclareCursor,
        text: &str,
        parameters: Vec<ScalarValue>,
    ) -> Result<(), Report> {
        let name = &declare.name;
        self.check_free(&name.name).map_err(|report| positioned(report, name))?;
        let (in_transaction, held) = (self.is_in_transaction(), declare.hold);
        let endless = matches!(declare.rows, CursorRows::Subscribe(_));
        let (schema, stream) = match declare.rows {
            CursorRows::Subscribe(subscribe) => self.subscription(&subscribe).await?,
            CursorRows::Query(_) if !in_transaction && !held => {
                let message = "DECLARE CURSOR can only be used in transaction blocks";
                let report = Report::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, message);
                return Err(report.hint("BEGIN one, or declare it WITH HOLD."));
            }
            CursorRows::Query(query) if held && has_row_locks(query.as_ref()) => {
                let message = "DECLARE CURSOR WITH HOLD ... FOR UPDATE is not supported";
                let report = Report::new(SqlState::FEATURE_NOT_SUPPORTED, message);
                return Err(report.detail("Holdable cursors must be READ ONLY."));
            }
            CursorRows::Query(query) => {
                let outcome = self.query(*query, text, parameters).await?;
                let Outcome::Rows { schema, rows, .. } = outcome else { return Ok(()) };
                (schema, rows)
            }
        };
        let rows = Arc::new(PortalRows::new(schema));
        rows.begin(stream, endless).await;
        let mut cursor = self.new_cursor(text, rows);
        cursor.held = held;
        self.named.cursors.lock().insert(name.name.clone(), cursor);
        Ok(())
    }

    fn new_cursor(&self, statement: &str, rows: Arc<PortalRows>) -> OpenCursor {
        OpenCursor {
            statement: statement.to_owned(),
            rows,
            portal: None,
            at: self.shared.clock.now(),
            in_transaction: self.is_in_transaction(),
            savepoints: self.uncommitted.savepoints(),
            held: false,
        }
    }

    fn is_in_transaction(&self) -> bool {
        self.transaction == Transaction::Open || self.block
    }

    fn check_free(&self, name: &str) -> Result<(), Report> {
        match self.named.cursors.lock().contains_key(name) {
            false => Ok(()),
            true => {
                let message = format!("cursor \"{name}\" already exists");
                Err(Report::new(SqlState::DUPLICATE_CURSOR, message))
            }
        }
    }

    /// A portal that the client has bound under a name.
    pub(super) fn bind_cursor(&mut self, name: &str, portal: BoundPortal) -> Result<(), Report> {
        self.check_free(name)?;
        let BoundPortal { statement, values, rows } = portal;
        let mut cursor = self.new_cursor(&statement.text, rows);
        cursor.portal = Some((statement, values));
        self.named.cursors.lock().insert(name.to_owned(), cursor);
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

    fn cursor(&self, name: &Name) -> Result<Arc<PortalRows>, Report> {
        let cursors = self.named.cursors.lock();
        let found = cursors.get(&name.name).map(|cursor| Arc::clone(&cursor.rows));
        found.ok_or_else(|| positioned(missing(&name.name), name))
    }

    pub(super) fn prepare_fetch(&self, fetch: &Fetch) -> Result<Prepared, Report> {
        let schema = Arc::clone(self.cursor(&fetch.name)?.schema());
        let columns = (!fetch.passes_over).then_some(schema);
        Ok(Prepared { parameters: Vec::new(), columns })
    }

    /// Has the rows of a portal made, if nobody has fetched any.
    async fn begin_portal(&mut self, name: &Name, rows: &PortalRows) -> Result<(), Report> {
        if rows.is_begun() {
            return Ok(());
        }
        let found = self.named.cursors.lock().get(&name.name).and_then(|one| one.portal.clone());
        let Some((text, values)) = found else { return Ok(()) };
        let is_other = || {
            let report = Report::unsupported("FETCH from a portal that is no query's");
            positioned(report.hint("Execute the portal first."), name)
        };
        let Some(Statement::Query(query)) = parse_one(&text.text)? else { return Err(is_other()) };
        let outcome = self.query(*query, &text.text, values).await;
        // Its positions count in a text that is not the one that was sent.
        let outcome = outcome.map_err(|report| Report { position: None, ..report })?;
        let Outcome::Rows { rows: stream, verb, .. } = outcome else { return Err(is_other()) };
        rows.begin(stream, verb == ENDLESS).await;
        Ok(())
    }

    pub(super) async fn fetch(&mut self, fetch: &Fetch) -> Result<Outcome, Report> {
        let rows = self.cursor(&fetch.name)?;
        self.begin_portal(&fetch.name, &rows).await?;
        let timeout = fetch.timeout.as_ref().map(timeout).transpose()?;
        let left = fetch.count.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let (schema, endless) = (Arc::clone(rows.schema()), rows.is_endless());
        let until = match timeout {
            Some(timeout) => Some(Instant::now() + timeout),
            None => endless.then(Instant::now),
        };
        let state = (rows, left.unwrap_or(usize::MAX), until);
        let stream = futures::stream::unfold(state, move |(rows, left, until)| async move {
            let batch = rows.next(left, until).await?;
            let taken = batch.as_ref().map_or(0, RecordBatch::num_rows);
            // With a first row there is nothing to wait for any more.
            let until = if endless { Some(Instant::now()) } else { until };
            Some((batch, (rows, left - taken, until)))
        });
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
            None => self.named.cursors.lock().clear(),
            Some(name) => {
                drop(self.named.cursors.lock().remove(name).ok_or_else(|| missing(name))?);
            }
        }
        Ok(())
    }

    /// The transaction has ended.
    pub(super) fn close_its_cursors(&mut self, committed: bool) {
        let mut cursors = self.named.cursors.lock();
        cursors.retain(|_, cursor| !cursor.in_transaction || (cursor.held && committed));
        cursors.values_mut().for_each(|cursor| cursor.in_transaction = false);
    }
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
