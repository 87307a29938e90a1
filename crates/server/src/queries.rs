//! Where statements are planned and calculate, and what bounds them.
//!
//! A session's own task only waits: plans and operators run on threads of their own, so that a connection
//! answers, to a cancel request say, whatever its statement does. What runs there ends when its [`Running`] is
//! dropped: at the next batch, the next stretch of a nested loop, or when it asks for memory.
//!
//! Memory: all statements together may reserve a quarter of `--memory-limit` ([`Budget`]). Not everything is
//! reserved before it is there; so the process is looked at, too, and above its limit the statement that has
//! moved most is ended. Nothing is written to disk: what does not fit fails with `53200`.
//!
//! Invariants: 1. some of the budget is always free: what one statement holds is at most [`SHARE`] times what
//! stays (asserted by a test). 2. what a statement has reserved comes back with its end (`Share::drop`).

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result as Calculated};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{
    RecordBatchStream, SendableRecordBatchStream, SessionState, TaskContext,
};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{ExecutionPlan, displayable, execute_stream};
use futures::{Stream, StreamExt};
use millrace_pg::report_of;
use millrace_sql::{Watch, watched};
use millrace_types::{Report, SqlState};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::apart::{apart, is_long};
use crate::memory;

/// One statement holds at most so many times what stays free.
const SHARE: usize = 3;
/// How long an operator may keep its thread.
const TURN: Duration = Duration::from_millis(10);
/// Turns between two looks at the memory of the process.
const LOOK_TURNS: u64 = 2;
/// Turns that a statement which has been ended is given to let go of its memory.
const END_TURNS: u64 = 10;
/// Turns between two times that memory is given back to the system.
const TIDY_TURNS: u64 = 50;
/// The process may always be so much above its limit before a statement is ended.
const OVER_BYTES_MIN: usize = 24 << 20;
/// A statement must have moved this part of what the process is above its limit to be why.
const MOVED_PARTS: usize = 4;
/// Bytes that a statement must have moved before it can be ended for the memory of the process, or before it
/// leaves much behind.
const LARGE_BYTES: usize = 1 << 20;

/// The statements that are planned or calculate.
pub struct Queries {
    threads: Handle,
    budget: Arc<Budget>,
    environment: RuntimeEnv,
    turns: Arc<AtomicU64>,
    running: Mutex<BTreeMap<u64, Arc<Watch>>>,
    next: AtomicU64,
    looked_up: AtomicU64,
    begun: Notify,
    /// A large statement has ended: malloc keeps what it has freed.
    untidy: AtomicBool,
    memory_limit: usize,
    /// Bytes that the process had when no statement was large: what is there without them.
    calm: AtomicUsize,
}

/// What all statements together may hold.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    fn new(memory_limit: usize) -> Budget {
        Budget { limit: memory_limit / 4, used: AtomicUsize::new(0) }
    }

    /// Bytes that statements have reserved, and may.
    pub fn read(&self) -> (usize, usize) {
        (self.used.load(Ordering::Relaxed), self.limit)
    }
}

/// What one statement holds of the budget: the memory pool of its operators.
#[derive(Debug)]
struct Share {
    budget: Arc<Budget>,
    watch: Arc<Watch>,
    own: AtomicUsize,
}

impl Drop for Share {
    fn drop(&mut self) {
        let own = *self.own.get_mut();
        debug_assert_eq!(own, 0, "operators give back what they have reserved");
        self.budget.used.fetch_sub(own, Ordering::Relaxed);
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("share")
    }
}

impl MemoryPool for Share {
    fn name(&self) -> &'static str {
        "share"
    }

    fn grow(&self, _: &MemoryReservation, additional: usize) {
        self.own.fetch_add(additional, Ordering::Relaxed);
        self.budget.used.fetch_add(additional, Ordering::Relaxed);
    }

    fn shrink(&self, _: &MemoryReservation, shrink: usize) {
        self.own.fetch_sub(shrink, Ordering::Relaxed);
        self.budget.used.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Calculated<()> {
        self.watch.check()?;
        self.grow(reservation, additional);
        let (used, limit) = self.budget.read();
        let own = self.own.load(Ordering::Relaxed);
        let free = limit.saturating_sub(used);
        if used <= limit && own <= free.saturating_mul(SHARE) {
            return Ok(());
        }
        self.shrink(reservation, additional);
        let (wanted, own, others) =
            (additional >> 10, (own - additional) >> 20, (used - own) >> 20);
        let detail = format!(
            "The statement holds {own} MB and wants {wanted} kB more, others hold {others} MB, of {} MB \
             for all statements (a quarter of --memory-limit).",
            limit >> 20
        );
        let report = out_of_memory(detail);
        self.watch.refuse(report.clone());
        Err(DataFusionError::External(Box::new(report)))
    }

    fn reserved(&self) -> usize {
        self.own.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.budget.limit)
    }
}

