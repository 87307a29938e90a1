//! Cuts text into statements, line by line, as psql does: at semicolons outside of quotes, comments and
//! brackets.
//!
//! Each byte is looked at once, however long a statement is.

/// A statement, without its semicolon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its text, from its first word on.
    pub(crate) text: String,
    /// The line of the script where that is, from 1.
    pub(crate) line: usize,
}

/// What the next character stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Inside {
    Nothing,
    /// A text; `E'...'` has backslashes.
    Text {
        escapes: bool,
    },
    /// A quoted name.
    Name,
    /// A text between dollars, with its tag.
    Dollar(String),
    LineComment,
    BlockComment(usize),
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Splitter {
    text: String,
    /// Up to where it has been looked at.
    at: usize,
    /// Where the statement's first word is, once it has one.
    first: Option<usize>,
    inside: Inside,
    brackets: usize,
    /// The line of the first byte of `text`.
    line: usize,
}

impl Default for Splitter {
    fn default() -> Splitter {
        Splitter {
            text: String::new(),
            at: 0,
            first: None,
            inside: Inside::Nothing,
            brackets: 0,
            line: 1,
        }
    }
}

impl Splitter {
    /// Adds text; whole lines, with their ends.
    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// True if no statement has begun: a command may stand on the next line.
    pub(crate) fn is_between(&self) -> bool {
        self.first.is_none() && matches!(self.inside, Inside::Nothing | Inside::LineComment)
    }

    /// Counts lines that are no part of any statement.
    pub(crate) fn pass_lines(&mut self, lines: usize) {
        self.line += lines;
    }

    /// The next statement that has ended.
    pub(crate) fn next(&mut self) -> Option<Piece> {
        while self.at < self.text.len() {
            let is_end = self.step();
            if is_end {
                let end = self.at - 1;
                let piece = self.cut(end);
                if piece.is_some() {
                    return piece;
                }
            }
        }
        None
    }

    /// What is left at the end of the input.
    pub(crate) fn rest(&mut self) -> Option<Piece> {
        let end = self.text.len();
        self.at = end;
        self.cut(end)
    }

    /// Takes the statement up to `end`, and what was looked at away.
    fn cut(&mut self, end: usize) -> Option<Piece> {
        let line = self.line;
        let before = &self.text[..self.at];
        self.line += before.matches('\n').count();
        let piece = self.first.take().map(|first| Piece {
            text: self.text[first..end].trim_end().to_owned(),
            line: line + self.text[..first].matches('\n').count(),
        });
        self.text.drain(..self.at);
        (self.at, self.brackets, self.inside) = (0, 0, Inside::Nothing);
        piece
    }

    /// Looks at the next character; true if it is the semicolon that ends the statement.
    fn step(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let mut bytes = rest.bytes();
        let (byte, next) = (bytes.next().unwrap_or_default(), bytes.next());
        let mut length = rest.chars().next().map_or(1, char::len_utf8);
        match &mut self.inside {
            Inside::Nothing => return self.outside(byte, next),
            Inside::Text { escapes } => match byte {
                b'\\' if *escapes => length += usize::from(next.is_some()),
                b'\'' if next == Some(b'\'') => length = 2,
                b'\'' => self.inside = Inside::Nothing,
                _ => {}
            },
            Inside::Name if byte == b'"' => self.inside = Inside::Nothing,
            Inside::Dollar(tag) if rest.starts_with(tag.as_str()) => {
                length = tag.len();
                self.inside = Inside::Nothing;
            }
            Inside::LineComment if byte == b'\n' => self.inside = Inside::Nothing,
            Inside::BlockComment(depth) => match (byte, next) {
                (b'*', Some(b'/')) => {
                    length = 2;
                    self.inside = match *depth {
                        1 => Inside::Nothing,
                        deep => Inside::BlockComment(deep - 1),
                    };
                }
                (b'/', Some(b'*')) => (*depth, length) = (*depth + 1, 2),
                _ => {}
            },
            Inside::Name | Inside::Dollar(_) | Inside::LineComment => {}
        }
        self.at += length;
        while !self.text.is_char_boundary(self.at) {
            self.at += 1;
        }
        false
    }

