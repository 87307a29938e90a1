//! Jobs: views that are being filled, from outside. How far they are, and how they end.
//!
//! The view is one that takes a while to fill: many generated events.

use std::sync::{Arc, Mutex};

use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::server::{self, Server};
use crate::wait;

/// More than any machine reads while a test looks.
const ENDLESS: u64 = 4_000_000_000;

async fn server() -> Server {
    let mut server = Server::new(&["--workers", "2"]);
    server.start().await;
    create_bids(&server.connect().await, "bids", ENDLESS).await;
    server
}

async fn create_bids(client: &Client, name: &str, events: u64) {
    let sql = format!(
        "CREATE SOURCE {name} WITH (connector = 'nexmark', nexmark.table.type = 'Bid', \
             nexmark.event.num = '{events}')"
    );
    client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

fn config(server: &Server) -> tokio_postgres::Config {
    let address = (*server.address().borrow()).expect("it listens");
    let mut config = tokio_postgres::Config::new();
    config.host(address.ip().to_string()).port(address.port()).user("root").dbname("dev");
    config
}

/// A session, and what it is told beside its answers.
async fn listening(server: &Server) -> (Client, Arc<Mutex<Vec<String>>>) {
    let (client, mut connection) = config(server).connect(NoTls).await.expect("the server answers");
    let notices: Arc<Mutex<Vec<String>>> = Arc::default();
    let into = Arc::clone(&notices);
    tokio::spawn(async move {
        let mut next = std::pin::pin!(std::future::poll_fn(move |cx| connection.poll_message(cx)));
        while let Some(Ok(message)) = next.as_mut().await {
            if let AsyncMessage::Notice(notice) = message {
                let said = format!("{} {}", notice.severity(), notice.message());
                into.lock().expect("nobody panics").push(said);
            }
        }
    });
    (client, notices)
}

/// A view that many events go into and few rows come out of.
fn counts(name: &str) -> String {
    format!(
        "CREATE MATERIALIZED VIEW {name} AS SELECT bidder % 10 AS b, count(*) AS n FROM bids GROUP BY 1"
    )
}

/// The jobs: number, view, status, rows read, rows to read, per cent.
async fn jobs(client: &Client) -> Vec<(i64, String, String, i64, i64, i64)> {
    let sql = "SELECT job, view, status, rows_read, coalesce(rows_to_read, 0), \
        coalesce(percent, -1) FROM millrace.jobs";
    let rows = client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let job = |row: &tokio_postgres::Row| {
        (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4), row.get(5))
    };
    rows.iter().map(job).collect()
}

/// Waits until a job has read something; its number.
async fn until_running(client: &Client) -> i64 {
    wait::until("a job reads", wait::PATIENCE, || async {
        let found = jobs(client).await;
        let running = found.into_iter().find(|job| job.2 == "running" && job.3 > 0)?;
        assert!(running.3 < running.4, "{running:?} has more to read");
        assert!(running.5 < 100, "{running:?} is not done");
        Some(running.0)
    })
    .await
}

async fn until_none(client: &Client) {
    wait::until("no job is left", wait::PATIENCE, || async {
        jobs(client).await.is_empty().then_some(())
    })
    .await;
}

