//! Building a view's dataflow on one worker: inputs, one timely operator per stateful operator, and
//! the publisher at its end.
//!
//! Every worker builds the same operators in the same order from the same graph; nothing here
//! depends on the worker's index.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use millrace_plan::Upstream;
use millrace_storage::Reach;
use millrace_types::{Delta, ObjectId, Ts};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::core::UnorderedInput;
use timely::dataflow::operators::core::unordered_input::UnorderedHandle;
use timely::dataflow::operators::{ActivateCapability, Concatenate};
use timely::dataflow::{Scope, Stream};
use timely::worker::Worker;

use super::figures::{Behind, Counters};
use super::history::History;
use super::leaf::LeafInput;
use super::packet::Packet;
use super::publish::{Publisher, Side, publish};
use super::state::State;
use super::stateful::{Stateful, stateful};
use super::worker::Shared;
use super::{Event, Events, Install};
use crate::graph::{self, ConstantStage, Graph, LeafStage, split};
use crate::operator::{Context, Error, Output};

pub(super) type Packets = CapacityContainerBuilder<Vec<Packet>>;
/// Published changes on their way to the views above.
pub(super) type Changes = Rc<RefCell<VecDeque<(Ts, VecDeque<Delta>)>>>;

/// The input of constant rows.
struct ConstantInput {
    route: Option<Vec<usize>>,
    handle: UnorderedHandle<u64, Packets>,
    capability: ActivateCapability<u64>,
    counters: Arc<Counters>,
}

impl ConstantInput {
    fn give(&mut self, constant: &ConstantStage, start: Ts, cells: &Cells) -> Result<(), Error> {
        let context = cells.context(start);
        let mut side = Output::default();
        let begin = (cells.shared.clock)();
        let given = constant.delta();
        let rows = given.len();
        let delta = constant.chain.run(given, &context, &mut side)?;
        self.counters.passed(rows, delta.len(), (cells.shared.clock)() - begin);
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
    /// The times that constants have passed: operators above constants alone hand their state over as
    /// the others do.
    passing: Vec<ActivateCapability<u64>>,
    /// Times at which operators hand their state over.
    pub(super) marks: Rc<RefCell<Vec<Ts>>>,
    pub(super) side: Rc<RefCell<Side>>,
    /// False once the view is being dropped.
    pub(super) published: Rc<Cell<bool>>,
    /// The first live time.
    pub(super) live_from: Rc<Cell<Option<Ts>>>,
    /// A view above takes the changes.
    pub(super) followed: Rc<Cell<bool>>,
    /// Where the changes are kept for subscribers and sinks.
    pub(super) history: Rc<RefCell<Option<History>>>,
    /// Published changes that the views above have not been given yet, oldest first.
    changes: Changes,
    /// The views above have been given everything below it.
    pub(super) fed: Ts,
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
pub(super) struct Handed {
    pub(super) stages: usize,
    pub(super) bytes: usize,
    /// Microseconds in which the worker did nothing else.
    pub(super) took_us: i64,
}

impl Dataflow {
    /// Lets in what leaves hold back of times before one.
    pub(super) fn let_in(&mut self, before: Ts, shared: &Shared) -> Result<(), Error> {
        let (live_from, mut side) = (self.live_from.get(), self.side.borrow_mut());
        let mut leaves = self.leaves.iter_mut();
        leaves.try_for_each(|leaf| leaf.let_in(before, shared, live_from, &mut side))
    }

    /// The oldest changes that the views above have not been given, about so many rows.
    pub(super) fn next_changes(&mut self, rows: usize) -> Vec<(Ts, Vec<Delta>)> {
        let mut changes = self.changes.borrow_mut();
        let (mut next, mut left) = (Vec::new(), rows);
        while let Some((ts, deltas)) = changes.front_mut() {
            let mut some = Vec::new();
            while left > 0
                && let Some(delta) = deltas.pop_front()
            {
                left = left.saturating_sub(delta.len());
                some.push(delta);
            }
            next.push((*ts, some));
            if !deltas.is_empty() {
                break;
            }
            changes.pop_front();
        }
        self.fed = changes.front().map_or(self.upper.get(), |(ts, _)| *ts);
        next
    }

    /// True if the views above have not been given all changes.
    pub(super) fn has_changes(&self) -> bool {
        !self.changes.borrow().is_empty()
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
            let Handed { bytes, took_us, .. } = handed.remove(&mark).unwrap_or_default();
            events(Event::HandedOver { view, worker, mark, bytes, took_us });
        }
    }
}

/// Builds the dataflow, with its state if it is a recovery.
pub(super) fn install(
    worker: &mut Worker,
    shared: &Rc<Shared>,
    spec: &Arc<Install>,
    events: &Events,
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
        history: Rc::default(),
        turns: Rc::default(),
        events: Arc::clone(events),
    };
    let stages = stateful_stages(spec, shared, &cells)?;
    let count = stages.len();
    let published = Rc::new(Cell::new(true));
    let changes = Changes::default();
    let upper = Rc::new(Cell::new(spec.start));
    let publisher = Publisher {
        tables: spec.tables.clone(),
        retention: spec.graph.retention.clone(),
        cells: cells.clone(),
        published: published.clone(),
        changes: changes.clone(),
        upper: upper.clone(),
        waiting: BTreeMap::new(),
    };
    let (leaves, mut constants) = worker.dataflow_named::<u64, _, _>(&spec.name, |scope| {
        build(scope, spec, stages, publisher, shared)
    });
    // What was restored has them already.
    if spec.restore.is_none() && shared.worker == ConstantStage::OWNER {
        for (input, constant) in constants.iter_mut().zip(&spec.graph.constants) {
            input.give(constant, spec.start, &cells)?;
        }
    }
    Ok(Dataflow {
        index,
        leaves,
        passing: constants.into_iter().map(|input| input.capability).collect(),
        marks,
        side: cells.side,
        published,
        live_from: cells.live_from,
        followed: cells.followed,
        history: cells.history,
        changes,
        fed: spec.start,
        upper,
        reported: spec.start,
        turns: cells.turns,
        turn: None,
        handed: cells.handed,
        stages: count,
    })
}

