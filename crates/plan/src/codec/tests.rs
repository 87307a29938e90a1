//! Round trips over every node, step and function, and bytes that are no plan.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ToDFSchema;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{
    Expr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition, lit,
};
use datafusion::prelude::{SessionContext, col};
use millrace_types::{ObjectId, SqlType};
use prost::Message;

use super::*;
use crate::{
    Aggregate, Call, Chain, Clock, Function, Hop, Join, JoinKind, JoinPair, LateCheck, Leaf,
    LeafKind, Meta, Node, Order, Over, OverCall, Rebuild, Scalar, Session, Stay, Step, TopN, Union,
    Upsert, Watermark,
};

fn schema(columns: &[(&str, SqlType)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, kind)| Field::new(*name, kind.arrow(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn meta(schema: SchemaRef) -> Meta {
    let sources = vec![ObjectId(3), ObjectId(9)];
    let watermarks = vec![Watermark { column: 0, shift: -5, sources }];
    Meta { schema, key: vec![1, 0], append_only: true, watermarks }
}

fn scalar(expr: Expr, schema: &SchemaRef) -> Scalar {
    let context = SessionContext::new();
    let schema = Arc::clone(schema).to_dfschema().unwrap();
    Scalar(context.create_physical_expr(expr, &schema).unwrap())
}

fn every_call(columns: usize) -> Vec<Call> {
    let order = Order { column: columns - 1, descending: true, nulls_first: false };
    let call = |function: Function| Call {
        function,
        args: vec![1],
        distinct: function == Function::Sum,
        filter: Some(0),
        order: vec![order],
        rebuild: None,
        output: Arc::new(Field::new(function.name(), SqlType::Numeric(None).arrow(), true)),
    };
    let input = schema(&[("a", SqlType::TimestampTz), ("b", SqlType::Bytea)]);
    let rebuilt = Call {
        rebuild: Some(Rebuild {
            function: datafusion::functions_aggregate::string_agg::string_agg_udaf(),
            args: vec![scalar(col("b"), &input), scalar(lit(","), &input)],
            ordered: true,
        }),
        ..call(Function::Rebuilt)
    };
    Function::ALL.into_iter().map(call).chain([rebuilt]).collect()
}

/// A plan with every node and step.
fn plan() -> ViewPlan {
    let base = schema(&[
        ("ts", SqlType::TimestampTz),
        ("text", SqlType::Text),
        ("_partition", SqlType::Integer),
        ("_offset", SqlType::BigInt),
    ]);
    let leaf =
        |kind| Node::Leaf(Leaf { kind, columns: vec![4, 0, 7, 8], meta: meta(base.clone()) });
    let union = Node::Union(Union {
        inputs: vec![leaf(LeafKind::Source(ObjectId(1))), leaf(LeafKind::View(ObjectId(2)))],
        meta: meta(base.clone()),
    });
    let hop = Hop { column: 0, slide: 5, size: 10, offset: -3, cumulates: true };
    let windows = schema(&[("a", SqlType::TimestampTz), ("b", SqlType::Bytea)]);
    let interval = lit(datafusion::common::ScalarValue::DurationMicrosecond(Some(7)));
    let steps = vec![
        Step::Filter(scalar(col("text").like(lit("a%")).or(col("_offset").gt(lit(5i64))), &base)),
        Step::Project {
            expressions: vec![
                scalar(col("ts") + interval, &base),
                scalar(datafusion::functions::string::expr_fn::upper(col("text")), &base),
            ],
            schema: schema(&[("ts", SqlType::TimestampTz), ("text", SqlType::Text)]),
        },
        Step::Unnest { lists: Vec::new(), schema: windows.clone() },
        Step::Hop { hop: hop.clone(), schema: windows.clone() },
        Step::Late(LateCheck {
            close: Watermark { column: 1, shift: i64::MIN, sources: vec![ObjectId(1)] },
            hop: Some(hop.clone()),
            event_time: Some(0),
            origin: (0, 1),
            to_end: 17,
        }),
    ];
    let chain = Node::Chain(Chain { input: Box::new(union), steps, meta: meta(windows.clone()) });
    let aggregate = Aggregate {
        input: chain,
        group: vec![1, 0],
        hop: Some(Hop { column: 1, ..hop }),
        calls: every_call(2),
        settled: Some(Watermark { column: 1, shift: 10, sources: vec![] }),
        meta: meta(windows),
    };
    let retention = Some(Watermark { column: 1, shift: 99, sources: vec![ObjectId(3)] });
    ViewPlan { root: Node::Aggregate(Box::new(aggregate)), sort: vec![1, 0], retention }
}

#[test]
fn window_functions_survive_a_round_trip() {
    let base = schema(&[("a", SqlType::TimestampTz), ("b", SqlType::BigInt)]);
    let kind = LeafKind::View(ObjectId(2));
    let input = Node::Leaf(Leaf { kind, columns: vec![0, 1], meta: meta(Arc::clone(&base)) });
    let context = SessionContext::new().task_ctx();
    let sum = datafusion::functions_aggregate::sum::sum_udaf();
    let lag = datafusion::functions_window::lead_lag::lag_udwf();
    let five = datafusion::common::ScalarValue::UInt64(Some(5));
    let frame = WindowFrame::new_bounds(
        WindowFrameUnits::Rows,
        WindowFrameBound::Preceding(five),
        WindowFrameBound::CurrentRow,
    );
    let call = |function: WindowFunctionDefinition| OverCall {
        output: Arc::new(Field::new(function.name(), SqlType::BigInt.arrow(), true)),
        function,
        args: vec![scalar(col("b"), &base), scalar(lit(1i64), &base)],
        filter: Some(1),
        order: 1,
        frame: frame.clone(),
        ignore_nulls: true,
        distinct: false,
    };
    let calls = vec![call(sum.into()), call(lag.into())];
    let meta = Meta { schema: Over::output_schema(&base, &calls), ..meta(base.clone()) };
    let order = vec![Order { column: 0, descending: true, nulls_first: false }];
    let settled = Some(Watermark { column: 1, shift: 10, sources: vec![] });
    let over = Over { input, group: vec![1], order, calls, settled, meta };
    let plan = ViewPlan { root: Node::Over(Box::new(over)), sort: vec![1, 0], retention: None };
    let read = decode_plan(&encode_plan(&plan).unwrap(), &context).unwrap();
    assert_eq!(format!("{plan:?}"), format!("{read:?}"));
}

#[test]
fn top_n_survives_a_round_trip() {
    let base = schema(&[("a", SqlType::TimestampTz), ("b", SqlType::BigInt)]);
    let kind = LeafKind::View(ObjectId(2));
    for position in [None, Some("n".to_owned())] {
        let input = Node::Leaf(Leaf { kind, columns: vec![0, 1], meta: meta(Arc::clone(&base)) });
        let output = TopN::output_schema(&base, position.as_deref());
        let order = vec![Order { column: 0, descending: true, nulls_first: false }];
        let top = TopN {
            input,
            group: vec![1],
            order,
            offset: 2,
            limit: u64::MAX,
            position,
            ties: None,
            settled: Some(Watermark { column: 1, shift: 10, sources: vec![] }),
            meta: meta(output),
        };
        let plan = ViewPlan { root: Node::TopN(Box::new(top)), sort: vec![1, 0], retention: None };
        let bytes = encode_plan(&plan).unwrap();
        let read = decode_plan(&bytes, &TaskContext::default()).unwrap();
        assert_eq!(format!("{plan:?}"), format!("{read:?}"));
    }
}

#[test]
fn joins_of_every_kind_survive_a_round_trip() {
    let left = schema(&[("a", SqlType::TimestampTz), ("b", SqlType::BigInt)]);
    let right = schema(&[("c", SqlType::BigInt), ("d", SqlType::TimestampTz)]);
    let leaf = |schema: &SchemaRef| {
        let kind = LeafKind::View(ObjectId(2));
        Node::Leaf(Leaf { kind, columns: vec![0, 1], meta: meta(Arc::clone(schema)) })
    };
    for kind in JoinKind::ALL {
        let pair = JoinPair { left: 1, right: 0, null_equal: kind == JoinKind::Full };
        let mut join = Join {
            left: leaf(&left),
            right: leaf(&right),
            kind,
            on: vec![pair, JoinPair { left: 0, right: 1, null_equal: false }],
            filter: None,
            clean: [Some(Watermark { column: 1, shift: 3, sources: vec![ObjectId(1)] }), None],
            lookup: false,
            meta: meta(Join::output_schema(kind, &left, &right)),
        };
        join.filter = Some(scalar(col("b").lt(col("c")), &join.pair_schema()));
        let plan =
            ViewPlan { root: Node::Join(Box::new(join.clone())), sort: vec![0], retention: None };
        let bytes = encode_plan(&plan).unwrap();
        let read = decode_plan(&bytes, &functions()).unwrap();
        assert_eq!(format!("{plan:#?}"), format!("{read:#?}"));
        for cut in 0..bytes.len() {
            assert!(decode_plan(&bytes[..cut], &functions()).is_err(), "cut at {cut}");
        }
        join.on[0].right = 1;
        let plan = ViewPlan { root: Node::Join(Box::new(join)), sort: vec![0], retention: None };
        let error = decode_plan(&encode_plan(&plan).unwrap(), &functions()).unwrap_err();
        assert!(matches!(error, PlanError::Damaged(_)), "{error}");
    }
}

#[test]
fn sessions_survive_a_round_trip() {
    let columns = [("ts", SqlType::TimestampTz), ("k", SqlType::BigInt)];
    let bounds = [("start", SqlType::TimestampTz), ("end", SqlType::TimestampTz)];
    let all = schema(&[columns.clone(), bounds].concat());
    let leaf = Leaf {
        kind: LeafKind::Source(ObjectId(2)),
        columns: vec![0, 1],
        meta: meta(schema(&columns)),
    };
    let settled = Some(Watermark { column: 3, shift: 9, sources: vec![ObjectId(2)] });
    let input = Node::Leaf(leaf);
    let session = Session { input, key: vec![1], time: 0, gap: 5, settled, meta: meta(all) };
    let plan =
        ViewPlan { root: Node::Session(Box::new(session.clone())), sort: vec![0], retention: None };
    let read = decode_plan(&encode_plan(&plan).unwrap(), &functions()).unwrap();
    assert_eq!(format!("{plan:#?}"), format!("{read:#?}"));
    let endless = Session { gap: 0, ..session };
    let plan = ViewPlan { root: Node::Session(Box::new(endless)), sort: vec![0], retention: None };
    let error = decode_plan(&encode_plan(&plan).unwrap(), &functions()).unwrap_err();
    assert!(matches!(error, PlanError::Damaged(_)), "{error}");
}

#[test]
fn rows_that_stay_survive_a_round_trip() {
    let schema = schema(&[("a", SqlType::TimestampTz), ("b", SqlType::TimestampTz)]);
    let leaf = Leaf {
        kind: LeafKind::View(ObjectId(2)),
        columns: vec![0, 1],
        meta: meta(Arc::clone(&schema)),
    };
    let watermark = Clock::Watermark { shift: -7, sources: vec![ObjectId(1), ObjectId(4)] };
    for (clock, from, until) in
        [(Clock::Now, Some(1), Some(0)), (Clock::Now, None, Some(1)), (watermark, Some(0), None)]
    {
        let input = Node::Leaf(leaf.clone());
        let stay = Stay { input, clock, from, until, meta: meta(Arc::clone(&schema)) };
        let plan =
            ViewPlan { root: Node::Stay(Box::new(stay.clone())), sort: vec![0], retention: None };
        let read = decode_plan(&encode_plan(&plan).unwrap(), &functions()).unwrap();
        assert_eq!(format!("{plan:#?}"), format!("{read:#?}"));
        let timeless = Stay { from: None, until: None, ..stay };
        let plan =
            ViewPlan { root: Node::Stay(Box::new(timeless)), sort: vec![0], retention: None };
        let error = decode_plan(&encode_plan(&plan).unwrap(), &functions()).unwrap_err();
        assert!(matches!(error, PlanError::Damaged(_)), "{error}");
    }
}

#[test]
fn an_upsert_survives_a_round_trip() {
    let input = schema(&[
        ("a", SqlType::Text),
        ("d", SqlType::Boolean),
        ("p", SqlType::Integer),
        ("o", SqlType::BigInt),
    ]);
    let kind = LeafKind::Source(ObjectId(2));
    let leaf = Leaf { kind, columns: vec![0, 1, 2, 3], meta: meta(input) };
    for deleted in [None, Some(1)] {
        let mut upsert = Upsert {
            input: Node::Leaf(leaf.clone()),
            key: vec![0],
            deleted,
            origin: (2, 3),
            meta: Meta { key: vec![0], ..meta(schema(&[("a", SqlType::Text)])) },
        };
        let plan = |upsert: &Upsert| ViewPlan {
            root: Node::Upsert(Box::new(upsert.clone())),
            sort: vec![0],
            retention: None,
        };
        let bytes = encode_plan(&plan(&upsert)).unwrap();
        let read = decode_plan(&bytes, &functions()).unwrap();
        assert_eq!(format!("{:#?}", plan(&upsert)), format!("{read:#?}"));
        upsert.origin.1 = 4;
        let bytes = encode_plan(&plan(&upsert)).unwrap();
        assert!(decode_plan(&bytes, &functions()).is_err());
    }
}

fn functions() -> Arc<TaskContext> {
    SessionContext::new().task_ctx()
}

#[test]
fn a_plan_with_every_node_and_step_survives_a_round_trip() {
    let plan = plan();
    let bytes = encode_plan(&plan).unwrap();
    let read = decode_plan(&bytes, &functions()).unwrap();
    assert_eq!(format!("{plan:#?}"), format!("{read:#?}"));
    assert_eq!(bytes, encode_plan(&read).unwrap());
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let bytes = proto::Stored { version: 3, plan: vec![255; 9] }.encode_to_vec();
    let error = decode_plan(&bytes, &functions()).unwrap_err();
    assert_eq!(error.to_string(), "the plan has version 3, this Millrace reads up to 2");
}

#[test]
fn damaged_bytes_are_an_error() {
    let bytes = encode_plan(&plan()).unwrap();
    for cut in 0..bytes.len() {
        assert!(decode_plan(&bytes[..cut], &functions()).is_err(), "cut at {cut}");
    }
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x55;
        drop(decode_plan(&changed, &functions()));
    }
}

#[test]
fn an_index_outside_its_schema_is_an_error() {
    let mut plan = plan();
    plan.sort = vec![99];
    let error = decode_plan(&encode_plan(&plan).unwrap(), &functions()).unwrap_err();
    assert!(matches!(error, PlanError::Damaged(_)), "{error}");
}

/// Runs on a stack as the server's threads have it.
fn on_a_large_stack(test: fn()) {
    let thread = std::thread::Builder::new().stack_size(millrace_types::STACK_BYTES);
    thread.spawn(test).unwrap().join().unwrap();
}

#[test]
fn deep_expressions_and_plans_come_back() {
    on_a_large_stack(|| {
        let base = Arc::new(Schema::new(vec![Field::new("b", DataType::Boolean, true)]));
        let expr = (0..3000).fold(col("b"), |expr, _| expr.is_null());
        let input = Leaf {
            kind: LeafKind::View(ObjectId(1)),
            columns: vec![0],
            meta: Meta {
                schema: base.clone(),
                key: vec![0],
                append_only: false,
                watermarks: vec![],
            },
        };
        let meta = input.meta.clone();
        let filter = scalar(expr, &base);
        let filtered = |input: Node| {
            let steps = vec![Step::Filter(filter.clone())];
            Node::Chain(Chain { input: Box::new(input), steps, meta: meta.clone() })
        };
        let root = (0..50).fold(Node::Leaf(input), |node, _| filtered(node));
        let plan = ViewPlan { root, sort: vec![0], retention: None };
        let bytes = encode_plan(&plan).unwrap();
        let back = decode_plan(&bytes, &functions()).unwrap();
        assert_eq!(encode_plan(&back).unwrap(), bytes);
        assert_eq!(format!("{:?}", back.root), format!("{:?}", plan.root));
    });
}
