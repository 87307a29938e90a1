//! What is on the server: sources, tables, views, sinks, a user; and the queries that views must equal.

use super::super::rounds::{ERRORS_VIEW, LATE_VIEW};
use super::super::{HOPPING_VIEW, TOTALS_VIEW, TUMBLING_VIEW};

/// The view that sinks and a subscriber follow.
pub(super) const FOLLOWED: &str = "sums";

/// The user that looks at the bank, and may look at nothing else.
pub(super) const AUDITOR: (&str, &str) = ("auditor", "a word of the auditor");

/// Accounts of the bank, and what is in each at first.
pub(super) const ACCOUNTS: i64 = 10;
pub(super) const EACH: i64 = 1_000;

/// Sensors of the workload.
pub(super) const SENSORS: i64 = 20;

/// Topics of this run.
pub(super) struct Topics {
    pub(super) readings: String,
    pub(super) prices: String,
    /// PLAIN, of all readings.
    pub(super) copies: String,
    /// DEBEZIUM, of the view that is followed.
    pub(super) changes: String,
    /// UPSERT, of the same.
    pub(super) latest: String,
}

/// Views with their queries; `$readings` is the source in the view, and the view of all its rows where the two are
/// compared in one SELECT.
pub(super) const COMPARED: [(&str, &str); 19] = [
    (
        "sums",
        "SELECT writer, kind, count(*) AS n, sum(amount)::bigint AS total, min(amount) AS least, \
                max(amount) AS most, count(DISTINCT amount % 10) AS digits \
         FROM events GROUP BY writer, kind",
    ),
    (
        "overall",
        "SELECT count(*) AS groups, sum(n)::bigint AS n, sum(total)::bigint AS total FROM sums",
    ),
    (
        "ranked",
        "SELECT id, rank() OVER (PARTITION BY writer, kind ORDER BY amount) AS place, \
                lag(amount) OVER (PARTITION BY writer, kind ORDER BY id) AS before FROM events",
    ),
    ("highest", "SELECT id, amount FROM events ORDER BY amount DESC, id LIMIT 10"),
    (
        "newest",
        "SELECT DISTINCT ON (writer, kind) writer, kind, id, amount FROM events \
         ORDER BY writer, kind, id DESC",
    ),
    (
        "priced",
        "SELECT e.id, e.amount * p.balance AS price, p.note \
         FROM events e LEFT JOIN prices p ON e.id % 40 = p.id",
    ),
    (
        "unpriced",
        "SELECT id, kind FROM events e WHERE NOT EXISTS (SELECT 1 FROM prices p WHERE p.id = e.id % 40)",
    ),
    (
        "dear",
        "SELECT kind, sum(price)::bigint AS total, count(*) AS n, string_agg(DISTINCT note, ',' ORDER BY note) AS notes \
         FROM priced JOIN events USING (id) GROUP BY kind",
    ),
    (
        "picked",
        "SELECT r.p, r.o, r.id, s.town, r.value * s.factor AS value \
         FROM $readings r JOIN sensors s ON r.id = s.id WHERE r.value < 30",
    ),
    ("digits", "SELECT DISTINCT id, value % 10 AS digit FROM $readings"),
    (
        "by_town",
        "SELECT s.town, count(*) AS n, sum(r.total * s.factor)::bigint AS total \
         FROM readings_10s r JOIN sensors s ON r.id = s.id GROUP BY s.town",
    ),
    (
        "leaders",
        "SELECT window_start, id, total, place FROM (SELECT window_start, id, total, \
             row_number() OVER (PARTITION BY window_start ORDER BY total DESC, id) AS place \
         FROM readings_10s) AS r WHERE place <= 3",
    ),
    (
        "final_sums",
        "SELECT id, count(*) AS windows, sum(n)::bigint AS n, max(greatest) AS most FROM finals GROUP BY id",
    ),
    ("copied_totals", "SELECT count(*) AS n, sum(value) AS total FROM copied"),
    (
        // Twenty rows of a writer in some seconds, then none for some: sessions come, merge, split and go.
        "timed",
        "SELECT id, writer, kind, amount, to_timestamp(id % 1000000000 / 20 * 40 + amount % 15) AS at \
         FROM events",
    ),
    (
        "bouts",
        "SELECT writer, window_start, window_end, count(*) AS n, sum(amount)::bigint AS total \
         FROM SESSION(timed PARTITION BY writer, at, INTERVAL '10 seconds') \
         GROUP BY writer, window_start, window_end",
    ),
    (
        "close_by",
        "SELECT a.id, b.id AS other, b.amount - a.amount AS more FROM timed a JOIN timed b \
         ON a.writer = b.writer AND b.at BETWEEN a.at AND a.at + INTERVAL '4 seconds' AND a.id < b.id \
         WHERE a.id % 7 = 0",
    ),
    (
        "nearest",
        "SELECT a.id, b.id AS before, b.amount FROM timed a \
         ASOF LEFT JOIN (SELECT id, writer, amount, at FROM timed WHERE id % 5 = 0) b \
         ON a.writer = b.writer AND a.at >= b.at",
    ),
    (
        "balances",
        "SELECT a.id, a.balance, 1000 + coalesce(t.total, 0)::bigint AS wanted FROM accounts a LEFT JOIN \
             (SELECT account, sum(amount) AS total FROM (SELECT target AS account, amount FROM transfers \
              UNION ALL SELECT origin, -amount FROM transfers) AS both_sides GROUP BY account) AS t \
         ON t.account = a.id",
    ),
];

