//! Changed statements to a real server: it stays, answers each within its time, never says `XX000`, and starts again
//! over what it has stored.
//!
//! A round is some statements of one suite, part of them changed, on a server of its own, then a kill and a restart.

use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::timeout;
use tokio_postgres::{Client, Error};

use super::edges;
use super::run::{Random, fuzz};
use super::statements::Corpus;
use crate::server::Server;

/// Statements of a round.
const STATEMENTS: usize = 40;
/// How long one may take; each is cancelled after a second, but what makes a view may wait for an epoch.
const PATIENCE: Duration = Duration::from_secs(45);
/// What has no end, writes the machine's files, waits for a broker for long, or would lock the fuzzer out.
const LEFT_OUT: &[&str] = &[
    "$__",
    "schema.infer",
    "backup",
    "subscribe",
    "fetch",
    "statement_timeout",
    "session_authorization",
];
/// What may be done to a role, but not to the fuzzer's own.
const OF_ROLES: &[&str] = &["user", "role", "password", "owned"];

fn is_left_out(statement: &str) -> bool {
    let folded = statement.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| folded.contains(word));
    // A source over a broker that is away waits for it; a sink does not.
    let waits = folded.contains("kafka") && !folded.contains("sink");
    has(LEFT_OUT) || waits || (folded.contains("root") && has(OF_ROLES))
}

/// Sends a statement, with data if it asks for some.
async fn send(client: &Client, statement: &str, random: &mut Random) -> Result<(), Error> {
    match edges::asks_for_data(statement) {
        true => edges::copy(client, statement, random).await,
        false => client.batch_execute(statement).await,
    }
}

/// Sends a statement; what is wrong with the answer.
async fn complaint(client: &Client, statement: &str, random: &mut Random) -> Option<String> {
    match timeout(PATIENCE, send(client, statement, random)).await {
        Err(_) => Some(format!("no answer within {PATIENCE:?}")),
        Ok(Ok(())) => None,
        Ok(Err(error)) => match error.as_db_error() {
            Some(answer) if answer.code().code() == "XX000" => Some(format!("{answer:?}")),
            Some(_) => None,
            // COPY behind another statement asks for data, and what is said next is none: the connection ends. A
            // server that has ended answers no further connection.
            None if error.is_closed() || client.is_closed() => None,
            None => Some(format!("{error:?}")),
        },
    }
}

/// A round: how many of its statements were changed, and what is wrong.
async fn round(corpus: &Corpus, random: &mut Random) -> Vec<String> {
    // The last one is of the edges.
    let file = match random.one_in(3) {
        true => corpus.files() - 1,
        false => random.below(corpus.files()),
    };
    let mut server = Server::new(&["--workers", "2", "--checkpoint-interval", "500ms"])
        .expecting(" WARN ")
        .expecting(" ERROR ");
    server.start().await;
    let mut client = server.connect().await;
    let mut wrong = Vec::new();
    let all = corpus.of(file);
    let mut changed = 0;
    let mut next = 0;
    while changed < STATEMENTS && wrong.is_empty() {
        let own = next < all.len() && random.one_in(2);
        let statement = match own {
            true => all[next].clone(),
            false => corpus.changed(file, random),
        };
        next += usize::from(own);
        changed += usize::from(!own);
        if is_left_out(&statement) || statement.contains('\0') {
            continue;
        }
        let said = complaint(&client, &statement, random).await;
        wrong.extend(said.map(|said| format!("{statement}\n{said}")));
        // Of a COPY that fails before it asks for data the driver counts one answer too few.
        if client.is_closed() || edges::asks_for_data(&statement) {
            client = server.connect().await;
        }
        drop(client.batch_execute("ROLLBACK; RESET ROLE; SET statement_timeout = '1s'").await);
    }
    if let Some(said) = complaint(&client, "SELECT 1", random).await {
        wrong.push(said);
    }
    drop(client);
    server.kill().await;
    server.start().await;
    if let Some(said) = complaint(&server.connect().await, "SHOW MATERIALIZED VIEWS", random).await
    {
        wrong.push(format!("after a restart: {said}"));
    }
    if server.logged("panicked at") {
        wrong.push(format!("it panicked:\n{}", server.log_tail(30)));
    }
    server.kill().await;
    wrong
}

#[test]
fn a_server_stays_whatever_statements_it_is_sent() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let corpus = Corpus::read().with(edges::statements());
    fuzz("server", |random| {
        let wrong = runtime.block_on(round(&corpus, random));
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        true
    });
}
