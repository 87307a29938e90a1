//! Runs a statement and shows what comes: rows, notices, errors, the progress of a view that is filled.
//!
//! Ctrl-C asks the server to cancel what runs; a third one ends the process. A COPY that waits for its data is given up
//! at once. Rows of a result without end are shown as they come.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use millrace_pg::client::{Answer, ClientError, Connection, Login, Told};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::bar::{Bar, Progress};
use super::commands::Command;
use super::input::Input;
use super::print::{Format, Printer};
use super::script::Script;
use super::splitter::{Piece, Splitter};
use super::{INTERRUPTED, Options, STATEMENT_FAILED, problem};

/// How often rows that wait are shown and progress is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Bytes of a COPY that are sent at once.
const COPY_BYTES: usize = 64 << 10;
/// What one is told who is to type the data of a COPY.
const COPY_HINT: &str =
    "Type the rows, a line each, and end with a line of \\. or Ctrl-D; Ctrl-C gives up.\n";
/// How long a request to cancel may take.
const CANCEL_MAX: Duration = Duration::from_secs(1);
/// So many Ctrl-C within a statement end the process: the server does not answer.
const INTERRUPTS_MAX: usize = 3;
/// What the server says of a statement that was cancelled.
const CANCELLED: &str = "57014";

/// How results are shown, and what else is said.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) format: Format,
    pub(super) expanded: bool,
    pub(super) timing: bool,
    pub(super) quiet: bool,
    pub(super) null: String,
}

/// What became of a script or a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// All went well.
    Well,
    /// Something failed, and it goes on.
    Failed,
    /// Nothing more is to be run; the exit status.
    Stopped(u8),
}

/// A connection, how results are shown, and where.
pub(super) struct Shell {
    pub(super) connection: Connection,
    pub(super) login: Login,
    pub(super) look: Look,
    pub(super) keep_going: bool,
    pub(super) last: Option<Piece>,
    /// What the server said of the transaction: `I`, `T` or `E`.
    pub(super) status: u8,
    pub(super) out: Box<dyn Write>,
    pub(super) input: Input,
    interrupts: Signal,
    /// Asks how far a view is filled.
    watcher: Option<Connection>,
    bar: Bar,
}

/// A statement that runs.
struct Running<'a> {
    piece: &'a Piece,
    name: Option<&'a str>,
    begun: Instant,
    printer: Option<Printer>,
    copies_out: bool,
    interrupts: usize,
    failed: Option<Told>,
    /// What it fills, if it fills something.
    fills: Option<String>,
}

impl Shell {
    /// Needs a runtime around it.
    ///
    /// # Errors
    /// The system gives no signals, or standard input is closed.
    pub(super) fn new(
        connection: Connection,
        login: Login,
        options: &Options,
    ) -> io::Result<Shell> {
        Ok(Shell {
            connection,
            login,
            look: Look {
                format: options.format,
                expanded: options.expanded,
                timing: options.timing,
                quiet: options.quiet,
                null: String::new(),
            },
            keep_going: options.keep_going,
            last: None,
            status: b'I',
            out: Box::new(BufWriter::new(io::stdout())),
            input: Input::standard()?,
            interrupts: signal(SignalKind::interrupt())?,
            watcher: None,
            bar: Bar::default(),
        })
    }

    /// Says that something is wrong with what the user asked of the shell itself.
    pub(super) fn complain(&mut self, message: &str) {
        self.tell(&format!("millrace: {message}\n"));
    }

    fn tell(&mut self, text: &str) {
        self.bar.clear();
        // Results that nobody reads and errors that nobody sees: there is nothing to do.
        drop(self.out.flush());
        drop(io::stderr().write_all(text.as_bytes()));
    }

