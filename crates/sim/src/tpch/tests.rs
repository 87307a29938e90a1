//! All queries as views while orders come and go: each holds what its query gives.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::*;
use crate::server::{Server, rows};
use crate::wait;

const SCALE: f64 = 0.01;
const PARTS: u32 = 5;

/// The view and its query give the same rows; how many.
async fn same(client: &Client, name: &str, text: &str) -> usize {
    let sorted = async |query: &str| {
        let mut found = rows(client, query).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        found.sort_unstable();
        found
    };
    let (view, plain) = (sorted(&format!("SELECT * FROM {name}")).await, sorted(text).await);
    assert_eq!(view, plain, "{name}");
    plain.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_queries_hold_while_orders_come_and_go() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let data = Data::new(SCALE, seed);
    let mut server = Server::new(&["--workers", "2"]);
    server.start().await;
    let client = server.connect().await;
    create(&client).await.unwrap();
    let make = async |name: &str, text: &str| {
        let view = format!("CREATE MATERIALIZED VIEW {name} AS {}", query(text, SCALE));
        client.batch_execute(&view).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    };
    // Half of the views take the rows as they come, half find them there.
    for (name, text) in QUERIES.iter().step_by(2) {
        make(name, text).await;
    }
    load(&client, &data).await.unwrap();
    for (name, text) in QUERIES.iter().skip(1).step_by(2) {
        make(name, text).await;
    }
    let refreshes = (0..PARTS).flat_map(|part| [Refresh::Insert(part), Refresh::Delete(part)]);
    let mut refreshes: Vec<Refresh> = refreshes.collect();
    refreshes.shuffle(&mut StdRng::seed_from_u64(seed));
    for one in refreshes {
        refresh(&client, &data, one, PARTS).await.unwrap();
    }
    let mut filled = 0;
    for (name, text) in QUERIES {
        filled += usize::from(same(&client, name, &query(text, SCALE)).await > 0);
    }
    assert!(filled > 15, "only {filled} queries find rows");
    drop(client);
    server.stop().await;
}
