//! Real workers, a real store, commands by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use crossbeam_channel::Receiver;
use millrace_plan::{
    Aggregate, Call, Function, Join, JoinKind, JoinPair, Leaf, LeafKind, Meta, Node, ViewPlan,
};
use millrace_storage::{MetaKind, Scan, Store, TableSpec};
use millrace_types::{OFFSET_COLUMN, PARTITION_COLUMN, TableId};

use super::*;

const SOURCE: ObjectId = ObjectId(1);
const VIEW: ObjectId = ObjectId(2);
const ABOVE: ObjectId = ObjectId(3);
const FEED: FeedId = FeedId(7);
const OTHER: ObjectId = ObjectId(4);
const OTHER_FEED: FeedId = FeedId(8);

fn schema(names: &[&str]) -> SchemaRef {
    let field = |name: &&str| Field::new(*name, DataType::Int64, true);
    Arc::new(Schema::new(names.iter().map(field).collect::<Vec<_>>()))
}

/// The rows of the source, each with each row of another one of the same `id`.
fn pairs_plan() -> ViewPlan {
    let leaf = |id| {
        let Node::Aggregate(counted) = count_plan(LeafKind::Source(id)).root else {
            unreachable!("it counts")
        };
        counted.input
    };
    let (left, right) = (leaf(SOURCE), leaf(OTHER));
    let schema = Join::output_schema(JoinKind::Inner, &left.meta().schema, &right.meta().schema);
    let meta = Meta { schema, key: vec![1, 2, 4, 5], append_only: true, watermarks: Vec::new() };
    let on = vec![JoinPair { left: 0, right: 0, null_equal: false }];
    let (kind, filter, clean) = (JoinKind::Inner, None, [None, None]);
    let join = Join { left, right, kind, on, filter, clean, lookup: false, meta };
    ViewPlan { root: Node::Join(Box::new(join)), sort: vec![1, 2, 4, 5], retention: None }
}

/// `SELECT id, count(*) FROM source GROUP BY id`, or over a view with columns `id, n`.
fn count_plan(kind: LeafKind) -> ViewPlan {
    let (columns, key) = match kind {
        LeafKind::Source(_) => {
            let hidden = [
                Field::new(PARTITION_COLUMN, DataType::Int32, false),
                Field::new(OFFSET_COLUMN, DataType::Int64, false),
            ];
            let id = Field::new("id", DataType::Int64, true);
            (Arc::new(Schema::new([vec![id], hidden.to_vec()].concat())), vec![1, 2])
        }
        LeafKind::View(_) => (schema(&["id", "n"]), vec![0]),
    };
    let append_only = matches!(kind, LeafKind::Source(_));
    let all = (0..columns.fields().len()).collect();
    let meta = Meta { schema: columns, key, append_only, watermarks: Vec::new() };
    let group = if append_only { 0 } else { 1 };
    let output = Arc::new(Field::new("n", DataType::Int64, false));
    let (args, order) = (Vec::new(), Vec::new());
    let call = Call {
        function: Function::Count,
        args,
        distinct: false,
        filter: None,
        order,
        rebuild: None,
        output,
    };
    let counted = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("n", DataType::Int64, false),
    ]);
    let root = Node::Aggregate(Box::new(Aggregate {
        input: Node::Leaf(Leaf { kind, columns: all, meta }),
        group: vec![group],
        hop: None,
        calls: vec![call],
        settled: None,
        meta: Meta {
            schema: Arc::new(counted),
            key: vec![0],
            append_only: false,
            watermarks: Vec::new(),
        },
    }));
    ViewPlan { root, sort: vec![0], retention: None }
}

