//! What an operator meets before the first client: options, signals, and one clear line for each
//! thing that is in the way.

use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::server::{Server, program};

async fn millrace(arguments: &[&str]) -> Output {
    let run = Command::new(program("millrace"))
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(crate::wait::PATIENCE, run).await;
    ended.expect("it ends by itself").expect("build it first: cargo build --workspace --bins")
}

/// The one line of an error that ends the program.
fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(text.trim_end().lines().count(), 1, "one clear line: {text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn version_and_help_answer() {
    let version = millrace(&["--version"]).await;
    assert!(version.status.success());
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("millrace "));
    let help = String::from_utf8(millrace(&["serve", "--help"]).await.stdout).unwrap();
    for option in [
        "--data-dir",
        "--listen",
        "--workers",
        "--store",
        "--epoch-interval",
        "--checkpoint-interval",
        "--memory-limit",
        "--http",
        "--insecure",
        "--kept-rows",
        "--log-format",
        "--hba-file",
        "--max-connections",
    ] {
        assert!(help.contains(option), "{option} is not in the help:\n{help}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_checkpoints_and_ends_with_0_and_the_catalog_is_there_again() {
    let mut server = Server::new(&[]);
    server.start().await;
    let client = server.connect().await;
    let source = "CREATE SOURCE ticks (id BIGINT) WITH (connector = 'datagen', \
                      fields.id.kind = 'sequence', fields.id.end = '10')";
    client.batch_execute(source).await.unwrap();
    client.batch_execute("CREATE MATERIALIZED VIEW kept AS SELECT id FROM ticks").await.unwrap();
    drop(client);
    server.stop().await;
    server.start().await;
    let client = server.connect().await;
    client.simple_query("SELECT id FROM kept").await.unwrap();
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_in_use_is_refused() {
    let mut server = Server::new(&[]);
    server.start().await;
    let directory = server.data_dir().to_str().unwrap().to_owned();
    let second = millrace(&["serve", "--data-dir", &directory, "--listen", "127.0.0.1:0"]).await;
    let text = refusal(&second);
    assert!(text.contains(&directory), "{text}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_refused() {
    let mut server = Server::new(&[]);
    server.start().await;
    let address = (*server.address().borrow()).unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().to_str().unwrap();
    let second = millrace(&["serve", "--data-dir", directory, "--listen", &address]).await;
    let text = refusal(&second);
    assert!(text.contains(&address), "{text}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_beyond_loopback_needs_a_password_or_insecure() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().to_str().unwrap();
    let open = millrace(&["serve", "--data-dir", directory, "--listen", "0.0.0.0:0"]).await;
    let text = refusal(&open);
    assert!(text.contains("MILLRACE_PASSWORD") && text.contains("--insecure"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_for_when_there_is_one() {
    let mut server = Server::new(&["--password", "secret"]).expecting("login failed");
    server.start().await;
    let address = (*server.address().borrow()).unwrap();
    let mut config = tokio_postgres::Config::new();
    config.host(address.ip().to_string()).port(address.port()).user("root").dbname("dev");
    let wrong = config.password("guess").connect(tokio_postgres::NoTls).await.map(|_| ());
    let code = wrong.unwrap_err().code().map(|code| code.code().to_owned());
    assert_eq!(code.as_deref(), Some("28P01"));
    let (client, connection) =
        config.password("secret").connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    assert!(client.simple_query("SELECT 1").await.is_ok());
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_windows_and_ends() {
    let shown =
        millrace(&["demo", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--seconds", "6"])
            .await;
    assert!(shown.status.success(), "{shown:?}");
    let text = String::from_utf8(shown.stdout).unwrap();
    for part in ["readings_10s", "window_start", "psql -h 127.0.0.1"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let last = text.rsplit("window_start").next().unwrap();
    let windows = last.lines().skip(1).take_while(|line| !line.is_empty()).count();
    assert!(windows > 1, "no windows in:\n{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn above_its_memory_limit_the_server_lets_readers_wait_and_goes_on() {
    let limit = ["--memory-limit", "64MB", "--workers", "1"];
    let mut server = Server::new(&limit).expecting("readers wait");
    server.start().await;
    let client = server.connect().await;
    // Keys that never end, until the state alone is larger than the limit.
    let source = "CREATE SOURCE ticks (id BIGINT, v BIGINT) WITH (connector = 'datagen', \
                  rows.per.second = 50000, fields.id.kind = 'sequence', \
                  fields.id.end = '1000000000', fields.v.max = '9')";
    client.batch_execute(source).await.unwrap();
    let view = "CREATE MATERIALIZED VIEW kept AS SELECT id, sum(v) AS v FROM ticks GROUP BY id";
    client.batch_execute(view).await.unwrap();
    let rows = || async {
        let row = client.query_one("SELECT count(*) FROM kept", &[]).await.unwrap();
        row.get::<_, i64>(0)
    };
    crate::wait::until("readers wait", crate::wait::PATIENCE, || async {
        server.logged("readers wait").then_some(())
    })
    .await;
    let before = rows().await;
    crate::wait::until("rows come on", crate::wait::PATIENCE, || async {
        (rows().await > before).then_some(())
    })
    .await;
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_at_which_the_server_stopped_twice_is_not_started_and_the_others_run() {
    let mut server = Server::new(&["--workers", "1"]).expecting("is not started");
    server.start().await;
    let client = server.connect().await;
    let make = |name: &str| format!("CREATE MATERIALIZED VIEW {name} AS SELECT id FROM ticks");
    let source = "CREATE SOURCE ticks (id BIGINT) WITH (connector = 'datagen', \
                  rows.per.second = 100, fields.id.kind = 'sequence', fields.id.end = '10')";
    client.batch_execute(source).await.unwrap();
    client.batch_execute(&make("bad")).await.unwrap();
    client.batch_execute(&make("good")).await.unwrap();
    drop(client);
    server.kill().await;
    // Objects are numbered as they are made; two are the server's own, the source is 3.
    std::fs::write(server.data_dir().join("STOPS"), "4\n4\n").unwrap();
    server.start().await;
    let client = server.connect().await;
    client.simple_query("SELECT id FROM good").await.unwrap();
    let error = client.simple_query("SELECT id FROM bad").await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert!(error.message().contains("stopped more than once"), "{}", error.message());
    assert!(error.hint().is_some());
    client.batch_execute("DROP MATERIALIZED VIEW bad").await.unwrap();
    client.batch_execute(&make("bad")).await.unwrap();
    client.simple_query("SELECT id FROM bad").await.unwrap();
    drop(client);
    server.stop().await;
    assert!(!server.data_dir().join("STOPS").exists(), "a clean end forgets");
}
