//! The words of other dialects at which the grammar stops.

use super::Foreign;

/// The first that fits counts.
pub(super) const PHRASES: &[Foreign] = &[
    // Names and values.
    ("`", "a name in backticks", QUOTES),
    ("FROM [", "a name in brackets", QUOTES),
    ("AS [", "a name in brackets", QUOTES),
    ("JOIN [", "a name in brackets", QUOTES),
    ("INTO [", "a name in brackets", QUOTES),
    ("UPDATE [", "a name in brackets", QUOTES),
    ("TABLE [", "a name in brackets", QUOTES),
    ("SELECT [", "a name in brackets", QUOTES),
    (". [", "a name in brackets", QUOTES),
    ("( + )", "an outer join written as (+)", "Write a LEFT JOIN b ON a.key = b.key."),
    ("@", "a variable", "Write a parameter, $1, or the value itself."),
    ("#", "a name that begins with #", "There are no temporary tables: write CREATE TABLE name."),
    ("{", "a record in braces", "Write ROW(...), or a jsonb: '{\"a\": 1}'::jsonb."),
    ("MAP [", "a map", "Write a jsonb: '{\"a\": 1}'::jsonb."),
    // Queries.
    ("LIMIT 0 ,", "LIMIT start, count", "Write LIMIT count OFFSET start."),
    ("LIMIT ? ,", "LIMIT start, count", "Write LIMIT count OFFSET start."),
    ("LIMIT 0 BY", "LIMIT ... BY", FIRST_ROWS),
    ("WITH ROLLUP", "GROUP BY ... WITH ROLLUP", "Write GROUP BY ROLLUP (columns)."),
    ("WITH CUBE", "GROUP BY ... WITH CUBE", "Write GROUP BY CUBE (columns)."),
    ("* EXCEPT (", "SELECT * EXCEPT", COLUMNS),
    ("* EXCLUDE", "SELECT * EXCLUDE", COLUMNS),
    ("* REPLACE (", "SELECT * REPLACE", COLUMNS),
    ("? DIV ?", "the operator DIV", "Write / for integers, or div(a, b)."),
    ("FORCE INDEX", "an index hint", INDEX_HINT),
    ("USE INDEX", "an index hint", INDEX_HINT),
    ("IGNORE INDEX", "an index hint", INDEX_HINT),
    ("INDEXED BY", "an index hint", INDEX_HINT),
    ("OPTION (", "a query hint", "Leave OPTION (...) out."),
    ("SETTINGS ?", "SETTINGS in a query", "Write SET name = value before it."),
    ("PREWHERE ?", "PREWHERE", "Write WHERE."),
    ("ARRAY JOIN", "ARRAY JOIN", UNNEST),
    ("MATCH_RECOGNIZE (", "MATCH_RECOGNIZE", MATCHES),
    ("EMIT CHANGES", "EMIT CHANGES", CHANGES),
    (
        "EMIT FINAL",
        "EMIT FINAL",
        "Write EMIT ON WINDOW CLOSE behind the query of a materialized view.",
    ),
    ("EMIT ON UPDATE", "EMIT ON UPDATE", "Leave it out: a view shows each change."),
    ("WINDOW TUMBLING", "WINDOW TUMBLING", TUMBLE),
    ("WINDOW HOPPING", "WINDOW HOPPING", TUMBLE),
    ("WINDOW SESSION", "WINDOW SESSION", TUMBLE),
    ("TUMBLE ( SELECT * FROM ?", "TABLE in a window function", TUMBLE),
    ("HOP ( SELECT * FROM ?", "TABLE in a window function", TUMBLE),
    ("SESSION ( SELECT * FROM ?", "TABLE in a window function", TUMBLE),
    ("CUMULATE ( SELECT * FROM ?", "TABLE in a window function", TUMBLE),
    ("FROM ? AS OF", "a table AS OF a time", AS_OF),
    ("FROM ? VERSION AS OF", "a table AS OF a version", AS_OF),
    ("ROWS FROM (", "ROWS FROM", "Join the functions in FROM, WITH ORDINALITY."),
    ("FROM ONLY ?", "ONLY", "Leave ONLY out: no table inherits from another one."),
    ("CURRENT OF ?", "WHERE CURRENT OF", "Name the row by its key."),
    ("XMLELEMENT (", "XML", JSON),
    // Changes of rows.
    ("REPLACE INTO", "REPLACE INTO", UPSERT),
    ("INSERT IGNORE INTO ?", "INSERT IGNORE", SKIP),
    ("INSERT IGNORE ?", "INSERT IGNORE", SKIP),
    ("INSERT OVERWRITE ?", "INSERT OVERWRITE", OVERWRITE),
    ("INSERT INTO ? SET ? =", "INSERT ... SET", VALUES),
    ("INSERT INTO ? SET", "INSERT ... SET", VALUES),
    ("DELETE ? WHERE", "DELETE without FROM", "Write DELETE FROM table WHERE ..."),
    ("UPDATE ? SET ? = ? ORDER BY", "UPDATE ... ORDER BY", SOME_ROWS),
    ("UPDATE ? SET ? = ? LIMIT", "UPDATE ... LIMIT", SOME_ROWS),
    // Definitions of tables.
    ("AUTO_INCREMENT", "AUTO_INCREMENT", KEYS),
    ("AUTOINCREMENT", "AUTOINCREMENT", KEYS),
    ("IDENTITY", "IDENTITY", KEYS),
    ("COMMENT ''", "COMMENT in a table", "Write COMMENT ON COLUMN table.column IS '...'."),
    (") ENGINE", "ENGINE", "Leave it out."),
    (") WITHOUT ?", "WITHOUT behind a table", "Leave it out."),
    (") STRICT", "STRICT", "Leave it out: types are always kept."),
    (") INHERITS (", "INHERITS", "Write all columns, or a view with UNION ALL."),
    (") PARTITION BY", "PARTITION BY", PARTITIONS),
    (") PARTITIONED BY", "PARTITIONED BY", PARTITIONS),
    (") TABLESPACE ?", "TABLESPACE", "Leave it out."),
    (") USING ?", "USING behind a table", "Leave it out."),
    (") STORED AS", "STORED AS", "Leave it out."),
    (") LOCATION ''", "LOCATION", SOURCES),
    (
        ") ON COMMIT",
        "ON COMMIT",
        "There are no temporary tables: write CREATE TABLE name, and DROP it.",
    ),
    ("CREATE TABLE ? PARTITION OF", "PARTITION OF", PARTITIONS),
    ("CREATE TABLE ? OF", "CREATE TABLE ... OF", "Write the columns of the table."),
    ("CREATE TABLE ? LIKE", "CREATE TABLE ... LIKE", "Write the columns of the table."),
    (
        "CREATE TABLE ? CLONE",
        "CREATE TABLE ... CLONE",
        "Write the columns, then INSERT INTO it with SELECT.",
    ),
    (
        "NOT ENFORCED",
        "NOT ENFORCED",
        "Leave it out: a topic with FORMAT UPSERT keeps one row for each key.",
    ),
    (
        "? AS PROCTIME (",
        "a computed column without a type",
        "Write: name TIMESTAMPTZ AS PROCTIME() in CREATE SOURCE.",
    ),
    (
        "METADATA FROM",
        "METADATA",
        "Write INCLUDE partition, offset, timestamp, key, headers or topic.",
    ),
    ("METADATA", "METADATA", "Write INCLUDE partition, offset, timestamp, key, headers or topic."),
    (", KEY (", "an index in a table", "Write CREATE INDEX name ON table (columns)."),
    (", INDEX (", "an index in a table", "Write CREATE INDEX name ON table (columns)."),
    (", UNIQUE KEY", "an index in a table", "Write CREATE INDEX name ON table (columns)."),
    ("EXCLUDE USING", "EXCLUDE in a table", "A table has a PRIMARY KEY."),
    (
        "WITH CHECK OPTION",
        "WITH CHECK OPTION",
        "Rows are not changed through a view: leave it out.",
    ),
    ("CREATE VIEW ? WITH (", "WITH in a view", "Leave it out."),
    ("REFRESH EVERY", "REFRESH EVERY", "A materialized view is always up to date: leave it out."),
    // Sources and sinks.
    ("CREATE USER MAPPING FOR", "CREATE USER MAPPING", SOURCES),
    ("SOURCE ? FROM KAFKA", "FROM KAFKA", SOURCES),
    (
        "SOURCE ? FROM LOAD GENERATOR",
        "FROM LOAD GENERATOR",
        "Write CREATE SOURCE name (columns) WITH (connector = 'datagen').",
    ),
    (
        "SOURCE ? FROM POSTGRES",
        "FROM POSTGRES",
        "Send the changes to a topic and write CREATE TABLE ... FORMAT DEBEZIUM ENCODE JSON.",
    ),
    (
        "SOURCE ? FROM MYSQL",
        "FROM MYSQL",
        "Send the changes to a topic and write CREATE TABLE ... FORMAT DEBEZIUM ENCODE JSON.",
    ),
    (
        "INTO KAFKA",
        "INTO KAFKA",
        "Write CREATE SINK name FROM view WITH (connector = 'kafka', ...) FORMAT PLAIN ENCODE JSON.",
    ),
    ("IN CLUSTER", "IN CLUSTER", "There are no clusters: leave it out."),
    ("SOURCE CONNECTOR", "a connector", SOURCES),
    (
        "SINK CONNECTOR",
        "a connector",
        "Write CREATE SINK name FROM view WITH (connector = 'kafka', ...) FORMAT PLAIN ENCODE JSON.",
    ),
    // Sessions.
    ("SET ''", "a setting in quotes", "Write SET name = value."),
    ("RESET ''", "a setting in quotes", "Write RESET name."),
    (
        "SET GLOBAL ?",
        "SET GLOBAL",
        "SET is for the session; options of the server are given when it starts.",
    ),
    (
        "SET PERSIST ?",
        "SET PERSIST",
        "SET is for the session; options of the server are given when it starts.",
    ),
    ("SET ? ON", "SET without =", "Write SET name = value."),
    ("SET ? OFF", "SET without =", "Write SET name = value."),
    ("SET IDENTITY_INSERT", "IDENTITY_INSERT", "Leave it out: any value may be inserted."),
    ("BEGIN TRAN", "BEGIN TRAN", "Write BEGIN."),
    ("COMMIT TRAN", "COMMIT TRAN", "Write COMMIT."),
    ("ROLLBACK TRAN", "ROLLBACK TRAN", "Write ROLLBACK."),
    ("BEGIN TRY", "BEGIN TRY", PROCEDURE),
    ("BEGIN STATEMENT", "STATEMENT SET", "Create a materialized view and a sink for each of them."),
    ("STATEMENT SET", "STATEMENT SET", "Create a materialized view and a sink for each of them."),
    (
        "PREPARE TRANSACTION",
        "PREPARE TRANSACTION",
        "Write COMMIT: there is no commit in two phases.",
    ),
    ("COMMIT PREPARED", "COMMIT PREPARED", "Write COMMIT: there is no commit in two phases."),
    ("ROLLBACK PREPARED", "ROLLBACK PREPARED", "Write ROLLBACK: there is no commit in two phases."),
    (
        "EXECUTE IMMEDIATE",
        "EXECUTE IMMEDIATE",
        "Send the statement itself, or PREPARE and EXECUTE it.",
    ),
    ("FLUSH TABLES", "FLUSH TABLES", "Write FLUSH: it waits until all changes are in all views."),
    ("FLUSH PRIVILEGES", "FLUSH PRIVILEGES", "Leave it out: grants count at once."),
    ("EXPLAIN PLAN FOR", "EXPLAIN PLAN FOR", EXPLAIN),
    ("EXPLAIN QUERY PLAN", "EXPLAIN QUERY PLAN", EXPLAIN),
    ("EXPLAIN OPTIMIZED PLAN", "EXPLAIN OPTIMIZED PLAN", EXPLAIN),
    ("EXPLAIN PHYSICAL PLAN", "EXPLAIN PHYSICAL PLAN", EXPLAIN),
    ("EXPLAIN EXTENDED", "EXPLAIN EXTENDED", "Write EXPLAIN VERBOSE statement."),
    ("EXPLAIN FORMATTED", "EXPLAIN FORMATTED", EXPLAIN),
    ("EXPLAIN FORMAT =", "EXPLAIN FORMAT =", "Write EXPLAIN (FORMAT json) statement."),
    ("DESCRIBE EXTENDED ?", "DESCRIBE EXTENDED", DESCRIBE),
    ("DESCRIBE FORMATTED ?", "DESCRIBE FORMATTED", DESCRIBE),
    ("DESCRIBE TABLE ?", "DESCRIBE TABLE", DESCRIBE),
    ("DESC EXTENDED ?", "DESC EXTENDED", DESCRIBE),
    ("DESC FORMATTED ?", "DESC FORMATTED", DESCRIBE),
    ("DESC TABLE ?", "DESC TABLE", DESCRIBE),
    ("SHOW FULL TABLES", "SHOW FULL TABLES", "Write SHOW TABLES."),
    ("SHOW TABLES LIKE", "SHOW TABLES LIKE", TABLES),
    ("SHOW TABLES FROM", "SHOW TABLES FROM", TABLES),
    ("SHOW TABLES IN", "SHOW TABLES IN", TABLES),
];

