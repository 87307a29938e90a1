//! Every example runs.

use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::pages::{Block, blocks, directory, pages};
use crate::kafka::Kafka;
use crate::server::{Server, program};
use crate::wait;

/// What the shell shows between two blocks.
const MARK: &str = "=== block";
/// The broker and the topics of examples.
const BROKER: &str = "127.0.0.1:9092";

/// What is wrong with a page; None if nothing of it can run here.
async fn check(page: &Path, kafka: Option<&Kafka>) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(page).unwrap();
    let all = blocks(&text);
    let wants_kafka = all.iter().any(|block| block.kind == "sql,kafka");
    let runs =
        |block: &Block| block.kind == "sql" || (kafka.is_some() && block.kind == "sql,kafka");
    if (kafka.is_some() && !wants_kafka) || !all.iter().any(runs) {
        return None;
    }
    let mut script = String::new();
    for (at, block) in all.iter().enumerate().filter(|(_, block)| runs(block)) {
        script.push_str(&format!("\\echo {MARK} {at}\n{}", block.text));
        if !block.text.trim_end().ends_with([';', '.']) {
            script.push_str(";\n");
        }
    }
    if let Some(kafka) = kafka {
        script = at_broker(&script, kafka).await;
    }
    let shown = run(&script).await;
    let mut wrong = Vec::new();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (at, block) in all.iter().enumerate().rev().filter(|(_, block)| runs(block)) {
        let result = of_block(&shown, at);
        let place = format!("{}:{}", page.display(), block.lines.start + 1);
        let expected = all.get(at + 1).filter(|next| next.kind == "output");
        let said = expected.is_some_and(|next| next.text.contains("ERROR:"));
        if result.lines().any(|line| line.starts_with("ERROR:")) && !said {
            wrong.push(format!("{place}: {result}"));
        }
        let Some(expected) = expected else { continue };
        if expected.text.trim_end() != result.trim_end() {
            wrong.push(format!("{place} shows\n{result}--- but the page has\n{}", expected.text));
            let result = result.trim_end().lines().map(str::to_owned);
            lines.splice(expected.lines.clone(), result);
        }
    }
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(page, lines.join("\n") + "\n").unwrap();
    }
    Some(wrong)
}

/// A script over a broker and topics that are there and its own.
async fn at_broker(script: &str, kafka: &Kafka) -> String {
    let mut script = script.replace(BROKER, &kafka.bootstrap);
    let suffix = wait::now_micros();
    let mut topics: Vec<String> = script
        .split("topic = '")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('\'')?.0.to_owned()))
        .collect();
    topics.sort();
    topics.dedup();
    for topic in topics {
        let own = format!("{topic}-{suffix}");
        kafka.create_topic(&own, 1).await.unwrap();
        script = script.replace(&format!("topic = '{topic}'"), &format!("topic = '{own}'"));
    }
    script
}

/// What the shell shows of a script, errors among the results.
async fn run(script: &str) -> String {
    let mut server = Server::new(&["--workers", "1"]).expecting("");
    server.start().await;
    let address = (*server.address().borrow()).unwrap().to_string();
    let mut child = Command::new("sh")
        .args(["-c", "exec \"$0\" sql --keep-going --server \"$1\" 2>&1"])
        .arg(program("millrace"))
        .arg(address)
        .env("HOME", server.data_dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let script = script.to_owned();
    let feeding = tokio::spawn(async move { drop(stdin.write_all(script.as_bytes()).await) });
    let output = tokio::time::timeout(wait::PATIENCE, child.wait_with_output()).await;
    feeding.await.unwrap();
    server.stop().await;
    String::from_utf8(output.expect("the page ends").unwrap().stdout).unwrap()
}

fn of_block(shown: &str, at: usize) -> String {
    let begin = format!("{MARK} {at}\n");
    let rest = shown.split_once(&begin).map_or("", |(_, rest)| rest);
    let part = rest.split(MARK).next().unwrap_or_default();
    part.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

async fn all_run(kafka: Option<&Kafka>) {
    let (mut wrong, mut count) = (Vec::new(), 0);
    // The README's first session wants a broker with readings.
    for page in pages().into_iter().filter(|page| page.starts_with(directory())) {
        if let Some(found) = check(&page, kafka).await {
            wrong.extend(found);
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{} examples:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 0, "no page of {} has an example", directory().display());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_runs_and_shows_what_its_page_says() {
    all_run(None).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn every_example_over_kafka_runs() {
    all_run(Some(&Kafka::of_tests())).await;
}
