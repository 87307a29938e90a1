//! The words, numbers, texts and signs of a path.

use millrace_types::{Report, SqlState};

use super::parse::syntax;

/// A part of the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// `$`
    Root,
    /// `@`
    Current,
    /// `$name` or `$"name"`
    Variable(String),
    Word(String),
    Text(String),
    Number(String),
    Sign(&'static str),
}

/// The longer ones first.
const SIGNS: [&str; 29] = [
    "**", "&&", "||", "==", "!=", "<>", "<=", ">=", "<", ">", "!", "=", "(", ")", "[", "]", "{",
    "}", ".", ",", "*", "+", "-", "/", "%", "?", ":", "~", "^",
];

/// All parts, read one by one.
pub(super) struct Tokens<'a> {
    text: &'a str,
    /// Each with where it begins.
    all: Vec<(Token, usize)>,
    at: usize,
}

impl<'a> Tokens<'a> {
    /// # Errors
    /// `42601`
    pub(super) fn of(text: &'a str) -> Result<Tokens<'a>, Report> {
        let mut all = Vec::new();
        let mut at = 0;
        loop {
            at += text[at..].len() - text[at..].trim_start().len();
            let rest = &text[at..];
            let Some(first) = rest.chars().next() else { break };
            if rest.starts_with("/*") {
                let end = rest
                    .find("*/")
                    .ok_or_else(|| syntax("unexpected end of comment in jsonpath input"))?;
                at += end + 2;
                continue;
            }
            let (token, length) = token(first, rest)?;
            all.push((token, at));
            at += length;
        }
        if all.is_empty() {
            let message = format!("invalid input syntax for type jsonpath: \"{text}\"");
            return Err(Report::new(SqlState::INVALID_TEXT_REPRESENTATION, message));
        }
        Ok(Tokens { text, all, at: 0 })
    }

    pub(super) fn peek(&self) -> Option<&Token> {
        self.all.get(self.at).map(|(token, _)| token)
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += 1;
        token
    }

    /// Passes a sign if it stands here.
    pub(super) fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(here)) if *here == sign);
        self.at += usize::from(found);
        found
    }

    /// Passes one of some signs of one character.
    pub(super) fn take_any(&mut self, signs: &[&str]) -> Option<char> {
        signs.iter().find(|sign| self.take(sign)).and_then(|sign| sign.chars().next())
    }

    /// Passes a word if it stands here; keywords are written in any case.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found =
            matches!(self.peek(), Some(Token::Word(here)) if here.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, sign: &str) -> Result<(), Report> {
        if self.take(sign) { Ok(()) } else { Err(self.refused()) }
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), Report> {
        if self.take_word(word) { Ok(()) } else { Err(self.refused()) }
    }

    pub(super) fn text(&mut self) -> Result<String, Report> {
        match self.next() {
            Some(Token::Text(text)) => Ok(text),
            _ => Err(self.refused_last()),
        }
    }

    /// The error for what stands here.
    pub(super) fn refused(&self) -> Report {
        self.refused_at(self.at)
    }

    /// The error for what has just been read.
    pub(super) fn refused_last(&self) -> Report {
        self.refused_at(self.at.saturating_sub(1))
    }

    fn refused_at(&self, at: usize) -> Report {
        let Some((_, start)) = self.all.get(at) else {
            return syntax("syntax error at end of jsonpath input");
        };
        let end = self.all.get(at + 1).map_or(self.text.len(), |(_, next)| *next);
        let here = self.text[*start..end].trim_end();
        syntax(&format!("syntax error at or near \"{here}\" of jsonpath input"))
    }
}

/// What stands at the beginning, and how long it is.
fn token(first: char, rest: &str) -> Result<(Token, usize), Report> {
    match first {
        '"' => quoted(rest).map(|(text, length)| (Token::Text(text), length)),
        '@' => Ok((Token::Current, 1)),
        '$' if rest[1..].starts_with('"') => {
            let (name, length) = quoted(&rest[1..])?;
            Ok((Token::Variable(name), length + 1))
        }
        '$' => Ok(match word(&rest[1..]) {
            0 => (Token::Root, 1),
            length => (Token::Variable(rest[1..=length].to_owned()), length + 1),
        }),
        '0'..='9' => number(rest),
        '.' if rest[1..].starts_with(|next: char| next.is_ascii_digit()) => number(rest),
        _ => match (SIGNS.iter().find(|sign| rest.starts_with(**sign)), word(rest)) {
            (Some(sign), _) => Ok((Token::Sign(sign), sign.len())),
            (None, 0) => {
                Err(syntax(&format!("syntax error at or near \"{first}\" of jsonpath input")))
            }
            (None, length) => Ok((Token::Word(rest[..length].to_owned()), length)),
        },
    }
}

