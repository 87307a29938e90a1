//! The lines of COPY: PostgreSQL's text format, and CSV.
//!
//! Text: one line a row, columns apart by the delimiter, backslash escapes, `\N` for NULL. CSV: quotes
//! around what holds a delimiter, a quote or a line break; what stands unquoted and equals the NULL
//! text is NULL.

use arrow::array::{StringArray, StringBuilder};
use millrace_sql::ast::{CopyFormat, CopyHeader, CopyOptions};
use millrace_types::{Report, SqlState};

type Row = Vec<Option<String>>;

/// The most bytes of data that an error repeats.
const SHOWN_BYTES_MAX: usize = 100;

/// The columns of some data as texts.
///
/// # Errors
/// A line with more or fewer columns, a quote that does not end, a header with other names.
pub(super) fn columns(mut lines: Lines<'_>) -> Result<Vec<StringArray>, Report> {
    // Rows of their own would take many times the data.
    let mut found: Vec<StringBuilder> = lines.names.iter().map(|_| StringBuilder::new()).collect();
    while let Some(row) = lines.next()? {
        for (column, value) in found.iter_mut().zip(row) {
            column.append_option(value);
        }
    }
    Ok(found.iter_mut().map(StringBuilder::finish).collect())
}

/// The lines of some data.
pub(super) struct Lines<'a> {
    rest: &'a str,
    options: &'a CopyOptions,
    table: &'a str,
    names: Vec<&'a str>,
    /// For each column: no value of it is NULL; a value in quotes may be.
    never_null: Vec<bool>,
    null_in_quotes: Vec<bool>,
    /// The last line of the row that was read last.
    number: usize,
    /// That row as it came.
    raw: &'a str,
}

