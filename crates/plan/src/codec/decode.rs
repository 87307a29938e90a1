//! Messages into a plan. Every index is checked against the schema that it counts in.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{WindowFrame, WindowFunctionDefinition};
use datafusion_proto::protobuf;
use millrace_types::{ObjectId, decode_delta};

use prost::Message;

use super::{PlanError, damaged, expression, proto};
use crate::{
    Aggregate, Call, Chain, Clock, Function, Hop, Join, JoinKind, JoinPair, LateCheck, Leaf,
    LeafKind, Meta, Nearest, NearestSide, Node, Order, Over, OverCall, Rebuild, Scalar, Session,
    Stay, Step, TopN, Union, Upsert, Values, ViewPlan, Watermark,
};

/// Decodes one plan; expressions resolve their functions in the context.
pub(super) struct Decoder<'a> {
    pub(super) functions: &'a TaskContext,
}

impl Decoder<'_> {
    pub(super) fn view(&self, plan: proto::ViewPlan) -> Result<ViewPlan, PlanError> {
        let root = self.node(required(plan.root, "root")?)?;
        let width = root.meta().schema.fields().len();
        let sort = indexes(&plan.sort, width)?;
        let retention = plan.retention.map(|from| watermark(from, width)).transpose()?;
        if retention.as_ref().is_some_and(|retention| sort.first() != Some(&retention.column)) {
            return Err(damaged("rows leave by a column that they are not stored by"));
        }
        Ok(ViewPlan { root, sort, retention })
    }

    fn node(&self, node: proto::Node) -> Result<Node, PlanError> {
        let meta = meta(required(node.meta, "meta")?)?;
        Ok(match required(node.kind, "node")? {
            proto::Kind::Apart(bytes) => self.node(proto::Node::decode(bytes.as_slice())?)?,
            proto::Kind::Leaf(leaf) => Node::Leaf(self::leaf(&leaf, meta)?),
            proto::Kind::Chain(chain) => {
                let input = Box::new(self.node(*required(chain.input, "input")?)?);
                let mut schema = Arc::clone(&input.meta().schema);
                let mut steps = Vec::with_capacity(chain.steps.len());
                for step in chain.steps {
                    let step = self.step(step, &schema)?;
                    if let Some(next) = step.schema() {
                        schema = Arc::clone(next);
                    }
                    steps.push(step);
                }
                Node::Chain(Chain { input, steps, meta })
            }
            proto::Kind::Aggregate(aggregate) => {
                Node::Aggregate(Box::new(self.aggregate(*aggregate, meta)?))
            }
            proto::Kind::Union(union) => {
                let inputs = union.inputs.into_iter().map(|input| self.node(input));
                Node::Union(Union { inputs: inputs.collect::<Result<_, _>>()?, meta })
            }
            proto::Kind::Join(join) => Node::Join(Box::new(self.join(*join, meta)?)),
            proto::Kind::Nearest(from) => Node::Nearest(Box::new(self.nearest(*from, meta)?)),
            proto::Kind::Upsert(upsert) => Node::Upsert(Box::new(self.upsert(*upsert, meta)?)),
            proto::Kind::Values(bytes) => {
                let rows = decode_delta(&bytes)?.rows;
                if rows.schema() != meta.schema {
                    return Err(damaged("constant rows of another schema"));
                }
                Node::Values(Values { rows, meta })
            }
            proto::Kind::TopN(top) => Node::TopN(Box::new(self.top_n(*top, meta)?)),
            proto::Kind::Over(over) => Node::Over(Box::new(self.over(*over, meta)?)),
            proto::Kind::Session(from) => Node::Session(Box::new(self.session(*from, meta)?)),
            proto::Kind::Stay(stay) => Node::Stay(Box::new(self.stay(*stay, meta)?)),
        })
    }

    fn step(&self, step: proto::Step, input: &SchemaRef) -> Result<Step, PlanError> {
        let columns = input.fields().len();
        Ok(match required(step.kind, "step")? {
            proto::StepKind::Filter(predicate) => Step::Filter(self.scalar(&predicate, input)?),
            proto::StepKind::Project(project) => Step::Project {
                expressions: (project.expressions.iter())
                    .map(|bytes| self.scalar(bytes, input))
                    .collect::<Result<_, _>>()?,
                schema: schema(&project.schema)?,
            },
            proto::StepKind::Hop(step) => Step::Hop {
                hop: hop(&required(step.hop, "hop")?, columns)?,
                schema: schema(&step.schema)?,
            },
            proto::StepKind::Unnest(step) => {
                let lists = indexes(&step.lists, columns)?;
                let is_list =
                    |list: &usize| matches!(input.field(*list).data_type(), DataType::List(_));
                if !lists.iter().all(is_list) {
                    return Err(damaged("what is unnested is a list"));
                }
                Step::Unnest { lists, schema: schema(&step.schema)? }
            }
            proto::StepKind::Late(check) => Step::Late(late(check, columns)?),
        })
    }

    fn aggregate(&self, from: proto::Aggregate, meta: Meta) -> Result<Aggregate, PlanError> {
        let input = self.node(*required(from.input, "input")?)?;
        let schema = &input.meta().schema;
        let columns = schema.fields().len();
        let group = indexes(&from.group, columns)?;
        let hop = from.hop.map(|from| hop(&from, group.len())).transpose()?;
        let calls = from.calls.into_iter().map(|from| self.call(from, schema));
        let calls = calls.collect::<Result<_, _>>()?;
        let width = meta.schema.fields().len();
        let settled = from.settled.map(|from| watermark(from, width)).transpose()?;
        Ok(Aggregate { input, group, hop, calls, settled, meta })
    }

    fn nearest(&self, from: proto::Nearest, meta: Meta) -> Result<Nearest, PlanError> {
        let left = self.node(*required(from.left, "left input")?)?;
        let right = self.node(*required(from.right, "right input")?)?;
        let keeps_left = from.keeps_left;
        let on = from.on.iter().map(|pair| join_pair(pair, &left, &right));
        let on = on.collect::<Result<_, _>>()?;
        let times = join_pair(&required(from.times, "times")?, &left, &right)?;
        let columns = left.meta().schema.fields().len();
        let settled = from.settled.map(|from| watermark(from, columns)).transpose()?;
        let schema = Nearest::output_schema(keeps_left, &left.meta().schema, &right.meta().schema);
        if meta.schema.fields().len() != schema.fields().len() {
            return Err(damaged("a join has the columns of its inputs"));
        }
        let side = NearestSide { later: from.later, strict: from.strict };
        Ok(Nearest { left, right, keeps_left, on, times, side, settled, meta })
    }

    fn join(&self, from: proto::Join, meta: Meta) -> Result<Join, PlanError> {
        let left = self.node(*required(from.left, "left input")?)?;
        let right = self.node(*required(from.right, "right input")?)?;
        let kind = join_kind(from.kind)?;
        let on = from.on.iter().map(|pair| join_pair(pair, &left, &right));
        let on = on.collect::<Result<_, _>>()?;
        let clean = |from: Option<proto::Watermark>, input: &Node| {
            let columns = input.meta().schema.fields().len();
            from.map(|from| watermark(from, columns)).transpose()
        };
        let clean = [clean(from.clean_left, &left)?, clean(from.clean_right, &right)?];
        let lookup = from.lookup;
        if lookup && !(kind.looks_up() && left.meta().append_only) {
            return Err(damaged("rows are looked up for others than those that only come"));
        }
        let mut join = Join { left, right, kind, on, filter: None, clean, lookup, meta };
        let (left, right) = (&join.left.meta().schema, &join.right.meta().schema);
        let width = Join::output_schema(kind, left, right).fields().len();
        if join.meta.schema.fields().len() != width {
            return Err(damaged("a join has the columns of its inputs"));
        }
        let pairs = join.pair_schema();
        join.filter = from.filter.map(|bytes| self.scalar(&bytes, &pairs)).transpose()?;
        Ok(join)
    }

    fn upsert(&self, from: proto::Upsert, meta: Meta) -> Result<Upsert, PlanError> {
        let input = self.node(*required(from.input, "input")?)?;
        let columns = input.meta().schema.fields().len();
        let width = meta.schema.fields().len();
        if width > columns {
            return Err(damaged("an upsert has columns that its input has not"));
        }
        Ok(Upsert {
            key: indexes(&from.key, width)?,
            deleted: from.deleted.map(|column| index(column, columns)).transpose()?,
            origin: (index(from.partition, columns)?, index(from.offset, columns)?),
            input,
            meta,
        })
    }

    fn top_n(&self, from: proto::TopN, meta: Meta) -> Result<TopN, PlanError> {
        let input = self.node(*required(from.input, "input")?)?;
        let columns = input.meta().schema.fields().len();
        let width = columns + usize::from(from.position.is_some());
        if meta.schema.fields().len() != width {
            return Err(damaged("a Top-N has the columns of its input"));
        }
        let (group, order) = (indexes(&from.group, columns)?, orders(&from.order, columns)?);
        let settled = from.settled.map(|from| watermark(from, columns)).transpose()?;
        let ties = from.ties.map(usize::try_from).transpose();
        let ties = ties.map_err(|_| damaged("rows tie by columns that are not there"))?;
        let proto::TopN { offset, limit, position, .. } = from;
        if ties.is_some_and(|ties| ties > order.len() || offset > 0) {
            return Err(damaged("rows tie by columns that are not there"));
        }
        Ok(TopN { input, group, order, offset, limit, position, ties, settled, meta })
    }

    fn over(&self, from: proto::Over, meta: Meta) -> Result<Over, PlanError> {
        let input = self.node(*required(from.input, "input")?)?;
        let schema = &input.meta().schema;
        let columns = schema.fields().len();
        let (group, order) = (indexes(&from.group, columns)?, orders(&from.order, columns)?);
        let calls = from.calls.into_iter().map(|call| self.over_call(call, schema, order.len()));
        let calls: Vec<OverCall> = calls.collect::<Result<_, _>>()?;
        if meta.schema.fields().len() != columns + calls.len() {
            return Err(damaged("window functions have a column each"));
        }
        let settled = from.settled.map(|from| watermark(from, columns)).transpose()?;
        Ok(Over { input, group, order, calls, settled, meta })
    }

    fn over_call(
        &self,
        from: proto::OverCall,
        input: &SchemaRef,
        order: usize,
    ) -> Result<OverCall, PlanError> {
        let name = from.function.as_str();
        let function = match from.aggregate {
            true => self.functions.aggregate_functions().get(name).cloned().map(Into::into),
            false => self.functions.window_functions().get(name).cloned().map(Into::into),
        };
        let function: Option<WindowFunctionDefinition> = function;
        let args = from.args.iter().map(|bytes| self.scalar(bytes, input));
        let output = schema(&from.output)?;
        let output: Option<&FieldRef> = output.fields().first();
        let frame = protobuf::WindowFrame::decode(from.frame.as_slice())?;
        Ok(OverCall {
            function: function.ok_or_else(|| damaged(format!("no function {name}")))?,
            args: args.collect::<Result<_, _>>()?,
            filter: from.filter.map(|at| index(at, input.fields().len())).transpose()?,
            order: index(from.order, order + 1)?,
            frame: WindowFrame::try_from(frame).map_err(|e| damaged(e.to_string()))?,
            ignore_nulls: from.ignore_nulls,
            distinct: from.distinct,
            output: Arc::clone(required(output, "output")?),
        })
    }

    fn session(&self, from: proto::Session, meta: Meta) -> Result<Session, PlanError> {
        let input = self.node(*required(from.input, "input")?)?;
        let columns = input.meta().schema.fields().len();
        if meta.schema.fields().len() != columns + 2 || from.gap <= 0 {
            return Err(damaged("sessions have a gap and two columns more than their input"));
        }
        let settled = from.settled.map(|from| watermark(from, columns + 2)).transpose()?;
        let (key, time) = (indexes(&from.key, columns)?, index(from.time, columns)?);
        Ok(Session { input, key, time, gap: from.gap, settled, meta })
    }

    fn stay(&self, from: proto::Stay, meta: Meta) -> Result<Stay, PlanError> {
        let input = self.node(*required(from.input, "input")?)?;
        let columns = input.meta().schema.fields().len();
        let clock = match from.watermark {
            None => Clock::Now,
            Some(from) => {
                let sources = from.sources.into_iter().map(ObjectId).collect();
                Clock::Watermark { shift: from.shift, sources }
            }
        };
        let time = |column: Option<u64>| column.map(|column| index(column, columns)).transpose();
        let (from, until) = (time(from.from)?, time(from.until)?);
        if meta.schema.fields().len() != columns || from.or(until).is_none() {
            return Err(damaged("rows that stay have a time and the columns of their input"));
        }
        Ok(Stay { input, clock, from, until, meta })
    }

    fn call(&self, call: proto::Call, input: &SchemaRef) -> Result<Call, PlanError> {
        let columns = input.fields().len();
        let function = match call.rebuild {
            Some(_) => Some(Function::Rebuilt),
            None => Function::ALL.into_iter().find(|f| f.name() == call.function),
        };
        let function = function.ok_or_else(|| damaged(format!("no function {}", call.function)))?;
        let rebuild = call.rebuild.map(|from| self.rebuild(&from, &call.function, input));
        let output = schema(&call.output)?;
        let output: Option<&FieldRef> = output.fields().first();
        Ok(Call {
            function,
            args: indexes(&call.args, columns)?,
            distinct: call.distinct,
            filter: call.filter.map(|column| index(column, columns)).transpose()?,
            order: orders(&call.order, columns)?,
            rebuild: rebuild.transpose()?,
            output: Arc::clone(required(output, "output")?),
        })
    }

    fn rebuild(
        &self,
        from: &proto::Rebuild,
        name: &str,
        input: &SchemaRef,
    ) -> Result<Rebuild, PlanError> {
        let function = self.functions.aggregate_functions().get(name);
        let function = function.ok_or_else(|| damaged(format!("no function {name}")))?;
        let args = from.args.iter().map(|bytes| self.scalar(bytes, input));
        let args = args.collect::<Result<_, _>>()?;
        Ok(Rebuild { function: Arc::clone(function), args, ordered: from.ordered })
    }

    fn scalar(&self, bytes: &[u8], input: &Schema) -> Result<Scalar, PlanError> {
        expression::decode(bytes, self.functions, input)
    }
}

