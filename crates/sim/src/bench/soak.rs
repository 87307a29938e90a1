//! A server under a memory limit that its state does not fit into, for long: does memory stay bounded,
//! does the rate, is every reading counted once, how fast is it back after kill -9?

use std::time::Duration;

use clap::Args;
use millrace_sim::server::rows;
use millrace_sim::wait;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::producer::{BaseProducer, Producer};
use tokio_postgres::Client;

use crate::process::{Server, data_dir};
use crate::report::{Report, say};
use crate::sensor::create_source;
use crate::topic::{self, Compression, seconds_since};
use crate::{Failure, Setting};

const TOPIC: &str = "bench_soak";
const PARTITIONS: i32 = 4;
/// Readings that are sent together.
const BATCH: u64 = 50_000;
/// Readings that may wait in the topic before the next are sent.
const LAG_MAX: f64 = 400_000.0;
/// Figures are given for so many parts of the time.
const PARTS: u64 = 10;
/// A prime: its multiples go round all keys before one returns.
const SCATTER: u64 = 2_147_483_647;
/// Peak memory, in parts of the limit.
const PEAK_MAX: f64 = 1.2;
const LONG: Duration = Duration::from_secs(1800);

/// What is soaked.
#[derive(Args, Clone, Debug)]
pub(crate) struct Soak {
    /// How long readings are sent
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    /// Keys: each once, then drawn uniformly
    #[arg(long, default_value_t = 10_000_000)]
    keys: u64,
    /// The server's memory limit, MB
    #[arg(long, default_value_t = 512)]
    limit: u64,
    /// How many times the server is killed in the end
    #[arg(long, default_value_t = 5)]
    kills: u32,
}

/// What was sent.
struct Sent {
    producer: BaseProducer,
    random: StdRng,
    /// How many keys there may be.
    all: u64,
    count: u64,
}

impl Sent {
    /// Each key once, all over; then any.
    fn next_id(&mut self) -> u64 {
        match self.count < self.all {
            true => self.count * SCATTER % self.all,
            false => self.random.random_range(0..self.all),
        }
    }

    fn keys(&self) -> u64 {
        self.count.min(self.all)
    }

    fn batch(&mut self) -> Result<(), Failure> {
        let mut payload = String::new();
        for _ in 0..BATCH {
            let id = self.next_id();
            let value = self.random.random_range(0..1000);
            topic::reading(&mut payload, id, topic::event_time(self.count, 100_000), value)?;
            let partition = topic::partition(self.count, PARTITIONS);
            topic::send(&self.producer, TOPIC, partition, &payload)?;
            self.count += 1;
            if self.count.is_multiple_of(1000) {
                self.producer.poll(Duration::ZERO);
            }
        }
        Ok(self.producer.flush(Duration::from_secs(60))?)
    }

    /// A batch, or a moment's wait if too many are still to be read.
    async fn batch_if_read(&mut self, client: &Client) -> Result<(), Failure> {
        match lag(client).await? < LAG_MAX {
            true => self.batch(),
            false => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok(())
            }
        }
    }
}

async fn number(client: &Client, sql: &str) -> Result<f64, Failure> {
    let found = rows(client, sql).await?;
    let text = found.into_iter().flatten().flatten().next().ok_or("no number")?;
    Ok(text.parse()?)
}

async fn lag(client: &Client) -> Result<f64, Failure> {
    number(client, "SELECT coalesce(sum(lag), 0) FROM millrace.sources").await
}

