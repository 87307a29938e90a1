//! Statements of the server's edges for its fuzzer: sources whose rows are made here, sinks, COPY with its data,
//! users and rights. The suites have few of them, or need a broker.

use std::future::ready;
use std::io::Cursor;

use futures::{SinkExt, TryStreamExt};
use tokio_postgres::{Client, Error};

use super::run::Random;

/// In an order in which each works. Nobody listens at the sinks' address.
const STATEMENTS: &[&str] = &[
    "CREATE SOURCE ticks (id BIGINT, v DOUBLE PRECISION, name TEXT, at TIMESTAMPTZ, WATERMARK FOR at AS at - INTERVAL '1 second') \
     WITH (connector = 'datagen', rows.per.second = '200', fields.id.kind = 'sequence', fields.v.kind = 'random', \
     fields.v.min = '-5', fields.v.max = '5', fields.name.kind = 'random', fields.name.length = '5', fields.at.kind = 'now')",
    "CREATE SOURCE few (id BIGINT, half BIGINT AS 10 / (id % 2)) WITH (connector = 'datagen', fields.id.kind = 'sequence', fields.id.end = '300')",
    "CREATE SOURCE bids WITH (connector = 'nexmark', nexmark.table.type = 'Bid', nexmark.event.num = '2000')",
    "CREATE MATERIALIZED VIEW seconds AS SELECT window_start, count(*) AS n, avg(v) AS mean \
     FROM TUMBLE(ticks, at, INTERVAL '1 second') GROUP BY window_start EMIT ON WINDOW CLOSE",
    "CREATE MATERIALIZED VIEW recent WITH (retention = '2 seconds') AS SELECT id, name, at FROM ticks",
    "CREATE MATERIALIZED VIEW bidders AS SELECT bidder, count(*) AS n, max(price) AS most FROM bids GROUP BY bidder",
    "CREATE MATERIALIZED VIEW halves AS SELECT half, count(*) AS n FROM few GROUP BY half",
    "SELECT auction, price FROM bids WHERE price > 100 ORDER BY price LIMIT 5",
    "SELECT * FROM few WHERE id < 10",
    "CREATE TABLE copied (id BIGINT PRIMARY KEY, name TEXT NOT NULL, n NUMERIC(10, 2), at TIMESTAMPTZ, list INT[], j JSONB)",
    "COPY copied FROM STDIN WITH (FORMAT csv, HEADER)",
    "COPY copied (id, name) FROM STDIN",
    "COPY copied (id, name, n) FROM STDIN (FORMAT csv, DELIMITER '|', NULL 'x', QUOTE '\"')",
    "CREATE MATERIALIZED VIEW names AS SELECT name, count(*) AS n, sum(n) AS total FROM copied GROUP BY name",
    "CREATE SINK plain FROM recent WITH (connector = 'kafka', topic = 'x', properties.bootstrap.server = '127.0.0.1:1') FORMAT PLAIN ENCODE JSON",
    "CREATE SINK upserts FROM names WITH (connector = 'kafka', topic = 'x', properties.bootstrap.server = '127.0.0.1:1', \
     properties.socket.timeout.ms = '1000') FORMAT UPSERT ENCODE JSON",
    "ALTER SOURCE ticks SET (on_error = 'skip')",
    "CREATE USER ann PASSWORD 'a word' CONNECTION LIMIT 2 VALID UNTIL '2040-01-01'",
    "CREATE ROLE readers",
    "GRANT readers TO ann",
    "GRANT SELECT, INSERT ON copied, names TO readers",
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES FOR ROLE ann GRANT SELECT ON TABLES TO readers",
    "SET ROLE ann",
    "SELECT name, n FROM names ORDER BY 1",
    "INSERT INTO copied (id, name) VALUES (1000, 'ann')",
    "RESET ROLE",
    "ALTER TABLE copied OWNER TO ann",
    "ALTER USER ann RENAME TO bob",
    "SELECT has_table_privilege('bob', 'copied', 'SELECT'), pg_has_role('bob', 'readers', 'MEMBER')",
    "REVOKE ALL ON copied FROM readers",
    "CREATE SECRET word AS 'hunter2'",
    "CREATE SOURCE hidden (id BIGINT) WITH (connector = 'datagen', fields.id.kind = 'sequence', fields.id.end = secret word)",
    "GRANT USAGE ON SECRET word TO bob",
    "SHOW CREATE SOURCE hidden",
    "SELECT source, rows, malformed FROM millrace.sources",
    "SELECT * FROM millrace.source_errors LIMIT 3",
    "SELECT sink, status FROM millrace.sinks",
    "EXPLAIN CREATE SINK other FROM names WITH (connector = 'kafka', topic = 'x', properties.bootstrap.server = '127.0.0.1:1') FORMAT DEBEZIUM ENCODE JSON",
    "REASSIGN OWNED BY bob TO readers",
    "DROP SINK plain",
    "DROP SOURCE ticks CASCADE",
    "DROP USER bob",
];

/// What COPY brings; damaged in most cases.
const DATA: &[&str] = &[
    "id,name,n,at,list,j\n1,a,1.5,2024-05-01 12:00:00Z,\"{1,2}\",\"{\"\"k\"\": 1}\"\n2,\"b, \"\"c\"\"\",,,,\n",
    "1\ta\n2\tb\\tc\n3\t\\N\n",
    "7|x|3.25\n8|\"y|z\"|\n9||x\n",
    "",
];

pub(super) fn statements() -> Vec<String> {
    STATEMENTS.iter().map(ToString::to_string).collect()
}

/// True for a statement that the server answers by asking for data.
pub(super) fn asks_for_data(statement: &str) -> bool {
    let words: Vec<String> =
        statement.split_whitespace().take(1).map(str::to_ascii_lowercase).collect();
    words == ["copy"]
}

/// Sends data to a COPY: whole, in pieces, or not to the end. One that gives data is read.
pub(super) async fn copy(
    client: &Client,
    statement: &str,
    random: &mut Random,
) -> Result<(), Error> {
    let sink = match client.copy_in::<_, Cursor<Vec<u8>>>(statement).await {
        // The server has begun to send, which this call does not take.
        Err(error) if error.as_db_error().is_none() && !error.is_closed() => {
            let rows = client.copy_out(statement).await?;
            return rows.try_for_each(|_| ready(Ok(()))).await;
        }
        sink => sink?,
    };
    let mut sink = Box::pin(sink);
    let mut bytes = random.pick(DATA).as_bytes().to_vec();
    if !random.one_in(4) {
        random.damage(&mut bytes);
    }
    for piece in bytes.chunks(1 + random.below(40)) {
        sink.send(Cursor::new(piece.to_vec())).await?;
    }
    if random.one_in(6) {
        return Ok(());
    }
    sink.as_mut().finish().await?;
    Ok(())
}
