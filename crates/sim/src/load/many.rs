//! Many clients: psql, all at once, and connections that do no more than ask one thing.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::process::Process;
use crate::server::{Server, connect, rows};
use crate::wait;

/// Processes of psql at a time.
const PSQLS: usize = 200;
/// Connections that ask again and again, and how often.
const FEW: usize = 4;
const TIMES: usize = 300;
/// Short connections at a time.
const AT_ONCE: usize = 16;
/// Accounts and what they hold together, which transfers leave as it is.
const ACCOUNTS: i64 = 50;
const SUM: i64 = ACCOUNTS * 100;

/// Short connections in all.
fn connections() -> usize {
    let given = std::env::var("MILLRACE_LOAD_CONNECTIONS").ok();
    given.map_or(600, |text| text.parse().expect("MILLRACE_LOAD_CONNECTIONS is a number"))
}

/// A running psql that is told what to do line by line.
struct Psql {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Psql {
    fn start(server: &Server) -> Psql {
        let port = (*server.address().borrow()).expect("the server listens").port().to_string();
        let options = ["-X", "-A", "-t", "-q", "-h", "127.0.0.1", "-U", "root", "-d", "dev", "-p"];
        let mut child = Command::new("psql")
            .args(options)
            .arg(&port)
            .env("PGCONNECT_TIMEOUT", "60")
            .env_remove("PGPASSWORD")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("psql is installed (postgresql-client)");
        let stdin = child.stdin.take().expect("stdin is piped");
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        Psql { _child: child, stdin, lines }
    }

    /// The one line that a statement gives.
    async fn ask(&mut self, sql: &str) -> String {
        self.stdin.write_all(format!("{sql};\n").as_bytes()).await.unwrap();
        let line = tokio::time::timeout(wait::PATIENCE, self.lines.next_line()).await;
        line.expect("it answers in time").unwrap().unwrap_or_default()
    }
}

/// A server with accounts between which money moves until it is told to stop; how often it has moved.
async fn bank(server: &mut Server) -> (Arc<AtomicBool>, tokio::task::JoinHandle<u64>) {
    server.start().await;
    let client = server.connect().await;
    let made = format!(
        "CREATE TABLE accounts (id bigint PRIMARY KEY, held bigint);
         INSERT INTO accounts SELECT x, 100 FROM generate_series(1, {ACCOUNTS}) s(x);
         CREATE MATERIALIZED VIEW one AS SELECT id, max(held) AS held FROM accounts GROUP BY id;
         CREATE MATERIALIZED VIEW two AS SELECT id % 2 AS half, held FROM one;
         CREATE MATERIALIZED VIEW halves AS SELECT half, sum(held) AS held FROM two GROUP BY 1"
    );
    client.batch_execute(&made).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let moves = tokio::spawn(async move {
        let mut moved = 0;
        while !stopped.load(Ordering::SeqCst) {
            let (from, to) = (moved % 50 + 1, (moved * 7 + 3) % 50 + 1);
            let change = format!(
                "UPDATE accounts SET held = held + CASE WHEN id = {from} THEN -1 ELSE 0 END
                     + CASE WHEN id = {to} THEN 1 ELSE 0 END WHERE id IN ({from}, {to})"
            );
            client.batch_execute(&change).await.unwrap();
            moved += 1;
        }
        moved
    });
    (stop, moves)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_psqls_see_one_moment_each_while_money_moves() {
    let mut server = Server::new(&["--workers", "2"]);
    let (stop, moves) = bank(&mut server).await;
    let mut psqls: Vec<Psql> = (0..PSQLS).map(|_| Psql::start(&server)).collect();
    // Each sum is the same at every moment; what the even accounts hold is not.
    let sums = format!("{SUM}|{SUM}|0");
    let question = "SELECT (SELECT sum(held) FROM accounts), (SELECT sum(held) FROM halves), \
        (SELECT held FROM halves WHERE half = 0) - (SELECT sum(held) FROM accounts WHERE id % 2 = 0)";
    for round in 0..3 {
        let asked = psqls.iter_mut().map(|psql| psql.ask(question));
        for answer in futures::future::join_all(asked).await {
            assert_eq!(answer, sums, "in round {round}");
        }
    }
    // Money moves faster while fewer ask.
    let few = (0..FEW).map(|_| async {
        let client = server.connect().await;
        for time in 0..TIMES {
            let found = rows(&client, question).await.unwrap().into_iter().flatten().flatten();
            assert_eq!(found.collect::<Vec<_>>().join("|"), sums, "at the {time}th time");
        }
    });
    futures::future::join_all(few).await;
    // They are all there, and each has a session of its own.
    let set = psqls.iter_mut().enumerate().map(|(at, psql)| async move {
        psql.stdin
            .write_all(format!("SET application_name = 'p{at}';\n").as_bytes())
            .await
            .unwrap();
        (psql.ask("SHOW application_name").await, format!("p{at}"))
    });
    for (found, set) in futures::future::join_all(set).await {
        assert_eq!(found, set);
    }
    stop.store(true, Ordering::SeqCst);
    assert!(moves.await.unwrap() > 0, "nothing moved meanwhile");
    drop(psqls);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn short_connections_leave_nothing_behind() {
    let mut server = Server::new(&["--workers", "2"]);
    let (stop, moves) = bank(&mut server).await;
    let process = Process::of(&server);
    // What is made once, threads and buffers, is there after the first ones.
    come_and_go(&server, connections() / 4).await;
    let (files, threads, resident) = (process.files(), process.threads(), process.resident_mb());
    come_and_go(&server, connections()).await;
    stop.store(true, Ordering::SeqCst);
    assert!(moves.await.unwrap() > 0, "nothing moved meanwhile");
    wait::until("files are given back", wait::PATIENCE, || async {
        (process.files() <= files).then_some(())
    })
    .await;
    wait::until("threads are given back", wait::PATIENCE, || async {
        (process.threads() <= threads + AT_ONCE).then_some(())
    })
    .await;
    let grown = process.resident_mb().saturating_sub(resident);
    assert!(grown < 48, "{grown} MB more after {} connections", connections());
    server.stop().await;
}

async fn come_and_go(server: &Server, count: usize) {
    let address = (*server.address().borrow()).expect("the server listens");
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let clients = (0..AT_ONCE).map(|_| {
        let next = Arc::clone(&next);
        tokio::spawn(async move {
            while next.fetch_add(1, Ordering::SeqCst) < count {
                let client = connect(address).await.unwrap();
                let held = rows(&client, "SELECT sum(held) FROM halves").await.unwrap();
                assert_eq!(held[0][0].as_deref(), Some(SUM.to_string().as_str()));
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
}
