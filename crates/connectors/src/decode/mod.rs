//! From messages to rows, as FORMAT and ENCODE say.
//!
//! | | a message is |
//! |---|---|
//! | `PLAIN JSON` | one object, one row |
//! | `PLAIN CSV` | one line, one row |
//! | `PLAIN BYTES` | one value of one column |
//! | `UPSERT JSON` | the newest row of its key; without a payload, the end of the key |
//! | `DEBEZIUM JSON` | a change with the row before and after it |
//!
//! What changes rows gives the hidden column `_deleted` behind the others.
//!
//! Invariant: a message that is refused has added nothing to any column.

mod bytes;
mod changes;
mod csv;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use millrace_dataflow::source::SourceError;

use self::bytes::BytesDecoder;
use self::changes::Changes;
use self::csv::CsvDecoder;
use crate::options::refused;
use crate::rows::{Layout, Message};
use crate::{IncludeKind, JsonDecoder};

/// What messages mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Each is a row.
    #[default]
    Plain,
    /// Each is the newest row of its key.
    Upsert,
    /// Each is a change, as Debezium writes it.
    Debezium,
}

impl Format {
    /// The format for the word after FORMAT.
    pub fn parse(word: &str) -> Option<Format> {
        match word {
            "PLAIN" => Some(Format::Plain),
            "UPSERT" => Some(Format::Upsert),
            "DEBEZIUM" => Some(Format::Debezium),
            _ => None,
        }
    }

    /// True if messages can take rows away.
    pub fn deletes(self) -> bool {
        match self {
            Format::Plain => false,
            Format::Upsert | Format::Debezium => true,
        }
    }
}

/// How the values of a message are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// JSON.
    #[default]
    Json,
    /// Comma separated values.
    Csv,
    /// As they are.
    Bytes,
}

impl Encoding {
    /// The encoding for the word after ENCODE.
    pub fn parse(word: &str) -> Option<Encoding> {
        match word {
            "JSON" => Some(Encoding::Json),
            "CSV" => Some(Encoding::Csv),
            "BYTES" => Some(Encoding::Bytes),
            _ => None,
        }
    }
}

/// How the lines of CSV are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lines {
    delimiter: u8,
    /// A message's first line names the columns of its second.
    header: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    #[default]
    Json,
    Csv(Lines),
    Bytes,
    Changes(Format),
}

/// How the messages of a source are read; checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decoding {
    way: Way,
    /// The names of the key's columns; empty: rows have no key.
    key: Vec<String>,
}

impl Decoding {
    /// Takes the options of the encoding out of `options`.
    ///
    /// # Errors
    /// Options or columns that do not fit the encoding.
    pub(crate) fn new(
        (format, encoding): (Format, Encoding),
        key: &[String],
        options: &mut BTreeMap<String, String>,
        layout: &Layout,
    ) -> Result<Decoding, SourceError> {
        let way = match (encoding, format) {
            (Encoding::Json, Format::Plain) => Way::Json,
            (Encoding::Json, Format::Upsert | Format::Debezium) => Way::Changes(format),
            (Encoding::Csv, Format::Plain) => Way::Csv(lines(options)?),
            (Encoding::Bytes, Format::Plain) => Way::Bytes,
            (Encoding::Csv | Encoding::Bytes, _) => {
                return Err(SourceError::Invalid(
                    "changes of rows are read from JSON only".to_owned(),
                ));
            }
        };
        let decoding = Decoding { way, key: key.to_vec() };
        decoding.decoder(layout).map(|_| decoding)
    }

    /// A decoder without rows.
    ///
    /// # Errors
    /// Columns that the encoding does not have.
    pub(crate) fn decoder(&self, layout: &Layout) -> Result<Decoder, SourceError> {
        let invalid = |error: crate::UnknownType| SourceError::Invalid(error.to_string());
        Ok(match self.way {
            Way::Json => Decoder::Json(JsonDecoder::new(&layout.columns).map_err(invalid)?),
            Way::Csv(lines) => {
                Decoder::Csv(CsvDecoder::new(&layout.columns, lines).map_err(invalid)?)
            }
            Way::Bytes => match layout.columns.as_slice() {
                [column] if *column.data_type() == DataType::Binary => {
                    Decoder::Bytes(BytesDecoder::default())
                }
                _ => {
                    return Err(SourceError::Invalid(
                        "ENCODE BYTES gives one column of type bytea".to_owned(),
                    ));
                }
            },
            Way::Changes(format) => {
                let whole = layout.include.iter().find(|include| include.kind == IncludeKind::Key);
                let whole = whole.filter(|include| self.key.contains(&include.name));
                let whole = whole.map(|include| include.name.as_str());
                let changes = Changes::new(format, &layout.columns, &self.key, whole);
                Decoder::Changes(Box::new(changes.map_err(invalid)?))
            }
        })
    }
}

fn lines(options: &mut BTreeMap<String, String>) -> Result<Lines, SourceError> {
    let delimiter = match options.remove("encode.delimiter").as_deref() {
        None => b',',
        Some("\\t" | "tab") => b'\t',
        Some(text) => match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => *byte,
            _ => return Err(refused("encode.delimiter", text, "one character, or \\t")),
        },
    };
    let header = match options.remove("encode.header").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(refused("encode.header", other, "true or false")),
    };
    Ok(Lines { delimiter, header })
}

/// Collects the rows of one partition.
pub(crate) enum Decoder {
    Json(JsonDecoder),
    Csv(CsvDecoder),
    Bytes(BytesDecoder),
    Changes(Box<Changes>),
}

impl Decoder {
    /// Takes one message; how many rows it made.
    #[inline]
    pub(crate) fn push(&mut self, message: &impl Message) -> Result<usize, String> {
        if let Decoder::Changes(changes) = self {
            return changes.push(message.key(), message.payload());
        }
        let payload = message.payload().ok_or("the message has no payload")?;
        match self {
            Decoder::Json(json) => json.push(payload)?,
            Decoder::Csv(csv) => csv.push(payload)?,
            Decoder::Bytes(bytes) => bytes.push(payload)?,
            Decoder::Changes(_) => {}
        }
        Ok(1)
    }

    /// The columns of all rows since the last call, and of changes the one that tells deletions.
    pub(crate) fn finish(&mut self) -> Result<(Vec<ArrayRef>, Option<ArrayRef>), ArrowError> {
        Ok(match self {
            Decoder::Json(json) => (json.finish()?, None),
            Decoder::Csv(csv) => (csv.finish()?, None),
            Decoder::Bytes(bytes) => (vec![Arc::new(bytes.finish())], None),
            Decoder::Changes(changes) => {
                let (columns, deleted) = changes.finish()?;
                (columns, Some(deleted))
            }
        })
    }
}
