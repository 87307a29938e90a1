//! Building a view's dataflow on one worker: inputs, one timely operator per stateful operator, and
//! the publisher at its end.
//!
//! Every worker builds the same operators in the same order from the same graph; nothing here
//! depends on the worker's index.
//!
//! Invariants: 1. an operator holds a capability for each time that it has absorbed until it has
//! finished it, so nothing downstream takes that time for complete. 2. a mark is handed over after
//! its time is finished and before any later one is (`Stateful::run`).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use millrace_plan::LeafKind;
use millrace_storage::{Reach, Scan, Table};
use millrace_types::{Delta, Epoch, ObjectId, Ts, vnodes, worker_of};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::core::UnorderedInput;
use timely::dataflow::operators::core::unordered_input::UnorderedHandle;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{ActivateCapability, Capability, Concatenate};
use timely::dataflow::{Scope, Stream};
use timely::worker::Worker;

use super::packet::Packet;
use super::worker::{Shared, fatal};
use super::working::Working;
use super::{Event, Events, FeedId, Install, ViewTables, outputs};
use crate::chain::Runner;
use crate::graph::{self, ConstantStage, Graph, LeafStage, Upstream, split};
use crate::operator::{Context, Error, ErrorRow, LateRow, Operator, Output, StateChange};

type Packets = CapacityContainerBuilder<Vec<Packet>>;
/// Published changes on their way to the views above.
type Changes = Rc<RefCell<Vec<(Ts, Vec<Delta>)>>>;

/// Rows turned away and rows that failed, by time, until they are published.
#[derive(Default)]
pub(super) struct Side {
    late: BTreeMap<Ts, Vec<LateRow>>,
    errors: BTreeMap<Ts, Vec<ErrorRow>>,
}

impl Side {
    /// Keeps what an output says beside its rows.
    pub(super) fn add(&mut self, ts: Ts, out: Output) {
        if !out.late.is_empty() {
            self.late.entry(ts).or_default().extend(out.late);
        }
        if !out.errors.is_empty() {
            self.errors.entry(ts).or_default().extend(out.errors);
        }
    }
}

/// One input of a dataflow.
pub(super) struct LeafInput {
    pub(super) kind: LeafKind,
    /// Feeds whose rows come in here, from a time on.
    pub(super) feeds: Vec<(FeedId, Ts)>,
    /// The changes of the view below come in here from this time on.
    pub(super) follows: Option<Ts>,
    /// Hydration: changes of the view below that are not let in yet.
    pub(super) held: Vec<(Ts, Vec<Delta>)>,
    /// Hydration: the part of the view below that has been read.
    pub(super) reach: Reach,
    /// The key of the view below.
    key: Vec<usize>,
    columns: Vec<usize>,
    chain: Runner,
    route: Option<Vec<usize>>,
    workers: usize,
    handle: UnorderedHandle<u64, Packets>,
    capability: ActivateCapability<u64>,
}

impl LeafInput {
    /// Runs the leaf's chain over rows of `context.ts` and sends what is left.
    pub(super) fn push(
        &mut self,
        rows: &Delta,
        context: &Context,
        out: &mut Output,
    ) -> Result<(), Error> {
        let picked = Delta { rows: rows.rows.project(&self.columns)?, ..rows.clone() };
        let delta = self.chain.run(picked, context, out)?;
        if let LeafKind::Source(source) = self.kind {
            out.late.iter_mut().for_each(|row| row.source = source);
        }
        if delta.is_empty() {
            return Ok(());
        }
        let capability = self.capability.delayed(&context.ts.0);
        let mut output = self.handle.activate();
        let mut session = output.session(&capability);
        for part in routed(delta, self.route.as_deref(), self.workers)? {
            session.give(Packet(part));
        }
        Ok(())
    }

    /// Lets in what is held back of times before one, as far as the view below has been read.
    pub(super) fn let_in(
        &mut self,
        before: Ts,
        shared: &Shared,
        live_from: Option<Ts>,
        side: &mut Side,
    ) -> Result<(), Error> {
        let later = self.held.iter().position(|(ts, _)| *ts >= before).unwrap_or(self.held.len());
        let held = self.held.drain(..later).collect::<Vec<_>>();
        for (ts, deltas) in held {
            let context = shared.context(ts, live_from);
            let mut out = Output::default();
            for delta in deltas {
                let delta = match &self.reach {
                    Reach::Nothing => continue,
                    Reach::All => delta,
                    Reach::UpTo(bound) => {
                        let keys = self.key.iter().map(|at| delta.rows.column(*at).clone());
                        let keys = keys.collect::<Vec<_>>();
                        let read = bound.covers(&keys, delta.len());
                        delta.filter(&read.map_err(|error| Error::Below(error.to_string()))?)?
                    }
                };
                self.push(&delta, &context, &mut out)?;
            }
            side.add(ts, out);
        }
        Ok(())
    }

