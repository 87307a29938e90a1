//! Who may come in: passwords, rules, certificates, limits and secrets, with real clients.

mod http;
mod logins;
mod secrets;
mod tls;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;

use tokio::process::Command;
use tokio_postgres::Client;

use crate::server::{self, Server};

fn address(server: &Server) -> SocketAddr {
    (*server.address().borrow()).expect("the server listens")
}

/// A connection as some user, with a password if there is one.
async fn login(
    server: &Server,
    user: &str,
    password: Option<&str>,
) -> Result<Client, tokio_postgres::Error> {
    server::login(address(server), user, password).await
}

/// SQLSTATE and message of a refusal.
fn refusal<T>(result: Result<T, tokio_postgres::Error>) -> (String, String) {
    let error = result.err().expect("it is refused");
    let error = error.as_db_error().unwrap_or_else(|| panic!("the server says why: {error}"));
    (error.code().code().to_owned(), error.message().to_owned())
}

/// psql with some options and variables of its environment.
async fn psql(server: &Server, options: &[&str], environment: &[(&str, &str)]) -> Output {
    let port = address(server).port().to_string();
    let mut command = Command::new("psql");
    command.args(["-X", "-A", "-t", "-d", "dev", "-p", &port]).args(options);
    for name in ["PGPASSWORD", "PGSSLMODE", "PGUSER", "PGHOST", "PGSSLROOTCERT"] {
        command.env_remove(name);
    }
    command.env("PGCONNECT_TIMEOUT", "60").envs(environment.iter().copied());
    command.output().await.expect("psql is installed (postgresql-client)")
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// True if a file below a directory holds some bytes.
fn holds(directory: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => holds(&path, bytes),
            false => {
                let content = std::fs::read(&path).unwrap_or_default();
                content.windows(bytes.len()).any(|window| window == bytes)
            }
        }
    })
}
