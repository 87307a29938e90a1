//! The rows of a cursor or a portal: whoever fetches, by SQL or by the protocol, takes the next ones.
//!
//! A portal that the protocol has bound is begun by who fetches first.

use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result as Fetched;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

/// Rows that are fetched in portions.
pub struct PortalRows {
    schema: SchemaRef,
    rest: Mutex<Rest>,
    begun: AtomicBool,
    endless: AtomicBool,
    closed: AtomicBool,
}

/// What has not been fetched.
#[derive(Default)]
struct Rest {
    /// None before it begins, and once it has ended.
    stream: Option<SendableRecordBatchStream>,
    batch: Option<RecordBatch>,
    /// How many times somebody has asked for the next.
    asked: u64,
}

impl PortalRows {
    /// Rows of such columns, that nothing makes yet.
    pub fn new(schema: SchemaRef) -> PortalRows {
        PortalRows {
            schema,
            rest: Mutex::default(),
            begun: AtomicBool::new(false),
            endless: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Here they come from; `endless`: they go on until the client has enough.
    pub async fn begin(&self, stream: SendableRecordBatchStream, endless: bool) {
        self.rest.lock().await.stream = Some(stream);
        self.endless.store(endless, Ordering::Relaxed);
        self.begun.store(true, Ordering::Release);
    }

    /// Something makes them, or has.
    pub fn is_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// They go on until the client has enough.
    pub fn is_endless(&self) -> bool {
        self.endless.load(Ordering::Relaxed)
    }

    /// Nobody may fetch any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// True once nobody may fetch any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// The next rows, `left` at most; None if there are none by then, or at the end.
    pub async fn next(&self, left: usize, until: Option<Instant>) -> Option<Fetched<RecordBatch>> {
        if left == 0 {
            return None;
        }
        let mut rest = self.rest.lock().await;
        rest.asked += 1;
        let batch = match rest.batch.take() {
            Some(batch) => batch,
            None => {
                let next = rest.stream.as_mut()?.next();
                let next = match until {
                    Some(until) => timeout_at(until, next).await.ok()?,
                    None => next.await,
                };
                match next {
                    Some(Ok(batch)) => batch,
                    ended => {
                        rest.stream = None;
                        return ended;
                    }
                }
            }
        };
        if batch.num_rows() <= left {
            return Some(Ok(batch));
        }
        rest.batch = Some(batch.slice(left, batch.num_rows() - left));
        Some(Ok(batch.slice(0, left)))
    }

    /// Rows that were taken and not used are the next for others; [`PortalRows::reclaim`] wants the number.
    pub(crate) async fn give_back(&self, batch: RecordBatch) -> u64 {
        let mut rest = self.rest.lock().await;
        rest.batch = Some(batch);
        rest.asked
    }

    /// Takes what was given back, if nobody has asked for it.
    pub(crate) async fn reclaim(&self, asked: u64) -> bool {
        let mut rest = self.rest.lock().await;
        let untouched = rest.asked == asked;
        if untouched {
            rest.batch = None;
        }
        untouched
    }
}