struct Bench {
    store: Arc<Store>,
    runtime: Runtime,
    events: Receiver<Event>,
    uppers: BTreeMap<(ObjectId, usize), Ts>,
    handed: Vec<(ObjectId, usize, usize)>,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(workers: usize) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), MetaKind::Fjall).unwrap();
        let (send, received) = crossbeam_channel::unbounded();
        let events: Events = Arc::new(move |e| drop(send.send(e)));
        let runtime = Runtime::start(workers, events, Arc::new(|| 0)).unwrap();
        let (uppers, handed) = (BTreeMap::new(), Vec::new());
        Bench { store, runtime, events: received, uppers, handed, _dir: dir }
    }

    fn tables(&self, plan: &ViewPlan, first: u64) -> ViewTables {
        let make = |id, schema, sort| {
            self.store.create_table(TableSpec { id: TableId(first + id), schema, sort }).unwrap()
        };
        let graph = Graph::new(plan);
        let state = graph.tables().unwrap();
        ViewTables {
            content: make(0, graph.schema.clone(), plan.sort.clone()),
            errors: make(2, error_schema(), vec![0]),
            state: (3..).zip(state).map(|(n, s)| make(n, s.schema, (0..s.key).collect())).collect(),
        }
    }

    fn install(&self, view: ObjectId, kind: LeafKind, first: u64) -> ViewTables {
        self.install_plan(view, &count_plan(kind), first)
    }

    fn install_plan(&self, view: ObjectId, plan: &ViewPlan, first: u64) -> ViewTables {
        let tables = self.tables(plan, first);
        self.runtime.broadcast(&Command::Install(Arc::new(Install {
            view,
            name: "counts".into(),
            graph: Arc::new(Graph::new(plan)),
            tables: tables.clone(),
            start: Epoch(1).ts(),
            restore: None,
            live: true,
            keys_below: BTreeMap::new(),
            watermarks: Arc::default(),
            now: 0,
            figures: Arc::new(Figures::new(&Graph::new(plan), self.runtime.workers(), 0)),
        })));
        tables
    }

    fn send(&self, worker: usize, epoch: u64, ids: &[i64]) {
        self.send_to(FEED, worker, epoch, ids);
    }

    fn send_to(&self, feed: FeedId, worker: usize, epoch: u64, ids: &[i64]) {
        let count = i64::try_from(ids.len()).unwrap();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(ids.to_vec())),
            Arc::new(Int32Array::from(vec![0; ids.len()])),
            Arc::new((0..count).collect::<Int64Array>()),
        ];
        let plan = count_plan(LeafKind::Source(SOURCE));
        let schema = plan.root.leaves()[0].meta.schema.clone();
        let rows = Delta::constant(RecordBatch::try_new(schema, columns).unwrap(), 1);
        let ts = Epoch(epoch).ts();
        let command = Command::Rows { feed, ts, watermark: None, rows };
        self.runtime.sender()(worker, command);
    }

    fn seal(&self, epoch: u64, hand_over: bool) {
        let watermarks = Arc::default();
        self.runtime.broadcast(&Command::Seal {
            epoch: Epoch(epoch),
            watermarks,
            now: 0,
            hand_over,
        });
    }

    /// Takes events in until a view has completed an epoch on all workers.
    fn wait(&mut self, view: ObjectId, epoch: u64) {
        let reached = |bench: &Bench| {
            let at = |w| bench.uppers.get(&(view, w)).copied().unwrap_or_default();
            (0..bench.runtime.workers()).all(|w| at(w) > Epoch(epoch).ts())
        };
        while !reached(self) {
            self.event();
        }
    }

    fn event(&mut self) {
        match self.events.recv_timeout(Duration::from_secs(20)).expect("a worker says something") {
            Event::Upper { view, worker, upper } => drop(self.uppers.insert((view, worker), upper)),
            Event::HandedOver { view, worker, .. } => self.handed.push((view, worker, 0)),
            Event::Turn { .. } | Event::Late { .. } => {}
            Event::Unpublished { view, worker } => self.handed.push((view, worker, usize::MAX)),
            Event::Damaged { reason, .. } => panic!("nothing is damaged: {reason}"),
        }
    }

    fn content(&self, tables: &ViewTables, epoch: u64) -> Vec<(i64, i64)> {
        let mut rows = Vec::new();
        for batch in tables.content.snapshot(Epoch(epoch)).unwrap().scan(Scan::default()) {
            let batch = batch.unwrap();
            let column = |at: usize| batch.column(at).as_primitive::<Int64Type>().values().to_vec();
            rows.extend(column(0).into_iter().zip(column(1)));
        }
        rows
    }
}

