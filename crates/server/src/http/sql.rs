//! `POST /api/sql`: statements in, rows as JSON out. A request is a session: what it sets, and a transaction that it
//! leaves open, ends with it. Who closes the connection cancels the statement.
//!
//! The answer is 200 also when a statement fails: it holds the results before it, and the error as PostgreSQL's
//! fields.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, http::header};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use millrace_pg::session::{ENDLESS, Login, Outcome, Session, Statement, Transaction, command_tag};
use millrace_pg::text_rows::{self, TextRows};
use millrace_types::{Report, SqlState};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Web;
use super::connections::body_in_time;
use crate::session::report_of;

/// Rows of a result, where the request names no limit.
const ROWS: usize = 1_000;
/// Rows of a result at most.
const ROWS_MAX: usize = 100_000;
/// Bytes of the values of a result at most.
const BYTES_MAX: usize = 32 << 20;
/// Statements of a request.
const STATEMENTS_MAX: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    sql: String,
    /// Rows of each result that are wanted.
    limit: Option<usize>,
    /// Ends each statement, as `statement_timeout` does.
    timeout_ms: Option<u64>,
}

#[derive(Default, Serialize)]
struct Answer {
    results: Vec<Given>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Told>,
}

/// What a statement gave.
#[derive(Serialize)]
struct Given {
    tag: String,
    columns: Vec<Named>,
    rows: Vec<Vec<Option<String>>>,
    /// There were more rows.
    truncated: bool,
    elapsed_us: i64,
    notices: Vec<Told>,
}

/// A column: its name and PostgreSQL's name of its type.
#[derive(Serialize)]
pub(super) struct Named {
    name: String,
    r#type: String,
}