impl Queries {
    /// Statements on some threads, of a server that may use so much memory.
    ///
    /// # Errors
    /// A program error: an environment without caches and disk cannot be made.
    pub fn new(threads: Handle, memory_limit: usize) -> Calculated<Arc<Queries>> {
        let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
        let environment = RuntimeEnvBuilder::new().with_disk_manager_builder(disk).build()?;
        Ok(Arc::new(Queries {
            threads,
            budget: Arc::new(Budget::new(memory_limit)),
            environment,
            turns: Arc::default(),
            running: Mutex::default(),
            next: AtomicU64::default(),
            looked_up: AtomicU64::default(),
            begun: Notify::new(),
            untidy: AtomicBool::default(),
            memory_limit,
            calm: AtomicUsize::default(),
        }))
    }

    /// A statement with this text begins.
    pub fn begin(self: &Arc<Queries>, text: &str) -> Running {
        let watch = Arc::new(Watch::new(Arc::clone(&self.turns)));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.running.lock().insert(number, Arc::clone(&watch));
        self.begun.notify_one();
        let text = (!is_long(text)).then(|| text.to_owned());
        Running { queries: Arc::clone(self), number, watch, text }
    }

    /// Bytes that statements have reserved, and may.
    pub fn memory(&self) -> (usize, usize) {
        self.budget.read()
    }

    /// How many statements have begun, and how many of them were look-ups of a key.
    pub fn counts(&self) -> (u64, u64) {
        (self.next.load(Ordering::Relaxed), self.looked_up.load(Ordering::Relaxed))
    }

    /// Counts turns while statements run, and looks after memory. It never ends.
    pub async fn attend(self: Arc<Queries>) {
        let (mut tidied, mut quiet_until) = (0, 0);
        loop {
            if self.running.lock().is_empty() && !self.untidy.load(Ordering::Relaxed) {
                self.begun.notified().await;
                self.calm.store(memory::resident(), Ordering::Relaxed);
            }
            tokio::time::sleep(TURN).await;
            let turn = self.turns.fetch_add(1, Ordering::Relaxed) + 1;
            let above = turn >= quiet_until && turn.is_multiple_of(LOOK_TURNS) && self.is_above();
            let untidy = self.untidy.load(Ordering::Relaxed) && turn >= tidied + TIDY_TURNS;
            if untidy || above {
                self.untidy.store(false, Ordering::Relaxed);
                memory::give_back();
                tidied = turn;
            }
            if above && self.is_above() {
                self.end_largest();
                quiet_until = turn + END_TURNS;
            }
        }
    }

    fn largest(&self) -> Option<Arc<Watch>> {
        let running = self.running.lock();
        let largest = running.values().max_by_key(|watch| watch.moved());
        largest.filter(|watch| watch.moved() >= LARGE_BYTES).cloned()
    }

    /// The process is above its limit, and a statement may be why: it was not so much before, and what
    /// the statement has moved is a part of it.
    fn is_above(&self) -> bool {
        let resident = memory::resident();
        let Some(largest) = self.largest() else {
            // What malloc still keeps of a statement is not what is there without them.
            if !self.untidy.load(Ordering::Relaxed) {
                self.calm.store(resident, Ordering::Relaxed);
            }
            return false;
        };
        let calm = self.calm.load(Ordering::Relaxed);
        may_be_why(largest.moved(), (resident, calm), self.memory_limit)
    }

    fn end_largest(&self) {
        let Some(largest) = self.largest() else { return };
        let (resident, limit) = (memory::resident() >> 20, self.memory_limit >> 20);
        tracing::info!(
            resident,
            limit,
            "memory is above its limit (MB), a large statement is ended"
        );
        let detail = format!("The server uses {resident} MB, its limit is {limit} MB.");
        largest.end(out_of_memory(detail));
    }
}

