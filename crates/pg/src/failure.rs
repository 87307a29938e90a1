//! Why a step of a connection did not succeed, by what happens next.

use std::io;

use millrace_types::{Report, SqlState};

/// What ends a statement, a session or a connection.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The statement is over; the client is told and the session goes on.
    Statement(Report),
    /// The session is over; the client is told and the connection closes.
    Session(Report),
    /// The client is gone.
    Connection(io::Error),
}

impl From<Report> for Failure {
    fn from(report: Report) -> Failure {
        Failure::Statement(report)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Connection(error)
    }
}

impl Failure {
    /// The failure of a peer that does not speak the protocol.
    pub(crate) fn protocol(message: impl Into<String>) -> Failure {
        Failure::Session(Report::new(SqlState::PROTOCOL_VIOLATION, message))
    }
}
