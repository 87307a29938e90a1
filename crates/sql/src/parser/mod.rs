//! From text to statements. Our own statements are taken first; queries, expressions and types go to
//! sqlparser, over the same tokens, so that every position counts in the text as it came.
//!
//! A statement is first cut out by its tokens, so that one parser never reads past a semicolon.
//!
//! Invariants: 1. text that holds only white space and comments gives no statement. 2. every error
//! has a SQLSTATE, and a position unless the text is too deep to parse.

mod alter;
mod asof;
mod backup;
mod bare_table;
mod comment;
mod constraint;
mod copy;
mod create_source;
mod cursor;
mod declared;
mod dialect;
mod drop;
mod explain;
mod fail;
mod foreign;
mod grant;
mod identity;
mod index;
mod isnull;
mod job;
mod junk;
mod limits;
mod listed;
mod locking;
mod mask;
mod prepared;
mod renamed;
mod role;
mod secret;
mod session;
mod show;
mod sink;
mod subscribe;
mod table;
mod table_as;
mod unsupported;
mod view;
mod window;

#[cfg(test)]
mod tests;

use datafusion::sql::sqlparser::ast::{Expr, Query};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use millrace_types::Report;

use crate::ast::Statement;
use crate::text::Text;
pub(crate) use asof::KINDS as ASOF_KINDS;
use cursor::Cursor;
pub(crate) use dialect::SqlDialect;
pub use mask::masked;
pub use renamed::renamed;

/// The tokens of one statement and of the semicolon that ends it.
struct Piece {
    tokens: Vec<TokenWithSpan>,
    end: Option<TokenWithSpan>,
}

/// Cuts a query string into its statements: the text of each without its semicolon, and the
/// characters of the string before it.
///
/// # Errors
/// An unterminated string, quoted name, comment or dollar quote.
pub fn split(text: &str) -> Result<Vec<(String, usize)>, Report> {
    let whole = Text::new(text);
    let statement = |piece: Piece| {
        let (first, last) = (piece.tokens.first()?, piece.tokens.last()?);
        let position = whole.position(first.span.start)?;
        Some((whole.between(first.span, last.span).to_owned(), position - 1))
    };
    Ok(pieces(text, &whole)?.into_iter().filter_map(statement).collect())
}

/// The statements of a query string; positions count from its start.
///
/// # Errors
/// Syntax errors (`42601`) and statements that are known but not there yet (`0A000`).
pub fn parse(text: &str) -> Result<Vec<Statement>, Report> {
    let whole = Text::new(text);
    pieces(text, &whole)?.into_iter().map(|piece| one(piece, &whole)).collect()
}

/// The query of a stored `CREATE MATERIALIZED VIEW` with the clauses behind it, as it was written.
///
/// # Errors
/// The text is no such statement.
pub fn view_query(text: &str) -> Result<String, Report> {
    let whole = Text::new(text);
    let tokens = Tokenizer::new(&SqlDialect::PLAIN, text).tokenize_with_location();
    let mut tokens = tokens.map_err(|error| fail::from_tokenizer(&error, text, &whole))?;
    let ends = |token: &TokenWithSpan| matches!(token.token, Token::SemiColon | Token::EOF);
    tokens.truncate(tokens.iter().position(ends).unwrap_or(tokens.len()));
    view::query_of(&mut Cursor::new(tokens, None, &whole))
}

/// A stored query; the text has been parsed once before.
pub(crate) fn parse_query(text: &str) -> Result<Box<Query>, Report> {
    let whole = Text::new(text);
    let tokens = tokens(text, &whole)?;
    Cursor::new(tokens, None, &whole).stored_query()
}

/// A stored expression; the text has been parsed once before.
pub(crate) fn parse_expression(text: &str) -> Result<Expr, Report> {
    let whole = Text::new(text);
    let tokens = tokens(text, &whole)?;
    let mut cursor = Cursor::new(tokens, None, &whole);
    let expression = cursor.expression()?;
    cursor.expect_end()?;
    Ok(expression.expr)
}

fn tokens(text: &str, whole: &Text<'_>) -> Result<Vec<TokenWithSpan>, Report> {
    limits::check_length(text)?;
    let tokens = Tokenizer::new(&SqlDialect::PLAIN, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| fail::from_tokenizer(&error, text, whole))?;
    limits::check(&tokens)?;
    let tokens = isnull::with_words(listed::with_select(bare_table::with_select(tokens)));
    Ok(asof::with_match_condition(window::without_partition(tokens)))
}

/// True for a word without quotes, in whatever case.
fn is_word(token: &Token, word: &str) -> bool {
    match token {
        Token::Word(w) => w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word),
        _ => false,
    }
}

