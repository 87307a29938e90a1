//! Many small views on one source: what they cost while nothing comes, and while a few rows do.

use std::time::Duration;

use millrace_sim::server::rows;
use millrace_sim::wait;

use crate::process::{Server, data_dir};
use crate::report::{Report, say};
use crate::topic::seconds_since;
use crate::{Failure, Setting};

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Many {
    /// How many
    #[arg(long, default_value_t = 1000)]
    views: u32,
    /// Rows per second of the source, when a few come
    #[arg(long, default_value_t = 10)]
    rate: u32,
    /// Seconds that are measured
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// First over a table that nobody changes, then over a source that trickles.
pub(crate) async fn measure(setting: &Setting, many: &Many) -> Result<Report, Failure> {
    let mut report = Report::default();
    let source = format!(
        "CREATE SOURCE s (id BIGINT, value BIGINT) WITH (connector = 'datagen', \
         rows.per.second = {}, fields.id.kind = 'sequence')",
        many.rate
    );
    let idle = "CREATE TABLE s (id BIGINT, value BIGINT)";
    for (name, create) in [("idle", idle), ("trickling", source.as_str())] {
        say(name);
        one(setting, many, (name, create), &mut report).await?;
    }
    Ok(report)
}

async fn one(
    setting: &Setting,
    many: &Many,
    (name, create): (&str, &str),
    report: &mut Report,
) -> Result<(), Failure> {
    let directory = data_dir()?;
    let server = Server::start(setting, directory.path()).await?;
    let client = server.connect().await?;
    client.batch_execute(create).await?;
    let begin = wait::now_micros();
    for view in 0..many.views {
        let create = format!(
            "CREATE MATERIALIZED VIEW v{view} AS SELECT id % 10 AS k, count(*) AS n, \
             sum(value) AS total FROM s WHERE id % {} = {view} GROUP BY id % 10",
            many.views
        );
        client.batch_execute(&create).await?;
    }
    report.add(
        &format!("{name}: time to make a view"),
        seconds_since(begin) / f64::from(many.views),
        "s",
    );
    // What follows the last statement should not count.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (cpu, begin) = (server.cpu_seconds()?, wait::now_micros());
    tokio::time::sleep(Duration::from_secs(many.seconds)).await;
    let cores = (server.cpu_seconds()? - cpu) / seconds_since(begin);
    report.add(&format!("{name}: CPU"), cores * 100.0, "% of a core");
    report.add(&format!("{name}: memory"), server.resident_bytes()? / 1e6, "MB");
    report.add(&format!("{name}: peak memory"), server.peak_bytes()? / 1e6, "MB");
    let epochs = rows(&client, "SELECT avg(complete_us)::float8 FROM millrace.epochs").await?;
    if let Some(Some(micros)) = epochs.first().map(|row| row[0].clone()) {
        report.add(&format!("{name}: an epoch"), micros.parse::<f64>()? / 1e3, "ms");
    }
    server.stop().await
}
