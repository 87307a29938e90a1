//! Statements that PostgreSQL or another dialect knows and that are not there: `0A000` with their
//! name and what to do instead. What nobody knows is a syntax error.
//!
//! They are told by their first words. What stands inside statements is in [`super::foreign`].

use millrace_types::Report;

use super::cursor::Cursor;

/// First words, what they name, and a hint.
type Known = (&'static [&'static str], &'static str, &'static str);

/// PostgreSQL's.
const OWN: &[Known] = &[
    (&["MERGE"], "MERGE", "Write INSERT ... ON CONFLICT, UPDATE ... FROM and DELETE ... USING."),
    (&["TRUNCATE"], "TRUNCATE", "Write DELETE FROM table."),
    (&["ALTER", "SYSTEM"], "ALTER SYSTEM", "Options are given when the server starts."),
    (&["ALTER"], "ALTER", "Drop the object and create it anew."),
    (&["CREATE", "OR", "REPLACE"], "CREATE OR REPLACE", "Drop the object and create it anew."),
    (&["CREATE", "TEMP"], "CREATE TEMP", TEMPORARY),
    (&["CREATE", "TEMPORARY"], "CREATE TEMPORARY", TEMPORARY),
    (&["CREATE", "LOCAL"], "CREATE LOCAL TEMPORARY", TEMPORARY),
    (&["CREATE", "GLOBAL"], "CREATE GLOBAL TEMPORARY", TEMPORARY),
    (&["CREATE", "UNLOGGED"], "CREATE UNLOGGED", "Write CREATE TABLE."),
    (
        &["CREATE", "RECURSIVE"],
        "CREATE RECURSIVE VIEW",
        "Write CREATE VIEW name AS WITH RECURSIVE ...",
    ),
    (&["CREATE", "FUNCTION"], "CREATE FUNCTION", "Write the expression where it is needed."),
    (&["CREATE", "AGGREGATE"], "CREATE AGGREGATE", "Write the expression where it is needed."),
    (&["CREATE", "PROCEDURE"], "CREATE PROCEDURE", CLIENT),
    (&["CREATE", "TRIGGER"], "CREATE TRIGGER", TRIGGER),
    (&["CREATE", "CONSTRAINT", "TRIGGER"], "CREATE CONSTRAINT TRIGGER", TRIGGER),
    (&["CREATE", "EVENT", "TRIGGER"], "CREATE EVENT TRIGGER", CLIENT),
    (&["CREATE", "RULE"], "CREATE RULE", TRIGGER),
    (&["CREATE", "SCHEMA"], "CREATE SCHEMA", "There is one schema, public."),
    (&["CREATE", "DATABASE"], "CREATE DATABASE", "There is one database, dev."),
    (
        &["CREATE", "TYPE"],
        "CREATE TYPE",
        "Write STRUCT<name type, ...> for a record, and text for a name of a list.",
    ),
    (&["CREATE", "DOMAIN"], "CREATE DOMAIN", "Write the type that is below it."),
    (&["CREATE", "SEQUENCE"], "CREATE SEQUENCE", KEYS),
    (
        &["CREATE", "EXTENSION"],
        "CREATE EXTENSION",
        "What the server has is there for all: leave it out.",
    ),
    (&["CREATE", "POLICY"], "CREATE POLICY", "Grant SELECT on a view that shows some of the rows."),
    (&["CREATE", "PUBLICATION"], "CREATE PUBLICATION", OUTWARD),
    (&["CREATE", "SUBSCRIPTION"], "CREATE SUBSCRIPTION", OUTWARD),
    (&["CREATE", "SERVER"], "CREATE SERVER", SOURCES),
    (&["CREATE", "FOREIGN"], "CREATE FOREIGN TABLE", SOURCES),
    (&["CREATE", "TABLESPACE"], "CREATE TABLESPACE", "All is kept in the data directory."),
    (&["CREATE", "COLLATION"], "CREATE COLLATION", "Text is compared by its bytes."),
    (&["CREATE", "CONVERSION"], "CREATE CONVERSION", "Text is UTF-8."),
    (&["CREATE", "CAST"], "CREATE CAST", "Write the expression where it is needed."),
    (&["CREATE", "OPERATOR"], "CREATE OPERATOR", "Write the expression where it is needed."),
    (&["CREATE", "LANGUAGE"], "CREATE LANGUAGE", CLIENT),
    (
        &["CREATE", "STATISTICS"],
        "CREATE STATISTICS",
        "Leave it out: plans do not depend on statistics.",
    ),
    (
        &["CREATE", "TEXT", "SEARCH"],
        "CREATE TEXT SEARCH",
        "Write LIKE, or ~ for regular expressions.",
    ),
    (&["CREATE", "ACCESS"], "CREATE ACCESS METHOD", CREATE),
    (&["CREATE", "TRANSFORM"], "CREATE TRANSFORM", CREATE),
    (
        &["DROP", "OWNED"],
        "DROP OWNED",
        "Drop the objects, or write REASSIGN OWNED BY role TO other.",
    ),
    (&["DROP", "SCHEMA"], "DROP SCHEMA", "There is one schema, public."),
    (&["DROP", "DATABASE"], "DROP DATABASE", "There is one database, dev."),
    (&["REFRESH"], "REFRESH", "A materialized view is always up to date: leave it out."),
    (&["NOTIFY"], "NOTIFY", "Write the row into a table: SUBSCRIBE TO it shows it to others."),
    (&["CALL"], "CALL", CLIENT),
    (&["DO"], "DO", CLIENT),
    (&["CLUSTER"], "CLUSTER", SORTED),
    (&["REINDEX"], "REINDEX", SORTED),
    (&["CHECKPOINT"], "CHECKPOINT", "Checkpoints are made by themselves."),
    (&["IMPORT"], "IMPORT FOREIGN SCHEMA", SOURCES),
    (&["LOAD"], "LOAD", "COPY table FROM STDIN takes the lines of a file: \\copy in psql."),
    (&["SECURITY"], "SECURITY LABEL", "Write GRANT and REVOKE."),
];

