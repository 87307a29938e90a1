//! Partitions that a topic gains while a source reads it: they are found, read from their beginning and
//! counted once, over kills, and no row is late for having been in one of them.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::process::Command;
use tokio::time::sleep;
use tokio_postgres::Client;

use super::workload::{Mix, Workload};
use super::{HOPPING, HOPPING_VIEW, TOTALS_VIEW, TUMBLING, TUMBLING_VIEW};
use super::{create_source, model, new_topic, run, until_read};
use crate::kafka::{Kafka, Message};
use crate::server::Server;
use crate::wait;

/// Messages of a new partition that are deleted before the server hears of it.
const DELETED: i64 = 7;

/// One more partition; `first` messages of it have been deleted already.
async fn gain(kafka: &Kafka, topic: &str, workload: &mut Workload, first: i64) {
    let partition = workload.partitions();
    kafka.grow_topic(topic, partition + 1).await.expect("the topic grows");
    if first > 0 {
        let old = Message { partition, payload: Some("{}".to_owned()), ..Message::default() };
        let count = usize::try_from(first).expect("a few");
        kafka.send_all(topic, &vec![old; count]).await.expect("the broker takes them");
        // A client that has known the topic before does not know the partition at once.
        let client = Kafka::at(&kafka.bootstrap).expect("an address");
        client.delete_records(topic, &[(partition, first)]).await.expect("records are deleted");
    }
    workload.gain(first);
}

async fn signal(server: &Server, signal: &str) {
    let id = server.id().to_string();
    let status = Command::new("kill").args([signal, &id]).status().await.expect("kill runs");
    assert!(status.success(), "{status} of kill {signal}");
}

async fn until_found(client: &Client, workload: &Workload) {
    let sql = "SELECT count(*) FROM millrace.sources WHERE source = 'readings'";
    wait::until("the new partition is found", wait::PATIENCE, || async {
        let found = model::numbers(client, sql).await;
        (found == [[i64::from(workload.partitions())]]).then_some(())
    })
    .await;
}

async fn check(client: &Client, workload: &Workload) {
    until_read(client, workload.rows()).await;
    let late = model::late(client, "readings_10s").await;
    model::check_late(workload, TUMBLING, &late);
    let expected = model::expected(workload, TUMBLING, &late);
    let actual = model::actual(client, "readings_10s").await;
    model::assert_same("readings_10s", &actual, &expected);
    model::check_counters(client, "readings", workload).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn partitions_that_a_topic_gains_are_read_from_their_beginning_once_over_kills() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let mut moments = StdRng::seed_from_u64(seed ^ 0x6b69_6c6c);
    let kafka = Kafka::of_tests();
    let topic = new_topic(&kafka, "partitions", seed).await;
    let mut workload = Workload::new(seed, Mix::ROUGH);
    let mut server = Server::new(&["--checkpoint-interval", "500ms"]);
    server.start().await;
    let client = server.connect().await;
    for sql in [&create_source(&kafka, &topic), TUMBLING_VIEW, TOTALS_VIEW] {
        run(&client, sql).await;
    }
    workload.send(&kafka, &topic, 1_000).await;
    until_read(&client, workload.rows()).await;

    // While it runs: one that is new, and one of which retention has taken something already. It stands still
    // meanwhile, or it may hear of the partition before something is taken.
    for first in [0, DELETED] {
        signal(&server, "-STOP").await;
        gain(&kafka, &topic, &mut workload, first).await;
        signal(&server, "-CONT").await;
        until_found(&client, &workload).await;
        workload.send(&kafka, &topic, 500).await;
        until_read(&client, workload.rows()).await;
    }
    // The log names them, and a new view reads them from where they begin.
    server.kill().await;
    server.start().await;
    let client = server.connect().await;
    run(&client, HOPPING_VIEW).await;
    check(&client, &workload).await;
    let expected = model::expected(&workload, HOPPING, &[]);
    model::assert_same("history", &model::actual(&client, "readings_hop").await, &expected);

    // While it is down, with rows in all partitions; it is killed about when it finds the new one.
    for first in [0, 0, DELETED, 0] {
        server.kill().await;
        gain(&kafka, &topic, &mut workload, first).await;
        workload.send(&kafka, &topic, 1_000).await;
        server.start().await;
        sleep(Duration::from_millis(moments.random_range(0..1_500))).await;
        server.kill().await;
        server.start().await;
        check(&server.connect().await, &workload).await;
    }
    let client = server.connect().await;
    let all = model::numbers(&client, "SELECT count(*) FROM readings").await;
    assert_eq!(all, [[workload.rows()]], "the topic itself");
    server.stop().await;
}
