//! A fault at every step by which the server writes an epoch or a checkpoint: SIGKILL in the place of the
//! n-th system call of the thread that does it, and an error of its n-th fsync. The same of the threads that merge
//! segments and write the metadata store's tables.
//!
//! strace does it to the real server, thread by thread; where it cannot, the test says so and passes over.
//! `MILLRACE_STEPS=all` runs every n instead of some. [`outward`] does it with sinks.

mod outward;

use std::path::PathBuf;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tokio::process::{Child, Command};
use tokio_postgres::Client;

use super::model::numbers;
use super::run;
use crate::server::{Server, rows};
use crate::wait;

/// By which files change.
const CALLS: &str = "openat,write,pwrite64,writev,fsync,fdatasync,ftruncate,rename,unlink,unlinkat";
const SYNCS: &str = "fsync,fdatasync";
/// Cases of a run, if not all.
const SOME: usize = 10;
/// Statements after which a step is taken not to come any more.
const STATEMENTS: i64 = 60;

/// In place of a thread's name: all of them, also those that they make.
const EVERY: &str = "";

/// What is done to a thread.
#[derive(Clone, Copy, Debug)]
struct Fault {
    /// How the thread's name begins; there may be some.
    thread: &'static str,
    calls: &'static str,
    /// As strace writes it.
    what: &'static str,
    /// The call that it is done to.
    n: usize,
}

/// Every fault: so many steps have an epoch and a checkpoint, and some.
fn faults() -> Vec<Fault> {
    let kill = |thread| move |n| Fault { thread, calls: CALLS, what: "signal=KILL", n };
    let fail = |thread| move |n| Fault { thread, calls: SYNCS, what: "error=EIO", n };
    let mut all: Vec<Fault> = (1..=10).map(kill("coordinator")).collect();
    all.extend((1..=40).map(kill("committer")));
    all.extend((1..=3).map(fail("coordinator")));
    all.extend((1..=9).map(fail("committer")));
    all
}

/// The thread that merges segments, and that of fjall which writes its tables and merges them.
const MERGES: &str = "housekeeping";
const WRITES_TABLES: &str = "fjall:worker";

/// The same of what works behind checkpoints.
fn faults_behind() -> Vec<Fault> {
    let kill = |thread| move |n| Fault { thread, calls: CALLS, what: "signal=KILL", n };
    let fail = |thread| move |n| Fault { thread, calls: SYNCS, what: "error=EIO", n };
    let mut all: Vec<Fault> = (1..=30).map(kill(MERGES)).collect();
    all.extend((1..=6).map(fail(MERGES)));
    all.extend((1..=30).map(kill(WRITES_TABLES)));
    all
}

/// Statements after which a step of a thread is taken not to come any more.
fn statements(fault: Fault) -> i64 {
    match fault.thread {
        // Segments are merged when there are some of a table.
        MERGES => 400,
        _ => STATEMENTS,
    }
}

/// Half a megabyte for the metadata store, which writes a table of four.
async fn comment(client: &Client, id: i64) {
    let text = format!("{id} {}", "x".repeat(500_000));
    // The server may have gone: the next statement tells.
    drop(client.batch_execute(&format!("COMMENT ON TABLE t IS '{text}'")).await);
}

/// The directories of the threads of the running server whose names begin so.
fn threads(server: &Server, name: &str) -> Vec<PathBuf> {
    let tasks = format!("/proc/{}/task", server.id());
    let tasks = std::fs::read_dir(tasks).expect("it runs").map(|task| task.expect("a task").path());
    let is_one = |task: &PathBuf| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|found| found.starts_with(name))
    };
    let found: Vec<PathBuf> = tasks.filter(is_one).collect();
    assert!(!found.is_empty(), "the server has a thread {name}");
    found
}

/// Has strace wait for the step; None where it cannot.
async fn attach(server: &Server, fault: Fault) -> Option<Child> {
    let tasks = threads(server, fault.thread);
    let Fault { calls, what, n, .. } = fault;
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    command.args(["-e", &format!("inject={calls}:{what}:when={n}")]).kill_on_drop(true);
    match fault.thread {
        EVERY => drop(command.args(["-f", "-p", &server.id().to_string()])),
        _ => tasks.iter().filter_map(|task| task.file_name()).for_each(|id| {
            command.arg("-p").arg(id);
        }),
    }
    let mut child = command.spawn().ok()?;
    wait::until("strace is there", wait::PATIENCE, || {
        let ended = child.try_wait().expect("it can be asked").is_some();
        // Of a thread that is gone the step may have come at once.
        let traced = tasks.iter().all(|task| {
            let status = std::fs::read_to_string(task.join("status")).unwrap_or_default();
            !task.exists()
                || status.lines().any(|l| l.starts_with("TracerPid:") && !l.ends_with("\t0"))
        });
        async move { (ended || traced).then_some(traced) }
    })
    .await
    .then_some(child)
}