/// Kinds of objects of other dialects.
const KINDS: &[Known] = &[
    (&["CREATE", "STREAM"], "CREATE STREAM", STREAM),
    (&["CREATE", "CONNECTION"], "CREATE CONNECTION", CONNECTION),
    (&["CREATE", "CONNECTOR"], "CREATE CONNECTOR", CONNECTION),
    (&["CREATE", "CLUSTER"], "CREATE CLUSTER", ONE_SERVER),
    (&["CREATE", "WAREHOUSE"], "CREATE WAREHOUSE", ONE_SERVER),
    (&["CREATE", "CATALOG"], "CREATE CATALOG", "There is one database, dev."),
    (&["CREATE", "KEYSPACE"], "CREATE KEYSPACE", "There is one schema, public."),
    (
        &["CREATE", "DEFAULT", "INDEX"],
        "CREATE DEFAULT INDEX",
        "Write CREATE INDEX ON view (columns).",
    ),
    (&["CREATE", "FULLTEXT"], "CREATE FULLTEXT INDEX", "Write LIKE, or ~ for regular expressions."),
    (&["CREATE", "EVENT"], "CREATE EVENT", ALWAYS),
    (&["CREATE", "TASK"], "CREATE TASK", ALWAYS),
    (&["CREATE", "PIPE"], "CREATE PIPE", ALWAYS),
    (&["CREATE", "DYNAMIC"], "CREATE DYNAMIC TABLE", ALWAYS),
    (&["CREATE", "STREAMING"], "CREATE STREAMING TABLE", ALWAYS),
    (&["CREATE", "LIVE"], "CREATE LIVE VIEW", ALWAYS),
    (&["CREATE", "STAGE"], "CREATE STAGE", SOURCES),
    (&["CREATE", "EXTERNAL"], "CREATE EXTERNAL TABLE", SOURCES),
    (&["CREATE", "VIRTUAL"], "CREATE VIRTUAL TABLE", SOURCES),
    (&["CREATE", "SYNONYM"], "CREATE SYNONYM", "Write CREATE VIEW name AS SELECT * FROM other."),
    (&["CREATE", "PACKAGE"], "CREATE PACKAGE", CLIENT),
    (&["DROP", "STREAM"], "DROP STREAM", "Write DROP SOURCE or DROP MATERIALIZED VIEW."),
    (&["DROP", "CONNECTION"], "DROP CONNECTION", "Write DROP SOURCE or DROP SINK."),
    (&["DROP", "CONNECTOR"], "DROP CONNECTOR", "Write DROP SOURCE or DROP SINK."),
    (&["DROP", "CLUSTER"], "DROP CLUSTER", ONE_SERVER),
];

