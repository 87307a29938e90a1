//! Nexmark inside the server: each query as a view, from CREATE to the durable, complete content.
//!
//! The generator holds all events, so a view is there when it has read them. Rates count the events
//! of all three tables, whichever of them a query reads, as Nexmark's do.

use millrace_sim::server::rows;
use millrace_sim::wait;

use crate::process::{Server, data_dir};
use crate::report::{Report, say};
use crate::topic::seconds_since;
use crate::{Failure, Setting};

/// Workers of the server, and cores that its rate is shared out over.
const CORES: u8 = 2;

/// The queries that can be measured, by name.
const QUERIES: &[(&str, &str)] = &[
    ("q0", include_str!("../../../../bench/nexmark/q0.sql")),
    ("q1", include_str!("../../../../bench/nexmark/q1.sql")),
    ("q2", include_str!("../../../../bench/nexmark/q2.sql")),
    ("q3", include_str!("../../../../bench/nexmark/q3.sql")),
    ("q4", include_str!("../../../../bench/nexmark/q4.sql")),
    ("q5", include_str!("../../../../bench/nexmark/q5.sql")),
    ("q6", include_str!("../../../../bench/nexmark/q6.sql")),
    ("q7", include_str!("../../../../bench/nexmark/q7.sql")),
    ("q8", include_str!("../../../../bench/nexmark/q8.sql")),
    ("q9", include_str!("../../../../bench/nexmark/q9.sql")),
    ("q10", include_str!("../../../../bench/nexmark/q10.sql")),
    ("q11", include_str!("../../../../bench/nexmark/q11.sql")),
    ("q12", include_str!("../../../../bench/nexmark/q12.sql")),
    ("q13", include_str!("../../../../bench/nexmark/q13.sql")),
    ("q14", include_str!("../../../../bench/nexmark/q14.sql")),
    ("q15", include_str!("../../../../bench/nexmark/q15.sql")),
    ("q16", include_str!("../../../../bench/nexmark/q16.sql")),
    ("q17", include_str!("../../../../bench/nexmark/q17.sql")),
    ("q18", include_str!("../../../../bench/nexmark/q18.sql")),
    ("q19", include_str!("../../../../bench/nexmark/q19.sql")),
    ("q20", include_str!("../../../../bench/nexmark/q20.sql")),
    ("q21", include_str!("../../../../bench/nexmark/q21.sql")),
    ("q22", include_str!("../../../../bench/nexmark/q22.sql")),
];

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Nexmark {
    /// Queries, all without any: q0 q3 ...
    queries: Vec<String>,
    /// Events of all three tables
    #[arg(long, default_value_t = 5_000_000)]
    events: u64,
    /// Event time from one event to the next, nanoseconds
    #[arg(long, default_value_t = 100_000)]
    gap_ns: u64,
}

/// Each query in a server of its own.
pub(crate) async fn measure(setting: &Setting, nexmark: &Nexmark) -> Result<Report, Failure> {
    let unknown = |name: &&String| !QUERIES.iter().any(|(known, _)| known == name);
    if let Some(name) = nexmark.queries.iter().find(unknown) {
        let known: Vec<&str> = QUERIES.iter().map(|(name, _)| *name).collect();
        return Err(format!("no query {name}; there are {}", known.join(" ")).into());
    }
    let mut report = Report::default();
    for (name, query) in QUERIES {
        if !nexmark.queries.is_empty() && !nexmark.queries.iter().any(|asked| asked == name) {
            continue;
        }
        say(name);
        if let Err(error) = measure_one(setting, nexmark, (name, query), &mut report).await {
            say(&format!("{name}: {error}"));
        }
    }
    Ok(report)
}

async fn measure_one(
    setting: &Setting,
    nexmark: &Nexmark,
    (name, query): (&str, &str),
    report: &mut Report,
) -> Result<(), Failure> {
    let directory = data_dir()?;
    let mut serve = vec!["--workers".to_owned(), CORES.to_string()];
    serve.extend(setting.serve.iter().cloned());
    let setting = Setting { serve, ..setting.clone() };
    let server = Server::start(&setting, directory.path()).await?;
    let client = server.connect().await?;
    for statement in prepared(nexmark, name) {
        client.simple_query(&statement).await.map_err(described)?;
    }
    let before = server.cpu_seconds()?;
    let begin = wait::now_micros();
    let create = format!("CREATE MATERIALIZED VIEW {name} AS {query}");
    client.simple_query(&create).await.map_err(described)?;
    let seconds = seconds_since(begin);
    let (cpu, peak) = (server.cpu_seconds()? - before, server.peak_bytes()?);
    let count = rows(&client, &format!("SELECT count(*) FROM {name}")).await?;
    let count = count.first().and_then(|row| row[0].clone()).unwrap_or_default();
    let millions = nexmark.events as f64 / 1e6;
    let rate = nexmark.events as f64 / seconds / f64::from(CORES);
    report.add(&format!("{name}: rate"), rate, "events/s per core");
    report.add(&format!("{name}: CPU"), cpu / millions, "s per million events");
    report.add(&format!("{name}: peak memory"), peak / 1e6, "MB");
    report.add(&format!("{name}: rows"), count.parse()?, "");
    server.stop().await
}

/// The server's own words: the client's error is only a kind.
fn described(error: tokio_postgres::Error) -> Failure {
    match error.as_db_error() {
        Some(error) => error.message().into(),
        None => error.into(),
    }
}

/// What is made before the view: the sources, and what a query asks for besides.
fn prepared(nexmark: &Nexmark, query: &str) -> Vec<String> {
    let by_event = "WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'";
    let by_clock = "p_time TIMESTAMPTZ AS PROCTIME(), WATERMARK FOR p_time AS p_time";
    let time = if query == "q12" { by_clock } else { by_event };
    let sources = [("Person", by_event), ("Auction", by_event), ("Bid", time)];
    let mut all: Vec<String> =
        sources.map(|(table, time)| create_source(nexmark, table, time)).to_vec();
    if query == "q13" {
        all.push("CREATE TABLE side_input (key BIGINT PRIMARY KEY, value TEXT)".into());
        let numbers = "SELECT n, 'value-' || n FROM generate_series(0, 9999) AS numbers (n)";
        all.push(format!("INSERT INTO side_input {numbers}"));
    }
    all
}

fn create_source(nexmark: &Nexmark, table: &str, time: &str) -> String {
    format!(
        "CREATE SOURCE {table} ({time}) WITH (\
         connector = 'nexmark', nexmark.table.type = '{table}', nexmark.event.num = {}, \
         nexmark.min.event.gap.in.ns = {}, nexmark.split.num = {})",
        nexmark.events,
        nexmark.gap_ns,
        CORES * 2
    )
}