/// True if a statement that has moved so many bytes may be why the process is above its limit: it has more than
/// it had without large statements, and the statement can account for it.
fn may_be_why(moved: usize, (resident, calm): (usize, usize), limit: usize) -> bool {
    let over = resident.saturating_sub(limit.max(calm));
    over > (limit / 10).max(OVER_BYTES_MIN) && moved >= over / MOVED_PARTS
}

fn out_of_memory(detail: String) -> Report {
    Report::new(SqlState::OUT_OF_MEMORY, "out of memory").detail(detail).hint(
        "Ask for less at a time, or raise --memory-limit; a materialized view keeps on disk what does \
         not fit.",
    )
}

/// A statement that is planned or calculates. When it is dropped, what it does ends.
pub struct Running {
    queries: Arc<Queries>,
    number: u64,
    watch: Arc<Watch>,
    /// Its text, for positions; None if it is long, and so may take long to plan.
    text: Option<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.queries.running.lock().remove(&self.number);
        let message = "canceling statement due to user request";
        self.watch.end(Report::new(SqlState::QUERY_CANCELED, message));
        if self.watch.moved() >= LARGE_BYTES {
            self.queries.untidy.store(true, Ordering::Relaxed);
            self.queries.begun.notify_one();
        }
    }
}

impl Running {
    /// Does something on the threads of statements.
    ///
    /// # Errors
    /// Its own, or `XX000` if it panics.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Report>> + Send + 'static,
    ) -> Result<T, Report> {
        let mut task = Task(self.queries.threads.spawn(apart(self.text.is_none(), work)));
        match (&mut task.0).await {
            Ok(done) => done,
            Err(error) if error.is_panic() => Err(panicked(&error)),
            Err(_) => Err(Report::new(SqlState::ADMIN_SHUTDOWN, "the server is shutting down")),
        }
    }

    /// Plans a query; the plan is watched.
    ///
    /// # Errors
    /// What is wrong with the query.
    pub async fn plan(
        &self,
        state: SessionState,
        plan: LogicalPlan,
    ) -> Result<(Arc<dyn ExecutionPlan>, SessionState), Report> {
        let (watch, text) = (Arc::clone(&self.watch), self.text.clone());
        let planning = async move {
            let physical = state.create_physical_plan(&plan).await;
            let physical = physical.and_then(|physical| watched(physical, &watch));
            let wrong = |error| unplanned(&error, text.as_deref().unwrap_or_default());
            physical.map(|physical| (physical, state)).map_err(wrong)
        };
        self.run(planning).await
    }

    /// Plans a query and starts it.
    ///
    /// # Errors
    /// What is wrong with the query.
    pub async fn rows(
        self,
        state: SessionState,
        plan: LogicalPlan,
    ) -> Result<SendableRecordBatchStream, Report> {
        let (physical, state) = self.plan(state, plan).await?;
        self.start(&state, physical)
    }

    /// Starts a plan of [`Running::plan`]; its rows.
    ///
    /// # Errors
    /// A program error.
    pub fn start(
        self,
        state: &SessionState,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<SendableRecordBatchStream, Report> {
        let environment =
            RuntimeEnv { memory_pool: self.pool(), ..self.queries.environment.clone() };
        let context = Arc::new(TaskContext::from(state).with_runtime(Arc::new(environment)));
        let schema = plan.schema();
        let (out, batches) = mpsc::channel(1);
        let task = Task(self.queries.threads.spawn(hand_over(
            plan,
            context,
            out,
            Arc::clone(&self.watch),
        )));
        Ok(Box::pin(Rows { schema, batches, task: Some(task), _running: self }))
    }

    /// It has gone the short way: see `session/lookup.rs`.
    pub fn was_a_lookup(&self) {
        self.queries.looked_up.fetch_add(1, Ordering::Relaxed);
    }

    fn pool(&self) -> Arc<dyn MemoryPool> {
        let (budget, watch) = (Arc::clone(&self.queries.budget), Arc::clone(&self.watch));
        Arc::new(Share { budget, watch, own: AtomicUsize::new(0) })
    }

    /// What somebody else than an operator holds for the statement.
    pub fn reservation(&self) -> MemoryReservation {
        MemoryConsumer::new("rows of a statement").register(&self.pool())
    }
}

fn panicked(error: &tokio::task::JoinError) -> Report {
    tracing::error!(%error, "a statement panicked");
    Report::new(SqlState::INTERNAL_ERROR, "the statement failed by a mistake of the server")
}