/// Statements of other dialects.
const OTHERS: &[Known] = &[
    (&["USE"], "USE", "There is one database, dev: leave it out, or connect to it."),
    (&["REPLACE"], "REPLACE INTO", UPSERT),
    (&["UPSERT"], "UPSERT", UPSERT),
    (&["TAIL"], "TAIL", "Write SUBSCRIBE TO view."),
    (&["PRAGMA"], "PRAGMA", "Write SHOW name and SET name = value, or DESCRIBE table."),
    (&["ATTACH"], "ATTACH", "There is one database, dev."),
    (&["DETACH"], "DETACH", "There is one database, dev."),
    (&["EXEC"], "EXEC", "Send the statement itself; EXECUTE runs one that was PREPAREd."),
    (&["GO"], "GO", "Write a semicolon between statements."),
    (&["PRINT"], "PRINT", "SELECT shows a source's rows, SUBSCRIBE TO what changes in a view."),
    (&["IF"], "IF", CLIENT),
    (&["WHILE"], "WHILE", CLIENT),
    (&["SAVE"], "SAVE TRANSACTION", "Write SAVEPOINT name."),
    (&["UNLOCK"], "UNLOCK TABLES", "Locks end with their transaction: write COMMIT."),
    (&["OPTIMIZE"], "OPTIMIZE", SORTED),
    (&["CHECK"], "CHECK TABLE", "millrace check reads a data directory."),
    (&["REPAIR"], "REPAIR TABLE", "millrace check reads a data directory."),
    (&["MSCK"], "MSCK REPAIR TABLE", "millrace check reads a data directory."),
    (&["RENAME"], "RENAME", "Drop the object and create it anew."),
    (&["UNDROP"], "UNDROP", "Create the object anew, or restore a backup."),
    (&["PURGE"], "PURGE", "Write DROP."),
    (&["FLASHBACK"], "FLASHBACK", "Restore a backup."),
    (&["KILL"], "KILL", "Write SELECT pg_cancel_backend(pid)."),
    (&["HANDLER"], "HANDLER", "Write DECLARE name CURSOR FOR query."),
    (
        &["HELP"],
        "HELP",
        "The statements are in docs/sql.md; \\h in psql shows those of PostgreSQL.",
    ),
    (&["DELIMITER"], "DELIMITER", "Write a semicolon between statements."),
    (&["CACHE"], "CACHE TABLE", ALWAYS),
    (&["UNCACHE"], "UNCACHE TABLE", ALWAYS),
    (&["CLEAR"], "CLEAR CACHE", ALWAYS),
    (&["ADD"], "ADD JAR", "Write the expression where it is needed."),
    (&["INSTALL"], "INSTALL", "What the server has is there for all: leave it out."),
    (
        &["STOP"],
        "STOP JOB",
        "Write DROP MATERIALIZED VIEW or DROP SINK; CANCEL JOB ends the filling of a view.",
    ),
    (&["TERMINATE"], "TERMINATE", "Write DROP MATERIALIZED VIEW or DROP SINK."),
    (&["PAUSE"], "PAUSE", "Write DROP MATERIALIZED VIEW, and create it anew."),
    (&["RESUME"], "RESUME", "What is created runs."),
    (&["LIST"], "LIST", "Write SHOW SOURCES, TABLES, VIEWS, MATERIALIZED VIEWS or SINKS."),
    (&["RUN"], "RUN SCRIPT", "millrace sql FILE runs the statements of a file."),
    (&["ASSERT"], "ASSERT", "Write a SELECT and look at its rows."),
    (&["DEFINE"], "DEFINE", "Write \\set name value in psql."),
    (&["SUMMARIZE"], "SUMMARIZE", "Write DESCRIBE name, and a SELECT with aggregates."),
    (&["EXPORT"], "EXPORT", "Write COPY (query) TO STDOUT, or BACKUP TO 'directory'."),
    (&["UNLOAD"], "UNLOAD", "Write COPY (query) TO STDOUT, or CREATE SINK."),
    (&["PUT"], "PUT", "Write COPY table FROM STDIN."),
    (&["SYSTEM"], "SYSTEM", "Options are given when the server starts."),
    (&["RECOVER"], "RECOVER", "A view that has failed starts with the server; WAIT is not needed."),
    (&["WAIT"], "WAIT", "Write FLUSH: it waits until all changes are in all views."),
    (&["FROM"], "a query that begins with FROM", "Write SELECT * FROM table."),
];

