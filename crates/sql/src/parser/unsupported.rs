//! Statements that PostgreSQL or the dialect knows and that are not there yet: `0A000` with their
//! name and what to do instead. What nobody knows is a syntax error.

use millrace_types::Report;

use super::cursor::Cursor;

/// First words, what they name, and a hint.
const KNOWN: &[(&[&str], &str, &str)] = &[
    (&["MERGE"], "MERGE", STREAM),
    (&["TRUNCATE"], "TRUNCATE", STREAM),
    (&["ALTER", "SYSTEM"], "ALTER SYSTEM", "Options are given when the server starts."),
    (&["ALTER"], "ALTER", "Drop the object and create it anew."),
    (&["REFRESH"], "REFRESH MATERIALIZED VIEW", "A materialized view is always up to date."),
    (&["CREATE", "OR", "REPLACE"], "CREATE OR REPLACE", "Drop the object and create it anew."),
    (&["CREATE", "TEMP"], "CREATE TEMP", STREAM),
    (&["CREATE", "TEMPORARY"], "CREATE TEMPORARY", STREAM),
    (&["CREATE", "UNIQUE"], "CREATE UNIQUE INDEX", UNIQUE),
    (&["CREATE", "FUNCTION"], "CREATE FUNCTION", "Write the expression where it is needed."),
    (&["CREATE", "SCHEMA"], "CREATE SCHEMA", "There is one schema, public."),
    (&["CREATE", "DATABASE"], "CREATE DATABASE", "There is one database, dev."),
    (&["CREATE", "TYPE"], "CREATE TYPE", CREATE),
    (&["CREATE", "SEQUENCE"], "CREATE SEQUENCE", CREATE),
    (&["CREATE", "EXTENSION"], "CREATE EXTENSION", CREATE),
    (&["CREATE"], "CREATE of this kind of object", CREATE),
    (
        &["DROP"],
        "DROP of this kind of object",
        "Sources, tables, views, materialized views, indexes, sinks, roles and secrets are dropped.",
    ),
    (&["NOTIFY"], "NOTIFY", POLL),
    (&["CALL"], "CALL", SELECT),
    (&["DO"], "DO", SELECT),
    (&["CLUSTER"], "CLUSTER", SORTED),
    (&["REINDEX"], "REINDEX", SORTED),
    (&["CHECKPOINT"], "CHECKPOINT", "Checkpoints are made by themselves."),
    (&["IMPORT"], "IMPORT", STREAM),
    (&["LOAD"], "LOAD", SELECT),
    (&["SECURITY"], "SECURITY LABEL", SELECT),
];

const STREAM: &str = "Write INSERT, UPDATE and DELETE; rows of sources come from CREATE SOURCE ... WITH (connector = ...).";
const POLL: &str = "Read a materialized view with SELECT.";
const CREATE: &str =
    "SOURCE, TABLE, VIEW, MATERIALIZED VIEW, INDEX, SINK, ROLE and SECRET are there.";
const SORTED: &str = "A view is kept in the order of its key, windows first: filter by these.";
const UNIQUE: &str = "A PRIMARY KEY of a table is unique; CREATE INDEX makes lookups fast.";
const SELECT: &str = "What can be done is done with SELECT and CREATE.";

/// The report for the statement that begins here.
pub(super) fn report(cursor: &mut Cursor<'_>) -> Report {
    let Some((words, what, hint)) = KNOWN.iter().find(|(words, _, _)| cursor.is(words)) else {
        return cursor.syntax_error();
    };
    if words.len() == 1 && matches!(words[0], "CREATE" | "DROP") && cursor.word(1).is_none() {
        cursor.next();
        return cursor.syntax_error();
    }
    Report { position: cursor.here(), ..Report::unsupported(what) }.hint(*hint)
}