const MADE: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT);
    CREATE MATERIALIZED VIEW sums WITH (retain_history = '1h') AS
        SELECT id % 3 AS k, count(*) AS n, sum(v) AS total FROM t GROUP BY id % 3;
    CREATE SOURCE bids (auction BIGINT, half BIGINT AS 10 / (auction % 2))
        WITH (connector = 'nexmark', nexmark.table.type = 'Bid', nexmark.event.num = 3000,
              nexmark.events.per.second = 1500);
    SET background_ddl = true;
    CREATE MATERIALIZED VIEW good AS SELECT count(*) AS n FROM bids";
/// Of the 3,000 events.
const BIDS: i64 = 2_760;

async fn insert(client: &Client, id: i64) -> bool {
    client.batch_execute(&format!("INSERT INTO t VALUES ({id}, {id} * 7)")).await.is_ok()
}

/// Everything that was acknowledged is there, once.
async fn check(server: &Server, fault: Fault, taken: i64) {
    let client = server.connect().await;
    let sql = "SELECT (SELECT count(*) FROM t), (SELECT sum(v)::bigint FROM t), sum(n)::bigint, \
               sum(total)::bigint FROM sums";
    wait::until("the views answer", wait::PATIENCE, || async { rows(&client, sql).await.ok() })
        .await;
    let found = numbers(&client, sql).await.swap_remove(0);
    let n = found[0];
    // The statement that got no answer may have happened.
    assert!(n == taken || n == taken + 1, "{fault:?}: {n} rows, {taken} were acknowledged");
    assert_eq!(found, [n, n * (n + 1) / 2 * 7, n, n * (n + 1) / 2 * 7], "{fault:?}");
    let sql = "SELECT coalesce(sum(rows), 0)::bigint, coalesce(sum(malformed), 0)::bigint, \
               (SELECT count(*) FROM millrace.source_errors), \
               (SELECT count(DISTINCT (partition, \"offset\")) FROM millrace.source_errors), \
               (SELECT coalesce(max(n), 0) FROM good) FROM millrace.sources";
    wait::until("all bids are read and listed once", wait::PATIENCE, || async {
        let client = server.connect().await;
        let found = rows(&client, sql).await.ok()?;
        let number = |at: usize| found[0][at].as_deref()?.parse::<i64>().ok();
        let (read, bad, listed) = (number(0)?, number(1)?, number(2)?);
        assert!(read + bad <= BIDS && Some(listed) == number(3), "{fault:?}: {found:?}");
        (read + bad == BIDS && listed == bad && number(4)? == read).then_some(())
    })
    .await;
    assert!(insert(&client, n + 1).await, "{fault:?}: it goes on");
}

/// False if nothing can be traced here.
async fn case(fault: Fault, reached: &mut usize) -> bool {
    let mut server = Server::new(&["--checkpoint-interval", "150ms"])
        .expecting("the server cannot go on")
        .expecting("Input/output error");
    server.start().await;
    let client = server.connect().await;
    run(&client, MADE).await;
    assert!(insert(&client, 1).await);
    let Some(strace) = attach(&server, fault).await else { return false };
    let (mut taken, most) = (1, statements(fault));
    while taken < most && insert(&client, taken + 1).await {
        taken += 1;
        if fault.thread == WRITES_TABLES {
            comment(&client, taken).await;
        }
    }
    if taken < most {
        *reached += 1;
        server.ended().await;
    } else {
        // So many steps there were not; or it has stopped meanwhile.
        server.end().await;
    }
    drop(strace);
    server.start().await;
    check(&server, fault, taken).await;
    server.stop().await;
    true
}

/// Runs a case of each fault, or of some; a case is false if nothing can be traced here.
async fn each(mut faults: Vec<Fault>, case: impl AsyncFn(Fault, &mut usize) -> bool) {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    if std::env::var("MILLRACE_STEPS").as_deref() != Ok("all") {
        faults.shuffle(&mut StdRng::seed_from_u64(seed));
        faults.truncate(SOME);
    }
    let (mut reached, count) = (0, faults.len());
    for fault in faults {
        println!("{fault:?}");
        if !case(fault, &mut reached).await {
            eprintln!("passed over, strace cannot trace the server");
            return;
        }
    }
    println!("{reached} of {count} faults came");
    assert!(reached > count / 2, "{reached} of {count} faults came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_at_any_step_of_an_epoch_or_a_checkpoint_costs_nothing() {
    each(faults(), case).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_at_any_step_of_what_works_behind_checkpoints_costs_nothing() {
    each(faults_behind(), case).await;
}
