//! A stateful operator inside timely: the one place where operators are driven.
//!
//! Rows are absorbed as they come, many at a time but not without end: other dataflows have their
//! turns in between. A time is finished when the frontier has passed it. What the
//! operator did is counted here ([`Counters`]): the clock is asked twice for each batch of work, and
//! not at all when there is none. It is behind while it leaves work over that it could do
//! ([`Behind`](super::figures::Behind)).
//!
//! Invariants: 1. a capability is held for each time that was absorbed until it is finished, so
//! nothing downstream takes that time for complete. 2. a mark is handed over after its time is
//! finished and before any later one is ([`Stateful::run`]).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use millrace_types::{Delta, Epoch, Ts};
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};

use super::build::{Cells, Packets, frontier_of, routed};
use super::figures::{Behind, Counters};
use super::packet::Packet;
use super::state::State;
use super::worker::fatal;
use super::working::Working;
use crate::chain::Runner;
use crate::operator::{Context, Error, Operator, Output};

/// Rows that an operator takes in before the others have their turns.
const ABSORBED_ROWS: usize = 1 << 16;
/// To count bytes may take a look at many rows.
const MEASURE_EVERY_US: i64 = 1_000_000;

/// A stateful operator inside timely.
pub(super) struct Stateful {
    pub(super) name: String,
    pub(super) operator: Box<dyn Operator>,
    pub(super) chain: Runner,
    pub(super) route: Option<Vec<usize>>,
    pub(super) is_last: bool,
    /// Its state is damaged: it does nothing more, and holds the times of the rows that come.
    pub(super) broken: bool,
    pub(super) tables: State,
    /// Rows that have come and are not absorbed yet: the port, their time.
    pub(super) waiting: VecDeque<(usize, Ts, Delta)>,
    /// Times that rows have come of and that are not finished.
    pub(super) pending: BTreeMap<Ts, Pending>,
    /// The first time, at which it is finished even without rows if it asks for that.
    pub(super) start: Ts,
    /// It may owe output at a time without rows.
    pub(super) keeps_time: bool,
    /// If it may: a capability for the times that are not looked at yet.
    pub(super) idle: Option<Capability<u64>>,
    /// The first epoch for which it has not been asked whether it owes output.
    pub(super) looked: Epoch,
    /// The last mark that was handed over.
    pub(super) handed_over: Option<Ts>,
    pub(super) cells: Cells,
    pub(super) counters: Arc<Counters>,
    /// When its bytes were counted last.
    pub(super) measured: Option<i64>,
    /// How long it has had work left over.
    pub(super) behind: Behind,
}

/// A time that is not finished.
pub(super) struct Pending {
    capability: Capability<u64>,
    /// Rows of it that are absorbed.
    rows: usize,
}

impl Pending {
    fn new(capability: Capability<u64>) -> Pending {
        Pending { capability, rows: 0 }
    }
}

/// What was done in one go.
#[derive(Default)]
struct Done {
    rows_in: usize,
    rows_out: usize,
    /// A time was finished or a mark handed over.
    finished: bool,
}

impl Stateful {
    /// Takes in rows that wait, about so many as others can wait for.
    fn absorb(&mut self, done: &mut Done) -> Result<(), Error> {
        let mut context: Option<Context> = None;
        while done.rows_in < ABSORBED_ROWS
            && let Some((port, ts, delta)) = self.waiting.pop_front()
        {
            done.rows_in += delta.len();
            if let Some(pending) = self.pending.get_mut(&ts) {
                pending.rows += delta.len();
            }
            let context = match context.take() {
                Some(same) if same.ts == ts => context.insert(same),
                _ => context.insert(self.cells.context(ts)),
            };
            self.operator.absorb(port, delta, context)?;
        }
        Ok(())
    }

