//! One connection after startup: requests in, answers out, in order.
//!
//! The simple protocol is here; [`extended`] has prepared statements and portals, [`copy`] the data
//! of COPY, [`rows`] the stream of a result, [`interrupt`] cancel requests and the server's end.
//!
//! Invariants: 1. after a failed message of an extended query nothing is done until its Sync;
//! 2. every query string and every Sync is answered by exactly one ReadyForQuery, with all notices
//! and changed settings before it; 3. no portal outlives its transaction.

mod copy;
mod extended;
mod interrupt;
mod rows;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use datafusion::common::ScalarValue;
use millrace_types::input::Zone;
use millrace_types::{Report, SqlState};
use pgwire::messages::response::{
    CommandComplete, EmptyQueryResponse, ReadyForQuery, TransactionStatus,
};
use pgwire::messages::startup::ParameterStatus;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::encode::Format;
use crate::failure::Failure;
use crate::frontend::{self, Request};
use crate::report::{self, Severity};
use crate::session::{ENDLESS, Login, Outcome, Session, Statement, Transaction, zone};
use crate::settings::REPORTED;
use crate::startup::Started;
use crate::types;
use crate::wire::{Frame, Wire};
use extended::{Portal, Prepared};
pub use interrupt::Ender;
pub(crate) use interrupt::{Interrupts, Key, Keys};
use rows::Rows;

/// A connection with its session.
pub(crate) struct Connection {
    wire: Wire,
    interrupts: Interrupts,
    session: Box<dyn Session>,
    /// What the session says while a statement runs.
    news: UnboundedReceiver<Report>,
    login: Login,
    key: Key,
    /// What the client was last told of each of [`REPORTED`].
    reported: [String; REPORTED.len()],
    statements: BTreeMap<String, Prepared>,
    portals: BTreeMap<String, Portal>,
    /// True from a failure in an extended query to its Sync.
    skipping: bool,
    message_bytes_max: usize,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    pub(crate) fn new(started: Started, interrupts: Interrupts) -> Connection {
        let mut session = started.session;
        // Of a channel that nobody sends into nothing comes.
        let news = session.news().unwrap_or_else(|| unbounded_channel().1);
        Connection {
            wire: started.wire,
            interrupts,
            session,
            news,
            login: started.login,
            key: started.key,
            reported: Default::default(),
            statements: BTreeMap::new(),
            portals: BTreeMap::new(),
            skipping: false,
            message_bytes_max: started.message_bytes_max,
            _permit: started.permit,
        }
    }

