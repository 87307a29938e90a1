//! The other side of the wire: one statement for a running server, as `millrace backup` sends it.

use std::net::SocketAddr;

use futures::StreamExt;
use millrace_types::{Report, SqlState};
use tokio_postgres::{AsyncMessage, Config, NoTls};

/// Who asks which server.
#[derive(Clone, Debug)]
pub struct Login {
    /// The server.
    pub address: SocketAddr,
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: Option<String>,
}

/// Runs a statement that gives no rows; gives the server's notices.
///
/// # Errors
/// The server's error, or why it cannot be asked.
pub async fn run(login: &Login, statement: &str) -> Result<Vec<String>, Report> {
    let mut config = Config::new();
    config.host(login.address.ip().to_string()).port(login.address.port());
    config.user(&login.user).dbname("dev");
    if let Some(password) = &login.password {
        config.password(password);
    }
    let (client, mut connection) = config.connect(NoTls).await.map_err(report)?;
    let mut messages = futures::stream::poll_fn(move |context| connection.poll_message(context));
    let mut notices = Vec::new();
    let answer = client.batch_execute(statement);
    futures::pin_mut!(answer);
    loop {
        tokio::select! {
            answer = &mut answer => {
                answer.map_err(report)?;
                return Ok(notices);
            }
            message = messages.next() => match message {
                Some(Ok(AsyncMessage::Notice(notice))) => notices.push(notice.message().to_owned()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(report(error)),
                None => return Err(gone()),
            }
        }
    }
}

fn gone() -> Report {
    Report::new(SqlState::CONNECTION_FAILURE, "the server has closed the connection")
}

fn report(error: tokio_postgres::Error) -> Report {
    let message = match error.as_db_error() {
        Some(error) => error.message().to_owned(),
        None => std::error::Error::source(&error)
            .map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")),
    };
    Report::new(SqlState::CONNECTION_FAILURE, message)
}