    /// Finishes all times below the frontier and hands over marks in between. True if an operator
    /// has more to say of a time.
    fn run(
        &mut self,
        frontier: Ts,
        done: &mut Done,
        mut give: impl FnMut(&Capability<u64>, Delta),
    ) -> Result<bool, Error> {
        let mut marks: Vec<Ts> = self.cells.marks.borrow().clone();
        marks.retain(|mark| *mark < frontier && !self.handed(*mark));
        marks.sort_unstable();
        while let Some(ts) = self.next(frontier) {
            while marks.first().is_some_and(|mark| *mark < ts) {
                self.hand_over(marks.remove(0))?;
            }
            done.finished = true;
            let pending = self.pending.remove(&ts).expect("it has just been found");
            let changelog = !self.is_last || self.cells.followed.get();
            let context = Context { changelog, ..self.cells.context(ts) };
            let mut out = Output::default();
            if let Err(error) = self.operator.finish(&context, &mut out) {
                self.pending.insert(ts, pending);
                return Err(error);
            }
            for delta in std::mem::take(&mut out.deltas) {
                let delta = self.chain.run(delta, &context, &mut out)?;
                if delta.is_empty() {
                    continue;
                }
                done.rows_out += delta.len();
                for part in routed(delta, self.route.as_deref(), context.workers)? {
                    give(&pending.capability, part);
                }
            }
            self.cells.side.borrow_mut().add(ts, out);
            if self.operator.has_more() {
                // The rest comes when the other operators have had their turns.
                self.pending.insert(ts, pending);
                return Ok(true);
            }
        }
        for mark in marks {
            done.finished = true;
            self.hand_over(mark)?;
        }
        self.rest(frontier);
        Ok(false)
    }

    /// The next time to finish below the frontier: one with rows, or one at which output is owed.
    fn next(&mut self, frontier: Ts) -> Option<Ts> {
        let pending = self.pending.keys().next().copied().filter(|ts| *ts < frontier);
        let (Some(idle), Some(live)) = (&self.idle, self.cells.live_from.get()) else {
            return pending;
        };
        let sealed = self.cells.shared.last().map_or(Ts::default(), |last| last.next().ts());
        let upto = pending.unwrap_or(frontier).min(sealed);
        self.looked = self.looked.max(live.epoch());
        while self.looked.ts() < upto {
            let ts = self.looked.ts();
            self.looked = self.looked.next();
            if self.operator.is_due(&self.cells.context(ts)) {
                self.pending.insert(ts, Pending::new(idle.delayed(&ts.0)));
                return Some(ts);
            }
        }
        pending
    }

    /// All times below the frontier are finished: lets go of them.
    fn rest(&mut self, frontier: Ts) {
        if !self.keeps_time {
            return;
        }
        match &mut self.idle {
            Some(_) if frontier == Ts(u64::MAX) => self.idle = None,
            Some(idle) => idle.downgrade(&frontier.0.max(*idle.time())),
            None => {}
        }
        let mut turns = self.cells.turns.borrow_mut();
        match self.operator.next_turn() {
            Some(turn) => drop(turns.insert(self.name.clone(), turn)),
            None => drop(turns.remove(&self.name)),
        }
    }

    fn handed(&self, mark: Ts) -> bool {
        self.handed_over >= Some(mark)
    }

    fn hand_over(&mut self, mark: Ts) -> Result<(), Error> {
        let begin = (self.cells.shared.clock)();
        // State of closed windows need not be written.
        self.operator.settle(&self.cells.context(mark))?;
        let short = self.cells.shared.is_short();
        let to = (self.cells.shared.worker, mark);
        self.tables.take_over(self.operator.as_mut(), to, short)?;
        let mut handed = self.cells.handed.borrow_mut();
        let at = handed.entry(mark).or_default();
        at.stages += 1;
        let bytes = self.operator.bytes();
        at.bytes += bytes;
        at.took_us += (self.cells.shared.clock)() - begin;
        self.counters.holds(bytes);
        self.handed_over = Some(mark);
        Ok(())
    }

