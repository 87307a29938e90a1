//! How long a reading takes from the producer to a SELECT, at a steady rate.
//!
//! The value of a reading is the moment at which it was handed to the producer. A view keeps the
//! newest value of each partition; the least of these is the moment up to which everything is
//! visible. Between two polls, what was produced since the last answer became visible at the later
//! one: each millisecond of production counts as one sample.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "moments are positive and far from the limits"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millrace_sim::server::rows;
use millrace_sim::wait;
use rdkafka::producer::Producer;
use tokio_postgres::Client;

use crate::process::{Server, data_dir};
use crate::report::{Report, quantile, say};
use crate::sensor::{create_source, create_view};
use crate::topic::{self, Compression, Load};
use crate::{Failure, Setting};

const TOPIC: &str = "bench_freshness";
/// Seconds before the first sample: connections, first checkpoint, caches.
const WARM_UP: u64 = 5;

/// Produces at a steady rate and asks all the time.
pub(crate) async fn measure(
    setting: &Setting,
    rate: u64,
    seconds: u64,
    sensors: u64,
) -> Result<Report, Failure> {
    let load = Load { sensors, ..Load::default() };
    topic::create(&setting.broker, TOPIC, load.partitions).await?;
    let directory = data_dir()?;
    let server = Server::start(setting, directory.path()).await?;
    let client = server.connect().await?;
    client.simple_query(&create_source(setting, TOPIC)).await?;
    client.simple_query(&create_view("10 seconds")).await?;
    let newest = "CREATE MATERIALIZED VIEW newest AS \
                  SELECT place, max(value) AS produced FROM readings GROUP BY place";
    client.simple_query(newest).await?;

    say(&format!("producing {rate} readings per second for {} seconds", WARM_UP + seconds));
    let producer = Steady::start(&setting.broker, rate, load)?;
    let cpu = server.cpu_seconds()?;
    let answers = poll(&client, (WARM_UP + seconds) * 1_000_000).await?;
    let cpu = server.cpu_seconds()? - cpu;
    let produced = producer.stop()?;

    let begin = answers.first().map_or(0, |(at, _)| *at) + (WARM_UP * 1_000_000) as i64;
    let mut samples = samples(&answers, begin);
    let mut report = Report::default();
    report.add("produced", produced as f64 / (WARM_UP + seconds) as f64, "readings/s");
    report.add("answers", answers.len() as f64, "");
    report.add("produced to visible: p50", quantile(&mut samples, 0.5), "ms");
    report.add("produced to visible: p99", quantile(&mut samples, 0.99), "ms");
    report.add("produced to visible: worst", quantile(&mut samples, 1.0), "ms");
    report.add("CPU of the server", cpu / (WARM_UP + seconds) as f64, "cores");
    report.add("peak memory", server.peak_bytes()? / 1e6, "MB");
    server.stop().await?;
    Ok(report)
}

/// Asks again and again for this many microseconds; when each answer came and what it said.
async fn poll(client: &Client, micros: u64) -> Result<Vec<(i64, i64)>, Failure> {
    let end = wait::now_micros() + micros as i64;
    let partitions = Load::default().partitions;
    let mut answers = Vec::new();
    while wait::now_micros() < end {
        let found = rows(client, "SELECT count(*), min(produced) FROM newest").await?;
        let now = wait::now_micros();
        if let Some([Some(count), Some(produced)]) = found.first().map(Vec::as_slice)
            && *count == partitions.to_string()
        {
            answers.push((now, produced.parse()?));
        }
        // Asking without a pause would measure how fast one can ask.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(answers)
}

/// Milliseconds from produced to visible, one sample for each millisecond of production.
fn samples(answers: &[(i64, i64)], begin: i64) -> Vec<f64> {
    let mut samples = Vec::new();
    let mut visible = None;
    for (at, produced) in answers.iter().filter(|(at, _)| *at >= begin) {
        let from = visible.replace(*produced).unwrap_or(*produced);
        let mut moment = from + 1000;
        while moment <= *produced {
            samples.push((at - moment) as f64 / 1000.0);
            moment += 1000;
        }
    }
    samples
}

/// A thread that produces at a steady rate until it is stopped.
struct Steady {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<u64, String>>,
}

impl Steady {
    fn start(broker: &str, rate: u64, load: Load) -> Result<Steady, Failure> {
        let producer = topic::producer(broker, Compression::None, 1)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let produce = move || -> Result<u64, String> {
            let begin = wait::now_micros();
            let (mut n, mut payload) = (0, String::new());
            while !stopped.load(Ordering::Relaxed) {
                let now = wait::now_micros();
                let due = (now - begin) as u64 * rate / 1_000_000;
                while n < due {
                    let id = n * 7919 % load.sensors;
                    topic::reading(&mut payload, id, now as u64, now as u64)
                        .map_err(|error| error.to_string())?;
                    topic::send(&producer, TOPIC, topic::partition(n, load.partitions), &payload)
                        .map_err(|error| error.to_string())?;
                    n += 1;
                }
                producer.poll(Duration::from_millis(1));
                std::thread::park_timeout(Duration::from_micros(500));
            }
            producer.flush(Duration::from_secs(30)).map_err(|error| error.to_string())?;
            Ok(n)
        };
        let thread = std::thread::Builder::new().name("producer".to_owned()).spawn(produce)?;
        Ok(Steady { stop, thread })
    }

    fn stop(self) -> Result<u64, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.thread.join().map_err(|_| "the producer panicked")??)
    }
}
