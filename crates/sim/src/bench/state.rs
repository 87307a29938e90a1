//! Measures of what is kept: bytes written, reads of large views, starts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millrace_sim::server::rows;
use millrace_sim::wait;
use tokio_postgres::Client;

use crate::process::{Server, data_dir};
use crate::report::{Report, quantile, say};
use crate::sensor::{create_source, create_view};
use crate::topic::{self, FIRST_SECOND, Load, seconds_since};
use crate::{Failure, Setting};

const TOPIC: &str = "bench_state";
const CHECKPOINT_SECONDS: f64 = 2.0;
/// A view of `n` rows takes longer to fill than a test's patience.
const LONG: Duration = Duration::from_secs(900);

/// Bytes written per changed row, with ten thousand keys and with a million.
///
/// A total per key is kept without windows; all keys are there before it is measured. A checkpoint
/// writes each key at most once, so of `r` readings over `k` keys it writes `k(1 - e^(-r/k))` rows.
pub(crate) async fn written(setting: &Setting, rate: u64, seconds: u64) -> Result<Report, Failure> {
    let mut report = Report::default();
    let mut figures = Vec::new();
    for (name, keys) in [("10 k keys", 10_000), ("1 M keys", 1_000_000)] {
        say(&format!("{name}: {rate} readings per second for {seconds} seconds"));
        let bytes = written_per_row(setting, keys, rate, seconds).await?;
        report.add(&format!("written per changed row, {name}"), bytes, "bytes");
        figures.push(bytes);
    }
    report.add("1 M keys / 10 k keys", figures[1] / figures[0], "");
    Ok(report)
}

async fn written_per_row(
    setting: &Setting,
    keys: u64,
    rate: u64,
    seconds: u64,
) -> Result<f64, Failure> {
    let load = Load { messages: keys, sensors: keys, ..Load::default() };
    topic::create(&setting.broker, TOPIC, load.partitions).await?;
    each_key(setting, &load)?;
    let directory = data_dir()?;
    let mut serve = setting.serve.clone();
    serve.extend(["--checkpoint-interval".to_owned(), format!("{CHECKPOINT_SECONDS}s")]);
    let setting = Setting { serve, ..setting.clone() };
    let server = Server::start(&setting, directory.path()).await?;
    let client = server.connect().await?;
    client.simple_query(&create_source(&setting, TOPIC)).await?;
    let totals = "CREATE MATERIALIZED VIEW totals AS \
                  SELECT id, count(*) AS n, sum(value) AS total FROM readings GROUP BY id";
    client.simple_query(totals).await?;
    count_reaches(&client, "SELECT sum(n) FROM totals", keys).await?;
    // Two checkpoints later the first fill has been written.
    tokio::time::sleep(Duration::from_secs_f64(CHECKPOINT_SECONDS * 2.5)).await;

    let before = server.written_bytes()?;
    let begin = wait::now_micros();
    let mut sent = 0;
    while sent < rate * seconds {
        let part = Load { messages: rate / 10, seed: sent, sensors: keys, ..Load::default() };
        topic::append(&setting.broker, TOPIC, &part)?;
        sent += part.messages;
        let ahead = sent as f64 / rate as f64 - seconds_since(begin);
        tokio::time::sleep(Duration::from_secs_f64(ahead.max(0.0))).await;
    }
    count_reaches(&client, "SELECT sum(n) FROM totals", keys + sent).await?;
    let elapsed = seconds_since(begin);
    tokio::time::sleep(Duration::from_secs_f64(CHECKPOINT_SECONDS * 1.5)).await;
    let bytes = server.written_bytes()? - before;
    server.stop().await?;
    let (keys, readings) = (keys as f64, rate as f64 * CHECKPOINT_SECONDS);
    let rows = keys * (1.0 - (-readings / keys).exp()) * elapsed / CHECKPOINT_SECONDS;
    Ok(bytes / rows)
}

/// One reading for each key.
fn each_key(setting: &Setting, load: &Load) -> Result<(), Failure> {
    one_row_each(setting, load.sensors, 1, load.partitions)
}

