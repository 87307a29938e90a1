//! Lines that begin with a backslash: what the shell itself does.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use millrace_pg::client::ClientError;

use super::INTERRUPTED;
use super::print::Format;
use super::run::{Ended, Shell};
use super::script::Script;
use super::splitter::Piece;

const HELP: &str = r"Statements end with a semicolon. Tab completes, Ctrl-R searches what was typed before, Ctrl-C cancels.

\d [NAME]         what there is; the columns of NAME
\dm \ds \dt       materialized views, sources, tables
\x [on|off]       rows as records, a column a line
\timing [on|off]  how long statements take
\format FORMAT    aligned, csv or json
\null TEXT        what is shown for NULL
\watch [S [N]]    runs the last statement again every S seconds (2), N times
\i FILE           runs a file
\echo TEXT        shows a text
\conninfo         who is connected where
\q                ends
";

/// What there is.
const RELATIONS: &str = "SELECT t.table_name AS name, CASE WHEN c.relkind = 'm' THEN 'materialized view' \
     WHEN c.relkind = 'v' THEN 'view' WHEN t.is_insertable_into = 'NO' THEN 'source' ELSE 'table' END AS kind \
     FROM information_schema.tables AS t JOIN pg_class AS c ON c.relname = t.table_name \
     JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = t.table_schema \
     WHERE t.table_schema = 'public' ORDER BY name";

/// A line that begins with a backslash.
#[derive(Debug, PartialEq)]
pub(super) enum Command {
    Quit,
    Help,
    Expanded(Option<bool>),
    Timing(Option<bool>),
    Format(Format),
    Null(String),
    Watch {
        every: Duration,
        times: Option<u64>,
    },
    Include(String),
    Echo(String),
    Connection,
    /// What is short for a statement.
    Short(String),
}

impl Command {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it, for the user.
    pub(super) fn parse(line: &str) -> Result<Command, String> {
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim().trim_end_matches(';').trim_end();
        Ok(match name {
            "\\q" | "\\quit" => Command::Quit,
            "\\?" | "\\h" | "\\help" => Command::Help,
            "\\x" => Command::Expanded(switch(name, rest)?),
            "\\timing" => Command::Timing(switch(name, rest)?),
            "\\format" => Command::Format(
                Format::from_str(rest, true)
                    .map_err(|_| format!("\\format: `{rest}` is none of aligned, csv, json"))?,
            ),
            "\\null" => Command::Null(rest.trim_matches('\'').to_owned()),
            "\\watch" => watch(rest)?,
            "\\i" if !rest.is_empty() => Command::Include(rest.to_owned()),
            "\\echo" => Command::Echo(rest.to_owned()),
            "\\conninfo" => Command::Connection,
            "\\d" if rest.is_empty() => Command::Short(RELATIONS.into()),
            "\\d" => Command::Short(format!("DESCRIBE {rest}")),
            "\\dm" => Command::Short("SHOW MATERIALIZED VIEWS".into()),
            "\\ds" => Command::Short("SHOW SOURCES".into()),
            "\\dt" => Command::Short("SHOW TABLES".into()),
            other => return Err(format!("{other} is no command; \\? shows them")),
        })
    }

    /// Does it.
    ///
    /// # Errors
    /// The connection is gone, or nobody reads the results any more.
    pub(super) async fn run(self, shell: &mut Shell) -> Result<Ended, ClientError> {
        match self {
            Command::Quit => return Ok(Ended::Stopped(0)),
            Command::Help => write!(shell.out, "{HELP}")?,
            Command::Expanded(on) => shell.look.expanded = on.unwrap_or(!shell.look.expanded),
            Command::Timing(on) => shell.look.timing = on.unwrap_or(!shell.look.timing),
            Command::Format(format) => shell.look.format = format,
            Command::Null(text) => shell.look.null = text,
            Command::Echo(text) => writeln!(shell.out, "{text}")?,
            Command::Connection => connection(shell)?,
            Command::Short(text) => return statement(shell, text).await,
            Command::Watch { every, times } => return again(shell, every, times).await,
            Command::Include(file) => return include(shell, &file).await,
        }
        shell.out.flush()?;
        Ok(Ended::Well)
    }
}

fn switch(name: &str, text: &str) -> Result<Option<bool>, String> {
    match text {
        "" => Ok(None),
        "on" => Ok(Some(true)),
        "off" => Ok(Some(false)),
        other => Err(format!("{name}: `{other}` is neither on nor off")),
    }
}

fn watch(rest: &str) -> Result<Command, String> {
    let mut words = rest.split_whitespace();
    let seconds = words.next().unwrap_or("2");
    let wrong = || format!("\\watch: `{rest}` is no number of seconds and times");
    let every = seconds.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    let times = words.next().map(|times| times.parse().map_err(|_| wrong())).transpose()?;
    Ok(Command::Watch { every: every.ok_or_else(wrong)?, times })
}

async fn statement(shell: &mut Shell, text: String) -> Result<Ended, ClientError> {
    let last = shell.last.take();
    let ended = shell.statement(&Piece { text, line: 1 }, &mut Script::of_text(""), None).await;
    shell.last = last;
    ended
}

async fn again(
    shell: &mut Shell,
    every: Duration,
    times: Option<u64>,
) -> Result<Ended, ClientError> {
    let Some(piece) = shell.last.clone() else {
        shell.complain("\\watch: no statement has run yet");
        return Ok(Ended::Failed);
    };
    let mut run = 0;
    while times.is_none_or(|times| run < times) {
        if run > 0 && shell.rests(every).await {
            break;
        }
        match shell.statement(&piece, &mut Script::of_text(""), None).await? {
            Ended::Well => run += 1,
            Ended::Stopped(INTERRUPTED) => break,
            other => return Ok(other),
        }
    }
    Ok(Ended::Well)
}

async fn include(shell: &mut Shell, file: &str) -> Result<Ended, ClientError> {
    match Script::of_file(Path::new(file)) {
        Ok(script) => shell.script(script).await,
        Err(error) => {
            shell.complain(&format!("\"{file}\": {error}"));
            Ok(Ended::Failed)
        }
    }
}

fn connection(shell: &mut Shell) -> Result<(), ClientError> {
    let login = &shell.login;
    let encrypted = if shell.connection.is_encrypted() { "encrypted" } else { "not encrypted" };
    writeln!(
        shell.out,
        "user {} in database {} at {}:{}, {encrypted}, server {}",
        login.user,
        login.database,
        login.host,
        login.port,
        shell.connection.version()
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_and_others_named() {
        let parse = Command::parse;
        assert_eq!(parse("\\x"), Ok(Command::Expanded(None)));
        assert_eq!(parse("\\timing on;"), Ok(Command::Timing(Some(true))));
        assert_eq!(parse("\\d readings;"), Ok(Command::Short("DESCRIBE readings".into())));
        assert_eq!(parse("\\format json"), Ok(Command::Format(Format::Json)));
        let watch = Command::Watch { every: Duration::from_millis(500), times: Some(3) };
        assert_eq!(parse("\\watch 0.5 3"), Ok(watch));
        for wrong in ["\\watch never", "\\x maybe", "\\nothing", "\\format xml", "\\i"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
