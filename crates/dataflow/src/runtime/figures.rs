//! What each operator of a view's dataflow has done since it was built, for who looks into it.
//!
//! Workers add, anybody reads: one set of counters for each operator and worker, so that nobody
//! waits for anybody and no two workers write to one place. Readers see each counter as it is, not
//! all of them at one moment. Nothing in the dataflow reads them: results do not depend on time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_plan::Upstream;

use crate::graph::Graph;
use crate::operator::Operator;

/// The counters of a view's operators.
#[derive(Debug)]
pub struct Figures {
    /// When counting began, microseconds since 1970.
    pub since: i64,
    /// By operator: which it is, its name, and its counters by worker.
    operators: Vec<(Upstream, String, Vec<Arc<Counters>>)>,
}

/// The counters of one operator on one worker.
#[derive(Debug, Default)]
pub(super) struct Counters {
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    busy_us: AtomicU64,
    state_rows: AtomicU64,
    state_bytes: AtomicU64,
    touched: AtomicU64,
}

/// What one operator has done, on one worker or on all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Changed rows that came in; a retraction is one.
    pub rows_in: u64,
    /// Changed rows that left, behind the linear steps that run with the operator.
    pub rows_out: u64,
    /// Microseconds of work.
    pub busy_us: u64,
    /// Rows of state in memory.
    pub state_rows: u64,
    /// Bytes of state and scratch in memory, as of a second ago at most while rows come.
    pub state_bytes: u64,
    /// State rows read and written.
    pub touched: u64,
}

/// What one operator has done on one worker.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Which operator.
    pub operator: Upstream,
    /// Its name: `aggregate 0`.
    pub name: String,
    /// The worker.
    pub worker: usize,
    /// What it did there.
    pub work: Work,
}

impl Figures {
    /// All zero, for the operators of a graph.
    pub fn new(graph: &Graph, workers: usize, since: i64) -> Figures {
        let leaves = (0..graph.leaves.len()).map(|n| (Upstream::Leaf(n), format!("leaf {n}")));
        let constants =
            (0..graph.constants.len()).map(|n| (Upstream::Constant(n), format!("values {n}")));
        let stages = graph.stages.iter().enumerate();
        let stages = stages.map(|(n, stage)| (Upstream::Stage(n), stage.spec.to_string()));
        let counters = || (0..workers).map(|_| Arc::default()).collect();
        let all = leaves.chain(constants).chain(stages);
        let operators = all.map(|(operator, name)| (operator, name, counters())).collect();
        Figures { since, operators }
    }

    pub(super) fn counters(&self, operator: Upstream, worker: usize) -> Arc<Counters> {
        let found = self.operators.iter().find(|(own, ..)| *own == operator);
        let (.., workers) = found.expect("figures are made for the graph that is built");
        Arc::clone(&workers[worker])
    }

    /// What each operator has done on each worker.
    pub fn read(&self) -> Vec<Figure> {
        let operators = self.operators.iter().flat_map(|(operator, name, workers)| {
            workers.iter().enumerate().map(move |(worker, counters)| Figure {
                operator: *operator,
                name: name.clone(),
                worker,
                work: counters.read(),
            })
        });
        operators.collect()
    }

    /// The name of an operator and what it has done on all workers together.
    pub fn total(&self, operator: Upstream) -> Option<(&str, Work)> {
        let (_, name, workers) = self.operators.iter().find(|(own, ..)| *own == operator)?;
        let mut total = Work::default();
        workers.iter().for_each(|counters| total.add(counters.read()));
        Some((name, total))
    }
}

impl Work {
    fn add(&mut self, other: Work) {
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        self.busy_us += other.busy_us;
        self.state_rows += other.state_rows;
        self.state_bytes += other.state_bytes;
        self.touched += other.touched;
    }
}

impl Counters {
    fn read(&self) -> Work {
        let at = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Work {
            rows_in: at(&self.rows_in),
            rows_out: at(&self.rows_out),
            busy_us: at(&self.busy_us),
            state_rows: at(&self.state_rows),
            state_bytes: at(&self.state_bytes),
            touched: at(&self.touched),
        }
    }

    /// Some rows went through, in some microseconds.
    pub(super) fn passed(&self, rows_in: usize, rows_out: usize, busy_us: i64) {
        let add = |counter: &AtomicU64, by: usize| {
            counter.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed)
        };
        add(&self.rows_in, rows_in);
        add(&self.rows_out, rows_out);
        self.busy_us.fetch_add(u64::try_from(busy_us).unwrap_or(0), Ordering::Relaxed);
    }

    /// What an operator keeps now.
    pub(super) fn keeps(&self, operator: &dyn Operator) {
        let rows = u64::try_from(operator.rows()).unwrap_or(u64::MAX);
        self.state_rows.store(rows, Ordering::Relaxed);
        self.touched.store(operator.touched(), Ordering::Relaxed);
    }

    /// The bytes of what an operator keeps.
    pub(super) fn holds(&self, bytes: usize) {
        self.state_bytes.store(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
