//! What the wire needs from the database: one [`Session`] per connection.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::execution::SendableRecordBatchStream;
use millrace_types::Report;
use millrace_types::input::Zone;
use tokio::sync::mpsc::UnboundedReceiver;

pub use crate::connection::Ender;
use crate::copy::CopyForm;
use crate::portal::PortalRows;
use crate::scram::Verifier;

/// One statement of a query string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its text without the semicolon; empty for a comment or nothing.
    pub text: String,
    /// Characters of the query string before it, to shift positions of errors.
    pub offset: usize,
}

/// What is known of a statement before it runs.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The types of `$1`, `$2`, ...
    pub parameters: Vec<DataType>,
    /// The columns of its result; None if it returns none.
    pub columns: Option<SchemaRef>,
}

/// A statement with its values that has a name of its own.
pub struct BoundPortal {
    /// The statement.
    pub statement: Statement,
    /// The values of its parameters.
    pub values: Vec<ScalarValue>,
    /// Its rows, which the first who fetches begins.
    pub rows: Arc<PortalRows>,
}

/// What a statement gives.
pub enum Outcome {
    /// Nothing was asked.
    Empty,
    /// It is done; the command tag, for example `CREATE MATERIALIZED VIEW`.
    Done(String),
    /// The client is to send rows; [`Session::copied`] takes them.
    CopyIn {
        /// How many values a row has.
        columns: usize,
        /// They are in the binary format.
        binary: bool,
        /// The most bytes that are taken.
        limit: usize,
    },
    /// Rows as the data of a COPY; the command tag is `COPY <count>`.
    CopyOut {
        /// The columns.
        schema: SchemaRef,
        /// The rows, as of [`Outcome::Rows`].
        rows: SendableRecordBatchStream,
        /// How they are written.
        form: CopyForm,
        /// They go on until the client has enough.
        endless: bool,
    },
    /// Rows; the command tag is `<verb> <count>`, for example verb `SELECT`, or the verb alone where
    /// PostgreSQL counts nothing (`SHOW`, `EXPLAIN`).
    Rows {
        /// The columns.
        schema: SchemaRef,
        /// The rows; an error in the stream ends the statement. `DataFusionError::External` may hold
        /// a [`Report`].
        rows: SendableRecordBatchStream,
        /// First word of the command tag.
        verb: &'static str,
    },
}

/// The verb of rows that go on until the client has enough.
pub const ENDLESS: &str = "SUBSCRIBE";

/// The command tag after so many rows.
pub fn command_tag(verb: &str, rows: usize) -> String {
    match verb {
        "SELECT" | "FETCH" | "MOVE" | "COPY" | "UPDATE" | "DELETE" | "MERGE" => {
            format!("{verb} {rows}")
        }
        "INSERT" => format!("INSERT 0 {rows}"),
        verb => verb.to_owned(),
    }
}

/// Where the transaction of a session stands, as ReadyForQuery tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transaction {
    /// None is open.
    Idle,
    /// One is open.
    Open,
    /// One is open and has failed.
    Failed,
}

/// One connection's session. Dropped when the connection ends.
///
/// Dropping the future of a call, or the stream of an outcome, cancels the statement.
#[async_trait]
pub trait Session: Send {
    /// Cuts a query string into its statements; a string that holds nothing gives none.
    ///
    /// # Errors
    /// An unterminated string, quote or comment.
    fn split(&self, query: &str) -> Result<Vec<Statement>, Report>;

    /// Parses and types a statement without running it. `hints` are the types that the client
    /// declared, None where it left them open.
    ///
    /// # Errors
    /// What is wrong with the statement; positions count from its first character.
    async fn prepare(
        &mut self,
        statement: &Statement,
        hints: &[Option<DataType>],
    ) -> Result<Prepared, Report>;

    /// Runs a statement.
    ///
    /// # Errors
    /// What is wrong with the statement or the state of the database.
    async fn execute(
        &mut self,
        statement: &Statement,
        parameters: Vec<ScalarValue>,
    ) -> Result<Outcome, Report>;

    /// So many bytes of a COPY's data more are held for it, until [`Session::copied`] or its failure.
    ///
    /// # Errors
    /// Memory is short.
    fn holds(&mut self, _bytes: usize) -> Result<(), Report> {
        Ok(())
    }

    /// All data of a COPY whose statement gave [`Outcome::CopyIn`].
    ///
    /// # Errors
    /// What is wrong with the data.
    async fn copied(&mut self, data: &[u8]) -> Result<Outcome, Report>;

    /// From here on what statements change outside a transaction waits, to take effect together: those of one
    /// query string, and those before one Sync.
    /// In a string, which is known as a whole, that is a transaction for settings and cursors too.
    fn gather(&mut self, _string: bool) {}

