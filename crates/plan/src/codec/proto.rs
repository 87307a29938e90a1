//! The stored form of a plan: protobuf messages, written by hand.
//!
//! Tags are never used twice and never change their meaning. Expressions and schemas are bytes of
//! DataFusion's own messages, so that the nesting of one does not add to the nesting of the other.
//!
//! Invariants: 1. what changes the meaning of stored bytes raises [`super::PLAN_VERSION`].

/// What stands in the catalog: the version is read before the plan is.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Stored {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) plan: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ViewPlan {
    #[prost(message, optional, tag = "1")]
    pub(super) root: Option<Node>,
    #[prost(uint64, repeated, tag = "2")]
    pub(super) sort: Vec<u64>,
    #[prost(message, optional, tag = "3")]
    pub(super) retention: Option<Watermark>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Node {
    #[prost(message, optional, tag = "1")]
    pub(super) meta: Option<Meta>,
    #[prost(oneof = "Kind", tags = "2, 3, 4, 5, 6, 10, 11, 12, 15, 20, 21, 30, 31")]
    pub(super) kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Kind {
    #[prost(message, tag = "2")]
    Leaf(Leaf),
    #[prost(message, tag = "3")]
    Chain(Box<Chain>),
    #[prost(message, tag = "4")]
    Aggregate(Box<Aggregate>),
    #[prost(message, tag = "5")]
    Union(Union),
    #[prost(message, tag = "6")]
    Join(Box<Join>),
    #[prost(message, tag = "12")]
    Nearest(Box<Nearest>),
    #[prost(message, tag = "15")]
    Upsert(Box<Upsert>),
    /// A delta's bytes.
    #[prost(bytes, tag = "30")]
    Values(Vec<u8>),
    /// A node's bytes: messages are read a hundred deep.
    #[prost(bytes, tag = "31")]
    Apart(Vec<u8>),
    #[prost(message, tag = "20")]
    TopN(Box<TopN>),
    #[prost(message, tag = "21")]
    Over(Box<Over>),
    #[prost(message, tag = "10")]
    Stay(Box<Stay>),
    #[prost(message, tag = "11")]
    Session(Box<Session>),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Meta {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) schema: Vec<u8>,
    #[prost(uint64, repeated, tag = "2")]
    pub(super) key: Vec<u64>,
    #[prost(bool, tag = "3")]
    pub(super) append_only: bool,
    #[prost(message, repeated, tag = "4")]
    pub(super) watermarks: Vec<Watermark>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Watermark {
    #[prost(uint64, tag = "1")]
    pub(super) column: u64,
    #[prost(sint64, tag = "2")]
    pub(super) shift: i64,
    #[prost(uint32, repeated, tag = "3")]
    pub(super) sources: Vec<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Leaf {
    #[prost(oneof = "LeafKind", tags = "1, 2")]
    pub(super) kind: Option<LeafKind>,
    #[prost(uint64, repeated, tag = "3")]
    pub(super) columns: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum LeafKind {
    #[prost(uint32, tag = "1")]
    Source(u32),
    #[prost(uint32, tag = "2")]
    View(u32),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Chain {
    #[prost(message, optional, boxed, tag = "1")]
    pub(super) input: Option<Box<Node>>,
    #[prost(message, repeated, tag = "2")]
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Step {
    #[prost(oneof = "StepKind", tags = "1, 2, 3, 4, 5")]
    pub(super) kind: Option<StepKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum StepKind {
    #[prost(bytes, tag = "1")]
    Filter(Vec<u8>),
    #[prost(message, tag = "2")]
    Project(Project),
    #[prost(message, tag = "3")]
    Hop(HopStep),
    #[prost(message, tag = "4")]
    Late(LateCheck),
    #[prost(message, tag = "5")]
    Unnest(UnnestStep),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct UnnestStep {
    #[prost(uint64, repeated, tag = "1")]
    pub(super) lists: Vec<u64>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) schema: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Project {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(super) expressions: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) schema: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HopStep {
    #[prost(message, optional, tag = "1")]
    pub(super) hop: Option<Hop>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) schema: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Hop {
    #[prost(uint64, tag = "1")]
    pub(super) column: u64,
    #[prost(sint64, tag = "2")]
    pub(super) slide: i64,
    #[prost(sint64, tag = "3")]
    pub(super) size: i64,
    #[prost(sint64, tag = "4")]
    pub(super) offset: i64,
    #[prost(bool, tag = "5")]
    pub(super) cumulates: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LateCheck {
    #[prost(message, optional, tag = "1")]
    pub(super) close: Option<Watermark>,
    #[prost(message, optional, tag = "2")]
    pub(super) hop: Option<Hop>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) event_time: Option<u64>,
    #[prost(uint64, tag = "4")]
    pub(super) partition: u64,
    #[prost(uint64, tag = "5")]
    pub(super) offset: u64,
    #[prost(sint64, tag = "6")]
    pub(super) to_end: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Aggregate {
    #[prost(message, optional, boxed, tag = "1")]
    pub(super) input: Option<Box<Node>>,
    #[prost(uint64, repeated, tag = "2")]
    pub(super) group: Vec<u64>,
    #[prost(message, optional, tag = "3")]
    pub(super) hop: Option<Hop>,
    #[prost(message, repeated, tag = "4")]
    pub(super) calls: Vec<Call>,
    #[prost(message, optional, tag = "5")]
    pub(super) settled: Option<Watermark>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Call {
    /// PostgreSQL's name of the function.
    #[prost(string, tag = "1")]
    pub(super) function: String,
    #[prost(uint64, repeated, tag = "2")]
    pub(super) args: Vec<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) filter: Option<u64>,
    #[prost(message, repeated, tag = "4")]
    pub(super) order: Vec<Order>,
    /// A schema of one field.
    #[prost(bytes = "vec", tag = "5")]
    pub(super) output: Vec<u8>,
    #[prost(bool, tag = "6")]
    pub(super) distinct: bool,
    #[prost(message, optional, tag = "7")]
    pub(super) rebuild: Option<Rebuild>,
}

/// The function is one of the library; its name is the call's.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Rebuild {
    /// One expression an argument.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(super) args: Vec<Vec<u8>>,
    #[prost(bool, tag = "2")]
    pub(super) ordered: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Order {
    #[prost(uint64, tag = "1")]
    pub(super) column: u64,
    #[prost(bool, tag = "2")]
    pub(super) descending: bool,
    #[prost(bool, tag = "3")]
    pub(super) nulls_first: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Union {
    #[prost(message, repeated, tag = "1")]
    pub(super) inputs: Vec<Node>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Join {
    #[prost(message, optional, boxed, tag = "1")]
    pub(super) left: Option<Box<Node>>,
    #[prost(message, optional, boxed, tag = "2")]
    pub(super) right: Option<Box<Node>>,
    #[prost(enumeration = "JoinKind", tag = "3")]
    pub(super) kind: i32,
    #[prost(message, repeated, tag = "4")]
    pub(super) on: Vec<JoinPair>,
    #[prost(bytes = "vec", optional, tag = "5")]
    pub(super) filter: Option<Vec<u8>>,
    #[prost(message, optional, tag = "6")]
    pub(super) clean_left: Option<Watermark>,
    #[prost(message, optional, tag = "7")]
    pub(super) clean_right: Option<Watermark>,
    #[prost(bool, tag = "8")]
    pub(super) lookup: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Stay {
    #[prost(message, optional, boxed, tag = "1")]
    pub(super) input: Option<Box<Node>>,
    /// None: the clock is `now()`.
    #[prost(message, optional, tag = "2")]
    pub(super) watermark: Option<Sources>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) from: Option<u64>,
    #[prost(uint64, optional, tag = "4")]
    pub(super) until: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Session {
    #[prost(message, optional, boxed, tag = "1")]
    pub(super) input: Option<Box<Node>>,
    #[prost(uint64, repeated, tag = "2")]
    pub(super) key: Vec<u64>,
    #[prost(uint64, tag = "3")]
    pub(super) time: u64,
    #[prost(sint64, tag = "4")]
    pub(super) gap: i64,
    #[prost(message, optional, tag = "5")]
    pub(super) settled: Option<Watermark>,
}

/// The least watermark of sources, less a shift.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Sources {
    #[prost(sint64, tag = "1")]
    pub(super) shift: i64,
    #[prost(uint32, repeated, tag = "2")]
    pub(super) sources: Vec<u32>,
}

/// 0 is no kind, so that a message without one is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum JoinKind {
    Unknown = 0,
    Inner = 1,
    Left = 2,
    Right = 3,
    Full = 4,
    Semi = 5,
    Anti = 6,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Nearest {
    #[prost(message, optional, boxed, tag = "1")]
    pub(super) left: Option<Box<Node>>,
    #[prost(message, optional, boxed, tag = "2")]
    pub(super) right: Option<Box<Node>>,
    #[prost(bool, tag = "3")]
    pub(super) keeps_left: bool,
    #[prost(message, repeated, tag = "4")]
    pub(super) on: Vec<JoinPair>,
    #[prost(message, optional, tag = "5")]
    pub(super) times: Option<JoinPair>,
    #[prost(bool, tag = "6")]
    pub(super) later: bool,
    #[prost(bool, tag = "7")]
    pub(super) strict: bool,
    #[prost(message, optional, tag = "8")]
    pub(super) settled: Option<Watermark>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct JoinPair {
    #[prost(uint64, tag = "1")]
    pub(super) left: u64,
    #[prost(uint64, tag = "2")]
    pub(super) right: u64,
    #[prost(bool, tag = "3")]
    pub(super) null_equal: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Upsert {
    #[prost(message, optional, boxed, tag = "1")]
    pub(super) input: Option<Box<Node>>,
    #[prost(uint64, repeated, tag = "2")]
    pub(super) key: Vec<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) deleted: Option<u64>,
    #[prost(uint64, tag = "4")]
    pub(super) partition: u64,
    #[prost(uint64, tag = "5")]
    pub(super) offset: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TopN {
    #[prost(message, optional, boxed, tag = "1")]
    pub(super) input: Option<Box<Node>>,
    #[prost(uint64, repeated, tag = "2")]
    pub(super) group: Vec<u64>,
    #[prost(message, repeated, tag = "3")]
    pub(super) order: Vec<Order>,
    #[prost(uint64, tag = "4")]
    pub(super) offset: u64,
    #[prost(uint64, tag = "5")]
    pub(super) limit: u64,
    #[prost(string, optional, tag = "6")]
    pub(super) position: Option<String>,
    #[prost(message, optional, tag = "7")]
    pub(super) settled: Option<Watermark>,
    #[prost(uint64, optional, tag = "8")]
    pub(super) ties: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Over {
    #[prost(message, optional, boxed, tag = "1")]
    pub(super) input: Option<Box<Node>>,
    #[prost(uint64, repeated, tag = "2")]
    pub(super) group: Vec<u64>,
    #[prost(message, repeated, tag = "3")]
    pub(super) order: Vec<Order>,
    #[prost(message, repeated, tag = "4")]
    pub(super) calls: Vec<OverCall>,
    #[prost(message, optional, tag = "5")]
    pub(super) settled: Option<Watermark>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OverCall {
    /// The library's name of the function.
    #[prost(string, tag = "1")]
    pub(super) function: String,
    /// It is an aggregate.
    #[prost(bool, tag = "2")]
    pub(super) aggregate: bool,
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub(super) args: Vec<Vec<u8>>,
    #[prost(uint64, optional, tag = "4")]
    pub(super) filter: Option<u64>,
    #[prost(uint64, tag = "5")]
    pub(super) order: u64,
    /// DataFusion's message of a frame.
    #[prost(bytes = "vec", tag = "6")]
    pub(super) frame: Vec<u8>,
    #[prost(bool, tag = "7")]
    pub(super) ignore_nulls: bool,
    #[prost(bool, tag = "8")]
    pub(super) distinct: bool,
    /// A schema of one field.
    #[prost(bytes = "vec", tag = "9")]
    pub(super) output: Vec<u8>,
}
