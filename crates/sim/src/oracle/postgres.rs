//! The second oracle: PostgreSQL answers the same SELECT over the same rows.
//!
//! DataFusion's batch answer shares our binder and our functions, and so their mistakes. Here views
//! of a real server follow random statements that a PostgreSQL runs as well; after each of them
//! every view, and its query as a plain SELECT, must show what PostgreSQL shows. Left out is what
//! PostgreSQL has not (then its error is of class 42 or 0A) and what it does not promise: which of
//! tied rows come first. Numbers may differ in their last digits.
//!
//! The standard run has 12 rounds from seed 0; `MILLRACE_POSTGRES_ROUNDS=n` runs fresh ones, and
//! `MILLRACE_SEED=n` repeats a run.

use std::net::SocketAddr;

use millrace_types::SqlType;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_postgres::Client;

use super::data;
use super::query::{self, Input};
use super::scalar;
use crate::server::{self, Server, rows};
use crate::wait;

type Rows = Vec<Vec<Option<String>>>;

/// Two tables of the same columns.
const TABLES: [&str; 2] = ["w", "z"];
/// Views of a round.
const VIEWS: usize = 6;
/// What is not PostgreSQL's, or what ties decide.
const LEFT_OUT: [&str; 16] = [
    "approx_",
    "median(",
    "any_value(",
    "first_value(",
    "last_value(",
    "nth_value(",
    "TUMBLE(",
    "HOP(",
    "CUMULATE(",
    "now()",
    " OVER ",
    "LIMIT ",
    "DISTINCT ON",
    "string_agg(",
    "percentile_cont(",
    "FETCH ",
];

/// Zones of sessions: none, one whose clocks are set twice a year, one off by less than an hour.
pub(super) const ZONES: [&str; 3] = ["UTC", "Europe/Berlin", "Asia/Kolkata"];

/// Both systems.
struct Pair {
    ours: Client,
    theirs: Client,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/postgres run"]
async fn a_view_shows_what_postgres_shows() {
    let address = std::env::var("MILLRACE_TEST_POSTGRES").expect("scripts/postgres run sets it");
    let address: SocketAddr = address.parse().expect("host:port");
    let (rounds, seed) = match super::number("MILLRACE_POSTGRES_ROUNDS") {
        Some(rounds) => (rounds, wait::seed()),
        None => (12, super::number("MILLRACE_SEED").unwrap_or_default()),
    };
    println!("MILLRACE_SEED={seed} repeats this run");
    let mut server = Server::new(&[]);
    server.start().await;
    let theirs = server::connect(address).await.expect("PostgreSQL answers");
    let pair = Pair { ours: server.connect().await, theirs };
    let (mut compared, mut skipped) = (0, 0);
    for round in 0..rounds {
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(round));
        let (more, less) = pair.round(&mut random).await;
        compared += more;
        skipped += less;
    }
    println!("{compared} views compared, {skipped} not PostgreSQL's");
    assert!(compared > skipped, "most queries are PostgreSQL's");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/postgres run"]
async fn each_function_gives_what_postgres_gives() {
    let address = std::env::var("MILLRACE_TEST_POSTGRES").expect("scripts/postgres run sets it");
    let address: SocketAddr = address.parse().expect("host:port");
    let mut server = Server::new(&[]);
    server.start().await;
    let theirs = server::connect(address).await.expect("PostgreSQL answers");
    let pair = Pair { ours: server.connect().await, theirs };
    let list: Vec<String> =
        data::columns().iter().map(|(name, of)| format!("{name} {}", of.name())).collect();
    pair.both(&format!("CREATE TABLE called ({})", list.join(", "))).await;
    let (mut number, mut random) = (0, StdRng::seed_from_u64(1));
    let rows: Vec<String> = (0..60).map(|_| row(&mut number, &mut random)).collect();
    pair.both(&format!("INSERT INTO called VALUES {}", rows.join(", "))).await;
    let columns = data::columns().into_iter().map(|(name, of)| (name.to_owned(), of)).collect();
    let input = Input { name: "called".into(), columns, append_only: false };
    let mut wrong = Vec::new();
    let queries = scalar::shared(&input, &mut random);
    let in_zones = ZONES.iter().flat_map(|zone| queries.iter().map(move |query| (zone, query)));
    let mut last = "";
    for (zone, query) in in_zones {
        if last != *zone {
            pair.both(&format!("SET TimeZone = '{zone}'")).await;
            last = zone;
        }
        let (ours, theirs) = (answer(&pair.ours, query).await, answer(&pair.theirs, query).await);
        match (&ours, &theirs) {
            (Ok(found), Ok(wanted)) if same_rows(found, wanted) => {}
            (Ok(found), Ok(wanted)) => {
                let mut pairs = found.iter().zip(wanted);
                let differs = |(one, other): &(&Vec<_>, &Vec<_>)| {
                    !same_rows(&vec![(*one).clone()], &vec![(*other).clone()])
                };
                wrong.push(format!("{zone} {query}: {:?}", pairs.find(differs)));
            }
            other => wrong.push(format!("{zone} {query}: {other:.200?}")),
        }
    }
    pair.both("DROP TABLE called").await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    server.stop().await;
}

impl Pair {
    /// How many views were compared, and how many queries PostgreSQL does not have.
    async fn round(&self, random: &mut StdRng) -> (usize, usize) {
        let list: Vec<String> =
            data::columns().iter().map(|(name, of)| format!("{name} {}", of.name())).collect();
        for table in TABLES {
            let create = format!("CREATE TABLE {table} ({})", list.join(", "));
            self.both(&create).await;
        }
        let zone = ZONES[random.random_range(0..ZONES.len())];
        self.both(&format!("SET TimeZone = '{zone}'")).await;
        let mut views: Vec<(String, String)> = Vec::new();
        let mut skipped = 0;
        while views.len() < VIEWS {
            let text = random_query(random);
            if LEFT_OUT.iter().any(|part| text.contains(part)) || scalar::is_own(&text) {
                continue;
            }
            if let Err(error) = rows(&self.theirs, &text).await {
                let code = error.code().map_or("", |code| code.code()).to_owned();
                assert!(code.starts_with("42") || code.starts_with("0A"), "{text}: {error:?}");
                skipped += 1;
                continue;
            }
            let name = format!("v{}", views.len());
            let create = format!("CREATE MATERIALIZED VIEW {name} AS {text}");
            self.ours.batch_execute(&create).await.unwrap_or_else(|e| panic!("{text}: {e:?}"));
            views.push((name, text));
        }
        let mut number = 0;
        for _ in 0..4 {
            for _ in 0..random.random_range(1..4) {
                self.both(&statement(&mut number, random)).await;
            }
            for (name, text) in &views {
                self.compare(name, text).await;
            }
        }
        for table in TABLES {
            self.both(&format!("DROP TABLE {table} CASCADE")).await;
        }
        (views.len(), skipped)
    }