/// Runs a plan and gives its batches away, one ahead.
async fn hand_over(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    out: mpsc::Sender<Calculated<RecordBatch>>,
    watch: Arc<Watch>,
) {
    let mut rows = match execute_stream(plan, context) {
        Ok(rows) => rows,
        // Nobody waits for it any more.
        Err(error) => return out.send(Err(error)).await.unwrap_or_default(),
    };
    while let Some(batch) = rows.next().await {
        let failed = batch.is_err();
        let batch = batch.map_err(|error| watch.told(error));
        if out.send(batch).await.is_err() || failed {
            return;
        }
    }
}

/// A plan of [`Running::plan`] that has run, with what each operator has done.
pub fn shown(plan: &dyn ExecutionPlan) -> String {
    without_watch(&DisplayableExecutionPlan::with_metrics(plan).indent(false).to_string())
}

/// A plan of [`Running::plan`].
pub fn planned(plan: &dyn ExecutionPlan) -> String {
    without_watch(&displayable(plan).indent(false).to_string())
}

/// Why a query has no plan: a constant in it may have no value. The planner's own sentences are known to
/// the binder, which says where in the text something is, too.
fn unplanned(error: &DataFusionError, text: &str) -> Report {
    let (said, placed) = (report_of(error), millrace_sql::error::report_in(error, text));
    match said.code {
        SqlState::SYNTAX_ERROR => placed,
        code if code == placed.code => {
            Report { position: said.position.or(placed.position), ..said }
        }
        _ => said,
    }
}

/// Takes the lines of [`watched`] out of a tree that is shown by indents of two.
fn without_watch(tree: &str) -> String {
    let (mut above, mut shown): (Vec<usize>, String) = Default::default();
    for line in tree.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        while above.last().is_some_and(|last| *last >= indent) {
            above.pop();
        }
        if text.starts_with("Watched") {
            above.push(indent);
            continue;
        }
        shown.push_str(&" ".repeat(indent - 2 * above.len()));
        shown.push_str(text);
        shown.push('\n');
    }
    shown
}

/// A task that ends with what waits for it.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The rows of a statement, from its threads.
struct Rows {
    schema: SchemaRef,
    batches: mpsc::Receiver<Calculated<RecordBatch>>,
    /// None once it has been seen to end.
    task: Option<Task<()>>,
    _running: Running,
}

impl Stream for Rows {
    type Item = Calculated<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.batches.poll_recv(context) {
            Poll::Ready(None) => {}
            other => return other,
        }
        // It may have ended by a panic.
        let Some(task) = &mut self.task else { return Poll::Ready(None) };
        let ended = std::task::ready!(Pin::new(&mut task.0).poll(context));
        self.task = None;
        Poll::Ready(match ended {
            Err(error) if error.is_panic() => {
                Some(Err(DataFusionError::External(Box::new(panicked(&error)))))
            }
            _ => None,
        })
    }
}

impl RecordBatchStream for Rows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_statement_leaves_some_of_the_budget_and_gives_back_what_it_had() {
        let budget = Arc::new(Budget::new(400 << 20));
        let share = || -> Arc<dyn MemoryPool> {
            let (budget, watch) = (Arc::clone(&budget), Arc::new(Watch::new(Arc::default())));
            Arc::new(Share { budget, watch, own: AtomicUsize::new(0) })
        };
        let reserve = |pool: &Arc<dyn MemoryPool>| MemoryConsumer::new("rows").register(pool);
        let (greedy, other) = (share(), share());
        let large = reserve(&greedy);
        large.try_grow(75 << 20).expect("three times what stays");
        assert!(large.try_grow(1 << 20).is_err(), "a quarter stays free");
        let small = reserve(&other);
        small.try_grow(18 << 20).expect("there is some for others");
        assert_eq!(budget.read().0, 93 << 20);
        drop((large, small));
        assert_eq!(budget.read().0, 0);
    }

    #[test]
    fn a_statement_is_ended_for_what_it_can_have_made() {
        const MB: usize = 1 << 20;
        let limit = 256 * MB;
        assert!(may_be_why(40 * MB, (300 * MB, 100 * MB), limit));
        assert!(!may_be_why(40 * MB, (270 * MB, 100 * MB), limit), "within a tenth");
        assert!(!may_be_why(MB, (300 * MB, 100 * MB), limit), "it has moved too little");
        assert!(!may_be_why(40 * MB, (300 * MB, 290 * MB), limit), "it was so before");
    }
}
