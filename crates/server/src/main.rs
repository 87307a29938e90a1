//! The `millrace` binary: `serve`, `demo`, `sql`, `ready`, and what one does with data directories.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millrace_server::config::{self, Options};
use millrace_server::error::ServerError;
use millrace_server::{demo, http, offline, private, serve, shell};
use millrace_types::STACK_BYTES;

/// A streaming SQL database: Kafka in, materialized views kept up to date, Postgres clients out.
#[derive(Parser)]
#[command(name = "millrace", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve Postgres clients from a data directory
    ///
    /// Options may also come from MILLRACE_* variables and from a TOML file (--config); the command
    /// line is the strongest, the file the weakest. SIGTERM writes a checkpoint and ends.
    Serve(Box<Options>),
    /// Make sensor readings inside the server and keep a 10-second view of them live in the terminal
    Demo(demo::Options),
    /// Run statements from a file or the command line, or type them: a shell for a running server
    Sql(shell::Options),
    /// Verify a data directory that no server has open: every checksum of every file
    Check {
        /// The data directory
        dir: PathBuf,
    },
    /// Copy what a running server has made durable into a new directory
    Backup(offline::BackupOptions),
    /// Make a data directory of a backup
    Restore {
        /// The backup; it stays
        backup: PathBuf,
        /// The new data directory
        dir: PathBuf,
    },
    /// Ask a server whether it is ready: ends with 0 if it is
    Ready {
        /// Its address for health checks, see serve --http
        #[arg(long, env = "MILLRACE_HTTP", value_name = "ADDRESS:PORT", value_parser = config::address)]
        http: std::net::SocketAddr,
    },
}

fn main() -> ExitCode {
    private::create_for_owner();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            serve::complain(&one_line(&error.to_string()));
            return ExitCode::from(2);
        }
        // --help and --version.
        Err(error) => error.exit(),
    };
    let done = |result: Result<(), ServerError>| result.map(|()| ExitCode::SUCCESS);
    let run = || match cli.command {
        Command::Serve(options) => done(serve::run(*options)),
        Command::Demo(options) => done(demo::run(&options)),
        Command::Sql(options) => Ok(shell::run(options)),
        Command::Check { dir } => done(offline::check(&dir)),
        Command::Backup(options) => done(offline::backup(&options)),
        Command::Restore { backup, dir } => done(offline::restore(&backup, &dir)),
        Command::Ready { http } => done(http::ask(http)),
    };
    // The catalog's plans are read here: the first thread's stack is as large as its user's limits say.
    let thread = std::thread::Builder::new().name("main".into()).stack_size(STACK_BYTES);
    let result = std::thread::scope(|scope| match thread.spawn_scoped(scope, run) {
        Ok(running) => running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        Err(error) => Err(ServerError::Thread(error)),
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            serve::complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// What is wrong with the command line, without the usage that --help tells.
fn one_line(error: &str) -> String {
    let what = error.split("\n\n").next().unwrap_or_default();
    let what = what.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{what}; see --help")
}
