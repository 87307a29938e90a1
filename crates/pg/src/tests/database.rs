//! A database for tests: DataFusion's own SELECT, the functions of the catalog, and a few statements that misbehave.
//!
//! `SET x = y`, `BEGIN`, `START`, `COMMIT`, `ROLLBACK`; `NOTE` gives a notice; `HANG` never finishes planning;
//! `STALL` gives one row and no more; `ENDLESS` never stops; `HALF` gives a row and then fails.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use millrace_types::{Report, SqlState};
use tokio::sync::Notify;

use crate::catalog::{Catalog, Client, PUBLIC, Relations, SessionLists, Settings};
use crate::report_of;
use crate::scram::Verifier;
use crate::session::{
    Authentication, Database, Login, Outcome, Prepared, Session, Statement, Transaction,
};

/// The database with what tests look at.
pub(super) struct TestDatabase {
    catalog: Catalog,
    /// The password of `root`; other names may not come in then.
    pub(super) password: Option<String>,
    /// Statements and streams that were dropped before their end.
    pub(super) dropped: Arc<Dropped>,
    /// The logins of all sessions.
    pub(super) logins: Mutex<Vec<Login>>,
}

#[derive(Default)]
pub(super) struct Dropped {
    count: AtomicUsize,
    changed: Notify,
}

impl Dropped {
    /// Waits until so many were dropped.
    pub(super) async fn reach(&self, count: usize) {
        while self.count.load(Ordering::SeqCst) < count {
            let changed = self.changed.notified();
            if self.count.load(Ordering::SeqCst) < count {
                changed.await;
            }
        }
    }
}

/// Counts its drop.
struct Guard(Arc<Dropped>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        self.0.changed.notify_one();
    }
}

impl TestDatabase {
    pub(super) async fn new() -> TestDatabase {
        TestDatabase {
            catalog: Catalog::new("dev", Arc::new(Nothing)).await.unwrap(),
            password: None,
            dropped: Arc::default(),
            logins: Mutex::default(),
        }
    }
}

#[async_trait]
impl Database for TestDatabase {
    async fn open(&self, login: Login) -> Result<Box<dyn Session>, Report> {
        if login.database != "dev" {
            let message = format!("database \"{}\" does not exist", login.database);
            return Err(Report::new(SqlState::INVALID_CATALOG_NAME, message));
        }
        let config = SessionConfig::new()
            .with_default_catalog_and_schema("dev", PUBLIC)
            .set_str("datafusion.sql_parser.dialect", "postgres");
        let context = SessionContext::new_with_config(config);
        let settings = Arc::new(TestSettings::default());
        let client = Client {
            user: login.user.clone(),
            session_user: login.user.clone(),
            database: login.database.clone(),
            process: 1,
            settings: settings.clone(),
            lists: Arc::new(Nothing),
        };
        for function in self.catalog.functions(&client) {
            context.register_udf(function);
        }
        self.logins.lock().unwrap().push(login);
        Ok(Box::new(TestSession {
            context,
            settings,
            notices: Vec::new(),
            transaction: Transaction::Idle,
            dropped: self.dropped.clone(),
        }))
    }

    fn authentication(&self, login: &Login) -> Authentication {
        match &self.password {
            None => Authentication::Trust,
            Some(password) if login.user == "root" => {
                Authentication::Password(Box::new(Verifier::of(password).unwrap()))
            }
            Some(_) => Authentication::Nobody(Box::new(Verifier::mock(b"key", &login.user))),
        }
    }
}

/// A catalog without anything.
#[derive(Debug)]
struct Nothing;

impl Relations for Nothing {}

impl SessionLists for Nothing {}

#[derive(Debug, Default)]
struct TestSettings(Mutex<BTreeMap<String, String>>);

impl Settings for TestSettings {
    fn get(&self, name: &str) -> Option<String> {
        self.0.lock().unwrap().get(name).cloned()
    }

    fn all(&self) -> Vec<(String, String, String)> {
        Vec::new()
    }

    fn set(&self, name: &str, value: &str, _: bool) -> Result<(), Report> {
        self.0.lock().unwrap().insert(name.to_owned(), value.to_owned());
        Ok(())
    }
}

struct TestSession {
    context: SessionContext,
    settings: Arc<TestSettings>,
    notices: Vec<Report>,
    transaction: Transaction,
    dropped: Arc<Dropped>,
}

impl TestSession {
    async fn plan(&self, statement: &Statement) -> Result<LogicalPlan, Report> {
        let state = self.context.state();
        if let Some(column) = statement.text.find("nosuch") {
            let position = statement.text[..column].chars().count() + 1;
            let message = "column \"nosuch\" does not exist";
            return Err(Report::new(SqlState::UNDEFINED_COLUMN, message)
                .at(position)
                .detail("There is none.")
                .hint("Name another."));
        }
        let parsed = Parser::parse_sql(&PostgreSqlDialect {}, &statement.text)
            .map_err(|error| Report::new(SqlState::SYNTAX_ERROR, error.to_string()))?;
        let Some(parsed) = parsed.into_iter().next() else {
            return Err(Report::new(SqlState::SYNTAX_ERROR, "no statement"));
        };
        let statement = DfStatement::Statement(Box::new(parsed));
        state.statement_to_plan(statement).await.map_err(|error| report_of(&error))
    }

