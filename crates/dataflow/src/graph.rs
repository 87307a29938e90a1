//! A view's plan as stages in a fixed order: what the runtime and the driver both build.
//!
//! The tree of the plan becomes lists: leaves with the chain behind each, then stateful stages, each
//! after all that feed it, with the chain behind it. A chain above a UNION ALL is run behind each of
//! its inputs, so that a union is nothing but several edges. Every worker builds the same stages in
//! the same order; state tables are numbered in that order.
//!
//! Invariants: 1. an edge comes from a leaf or from an earlier stage. 2. all rows of one group reach
//! one worker: the vnode of the columns that an edge is routed by decides.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;
use millrace_plan::{
    Aggregate, Call, Clock, Hop, Join, JoinKind, JoinPair, Leaf, Meta, Node, Order, Over, OverCall,
    Scalar, Session, Stay, Step, TopN, Upsert, Upstream, ViewPlan, Watermark,
};
use millrace_types::{Delta, vnodes, worker_of};

use crate::chain::Runner;
use crate::operator::{Error, Operator, StateSpec};
use crate::operators;

/// A plan, flattened.
#[derive(Clone, Debug)]
pub struct Graph {
    /// In the order of [`Node::leaves`].
    pub leaves: Vec<LeafStage>,
    /// Constant rows, in the order of the plan.
    pub constants: Vec<ConstantStage>,
    /// In an order in which each can be finished after those before it.
    pub stages: Vec<Stage>,
    /// Where the view's rows come from.
    pub output: Vec<Upstream>,
    /// The columns of the view's rows.
    pub schema: SchemaRef,
}

/// A leaf and the chain behind it.
#[derive(Clone, Debug)]
pub struct LeafStage {
    /// What is read.
    pub leaf: Leaf,
    /// Run on the worker that reads.
    pub chain: Runner,
}

/// Constant rows and the chain behind them. They come once, at the first time of the dataflow, on
/// [`ConstantStage::OWNER`].
#[derive(Clone, Debug)]
pub struct ConstantStage {
    /// The rows.
    pub rows: RecordBatch,
    /// Run on the owner.
    pub chain: Runner,
}

impl ConstantStage {
    /// The worker that gives the rows.
    pub const OWNER: usize = 0;

    /// The rows, each once.
    pub fn delta(&self) -> Delta {
        let weights = Int64Array::from(vec![1; self.rows.num_rows()]);
        Delta::new(self.rows.clone(), weights)
    }
}

/// A stateful operator, what feeds it and the chain behind it.
#[derive(Clone, Debug)]
pub struct Stage {
    /// What to build.
    pub spec: Spec,
    /// What feeds it.
    pub inputs: Vec<Edge>,
    /// Run on the worker that holds the state.
    pub chain: Runner,
}

/// One input of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Where rows come from.
    pub from: Upstream,
    /// The port of the operator.
    pub port: usize,
    /// The columns whose vnode decides the worker, see [`split`]; None: rows stay where they are.
    pub exchange: Option<Vec<usize>>,
}

/// A stateful operator.
#[derive(Clone, Debug)]
pub enum Spec {
    /// Grouped or global aggregation.
    Aggregate(Arc<AggregateSpec>),
    /// A join.
    Join(Arc<JoinSpec>),
    /// The newest row of each key.
    Upsert(Arc<UpsertSpec>),
    /// The first rows of each group.
    TopN(Arc<TopNSpec>),
    /// Window functions.
    Over(Arc<OverSpec>),
    /// Rows that are shown for a time.
    Stay(Arc<StaySpec>),
    /// Rows with the bounds of their session.
    Session(Arc<SessionSpec>),
}

/// An aggregation without what is below it; the fields are those of [`Aggregate`].
#[derive(Clone, Debug)]
pub struct AggregateSpec {
    /// For messages.
    pub name: String,
    /// See [`Aggregate::group`].
    pub group: Vec<usize>,
    /// See [`Aggregate::hop`].
    pub hop: Option<Hop>,
    /// See [`Aggregate::calls`].
    pub calls: Vec<Call>,
    /// See [`Aggregate::settled`].
    pub settled: Option<Watermark>,
    /// The columns of its rows.
    pub output: SchemaRef,
    /// What is known of the rows that come in.
    pub input: Meta,
}