fn code<T: std::fmt::Debug>(result: Result<T, tokio_postgres::Error>) -> String {
    result.expect_err("it fails").code().expect("an answer").code().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_fails_its_statement_and_leaves_nothing() {
    let mut server = server().await;
    let (one, other) = (server.connect().await, server.connect().await);
    assert_eq!(code(other.batch_execute("CANCEL JOB 77").await), "42704");
    assert_eq!(code(other.batch_execute("CANCEL JOB next").await), "22023");
    let sql = counts("slow");
    let (created, ()) = tokio::join!(one.batch_execute(&sql), async {
        let job = until_running(&other).await;
        // Its name is taken, but it is not there to be read.
        assert_eq!(code(other.batch_execute("CREATE VIEW slow AS SELECT 1 AS x").await), "42P07");
        assert_eq!(code(other.batch_execute("SELECT * FROM slow").await), "42P01");
        other.batch_execute(&format!("CANCEL JOB {job}")).await.expect("the job is there");
    });
    assert_eq!(code(created), "57014");
    until_none(&other).await;
    assert_eq!(code(one.batch_execute("SELECT * FROM slow").await), "42P01");
    one.batch_execute("CREATE VIEW slow AS SELECT 1 AS x").await.expect("the name is free");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_cancelled_or_whose_client_goes_takes_its_view_along() {
    let mut server = server().await;
    let (one, other) = (server.connect().await, server.connect().await);
    let cancel = one.cancel_token();
    let sql = counts("slow");
    let (created, ()) = tokio::join!(one.batch_execute(&sql), async {
        until_running(&other).await;
        cancel.cancel_query(NoTls).await.expect("the server takes it");
    });
    assert_eq!(code(created), "57014");
    until_none(&other).await;
    let (client, connection) = config(&server).connect(NoTls).await.expect("the server answers");
    let connection = tokio::spawn(connection);
    let created = tokio::spawn(async move { client.batch_execute(&counts("slow")).await });
    until_running(&other).await;
    // The socket closes, as when the client's process ends.
    connection.abort();
    until_none(&other).await;
    created.await.expect("the task ends").expect_err("the connection is gone");
    assert_eq!(code(other.batch_execute("SELECT * FROM slow").await), "42P01");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_long_says_how_far_it_is() {
    let mut server = server().await;
    let (client, notices) = listening(&server).await;
    let cancel = client.cancel_token();
    let created = tokio::spawn(async move { client.batch_execute(&counts("slow")).await });
    let said = wait::until("a notice comes", wait::PATIENCE, || async {
        notices.lock().expect("nobody panics").first().cloned()
    })
    .await;
    assert!(said.starts_with("NOTICE \"slow\" is filled to 0%: "), "{said}");
    let jobs = server::rows(&server.connect().await, "SHOW JOBS").await.expect("it is answered");
    assert_eq!(jobs[0][1..4], ["slow", "running", "0%"].map(|text| Some(text.to_owned())));
    cancel.cancel_query(NoTls).await.expect("the server takes it");
    assert_eq!(code(created.await.expect("the task ends")), "57014");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_exists_for_if_exists_and_is_dropped() {
    let mut server = server().await;
    let ((one, told), other) = (listening(&server).await, server.connect().await);
    let sql = counts("slow");
    let again = sql.replace("VIEW slow", "VIEW IF NOT EXISTS slow");
    let client = server.connect().await;
    let filled = other.batch_execute(&sql);
    let dropped = async |first: i64| {
        assert_eq!(code(client.batch_execute("DROP INDEX slow").await), "42809");
        client.batch_execute("DROP MATERIALIZED VIEW slow").await.expect("it is a job");
        // Who waited for the first one, or comes now, fills the view then.
        wait::until("another job begins", wait::PATIENCE, || async {
            jobs(&client).await.iter().any(|job| job.0 > first).then_some(())
        })
        .await;
        client.batch_execute("DROP MATERIALIZED VIEW slow").await.expect("it is a job, too");
    };
    let (filled, (waited, ())) = tokio::join!(filled, async {
        let first = until_running(&client).await;
        tokio::join!(one.batch_execute(&again), dropped(first))
    });
    assert_eq!((code(filled), code(waited)), ("57014".to_owned(), "57014".to_owned()));
    one.batch_execute("SET background_ddl = true").await.expect("a setting");
    one.batch_execute(&again).await.expect("the name is free");
    one.batch_execute(&again).await.expect("it is being filled");
    let said = told.lock().expect("nobody panics").last().cloned().unwrap_or_default();
    assert!(said.starts_with("NOTICE relation \"slow\" is being filled (job "), "{said}");
    one.batch_execute("DROP MATERIALIZED VIEW IF EXISTS slow").await.expect("it is a job");
    until_none(&one).await;
    assert_eq!(code(one.batch_execute("DROP MATERIALIZED VIEW slow").await), "42P01");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_list_with_a_job_all_is_dropped_or_nothing() {
    let mut server = server().await;
    let client = server.connect().await;
    let run = async |sql: &str| client.batch_execute(sql).await;
    run("CREATE TABLE t (x INT); CREATE MATERIALIZED VIEW few AS SELECT x FROM t")
        .await
        .expect("few rows");
    run("CREATE MATERIALIZED VIEW above AS SELECT x + 1 AS y FROM few").await.expect("few rows");
    run("SET background_ddl = true").await.expect("a setting");
    run(&counts("slow")).await.expect("it is a job");
    let job = until_running(&client).await;
    let both = "DROP MATERIALIZED VIEW slow, few";
    // A view that stays needs one of them; one of them is not there.
    assert_eq!(code(run(both).await), "2BP01");
    assert_eq!(code(run("DROP MATERIALIZED VIEW slow, few, nobody").await), "42P01");
    assert_eq!(until_running(&client).await, job, "the job goes on");
    run("SELECT * FROM few").await.expect("it is there");
    run(&format!("{both} CASCADE")).await.expect("all go");
    until_none(&client).await;
    for gone in ["slow", "few", "above"] {
        assert_eq!(code(run(&format!("SELECT * FROM {gone}")).await), "42P01", "{gone}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_inside_a_transaction_says_that_it_is_not_undone() {
    let mut server = Server::new(&["--workers", "2"]);
    server.start().await;
    let (client, told) = listening(&server).await;
    let run = async |sql: &str| {
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        std::mem::take(&mut *told.lock().expect("nobody panics"))
    };
    assert_eq!(run("CREATE TABLE t (x INT)").await, [""; 0]);
    assert_eq!(run("BEGIN").await, [""; 0]);
    let at_once = "takes effect at once: ROLLBACK does not undo it";
    assert_eq!(run("CREATE TABLE u (x INT)").await, [format!("WARNING CREATE TABLE {at_once}")]);
    assert_eq!(run("DROP TABLE t").await, [format!("WARNING DROP TABLE {at_once}")]);
    assert_eq!(run("INSERT INTO u VALUES (1)").await, [""; 0]);
    let kept = "WARNING what was created and dropped in the transaction is not rolled back";
    assert_eq!(run("ROLLBACK").await, [kept]);
    assert_eq!(run("SELECT * FROM u; BEGIN; COMMIT; BEGIN; ROLLBACK").await, [""; 0]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_views_at_once_a_few_are_filled_and_the_others_wait() {
    let mut server = Server::new(&["--workers", "2", "--jobs", "3"]);
    server.start().await;
    let client = server.connect().await;
    create_bids(&client, "bids", 1_000_000).await;
    client.batch_execute("SET background_ddl = true").await.expect("a setting");
    // At once, or a fast machine fills each before the next one comes.
    let statements: Vec<String> = (0..20).map(|n| counts(&format!("view_{n}"))).collect();
    let created = futures::future::join_all(statements.iter().map(|sql| client.batch_execute(sql)));
    for (sql, created) in statements.iter().zip(created.await) {
        created.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    let (mut waited, mut together) = (0, 0);
    let deadline = tokio::time::Instant::now() + wait::PATIENCE * 2;
    loop {
        let found = jobs(&client).await;
        if found.is_empty() {
            break;
        }
        let count = |status: &str| found.iter().filter(|job| job.2 == status).count();
        assert_eq!(count("failed"), 0, "{found:?}");
        // One that is full waits for the checkpoint that makes it durable, and reads no more.
        let reads = found.iter().filter(|job| job.2 == "running" && job.5 < 100).count();
        assert!(reads <= 3, "{found:?}");
        assert!(found.len() - count("queued") > 0, "one always runs: {found:?}");
        (waited, together) = (waited.max(count("queued")), together.max(reads));
        assert!(tokio::time::Instant::now() < deadline, "{found:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(waited >= 1 && together >= 1, "{waited} waited, {together} were filled together");
    let same = "SELECT count(*) FROM view_0 a JOIN view_19 b ON a.b = b.b AND a.n = b.n";
    assert_eq!(client.query_one(same, &[]).await.expect("rows").get::<_, i64>(0), 10);
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_memory_is_short_one_view_is_filled_at_a_time() {
    let together = async |limit: &str| {
        let server = Server::new(&["--workers", "2", "--jobs", "3", "--memory-limit", limit]);
        let mut server = server.expecting("memory is above its limit");
        server.start().await;
        let client = server.connect().await;
        create_bids(&client, "bids", ENDLESS).await;
        client.batch_execute("SET background_ddl = true").await.expect("a setting");
        for name in ["one", "two", "three"] {
            client.batch_execute(&counts(name)).await.expect("it is a job");
        }
        let mut most = 0;
        for _ in 0..100 {
            let found = jobs(&client).await;
            assert_eq!(found.len(), 3, "{found:?}");
            most = most.max(found.iter().filter(|job| job.2 == "running").count());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            if most > 1 {
                break;
            }
        }
        server.kill().await;
        most
    };
    // An empty server needs more than seven tenths of the first.
    assert_eq!(together("64MB").await, 1);
    assert!(together("16GB").await > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_made_while_its_table_goes_does_not_wait_for_ever() {
    let mut server = Server::new(&["--workers", "2"]);
    server.start().await;
    let (maker, dropper) = (server.connect().await, server.connect().await);
    for round in 0..40 {
        let table = "CREATE TABLE rt (id INT PRIMARY KEY, k INT)";
        let made = tokio::time::timeout(wait::PATIENCE, dropper.batch_execute(table)).await;
        made.expect("DDL goes on").expect("a table");
        dropper.batch_execute("INSERT INTO rt VALUES (1, 1), (2, 1)").await.expect("rows");
        let view = "CREATE MATERIALIZED VIEW rv AS SELECT k, count(*) FROM rt GROUP BY k";
        let both = futures::future::join(
            maker.batch_execute(view),
            dropper.batch_execute("DROP TABLE rt CASCADE"),
        );
        let both = tokio::time::timeout(wait::PATIENCE, both).await;
        let (made, dropped) = both.unwrap_or_else(|_| panic!("round {round} does not end"));
        dropped.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
        if made.is_err() {
            let code = code(made);
            assert!(["42P01", "57014"].contains(&code.as_str()), "round {round}: {code}");
        }
        assert!(jobs(&dropper).await.is_empty(), "round {round} leaves a job");
    }
    drop((maker, dropper));
    server.stop().await;
}

/// Longer than any statement should take on a loaded machine, and shorter than the work of a view
/// that joins each of some thousand rows with each other.
const PROMPT: std::time::Duration = std::time::Duration::from_secs(12);

/// Runs a statement that has to be answered soon.
async fn promptly(client: &Client, sql: &str) {
    match tokio::time::timeout(PROMPT, client.batch_execute(sql)).await {
        Ok(answer) => answer.unwrap_or_else(|error| panic!("{sql}: {error:?}")),
        Err(_) => panic!("{sql}: no answer within {PROMPT:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_rows_that_are_copied_into_thousands_of_windows() {
    let mut server = Server::new(&["--workers", "2", "--checkpoint-interval", "1s"]);
    server.start().await;
    let (client, other) = (server.connect().await, server.connect().await);
    for sql in [
        "CREATE TABLE seen (k BIGINT, at TIMESTAMP)",
        "CREATE TABLE ticks (n BIGINT)",
        "CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM ticks",
        "CREATE MATERIALIZED VIEW firsts AS SELECT window_start, k FROM (SELECT window_start, k, \
             row_number() OVER (PARTITION BY window_start ORDER BY k) AS place \
             FROM HOP(seen, at, INTERVAL '1 second', INTERVAL '1 hour')) AS ranked WHERE place <= 1",
        "CREATE MATERIALIZED VIEW windows AS SELECT window_start, count(DISTINCT k) AS n \
             FROM HOP(seen, at, INTERVAL '1 second', INTERVAL '1 hour') \
             GROUP BY window_start, window_end",
    ] {
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    let rows =
        "INSERT INTO seen SELECT i, TIMESTAMP '2026-01-01' FROM generate_series(1, 1200) AS g(i)";
    other.batch_execute(rows).await.expect("rows");
    for round in 1..=5i64 {
        promptly(&client, "INSERT INTO ticks VALUES (1)").await;
        let read = client.query_one("SELECT n FROM counted", &[]);
        let row = tokio::time::timeout(PROMPT, read).await.expect("SELECT is answered");
        assert_eq!(row.expect("a row").get::<_, i64>(0), round);
    }
    for (sql, value) in [
        ("SELECT count(*), min(k), max(k) FROM firsts", 1),
        ("SELECT count(*), min(n), max(n) FROM windows", 1_200),
    ] {
        wait::until("the windows are there", wait::PATIENCE * 2, || async {
            // A SELECT does not wait for ever.
            let row = other.query_one(sql, &[]).await.ok()?;
            let found: (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
            assert_eq!(found, (3_600, value, value), "{sql}");
            Some(())
        })
        .await;
    }
    drop((client, other));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_view_whose_rows_join_with_millions() {
    let mut server = Server::new(&["--workers", "2", "--checkpoint-interval", "1s"]);
    server.start().await;
    let client = server.connect().await;
    for sql in [
        "CREATE TABLE wide (id BIGINT PRIMARY KEY, k BIGINT)",
        "INSERT INTO wide SELECT i, 1 FROM generate_series(1, 14000) AS g(i)",
        "CREATE TABLE ticks (n BIGINT)",
        "CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM ticks",
        "SET background_ddl = true",
        "CREATE MATERIALIZED VIEW pairs AS \
             SELECT a.id AS one, b.id AS other FROM wide a JOIN wide b ON a.k = b.k",
        "SET background_ddl = false",
    ] {
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    let job = wait::until("the job has begun", wait::PATIENCE, || async {
        jobs(&client).await.into_iter().find(|job| job.1 == "pairs" && job.2 == "running")
    })
    .await;
    // Over some checkpoints.
    for round in 1..=8i64 {
        promptly(&client, "INSERT INTO ticks VALUES (1)").await;
        let read = client.query_one("SELECT n FROM counted", &[]);
        let row = tokio::time::timeout(PROMPT, read).await.expect("SELECT is answered");
        assert_eq!(row.expect("a row").get::<_, i64>(0), round);
        promptly(&client, "CREATE TABLE other (n BIGINT)").await;
        promptly(&client, "CREATE MATERIALIZED VIEW small AS SELECT sum(n) AS n FROM other").await;
        promptly(&client, "DROP TABLE other CASCADE").await;
        // A place in a later checkpoint, or none at all.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    let found = jobs(&client).await;
    assert_eq!(found.len(), 1, "{found:?}: it is still being filled, or the test shows nothing");
    promptly(&client, &format!("CANCEL JOB {}", job.0)).await;
    until_none(&client).await;
    assert_eq!(code(client.batch_execute("SELECT * FROM pairs").await), "42P01");
    promptly(&client, "INSERT INTO ticks VALUES (1)").await;
    drop(client);
    server.stop().await;
}
