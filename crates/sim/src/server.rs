//! The real `millrace` binary, started, killed and stopped as an operator would.
//!
//! Clients connect over the wire and the process ends by signals, so that nothing is tested that a
//! user does not have. A server keeps its data directory over any number of processes.
//!
//! Invariants: 1. no process outlives its [`Server`] (`kill_on_drop`). 2. a WARN or ERROR line that
//! the test did not list fails it (asserted on drop).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::wait;

/// Where a process stands, as its log tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    Listening(SocketAddr),
    Ended,
}

struct Process {
    child: Child,
    stage: watch::Receiver<Stage>,
}

/// A server with its data directory; at most one process at a time.
pub struct Server {
    data_dir: TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    address_space: Option<u64>,
    listed: Vec<String>,
    log: Arc<Mutex<Vec<String>>>,
    address: watch::Sender<Option<SocketAddr>>,
    process: Option<Process>,
}

/// A server that could not be reached, or what it answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program cannot be run.
    #[error("cannot run {0}: {1}; build it first: cargo build --workspace --bins")]
    Program(PathBuf, std::io::Error),
    /// The process ended before it listened.
    #[error("the server ended before it listened; its log ends with:\n{0}")]
    Ended(String),
}

/// A program of this workspace: `MILLRACE_BIN` for the server, or beside the running one.
pub fn program(name: &str) -> PathBuf {
    if let (Some(path), "millrace") = (std::env::var_os("MILLRACE_BIN"), name) {
        return path.into();
    }
    let mut directory = std::env::current_exe().expect("a running program has a path");
    directory.pop();
    if directory.ends_with("deps") {
        directory.pop();
    }
    directory.join(name)
}

impl Server {
    /// A server that is not running yet, with arguments for `millrace serve`.
    ///
    /// # Panics
    /// Without a place for temporary files.
    pub fn new(arguments: &[&str]) -> Server {
        Server {
            data_dir: tempfile::Builder::new()
                .prefix("millrace-")
                .tempdir()
                .expect("a directory for temporary files"),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: Vec::new(),
            address_space: None,
            listed: Vec::new(),
            log: Arc::default(),
            address: watch::Sender::new(None),
            process: None,
        }
    }

    /// Allows WARN and ERROR lines that contain this.
    #[must_use]
    pub fn expecting(mut self, part: &str) -> Server {
        self.listed.push(part.to_owned());
        self
    }

    /// Gives its processes an environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Server {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Bounds the address space of its processes, bytes: an allocation beyond it is refused.
    #[must_use]
    pub fn address_space(mut self, bytes: u64) -> Server {
        self.address_space = Some(bytes);
        self
    }

