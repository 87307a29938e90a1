//! What was not taken: listed once over kills, bounded, and what goes is counted.

use tokio_postgres::Client;

use super::model::numbers;
use super::run;
use crate::server::Server;
use crate::wait;

/// A source of 4,600 bids, of which those with an even auction are no rows: a computed column divides
/// by zero.
const SOURCE: &str = "CREATE SOURCE bids (auction BIGINT, half BIGINT AS 10 / (auction % 2)) \
    WITH (connector = 'nexmark', nexmark.table.type = 'Bid', nexmark.event.num = 5000, \
          nexmark.events.per.second = 2500)";
const BIDS: i64 = 4_600;

const KEPT: &str = "SELECT rows, gone FROM millrace.kept_rows WHERE table_name = 'source_errors'";
/// How many are listed, how many places, and a sum that tells them apart.
const LISTED: &str = "SELECT count(*), count(DISTINCT (partition, \"offset\")), \
    coalesce(sum(partition * 100000 + \"offset\"), 0)::bigint FROM millrace.source_errors";
const VIEW: &str = "CREATE MATERIALIZED VIEW bad AS \
    SELECT count(*) AS n, coalesce(sum(partition * 100000 + \"offset\"), 0)::bigint AS places \
    FROM millrace.source_errors";

async fn one(client: &Client, sql: &str) -> Vec<i64> {
    numbers(client, sql).await.swap_remove(0)
}

async fn server_with(arguments: &[&str]) -> Server {
    let mut server = Server::new(arguments);
    server.start().await;
    let client = server.connect().await;
    run(&client, SOURCE).await;
    run(&client, VIEW).await;
    run(&client, "SET background_ddl = true").await;
    run(&client, "CREATE MATERIALIZED VIEW good AS SELECT count(*) AS n FROM bids").await;
    server
}

/// Waits until all bids have been read; how many were no rows.
async fn until_read(client: &Client) -> i64 {
    let sql = "SELECT coalesce(sum(rows), 0)::bigint, coalesce(sum(malformed), 0)::bigint \
               FROM millrace.sources";
    wait::until("all bids have been read", wait::PATIENCE, || async {
        let [rows, bad] = one(client, sql).await[..] else { panic!("two numbers") };
        assert!(rows + bad <= BIDS, "{rows} rows and {bad} others are counted");
        (rows + bad == BIDS).then_some(bad)
    })
    .await
}

/// Waits until the view over the list holds the same; what is listed.
async fn until_followed(client: &Client) -> Vec<i64> {
    wait::until("the view over the list holds the same", wait::PATIENCE, || async {
        let listed = one(client, LISTED).await;
        assert_eq!(listed[0], listed[1], "each is listed once");
        let held = one(client, "SELECT n, places FROM bad").await;
        (held[..] == [listed[0], listed[2]]).then_some(listed)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_row_is_listed_once_over_kills() {
    let mut server = server_with(&["--checkpoint-interval", "300ms"]).await;
    let mut least = 0;
    // While the first view is filled, and when it is live.
    for _ in 0..4 {
        let client = server.connect().await;
        least = wait::until("more is listed", wait::PATIENCE, || async {
            let count = one(&client, LISTED).await[0];
            assert!(count >= least, "{count} rows are listed, {least} were");
            (count >= (least + 200).min(2_000)).then_some(count)
        })
        .await;
        server.kill().await;
        server.start().await;
    }
    let client = server.connect().await;
    wait::until("the view is filled", wait::PATIENCE, || async {
        (one(&client, "SELECT count(*) FROM millrace.jobs").await == [0]).then_some(())
    })
    .await;
    let bad = until_read(&client).await;
    let listed = until_followed(&client).await;
    assert_eq!(listed[0], bad, "what is counted is listed");
    server.stop().await;
    // The log is empty now: what is listed is known from the table alone.
    server.start().await;
    let client = server.connect().await;
    run(&client, "DROP MATERIALIZED VIEW good").await;
    run(&client, "CREATE MATERIALIZED VIEW good AS SELECT count(*) AS n FROM bids").await;
    run(&client, "FLUSH").await;
    assert_eq!(one(&client, LISTED).await, listed, "another first reader lists nothing again");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lists_are_bounded_and_what_goes_is_counted() {
    let mut server = server_with(&["--kept-rows", "160", "--checkpoint-interval", "300ms"]).await;
    for _ in 0..2 {
        let client = server.connect().await;
        let bad = until_read(&client).await;
        let (rows, gone) = wait::until("the list is short", wait::PATIENCE, || async {
            let [rows, gone] = one(&client, KEPT).await[..] else { panic!("two numbers") };
            (rows <= 160 && rows + gone == bad).then_some((rows, gone))
        })
        .await;
        assert!(rows > 100 && gone > 0, "{rows} are kept, {gone} have gone");
        assert_eq!(until_followed(&client).await[0], rows);
        // The newest stay.
        let oldest = "SELECT min(\"offset\") FROM millrace.source_errors";
        assert!(one(&client, oldest).await[0] > 500);
        server.kill().await;
        server.start().await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_too_old_leave_the_lists() {
    let mut server = server_with(&["--kept-age", "2s"]).await;
    let client = server.connect().await;
    let bad = until_read(&client).await;
    wait::until("all have gone", wait::PATIENCE, || async {
        (one(&client, KEPT).await == [0, bad]).then_some(())
    })
    .await;
    assert_eq!(until_followed(&client).await, [0, 0, 0]);
    server.stop().await;
}