    /// Runs a script to its end, or to the first statement that fails.
    ///
    /// # Errors
    /// The connection is gone, or nobody reads the results any more.
    pub(super) async fn script(&mut self, mut script: Script) -> Result<Ended, ClientError> {
        let mut splitter = Splitter::default();
        let mut ended = Ended::Well;
        loop {
            let line = tokio::select! {
                biased;
                _ = self.interrupts.recv() => return Ok(Ended::Stopped(INTERRUPTED)),
                line = script.line() => line?,
            };
            let Some(line) = line else { break };
            if splitter.is_between() && line.trim_start().starts_with('\\') {
                splitter.pass_lines(1);
                match self.command(line.trim()).await? {
                    Ended::Well => {}
                    Ended::Failed if self.keep_going => ended = Ended::Failed,
                    Ended::Failed => return Ok(Ended::Stopped(STATEMENT_FAILED)),
                    stopped @ Ended::Stopped(_) => return Ok(stopped),
                }
                continue;
            }
            splitter.push(&line);
            while let Some(piece) = splitter.next() {
                match self.one_of(&piece, &mut script, &mut splitter).await? {
                    Ended::Well => {}
                    Ended::Failed => ended = Ended::Failed,
                    stopped @ Ended::Stopped(_) => return Ok(stopped),
                }
            }
        }
        if let Some(piece) = splitter.rest() {
            match self.one_of(&piece, &mut script, &mut splitter).await? {
                Ended::Well => {}
                other => return Ok(other),
            }
        }
        Ok(ended)
    }

    /// Runs a statement of a script, with the data of a COPY below it.
    async fn one_of(
        &mut self,
        piece: &Piece,
        script: &mut Script,
        splitter: &mut Splitter,
    ) -> Result<Ended, ClientError> {
        let before = script.read;
        let name = script.name.clone();
        let ended = self.statement(piece, script, name.as_deref()).await?;
        splitter.pass_lines(script.read - before);
        Ok(match ended {
            Ended::Failed if !self.keep_going => Ended::Stopped(STATEMENT_FAILED),
            other => other,
        })
    }

    /// Runs a line that begins with a backslash.
    pub(super) async fn command(&mut self, line: &str) -> Result<Ended, ClientError> {
        match Command::parse(line) {
            Ok(command) => Box::pin(command.run(self)).await,
            Err(message) => {
                self.complain(&message);
                Ok(Ended::Failed)
            }
        }
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// The connection is gone, or nobody reads the results any more.
    pub(super) async fn statement(
        &mut self,
        piece: &Piece,
        data: &mut Script,
        name: Option<&str>,
    ) -> Result<Ended, ClientError> {
        self.connection.query(&piece.text).await?;
        self.last = Some(piece.clone());
        let begun = Instant::now();
        let mut running = Running {
            piece,
            name,
            begun,
            printer: None,
            copies_out: false,
            interrupts: 0,
            failed: None,
            fills: filled(&piece.text).filter(|_| Bar::is_possible()),
        };
        let mut looks = interval_at(begun + LOOK_EVERY, LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = self.interrupts.recv() => self.interrupt(&mut running).await,
                _ = looks.tick() => self.look(&mut running).await?,
                answer = self.connection.next() => match answer? {
                    Answer::CopyIn => self.copy(data, &mut running).await?,
                    Answer::Ready(status) => {
                        self.status = status;
                        return self.ended(running);
                    }
                    other => self.show(other, &mut running)?,
                },
            }
        }
    }

    /// Shows what came.
    fn show(&mut self, answer: Answer, running: &mut Running<'_>) -> Result<(), ClientError> {
        match answer {
            Answer::Columns(columns) => {
                self.bar.clear();
                let Look { format, expanded, null, .. } = &self.look;
                let mut printer = Printer::new(*format, *expanded, null, columns);
                printer.begin(&mut self.out)?;
                running.printer = Some(printer);
            }
            Answer::Row(row) => {
                if let Some(printer) = &mut running.printer {
                    printer.row(row, &mut self.out)?;
                }
            }
            Answer::Done(tag) => {
                self.bar.clear();
                match running.printer.take() {
                    Some(mut printer) => printer.end(&mut self.out)?,
                    None if running.copies_out || self.look.quiet => {}
                    None if self.look.format.is_for_people() => writeln!(self.out, "{tag}")?,
                    None => {}
                }
            }
            Answer::Notice(told) if running.is_progress(&told) => {}
            Answer::Notice(told) => self.tell(&problem::text(&told, &running.piece.text)),
            Answer::Failed(told) => {
                // Rows that came before it are shown above it.
                if let Some(mut printer) = running.printer.take() {
                    printer.pause(&mut self.out)?;
                }
                running.failed = Some(told);
            }
            Answer::CopyOut => running.copies_out = true,
            Answer::Copied(bytes) => self.out.write_all(&bytes)?,
            Answer::Empty | Answer::CopyIn | Answer::Ready(_) => {}
        }
        Ok(())
    }

