//! A plan into messages.

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::WindowFunctionDefinition;
use datafusion_proto::protobuf;
use millrace_types::{Delta, encode_delta};

use prost::Message;

use super::{PlanError, expression, proto};
use crate::{
    Aggregate, Call, Clock, Hop, Join, JoinKind, JoinPair, LateCheck, LeafKind, Meta, Nearest,
    Node, Order, Over, OverCall, Rebuild, Session, Stay, Step, TopN, ViewPlan, Watermark,
};

/// Nodes in each other in one message; each is two messages.
const NODES: usize = 16;

pub(super) fn view(plan: &ViewPlan) -> Result<proto::ViewPlan, PlanError> {
    Ok(proto::ViewPlan {
        root: Some(node(&plan.root)?),
        sort: indexes(&plan.sort),
        retention: plan.retention.as_ref().map(watermark),
    })
}

fn node(node: &Node) -> Result<proto::Node, PlanError> {
    let kind = match node {
        Node::Leaf(leaf) => proto::Kind::Leaf(proto::Leaf {
            kind: Some(match leaf.kind {
                LeafKind::Source(id) => proto::LeafKind::Source(id.0),
                LeafKind::View(id) => proto::LeafKind::View(id.0),
            }),
            columns: indexes(&leaf.columns),
        }),
        Node::Chain(chain) => proto::Kind::Chain(Box::new(proto::Chain {
            input: Some(Box::new(self::node(&chain.input)?)),
            steps: chain.steps.iter().map(step).collect::<Result<_, _>>()?,
        })),
        Node::Aggregate(aggregate) => proto::Kind::Aggregate(Box::new(self::aggregate(aggregate)?)),
        Node::Union(union) => proto::Kind::Union(proto::Union {
            inputs: union.inputs.iter().map(self::node).collect::<Result<_, _>>()?,
        }),
        Node::Join(join) => proto::Kind::Join(Box::new(self::join(join)?)),
        Node::Nearest(nearest) => proto::Kind::Nearest(Box::new(self::nearest(nearest)?)),
        Node::Upsert(upsert) => proto::Kind::Upsert(Box::new(proto::Upsert {
            input: Some(Box::new(self::node(&upsert.input)?)),
            key: indexes(&upsert.key),
            deleted: upsert.deleted.map(index),
            partition: index(upsert.origin.0),
            offset: index(upsert.origin.1),
        })),
        Node::Values(values) => {
            let weights = Int64Array::from(vec![1; values.rows.num_rows()]);
            let rows = Delta::new(values.rows.clone(), weights);
            proto::Kind::Values(encode_delta(&rows)?)
        }
        Node::TopN(top) => proto::Kind::TopN(Box::new(self::top_n(top)?)),
        Node::Over(over) => proto::Kind::Over(Box::new(self::over(over)?)),
        Node::Session(session) => proto::Kind::Session(Box::new(self::session(session)?)),
        Node::Stay(stay) => proto::Kind::Stay(Box::new(self::stay(stay)?)),
    };
    let whole = proto::Node { meta: Some(meta(node.meta())?), kind: Some(kind) };
    if height(node) % NODES != NODES - 1 {
        return Ok(whole);
    }
    let kind = Some(proto::Kind::Apart(whole.encode_to_vec()));
    Ok(proto::Node { meta: whole.meta, kind })
}

/// How many nodes stand above the lowest one below this node.
fn height(node: &Node) -> usize {
    node.inputs().into_iter().map(|input| height(input) + 1).max().unwrap_or_default()
}

fn meta(meta: &Meta) -> Result<proto::Meta, PlanError> {
    Ok(proto::Meta {
        schema: schema(&meta.schema)?,
        key: indexes(&meta.key),
        append_only: meta.append_only,
        watermarks: meta.watermarks.iter().map(watermark).collect(),
    })
}

fn step(step: &Step) -> Result<proto::Step, PlanError> {
    let kind = match step {
        Step::Filter(predicate) => proto::StepKind::Filter(expression::encode(predicate)?),
        Step::Project { expressions, schema } => proto::StepKind::Project(proto::Project {
            expressions: expressions.iter().map(expression::encode).collect::<Result<_, _>>()?,
            schema: self::schema(schema)?,
        }),
        Step::Hop { hop, schema } => proto::StepKind::Hop(proto::HopStep {
            hop: Some(self::hop(hop)),
            schema: self::schema(schema)?,
        }),
        Step::Unnest { lists, schema } => proto::StepKind::Unnest(proto::UnnestStep {
            lists: indexes(lists),
            schema: self::schema(schema)?,
        }),
        Step::Late(check) => proto::StepKind::Late(late(check)),
    };
    Ok(proto::Step { kind: Some(kind) })
}

fn late(check: &LateCheck) -> proto::LateCheck {
    proto::LateCheck {
        close: Some(watermark(&check.close)),
        hop: check.hop.as_ref().map(hop),
        event_time: check.event_time.map(index),
        partition: index(check.origin.0),
        offset: index(check.origin.1),
        to_end: check.to_end,
    }
}

fn aggregate(aggregate: &Aggregate) -> Result<proto::Aggregate, PlanError> {
    Ok(proto::Aggregate {
        input: Some(Box::new(node(&aggregate.input)?)),
        group: indexes(&aggregate.group),
        hop: aggregate.hop.as_ref().map(hop),
        calls: aggregate.calls.iter().map(call).collect::<Result<_, _>>()?,
        settled: aggregate.settled.as_ref().map(watermark),
    })
}

