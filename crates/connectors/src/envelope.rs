//! [`Envelope`]: from the changes of a view to messages, as FORMAT says.
//!
//! | format | a row comes | takes another's place | goes |
//! |---|---|---|---|
//! | PLAIN | the row | | nothing (`force_append_only`) |
//! | UPSERT | the row under its key | the same | no payload under its key |
//! | DEBEZIUM | op c, of a snapshot r | op u with before and after | op d with before |
//!
//! A row that goes is held back until the next one tells whether it takes its place: of one key the row
//! that goes stands before the one that comes.
//!
//! Invariants: 1. nothing is held back over the end of an epoch ([`Envelope::finish`]).

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millrace_types::is_hidden;

use crate::json::ObjectWriter;

/// What the messages of a sink mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkFormat {
    /// Rows that come.
    Plain,
    /// The row of a key.
    Upsert,
    /// A row before and after a change.
    Debezium,
}

/// What a sink follows, and how its messages are made.
#[derive(Clone)]
pub struct SinkShape {
    /// All columns of the rows, hidden ones too.
    pub schema: SchemaRef,
    /// The columns that identify a row.
    pub identity: Vec<usize>,
    /// The columns of the messages' key; none: they have none.
    pub key: Vec<usize>,
    /// What messages mean.
    pub format: SinkFormat,
    /// The name of what is followed.
    pub from: String,
}

/// Key and payload of a message.
pub(crate) type Sent<'a> = (Option<&'a str>, Option<&'a str>);

/// See the module's documentation.
pub(crate) struct Envelope {
    format: SinkFormat,
    from: String,
    row: ObjectWriter,
    key: Option<ObjectWriter>,
    identity: ObjectWriter,
    /// The row that has gone last, if nothing has been said of it yet.
    gone: Option<Gone>,
    text: Scratch,
}

/// A row that has gone.
struct Gone {
    identity: String,
    key: Option<String>,
    row: String,
    epoch: u64,
}

/// Texts of the row at hand.
#[derive(Default)]
struct Scratch {
    identity: String,
    key: String,
    row: String,
    message: String,
}

impl Scratch {
    fn clear(&mut self) {
        self.identity.clear();
        self.key.clear();
        self.row.clear();
    }
}

impl Envelope {
    pub(crate) fn new(shape: &SinkShape) -> Envelope {
        let schema = &shape.schema;
        let shown = schema.fields().iter().enumerate().filter(|(_, f)| !is_hidden(f.name()));
        let key =
            (!shape.key.is_empty()).then(|| ObjectWriter::new(schema, shape.key.iter().copied()));
        Envelope {
            format: shape.format,
            from: serde_json::Value::from(shape.from.as_str()).to_string(),
            row: ObjectWriter::new(schema, shown.map(|(at, _)| at)),
            key,
            identity: ObjectWriter::new(schema, shape.identity.iter().copied()),
            gone: None,
            text: Scratch::default(),
        }
    }

