//! `PREPARE name [(type, ...)] AS statement`, `EXECUTE name [(value, ...)]`.

use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::Report;

use super::cursor::Cursor;
use crate::ast::{ExecuteStatement, PrepareStatement, Statement};
use crate::typenames::column_type;

pub(super) fn prepare(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["PREPARE"])?;
    let name = cursor.identifier()?;
    let mut types = Vec::new();
    if cursor.take_token(&Token::LParen) {
        loop {
            let position = cursor.here();
            let written = cursor.data_type()?;
            let sql_type = column_type(&written);
            types.push(sql_type.map_err(|report| Report { position, ..report })?);
            if !cursor.take_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    }
    cursor.expect(&["AS"])?;
    let (offset, text) = (cursor.here().map_or(0, |position| position - 1), cursor.rest_text());
    match cursor.word(0).as_deref() {
        Some("SELECT" | "WITH" | "VALUES" | "INSERT" | "UPDATE" | "DELETE") => {}
        None if *cursor.peek() == Token::LParen => {}
        _ => return Err(cursor.syntax_error()),
    }
    // What is wrong with it is told now.
    super::statement(cursor)?;
    Ok(Statement::Prepare(Box::new(PrepareStatement { name, types, text, offset })))
}

pub(super) fn execute(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["EXECUTE"])?;
    let name = cursor.identifier()?;
    let mut arguments = Vec::new();
    if cursor.take_token(&Token::LParen) {
        loop {
            arguments.push(cursor.expression()?);
            if !cursor.take_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    }
    Ok(Statement::Execute(Box::new(ExecuteStatement { name, arguments })))
}
