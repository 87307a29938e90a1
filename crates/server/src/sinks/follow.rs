//! The thread of a sink: the rows that are there, then whole epochs of changes, in transactions.
//!
//! What goes wrong ends the attempt: the writer is dropped with what it has not committed, and after a
//! pause the next one asks the other end how far it is and goes on there.
//!
//! Invariants: 1. nothing is sent twice and nothing left out: an attempt goes on behind the greater of
//! what the other end has and what is stored, and a commit names an epoch only when all of it is
//! written ([`Follower::write`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use millrace_dataflow::runtime::{HISTORY_COLUMNS, HISTORY_EPOCH, HISTORY_WEIGHT};
use millrace_dataflow::sink::{Changes as Written, SinkError, Writer};
use millrace_sql::{Kind, Object, Sink};
use millrace_storage::Scan;
use millrace_types::{Epoch, Report, SqlState};

use super::{connect, stored_position};
use crate::error::ServerError;
use crate::serving::{Changes, Page, check_kept};
use crate::shared::{History, Shared, SinkState, ViewStatus};

/// Changes of a transaction, at least, before it ends with an epoch while there are more.
const TRANSACTION_ROWS: usize = 100_000;
/// How often it looks for complete epochs.
const LOOK: Duration = Duration::from_millis(10);
/// The first pause after an error, and the longest.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Why an attempt has ended.
enum End {
    Stopped,
    /// It is tried again.
    Sink(SinkError),
    /// The view does not run, or cannot be read now.
    View(Report),
    /// Nothing helps but to make the sink anew.
    Lost(Report),
}

impl From<SinkError> for End {
    fn from(error: SinkError) -> End {
        End::Sink(error)
    }
}

impl From<ServerError> for End {
    fn from(error: ServerError) -> End {
        End::View(error.report())
    }
}

impl From<Report> for End {
    fn from(report: Report) -> End {
        match report.code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE {
            true => End::Lost(report),
            false => End::View(report),
        }
    }
}