/// Words after SHOW.
const SHOWN: &[Known] = &[
    (
        &["DATABASES"],
        "SHOW DATABASES",
        "There is one database, dev: SELECT datname FROM pg_database.",
    ),
    (
        &["CATALOGS"],
        "SHOW CATALOGS",
        "There is one database, dev: SELECT datname FROM pg_database.",
    ),
    (&["SCHEMAS"], "SHOW SCHEMAS", "Write SELECT schema_name FROM information_schema.schemata."),
    (&["CURRENT"], "SHOW CURRENT", "Write SELECT current_database(), current_schema."),
    (&["STREAMS"], "SHOW STREAMS", "Write SHOW SOURCES or SHOW MATERIALIZED VIEWS."),
    (
        &["QUERIES"],
        "SHOW QUERIES",
        "Write SHOW MATERIALIZED VIEWS, or SELECT * FROM pg_stat_activity.",
    ),
    (&["OBJECTS"], "SHOW OBJECTS", "Write SELECT relname, relkind FROM pg_class."),
    (&["INDEX"], "SHOW INDEX", INDEXES),
    (&["INDEXES"], "SHOW INDEXES", INDEXES),
    (&["KEYS"], "SHOW KEYS", INDEXES),
    (&["VARIABLES"], "SHOW VARIABLES", "Write SHOW ALL, or SHOW name."),
    (&["GLOBAL"], "SHOW GLOBAL", "Write SHOW ALL, or SHOW name."),
    (&["SESSION", "VARIABLES"], "SHOW SESSION VARIABLES", "Write SHOW ALL, or SHOW name."),
    (&["PARAMETERS"], "SHOW PARAMETERS", "Write SHOW ALL, or SHOW name."),
    (&["STATUS"], "SHOW STATUS", "/metrics of the HTTP address has figures."),
    (&["ENGINES"], "SHOW ENGINES", "There is one: leave it out."),
    (&["PROCESSLIST"], "SHOW PROCESSLIST", "Write SELECT * FROM pg_stat_activity."),
    (&["FULL", "PROCESSLIST"], "SHOW FULL PROCESSLIST", "Write SELECT * FROM pg_stat_activity."),
    (&["GRANTS"], "SHOW GRANTS", "Write SELECT * FROM information_schema.table_privileges."),
    (&["USERS"], "SHOW USERS", "Write SELECT rolname FROM pg_roles."),
    (&["ROLES"], "SHOW ROLES", "Write SELECT rolname FROM pg_roles."),
    (&["WARNINGS"], "SHOW WARNINGS", "Warnings come with the statement that causes them."),
    (&["ERRORS"], "SHOW ERRORS", "Errors come with the statement that causes them."),
    (&["FUNCTIONS"], "SHOW FUNCTIONS", "Write SELECT proname FROM pg_proc."),
    (&["TOPICS"], "SHOW TOPICS", "Write SHOW SOURCES; topics are the broker's."),
    (&["CONNECTORS"], "SHOW CONNECTORS", "Write SHOW SOURCES or SHOW SINKS."),
    (&["CONNECTIONS"], "SHOW CONNECTIONS", "Write SHOW SOURCES or SHOW SINKS."),
    (&["SUBSCRIPTIONS"], "SHOW SUBSCRIPTIONS", "Write SELECT * FROM pg_stat_activity."),
    (&["CLUSTER"], "SHOW CLUSTER", ONE_SERVER),
    (&["CLUSTERS"], "SHOW CLUSTERS", ONE_SERVER),
    (&["PARTITIONS"], "SHOW PARTITIONS", "Write SELECT * FROM millrace.sources."),
    (&["TBLPROPERTIES"], "SHOW TBLPROPERTIES", "Write SHOW CREATE TABLE name."),
];

/// Kinds of which there can be none: to drop one IF EXISTS does nothing.
const NONE: &[(&[&str], &str)] = &[
    (&["FUNCTION"], "DROP FUNCTION"),
    (&["PROCEDURE"], "DROP PROCEDURE"),
    (&["ROUTINE"], "DROP ROUTINE"),
    (&["AGGREGATE"], "DROP AGGREGATE"),
    (&["TRIGGER"], "DROP TRIGGER"),
    (&["EVENT", "TRIGGER"], "DROP EVENT TRIGGER"),
    (&["TYPE"], "DROP TYPE"),
    (&["DOMAIN"], "DROP DOMAIN"),
    (&["EXTENSION"], "DROP EXTENSION"),
    (&["SEQUENCE"], "DROP SEQUENCE"),
    (&["RULE"], "DROP RULE"),
    (&["POLICY"], "DROP POLICY"),
    (&["PUBLICATION"], "DROP PUBLICATION"),
    (&["SUBSCRIPTION"], "DROP SUBSCRIPTION"),
    (&["SERVER"], "DROP SERVER"),
    (&["FOREIGN", "TABLE"], "DROP FOREIGN TABLE"),
    (&["FOREIGN", "DATA", "WRAPPER"], "DROP FOREIGN DATA WRAPPER"),
    (&["COLLATION"], "DROP COLLATION"),
    (&["CAST"], "DROP CAST"),
    (&["OPERATOR"], "DROP OPERATOR"),
    (&["LANGUAGE"], "DROP LANGUAGE"),
    (&["STATISTICS"], "DROP STATISTICS"),
    (&["TABLESPACE"], "DROP TABLESPACE"),
];