/// A query over the source, or over its rows in a view.
pub(super) fn over(query: &str, readings: &str) -> String {
    query.replace("$readings", readings)
}

fn kafka(broker: &str, topic: &str, format: &str) -> String {
    format!(
        "WITH (connector = 'kafka', topic = '{topic}', properties.bootstrap.server = '{broker}') \
         FORMAT {format} ENCODE JSON"
    )
}

fn inputs(broker: &str, topics: &Topics) -> Vec<String> {
    // A partition that is idle holds nothing back, and what comes there next may be late: not here, where a
    // machine that is slow could make one idle (`offline` is about that).
    let readings = kafka(broker, &topics.readings, "PLAIN")
        .replace("WITH (", "WITH (source_idle_timeout = '1h', ");
    vec![
        format!(
            "CREATE SOURCE readings (id BIGINT, time DOUBLE PRECISION, value BIGINT, \
                 ts TIMESTAMPTZ AS to_timestamp(time), WATERMARK FOR ts AS ts - INTERVAL '2 seconds') \
             INCLUDE partition AS p, offset AS o {readings}"
        ),
        format!(
            "CREATE TABLE prices (id INT PRIMARY KEY, balance BIGINT NOT NULL, note TEXT) {}",
            kafka(broker, &topics.prices, "UPSERT")
        ),
        "CREATE TABLE events (id BIGINT PRIMARY KEY, writer INT NOT NULL, kind TEXT NOT NULL, \
             amount BIGINT NOT NULL)"
            .to_owned(),
        "CREATE TABLE sensors (id BIGINT PRIMARY KEY, town TEXT, factor BIGINT)".to_owned(),
        "CREATE TABLE accounts (id INT PRIMARY KEY, balance BIGINT NOT NULL)".to_owned(),
        "CREATE TABLE transfers (writer INT, origin INT, target INT, amount BIGINT)".to_owned(),
        format!(
            "INSERT INTO accounts SELECT i, {EACH} FROM generate_series(1, {ACCOUNTS}) AS g(i)"
        ),
    ]
}

/// All statements, in their order.
pub(super) fn statements(broker: &str, topics: &Topics) -> Vec<String> {
    let mut all = inputs(broker, topics);
    for view in [TUMBLING_VIEW, HOPPING_VIEW, TOTALS_VIEW, ERRORS_VIEW, LATE_VIEW] {
        all.push(view.to_owned());
    }
    let finals = TUMBLING_VIEW.replace("VIEW readings_10s", "VIEW finals");
    all.push(format!("{finals} EMIT ON WINDOW CLOSE"));
    all.push(
        "CREATE MATERIALIZED VIEW copied AS SELECT p, o, id, value FROM readings WHERE o >= 0"
            .to_owned(),
    );
    for (name, query) in COMPARED {
        let kept = match name {
            FOLLOWED => "WITH (retain_history = '6 hours') ",
            _ => "",
        };
        let query = over(query, "readings");
        all.push(format!("CREATE MATERIALIZED VIEW {name} {kept}AS {query}"));
    }
    for (name, from, topic, format) in [
        ("copies", "copied", &topics.copies, "PLAIN"),
        ("changes", FOLLOWED, &topics.changes, "DEBEZIUM"),
        ("latest", FOLLOWED, &topics.latest, "UPSERT"),
    ] {
        all.push(format!("CREATE SINK {name} FROM {from} {}", kafka(broker, topic, format)));
    }
    let (user, password) = AUDITOR;
    all.push(format!("CREATE USER {user} PASSWORD '{password}'"));
    all.push("CREATE ROLE looks_at_the_bank".to_owned());
    all.push("GRANT SELECT ON accounts, balances TO looks_at_the_bank".to_owned());
    all.push(format!("GRANT looks_at_the_bank TO {user}"));
    all
}
