//! Data directories that are verified, copied while they are in use, and damaged.
//!
//! What is damaged is refused with the file's name and an offset: a server does not start, a SELECT
//! fails, or a view stops with those above it. It never shows other rows than those that were there, and
//! what does not need the damaged bytes runs on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::process::Command;
use tokio_postgres::Client;

use crate::server::{Server, program, rows};
use crate::wait;

const DEFINITIONS: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT NOT NULL, name TEXT);
    CREATE MATERIALIZED VIEW sums AS SELECT id % 10 AS k, count(*) AS n, sum(v) AS total FROM t GROUP BY id % 10";
const TOTALS: &str = "SELECT count(*), sum(v), count(DISTINCT name) FROM t";
const SUMS: &str = "SELECT sum(n), sum(total), count(*) FROM sums";

async fn millrace(arguments: &[&str]) -> Output {
    let mut command = Command::new(program("millrace"));
    let run = command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let ended = tokio::time::timeout(wait::PATIENCE, run).await;
    ended.expect("it ends by itself").expect("build it first: cargo build --workspace --bins")
}

fn text(of: &[u8]) -> String {
    String::from_utf8_lossy(of).into_owned()
}

fn path(of: &Path) -> &str {
    of.to_str().expect("temporary paths are text")
}

async fn insert(client: &Client, from: i64, to: i64) {
    let insert = format!(
        "INSERT INTO t SELECT g, g * 3, 'name ' || g FROM generate_series({from}, {}) AS g",
        to - 1
    );
    client.batch_execute(&insert).await.expect("rows are inserted");
}

