//! Comma separated values: one line, one row.
//!
//! Quotes are those of RFC 4180, as PostgreSQL's COPY reads them: a quote inside quotes is written
//! twice, nothing between two delimiters is NULL, `""` is the empty text. With a header a message is two
//! lines, of which the first names the columns; without, values stand in the order of the columns.
//!
//! A line is rewritten as a JSON object of texts and read by the decoder of those, which takes values as
//! PostgreSQL's input does: one place decides what is a number or a date.

use arrow::array::ArrayRef;
use arrow::datatypes::FieldRef;
use arrow::error::ArrowError;

use super::Lines;
use crate::{JsonDecoder, UnknownType};

/// Collects lines.
pub(crate) struct CsvDecoder {
    json: JsonDecoder,
    names: Vec<String>,
    lines: Lines,
    values: Vec<Option<String>>,
    header: Vec<Option<String>>,
    object: String,
}

impl CsvDecoder {
    /// A decoder without rows.
    ///
    /// # Errors
    /// A type that no text has.
    pub(super) fn new(columns: &[FieldRef], lines: Lines) -> Result<CsvDecoder, UnknownType> {
        Ok(CsvDecoder {
            json: JsonDecoder::new(columns)?,
            names: columns.iter().map(|column| column.name().clone()).collect(),
            lines,
            values: Vec::new(),
            header: Vec::new(),
            object: String::new(),
        })
    }

    pub(super) fn push(&mut self, payload: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(payload).map_err(|error| {
            format!("malformed CSV: byte {} is not UTF-8", error.valid_up_to() + 1)
        })?;
        let mut rest = text;
        if self.lines.header {
            rest = line(rest, self.lines.delimiter, &mut self.header)?;
        }
        let behind = line(rest, self.lines.delimiter, &mut self.values)?;
        if !behind.is_empty() {
            return Err("malformed CSV: a message is one row".to_owned());
        }
        let names = if self.lines.header { self.header.len() } else { self.names.len() };
        if names != self.values.len() {
            return Err(format!("malformed CSV: {} values for {names} columns", self.values.len()));
        }
        self.object.clear();
        self.object.push('{');
        for (place, value) in self.values.iter().enumerate() {
            let name = match self.lines.header {
                true => self.header[place].as_deref().unwrap_or_default(),
                false => self.names[place].as_str(),
            };
            if place > 0 {
                self.object.push(',');
            }
            quote(name, &mut self.object);
            self.object.push(':');
            match value {
                Some(value) => quote(value, &mut self.object),
                None => self.object.push_str("null"),
            }
        }
        self.object.push('}');
        self.json.push(self.object.as_bytes())
    }

    pub(super) fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.json.finish()
    }
}

/// A text as JSON writes it.
pub(super) fn quote(text: &str, into: &mut String) {
    into.push('"');
    for character in text.chars() {
        match character {
            '"' => into.push_str("\\\""),
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            control if control < ' ' => into.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => into.push(other),
        }
    }
    into.push('"');
}

/// Takes the values of the first line; gives what stands behind its end.
fn line<'a>(
    text: &'a str,
    delimiter: u8,
    values: &mut Vec<Option<String>>,
) -> Result<&'a str, String> {
    values.clear();
    let mut rest = text;
    loop {
        let value;
        (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted)?,
            None => {
                let ends = |byte: u8| byte == delimiter || byte == b'\n' || byte == b'\r';
                let end = rest.bytes().position(ends).unwrap_or(rest.len());
                let (value, behind) = rest.split_at(end);
                ((!value.is_empty()).then(|| value.to_owned()), behind)
            }
        };
        values.push(value);
        match rest.as_bytes() {
            [] => return Ok(rest),
            [first, ..] if *first == delimiter => rest = &rest[1..],
            [b'\r', b'\n', ..] => return Ok(&rest[2..]),
            [b'\n', ..] => return Ok(&rest[1..]),
            _ => return Err("malformed CSV: expected a delimiter behind a quote".to_owned()),
        }
    }
}

/// A value behind its first quote, and what stands behind its last.
fn quoted_value(text: &str) -> Result<(Option<String>, &str), String> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let Some(end) = rest.find('"') else {
            return Err("malformed CSV: a quote is not closed".to_owned());
        };
        value.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(behind) => {
                value.push('"');
                rest = behind;
            }
            None => return Ok((Some(value), rest)),
        }
    }
}