fn orders(order: &[proto::Order], columns: usize) -> Result<Vec<Order>, PlanError> {
    let each = order.iter().map(|order| {
        Ok(Order {
            column: index(order.column, columns)?,
            descending: order.descending,
            nulls_first: order.nulls_first,
        })
    });
    each.collect()
}

fn join_kind(kind: i32) -> Result<JoinKind, PlanError> {
    Ok(match proto::JoinKind::try_from(kind) {
        Ok(proto::JoinKind::Inner) => JoinKind::Inner,
        Ok(proto::JoinKind::Left) => JoinKind::Left,
        Ok(proto::JoinKind::Right) => JoinKind::Right,
        Ok(proto::JoinKind::Full) => JoinKind::Full,
        Ok(proto::JoinKind::Semi) => JoinKind::Semi,
        Ok(proto::JoinKind::Anti) => JoinKind::Anti,
        Ok(proto::JoinKind::Unknown) | Err(_) => return Err(damaged("no kind of join")),
    })
}

fn join_pair(pair: &proto::JoinPair, left: &Node, right: &Node) -> Result<JoinPair, PlanError> {
    let (left, right) = (&left.meta().schema, &right.meta().schema);
    let pair = JoinPair {
        left: index(pair.left, left.fields().len())?,
        right: index(pair.right, right.fields().len())?,
        null_equal: pair.null_equal,
    };
    match left.field(pair.left).data_type() == right.field(pair.right).data_type() {
        true => Ok(pair),
        false => Err(damaged("joined columns have the same type")),
    }
}

