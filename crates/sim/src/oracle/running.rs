//! The views of a case, driven epoch by epoch.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use millrace_dataflow::driver::{Driver, Store};
use millrace_dataflow::graph::Graph;
use millrace_dataflow::operator::LateRow;
use millrace_plan::{LeafKind, ViewPlan};
use millrace_types::{Delta, Epoch, ObjectId, is_hidden};

use super::content::{self, Counted, Row};
use super::data::EpochRows;
use super::sql::{SOURCE_ID, TABLE_ID};

/// A random query may join everything with everything: a case ends where an operator gives more rows
/// in an epoch.
const ROWS_MAX: usize = 30_000;

/// What one view says in one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Its changes, added up.
    pub(super) changes: Counted,
    /// Rows turned away, sorted.
    pub(super) late: Vec<LateRow>,
}

/// The rows of a view by its key, as the store keeps them: what is set replaces what was there.
#[derive(Default)]
struct Kept(BTreeMap<Row, Row>);

impl Kept {
    fn apply(&mut self, deltas: &[Delta], plan: &ViewPlan) {
        for sets in [false, true] {
            for delta in deltas {
                let key = delta.rows.project(&plan.sort).expect("the key is stored");
                let keys = content::rows(&key, plan.sort.len());
                let rows = content::rows(&delta.rows, visible(plan));
                let weights = delta.weights.values().iter().map(|weight| *weight > 0);
                for ((key, row), _) in
                    keys.into_iter().zip(rows).zip(weights).filter(|x| x.1 == sets)
                {
                    if sets {
                        self.0.insert(key, row)
                    } else {
                        self.0.remove(&key)
                    };
                }
            }
        }
    }
}

/// Views of which nobody follows the last one: its new rows replace old ones without a word.
pub(super) struct Unfollowed<'a> {
    running: Running<'a>,
    kept: Kept,
}

impl<'a> Unfollowed<'a> {
    pub(super) fn new(plans: &'a [(ObjectId, ViewPlan)], workers: usize) -> Unfollowed<'a> {
        let mut running = Running::new(plans, workers);
        running.drivers.last_mut().expect("there is a view").follow(false);
        Unfollowed { running, kept: Kept::default() }
    }

    /// Runs one epoch; gives the last view's content after it, None if it has too many rows.
    pub(super) fn epoch(&mut self, number: u64, rows: &EpochRows) -> Option<Counted> {
        let deltas = self.running.run(number, rows)?.pop().expect("there is a view").0;
        let (_, plan) = self.running.plans.last().expect("there is a view");
        self.kept.apply(&deltas, plan);
        let mut content = Counted::new();
        self.kept.0.values().for_each(|row| content::change(&mut content, row.clone(), 1));
        Some(content)
    }
}

/// Views in the order of their dependence.
pub(super) struct Running<'a> {
    plans: &'a [(ObjectId, ViewPlan)],
    drivers: Vec<Driver>,
    stores: Vec<Store>,
    workers: usize,
    /// By view: up to which time rows have left.
    left: Vec<Option<i64>>,
}

/// How many columns of a view users see.
pub(super) fn visible(plan: &ViewPlan) -> usize {
    let schema = &plan.root.meta().schema;
    schema.fields().iter().filter(|field| !is_hidden(field.name())).count()
}

impl<'a> Running<'a> {
    /// Views without rows.
    pub(super) fn new(plans: &'a [(ObjectId, ViewPlan)], workers: usize) -> Running<'a> {
        let stores = vec![Store::default(); plans.len()];
        Running::recover(plans, stores, workers)
    }

    /// Views as a checkpoint left them.
    fn recover(
        plans: &'a [(ObjectId, ViewPlan)],
        stores: Vec<Store>,
        workers: usize,
    ) -> Running<'a> {
        let drivers = plans.iter().zip(&stores).map(|((_, plan), store)| {
            let mut driver = Driver::recover(plan, workers, store).expect("stored state fits");
            driver.limit(ROWS_MAX);
            driver
        });
        let drivers = drivers.collect();
        let left = vec![None; plans.len()];
        Running { plans, drivers, stores, workers, left }
    }

