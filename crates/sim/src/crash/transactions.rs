//! Messages of transactions: those of aborted ones are never rows, those of open ones not before they are
//! committed, over kills.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{model, new_topic, run};
use crate::kafka::{Kafka, Message, Transactions};
use crate::server::{Server, rows};
use crate::wait;

const TRANSACTIONS: usize = 40;

/// Messages of the next numbers, to any partitions.
fn next(random: &mut StdRng, id: &mut i64) -> Vec<Message> {
    let count = random.random_range(1..50);
    let message = |_| {
        *id += 1;
        let (partition, payload) = (random.random_range(0..4), Some(format!("{{\"id\":{id}}}")));
        Message { partition, payload, ..Message::default() }
    };
    (0..count).map(message).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn messages_of_aborted_and_open_transactions_are_never_rows() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let mut random = StdRng::seed_from_u64(seed);
    let kafka = Kafka::of_tests();
    let topic = new_topic(&kafka, "transactions", seed).await;
    let mut server = Server::new(&["--checkpoint-interval", "300ms"]);
    server.start().await;
    run(
        &server.connect().await,
        &format!(
            "CREATE SOURCE sent (id BIGINT) WITH (connector = 'kafka', topic = '{topic}', \
                 properties.bootstrap.server = '{}') FORMAT PLAIN ENCODE JSON; \
             CREATE MATERIALIZED VIEW ids AS SELECT count(*) AS n, count(DISTINCT id) AS different, \
                 coalesce(sum(id), 0)::bigint AS total FROM sent",
            kafka.bootstrap
        ),
    )
    .await;
    let producer = Transactions::new(&kafka, &topic).expect("a producer");
    let (mut id, mut count, mut total) = (0, 0, 0);
    for _ in 0..TRANSACTIONS {
        let first = id + 1;
        let messages = next(&mut random, &mut id);
        producer.begin(&topic, &messages).await.expect("the broker takes them");
        let commits = random.random_bool(0.5);
        if random.random_bool(0.3) {
            server.kill().await;
            server.start().await;
        }
        // Open: nothing of it shows, whatever has been asked for so far.
        let client = server.connect().await;
        let sql = "SELECT n, different, total FROM ids";
        let found = wait::until("the view answers", wait::PATIENCE, || async {
            rows(&client, sql).await.ok()
        });
        let n: i64 = found.await[0][0].as_deref().expect("a number").parse().expect("whole");
        assert!(n <= count, "{n} rows are shown, {count} were committed");
        producer.end(commits).expect("the transaction ends");
        if commits {
            count += id - first + 1;
            total += (first..=id).sum::<i64>();
        }
        if random.random_bool(0.4) {
            until(&client, &[count, count, total]).await;
        }
    }
    let client = server.connect().await;
    until(&client, &[count, count, total]).await;
    let read = model::numbers(&client, "SELECT count(*), sum(id)::bigint FROM sent").await;
    assert_eq!(read, [[count, total]], "the topic itself");
    // The lag of a partition is NULL until its end is known.
    let sql = "SELECT count(*), count(*) FILTER (WHERE lag = 0) FROM millrace.sources";
    wait::until("nothing is left to be read", wait::PATIENCE, || async {
        let found = model::numbers(&client, sql).await;
        (found[0][0] > 0 && found[0][0] == found[0][1]).then_some(())
    })
    .await;
    server.stop().await;
}

async fn until(client: &tokio_postgres::Client, wanted: &[i64]) {
    let sql = "SELECT n, different, total FROM ids";
    wait::until(&format!("{sql} gives {wanted:?}"), wait::PATIENCE, || async {
        let found = model::numbers(client, sql).await;
        assert!(found[0][0] <= wanted[0], "{found:?} is shown, {wanted:?} were committed");
        (found[0] == wanted).then_some(())
    })
    .await;
}
