//! `COPY table [(columns)] FROM STDIN [WHERE condition]`, `COPY table [(columns)] | (query) TO STDOUT`.
//!
//! The options, in both their spellings, are in [`options`].

mod options;

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use millrace_types::Report;

use super::cursor::Cursor;
use super::subscribe::subscribe;
use crate::ast::{Copy, CopyRows, CopyTo, Name, Statement};
use options::Direction;

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    let text = cursor.statement_text();
    cursor.expect(&["COPY"])?;
    // Before 7.3 the format stood here, and some tools still write it so.
    let binary = cursor.is(&["BINARY"]) && cursor.word(1).is_some_and(|word| word != "FROM");
    if binary {
        cursor.next();
    }
    if *cursor.peek() == Token::LParen {
        let rows = rows_in_brackets(cursor)?;
        return copy_to(cursor, rows, binary, text);
    }
    let position = cursor.here();
    let name = cursor.full_name()?;
    let relation = Name { name: name.to_string(), position };
    let columns = cursor.optional_names()?;
    if cursor.is(&["TO"]) {
        return copy_to(cursor, CopyRows::Relation { relation, columns }, binary, text);
    }
    let table = crate::names::object_name(&name, cursor.text)?;
    cursor.expect(&["FROM"])?;
    if !cursor.take(&["STDIN"]) {
        return Err(of_server(cursor, "COPY from a file or a program", "FROM STDIN"));
    }
    let options = options::parse(cursor, Direction::From, binary)?;
    let only = match cursor.take(&["WHERE"]) {
        true => Some(cursor.expression()?.expr),
        false => None,
    };
    Ok(Statement::Copy(Box::new(Copy { table, columns, options, only, text })))
}

fn copy_to(
    cursor: &mut Cursor<'_>,
    rows: CopyRows,
    binary: bool,
    text: String,
) -> Result<Statement, Report> {
    cursor.expect(&["TO"])?;
    if !cursor.take(&["STDOUT"]) {
        return Err(of_server(cursor, "COPY to a file or a program", "TO STDOUT"));
    }
    let options = options::parse(cursor, Direction::To, binary)?;
    Ok(Statement::CopyTo(Box::new(CopyTo { rows, options, text })))
}

/// `( query )`, `( SUBSCRIBE ... )`
fn rows_in_brackets(cursor: &mut Cursor<'_>) -> Result<CopyRows, Report> {
    cursor.expect_token(&Token::LParen)?;
    for word in ["INSERT", "UPDATE", "DELETE", "MERGE"] {
        if cursor.is(&[word]) {
            let report = Report::unsupported("COPY of a statement that changes rows");
            let report = report.hint("Run it by itself: RETURNING gives its rows.");
            return Err(Report { position: cursor.here(), ..report });
        }
    }
    let rows = if cursor.is(&["SUBSCRIBE"]) {
        CopyRows::Subscribe(Box::new(subscribe(cursor)?))
    } else {
        let length = up_to_bracket(cursor.rest());
        let (query, _) = cursor.query_of(length.ok_or_else(|| cursor.syntax_error())?)?;
        CopyRows::Query(query)
    };
    cursor.expect_token(&Token::RParen)?;
    Ok(rows)
}

/// The number of tokens before the bracket that closes what is open.
fn up_to_bracket(tokens: &[TokenWithSpan]) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return Some(at),
            Token::RParen => depth -= 1,
            _ => {}
        }
    }
    None
}

fn of_server(cursor: &Cursor<'_>, what: &str, instead: &str) -> Report {
    if !matches!(cursor.peek(), Token::SingleQuotedString(_)) && !cursor.is(&["PROGRAM"]) {
        return cursor.syntax_error();
    }
    let report = Report { position: cursor.here(), ..Report::unsupported(what) };
    report.hint(format!(
        "The server reads and writes no files of its machine: COPY ... {instead}, or \\copy in psql."
    ))
}
