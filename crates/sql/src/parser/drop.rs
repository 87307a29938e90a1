//! `DROP SOURCE | TABLE | VIEW | MATERIALIZED VIEW | INDEX | SINK [IF EXISTS] name, ... [CASCADE | RESTRICT]`

use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::Report;

use super::cursor::Cursor;
use super::unsupported;
use crate::ast::{Drop, ObjectKind, Session, Statement};

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    if let Some(tag) = unsupported::drops_nothing(cursor) {
        cursor.skip_to_end();
        return Ok(Statement::Session(Session::Accepted(tag)));
    }
    let kind = match cursor.word(1).as_deref() {
        Some("SOURCE") => ObjectKind::Source,
        Some("TABLE") => ObjectKind::Table,
        Some("VIEW") => ObjectKind::View,
        Some("MATERIALIZED") => ObjectKind::MaterializedView,
        Some("INDEX") => ObjectKind::Index,
        Some("SINK") => ObjectKind::Sink,
        _ => return Err(unsupported::report(cursor)),
    };
    cursor.expect(&["DROP"])?;
    cursor.expect(&kind.sql().split(' ').collect::<Vec<_>>())?;
    if kind == ObjectKind::Index {
        cursor.take(&["CONCURRENTLY"]);
    }
    let if_exists = cursor.take(&["IF", "EXISTS"]);
    let mut names = vec![cursor.object_name()?];
    while cursor.take_token(&Token::Comma) {
        names.push(cursor.object_name()?);
    }
    let cascade = cursor.take(&["CASCADE"]);
    if !cascade {
        cursor.take(&["RESTRICT"]);
    }
    Ok(Statement::Drop(Drop { kind, names, if_exists, cascade }))
}