async fn answers(client: &Client) -> Result<Vec<Vec<Option<String>>>, tokio_postgres::Error> {
    let mut all = rows(client, TOTALS).await?;
    all.extend(rows(client, SUMS).await?);
    Ok(all)
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            fs::create_dir_all(&to).expect("a directory");
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

fn files(below: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(below).expect("a directory").map(|entry| entry.expect("an entry"));
    let all = entries.flat_map(|entry| match entry.file_type().expect("a type").is_dir() {
        true => files(&entry.path()),
        false => vec![entry.path()],
    });
    let mut all: Vec<PathBuf> = all.collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_server_is_a_data_directory_of_its_own() {
    let mut server = Server::new(&["--checkpoint-interval", "200ms"]);
    server.start().await;
    let client = server.connect().await;
    client.batch_execute(DEFINITIONS).await.unwrap();
    insert(&client, 0, 2_000).await;
    let scratch = tempfile::tempdir().unwrap();
    let to = scratch.path().join("backup");
    let address = server.address().borrow().expect("it listens").to_string();
    // Rows come while it is made, runs are written and merged.
    let busy = server.connect().await;
    let (end, mut ended) = tokio::sync::oneshot::channel();
    let writer = tokio::spawn(async move {
        let mut batch = 20;
        while batch < 40 || ended.try_recv().is_err() {
            insert(&busy, batch * 100, batch * 100 + 100).await;
            batch += 1;
        }
        batch * 100
    });
    wait::until("there are segments", wait::PATIENCE, || async {
        (files(&server.data_dir().join("segments")).len() > 1).then_some(())
    })
    .await;
    let made = millrace(&["backup", "--server", &address, path(&to)]).await;
    end.send(()).expect("the writer waits for it");
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(text(&made.stdout).contains("checkpoint"), "{}", text(&made.stdout));
    let all = writer.await.unwrap();
    let again = millrace(&["backup", "--server", &address, path(&to)]).await;
    assert!(!again.status.success(), "there is something already");

    let checked = millrace(&["check", path(&to)]).await;
    assert!(checked.status.success(), "{}", text(&checked.stdout));
    assert!(text(&checked.stdout).ends_with("sound\n"), "{}", text(&checked.stdout));
    let in_use = millrace(&["check", path(server.data_dir())]).await;
    assert!(text(&in_use.stderr).contains("in use"), "{}", text(&in_use.stderr));

    let mut restored = Server::new(&[]);
    let restore = millrace(&["restore", path(&to), path(restored.data_dir())]).await;
    assert!(restore.status.success(), "{}", text(&restore.stderr));
    restored.start().await;
    let found = answers(&restored.connect().await).await.unwrap();
    let count: i64 = found[0][0].as_deref().unwrap().parse().unwrap();
    assert!((2_000..=all).contains(&count) && count % 100 == 0, "whole statements: {count}");
    let sum = (count * (count - 1) / 2 * 3).to_string();
    let expected = [Some(count.to_string()), Some(sum)];
    assert_eq!(found[0][..2], expected);
    assert_eq!(found[1][..2], expected);
    insert(&restored.connect().await, all, all + 100).await;
    restored.stop().await;
    // What it was made of goes on.
    let found = answers(&client).await.unwrap();
    assert_eq!(found[0][0], Some(all.to_string()));
    drop(client);
    server.stop().await;
}

/// A data directory after a crash, with segments and a log, and what it answers.
async fn crashed() -> (Server, Vec<Vec<Option<String>>>) {
    let mut server = Server::new(&["--checkpoint-interval", "300ms"]);
    server.start().await;
    let client = server.connect().await;
    client.batch_execute(DEFINITIONS).await.unwrap();
    // A checkpoint comes with an epoch.
    let mut batch = 0;
    while batch < 20 || files(&server.data_dir().join("segments")).is_empty() {
        assert!(batch < 1_000, "no checkpoint came");
        insert(&client, batch * 500, batch * 500 + 500).await;
        batch += 1;
    }
    insert(&client, batch * 500, batch * 500 + 500).await;
    let expected = answers(&client).await.unwrap();
    drop(client);
    server.kill().await;
    (server, expected)
}

/// What a server answers, or says instead; it runs on in any case.
async fn asked(server: &Server) -> Result<Vec<Vec<Option<String>>>, String> {
    let client = server.connect().await;
    let error = match answers(&client).await {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    let error = error.as_db_error().expect("the server answers");
    Err(error.message().to_owned())
}

/// Changes a byte, or cuts a file off; says what was done.
fn damage(file: &Path, random: &mut StdRng) -> Option<String> {
    let mut bytes = fs::read(file).expect("a file");
    if bytes.is_empty() {
        return None;
    }
    let at = random.random_range(0..bytes.len());
    let done = match random.random_ratio(1, 4) {
        true => {
            bytes.truncate(at);
            format!("cut off at {at}")
        }
        false => {
            bytes[at] ^= 1 << random.random_range(0..8);
            format!("byte {at} changed")
        }
    };
    fs::write(file, bytes).expect("a file");
    Some(done)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_segment_is_named_with_an_offset_and_shows_no_wrong_row() {
    let seed = wait::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let (server, expected) = crashed().await;
    let segments = files(&server.data_dir().join("segments"));
    let mut refused = 0;
    for case in 0..12 {
        let mut damaged = Server::new(&[]).expecting("is damaged");
        copy(server.data_dir(), damaged.data_dir());
        let file = segments[random.random_range(0..segments.len())].clone();
        let file = damaged.data_dir().join("segments").join(file.file_name().expect("a name"));
        let name = file.file_name().expect("a name").to_str().expect("text").to_owned();
        let Some(done) = damage(&file, &mut random) else { continue };
        let what = format!("seed {seed}, case {case}: {name} {done}");
        let checked = millrace(&["check", path(damaged.data_dir())]).await;
        let said = text(&checked.stdout);
        // A segment that nothing names any more may hold anything.
        if said.contains("named by nothing") && checked.status.success() {
            continue;
        }
        assert!(!checked.status.success(), "{what}: {said}");
        let named = format!("file \"{name}\" is damaged at byte ");
        assert!(said.contains(&named), "{what}: {said}");
        match damaged.try_start().await {
            Err(error) => {
                assert!(error.to_string().contains(&named), "{what}: {error}");
                refused += 1;
            }
            Ok(()) => match asked(&damaged).await {
                Ok(found) => assert_eq!(found, expected, "{what}"),
                Err(said) => {
                    assert!(said.contains(&named), "{what}: {said}");
                    refused += 1;
                }
            },
        }
    }
    assert!(refused > 0, "seed {seed}: nothing was refused");
}

/// The metadata store itself passes over what it takes for the torn end of a write.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_metadata_store_is_refused_or_shows_all_that_was_there() {
    let seed = wait::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let (server, expected) = crashed().await;
    let all = files(server.data_dir()).into_iter();
    let all = all.filter(|file| !file.starts_with(server.data_dir().join("segments")));
    let all: Vec<PathBuf> = all.filter(|file| file.metadata().is_ok_and(|m| m.len() > 0)).collect();
    let mut refused = 0;
    for case in 0..24 {
        // The metadata store says what it finds, too.
        let mut damaged = Server::new(&[]).expecting(" ERROR ");
        copy(server.data_dir(), damaged.data_dir());
        let file = &all[random.random_range(0..all.len())];
        let name = file.strip_prefix(server.data_dir()).expect("it is in there").to_owned();
        let Some(done) = damage(&damaged.data_dir().join(&name), &mut random) else { continue };
        let what = format!("seed {seed}, case {case}: {} {done}", name.display());
        match damaged.try_start().await {
            Err(_) => refused += 1,
            Ok(()) => {
                let found = answers(&damaged.connect().await).await;
                assert_eq!(found.expect("what starts answers"), expected, "{what}");
                damaged.kill().await;
            }
        }
    }
    assert!(refused > 0, "seed {seed}: nothing was refused");
}

/// The journal ends long before its file does. What is changed there looks like a write that was cut off.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_end_is_changed_or_cut_off_is_refused() {
    let (server, expected) = crashed().await;
    let all = files(&server.data_dir().join("meta")).into_iter();
    let mut journals = all.filter(|file| file.extension().is_some_and(|of| of == "jnl"));
    let journal = journals.next_back().expect("fjall has a journal");
    let bytes = fs::read(&journal).expect("a file");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("it has records");
    let mut refused = 0;
    for (back, cut) in [(0, false), (30, true), (300, false), (3_000, true), (6_000, false)] {
        let mut damaged = Server::new(&[]).expecting(" ERROR ");
        copy(server.data_dir(), damaged.data_dir());
        let mut changed = bytes.clone();
        if cut {
            changed[end - back..].fill(0);
        } else {
            changed[end - back] ^= 4;
        }
        let name = journal.strip_prefix(server.data_dir()).expect("it is in there");
        fs::write(damaged.data_dir().join(name), changed).expect("a file");
        let what = format!("{back} bytes before the end, cut {cut}");
        match damaged.try_start().await {
            Err(error) => refused += usize::from(error.to_string().contains("the log ends with")),
            // A checkpoint that is gone costs nothing: its epochs are there.
            Ok(()) => {
                let found = answers(&damaged.connect().await).await;
                assert_eq!(found.expect("what starts answers"), expected, "{what}");
                damaged.kill().await;
            }
        }
    }
    assert!(refused > 0, "no epoch was missed");
}

/// Views of one table with state of their own, one above another, and one that has none.
const NEIGHBOURS: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT NOT NULL, name TEXT);
    CREATE MATERIALIZED VIEW sums AS SELECT id % 1000 AS k, count(*) AS n, sum(v) AS total FROM t GROUP BY id % 1000;
    CREATE MATERIALIZED VIEW above AS SELECT sum(n) AS n FROM sums;
    CREATE MATERIALIZED VIEW names AS SELECT name, count(DISTINCT v) AS n FROM t GROUP BY name;
    CREATE MATERIALIZED VIEW passed AS SELECT id, v + 1 AS w FROM t";

/// What each of the views shows, or says.
async fn each(client: &Client) -> Vec<Result<String, String>> {
    let mut all = Vec::new();
    for view in ["sums", "above", "names"] {
        let found = rows(client, &format!("SELECT sum(n)::text FROM {view}")).await;
        all.push(match found {
            Ok(found) => Ok(found[0][0].clone().unwrap_or_default()),
            Err(error) => Err(error.as_db_error().expect("an answer").message().to_owned()),
        });
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_whose_state_is_damaged_stops_with_those_above_it_and_the_others_run_on() {
    let mut server = Server::new(&["--checkpoint-interval", "200ms"]);
    server.start().await;
    let client = server.connect().await;
    client.batch_execute(NEIGHBOURS).await.unwrap();
    insert(&client, 0, 4_000).await;
    client.batch_execute("FLUSH").await.unwrap();
    drop(client);
    // A clean end writes a checkpoint: all state is in segments, nothing in the log.
    server.stop().await;
    let segments = files(&server.data_dir().join("segments"));
    let (mut stopped, mut seen) = (0, Vec::new());
    for file in &segments {
        let name = file.file_name().expect("a name").to_str().expect("text").to_owned();
        let bytes = fs::read(file).expect("a file");
        // Every block begins at a multiple of 64 from the last one: all are hit somewhere.
        for at in (200..bytes.len().saturating_sub(64)).step_by(bytes.len() / 24 + 1) {
            let mut damaged = Server::new(&[]).expecting("is damaged");
            copy(server.data_dir(), damaged.data_dir());
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            fs::write(damaged.data_dir().join("segments").join(&name), changed).expect("a file");
            let what = format!("{name}, byte {at}");
            if let Err(error) = damaged.try_start().await {
                assert!(error.to_string().contains("is damaged at byte"), "{what}: {error}");
                continue;
            }
            let client = damaged.connect().await;
            // Rows come that touch all groups; those of the table itself may not be readable.
            let insert =
                "INSERT INTO t SELECT g, g * 3, 'name ' || g FROM generate_series(4000, 4999) AS g";
            let inserted = client.batch_execute(insert).await;
            let total = if inserted.is_ok() { "5000" } else { "4000" };
            for found in each(&client).await {
                match found {
                    Ok(found) => assert_eq!(found, total, "{what}"),
                    Err(said) => {
                        let named = format!("file \"{name}\" is damaged at byte ");
                        assert!(said.contains(&named), "{what}: {said}");
                    }
                }
            }
            let found = each(&client).await;
            let fails: Vec<bool> = found.iter().map(Result::is_err).collect();
            let sql = "SELECT view FROM millrace.views WHERE error IS NOT NULL ORDER BY 1";
            let failed: Vec<String> =
                rows(&client, sql).await.unwrap().into_iter().flatten().flatten().collect();
            if failed.is_empty() {
                continue;
            }
            stopped += 1;
            assert!(fails.iter().any(|fails| !fails), "{what}: neighbours run on, {found:?}");
            if failed.contains(&"sums".to_owned()) {
                assert_eq!(failed, ["above", "sums"], "{what}");
            }
            // Over a kill, and made anew.
            damaged.kill().await;
            damaged.start().await;
            let client = damaged.connect().await;
            let again = each(&client).await;
            assert_eq!(again.iter().map(Result::is_err).collect::<Vec<_>>(), fails, "{what}");
            seen.extend(failed.clone());
            for view in failed {
                let drop = format!("DROP MATERIALIZED VIEW IF EXISTS {view} CASCADE");
                client.batch_execute(&drop).await.unwrap();
            }
            if inserted.is_ok() {
                let made = "CREATE MATERIALIZED VIEW anew AS SELECT count(*) AS n FROM t";
                client.batch_execute(made).await.unwrap();
            }
            damaged.stop().await;
        }
    }
    assert!(stopped > 0 && seen.contains(&"sums".to_owned()), "{stopped} stopped: {seen:?}");
}
