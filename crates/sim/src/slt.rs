//! Runs the suites of `sql-tests/`: each file against a server of its own, over the wire.
//!
//! Results are PostgreSQL's text format. An error reads `SQLSTATE: message at position`, then
//! DETAIL, HINT and CONTEXT on lines of their own. A file goes on after a failure, so that one run shows
//! all of them. A line `# log: TEXT` in a file allows WARN and ERROR lines of the server that contain
//! TEXT; others are failures. Files below `kafka/` need a broker and get these variables (after
//! `control substitution on`): `$__KAFKA__` its address, `$__TOPIC__` and `$__TOPIC2__` names that
//! no other run uses, `$__PRODUCE__` a command that takes a topic and a number of partitions and
//! sends the lines of its input (see [`crate::kafka::parse_message`]). Files below `pending/` hold
//! what is not yet as in PostgreSQL; they run only by name.

mod order;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Record, Runner};
use tokio_postgres::{Client, SimpleQueryMessage};

pub use self::order::Order;

use crate::server::{self, Server};
use crate::wait;

/// Where the suites are.
pub fn suites() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sql-tests")
}

/// All suites below a directory, sorted: those that need a broker, or those that do not. A folder
/// `pending` in it is left out.
///
/// # Errors
/// A directory cannot be read.
pub fn files(directory: &Path, with_broker: bool) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.ends_with("pending") {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path, with_broker)?);
        } else if path.extension().is_some_and(|e| e == "slt") && needs_broker(&path) == with_broker
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// True for a suite that reads from Kafka.
pub fn needs_broker(file: &Path) -> bool {
    file.parent().is_some_and(|directory| directory.ends_with("kafka"))
}

/// What a file is run against.
#[derive(Clone, Debug)]
pub struct Setting {
    /// A server that runs already; a fresh one without it.
    pub server: Option<SocketAddr>,
    /// The broker, `host:port`.
    pub broker: Option<String>,
    /// Expected results are replaced by actual ones.
    pub rewrite: bool,
    /// Workers of a fresh server.
    pub workers: usize,
    /// Where views are made.
    pub order: Order,
}

impl Default for Setting {
    fn default() -> Setting {
        Setting { server: None, broker: None, rewrite: false, workers: 2, order: Order::Written }
    }
}

/// What came of one file.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Statements and queries that ran.
    pub records: usize,
    /// What went wrong, each with its place in the file.
    pub failures: Vec<String>,
}

/// Runs one file; nothing of one that says that it cannot run in this order.
///
/// # Panics
/// If the server cannot be started.
pub async fn run(file: &Path, setting: &Setting) -> Verdict {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    if !setting.order.is_allowed(&text) {
        return Verdict::default();
    }
    let mut own = Server::new(&["--workers", &setting.workers.to_string()]);
    for part in text.lines().filter_map(|line| line.strip_prefix("# log: ")) {
        own = own.expecting(part);
    }
    let address = match setting.server {
        Some(address) => address,
        None => {
            own.start().await;
            (*own.address().borrow()).expect("it listens")
        }
    };
    let mut runner = Runner::new(move || Engine::connect(address));
    runner.with_column_validator(|actual, expected| actual.len() == expected.len());
    for (name, value) in variables(file, setting) {
        runner.set_var(name.to_owned(), value);
    }
    let mut verdict = if setting.rewrite {
        rewrite(&mut runner, file).await
    } else {
        check(&mut runner, file, setting.order).await
    };
    runner.shutdown_async().await;
    if setting.server.is_none() {
        let status = own.terminate().await;
        if !status.success() {
            verdict.failures.push(format!("{status} after SIGTERM"));
        }
        verdict.failures.extend(own.complaints());
    }
    verdict
}

fn variables(file: &Path, setting: &Setting) -> Vec<(&'static str, String)> {
    let Some(broker) = &setting.broker else { return Vec::new() };
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let topic = format!("slt-{stem}-{}", wait::now_micros());
    let program = server::program("millrace-sim");
    vec![
        ("__KAFKA__", broker.clone()),
        ("__TOPIC2__", format!("{topic}-2")),
        ("__PRODUCE__", format!("{} produce --broker {broker}", program.display())),
        ("__TOPIC__", topic),
    ]
}

async fn check<M>(runner: &mut Runner<Engine, M>, file: &Path, order: Order) -> Verdict
where
    M: sqllogictest::MakeConnection<Conn = Engine>,
{
    let mut verdict = Verdict::default();
    let records = match sqllogictest::parse_file(file) {
        Ok(records) => records,
        Err(error) => {
            verdict.failures.push(error.to_string());
            return verdict;
        }
    };
    for record in order.arrange(records) {
        match record {
            Record::Halt { .. } => break,
            Record::Statement { .. } | Record::Query { .. } => verdict.records += 1,
            _ => {}
        }
        if let Err(error) = runner.run_async(record).await {
            verdict.failures.push(error.to_string());
        }
    }
    verdict
}

