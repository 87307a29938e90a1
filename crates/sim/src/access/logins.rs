//! Passwords, roles over restarts, rules, limits.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::TcpSocket;
use tokio_postgres::NoTls;

use super::{address, holds, login, psql, refusal, texts};
use crate::health::{get, samples};
use crate::server::{Server, rows};
use crate::wait;

const FAILED: &str = "login failed";

#[tokio::test(flavor = "multi_thread")]
async fn users_rights_and_secrets_survive_kill_9_and_no_password_is_on_disk_or_in_the_log() {
    let mut server = Server::new(&["--workers", "1"]).expecting(FAILED);
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(server.data_dir(), open).unwrap();
    server.start().await;
    let root = server.connect().await;
    for statement in [
        "CREATE TABLE t (id INT PRIMARY KEY)",
        "INSERT INTO t VALUES (1)",
        "CREATE USER ann PASSWORD 'pomegranate'",
        "CREATE ROLE readers",
        "GRANT readers TO ann",
        "GRANT SELECT ON t TO readers",
        "CREATE SECRET s AS '5'",
        "CREATE SOURCE ticks (id BIGINT) WITH (connector = 'datagen', fields.id.kind = 'sequence', \
         fields.id.start = secret s, fields.id.end = 7)",
        "CREATE MATERIALIZED VIEW v AS SELECT min(id) AS least FROM ticks",
    ] {
        root.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    for _ in 0..2 {
        server.kill().await;
        server.start().await;
        let ann = login(&server, "ann", Some("pomegranate")).await.unwrap();
        assert_eq!(rows(&ann, "SELECT id FROM t").await.unwrap(), [[Some("1".to_owned())]]);
        let denied = refusal(ann.simple_query("INSERT INTO t VALUES (2)").await);
        assert_eq!(denied.0, "42501");
        assert_eq!(refusal(ann.simple_query("SELECT * FROM v").await).0, "42501");
        let wrong = refusal(login(&server, "ann", Some("pomegranat")).await);
        assert_eq!(wrong.0, "28P01");
        let root = server.connect().await;
        wait::until("the source goes on", wait::PATIENCE, || async {
            let found = rows(&root, "SELECT least FROM v").await.unwrap();
            (found == [[Some("5".to_owned())]]).then_some(())
        })
        .await;
    }
    assert!(!holds(server.data_dir(), b"pomegranate"), "the password is on disk");
    assert!(!server.logged("pomegranate"), "the password is in the log");
    assert_eq!(open_to_others(server.data_dir()), Vec::<PathBuf>::new());
    server.stop().await;
}

/// A directory and what is in it, as far as others may do anything with it.
fn open_to_others(path: &Path) -> Vec<PathBuf> {
    let metadata = std::fs::symlink_metadata(path).unwrap();
    let mut open = Vec::new();
    if metadata.permissions().mode() & 0o077 != 0 {
        open.push(path.to_owned());
    }
    if metadata.is_dir() {
        let entries = std::fs::read_dir(path).unwrap();
        open.extend(entries.flat_map(|entry| open_to_others(&entry.unwrap().path())));
    }
    open
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_users_and_wrong_passwords_look_alike_and_are_logged() {
    let mut server = Server::new(&["--password", "of root"]).expecting(FAILED);
    server.start().await;
    let root = login(&server, "root", Some("of root")).await.unwrap();
    root.batch_execute("CREATE USER ann PASSWORD 'x'").await.unwrap();
    root.batch_execute("CREATE USER bare").await.unwrap();
    root.batch_execute("CREATE USER past PASSWORD 'x' VALID UNTIL '2001-01-01'").await.unwrap();
    root.batch_execute("CREATE ROLE quiet PASSWORD 'x'").await.unwrap();
    for (user, password) in
        [("ann", "y"), ("bare", ""), ("past", "x"), ("nobody", "x"), ("root", "x")]
    {
        let (code, message) = refusal(login(&server, user, Some(password)).await);
        assert_eq!(code, "28P01", "{user}");
        assert_eq!(message, format!("password authentication failed for user \"{user}\""));
        assert!(
            server.logged(&format!("login failed user=\"{user}\" address=127.0.0.1")),
            "{user}"
        );
    }
    let (code, message) = refusal(login(&server, "quiet", Some("x")).await);
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("28000", "role \"quiet\" is not permitted to log in")
    );
    assert!(login(&server, "ann", Some("x")).await.is_ok());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_waits_and_is_sent_away_and_others_are_not() {
    let mut server = Server::new(&["--http", "127.0.0.1:0"]).expecting(FAILED);
    server.start().await;
    let root = server.connect().await;
    root.batch_execute("CREATE USER ann PASSWORD 'x'; CREATE USER bob PASSWORD 'x'").await.unwrap();
    for _ in 0..3 {
        assert_eq!(refusal(login(&server, "ann", Some("y")).await).0, "28P01");
    }
    // One after the other they wait; of many at once a few may.
    let guesses = (0..12).map(|_| login(&server, "ann", Some("y")));
    let others = (0..12).map(|_| login(&server, "bob", Some("x")));
    let (guesses, others) =
        tokio::join!(futures::future::join_all(guesses), futures::future::join_all(others));
    let mut codes: Vec<_> = guesses.into_iter().map(|guess| refusal(guess).0).collect();
    codes.sort();
    assert_eq!(codes, [["28000"; 8].as_slice(), ["28P01"; 4].as_slice()].concat());
    assert!(others.iter().all(Result::is_ok), "bob has not guessed");
    assert!(login(&server, "ann", Some("x")).await.is_ok(), "its turn comes");
    // All fifteen are counted, those that were sent away unheard too.
    let found = samples(&get(&server, "/metrics").await.1);
    assert_eq!(found["millrace_failed_logins_total"], 15.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_of_root_counts_from_the_next_login_on_and_after_a_restart() {
    let mut server = Server::new(&[]).expecting(FAILED);
    server.start().await;
    let root = server.connect().await;
    root.batch_execute("ALTER USER root PASSWORD 'new'").await.unwrap();
    for _ in 0..2 {
        assert_eq!(refusal(login(&server, "root", Some("old")).await).0, "28P01");
        assert!(login(&server, "root", Some("new")).await.is_ok());
        server.kill().await;
        server.start().await;
    }
    let root = login(&server, "root", Some("new")).await.unwrap();
    root.batch_execute("ALTER USER root PASSWORD NULL").await.unwrap();
    assert!(login(&server, "root", None).await.is_ok());
    let (code, message) = refusal(login(&server, "nobody", None).await);
    assert_eq!((code.as_str(), message.as_str()), ("28000", "role \"nobody\" does not exist"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_that_postgresql_has_stored_lets_its_user_in() {
    let mut server = Server::new(&[]);
    server.start().await;
    let root = server.connect().await;
    // PostgreSQL 15: CREATE USER u PASSWORD 'pencil'; SELECT rolpassword FROM pg_authid.
    let verifier = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                    wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    root.batch_execute(&format!("CREATE USER u PASSWORD '{verifier}'")).await.unwrap();
    assert!(login(&server, "u", Some("pencil")).await.is_ok());
    server.stop().await;
}

/// What a login as root from an address of this machine gives.
async fn from(server: &Server, peer: &str, user: &str) -> Result<(), String> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{peer}:0").parse().unwrap()).unwrap();
    let stream = socket.connect(address(server)).await.unwrap();
    let mut config = tokio_postgres::Config::new();
    config.user(user).dbname("dev").password("x");
    match config.connect_raw(stream, NoTls).await {
        Ok((client, connection)) => {
            tokio::spawn(connection);
            client.simple_query("SELECT 1").await.map(|_| ()).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.as_db_error().map(|e| e.message().to_owned()).unwrap_or_default()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_say_who_comes_in_from_where_and_sighup_reads_them_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("host all root 127.0.0.1/32 trust\nhost dev +staff 127.0.0.2/32 scram-sha-256\n");
    let mut server = Server::new(&["--hba-file", file.to_str().unwrap()])
        .expecting(FAILED)
        .expecting("the rules before it stay in use");
    server.start().await;
    let root = server.connect().await;
    root.batch_execute("CREATE ROLE staff; CREATE USER ann PASSWORD 'x' IN ROLE staff")
        .await
        .unwrap();
    root.batch_execute("CREATE USER bob PASSWORD 'x'").await.unwrap();
    assert_eq!(from(&server, "127.0.0.1", "root").await, Ok(()));
    let none = from(&server, "127.0.0.2", "root").await.unwrap_err();
    assert!(none.starts_with("no rule lets in user \"root\""), "{none}");
    assert_eq!(from(&server, "127.0.0.2", "ann").await, Ok(()));
    assert!(from(&server, "127.0.0.2", "bob").await.is_err());
    assert!(from(&server, "127.0.0.1", "ann").await.is_err());

    write("host all bob all trust\nhost all root 127.0.0.3/32 reject\nhost all root all trust\n");
    server.hang_up().await;
    wait::until("the new rules are in use", wait::PATIENCE, || async {
        from(&server, "127.0.0.2", "bob").await.ok()
    })
    .await;
    let rejected = from(&server, "127.0.0.3", "root").await.unwrap_err();
    assert!(rejected.starts_with("a rule rejects"), "{rejected}");
    assert!(from(&server, "127.0.0.2", "ann").await.is_err());

    write("host all all all trust\nhost all all everywhere trust\n");
    server.hang_up().await;
    wait::until("the broken rules are told of", wait::PATIENCE, || async {
        server.logged("the rules before it stay in use").then_some(())
    })
    .await;
    assert!(server.logged("line 2: \"everywhere\" is no address"));
    assert_eq!(from(&server, "127.0.0.2", "bob").await, Ok(()));
    assert!(from(&server, "127.0.0.2", "ann").await.is_err());
    server.stop().await;
    // A server does not begin with rules that mean nothing.
    assert!(server.try_start().await.is_err());
    assert!(server.logged("line 2: \"everywhere\" is no address"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_limited_and_some_are_kept_for_superusers() {
    let mut server = Server::new(&["--max-connections", "10"]);
    server.start().await;
    let root = server.connect().await;
    root.batch_execute("CREATE USER ann; CREATE USER bob CONNECTION LIMIT 2").await.unwrap();
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(login(&server, "bob", None).await.unwrap());
    }
    let (code, message) = refusal(login(&server, "bob", None).await);
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("53300", "too many connections for role \"bob\"")
    );
    while open.len() < 6 {
        open.push(login(&server, "ann", None).await.unwrap());
    }
    let (code, message) = refusal(login(&server, "ann", None).await);
    assert_eq!(code, "53300");
    assert_eq!(message, "remaining connection slots are reserved for superusers");
    let more = [server.connect().await, server.connect().await, server.connect().await];
    assert_eq!(refusal(login(&server, "root", None).await).0, "53300");
    drop((more, open));
    wait::until("places come back", wait::PATIENCE, || async {
        login(&server, "bob", None).await.ok()
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_its_rights_with_its_role() {
    let mut server = Server::new(&[]);
    server.start().await;
    let root = server.connect().await;
    root.batch_execute("CREATE TABLE t (id INT); CREATE ROLE g; GRANT SELECT ON t TO g")
        .await
        .unwrap();
    root.batch_execute("CREATE USER ann IN ROLE g; CREATE USER bob").await.unwrap();
    let (ann, bob) =
        (login(&server, "ann", None).await.unwrap(), login(&server, "bob", None).await);
    let bob = bob.unwrap();
    ann.simple_query("SELECT * FROM t").await.unwrap();
    let prepared = ann.prepare("SELECT id FROM t").await.unwrap();
    ann.query(&prepared, &[]).await.unwrap();
    root.batch_execute("REVOKE g FROM ann").await.unwrap();
    assert_eq!(refusal(ann.query(&prepared, &[]).await).0, "42501");
    bob.simple_query("SELECT 1").await.unwrap();
    root.batch_execute("DROP USER bob").await.unwrap();
    let (code, message) = refusal(bob.simple_query("SELECT 1").await);
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("28000", "the role of this session has been dropped")
    );
    assert_eq!(refusal(login(&server, "bob", None).await).0, "28000");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_lists_roles_and_privileges() {
    let mut server = Server::new(&[]);
    server.start().await;
    let root = server.connect().await;
    for statement in [
        "CREATE TABLE accounts (id INT)",
        "CREATE ROLE readers",
        "CREATE USER ann CONNECTION LIMIT 3 IN ROLE readers",
        "GRANT SELECT, INSERT ON accounts TO ann",
        "GRANT SELECT ON accounts TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO readers",
    ] {
        root.batch_execute(statement).await.unwrap();
    }
    let host = ["-h", "127.0.0.1", "-U", "root", "-c"];
    for (command, lines) in [
        (
            "\\du",
            &[
                "ann|3 connections|{readers}",
                "readers|Cannot login|",
                "root|Superuser, Create role",
            ][..],
        ),
        ("\\dp", &["public|accounts|table|root=arwd/root", "=r/root", "ann=ar/root"]),
        ("\\z accounts", &["public|accounts|table|root=arwd/root"]),
        ("\\dn+", &["public|root|root=UC/root", "=U/root"]),
        ("\\ddp", &["root|public|table|root=arwd/root", "readers=r/root"]),
        ("\\dt", &["public|accounts|table|root"]),
    ] {
        let output = psql(&server, &[&host[..], &[command]].concat(), &[]).await;
        let (out, err) = texts(&output);
        assert_eq!(
            err.replace("Did not find any default access privileges.\n", ""),
            "",
            "{command}"
        );
        for line in lines {
            assert!(out.contains(line), "{command}: {line} is not in\n{out}");
        }
    }
    server.stop().await;
}
