//! A message that is refused before anything of it runs fails what it stands in: of the statements before it in the same
//! pipeline, or in the open transaction, nothing stays, and no table stays locked.

use super::raw::Raw;
use crate::server::{Server, rows};

/// Messages that no statement is made of, and whether a Sync has to follow.
const REFUSED: [(u8, &[u8], bool); 4] = [
    // A Bind that ends too early, the call of a function, an open quote, a message of an unknown form.
    (b'B', b"\0", true),
    (b'F', b"\0\0\0\x01", false),
    (b'Q', b"SELECT '\0", false),
    (b'D', b"?\0", true),
];

async fn status(raw: &mut Raw, (kind, body, sync): (u8, &[u8], bool)) -> (bool, Vec<u8>) {
    raw.send(kind, body).await;
    if sync {
        raw.send(b'S', b"").await;
    }
    let mut messages = raw.until('Z').await;
    let (_, status) = messages.pop().expect("the last one");
    (messages.iter().any(|(kind, _)| *kind == 'E'), status)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_undoes_what_stands_before_it() {
    let mut server = Server::new(&["--workers", "2"]);
    server.start().await;
    let other = server.connect().await;
    other
        .batch_execute("CREATE TABLE t (id INT PRIMARY KEY); SET lock_timeout = '5s'")
        .await
        .unwrap();
    for (number, refused) in (0..).step_by(10).zip(REFUSED) {
        let mut raw = Raw::open(&server).await;
        raw.ask_portal(&format!("INSERT INTO t VALUES ({number})"), 0).await;
        assert_eq!(status(&mut raw, refused).await, (true, b"I".to_vec()), "{refused:?}");
        // The table is free, and the row is not there: neither now nor when the session goes on.
        other
            .batch_execute(&format!("INSERT INTO t VALUES ({number}); DELETE FROM t"))
            .await
            .unwrap();
        raw.ask(&format!("INSERT INTO t VALUES ({})", number + 1)).await;
        assert_eq!(raw.refusal().await, None);
        let shown = rows(&other, "SELECT id FROM t").await.unwrap();
        assert_eq!(shown, [[Some((number + 1).to_string())]], "{refused:?}");
        raw.ask("BEGIN; DELETE FROM t").await;
        assert_eq!(raw.refusal().await, None);
        assert_eq!(status(&mut raw, refused).await, (true, b"E".to_vec()), "{refused:?}");
        raw.ask("COMMIT").await;
        let answers = raw.until('Z').await;
        assert_eq!(answers[0], ('C', b"ROLLBACK\0".to_vec()), "{refused:?}");
        assert_eq!(rows(&other, "SELECT id FROM t").await.unwrap(), shown, "{refused:?}");
        other.batch_execute("DELETE FROM t").await.unwrap();
    }
    drop(other);
    server.stop().await;
}
