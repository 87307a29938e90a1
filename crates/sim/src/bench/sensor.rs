//! The sensor job: the server next to the bare consumer and the consumer that decodes.
//!
//! The three run in turns over one topic, so that a slow minute of the machine hits all of them.

use std::path::Path;

use millrace_sim::server::{program, rows};
use millrace_sim::wait;
use serde_json::Value;
use tokio::process::Command;

use crate::process::{Server, data_dir};
use crate::report::{Report, quantile, say};
use crate::topic::{self, Load, seconds_since};
use crate::{Failure, Setting};

const TOPIC: &str = "bench_sensor";

/// What one run of one program took.
#[derive(Clone, Copy)]
struct Cost {
    seconds: f64,
    cpu_seconds: f64,
    peak_bytes: f64,
}

/// Fills a topic and measures.
pub(crate) async fn measure(
    setting: &Setting,
    load: &Load,
    runs: usize,
    against: Option<&Path>,
) -> Result<Report, Failure> {
    topic::fill(&setting.broker, TOPIC, load).await?;
    // Brings the topic into the page cache for all alike.
    consume(setting, "bare", load.messages).await?;
    let mut costs: [Vec<Cost>; 5] = Default::default();
    for run in 1..=runs {
        say(&format!("run {run} of {runs}"));
        costs[0].push(consume(setting, "bare", load.messages).await?);
        costs[1].push(consume(setting, "json", load.messages).await?);
        costs[2].push(consume(setting, "reader", load.messages).await?);
        costs[3].push(serve(setting, TOPIC, load.messages).await?);
        if let Some(program) = against {
            let other = Setting { program: program.to_owned(), ..setting.clone() };
            costs[4].push(serve(&other, TOPIC, load.messages).await?);
        }
    }
    let events = load.messages as f64;
    let names = ["a bare consumer", "b with arrow-json", "  our reader", "c millrace"];
    let mut report = Report::default();
    let rates: Vec<f64> = names
        .iter()
        .zip(&costs)
        .map(|(name, costs)| add(&mut report, name, costs, events))
        .collect();
    report.add("c/a", rates[3] / rates[0], "");
    report.add("c/b", rates[3] / rates[1], "");
    if against.is_some() {
        let rate = add(&mut report, "d the other millrace", &costs[4], events);
        report.add("c/d", rates[3] / rate, "");
    }
    Ok(report)
}

/// Adds the medians of some runs; gives the rate.
fn add(report: &mut Report, name: &str, costs: &[Cost], events: f64) -> f64 {
    let of =
        |what: fn(&Cost) -> f64| quantile(&mut costs.iter().map(what).collect::<Vec<_>>(), 0.5);
    let rate = events / of(|cost| cost.seconds);
    report.add(&format!("{name}: rate"), rate, "events/s");
    report.add(&format!("{name}: CPU"), of(|c| c.cpu_seconds) * 1e6 / events, "s/M events");
    report.add(&format!("{name}: peak memory"), of(|c| c.peak_bytes) / 1e6, "MB");
    rate
}

/// The server alone with the sensors of `load` and with `many`, in turns.
pub(crate) async fn cardinality(
    setting: &Setting,
    load: &Load,
    many: u64,
    runs: usize,
) -> Result<Report, Failure> {
    let other = format!("{TOPIC}_many");
    topic::fill(&setting.broker, TOPIC, load).await?;
    topic::fill(&setting.broker, &other, &Load { sensors: many, ..load.clone() }).await?;
    let mut costs: [Vec<Cost>; 2] = Default::default();
    for run in 0..=runs {
        say(&format!("run {run} of {runs}"));
        for (costs, topic) in costs.iter_mut().zip([TOPIC, &other]) {
            let cost = serve(setting, topic, load.messages).await?;
            // The first round brings the topics into the page cache.
            if run > 0 {
                costs.push(cost);
            }
        }
    }
    let mut report = Report::default();
    let mut rate = |sensors: u64, costs: &[Cost]| {
        add(&mut report, &format!("{sensors} sensors"), costs, load.messages as f64)
    };
    let rates = [rate(load.sensors, &costs[0]), rate(many, &costs[1])];
    report.add("ratio of the rates", rates[1] / rates[0], "");
    Ok(report)
}

/// Both decoders without a broker.
pub(crate) async fn decode(messages: u64) -> Result<Report, Failure> {
    let mut report = Report::default();
    for line in run_consume(&["decode", &messages.to_string()]).await? {
        let cpu = number(&line, "cpu_seconds")?;
        let name = line.get("measure").and_then(Value::as_str).unwrap_or_default();
        report.add(name, messages as f64 / cpu, "messages per CPU second");
    }
    Ok(report)
}

async fn run_consume(arguments: &[&str]) -> Result<Vec<Value>, Failure> {
    let output = Command::new(program("millrace-consume")).args(arguments).output().await?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn number(line: &Value, name: &str) -> Result<f64, Failure> {
    Ok(line.get(name).and_then(Value::as_f64).ok_or("a figure is missing")?)
}

async fn consume(setting: &Setting, mode: &str, messages: u64) -> Result<Cost, Failure> {
    let lines = run_consume(&[mode, &setting.broker, TOPIC, &messages.to_string()]).await?;
    let line = lines.first().ok_or("a figure is missing")?;
    Ok(Cost {
        seconds: number(line, "seconds")?,
        cpu_seconds: number(line, "cpu_seconds")?,
        peak_bytes: number(line, "peak_bytes")?,
    })
}

/// The statement that makes the source of all measures.
pub(crate) fn create_source(setting: &Setting, topic: &str) -> String {
    format!(
        "CREATE SOURCE readings (id BIGINT, time DOUBLE PRECISION, value BIGINT, \
         ts TIMESTAMPTZ AS to_timestamp(time), WATERMARK FOR ts AS ts - INTERVAL '1 second') \
         INCLUDE partition AS place \
         WITH (connector='kafka', topic='{topic}', properties.bootstrap.server='{}') \
         FORMAT PLAIN ENCODE JSON",
        setting.broker
    )
}

/// The statement that makes the view of the sensor job, with windows of this size.
pub(crate) fn create_view(size: &str) -> String {
    format!(
        "CREATE MATERIALIZED VIEW windows AS SELECT window_start, window_end, id, \
         sum(value) AS total, count(*) AS n, avg(value) AS mean, min(value) AS low, \
         max(value) AS high FROM TUMBLE(readings, ts, INTERVAL '{size}') \
         GROUP BY window_start, window_end, id"
    )
}

/// From CREATE MATERIALIZED VIEW to the complete answer.
async fn serve(setting: &Setting, topic: &str, messages: u64) -> Result<Cost, Failure> {
    let directory = data_dir()?;
    let server = Server::start(setting, directory.path()).await?;
    let client = server.connect().await?;
    client.simple_query(&create_source(setting, topic)).await?;
    let cpu = server.cpu_seconds()?;
    let begin = wait::now_micros();
    client.simple_query(&create_view("10 seconds")).await?;
    let wanted = messages.to_string();
    wait::until("the answer is complete", wait::PATIENCE, async || {
        let found = rows(&client, "SELECT sum(n) FROM windows").await.ok()?;
        let sum = found.into_iter().next()?.into_iter().next()??;
        (sum == wanted).then_some(())
    })
    .await;
    let cost = Cost {
        seconds: seconds_since(begin),
        cpu_seconds: server.cpu_seconds()? - cpu,
        peak_bytes: server.peak_bytes()?,
    };
    server.stop().await?;
    Ok(cost)
}
