//! A server as a child process, and what the system knows of it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use millrace_sim::server::connect;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio_postgres::Client;

use crate::report::say;
use crate::topic::seconds_since;
use crate::{Failure, Setting};
use millrace_sim::wait;

/// A running server. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Seconds from the start of the process until it listened.
    pub(crate) start_seconds: f64,
}

impl Server {
    /// Starts a server on a data directory and waits until it listens.
    pub(crate) async fn start(setting: &Setting, data_dir: &Path) -> Result<Server, Failure> {
        let program = &setting.program;
        let begin = wait::now_micros();
        let mut child = Command::new(program)
            .arg("serve")
            .args([std::ffi::OsStr::new("--data-dir"), data_dir.as_os_str()])
            .args(["--listen", "127.0.0.1:0"])
            .args(&setting.serve)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
        let stderr = child.stderr.take().ok_or("no standard error")?;
        let mut lines = BufReader::new(stderr).lines();
        let mut seen = Vec::new();
        while let Some(line) = lines.next_line().await? {
            let address = line
                .split_once("listening on ")
                .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
            if let Some(address) = address {
                tokio::spawn(pass_on(lines));
                return Ok(Server { child, address, start_seconds: seconds_since(begin) });
            }
            seen.push(line);
        }
        Err(format!("the server ended before it listened:\n{}", seen.join("\n")).into())
    }

    /// A connection as root.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        Ok(connect(self.address).await?)
    }

    /// Asks it to end and waits.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        let id = self.child.id().ok_or("the server has ended by itself")?;
        Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        let status = self.child.wait().await?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("the server ended with {status}").into()),
        }
    }

    /// kill -9, and waits until it is gone.
    pub(crate) async fn kill(mut self) -> Result<(), Failure> {
        Ok(self.child.kill().await?)
    }

    fn proc(&self, file: &str) -> Result<String, Failure> {
        let id = self.child.id().ok_or("the server has ended by itself")?;
        Ok(std::fs::read_to_string(format!("/proc/{id}/{file}"))?)
    }

    /// User and system time of all threads.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, Failure> {
        let stat = self.proc("stat")?;
        // Behind the name in parentheses the 12th and 13th field, in hundredths of a second.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: Result<Vec<f64>, _> = fields.skip(11).take(2).map(str::parse).collect();
        Ok(ticks?.iter().sum::<f64>() / 100.0)
    }

    /// The most memory it ever had.
    pub(crate) fn peak_bytes(&self) -> Result<f64, Failure> {
        Ok(field(&self.proc("status")?, "VmHWM:")? * 1024.0)
    }

    /// The memory that it has.
    pub(crate) fn resident_bytes(&self) -> Result<f64, Failure> {
        Ok(field(&self.proc("status")?, "VmRSS:")? * 1024.0)
    }

    /// The most memory counts from here on.
    pub(crate) fn forget_peak(&self) -> Result<(), Failure> {
        let id = self.child.id().ok_or("the server has ended by itself")?;
        Ok(std::fs::write(format!("/proc/{id}/clear_refs"), "5")?)
    }

    /// Bytes that it had the system write to the disk.
    pub(crate) fn written_bytes(&self) -> Result<f64, Failure> {
        field(&self.proc("io")?, "write_bytes:")
    }
}

fn field(text: &str, name: &str) -> Result<f64, Failure> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.split_whitespace().next());
    Ok(value.ok_or("the system does not say")?.parse()?)
}

/// Warnings and errors of the server are worth a look while measuring.
async fn pass_on(mut lines: Lines<BufReader<ChildStderr>>) {
    while let Ok(Some(line)) = lines.next_line().await {
        if [" WARN ", " ERROR ", "panicked"].iter().any(|word| line.contains(word)) {
            say(&format!("server: {line}"));
        }
    }
}

/// A directory for a server's data: beside the target directory, because a temporary one is often
/// in memory, where a sync costs nothing.
pub(crate) fn data_dir() -> Result<TempDir, Failure> {
    let mut directory = std::env::current_exe()?;
    directory.pop();
    Ok(tempfile::Builder::new().prefix("millrace-bench-").tempdir_in(directory)?)
}
