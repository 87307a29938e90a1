//! `FOR UPDATE` and its like as sqlparser reads them: behind LIMIT, with one table each.
//!
//! `FOR NO KEY UPDATE` and `FOR KEY SHARE` are `FOR UPDATE` and `FOR SHARE`: tables are locked whole. `FOR READ
//! ONLY` locks nothing.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::is_word;

/// The words of a clause, and which of them stay; None: the whole goes.
const CLAUSES: [(&[&str], Option<usize>); 5] = [
    (&["UPDATE"], Some(0)),
    (&["SHARE"], Some(0)),
    (&["NO", "KEY", "UPDATE"], Some(2)),
    (&["KEY", "SHARE"], Some(1)),
    (&["READ", "ONLY"], None),
];

/// Words that begin what PostgreSQL has on either side of such clauses.
const LIMITS: [&str; 3] = ["LIMIT", "OFFSET", "FETCH"];

/// The tokens with all such clauses in sqlparser's form; None if they are.
pub(super) fn written_out(tokens: &[TokenWithSpan]) -> Option<Vec<TokenWithSpan>> {
    if !tokens.iter().any(|token| is_word(&token.token, "FOR")) {
        return None;
    }
    let is_shown = |token: &&TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
    let shown: Vec<TokenWithSpan> = tokens.iter().filter(is_shown).cloned().collect();
    let (mut written, mut at, mut changed) = (Vec::with_capacity(shown.len()), 0, false);
    while at < shown.len() {
        let Some((clauses, end)) = clauses(&shown[at..]) else {
            written.push(shown[at].clone());
            at += 1;
            continue;
        };
        let limit = limit(&shown[at + end..]);
        changed |= limit > 0 || clauses != shown[at..at + end];
        written.extend_from_slice(&shown[at + end..at + end + limit]);
        written.extend(clauses);
        at += end + limit;
    }
    changed.then_some(written)
}

/// The clauses that begin here in sqlparser's form, and how many tokens they are.
fn clauses(tokens: &[TokenWithSpan]) -> Option<(Vec<TokenWithSpan>, usize)> {
    let (mut written, mut at) = (Vec::new(), 0);
    while let Some((mut one, length)) = clause(&tokens[at..]) {
        written.append(&mut one);
        at += length;
    }
    // A column may be named like the word: `substring(x FOR share + 1)`.
    let ends = match tokens.get(at).map(|token| &token.token) {
        None | Some(Token::RParen) => true,
        Some(word) => ["RETURNING", "ON"].iter().chain(&LIMITS).any(|end| is_word(word, end)),
    };
    (at > 0 && ends).then_some((written, at))
}

fn clause(tokens: &[TokenWithSpan]) -> Option<(Vec<TokenWithSpan>, usize)> {
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|t| is_word(&t.token, word));
    if !is(0, "FOR") {
        return None;
    }
    let named = |(words, _): &&(&[&str], _)| (1..).zip(*words).all(|(at, word)| is(at, word));
    let (words, stays) = CLAUSES.iter().find(named)?;
    let mut at = 1 + words.len();
    let Some(strength) = stays else { return Some((Vec::new(), at)) };
    let head = [tokens[0].clone(), tokens[1 + strength].clone()];
    let mut named: Vec<&[TokenWithSpan]> = Vec::new();
    let of = tokens.get(at).filter(|_| is(at, "OF"));
    if of.is_some() {
        loop {
            let from = at + 1;
            at = from + name(&tokens[from..])?;
            named.push(&tokens[from..at]);
            if tokens.get(at).is_none_or(|token| token.token != Token::Comma) {
                break;
            }
        }
    }
    let waits = match (is(at, "NOWAIT"), is(at, "SKIP") && is(at + 1, "LOCKED")) {
        (true, _) => 1,
        (_, true) => 2,
        _ => 0,
    };
    let wait = &tokens[at..at + waits];
    let mut written = Vec::new();
    let Some(of) = of else { return Some(([&head, wait].concat(), at + waits)) };
    for name in named {
        written.extend_from_slice(&head);
        written.push(of.clone());
        written.extend_from_slice(name);
        written.extend_from_slice(wait);
    }
    Some((written, at + waits))
}

/// How many tokens a name is, with what stands before it.
fn name(tokens: &[TokenWithSpan]) -> Option<usize> {
    let is_part = |at: usize| matches!(tokens.get(at).map(|t| &t.token), Some(Token::Word(_)));
    let mut length = is_part(0).then_some(1)?;
    while tokens.get(length).is_some_and(|t| t.token == Token::Period) && is_part(length + 1) {
        length += 2;
    }
    Some(length)
}

/// How many tokens LIMIT, OFFSET and FETCH are that stand behind.
fn limit(tokens: &[TokenWithSpan]) -> usize {
    let begins = |t: &TokenWithSpan| LIMITS.iter().any(|word| is_word(&t.token, word));
    if !tokens.first().is_some_and(begins) {
        return 0;
    }
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return at,
            Token::RParen => depth -= 1,
            // Clauses on both sides: a syntax error.
            word if depth == 0 && is_word(word, "FOR") => return 0,
            word if depth == 0 && (is_word(word, "RETURNING") || is_word(word, "ON")) => {
                return at;
            }
            _ => {}
        }
    }
    tokens.len()
}
