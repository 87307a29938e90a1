//! A synchronous driver of one view: all workers in one thread, for tests.
//!
//! It builds the same graph as the runtime and calls the operators in the order that
//! [`Operator`](crate::operator::Operator) promises; exchange is a vector. State goes through a
//! [`Store`] that behaves as the columnar store does, so that a test can stop at any checkpoint and
//! go on with another number of workers.

mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use millrace_plan::{Upstream, ViewPlan};
use millrace_types::{Delta, ObjectId, Ts};

pub use self::store::Store;
use crate::graph::{ConstantStage, Graph, build, split};
use arrow::array::{ArrayRef, RecordBatch};

use crate::operator::{Context, Error, Operator, Output, Stored};

/// A running view.
pub struct Driver {
    graph: Graph,
    /// By worker, then by stage.
    workers: Vec<Vec<Box<dyn Operator>>>,
    /// What was pushed for times not finished: leaf, worker, rows.
    pushed: BTreeMap<Ts, Vec<(usize, usize, Delta)>>,
    followed: bool,
    /// The constant rows have not been given yet.
    starts: bool,
    now: Option<i64>,
    /// See [`Driver::limit`].
    most: usize,
    /// What operators that have let go of their state look into.
    seen: Arc<Mutex<Store>>,
}

/// What passes through one time.
struct Step<'a> {
    context: Context,
    worker: usize,
    reached: &'a mut BTreeSet<(usize, usize)>,
    out: &'a mut Output,
}

impl Driver {
    /// A view without state.
    ///
    /// # Errors
    /// A plan that no operator runs.
    pub fn new(plan: &ViewPlan, workers: usize) -> Result<Driver, Error> {
        let graph = Graph::new(plan);
        let operators = |_| graph.stages.iter().map(build).collect::<Result<Vec<_>, _>>();
        let workers = (0..workers).map(operators).collect::<Result<_, _>>()?;
        let pushed = BTreeMap::new();
        Ok(Driver {
            graph,
            workers,
            pushed,
            followed: true,
            starts: true,
            now: None,
            most: usize::MAX,
            seen: Arc::default(),
        })
    }

    /// A view with stored state, whatever the number of workers that stored it.
    ///
    /// # Errors
    /// As [`Driver::new`], or state that does not fit.
    pub fn recover(plan: &ViewPlan, workers: usize, store: &Store) -> Result<Driver, Error> {
        let mut driver = Driver::new(plan, workers)?;
        driver.starts = store.is_new();
        let mut table = 0;
        for stage in 0..driver.graph.stages.len() {
            for own in 0..driver.workers[0][stage].tables().len() {
                for (worker, operators) in driver.workers.iter_mut().enumerate() {
                    if let Some(rows) = store.rows(table, worker, workers)? {
                        operators[stage].restore(own, rows)?;
                    }
                }
                table += 1;
            }
        }
        Ok(driver)
    }

    /// Whether anybody wants to know the rows that went: if not, those that come may replace them.
    pub fn follow(&mut self, followed: bool) {
        self.followed = followed;
    }

    /// Operators stop after about so many rows, where they can, and go on.
    pub fn set_fuel(&mut self, rows: usize) {
        self.workers.iter_mut().flatten().for_each(|operator| operator.set_fuel(rows));
    }

    /// A time in which an operator gives more rows than this is not finished: random queries may ask
    /// for more than memory holds.
    pub fn limit(&mut self, rows: usize) {
        self.most = rows;
    }

    /// What `now()` is from here on, microseconds.
    pub fn set_now(&mut self, now: i64) {
        self.now = Some(now);
    }

    /// Rows of a leaf that a worker has read, in the leaf's full schema: its columns are picked here.
    ///
    /// # Errors
    /// Rows without the leaf's columns.
    pub fn push(&mut self, leaf: usize, worker: usize, delta: &Delta, ts: Ts) -> Result<(), Error> {
        let rows = delta.rows.project(&self.graph.leaves[leaf].leaf.columns)?;
        let delta = Delta { rows, weights: delta.weights.clone(), dest: 0 };
        self.pushed.entry(ts).or_default().push((leaf, worker, delta));
        Ok(())
    }

    /// Runs everything pushed for a time; times are finished in ascending order. The deltas that come
    /// out name in `dest` the worker that made them.
    ///
    /// # Errors
    /// An operator's.
    pub fn finish(
        &mut self,
        ts: Ts,
        watermarks: &BTreeMap<ObjectId, i64>,
    ) -> Result<Output, Error> {
        let out = self.finish_within(ts, watermarks)?;
        out.ok_or_else(|| Error::Unsupported(format!("a time of more than {} rows", self.most)))
    }

