//! Views over one source agree with each other at every moment, and the number of workers does not
//! show.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::model;
use super::workload::{Mix, Workload};
use super::{HOPPING, HOPPING_VIEW, TOTALS_VIEW, TUMBLING, TUMBLING_VIEW};
use super::{create_source, new_topic, run, until_read};
use crate::kafka::Kafka;
use crate::server::Server;
use crate::wait;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn views_over_one_source_agree_in_every_select_under_load() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let kafka = Arc::new(Kafka::of_tests());
    let topic = new_topic(&kafka, "agree", seed).await;
    let mut server = Server::new(&["--workers", "2"]);
    server.start().await;
    let client = server.connect().await;
    run(&client, &create_source(&kafka, &topic)).await;
    run(&client, TOTALS_VIEW).await;

    let stop = Arc::new(AtomicBool::new(false));
    let (broker, until) = (Arc::clone(&kafka), Arc::clone(&stop));
    let producer = tokio::spawn(async move {
        let mut workload = Workload::new(seed, Mix::CLEAN);
        while !until.load(Ordering::SeqCst) {
            workload.send(&broker, &topic, 500).await;
        }
        workload
    });
    // A view that is made while rows come in reads its history first, and agrees from then on.
    wait::until("rows come in", wait::PATIENCE, || async {
        (model::numbers(&client, "SELECT n FROM totals").await[0][0] > 2_000).then_some(())
    })
    .await;
    run(&client, TUMBLING_VIEW).await;
    let sql = "SELECT (SELECT n FROM totals), (SELECT total FROM totals)::bigint, \
                      (SELECT sum(n) FROM readings_10s)::bigint, \
                      (SELECT sum(total) FROM readings_10s)::bigint";
    let (mut moments, mut last) = (0, 0);
    while moments < 200 {
        let [n, total, windowed_n, windowed_total] = model::numbers(&client, sql).await[0][..]
        else {
            panic!("four columns")
        };
        assert_eq!((n, total), (windowed_n, windowed_total), "the views agree");
        moments += i32::from(n > last);
        last = n;
    }
    stop.store(true, Ordering::SeqCst);
    let workload = producer.await.expect("the producer ends");
    until_read(&client, workload.rows()).await;
    let late = model::late(&client, "readings_10s").await;
    assert_eq!(late, [], "a clean workload has no late rows");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn one_worker_and_four_give_the_same_content() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let kafka = Kafka::of_tests();
    let topic = new_topic(&kafka, "twins", seed).await;
    let mut workload = Workload::new(seed, Mix::CLEAN);
    let mut servers = [Server::new(&["--workers", "1"]), Server::new(&["--workers", "4"])];
    for server in &mut servers {
        server.start().await;
        let client = server.connect().await;
        run(&client, &create_source(&kafka, &topic)).await;
        run(&client, TUMBLING_VIEW).await;
        run(&client, TOTALS_VIEW).await;
    }
    // Half live, half from history.
    workload.send(&kafka, &topic, 5_000).await;
    for server in &mut servers {
        let client = server.connect().await;
        until_read(&client, workload.rows()).await;
        run(&client, HOPPING_VIEW).await;
    }
    workload.send(&kafka, &topic, 5_000).await;
    for server in &mut servers {
        let client = server.connect().await;
        until_read(&client, workload.rows()).await;
        for (view, windows) in [("readings_10s", TUMBLING), ("readings_hop", HOPPING)] {
            let expected = model::expected(&workload, windows, &[]);
            model::assert_same(view, &model::actual(&client, view).await, &expected);
        }
        server.stop().await;
    }
}