impl<'a> Lines<'a> {
    /// The lines for a table's columns, behind the header.
    ///
    /// # Errors
    /// Text that is not UTF-8, a header with other names.
    pub(super) fn new(
        data: &'a [u8],
        options: &'a CopyOptions,
        table: &'a str,
        names: Vec<&'a str>,
    ) -> Result<Lines<'a>, Report> {
        let Some(rest) = std::str::from_utf8(data).ok().filter(|text| !text.contains('\0')) else {
            return Err(not_utf8());
        };
        // Names that are not there were refused before.
        let never_null = options.force_not_null.among(&names).unwrap_or_default();
        let null_in_quotes = options.force_null.among(&names).unwrap_or_default();
        let (number, raw) = (0, "");
        let mut lines =
            Lines { rest, options, table, names, never_null, null_in_quotes, number, raw };
        if options.header != CopyHeader::Absent
            && let Some(header) = lines.row()?
            && options.header == CopyHeader::Match
        {
            lines.check_header(&header)?;
        }
        Ok(lines)
    }

    fn check_header(&self, header: &Row) -> Result<(), Report> {
        let (given, wanted) = (header.len(), self.names.len());
        if given != wanted {
            let message =
                format!("wrong number of fields in header line: got {given}, expected {wanted}");
            return Err(self.wrong(message));
        }
        for (at, (given, wanted)) in header.iter().zip(&self.names).enumerate() {
            let number = at + 1;
            let message = match given {
                Some(given) if given == wanted => continue,
                Some(given) => format!(
                    "column name mismatch in header line field {number}: got \"{given}\", expected \"{wanted}\""
                ),
                None => format!(
                    "column name mismatch in header line field {number}: got null value (\"{}\"), expected \"{wanted}\"",
                    self.options.null
                ),
            };
            return Err(self.wrong(message));
        }
        Ok(())
    }

    /// The next row, which has as many values as there are columns; None at the end.
    pub(super) fn next(&mut self) -> Result<Option<Row>, Report> {
        let Some(row) = self.row()? else { return Ok(None) };
        match self.names.get(row.len()) {
            Some(missing) => Err(self.wrong(format!("missing data for column \"{missing}\""))),
            None if row.len() > self.names.len() => {
                Err(self.wrong("extra data after last expected column"))
            }
            None => Ok(Some(row)),
        }
    }

    /// Where the row that was read last stands.
    pub(super) fn place(&self) -> String {
        format!("COPY {}, line {}: \"{}\"", self.table, self.number, shortened(self.raw))
    }

    /// Where a value of that row stands.
    pub(super) fn place_of(&self, column: &str, value: &str) -> String {
        let value = shortened(value);
        format!("COPY {}, line {}, column {column}: \"{value}\"", self.table, self.number)
    }

    fn wrong(&self, message: impl Into<String>) -> Report {
        Report::new(SqlState::BAD_COPY_FILE_FORMAT, message).context(self.place())
    }

    fn row(&mut self) -> Result<Option<Row>, Report> {
        // The end that psql marks with a line of its own.
        let ends = self.rest.is_empty()
            || self.rest == "\\."
            || self.rest.starts_with("\\.\n")
            || self.rest.starts_with("\\.\r\n");
        if ends {
            return Ok(None);
        }
        self.number += 1;
        let before = self.rest;
        let row = match self.options.format {
            CopyFormat::Csv => self.csv()?,
            CopyFormat::Text | CopyFormat::Binary => self.text()?,
        };
        let raw = &before[..before.len() - self.rest.len()];
        self.raw = raw.strip_suffix('\n').unwrap_or(raw);
        self.raw = self.raw.strip_suffix('\r').unwrap_or(self.raw);
        self.number += self.raw.matches('\n').count();
        Ok(Some(row))
    }

    fn text(&mut self) -> Result<Row, Report> {
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
                row.push(self.unescaped(&line[start..at])?);
                start = at + c.len_utf8();
            }
        }
        row.push(self.unescaped(&line[start..])?);
        Ok(row)
    }

    fn unescaped(&self, raw: &str) -> Result<Option<String>, Report> {
        if raw == self.options.null {
            return Ok(None);
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
                Some(b'x') if bytes.peek().is_some_and(u8::is_ascii_hexdigit) => {
                    let mut number = 0;
                    for _ in 0..2 {
                        let digit = bytes.peek().and_then(|next| char::from(*next).to_digit(16));
                        number = digit.map_or(number, |digit| number * 16 + digit);
                        digit.and_then(|_| bytes.next());
                    }
                    value.push(number.to_le_bytes()[0]);
                }
                Some(other) => value.push(other),
            }
        }
        match String::from_utf8(value) {
            Ok(text) if !text.contains('\0') => Ok(Some(text)),
            _ => {
                let place = format!("COPY {}, line {}", self.table, self.number);
                Err(not_utf8().context(place))
            }
        }
    }

    fn csv(&mut self) -> Result<Row, Report> {
        let CopyOptions { delimiter, quote, escape, .. } = *self.options;
        let bytes = self.rest.as_bytes();
        let (mut row, mut value) = (Vec::new(), Vec::new());
        let (mut quoted, mut inside, mut at) = (false, false, 0);
        let finish = |value: &mut Vec<u8>, quoted: &mut bool, at: usize| {
            let text = String::from_utf8_lossy(&std::mem::take(value)).into_owned();
            let of = |columns: &[bool]| columns.get(at).copied().unwrap_or_default();
            let may = match std::mem::take(quoted) {
                true => of(&self.null_in_quotes),
                false => !of(&self.never_null),
            };
            (!may || text != self.options.null).then_some(text)
        };
        loop {
            match bytes.get(at).copied() {
                None if inside => {
                    self.raw = self.rest;
                    return Err(self.wrong("unterminated CSV quoted field"));
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
                Some(byte) if byte == delimiter => {
                    row.push(finish(&mut value, &mut quoted, row.len()));
                }
                Some(b'\r') if bytes.get(at + 1) == Some(&b'\n') => {}
                None | Some(b'\n') => {
                    row.push(finish(&mut value, &mut quoted, row.len()));
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    return Ok(row);
                }
                Some(byte) => value.push(byte),
            }
            at += 1;
        }
    }
}

/// Bytes that are no text; a zero byte is in none.
fn not_utf8() -> Report {
    let message = "invalid byte sequence for encoding \"UTF8\"";
    Report::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message)
}

/// The beginning of a long text.
fn shortened(text: &str) -> String {
    if text.len() <= SHOWN_BYTES_MAX {
        return text.to_owned();
    }
    let end = (0..=SHOWN_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end));
    format!("{}...", &text[..end.unwrap_or_default()])
}

#[cfg(test)]
mod tests {
    use millrace_sql::ast::CopyColumns;

    use super::*;

    const NONE: CopyColumns = CopyColumns::Listed(Vec::new());
    const TEXT: CopyOptions = CopyOptions {
        format: CopyFormat::Text,
        delimiter: b'\t',
        null: String::new(),
        header: CopyHeader::Absent,
        quote: b'"',
        escape: b'"',
        force_quote: NONE,
        force_null: NONE,
        force_not_null: NONE,
    };
    const CSV: CopyOptions = CopyOptions {
        format: CopyFormat::Csv,
        delimiter: b',',
        null: String::new(),
        header: CopyHeader::Absent,
        quote: b'"',
        escape: b'"',
        force_quote: NONE,
        force_null: NONE,
        force_not_null: NONE,
    };