    /// Something waits.
    fn has_gathered(&self) -> bool {
        false
    }

    /// What has waited takes effect.
    ///
    /// # Errors
    /// It does not; nothing of it has happened.
    async fn settle(&mut self) -> Result<(), Report> {
        Ok(())
    }

    /// The client has prepared a statement under a name.
    ///
    /// # Errors
    /// The name is taken.
    fn keep(&mut self, name: &str, statement: &Statement, known: Prepared) -> Result<(), Report> {
        let _ = (name, statement, known);
        Ok(())
    }

    /// The client has given values to the prepared statement of a name.
    fn used(&mut self, name: &str) {
        let _ = name;
    }

    /// The client has given a statement that returns rows its values, under a name: to FETCH, MOVE and
    /// CLOSE it is a cursor.
    ///
    /// # Errors
    /// The name is a cursor's.
    fn bound(&mut self, name: &str, portal: BoundPortal) -> Result<(), Report> {
        let _ = (name, portal);
        Ok(())
    }

    /// The portal of a name is no more.
    fn unbound(&mut self, name: &str) {
        let _ = name;
    }

    /// The columns of the cursor of a name, if there is one; to a client it is a portal.
    fn cursor(&self, name: &str) -> Option<SchemaRef> {
        let _ = name;
        None
    }

    /// The client has let go of the prepared statement of a name.
    fn forget(&mut self, name: &str) {
        let _ = name;
    }

    /// Names of prepared statements that statements have let go of since the last call.
    fn deallocated(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Is called when a statement has failed: by an error of [`Session::prepare`] or
    /// [`Session::execute`], by an error in its rows, or because the client cancelled it, which drops
    /// the future or the rows. An open transaction fails with it.
    fn failed(&mut self) {}

    /// Notices since the last call, oldest first.
    fn notices(&mut self) -> Vec<Report>;

    /// Notices that are sent while a statement still runs, over the life of the session; None: it has
    /// none. Is called once.
    fn news(&mut self) -> Option<UnboundedReceiver<Report>> {
        None
    }

    /// How long the statement that begins now may take; None: as long as it wants. What is [`ENDLESS`]
    /// may take longer once it has begun.
    fn statement_timeout(&self) -> Option<Duration> {
        None
    }

    /// How long the client may be silent in a transaction; None: as long as it wants.
    fn idle_timeout(&self) -> Option<Duration> {
        None
    }

    /// True while the statement under way cannot be ended any more, as what it does happens now: who
    /// cancels it gets its outcome. Is called once.
    fn settling(&self) -> Arc<AtomicBool> {
        Arc::default()
    }

    /// The number that the client was told for the session, which `pg_backend_pid()` gives, and what ends it.
    fn known_as(&mut self, process: i32, ender: Ender) {
        let _ = (process, ender);
    }

    /// The client has its answer, and says what comes next.
    fn rests(&mut self) {}

    /// Where the transaction stands.
    fn transaction(&self) -> Transaction;

    /// The value of a setting that the protocol reports (`TimeZone`, `DateStyle`, ...).
    fn parameter(&self, name: &str) -> Option<String>;
}

/// The zone of a session's clock.
pub(crate) fn zone(session: &dyn Session) -> Zone {
    let name = session.parameter("TimeZone");
    name.and_then(|name| Zone::of(&name).ok()).unwrap_or_default()
}

/// Who asks to come in.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The database asked for; `dev` if none was named, or the user's name, which clients send then.
    pub database: String,
    /// Where the client is.
    pub peer: IpAddr,
    /// It is encrypted.
    pub encrypted: bool,
    /// Other startup parameters as they came: `application_name`, `options` and the like.
    pub options: Vec<(String, String)>,
}

/// What a client must prove before its session opens.
#[derive(Debug)]
pub enum Authentication {
    /// Nothing.
    Trust,
    /// That it knows a password (SCRAM-SHA-256).
    Password(Box<Verifier>),
    /// Nobody comes in under this name; the client sees the same as after a wrong password.
    Nobody(Box<Verifier>),
    /// It is sent away at once.
    Reject(Report),
}

/// The database, as a listener sees it.
#[async_trait]
pub trait Database: Send + Sync {
    /// Opens a session for a client that has authenticated.
    ///
    /// # Errors
    /// Unknown user or database, too many connections, shutting down.
    async fn open(&self, login: Login) -> Result<Box<dyn Session>, Report>;

    /// What a client must prove to come in.
    fn authentication(&self, login: &Login) -> Authentication;
}

/// A shared database.
pub type SharedDatabase = Arc<dyn Database>;