/// Runs it; fails if a reading is lost or counted twice.
pub(crate) async fn measure(setting: &Setting, soak: &Soak) -> Result<Report, Failure> {
    topic::create(&setting.broker, TOPIC, PARTITIONS).await?;
    let mut serve = setting.serve.clone();
    serve.extend(["--memory-limit".to_owned(), format!("{}MB", soak.limit)]);
    let setting = Setting { serve, ..setting.clone() };
    let directory = data_dir()?;
    let server = Server::start(&setting, directory.path()).await?;
    let client = server.connect().await?;
    client.simple_query(&create_source(&setting, TOPIC)).await?;
    let totals = "CREATE MATERIALIZED VIEW totals AS \
                  SELECT id, count(*) AS n, sum(value) AS total, max(value) AS high FROM readings GROUP BY id";
    client.simple_query(totals).await?;
    let mut sent = Sent {
        producer: topic::producer(&setting.broker, Compression::Lz4, 50)?,
        random: StdRng::seed_from_u64(1),
        all: soak.keys,
        count: 0,
    };
    let mut report = Report::default();
    // `512MB` is 512 times 1,024 kB, as in PostgreSQL.
    let (limit, begin) = ((soak.limit << 20) as f64, wait::now_micros());
    let mut worst: f64 = 0.0;
    for part in 1..=PARTS {
        let (from, at) = (sent.count, seconds_since(begin));
        server.forget_peak()?;
        while seconds_since(begin) < (soak.seconds * part) as f64 / PARTS as f64 {
            sent.batch_if_read(&client).await?;
        }
        let rate = (sent.count - from) as f64 / (seconds_since(begin) - at);
        let peak = server.peak_bytes()? / limit;
        worst = worst.max(peak);
        say(&format!(
            "part {part}: {} keys, {rate:.0} readings/s, peak {peak:.2} of the limit",
            sent.keys()
        ));
        report.add(&format!("part {part}, {} keys", sent.keys()), rate, "readings/s");
    }
    report.add("peak memory / limit", worst, "");
    check(&client, &sent).await?;
    report.add("keys", sent.keys() as f64, "");
    let report =
        recovery(&setting, (server, directory.path()), (&mut sent, soak.kills), report).await?;
    if worst > PEAK_MAX {
        report.print(false);
        return Err(format!("memory went up to {worst:.2} of its limit").into());
    }
    Ok(report)
}

/// Every reading is counted once.
async fn check(client: &Client, sent: &Sent) -> Result<(), Failure> {
    let wanted = sent.count as f64;
    wait::until("everything is counted", LONG, async || {
        let n = number(client, "SELECT sum(n) FROM totals").await.ok()?;
        assert!(n <= wanted, "{n} readings of {wanted} are counted");
        (n == wanted).then_some(())
    })
    .await;
    let keys = number(client, "SELECT count(*) FROM totals").await?;
    match keys == sent.keys() as f64 {
        true => Ok(()),
        false => Err(format!("{keys} keys, not {}", sent.keys()).into()),
    }
}

/// kill -9 while readings come, some times, at different moments between two checkpoints; the time until the
/// first answer, and until all are counted.
async fn recovery(
    setting: &Setting,
    (server, directory): (Server, &std::path::Path),
    (sent, kills): (&mut Sent, u32),
    mut report: Report,
) -> Result<Report, Failure> {
    let (mut server, mut answers, mut ready) = (server, Vec::new(), Vec::new());
    for kill in 0..kills {
        let client = server.connect().await?;
        let (begin, seconds) = (wait::now_micros(), 3.0 + 0.7 * f64::from(kill));
        while seconds_since(begin) < seconds {
            sent.batch_if_read(&client).await?;
        }
        drop(client);
        server.kill().await?;
        let begin = wait::now_micros();
        server = Server::start(setting, directory).await?;
        let client = server.connect().await?;
        number(&client, "SELECT coalesce(sum(n), 0) FROM totals WHERE id = 4711").await?;
        answers.push(seconds_since(begin));
        while lag(&client).await? > 0.0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        ready.push(seconds_since(begin));
        check(&client, sent).await?;
    }
    server.stop().await?;
    for (what, seconds) in [("the first SELECT", &mut answers), ("caught up", &mut ready)] {
        seconds.sort_by(f64::total_cmp);
        for (which, seconds) in [("best", seconds.first()), ("worst", seconds.last())] {
            report.add(&format!("kill -9 to {what}, at {which}"), *seconds.unwrap_or(&0.0), "s");
        }
    }
    Ok(report)
}
