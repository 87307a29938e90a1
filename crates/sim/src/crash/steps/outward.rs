//! Faults at the steps by which changes go outward: sinks of a view whose groups are away from memory.
//!
//! Each change arrives once: Debezium's changes say what was there before, so that one which is missing or
//! comes twice does not fit the next.

use std::collections::BTreeMap;

use super::super::sinks::{fold, to, until_sent};
use super::super::{new_topic, run};
use super::{CALLS, Fault, STATEMENTS, attach, each};
use crate::kafka::{Kafka, Message};
use crate::server::{Server, rows};
use crate::wait;

/// Below what the process itself needs: what is stored leaves memory at once.
const LIMIT: &str = "64MB";
/// Groups of the view, each of some accounts.
const GROUPS: i64 = 500;
/// Accounts before the fault.
const ACCOUNTS: i64 = 4_000;

/// Every fault: SIGKILL in the place of the n-th message to the broker too.
fn faults() -> Vec<Fault> {
    let kill = |thread, calls| move |n| Fault { thread, calls, what: "signal=KILL", n };
    let mut all: Vec<Fault> = (1..=30).map(kill("rdk:broker", "sendmsg")).collect();
    all.extend((1..=10).map(kill("coordinator", CALLS)));
    all.extend((1..=40).map(kill("committer", CALLS)));
    all
}

fn made(broker: &str, topics: [&str; 2]) -> String {
    format!(
        "CREATE TABLE accounts (id BIGINT PRIMARY KEY, owner TEXT NOT NULL, balance BIGINT NOT NULL);
         INSERT INTO accounts SELECT g, 'o' || g % {GROUPS}, g FROM generate_series(1, {ACCOUNTS}) AS g;
         CREATE MATERIALIZED VIEW sums AS SELECT owner, sum(balance)::bigint AS total, count(*) AS n
             FROM accounts GROUP BY owner;
         CREATE SINK changes FROM sums {};
         CREATE SINK latest FROM sums {}",
        to(broker, topics[0], "DEBEZIUM"),
        to(broker, topics[1], "UPSERT"),
    )
}

/// The newest row of each key. Totals only grow, so a change that comes twice, or late, is seen.
fn latest(messages: &[Message]) -> BTreeMap<Option<String>, Option<String>> {
    let mut found = BTreeMap::new();
    for message in messages {
        let row = message.payload.as_deref().expect("no group goes");
        let row: serde_json::Value = serde_json::from_str(row).expect("JSON");
        let owner = row["owner"].as_str().map(str::to_owned);
        let total = row["total"].as_i64().expect("a number");
        let before = found.insert(owner, total);
        assert!(before.is_none_or(|before| before < total), "{before:?} before {row}");
    }
    found.into_iter().map(|(owner, total)| (owner, Some(total.to_string()))).collect()
}

/// False if nothing can be traced here.
async fn case(fault: Fault, kafka: &Kafka, reached: &mut usize) -> bool {
    let changes = new_topic(kafka, "steps-changes", 0).await;
    let upserts = new_topic(kafka, "steps-latest", 0).await;
    let options = ["--checkpoint-interval", "150ms", "--memory-limit", LIMIT];
    let mut server = Server::new(&options)
        .expecting("memory is above its limit")
        .expecting("a sink cannot go on");
    server.start().await;
    let client = server.connect().await;
    run(&client, &made(&kafka.bootstrap, [&changes, &upserts])).await;
    until_sent(&client, 2).await;
    let Some(strace) = attach(&server, fault).await else { return false };
    let (mut taken, last) = (ACCOUNTS, ACCOUNTS + STATEMENTS);
    let insert =
        |id: i64| format!("INSERT INTO accounts VALUES ({id}, 'o{}', {id})", id * 7 % GROUPS);
    while taken < last && client.batch_execute(&insert(taken + 1)).await.is_ok() {
        taken += 1;
    }
    match taken < last {
        true => {
            *reached += 1;
            server.ended().await;
        }
        false => server.end().await,
    }
    drop(strace);
    server.start().await;
    let client = server.connect().await;
    let sql = "SELECT owner, total, n FROM sums";
    wait::until("the view answers", wait::PATIENCE, || async { rows(&client, sql).await.ok() })
        .await;
    run(&client, &insert(last + 1)).await;
    until_sent(&client, 2).await;
    let view = rows(&client, sql).await.expect("an answer");
    let count = view.iter().filter_map(|row| row[2].as_deref()?.parse::<i64>().ok()).sum::<i64>();
    // The statement that got no answer may have happened.
    assert!(count == taken + 1 || count == taken + 2, "{fault:?}: {count}, {taken} acknowledged");
    let query = "SELECT owner, sum(balance)::bigint, count(*) FROM accounts GROUP BY owner";
    let differ = format!("({sql} EXCEPT ALL {query}) UNION ALL ({query} EXCEPT ALL {sql})");
    let differ = rows(&client, &differ).await.expect("an answer");
    assert!(differ.is_empty(), "{fault:?}: the view is not its query: {differ:?}");
    let view: BTreeMap<_, _> =
        view.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(fold(&kafka.committed(&changes).await), view, "{fault:?}");
    assert_eq!(latest(&kafka.committed(&upserts).await), view, "{fault:?}");
    server.stop().await;
    true
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn a_fault_at_any_step_outward_sends_each_change_once() {
    let kafka = Kafka::of_tests();
    each(faults(), async |fault, reached: &mut usize| case(fault, &kafka, reached).await).await;
}