/// Readings that make `sensors` rows in each of `windows` windows of a minute.
fn one_row_each(
    setting: &Setting,
    sensors: u64,
    windows: u64,
    partitions: i32,
) -> Result<(), Failure> {
    let producer = topic::producer(&setting.broker, Load::default().compression, 50)?;
    let mut payload = String::new();
    for n in 0..sensors * windows {
        let second = FIRST_SECOND - FIRST_SECOND % 60 + n / sensors * 60;
        topic::reading(&mut payload, n % sensors, second * 1_000_000, n % 1000)?;
        topic::send(&producer, TOPIC, topic::partition(n, partitions), &payload)?;
        if n % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    rdkafka::producer::Producer::flush(&producer, Duration::from_secs(60))?;
    Ok(())
}

async fn count_reaches(client: &Client, sql: &str, wanted: u64) -> Result<(), Failure> {
    let wanted = wanted.to_string();
    wait::until(sql, LONG, async || {
        let sum = rows(client, sql).await.ok()?.into_iter().next()?.into_iter().next()??;
        (sum == wanted).then_some(())
    })
    .await;
    Ok(())
}

/// A server with a view of this many rows, windows of a minute.
async fn with_view(
    setting: &Setting,
    directory: &Path,
    count: u64,
    sensors: u64,
) -> Result<Server, Failure> {
    let windows = count / sensors;
    let partitions = Load::default().partitions;
    topic::create(&setting.broker, TOPIC, partitions).await?;
    say(&format!("producing {count} readings"));
    one_row_each(setting, sensors, windows, partitions)?;
    let server = Server::start(setting, directory).await?;
    let client = server.connect().await?;
    client.simple_query(&create_source(setting, TOPIC)).await?;
    say("filling the view");
    client.simple_query(&create_view("1 minute")).await?;
    count_reaches(&client, "SELECT count(*) FROM windows", sensors * windows).await?;
    Ok(server)
}

/// Six hours of a view, aggregated.
pub(crate) async fn range(setting: &Setting, count: u64, sensors: u64) -> Result<Report, Failure> {
    let directory = data_dir()?;
    let server = with_view(setting, directory.path(), count, sensors).await?;
    let client = server.connect().await?;
    let begin = FIRST_SECOND - FIRST_SECOND % 60 + 3600;
    let sql = format!(
        "SELECT count(*), sum(total), max(high) FROM windows \
         WHERE window_start >= to_timestamp({begin}) AND window_start < to_timestamp({})",
        begin + 6 * 3600
    );
    let (mut times, seen) = timed(&client, &sql).await?;
    let mut report = Report::default();
    report.add("rows in the view", count as f64, "");
    report.add("rows in the range", seen.parse()?, "");
    report.add("six hours: first", times[0], "ms");
    report.add("six hours: p50", quantile(&mut times, 0.5), "ms");
    report.add("six hours: worst", quantile(&mut times, 1.0), "ms");
    let asked = as_grafana_asks(&client, begin).await?;
    let (mut times, _) = timed(&client, &asked).await?;
    same_total(&client, &sql, &asked).await?;
    report.add("as Grafana asks: p50", quantile(&mut times, 0.5), "ms");
    report.add("peak memory", server.peak_bytes()? / 1e6, "MB");
    server.stop().await?;
    Ok(report)
}

/// How long a query takes, twenty times, in milliseconds; and its first value.
async fn timed(client: &Client, sql: &str) -> Result<(Vec<f64>, String), Failure> {
    let mut times = Vec::new();
    let mut seen = String::new();
    for _ in 0..20 {
        let begin = wait::now_micros();
        let found = rows(client, sql).await?;
        times.push(seconds_since(begin) * 1000.0);
        seen = found.first().and_then(|row| row[0].clone()).unwrap_or_default();
    }
    Ok((times, seen))
}

/// The series has a point for each minute, the one at its end too, and without that the sum of the range.
async fn same_total(client: &Client, range: &str, series: &str) -> Result<(), Failure> {
    let sum = rows(client, range).await?.first().and_then(|row| row[1].clone());
    let mut points = rows(client, series).await?;
    let (count, _) = (points.len(), points.pop());
    let totals = points.iter().map(|point| point[1].as_deref().unwrap_or_default().parse::<i64>());
    let total = totals.sum::<Result<i64, _>>()?.to_string();
    match count == 6 * 60 + 1 && sum.as_ref() == Some(&total) {
        true => Ok(()),
        false => Err(format!("{count} points with {total}, the range has {sum:?}").into()),
    }
}

/// A time series of six hours as Grafana writes it out: `$__timeGroup` by minutes, `$__timeFilter`.
async fn as_grafana_asks(client: &Client, begin: u64) -> Result<String, Failure> {
    let times = format!(
        "SELECT to_char(to_timestamp(s), 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') \
         FROM (VALUES ({begin}), ({})) AS t(s) ORDER BY s",
        begin + 6 * 3600
    );
    let times: Vec<String> = rows(client, &times).await?.into_iter().flatten().flatten().collect();
    let range = times.join("' AND '");
    Ok(format!(
        "SELECT floor(extract(epoch from window_start)/60)*60 AS \"time\", sum(total) AS total \
         FROM windows WHERE window_start BETWEEN '{range}' GROUP BY 1 ORDER BY 1"
    ))
}

/// One sensor's last windows while readings come in as fast as the broker takes them.
pub(crate) async fn point(setting: &Setting, load: &Load) -> Result<Report, Failure> {
    topic::create(&setting.broker, TOPIC, load.partitions).await?;
    let directory = data_dir()?;
    let server = Server::start(setting, directory.path()).await?;
    let client = server.connect().await?;
    client.simple_query(&create_source(setting, TOPIC)).await?;
    client.simple_query(&create_view("10 seconds")).await?;
    let done = Arc::new(AtomicBool::new(false));
    let (broker, part, finished) = (setting.broker.clone(), load.clone(), done.clone());
    let produce = move || {
        let result = topic::append(&broker, TOPIC, &part).map_err(|error| error.to_string());
        finished.store(true, Ordering::Relaxed);
        result
    };
    let producer = std::thread::Builder::new().name("producer".to_owned()).spawn(produce)?;
    let last = client
        .prepare(
            "SELECT window_start, total, n FROM windows WHERE id = $1 \
             ORDER BY window_start DESC LIMIT 10",
        )
        .await?;
    let begin = wait::now_micros();
    let mut times = Vec::new();
    let mut id = 0;
    while !done.load(Ordering::Relaxed) {
        id = (id + 7919) % i64::try_from(load.sensors)?;
        let begin = wait::now_micros();
        client.query(&last, &[&id]).await?;
        times.push(seconds_since(begin) * 1000.0);
    }
    producer.join().map_err(|_| "the producer panicked")??;
    let produced = load.messages as f64 / seconds_since(begin);
    count_reaches(&client, "SELECT sum(n) FROM windows", load.messages).await?;
    let mut report = Report::default();
    report.add("loaded meanwhile", produced, "readings/s");
    report.add("queries", times.len() as f64, "");
    report.add("last windows of a sensor: p50", quantile(&mut times, 0.5), "ms");
    report.add("last windows of a sensor: p99", quantile(&mut times, 0.99), "ms");
    server.stop().await?;
    Ok(report)
}

/// Starts on an empty directory and with a filled view.
pub(crate) async fn start(setting: &Setting, count: u64) -> Result<Report, Failure> {
    let mut report = Report::default();
    let empty = data_dir()?;
    let server = Server::start(setting, empty.path()).await?;
    report.add("start on an empty directory", server.start_seconds, "s");
    server.stop().await?;

    let directory = data_dir()?;
    with_view(setting, directory.path(), count, count.min(10_000)).await?.stop().await?;
    let begin = wait::now_micros();
    let server = Server::start(setting, directory.path()).await?;
    report.add(&format!("start with {count} view rows: listens"), seconds_since(begin), "s");
    let client = server.connect().await?;
    count_reaches(&client, "SELECT count(*) FROM windows", count).await?;
    report.add(&format!("start with {count} view rows: answers"), seconds_since(begin), "s");
    server.stop().await?;
    Ok(report)
}