    /// Sets an argument that was given, for the next process.
    ///
    /// # Panics
    /// If it was not given.
    pub fn set(&mut self, argument: &str, value: &str) {
        let at = self.arguments.iter().position(|given| given == argument);
        let at = at.expect("it was given") + 1;
        value.clone_into(&mut self.arguments[at]);
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Starts a process without waiting for it to listen.
    ///
    /// # Errors
    /// The program is not there.
    ///
    /// # Panics
    /// If one is running already.
    pub fn spawn(&mut self) -> Result<(), Error> {
        assert!(self.process.is_none(), "one process at a time");
        let program = program("millrace");
        let mut command = match self.address_space {
            Some(bytes) => {
                let mut command = Command::new("prlimit");
                command.arg(format!("--as={bytes}")).arg(&program);
                command
            }
            None => Command::new(&program),
        };
        // What a developer has set for a server of their own is not for this one.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"MILLRACE_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .env("NO_COLOR", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .arg("serve")
            .arg("--data-dir")
            .arg(self.data_dir.path())
            .args(["--listen", "127.0.0.1:0"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| Error::Program(program, e))?;
        let stderr = child.stderr.take().expect("stderr is piped");
        let (sender, stage) = watch::channel(Stage::Starting);
        let log = Arc::clone(&self.log);
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(address) = listening(&line) {
                    sender.send_replace(Stage::Listening(address));
                }
                lock(&log).push(line);
            }
            sender.send_replace(Stage::Ended);
        });
        self.process = Some(Process { child, stage });
        Ok(())
    }

    /// Starts a process and waits until it listens.
    ///
    /// # Errors
    /// It ended instead.
    pub async fn try_start(&mut self) -> Result<(), Error> {
        self.spawn()?;
        self.listen().await
    }

    /// Starts a process and waits until it listens.
    ///
    /// # Panics
    /// If it does not.
    pub async fn start(&mut self) {
        if let Err(error) = self.try_start().await {
            panic!("{error}");
        }
    }

    /// Waits until the spawned process listens.
    ///
    /// # Errors
    /// It ended instead.
    ///
    /// # Panics
    /// If none was spawned, or none listens in time.
    pub async fn listen(&mut self) -> Result<(), Error> {
        let process = self.process.as_mut().expect("spawned before");
        let reached = process.stage.wait_for(|stage| *stage != Stage::Starting);
        let stage = tokio::time::timeout(wait::PATIENCE, reached).await;
        let stage = stage.expect("the server listens in time").map_or(Stage::Ended, |s| *s);
        match stage {
            Stage::Listening(address) => {
                self.address.send_replace(Some(address));
                Ok(())
            }
            Stage::Starting | Stage::Ended => {
                self.process = None;
                Err(Error::Ended(self.log_tail(50)))
            }
        }
    }

    /// Where clients connect; follows restarts, None while no process listens.
    pub fn address(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.address.subscribe()
    }

    /// Where the running process serves HTTP, if it was asked to.
    pub fn http(&self) -> Option<SocketAddr> {
        let log = lock(&self.log);
        let line = log.iter().rev().find(|line| line.contains("serving HTTP"))?;
        line.rsplit_once("address=")?.1.trim().parse().ok()
    }

    /// A new connection as root.
    ///
    /// # Panics
    /// If the server does not answer.
    pub async fn connect(&self) -> Client {
        let address = (*self.address.borrow()).expect("the server listens");
        connect(address).await.expect("the server answers")
    }

    /// The number of the running process.
    ///
    /// # Panics
    /// If none runs.
    pub fn process_id(&self) -> u32 {
        let id = self.process.as_ref().and_then(|process| process.child.id());
        id.expect("a process runs")
    }

    /// Ends the process with SIGKILL, as a crash would.
    ///
    /// # Panics
    /// If it had ended by itself.
    pub async fn kill(&mut self) {
        let mut process = self.process.take().expect("a process to kill");
        self.address.send_replace(None);
        let early = process.child.try_wait().expect("the process can be asked");
        assert!(early.is_none(), "ended by itself: {early:?}");
        process.child.kill().await.expect("the process can be killed");
        drained(&mut process).await;
    }

    /// The id of the running process.
    ///
    /// # Panics
    /// If none runs.
    pub fn id(&self) -> u32 {
        let id = self.process.as_ref().and_then(|process| process.child.id());
        id.expect("a process")
    }

    /// Ends the process with SIGKILL, if it has not ended by itself.
    ///
    /// # Panics
    /// If there was none.
    pub async fn end(&mut self) {
        let mut process = self.process.take().expect("a process to end");
        self.address.send_replace(None);
        process.child.kill().await.expect("the process can be killed");
        drained(&mut process).await;
    }

    /// The most memory that the running process has had, bytes.
    ///
    /// # Panics
    /// If none runs, or the system does not say.
    pub fn peak_bytes(&self) -> u64 {
        let status = format!("/proc/{}/status", self.id());
        let status = std::fs::read_to_string(status).expect("the system tells of it");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()).expect("its peak");
        kilobytes.parse::<u64>().expect("a number") << 10
    }

    /// Asks the process to end with SIGTERM and waits.
    ///
    /// # Panics
    /// If it does not end in time.
    pub async fn terminate(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("a process to stop");
        self.address.send_replace(None);
        if let Some(id) = process.child.id() {
            let sent = Command::new("kill").args(["-TERM", &id.to_string()]).status().await;
            assert!(sent.is_ok_and(|status| status.success()), "SIGTERM is sent");
        }
        let ended = tokio::time::timeout(wait::PATIENCE, process.child.wait()).await;
        let status = ended.expect("SIGTERM ends the server in time").expect("it can be awaited");
        drained(&mut process).await;
        status
    }

    /// Has the process read certificate and rules again (SIGHUP).
    ///
    /// # Panics
    /// If none runs.
    pub async fn hang_up(&self) {
        let id = self.process_id().to_string();
        let sent = Command::new("kill").args(["-HUP", &id]).status().await;
        assert!(sent.is_ok_and(|status| status.success()), "SIGHUP is sent");
    }

    /// Stops the process in good order.
    ///
    /// # Panics
    /// If its exit status is not 0.
    pub async fn stop(&mut self) {
        let status = self.terminate().await;
        assert!(status.success(), "{status} after SIGTERM");
    }

    /// The last lines of the log of all processes.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = lock(&self.log);
        log[log.len().saturating_sub(lines)..].join("\n")
    }

    /// Waits until the process has ended by itself; gives the end of its log.
    ///
    /// # Panics
    /// If it does not end in time.
    pub async fn ended(&mut self) -> String {
        let mut process = self.process.take().expect("a process that ends");
        self.address.send_replace(None);
        let ended = tokio::time::timeout(wait::PATIENCE, process.child.wait()).await;
        ended.expect("it ends by itself").expect("the process can be asked");
        drained(&mut process).await;
        self.log_tail(50)
    }

    /// True if the log has a line that contains this.
    pub fn logged(&self, part: &str) -> bool {
        lock(&self.log).iter().any(|line| line.contains(part))
    }

    /// Takes the WARN and ERROR lines that were not listed.
    pub fn complaints(&self) -> Vec<String> {
        let unlisted = |line: &String| {
            is_complaint(line) && !self.listed.iter().any(|part| line.contains(part))
        };
        let mut log = lock(&self.log);
        let complaints = log.iter().filter(|line| unlisted(line)).cloned().collect();
        log.retain(|line| !unlisted(line));
        complaints
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.data_dir.disable_cleanup(std::env::var_os("MILLRACE_KEEP").is_some());
            let tail = self.log_tail(40);
            let text = format!("--- log of {} ---\n{tail}\n", self.data_dir.path().display());
            drop(std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()));
        } else {
            let complaints = self.complaints();
            assert!(complaints.is_empty(), "unlisted lines in the log: {complaints:#?}");
        }
    }
}

