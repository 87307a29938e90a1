//! A reader that asks for the time in every way there is, over restarts, and sees it never fall.

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::server::{self, Server};
use crate::wait;

/// `now()`, the newest time of reading, the newest window that has closed, the watermark: microseconds.
const ASK: &str = "SELECT (extract(epoch FROM now()) * 1000000)::bigint, \
    (SELECT coalesce(max((extract(epoch FROM p) * 1000000)::bigint), 0) FROM seen), \
    (SELECT coalesce(max((extract(epoch FROM window_end) * 1000000)::bigint), 0) FROM closed), \
    (SELECT coalesce(max((extract(epoch FROM watermark) * 1000000)::bigint), 0) FROM millrace.sources \
        WHERE source <> 'others')";

type Seen = [i64; 4];

/// The running reader.
pub(super) struct Times {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Vec<Seen>>,
}

impl Times {
    /// Begins to ask.
    pub(super) fn watch(server: &Server) -> Times {
        let mut address = server.address();
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut all: Vec<Seen> = Vec::new();
            let mut client = None;
            while stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                let Some(at) = *address.borrow_and_update() else { continue };
                if client.is_none() {
                    client = server::connect(at).await.ok();
                }
                let Some(asked) = client.as_ref() else { continue };
                // Between two processes, and until a new one has recovered, there is no answer.
                match server::rows(asked, ASK).await {
                    Ok(rows) => all.push(parsed(&rows[0])),
                    Err(error) if error.is_closed() => client = None,
                    Err(_) => {}
                }
            }
            all
        });
        Times { stop, task }
    }

    /// Ends it. No time may have fallen, nor gone on by more than `most` more than the test has taken.
    pub(super) async fn end(self, most: i64) {
        self.stop.send(()).ok();
        let all = self.task.await.expect("the reader ends");
        assert!(all.len() > 10, "it was answered: {} times", all.len());
        let mut greatest = Seen::default();
        for seen in &all {
            // A watermark is not known before its source reads, and where the clock was set ahead while the
            // server was down, all windows may have left a view before the next one closes.
            let known = greatest.iter_mut().zip(seen).filter(|(_, now)| **now != 0);
            for (before, now) in known {
                assert!(now >= before, "a time fell: {before} before {seen:?}");
                *before = *now;
            }
        }
        let last = all.last().expect("some");
        let ahead = last[0] - wait::now_micros();
        assert!(ahead.abs() < most, "now() is {ahead} us ahead of the machine");
        assert!(last[1..].iter().all(|time| *time > last[0] - most), "one stands still: {last:?}");
    }
}

fn parsed(row: &[Option<String>]) -> Seen {
    let number = |at: usize| row[at].as_deref().and_then(|text| text.parse().ok());
    [0, 1, 2, 3].map(|at| number(at).expect("a number"))
}
