//! `GET /api/subscribe`: the rows of a view and its changes as server-sent events, as long as the client is there.
//!
//! `begin` tells the columns; `rows` holds an epoch and rows, each behind its weight; `progress` says that an epoch is
//! complete, and has it as its id: with that a browser comes back, and goes on behind it (`AS OF`). If the changes
//! since then are no longer kept, it gets all rows anew, as `begin` says. `failure` is an error, after which nothing
//! comes.
//!
//! Invariants: 1. rows of an epoch are never sent behind its `progress`: who forgets what came after the last id, and
//! comes back with it, has every change once. 2. The next batch is read when the client has taken the one before.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use millrace_pg::session::{Login, Outcome, Session, Statement};
use millrace_pg::text_rows::TextRows;
use millrace_types::{Report, SqlState};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use super::Web;
use super::sql::{Named, Told, ended, named, shut_down};
use crate::session::report_of;

/// Rows of one event at most.
const ROWS_MAX: usize = 1_000;
/// A client that hears nothing for so long cannot tell a silent view from a broken line.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Epoch and weight stand before a view's columns.
const OWN_COLUMNS: usize = 2;

/// What is to be followed, and from where.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    /// What SUBSCRIBE names: a view, or a query in brackets.
    what: String,
    snapshot: bool,
    as_of: Option<u64>,
    heartbeat: Option<Duration>,
}

/// Follows a view.
pub(super) async fn subscribe(
    State(web): State<Arc<Web>>,
    Extension(login): Extension<Login>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let asked = match asked(query.as_deref().unwrap_or_default(), last) {
        Ok(asked) => asked,
        Err(why) => return (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
    };
    let following = match web.database.open(login).await {
        Ok(session) => Following::open(session, &asked, web.stopped.clone()).await,
        Err(report) => Err(report),
    };
    let body = match following {
        Ok(following) => Body::from_stream(futures::stream::unfold(following, Following::step)),
        Err(report) => Body::from(event("failure", None, &Told::new(report, 0))),
    };
    let head = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that gather an answer would keep changes back.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (head, body).into_response()
}

fn asked(query: &str, last: Option<&str>) -> Result<Asked, String> {
    let mut asked = Asked { snapshot: true, ..Asked::default() };
    let number = |value: &str| value.parse::<u64>().map_err(|_| format!("{value} is no number"));
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (name, value) = (decoded(name)?, decoded(value)?);
        match name.as_str() {
            "view" => asked.what = format!("\"{}\"", value.replace('"', "\"\"")),
            "query" => asked.what = format!("({value})"),
            "snapshot" => {
                asked.snapshot = value.parse().map_err(|_| "snapshot is true or false")?
            }
            "as_of" => asked.as_of = Some(number(&value)?),
            "heartbeat_ms" => {
                asked.heartbeat = Some(Duration::from_millis(number(&value)?.clamp(100, 60_000)));
            }
            name => return Err(format!("unknown parameter {name}")),
        }
    }
    if asked.what.is_empty() {
        return Err("which view? ?view=NAME".to_owned());
    }
    if let Some(last) = last.filter(|last| !last.is_empty()) {
        asked.as_of = Some(number(last)?);
    }
    Ok(asked)
}

/// A name or value of a query string as it was before a browser wrote it there.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = text.bytes();
    let mut found = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        found.push(match byte {
            b'+' => b' ',
            b'%' => {
                let code = digit(bytes.next()).zip(digit(bytes.next()));
                let code = code.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                code.ok_or_else(|| format!("{text} is cut short"))?
            }
            byte => byte,
        });
    }
    String::from_utf8(found).map_err(|_| format!("{text} is not UTF-8"))
}

impl Asked {
    fn statement(&self, as_of: Option<u64>) -> Statement {
        let mut text = format!("SUBSCRIBE TO {}", self.what);
        let snapshot = match as_of {
            Some(epoch) => {
                // Writing to a string cannot fail.
                write!(text, " AS OF {epoch}").unwrap_or_default();
                false
            }
            None => self.snapshot,
        };
        write!(text, " WITH (progress = true, snapshot = {snapshot})").unwrap_or_default();
        Statement { text, offset: 0 }
    }
}

#[derive(Serialize)]
struct Begin {
    columns: Vec<Named>,
    /// All rows come; what the client has is to be forgotten.
    snapshot: bool,
    as_of: Option<u64>,
}

#[derive(Serialize)]
struct Progress {
    epoch: u64,
}

#[derive(Serialize)]
struct Rows {
    epoch: u64,
    rows: Vec<(i64, Vec<Option<String>>)>,
}

/// A subscription on its way to a client.
struct Following {
    /// It holds the user's place among the sessions.
    _session: Box<dyn Session>,
    text: TextRows,
    rows: Option<SendableRecordBatchStream>,
    /// What is to be sent next.
    events: VecDeque<Bytes>,
    heartbeat: Interval,
    stopped: watch::Receiver<bool>,
}