    /// The same; None if an operator gave more rows than [`Driver::limit`] allows: the view is of no
    /// use then.
    ///
    /// # Errors
    /// An operator's.
    pub fn finish_within(
        &mut self,
        ts: Ts,
        watermarks: &BTreeMap<ObjectId, i64>,
    ) -> Result<Option<Output>, Error> {
        let (workers, now) = (self.workers.len(), self.now);
        let context = |worker| {
            let watermarks = watermarks.clone();
            Context { ts, worker, workers, watermarks, now, changelog: true }
        };
        let mut out = Output::default();
        let mut reached = BTreeSet::new();
        for (leaf, worker, delta) in self.pushed.remove(&ts).unwrap_or_default() {
            let context = context(worker);
            let delta = self.graph.leaves[leaf].chain.run(delta, &context, &mut out)?;
            let step = Step { context, worker, reached: &mut reached, out: &mut out };
            self.route(Upstream::Leaf(leaf), delta, step)?;
        }
        for number in 0..if self.starts { self.graph.constants.len() } else { 0 } {
            let context = context(ConstantStage::OWNER);
            let constant = &self.graph.constants[number];
            let delta = constant.chain.run(constant.delta(), &context, &mut out)?;
            let worker = ConstantStage::OWNER;
            let step = Step { context, worker, reached: &mut reached, out: &mut out };
            self.route(Upstream::Constant(number), delta, step)?;
        }
        self.starts = false;
        for stage in 0..self.graph.stages.len() {
            for worker in 0..workers {
                let operator = &mut self.workers[worker][stage];
                let due = operator.wants_start() || operator.is_due(&context(worker));
                if !reached.contains(&(stage, worker)) && !due {
                    continue;
                }
                let mut own = Output::default();
                let changelog = self.followed || !self.graph.is_last(stage);
                let whole = Context { changelog, ..context(worker) };
                operator.finish(&whole, &mut own)?;
                while operator.has_more() {
                    operator.finish(&whole, &mut own)?;
                    if own.deltas.iter().map(Delta::len).sum::<usize>() > self.most {
                        return Ok(None);
                    }
                }
                out.late.append(&mut own.late);
                out.errors.append(&mut own.errors);
                for delta in own.deltas {
                    let context = context(worker);
                    let delta = self.graph.stages[stage].chain.run(delta, &context, &mut out)?;
                    let step = Step { context, worker, reached: &mut reached, out: &mut out };
                    self.route(Upstream::Stage(stage), delta, step)?;
                }
            }
        }
        Ok(Some(out))
    }

    /// Sends rows to all that they feed.
    fn route(&mut self, from: Upstream, delta: Delta, step: Step<'_>) -> Result<(), Error> {
        let Step { context, worker, reached, out } = step;
        if delta.is_empty() {
            return Ok(());
        }
        for (number, stage) in self.graph.stages.iter().enumerate() {
            for edge in stage.inputs.iter().filter(|edge| edge.from == from) {
                let parts = match &edge.exchange {
                    Some(columns) => split(delta.clone(), columns, self.workers.len())?,
                    None => {
                        vec![Delta { dest: u32::try_from(worker).unwrap_or(0), ..delta.clone() }]
                    }
                };
                for part in parts {
                    let to = part.dest as usize;
                    let context = Context { worker: to, ..context.clone() };
                    self.workers[to][number].absorb(edge.port, part, &context)?;
                    reached.insert((number, to));
                }
            }
        }
        if self.graph.output.contains(&from) {
            out.deltas.push(Delta { dest: u32::try_from(worker).unwrap_or(0), ..delta });
        }
        Ok(())
    }

    /// Hands the changed state of all operators over to a store: a checkpoint.
    ///
    /// # Errors
    /// An operator's.
    pub fn checkpoint(&mut self, store: &mut Store) -> Result<(), Error> {
        store.begin();
        for operators in &mut self.workers {
            let mut table = 0;
            for operator in operators {
                let specs = operator.tables();
                for (spec, change) in specs.into_iter().zip(operator.hand_over()?) {
                    if let Some(change) = change {
                        store.apply(table, spec, &change)?;
                    }
                    table += 1;
                }
            }
        }
        self.see(store);
        Ok(())
    }

    fn see(&self, store: &Store) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = store.clone();
    }

    /// All operators that can let go of their state do, after a checkpoint: what they touch from then on
    /// they look for in the store. True if one could.
    ///
    /// # Errors
    /// An operator's.
    pub fn let_go(&mut self, store: &Store) -> Result<bool, Error> {
        let (mut some, mut first) = (false, 0);
        self.see(store);
        for stage in 0..self.graph.stages.len() {
            let stored: Arc<dyn Stored> = Arc::new(Seen { store: Arc::clone(&self.seen), first });
            for operators in &mut self.workers {
                some |= operators[stage].let_go(&stored)?;
            }
            first += self.workers[0][stage].tables().len();
        }
        Ok(some)
    }

    /// Hands the changed state over to nobody: what is asked for afterwards has changed since.
    ///
    /// # Errors
    /// An operator's.
    pub fn discard(&mut self) -> Result<(), Error> {
        for operator in self.workers.iter_mut().flatten() {
            operator.hand_over()?;
        }
        Ok(())
    }

    /// State rows read and written so far, of all workers.
    pub fn touched(&self) -> u64 {
        self.workers.iter().flatten().map(|operator| operator.touched()).sum()
    }

    /// Bytes of state and scratch of all workers.
    pub fn bytes(&self) -> usize {
        self.workers.iter().flatten().map(|operator| operator.bytes()).sum()
    }
}

/// The tables of one operator in a store.
struct Seen {
    store: Arc<Mutex<Store>>,
    first: usize,
}

impl Stored for Seen {
    fn fetch(&self, table: usize, keys: &[ArrayRef]) -> Result<Vec<RecordBatch>, Error> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(store.fetch(self.first + table, keys)?.into_iter().collect())
    }
}
