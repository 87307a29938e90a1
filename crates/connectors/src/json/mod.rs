//! JSON objects as rows: one message, one row.
//!
//! The decoder writes each value straight into its column while it scans the message, without a
//! tree or a tape between. That is what makes a bad message cost only itself: its row is cut off
//! and the next message starts anew. It is our own because what a user sees of it is PostgreSQL's:
//! a general decoder turns 1.5 into the bigint 1, takes objects without commas, and fails a batch
//! for one value.
//!
//! - Fields are matched by exact name. Missing ones are NULL, unknown ones are checked and ignored,
//!   of repeated ones the last counts.
//! - Messages of one source mostly have the same keys in the same order, so the keys of the last
//!   one are tried first.
//!
//! Invariant: between messages all columns have `rows` values.

mod column;
mod infer;
mod number;
mod time;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::FieldRef;
use arrow::error::ArrowError;

use self::column::Column;
use millrace_types::json::{Cursor, Malformed, unescape};

pub(crate) use self::infer::Inferred;
pub(crate) use self::write::ObjectWriter;

/// Why a message is not a row.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    /// Not JSON.
    Malformed(Malformed),
    /// JSON, but a value does not fit its column.
    Value(String),
    /// NULL or nothing for a column that takes no NULL.
    Null,
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Failure {
        Failure::Malformed(malformed)
    }
}

/// Keys of the last message that are remembered.
const KEYS_MAX: usize = 256;

/// A key of the last message and the column that it names.
struct Step {
    key: Vec<u8>,
    column: Option<usize>,
}

/// Decodes messages into columns.
pub struct JsonDecoder {
    names: BTreeMap<String, usize>,
    fields: Vec<FieldRef>,
    columns: Vec<Column>,
    /// The key's columns, where rows change.
    key: Vec<usize>,
    /// Columns that take no NULL in a row that is kept, the key apart, where rows change.
    required: Vec<usize>,
    steps: Vec<Step>,
    rows: usize,
    scratch: String,
}

/// A column whose type has no representation in JSON.
#[derive(Clone, Debug, thiserror::Error)]
#[error("column \"{0}\" has a type that JSON does not hold")]
pub struct UnknownType(String);

impl JsonDecoder {
    /// A decoder without rows.
    ///
    /// # Errors
    /// A type that no SQL column has.
    pub fn new(fields: &[FieldRef]) -> Result<JsonDecoder, UnknownType> {
        let column =
            |field: &FieldRef| Column::new(field).ok_or_else(|| UnknownType(field.name().clone()));
        Ok(JsonDecoder {
            names: fields.iter().enumerate().map(|(i, f)| (f.name().clone(), i)).collect(),
            fields: fields.to_vec(),
            columns: fields.iter().map(column).collect::<Result<_, _>>()?,
            key: Vec::new(),
            required: Vec::new(),
            steps: Vec::new(),
            rows: 0,
            scratch: String::new(),
        })
    }

    /// A decoder of rows that change: one that is deleted has its key and nothing else.
    ///
    /// # Errors
    /// A type that no SQL column has.
    pub(crate) fn of_changes(
        fields: &[FieldRef],
        key: &[String],
    ) -> Result<JsonDecoder, UnknownType> {
        let is_key = |field: &FieldRef| key.contains(field.name());
        let open = |field: &FieldRef| match is_key(field) {
            true => Arc::new(field.as_ref().clone().with_nullable(false)),
            false => Arc::new(field.as_ref().clone().with_nullable(true)),
        };
        let all = || fields.iter().enumerate();
        let required = all().filter(|(_, field)| !field.is_nullable() && !is_key(field));
        let mut decoder = JsonDecoder::new(&fields.iter().map(open).collect::<Vec<_>>())?;
        decoder.key = all().filter(|(_, field)| is_key(field)).map(|(at, _)| at).collect();
        decoder.required = required.map(|(at, _)| at).collect();
        Ok(decoder)
    }