impl Following {
    async fn open(
        mut session: Box<dyn Session>,
        asked: &Asked,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<Following, Report> {
        let mut as_of = asked.as_of;
        let outcome = loop {
            let statement = asked.statement(as_of);
            let outcome = tokio::select! {
                outcome = session.execute(&statement, Vec::new()) => outcome,
                () = ended(&mut stopped) => Err(shut_down()),
            };
            match outcome {
                // What was missed is gone; what is there now is not.
                Err(report) if as_of.is_some() && is_behind(&report) => as_of = None,
                outcome => break outcome.map_err(|report| Report { position: None, ..report })?,
            }
        };
        let Outcome::Rows { schema, rows, .. } = outcome else {
            return Err(Report::unsupported("a subscription without rows"));
        };
        let begin = Begin {
            columns: named(&schema, OWN_COLUMNS),
            snapshot: as_of.is_none() && asked.snapshot,
            as_of,
        };
        let period = asked.heartbeat.unwrap_or(HEARTBEAT);
        let mut heartbeat = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let begin = event("begin", None, &begin);
        Ok(Following {
            text: TextRows::of(session.as_ref()),
            _session: session,
            rows: Some(rows),
            events: VecDeque::from([Bytes::from_static(b"retry: 1000\n"), begin]),
            heartbeat,
            stopped,
        })
    }

    /// What is sent next; None at the end.
    async fn step(mut self) -> Option<(Result<Bytes, Infallible>, Following)> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some((Ok(event), self));
            }
            let rows = self.rows.as_mut()?;
            let batch = tokio::select! {
                batch = rows.next() => batch,
                () = ended(&mut self.stopped) => {
                    // The client comes back when the server does.
                    return None;
                }
                _ = self.heartbeat.tick() => {
                    self.events.push_back(Bytes::from_static(b":\n\n"));
                    continue;
                }
            };
            let batch = batch?.map_err(|error| report_of(&error));
            if let Err(report) = batch.and_then(|batch| self.take(&batch)) {
                self.events.push_back(event("failure", None, &Told::new(report, 0)));
                self.rows = None;
            }
            self.heartbeat.reset();
        }
    }

    /// Makes events of a batch.
    fn take(&mut self, batch: &RecordBatch) -> Result<(), Report> {
        let (mut page, mut wrong) = (Page::default(), None);
        self.text.each(batch, |row| {
            wrong = page.add(row).err();
            wrong.is_none()
        })?;
        page.close();
        self.events.extend(page.events);
        wrong.map_or(Ok(()), Err)
    }
}

/// Events of a batch, and the one that is being filled.
#[derive(Default)]
struct Page {
    events: Vec<Bytes>,
    open: Option<Rows>,
}

impl Page {
    fn add(&mut self, mut row: Vec<Option<String>>) -> Result<(), Report> {
        let (epoch, weight) = epoch_and_weight(&row)?;
        let full = |rows: &Rows| rows.epoch != epoch || rows.rows.len() == ROWS_MAX;
        if weight == 0 || self.open.as_ref().is_some_and(full) {
            self.close();
        }
        if weight == 0 {
            self.events.push(event("progress", Some(epoch), &Progress { epoch }));
        } else {
            let open = self.open.get_or_insert_with(|| Rows { epoch, rows: Vec::new() });
            open.rows.push((weight, row.split_off(OWN_COLUMNS)));
        }
        Ok(())
    }

    fn close(&mut self) {
        self.events.extend(self.open.take().map(|rows| event("rows", None, &rows)));
    }
}

fn epoch_and_weight(row: &[Option<String>]) -> Result<(u64, i64), Report> {
    let text = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
    let found = text(0).parse().ok().zip(text(1).parse().ok());
    found.ok_or_else(|| Report::new(SqlState::INTERNAL_ERROR, "a change has no epoch"))
}

/// True if what has changed since an epoch cannot be told any more.
fn is_behind(report: &Report) -> bool {
    let states = [SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, SqlState::INVALID_PARAMETER_VALUE];
    states.contains(&report.code)
}

/// One event; JSON has no line breaks of its own.
fn event(name: &str, id: Option<u64>, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_default();
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    Bytes::from(format!("event: {name}\n{id}data: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_event_says_where_to_go_on() {
        let found = asked("view=a%22b&as_of=3&heartbeat_ms=1", Some("17")).unwrap();
        let text = found.statement(found.as_of).text;
        assert_eq!(
            text,
            "SUBSCRIBE TO \"a\"\"b\" AS OF 17 WITH (progress = true, snapshot = false)"
        );
        assert_eq!(found.heartbeat, Some(Duration::from_millis(100)));
        let text = found.statement(None).text;
        assert_eq!(text, "SUBSCRIBE TO \"a\"\"b\" WITH (progress = true, snapshot = true)");
        let found = asked("query=SELECT+1&snapshot=false", None).unwrap();
        let text = found.statement(None).text;
        assert_eq!(text, "SUBSCRIBE TO (SELECT 1) WITH (progress = true, snapshot = false)");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (query, last) in
            [("", None), ("view=x&y=1", None), ("view=x&snapshot=2", None), ("view=%f", None)]
        {
            assert!(asked(query, last).is_err(), "{query}");
        }
        assert!(asked("view=x", Some("later")).is_err());
        assert!(asked("view=x", Some("")).is_ok());
    }
}
