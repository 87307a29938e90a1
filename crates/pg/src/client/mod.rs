//! The other side of the wire: a client, as `millrace sql` and `millrace backup` need one.
//!
//! It speaks the simple protocol and hands on each message as it comes: types of columns for tables that
//! are aligned, rows of a SUBSCRIBE that never ends, notices while a statement runs, COPY. A library that
//! collects results has none of that.
//!
//! Invariants: 1. [`Connection::next`] can be dropped while it waits and loses nothing.

mod login;
mod tls;

use std::fmt;
use std::io;

use bytes::{Bytes, BytesMut};
use fallible_iterator::FallibleIterator;
use millrace_types::{Report, SqlState};
use postgres_protocol::message::backend::{DataRowBody, ErrorFields, Message, RowDescriptionBody};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

pub use self::tls::SslMode;

/// Who asks which server, and how.
#[derive(Clone, Debug)]
pub struct Login {
    /// Name or address of the server's machine.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user.
    pub user: String,
    /// The database.
    pub database: String,
    /// The user's password.
    pub password: Option<String>,
    /// What the server is told the client is.
    pub application: String,
    /// Whether the connection is encrypted, and what is verified.
    pub ssl: SslMode,
    /// Certificates of authorities, PEM: a file, `system`, or none.
    pub ssl_root: Option<String>,
}

/// Why there is no connection, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error("cannot connect to {0}: {1}")]
    Unreachable(String, io::Error),
    /// TLS does not come about.
    #[error("no encrypted connection: {0}")]
    Tls(String),
    /// The server wants a password, and there is none.
    #[error("the server asks for a password")]
    PasswordNeeded,
    /// The server refuses.
    #[error("{0}")]
    Refused(Box<Told>),
    /// The server says what it should not, or wants what the client cannot do.
    #[error("{0}")]
    Protocol(String),
    /// The connection has ended.
    #[error("the server has closed the connection")]
    Lost,
    /// The connection has broken.
    #[error("the connection has broken: {0}")]
    Io(#[from] io::Error),
}

/// An error or a notice of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// `ERROR`, `FATAL`, `NOTICE`, `WARNING`, ...
    pub severity: String,
    /// The SQLSTATE.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// More of it.
    pub detail: Option<String>,
    /// What may help.
    pub hint: Option<String>,
    /// Where it happened.
    pub context: Option<String>,
    /// The character of the statement, counted from 1.
    pub position: Option<usize>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.message)
    }
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// OID of its type.
    pub oid: u32,
}

/// What the server says, one message at a time.
#[derive(Debug)]
pub enum Answer {
    /// A result begins.
    Columns(Vec<Column>),
    /// A row of it; None is NULL.
    Row(Vec<Option<String>>),
    /// A statement is done; its command tag.
    Done(String),
    /// There was no statement.
    Empty,
    /// The server tells something by the way.
    Notice(Told),
    /// The statement has failed.
    Failed(Told),
    /// The server waits for the lines of a COPY.
    CopyIn,
    /// Lines of a COPY follow.
    CopyOut,
    /// Some of them.
    Copied(Bytes),
    /// Everything that was sent is answered. `I` idle, `T` in a transaction, `E` in a failed one.
    Ready(u8),
}

/// What a connection runs over.
trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection that is in.
pub struct Connection {
    stream: Box<dyn Duplex>,
    incoming: BytesMut,
    outgoing: BytesMut,
    key: Option<(i32, i32)>,
    login: Login,
    version: String,
    encrypted: bool,
}

/// What a running statement can be cancelled with.
#[derive(Clone, Debug)]
pub struct Canceller {
    login: Login,
    key: Option<(i32, i32)>,
}

impl Connection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn open(login: &Login) -> Result<Connection, ClientError> {
        let tls::Opened { stream, endpoint, encrypted } = tls::open(login).await?;
        let (incoming, outgoing) = Default::default();
        let mut connection = Connection {
            stream,
            incoming,
            outgoing,
            key: None,
            login: login.clone(),
            version: String::new(),
            encrypted,
        };
        login::log_in(&mut connection, login, endpoint).await?;
        Ok(connection)
    }

    /// The version that the server gives itself.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// True if it is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// What cancels the running statement.
    pub fn canceller(&self) -> Canceller {
        Canceller { login: self.login.clone(), key: self.key }
    }

    /// Sends a query string.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn query(&mut self, text: &str) -> Result<(), ClientError> {
        frontend::query(text, &mut self.outgoing)?;
        self.flush().await
    }

    /// Sends some lines of a COPY.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn copy(&mut self, lines: &[u8]) -> Result<(), ClientError> {
        frontend::CopyData::new(lines)?.write(&mut self.outgoing);
        self.flush().await
    }

    /// Ends a COPY; with a reason, gives it up.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn end_copy(&mut self, failed: Option<&str>) -> Result<(), ClientError> {
        match failed {
            Some(reason) => frontend::copy_fail(reason, &mut self.outgoing)?,
            None => frontend::copy_done(&mut self.outgoing),
        }
        self.flush().await
    }

    /// The next message.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn next(&mut self) -> Result<Answer, ClientError> {
        loop {
            if let Some(answer) = answer(self.message().await?)? {
                return Ok(answer);
            }
        }
    }

    async fn message(&mut self) -> Result<Message, ClientError> {
        loop {
            if let Some(message) = Message::parse(&mut self.incoming)? {
                return Ok(message);
            }
            self.incoming.reserve(64 << 10);
            if self.stream.read_buf(&mut self.incoming).await.map_err(lost)? == 0 {
                return Err(ClientError::Lost);
            }
        }
    }

    async fn flush(&mut self) -> Result<(), ClientError> {
        let sent = match self.stream.write_all(&self.outgoing).await {
            Ok(()) => self.stream.flush().await,
            failed => failed,
        };
        self.outgoing.clear();
        sent.map_err(lost)
    }

    /// Runs statements to their end; gives the rows of all of them as texts.
    ///
    /// # Errors
    /// The first that fails; the connection is gone.
    pub async fn rows(&mut self, text: &str) -> Result<Vec<Vec<Option<String>>>, ClientError> {
        self.query(text).await?;
        let (mut rows, mut failed) = (Vec::new(), None);
        loop {
            match self.next().await? {
                Answer::Row(row) => rows.push(row),
                Answer::Failed(told) => failed = Some(told),
                Answer::CopyIn => self.end_copy(Some("there is nothing to copy")).await?,
                Answer::Ready(_) => break,
                Answer::Columns(_)
                | Answer::Done(_)
                | Answer::Empty
                | Answer::Notice(_)
                | Answer::CopyOut
                | Answer::Copied(_) => {}
            }
        }
        match failed {
            Some(told) => Err(ClientError::Refused(Box::new(told))),
            None => Ok(rows),
        }
    }
}

