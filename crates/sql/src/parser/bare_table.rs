//! `TABLE name` where a query may stand: `SELECT * FROM name`.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace, Word};

use super::is_word;

/// Words after which a query begins.
const BEFORE: [&str; 7] = ["UNION", "INTERSECT", "EXCEPT", "ALL", "DISTINCT", "AS", "EXPLAIN"];

/// The tokens with `SELECT * FROM` for each such `TABLE`.
pub(super) fn with_select(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut found = Vec::new();
    // What stood before, and the first word of the statement.
    let (mut before, mut first): (Option<&Token>, Option<&Token>) = (None, None);
    for (at, TokenWithSpan { token, .. }) in tokens.iter().enumerate() {
        if matches!(token, Token::Whitespace(_)) {
            continue;
        }
        if is_word(token, "TABLE") && begins_query(before, first) {
            found.push(at);
        }
        match token {
            Token::SemiColon => (before, first) = (None, None),
            token => {
                before = Some(token);
                first = first.or(before);
            }
        }
    }
    let word = |value: &str, keyword| {
        Token::Word(Word { value: value.to_owned(), quote_style: None, keyword })
    };
    for at in found.into_iter().rev() {
        let span = tokens[at].span;
        let space = Token::Whitespace(Whitespace::Space);
        let new = [
            word("SELECT", Keyword::SELECT),
            space.clone(),
            Token::Mul,
            space,
            word("FROM", Keyword::FROM),
        ];
        tokens.splice(at..=at, new.into_iter().map(|token| TokenWithSpan { token, span }));
    }
    tokens
}

fn begins_query(before: Option<&Token>, first: Option<&Token>) -> bool {
    let begins = |word: &str| first.is_some_and(|first| is_word(first, word));
    let inserts = begins("INSERT");
    match before {
        // In a query it is the name of a column: `x AS table`.
        Some(word) if is_word(word, "AS") && (begins("SELECT") || begins("WITH")) => false,
        None | Some(Token::LParen) => true,
        Some(Token::RParen) => inserts,
        Some(word) if BEFORE.iter().any(|known| is_word(word, known)) => true,
        Some(Token::Word(_)) => inserts && before.is_none_or(|before| !is_word(before, "INTO")),
        Some(_) => false,
    }
}
