//! The shell at a terminal: reads a statement, runs it, reads the next.

use std::io::{self, Write};

use millrace_pg::client::{ClientError, Connection};
use termion::input::TermRead;
use termion::raw::IntoRawMode;
use tokio::runtime::Runtime;

use super::editor::{Editor, History, Line, Words};
use super::run::{Ended, Shell};
use super::script::Script;
use super::splitter::Splitter;

/// The width of a terminal that does not tell.
const WIDTH: u16 = 80;
/// What Tab completes, beside the words of SQL.
const NAMES: &str = "SELECT table_name FROM information_schema.tables UNION SELECT column_name FROM \
                     information_schema.columns WHERE table_schema IN ('public', 'millrace')";

/// Runs until the user ends it; gives the exit status.
pub(super) fn run(shell: &mut Shell, runtime: &Runtime) -> Result<u8, ClientError> {
    let version = shell.connection.version().to_owned();
    write!(shell.out, "millrace sql, server {version}. \\? shows the commands.\n\n")?;
    shell.out.flush()?;
    let mut history = History::load();
    let mut words = runtime.block_on(names(shell));
    let mut keys = shell.input.clone().keys();
    let code = loop {
        let prompt = format!("{}{}", shell.login.database, mark(shell.status));
        let width = termion::terminal_size().map_or(WIDTH, |(width, _)| width);
        let mut editor = Editor { words: &words, history: &mut history, is_complete: &is_complete };
        let line = {
            let mut terminal = io::stdout().into_raw_mode()?;
            editor.read(&mut keys, &mut terminal, &prompt, width.into())?
        };
        let text = match line {
            Line::Text(text) => text,
            Line::Interrupted => continue,
            Line::End => break 0,
        };
        history.add(text.trim_end());
        match runtime.block_on(input(shell, &text)) {
            Ok(Ended::Stopped(0)) => break 0,
            Ok(_) => {}
            Err(error) => runtime.block_on(again(shell, error))?,
        }
        if changes_names(&text) {
            words = runtime.block_on(names(shell));
        }
    };
    if let Err(error) = history.save() {
        shell.complain(&format!("the history is not kept: {error}"));
    }
    Ok(code)
}

/// What the server says of the transaction, as psql's prompt shows it.
fn mark(status: u8) -> &'static str {
    match status {
        b'T' => "*",
        b'E' => "!",
        _ => "",
    }
}

/// True if nothing of a statement is left open.
fn is_complete(text: &str) -> bool {
    if text.trim_start().starts_with('\\') {
        return true;
    }
    let mut splitter = Splitter::default();
    splitter.push(text);
    while splitter.next().is_some() {}
    splitter.is_between()
}

/// Runs what was typed. The data of a COPY are typed below it, to a line of `\.`.
async fn input(shell: &mut Shell, text: &str) -> Result<Ended, ClientError> {
    if text.trim_start().starts_with('\\') {
        return shell.command(text.trim()).await;
    }
    let mut splitter = Splitter::default();
    splitter.push(text);
    let mut data = Script::of_input(&shell.input);
    while let Some(piece) = splitter.next() {
        match shell.statement(&piece, &mut data, None).await? {
            Ended::Well => {}
            other => return Ok(other),
        }
    }
    Ok(Ended::Well)
}

/// Connects anew when the connection is gone, as psql does.
async fn again(shell: &mut Shell, error: ClientError) -> Result<(), ClientError> {
    shell.complain(&error.to_string());
    shell.connection = Connection::open(&shell.login).await?;
    shell.status = b'I';
    shell.complain("connected again; settings and transactions of the session are gone");
    Ok(())
}

fn changes_names(text: &str) -> bool {
    let lower = text.to_lowercase();
    ["create", "drop", "alter", "\\i"].iter().any(|word| lower.contains(word))
}

/// Names to complete; none where the user may not see them.
async fn names(shell: &mut Shell) -> Words {
    let rows = shell.connection.rows(NAMES).await.unwrap_or_default();
    Words::new(&rows.into_iter().flatten().flatten().collect::<Vec<_>>())
}