    async fn both(&self, sql: &str) {
        for client in [&self.ours, &self.theirs] {
            client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
    }

    async fn compare(&self, view: &str, text: &str) {
        let ours = answer(&self.ours, &format!("SELECT * FROM {view}")).await;
        let plain = answer(&self.ours, text).await;
        let theirs = answer(&self.theirs, text).await;
        for (what, found) in [("the view", &ours), ("the plain SELECT", &plain)] {
            let same = match (found, &theirs) {
                (Ok(found), Ok(wanted)) => same_rows(found, wanted),
                (Err(found), Err(wanted)) => found == wanted,
                _ => false,
            };
            assert!(same, "{what} of {text}\nis  {found:?}\nnot {theirs:?}");
        }
    }
}

/// The rows in an order of their own, or the error's code.
async fn answer(client: &Client, sql: &str) -> Result<Rows, String> {
    match rows(client, sql).await {
        Ok(mut rows) => {
            rows.sort_by_cached_key(|row| row.iter().map(rounded).collect::<Vec<_>>());
            Ok(rows)
        }
        Err(error) => Err(error.code().map_or_else(|| format!("{error:?}"), |c| c.code().into())),
    }
}

/// A number by its first digits, everything else as it is.
fn rounded(text: &Option<String>) -> Option<String> {
    let text = text.as_ref()?;
    Some(text.parse::<f64>().map_or_else(|_| text.clone(), |number| format!("{number:.6e}")))
}

fn same_rows(found: &Rows, wanted: &Rows) -> bool {
    let same = |(one, other): (&Option<String>, &Option<String>)| match (one, other) {
        (Some(one), Some(other)) => one == other || same_number(one, other),
        (one, other) => one == other,
    };
    let rows = |(one, other): (&Vec<_>, &Vec<_>)| {
        one.len() == other.len() && one.iter().zip(other).all(same)
    };
    found.len() == wanted.len() && found.iter().zip(wanted).all(rows)
}

fn same_number(one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (one.parse::<f64>(), other.parse::<f64>()) else { return false };
    let close = (one - other).abs() <= 1e-9 * one.abs().max(other.abs()).max(1.0);
    close || one.is_nan() && other.is_nan() || one == other
}

fn random_query(random: &mut StdRng) -> String {
    let columns: Vec<(String, SqlType)> =
        data::columns().into_iter().map(|(name, of)| (name.to_owned(), of)).collect();
    let input =
        |name: &str| Input { name: name.into(), columns: columns.clone(), append_only: false };
    let inputs = TABLES.map(input);
    match random.random_range(0..3) {
        0 => query::query(&inputs[0], random).text,
        _ => query::joined(&inputs, random).text,
    }
}

/// Rows come, change and go.
fn statement(number: &mut i64, random: &mut StdRng) -> String {
    let table = TABLES[random.random_range(0..TABLES.len())];
    let value = random.random_range(-1..4);
    match random.random_range(0..6) {
        0 => format!("DELETE FROM {table} WHERE i = {value}"),
        1 => format!("UPDATE {table} SET b = i, t = t || 'x', f = NOT f WHERE i = {value}"),
        _ => {
            let rows: Vec<String> =
                (0..random.random_range(1..10)).map(|_| row(number, random)).collect();
            format!("INSERT INTO {table} VALUES {}", rows.join(", "))
        }
    }
}

fn row(number: &mut i64, random: &mut StdRng) -> String {
    *number += 1;
    let n = *number;
    let mut value = |text: String| if random.random_ratio(1, 6) { "NULL".to_owned() } else { text };
    let mut small = StdRng::seed_from_u64(n.unsigned_abs());
    let mut pick = |from: i64, to: i64| small.random_range(from..to);
    let items = [
        n.to_string(),
        value(pick(-1, 4).to_string()),
        value(pick(-2, 3).to_string()),
        value(format!("{}.5", pick(-3, 3))),
        value(format!("{}.{:02}", pick(0, 5), pick(0, 100))),
        value(format!("{}.{}", pick(0, 4), pick(1, 9))),
        value(format!("'sensor-{}'", pick(1, 4))),
        value((pick(0, 2) == 0).to_string()),
        value(format!("'2024-02-28 23:59:{:02}+00'", pick(0, 60))),
        value(format!("'{{\"k\": [{}, \"x\"]}}'", pick(0, 2))),
        value(format!("'{{{},{},NULL}}'", pick(0, 3), pick(0, 3))),
        value(format!("'00000000-0000-0000-0000-00000000000{}'", pick(0, 3))),
    ];
    format!("({})", items.join(", "))
}
