//! `x IN (VALUES (1), (2))`: sqlparser wants a SELECT there, or single values.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace, Word};

use super::is_word;

/// The tokens with `SELECT * FROM (VALUES ...) AS listed` for VALUES behind IN, ANY or ALL.
pub(super) fn with_select(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let is_shown = |token: &TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
    let shown: Vec<usize> = (0..tokens.len()).filter(|at| is_shown(&tokens[*at])).collect();
    let mut found = Vec::new();
    for three in shown.windows(3) {
        let [before, open, values] = [three[0], three[1], three[2]];
        let asks = ["IN", "ANY", "SOME", "ALL"].iter().any(|w| is_word(&tokens[before].token, w));
        if asks && tokens[open].token == Token::LParen && is_word(&tokens[values].token, "VALUES") {
            found.extend(end(&tokens, values).map(|end| (values, end)));
        }
    }
    let word = |value: &str, keyword| {
        Token::Word(Word { value: value.to_owned(), quote_style: None, keyword })
    };
    let space = Token::Whitespace(Whitespace::Space);
    // From the end, so that places before stay what they are.
    let mut places: Vec<(usize, bool)> =
        found.into_iter().flat_map(|(values, end)| [(values, true), (end, false)]).collect();
    places.sort_unstable();
    for (at, opens) in places.into_iter().rev() {
        let span = tokens[at].span;
        let added = match opens {
            true => vec![
                word("SELECT", Keyword::SELECT),
                space.clone(),
                Token::Mul,
                space.clone(),
                word("FROM", Keyword::FROM),
                space.clone(),
                Token::LParen,
            ],
            false => vec![
                Token::RParen,
                space.clone(),
                word("AS", Keyword::AS),
                space.clone(),
                word("listed", Keyword::NoKeyword),
            ],
        };
        tokens.splice(at..at, added.into_iter().map(|token| TokenWithSpan { token, span }));
    }
    tokens
}

/// Where the bracket closes that is open at a place.
fn end(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return Some(at),
            Token::RParen => depth -= 1,
            _ => {}
        }
    }
    None
}