    /// No rows below `upto` will come.
    pub(super) fn advance(&mut self, upto: Ts) {
        if upto.0 > *self.capability.time() {
            self.capability.downgrade(&upto.0);
        }
    }
}

/// The input of constant rows; nothing more comes when it is dropped.
struct ConstantInput {
    route: Option<Vec<usize>>,
    handle: UnorderedHandle<u64, Packets>,
    capability: ActivateCapability<u64>,
}

impl ConstantInput {
    fn give(mut self, constant: &ConstantStage, start: Ts, cells: &Cells) -> Result<(), Error> {
        let context = cells.context(start);
        let mut side = Output::default();
        let delta = constant.chain.run(constant.delta(), &context, &mut side)?;
        let mut output = self.handle.activate();
        let mut session = output.session(&self.capability);
        for part in routed(delta, self.route.as_deref(), context.workers)? {
            session.give(Packet(part));
        }
        cells.side.borrow_mut().add(start, side);
        Ok(())
    }
}

/// A view's dataflow on this worker.
pub(super) struct Dataflow {
    pub(super) index: usize,
    pub(super) leaves: Vec<LeafInput>,
    /// Times at which operators hand their state over.
    pub(super) marks: Rc<RefCell<Vec<Ts>>>,
    pub(super) side: Rc<RefCell<Side>>,
    /// False once the view is being dropped.
    pub(super) published: Rc<Cell<bool>>,
    /// The first live time.
    pub(super) live_from: Rc<Cell<Option<Ts>>>,
    /// A view above takes the changes.
    pub(super) followed: Rc<Cell<bool>>,
    /// Published changes that the views above have not been given yet.
    pub(super) changes: Changes,
    /// Everything below it is published.
    pub(super) upper: Rc<Cell<Ts>>,
    pub(super) reported: Ts,
    /// By stage, what [`Operator::next_turn`] says.
    turns: Rc<RefCell<BTreeMap<String, i64>>>,
    turn: Option<i64>,
    handed: Rc<RefCell<BTreeMap<Ts, Handed>>>,
    stages: usize,
}

/// What the operators of one worker have handed over for one mark.
#[derive(Default)]
struct Handed {
    stages: usize,
    changes: Vec<(usize, StateChange)>,
    bytes: usize,
}

impl Dataflow {
    /// Lets in what leaves hold back of times before one.
    pub(super) fn let_in(&mut self, before: Ts, shared: &Shared) -> Result<(), Error> {
        let (live_from, mut side) = (self.live_from.get(), self.side.borrow_mut());
        let mut leaves = self.leaves.iter_mut();
        leaves.try_for_each(|leaf| leaf.let_in(before, shared, live_from, &mut side))
    }

    /// Tells the coordinator what is new.
    pub(super) fn report(&mut self, view: ObjectId, shared: &Shared, events: &Events) {
        let (worker, upper) = (shared.worker, self.upper.get());
        let mut handed = self.handed.borrow_mut();
        // Without stateful operators nobody hands over, but the mark is answered all the same.
        let stages = self.stages;
        let due: Vec<Ts> = match stages {
            0 => self.marks.borrow().iter().copied().filter(|mark| *mark < upper).collect(),
            _ => handed
                .iter()
                .filter(|(mark, handed)| **mark < upper && handed.stages == stages)
                .map(|(mark, _)| *mark)
                .collect(),
        };
        if upper > self.reported {
            self.reported = upper;
            events(Event::Upper { view, worker, upper });
        }
        let at = self.turns.borrow().values().min().copied();
        if at != self.turn {
            self.turn = at;
            events(Event::Turn { view, worker, at });
        }
        for mark in due {
            self.marks.borrow_mut().retain(|at| *at != mark);
            let Handed { changes, bytes, .. } = handed.remove(&mark).unwrap_or_default();
            events(Event::HandedOver { view, worker, mark, changes, bytes });
        }
    }
}