    /// Serves the client until it leaves, breaks the protocol, or the server ends.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        let failure = match self.greet().await {
            Ok(()) => self.serve().await,
            Err(error) => Err(error.into()),
        };
        match failure {
            Ok(()) => self.wire.close().await,
            Err(Failure::Connection(error)) => Err(error),
            Err(Failure::Session(report) | Failure::Statement(report)) => {
                let (user, address) = (&self.login.user, self.login.peer);
                tracing::info!(user, %address, %report, "a session was ended");
                self.wire.put(&report::error(Severity::Fatal, &report, 0))?;
                self.wire.close().await
            }
        }
    }

    async fn greet(&mut self) -> io::Result<()> {
        for (at, (name, _)) in REPORTED.into_iter().enumerate() {
            let value = self.setting(at);
            self.wire.put(&ParameterStatus::new(name.to_owned(), value.clone()))?;
            self.reported[at] = value;
        }
        self.wire.put(&self.key.message())?;
        self.ready()?;
        self.wire.flush().await
    }

    fn setting(&self, at: usize) -> String {
        let (name, default) = REPORTED[at];
        if let Some(value) = self.session.parameter(name) {
            return value;
        }
        let option = |name: &str| {
            self.login.options.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
        };
        match name {
            "application_name" => option(name).unwrap_or_default(),
            "session_authorization" => self.login.user.clone(),
            _ => default.to_owned(),
        }
    }

    async fn serve(&mut self) -> Result<(), Failure> {
        self.wire.flush().await?;
        loop {
            let frame = self.next_frame().await?;
            let Some(frame) = frame else { return Ok(()) };
            let kind = frame.kind;
            if !frontend::is_known(kind) {
                return Err(Failure::protocol(format!("invalid frontend message type {kind}")));
            }
            if self.skipping && !matches!(kind, b'S' | b'X') {
                continue;
            }
            if frame.passed_over {
                self.refuse(&too_long(), kind).await?;
                continue;
            }
            match Request::decode(frame) {
                Ok(Request::Terminate) => return Ok(()),
                Ok(request) => self.answer(request).await?,
                Err(report) => self.refuse(&report, kind).await?,
            }
        }
    }

    async fn next_frame(&mut self) -> Result<Option<Frame>, Failure> {
        let silence = match self.session.transaction() {
            Transaction::Idle if !self.session.has_gathered() => None,
            _ => self.session.idle_timeout(),
        };
        tokio::select! {
            biased;
            failure = self.interrupts.end() => Err(failure),
            () = idled(silence) => Err(Failure::Session(Report::new(
                SqlState::IDLE_IN_TRANSACTION_TIMEOUT,
                "terminating connection due to idle-in-transaction timeout",
            ))),
            frame = self.wire.frame(self.message_bytes_max) => received(frame),
        }
    }

    /// A message that could not be decoded, or was refused before anything ran.
    async fn refuse(&mut self, report: &Report, kind: u8) -> Result<(), Failure> {
        self.session.failed();
        self.wire.put(&report::error(Severity::Error, report, 0))?;
        if frontend::is_extended(kind) {
            self.skipping = true;
        } else {
            self.ready()?;
        }
        Ok(self.wire.flush().await?)
    }

    async fn answer(&mut self, request: Request) -> Result<(), Failure> {
        match request {
            Request::Query(query) => self.query(&query).await,
            Request::Sync => self.sync().await,
            Request::Flush => Ok(self.wire.flush().await?),
            Request::Function => {
                self.refuse(&Report::unsupported("the function call protocol"), b'F').await
            }
            // What remains of a COPY that failed is read and thrown away.
            Request::Copy(_) | Request::Terminate => Ok(()),
            request => {
                let Err((failure, offset)) = self.extended(request).await else { return Ok(()) };
                let Failure::Statement(report) = failure else { return Err(failure) };
                self.session.failed();
                self.wire.put(&report::error(Severity::Error, &report, offset))?;
                self.skipping = true;
                Ok(self.wire.flush().await?)
            }
        }
    }

    async fn sync(&mut self) -> Result<(), Failure> {
        self.settle().await?;
        self.skipping = false;
        if self.session.transaction() == Transaction::Idle {
            self.end_portals();
        }
        self.ready()?;
        Ok(self.wire.flush().await?)
    }

    /// What the statements so far have changed outside a transaction takes effect, or the client is told why
    /// not.
    async fn settle(&mut self) -> Result<(), Failure> {
        if !self.session.has_gathered() {
            return Ok(());
        }
        self.interrupts.begin(self.session.statement_timeout());
        let settled = tokio::select! {
            biased;
            failure = self.interrupts.raised() => Err(failure),
            error = self.wire.gone() => return Err(error.into()),
            settled = self.session.settle() => settled.map_err(Failure::Statement),
        };
        match settled {
            Err(Failure::Statement(report)) => {
                self.session.failed();
                Ok(self.wire.put(&report::error(Severity::Error, &report, 0))?)
            }
            settled => settled,
        }
    }

    /// Runs a query string of the simple protocol.
    async fn query(&mut self, query: &str) -> Result<(), Failure> {
        self.statements.remove("");
        self.portals.remove("");
        match self.session.split(query) {
            Err(report) => {
                self.session.failed();
                self.wire.put(&report::error(Severity::Error, &report, 0))?;
            }
            Ok(statements) if statements.iter().all(|statement| statement.text.is_empty()) => {
                self.wire.put(&EmptyQueryResponse::new())?;
            }
            Ok(statements) => {
                let all = || statements.iter().filter(|one| !one.text.is_empty());
                if all().count() > 1 {
                    self.session.gather(true);
                }
                for statement in all() {
                    match self.simple(statement).await {
                        Ok(()) => {}
                        Err(Failure::Statement(report)) => {
                            self.session.failed();
                            self.notices(statement.offset)?;
                            let error = report::error(Severity::Error, &report, statement.offset);
                            self.wire.put(&error)?;
                            break;
                        }
                        Err(failure) => return Err(failure),
                    }
                }
            }
        }
        self.settle().await?;
        if self.session.transaction() == Transaction::Idle {
            self.end_portals();
        }
        self.ready()?;
        Ok(self.wire.flush().await?)
    }

    async fn simple(&mut self, statement: &Statement) -> Result<(), Failure> {
        self.interrupts.begin(self.session.statement_timeout());
        match self.execute(statement, Vec::new()).await? {
            Outcome::Empty => self.wire.put(&EmptyQueryResponse::new())?,
            Outcome::Done(tag) => {
                self.notices(statement.offset)?;
                self.wire.put(&CommandComplete::new(tag))?;
            }
            outcome @ (Outcome::CopyIn { .. } | Outcome::CopyOut { .. }) => {
                self.copy(outcome, statement.offset).await?;
            }
            Outcome::Rows { schema, rows, verb } => {
                if verb == ENDLESS {
                    self.interrupts.lift();
                }
                self.wire.put(&types::describe(&schema, &[Format::Text])?)?;
                let mut rows = Rows::new(rows, verb, vec![Format::Text; schema.fields().len()]);
                let zone = self.zone();
                let sent = rows.send(&mut self.wire, &mut self.interrupts, zone, None).await?;
                rows.counted(sent);
                self.notices(statement.offset)?;
                self.wire.put(&CommandComplete::new(rows.tag(sent)))?;
            }
        }
        Ok(())
    }

    /// Runs a statement until it has an outcome, is interrupted or the client is gone; what the session
    /// says meanwhile is sent at once.
    async fn execute(
        &mut self,
        statement: &Statement,
        values: Vec<ScalarValue>,
    ) -> Result<Outcome, Failure> {
        let outcome = self.await_outcome(statement, values).await?;
        for name in self.session.deallocated() {
            self.statements.remove(&name);
        }
        Ok(outcome)
    }

    async fn await_outcome(
        &mut self,
        statement: &Statement,
        values: Vec<ScalarValue>,
    ) -> Result<Outcome, Failure> {
        let mut running = self.session.execute(statement, values);
        loop {
            let notice = tokio::select! {
                biased;
                failure = self.interrupts.raised() => return Err(failure),
                Some(notice) = self.news.recv() => notice,
                error = self.wire.gone() => return Err(error.into()),
                outcome = &mut running => return Ok(outcome?),
            };
            self.wire.put(&report::notice(&notice, statement.offset))?;
            self.wire.flush().await?;
        }
    }

    /// The zone that `timestamptz` is shown and read in as text.
    fn zone(&self) -> Zone {
        zone(self.session.as_ref())
    }

    fn notices(&mut self, offset: usize) -> io::Result<()> {
        for notice in self.session.notices() {
            self.wire.put(&report::notice(&notice, offset))?;
        }
        Ok(())
    }

    fn ready(&mut self) -> io::Result<()> {
        self.notices(0)?;
        self.session.rests();
        for (at, (name, _)) in REPORTED.into_iter().enumerate() {
            let value = self.setting(at);
            if self.reported[at] != value {
                self.wire.put(&ParameterStatus::new(name.to_owned(), value.clone()))?;
                self.reported[at] = value;
            }
        }
        let status = match self.session.transaction() {
            Transaction::Idle => TransactionStatus::Idle,
            Transaction::Open => TransactionStatus::Transaction,
            Transaction::Failed => TransactionStatus::Error,
        };
        self.wire.put(&ReadyForQuery::new(status))
    }
}

fn too_long() -> Report {
    Report::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "a statement may have 16 MB, this one has more")
        .hint("COPY takes many rows; large values go into parameters.")
}

fn received(frame: io::Result<Option<Frame>>) -> Result<Option<Frame>, Failure> {
    match frame {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Failure::protocol(error.to_string()))
        }
        frame => Ok(frame?),
    }
}

/// Waits so long; None: for ever.
async fn idled(silence: Option<Duration>) {
    match silence {
        Some(silence) => tokio::time::sleep(silence).await,
        None => std::future::pending().await,
    }
}

/// The report for a name that no statement has.
fn unknown_statement(name: &str) -> Report {
    let message = match name {
        "" => "unnamed prepared statement does not exist".to_owned(),
        name => format!("prepared statement \"{name}\" does not exist"),
    };
    Report::new(SqlState::INVALID_SQL_STATEMENT_NAME, message)
}
