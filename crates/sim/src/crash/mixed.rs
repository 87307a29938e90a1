//! Everything at once on one server, over kills at random moments: topics, tables, views over views, sinks,
//! subscribers, readers, views that come and go, with changing numbers of workers and limits of memory.
//!
//! What each task checks while it runs and at the end stands in its file. Beyond these: no process ends by itself,
//! no view fails, the log has no line that is not listed, and the data directory is whole.
//!
//! `MILLRACE_CRASH_ROUNDS` kills in `MILLRACE_CRASH_SECONDS`; `scripts/crash mixed` runs 200 in an hour.

mod changes;
mod churn;
mod copies;
mod kills;
mod readers;
mod schema;
mod writers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;
use tokio_postgres::Client;

use super::lives::Lives;
use super::upserts::{self, Format};
use super::workload::{Mix, Workload};
use super::{TUMBLING, model, new_topic, rounds, run, subscribe, until_read};
use crate::kafka::Kafka;
use crate::server::{Server, program, rows};
use crate::wait;

use changes::Followed;
use copies::Backups;
use kills::{Kills, Plan};
use readers::Seen;
use schema::Topics;
use writers::Writer;

/// Writers of tables, each with rows of its own.
const WRITERS: i64 = 3;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn everything_at_once_survives_kills_at_random_moments() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let kafka = Arc::new(Kafka::of_tests());
    let topics = Topics {
        readings: new_topic(&kafka, "mixed-readings", seed).await,
        prices: new_topic(&kafka, "mixed-prices", seed).await,
        copies: new_topic(&kafka, "mixed-copies", seed).await,
        changes: new_topic(&kafka, "mixed-changes", seed).await,
        latest: new_topic(&kafka, "mixed-latest", seed).await,
    };
    let mut server = kills::server();
    server.start().await;
    for statement in schema::statements(&kafka.bootstrap, &topics) {
        run(&server.connect().await, &statement).await;
    }
    // A sink begins with the rows that are there when it first reaches its topic.
    super::sinks::until_sent(&server.connect().await, 3).await;
    let plan = Plan::asked();
    let mut load = Load::begin(&server, &kafka, &topics, seed, &plan).await;
    let mut kills = Kills::new(seed, plan);
    while kills.next(&mut server, &load.seen).await {
        load.goes_on();
    }
    let mut done = load.end(&server, &kafka, &topics).await;
    for life in ["after all kills", "and after one more"] {
        let client = server.connect().await;
        done.check(&server, &client).await;
        println!("{} s: all is right {life}", kills.seconds());
        server.kill().await;
        server.start().await;
    }
    done.check_topics(&server, &kafka, &topics).await;
    kills.summary(&done.seen);
    server.stop().await;
    let check = std::process::Command::new(program("millrace"));
    let output = { check }.arg("check").arg(server.data_dir()).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    done.backups.check(&done.workload).await;
}

/// All that runs while the server is killed.
struct Load {
    lives: Lives,
    seen: Arc<Seen>,
    producer: tokio::task::JoinHandle<Workload>,
    feeder: tokio::task::JoinHandle<BTreeMap<i32, i64>>,
    follower: tokio::task::JoinHandle<Followed>,
    backups: tokio::task::JoinHandle<Backups>,
    writers: Vec<tokio::task::JoinHandle<Writer>>,
    others: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    async fn begin(
        server: &Server,
        kafka: &Arc<Kafka>,
        topics: &Topics,
        seed: u64,
        plan: &Plan,
    ) -> Load {
        let (lives, seen) = (Lives::of(server), Arc::new(Seen::default()));
        let follower = tokio::spawn(subscribe::follow(
            lives.clone(),
            schema::FOLLOWED,
            Arc::clone(&seen.followed),
        ));
        // Before the first change, so that it sees all that the sinks send.
        wait::until("the subscriber has begun", wait::PATIENCE, || async {
            (seen.followed.load(Ordering::SeqCst) > 0).then_some(())
        })
        .await;
        let (broker, topic, producers) =
            (Arc::clone(kafka), topics.readings.clone(), lives.clone());
        let producer = produce(broker, topic, seed, producers, plan.pause_ms_max());
        let feeder = feed(Arc::clone(kafka), topics.prices.clone(), seed, lives.clone());
        let writers = (0..WRITERS).map(|id| Writer::new(id, seed));
        let rest_ms = plan.rest_ms_max();
        let writers = writers
            .map(|writer| tokio::spawn(writer.work(lives.clone(), Arc::clone(&seen), rest_ms)));
        Load {
            producer: tokio::spawn(producer),
            feeder: tokio::spawn(feeder),
            follower,
            backups: tokio::spawn(copies::make(lives.clone(), Arc::clone(&seen))),
            writers: writers.collect(),
            others: vec![
                tokio::spawn(readers::sums(lives.clone(), Arc::clone(&seen))),
                tokio::spawn(readers::compare(lives.clone(), seed, Arc::clone(&seen))),
                tokio::spawn(readers::audit(lives.clone(), Arc::clone(&seen))),
                tokio::spawn(readers::counters(lives.clone())),
                tokio::spawn(churn::churn(lives.clone(), seed, Arc::clone(&seen))),
            ],
            lives,
            seen,
        }
    }

