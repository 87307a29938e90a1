//! Constructs of other dialects: what they are called, and what to write here.
//!
//! sqlparser fails at some of them and reads others, which DataFusion would pass over in silence or
//! refuse in its own words. So a syntax error is compared with [`phrases`], the words around the place
//! where the grammar stopped; and what was read is looked through by [`clauses`].
//!
//! Invariants: 1. a phrase explains an error that is already there: text that PostgreSQL's grammar takes is
//! never refused for its words. 2. what sqlparser reads and PostgreSQL has not is refused, unless the dialect
//! has it (`QUALIFY`, ASOF).

pub(super) mod clauses;
mod phrases;

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use millrace_types::{Report, SqlState};

use crate::text::Text;

/// What stands in the text, what it is called, and a hint.
///
/// The first is words and marks between blanks; `0` is any number, `''` any string, `?` any token.
pub(super) type Foreign = (&'static str, &'static str, &'static str);

/// Tokens before an error at which a phrase around it may begin; none is as long.
const REACH: usize = 10;

/// A syntax error in a statement; in the words of the construct that it is about, if one is known.
pub(super) fn explain(report: Report, tokens: &[TokenWithSpan], text: &Text<'_>) -> Report {
    let Some(position) = report.position.filter(|_| report.code == SqlState::SYNTAX_ERROR) else {
        return report;
    };
    let tokens = solid(tokens);
    let here = tokens.partition_point(|token| text.position(token.span.start) < Some(position));
    let near = here.saturating_sub(REACH)..(here + 1).min(tokens.len());
    let found = phrases::PHRASES.iter().find_map(|phrase| {
        let starts = near.clone().filter(|at| matches(phrase.0, &tokens[*at..]));
        let mut covering = starts.filter(|at| covers(phrase.0, &tokens[*at..], position, text));
        covering.next().map(|at| (phrase, tokens[at]))
    });
    match found {
        Some((phrase, token)) => refused(phrase, text.position(token.span.start)),
        None => report,
    }
}

/// The report for a construct that was read; it stands where its words first do.
pub(super) fn read(foreign: &Foreign, tokens: &[TokenWithSpan], text: &Text<'_>) -> Report {
    let tokens = solid(tokens);
    let at = (0..tokens.len()).find(|at| matches(foreign.0, &tokens[*at..]));
    refused(foreign, at.and_then(|at| text.position(tokens[at].span.start)))
}

fn refused((_, what, hint): &Foreign, position: Option<usize>) -> Report {
    Report { position, ..Report::unsupported(what) }.hint(*hint)
}

fn solid(tokens: &[TokenWithSpan]) -> Vec<&TokenWithSpan> {
    tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect()
}

/// True if a phrase begins here.
fn matches(phrase: &str, tokens: &[&TokenWithSpan]) -> bool {
    let mut tokens = tokens.iter();
    phrase.split(' ').all(|wanted| tokens.next().is_some_and(|token| is(wanted, &token.token)))
}

fn is(wanted: &str, token: &Token) -> bool {
    match token {
        _ if wanted == "?" => true,
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted),
        Token::Number(..) => wanted == "0",
        Token::SingleQuotedString(_) => wanted == "''",
        mark => mark.to_string() == wanted,
    }
}

/// True if a position is in a phrase, or right behind it.
fn covers(phrase: &str, tokens: &[&TokenWithSpan], position: usize, text: &Text<'_>) -> bool {
    let begins = |token: &TokenWithSpan| text.position(token.span.start);
    let length = phrase.split(' ').count();
    let first = tokens.first().and_then(|token| begins(token));
    let behind = tokens.get(length).map_or(Some(usize::MAX), |token| begins(token));
    first.is_some_and(|first| first <= position) && behind.is_some_and(|end| position <= end)
}
