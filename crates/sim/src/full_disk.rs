//! A full disk: a data directory on a small file system of its own (tmpfs) that is filled and emptied.
//!
//! Mounting needs root; where it is not possible the tests say so and pass over.

mod device;
mod outward;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_postgres::Client;

use crate::health::{get, samples};
use crate::psql::psql;
use crate::server::{Server, rows};
use crate::wait::{PATIENCE, seed, until};

const FULL: &str = "the disk is full";
const MEGABYTE: u64 = 1 << 20;

/// A small file system over a directory.
struct Mount {
    dir: PathBuf,
}

impl Mount {
    /// None where nothing can be mounted.
    fn over(dir: &Path, size: &str) -> Option<Mount> {
        let options = format!("size={size},mode=700");
        let mut command = Command::new("mount");
        let mounted = command.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Mount { dir: dir.to_owned() }),
            other => {
                eprintln!("passed over, no file system can be mounted: {other:?}");
                None
            }
        }
    }

    fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        let status = Command::new("mount").args(["-o", &options]).arg(&self.dir).status();
        assert!(status.unwrap().success(), "it can be made larger");
    }

    fn free(&self) -> u64 {
        let output = Command::new("df").args(["-B1", "--output=avail"]).arg(&self.dir).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.lines().last().unwrap().trim().parse().unwrap()
    }

    fn ballast(&self) -> PathBuf {
        self.dir.join("ballast")
    }

    /// Takes all room but so many bytes, also what has come back since it was filled before.
    fn fill(&self, left: u64) {
        let more = self.free().saturating_sub(left);
        if more == 0 {
            return;
        }
        let held = std::fs::metadata(self.ballast()).map_or(0, |ballast| ballast.len());
        let length = (held + more).to_string();
        let mut command = Command::new("fallocate");
        let status = command.args(["-l", &length]).arg(self.ballast()).status();
        assert!(status.unwrap().success(), "the ballast is written");
    }

    /// Takes all room, whoever else writes meanwhile.
    fn fill_wholly(&self) {
        let mut file = std::fs::File::create(self.ballast()).unwrap();
        for size in [MEGABYTE, 4 << 10] {
            let bytes = vec![0; usize::try_from(size).unwrap()];
            while std::io::Write::write_all(&mut file, &bytes).is_ok() {}
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // The server may still run: the mount goes with its last file.
        drop(Command::new("umount").arg("-l").arg(&self.dir).status());
    }
}

/// The SQLSTATE of a statement, empty if all went well; `gone` if the server has ended.
async fn state(client: &Client, sql: &str) -> String {
    match client.batch_execute(sql).await {
        Ok(()) => String::new(),
        Err(error) => error.code().map_or("gone", |code| code.code()).to_owned(),
    }
}

/// What psql says of a COPY into the table. A driver may take the count for the end, which comes before what the
/// disk says.
async fn copied(server: &Server, lines: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines).unwrap();
    let copy = format!("\\copy t FROM '{}'", file.path().display());
    psql(server, &["-v", "VERBOSITY=verbose", "-c", &copy]).await
}

async fn number(client: &Client, sql: &str) -> i64 {
    let found = rows(client, sql).await.unwrap();
    found[0][0].as_deref().unwrap_or("0").parse().unwrap()
}

/// As soon as views may be read.
async fn awaited(client: &Client, sql: &str) -> i64 {
    until("views are read again", PATIENCE, || async { rows(client, sql).await.ok() }).await;
    number(client, sql).await
}

/// Inserts rows of one number each until one is refused; gives how many were taken.
async fn insert_until_full(client: &Client, mut next: i64) -> i64 {
    until("an INSERT is refused", PATIENCE, || {
        let id = next;
        next += 1;
        async move {
            let state = state(client, &format!("INSERT INTO t VALUES ({id}, 'row')")).await;
            assert!(state.is_empty() || state == "53100", "{state}");
            (!state.is_empty()).then_some(id - 1)
        }
    })
    .await
}

async fn insert_when_room(client: &Client, id: i64) {
    until("an INSERT is taken again", PATIENCE, || async {
        let state = state(client, &format!("INSERT INTO t VALUES ({id}, 'row')")).await;
        assert!(state.is_empty() || state == "53100", "{state}");
        state.is_empty().then_some(())
    })
    .await;
}

