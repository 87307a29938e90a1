//! Readers: what they have seen does not go back, and what one SELECT shows is of one moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;
use tokio_postgres::{Client, Error};

use super::super::lives::{Lives, is_end};
use super::schema::{ACCOUNTS, AUDITOR, COMPARED, EACH, over};
use crate::server::rows;

/// What has been seen so far, for the lines of progress.
#[derive(Default)]
pub(super) struct Seen {
    /// Answers of the reader of sums.
    pub(super) answers: AtomicU64,
    /// Rows of the source in the last one.
    pub(super) readings: AtomicU64,
    /// Changes of tables that were acknowledged.
    pub(super) acknowledged: AtomicU64,
    /// Views that were compared with their queries.
    pub(super) compared: AtomicU64,
    /// Comparisons that were too large for the memory of their server.
    pub(super) refused: AtomicU64,
    /// The server that runs has little memory.
    pub(super) small: AtomicBool,
    /// Looks at the bank.
    pub(super) audits: AtomicU64,
    /// Answers of the subscription.
    pub(super) followed: Arc<AtomicU64>,
    /// Backups that were made.
    pub(super) backups: AtomicU64,
    /// Views that came and went.
    pub(super) churned: AtomicU64,
}

/// Numbers that only grow; the first three pairs are of two views over one source.
const SUMS: &str = "SELECT \
    (SELECT n FROM totals), (SELECT n FROM copied_totals), \
    (SELECT coalesce(total, 0)::bigint FROM totals), (SELECT coalesce(total, 0)::bigint FROM copied_totals), \
    (SELECT coalesce(sum(n), 0)::bigint FROM finals), (SELECT coalesce(sum(n), 0)::bigint FROM final_sums), \
    (SELECT coalesce(sum(n), 0)::bigint FROM readings_10s), (SELECT coalesce(sum(n), 0)::bigint FROM readings_hop), \
    (SELECT coalesce(sum(n), 0)::bigint FROM wrong), (SELECT coalesce(sum(n), 0)::bigint FROM missed), \
    (SELECT count(*) FROM transfers), (SELECT count(*) FROM digits)";

/// Rows of a query; None if the server goes away or is not ready.
async fn answer(client: &Client, sql: &str) -> Option<Vec<Vec<Option<String>>>> {
    match rows(client, sql).await {
        Ok(rows) => Some(rows),
        Err(error) => {
            assert!(is_end(&error), "{sql}: {error:?}");
            None
        }
    }
}

fn number(text: &Option<String>) -> i64 {
    text.as_deref().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{text:?}"))
}

/// Reads sums over and over.
pub(super) async fn sums(mut lives: Lives, seen: Arc<Seen>) {
    let mut last = Vec::new();
    while let Some(client) = lives.connect().await {
        while lives.go_on() {
            let Some(found) = answer(&client, SUMS).await else { break };
            let sums: Vec<i64> = found[0].iter().map(number).collect();
            for pair in sums[..6].chunks(2) {
                assert_eq!(pair[0], pair[1], "two views over one source in one SELECT: {sums:?}");
            }
            let fell = sums.iter().zip(&last).any(|(now, before)| now < before);
            assert!(!fell, "sums went from {last:?} to {sums:?}");
            seen.readings.store(sums[0].unsigned_abs(), Ordering::SeqCst);
            seen.answers.fetch_add(1, Ordering::SeqCst);
            last = sums;
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Compares views with their queries, both in one SELECT.
pub(super) async fn compare(mut lives: Lives, seed: u64, seen: Arc<Seen>) {
    let mut random = StdRng::seed_from_u64(seed ^ 0x636d);
    while let Some(client) = lives.connect().await {
        while lives.go_on() {
            let (view, query) = COMPARED[random.random_range(0..COMPARED.len())];
            if !compare_one(&client, (view, query), &seen).await {
                break;
            }
        }
    }
}

/// Compares a view with its query; false if the server goes away.
///
/// # Panics
/// If they differ, or the server does not answer although it has memory enough.
pub(super) async fn compare_one(client: &Client, (view, query): (&str, &str), seen: &Seen) -> bool {
    // As it is for the server that is asked.
    let small = seen.small.load(Ordering::SeqCst);
    let Err(error) = same(client, view, query).await else {
        seen.compared.fetch_add(1, Ordering::SeqCst);
        return true;
    };
    let too_large = small && error.code().is_some_and(|code| code.code() == "53200");
    assert!(too_large || is_end(&error), "{view} is compared: {error:?}");
    seen.refused.fetch_add(u64::from(too_large), Ordering::SeqCst);
    too_large
}

/// Compares a view with its query.
///
/// # Errors
/// The server's, or it has gone.
///
/// # Panics
/// If they differ: with some rows that are in one and not in the other.
pub(super) async fn same(client: &Client, view: &str, query: &str) -> Result<(), Error> {
    let query = over(query, "copied");
    let sql = format!(
        "SELECT 'too much' AS what, x.* FROM (SELECT * FROM {view} EXCEPT ALL ({query})) AS x \
         UNION ALL SELECT 'missing', x.* FROM (({query}) EXCEPT ALL SELECT * FROM {view}) AS x LIMIT 10"
    );
    let found = rows(client, &sql).await?;
    assert!(found.is_empty(), "{view} is not {query}: {found:?}");
    Ok(())
}

/// Looks at the bank as a user with a password who may see nothing else.
pub(super) async fn audit(mut lives: Lives, seen: Arc<Seen>) {
    let sql = "SELECT (SELECT sum(balance) FROM accounts)::bigint, \
                      (SELECT count(*) FROM balances WHERE balance <> wanted), \
                      (SELECT count(*) FROM balances)";
    let wanted = [[ACCOUNTS * EACH, 0, ACCOUNTS].map(|n| Some(n.to_string()))];
    while let Some(client) = lives.login(AUDITOR.0, Some(AUDITOR.1)).await {
        if let Err(error) = client.batch_execute("SELECT * FROM events").await {
            let denied = error.code().is_some_and(|code| code.code() == "42501");
            assert!(denied || is_end(&error), "not for the auditor: {error:?}");
        } else {
            panic!("the auditor reads what is not for them");
        }
        while lives.go_on() {
            let Some(found) = answer(&client, sql).await else { break };
            assert_eq!(found, wanted, "the bank");
            seen.audits.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Counters and watermarks of the source, by partition; they never fall.
pub(super) async fn counters(mut lives: Lives) {
    let sql = "SELECT partition, rows, malformed, future_rows, \"offset\", \
                      (extract(epoch FROM watermark) * 1000000)::bigint \
               FROM millrace.sources WHERE source = 'readings' ORDER BY partition";
    let mut last: Vec<i64> = Vec::new();
    while let Some(client) = lives.connect().await {
        while lives.go_on() {
            let Some(found) = answer(&client, sql).await else { break };
            let found: Vec<&Option<String>> = found.iter().flatten().collect();
            last.resize(found.len(), 0);
            // An offset is not known before a source reads.
            for (last, found) in last.iter_mut().zip(&found).filter(|(_, found)| found.is_some()) {
                let now = number(found);
                assert!(now >= *last, "a counter went from {last} to {now}: {found:?}");
                *last = now;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}
