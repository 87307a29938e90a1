//! `SESSION(t PARTITION BY a, b, ts, gap)`: for sqlparser, `PARTITION BY` is a comma.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};

use super::is_word;

/// The tokens with a comma for `PARTITION BY` inside the parentheses of `SESSION`.
pub(super) fn without_partition(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let shown: Vec<usize> =
        (0..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_))).collect();
    for (place, at) in shown.iter().enumerate() {
        let opens = shown.get(place + 1).is_some_and(|next| tokens[*next].token == Token::LParen);
        if !opens || !is_word(&tokens[*at].token, "SESSION") {
            continue;
        }
        let mut depth = 0usize;
        for pair in shown[place + 1..].windows(2) {
            match tokens[pair[0]].token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                break;
            }
            let [one, other] = [pair[0], pair[1]];
            let found =
                is_word(&tokens[one].token, "PARTITION") && is_word(&tokens[other].token, "BY");
            if depth == 1 && found {
                tokens[one].token = Token::Comma;
                tokens[other].token = Token::Whitespace(Whitespace::Space);
                break;
            }
        }
    }
    tokens
}