/// Builds the dataflow, with its state if it is a recovery.
pub(super) fn install(
    worker: &mut Worker,
    shared: &Rc<Shared>,
    spec: &Arc<Install>,
) -> Result<Dataflow, Error> {
    let index = worker.next_dataflow_index();
    let marks: Rc<RefCell<Vec<Ts>>> = Rc::default();
    let cells = Cells {
        view: spec.view,
        shared: shared.clone(),
        side: Rc::default(),
        marks: marks.clone(),
        handed: Rc::default(),
        live_from: Rc::new(Cell::new(spec.live.then_some(spec.start))),
        followed: Rc::default(),
        turns: Rc::default(),
    };
    let stages = stateful_stages(spec, shared, &cells)?;
    let count = stages.len();
    let published = Rc::new(Cell::new(true));
    let changes = Changes::default();
    let upper = Rc::new(Cell::new(spec.start));
    let publisher = Publisher {
        tables: spec.tables.clone(),
        cells: cells.clone(),
        published: published.clone(),
        changes: changes.clone(),
        upper: upper.clone(),
        waiting: BTreeMap::new(),
    };
    let (leaves, constants) = worker.dataflow_named::<u64, _, _>(&spec.name, |scope| {
        build(scope, spec, stages, publisher, shared.workers)
    });
    // What was restored has them already.
    if spec.restore.is_none() && shared.worker == ConstantStage::OWNER {
        for (input, constant) in constants.into_iter().zip(&spec.graph.constants) {
            input.give(constant, spec.start, &cells)?;
        }
    }
    Ok(Dataflow {
        index,
        leaves,
        marks,
        side: cells.side,
        published,
        live_from: cells.live_from,
        followed: cells.followed,
        changes,
        upper,
        reported: spec.start,
        turns: cells.turns,
        turn: None,
        handed: cells.handed,
        stages: count,
    })
}

/// The operators, with their state if it is a recovery.
fn stateful_stages(spec: &Install, shared: &Shared, cells: &Cells) -> Result<Vec<Stateful>, Error> {
    let mut stages = Vec::new();
    let mut first_table = 0;
    for stage in &spec.graph.stages {
        let mut operator = graph::build(stage)?;
        let count = operator.tables().len();
        if let Some(checkpoint) = spec.restore {
            let tables = &spec.tables.state[first_table..first_table + count];
            restore(operator.as_mut(), tables, checkpoint, shared)?;
        }
        stages.push(Stateful {
            name: stage.spec.to_string(),
            operator,
            chain: stage.chain.clone(),
            route: route_of(&spec.graph, Upstream::Stage(stages.len())),
            is_last: spec.graph.is_last(stages.len()),
            first_table,
            pending: BTreeMap::new(),
            start: spec.start,
            keeps_time: stage.keeps_time(),
            idle: None,
            looked: spec.start.epoch(),
            handed_over: None,
            cells: cells.clone(),
        });
        first_table += count;
    }
    Ok(stages)
}

/// The columns that the one consumer of some rows routes them by.
fn route_of(graph: &Graph, from: Upstream) -> Option<Vec<usize>> {
    let mut edges = graph.stages.iter().flat_map(|stage| &stage.inputs);
    edges.find(|edge| edge.from == from)?.exchange.clone()
}