/// A join without what is below it; the fields are those of [`Join`].
#[derive(Clone, Debug)]
pub struct JoinSpec {
    /// For messages.
    pub name: String,
    /// See [`Join::kind`].
    pub kind: JoinKind,
    /// See [`Join::on`].
    pub on: Vec<JoinPair>,
    /// See [`Join::filter`].
    pub filter: Option<Scalar>,
    /// See [`Join::clean`].
    pub clean: [Option<Watermark>; 2],
    /// What is known of the rows that come in, left and right.
    pub inputs: [Meta; 2],
    /// See [`Join::pair_schema`].
    pub pairs: SchemaRef,
    /// The columns of its rows.
    pub output: SchemaRef,
}

/// An upsert without what is below it; the fields are those of [`Upsert`].
#[derive(Clone, Debug)]
pub struct UpsertSpec {
    /// For messages.
    pub name: String,
    /// See [`Upsert::key`].
    pub key: Vec<usize>,
    /// See [`Upsert::deleted`].
    pub deleted: Option<usize>,
    /// See [`Upsert::origin`].
    pub origin: (usize, usize),
    /// The columns of its rows.
    pub output: SchemaRef,
}

/// A Top-N without what is below it; the fields are those of [`TopN`].
#[derive(Clone, Debug)]
pub struct TopNSpec {
    /// For messages.
    pub name: String,
    /// See [`TopN::group`].
    pub group: Vec<usize>,
    /// See [`TopN::order`].
    pub order: Vec<Order>,
    /// See [`TopN::offset`].
    pub offset: u64,
    /// See [`TopN::limit`].
    pub limit: u64,
    /// See [`TopN::position`].
    pub position: bool,
    /// See [`TopN::settled`].
    pub settled: Option<Watermark>,
    /// What is known of the rows that come in.
    pub input: Meta,
    /// What is known of the rows that leave.
    pub output: Meta,
}

/// Window functions without what is below them; the fields are those of [`Over`].
#[derive(Clone, Debug)]
pub struct OverSpec {
    /// For messages.
    pub name: String,
    /// See [`Over::group`].
    pub group: Vec<usize>,
    /// See [`Over::order`].
    pub order: Vec<Order>,
    /// See [`Over::calls`].
    pub calls: Vec<OverCall>,
    /// See [`Over::settled`].
    pub settled: Option<Watermark>,
    /// What is known of the rows that come in.
    pub input: Meta,
    /// The columns of the rows that leave.
    pub output: SchemaRef,
}

/// Sessions without what is below; the fields are those of [`Session`].
#[derive(Clone, Debug)]
pub struct SessionSpec {
    /// For messages.
    pub name: String,
    /// See [`Session::key`].
    pub key: Vec<usize>,
    /// See [`Session::time`].
    pub time: usize,
    /// See [`Session::gap`].
    pub gap: i64,
    /// See [`Session::settled`].
    pub settled: Option<Watermark>,
    /// What is known of the rows that come in.
    pub input: Meta,
    /// The columns of its rows.
    pub output: SchemaRef,
}

/// Rows that are shown for a time, without what is below; the fields are those of [`Stay`].
#[derive(Clone, Debug)]
pub struct StaySpec {
    /// For messages.
    pub name: String,
    /// See [`Stay::clock`].
    pub clock: Clock,
    /// See [`Stay::from`].
    pub from: Option<usize>,
    /// See [`Stay::until`].
    pub until: Option<usize>,
    /// What is known of the rows that come in.
    pub input: Meta,
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spec::Aggregate(spec) => f.write_str(&spec.name),
            Spec::Join(spec) => f.write_str(&spec.name),
            Spec::Upsert(spec) => f.write_str(&spec.name),
            Spec::TopN(spec) => f.write_str(&spec.name),
            Spec::Over(spec) => f.write_str(&spec.name),
            Spec::Stay(spec) => f.write_str(&spec.name),
            Spec::Session(spec) => f.write_str(&spec.name),
        }
    }
}

impl Graph {
    /// The stages of a plan.
    pub fn new(plan: &ViewPlan) -> Graph {
        let mut builder = Builder::default();
        let output = builder.flatten(&plan.root, Vec::new());
        Graph {
            leaves: builder.leaves,
            constants: builder.constants,
            stages: builder.stages,
            output,
            schema: Arc::clone(&plan.root.meta().schema),
        }
    }