fn nearest(nearest: &Nearest) -> Result<proto::Nearest, PlanError> {
    Ok(proto::Nearest {
        left: Some(Box::new(node(&nearest.left)?)),
        right: Some(Box::new(node(&nearest.right)?)),
        keeps_left: nearest.keeps_left,
        on: nearest.on.iter().map(pair).collect(),
        times: Some(pair(&nearest.times)),
        later: nearest.side.later,
        strict: nearest.side.strict,
        settled: nearest.settled.as_ref().map(watermark),
    })
}

fn pair(pair: &JoinPair) -> proto::JoinPair {
    let JoinPair { left, right, null_equal } = *pair;
    proto::JoinPair { left: index(left), right: index(right), null_equal }
}

fn join(join: &Join) -> Result<proto::Join, PlanError> {
    let kind = match join.kind {
        JoinKind::Inner => proto::JoinKind::Inner,
        JoinKind::Left => proto::JoinKind::Left,
        JoinKind::Right => proto::JoinKind::Right,
        JoinKind::Full => proto::JoinKind::Full,
        JoinKind::Semi => proto::JoinKind::Semi,
        JoinKind::Anti => proto::JoinKind::Anti,
    };
    Ok(proto::Join {
        left: Some(Box::new(node(&join.left)?)),
        right: Some(Box::new(node(&join.right)?)),
        kind: kind.into(),
        on: join.on.iter().map(pair).collect(),
        filter: join.filter.as_ref().map(expression::encode).transpose()?,
        clean_left: join.clean[0].as_ref().map(watermark),
        clean_right: join.clean[1].as_ref().map(watermark),
        lookup: join.lookup,
    })
}

fn top_n(top: &TopN) -> Result<proto::TopN, PlanError> {
    Ok(proto::TopN {
        input: Some(Box::new(node(&top.input)?)),
        group: indexes(&top.group),
        order: orders(&top.order),
        offset: top.offset,
        limit: top.limit,
        position: top.position.clone(),
        ties: top.ties.map(index),
        settled: top.settled.as_ref().map(watermark),
    })
}

fn over(over: &Over) -> Result<proto::Over, PlanError> {
    Ok(proto::Over {
        input: Some(Box::new(node(&over.input)?)),
        group: indexes(&over.group),
        order: orders(&over.order),
        calls: over.calls.iter().map(over_call).collect::<Result<_, _>>()?,
        settled: over.settled.as_ref().map(watermark),
    })
}

fn over_call(call: &OverCall) -> Result<proto::OverCall, PlanError> {
    let frame = protobuf::WindowFrame::try_from(&call.frame);
    let frame = frame.map_err(|error| DataFusionError::External(Box::new(error)))?;
    Ok(proto::OverCall {
        function: call.function.name().to_owned(),
        aggregate: matches!(call.function, WindowFunctionDefinition::AggregateUDF(_)),
        args: call.args.iter().map(expression::encode).collect::<Result<_, _>>()?,
        filter: call.filter.map(index),
        order: index(call.order),
        frame: frame.encode_to_vec(),
        ignore_nulls: call.ignore_nulls,
        distinct: call.distinct,
        output: schema(&Arc::new(Schema::new(vec![Arc::clone(&call.output)])))?,
    })
}

fn orders(order: &[Order]) -> Vec<proto::Order> {
    let each = order.iter().map(|order| proto::Order {
        column: index(order.column),
        descending: order.descending,
        nulls_first: order.nulls_first,
    });
    each.collect()
}

fn session(session: &Session) -> Result<proto::Session, PlanError> {
    Ok(proto::Session {
        input: Some(Box::new(node(&session.input)?)),
        key: indexes(&session.key),
        time: index(session.time),
        gap: session.gap,
        settled: session.settled.as_ref().map(watermark),
    })
}

fn stay(stay: &Stay) -> Result<proto::Stay, PlanError> {
    let watermark = match &stay.clock {
        Clock::Now => None,
        Clock::Watermark { shift, sources } => {
            let sources = sources.iter().map(|id| id.0).collect();
            Some(proto::Sources { shift: *shift, sources })
        }
    };
    Ok(proto::Stay {
        input: Some(Box::new(node(&stay.input)?)),
        watermark,
        from: stay.from.map(index),
        until: stay.until.map(index),
    })
}

fn call(call: &Call) -> Result<proto::Call, PlanError> {
    Ok(proto::Call {
        function: call.name().to_owned(),
        args: indexes(&call.args),
        filter: call.filter.map(index),
        order: orders(&call.order),
        output: schema(&Arc::new(Schema::new(vec![Arc::clone(&call.output)])))?,
        distinct: call.distinct,
        rebuild: call.rebuild.as_ref().map(rebuild).transpose()?,
    })
}

fn rebuild(rebuild: &Rebuild) -> Result<proto::Rebuild, PlanError> {
    let args = rebuild.args.iter().map(expression::encode).collect::<Result<_, _>>()?;
    Ok(proto::Rebuild { args, ordered: rebuild.ordered })
}

fn hop(hop: &Hop) -> proto::Hop {
    proto::Hop {
        column: index(hop.column),
        slide: hop.slide,
        size: hop.size,
        offset: hop.offset,
        cumulates: hop.cumulates,
    }
}

fn watermark(watermark: &Watermark) -> proto::Watermark {
    proto::Watermark {
        column: index(watermark.column),
        shift: watermark.shift,
        sources: watermark.sources.iter().map(|id| id.0).collect(),
    }
}

fn schema(schema: &SchemaRef) -> Result<Vec<u8>, PlanError> {
    let schema = protobuf::Schema::try_from(schema.as_ref()).map_err(DataFusionError::from)?;
    Ok(schema.encode_to_vec())
}

fn index(index: usize) -> u64 {
    u64::try_from(index).expect("an index fits into 64 bits")
}

fn indexes(all: &[usize]) -> Vec<u64> {
    all.iter().map(|i| index(*i)).collect()
}