    /// The rows of a statement that misbehaves.
    fn odd_rows(&self, word: &str) -> BoxStream<'static, Result<i64, DataFusionError>> {
        let guard = Guard(self.dropped.clone());
        match word {
            "STALL" => stream::iter([Ok(1)])
                .chain(stream::pending())
                .map(move |row| {
                    let _held = &guard;
                    row
                })
                .boxed(),
            "ENDLESS" => stream::iter(0..)
                .map(move |row| {
                    let _held = &guard;
                    Ok(row)
                })
                .boxed(),
            _ => {
                let report = Report::new(SqlState::DIVISION_BY_ZERO, "division by zero");
                stream::iter([Ok(1), Err(DataFusionError::External(Box::new(report)))]).boxed()
            }
        }
    }
}

fn number_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

fn numbers(rows: BoxStream<'static, Result<i64, DataFusionError>>) -> SendableRecordBatchStream {
    let batches = rows.map(|row| {
        let column = Arc::new(Int64Array::from(vec![row?]));
        Ok(RecordBatch::try_new(number_schema(), vec![column])?)
    });
    Box::pin(RecordBatchStreamAdapter::new(number_schema(), batches))
}

#[async_trait]
impl Session for TestSession {
    fn split(&self, query: &str) -> Result<Vec<Statement>, Report> {
        if query.matches('\'').count() % 2 == 1 {
            let message = "unterminated quoted string";
            return Err(Report::new(SqlState::SYNTAX_ERROR, message).at(1));
        }
        let mut offset = 0;
        let mut statements = Vec::new();
        for part in query.split(';') {
            let text = part.trim();
            let before = part.chars().take_while(|c| c.is_whitespace()).count();
            let text = if text.starts_with("--") { "" } else { text };
            statements.push(Statement { text: text.to_owned(), offset: offset + before });
            offset += part.chars().count() + 1;
        }
        statements.retain(|statement| !statement.text.is_empty());
        Ok(statements)
    }

    async fn prepare(
        &mut self,
        statement: &Statement,
        hints: &[Option<DataType>],
    ) -> Result<Prepared, Report> {
        let nothing = Prepared { parameters: Vec::new(), columns: None };
        match statement.text.split_whitespace().next() {
            Some("SET" | "BEGIN" | "START" | "COMMIT" | "ROLLBACK" | "NOTE" | "HANG") => {
                return Ok(nothing);
            }
            Some("STALL" | "ENDLESS" | "HALF") => {
                return Ok(Prepared { columns: Some(number_schema()), ..nothing });
            }
            _ => {}
        }
        let plan = self.plan(statement).await?;
        let inferred = plan.get_parameter_types().map_err(|error| report_of(&error))?;
        let parameters = (1..=inferred.len())
            .map(|number| {
                let hint = hints.get(number - 1).cloned().flatten();
                let found = inferred.get(&format!("${number}")).cloned().flatten();
                hint.or(found).unwrap_or(DataType::Null)
            })
            .collect();
        let columns = Some(Arc::new(plan.schema().as_arrow().clone()));
        Ok(Prepared { parameters, columns })
    }

    async fn execute(
        &mut self,
        statement: &Statement,
        parameters: Vec<ScalarValue>,
    ) -> Result<Outcome, Report> {
        let words: Vec<&str> = statement.text.split_whitespace().collect();
        match words.as_slice() {
            ["SET", name, "=", value @ ..] => {
                self.settings.set(name, value.join(" ").trim_matches('\''), false)?;
                return Ok(Outcome::Done("SET".to_owned()));
            }
            ["BEGIN" | "START", ..] => self.transaction = Transaction::Open,
            ["COMMIT" | "ROLLBACK"] => self.transaction = Transaction::Idle,
            ["NOTE"] => {
                let notice = Report::new(SqlState::SUCCESSFUL_COMPLETION, "as you wished");
                self.notices.push(notice);
                self.notices.push(Report::new(SqlState::WARNING, "but beware"));
            }
            ["HANG"] => {
                let _guard = Guard(self.dropped.clone());
                std::future::pending::<()>().await;
            }
            [word @ ("STALL" | "ENDLESS" | "HALF")] => {
                let rows = numbers(self.odd_rows(word));
                return Ok(Outcome::Rows { schema: number_schema(), rows, verb: "SELECT" });
            }
            _ => {
                let plan = self.plan(statement).await?;
                let plan = plan.with_param_values(parameters).map_err(|e| report_of(&e))?;
                let frame =
                    self.context.execute_logical_plan(plan).await.map_err(|e| report_of(&e))?;
                let schema = Arc::new(frame.schema().as_arrow().clone());
                let rows = frame.execute_stream().await.map_err(|e| report_of(&e))?;
                return Ok(Outcome::Rows { schema, rows, verb: "SELECT" });
            }
        }
        Ok(Outcome::Done(words[0].to_owned()))
    }

    async fn copied(&mut self, data: &[u8]) -> Result<Outcome, Report> {
        Ok(Outcome::Done(format!("COPY {}", data.iter().filter(|byte| **byte == b'\n').count())))
    }

    fn failed(&mut self) {
        if self.transaction == Transaction::Open {
            self.transaction = Transaction::Failed;
        }
    }

    fn notices(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.notices)
    }

    fn transaction(&self) -> Transaction {
        self.transaction
    }

    fn parameter(&self, name: &str) -> Option<String> {
        self.settings.get(name)
    }
}
