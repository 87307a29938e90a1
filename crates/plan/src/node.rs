//! The nodes of a view's plan and what is known of the rows that leave each.
//!
//! Invariants: 1. every stream has a key: at most one row with weight 1 per key at any time; hidden
//! columns are added where the visible ones have none. Only what feeds an aggregation may have lost
//! its key: equal rows then add their weights. 2. a chain never changes weights.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millrace_types::ObjectId;

use crate::{Aggregate, Hop, Join, Over, Scalar, Session, Stay, TopN, Upsert};

/// The whole plan of one materialized view.
#[derive(Clone, Debug)]
pub struct ViewPlan {
    /// Produces the view's rows: visible columns first, hidden ones after them.
    pub root: Node,
    /// The order in which the view's rows are stored: a permutation of the root's key columns,
    /// window bounds first.
    pub sort: Vec<usize>,
}

/// One node of a plan.
#[derive(Clone, Debug)]
pub enum Node {
    /// Rows of a source or of another materialized view.
    Leaf(Leaf),
    /// Linear steps, fused.
    Chain(Chain),
    /// A grouped or global aggregation.
    Aggregate(Box<Aggregate>),
    /// UNION ALL.
    Union(Union),
    /// A join.
    Join(Box<Join>),
    /// The newest row of each key.
    Upsert(Box<Upsert>),
    /// Constant rows.
    Values(Values),
    /// The first rows of each group.
    TopN(Box<TopN>),
    /// Window functions.
    Over(Box<Over>),
    /// Rows that are shown for a time.
    Stay(Box<Stay>),
    /// Rows with the bounds of their session.
    Session(Box<Session>),
}

/// An operator of a plan that runs, with the chain behind it. Each kind is numbered on its own, in
/// the order of a walk that sees a node after its inputs, from left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Upstream {
    /// A leaf.
    Leaf(usize),
    /// Constant rows.
    Constant(usize),
    /// A stateful operator.
    Stage(usize),
}

/// What is known of the rows that leave a node.
#[derive(Clone, Debug)]
pub struct Meta {
    /// Their columns.
    pub schema: SchemaRef,
    /// The columns that identify a row. Empty: there is one row at most, or the rows feed an
    /// aggregation that needs no key.
    pub key: Vec<usize>,
    /// True if no row is ever retracted.
    pub append_only: bool,
    /// The columns bounded by the watermark.
    pub watermarks: Vec<Watermark>,
}

/// A promise on a timestamp column (microseconds): after epoch E, no change of a row whose value `v`
/// satisfies `v + shift <= watermark[E-1]`, where the watermark is the least of the sources'
/// watermarks.
///
/// Over an append-only stream it is what the sources promise, and rows may break it: a
/// [`LateCheck`] turns those away. Over any other stream it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// The column's index.
    pub column: usize,
    /// Microseconds.
    pub shift: i64,
    /// The sources whose least watermark counts, ascending.
    pub sources: Vec<ObjectId>,
}

/// A leaf of a plan.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// What is read.
    pub kind: LeafKind,
    /// Indexes into the full schema of the source (declared columns, then `_partition`,
    /// `_offset`) or of the stored view.
    pub columns: Vec<usize>,
    /// Its rows.
    pub meta: Meta,
}

/// What a leaf reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeafKind {
    /// A source: rows as they arrive, each once, weight 1.
    Source(ObjectId),
    /// The changes of a materialized view.
    View(ObjectId),
}

/// Linear steps over one input.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Where rows come from.
    pub input: Box<Node>,
    /// Applied in order.
    pub steps: Vec<Step>,
    /// The rows after the last step.
    pub meta: Meta,
}

/// One linear step.
#[derive(Clone, Debug)]
pub enum Step {
    /// Keeps the rows for which the boolean expression is true.
    Filter(Scalar),
    /// Computes the columns of `schema`.
    Project {
        /// One expression a column.
        expressions: Vec<Scalar>,
        /// The columns that result.
        schema: SchemaRef,
    },
    /// Copies each row into every window that its time falls in and appends `window_start` and
    /// `window_end`; used only where panes cannot serve. A row without a time stays once, with NULL
    /// bounds.
    Hop {
        /// The windows; `column` is the time column's index.
        hop: Hop,
        /// The columns that result: the input's and the two bounds.
        schema: SchemaRef,
    },
    /// Copies each row for every place of its lists, the longest of them; appends a column per list,
    /// NULL behind its end, and the place, from 1.
    Unnest {
        /// The columns that are lists.
        lists: Vec<usize>,
        /// The columns that result.
        schema: SchemaRef,
    },
    /// Turns rows away whose window has closed, and lists them.
    Late(LateCheck),
}

