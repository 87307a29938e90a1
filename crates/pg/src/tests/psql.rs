//! psql itself: what a person sees.

use std::process::Output;

use tokio::process::Command;

use super::Server;

/// Runs psql with one command and gives what it printed.
async fn psql(server: &Server, options: &[&str], command: &str) -> (String, String) {
    let Output { stdout, stderr, .. } = Command::new("psql")
        .args(["-X", "-h", "127.0.0.1", "-U", "root", "-p", &server.address.port().to_string()])
        .args(options)
        .args(["-c", command])
        .env_remove("PGPASSWORD")
        .env("PGCONNECT_TIMEOUT", "20")
        .output()
        .await
        .expect("psql is installed (postgresql-client)");
    (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

const BARE: &[&str] = &["-A", "-t"];

#[tokio::test]
async fn psql_shows_the_answers_before_a_failing_statement_and_its_place() {
    let server = Server::start().await;
    let query = "SELECT 1 AS a; SELECT 'ä' AS b; SELECT nosuch; SELECT 4";
    let (out, err) = psql(&server, BARE, query).await;
    assert_eq!(out, "1\nä\n");
    let expected = "ERROR:  column \"nosuch\" does not exist\n\
         LINE 1: SELECT 1 AS a; SELECT 'ä' AS b; SELECT nosuch; SELECT 4\n                                               ^\n\
         DETAIL:  There is none.\nHINT:  Name another.\n";
    assert_eq!(err, expected);
}

#[tokio::test]
async fn psql_lands_in_dev() {
    let server = Server::start().await;
    assert_eq!(psql(&server, BARE, "select current_database()").await.0, "dev\n");
    assert_eq!(server.database.logins.lock().unwrap()[0].user, "root");
}

#[tokio::test]
async fn psql_shows_notices_and_says_nothing_to_a_comment() {
    let server = Server::start().await;
    let (out, err) = psql(&server, &[], "NOTE").await;
    assert_eq!(out, "NOTE\n");
    assert_eq!(err, "NOTICE:  as you wished\nWARNING:  but beware\n");
    let (out, err) = psql(&server, &[], "-- ping").await;
    assert_eq!((out.as_str(), err.as_str()), ("", ""));
}

#[tokio::test]
async fn psql_sees_timestamps_in_its_zone() {
    let server = Server::start().await;
    let query = "SET TimeZone = 'Europe/Helsinki'; \
                 SELECT arrow_cast(0, 'Timestamp(Microsecond, Some(\"UTC\"))')";
    assert_eq!(psql(&server, BARE, query).await.0, "SET\n1970-01-01 02:00:00+02\n");
}
