//! A source that has ended keeps no window open: neither its own nor that of a source that goes on. One that is
//! made at a rate goes on.

use crate::server::{self, Server};
use crate::wait;

/// Events of the source that ends.
const EVENTS: i64 = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn windows_over_a_live_source_and_one_that_has_ended_close() {
    let mut server = Server::new(&["--workers", "2"]);
    server.start().await;
    let mut client = server.connect().await;
    let views = |name: &str| {
        format!(
            "CREATE MATERIALIZED VIEW {name} AS SELECT window_start, kind, count(*) AS n FROM \
             TUMBLE((SELECT date_time AS at, 'bid' AS kind FROM bids \
                     UNION ALL SELECT at, 'tick' AS kind FROM ticks), at, INTERVAL '1 second') \
             GROUP BY window_start, window_end, kind EMIT ON WINDOW CLOSE"
        )
    };
    for sql in [
        format!(
            "CREATE SOURCE bids (date_time TIMESTAMP, WATERMARK FOR date_time AS date_time) WITH \
             (connector = 'nexmark', nexmark.table.type = 'Bid', nexmark.event.num = '{EVENTS}')"
        ),
        "CREATE SOURCE ticks (at TIMESTAMP, WATERMARK FOR at AS at) WITH \
         (connector = 'datagen', rows.per.second = 50, fields.at.kind = 'now')"
            .to_owned(),
        views("closed"),
    ] {
        client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    // Before and after a crash, and of a view that is made when the source has long ended.
    for view in ["closed", "closed", "later"] {
        if view == "later" {
            client.batch_execute(&views(view)).await.expect("a view");
        }
        let bids = format!("SELECT sum(n)::bigint FROM {view} WHERE kind = 'bid'");
        let ticks = format!("SELECT count(*) FROM {view} WHERE kind = 'tick'");
        wait::until("all windows of the source that ended have closed", wait::PATIENCE, || async {
            let found = server::rows(&client, &bids).await.expect("it is answered");
            (found[0][0] == Some((EVENTS / 50 * 46).to_string())).then_some(())
        })
        .await;
        wait::until("windows of the live source close", wait::PATIENCE, || async {
            let found = server::rows(&client, &ticks).await.expect("it is answered");
            let closed: i64 = found[0][0].as_ref()?.parse().expect("a number");
            (closed >= 2).then_some(())
        })
        .await;
        if view == "closed" {
            server.kill().await;
            server.start().await;
            client = server.connect().await;
        }
    }
    drop(client);
    server.stop().await;
}

/// What it has is asked for every two seconds; a source that three times says less than was read has lost rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_made_at_a_rate_has_not_lost_what_was_read() {
    let mut server = Server::new(&[]);
    server.start().await;
    let client = server.connect().await;
    for sql in [
        "CREATE SOURCE bids (auction BIGINT) WITH (connector = 'nexmark', \
         nexmark.table.type = 'Bid', nexmark.events.per.second = 100)",
        "CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM bids",
    ] {
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    // Of 50 events 46 are bids: this is what comes in twelve seconds.
    wait::until("it is read for twelve seconds", wait::PATIENCE, || async {
        let found = server::rows(&client, "SELECT n FROM counted").await.expect("it goes on");
        let read: i64 = found[0][0].as_ref()?.parse().expect("a number");
        (read >= 12 * 92).then_some(())
    })
    .await;
    drop(client);
    server.stop().await;
}