fn build<'scope>(
    scope: Scope<'scope, u64>,
    spec: &Install,
    stages: Vec<Stateful>,
    publisher: Publisher,
    workers: usize,
) -> (Vec<LeafInput>, Vec<ConstantInput>) {
    let graph = &spec.graph;
    let (mut leaves, mut constants) = (Vec::new(), Vec::new());
    let mut streams: BTreeMap<Upstream, Stream<'scope, u64, Vec<Packet>>> = BTreeMap::new();
    for (at, LeafStage { leaf, chain }) in graph.leaves.iter().enumerate() {
        let ((handle, mut capability), stream) = scope.new_unordered_input::<Packets>();
        capability.downgrade(&spec.start.0);
        streams.insert(Upstream::Leaf(at), stream);
        leaves.push(LeafInput {
            kind: leaf.kind,
            feeds: Vec::new(),
            follows: spec.live.then_some(spec.start),
            held: Vec::new(),
            reach: Reach::Nothing,
            key: spec.keys_below.get(&at).cloned().unwrap_or_default(),
            columns: leaf.columns.clone(),
            chain: chain.clone(),
            route: route_of(graph, Upstream::Leaf(at)),
            workers,
            handle,
            capability,
        });
    }
    for at in 0..graph.constants.len() {
        let ((handle, mut capability), stream) = scope.new_unordered_input::<Packets>();
        capability.downgrade(&spec.start.0);
        let from = Upstream::Constant(at);
        streams.insert(from, stream);
        constants.push(ConstantInput { route: route_of(graph, from), handle, capability });
    }
    for (at, stage) in stages.into_iter().enumerate() {
        let edges = &graph.stages[at].inputs;
        let ports = edges.iter().map(|edge| edge.port + 1).max().unwrap_or_default();
        let joined = (0..ports).map(|port| {
            let own = edges.iter().filter(|edge| edge.port == port);
            let own = own.filter_map(|edge| streams.remove(&edge.from)).collect::<Vec<_>>();
            scope.concatenate(own)
        });
        let joined = joined.collect::<Vec<_>>();
        streams.insert(Upstream::Stage(at), stateful(scope, joined, stage));
    }
    let outputs = graph.output.iter().filter_map(|from| streams.remove(from)).collect::<Vec<_>>();
    publish(scope, scope.concatenate(outputs), publisher);
    (leaves, constants)
}

fn restore(
    operator: &mut dyn Operator,
    tables: &[Arc<Table>],
    checkpoint: Epoch,
    shared: &Shared,
) -> Result<(), Error> {
    let specs = operator.tables();
    for (at, (table, spec)) in tables.iter().zip(specs).enumerate() {
        let damaged = |reason: String| Error::State { table: table.id(), reason };
        let snapshot = table.snapshot(checkpoint).map_err(|error| damaged(error.to_string()))?;
        for rows in snapshot.scan(Scan::default()) {
            let rows = rows.map_err(|error| damaged(error.to_string()))?;
            let keys: Vec<_> = spec.routing.iter().map(|at| rows.column(*at).clone()).collect();
            let own = vnodes(&keys, rows.num_rows())?
                .into_iter()
                .map(|vnode| Some(worker_of(vnode, shared.workers) == shared.worker));
            let own = own.collect::<arrow::array::BooleanArray>();
            let rows = arrow::compute::filter_record_batch(&rows, &own)?;
            operator.restore(at, rows)?;
        }
    }
    Ok(())
}

fn routed(delta: Delta, route: Option<&[usize]>, workers: usize) -> Result<Vec<Delta>, Error> {
    match route {
        Some(columns) => Ok(split(delta, columns, workers)?),
        None => Ok(vec![delta]),
    }
}

/// What operators of one dataflow share on one worker.
#[derive(Clone)]
struct Cells {
    view: ObjectId,
    shared: Rc<Shared>,
    side: Rc<RefCell<Side>>,
    marks: Rc<RefCell<Vec<Ts>>>,
    handed: Rc<RefCell<BTreeMap<Ts, Handed>>>,
    live_from: Rc<Cell<Option<Ts>>>,
    followed: Rc<Cell<bool>>,
    turns: Rc<RefCell<BTreeMap<String, i64>>>,
}

impl Cells {
    fn context(&self, ts: Ts) -> Context {
        self.shared.context(ts, self.live_from.get())
    }
}

/// A stateful operator inside timely.
struct Stateful {
    name: String,
    operator: Box<dyn Operator>,
    chain: Runner,
    route: Option<Vec<usize>>,
    is_last: bool,
    first_table: usize,
    /// Times absorbed but not finished.
    pending: BTreeMap<Ts, Capability<u64>>,
    /// The first time, at which it is finished even without rows if it asks for that.
    start: Ts,
    /// It may owe output at a time without rows.
    keeps_time: bool,
    /// If it may: a capability for the times that are not looked at yet.
    idle: Option<Capability<u64>>,
    /// The first epoch for which it has not been asked whether it owes output.
    looked: Epoch,
    /// The last mark that was handed over.
    handed_over: Option<Ts>,
    cells: Cells,
}