/// How long the word at the beginning is.
fn word(text: &str) -> usize {
    let is_part = |c: char| c == '_' || c == '$' || c.is_alphanumeric() || !c.is_ascii();
    text.find(|c| !is_part(c)).unwrap_or(text.len())
}

fn number(text: &str) -> Result<(Token, usize), Report> {
    let bytes = text.as_bytes();
    let digits =
        |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') {
        end += 1 + digits(end + 1);
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'-' | b'+')));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let whole = &text[..end];
    let more = word(&text[end..]);
    let leading = whole.len() > 1 && whole.starts_with('0') && whole.as_bytes()[1].is_ascii_digit();
    if more > 0 || leading {
        let here = &text[..end + more];
        return Err(syntax(&format!(
            "trailing junk after numeric literal at or near \"{here}\" of jsonpath input"
        )));
    }
    Ok((Token::Number(whole.to_owned()), end))
}

/// A text in double quotes, with JavaScript's escapes.
fn quoted(text: &str) -> Result<(String, usize), Report> {
    let open = || syntax("unterminated quoted string in jsonpath input");
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((out, at + 1)),
            '\\' => {
                let (_, escaped) = chars.next().ok_or_else(open)?;
                match escaped {
                    'b' => out.push('\u{8}'),
                    'f' => out.push('\u{c}'),
                    'n' => out.push('\n'),
                    'r' => out.push('\r'),
                    't' => out.push('\t'),
                    'v' => out.push('\u{b}'),
                    'x' => out.push(code(&mut chars, 2)?),
                    'u' => out.push(unicode(&mut chars)?),
                    other => out.push(other),
                }
            }
            other => out.push(other),
        }
    }
    Err(open())
}

fn hex(chars: &mut impl Iterator<Item = (usize, char)>, count: usize) -> Result<u32, Report> {
    let mut value = 0;
    for _ in 0..count {
        let digit = chars.next().and_then(|(_, c)| c.to_digit(16));
        value = value * 16
            + digit.ok_or_else(|| syntax("invalid Unicode escape sequence in jsonpath input"))?;
    }
    Ok(value)
}

fn code(chars: &mut impl Iterator<Item = (usize, char)>, count: usize) -> Result<char, Report> {
    character(hex(chars, count)?)
}

fn character(code: u32) -> Result<char, Report> {
    let found = char::from_u32(code).filter(|c| *c != '\0');
    found.ok_or_else(|| syntax("unsupported Unicode escape sequence in jsonpath input"))
}

/// `\u0061`, `\u{1F600}`, or a pair of surrogates.
fn unicode(chars: &mut (impl Iterator<Item = (usize, char)> + Clone)) -> Result<char, Report> {
    if chars.clone().next().is_some_and(|(_, c)| c == '{') {
        chars.next();
        let mut value = 0_u32;
        loop {
            match chars.next().map(|(_, c)| c) {
                Some('}') => return character(value),
                Some(c) if c.is_ascii_hexdigit() && value <= 0x10_FFFF => {
                    value = value * 16 + c.to_digit(16).unwrap_or_default();
                }
                _ => return Err(syntax("invalid Unicode escape sequence in jsonpath input")),
            }
        }
    }
    let first = hex(chars, 4)?;
    if !(0xD800..0xDC00).contains(&first) {
        return character(first);
    }
    let escape = [chars.next(), chars.next()].map(|next| next.map(|(_, c)| c));
    let second = if escape == [Some('\\'), Some('u')] { hex(chars, 4)? } else { 0 };
    match (0xDC00..0xE000).contains(&second) {
        true => character(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)),
        false => {
            Err(syntax("Unicode high surrogate must be followed by a low one in jsonpath input"))
        }
    }
}
