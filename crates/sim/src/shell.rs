//! `millrace sql` against a live server: files, pipes, forms of results, errors, Ctrl-C, and a pseudo-terminal.

mod terminal;

use std::path::Path;
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::server::{Server, program};
use crate::wait;

/// The shell, for a server; nothing of a developer's own settings.
fn shell(server: &Server, arguments: &[&str]) -> Command {
    let address = (*server.address().borrow()).expect("the server listens").to_string();
    let mut command = Command::new(program("millrace"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("PG") || (name.starts_with("MILLRACE_") && name != "MILLRACE_BIN") {
            command.env_remove(name);
        }
    }
    command.env("HOME", server.data_dir()).env("TERM", "xterm").kill_on_drop(true);
    command.args(["sql", "--server", &address]).args(arguments);
    command
}

/// What the shell says to some input; the test fails if it does not end.
async fn run(server: &Server, arguments: &[&str], input: &str) -> Output {
    fed(shell(server, arguments), input).await
}

async fn fed(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("build it first: cargo build --workspace --bins");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // One that ends early does not read to the end.
    let feeding = tokio::spawn(async move { drop(stdin.write_all(input.as_bytes()).await) });
    let output = tokio::time::timeout(wait::PATIENCE, child.wait_with_output()).await;
    feeding.await.unwrap();
    output.expect("the shell ends in time").unwrap()
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

async fn server() -> Server {
    let mut server = Server::new(&["--workers", "1"]);
    server.start().await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_a_pipe_are_run_and_their_results_are_aligned() {
    let mut server = server().await;
    let script = "CREATE TABLE t (id INT PRIMARY KEY, name TEXT);\n\
                  COPY t FROM STDIN;\n1\tann\n2\tb;b\n\\.\n\
                  -- a comment; with a semicolon\n\
                  SELECT *\nFROM t ORDER BY id; SELECT count(*) FROM t\n";
    let (out, err) = texts(&run(&server, &[], script).await);
    assert_eq!(err, "");
    let expected = "CREATE TABLE\nCOPY 2\n id | name\n----+------\n  1 | ann\n  2 | b;b\n(2 rows)\n\n \
                    count\n-------\n     2\n(1 row)\n\n";
    assert_eq!(out, expected);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_stops_at_its_first_error_and_says_where_it_is() {
    let mut server = server().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("script.sql");
    std::fs::write(&file, "SELECT 1;\n\nSELECT 1,\n  nothing;\nSELECT 3;\n").unwrap();
    let file = file.to_str().unwrap();
    let output = run(&server, &["--format", "csv", file], "").await;
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(out, "?column?\n1\n");
    let expected = format!(
        "{file}:4: ERROR:  42703: column \"nothing\" does not exist\nLINE 2:   nothing\n          ^\n"
    );
    assert_eq!(err, expected);
    let output = run(&server, &["--format", "csv", "--keep-going", file], "").await;
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(texts(&output).0, "?column?\n1\n?column?\n3\n");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_come_as_csv_json_and_records() {
    let mut server = server().await;
    let query = "SELECT 1 AS n, 'a,b' AS t, true AS b, NULL::text AS u, '{\"k\": [1]}'::jsonb AS j";
    let json = run(&server, &["--format", "json", "-c", query], "").await;
    let expected = "{\"n\":1,\"t\":\"a,b\",\"b\":true,\"u\":null,\"j\":{\"k\": [1]}}\n";
    assert_eq!(texts(&json).0, expected);
    let csv = run(&server, &["--format", "csv", "-c", query], "").await;
    assert_eq!(texts(&csv).0, "n,t,b,u,j\n1,\"a,b\",t,,\"{\"\"k\"\": [1]}\"\n");
    let records = run(&server, &["-x", "--timing", "-c", "SELECT 1 AS n, 'x' AS text"], "").await;
    let (out, _) = texts(&records);
    assert!(out.starts_with("-[ RECORD 1 ]-\nn    | 1\ntext | x\n\nTime: "), "{out}");
    let commands = "\\null -\nSELECT NULL AS n;\n\\d t\n\\q\nSELECT 1;\n";
    let output = run(&server, &["--keep-going"], commands).await;
    assert_eq!(texts(&output).0, " n\n---\n -\n(1 row)\n\n");
    assert!(texts(&output).1.contains("42P01"), "{output:?}");
    let made = "CREATE TABLE t (a INT); CREATE VIEW v AS SELECT 1 AS x; \
         CREATE MATERIALIZED VIEW m AS SELECT a FROM t; \
         CREATE SOURCE s (a INT) WITH (connector = 'datagen')";
    run(&server, &["-c", made], "").await;
    let output = run(&server, &["--format", "csv"], "\\d\n").await;
    let kinds = "name,kind\nm,materialized view\ns,source\nt,table\nv,view\n";
    assert_eq!(texts(&output).0, kinds);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_address_and_a_wrong_option_are_said_in_a_line() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new(program("millrace"));
    command.args(["sql", "--server", &free.to_string(), "-c", "SELECT 1"]);
    let output = fed(command, "").await;
    assert_eq!(output.status.code(), Some(2));
    assert!(texts(&output).1.starts_with("millrace: cannot connect to 127.0.0.1:"));
    let mut command = Command::new(program("millrace"));
    command.args(["sql", "--server", "localhost:http"]);
    let output = fed(command, "").await;
    assert_eq!((output.status.code(), texts(&output).1.lines().count()), (Some(1), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_comes_from_the_environment_or_the_password_file() {
    let mut server = Server::new(&["--password", "se:cret"]).expecting("login failed");
    server.start().await;
    let query = ["--format", "csv", "-c", "SELECT 'in' AS who"];
    let without = run(&server, &query, "").await;
    assert_eq!(without.status.code(), Some(2));
    assert!(texts(&without).1.contains("asks for a password"), "{without:?}");
    let with = |name: &str, value: &str| {
        let mut command = shell(&server, &query);
        command.env(name, value);
        fed(command, "")
    };
    assert_eq!(texts(&with("PGPASSWORD", "se:cret").await).0, "who\nin\n");
    let wrong = with("PGPASSWORD", "guess").await;
    assert!(texts(&wrong).1.contains("password authentication failed"), "{wrong:?}");
    let file = server.data_dir().join(".pgpass");
    let port = (*server.address().borrow()).unwrap().port();
    std::fs::write(&file, format!("127.0.0.1:{port}:dev:root:se:cret\n")).unwrap();
    owner_only(&file);
    assert_eq!(texts(&run(&server, &query, "").await).0, "who\nin\n");
    server.stop().await;
}

fn owner_only(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_subscription_and_cancels_a_statement() {
    let mut server = server().await;
    run(&server, &["-c", "CREATE TABLE t (id INT); INSERT INTO t VALUES (7)"], "").await;
    let mut command =
        shell(&server, &["--format", "csv", "-c", "SUBSCRIBE TO t WITH (snapshot = true)"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines =
        tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stdout.take().unwrap()));
    let next = async |lines: &mut tokio::io::Lines<_>| {
        let line = tokio::time::timeout(wait::PATIENCE, lines.next_line()).await;
        line.expect("rows come while it runs").unwrap().expect("it goes on")
    };
    assert!(next(&mut lines).await.ends_with(",id"));
    assert!(next(&mut lines).await.ends_with(",7"));
    run(&server, &["-c", "INSERT INTO t VALUES (8)"], "").await;
    assert!(next(&mut lines).await.ends_with(",8"));
    interrupt(child.id().unwrap()).await;
    let ended = tokio::time::timeout(wait::PATIENCE, child.wait()).await;
    assert_eq!(ended.expect("it ends").unwrap().code(), Some(0));

    let endless = "SELECT 'begun'; SELECT count(*) FROM generate_series(1, 100000) a, \
                   generate_series(1, 100000) b, generate_series(1, 100000) c WHERE a + b + c = 0";
    let mut command = shell(&server, &["--format", "csv", "-c", endless]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines =
        tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stdout.take().unwrap()));
    while next(&mut lines).await != "begun" {}
    interrupt(child.id().unwrap()).await;
    let output = tokio::time::timeout(wait::PATIENCE, child.wait_with_output()).await;
    let output = output.expect("it ends").unwrap();
    assert!(matches!(output.status.code(), Some(130)), "{output:?}");
    assert!(texts(&output).1.contains("57014"), "{output:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_gives_up_a_copy_whose_data_do_not_come() {
    let mut server = server().await;
    let client = server.connect().await;
    client.batch_execute("CREATE TABLE t (id INT)").await.unwrap();
    for (arguments, script) in
        [(&["-c", "COPY t FROM STDIN"][..], ""), (&[][..], "COPY t FROM STDIN;\n")]
    {
        let mut command = shell(&server, arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It stays open, and the second line has no end.
        let mut data = child.stdin.take().unwrap();
        data.write_all(format!("{script}1\n2").as_bytes()).await.unwrap();
        let active =
            "SELECT pid FROM pg_stat_activity WHERE query LIKE 'COPY%' AND state = 'active'";
        wait::until("the COPY has begun", wait::PATIENCE, || async {
            client.query_opt(active, &[]).await.unwrap()
        })
        .await;
        interrupt(child.id().unwrap()).await;
        let output = tokio::time::timeout(wait::PATIENCE, child.wait_with_output()).await;
        let output = output.expect("it ends at once").unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        let said = texts(&output).1;
        assert!(said.contains("57014: COPY from stdin failed: canceled by user"), "{said}");
        drop(data);
    }
    let rows: i64 = client.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0);
    assert_eq!(rows, 0);
    server.stop().await;
}

async fn interrupt(process: u32) {
    let sent = Command::new("kill").args(["-INT", &process.to_string()]).status().await;
    assert!(sent.is_ok_and(|status| status.success()), "SIGINT is sent");
}