/// Waits until the log of an ended process has been read to its end.
async fn drained(process: &mut Process) {
    let end = process.stage.wait_for(|stage| *stage == Stage::Ended);
    let read = tokio::time::timeout(wait::PATIENCE, end).await;
    assert!(read.is_ok(), "the log ends with the process");
}

fn lock(log: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    log.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn listening(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on ")?;
    // In the JSON log a quote ends it.
    rest.split(['"', ' ']).next()?.parse().ok()
}

/// True for a line that tells of something unexpected: by its level, or a panic's own words.
fn is_complaint(line: &str) -> bool {
    let level = line.split_whitespace().nth(1);
    matches!(level, Some("WARN" | "ERROR")) || line.contains("panicked at")
}

/// A connection as root to the database dev.
///
/// # Errors
/// The server refuses or is not there.
pub async fn connect(address: SocketAddr) -> Result<Client, tokio_postgres::Error> {
    login(address, "root", None).await
}

/// The same as some user, with a password if there is one.
///
/// # Errors
/// The server refuses or is not there.
pub async fn login(
    address: SocketAddr,
    user: &str,
    password: Option<&str>,
) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host(address.ip().to_string()).port(address.port()).user(user).dbname("dev");
    config.connect_timeout(wait::PATIENCE);
    if let Some(password) = password {
        config.password(password);
    }
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Runs statements as text and gives the rows of all of them, NULL as None.
///
/// # Errors
/// The server's.
pub async fn rows(
    client: &Client,
    sql: &str,
) -> Result<Vec<Vec<Option<String>>>, tokio_postgres::Error> {
    let messages = client.simple_query(sql).await?;
    let mut rows = Vec::new();
    for message in &messages {
        if let SimpleQueryMessage::Row(row) = message {
            rows.push((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect());
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_a_log_line() {
        let line = "2024-05-01T10:00:00Z  INFO millrace: listening on 127.0.0.1:4567 for clients";
        assert_eq!(listening(line), "127.0.0.1:4567".parse().ok());
        assert_eq!(listening("listening on all"), None);
    }

    #[test]
    fn warnings_errors_and_panics_are_complaints() {
        assert!(is_complaint("2024-05-01T10:00:00Z  WARN millrace::kafka: broker gone"));
        assert!(is_complaint("thread 'worker-0' panicked at crates/x.rs:1:"));
        assert!(!is_complaint("2024-05-01T10:00:00Z  INFO millrace: no ERROR here"));
    }
}
