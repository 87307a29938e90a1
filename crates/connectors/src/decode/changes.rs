//! Messages that change rows: the newest row of a key, or what Debezium says of a change.
//!
//! A deleted row has its key and nothing else. Of a change that gives a row another key both leave:
//! the old key's end and the new row; which of the two comes first does not count, see the operator
//! that keeps the rows.
//!
//! A key's columns are taken from the value, and from the message's key where the value does not have
//! them: an object, or for a key of one column its value alone. With `INCLUDE key` in the primary key it
//! is the message's key as it is.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::FieldRef;
use arrow::error::ArrowError;

use super::Format;
use super::csv::quote;
use crate::json::{is_value, members};
use crate::{JsonDecoder, UnknownType};

/// Collects rows and deletions.
pub(crate) struct Changes {
    format: Format,
    rows: JsonDecoder,
    deleted: Vec<bool>,
    /// The key's columns in messages.
    key: Vec<String>,
    /// The column that is the message's key.
    whole: Option<String>,
}

impl Changes {
    /// A decoder without rows. `whole` is the column of the key that is the message's key.
    ///
    /// # Errors
    /// A type that no SQL column has.
    pub(super) fn new(
        format: Format,
        columns: &[FieldRef],
        key: &[String],
        whole: Option<&str>,
    ) -> Result<Changes, UnknownType> {
        Ok(Changes {
            format,
            rows: JsonDecoder::of_changes(columns, key)?,
            deleted: Vec::new(),
            key: key.iter().filter(|name| Some(name.as_str()) != whole).cloned().collect(),
            whole: whole.map(str::to_owned),
        })
    }

    /// Takes one message; how many rows it made.
    pub(super) fn push(
        &mut self,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
    ) -> Result<usize, String> {
        if let (Some(column), None) = (&self.whole, key) {
            return Err(format!("column \"{column}\": the message has no key"));
        }
        let key = key.unwrap_or_default();
        match (self.format, payload) {
            (Format::Debezium, Some(payload)) => self.change(key, payload),
            // The change before it has said so, unless compaction has taken that away.
            (Format::Debezium, None) => Ok(usize::from(self.end(&[], key).is_ok())),
            (Format::Upsert | Format::Plain, Some(payload)) => self.row(utf8(payload)?, key),
            (Format::Upsert | Format::Plain, None) => self.end(&[], key).map(|()| 1),
        }
    }

    /// The row of its key.
    fn row(&mut self, object: &str, key: &[u8]) -> Result<usize, String> {
        let key = self.key_object(key);
        self.rows.push_change(&[object], key.as_deref(), true)?;
        self.deleted.push(false);
        Ok(1)
    }

    /// A key has no row any more.
    fn end(&mut self, objects: &[&str], key: &[u8]) -> Result<(), String> {
        let key = self.key_object(key);
        self.rows.push_change(objects, key.as_deref(), false)?;
        self.deleted.push(true);
        Ok(())
    }

    /// What Debezium says, with its schema around it or without.
    fn change(&mut self, key: &[u8], payload: &[u8]) -> Result<usize, String> {
        let text = utf8(payload)?;
        let [outer, op, before, after] = members(text, ["payload", "op", "before", "after"])?;
        let [op, before, after] = match (outer, op) {
            (Some(inner), None) => members(inner, ["op", "before", "after"])?,
            _ => [op, before, after],
        };
        match (op, before, after) {
            (Some("\"c\"" | "\"r\"" | "\"u\""), before, Some(after)) => {
                let mut rows = self.row(after, key)?;
                if let Some(before) = before {
                    // A before without the key says nothing of another one.
                    rows += usize::from(self.end(&[before], &[]).is_ok());
                }
                Ok(rows)
            }
            (Some("\"d\""), Some(before), _) => self.end(&[before], key).map(|()| 1),
            (Some("\"d\""), None, _) => self.end(&[], key).map(|()| 1),
            (Some("\"c\"" | "\"r\"" | "\"u\""), _, None) => {
                Err("the change has no row \"after\"".to_owned())
            }
            (Some(op), ..) => Err(format!("an operation of another kind: {op}")),
            (None, ..) => Err("no change of Debezium: \"op\" is missing".to_owned()),
        }
    }

    /// The message's key as an object with the key's columns; None if it cannot be one.
    fn key_object(&self, key: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(key).ok()?.trim();
        if text.starts_with('{') {
            let inner = match self.format {
                Format::Debezium => members(text, ["payload"]).ok().and_then(|[inner]| inner),
                Format::Plain | Format::Upsert => None,
            };
            return Some(inner.filter(|inner| inner.starts_with('{')).unwrap_or(text).to_owned());
        }
        let [column] = self.key.as_slice() else { return None };
        if key.is_empty() {
            return None;
        }
        let mut object = String::from("{");
        quote(column, &mut object);
        object.push(':');
        match is_value(text) {
            true => object.push_str(text),
            false => quote(std::str::from_utf8(key).ok()?, &mut object),
        }
        object.push('}');
        Some(object)
    }

    /// All rows since the last call, and which of them are deletions.
    pub(super) fn finish(&mut self) -> Result<(Vec<ArrayRef>, ArrayRef), ArrowError> {
        let deleted = BooleanArray::from(std::mem::take(&mut self.deleted));
        Ok((self.rows.finish()?, Arc::new(deleted)))
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes)
        .map_err(|error| format!("malformed JSON: byte {} is not UTF-8", error.valid_up_to() + 1))
}
