//! `millrace sql`: statements for a running server, from a file, the command line or a terminal.
//!
//! It is a client like any other: it knows the wire (`millrace_pg::client`) and nothing of the server.
//! [`splitter`] cuts text into statements, [`run`] runs one and shows what comes, [`print`] are the forms in
//! which results are shown, [`editor`] reads from a terminal, [`commands`] are the lines that begin with a
//! backslash.

pub mod bar;
mod commands;
mod editor;
mod input;
mod password;
mod print;
mod problem;
mod run;
mod script;
mod splitter;
mod terminal;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use millrace_pg::client::{ClientError, Connection, Login, SslMode};

use self::print::Format;
use self::run::Shell;
use self::script::Script;

/// A statement or script has failed; what psql ends with, too.
const STATEMENT_FAILED: u8 = 3;
/// There is no connection.
const NOT_CONNECTED: u8 = 2;
/// Ctrl-C: as shells have it, 128 and the number of SIGINT.
pub(super) const INTERRUPTED: u8 = 130;

/// `sslmode` of libpq.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ssl {
    Disable,
    #[value(alias = "allow")]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl From<Ssl> for SslMode {
    fn from(ssl: Ssl) -> SslMode {
        match ssl {
            Ssl::Disable => SslMode::Disable,
            Ssl::Prefer => SslMode::Prefer,
            Ssl::Require => SslMode::Require,
            Ssl::VerifyCa => SslMode::VerifyCa,
            Ssl::VerifyFull => SslMode::VerifyFull,
        }
    }
}

/// `millrace sql`
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// File with statements; `-` is standard input, as is none where that is no terminal
    file: Option<PathBuf>,
    /// Statements to run, instead of a file
    #[arg(short, long, value_name = "SQL", conflicts_with = "file")]
    command: Vec<String>,
    /// The server, HOST:PORT [default: PGHOST and PGPORT, or 127.0.0.1:4567]
    #[arg(short, long, env = "MILLRACE_SERVER", value_name = "HOST:PORT")]
    server: Option<String>,
    /// The user
    #[arg(short, long, env = "PGUSER", default_value = "root")]
    user: String,
    /// The database
    #[arg(short, long, env = "PGDATABASE", default_value = "dev")]
    database: String,
    /// How results are shown
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Show each row as a record, a column a line
    #[arg(short = 'x', long)]
    expanded: bool,
    /// Show how long each statement took
    #[arg(long)]
    timing: bool,
    /// Say nothing of statements that give no rows
    #[arg(short, long)]
    quiet: bool,
    /// Go on with the next statement when one fails
    #[arg(short, long)]
    keep_going: bool,
    /// Whether the connection is encrypted and what is verified, as libpq's sslmode
    #[arg(long, env = "PGSSLMODE", value_enum, default_value = "prefer", value_name = "MODE")]
    ssl: Ssl,
    /// PEM file of the authorities to verify the server's certificate with, or `system`
    #[arg(long, env = "PGSSLROOTCERT", value_name = "FILE")]
    ssl_root: Option<String>,
}

/// Runs what was asked for; an error is told where it happens.
pub fn run(options: Options) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error, 1),
    };
    let mut login = match login(&options) {
        Ok(login) => login,
        Err(message) => return complain(&message, 1),
    };
    let connection = match runtime.block_on(connect(&mut login)) {
        Ok(connection) => connection,
        Err(error) => return complain(&error, NOT_CONNECTED),
    };
    let interactive = options.command.is_empty()
        && options.file.is_none()
        && io::stdin().is_terminal()
        && io::stdout().is_terminal();
    let shell = {
        // Signals are the runtime's.
        let _inside = runtime.enter();
        Shell::new(connection, login, &options)
    };
    let ended = match shell {
        Ok(mut shell) if interactive => terminal::run(&mut shell, &runtime),
        Ok(mut shell) => runtime.block_on(scripts(&mut shell, &options)),
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        // Whoever read the results has seen enough.
        Err(ClientError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => complain(&error, NOT_CONNECTED),
    }
}

/// Runs what stands on the command line, in a file or in standard input; gives the exit status.
async fn scripts(shell: &mut Shell, options: &Options) -> Result<u8, ClientError> {
    let mut code = 0;
    let mut scripts = Vec::new();
    for command in &options.command {
        scripts.push(Script::of_text(command));
    }
    if scripts.is_empty() {
        match options.file.as_deref().filter(|file| file.as_os_str() != "-") {
            Some(file) => match Script::of_file(file) {
                Ok(script) => scripts.push(script),
                Err(error) => {
                    shell.complain(&format!("\"{}\": {error}", file.display()));
                    return Ok(1);
                }
            },
            None => scripts.push(Script::of_input(&shell.input)),
        }
    }
    for script in scripts {
        match shell.script(script).await? {
            run::Ended::Well => {}
            run::Ended::Failed => code = STATEMENT_FAILED,
            run::Ended::Stopped(stopped) => return Ok(stopped),
        }
    }
    Ok(code)
}

/// Who asks whom.
fn login(options: &Options) -> Result<Login, String> {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let (host, port) = match &options.server {
        Some(server) => {
            let (host, port) = server.rsplit_once(':').unwrap_or((server, "4567"));
            (host.trim_matches(['[', ']']).to_owned(), port.to_owned())
        }
        None => (
            variable("PGHOST").unwrap_or_else(|| "127.0.0.1".into()),
            variable("PGPORT").unwrap_or_else(|| "4567".into()),
        ),
    };
    let port = port.parse().map_err(|_| format!("`{port}` is no port; --server is HOST:PORT"))?;
    let mut login = Login {
        host,
        port,
        user: options.user.clone(),
        database: options.database.clone(),
        password: None,
        application: "millrace sql".into(),
        ssl: options.ssl.into(),
        ssl_root: options.ssl_root.clone(),
    };
    login.password = password::known(&login);
    Ok(login)
}

/// Connects; asks for a password where the server wants one and somebody is there to ask.
async fn connect(login: &mut Login) -> Result<Connection, ClientError> {
    match Connection::open(login).await {
        Err(ClientError::PasswordNeeded) => {
            login.password = Some(password::ask(&login.user)?.ok_or(ClientError::PasswordNeeded)?);
            Connection::open(login).await
        }
        other => other,
    }
}

fn complain(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    // Nobody to tell, nothing to do.
    drop(writeln!(io::stderr(), "millrace: {error}"));
    ExitCode::from(code)
}
