//! A statement's text without what is confidential in it: values of options such as
//! `properties.sasl.password`, wherever they are written.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::{SqlDialect, is_word};
use crate::catalog::is_confidential;
use crate::text::Text;

/// What stands in the place of a value.
const MASK: &str = "'********'";

/// The text with a mask for each confidential value in `WITH (...)` and `ENCODE x (...)`. What is no
/// statement is left as it is.
pub fn masked(text: &str) -> String {
    let whole = Text::new(text);
    let tokens = Tokenizer::new(&SqlDialect::PLAIN, text).tokenize_with_location();
    let Ok(mut tokens) = tokens else { return text.to_owned() };
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    let mut shown = text.to_owned();
    // From the end, so that places before stay what they are.
    for value in values(&tokens).into_iter().rev() {
        let (start, end) = (whole.byte(value.span.start), whole.byte(value.span.end));
        if let (Some(start), Some(end)) = (start, end)
            && shown.is_char_boundary(start)
            && shown.is_char_boundary(end)
        {
            shown.replace_range(start..end, MASK);
        }
    }
    shown
}

/// The values of confidential options.
fn values(tokens: &[TokenWithSpan]) -> Vec<&TokenWithSpan> {
    let mut found = Vec::new();
    let (mut name, mut inside) = (String::new(), false);
    for (at, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::LParen => (inside, name) = (inside || begins_options(tokens, at), String::new()),
            Token::RParen => inside = false,
            Token::Comma => name.clear(),
            Token::Word(word) if inside => name.push_str(&word.value),
            Token::Period if inside => name.push('.'),
            Token::Eq if inside && is_confidential(&name) => {
                let value = tokens.get(at + 1);
                let value = value.filter(|value| !is_word(&value.token, "SECRET"));
                found.extend(value);
                name.clear();
            }
            _ => {}
        }
    }
    found
}

/// True for the bracket of `WITH (` and of `ENCODE format (`.
fn begins_options(tokens: &[TokenWithSpan], bracket: usize) -> bool {
    let before = |n: usize, word: &str| {
        let token = bracket.checked_sub(n).and_then(|at| tokens.get(at));
        token.is_some_and(|token| is_word(&token.token, word))
    };
    before(1, "WITH") || before(2, "ENCODE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_options_are_masked_and_nothing_else_is() {
        let text = "CREATE SOURCE s (password TEXT) WITH (topic = 'ö', properties.sasl.password = 'x''y', \
                    properties.sasl.username = 'u', \"properties.ssl.key.password\"=$$a b$$) \
                    FORMAT PLAIN ENCODE JSON (registry.password = 'z')";
        let shown = "CREATE SOURCE s (password TEXT) WITH (topic = 'ö', properties.sasl.password = '********', \
                    properties.sasl.username = 'u', \"properties.ssl.key.password\"='********') \
                    FORMAT PLAIN ENCODE JSON (registry.password = '********')";
        assert_eq!(masked(text), shown);
        let query = "CREATE VIEW v AS WITH t AS (SELECT password = 'x' FROM a) SELECT * FROM t";
        assert_eq!(masked(query), query);
        let named = "CREATE SOURCE s WITH (properties.sasl.password = SECRET p)";
        assert_eq!(masked(named), named);
        assert_eq!(masked("not a 'statement"), "not a 'statement");
    }
}
