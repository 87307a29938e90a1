//! Advisory locks: `pg_advisory_lock` and its like. A number stands for whatever clients have agreed on; tools for migrations
//! take one so that only one of them runs.
//!
//! A lock is of a session, or of a transaction (`xact`), and is taken as often as it was asked for. Whoever waits holds no
//! thread, and has its turn in whatever order; a statement that is cancelled or has no time left waits no longer. Two
//! sessions that wait for each other wait until then.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use async_trait::async_trait;
use datafusion::common::Result as DfResult;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use millrace_types::{Report, SqlState};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::functions::{Body, argument, array, function};

/// One number, or two; these are never the same.
type Key = (bool, i64);

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Mode {
    /// Others may hold it so, too.
    shared: bool,
    /// Until the transaction ends.
    transaction: bool,
}

/// How often each session holds a lock.
type Holders = BTreeMap<(i32, Mode), u32>;

/// Who holds which locks, and how often.
#[derive(Default)]
pub struct AdvisoryLocks {
    held: Mutex<BTreeMap<Key, Holders>>,
    freed: Notify,
}

impl fmt::Debug for AdvisoryLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdvisoryLocks").finish_non_exhaustive()
    }
}

impl AdvisoryLocks {
    fn take(&self, process: i32, key: Key, mode: Mode) -> bool {
        let mut held = self.held.lock();
        let holders = held.entry(key).or_default();
        let hinders =
            |(other, theirs): &(i32, Mode)| *other != process && !(mode.shared && theirs.shared);
        if holders.keys().any(hinders) {
            return false;
        }
        *holders.entry((process, mode)).or_default() += 1;
        true
    }

    async fn wait(&self, process: i32, key: Key, mode: Mode) {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // From now on none is missed.
            freed.as_mut().enable();
            if self.take(process, key, mode) {
                return;
            }
            freed.await;
        }
    }

    /// False if the session does not hold it.
    fn give(&self, process: i32, key: Key, shared: bool) -> bool {
        let mut held = self.held.lock();
        let Some(holders) = held.get_mut(&key) else { return false };
        let holder = (process, Mode { shared, transaction: false });
        let Some(count) = holders.get_mut(&holder) else { return false };
        *count -= 1;
        if *count == 0 {
            holders.remove(&holder);
        }
        if holders.is_empty() {
            held.remove(&key);
        }
        drop(held);
        self.freed.notify_waiters();
        true
    }

    fn retain(&self, keeps: impl Fn(&(i32, Mode)) -> bool) {
        let mut held = self.held.lock();
        if held.is_empty() {
            return;
        }
        held.retain(|_, holders| {
            holders.retain(|holder, _| keeps(holder));
            !holders.is_empty()
        });
        drop(held);
        self.freed.notify_waiters();
    }

    /// The transaction of a session ends.
    pub fn end_transaction(&self, process: i32) {
        self.retain(|(other, mode)| *other != process || !mode.transaction);
    }

    /// A session lets go of what is its own.
    pub fn give_all(&self, process: i32) {
        self.retain(|(other, mode)| *other != process || mode.transaction);
    }

    /// A session ends.
    pub fn leave(&self, process: i32) {
        self.retain(|(other, _)| *other != process);
    }
}

/// All functions, for a session.
pub(super) fn all(process: i32, locks: &Arc<AdvisoryLocks>) -> Vec<ScalarUDF> {
    let mut all = vec![give("pg_advisory_unlock", false, process, locks)];
    all.push(give("pg_advisory_unlock_shared", true, process, locks));
    for (end, shared, transaction) in [
        ("lock", false, false),
        ("lock_shared", true, false),
        ("xact_lock", false, true),
        ("xact_lock_shared", true, true),
    ] {
        let mode = Mode { shared, transaction };
        all.push(try_take(&format!("pg_try_advisory_{end}"), mode, process, locks));
        let one = vec![DataType::Int64];
        let two = vec![DataType::Int32, DataType::Int32];
        let either = vec![TypeSignature::Exact(one), TypeSignature::Exact(two)];
        let wait = Wait {
            name: format!("pg_advisory_{end}"),
            mode,
            process,
            locks: Arc::clone(locks),
            signature: Signature::one_of(either, Volatility::Volatile),
        };
        all.push(AsyncScalarUDF::new(Arc::new(wait)).into_scalar_udf());
    }
    let locks = Arc::clone(locks);
    let body: Body = Arc::new(move |_, rows| {
        locks.give_all(process);
        array(StringArray::from(vec![""; rows]))
    });
    all.push(function("pg_advisory_unlock_all", Volatility::Volatile, DataType::Utf8, body));
    all
}