    /// Operators stop after about so many rows, where they can, and go on.
    pub(super) fn set_fuel(&mut self, rows: usize) {
        self.drivers.iter_mut().for_each(|driver| driver.set_fuel(rows));
    }

    /// The same views after a stop, as the last checkpoint left them.
    pub(super) fn stopped(self, workers: usize) -> Running<'a> {
        Running::recover(self.plans, self.stores, workers)
    }

    /// Hands all state over.
    pub(super) fn checkpoint(&mut self) {
        for (driver, store) in self.drivers.iter_mut().zip(&mut self.stores) {
            driver.checkpoint(store).expect("state can be handed over");
        }
    }

    /// State that has been handed over leaves memory, where an operator can do without. True if some can.
    pub(super) fn let_go(&mut self) -> bool {
        let drivers = self.drivers.iter_mut().zip(&self.stores);
        let gone = drivers.map(|(driver, store)| driver.let_go(store).expect("it can leave"));
        gone.fold(false, |some, one| some | one)
    }

    /// Hands all state over and lets go of it.
    pub(super) fn put_away(&mut self) {
        self.checkpoint();
        self.let_go();
    }

    /// Runs one epoch; None if it has too many rows.
    pub(super) fn epoch(&mut self, number: u64, rows: &EpochRows) -> Option<Vec<Said>> {
        let made = self.run(number, rows)?.into_iter().zip(self.plans);
        let said = made.map(|((deltas, late), (_, plan))| {
            let mut said = Said { changes: Counted::new(), late };
            for delta in &deltas {
                content::add(&mut said.changes, delta, visible(plan));
            }
            said
        });
        Some(said.collect())
    }

    /// The changes of each view, and what it turned away.
    fn run(&mut self, number: u64, rows: &EpochRows) -> Option<Vec<(Vec<Delta>, Vec<LateRow>)>> {
        let ts = Epoch(number).ts();
        let watermarks = rows.watermark.map(|w| (SOURCE_ID, w)).into_iter().collect();
        let mut made = BTreeMap::from([(TABLE_ID, rows.table.clone())]);
        let mut all = Vec::new();
        for ((id, plan), driver) in self.plans.iter().zip(&mut self.drivers) {
            for (leaf, stage) in Graph::new(plan).leaves.iter().enumerate() {
                let deltas: Vec<Delta> = match stage.leaf.kind {
                    LeafKind::View(view) => made[&view].clone(),
                    LeafKind::Source(_) => source(rows, self.workers),
                };
                for delta in deltas {
                    driver.push(leaf, delta.dest as usize, &delta, ts).expect("columns of a leaf");
                }
            }
            driver.set_now(rows.now);
            let mut out = driver.finish_within(ts, &watermarks).expect("an epoch ends")?;
            if let Some(retention) = &plan.retention {
                let left = &mut self.left[all.len()];
                assert_kept(&out.deltas, retention.column, *left);
                let known = retention.sources.iter().map(|source| watermarks.get(source));
                let watermark = known.min().flatten();
                *left = watermark.map(|watermark| watermark - retention.shift);
            }
            assert!(out.errors.is_empty(), "errors: {:?}", out.errors);
            out.late.sort();
            made.insert(*id, out.deltas.clone());
            all.push((out.deltas, out.late));
        }
        Some(all)
    }
}

/// Panics if a row changes that has left by its time.
fn assert_kept(deltas: &[Delta], column: usize, left: Option<i64>) {
    let Some(left) = left else { return };
    for delta in deltas {
        let times = delta.rows.column(column).as_primitive::<TimestampMicrosecondType>();
        let first = times.iter().flatten().min();
        assert!(first.is_none_or(|first| first > left), "a row changes that has left: {first:?}");
    }
}

/// Each partition is read by one worker.
fn source(rows: &EpochRows, workers: usize) -> Vec<Delta> {
    let each = rows.partitions.iter().enumerate();
    let filled = each.filter(|(_, rows)| rows.num_rows() > 0);
    filled
        .map(|(partition, rows)| Delta {
            dest: u32::try_from(partition % workers).expect("few workers"),
            ..Delta::constant(rows.clone(), 1)
        })
        .collect()
}