/// The columns of a result, without the first ones.
pub(super) fn named(schema: &arrow::datatypes::Schema, skipped: usize) -> Vec<Named> {
    let columns = text_rows::columns(schema).into_iter().skip(skipped);
    columns.map(|(name, r#type)| Named { name, r#type }).collect()
}

/// An error or notice. Positions count characters from the beginning of the request's text, from 1.
#[derive(Serialize)]
pub(super) struct Told {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<usize>,
}

impl Told {
    pub(super) fn new(report: Report, offset: usize) -> Told {
        Told {
            code: report.code.code(),
            message: report.message,
            detail: report.detail,
            hint: report.hint,
            position: report.position.map(|position| position + offset),
        }
    }
}

/// Runs the statements of a request.
pub(super) async fn run(
    State(web): State<Arc<Web>>,
    Extension(login): Extension<Login>,
    request: Request,
) -> Response {
    let body = match body_in_time(request, web.shared.config.http_timeout).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let asked: Asked = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let mut answer = Answer::default();
    match web.database.open(login).await {
        Ok(session) => {
            let mut run = Run::new(session, &web, asked.limit, asked.timeout_ms);
            answer.error = run.all(&asked.sql, &mut answer.results).await.err();
        }
        Err(report) => answer.error = Some(Told::new(report, 0)),
    }
    ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response()
}

/// A session of one request.
struct Run<'a> {
    session: Box<dyn Session>,
    web: &'a Web,
    limit: usize,
    timeout: Option<Duration>,
    /// Bytes of rows that are held for the answer.
    held: usize,
    ends: Ends,
}

impl Run<'_> {
    fn new(
        session: Box<dyn Session>,
        web: &Web,
        limit: Option<usize>,
        timeout_ms: Option<u64>,
    ) -> Run<'_> {
        let ends =
            Ends { stopped: web.stopped.clone(), settling: session.settling(), deadline: None };
        let limit = limit.unwrap_or(ROWS).min(ROWS_MAX);
        Run { session, web, limit, timeout: timeout_ms.map(Duration::from_millis), held: 0, ends }
    }

    async fn all(&mut self, text: &str, results: &mut Vec<Given>) -> Result<(), Told> {
        let statements = self.session.split(text).map_err(|report| Told::new(report, 0))?;
        if statements.len() > STATEMENTS_MAX {
            let message = format!("a request may have {STATEMENTS_MAX} statements");
            return Err(Told::new(Report::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message), 0));
        }
        if statements.len() > 1 {
            self.session.gather(true);
        }
        for statement in statements.iter().filter(|statement| !statement.text.is_empty()) {
            let begun = self.web.shared.clock.now();
            let failed = |report| Told::new(report, statement.offset);
            let given = self.one(statement).await.inspect_err(|_| self.session.failed());
            let mut given = given.map_err(failed)?;
            given.elapsed_us = self.web.shared.clock.now() - begun;
            let notices = self.session.notices().into_iter();
            given.notices = notices.map(|report| Told::new(report, statement.offset)).collect();
            results.push(given);
        }
        let settled = self.ends.bound(self.session.settle()).await;
        settled.inspect_err(|_| self.session.failed()).map_err(|report| Told::new(report, 0))?;
        self.session.rests();
        if let (Some(last), true) =
            (results.last_mut(), self.session.transaction() != Transaction::Idle)
        {
            let message = "the transaction is rolled back: it ends with the request";
            last.notices.push(Told::new(Report::new(SqlState::WARNING, message), 0));
        }
        Ok(())
    }

    async fn one(&mut self, statement: &Statement) -> Result<Given, Report> {
        let timeouts = [self.session.statement_timeout(), self.timeout];
        let timeout = timeouts.into_iter().flatten().min();
        self.ends.deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let outcome = self.ends.bound(self.session.execute(statement, Vec::new())).await?;
        let mut given = Given {
            tag: String::new(),
            columns: Vec::new(),
            rows: Vec::new(),
            truncated: false,
            elapsed_us: 0,
            notices: Vec::new(),
        };
        match outcome {
            Outcome::Empty => {}
            Outcome::Done(tag) => given.tag = tag,
            Outcome::CopyIn { .. } => {
                let report = Report::unsupported("COPY FROM STDIN over HTTP");
                return Err(report.hint("Use psql or a driver, or INSERT."));
            }
            Outcome::CopyOut { .. } => {
                let report = Report::unsupported("COPY TO STDOUT over HTTP");
                return Err(report.hint("SELECT gives the rows."));
            }
            Outcome::Rows { verb: ENDLESS, .. } => {
                let report = Report::unsupported("SUBSCRIBE in this request");
                return Err(report.hint("GET /api/subscribe?view=NAME sends rows as they change."));
            }
            Outcome::Rows { schema, rows, verb } => {
                given.columns = named(&schema, 0);
                let count = self.read(rows, verb, &mut given).await?;
                given.tag = command_tag(verb, count);
            }
        }
        Ok(given)
    }

    /// Reads rows until there are enough; those of a change to their end.
    async fn read(
        &mut self,
        mut rows: SendableRecordBatchStream,
        verb: &str,
        given: &mut Given,
    ) -> Result<usize, Report> {
        let text = TextRows::of(self.session.as_ref());
        let (mut count, limit) = (0, self.limit);
        let held = &mut self.held;
        let changes = matches!(verb, "INSERT" | "UPDATE" | "DELETE" | "MERGE");
        let next = async |ends: &mut Ends, rows: &mut SendableRecordBatchStream| {
            let next = async { rows.next().await.transpose().map_err(|error| report_of(&error)) };
            ends.bound(next).await
        };
        while let Some(batch) = next(&mut self.ends, &mut rows).await? {
            text.each(&batch, |row| {
                let cells = row.iter().map(|cell| cell.as_ref().map_or(0, String::len));
                let bytes = cells.sum::<usize>() + size_of_val(row.as_slice());
                given.truncated |= given.rows.len() == limit || *held + bytes > BYTES_MAX;
                *held += if given.truncated { 0 } else { bytes };
                if !given.truncated {
                    given.rows.push(row);
                }
                count += usize::from(changes || !given.truncated);
                changes || !given.truncated
            })?;
            if given.truncated && !changes {
                break;
            }
        }
        Ok(count)
    }
}

/// What ends a statement besides the client.
struct Ends {
    stopped: watch::Receiver<bool>,
    /// The statement under way cannot be ended any more.
    settling: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Ends {
    /// Does some work until it has an outcome, or takes too long, or the server ends.
    async fn bound<T>(
        &mut self,
        work: impl Future<Output = Result<T, Report>>,
    ) -> Result<T, Report> {
        let mut work = pin!(work);
        let deadline = self.deadline;
        let timeout = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let report = tokio::select! {
            biased;
            outcome = &mut work => return outcome,
            () = ended(&mut self.stopped) => shut_down(),
            () = timeout => {
                let message = "canceling statement due to statement timeout";
                Report::new(SqlState::QUERY_CANCELED, message)
            }
        };
        if self.settling.load(Ordering::SeqCst) {
            // It happens now: who asked is told what has happened.
            return work.await;
        }
        Err(report)
    }
}

/// Waits until the server ends.
pub(super) async fn ended(stopped: &mut watch::Receiver<bool>) {
    // The sender is gone when the server has ended.
    drop(stopped.wait_for(|stop| *stop).await);
}

pub(super) fn shut_down() -> Report {
    let message = "terminating connection due to administrator command";
    Report::new(SqlState::ADMIN_SHUTDOWN, message)
}
