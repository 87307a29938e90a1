//! `CREATE TABLE [IF NOT EXISTS] name (columns, PRIMARY KEY (...)) [INCLUDE ...] [WITH (...)]
//! [FORMAT ... ENCODE ...]`, and the statements that change
//! rows, which sqlparser reads.

use datafusion::sql::sqlparser::ast::{SetExpr, Statement as SqlStatement};
use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::{Report, SqlState};

use super::constraint;
use super::cursor::Cursor;
use super::foreign::clauses;
use super::{identity, table_as};
use crate::ast::{Change, CreateTable, Statement, TableColumnDef};

pub(super) fn create(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["CREATE", "TABLE"])?;
    let if_not_exists = cursor.take(&["IF", "NOT", "EXISTS"]);
    let mut table = CreateTable {
        name: cursor.object_name()?,
        if_not_exists,
        columns: Vec::new(),
        key: Vec::new(),
        key_name: None,
        constraints: Vec::new(),
        feed: None,
        text: cursor.statement_text(),
    };
    if table_as::is_next(cursor) {
        return table_as::create(cursor, table.name, if_not_exists);
    }
    cursor.expect_token(&Token::LParen)?;
    loop {
        if constraint::is_of_table(cursor) {
            constraint::of_table(cursor, &mut table)?;
        } else if cursor.is(&["WATERMARK", "FOR"]) {
            let report = Report::unsupported("WATERMARK in a table");
            let report = report.hint(
                "Write CREATE SOURCE name (columns, WATERMARK FOR column AS column - INTERVAL '5 seconds').",
            );
            return Err(Report { position: cursor.here(), ..report });
        } else {
            refuse(cursor, &["EXCLUDE", "LIKE"])?;
            column(cursor, &mut table)?;
        }
        if !cursor.take_token(&Token::Comma) {
            break;
        }
    }
    cursor.expect_token(&Token::RParen)?;
    if cursor.is(&["WITH"]) || cursor.is(&["INCLUDE"]) || cursor.is(&["FORMAT"]) {
        table.feed = Some(super::create_source::feed(cursor)?);
    }
    Ok(Statement::CreateTable(Box::new(table)))
}

fn column(cursor: &mut Cursor<'_>, table: &mut CreateTable) -> Result<(), Report> {
    let name = cursor.identifier()?;
    let type_position = cursor.here();
    let (data_type, identity) = identity::column_type(cursor)?;
    let (not_null, default) = (identity.is_some(), None);
    let mut column = TableColumnDef { name, data_type, type_position, not_null, default, identity };
    loop {
        // The name of a NOT NULL or a DEFAULT is said nowhere.
        let name = constraint::name(cursor)?;
        if cursor.take(&["NOT", "NULL"]) {
            column.not_null = true;
        } else if cursor.take(&["NULL"]) {
            column.not_null = false;
        } else if column.default.is_none() && cursor.take(&["DEFAULT"]) {
            column.default = Some(cursor.bare_expression()?);
        } else if identity::is_next(cursor) {
            let position = cursor.here();
            let found = identity::generated(cursor)?;
            if column.identity.replace(found).is_some() {
                let message = format!(
                    "multiple identity specifications for column \"{}\" of table \"{}\"",
                    column.name.name, table.name.name
                );
                return Err(Report { position, ..Report::new(SqlState::SYNTAX_ERROR, message) });
            }
            column.not_null = true;
        } else if !constraint::of_column(cursor, table, &column.name, name)? {
            break;
        }
    }
    refuse(cursor, &["GENERATED", "COLLATE", "AS"])?;
    table.columns.push(column);
    Ok(())
}

fn refuse(cursor: &Cursor<'_>, words: &[&str]) -> Result<(), Report> {
    match words.iter().find(|word| cursor.is(&[word])) {
        Some(word) => {
            let what = format!("{word} in a table");
            let report = Report { position: cursor.here(), ..Report::unsupported(what) };
            Err(report.hint("A column has a type, NOT NULL, DEFAULT and constraints."))
        }
        None => Ok(()),
    }
}

/// `INSERT`, `UPDATE` or `DELETE`.
pub(super) fn change(verb: &'static str, cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    let text = cursor.statement_text();
    let (statement, overrides) = match identity::overriding(cursor)? {
        Some(statement) => (statement, true),
        None => (cursor.statement_to_end()?, false),
    };
    Ok(Statement::Change(Box::new(Change { statement, only: None, verb, text, overrides })))
}

/// What begins with WITH: a query, or a change that reads what WITH names.
pub(super) fn with(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    let text = cursor.statement_text();
    let query = cursor.query_to_end()?;
    let verb = match query.body.as_ref() {
        SetExpr::Insert(_) => "INSERT",
        SetExpr::Update(_) => "UPDATE",
        SetExpr::Delete(_) => "DELETE",
        _ => return Ok(Statement::Query(query)),
    };
    let change =
        Change { statement: SqlStatement::Query(query), only: None, verb, text, overrides: false };
    match clauses::of_statement(change.parts().1) {
        Some(clause) => Err(cursor.foreign(clause)),
        None => Ok(Statement::Change(Box::new(change))),
    }
}
