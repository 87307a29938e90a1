//! A server that was away while its topic grew: it catches up within its memory, over kills, and what is
//! late is what would have been late.

use super::workload::{Mix, Workload};
use super::{HOPPING, HOPPING_VIEW, TOTALS_VIEW, TUMBLING, TUMBLING_VIEW};
use super::{create_source, model, new_topic, run, until_read};
use crate::kafka::Kafka;
use crate::server::Server;
use crate::wait;

/// Messages that gather while it is down: more than an hour of event time.
const BACKLOG: usize = 200_000;
/// What the server may use, bytes.
const LIMIT: (&str, u64) = ("256MB", 256 << 20);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn a_backlog_of_more_than_an_hour_is_caught_up_with_within_memory_and_with_the_same_late_rows()
 {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let kafka = Kafka::of_tests();
    let topic = new_topic(&kafka, "lag", seed).await;
    let mut workload = Workload::new(seed, Mix::ROUGH);
    let mut server = Server::new(&["--memory-limit", LIMIT.0, "--checkpoint-interval", "500ms"]);
    server.start().await;
    let client = server.connect().await;
    for sql in [&create_source(&kafka, &topic), TUMBLING_VIEW, HOPPING_VIEW, TOTALS_VIEW] {
        run(&client, sql).await;
    }
    workload.send(&kafka, &topic, 2_000).await;
    until_read(&client, workload.rows()).await;
    let before = workload.rows();
    server.kill().await;
    workload.send(&kafka, &topic, BACKLOG).await;
    server.start().await;
    // Killed twice on the way.
    let mut peak = 0;
    for part in 1..=2 {
        let wanted = before + (workload.rows() - before) * part / 3;
        wait::until("a part of it has been read", wait::PATIENCE, || async {
            let client = server.connect().await;
            let found = crate::server::rows(&client, "SELECT n FROM totals").await.ok()?;
            (found.first()?.first()?.as_deref()?.parse::<i64>().ok()? >= wanted).then_some(())
        })
        .await;
        peak = server.peak_bytes().max(peak);
        server.kill().await;
        server.start().await;
    }
    let client = server.connect().await;
    until_read(&client, workload.rows()).await;
    for (view, windows) in [("readings_10s", TUMBLING), ("readings_hop", HOPPING)] {
        let late = model::late(&client, view).await;
        model::check_late(&workload, windows, &late);
        assert!(!late.is_empty(), "a test without late rows shows nothing of them");
        let expected = model::expected(&workload, windows, &late);
        model::assert_same(view, &model::actual(&client, view).await, &expected);
    }
    model::check_counters(&client, "readings", &workload).await;
    peak = server.peak_bytes().max(peak);
    println!("{} MB at most", peak >> 20);
    assert!(peak < LIMIT.1 + LIMIT.1 / 5, "{} MB of memory", peak >> 20);
    server.stop().await;
}