fn pieces(text: &str, whole: &Text<'_>) -> Result<Vec<Piece>, Report> {
    let mut pieces = Vec::new();
    let mut current = Vec::new();
    let tokens = tokens(text, whole)?;
    junk::check_numbers(&tokens, whole)?;
    for token in tokens {
        match token.token {
            Token::SemiColon => {
                let tokens = std::mem::take(&mut current);
                pieces.push(Piece { tokens, end: Some(token) });
            }
            Token::EOF => {}
            Token::Whitespace(_) if current.is_empty() => {}
            _ => current.push(token),
        }
    }
    pieces.push(Piece { tokens: current, end: None });
    for piece in &mut pieces {
        while matches!(piece.tokens.last(), Some(t) if matches!(t.token, Token::Whitespace(_))) {
            piece.tokens.pop();
        }
    }
    pieces.retain(|piece| !piece.tokens.is_empty());
    Ok(pieces)
}

fn one(piece: Piece, whole: &Text<'_>) -> Result<Statement, Report> {
    let mut cursor = Cursor::new(piece.tokens, piece.end, whole);
    let read = statement(&mut cursor).and_then(|read| cursor.expect_end().map(|()| read));
    read.map_err(|report| cursor.explained(report))
}

/// One statement, by its first words.
fn statement(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    let Some(first) = cursor.word(0) else {
        return match cursor.peek() {
            Token::LParen => Ok(Statement::Query(cursor.query_to_end()?)),
            _ => Err(cursor.syntax_error()),
        };
    };
    match first.as_str() {
        "SELECT" | "WITH" | "VALUES" => match table_as::select_into(cursor)? {
            Some(statement) => Ok(statement),
            None if first == "WITH" => table::with(cursor),
            None => Ok(Statement::Query(cursor.query_to_end()?)),
        },
        "CREATE" if cursor.is(&["CREATE", "SOURCE"]) => create_source::parse(cursor),
        "CREATE" if cursor.is(&["CREATE", "SINK"]) => sink::parse(cursor),
        "CREATE" if cursor.is(&["CREATE", "TABLE"]) => table::create(cursor),
        "COPY" => copy::parse(cursor),
        "INSERT" => table::change("INSERT", cursor),
        "UPDATE" => table::change("UPDATE", cursor),
        "DELETE" => table::change("DELETE", cursor),
        "CREATE" if cursor.is(&["CREATE", "MATERIALIZED", "VIEW"]) => view::materialized(cursor),
        "CREATE" if cursor.is(&["CREATE", "VIEW"]) => view::plain(cursor),
        "CREATE" if cursor.is(&["CREATE", "OR", "REPLACE", "VIEW"]) => view::plain(cursor),
        "CREATE" if cursor.is(&["CREATE", "INDEX"]) => index::create(cursor),
        "CREATE" if cursor.is(&["CREATE", "UNIQUE", "INDEX"]) => index::create(cursor),
        "CREATE" if cursor.is(&["CREATE", "SECRET"]) => secret::create(cursor),
        "CREATE" if role::is_next(cursor) => role::create(cursor),
        "DROP" if cursor.is(&["DROP", "SECRET"]) => secret::drop(cursor),
        "DROP" if role::is_next(cursor) => role::drop(cursor),
        "GRANT" | "REVOKE" => grant::parse(cursor),
        "ALTER" if cursor.is(&["ALTER", "DEFAULT", "PRIVILEGES"]) => grant::defaults(cursor),
        "ALTER" => match role::alter(cursor)? {
            Some(statement) => Ok(statement),
            None => alter::parse(cursor),
        },
        "REASSIGN" => role::reassign(cursor),
        "COMMENT" if comment::is_kept(cursor) => comment::parse(cursor),
        "FLUSH" => {
            cursor.next();
            Ok(Statement::Flush)
        }
        "REFRESH" if cursor.is(&["REFRESH", "MATERIALIZED", "VIEW"]) => view::refresh(cursor),
        "BACKUP" => backup::parse(cursor),
        "CANCEL" => job::cancel(cursor),
        "DROP" => drop::parse(cursor),
        "SHOW" => show::parse(cursor),
        "DESCRIBE" | "DESC" => show::describe(cursor),
        "EXPLAIN" => explain::parse(cursor),
        "SUBSCRIBE" => subscribe::parse(cursor),
        "DECLARE" => declared::declare(cursor),
        "FETCH" | "MOVE" => declared::fetch(cursor),
        "PREPARE" => prepared::prepare(cursor),
        "EXECUTE" => prepared::execute(cursor),
        _ => match session::parse(&first, cursor)? {
            Some(session) => Ok(Statement::Session(session)),
            None => Err(unsupported::report(cursor)),
        },
    }
}
