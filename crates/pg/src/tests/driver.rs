//! tokio-postgres: prepared statements, binary values, portals, cancel, passwords, TLS.

use std::time::SystemTime;

use futures::StreamExt;
use millrace_types::SqlState;
use tokio_postgres::error::SqlState as Code;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config as Options, Error, NoTls, SimpleQueryMessage};

use super::Server;
use super::database::TestDatabase;
use crate::Config;

fn options(server: &Server) -> Options {
    let mut options = Options::new();
    options.host("127.0.0.1").port(server.address.port()).user("root").dbname("dev");
    options
}

async fn open(options: &Options) -> Result<Client, Error> {
    let (client, connection) = options.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn connect(server: &Server) -> Client {
    open(&options(server)).await.unwrap()
}

#[tokio::test]
async fn parameters_and_rows_travel_in_binary() {
    let server = Server::start().await;
    let client = connect(&server).await;
    let query = "SELECT $1::bigint + 1, $2::text || '!', $3::double precision, $4::timestamptz, \
                 $5::boolean, $6::bigint[], $7::bytea, $8::smallint";
    let types = [
        Type::INT8,
        Type::TEXT,
        Type::FLOAT8,
        Type::TIMESTAMPTZ,
        Type::BOOL,
        Type::INT8_ARRAY,
        Type::BYTEA,
        Type::INT2,
    ];
    let statement = client.prepare_typed(query, &types).await.unwrap();
    assert_eq!(statement.params(), types);
    let numbers: Vec<Option<i64>> = vec![Some(1), None];
    let row = client
        .query_one(
            &statement,
            &[
                &41_i64,
                &"hi",
                &1.5,
                &SystemTime::UNIX_EPOCH,
                &true,
                &numbers,
                &vec![0_u8, 255],
                &None::<i16>,
            ],
        )
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 42);
    assert_eq!(row.get::<_, String>(1), "hi!");
    assert_eq!(row.get::<_, f64>(2), 1.5);
    assert_eq!(row.get::<_, SystemTime>(3), SystemTime::UNIX_EPOCH);
    assert!(row.get::<_, bool>(4));
    assert_eq!(row.get::<_, Vec<Option<i64>>>(5), numbers);
    assert_eq!(row.get::<_, Vec<u8>>(6), [0, 255]);
    assert_eq!(row.get::<_, Option<i16>>(7), None);
}

#[tokio::test]
async fn an_error_tells_code_place_and_advice_and_the_session_goes_on() {
    let server = Server::start().await;
    let client = connect(&server).await;
    let error = client.prepare("  SELECT nosuch").await.err().unwrap();
    let report = error.as_db_error().unwrap();
    assert_eq!(*report.code(), Code::UNDEFINED_COLUMN);
    assert_eq!(report.position(), Some(&tokio_postgres::error::ErrorPosition::Original(10)));
    assert_eq!((report.detail(), report.hint()), (Some("There is none."), Some("Name another.")));
    let row = client.query_one("SELECT 1::bigint", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1);
}

