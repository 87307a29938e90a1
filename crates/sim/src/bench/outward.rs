//! What it costs to keep a view's changes and to send them on: the sensor view alone, with a history, with a sink, at a
//! steady rate, each in a server of its own.

use std::time::Duration;

use millrace_sim::server::rows;
use millrace_sim::wait;
use tokio_postgres::Client;

use crate::process::{Server, data_dir};
use crate::report::{Report, say};
use crate::sensor::{create_source, create_view};
use crate::topic::{self, Load, seconds_since};
use crate::{Failure, Setting};

const TOPIC: &str = "bench_outward";
/// How long all that has been produced may take to arrive.
const LONG: Duration = Duration::from_secs(300);

/// What is measured, and what is made after the source.
fn ways(broker: &str) -> [(&'static str, Vec<String>); 3] {
    let view = create_view("10 seconds");
    let kept = view.replace("windows AS", "windows WITH (retain_history = '1 hour') AS");
    let sink = format!(
        "CREATE SINK outward FROM windows WITH (connector = 'kafka', topic = '{TOPIC}_sink', \
         properties.bootstrap.server = '{broker}') FORMAT UPSERT ENCODE JSON"
    );
    [
        ("alone", vec![view.clone()]),
        ("with a history", vec![kept]),
        ("with a sink", vec![view, sink]),
    ]
}

/// CPU of the server by a million readings, in each way.
pub(crate) async fn measure(setting: &Setting, rate: u64, seconds: u64) -> Result<Report, Failure> {
    let mut report = Report::default();
    let mut alone = None;
    for (name, statements) in ways(&setting.broker) {
        say(&format!("{name}: {rate} readings per second for {seconds} seconds"));
        topic::create(&setting.broker, TOPIC, Load::default().partitions).await?;
        topic::create(&setting.broker, &format!("{TOPIC}_sink"), 1).await?;
        let directory = data_dir()?;
        let server = Server::start(setting, directory.path()).await?;
        let client = server.connect().await?;
        client.simple_query(&create_source(setting, TOPIC)).await?;
        for statement in statements {
            client.simple_query(&statement).await?;
        }
        let cpu = server.cpu_seconds()?;
        produce(setting, &client, rate, seconds).await?;
        let sent = lag_passes(&client).await?;
        let cpu = (server.cpu_seconds()? - cpu) * 1e6 / (rate * seconds) as f64;
        report.add(&format!("{name}: CPU"), cpu, "s/M readings");
        report.add(&format!("{name}: peak memory"), server.peak_bytes()? / 1e6, "MB");
        match alone {
            None => alone = Some(cpu),
            Some(alone) => report.add(&format!("{name} / alone"), cpu / alone, ""),
        }
        if sent > 0.0 {
            report.add(&format!("{name}: messages sent"), sent / seconds as f64, "per second");
        }
        server.stop().await?;
    }
    Ok(report)
}

/// Produces at a steady rate, and waits until the view has it all.
async fn produce(
    setting: &Setting,
    client: &Client,
    rate: u64,
    seconds: u64,
) -> Result<(), Failure> {
    let begin = wait::now_micros();
    let mut sent = 0;
    while sent < rate * seconds {
        let part = Load { messages: rate / 10, seed: sent, per_second: rate, ..Load::default() };
        topic::append(&setting.broker, TOPIC, &part)?;
        sent += part.messages;
        let ahead = sent as f64 / rate as f64 - seconds_since(begin);
        tokio::time::sleep(Duration::from_secs_f64(ahead.max(0.0))).await;
    }
    let wanted = sent.to_string();
    wait::until("the view has it all", LONG, async || {
        let found = rows(client, "SELECT sum(n) FROM windows").await.ok()?;
        (found.into_iter().next()?.into_iter().next()?? == wanted).then_some(())
    })
    .await;
    Ok(())
}

/// Waits until the sinks have sent all; how many messages that were.
async fn lag_passes(client: &Client) -> Result<f64, Failure> {
    wait::until("the sinks have sent it all", LONG, async || {
        let sql = "SELECT count(*) FROM millrace.sinks WHERE lag_epochs > 0 OR lag_epochs IS NULL";
        let found = rows(client, sql).await.ok()?;
        (found.into_iter().next()?.into_iter().next()?? == "0").then_some(())
    })
    .await;
    let sent = rows(client, "SELECT coalesce(sum(messages), 0) FROM millrace.sinks").await?;
    let sent = sent.first().and_then(|row| row[0].clone()).unwrap_or_default();
    Ok(sent.parse()?)
}
