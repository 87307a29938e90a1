//! Syntax errors in PostgreSQL's words: what stands where the grammar stopped.

use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Span, TokenWithSpan, TokenizerError};
use millrace_types::{Report, SqlState};

use crate::text::Text;

fn near(token: &str) -> Report {
    Report::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{token}\""))
}

/// The error of the token with this span.
pub(super) fn at(span: Span, text: &Text<'_>) -> Report {
    let position = text.position(span.start);
    Report { position, ..near(text.between(span, span)) }
}

/// The error of a statement that ends too early.
pub(super) fn at_end(end: Option<&TokenWithSpan>, text: &Text<'_>) -> Report {
    let report = match end {
        Some(token) => near(text.between(token.span, token.span)),
        None => Report::new(SqlState::SYNTAX_ERROR, "syntax error at end of input"),
    };
    report.at(end_position(end, text))
}

/// Where a statement ends.
pub(super) fn end_position(end: Option<&TokenWithSpan>, text: &Text<'_>) -> usize {
    end.and_then(|token| text.position(token.span.start)).unwrap_or_else(|| text.end())
}

/// What sqlparser says ends with a line and a column, unless it met the end of its tokens.
pub(super) fn from_parser(
    error: &ParserError,
    end: Option<&TokenWithSpan>,
    text: &Text<'_>,
) -> Report {
    match error {
        ParserError::RecursionLimitExceeded => {
            let message = "stack depth limit exceeded";
            let report = Report::new(SqlState::STATEMENT_TOO_COMPLEX, message);
            report.hint("Nest fewer expressions or subqueries.")
        }
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => {
            let Some(location) = location(message) else { return at_end(end, text) };
            let report = near(text.token_at(location).unwrap_or_default());
            Report { position: text.position(location), ..report }
        }
    }
}

/// `... at Line: 1, Column: 7`
fn location(message: &str) -> Option<Location> {
    let (_, tail) = message.rsplit_once(" at Line: ")?;
    let (line, column) = tail.split_once(", Column: ")?;
    Some(Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?))
}

/// Text that cannot be cut into tokens: something in it is not closed.
pub(super) fn from_tokenizer(error: &TokenizerError, source: &str, text: &Text<'_>) -> Report {
    let message = error.message.to_lowercase();
    let what = if message.contains("comment") {
        "unterminated /* comment"
    } else if message.contains("dollar") || message.contains('$') {
        "unterminated dollar-quoted string"
    } else if message.contains("delimiter") {
        "unterminated quoted identifier"
    } else if message.contains("string") || message.contains("literal") {
        "unterminated quoted string"
    } else {
        "syntax error"
    };
    let location = opening(error.location, source, text, what);
    let byte = text.byte(location).unwrap_or(0);
    let rest = source.get(byte..).unwrap_or_default();
    let report = Report::new(SqlState::SYNTAX_ERROR, format!("{what} at or near \"{rest}\""));
    Report { position: text.position(location), ..report }
}

/// The tokenizer reports some things where they end, PostgreSQL where they begin.
fn opening(location: Location, source: &str, text: &Text<'_>, what: &str) -> Location {
    let mark = match what {
        "unterminated /* comment" => "/*",
        "unterminated dollar-quoted string" => "$",
        _ => return location,
    };
    let here = text.byte(location).unwrap_or(source.len());
    let starts = source.get(here..).is_some_and(|rest| rest.starts_with(mark));
    let found = source.get(..here).and_then(|before| before.find(mark)).filter(|_| !starts);
    let Some(byte) = found else { return location };
    let before = &source[..byte];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
    let number = |n: usize| u64::try_from(n).unwrap_or(1);
    Location::new(number(line), number(column))
}
