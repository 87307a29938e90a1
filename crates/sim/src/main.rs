//! Tools of the tests: `slt` runs suites of `sql-tests/`, `produce` sends lines to a topic.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millrace_sim::kafka::{self, Kafka};
use millrace_sim::slt;

/// Tools of Millrace's tests.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Subcommand)]
enum Tool {
    /// Run suites; all that the setting allows if none is named
    Slt {
        /// Suites
        files: Vec<PathBuf>,
        /// A server that runs already, instead of a fresh one per file
        #[arg(long, value_name = "ADDRESS:PORT")]
        server: Option<std::net::SocketAddr>,
        /// The broker of suites that need one
        #[arg(long, env = "MILLRACE_TEST_KAFKA", value_name = "HOST:PORT")]
        broker: Option<String>,
        /// Replace expected results by actual ones
        #[arg(long)]
        rewrite: bool,
        /// Workers of a fresh server
        #[arg(long, default_value_t = 2)]
        workers: usize,
        /// Where views are made
        #[arg(long, value_enum, default_value_t)]
        order: slt::Order,
    },
    /// Send lines of standard input: PARTITION [key=K] [at=MS] [header=N:V] PAYLOAD
    Produce {
        /// The topic; made if it is not there
        topic: String,
        /// Partitions of a topic that is made
        partitions: i32,
        /// The broker
        #[arg(long, env = "MILLRACE_TEST_KAFKA", value_name = "HOST:PORT")]
        broker: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse().tool {
        Tool::Slt { files, server, broker, rewrite, workers, order } => {
            let setting = slt::Setting { server, broker, rewrite, workers, order };
            run_suites(files, &setting).await
        }
        Tool::Produce { topic, partitions, broker } => produce(&broker, &topic, partitions).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            say(&message);
            ExitCode::FAILURE
        }
    }
}

async fn run_suites(files: Vec<PathBuf>, setting: &slt::Setting) -> Result<(), String> {
    let files = if files.is_empty() {
        let mut all = slt::files(&slt::suites(), false).map_err(|e| e.to_string())?;
        if setting.broker.is_some() {
            all.extend(slt::files(&slt::suites(), true).map_err(|e| e.to_string())?);
        }
        all
    } else {
        files
    };
    let mut failed = 0;
    for file in &files {
        if slt::needs_broker(file) && setting.broker.is_none() {
            return Err(format!("{} needs --broker; scripts/slt starts one", file.display()));
        }
        let verdict = slt::run(file, setting).await;
        let count = verdict.failures.len();
        failed += usize::from(count > 0);
        say(&format!("{}: {} records, {count} failed", file.display(), verdict.records));
        for failure in verdict.failures {
            say(&failure);
        }
    }
    say(&format!("{} suites passed, {failed} failed", files.len() - failed));
    if failed == 0 { Ok(()) } else { Err("some suites failed".into()) }
}

async fn produce(broker: &str, topic: &str, partitions: i32) -> Result<(), String> {
    let kafka = Kafka::at(broker).map_err(|e| e.to_string())?;
    kafka.create_topic(topic, partitions).await.map_err(|e| e.to_string())?;
    let mut messages = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|e| e.to_string())?;
        let message = kafka::parse_message(&line);
        messages.push(message.ok_or_else(|| format!("not a message: {line}"))?);
    }
    kafka.send_all(topic, &messages).await.map_err(|e| e.to_string())?;
    Ok(())
}

fn say(line: &str) {
    // A closed pipe is the reader's choice, not a failure.
    drop(writeln!(std::io::stdout(), "{line}"));
}
