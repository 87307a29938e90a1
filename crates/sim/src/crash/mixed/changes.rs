//! What left through sinks: a topic holds the changelog of its view, as a subscriber has seen it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tokio_postgres::Client;

use super::super::subscribe::Change;
use super::schema::FOLLOWED;
use crate::kafka::Message;
use crate::server::rows;

/// The last complete epoch, and all changes up to it.
pub(super) type Followed = (u64, Vec<Change>);

type Row = Vec<Option<String>>;
/// What a key's row was and is, in the order of its changes.
type Log = BTreeMap<Row, Vec<(Option<Row>, Option<Row>)>>;

const COLUMNS: [&str; 7] = ["writer", "kind", "n", "total", "least", "most", "digits"];

/// The changes of each key, one for each epoch that has touched it; each takes up what the last one left.
fn log(changes: &[Change]) -> Log {
    let mut touched: BTreeMap<(Row, u64), (Option<Row>, Option<Row>)> = BTreeMap::new();
    for (epoch, weight, row) in changes {
        let entry = touched.entry((row[..2].to_vec(), *epoch)).or_default();
        let place = match weight {
            -1 => &mut entry.0,
            1 => &mut entry.1,
            weight => panic!("weight {weight} in epoch {epoch}"),
        };
        assert_eq!(place.replace(row.clone()), None, "one row of a key in epoch {epoch}");
    }
    let mut log = Log::new();
    for ((key, epoch), (before, after)) in touched {
        let all = log.entry(key).or_default();
        let left = all.last().and_then(|(_, after)| after.as_ref());
        assert_eq!(before.as_ref(), left, "what goes in epoch {epoch} was there");
        all.push((before, after));
    }
    log
}

/// What the subscriber has put together is the view.
pub(super) async fn check_content(client: &Client, changes: &[Change]) {
    let mut wanted: Vec<Row> =
        log(changes).into_values().filter_map(|mut all| all.pop()?.1).collect();
    let query = format!("SELECT {} FROM {FOLLOWED}", COLUMNS.join(", "));
    let mut found = rows(client, &query).await.expect("an answer");
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted, "what the subscriber has put together");
    assert!(changes.len() > 100, "{} changes show little", changes.len());
}

/// A row of JSON as the subscriber has it.
fn row(value: &Value) -> Option<Row> {
    if value.is_null() {
        return None;
    }
    let text = |column: &&str| match &value[column] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    Some(COLUMNS.iter().map(text).collect())
}

fn key(message: &Message) -> Row {
    let text = message.key.as_deref().expect("a key");
    let value: Value = serde_json::from_str(text).expect("JSON");
    row(&value).expect("an object")[..2].to_vec()
}

fn assert_log(what: &str, found: &Log, wanted: &Log) {
    let keys: BTreeSet<&Row> = found.keys().chain(wanted.keys()).collect();
    for key in keys {
        let none = Vec::new();
        let (found, wanted) = (found.get(key).unwrap_or(&none), wanted.get(key).unwrap_or(&none));
        let at = found.iter().zip(wanted).take_while(|(found, wanted)| found == wanted).count();
        let (next, other) = (found.get(at), wanted.get(at));
        assert_eq!(next, other, "{what}: change {at} of {key:?}");
    }
}

/// Each message says what was before it and what is after it.
pub(super) fn check_debezium(messages: &[Message], changes: &[Change]) {
    let mut found = Log::new();
    for message in messages {
        let payload = message.payload.as_deref().expect("no tombstones");
        let change: Value = serde_json::from_str(payload).expect("JSON");
        let both = (row(&change["before"]), row(&change["after"]));
        found.entry(key(message)).or_default().push(both);
    }
    assert_log("DEBEZIUM", &found, &log(changes));
}

/// Each message says what is after it.
pub(super) fn check_upserts(messages: &[Message], changes: &[Change]) {
    let mut found = Log::new();
    for message in messages {
        let value = message.payload.as_deref().map(serde_json::from_str);
        let after = value.and_then(|value| row(&value.expect("JSON")));
        let all = found.entry(key(message)).or_default();
        let before = all.last().and_then(|(_, after)| after.clone());
        all.push((before, after));
    }
    assert_log("UPSERT", &found, &log(changes));
}

/// Each reading is sent once.
pub(super) fn check_copies(messages: &[Message], made: &[Vec<i64>]) {
    let copied = messages.iter().map(|message| {
        let payload = message.payload.as_deref().expect("a row");
        let value: Value = serde_json::from_str(payload).expect("JSON");
        ["p", "o", "id", "value"].map(|column| value[column].as_i64().expect("a number")).to_vec()
    });
    let mut copied: Vec<Vec<i64>> = copied.collect();
    copied.sort_unstable();
    assert!(copied == made, "{} messages for {} readings, or other ones", copied.len(), made.len());
}