fn leaf(leaf: &proto::Leaf, meta: Meta) -> Result<Leaf, PlanError> {
    let kind = match required(leaf.kind.as_ref(), "leaf")? {
        proto::LeafKind::Source(id) => LeafKind::Source(ObjectId(*id)),
        proto::LeafKind::View(id) => LeafKind::View(ObjectId(*id)),
    };
    if leaf.columns.len() != meta.schema.fields().len() {
        return Err(damaged("a leaf has as many columns as its schema"));
    }
    // The leaf's columns count in a schema that the catalog has.
    Ok(Leaf { kind, columns: indexes(&leaf.columns, usize::MAX)?, meta })
}

fn meta(meta: proto::Meta) -> Result<Meta, PlanError> {
    let schema = schema(&meta.schema)?;
    let columns = schema.fields().len();
    let watermarks = meta.watermarks.into_iter().map(|from| watermark(from, columns));
    Ok(Meta {
        key: indexes(&meta.key, columns)?,
        append_only: meta.append_only,
        watermarks: watermarks.collect::<Result<_, _>>()?,
        schema,
    })
}

fn late(check: proto::LateCheck, columns: usize) -> Result<LateCheck, PlanError> {
    Ok(LateCheck {
        close: watermark(required(check.close, "close")?, columns)?,
        hop: check.hop.map(|from| hop(&from, columns)).transpose()?,
        event_time: check.event_time.map(|column| index(column, columns)).transpose()?,
        origin: (index(check.partition, columns)?, index(check.offset, columns)?),
        to_end: check.to_end,
    })
}