const TEMPORARY: &str =
    "There are no temporary objects: create it under a name of its own, and DROP it.";
const CREATE: &str =
    "SOURCE, TABLE, VIEW, MATERIALIZED VIEW, INDEX, SINK, ROLE and SECRET are there.";
const DROP: &str =
    "Sources, tables, views, materialized views, indexes, sinks, roles and secrets are dropped.";
const SORTED: &str = "A view is kept in the order of its key, windows first: filter by these.";
const KEYS: &str = "Write id SERIAL, or id INT GENERATED BY DEFAULT AS IDENTITY.";
const CLIENT: &str = "There are no procedures: the client decides what comes next.";
const TRIGGER: &str =
    "CREATE MATERIALIZED VIEW computes something for each change, CREATE SINK sends it.";
const OUTWARD: &str = "CREATE SINK sends changes to Kafka, SUBSCRIBE TO shows them to a client.";
const SOURCES: &str = "Write CREATE SOURCE name (columns) WITH (connector = 'kafka', topic = '...', properties.bootstrap.server = '...') FORMAT PLAIN ENCODE JSON.";
const STREAM: &str = "Write CREATE SOURCE name (columns) WITH (connector = 'kafka', ...) FORMAT PLAIN ENCODE JSON, or CREATE MATERIALIZED VIEW name AS ...";
const CONNECTION: &str = "Write the options of the connection into CREATE SOURCE and CREATE SINK, passwords as SECRET name.";
const ONE_SERVER: &str = "There is one server with its workers: leave it out.";
const ALWAYS: &str = "CREATE MATERIALIZED VIEW name AS query keeps a result up to date.";
const UPSERT: &str = "Write INSERT INTO table VALUES (...) ON CONFLICT (key) DO UPDATE SET column = excluded.column.";
const INDEXES: &str = "Write SELECT * FROM pg_indexes WHERE tablename = 'name'.";

fn report_of((_, what, hint): &Known, position: Option<usize>) -> Report {
    Report { position, ..Report::unsupported(what) }.hint(*hint)
}

/// The report for the statement that begins here.
pub(super) fn report(cursor: &mut Cursor<'_>) -> Report {
    let all = OWN.iter().chain(KINDS).chain(OTHERS);
    if let Some(known) = all.clone().find(|(words, _, _)| cursor.is(words)) {
        return report_of(known, cursor.here());
    }
    if cursor.is(&["DROP"])
        && let Some((_, what)) = no_objects(cursor)
    {
        return report_of(&(&[], what, DROP), cursor.here());
    }
    if cursor.is(&["CREATE"]) || cursor.is(&["DROP"]) {
        cursor.next();
    }
    cursor.syntax_error()
}

/// The report for what SHOW does not show, if it is known elsewhere; SHOW has been taken.
pub(super) fn shown(cursor: &Cursor<'_>) -> Option<Report> {
    let known = SHOWN.iter().find(|(words, _, _)| cursor.is(words))?;
    Some(report_of(known, cursor.here()))
}

/// The kind after DROP, with its tag, if there can be no object of it.
fn no_objects(cursor: &Cursor<'_>) -> Option<(&'static [&'static str], &'static str)> {
    let is = |words: &[&str]| {
        words.iter().zip(1..).all(|(word, n)| cursor.word(n).as_deref() == Some(word))
    };
    NONE.iter().find(|(words, _)| is(words)).copied()
}

/// The tag of a `DROP kind IF EXISTS` of a kind of which there can be none.
pub(super) fn drops_nothing(cursor: &Cursor<'_>) -> Option<&'static str> {
    let (words, tag) = no_objects(cursor)?;
    let behind = words.len() + 1;
    let exists = [(behind, "IF"), (behind + 1, "EXISTS")];
    exists.iter().all(|(n, word)| cursor.word(*n).as_deref() == Some(*word)).then_some(tag)
}
