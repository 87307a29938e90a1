//! One row that joins with very many: how long it takes, what it costs in memory, and how long other
//! views wait meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_sim::server::rows;
use millrace_sim::wait;
use tokio_postgres::Client;

use crate::process::{Server, data_dir};
use crate::report::{Report, say};
use crate::topic::seconds_since;
use crate::{Failure, Setting};

/// Rows of one INSERT.
const PART: u64 = 100_000;

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FanOut {
    /// Rows that one row joins with
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// How often that row changes
    #[arg(long, default_value_t = 3)]
    changes: u32,
}

/// A table of facts, one of dimensions, their join and a sum over it; beside them a table that takes
/// a row at a time.
const OBJECTS: [&str; 6] = [
    "CREATE TABLE facts (id BIGINT PRIMARY KEY, dim BIGINT, value BIGINT)",
    "CREATE TABLE dims (id BIGINT PRIMARY KEY, name TEXT)",
    "CREATE TABLE ticks (n BIGINT)",
    "CREATE MATERIALIZED VIEW joined AS \
         SELECT f.id, f.value, d.name FROM facts f JOIN dims d ON f.dim = d.id",
    "CREATE MATERIALIZED VIEW totals AS \
         SELECT name, count(*) AS n, sum(value) AS total FROM joined GROUP BY name",
    "CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM ticks",
];

/// The row changes while another view counts.
pub(crate) async fn measure(setting: &Setting, fan: &FanOut) -> Result<Report, Failure> {
    let directory = data_dir()?;
    let server = Server::start(setting, directory.path()).await?;
    let client = server.connect().await?;
    for object in OBJECTS {
        client.batch_execute(object).await?;
    }
    client.batch_execute("INSERT INTO dims VALUES (1, 'name 0')").await?;
    for first in (0..fan.rows).step_by(usize::try_from(PART)?) {
        let last = (first + PART).min(fan.rows) - 1;
        let insert = format!(
            "INSERT INTO facts SELECT i, 1, i % 100 FROM generate_series({first}, {last}) AS g(i)"
        );
        client.batch_execute(&insert).await?;
    }
    totals(&client, 0, fan.rows).await?;
    let mut report = Report::default();
    let quiet = ticking(server.connect().await?, 20).await?;
    report.add("another view, before: longest wait", quiet * 1e3, "ms");
    report.add("memory before", server.resident_bytes()? / 1e6, "MB");
    server.forget_peak()?;
    let stop = Arc::new(AtomicBool::new(false));
    let ticks = tokio::spawn(ticking_until(server.connect().await?, Arc::clone(&stop)));
    let (cpu, begin) = (server.cpu_seconds()?, wait::now_micros());
    for change in 1..=fan.changes {
        say(&format!("change {change}"));
        client.batch_execute(&format!("UPDATE dims SET name = 'name {change}'")).await?;
        totals(&client, change, fan.rows).await?;
    }
    let each = f64::from(fan.changes);
    report.add("a change: time until the sum shows it", seconds_since(begin) / each, "s");
    report.add("a change: CPU", (server.cpu_seconds()? - cpu) / each, "s");
    report.add("peak memory", server.peak_bytes()? / 1e6, "MB");
    stop.store(true, Ordering::SeqCst);
    report.add("another view, meanwhile: longest wait", ticks.await?? * 1e3, "ms");
    server.stop().await?;
    Ok(report)
}

/// The sum after a change is that of all rows under the new name.
async fn totals(client: &Client, change: u32, all: u64) -> Result<(), Failure> {
    let found = rows(client, "SELECT name, n FROM totals").await?;
    let wanted = vec![vec![Some(format!("name {change}")), Some(all.to_string())]];
    if found == wanted { Ok(()) } else { Err(format!("{found:?}, not {wanted:?}").into()) }
}

/// The longest time from an INSERT to the answer of a SELECT that counts it.
async fn ticking(client: Client, times: u32) -> Result<f64, Failure> {
    let mut longest: f64 = 0.0;
    for _ in 0..times {
        longest = longest.max(tick(&client).await?);
    }
    Ok(longest)
}

async fn ticking_until(client: Client, stop: Arc<AtomicBool>) -> Result<f64, String> {
    let mut longest: f64 = 0.0;
    while !stop.load(Ordering::SeqCst) {
        longest = longest.max(tick(&client).await.map_err(|error| error.to_string())?);
    }
    Ok(longest)
}

async fn tick(client: &Client) -> Result<f64, Failure> {
    let begin = wait::now_micros();
    client.batch_execute("INSERT INTO ticks VALUES (1)").await?;
    rows(client, "SELECT n FROM counted").await?;
    Ok(seconds_since(begin))
}