    /// Ctrl-C. It is asked again until the statement ends: a request that comes before the statement has begun
    /// is in vain.
    async fn interrupt(&mut self, running: &mut Running<'_>) {
        running.interrupts += 1;
        if running.interrupts >= INTERRUPTS_MAX {
            self.bar.clear();
            std::process::exit(i32::from(INTERRUPTED));
        }
        self.cancel().await;
    }

    async fn cancel(&self) {
        let canceller = self.connection.canceller();
        // If it does not arrive, the statement goes on, and the user is asked for patience or another Ctrl-C.
        drop(tokio::time::timeout(CANCEL_MAX, canceller.cancel()).await);
    }

    /// Waits; true if the user does not want to.
    pub(super) async fn rests(&mut self, time: Duration) -> bool {
        tokio::select! {
            _ = self.interrupts.recv() => true,
            () = tokio::time::sleep(time) => false,
        }
    }

    /// Shows rows that wait, or how far a view is.
    async fn look(&mut self, running: &mut Running<'_>) -> Result<(), ClientError> {
        if is_endless(&running.piece.text)
            && let Some(printer) = &mut running.printer
        {
            printer.pause(&mut self.out)?;
        }
        self.out.flush()?;
        if running.interrupts > 0 {
            self.cancel().await;
        }
        if let Some(name) = &running.fills
            && let Some(progress) = self.progress(name).await
        {
            self.bar.draw(&progress);
        }
        Ok(())
    }

    /// How far a view is filled; None if that cannot be told.
    async fn progress(&mut self, name: &str) -> Option<Progress> {
        if self.watcher.is_none() {
            self.watcher = Connection::open(&self.login).await.ok();
        }
        let watcher = self.watcher.as_mut()?;
        let question = format!(
            "SELECT status, rows_read, rows_to_read, percent FROM millrace.jobs WHERE view = '{}'",
            name.replace('\'', "''")
        );
        let Ok(rows) = watcher.rows(&question).await else {
            self.watcher = None;
            return None;
        };
        let row = rows.into_iter().next()?;
        let number = |at: usize| row.get(at)?.as_deref()?.parse().ok();
        Some(Progress {
            name: name.to_owned(),
            queued: row.first()?.as_deref() == Some("queued"),
            read: number(1).unwrap_or_default(),
            total: number(2),
            percent: number(3),
        })
    }

