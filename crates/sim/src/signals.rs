//! One session ends what another one runs, or the other one itself, if it may.

use std::time::Duration;

use tokio_postgres::Client;

use crate::server::{Server, login, rows};
use crate::wait::{PATIENCE, until};

const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000000000)";

async fn first(client: &Client, sql: &str) -> Option<String> {
    let found = rows(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    found.first().and_then(|row| row[0].clone())
}

fn code(error: &tokio_postgres::Error) -> Option<&str> {
    error.code().map(|code| code.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superuser_and_the_own_user_may_end_what_a_session_runs() {
    let mut server = Server::new(&[]);
    server.start().await;
    let root = server.connect().await;
    root.batch_execute("CREATE USER ann PASSWORD 'x'; CREATE USER bob PASSWORD 'y'").await.unwrap();
    let address = (*server.address().borrow()).expect("it listens");
    let enter =
        async |user, password| login(address, user, Some(password)).await.expect("a session");
    let (ann, bob) = (enter("ann", "x").await, enter("bob", "y").await);
    let process = first(&ann, "SELECT pg_backend_pid()").await.expect("a number");
    let cancel = format!("SELECT pg_cancel_backend({process})");
    let terminate = format!("SELECT pg_terminate_backend({process})");
    for sql in [&cancel, &terminate] {
        let refused = rows(&bob, sql).await.expect_err("it is another user's");
        assert_eq!(code(&refused), Some("42501"));
    }

    for (by, sql, wanted) in [(&root, &cancel, "57014"), (&root, &terminate, "57P01")] {
        let active = format!("SELECT state FROM pg_stat_activity WHERE pid = {process}");
        let running = ann.batch_execute(ENDLESS);
        let ending = async {
            until("it runs", PATIENCE, || async {
                (first(by, &active).await.as_deref() == Some("active")).then_some(())
            })
            .await;
            assert_eq!(first(by, sql).await.as_deref(), Some("t"));
        };
        let (ended, ()) = tokio::join!(tokio::time::timeout(PATIENCE, running), ending);
        let error = ended.expect("it ends").expect_err("it has no end");
        assert_eq!(code(&error), Some(wanted));
    }
    until("the session is gone", PATIENCE, || async {
        (first(&root, &cancel).await.as_deref() == Some("f")).then_some(())
    })
    .await;

    // A session that does nothing ends as well; who cancels it changes nothing.
    let again = enter("ann", "x").await;
    let own = enter("ann", "x").await;
    let process = first(&again, "SELECT pg_backend_pid()").await.expect("a number");
    assert_eq!(
        first(&own, &format!("SELECT pg_cancel_backend({process})")).await.as_deref(),
        Some("t")
    );
    assert_eq!(first(&again, "SELECT 1").await.as_deref(), Some("1"));
    assert_eq!(
        first(&own, &format!("SELECT pg_terminate_backend({process})")).await.as_deref(),
        Some("t")
    );
    until("it is closed", PATIENCE, || async { again.is_closed().then_some(()) }).await;
    assert_eq!(first(&own, "SELECT pg_cancel_backend(NULL) IS NULL").await.as_deref(), Some("t"));
    tokio::time::timeout(Duration::from_secs(60), server.stop()).await.expect("it stops");
}