    /// Rows decoded since the last [`JsonDecoder::finish`].
    pub fn len(&self) -> usize {
        self.rows
    }

    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Decodes one message into one more row.
    ///
    /// # Errors
    /// What is wrong with the message, in one line; no row is added then.
    pub fn push(&mut self, message: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(message).map_err(|error| {
            format!("malformed JSON: byte {} is not UTF-8", error.valid_up_to() + 1)
        })?;
        let read = self.object(&mut Cursor::new(text), false).and_then(|set| match set {
            set if set == self.columns.len() => Ok(()),
            _ => self.fill(),
        });
        self.done(read, message)
    }

    /// Decodes the objects of one changed row into one more row. What `key` says of the key counts where
    /// the objects do not say it. Of a row that is not kept only the key is read.
    ///
    /// # Errors
    /// As [`JsonDecoder::push`].
    pub(crate) fn push_change(
        &mut self,
        objects: &[&str],
        key: Option<&str>,
        kept: bool,
    ) -> Result<(), String> {
        let read = self.change(objects, key, kept);
        self.done(read, objects.first().map_or(b"{}", |object| object.as_bytes()))
    }

    fn change(
        &mut self,
        objects: &[&str],
        key: Option<&str>,
        kept: bool,
    ) -> Result<(), (Failure, Option<usize>)> {
        for object in objects {
            self.object(&mut Cursor::new(object), !kept)?;
        }
        let open = |at: &usize| self.columns[*at].len() == self.rows;
        if let Some(key) = key
            && self.key.iter().any(open)
        {
            self.object(&mut Cursor::new(key), true)?;
        }
        self.fill()?;
        let required = if kept { self.required.as_slice() } else { &[] };
        match required.iter().find(|at| self.columns[**at].is_null(self.rows)) {
            Some(at) => Err((Failure::Null, Some(*at))),
            None => Ok(()),
        }
    }

    /// Ends the row that was read, or cuts it off.
    fn done(
        &mut self,
        read: Result<(), (Failure, Option<usize>)>,
        message: &[u8],
    ) -> Result<(), String> {
        match read {
            Ok(()) => {
                self.rows += 1;
                Ok(())
            }
            Err((failure, column)) => {
                self.cut();
                Err(self.explain(failure, column, message))
            }
        }
    }