    /// Sends the data of a COPY; Ctrl-C gives it up.
    async fn copy(
        &mut self,
        data: &mut Script,
        running: &mut Running<'_>,
    ) -> Result<(), ClientError> {
        if running.interrupts > 0 {
            return self.give_up_copy(running).await;
        }
        if data.is_typed() && !self.look.quiet {
            self.tell(COPY_HINT);
        }
        let mut lines = String::new();
        let input = self.input.clone();
        loop {
            let line = tokio::select! {
                biased;
                _ = self.interrupts.recv() => return self.give_up_copy(running).await,
                line = data.data(&input) => line,
            };
            let line = match line {
                Ok(line) => line,
                Err(error) => return self.connection.end_copy(Some(&error.to_string())).await,
            };
            let ended = line.is_none();
            lines.push_str(line.as_deref().unwrap_or_default());
            if (ended || lines.len() >= COPY_BYTES) && self.sent(&lines).await? {
                return self.give_up_copy(running).await;
            }
            if ended {
                return self.connection.end_copy(None).await;
            }
            if lines.len() >= COPY_BYTES {
                lines.clear();
                // Signals are looked at while nobody else works.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Sends some data of a COPY to the end, as a message cannot be broken off; true if Ctrl-C was pressed
    /// meanwhile. The server is told at once: it may have stopped reading.
    async fn sent(&mut self, lines: &str) -> Result<bool, ClientError> {
        let canceller = self.connection.canceller();
        let mut interrupted = false;
        let mut sending = std::pin::pin!(self.connection.copy(lines.as_bytes()));
        loop {
            tokio::select! {
                biased;
                sent = &mut sending => return sent.map(|()| interrupted),
                _ = self.interrupts.recv(), if !interrupted => {
                    interrupted = true;
                    drop(tokio::time::timeout(CANCEL_MAX, canceller.cancel()).await);
                }
            }
        }
    }

    async fn give_up_copy(&mut self, running: &mut Running<'_>) -> Result<(), ClientError> {
        running.interrupts += 1;
        self.connection.end_copy(Some("canceled by user")).await
    }

    /// The end of a statement: its error, its time.
    fn ended(&mut self, running: Running<'_>) -> Result<Ended, ClientError> {
        self.bar.clear();
        let Running { piece, name, begun, interrupts, failed, .. } = running;
        let elapsed = begun.elapsed();
        let cancelled =
            failed.as_ref().is_some_and(|told| told.code == CANCELLED) && interrupts > 0;
        let ended = match failed {
            Some(_) if cancelled && is_endless(&piece.text) => Ended::Well,
            Some(told) => {
                let line = piece.line + problem::line_of(&told, &piece.text);
                let place = name.map(|name| format!("{name}:{line}: ")).unwrap_or_default();
                self.tell(&format!("{place}{}", problem::text(&told, &piece.text)));
                if cancelled { Ended::Stopped(INTERRUPTED) } else { Ended::Failed }
            }
            None => Ended::Well,
        };
        if self.look.timing {
            writeln!(self.out, "Time: {:.3} ms", elapsed.as_secs_f64() * 1e3)?;
        }
        self.out.flush()?;
        Ok(ended)
    }
}

impl Running<'_> {
    /// True for what the bar shows already.
    fn is_progress(&self, told: &Told) -> bool {
        self.fills.is_some() && told.severity == "NOTICE" && told.message.contains("(job ")
    }
}

/// The words of a statement, in lower case, but for what is quoted.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    let words = text.split(|c: char| c.is_whitespace() || c == '(').filter(|word| !word.is_empty());
    words.map(|word| match word.strip_prefix('"') {
        Some(quoted) => quoted.trim_end_matches('"').to_owned(),
        None => word.to_lowercase(),
    })
}

/// True for a result that has no end of its own.
fn is_endless(text: &str) -> bool {
    let begin: Vec<String> = words(text).take(2).collect();
    match begin.first().map(String::as_str) {
        Some("subscribe") => true,
        Some("copy") => begin.get(1).is_some_and(|word| word == "subscribe"),
        _ => false,
    }
}

/// The name of the view, index or table that a statement makes and fills.
fn filled(text: &str) -> Option<String> {
    let mut words = words(text).peekable();
    words.next_if_eq("create")?;
    match words.next()?.as_str() {
        "materialized" => drop(words.next_if_eq("view")?),
        "index" | "table" => {}
        _ => return None,
    }
    if words.next_if_eq("if").is_some() {
        words.nth(1);
    }
    let name = words.next()?;
    Some(name.strip_prefix("public.").unwrap_or(&name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_statement_fills_is_known_by_its_words() {
        let of = |text| filled(text);
        assert_eq!(of("CREATE MATERIALIZED VIEW v AS SELECT 1").as_deref(), Some("v"));
        assert_eq!(
            of("create materialized view if not exists\n public.w as").as_deref(),
            Some("w")
        );
        assert_eq!(of("CREATE INDEX i ON v (a)").as_deref(), Some("i"));
        assert_eq!(of("CREATE TABLE t(a INT)").as_deref(), Some("t"));
        assert_eq!(of("CREATE VIEW v AS SELECT 1"), None);
        assert!(is_endless("SUBSCRIBE TO v") && is_endless("copy (SUBSCRIBE TO v) TO STDOUT"));
        assert!(!is_endless("SELECT 1"));
    }
}