const QUOTES: &str = "Names are quoted in double quotes: \"name\".";
const FIRST_ROWS: &str =
    "Write row_number() OVER (PARTITION BY ... ORDER BY ...) in a subquery, and compare it.";
const COLUMNS: &str = "Write the columns.";
const INDEX_HINT: &str = "Leave it out: an index is used where it helps.";
const UNNEST: &str = "Write FROM table, unnest(column) AS element.";
const MATCHES: &str = "Compare rows with lag() and lead() OVER (PARTITION BY ... ORDER BY ...), or join them by time.";
const CHANGES: &str =
    "CREATE MATERIALIZED VIEW keeps the result of a query, SUBSCRIBE TO view shows its changes.";
const TUMBLE: &str = "Write FROM TUMBLE(table, time, INTERVAL '1 minute') GROUP BY window_start; there are HOP, SESSION and CUMULATE, too.";
const AS_OF: &str = "SUBSCRIBE TO view AS OF epoch shows what came after a moment; FOR SYSTEM_TIME AS OF PROCTIME() joins with a table as it is.";
const JSON: &str = "Write jsonb.";
const UPSERT: &str = "Write INSERT INTO table VALUES (...) ON CONFLICT (key) DO UPDATE SET column = excluded.column.";
const SKIP: &str = "Write INSERT INTO table VALUES (...) ON CONFLICT DO NOTHING.";
const OVERWRITE: &str = "Write DELETE FROM table, then INSERT INTO it, between BEGIN and COMMIT.";
const VALUES: &str = "Write INSERT INTO table (columns) VALUES (...).";
const SOME_ROWS: &str =
    "Name the rows: WHERE key IN (SELECT key FROM table ORDER BY ... LIMIT ...).";
const KEYS: &str = "Write id SERIAL, or id INT GENERATED BY DEFAULT AS IDENTITY.";
const PARTITIONS: &str = "Leave it out: rows are spread over the workers by their key.";
const SOURCES: &str = "Write CREATE SOURCE name (columns) WITH (connector = 'kafka', topic = '...', properties.bootstrap.server = '...') FORMAT PLAIN ENCODE JSON.";
const PROCEDURE: &str = "There are no procedures: the client decides what comes next.";
const EXPLAIN: &str = "Write EXPLAIN statement.";
const DESCRIBE: &str = "Write DESCRIBE name.";
const TABLES: &str =
    "Write SELECT table_name FROM information_schema.tables WHERE table_name LIKE '...'.";
