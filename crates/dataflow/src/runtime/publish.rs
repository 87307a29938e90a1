//! The end of a dataflow: what its operators give is published to the view's tables, time by time.
//!
//! Invariants: 1. `upper` moves after everything below it is published ([`Publisher::run`]).

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use millrace_plan::Watermark;
use millrace_types::{Delta, Ts};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};

use super::build::{Cells, Changes, frontier_of};
use super::packet::Packet;
use super::worker::fatal;
use super::working::Working;
use super::{Event, ViewTables, outputs};
use crate::operator::{Error, ErrorRow, LateRows, Output};
use crate::source::END_OF_TIME;

/// Rows turned away and rows that failed, by time, until they are published.
#[derive(Default)]
pub(super) struct Side {
    late: BTreeMap<Ts, Vec<LateRows>>,
    errors: BTreeMap<Ts, Vec<ErrorRow>>,
}

impl Side {
    /// Keeps what an output says beside its rows.
    pub(super) fn add(&mut self, ts: Ts, out: Output) {
        if !out.late.is_empty() {
            self.turn_away(ts, LateRows { late: out.late, rows: None });
        }
        if !out.errors.is_empty() {
            self.errors.entry(ts).or_default().extend(out.errors);
        }
    }
}

impl Side {
    /// Keeps rows that were turned away.
    pub(super) fn turn_away(&mut self, ts: Ts, rows: LateRows) {
        self.late.entry(ts).or_default().push(rows);
    }
}

/// The end of a dataflow: publishes complete times to the view's tables.
pub(super) struct Publisher {
    pub(super) tables: ViewTables,
    pub(super) retention: Option<Watermark>,
    pub(super) cells: Cells,
    pub(super) published: Rc<Cell<bool>>,
    pub(super) changes: Changes,
    pub(super) upper: Rc<Cell<Ts>>,
    pub(super) waiting: BTreeMap<Ts, Vec<Delta>>,
}

impl Publisher {
    /// Rows that a watermark has passed by the retention leave the content with the last time that is
    /// complete. They stay when their sources have ended.
    fn expire(&self, frontier: Ts) {
        let Some(retention) = &self.retention else { return };
        let complete = frontier.epoch().previous().ts();
        let watermark = self.cells.context(complete).watermark(&retention.sources);
        let watermark = watermark.filter(|watermark| *watermark < END_OF_TIME);
        let bound = watermark.and_then(|watermark| watermark.checked_sub(retention.shift));
        if let Some(bound) = bound.filter(|_| frontier != Ts(u64::MAX)) {
            self.tables.content.expire(complete, bound.saturating_add(1));
        }
    }

    fn run(&mut self, frontier: Ts) -> Result<(), Error> {
        if frontier <= self.upper.get() {
            return Ok(());
        }
        let worker = self.cells.shared.worker;
        let later = self.waiting.split_off(&frontier);
        let complete = std::mem::replace(&mut self.waiting, later);
        let (late, errors) = {
            let mut side = self.cells.side.borrow_mut();
            let (late, errors) = (side.late.split_off(&frontier), side.errors.split_off(&frontier));
            (std::mem::replace(&mut side.late, late), std::mem::replace(&mut side.errors, errors))
        };
        if self.published.get() {
            let view = self.cells.view;
            for (ts, rows) in late {
                (self.cells.events)(Event::Late { view, ts, rows });
            }
            for (ts, rows) in errors {
                self.tables.errors.publish(worker, ts, outputs::error_rows(&rows)?);
            }
            let history = self.cells.history.borrow();
            for (ts, deltas) in complete {
                if let Some(history) = history.as_ref() {
                    history.publish(worker, ts, &deltas)?;
                }
                if self.cells.followed.get() {
                    let changes = deltas.iter().cloned().collect();
                    self.changes.borrow_mut().push_back((ts, changes));
                }
                self.tables.content.publish(worker, ts, deltas);
            }
            self.expire(frontier);
        }
        self.upper.set(frontier);
        Ok(())
    }
}

pub(super) fn publish<'scope>(
    scope: Scope<'scope, u64>,
    stream: Stream<'scope, u64, Vec<Packet>>,
    mut publisher: Publisher,
) {
    let mut builder = OperatorBuilder::new("publish".to_owned(), scope);
    let mut input = builder.new_input(stream, Pipeline);
    builder.build(move |_| {
        move |frontiers| {
            let _working = Working::on(publisher.cells.view);
            publisher.cells.shared.touch(publisher.cells.view);
            input.for_each(|capability, packets| {
                let waiting = publisher.waiting.entry(Ts(*capability.time())).or_default();
                waiting.extend(packets.drain(..).map(|packet| packet.0));
            });
            if let Err(error) = publisher.run(frontier_of(frontiers[0].frontier().first())) {
                fatal(&error);
            }
        }
    });
}
