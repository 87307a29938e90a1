//! The views of a case, driven epoch by epoch.

use std::collections::BTreeMap;

use millrace_dataflow::driver::{Driver, Store};
use millrace_dataflow::graph::Graph;
use millrace_dataflow::operator::LateRow;
use millrace_plan::{LeafKind, ViewPlan};
use millrace_types::{Delta, Epoch, ObjectId, is_hidden};

use super::content::{self, Counted};
use super::data::EpochRows;
use super::sql::SOURCE_ID;

/// What one view says in one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Its changes, added up.
    pub(super) changes: Counted,
    /// Rows turned away, sorted.
    pub(super) late: Vec<LateRow>,
}

/// Views in the order of their dependence.
pub(super) struct Running<'a> {
    plans: &'a [(ObjectId, ViewPlan)],
    drivers: Vec<Driver>,
    stores: Vec<Store>,
    workers: usize,
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
            Driver::recover(plan, workers, store).expect("stored state fits")
        });
        let drivers = drivers.collect();
        Running { plans, drivers, stores, workers }
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

    /// Runs one epoch.
    pub(super) fn epoch(&mut self, number: u64, rows: &EpochRows) -> Vec<Said> {
        let ts = Epoch(number).ts();
        let watermarks = rows.watermark.map(|w| (SOURCE_ID, w)).into_iter().collect();
        let mut made: BTreeMap<ObjectId, Vec<Delta>> = BTreeMap::new();
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
            let mut out = driver.finish(ts, &watermarks).expect("an epoch ends");
            assert!(out.errors.is_empty(), "errors: {:?}", out.errors);
            out.late.sort();
            let mut said = Said { changes: Counted::new(), late: out.late };
            for delta in &out.deltas {
                content::add(&mut said.changes, delta, visible(plan));
            }
            made.insert(*id, out.deltas);
            all.push(said);
        }
        all
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
