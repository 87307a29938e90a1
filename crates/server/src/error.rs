//! What stops the server or keeps it from starting, and the reports that sessions get.

use millrace_types::{Report, SqlState};

use crate::config::ConfigError;

/// An operating error of the server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A bad option.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory.
    #[error(transparent)]
    Storage(#[from] millrace_storage::Error),
    /// A dataflow cannot be built.
    #[error(transparent)]
    Dataflow(#[from] millrace_dataflow::operator::Error),
    /// The catalog does not hold together.
    #[error("the catalog is damaged: {0}")]
    Catalog(String),
    /// A data directory that was verified: where, and how many damages there are.
    #[error("data directory \"{0}\" is damaged in {1} places")]
    Unsound(String, usize),
    /// A stored definition no longer binds.
    #[error("{0}")]
    Report(Report),
    /// A source cannot be connected.
    #[error(transparent)]
    Source(#[from] millrace_dataflow::source::SourceError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The system's reason.
        error: std::io::Error,
    },
    /// TLS files.
    #[error("TLS: {0}")]
    Tls(String),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The committer has ended before the server.
    #[error("the committer has ended")]
    CommitterGone,
    /// Standard output or another file of the process.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl ServerError {
    /// As a session sees it.
    pub fn report(&self) -> Report {
        let code = match self {
            ServerError::Report(report) => return report.clone(),
            ServerError::Source(_) => SqlState::FOREIGN_DATA_ERROR,
            ServerError::Storage(error) => return error.report(),
            ServerError::Catalog(_) | ServerError::Unsound(..) => SqlState::DATA_CORRUPTED,
            ServerError::Config(_)
            | ServerError::Dataflow(_)
            | ServerError::Listen { .. }
            | ServerError::Tls(_)
            | ServerError::Thread(_)
            | ServerError::CommitterGone
            | ServerError::Io(_) => SqlState::INTERNAL_ERROR,
        };
        Report::new(code, self.to_string())
    }
}
