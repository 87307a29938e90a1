//! What clients wait for: look-ups by key from several connections in an open loop, beside an empty query as the
//! floor; connecting; a million rows to psql.
//!
//! In an open loop a query is due at its time, whether the one before has been answered or not: what waits behind a
//! slow answer counts as waiting.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "moments and counts are positive and far from the limits"
)]

use std::process::Stdio;
use std::time::Duration;

use millrace_sim::server::{connect, rows};
use millrace_sim::wait;
use tokio::process::Command;
use tokio_postgres::{Client, Statement};

use crate::process::{Server, data_dir};
use crate::report::{Report, quantile, say};
use crate::topic::seconds_since;
use crate::{Failure, Setting};

/// Rows of one INSERT: a transaction takes 64 MB.
const PART: u64 = 250_000;
/// Seconds before the first sample.
const WARM_UP: u64 = 3;

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Lookups {
    /// Rows of the view
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Connections
    #[arg(long, default_value_t = 16)]
    connections: u64,
    /// Queries per second, of all connections
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
    /// Seconds that are measured
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

pub(crate) async fn measure(setting: &Setting, options: &Lookups) -> Result<Report, Failure> {
    let directory = data_dir()?;
    let server = Server::start(setting, directory.path()).await?;
    let client = server.connect().await?;
    fill(&client, options.rows).await?;
    let mut report = Report::default();
    for (name, sql) in [
        ("floor: an empty query", ""),
        ("a row by its key", "SELECT id, n, total, name FROM sums WHERE id = $1"),
    ] {
        say(name);
        let cpu = server.cpu_seconds()?;
        let mut times = ask(&server, options, sql).await?;
        let cpu = server.cpu_seconds()? - cpu;
        for (share, quantity) in [("p50", 0.5), ("p99", 0.99), ("worst", 1.0)] {
            report.add(&format!("{name}: {share}"), quantile(&mut times, quantity), "ms");
        }
        let asked = (options.rate * (options.seconds + WARM_UP)) as f64;
        report.add(&format!("{name}: CPU of the server"), cpu / asked * 1e6, "us each");
    }
    report.add("connecting: p50", connecting(&server).await?, "ms");
    let seconds = to_psql(&server, "SELECT * FROM sums").await?;
    report.add(&format!("{} rows to psql", options.rows), seconds, "s");
    report.add("psql without rows", to_psql(&server, "SELECT 1").await?, "s");
    report.add("peak memory", server.peak_bytes()? / 1e6, "MB");
    server.stop().await?;
    Ok(report)
}

/// A view with so many rows.
async fn fill(client: &Client, count: u64) -> Result<(), Failure> {
    say(&format!("filling a view with {count} rows"));
    client.batch_execute("CREATE TABLE facts (id BIGINT, n BIGINT, name TEXT)").await?;
    for begin in (0..count).step_by(usize::try_from(PART)?) {
        let end = (begin + PART).min(count) - 1;
        let insert = format!(
            "INSERT INTO facts SELECT i, i % 1000, 'sensor ' || i FROM generate_series({begin}, {end}) AS g(i)"
        );
        client.batch_execute(&insert).await?;
    }
    let view = "CREATE MATERIALIZED VIEW sums AS SELECT id, count(*) AS n, sum(n)::bigint AS total, \
                max(name) AS name FROM facts GROUP BY id";
    client.batch_execute(view).await?;
    let found = rows(client, "SELECT count(*) FROM sums").await?;
    match found == [[Some(count.to_string())]] {
        true => Ok(()),
        false => Err(format!("the view holds {found:?}").into()),
    }
}

/// Milliseconds from the moment at which each query was due to its answer.
async fn ask(server: &Server, options: &Lookups, sql: &str) -> Result<Vec<f64>, Failure> {
    let begin_us = wait::now_micros() + 100_000;
    let mut tasks = Vec::new();
    for nth in 0..options.connections {
        let client = server.connect().await?;
        let statement = match sql {
            "" => None,
            sql => Some(client.prepare(sql).await?),
        };
        let asker = Asker { client, statement, nth, begin_us, options: options.clone() };
        tasks.push(tokio::spawn(async move { asker.run().await.map_err(|e| e.to_string()) }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    Ok(times)
}

struct Asker {
    client: Client,
    /// None: an empty query.
    statement: Option<Statement>,
    nth: u64,
    begin_us: i64,
    options: Lookups,
}

impl Asker {
    async fn run(&self) -> Result<Vec<f64>, Failure> {
        let Lookups { rows, connections, rate, seconds } = self.options;
        let mut times = Vec::new();
        let mut query = self.nth;
        while query < rate * (WARM_UP + seconds) {
            let due_us = self.begin_us + (query * 1_000_000 / rate) as i64;
            let early = due_us - wait::now_micros();
            let mut begin = due_us;
            if early > 0 {
                tokio::time::sleep(Duration::from_micros(early as u64)).await;
                // Timers are a millisecond late, which is not the server's doing.
                begin = wait::now_micros();
            }
            match &self.statement {
                None => self.client.batch_execute("").await?,
                Some(statement) => {
                    let id = (query * 7919 % rows) as i64;
                    let row = self.client.query_one(statement, &[&id]).await?;
                    if row.get::<_, i64>(0) != id {
                        return Err("another row was given".into());
                    }
                }
            }
            if query >= rate * WARM_UP {
                times.push(seconds_since(begin) * 1000.0);
            }
            query += connections;
        }
        Ok(times)
    }
}

/// Milliseconds from nothing to a session that may be asked, without a password.
async fn connecting(server: &Server) -> Result<f64, Failure> {
    let mut times = Vec::new();
    for _ in 0..200 {
        let begin = wait::now_micros();
        let client = connect(server.address).await?;
        times.push(seconds_since(begin) * 1000.0);
        drop(client);
    }
    Ok(quantile(&mut times, 0.5))
}

/// Seconds of a whole psql that throws the rows away.
async fn to_psql(server: &Server, sql: &str) -> Result<f64, Failure> {
    let begin = wait::now_micros();
    let status = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-U", "root", "-d", "dev", "-h", "127.0.0.1"])
        .args(["-p", &server.address.port().to_string(), "-o", "/dev/null", "-c", sql])
        .stdin(Stdio::null())
        .status()
        .await?;
    match status.success() {
        true => Ok(seconds_since(begin)),
        false => Err(format!("psql ended with {status}").into()),
    }
}