impl Dataflow {
    /// Constants have nothing more to say below a time.
    pub(super) fn pass(&mut self, upto: Ts) {
        for capability in &mut self.passing {
            if upto.0 > *capability.time() {
                capability.downgrade(&upto.0);
            }
        }
    }
}

/// The operators, with their state if it is a recovery.
fn stateful_stages(spec: &Install, shared: &Shared, cells: &Cells) -> Result<Vec<Stateful>, Error> {
    let mut stages = Vec::new();
    let mut first_table = 0;
    for stage in &spec.graph.stages {
        let mut operator = graph::build(stage)?;
        let count = operator.tables().len();
        let tables = &spec.tables.state[first_table..first_table + count];
        let tables = State::new(tables.to_vec());
        let mut broken = false;
        if let Some(checkpoint) = spec.restore {
            let restored = tables.restore(operator.as_mut(), checkpoint, shared);
            broken = cells.is_damaged(restored)?;
        }
        let counters = spec.figures.counters(Upstream::Stage(stages.len()), shared.worker);
        counters.keeps(operator.as_ref());
        counters.holds(operator.bytes());
        stages.push(Stateful {
            name: stage.spec.to_string(),
            operator,
            chain: stage.chain.clone(),
            route: route_of(&spec.graph, Upstream::Stage(stages.len())),
            is_last: spec.graph.is_last(stages.len()),
            broken,
            tables,
            waiting: VecDeque::new(),
            pending: BTreeMap::new(),
            start: spec.start,
            keeps_time: stage.keeps_time(),
            idle: None,
            looked: spec.start.epoch(),
            handed_over: None,
            cells: cells.clone(),
            counters,
            measured: None,
            behind: Behind::default(),
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
    shared: &Shared,
) -> (Vec<LeafInput>, Vec<ConstantInput>) {
    let graph = &spec.graph;
    let (mut leaves, mut constants) = (Vec::new(), Vec::new());
    let mut streams: BTreeMap<Upstream, Stream<'scope, u64, Vec<Packet>>> = BTreeMap::new();
    for (at, LeafStage { leaf, chain, .. }) in graph.leaves.iter().enumerate() {
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
            waiting: VecDeque::new(),
            waiting_rows: 0,
            waiting_bytes: 0,
            upto: spec.start,
            route: route_of(graph, Upstream::Leaf(at)),
            workers: shared.workers,
            handle,
            capability,
            counters: spec.figures.counters(Upstream::Leaf(at), shared.worker),
            behind: Behind::default(),
            clock: Arc::clone(&shared.clock),
        });
    }
    for at in 0..graph.constants.len() {
        let ((handle, mut capability), stream) = scope.new_unordered_input::<Packets>();
        capability.downgrade(&spec.start.0);
        let from = Upstream::Constant(at);
        streams.insert(from, stream);
        let counters = spec.figures.counters(from, shared.worker);
        constants.push(ConstantInput {
            route: route_of(graph, from),
            handle,
            capability,
            counters,
        });
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

pub(super) fn routed(
    delta: Delta,
    route: Option<&[usize]>,
    workers: usize,
) -> Result<Vec<Delta>, Error> {
    match route {
        Some(columns) => Ok(split(delta, columns, workers)?),
        None => Ok(vec![delta]),
    }
}

/// What operators of one dataflow share on one worker.
#[derive(Clone)]
pub(super) struct Cells {
    pub(super) view: ObjectId,
    pub(super) shared: Rc<Shared>,
    pub(super) side: Rc<RefCell<Side>>,
    pub(super) marks: Rc<RefCell<Vec<Ts>>>,
    pub(super) handed: Rc<RefCell<BTreeMap<Ts, Handed>>>,
    pub(super) live_from: Rc<Cell<Option<Ts>>>,
    pub(super) followed: Rc<Cell<bool>>,
    pub(super) history: Rc<RefCell<Option<History>>>,
    pub(super) turns: Rc<RefCell<BTreeMap<String, i64>>>,
    pub(super) events: Events,
}

impl Cells {
    /// True if damaged state has kept an operator from its work; the coordinator is told.
    pub(super) fn is_damaged(&self, done: Result<(), Error>) -> Result<bool, Error> {
        match done {
            Ok(()) => Ok(false),
            Err(Error::State { reason, .. }) => {
                (self.events)(Event::Damaged { view: self.view, reason });
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn context(&self, ts: Ts) -> Context {
        self.shared.context(ts, self.live_from.get())
    }
}

pub(super) fn frontier_of(first: Option<&u64>) -> Ts {
    Ts(first.copied().unwrap_or(u64::MAX))
}
