//! `CREATE [UNIQUE] INDEX [CONCURRENTLY] [[IF NOT EXISTS] name] ON table [USING btree] (column, ...)`
//!
//! PostgreSQL's orders (`ASC`, `DESC`, `NULLS FIRST`), operator classes, `INCLUDE`, `WITH` and `TABLESPACE`,
//! and RisingWave's `DISTRIBUTED BY`, say how an index is laid out, not what it finds: they are taken and
//! change nothing. So is `USING hash`, which a btree can do as well. An index never stops writers, so it
//! is always made `CONCURRENTLY`.

use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::Report;

use super::cursor::Cursor;
use crate::ast::{CreateIndex, Name, Statement, Unique};

pub(super) fn create(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    let text = cursor.statement_text();
    cursor.expect(&["CREATE"])?;
    let unique = cursor.take(&["UNIQUE"]).then_some(Unique::Index);
    cursor.expect(&["INDEX"])?;
    cursor.take(&["CONCURRENTLY"]);
    let if_not_exists = cursor.take(&["IF", "NOT", "EXISTS"]);
    let name = match cursor.is(&["ON"]) && !if_not_exists {
        true => None,
        false => Some(cursor.identifier()?),
    };
    cursor.expect(&["ON"])?;
    cursor.take(&["ONLY"]);
    let on = cursor.object_name()?;
    if cursor.take(&["USING"]) && !cursor.take(&["BTREE"]) && !cursor.take(&["HASH"]) {
        return Err(refused(cursor, "an index that is not a btree"));
    }
    cursor.expect_token(&Token::LParen)?;
    let mut columns = vec![column(cursor)?];
    while cursor.take_token(&Token::Comma) {
        columns.push(column(cursor)?);
    }
    cursor.expect_token(&Token::RParen)?;
    let included = match cursor.take(&["INCLUDE"]) {
        true => cursor.optional_names()?,
        false => Vec::new(),
    };
    if unique.is_some() {
        super::constraint::nulls(cursor)?;
    }
    if cursor.take(&["DISTRIBUTED", "BY"]) {
        cursor.optional_names()?;
    }
    if cursor.take(&["WITH"]) {
        cursor.options()?;
    }
    if cursor.take(&["TABLESPACE"]) {
        cursor.identifier()?;
    }
    if cursor.is(&["WHERE"]) {
        return Err(refused(cursor, "an index on some of the rows"));
    }
    let index = CreateIndex { unique, name, if_not_exists, on, columns, included, text };
    Ok(Statement::CreateIndex(Box::new(index)))
}

fn column(cursor: &mut Cursor<'_>) -> Result<Name, Report> {
    if matches!(cursor.peek(), Token::LParen) {
        return Err(refused(cursor, "an index on an expression"));
    }
    let name = cursor.identifier()?;
    if matches!(cursor.peek(), Token::LParen) {
        return Err(refused(cursor, "an index on an expression"));
    }
    if cursor.take(&["COLLATE"]) && cursor.object_name()?.name != "C" {
        return Err(refused(cursor, "an index by a collation other than \"C\""));
    }
    if cursor.word(0).is_some_and(|word| word.ends_with("_OPS")) {
        cursor.next();
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