    /// Sends what a row that comes (weight above 0) or goes makes.
    pub(crate) fn change<E>(
        &mut self,
        (rows, row): (&RecordBatch, usize),
        weight: i64,
        (epoch, snapshot): (u64, bool),
        send: &mut impl FnMut(Sent<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if weight < 0 && self.format == SinkFormat::Plain {
            return Ok(());
        }
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        self.row.write(rows, row, &mut text.row);
        if let Some(key) = &self.key {
            key.write(rows, row, &mut text.key);
        }
        let key = self.key.is_some().then_some(text.key.as_str());
        let done = if self.format == SinkFormat::Plain {
            (0..weight).try_for_each(|_| send((key, Some(&text.row))))
        } else {
            self.identity.write(rows, row, &mut text.identity);
            let done = match weight < 0 {
                true => self.goes(&text, epoch, send),
                false => self.comes(&mut text, epoch, snapshot, send),
            };
            done.map(|_| ())
        };
        self.text = text;
        done
    }

    fn goes<E>(
        &mut self,
        text: &Scratch,
        epoch: u64,
        send: &mut impl FnMut(Sent<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.finish(send)?;
        let key = self.key.is_some().then(|| text.key.clone());
        let (identity, row) = (text.identity.clone(), text.row.clone());
        self.gone = Some(Gone { identity, key, row, epoch });
        Ok(())
    }

    fn comes<E>(
        &mut self,
        text: &mut Scratch,
        epoch: u64,
        snapshot: bool,
        send: &mut impl FnMut(Sent<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let key = self.key.is_some().then_some(text.key.as_str());
        let same_row = |gone: &Gone| gone.epoch == epoch && gone.identity == text.identity;
        let same_key = |gone: &Gone| gone.key.as_deref() == key;
        let replaced = match &self.gone {
            Some(gone) if same_row(gone) && same_key(gone) => self.gone.take(),
            Some(_) => {
                self.finish(send)?;
                None
            }
            None => None,
        };
        if self.format == SinkFormat::Upsert {
            return send((key, Some(&text.row)));
        }
        let op = match (&replaced, snapshot) {
            (Some(_), _) => "u",
            (None, true) => "r",
            (None, false) => "c",
        };
        let before = replaced.as_ref().map(|gone| gone.row.as_str());
        self.describe((before, Some(&text.row)), op, epoch, &mut text.message);
        send((key, Some(&text.message)))
    }

    /// Says that the row that was held back has gone.
    pub(crate) fn finish<E>(
        &mut self,
        send: &mut impl FnMut(Sent<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(gone) = self.gone.take() else { return Ok(()) };
        if self.format != SinkFormat::Debezium {
            return send((gone.key.as_deref(), None));
        }
        let mut message = String::new();
        self.describe((Some(&gone.row), None), "d", gone.epoch, &mut message);
        send((gone.key.as_deref(), Some(&message)))
    }

    fn describe(
        &self,
        (before, after): (Option<&str>, Option<&str>),
        op: &str,
        epoch: u64,
        out: &mut String,
    ) {
        let (before, after) = (before.unwrap_or("null"), after.unwrap_or("null"));
        out.clear();
        out.push_str(&format!(
            "{{\"before\":{before},\"after\":{after},\"source\":{{\"connector\":\"millrace\",\
             \"table\":{},\"epoch\":{epoch}}},\"op\":\"{op}\"}}",
            self.from
        ));
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    /// The messages of (id, text, weight, epoch) as `key=payload`.
    fn sent(format: SinkFormat, changes: &[(i64, &str, i64, u64)]) -> Vec<String> {
        let fields =
            vec![Field::new("id", DataType::Int64, true), Field::new("t", DataType::Utf8, true)];
        let schema = Arc::new(Schema::new(fields));
        let ids = changes.iter().map(|change| Some(change.0)).collect::<Int64Array>();
        let texts = changes.iter().map(|change| Some(change.1)).collect::<StringArray>();
        let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(ids), Arc::new(texts)]);
        let rows = rows.unwrap();
        let (identity, key, from) = (vec![0], vec![0], "v".to_owned());
        let mut envelope = Envelope::new(&SinkShape { schema, identity, key, format, from });
        let mut found = Vec::new();
        let mut send = |(key, payload): Sent<'_>| -> Result<(), Infallible> {
            let payload = payload.unwrap_or("-");
            let payload = match payload.split_once(",\"source\"") {
                Some((changed, rest)) => format!("{changed} {}", &rest[rest.len() - 4..]),
                None => payload.to_owned(),
            };
            found.push(format!("{}={payload}", key.unwrap_or("-")));
            Ok(())
        };
        for (row, (.., weight, epoch)) in changes.iter().enumerate() {
            let Ok(()) = envelope.change((&rows, row), *weight, (*epoch, false), &mut send);
        }
        let Ok(()) = envelope.finish(&mut send);
        found
    }

    #[test]
    fn an_upsert_says_that_a_row_goes_only_if_no_other_takes_its_place() {
        let changes = [(1, "a", -1, 5), (1, "b", 1, 5), (2, "x", -1, 5), (3, "y", -1, 5)];
        let wanted = ["{\"id\":1}={\"id\":1,\"t\":\"b\"}", "{\"id\":2}=-", "{\"id\":3}=-"];
        assert_eq!(sent(SinkFormat::Upsert, &changes), wanted);
    }

    #[test]
    fn debezium_has_the_row_before_and_after() {
        let changes = [(1, "a", -1, 5), (1, "b", 1, 5), (2, "x", -1, 5), (2, "z", 1, 6)];
        let found = sent(SinkFormat::Debezium, &changes);
        let shown: Vec<&str> = found.iter().map(|m| m.split_once('=').unwrap().1).collect();
        let wanted = [
            "{\"before\":{\"id\":1,\"t\":\"a\"},\"after\":{\"id\":1,\"t\":\"b\"} \"u\"}",
            "{\"before\":{\"id\":2,\"t\":\"x\"},\"after\":null \"d\"}",
            "{\"before\":null,\"after\":{\"id\":2,\"t\":\"z\"} \"c\"}",
        ];
        assert_eq!(shown, wanted);
    }

    #[test]
    fn plain_leaves_out_what_goes() {
        let changes = [(1, "a", -1, 5), (1, "b", 1, 5)];
        assert_eq!(sent(SinkFormat::Plain, &changes), ["{\"id\":1}={\"id\":1,\"t\":\"b\"}"]);
    }
}
