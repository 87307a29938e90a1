//! Faults at the steps by which changes go outward: sinks of a view whose groups are away from memory.
//!
//! Each change arrives once: Debezium's changes say what was there before, so that one which is missing or
//! comes twice does not fit the next.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::super::sinks::{fold, to, until_sent};
use super::super::{new_topic, run};
use super::{CALLS, EVERY, Fault, STATEMENTS, attach, each};
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

/// Every fault while sinks are made and send the rows that are there.
fn faults_of_creation() -> Vec<Fault> {
    let kill = |thread, calls| move |n| Fault { thread, calls, what: "signal=KILL", n };
    // Each of a sink's threads counts for itself: handshakes, the transaction's begin, rows, its end.
    let mut all: Vec<Fault> = (1..=10).map(kill(EVERY, "sendmsg")).collect();
    all.extend((1..=6).map(kill("committer", CALLS)));
    all
}

/// What the sinks follow.
fn made() -> String {
    format!(
        "CREATE TABLE accounts (id BIGINT PRIMARY KEY, owner TEXT NOT NULL, balance BIGINT NOT NULL);
         INSERT INTO accounts SELECT g, 'o' || g % {GROUPS}, g FROM generate_series(1, {ACCOUNTS}) AS g;
         CREATE MATERIALIZED VIEW sums AS SELECT owner, sum(balance)::bigint AS total, count(*) AS n
             FROM accounts GROUP BY owner"
    )
}

fn sinks(broker: &str, topics: [&str; 2]) -> [String; 2] {
    [("changes", topics[0], "DEBEZIUM"), ("latest", topics[1], "UPSERT")].map(
        |(name, topic, format)| {
            format!("CREATE SINK IF NOT EXISTS {name} FROM sums {}", to(broker, topic, format))
        },
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

/// What the topics say that the view holds is what it holds.
async fn check_topics(client: &Client, fault: Fault, kafka: &Kafka, topics: [&str; 2]) {
    let view = rows(client, "SELECT owner, total FROM sums").await.expect("an answer");
    let view: BTreeMap<_, _> =
        view.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(fold(&kafka.committed(topics[0]).await), view, "{fault:?}");
    assert_eq!(latest(&kafka.committed(topics[1]).await), view, "{fault:?}");
}

/// A fault while the sinks are made, or send the rows that are there. False if nothing can be traced here.
async fn case_of_creation(fault: Fault, kafka: &Kafka, reached: &mut usize) -> bool {
    let changes = new_topic(kafka, "steps-first-changes", 0).await;
    let upserts = new_topic(kafka, "steps-first-latest", 0).await;
    let options = ["--checkpoint-interval", "150ms"];
    let mut server = Server::new(&options).expecting("a sink cannot go on");
    server.start().await;
    let client = server.connect().await;
    run(&client, &made()).await;
    let Some(strace) = attach(&server, fault).await else { return false };
    let mut goes_on = true;
    for sink in sinks(&kafka.bootstrap, [&changes, &upserts]) {
        goes_on = goes_on && client.batch_execute(&sink).await.is_ok();
    }
    let sql = "SELECT sink FROM millrace.sinks WHERE status = 'running' AND lag_epochs = 0";
    if goes_on {
        goes_on = wait::until("the rows are sent, or it ends", wait::PATIENCE, || async {
            match rows(&client, sql).await {
                Ok(sent) => (sent.len() == 2).then_some(true),
                Err(_) => Some(false),
            }
        })
        .await;
    }
    match goes_on {
        true => server.end().await,
        false => {
            *reached += 1;
            server.ended().await;
        }
    }
    drop(strace);
    server.start().await;
    let client = server.connect().await;
    // One that had not been made, or whose maker was not told, is made now.
    for sink in sinks(&kafka.bootstrap, [&changes, &upserts]) {
        run(&client, &sink).await;
    }
    wait::until("the view answers", wait::PATIENCE, || async {
        rows(&client, "SELECT owner FROM sums").await.ok()
    })
    .await;
    let next = ACCOUNTS + 1;
    run(&client, &format!("INSERT INTO accounts VALUES ({next}, 'o1', {next})")).await;
    until_sent(&client, 2).await;
    check_topics(&client, fault, kafka, [&changes, &upserts]).await;
    server.stop().await;
    true
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
    run(&client, &made()).await;
    for sink in sinks(&kafka.bootstrap, [&changes, &upserts]) {
        run(&client, &sink).await;
    }
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
    check_topics(&client, fault, kafka, [&changes, &upserts]).await;
    server.stop().await;
    true
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn a_fault_at_any_step_outward_sends_each_change_once() {
    let kafka = Kafka::of_tests();
    each(faults(), async |fault, reached: &mut usize| case(fault, &kafka, reached).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn a_fault_while_a_sink_is_made_sends_each_row_that_was_there_once() {
    let kafka = Kafka::of_tests();
    let case = async |fault, reached: &mut usize| case_of_creation(fault, &kafka, reached).await;
    each(faults_of_creation(), case).await;
}
