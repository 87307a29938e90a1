//! `CREATE TABLE [IF NOT EXISTS] name [(columns)] AS query [WITH [NO] DATA]`, and `SELECT ... INTO name`.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use millrace_types::Report;

use super::cursor::Cursor;
use super::is_word;
use crate::ast::{CreateTableAs, Name, Statement};

/// True if the names of columns, or none, come next, and AS behind them.
pub(super) fn is_next(cursor: &Cursor<'_>) -> bool {
    let blank = |token: &&Token| !matches!(token, Token::Whitespace(_));
    let mut tokens = cursor.rest().iter().map(|token| &token.token).filter(blank).peekable();
    if tokens.peek() == Some(&&Token::LParen) {
        tokens.next();
        // Names alone: columns with types are of another statement.
        loop {
            match (tokens.next(), tokens.next()) {
                (Some(Token::Word(_)), Some(Token::Comma)) => {}
                (Some(Token::Word(_)), Some(Token::RParen)) => break,
                _ => return false,
            }
        }
    }
    tokens.next().is_some_and(|token| is_word(token, "AS"))
}

/// What stands behind the name.
pub(super) fn create(
    cursor: &mut Cursor<'_>,
    name: Name,
    if_not_exists: bool,
) -> Result<Statement, Report> {
    let columns = cursor.optional_names()?;
    cursor.expect(&["AS"])?;
    if cursor.is(&["EXECUTE"]) {
        let report = Report::unsupported("CREATE TABLE AS EXECUTE");
        let report = Report { position: cursor.here(), ..report };
        return Err(report.hint("Write the query itself."));
    }
    let (length, with_data) = length(cursor.rest());
    let (query, _) = cursor.query_of(length)?;
    cursor.skip_to_end();
    let create = CreateTableAs { name, if_not_exists, columns, query, with_data };
    Ok(Statement::CreateTableAs(Box::new(create)))
}

/// How many of the tokens belong to the query, and whether its rows are wanted.
fn length(tokens: &[TokenWithSpan]) -> (usize, bool) {
    let words: Vec<(usize, &Token)> = tokens
        .iter()
        .enumerate()
        .map(|(at, token)| (at, &token.token))
        .filter(|(_, token)| !matches!(token, Token::Whitespace(_)))
        .collect();
    let ends = |clause: &[&str]| {
        let (at, end) = words.split_at_checked(words.len().checked_sub(clause.len())?)?;
        let same = end.iter().zip(clause).all(|((_, token), word)| is_word(token, word));
        (same && !at.is_empty()).then(|| end[0].0)
    };
    match (ends(&["WITH", "NO", "DATA"]), ends(&["WITH", "DATA"])) {
        (Some(at), _) => (at, false),
        (None, Some(at)) => (at, true),
        (None, None) => (tokens.len(), true),
    }
}

/// `SELECT ... INTO [TABLE] name ...`, if it is that; INTO stands in the first SELECT, outside of brackets.
pub(super) fn select_into(cursor: &mut Cursor<'_>) -> Result<Option<Statement>, Report> {
    let Some(at) = into(cursor.rest()) else { return Ok(None) };
    let tokens = cursor.rest().to_vec();
    let mut name = cursor.over(tokens[at..].to_vec());
    name.expect(&["INTO"])?;
    if ["TEMP", "TEMPORARY", "LOCAL", "UNLOGGED"].iter().any(|word| name.is(&[word])) {
        let report = Report::unsupported("SELECT INTO such a table");
        let report = Report { position: name.here(), ..report };
        return Err(report.hint("Write SELECT ... INTO name."));
    }
    name.take(&["TABLE"]);
    let table = name.object_name()?;
    let mut query = tokens[..at].to_vec();
    query.extend_from_slice(name.rest());
    let query = cursor.over(query).query_to_end()?;
    cursor.skip_to_end();
    let (columns, if_not_exists, with_data) = (Vec::new(), false, true);
    let create = CreateTableAs { name: table, if_not_exists, columns, query, with_data };
    Ok(Some(Statement::CreateTableAs(Box::new(create))))
}

/// Where INTO stands.
fn into(tokens: &[TokenWithSpan]) -> Option<usize> {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            word if depth == 0 && is_word(word, "INTO") => return Some(at),
            word if depth == 0
                && ["UNION", "INTERSECT", "EXCEPT", "FROM"]
                    .iter()
                    .any(|end| is_word(word, end)) =>
            {
                return None;
            }
            _ => {}
        }
    }
    None
}