    fn lines<'a>(data: &'a str, options: &'a CopyOptions) -> Result<Lines<'a>, Report> {
        Lines::new(data.as_bytes(), options, "t", vec!["a", "b"])
    }

    fn read(data: &str, options: &CopyOptions) -> Vec<Row> {
        let columns = columns(lines(data, options).unwrap()).unwrap();
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
        let data = "a\\tb\t\\N\n\\\\N\t\r\né\\x\t\\101\\n\n\\x41g\t\\xa\\x7Aa\n\\.\n";
        let found = read(data, &options);
        assert_eq!(found[0], row(Some("a\tb"), None));
        assert_eq!(found[1], row(Some("\\N"), Some("")));
        assert_eq!(found[2], row(Some("éx"), Some("A\n")));
        assert_eq!(found[3], row(Some("Ag"), Some("\nza")));
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn csv_has_quotes_and_line_breaks_inside_them() {
        let options = CopyOptions { header: CopyHeader::Present, ..CSV };
        let data = "x,y\n1,\"a,\"\"b\"\"\nc\"\n,\"\"\r\n\"\",é";
        let found = read(data, &options);
        assert_eq!(found[0], row(Some("1"), Some("a,\"b\"\nc")));
        assert_eq!(found[1], row(None, Some("")));
        assert_eq!(found[2], row(Some(""), Some("é")));
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn lines_of_another_width_and_open_quotes_are_refused_with_their_line() {
        for (data, wanted, context) in [
            ("1,2\n3", "missing data for column \"b\"", "COPY t, line 2: \"3\""),
            ("1,2,3", "extra data after last", "COPY t, line 1: \"1,2,3\""),
            ("1,\"2\n", "unterminated CSV quoted field", "COPY t, line 1: \"1,\"2\n\""),
            ("1,\"a\nb\"\n2", "missing data for column \"b\"", "COPY t, line 3: \"2\""),
        ] {
            let report = columns(lines(data, &CSV).unwrap()).unwrap_err();
            assert!(report.message.starts_with(wanted), "{report}");
            assert_eq!(report.context.as_deref(), Some(context));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_line() {
        let data = "a\tb\n\\xc3\\xa9\tx\n";
        let text =
            CopyOptions { format: CopyFormat::Text, delimiter: b'\t', null: "\\N".into(), ..CSV };
        assert_eq!(read(data, &text)[1], row(Some("é"), Some("x")));
        for data in ["a\tb\nx\\000\ty", "a\tb\nx\\xff\ty"] {
            let report = columns(lines(data, &text).unwrap()).unwrap_err();
            assert_eq!(report.code, SqlState::CHARACTER_NOT_IN_REPERTOIRE);
            assert!(report.context.unwrap().starts_with("COPY t, line 2"), "{data:?}");
        }
        assert!(lines("a\0,b", &CSV).is_err());
    }

    #[test]
    fn a_header_may_have_to_match() {
        let options = CopyOptions { header: CopyHeader::Match, ..CSV };
        assert_eq!(read("a,b\n1,2", &options), [row(Some("1"), Some("2"))]);
        for (data, wanted) in [
            ("a\n", "wrong number of fields in header line: got 1, expected 2"),
            ("a,c\n", "column name mismatch in header line field 2: got \"c\", expected \"b\""),
            (
                ",b\n",
                "column name mismatch in header line field 1: got null value (\"\"), expected \"a\"",
            ),
        ] {
            assert_eq!(lines(data, &options).err().unwrap().message, wanted);
        }
    }

    #[test]
    fn columns_may_be_null_in_quotes_or_never() {
        let name = |name: &str| vec![millrace_sql::ast::Name { name: name.into(), position: None }];
        let force_null = CopyColumns::Listed(name("a"));
        let force_not_null = CopyColumns::Listed(name("b"));
        let options = CopyOptions { force_null, force_not_null, ..CSV };
        assert_eq!(read("\"\",\n", &options), [row(None, Some(""))]);
        assert_eq!(read("\"\",\n", &CSV), [row(Some(""), None)]);
    }

    #[test]
    fn a_long_line_is_shortened_between_characters() {
        assert_eq!(shortened(&"é".repeat(60)), format!("{}...", "é".repeat(50)));
        assert_eq!(shortened("short"), "short");
    }
}