#[tokio::test]
async fn a_portal_gives_its_rows_in_parts() {
    let server = Server::start().await;
    let mut client = connect(&server).await;
    let transaction = client.transaction().await.unwrap();
    let query = "SELECT * FROM (VALUES (1::bigint), (2), (3), (4), (5)) AS t(n) ORDER BY n";
    let portal = transaction.bind(query, &[]).await.unwrap();
    let mut parts = Vec::new();
    for _ in 0..4 {
        let rows = transaction.query_portal(&portal, 2).await.unwrap();
        parts.push(rows.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>());
    }
    assert_eq!(parts, [vec![1, 2], vec![3, 4], vec![5], vec![]]);
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn a_cancel_request_ends_planning_and_rows_alike() {
    let server = Server::start().await;
    let client = connect(&server).await;
    let cancel = client.cancel_token();
    let mut drops = 0;
    for query in ["HANG", "STALL", "ENDLESS"] {
        // Both protocols. The request may come before the statement; then it is asked again.
        for extended in [false, true] {
            let running = async {
                if extended {
                    client.query(query, &[]).await.map(|_| ())
                } else {
                    client.batch_execute(query).await
                }
            };
            let cancelling = async {
                loop {
                    cancel.cancel_query(NoTls).await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            let error = tokio::select! {
                result = running => result.unwrap_err(),
                () = cancelling => unreachable!(),
            };
            assert_eq!(error.code(), Some(&Code::QUERY_CANCELED), "{query}");
            drops += 1;
            server.database.dropped.reach(drops).await;
        }
    }
    assert!(client.simple_query("").await.is_ok());
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_statement() {
    let server = Server::start().await;
    let (client, connection) = options(&server).connect(NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut rows = Box::pin(client.query_raw("STALL", Vec::<String>::new()).await.unwrap());
    assert!(rows.next().await.unwrap().is_ok());
    connection.abort();
    server.database.dropped.reach(1).await;
}

#[tokio::test]
async fn rows_before_an_error_arrive() {
    let server = Server::start().await;
    let client = connect(&server).await;
    let mut rows = Box::pin(client.query_raw("HALF", Vec::<String>::new()).await.unwrap());
    assert_eq!(rows.next().await.unwrap().unwrap().get::<_, i64>(0), 1);
    let error = rows.next().await.unwrap().err().unwrap();
    assert_eq!(error.code(), Some(&Code::DIVISION_BY_ZERO));
}

#[tokio::test]
async fn the_right_password_comes_in_and_all_others_look_alike() {
    let mut database = TestDatabase::new().await;
    database.password = Some("pässword".to_owned());
    let server = Server::start_with(database, Config::default()).await;
    let attempt = async |user: &str, password: &str| {
        open(options(&server).user(user).password(password)).await
    };
    assert!(attempt("root", "pässword").await.is_ok());
    let wrong = attempt("root", "password").await.err().unwrap();
    let unknown = attempt("nobody", "password").await.err().unwrap();
    for (error, user) in [(wrong, "root"), (unknown, "nobody")] {
        let report = error.as_db_error().unwrap();
        assert_eq!(report.code().code(), SqlState::INVALID_PASSWORD.code());
        let message = format!("password authentication failed for user \"{user}\"");
        assert_eq!(report.message(), message);
        assert_eq!(report.severity(), "FATAL");
    }
}

#[tokio::test]
async fn sessions_beyond_the_limit_are_told_so_and_their_places_come_back() {
    let config = Config { connections_max: 1, ..Config::default() };
    let server = Server::start_with(TestDatabase::new().await, config).await;
    let first = connect(&server).await;
    let error = open(&options(&server)).await.err().unwrap();
    assert_eq!(error.code(), Some(&Code::TOO_MANY_CONNECTIONS));
    drop(first);
    // The server notices the end of the first session in its own time.
    while open(&options(&server)).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_unknown_database_is_refused() {
    let server = Server::start().await;
    let error = open(options(&server).dbname("other")).await.err().unwrap();
    assert_eq!(error.code(), Some(&Code::INVALID_CATALOG_NAME));
}

#[tokio::test]
async fn the_end_of_the_server_ends_idle_and_busy_sessions() {
    let server = Server::start().await;
    let busy = connect(&server).await;
    let running = tokio::spawn(async move { busy.batch_execute("HANG").await });
    let idle = connect(&server).await;
    idle.simple_query("SELECT 1").await.unwrap();
    server.shutdown.send(true).unwrap();
    server.served.await.unwrap();
    let error = running.await.unwrap().unwrap_err();
    assert!(error.code() == Some(&Code::ADMIN_SHUTDOWN) || error.is_closed(), "{error}");
    assert!(idle.simple_query("SELECT 1").await.is_err());
}

#[tokio::test]
async fn a_statement_that_is_prepared_twice_or_never_is_refused() {
    let server = Server::start().await;
    let client = connect(&server).await;
    let messages = client.simple_query("SELECT 1 AS a; SELECT 2 AS a").await.unwrap();
    let rows: Vec<&str> = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    assert_eq!(rows, ["1", "2"]);
    let error = client.prepare("SELECT 1; SELECT 2").await.err().unwrap();
    assert_eq!(error.code(), Some(&Code::SYNTAX_ERROR));
}