/// The lock that one number or two stand for; None for NULL.
fn keys(args: &[ArrayRef]) -> Vec<Option<Key>> {
    match args {
        [one] => {
            let one = one.as_primitive::<Int64Type>().iter();
            one.map(|number| Some((false, number?))).collect()
        }
        [first, second] => {
            let second = second.as_primitive::<Int32Type>().iter();
            let pairs = first.as_primitive::<Int32Type>().iter().zip(second);
            let pair = |(first, second): (Option<i32>, Option<i32>)| {
                let second = i64::from(second?.cast_unsigned());
                Some((true, i64::from(first?) << 32 | second))
            };
            pairs.map(pair).collect()
        }
        _ => Vec::new(),
    }
}

fn given(args: &[ColumnarValue], rows: usize) -> DfResult<Vec<Option<Key>>> {
    let wanted = if args.len() == 2 { DataType::Int32 } else { DataType::Int64 };
    let arrays = (0..args.len().min(2)).map(|at| argument(args, at, rows, &wanted));
    Ok(keys(&arrays.collect::<DfResult<Vec<_>>>()?))
}

fn each(name: &str, what: impl Fn(Key) -> bool + Send + Sync + 'static) -> ScalarUDF {
    let body: Body = Arc::new(move |args, rows| {
        let done = given(args, rows)?.into_iter().map(|key| key.map(&what));
        array(done.collect::<BooleanArray>())
    });
    function(name, Volatility::Volatile, DataType::Boolean, body)
}

fn try_take(name: &str, mode: Mode, process: i32, locks: &Arc<AdvisoryLocks>) -> ScalarUDF {
    let locks = Arc::clone(locks);
    each(name, move |key| locks.take(process, key, mode))
}

fn give(name: &str, shared: bool, process: i32, locks: &Arc<AdvisoryLocks>) -> ScalarUDF {
    let locks = Arc::clone(locks);
    each(name, move |key| locks.give(process, key, shared))
}

/// Takes a lock, however long that takes.
struct Wait {
    name: String,
    mode: Mode,
    process: i32,
    locks: Arc<AdvisoryLocks>,
    signature: Signature,
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Wait {
    fn eq(&self, other: &Wait) -> bool {
        self.name == other.name && self.process == other.process
    }
}

impl Eq for Wait {}

impl std::hash::Hash for Wait {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (&self.name, self.process).hash(state);
    }
}

impl ScalarUDFImpl for Wait {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// PostgreSQL's give nothing (`void`), which is shown as an empty text.
    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let report = Report::new(SqlState::FEATURE_NOT_SUPPORTED, "a statement cannot wait here");
        let report = report.hint("Call it in a select list.");
        Err(DataFusionError::External(Box::new(report)))
    }
}

/// One row waits after the other.
#[async_trait]
impl AsyncScalarUDFImpl for Wait {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = args.args.into_iter().map(|arg| arg.into_array(rows));
        let mut taken = Vec::with_capacity(rows);
        for key in keys(&arrays.collect::<DfResult<Vec<_>>>()?) {
            if let Some(key) = key {
                self.locks.wait(self.process, key, self.mode).await;
            }
            taken.push(key.map(|_| ""));
        }
        Ok(ColumnarValue::Array(Arc::new(StringArray::from(taken))))
    }
}