fn hop(hop: &proto::Hop, columns: usize) -> Result<Hop, PlanError> {
    if hop.slide <= 0 || hop.size <= 0 {
        return Err(damaged("a window has a positive slide and size"));
    }
    if hop.cumulates && hop.size % hop.slide != 0 {
        return Err(damaged("cumulating windows have a whole number of steps"));
    }
    let column = index(hop.column, columns)?;
    let (slide, size, offset) = (hop.slide, hop.size, hop.offset);
    Ok(Hop { column, slide, size, offset, cumulates: hop.cumulates })
}

fn watermark(watermark: proto::Watermark, columns: usize) -> Result<Watermark, PlanError> {
    Ok(Watermark {
        column: index(watermark.column, columns)?,
        shift: watermark.shift,
        sources: watermark.sources.into_iter().map(ObjectId).collect(),
    })
}

fn schema(bytes: &[u8]) -> Result<SchemaRef, PlanError> {
    let schema = protobuf::Schema::decode(bytes)?;
    Ok(Arc::new(Schema::try_from(&schema).map_err(DataFusionError::from)?))
}

fn index(index: u64, columns: usize) -> Result<usize, PlanError> {
    let found = usize::try_from(index).ok().filter(|index| *index < columns);
    found.ok_or_else(|| damaged(format!("no column {index} of {columns}")))
}

fn indexes(all: &[u64], columns: usize) -> Result<Vec<usize>, PlanError> {
    all.iter().map(|i| index(*i, columns)).collect()
}

fn required<T>(value: Option<T>, what: &str) -> Result<T, PlanError> {
    value.ok_or_else(|| damaged(format!("{what} is missing")))
}
