//! What `INCLUDE` adds to a row: facts about the message that are not in its payload.

use arrow::datatypes::{DataType, Field};
use millrace_types::timestamptz;

/// A fact about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncludeKind {
    /// The partition, `integer`.
    Partition,
    /// The offset, `bigint`.
    Offset,
    /// The broker's or producer's time of the message, `timestamptz`.
    Timestamp,
    /// The key, `bytea`; NULL if there is none.
    Key,
    /// The headers as `text` that holds a JSON object; NULL if there are none. Values that are not
    /// UTF-8 are written `\x` and hexadecimal digits.
    Headers,
    /// The topic, `text`.
    Topic,
}

impl IncludeKind {
    /// The kind for the word after INCLUDE, in lower case.
    pub fn parse(word: &str) -> Option<IncludeKind> {
        Some(match word {
            "partition" => IncludeKind::Partition,
            "offset" => IncludeKind::Offset,
            "timestamp" => IncludeKind::Timestamp,
            "key" => IncludeKind::Key,
            "headers" => IncludeKind::Headers,
            "topic" => IncludeKind::Topic,
            _ => return None,
        })
    }

    /// The column's type.
    pub fn data_type(self) -> DataType {
        match self {
            IncludeKind::Partition => DataType::Int32,
            IncludeKind::Offset => DataType::Int64,
            IncludeKind::Timestamp => timestamptz(),
            IncludeKind::Key => DataType::Binary,
            IncludeKind::Headers | IncludeKind::Topic => DataType::Utf8,
        }
    }
}

/// One column of an INCLUDE clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    /// What it holds.
    pub kind: IncludeKind,
    /// Its name.
    pub name: String,
}

impl Include {
    /// The column.
    pub fn field(&self) -> Field {
        let always =
            matches!(self.kind, IncludeKind::Partition | IncludeKind::Offset | IncludeKind::Topic);
        Field::new(&self.name, self.kind.data_type(), !always)
    }
}