    /// The state tables of all stages, in their order: those of stage 0, then those of stage 1, and
    /// so on.
    ///
    /// # Errors
    /// As [`build`].
    pub fn tables(&self) -> Result<Vec<StateSpec>, Error> {
        let mut tables = Vec::new();
        for stage in &self.stages {
            tables.extend(build(stage)?.tables());
        }
        Ok(tables)
    }
}

impl Stage {
    /// True if it may give output without any data, see
    /// [`Operator::is_due`](crate::operator::Operator::is_due).
    pub fn keeps_time(&self) -> bool {
        matches!(self.spec, Spec::Stay(_))
    }
}

impl Graph {
    /// True if a row goes into several windows.
    pub fn copies_rows(&self) -> bool {
        let hops = |stage: &Stage| match &stage.spec {
            Spec::Aggregate(spec) => spec.hop.is_some() || stage.chain.copies_rows(),
            Spec::Join(_)
            | Spec::TopN(_)
            | Spec::Over(_)
            | Spec::Stay(_)
            | Spec::Upsert(_)
            | Spec::Session(_) => stage.chain.copies_rows(),
        };
        self.leaves.iter().any(|leaf| leaf.chain.copies_rows())
            || self.constants.iter().any(|constant| constant.chain.copies_rows())
            || self.stages.iter().any(hops)
    }

    /// True if a stage gives output when a watermark moves, without any data.
    pub fn follows_watermarks(&self) -> bool {
        let follows = |stage: &Stage| match &stage.spec {
            Spec::Stay(spec) => matches!(spec.clock, Clock::Watermark { .. }),
            Spec::Aggregate(_)
            | Spec::Join(_)
            | Spec::TopN(_)
            | Spec::Over(_)
            | Spec::Upsert(_)
            | Spec::Session(_) => false,
        };
        self.stages.iter().any(follows)
    }

    /// True if a stage's rows are the view's rows: then only who follows the view wants the old ones.
    pub fn is_last(&self, stage: usize) -> bool {
        let from = Upstream::Stage(stage);
        let mut edges = self.stages.iter().flat_map(|stage| &stage.inputs);
        self.output.contains(&from)
            && self.stages[stage].chain.keeps_rows()
            && !edges.any(|edge| edge.from == from)
    }
}

/// The operator of a stage, without state.
///
/// # Errors
/// [`Error::Unsupported`] for what no operator does.
pub fn build(stage: &Stage) -> Result<Box<dyn Operator>, Error> {
    match &stage.spec {
        Spec::Aggregate(spec) => Ok(Box::new(operators::Aggregate::new(Arc::clone(spec))?)),
        Spec::Join(spec) => Ok(Box::new(operators::Join::new(Arc::clone(spec))?)),
        Spec::Upsert(spec) => Ok(Box::new(operators::Upsert::new(Arc::clone(spec))?)),
        Spec::TopN(spec) => Ok(Box::new(operators::TopN::new(Arc::clone(spec))?)),
        Spec::Over(spec) => Ok(Box::new(operators::Over::new(Arc::clone(spec))?)),
        Spec::Stay(spec) => Ok(Box::new(operators::Stay::new(Arc::clone(spec))?)),
        Spec::Session(spec) => Ok(Box::new(operators::Session::new(Arc::clone(spec))?)),
    }
}

#[derive(Default)]
struct Builder {
    leaves: Vec<LeafStage>,
    constants: Vec<ConstantStage>,
    stages: Vec<Stage>,
}

impl Builder {
    /// Adds a node whose rows then go through some steps.
    fn flatten(&mut self, node: &Node, after: Vec<Step>) -> Vec<Upstream> {
        match node {
            Node::Leaf(leaf) => {
                let chain = Runner::new(&after, &leaf.meta);
                self.leaves.push(LeafStage { leaf: leaf.clone(), chain });
                vec![Upstream::Leaf(self.leaves.len() - 1)]
            }
            Node::Chain(chain) => {
                let steps = chain.steps.iter().cloned().chain(after).collect();
                self.flatten(&chain.input, steps)
            }
            Node::Union(union) => {
                let inputs = union.inputs.iter();
                inputs.flat_map(|input| self.flatten(input, after.clone())).collect()
            }
            Node::Aggregate(aggregate) => self.aggregate(aggregate, &after),
            Node::Join(join) => self.join(join, &after),
            Node::Upsert(upsert) => self.upsert(upsert, &after),
            Node::Values(values) => {
                let chain = Runner::new(&after, &values.meta);
                self.constants.push(ConstantStage { rows: values.rows.clone(), chain });
                vec![Upstream::Constant(self.constants.len() - 1)]
            }
            Node::TopN(top) => self.top_n(top, &after),
            Node::Over(over) => self.over(over, &after),
            Node::Stay(stay) => self.stay(stay, &after),
            Node::Session(session) => self.session(session, &after),
        }
    }