    /// Rows that wait though nothing is missing for them: those not absorbed, and those of times below the
    /// inputs' frontier.
    fn left_over(&self, complete: Ts) -> usize {
        let finished = self.pending.range(..complete).map(|(_, pending)| pending.rows);
        self.waiting.iter().map(|(_, _, delta)| delta.len()).chain(finished).sum()
    }

    /// Counts what was done since `begin`; `left` says below which time the inputs are complete, if work is
    /// left over.
    fn note(&mut self, begin: i64, done: &Done, left: Option<Ts>) {
        if done.rows_in == 0 && !done.finished {
            return;
        }
        let now = (self.cells.shared.clock)();
        self.counters.passed(done.rows_in, done.rows_out, now - begin);
        let behind_us = self.behind.turn(begin, now, left.is_some());
        self.counters.left(behind_us, left.map_or(0, |complete| self.left_over(complete)));
        self.counters.keeps(self.operator.as_ref());
        if self.measured.is_none_or(|at| now - at >= MEASURE_EVERY_US) {
            self.measured = Some(now);
            let waiting = self.waiting.iter().map(|(_, _, delta)| delta.bytes());
            self.counters.holds(self.operator.bytes() + waiting.sum::<usize>());
        }
    }
}

pub(super) fn stateful<'scope>(
    scope: Scope<'scope, u64>,
    ports: Vec<Stream<'scope, u64, Vec<Packet>>>,
    mut stage: Stateful,
) -> Stream<'scope, u64, Vec<Packet>> {
    let mut builder = OperatorBuilder::new(stage.name.clone(), scope);
    let mut inputs = Vec::with_capacity(ports.len());
    for stream in ports {
        let pact = Exchange::new(|packet: &Packet| u64::from(packet.0.dest));
        inputs.push(builder.new_input(stream, pact));
    }
    let (output, result) = builder.new_output::<Vec<Packet>>();
    let mut output = OutputBuilder::<u64, Packets>::from(output);
    let again = scope.activator_for(builder.operator_info().address);
    builder.build(move |mut capabilities| {
        let first = capabilities.pop().expect("one output has one capability");
        if stage.operator.wants_start() {
            stage.pending.insert(stage.start, Pending::new(first.delayed(&stage.start.0)));
        }
        stage.idle = stage.keeps_time.then_some(first);
        move |frontiers| {
            let _working = Working::on(stage.cells.view);
            stage.cells.shared.touch(stage.cells.view);
            let begin = (stage.cells.shared.clock)();
            let mut done = Done::default();
            for (port, input) in inputs.iter_mut().enumerate() {
                input.for_each(|capability, packets| {
                    let ts = Ts(*capability.time());
                    let new = || Pending::new(capability.retain(0));
                    stage.pending.entry(ts).or_insert_with(new);
                    stage.waiting.extend(packets.drain(..).map(|packet| (port, ts, packet.0)));
                });
            }
            if stage.broken {
                stage.waiting.clear();
                return;
            }
            let absorbed = stage.absorb(&mut done);
            let ports = frontiers.iter().map(|port| frontier_of(port.frontier().first()));
            let complete = ports.min().unwrap_or(Ts(u64::MAX));
            let waiting = stage.waiting.iter().map(|(_, ts, _)| *ts).min();
            let frontier = waiting.map_or(complete, |ts| ts.min(complete));
            let mut output = output.activate();
            let ran = stage.run(frontier, &mut done, |capability, delta| {
                output.session(capability).give(Packet(delta));
            });
            let more = *ran.as_ref().unwrap_or(&false) || !stage.waiting.is_empty();
            match stage.cells.is_damaged(absorbed.and(ran.map(drop))) {
                Ok(true) => stage.broken = true,
                Ok(false) if more => stage.cells.shared.rest(again.clone()),
                Ok(false) => {}
                Err(error) => fatal(&error),
            }
            stage.note(begin, &done, more.then_some(complete));
        }
    });
    result
}
