//! Positions in a statement's text: lines and columns of the tokenizer, characters from 1 of
//! PostgreSQL, bytes of Rust.
//!
//! Invariants: 1. a position counts characters, not bytes, and lies between 1 and one past the end.

use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use crate::parser::SqlDialect;

/// A statement's text with the starts of its lines.
pub(crate) struct Text<'a> {
    text: &'a str,
    /// Byte and character count before each line.
    lines: Vec<(usize, usize)>,
}

impl<'a> Text<'a> {
    pub(crate) fn new(text: &'a str) -> Text<'a> {
        let mut lines = vec![(0, 0)];
        for (characters, (byte, c)) in text.char_indices().enumerate() {
            if c == '\n' {
                lines.push((byte + 1, characters + 1));
            }
        }
        Text { text, lines }
    }

    /// Bytes before a location; None for the empty location and those past the end.
    pub(crate) fn byte(&self, location: Location) -> Option<usize> {
        let line = usize::try_from(location.line).ok()?.checked_sub(1)?;
        let column = usize::try_from(location.column).ok()?.checked_sub(1)?;
        let (start, _) = *self.lines.get(line)?;
        let rest = &self.text[start..];
        match rest.char_indices().nth(column) {
            Some((byte, _)) => Some(start + byte),
            None => Some(self.text.len()),
        }
    }

    /// The position of a location, in characters from 1.
    pub(crate) fn position(&self, location: Location) -> Option<usize> {
        let line = usize::try_from(location.line).ok()?.checked_sub(1)?;
        let column = usize::try_from(location.column).ok()?;
        let (_, characters) = *self.lines.get(line)?;
        Some(characters + column.max(1))
    }

    /// Where the bracket stands that is open before a location.
    pub(crate) fn opening(&self, location: Location) -> Option<Location> {
        let tokens = self.tokens();
        let before = tokens.iter().take_while(|token| token.span.start < location);
        let bracket = before.filter(|token| token.token == Token::LParen).last();
        bracket.map(|token| token.span.start)
    }

    /// Where the first token stands from a location on that closes nothing.
    pub(crate) fn following(&self, location: Location) -> Option<Location> {
        let tokens = self.tokens();
        let is_it = |token: &&TokenWithSpan| {
            token.span.start >= location
                && !matches!(token.token, Token::Whitespace(_) | Token::RParen)
        };
        tokens.iter().find(is_it).map(|token| token.span.start)
    }

    /// The position right after the last character.
    pub(crate) fn end(&self) -> usize {
        self.text.chars().count() + 1
    }

    /// The text from the start of one span to the end of another.
    pub(crate) fn between(&self, from: Span, to: Span) -> &'a str {
        let start = self.byte(from.start).unwrap_or(0);
        let end = self.byte(to.end).unwrap_or(self.text.len());
        self.text.get(start..end).unwrap_or("")
    }

    /// The tokens; None if the text has no whole ones.
    fn tokens(&self) -> Vec<TokenWithSpan> {
        let tokens = Tokenizer::new(&SqlDialect::PLAIN, self.text).tokenize_with_location();
        tokens.unwrap_or_default()
    }

    /// The text of the token that starts at a location.
    pub(crate) fn token_at(&self, location: Location) -> Option<&'a str> {
        let tokens = self.tokens();
        let token = tokens.iter().find(|token| token.span.start == location)?;
        Some(self.between(token.span, token.span))
    }

    /// Where a name first stands: as an identifier, folded as PostgreSQL does.
    pub(crate) fn find_name(&self, name: &str) -> Option<usize> {
        self.find(|token, _| is_name(token, name))
    }

    /// Where a function is first called.
    pub(crate) fn find_call(&self, name: &str) -> Option<usize> {
        self.find(|token, next| is_name(token, name) && *next == Token::LParen)
            .or_else(|| self.find_name(name))
    }

    /// Where a string stands, if it stands once.
    pub(crate) fn find_string(&self, value: &str) -> Option<usize> {
        let tokens = self.tokens();
        let is_it = |token: &&TokenWithSpan| matches!(&token.token, Token::SingleQuotedString(text) if text == value);
        let mut found = tokens.iter().filter(is_it);
        match (found.next(), found.next()) {
            (Some(one), None) => self.position(one.span.start),
            _ => None,
        }
    }

    /// Where an operator stands, if it stands once.
    pub(crate) fn find_only(&self, operator: &str) -> Option<usize> {
        let tokens = self.tokens();
        let mut found = tokens.iter().filter(|token| token.token.to_string() == operator);
        match (found.next(), found.next()) {
            (Some(one), None) => self.position(one.span.start),
            _ => None,
        }
    }

    fn find(&self, wanted: impl Fn(&Token, &Token) -> bool) -> Option<usize> {
        let tokens = self.tokens();
        let words: Vec<&TokenWithSpan> =
            tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
        let found = words.iter().enumerate().find(|(at, token)| {
            let next = words.get(at + 1).map_or(&Token::EOF, |next| &next.token);
            wanted(&token.token, next)
        })?;
        self.position(found.1.span.start)
    }
}

fn is_name(token: &Token, name: &str) -> bool {
    match token {
        Token::Word(word) if word.quote_style.is_some() => word.value == name,
        Token::Word(word) => word.value.eq_ignore_ascii_case(name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_over_lines() {
        let text = Text::new("sélect\n  x, \"Y\" from t");
        assert_eq!(text.position(Location::new(1, 3)), Some(3));
        assert_eq!(text.position(Location::new(2, 3)), Some(10));
        assert_eq!(text.find_name("x"), Some(10));
        assert_eq!(text.find_name("Y"), Some(13));
        assert_eq!(text.find_name("y"), None);
        assert_eq!(text.token_at(Location::new(2, 6)), Some("\"Y\""));
        assert_eq!(text.end(), 23);
    }

    #[test]
    fn a_call_is_found_before_a_column_of_the_same_name() {
        assert_eq!(Text::new("select f, f (1)").find_call("f"), Some(11));
    }
}
