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

/// A turn that takes so long keeps the others waiting, whether or not work is left.
const LONG_TURN_US: i64 = 100_000;

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
    behind_us: AtomicU64,
    rows_waiting: AtomicU64,
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
    /// Microseconds in which it had not done what it could: from the begin of a turn that left work over,
    /// or was long, to the end of the one that left none. What others wait for, then, is this operator.
    pub behind_us: u64,
    /// Rows that have come, for which nothing is missing, and whose results have not left: as of the end
    /// of its last turn.
    pub rows_waiting: u64,
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

/// Says how long an operator is behind, from the times of its turns alone.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// Up to when that is counted, while the last turn has left work over.
    counted: Option<i64>,
}

impl Behind {
    /// A turn has ended: the microseconds that it adds. A turn that was long counts by itself: while it lasted
    /// nobody else had one.
    pub(super) fn turn(&mut self, begin: i64, end: i64, is_left: bool) -> i64 {
        let from =
            self.counted.take().or((is_left || end - begin >= LONG_TURN_US).then_some(begin));
        self.counted = is_left.then_some(end);
        from.map_or(0, |from| (end - from).max(0))
    }
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
        self.behind_us += other.behind_us;
        self.rows_waiting += other.rows_waiting;
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
            behind_us: at(&self.behind_us),
            rows_waiting: at(&self.rows_waiting),
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

    /// The end of a turn: what it added to the time behind, and the rows that it left over.
    pub(super) fn left(&self, behind_us: i64, rows_waiting: usize) {
        self.behind_us.fetch_add(u64::try_from(behind_us).unwrap_or(0), Ordering::Relaxed);
        let rows = u64::try_from(rows_waiting).unwrap_or(u64::MAX);
        self.rows_waiting.store(rows, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_behind_from_the_turn_that_left_work_to_the_one_that_left_none() {
        let mut behind = Behind::default();
        assert_eq!(behind.turn(0, 900, false), 0);
        assert_eq!(behind.turn(1_000, 3_000, true), 2_000);
        // Others had their turns in between.
        assert_eq!(behind.turn(7_000, 9_000, true), 6_000);
        assert_eq!(behind.turn(9_500, 10_000, false), 1_000);
        assert_eq!(behind.turn(20_000, 21_000, false), 0);
        assert_eq!(behind.turn(30_000, 30_000 + LONG_TURN_US, false), LONG_TURN_US);
    }
}