async fn rewrite<M>(runner: &mut Runner<Engine, M>, file: &Path) -> Verdict
where
    M: sqllogictest::MakeConnection<Conn = Engine>,
{
    let result = runner
        .update_test_file(
            file,
            " ",
            sqllogictest::default_validator,
            sqllogictest::default_normalizer,
            sqllogictest::default_column_validator,
        )
        .await;
    Verdict { records: 0, failures: result.err().map(|e| e.to_string()).into_iter().collect() }
}

/// One connection that speaks the simple protocol.
struct Engine {
    client: Client,
}

/// An error as the suites show it.
#[derive(Debug, thiserror::Error)]
struct Failure(#[from] tokio_postgres::Error);

impl Engine {
    async fn connect(address: SocketAddr) -> Result<Engine, Failure> {
        Ok(Engine { client: server::connect(address).await? })
    }
}

#[async_trait]
impl AsyncDB for Engine {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let messages = self.client.simple_query(sql).await?;
        let (mut columns, mut rows, mut count) = (None, Vec::new(), 0);
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(names) => columns = Some(names.len()),
                SimpleQueryMessage::Row(row) => {
                    rows.push((0..row.len()).map(|i| shown(row.get(i))).collect());
                }
                SimpleQueryMessage::CommandComplete(n) => count = n,
                _ => {}
            }
        }
        Ok(match columns {
            Some(n) => DBOutput::Rows { types: vec![DefaultColumnType::Any; n], rows },
            None => DBOutput::StatementComplete(count),
        })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &'static str {
        "millrace"
    }

    async fn sleep(duration: std::time::Duration) {
        tokio::time::sleep(duration).await;
    }

    async fn run_command(command: std::process::Command) -> std::io::Result<std::process::Output> {
        tokio::process::Command::from(command).output().await
    }

    fn error_sql_state(error: &Failure) -> Option<String> {
        error.0.code().map(|code| code.code().to_owned())
    }
}

fn shown(value: Option<&str>) -> String {
    match value {
        None => "NULL".into(),
        Some("") => "(empty)".into(),
        Some(text) => text.into(),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(error) = self.0.as_db_error() else { return write!(f, "{}", self.0) };
        write!(f, "{}: {}", error.code().code(), error.message())?;
        if let Some(tokio_postgres::error::ErrorPosition::Original(position)) = error.position() {
            write!(f, " at {position}")?;
        }
        if let Some(detail) = error.detail() {
            write!(f, "\nDETAIL: {detail}")?;
        }
        if let Some(hint) = error.hint() {
            write!(f, "\nHINT: {hint}")?;
        }
        if let Some(context) = error.where_() {
            write!(f, "\nCONTEXT: {context}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all_pass(with_broker: bool, setting: Setting) {
        let files = files(&suites(), with_broker).unwrap();
        assert!(!files.is_empty(), "no suites in {}", suites().display());
        let (order, workers) = (setting.order, setting.workers);
        let mut failures = Vec::new();
        for file in files {
            let verdict = run(&file, &setting).await;
            let refused = !order.is_allowed(&std::fs::read_to_string(&file).unwrap());
            assert!(refused || verdict.records > 0, "nothing was checked in {}", file.display());
            let told = |failure| format!("{order:?}, {workers} workers: {failure}");
            failures.extend(verdict.failures.into_iter().map(told));
        }
        assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n\n"));
    }

    #[test]
    fn what_the_benchmark_measures_is_what_the_suites_check() {
        let read = |path: &std::path::Path| {
            let files = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
            files.map(|file| (file.clone(), std::fs::read_to_string(file).unwrap()))
        };
        let suites = suites().join("nexmark");
        let checked: String = read(&suites).map(|(_, text)| text).collect();
        for (file, query) in read(&suites.join("../../bench/nexmark")) {
            assert!(checked.contains(query.trim()), "{} is in no suite", file.display());
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn suites_without_a_broker_pass() {
        all_pass(false, Setting::default()).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn suites_pass_with_their_views_first() {
        for workers in [1, 4] {
            let order = Order::ViewsFirst;
            all_pass(false, Setting { workers, order, ..Setting::default() }).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn suites_pass_with_their_views_last() {
        for workers in [1, 4] {
            let order = Order::ViewsLast;
            all_pass(false, Setting { workers, order, ..Setting::default() }).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs a Kafka broker: scripts/test runs it"]
    async fn suites_over_kafka_pass() {
        let broker = Some(crate::kafka::Kafka::of_tests().bootstrap);
        all_pass(true, Setting { broker, ..Setting::default() }).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs a Kafka broker: scripts/test runs it"]
    async fn suites_over_kafka_pass_in_other_orders() {
        let kafka = crate::kafka::Kafka::of_tests();
        for order in [Order::ViewsFirst, Order::ViewsLast] {
            for workers in [1, 4] {
                let broker = Some(kafka.bootstrap.clone());
                all_pass(true, Setting { broker, workers, order, ..Setting::default() }).await;
            }
        }
    }
}
