//! `CREATE [OR REPLACE] VIEW` and `CREATE MATERIALIZED VIEW ... AS query [EMIT ON WINDOW CLOSE] [WITH (...)]`

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use millrace_types::Report;

use super::cursor::Cursor;
use crate::ast::{CreateMaterializedView, CreateView, Name, OptionItem, Statement};

pub(super) fn plain(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["CREATE"])?;
    let or_replace = cursor.take(&["OR", "REPLACE"]);
    cursor.expect(&["VIEW"])?;
    let if_not_exists = !or_replace && cursor.take(&["IF", "NOT", "EXISTS"]);
    let name = cursor.object_name()?;
    let columns = cursor.optional_names()?;
    cursor.expect(&["AS"])?;
    let (query, query_text) = cursor.query_of(cursor.rest().len())?;
    let text = cursor.statement_text();
    let view = CreateView { name, or_replace, if_not_exists, columns, query, query_text, text };
    Ok(Statement::CreateView(Box::new(view)))
}

/// What stands before the query of a materialized view.
struct Begin {
    if_not_exists: bool,
    name: Name,
    columns: Vec<Name>,
    options: Vec<OptionItem>,
}

fn begin(cursor: &mut Cursor<'_>) -> Result<Begin, Report> {
    cursor.expect(&["CREATE", "MATERIALIZED", "VIEW"])?;
    let if_not_exists = cursor.take(&["IF", "NOT", "EXISTS"]);
    let name = cursor.object_name()?;
    let columns = cursor.optional_names()?;
    let mut options = Vec::new();
    if cursor.take(&["WITH"]) {
        options = cursor.options()?;
    }
    cursor.expect(&["AS"])?;
    Ok(Begin { if_not_exists, name, columns, options })
}

pub(super) fn materialized(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    let Begin { if_not_exists, name, columns, mut options } = begin(cursor)?;
    let (query, _) = cursor.query_of(query_length(cursor.rest()))?;
    let mut emit_on_window_close = false;
    while !cursor.at_end() {
        if cursor.take(&["EMIT", "ON", "WINDOW", "CLOSE"]) {
            emit_on_window_close = true;
        } else if cursor.is(&["WITH", "NO", "DATA"]) {
            let report = Report { position: cursor.here(), ..Report::unsupported("WITH NO DATA") };
            return Err(report.hint("A materialized view is kept up to date from its creation."));
        } else if !cursor.take(&["WITH", "DATA"]) {
            cursor.expect(&["WITH"])?;
            options.extend(cursor.options()?);
        }
    }
    Ok(Statement::CreateMaterializedView(Box::new(CreateMaterializedView {
        name,
        if_not_exists,
        columns,
        query,
        emit_on_window_close,
        options,
        text: cursor.statement_text(),
    })))
}

/// `REFRESH MATERIALIZED VIEW [CONCURRENTLY] name [WITH DATA]`
pub(super) fn refresh(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["REFRESH", "MATERIALIZED", "VIEW"])?;
    cursor.take(&["CONCURRENTLY"]);
    let name = cursor.object_name()?;
    if cursor.is(&["WITH", "NO", "DATA"]) {
        let report = Report { position: cursor.here(), ..Report::unsupported("WITH NO DATA") };
        return Err(report.hint("A materialized view always has its rows."));
    }
    cursor.take(&["WITH", "DATA"]);
    Ok(Statement::Refresh(name))
}

/// The query of a stored `CREATE MATERIALIZED VIEW`, with what stands behind it.
pub(super) fn query_of(cursor: &mut Cursor<'_>) -> Result<String, Report> {
    begin(cursor)?;
    Ok(cursor.rest_text())
}

/// How many of the tokens belong to the query: those before the first of our own clauses that stands
/// outside parentheses and is followed by nothing but such clauses.
fn query_length(tokens: &[TokenWithSpan]) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Word(_) if depth == 0 && at > 0 && only_clauses(&tokens[at..]) => return at,
            _ => {}
        }
    }
    tokens.len()
}

fn only_clauses(tokens: &[TokenWithSpan]) -> bool {
    let words: Vec<&Token> = tokens.iter().map(|t| &t.token).filter(not_blank).collect();
    let mut rest = words.as_slice();
    while let Some(after) = after_clause(rest) {
        rest = after;
    }
    rest.is_empty()
}

fn not_blank(token: &&Token) -> bool {
    !matches!(token, Token::Whitespace(_))
}

/// The tokens after one clause of ours; None if none begins here.
fn after_clause<'a>(tokens: &'a [&'a Token]) -> Option<&'a [&'a Token]> {
    for clause in
        [&["EMIT", "ON", "WINDOW", "CLOSE"][..], &["WITH", "DATA"], &["WITH", "NO", "DATA"]]
    {
        let same = |(token, word): (&&Token, &&str)| is_word(token, word);
        if tokens.len() >= clause.len() && tokens.iter().zip(clause).all(same) {
            return Some(&tokens[clause.len()..]);
        }
    }
    match tokens {
        [with, Token::LParen, inside @ ..] if is_word(with, "WITH") => {
            let close = inside.iter().position(|token| **token == Token::RParen)?;
            Some(&inside[close + 1..])
        }
        _ => None,
    }
}

fn is_word(token: &Token, word: &str) -> bool {
    match token {
        Token::Word(w) => w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word),
        _ => false,
    }
}
