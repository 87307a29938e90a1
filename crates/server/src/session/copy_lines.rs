//! The lines of COPY: PostgreSQL's text format, and CSV.
//!
//! Text: one line a row, columns apart by the delimiter, backslash escapes, `\N` for NULL. CSV: quotes
//! around what holds a delimiter, a quote or a line break; what stands unquoted and equals the NULL
//! text is NULL.

use arrow::array::{StringArray, StringBuilder};
use millrace_sql::ast::CopyOptions;
use millrace_types::{Report, SqlState};

type Row = Vec<Option<String>>;

/// The columns of some data: texts, of which a row has `width`.
///
/// # Errors
/// A line with more or fewer columns, a quote that does not end, text that is not UTF-8.
pub(super) fn columns(
    data: &[u8],
    options: &CopyOptions,
    table: &str,
    width: usize,
) -> Result<Vec<StringArray>, Report> {
    let Ok(text) = std::str::from_utf8(data) else {
        let message = "invalid byte sequence for encoding \"UTF8\"";
        return Err(Report::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message));
    };
    let mut lines = Lines { rest: text, options, number: 0 };
    // Rows of their own would take many times the data.
    let mut found: Vec<StringBuilder> = (0..width).map(|_| StringBuilder::new()).collect();
    if options.header {
        lines.next()?;
    }
    while let Some(row) = lines.next()? {
        let wrong = match row.len().cmp(&width) {
            std::cmp::Ordering::Equal => {
                for (column, value) in found.iter_mut().zip(row) {
                    column.append_option(value);
                }
                continue;
            }
            std::cmp::Ordering::Less => "missing data for a column",
            std::cmp::Ordering::Greater => "extra data after last expected column",
        };
        let report = Report::new(SqlState::BAD_COPY_FILE_FORMAT, wrong);
        return Err(report.detail(format!("COPY {table}, line {}.", lines.number)));
    }
    Ok(found.iter_mut().map(StringBuilder::finish).collect())
}