/// Nothing changes though it is asked again and again for a second.
async fn assert_rests(client: &Client, sql: &str) {
    let seen = Cell::new((-1, 0));
    until("the source rests", PATIENCE, || async {
        let found = number(client, sql).await;
        let (last, times) = seen.get();
        let times = if found == last { times + 1 } else { 0 };
        seen.set((found, times));
        (times >= 50).then_some(())
    })
    .await;
}

const MADE: &str = "
    CREATE TABLE t (id BIGINT PRIMARY KEY, text TEXT);
    CREATE TABLE spare (id BIGINT);
    CREATE SOURCE ticks (id BIGINT) WITH (connector = 'datagen', rows.per.second = 200,
        fields.id.kind = 'sequence');
    CREATE MATERIALIZED VIEW ticked AS SELECT count(*) AS n FROM ticks;
    CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n, sum(id) AS sum FROM t;";

/// What holds while the disk is full.
async fn assert_full(server: &Server, client: &Client, taken: i64) {
    assert_eq!(awaited(client, "SELECT count(*) FROM t").await, taken);
    assert_eq!(awaited(client, "SELECT sum FROM counted").await, taken * (taken + 1) / 2);
    let ticks = "SELECT n FROM ticked";
    awaited(client, ticks).await;
    assert_rests(client, ticks).await;
    for refused in [
        "INSERT INTO t VALUES (0, 'no')",
        "UPDATE t SET text = 'no'",
        "DELETE FROM t",
        "CREATE TABLE more (id BIGINT)",
        "CREATE MATERIALIZED VIEW more AS SELECT id FROM t",
        "ALTER SOURCE ticks SET (late_rows = 'skip')",
        "FLUSH",
    ] {
        assert_eq!(state(client, refused).await, "53100", "{refused}");
    }
    let copied = copied(server, "0\tno\n").await;
    assert!(copied.contains("53100"), "{copied}");
    let error = client.batch_execute("INSERT INTO t VALUES (0, 'no')").await.unwrap_err();
    let hint = error.as_db_error().unwrap().hint().unwrap_or_default().to_owned();
    assert!(hint.contains(server.data_dir().to_str().unwrap()), "{hint}");
    assert_eq!(get(server, "/readyz").await.0, 200);
    let found = samples(&get(server, "/metrics").await.1);
    assert_eq!(found["millrace_disk_full"], 1.0);
    assert!(found["millrace_disk_free_bytes"] < found["millrace_disk_reserve_bytes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_wait_for_room_on_a_full_disk_and_reads_go_on() {
    let arguments =
        ["--http", "127.0.0.1:0", "--checkpoint-interval", "300ms", "--disk-reserve", "16MB"];
    let mut server = Server::new(&arguments).expecting(FULL);
    let Some(disk) = Mount::over(server.data_dir(), "96m") else { return };
    server.start().await;
    let client = server.connect().await;
    client.batch_execute(MADE).await.unwrap();
    insert_when_room(&client, 1).await;
    // Between the reserve and its half: what goes on is written, what makes data grow is not.
    disk.fill(12 * MEGABYTE);
    let taken = insert_until_full(&client, 2).await;
    assert_full(&server, &client, taken).await;
    assert_eq!(state(&client, "DROP TABLE spare").await, "");
    // Who may come in, and who not, can still be said.
    assert_eq!(state(&client, "CREATE USER ann PASSWORD 'x'; ALTER USER ann NOLOGIN").await, "");
    // Over a kill, and without one byte.
    server.kill().await;
    server.start().await;
    let client = server.connect().await;
    assert_full(&server, &client, taken).await;
    std::fs::write(server.data_dir().join("rest"), vec![0; 13 << 20]).unwrap_err();
    assert_eq!(disk.free(), 0);
    assert_full(&server, &client, taken).await;
    server.kill().await;
    server.start().await;
    let client = server.connect().await;
    assert_full(&server, &client, taken).await;
    assert_eq!(state(&client, "DROP TABLE t CASCADE").await, "53100");
    // Room.
    std::fs::remove_file(server.data_dir().join("rest")).unwrap();
    disk.empty();
    insert_when_room(&client, taken + 1).await;
    let ticks = number(&client, "SELECT n FROM ticked").await;
    until("the source goes on", PATIENCE, || async {
        (number(&client, "SELECT n FROM ticked").await > ticks).then_some(())
    })
    .await;
    let found = samples(&get(&server, "/metrics").await.1);
    assert_eq!(found["millrace_disk_full"], 0.0);
    assert!(server.logged("the disk has room again"));
    assert_eq!(state(&client, "ALTER SOURCE ticks SET (late_rows = 'skip')").await, "");
    let taken = taken + 1;
    assert_eq!(copied(&server, "1000000\tcopied\n").await, "COPY 1\n");
    server.kill().await;
    server.start().await;
    let client = server.connect().await;
    assert_eq!(awaited(&client, "SELECT count(*) FROM t").await, taken + 1);
    server.stop().await;
}

/// A row that does not get smaller on disk than half of its length.
fn large_row(random: &mut StdRng, id: i64) -> String {
    let text: String = (0..16 << 10).map(|_| format!("{:02x}", random.random::<u8>())).collect();
    format!("INSERT INTO large VALUES ({id}, '{text}')")
}

/// Inserts large rows until one is refused; gives how many there are then.
async fn grow_until_full(client: &Client, random: &mut StdRng, from: i64) -> i64 {
    for id in from.. {
        match state(client, &large_row(random, id)).await.as_str() {
            "" => {}
            "53100" => return id,
            other => panic!("{other}"),
        }
    }
    unreachable!("a disk ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_fill_the_disk_are_kept_and_more_is_taken_when_it_grows() {
    let seed = seed();
    eprintln!("MILLRACE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    // Checkpoints are rare: the one that is due when the disk is full finds no room.
    let arguments = ["--checkpoint-interval", "3s", "--disk-reserve", "16MB"];
    let mut server = Server::new(&arguments).expecting(FULL);
    let Some(disk) = Mount::over(server.data_dir(), "64m") else { return };
    server.start().await;
    let mut client = server.connect().await;
    client.batch_execute("CREATE TABLE large (id BIGINT PRIMARY KEY, text TEXT)").await.unwrap();
    let mut taken = 0;
    for size in ["96m", "160m"] {
        taken = grow_until_full(&client, &mut random, taken).await;
        assert_eq!(number(&client, "SELECT count(*) FROM large").await, taken);
        server.kill().await;
        server.start().await;
        client = server.connect().await;
        assert_eq!(awaited(&client, "SELECT count(*) FROM large").await, taken);
        disk.resize(size);
        until("rows are taken again", PATIENCE, || {
            let insert = large_row(&mut random, taken);
            let client = &client;
            async move { state(client, &insert).await.is_empty().then_some(()) }
        })
        .await;
        taken += 1;
    }
    taken = grow_until_full(&client, &mut random, taken).await;
    assert_eq!(number(&client, "SELECT count(DISTINCT text) FROM large").await, taken);
    // What is dropped makes room, too.
    client.batch_execute("DROP TABLE large").await.unwrap();
    let create = "CREATE TABLE large (id BIGINT PRIMARY KEY, text TEXT)";
    until("what was dropped is gone from the disk", PATIENCE, || async {
        state(&client, create).await.is_empty().then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_without_room_is_made_again_with_what_waits_for_it() {
    let mut random = StdRng::seed_from_u64(7);
    // The first checkpoint is the one that the view waits for.
    let arguments = ["--checkpoint-interval", "10m", "--disk-reserve", "16MB"];
    let mut server = Server::new(&arguments).expecting(FULL);
    let Some(disk) = Mount::over(server.data_dir(), "128m") else { return };
    server.start().await;
    let client = server.connect().await;
    client.batch_execute("CREATE TABLE large (id BIGINT PRIMARY KEY, text TEXT)").await.unwrap();
    for id in 0..800 {
        assert_eq!(state(&client, &large_row(&mut random, id)).await, "");
    }
    disk.fill(18 * MEGABYTE);
    let other = server.connect().await;
    let create = "CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM large";
    let creating = tokio::spawn(async move { state(&other, create).await });
    until("the checkpoint is given up", PATIENCE, || async { server.logged(FULL).then_some(()) })
        .await;
    assert_eq!(number(&client, "SELECT count(*) FROM large").await, 800);
    disk.empty();
    assert_eq!(creating.await.unwrap(), "");
    assert_eq!(number(&client, "SELECT n FROM counted").await, 800);
    server.kill().await;
    server.start().await;
    let client = server.connect().await;
    assert_eq!(awaited(&client, "SELECT n FROM counted").await, 800);
    server.stop().await;
}

/// What a view over another one, whose changes are kept, holds.
const ABOVE: &str = "SELECT count(*), sum(n) FROM above";

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_is_being_filled_waits_for_room_and_goes_on_over_a_kill() {
    let mut random = StdRng::seed_from_u64(11);
    let arguments = ["--checkpoint-interval", "300ms", "--disk-reserve", "16MB"];
    let mut server = Server::new(&arguments).expecting(FULL);
    let Some(disk) = Mount::over(server.data_dir(), "160m") else { return };
    server.start().await;
    let client = server.connect().await;
    let made = "CREATE TABLE large (id BIGINT PRIMARY KEY, text TEXT); \
        CREATE MATERIALIZED VIEW below WITH (retain_history = '1h') AS \
            SELECT id, length(text) AS n, text FROM large";
    client.batch_execute(made).await.unwrap();
    for id in 0..600 {
        assert_eq!(state(&client, &large_row(&mut random, id)).await, "");
    }
    let left: u64 = random.random_range(6..14);
    client.batch_execute("SET background_ddl = true").await.unwrap();
    let above = "CREATE MATERIALIZED VIEW above AS SELECT id, n, text || text AS twice FROM below";
    client.batch_execute(above).await.unwrap();
    disk.fill(left * MEGABYTE);
    until("the disk is full", PATIENCE, || async { server.logged(FULL).then_some(()) }).await;
    assert_eq!(number(&client, "SELECT count(*) FROM below").await, 600);
    // A checkpoint that was under way gives the log's room back: then there is some for a moment.
    until("a CREATE is refused", PATIENCE, || async {
        disk.fill(left * MEGABYTE);
        match state(&client, "CREATE TABLE IF NOT EXISTS more (id BIGINT)").await.as_str() {
            "53100" => Some(()),
            "" => None,
            other => panic!("{other}"),
        }
    })
    .await;
    server.kill().await;
    server.start().await;
    let client = server.connect().await;
    assert_eq!(awaited(&client, "SELECT count(*) FROM below").await, 600);
    disk.empty();
    until("the view is filled", PATIENCE, || async {
        let found = rows(&client, ABOVE).await.ok()?;
        let text = |at: usize| found[0][at].as_deref().unwrap_or_default().to_owned();
        (text(0) == "600" && text(1) == (600 * (32 << 10)).to_string()).then_some(())
    })
    .await;
    assert_eq!(state(&client, &large_row(&mut random, 600)).await, "");
    until("it follows", PATIENCE, || async { (number(&client, ABOVE).await == 601).then_some(()) })
        .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_reserve_the_server_ends_at_the_last_byte_and_has_all_that_was_taken() {
    let mut random = StdRng::seed_from_u64(12);
    let arguments = ["--checkpoint-interval", "300ms", "--disk-reserve", "0"];
    let mut server =
        Server::new(&arguments).expecting("the server cannot go on").expecting("fjall::");
    let Some(disk) = Mount::over(server.data_dir(), "48m") else { return };
    server.start().await;
    let client = server.connect().await;
    client.batch_execute("CREATE TABLE large (id BIGINT PRIMARY KEY, text TEXT)").await.unwrap();
    let mut taken = 0;
    for id in 0..40 {
        assert_eq!(state(&client, &large_row(&mut random, id)).await, "");
        taken = id + 1;
    }
    disk.fill_wholly();
    // Whichever write is the first one without room.
    for id in taken.. {
        match state(&client, &large_row(&mut random, id)).await.as_str() {
            "" => taken = id + 1,
            "gone" | "57P01" | "58030" | "53100" => break,
            other => panic!("{other}"),
        }
    }
    let said = server.ended().await;
    assert!(said.contains("the server cannot go on"), "{said}");
    // Without one byte: it starts, reads, and ends at the next write.
    assert_eq!(disk.free(), 0);
    server.start().await;
    let client = server.connect().await;
    let found = awaited(&client, "SELECT count(DISTINCT text) FROM large").await;
    // What was under way when it ended may have happened.
    assert!(found == taken || found == taken + 1, "{found} rows, {taken} were taken");
    let refused = state(&client, &large_row(&mut random, 1_000)).await;
    assert!(!refused.is_empty(), "there is no room");
    server.ended().await;
    disk.empty();
    server.start().await;
    let client = server.connect().await;
    assert_eq!(awaited(&client, "SELECT count(DISTINCT text) FROM large").await, found);
    assert_eq!(state(&client, &large_row(&mut random, 1_001)).await, "");
    server.stop().await;
}
