//! What the kernel says of a server's process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::server::Server;
use crate::wait;

/// Ticks of the kernel's clock in a second.
const TICKS: u64 = 100;
/// Directories of a data directory whose files are opened and closed by checkpoints.
const STORE: [&str; 2] = ["segments", "meta"];

/// A running server's process.
pub(super) struct Process(PathBuf);

impl Process {
    pub(super) fn of(server: &Server) -> Process {
        Process(Path::new("/proc").join(server.process_id().to_string()))
    }

    fn status(&self, field: &str) -> usize {
        let text = std::fs::read_to_string(self.0.join("status")).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("the kernel says");
        let number = line.trim().trim_end_matches("kB").trim();
        number.parse().expect("a number")
    }

    /// Open files and sockets, but for those of the store: checkpoints open and close segments.
    pub(super) fn files(&self) -> usize {
        let entries = std::fs::read_dir(self.0.join("fd")).expect("it runs").flatten();
        // One may be closed while the others are looked at.
        let targets = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        targets
            .filter(|to| {
                !to.components().any(|part| STORE.iter().any(|name| part.as_os_str() == *name))
            })
            .count()
    }

    pub(super) fn threads(&self) -> usize {
        self.status("Threads:")
    }

    /// Megabytes in memory now.
    pub(super) fn resident_mb(&self) -> usize {
        self.status("VmRSS:") / 1024
    }

    /// The most megabytes in memory since the start.
    pub(super) fn peak_mb(&self) -> usize {
        self.status("VmHWM:") / 1024
    }

    /// Ticks of the processor that it has used.
    fn ticks(&self) -> u64 {
        let text = std::fs::read_to_string(self.0.join("stat")).expect("it runs");
        let (_, fields) = text.rsplit_once(')').expect("a name in brackets");
        let fields: Vec<u64> = fields.split(' ').map(|f| f.parse().unwrap_or(0)).collect();
        fields[12] + fields[13]
    }

    /// Waits until it leaves the processors alone but for its own clockwork.
    pub(super) async fn rests(&self) {
        wait::until("the server rests", wait::PATIENCE, || async {
            let before = self.ticks();
            tokio::time::sleep(Duration::from_millis(500)).await;
            (self.ticks() - before < TICKS * 3 / 10).then_some(())
        })
        .await;
    }
}