impl Stateful {
    /// Finishes all times below the frontier and hands over marks in between.
    fn run(
        &mut self,
        frontier: Ts,
        mut give: impl FnMut(&Capability<u64>, Delta),
    ) -> Result<(), Error> {
        let mut marks: Vec<Ts> = self.cells.marks.borrow().clone();
        marks.retain(|mark| *mark < frontier && !self.handed(*mark));
        marks.sort_unstable();
        while let Some(ts) = self.next(frontier) {
            while marks.first().is_some_and(|mark| *mark < ts) {
                self.hand_over(marks.remove(0))?;
            }
            let capability = self.pending.remove(&ts).expect("it has just been found");
            let changelog = !self.is_last || self.cells.followed.get();
            let context = Context { changelog, ..self.cells.context(ts) };
            let mut out = Output::default();
            self.operator.finish(&context, &mut out)?;
            for delta in std::mem::take(&mut out.deltas) {
                let delta = self.chain.run(delta, &context, &mut out)?;
                if delta.is_empty() {
                    continue;
                }
                for part in routed(delta, self.route.as_deref(), context.workers)? {
                    give(&capability, part);
                }
            }
            self.cells.side.borrow_mut().add(ts, out);
        }
        for mark in marks {
            self.hand_over(mark)?;
        }
        self.rest(frontier);
        Ok(())
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
                self.pending.insert(ts, idle.delayed(&ts.0));
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
        // State of closed windows need not be written.
        self.operator.settle(&self.cells.context(mark))?;
        let changes = self.operator.hand_over()?;
        let mut handed = self.cells.handed.borrow_mut();
        let at = handed.entry(mark).or_default();
        at.stages += 1;
        at.bytes += self.operator.bytes();
        for (table, change) in changes.into_iter().enumerate() {
            at.changes.extend(change.map(|change| (self.first_table + table, change)));
        }
        self.handed_over = Some(mark);
        Ok(())
    }
}

fn stateful<'scope>(
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
    builder.build(move |mut capabilities| {
        let first = capabilities.pop().expect("one output has one capability");
        if stage.operator.wants_start() {
            stage.pending.insert(stage.start, first.delayed(&stage.start.0));
        }
        stage.idle = stage.keeps_time.then_some(first);
        move |frontiers| {
            let _working = Working::on(stage.cells.view);
            let mut failed = None;
            for (port, input) in inputs.iter_mut().enumerate() {
                input.for_each(|capability, packets| {
                    let ts = Ts(*capability.time());
                    let context = stage.cells.context(ts);
                    for packet in packets.drain(..) {
                        let absorbed = stage.operator.absorb(port, packet.0, &context);
                        failed = failed.take().or(absorbed.err());
                    }
                    stage.pending.entry(ts).or_insert_with(|| capability.retain(0));
                });
            }
            let ports = frontiers.iter().map(|port| frontier_of(port.frontier().first()));
            let frontier = ports.min().unwrap_or(Ts(u64::MAX));
            let mut output = output.activate();
            let ran = stage.run(frontier, |capability, delta| {
                output.session(capability).give(Packet(delta));
            });
            if let Some(error) = failed.or(ran.err()) {
                fatal(&error);
            }
        }
    });
    result
}

fn frontier_of(first: Option<&u64>) -> Ts {
    Ts(first.copied().unwrap_or(u64::MAX))
}

/// The end of a dataflow: publishes complete times to the view's tables.
struct Publisher {
    tables: ViewTables,
    cells: Cells,
    published: Rc<Cell<bool>>,
    changes: Changes,
    upper: Rc<Cell<Ts>>,
    waiting: BTreeMap<Ts, Vec<Delta>>,
}

impl Publisher {
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
            for (ts, rows) in late {
                self.tables.late.publish(worker, ts, vec![outputs::late_rows(&rows)?]);
            }
            for (ts, rows) in errors {
                self.tables.errors.publish(worker, ts, outputs::error_rows(&rows)?);
            }
            for (ts, deltas) in complete {
                if self.cells.followed.get() {
                    self.changes.borrow_mut().push((ts, deltas.clone()));
                }
                self.tables.content.publish(worker, ts, deltas);
            }
        }
        self.upper.set(frontier);
        Ok(())
    }
}

fn publish<'scope>(
    scope: Scope<'scope, u64>,
    stream: Stream<'scope, u64, Vec<Packet>>,
    mut publisher: Publisher,
) {
    let mut builder = OperatorBuilder::new("publish".to_owned(), scope);
    let mut input = builder.new_input(stream, Pipeline);
    builder.build(move |_| {
        move |frontiers| {
            let _working = Working::on(publisher.cells.view);
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