    fn outside(&mut self, byte: u8, next: Option<u8>) -> bool {
        let start = self.at;
        let rest = &self.text[start..];
        let mut length = rest.chars().next().map_or(1, char::len_utf8);
        let before = self.text[..start].bytes().next_back();
        let in_word = before.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80);
        let mut is_word = !byte.is_ascii_whitespace();
        match (byte, next) {
            (b'-', Some(b'-')) => (self.inside, is_word) = (Inside::LineComment, false),
            (b'/', Some(b'*')) => {
                (self.inside, is_word, length) = (Inside::BlockComment(1), false, 2);
            }
            (b'\'', _) => {
                let prefix = matches!(before, Some(b'e' | b'E'));
                let alone = start < 2 || !self.text.as_bytes()[start - 2].is_ascii_alphanumeric();
                self.inside = Inside::Text { escapes: prefix && alone };
            }
            (b'"', _) => self.inside = Inside::Name,
            (b'$', _) if !in_word => {
                if let Some(tag) = dollar_tag(rest) {
                    length = tag.len();
                    self.inside = Inside::Dollar(tag.to_owned());
                }
            }
            (b'(', _) => self.brackets += 1,
            (b')', _) => self.brackets = self.brackets.saturating_sub(1),
            (b';', _) if self.brackets == 0 => {
                self.at += 1;
                return true;
            }
            _ => {}
        }
        if is_word && self.first.is_none() {
            self.first = Some(start);
        }
        self.at += length;
        false
    }
}

/// `$tag$` at the start of a text.
fn dollar_tag(text: &str) -> Option<&str> {
    let end = text[1..].find('$')? + 2;
    let name = &text[1..end - 1];
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_');
    (is_name && !name.starts_with(|c: char| c.is_ascii_digit())).then(|| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<(String, usize)> {
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        for line in text.split_inclusive('\n') {
            splitter.push(line);
            while let Some(piece) = splitter.next() {
                found.push((piece.text, piece.line));
            }
        }
        found.extend(splitter.rest().map(|piece| (piece.text, piece.line)));
        found
    }

    fn texts(text: &str) -> Vec<String> {
        pieces(text).into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn semicolons_in_quotes_comments_and_brackets_end_nothing() {
        for whole in [
            "SELECT ';'",
            "SELECT 'it''s;'",
            r"SELECT E'\';'",
            "SELECT \"a;b\"",
            "SELECT $$a;b$$",
            "SELECT $x$a;$$;b$x$",
            "SELECT 1 -- a;b\n + 2",
            "SELECT /* a;/*b;*/c; */ 1",
            "CREATE RULE r AS (a; b)",
        ] {
            assert_eq!(texts(&format!("{whole};")), [whole], "{whole}");
        }
        assert_eq!(texts(r"SELECT '\'; SELECT 2"), [r"SELECT '\'", "SELECT 2"]);
        assert_eq!(texts("SELECT $1; SELECT 'ä;ö' ; ;"), ["SELECT $1", "SELECT 'ä;ö'"]);
    }

    #[test]
    fn a_statement_knows_its_line_and_begins_at_its_first_word() {
        let text = "-- one\n\nSELECT 1;\n/* two\n*/ SELECT\n 2; SELECT 3";
        let expected = [("SELECT 1", 3), ("SELECT\n 2", 5), ("SELECT 3", 6)];
        assert_eq!(pieces(text), expected.map(|(text, line)| (text.to_owned(), line)));
        assert!(pieces(" \n-- nothing\n").is_empty());
    }

    #[test]
    fn a_line_may_be_a_command_only_between_statements() {
        let mut splitter = Splitter::default();
        assert!(splitter.is_between());
        splitter.push("SELECT 1\n");
        assert!(splitter.next().is_none() && !splitter.is_between());
        splitter.push(";\n");
        assert!(splitter.next().is_some());
        splitter.push("-- aside\n");
        assert!(splitter.next().is_none() && splitter.is_between());
    }
}
