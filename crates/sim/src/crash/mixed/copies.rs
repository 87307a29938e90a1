//! Backups that are made while everything runs, over kills; the last one that was made is restored at the end.
//!
//! A restored server is one moment of the first one, and then its own: its tables are whole statements, its
//! views equal their queries, and its sources read on to the end of their topics.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::super::lives::Lives;
use super::super::workload::Workload;
use super::super::{run, until_read};
use super::readers::{self, Seen};
use super::{churn, kills, schema};
use crate::server::{program, rows};
use crate::wait;

/// Between two backups.
const REST: Duration = Duration::from_secs(3);

/// The newest backup, and where it lies.
pub(super) struct Backups {
    scratch: TempDir,
    newest: Option<PathBuf>,
}

async fn millrace(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(program("millrace"));
    let run = command.args(arguments).kill_on_drop(true).output();
    timeout(wait::PATIENCE, run).await.expect("it ends").expect("the program is there")
}

/// Makes backups until told to stop. One during which the server is killed fails.
pub(super) async fn make(mut lives: Lives, seen: Arc<Seen>) -> Backups {
    let scratch = tempfile::tempdir().expect("a directory");
    let (mut newest, mut tried) = (None, 0);
    while let Some(client) = lives.connect().await {
        drop(client);
        let Some(address) = lives.address() else { continue };
        let to = scratch.path().join(tried.to_string());
        tried += 1;
        let text = to.to_str().expect("temporary paths are text");
        let made = millrace(&["backup", "--server", &address.to_string(), text]).await;
        if !made.status.success() {
            continue;
        }
        seen.backups.fetch_add(1, Ordering::SeqCst);
        if let Some(before) = newest.replace(to) {
            std::fs::remove_dir_all::<PathBuf>(before).expect("the one before goes");
        }
        sleep(REST).await;
    }
    Backups { scratch, newest }
}

impl Backups {
    /// What the newest one holds is right. The first server has ended: both would send to the same topics.
    pub(super) async fn check(self, workload: &Workload) {
        let backup = self.newest.expect("one was made between two kills");
        let from = backup.to_str().expect("temporary paths are text");
        let checked = millrace(&["check", from]).await;
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
        let mut server = kills::server();
        let to = server.data_dir().to_str().expect("temporary paths are text").to_owned();
        let restored = millrace(&["restore", from, &to]).await;
        assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
        server.start().await;
        let client = server.connect().await;
        until_read(&client, workload.rows()).await;
        run(&client, "FLUSH").await;
        for (view, query) in schema::COMPARED {
            let same = readers::same(&client, view, query).await;
            same.unwrap_or_else(|error| panic!("{view} of the backup: {error:?}"));
        }
        churn::check(&client).await;
        let bank = "SELECT (SELECT sum(balance) FROM accounts)::bigint, \
                           (SELECT count(*) FROM balances WHERE balance <> wanted)";
        let wanted = [[schema::ACCOUNTS * schema::EACH, 0].map(|n| Some(n.to_string()))];
        assert_eq!(rows(&client, bank).await.expect("an answer"), wanted, "the bank of the backup");
        server.stop().await;
        drop(self.scratch);
    }
}
