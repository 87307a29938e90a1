//! `CREATE INDEX [CONCURRENTLY] [[IF NOT EXISTS] name] ON table [USING btree] (column, ...)`
//!
//! PostgreSQL's orders (`ASC`, `DESC`, `NULLS FIRST`) and `INCLUDE` say how an index is laid out, not
//! what it finds: they are taken and change nothing. An index never stops writers, so it is always made
//! `CONCURRENTLY`.

use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::Report;

use super::cursor::Cursor;
use crate::ast::{CreateIndex, Name, Statement};

pub(super) fn create(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    let text = cursor.statement_text();
    cursor.expect(&["CREATE", "INDEX"])?;
    cursor.take(&["CONCURRENTLY"]);
    let if_not_exists = cursor.take(&["IF", "NOT", "EXISTS"]);
    let name = match cursor.is(&["ON"]) && !if_not_exists {
        true => None,
        false => Some(cursor.identifier()?),
    };
    cursor.expect(&["ON"])?;
    cursor.take(&["ONLY"]);
    let on = cursor.object_name()?;
    if cursor.take(&["USING"]) && !cursor.take(&["BTREE"]) {
        return Err(refused(cursor, "an index that is not a btree"));
    }
    cursor.expect_token(&Token::LParen)?;
    let mut columns = vec![column(cursor)?];
    while cursor.take_token(&Token::Comma) {
        columns.push(column(cursor)?);
    }
    cursor.expect_token(&Token::RParen)?;
    if cursor.take(&["INCLUDE"]) {
        cursor.optional_names()?;
    }
    if cursor.is(&["WHERE"]) {
        return Err(refused(cursor, "an index on some of the rows"));
    }
    Ok(Statement::CreateIndex(Box::new(CreateIndex { name, if_not_exists, on, columns, text })))
}

fn column(cursor: &mut Cursor<'_>) -> Result<Name, Report> {
    if matches!(cursor.peek(), Token::LParen) {
        return Err(refused(cursor, "an index on an expression"));
    }
    let name = cursor.identifier()?;
    if matches!(cursor.peek(), Token::LParen) {
        return Err(refused(cursor, "an index on an expression"));
    }
    if !cursor.take(&["ASC"]) {
        cursor.take(&["DESC"]);
    }
    if !cursor.take(&["NULLS", "FIRST"]) {
        cursor.take(&["NULLS", "LAST"]);
    }
    Ok(name)
}

fn refused(cursor: &Cursor<'_>, what: &str) -> Report {
    let report = Report { position: cursor.here(), ..Report::unsupported(what) };
    report.hint("Make a materialized view that has the expression as a column, or those rows.")
}
