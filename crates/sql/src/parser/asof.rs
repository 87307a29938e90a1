//! `a ASOF [LEFT] JOIN b ON a.k = b.k AND a.ts >= b.ts`: for sqlparser, an ASOF join has a match condition.
//!
//! It gets one that names its kind; the binder finds the comparison of times in `ON`.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace, Word};

use super::is_word;

/// The match conditions of inner and left joins that have none of their own.
pub(crate) const KINDS: [&str; 2] = ["inner", "left"];

/// The tokens with a match condition for each ASOF join.
pub(super) fn with_match_condition(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut at = 0;
    while at < tokens.len() {
        if is_word(&tokens[at].token, "ASOF") {
            let kind = kind(&mut tokens, at + 1);
            if let (Some(kind), Some(on)) = (kind, condition(&tokens, at + 1)) {
                let span = tokens[on].span;
                let word = |value: &str| {
                    let keyword = datafusion::sql::sqlparser::keywords::Keyword::MATCH_CONDITION;
                    Token::Word(Word { value: value.to_owned(), quote_style: None, keyword })
                };
                let added = [
                    word("MATCH_CONDITION"),
                    Token::LParen,
                    Token::SingleQuotedString(kind.to_owned()),
                    Token::RParen,
                    Token::Whitespace(Whitespace::Space),
                ];
                tokens.splice(on..on, added.map(|token| TokenWithSpan { token, span }));
            }
        }
        at += 1;
    }
    tokens
}

/// The kind of the join whose words begin at a place; the kind's own words go. None if no join follows.
fn kind(tokens: &mut [TokenWithSpan], from: usize) -> Option<&'static str> {
    let shown = |tokens: &[TokenWithSpan], from: usize| {
        let rest = tokens.get(from..)?.iter();
        let place = rest.take_while(|token| matches!(token.token, Token::Whitespace(_))).count();
        (from + place < tokens.len()).then_some(from + place)
    };
    let (mut at, mut kind) = (shown(tokens, from)?, KINDS[0]);
    for word in ["INNER", "LEFT", "OUTER"] {
        if is_word(&tokens[at].token, word) {
            tokens[at].token = Token::Whitespace(Whitespace::Space);
            kind = if word == "INNER" { KINDS[0] } else { KINDS[1] };
            at = shown(tokens, at)?;
        }
    }
    is_word(&tokens[at].token, "JOIN").then_some(kind)
}

/// Where the `ON` of a join stands that has no match condition of its own.
fn condition(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.checked_sub(1)?,
            token if depth == 0 && is_word(token, "ON") => return Some(at),
            token if depth == 0 && is_word(token, "MATCH_CONDITION") => return None,
            _ => {}
        }
    }
    None
}