impl Canceller {
    /// Asks the server to end the statement that runs.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn cancel(&self) -> Result<(), ClientError> {
        let Some((process, secret)) = self.key else { return Ok(()) };
        let mut opened = tls::open(&self.login).await?;
        let mut request = BytesMut::new();
        frontend::cancel_request(process, secret, &mut request);
        opened.stream.write_all(&request).await?;
        opened.stream.flush().await?;
        // The server closes when it has taken it.
        while opened.stream.read_buf(&mut request).await.is_ok_and(|bytes| bytes > 0) {}
        Ok(())
    }
}

/// A pipe that breaks is a reader of results that has gone; this is the server.
fn lost(error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => ClientError::Lost,
        _ => ClientError::Io(error),
    }
}

/// What a message says to whoever asked; None for what nobody asked for.
fn answer(message: Message) -> Result<Option<Answer>, ClientError> {
    Ok(Some(match message {
        Message::RowDescription(body) => Answer::Columns(columns(&body)?),
        Message::DataRow(body) => Answer::Row(row(&body)?),
        Message::CommandComplete(body) => Answer::Done(body.tag()?.to_owned()),
        Message::EmptyQueryResponse => Answer::Empty,
        Message::NoticeResponse(body) => Answer::Notice(told(body.fields())?),
        Message::ErrorResponse(body) => Answer::Failed(told(body.fields())?),
        Message::CopyInResponse(_) => Answer::CopyIn,
        Message::CopyOutResponse(_) => Answer::CopyOut,
        Message::CopyData(body) => Answer::Copied(body.into_bytes()),
        Message::ReadyForQuery(body) => Answer::Ready(body.status()),
        _ => return Ok(None),
    }))
}

fn columns(body: &RowDescriptionBody) -> Result<Vec<Column>, ClientError> {
    let column = |field: postgres_protocol::message::backend::Field<'_>| {
        Ok(Column { name: field.name().to_owned(), oid: field.type_oid() })
    };
    Ok(body.fields().map(column).collect()?)
}

fn row(body: &DataRowBody) -> Result<Vec<Option<String>>, ClientError> {
    let text = |range: Option<std::ops::Range<usize>>| {
        let bytes = range.and_then(|range| body.buffer().get(range));
        Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    };
    Ok(body.ranges().map(text).collect()?)
}

fn told(mut fields: ErrorFields<'_>) -> Result<Told, ClientError> {
    let mut told = Told::default();
    while let Some(field) = fields.next()? {
        let text = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'S' => told.severity = text,
            b'C' => told.code = text,
            b'M' => told.message = text,
            b'D' => told.detail = Some(text),
            b'H' => told.hint = Some(text),
            b'W' => told.context = Some(text),
            b'P' => told.position = text.parse().ok(),
            _ => {}
        }
    }
    Ok(told)
}

/// Runs a statement that gives no rows; gives the server's notices.
///
/// # Errors
/// The server's error, or why it cannot be asked.
pub async fn run(login: &Login, statement: &str) -> Result<Vec<String>, Report> {
    let mut connection = Connection::open(login).await.map_err(report)?;
    connection.query(statement).await.map_err(report)?;
    let mut notices = Vec::new();
    loop {
        match connection.next().await.map_err(report)? {
            Answer::Notice(notice) => notices.push(notice.message),
            Answer::Failed(told) => return Err(report(ClientError::Refused(Box::new(told)))),
            Answer::Ready(_) => return Ok(notices),
            _ => {}
        }
    }
}

fn report(error: ClientError) -> Report {
    let message = match error {
        ClientError::Refused(told) => told.message,
        other => other.to_string(),
    };
    Report::new(SqlState::CONNECTION_FAILURE, message)
}