    /// Fails as soon as a task has failed.
    fn goes_on(&self) {
        let others = self.others.iter().any(tokio::task::JoinHandle::is_finished);
        let writers = self.writers.iter().any(tokio::task::JoinHandle::is_finished);
        let rest = self.producer.is_finished() || self.feeder.is_finished();
        let rest = rest || self.backups.is_finished();
        assert!(!(others || writers || rest || self.follower.is_finished()), "all tasks go on");
    }

    async fn end(&mut self, server: &Server, kafka: &Kafka, topics: &Topics) -> Done {
        self.lives.end();
        for other in &mut self.others {
            other.await.expect("no reader saw anything wrong");
        }
        let mut writers = Vec::new();
        for writer in &mut self.writers {
            writers.push(writer.await.expect("a writer ends"));
        }
        let mut workload = (&mut self.producer).await.expect("the producer ends");
        let prices = (&mut self.feeder).await.expect("the feeder ends");
        let followed = (&mut self.follower).await.expect("the subscriber ends");
        let backups = (&mut self.backups).await.expect("backups are made");
        rounds::send_late_rows(server, kafka, &topics.readings, &mut workload).await;
        Done { workload, prices, followed, writers, backups, seen: Arc::clone(&self.seen) }
    }
}

/// What everything must be at the end.
struct Done {
    workload: Workload,
    prices: BTreeMap<i32, i64>,
    followed: Followed,
    writers: Vec<Writer>,
    backups: Backups,
    seen: Arc<Seen>,
}

impl Done {
    /// Views, tables, lists and counters are what was sent and acknowledged.
    async fn check(&mut self, server: &Server, client: &Client) {
        run(client, "FLUSH").await;
        rounds::check(server, &self.workload).await;
        check_finals(client, &self.workload).await;
        let copied = model::numbers(client, "SELECT p, o, id, value FROM copied ORDER BY 1, 2");
        let made = self.workload.rows_made();
        assert!(copied.await == made, "each reading is copied once");
        for writer in &mut self.writers {
            assert!(writer.settle(client).await, "the server answers");
        }
        let prices = model::numbers(client, "SELECT id, balance FROM prices ORDER BY 1").await;
        let wanted: Vec<Vec<i64>> =
            self.prices.iter().map(|(id, balance)| vec![i64::from(*id), *balance]).collect();
        assert_eq!(prices, wanted, "the table of upserts");
        for (view, query) in schema::COMPARED {
            let same = readers::same(client, view, query).await;
            same.unwrap_or_else(|error| panic!("{view}: {error:?}"));
        }
        churn::check(client).await;
        let bad = "SELECT view, error FROM millrace.views WHERE status <> 'running'";
        let failed = rows(client, bad).await.expect("an answer");
        assert!(failed.is_empty(), "all views run: {failed:?}");
    }

    /// The sinks' topics hold the views' changes.
    async fn check_topics(&mut self, server: &Server, kafka: &Kafka, topics: &Topics) {
        let client = server.connect().await;
        super::sinks::until_sent(&client, 3).await;
        let (position, changes) = &mut self.followed;
        subscribe::catch_up(&client, schema::FOLLOWED, position, changes).await;
        changes::check_content(&client, changes).await;
        changes::check_debezium(&kafka.committed(&topics.changes).await, changes);
        changes::check_upserts(&kafka.committed(&topics.latest).await, changes);
        let made = self.workload.rows_made();
        changes::check_copies(&kafka.committed(&topics.copies).await, &made);
    }
}

/// Sends bursts of readings until told to stop.
async fn produce(
    kafka: Arc<Kafka>,
    topic: String,
    seed: u64,
    lives: Lives,
    pause_ms_max: u64,
) -> Workload {
    let mut workload = Workload::new(seed, Mix::ROUGH);
    let mut bursts = StdRng::seed_from_u64(seed ^ 0x6275_7273);
    while lives.go_on() {
        workload.send(&kafka, &topic, bursts.random_range(1..200)).await;
        sleep(Duration::from_millis(bursts.random_range(0..pause_ms_max))).await;
    }
    workload
}

/// Sends upserts of prices until told to stop; what is left of them.
async fn feed(kafka: Arc<Kafka>, topic: String, seed: u64, lives: Lives) -> BTreeMap<i32, i64> {
    let (mut random, mut model) = (StdRng::seed_from_u64(seed ^ 0x7072), BTreeMap::new());
    while lives.go_on() {
        let messages = upserts::batch(Format::Upsert, &mut random, &mut model, 20);
        kafka.send_all(&topic, &messages).await.expect("the broker takes them");
        sleep(Duration::from_millis(random.random_range(0..200))).await;
    }
    model
}

/// The view that shows windows once they are final has exactly those below the watermark.
async fn check_finals(client: &Client, workload: &Workload) {
    let watermark = "SELECT coalesce(min(extract(epoch FROM watermark) * 1000000), 0)::bigint \
                     FROM millrace.sources WHERE source = 'readings'";
    until_read(client, workload.rows()).await;
    let found = wait::until("final windows are shown", wait::PATIENCE, || async {
        let watermark = model::numbers(client, watermark).await[0][0];
        let actual = model::actual(client, "finals").await;
        let late = model::late(client, "finals").await;
        let mut expected = model::expected(workload, TUMBLING, &late);
        expected.retain(|(start, _), _| start + TUMBLING.size <= watermark);
        (actual.len() == expected.len()).then_some((actual, expected, late))
    });
    let (actual, expected, late) = found.await;
    model::check_late(workload, TUMBLING, &late);
    model::assert_same("finals", &actual, &expected);
}
