//! A file system of its own on a block device that can be made slow, or to fail at an fsync.
//!
//! The device is a loop over a file that has holes, on a small tmpfs: when that is full, blocks that were
//! promised cannot be written, and an fsync says so, as with thinly provisioned disks. It is slow where the
//! kernel lets so many writes a second pass. All of it needs root; where it is not possible the tests
//! say so and pass over.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tokio::time::Instant;

use super::{Mount, number, state};
use crate::health::{get, samples};
use crate::server::{Server, rows};
use crate::wait::{PATIENCE, until};

const THROTTLE: &str = "/sys/fs/cgroup/blkio/blkio.throttle.write_iops_device";

/// A file system on a loop device over a data directory.
struct Device {
    path: PathBuf,
    over: PathBuf,
    mounted: bool,
    backing: Mount,
    _scratch: TempDir,
}

fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    if output.status.success() {
        return Some(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    eprintln!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    None
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

impl Device {
    /// None where there are no such devices.
    fn over(dir: &Path) -> Option<Device> {
        let scratch = tempfile::tempdir().expect("a directory");
        let backing = Mount::over(scratch.path(), "48m")?;
        let image = scratch.path().join("image");
        let file = std::fs::File::create(&image).expect("a file");
        file.set_len(256 << 20).expect("a file with a hole");
        run("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0", text(&image)])?;
        let path = PathBuf::from(run("losetup", &["-f", "--show", text(&image)])?);
        let over = dir.to_owned();
        let mut device = Device { path, over, mounted: false, backing, _scratch: scratch };
        device.mount().then_some(device)
    }

    fn mount(&mut self) -> bool {
        self.mounted = run("mount", &[text(&self.path), text(&self.over)]).is_some();
        self.mounted
    }

    fn unmount(&mut self) {
        assert!(run("umount", &[text(&self.over)]).is_some(), "nobody uses it");
        self.mounted = false;
    }

    /// Lets so many writes a second pass, all if 0; false where the kernel cannot.
    fn slow(&self, writes: u32) -> bool {
        let name = self.path.file_name().and_then(|name| name.to_str()).expect("a device");
        let numbers = std::fs::read_to_string(format!("/sys/block/{name}/dev"));
        let numbers = numbers.expect("the device's numbers");
        std::fs::write(THROTTLE, format!("{} {writes}", numbers.trim())).is_ok()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if std::fs::exists(THROTTLE).unwrap_or(false) {
            self.slow(0);
        }
        if self.mounted {
            run("umount", &["-l", text(&self.over)]);
        }
        run("losetup", &["-d", text(&self.path)]);
    }
}

const MADE: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, text TEXT);
    CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n, sum(id) AS sum FROM t";

async fn insert(client: &tokio_postgres::Client, id: i64, length: usize) -> String {
    state(client, &format!("INSERT INTO t VALUES ({id}, '{}')", "x".repeat(length))).await
}