struct Lines<'a> {
    rest: &'a str,
    options: &'a CopyOptions,
    number: usize,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Option<Row>, Report> {
        // The end that psql marks with a line of its own.
        let ends = self.rest.is_empty()
            || self.rest == "\\."
            || self.rest.starts_with("\\.\n")
            || self.rest.starts_with("\\.\r\n");
        if ends {
            return Ok(None);
        }
        self.number += 1;
        match self.options.csv {
            true => self.csv().map(Some),
            false => Ok(Some(self.text())),
        }
    }

    fn text(&mut self) -> Row {
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        let line = line.strip_suffix('\r').unwrap_or(line);
        let delimiter = char::from(self.options.delimiter);
        let (mut row, mut start, mut escaped) = (Vec::new(), 0, false);
        for (at, c) in line.char_indices() {
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == delimiter {
                row.push(self.unescaped(&line[start..at]));
                start = at + c.len_utf8();
            }
        }
        row.push(self.unescaped(&line[start..]));
        row
    }

    fn unescaped(&self, raw: &str) -> Option<String> {
        if raw == self.options.null {
            return None;
        }
        let mut value = Vec::with_capacity(raw.len());
        let mut bytes = raw.bytes().peekable();
        while let Some(byte) = bytes.next() {
            if byte != b'\\' {
                value.push(byte);
                continue;
            }
            match bytes.next() {
                None => value.push(b'\\'),
                Some(b'b') => value.push(8),
                Some(b'f') => value.push(12),
                Some(b'n') => value.push(b'\n'),
                Some(b'r') => value.push(b'\r'),
                Some(b't') => value.push(b'\t'),
                Some(b'v') => value.push(11),
                Some(digit @ b'0'..=b'7') => {
                    let mut number = u32::from(digit - b'0');
                    for _ in 0..2 {
                        if let Some(next @ b'0'..=b'7') = bytes.peek().copied() {
                            number = number * 8 + u32::from(next - b'0');
                            bytes.next();
                        }
                    }
                    value.push(number.to_le_bytes()[0]);
                }
                Some(other) => value.push(other),
            }
        }
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    fn csv(&mut self) -> Result<Row, Report> {
        let CopyOptions { delimiter, quote, escape, .. } = *self.options;
        let bytes = self.rest.as_bytes();
        let (mut row, mut value) = (Vec::new(), Vec::new());
        let (mut quoted, mut inside, mut at) = (false, false, 0);
        let finish = |value: &mut Vec<u8>, quoted: &mut bool| {
            let text = String::from_utf8_lossy(&std::mem::take(value)).into_owned();
            let is_null = !std::mem::take(quoted) && text == self.options.null;
            (!is_null).then_some(text)
        };
        loop {
            match bytes.get(at).copied() {
                None if inside => {
                    let report = Report::new(
                        SqlState::BAD_COPY_FILE_FORMAT,
                        "unterminated CSV quoted field",
                    );
                    return Err(report.detail(format!("It begins in line {}.", self.number)));
                }
                Some(byte)
                    if inside
                        && byte == escape
                        && bytes
                            .get(at + 1)
                            .is_some_and(|next| *next == quote || *next == escape) =>
                {
                    value.push(bytes[at + 1]);
                    at += 1;
                }
                Some(byte) if byte == quote => {
                    quoted |= !inside;
                    inside = !inside;
                }
                Some(byte) if inside => value.push(byte),
                Some(byte) if byte == delimiter => row.push(finish(&mut value, &mut quoted)),
                Some(b'\r') if bytes.get(at + 1) == Some(&b'\n') => {}
                None | Some(b'\n') => {
                    row.push(finish(&mut value, &mut quoted));
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    return Ok(row);
                }
                Some(byte) => value.push(byte),
            }
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: CopyOptions = CopyOptions {
        csv: false,
        delimiter: b'\t',
        null: String::new(),
        header: false,
        quote: b'"',
        escape: b'"',
    };

    fn read(data: &str, options: &CopyOptions) -> Vec<Row> {
        let columns = columns(data.as_bytes(), options, "t", 2).unwrap();
        let [first, second] = columns.as_slice() else { panic!("two columns") };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        first.iter().zip(second).map(|(a, b)| vec![owned(a), owned(b)]).collect()
    }

    fn row(a: Option<&str>, b: Option<&str>) -> Row {
        vec![a.map(str::to_owned), b.map(str::to_owned)]
    }

    #[test]
    fn text_has_escapes_and_nulls() {
        let options = CopyOptions { null: "\\N".into(), ..TEXT };
        let data = "a\\tb\t\\N\n\\\\N\t\r\né\\x\t\\101\\n\n\\.\n";
        let found = read(data, &options);
        assert_eq!(found[0], row(Some("a\tb"), None));
        assert_eq!(found[1], row(Some("\\N"), Some("")));
        assert_eq!(found[2], row(Some("éx"), Some("A\n")));
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn csv_has_quotes_and_line_breaks_inside_them() {
        let options = CopyOptions { csv: true, delimiter: b',', header: true, ..TEXT };
        let data = "x,y\n1,\"a,\"\"b\"\"\nc\"\n,\"\"\r\n\"\",é";
        let found = read(data, &options);
        assert_eq!(found[0], row(Some("1"), Some("a,\"b\"\nc")));
        assert_eq!(found[1], row(None, Some("")));
        assert_eq!(found[2], row(Some(""), Some("é")));
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn lines_of_another_width_and_open_quotes_are_refused() {
        let csv = CopyOptions { csv: true, delimiter: b',', ..TEXT };
        for (data, wanted) in [
            ("1,2\n3", "missing data"),
            ("1,2,3", "extra data"),
            ("1,\"2\n", "unterminated CSV quoted field"),
        ] {
            let report = columns(data.as_bytes(), &csv, "t", 2).unwrap_err();
            assert!(report.message.starts_with(wanted), "{report}");
        }
    }
}
