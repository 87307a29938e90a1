//! `x ISNULL`: `x IS NULL`. sqlparser knows `x NOTNULL` alone.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace, Word};

use super::is_word;
use crate::names::is_reserved;

/// Reserved words that are values, or end one.
const VALUES: [&str; 10] = [
    "null",
    "true",
    "false",
    "end",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "current_user",
];

/// The tokens with `IS NULL` for each `ISNULL` behind a value. PostgreSQL takes the word for a name of a
/// column only behind AS.
pub(super) fn with_words(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut found = Vec::new();
    let mut before: Option<&Token> = None;
    for (at, TokenWithSpan { token, .. }) in tokens.iter().enumerate() {
        if matches!(token, Token::Whitespace(_)) {
            continue;
        }
        if is_word(token, "ISNULL") && before.is_some_and(ends_value) {
            found.push(at);
        }
        before = Some(token);
    }
    for at in found.into_iter().rev() {
        let span = tokens[at].span;
        let word = |value: &str, keyword| {
            Token::Word(Word { value: value.to_owned(), quote_style: None, keyword })
        };
        let new = [
            word("IS", Keyword::IS),
            Token::Whitespace(Whitespace::Space),
            word("NULL", Keyword::NULL),
        ];
        tokens.splice(at..=at, new.into_iter().map(|token| TokenWithSpan { token, span }));
    }
    tokens
}

fn ends_value(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            let lower = word.value.to_ascii_lowercase();
            word.quote_style.is_some()
                || VALUES.contains(&lower.as_str())
                || !is_reserved(&lower)
                    && !matches!(lower.as_str(), "as" | "update" | "join" | "by")
        }
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::Placeholder(_)
        | Token::RParen
        | Token::RBracket => true,
        _ => false,
    }
}