#[test]
fn rows_of_two_workers_meet_in_their_groups() {
    let mut bench = Bench::new(2);
    let tables = bench.install(VIEW, LeafKind::Source(SOURCE), 10);
    let (view, leaf, feed, from) = (VIEW, 0, FEED, Ts::default());
    bench.runtime.broadcast(&Command::Subscribe { view, leaf, feed, from });
    bench.send(0, 1, &[1, 2, 3, 1]);
    bench.send(1, 1, &[1, 9]);
    // Rows of the next epoch may come before the seal of this one.
    bench.send(1, 2, &[9]);
    bench.seal(1, false);
    bench.wait(VIEW, 1);
    assert_eq!(bench.content(&tables, 1), [(1, 3), (2, 1), (3, 1), (9, 1)]);
    bench.seal(2, true);
    bench.wait(VIEW, 2);
    assert_eq!(bench.content(&tables, 2), [(1, 3), (2, 1), (3, 1), (9, 2)]);
    while bench.handed.len() < 2 {
        bench.event();
    }
    assert_eq!(tables.state[0].latest().rows_upper_bound(), 4, "a group is handed over once");
}

#[test]
fn a_view_above_follows_the_changes_of_the_one_below() {
    let mut bench = Bench::new(2);
    bench.install(VIEW, LeafKind::Source(SOURCE), 10);
    let above = bench.install(ABOVE, LeafKind::View(VIEW), 20);
    let (view, leaf, feed, from) = (VIEW, 0, FEED, Ts::default());
    bench.runtime.broadcast(&Command::Subscribe { view, leaf, feed, from });
    bench.send(0, 1, &[1, 2, 3, 1]);
    bench.seal(1, false);
    bench.wait(ABOVE, 1);
    assert_eq!(bench.content(&above, 1), [(1, 2), (2, 1)], "how many ids were seen n times");
    bench.send(1, 2, &[2]);
    bench.seal(2, false);
    bench.wait(ABOVE, 2);
    assert_eq!(bench.content(&above, 2), [(1, 1), (2, 2)]);
}

#[test]
fn a_dropped_view_leaves_the_others_running() {
    let mut bench = Bench::new(2);
    let kept = bench.install(VIEW, LeafKind::Source(SOURCE), 10);
    bench.install(ABOVE, LeafKind::Source(SOURCE), 20);
    for view in [VIEW, ABOVE] {
        let (leaf, feed, from) = (0, FEED, Ts::default());
        bench.runtime.broadcast(&Command::Subscribe { view, leaf, feed, from });
    }
    bench.send(0, 1, &[5]);
    bench.runtime.broadcast(&Command::Unpublish(ABOVE));
    let mut left: BTreeSet<usize> = BTreeSet::from([0, 1]);
    while !left.is_empty() {
        bench.event();
        for (view, worker, rows) in &bench.handed {
            if *view == ABOVE && *rows == usize::MAX {
                left.remove(worker);
            }
        }
    }
    bench.runtime.broadcast(&Command::Drop(ABOVE));
    bench.seal(1, false);
    bench.wait(VIEW, 1);
    assert_eq!(bench.content(&kept, 1), [(5, 1)]);
}

/// One row joins with very many: a view that counts completes the next epoch meanwhile.
#[test]
fn a_view_with_much_to_do_in_one_epoch_does_not_keep_others_from_theirs() {
    let mut bench = Bench::new(1);
    bench.install_plan(VIEW, &pairs_plan(), 10);
    let counts = bench.install(ABOVE, LeafKind::Source(OTHER), 20);
    let from = Ts::default();
    for (view, leaf, feed) in [(VIEW, 0, FEED), (VIEW, 1, OTHER_FEED), (ABOVE, 0, OTHER_FEED)] {
        bench.runtime.broadcast(&Command::Subscribe { view, leaf, feed, from });
    }
    bench.send(0, 1, &vec![1; 400_000]);
    bench.seal(1, false);
    bench.wait(VIEW, 1);
    bench.send_to(OTHER_FEED, 0, 2, &[1]);
    bench.send_to(OTHER_FEED, 0, 3, &[2, 2]);
    bench.seal(2, false);
    bench.seal(3, false);
    bench.wait(ABOVE, 3);
    assert_eq!(bench.content(&counts, 3), [(1, 1), (2, 2)]);
    let much = bench.uppers.get(&(VIEW, 0)).copied();
    assert!(much <= Some(Epoch(2).ts()), "its pairs came in one piece");
    bench.wait(VIEW, 3);
}