impl Step {
    /// The columns after the step; None for one that keeps them.
    pub fn schema(&self) -> Option<&SchemaRef> {
        match self {
            Step::Project { schema, .. }
            | Step::Hop { schema, .. }
            | Step::Unnest { schema, .. } => Some(schema),
            Step::Filter(_) | Step::Late(_) => None,
        }
    }
}

/// Decides which rows of an append-only stream are late.
#[derive(Clone, Debug)]
pub struct LateCheck {
    /// Without `hop`: a timestamp column `v`; the row is late iff `v + shift <= watermark[E-1]`.
    /// With `hop`: the column of the pane start; the row is late for each window of that pane whose
    /// end satisfies the same, and leaves when it is late for all.
    pub close: Watermark,
    /// The windows, if rows are grouped by panes.
    pub hop: Option<Hop>,
    /// The row's event time, for the list of late rows.
    pub event_time: Option<usize>,
    /// `_partition` and `_offset` of the row.
    pub origin: (usize, usize),
    /// Microseconds to add to the `close` column to get the window's end, if it is not the end.
    pub to_end: i64,
}

/// UNION ALL of inputs with equal schemas.
#[derive(Clone, Debug)]
pub struct Union {
    /// In the order of the statement.
    pub inputs: Vec<Node>,
    /// Their rows.
    pub meta: Meta,
}

/// Constant rows: VALUES, a SELECT without FROM.
#[derive(Clone, Debug)]
pub struct Values {
    /// In the schema of `meta`.
    pub rows: RecordBatch,
    /// What is known of them: each has a number, its key.
    pub meta: Meta,
}

impl Node {
    /// What is known of the rows that leave this node.
    pub fn meta(&self) -> &Meta {
        match self {
            Node::Leaf(leaf) => &leaf.meta,
            Node::Chain(chain) => &chain.meta,
            Node::Aggregate(aggregate) => &aggregate.meta,
            Node::Union(union) => &union.meta,
            Node::Join(join) => &join.meta,
            Node::Upsert(upsert) => &upsert.meta,
            Node::Values(values) => &values.meta,
            Node::TopN(top) => &top.meta,
            Node::Over(over) => &over.meta,
            Node::Stay(stay) => &stay.meta,
            Node::Session(session) => &session.meta,
        }
    }

    /// The nodes that feed this one, in order.
    pub fn inputs(&self) -> Vec<&Node> {
        match self {
            Node::Leaf(_) | Node::Values(_) => Vec::new(),
            Node::Chain(chain) => vec![&chain.input],
            Node::Aggregate(aggregate) => vec![&aggregate.input],
            Node::Union(union) => union.inputs.iter().collect(),
            Node::Join(join) => vec![&join.left, &join.right],
            Node::Upsert(upsert) => vec![&upsert.input],
            Node::TopN(top) => vec![&top.input],
            Node::Over(over) => vec![&over.input],
            Node::Stay(stay) => vec![&stay.input],
            Node::Session(session) => vec![&session.input],
        }
    }

    /// All leaves below, in the order of a walk from left to right.
    pub fn leaves(&self) -> Vec<&Leaf> {
        match self {
            Node::Leaf(leaf) => vec![leaf],
            _ => self.inputs().into_iter().flat_map(Node::leaves).collect(),
        }
    }
    /// How many stateful operators the node and what is below it are.
    pub fn stages(&self) -> usize {
        let own = match self {
            Node::Leaf(_) | Node::Values(_) | Node::Chain(_) | Node::Union(_) => 0,
            Node::Aggregate(_)
            | Node::Join(_)
            | Node::Upsert(_)
            | Node::TopN(_)
            | Node::Over(_)
            | Node::Stay(_)
            | Node::Session(_) => 1,
        };
        own + self.inputs().into_iter().map(Node::stages).sum::<usize>()
    }
}
