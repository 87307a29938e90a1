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
    let mut server = Server::new(&[]).expecting("a source cannot be reached");
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
    let address = broker.start().await;
    assert_eq!(address, kafka.bootstrap, "the broker is where it was");
    let client = server.connect().await;
    workload.send(&kafka, &topic, 1_000).await;
    until_read(&client, workload.rows()).await;
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
