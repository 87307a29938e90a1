//! A broker that goes away: the source says since when and why, views answer on, and nothing is
//! lost when it returns, after a crash of the server meanwhile either.
//!
//! The broker is this test's own, so that it may be halted: `scripts/kafka` starts it.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use super::model;
use super::workload::{Mix, Workload};
use super::{TOTALS_VIEW, TUMBLING, TUMBLING_VIEW};
use super::{create_source, new_topic, run, until_read};
use crate::health;
use crate::kafka::Kafka;
use crate::server::{Server, rows};
use crate::wait;

/// A broker of its own; its directory goes with it.
pub(super) struct Broker {
    directory: PathBuf,
}

impl Broker {
    pub(super) fn new() -> Broker {
        let name = format!("millrace-kafka-{}-{}", std::process::id(), wait::now_micros());
        Broker { directory: std::env::temp_dir().join(name) }
    }

    fn script(&self, verb: &str) -> std::process::Command {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/kafka");
        let mut command = std::process::Command::new(script);
        command.arg(verb).arg(&self.directory).stdin(Stdio::null());
        command
    }

    /// Starts it, where it was before if it was halted; its address.
    pub(super) async fn start(&self) -> String {
        let output = Command::from(self.script("start")).output().await.expect("the script runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("an address").trim().to_owned()
    }

    /// Ends it with SIGKILL, as a crash would.
    async fn kill(&self) {
        let id = std::fs::read_to_string(self.directory.join("pid")).expect("it was started");
        let status = Command::new("kill").args(["-9", id.trim()]).status().await;
        assert!(status.is_ok_and(|status| status.success()), "SIGKILL is sent");
    }

    pub(super) async fn halt(&self) {
        let status = Command::from(self.script("halt")).status().await.expect("the script runs");
        assert!(status.success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // A directory that stays behind harms nobody.
        drop(self.script("stop").stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn a_broker_that_goes_away_and_returns_costs_nothing() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let broker = Broker::new();
    let kafka = Kafka::at(&broker.start().await).expect("an address");
    let topic = new_topic(&kafka, "outage", seed).await;
    let mut workload = Workload::new(seed, Mix::CLEAN);
    let mut server = Server::new(&["--http", "127.0.0.1:0"]);
    server = server.expecting("a source cannot be reached");
    server.start().await;
    let client = server.connect().await;
    run(&client, &create_source(&kafka, &topic)).await;
    run(&client, TUMBLING_VIEW).await;
    run(&client, TOTALS_VIEW).await;
    workload.send(&kafka, &topic, 1_000).await;
    until_read(&client, workload.rows()).await;

    broker.halt().await;
    wait::until("SHOW SOURCES says since when and why", wait::PATIENCE, || async {
        let shown = rows(&client, "SHOW SOURCES").await.expect("SHOW answers");
        let [_, _, status, since, error] = &shown[0][..] else { panic!("{shown:?}") };
        let told = since.is_some() && error.as_deref().is_some_and(|text| !text.is_empty());
        (status.as_deref() == Some("unreachable") && told).then_some(())
    })
    .await;
    until_read(&client, workload.rows()).await;
    // A crash while the broker is away: the logged epochs wait for it.
    server.kill().await;
    server.start().await;
    let (status, text) = health::get(&server, "/readyz").await;
    assert_eq!((status, text.as_str()), (503, "recovering\n"));
    assert_eq!(health::get(&server, "/healthz").await.0, 200);
    let address = broker.start().await;
    assert_eq!(address, kafka.bootstrap, "the broker is where it was");
    let client = server.connect().await;
    workload.send(&kafka, &topic, 1_000).await;
    until_read(&client, workload.rows()).await;
    assert_eq!(health::get(&server, "/readyz").await, (200, "ready\n".to_owned()));
    let expected = model::expected(&workload, TUMBLING, &[]);
    let actual = model::actual(&client, "readings_10s").await;
    model::assert_same("readings_10s after the outage", &actual, &expected);
    model::check_counters(&client, "readings", &workload).await;
    wait::until("SHOW SOURCES says that it runs", wait::PATIENCE, || async {
        let shown = rows(&client, "SHOW SOURCES").await.expect("SHOW answers");
        (shown[0][2].as_deref() == Some("running")).then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn a_broker_that_is_killed_under_load_costs_nothing() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let broker = Broker::new();
    let kafka = Kafka::at(&broker.start().await).expect("an address");
    let topic = new_topic(&kafka, "killed", seed).await;
    let mut workload = Workload::new(seed, Mix::ROUGH);
    let mut server = Server::new(&["--checkpoint-interval", "500ms"]);
    server = server.expecting("a source cannot be reached");
    server.start().await;
    let client = server.connect().await;
    // A partition whose messages are sent again after the others' is not silent: its rows are in time.
    let source = create_source(&kafka, &topic);
    let patient = source.replacen("WITH (", "WITH (source_idle_timeout = '1h', ", 1);
    assert_ne!(patient, source);
    for sql in [&patient, TUMBLING_VIEW, TOTALS_VIEW] {
        run(&client, sql).await;
    }
    for round in 0..3 {
        workload.send(&kafka, &topic, 300).await;
        // In the middle of what is being sent; the producer sends again what it got no answer for.
        let kill = async {
            broker.kill().await;
            if round == 1 {
                server.kill().await;
                server.start().await;
            }
            assert_eq!(broker.start().await, kafka.bootstrap, "the broker is where it was");
        };
        tokio::join!(workload.send(&kafka, &topic, 3_000), kill);
        until_read(&server.connect().await, workload.rows()).await;
    }
    let client = server.connect().await;
    let late = model::late(&client, "readings_10s").await;
    model::check_late(&workload, TUMBLING, &late);
    let expected = model::expected(&workload, TUMBLING, &late);
    let actual = model::actual(&client, "readings_10s").await;
    model::assert_same("readings_10s after kills of the broker", &actual, &expected);
    model::check_counters(&client, "readings", &workload).await;
    server.stop().await;
}
