//! Twins: the same statements, one after the other, on a server that is never stopped, on one that
//! is killed again and again, and on others with other numbers of workers. After each statement all
//! views of all of them show the same.
//!
//! A statement is an epoch here: nothing else feeds the views, and one session speaks. So equal
//! contents after each statement are equal changes in each epoch. A step is one transaction that
//! also notes its number; after a kill in the midst of one, the note tells whether it has happened.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::run;
use crate::server::Server;
use crate::wait;

const STEPS: i64 = 40;

const TABLES: [&str; 3] = [
    "CREATE TABLE steps (n BIGINT)",
    "CREATE TABLE orders (id BIGINT PRIMARY KEY, customer BIGINT, amount BIGINT, note TEXT)",
    "CREATE TABLE customers (id BIGINT PRIMARY KEY, town TEXT)",
];

/// One of each kind of state, and views over views.
const VIEWS: [(&str, &str); 12] = [
    (
        "totals",
        "SELECT customer, sum(amount) AS total, count(*) AS n FROM orders GROUP BY customer",
    ),
    (
        "spreads",
        "SELECT customer, min(amount) AS least, max(amount) AS most, \
                count(DISTINCT note) AS notes, string_agg(note, ',' ORDER BY id) AS list \
         FROM orders GROUP BY customer",
    ),
    ("everything", "SELECT count(*) AS n, sum(amount) AS total, avg(amount) AS mean FROM orders"),
    (
        "towns",
        "SELECT o.id, o.amount, c.town FROM orders o LEFT JOIN customers c ON o.customer = c.id",
    ),
    (
        "both_sides",
        "SELECT o.id AS order_id, c.id FROM orders o FULL JOIN customers c ON o.customer = c.id",
    ),
    (
        "idle",
        "SELECT id, town FROM customers c \
         WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer = c.id)",
    ),
    ("top", "SELECT id, amount FROM orders ORDER BY amount DESC, id LIMIT 5"),
    (
        "ranked",
        "SELECT id, customer, row_number() OVER (PARTITION BY customer ORDER BY amount, id) AS place, \
                lag(amount) OVER (PARTITION BY customer ORDER BY id) AS before FROM orders",
    ),
    ("notes", "SELECT DISTINCT note FROM orders"),
    ("known", "SELECT customer FROM orders INTERSECT ALL SELECT id FROM customers"),
    ("by_town", "SELECT town, sum(amount) AS total, count(*) AS n FROM towns GROUP BY town"),
    (
        "shares",
        "SELECT t.customer, t.total * 100 / e.total AS share \
                FROM totals t CROSS JOIN everything e WHERE e.total <> 0",
    ),
];

/// A server, and what happens to it.
struct Twin {
    server: Server,
    kills: Option<StdRng>,
    client: Client,
}

impl Twin {
    async fn new(workers: usize, kills: Option<StdRng>) -> Twin {
        let workers = workers.to_string();
        let mut server =
            Server::new(&["--checkpoint-interval", "200ms", "--workers", workers.as_str()]);
        server.start().await;
        let client = server.connect().await;
        for table in TABLES {
            run(&client, table).await;
        }
        for (name, query) in VIEWS {
            run(&client, &format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await;
        }
        Twin { server, kills, client }
    }

    /// Makes one step, whatever happens on the way.
    async fn step(&mut self, number: i64, change: &str) {
        let text = format!("BEGIN; {change}; INSERT INTO steps VALUES ({number}); COMMIT");
        let Some(kills) = &mut self.kills else {
            return self.client.batch_execute(&text).await.expect("a step");
        };
        let (kill, wait_us) = (kills.random_ratio(1, 3), kills.random_range(0..20_000));
        if !kill {
            return self.client.batch_execute(&text).await.expect("a step");
        }
        tokio::select! {
            done = self.client.batch_execute(&text) => done.expect("a step"),
            () = sleep(Duration::from_micros(wait_us)) => {}
        }
        self.server.kill().await;
        let workers = kills.random_range(1..=4).to_string();
        self.server.set("--workers", &workers);
        self.server.start().await;
        self.client = self.server.connect().await;
        let done = format!("SELECT count(*) FROM steps WHERE n = {number}");
        if rows(&self.client, &done).await == ["0"] {
            self.client.batch_execute(&text).await.expect("a step that had not happened");
        }
    }

    async fn contents(&self) -> Vec<(&'static str, Vec<String>)> {
        let mut all = vec![("steps", rows(&self.client, "SELECT n FROM steps").await)];
        for (name, _) in VIEWS {
            all.push((name, rows(&self.client, &format!("SELECT * FROM {name}")).await));
        }
        all
    }
}

/// The rows of a query as text, sorted.
async fn rows(client: &Client, query: &str) -> Vec<String> {
    let messages = client.simple_query(query).await.expect("a query");
    let mut rows: Vec<String> = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                let values: Vec<&str> =
                    (0..row.len()).map(|at| row.get(at).unwrap_or("NULL")).collect();
                Some(values.join("|"))
            }
            _ => None,
        })
        .collect();
    rows.sort_unstable();
    rows
}

/// A random change; ids are few, so that rows come, change and go.
fn change(random: &mut StdRng) -> String {
    let (id, customer) = (random.random_range(0..30), random.random_range(0..6));
    let (amount, note) = (random.random_range(-5..20), random.random_range(0..4));
    let count = random.random_range(1..6);
    match random.random_range(0..8) {
        0..3 => format!(
            "INSERT INTO orders SELECT i, i % 6, {amount} + i % 3, 'n' || (i % {note} + i % 2) \
             FROM generate_series({id}, {last}) AS g(i) \
             ON CONFLICT (id) DO UPDATE SET amount = excluded.amount, note = excluded.note",
            note = note + 1,
            last = id + count
        ),
        3 => format!(
            "INSERT INTO orders VALUES ({id} + 100, NULL, NULL, NULL) ON CONFLICT DO NOTHING"
        ),
        4 => format!("UPDATE orders SET amount = amount + {amount} WHERE customer = {customer}"),
        5 => format!("UPDATE orders SET customer = {customer}, note = 'm{note}' WHERE id = {id}"),
        6 => format!("DELETE FROM orders WHERE id % 5 = {customer} % 5"),
        _ => format!(
            "DELETE FROM customers WHERE id = {customer}; \
             INSERT INTO customers VALUES (({customer} + 1) % 6, 't{note}') ON CONFLICT (id) DO UPDATE \
             SET town = excluded.town"
        ),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_and_numbers_of_workers_change_nothing_in_any_epoch() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let kills = StdRng::seed_from_u64(seed ^ 0x6b69_6c6c);
    let mut twins =
        [Twin::new(1, None).await, Twin::new(4, None).await, Twin::new(2, Some(kills)).await];
    let mut random = StdRng::seed_from_u64(seed);
    for number in 1..=STEPS {
        let change = change(&mut random);
        for twin in &mut twins {
            twin.step(number, &change).await;
        }
        let wanted = twins[0].contents().await;
        assert_eq!(wanted[0].1.len(), usize::try_from(number).expect("few steps"), "steps");
        for (twin, what) in twins[1..].iter().zip(["four workers", "kills"]) {
            for (own, wanted) in twin.contents().await.iter().zip(&wanted) {
                assert_eq!(own, wanted, "{what}: after step {number}, {change}");
            }
        }
    }
    for mut twin in twins {
        drop(twin.client);
        twin.server.stop().await;
    }
}