    /// The rows since the last call as columns.
    ///
    /// # Errors
    /// None that a message can cause: Arrow checks its own rules once more.
    pub fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.rows = 0;
        self.columns.iter_mut().map(Column::finish).collect()
    }

    /// Reads the one object of a message; how many columns it set. A failure inside a value comes
    /// with its column. Values outside the key may be skipped.
    fn object(
        &mut self,
        cursor: &mut Cursor<'_>,
        only_key: bool,
    ) -> Result<usize, (Failure, Option<usize>)> {
        let outside = |malformed: Malformed| (Failure::from(malformed), None);
        cursor.skip_space();
        if !cursor.take(b'{') {
            return cursor.expected("one object").map_err(outside);
        }
        cursor.skip_space();
        let mut set = 0;
        if !cursor.take(b'}') {
            for position in 0.. {
                let column = self.key(cursor, position).map_err(outside)?;
                cursor.colon().map_err(outside)?;
                match column {
                    Some(index) if !only_key || self.key.contains(&index) => {
                        set += self.value(index, cursor).map_err(|f| (f, Some(index)))?;
                    }
                    _ => cursor.skip_value(0).map_err(outside)?,
                }
                if !cursor.goes_on(b'}').map_err(outside)? {
                    break;
                }
            }
        }
        cursor.end().map_err(outside)?;
        Ok(set)
    }

    /// The column that the key at the cursor names, if any.
    #[inline]
    fn key(
        &mut self,
        cursor: &mut Cursor<'_>,
        position: usize,
    ) -> Result<Option<usize>, Malformed> {
        if let Some(step) = self.steps.get(position)
            && cursor.take_key(&step.key)
        {
            return Ok(step.column);
        }
        self.new_key(cursor, position)
    }

    fn new_key(
        &mut self,
        cursor: &mut Cursor<'_>,
        position: usize,
    ) -> Result<Option<usize>, Malformed> {
        let (raw, escaped) = cursor.string()?;
        let column = if escaped {
            unescape(raw, &mut self.scratch);
            self.names.get(self.scratch.as_str())
        } else {
            self.names.get(raw)
        }
        .copied();
        if position == self.steps.len() && position < KEYS_MAX {
            self.steps.push(Step { key: Vec::new(), column: None });
        }
        if let Some(step) = self.steps.get_mut(position) {
            step.key.clear();
            step.key.extend_from_slice(raw.as_bytes());
            step.column = column;
        }
        Ok(column)
    }

    /// Reads a value into its column; 1 if the column had none in this row yet.
    #[inline]
    fn value(&mut self, index: usize, cursor: &mut Cursor<'_>) -> Result<usize, Failure> {
        let column = &mut self.columns[index];
        let again = column.len() > self.rows;
        if again {
            column.truncate(self.rows);
        }
        column.read(cursor, &mut self.scratch)?;
        Ok(usize::from(!again))
    }

    /// Missing fields are NULL.
    fn fill(&mut self) -> Result<(), (Failure, Option<usize>)> {
        for (index, column) in self.columns.iter_mut().enumerate() {
            if column.len() == self.rows {
                column.push_null().map_err(|failure| (failure, Some(index)))?;
            }
        }
        Ok(())
    }

    /// Takes the values of an unfinished row back.
    fn cut(&mut self) {
        for column in &mut self.columns {
            column.truncate(self.rows);
        }
    }

    fn explain(&self, failure: Failure, column: Option<usize>, message: &[u8]) -> String {
        let name = || column.and_then(|index| self.fields.get(index)).map_or("", |f| f.name());
        match failure {
            Failure::Malformed(..) if message.is_empty() => "the message is empty".to_owned(),
            Failure::Malformed(Malformed { wanted, at }) => {
                format!("malformed JSON at byte {at}: expected {wanted}")
            }
            Failure::Value(reason) => format!("column \"{}\": {reason}", name()),
            Failure::Null => {
                format!("null value in column \"{}\" violates not-null constraint", name())
            }
        }
    }
}

/// True for the text of one value.
pub(crate) fn is_value(text: &str) -> bool {
    let mut cursor = Cursor::new(text);
    cursor.skip_value(0).is_ok() && cursor.end().is_ok()
}

/// The values of some members of an object, as they stand in the text; None where one is missing or
/// NULL.
///
/// # Errors
/// What is wrong with the text, in one line.
pub(crate) fn members<'a, const N: usize>(
    text: &'a str,
    names: [&str; N],
) -> Result<[Option<&'a str>; N], String> {
    let mut found = [None; N];
    find_members(&mut Cursor::new(text), names, &mut found).map_err(|failure| match failure {
        Failure::Malformed(Malformed { wanted, at }) => {
            format!("malformed JSON at byte {at}: expected {wanted}")
        }
        Failure::Value(reason) => reason,
        Failure::Null => "a value is missing".to_owned(),
    })?;
    Ok(found)
}

fn find_members<'a, const N: usize>(
    cursor: &mut Cursor<'a>,
    names: [&str; N],
    found: &mut [Option<&'a str>; N],
) -> Result<(), Failure> {
    cursor.skip_space();
    if !cursor.take(b'{') {
        return Ok(cursor.expected("one object")?);
    }
    cursor.skip_space();
    if cursor.take(b'}') {
        return Ok(cursor.end()?);
    }
    loop {
        let (name, _) = cursor.string()?;
        cursor.colon()?;
        let value = cursor.slice()?;
        if let Some(at) = names.iter().position(|known| *known == name) {
            found[at] = (value != "null").then_some(value);
        }
        if !cursor.goes_on(b'}')? {
            return Ok(cursor.end()?);
        }
    }
}