    fn aggregate(&mut self, aggregate: &Aggregate, after: &[Step]) -> Vec<Upstream> {
        let from = self.flatten(&aggregate.input, Vec::new());
        // Panes of one window must meet, so the pane's start does not route.
        let pane = aggregate.hop.as_ref().map(|hop| aggregate.group[hop.column]);
        let routed = aggregate.group.iter().copied().filter(|column| Some(*column) != pane);
        let exchange: Option<Vec<usize>> = Some(routed.collect());
        let edge = |from| Edge { from, port: 0, exchange: exchange.clone() };
        let number = self.stages.len();
        let spec = AggregateSpec {
            name: format!("aggregate {number}"),
            group: aggregate.group.clone(),
            hop: aggregate.hop.clone(),
            calls: aggregate.calls.clone(),
            settled: aggregate.settled.clone(),
            output: Arc::clone(&aggregate.meta.schema),
            input: aggregate.input.meta().clone(),
        };
        self.stages.push(Stage {
            spec: Spec::Aggregate(Arc::new(spec)),
            inputs: from.into_iter().map(edge).collect(),
            chain: Runner::new(after, &aggregate.meta),
        });
        vec![Upstream::Stage(number)]
    }

    fn top_n(&mut self, top: &TopN, after: &[Step]) -> Vec<Upstream> {
        let from = self.flatten(&top.input, Vec::new());
        let edge = |from| Edge { from, port: 0, exchange: Some(top.group.clone()) };
        let number = self.stages.len();
        let spec = TopNSpec {
            name: format!("top-n {number}"),
            group: top.group.clone(),
            order: top.order.clone(),
            offset: top.offset,
            limit: top.limit,
            position: top.position.is_some(),
            settled: top.settled.clone(),
            input: top.input.meta().clone(),
            output: top.meta.clone(),
        };
        self.stages.push(Stage {
            spec: Spec::TopN(Arc::new(spec)),
            inputs: from.into_iter().map(edge).collect(),
            chain: Runner::new(after, &top.meta),
        });
        vec![Upstream::Stage(number)]
    }

    fn over(&mut self, over: &Over, after: &[Step]) -> Vec<Upstream> {
        let from = self.flatten(&over.input, Vec::new());
        let edge = |from| Edge { from, port: 0, exchange: Some(over.group.clone()) };
        let number = self.stages.len();
        let spec = OverSpec {
            name: format!("window {number}"),
            group: over.group.clone(),
            order: over.order.clone(),
            calls: over.calls.clone(),
            settled: over.settled.clone(),
            input: over.input.meta().clone(),
            output: Arc::clone(&over.meta.schema),
        };
        self.stages.push(Stage {
            spec: Spec::Over(Arc::new(spec)),
            inputs: from.into_iter().map(edge).collect(),
            chain: Runner::new(after, &over.meta),
        });
        vec![Upstream::Stage(number)]
    }

    fn session(&mut self, session: &Session, after: &[Step]) -> Vec<Upstream> {
        let from = self.flatten(&session.input, Vec::new());
        let exchange = Some(session.key.clone());
        let edge = |from| Edge { from, port: 0, exchange: exchange.clone() };
        let number = self.stages.len();
        let spec = SessionSpec {
            name: format!("session {number}"),
            key: session.key.clone(),
            time: session.time,
            gap: session.gap,
            settled: session.settled.clone(),
            input: session.input.meta().clone(),
            output: Arc::clone(&session.meta.schema),
        };
        self.stages.push(Stage {
            spec: Spec::Session(Arc::new(spec)),
            inputs: from.into_iter().map(edge).collect(),
            chain: Runner::new(after, &session.meta),
        });
        vec![Upstream::Stage(number)]
    }