/// The rows are those up to a number, in the table and in the view over it.
async fn assert_holds(server: &Server, ids: std::ops::RangeInclusive<i64>) -> i64 {
    let client = server.connect().await;
    let found = until("views are read again", PATIENCE, || async {
        rows(
            &client,
            "SELECT (SELECT count(*) FROM t), (SELECT max(id) FROM t), n, sum FROM counted",
        )
        .await
        .ok()
    })
    .await;
    let found: Vec<i64> = found[0].iter().flatten().map(|n| n.parse().unwrap()).collect();
    let last = found[0];
    assert!(ids.contains(&last), "{last} rows, of {ids:?}");
    assert_eq!(found, [last, last, last, last * (last + 1) / 2]);
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_fsync_ends_the_server_which_has_all_that_it_acknowledged() {
    let mut server = Server::new(&["--checkpoint-interval", "300ms"])
        .expecting("the server cannot go on")
        .expecting(" ERROR ");
    let Some(mut device) = Device::over(server.data_dir()) else { return };
    server.start().await;
    let client = server.connect().await;
    client.batch_execute(MADE).await.unwrap();
    for id in 1..=20 {
        assert_eq!(insert(&client, id, 10).await, "");
    }
    // The file system has room and takes what is written; the device has none.
    device.backing.fill_wholly();
    let mut taken = 20;
    loop {
        let state = insert(&client, taken + 1, 200_000).await;
        if !state.is_empty() {
            assert!(["gone", "57P01", "58030"].contains(&state.as_str()), "{state}");
            break;
        }
        taken += 1;
        assert!(taken < 1_000, "no fsync fails");
    }
    let said = server.ended().await;
    let failures = said.lines().filter(|line| line.contains("the server cannot go on")).count();
    assert_eq!(failures, 1, "{said}");
    // What a cache still holds of a failed write counts for nothing: it is read from the device.
    device.unmount();
    device.backing.empty();
    assert!(device.mount(), "its journal is whole");
    server.start().await;
    // The statement that got no answer may have happened.
    let last = assert_holds(&server, taken..=taken + 1).await;
    assert_eq!(insert(&server.connect().await, last + 1, 10).await, "");
    server.kill().await;
    server.start().await;
    assert_holds(&server, last + 1..=last + 1).await;
    server.stop().await;
}

/// The share of the time that seals take while rows come that nobody waits for.
async fn seals_of_rows(server: &Server, client: &tokio_postgres::Client) -> f64 {
    let made =
        "CREATE SOURCE ticks (id BIGINT) WITH (connector = 'datagen', rows.per.second = '100');
        CREATE MATERIALIZED VIEW ticked AS SELECT count(*) AS n FROM ticks";
    client.batch_execute(made).await.unwrap();
    let seals = async |more: f64| {
        until("seals come", PATIENCE, || async {
            let found = samples(&get(server, "/metrics").await.1);
            let [sum, count] = ["sum", "count"]
                .map(|of| found[format!("millrace_epoch_seal_seconds_{of}").as_str()]);
            (count >= more).then(|| (sum, count, Instant::now()))
        })
        .await
    };
    // What a seal costs is an average, of which each one is an eighth.
    let (_, count, _) = seals(0.0).await;
    let (before, count, begun) = seals(count + 6.0).await;
    let (after, _, ended) = seals(count + 3.0).await;
    client.batch_execute("DROP SOURCE ticks CASCADE").await.unwrap();
    (after - before) / (ended - begun).as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_slow_disk_writes_take_their_time_and_reads_do_not_wait_for_them() {
    let mut server = Server::new(&["--http", "127.0.0.1:0", "--checkpoint-interval", "300ms"]);
    let Some(device) = Device::over(server.data_dir()) else { return };
    server.start().await;
    let client = server.connect().await;
    client.batch_execute(MADE).await.unwrap();
    assert_eq!(insert(&client, 1, 10).await, "");
    if !device.slow(10) {
        eprintln!("passed over, the kernel slows no disk down");
        return;
    }
    let share = seals_of_rows(&server, &client).await;
    assert!(share < 0.25, "seals are {share} of the time");
    assert!(device.slow(4), "and slower");
    let writer = server.connect().await;
    let writing = tokio::spawn(async move {
        for id in 2..=12 {
            assert_eq!(insert(&writer, id, 1_000).await, "");
        }
    });
    // While a statement waits for the disk others read what is complete, which never falls.
    let (mut reads, mut last) = (0, 0);
    while !writing.is_finished() {
        let found = number(&client, "SELECT n FROM counted").await;
        assert!(found >= last, "{found} rows after {last}");
        (last, reads) = (found, reads + 1);
    }
    writing.await.expect("each statement is answered");
    assert!(reads > 4 * 12, "{reads} reads beside eleven writes");
    let found = samples(&get(&server, "/metrics").await.1);
    let mean =
        found["millrace_epoch_seal_seconds_sum"] / found["millrace_epoch_seal_seconds_count"];
    assert!(mean > 0.02, "the disk was slow: {mean} s");
    assert_eq!(get(&server, "/readyz").await.0, 200);
    server.kill().await;
    server.start().await;
    assert_holds(&server, 12..=12).await;
    assert!(device.slow(0), "it is as fast as before");
    assert_eq!(insert(&server.connect().await, 13, 10).await, "");
    server.stop().await;
}
