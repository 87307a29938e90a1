//! `COMMENT ON kind name IS 'text' | NULL`.

use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::Report;

use super::cursor::Cursor;
use super::role::{access, text};
use crate::ast::{Access, CommentOn, ObjectKind, Statement};

/// Kinds of objects as they are named.
const KINDS: [(&[&str], ObjectKind); 6] = [
    (&["TABLE"], ObjectKind::Table),
    (&["SOURCE"], ObjectKind::Source),
    (&["SINK"], ObjectKind::Sink),
    (&["VIEW"], ObjectKind::View),
    (&["MATERIALIZED", "VIEW"], ObjectKind::MaterializedView),
    (&["INDEX"], ObjectKind::Index),
];

/// True for a comment on something that keeps one; others are accepted and not kept.
pub(super) fn is_kept(cursor: &Cursor<'_>) -> bool {
    const OTHERS: [&str; 5] = ["COLUMN", "ROLE", "USER", "SCHEMA", "DATABASE"];
    let on = |words: &[&str]| cursor.is(&[&["COMMENT", "ON"], words].concat());
    KINDS.iter().any(|(words, _)| on(words)) || OTHERS.iter().any(|word| on(&[word]))
}

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["COMMENT", "ON"])?;
    let on = if cursor.take(&["COLUMN"]) {
        let mut path = vec![cursor.identifier()?];
        while cursor.take_token(&Token::Period) {
            path.push(cursor.identifier()?);
        }
        let (Some(column), Some(table)) = (path.pop(), path.pop()) else {
            return Err(cursor.syntax_error());
        };
        CommentOn::Column(table, column)
    } else if cursor.take(&["ROLE"]) || cursor.take(&["USER"]) {
        CommentOn::Role(cursor.identifier()?)
    } else if cursor.take(&["SCHEMA"]) {
        CommentOn::Schema(cursor.identifier()?)
    } else if cursor.take(&["DATABASE"]) {
        CommentOn::Database(cursor.identifier()?)
    } else {
        let kind = KINDS.iter().find(|(words, _)| cursor.take(words)).map(|(_, kind)| *kind);
        let kind = kind.ok_or_else(|| cursor.syntax_error())?;
        CommentOn::Object(kind, cursor.object_name()?)
    };
    cursor.expect(&["IS"])?;
    let said = if cursor.take(&["NULL"]) { None } else { Some(text(cursor)?) };
    // An empty comment is none, as in PostgreSQL.
    let said = said.filter(|said| !said.is_empty());
    Ok(access(Access::Comment(on, said)))
}