    fn stay(&mut self, stay: &Stay, after: &[Step]) -> Vec<Upstream> {
        let from = self.flatten(&stay.input, Vec::new());
        let exchange = Some(stay.input.meta().key.clone());
        let edge = |from| Edge { from, port: 0, exchange: exchange.clone() };
        let number = self.stages.len();
        let spec = StaySpec {
            name: format!("stay {number}"),
            clock: stay.clock.clone(),
            from: stay.from,
            until: stay.until,
            input: stay.input.meta().clone(),
        };
        self.stages.push(Stage {
            spec: Spec::Stay(Arc::new(spec)),
            inputs: from.into_iter().map(edge).collect(),
            chain: Runner::new(after, &stay.meta),
        });
        vec![Upstream::Stage(number)]
    }

    fn join(&mut self, join: &Join, after: &[Step]) -> Vec<Upstream> {
        let mut inputs = Vec::new();
        for (port, input) in [&join.left, &join.right].into_iter().enumerate() {
            let key = |pair: &JoinPair| if port == 0 { pair.left } else { pair.right };
            let exchange: Option<Vec<usize>> = Some(join.on.iter().map(key).collect());
            let from = self.flatten(input, Vec::new());
            inputs.extend(from.into_iter().map(|from| Edge {
                from,
                port,
                exchange: exchange.clone(),
            }));
        }
        let number = self.stages.len();
        let spec = JoinSpec {
            name: format!("join {number}"),
            kind: join.kind,
            on: join.on.clone(),
            filter: join.filter.clone(),
            clean: join.clean.clone(),
            inputs: [join.left.meta().clone(), join.right.meta().clone()],
            pairs: join.pair_schema(),
            output: Arc::clone(&join.meta.schema),
        };
        self.stages.push(Stage {
            spec: Spec::Join(Arc::new(spec)),
            inputs,
            chain: Runner::new(after, &join.meta),
        });
        vec![Upstream::Stage(number)]
    }
}

impl Builder {
    fn upsert(&mut self, upsert: &Upsert, after: &[Step]) -> Vec<Upstream> {
        let from = self.flatten(&upsert.input, Vec::new());
        let edge = |from| Edge { from, port: 0, exchange: Some(upsert.key.clone()) };
        let number = self.stages.len();
        let spec = UpsertSpec {
            name: format!("upsert {number}"),
            key: upsert.key.clone(),
            deleted: upsert.deleted,
            origin: upsert.origin,
            output: Arc::clone(&upsert.meta.schema),
        };
        self.stages.push(Stage {
            spec: Spec::Upsert(Arc::new(spec)),
            inputs: from.into_iter().map(edge).collect(),
            chain: Runner::new(after, &upsert.meta),
        });
        vec![Upstream::Stage(number)]
    }
}

/// Routes rows to the workers that hold the vnodes of their `columns`: one delta for each worker that
/// gets rows, its `dest` set. Rows that all go to one worker are not copied.
///
/// # Errors
/// A column type that cannot be hashed.
pub fn split(delta: Delta, columns: &[usize], workers: usize) -> Result<Vec<Delta>, Error> {
    if delta.is_empty() {
        return Ok(Vec::new());
    }
    let to = |delta: Delta, worker: usize| Delta {
        dest: u32::try_from(worker).expect("workers are few"),
        ..delta
    };
    if workers == 1 {
        return Ok(vec![to(delta, 0)]);
    }
    if columns.is_empty() {
        let worker = worker_of(vnodes(&[], 1)?[0], workers);
        return Ok(vec![to(delta, worker)]);
    }
    let keys: Vec<ArrayRef> = columns.iter().map(|c| Arc::clone(delta.rows.column(*c))).collect();
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); workers];
    for (row, vnode) in (0u32..).zip(vnodes(&keys, delta.len())?) {
        rows[worker_of(vnode, workers)].push(row);
    }
    if let Some(worker) = rows.iter().position(|rows| rows.len() == delta.len()) {
        return Ok(vec![to(delta, worker)]);
    }
    let mut parts = Vec::new();
    for (worker, rows) in rows.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
        parts.push(to(delta.take(&UInt32Array::from(rows))?, worker));
    }
    Ok(parts)
}