/// Follows until told to stop.
pub(super) fn run(shared: &Arc<Shared>, object: &Arc<Object>, stop: &AtomicBool) {
    let catalog = shared.catalog();
    let Kind::Sink(sink) = &object.kind else { return };
    let Some(from) = catalog.get(sink.from) else { return };
    let (pending, written) = (0, None);
    let mut follower = Follower { shared, object, sink, from, stop, pending, written };
    let mut pause = PAUSE;
    loop {
        follower.post(SinkState::Starting, None);
        let (state, reason) = match follower.attempt(&mut pause) {
            Ok(()) | Err(End::Stopped) => return,
            Err(End::Sink(SinkError::Unreachable(reason))) => (SinkState::Retrying, reason),
            Err(End::Sink(error)) => (SinkState::Refused, error.to_string()),
            Err(End::View(report)) => (SinkState::Retrying, report.to_string()),
            Err(End::Lost(report)) => (SinkState::Failed, report.to_string()),
        };
        follower.complain(state, reason);
        if state == SinkState::Failed {
            return follower.rest(Duration::MAX);
        }
        follower.rest(pause);
        if follower.is_stopped() {
            return;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

struct Follower<'a> {
    shared: &'a Shared,
    object: &'a Object,
    sink: &'a Sink,
    from: &'a Object,
    stop: &'a AtomicBool,
    /// Changes written in the open transaction, and the epoch of the last one.
    pending: usize,
    written: Option<Epoch>,
}

impl Follower<'_> {
    fn attempt(&mut self, pause: &mut Duration) -> Result<(), End> {
        (self.pending, self.written) = (0, None);
        let connector = connect(&self.shared.store, self.sink, self.from)?;
        let mut writer = connector.open()?;
        let stored = stored_position(&self.shared.store, self.object.id)?;
        let at = match stored.max(writer.position()) {
            Some(at) => at,
            None => self.send_rows(writer.as_mut())?,
        };
        let (history, complete) = self.readable()?;
        check_kept(&history, at)?;
        self.check_ahead(at, complete)?;
        self.post_position(at, 0);
        self.recovered(pause);
        let mut changes = Changes::after(history, at);
        while !self.is_stopped() {
            let complete = self.status()?.and_then(|status| status.complete());
            match complete.filter(|complete| *complete > changes.given()) {
                None => std::thread::park_timeout(LOOK),
                Some(complete) => match changes.next(complete)? {
                    Page::Rows(page) => self.write_page(writer.as_mut(), &page)?,
                    Page::Complete(epoch) => self.commit(writer.as_mut(), epoch)?,
                    Page::Again => std::thread::park_timeout(LOOK),
                },
            }
        }
        Err(End::Stopped)
    }

    /// The rows that are there, in one transaction; their epoch.
    fn send_rows(&mut self, writer: &mut dyn Writer) -> Result<Epoch, End> {
        self.post(SinkState::Snapshot, None);
        loop {
            let (_, epoch) = self.readable()?;
            let Some(status) = self.status()? else { continue };
            let snapshot = match status.tables.content.snapshot(epoch) {
                Ok(snapshot) => snapshot,
                Err(millrace_storage::Error::TooOld { .. }) => continue,
                Err(error) => return Err(End::View(error.report())),
            };
            let mut count = 0;
            for rows in snapshot.scan(Scan::default()) {
                let rows = rows.map_err(|error| End::View(error.report()))?;
                let weights = vec![1; rows.num_rows()];
                let changes = Written { rows: &rows, weights: &weights, epoch, snapshot: true };
                count += writer.write(&changes)?;
                self.go_on()?;
            }
            count += writer.commit(epoch)?;
            self.post_position(epoch, count);
            return Ok(epoch);
        }
    }

    /// Waits until the view keeps its changes and may be read.
    fn readable(&self) -> Result<(Arc<History>, Epoch), End> {
        loop {
            self.go_on()?;
            if let Some(status) = self.status()?
                && let (Some(history), Some(complete)) = (&status.history, status.complete())
                && complete.next() >= history.first()
            {
                return Ok((history.clone(), complete));
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// What the topic has and this server never had cannot be gone on from.
    fn check_ahead(&self, at: Epoch, complete: Epoch) -> Result<(), End> {
        let sealed = self.shared.board.lock().epochs.back().map(|status| status.epoch);
        if at <= sealed.unwrap_or_default().max(complete) {
            return Ok(());
        }
        let message = format!("the sink has sent epoch {at}, and the server has epoch {complete}");
        let report = Report::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message);
        Err(End::Lost(report.hint("An older copy of the data directory runs: make the sink anew.")))
    }

    fn write_page(&mut self, writer: &mut dyn Writer, page: &RecordBatch) -> Result<(), End> {
        let epochs = page.column(HISTORY_EPOCH).as_primitive::<Int64Type>().values();
        let mut from = 0;
        while from < epochs.len() {
            let same = epochs[from..].iter().take_while(|epoch| **epoch == epochs[from]).count();
            let epoch = Epoch(u64::try_from(epochs[from]).unwrap_or_default());
            self.write(writer, &page.slice(from, same), epoch)?;
            from += same;
        }
        Ok(())
    }

    /// Changes of one epoch. Before the first of it a transaction that has become long ends.
    fn write(
        &mut self,
        writer: &mut dyn Writer,
        rows: &RecordBatch,
        epoch: Epoch,
    ) -> Result<(), End> {
        self.go_on()?;
        if let Some(before) = self.written.filter(|before| *before < epoch)
            && self.pending >= TRANSACTION_ROWS
        {
            self.commit(writer, before)?;
        }
        let weights = rows.column(HISTORY_WEIGHT).as_primitive::<Int64Type>().clone();
        let schema: SchemaRef = self.from.full_schema();
        let columns = rows.columns()[HISTORY_COLUMNS..].to_vec();
        let content = RecordBatch::try_new(schema, columns)
            .map_err(|error| End::View(Report::new(SqlState::INTERNAL_ERROR, error.to_string())))?;
        let (rows, weights) = (&content, weights.values());
        let count = writer.write(&Written { rows, weights, epoch, snapshot: false })?;
        self.count(count);
        self.pending += rows.num_rows();
        self.written = Some(epoch);
        Ok(())
    }

    /// Everything up to an epoch has been written.
    fn commit(&mut self, writer: &mut dyn Writer, epoch: Epoch) -> Result<(), End> {
        self.go_on()?;
        let mut count = 0;
        if self.pending > 0 {
            count = writer.commit(epoch)?;
        }
        (self.pending, self.written) = (0, None);
        self.post_position(epoch, count);
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn go_on(&self) -> Result<(), End> {
        match self.is_stopped() {
            true => Err(End::Stopped),
            false => Ok(()),
        }
    }

    /// Waits, unless it is told to stop.
    fn rest(&self, mut left: Duration) {
        const SLICE: Duration = Duration::from_millis(500);
        while !self.is_stopped() && !left.is_zero() {
            std::thread::park_timeout(left.min(SLICE));
            left = left.saturating_sub(SLICE);
        }
    }

    /// The view's status; None before recovery has built it.
    fn status(&self) -> Result<Option<ViewStatus>, End> {
        let status = self.shared.board.lock().views.get(&self.from.id).cloned();
        match status.as_ref().and_then(|status| status.failed.as_ref()) {
            Some(reason) => {
                let message = format!("\"{}\" has stopped: {reason}", self.from.name);
                Err(End::View(Report::new(SqlState::FOREIGN_DATA_ERROR, message)))
            }
            None => Ok(status),
        }
    }
}

/// What is shown of it.
impl Follower<'_> {
    fn post(&self, state: SinkState, error: Option<String>) {
        let mut board = self.shared.board.lock();
        let status = board.sinks.entry(self.object.id).or_default();
        if state == SinkState::Starting && status.error.is_some() {
            // It is shown until an attempt goes well.
            return;
        }
        if status.state != state {
            status.since = self.shared.clock.now();
        }
        (status.state, status.error) = (state, error);
    }

    fn post_position(&self, position: Epoch, messages: u64) {
        let mut board = self.shared.board.lock();
        let status = board.sinks.entry(self.object.id).or_default();
        status.position = Some(position);
        status.messages += messages;
    }

    fn count(&self, messages: u64) {
        let mut board = self.shared.board.lock();
        board.sinks.entry(self.object.id).or_default().messages += messages;
    }

    /// Shows an error, and logs the first of a row.
    fn complain(&self, state: SinkState, reason: String) {
        let before = self.shared.board.lock().sinks.get(&self.object.id).map(|sink| sink.state);
        if before != Some(state) && !self.is_stopped() {
            tracing::warn!(sink = self.object.name, reason, "a sink cannot go on");
        }
        self.post(state, Some(reason));
    }

    /// It goes on.
    fn recovered(&self, pause: &mut Duration) {
        let before = self.shared.board.lock().sinks.get(&self.object.id).map(|sink| sink.state);
        if matches!(before, Some(SinkState::Retrying | SinkState::Refused)) {
            tracing::info!(sink = self.object.name, "a sink goes on");
        }
        *pause = PAUSE;
        self.post(SinkState::Running, None);
    }
}
