//! Views and indexes that are made and dropped while everything else runs, in the background or not, and are filled
//! over kills. Once it is there a view equals its query.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_postgres::{Client, Error};

use super::super::lives::{Lives, is_end};
use super::readers::{Seen, compare_one, same};
use super::schema::over;
use crate::server::rows;

const EXTRA: [(&str, &str); 6] = [
    ("extra_totals", "SELECT count(*) AS n, sum(value) AS total FROM $readings"),
    ("extra_sensors", "SELECT id, count(*) AS n, max(value) AS most FROM $readings GROUP BY id"),
    ("extra_picks", "SELECT p, o, value FROM copied WHERE value % 50 = 7"),
    (
        "extra_pairs",
        "SELECT e.id, e.amount, s.n FROM events e JOIN sums s ON s.writer = e.writer AND s.kind = e.kind",
    ),
    (
        "extra_places",
        "SELECT r.window_start, r.id, s.town FROM readings_10s r LEFT JOIN sensors s ON s.id = r.id \
         WHERE r.total > 1000",
    ),
    ("extra_kinds", "SELECT kind, sum(n)::bigint AS n, max(most) AS most FROM sums GROUP BY kind"),
];

/// Makes and drops until told to stop.
pub(super) async fn churn(mut lives: Lives, seed: u64, seen: Arc<Seen>) {
    let mut random = StdRng::seed_from_u64(seed ^ 0x6368);
    while let Some(client) = lives.connect().await {
        while lives.go_on() {
            let chosen = EXTRA[random.random_range(0..EXTRA.len())];
            match one(&client, chosen, &mut random, &seen).await {
                Ok(()) => seen.churned.fetch_add(1, Ordering::SeqCst),
                Err(error) => {
                    assert!(is_end(&error), "{}: {error:?}", chosen.0);
                    break;
                }
            };
        }
    }
}

async fn one(
    client: &Client,
    (view, query): (&str, &str),
    random: &mut StdRng,
    seen: &Seen,
) -> Result<(), Error> {
    let background = random.random_ratio(1, 4);
    client.batch_execute(&format!("SET background_ddl = {background}")).await?;
    let definition = over(query, "readings");
    let create = format!("CREATE MATERIALIZED VIEW IF NOT EXISTS {view} AS {definition}");
    client.batch_execute(&create).await?;
    if !background {
        compare_one(client, (view, query), seen).await;
    }
    if background || random.random_bool(0.5) {
        client.batch_execute(&format!("DROP MATERIALIZED VIEW IF EXISTS {view}")).await?;
    }
    match random.random_range(0..6) {
        0 => client.batch_execute("CREATE INDEX IF NOT EXISTS extra_index ON events (kind)").await,
        1 => client.batch_execute("DROP INDEX IF EXISTS extra_index").await,
        _ => Ok(()),
    }
}

/// Those that are there equal their queries.
pub(super) async fn check(client: &Client) {
    let there = rows(client, "SELECT view FROM millrace.views").await.expect("an answer");
    for (view, query) in EXTRA {
        if there.iter().any(|row| row[0].as_deref() == Some(view)) {
            same(client, view, query).await.unwrap_or_else(|error| panic!("{view}: {error:?}"));
        }
    }
    let failed =
        rows(client, "SELECT view, error FROM millrace.jobs WHERE status = 'failed'").await;
    assert_eq!(failed.expect("an answer"), Vec::<Vec<Option<String>>>::new(), "no job fails");
}
