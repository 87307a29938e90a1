//! EXPLAIN CREATE MATERIALIZED VIEW: the dataflow as a tree, the view at the top, sources below.
//!
//! One line per operator; an operator that keeps state says under which key, and when a row of its
//! state goes.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::WindowFrame;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use millrace_plan::{
    Aggregate, Call, Class, Clock, Hop, Join, JoinPair, LateCheck, Leaf, LeafKind, Meta, Node,
    Order, Over, OverCall, Scalar, Session, Stay, Step, TopN, ViewPlan, Watermark,
};
use millrace_types::ObjectId;

use super::time::show;
use crate::functions;
use crate::guard::unguarded;

/// The plan as text, lines separated by newlines. `names` gives the names of sources and views.
pub fn explain(plan: &ViewPlan, names: &dyn Fn(ObjectId) -> String) -> String {
    let mut printer = Printer { names, text: String::new() };
    let meta = plan.root.meta();
    let kind = if meta.append_only { ", append only" } else { "" };
    let key = columns(&meta.schema, &meta.key);
    let sort = columns(&meta.schema, &plan.sort);
    printer.line(0, &format!("View: key {key}, stored by {sort}{kind}"));
    printer.watermarks(1, meta);
    printer.node(1, &plan.root);
    readable(printer.text.trim_end())
}

struct Printer<'a> {
    names: &'a dyn Fn(ObjectId) -> String,
    text: String,
}

impl Printer<'_> {
    fn line(&mut self, depth: usize, line: &str) {
        for _ in 0..depth {
            self.text.push_str("  ");
        }
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn watermarks(&mut self, depth: usize, meta: &Meta) {
        if meta.append_only {
            return;
        }
        if let Some(watermark) = meta.watermarks.first() {
            let final_when = self.passed(watermark, &meta.schema, 0);
            self.line(depth, &format!("rows final when {final_when}"));
        }
    }

    /// `watermark of readings passes window_start + 00:00:10`.
    fn passed(&self, watermark: &Watermark, schema: &Schema, add: i64) -> String {
        let of: Vec<String> = watermark.sources.iter().map(|id| (self.names)(*id)).collect();
        let name = schema.field(watermark.column).name();
        let shift = match watermark.shift.saturating_add(add) {
            0 => String::new(),
            shift if shift < 0 => format!(" - {}", show(shift.saturating_neg())),
            shift => format!(" + {}", show(shift)),
        };
        format!("the watermark of {} reaches {name}{shift}", of.join(", "))
    }

    fn node(&mut self, depth: usize, node: &Node) {
        match node {
            Node::Leaf(leaf) => self.leaf(depth, leaf),
            Node::Chain(chain) => {
                let mut depth = depth;
                let mut schemas = vec![&chain.input.meta().schema];
                for step in &chain.steps {
                    schemas.extend(step.schema().or(schemas.last().copied()));
                }
                for (step, input) in chain.steps.iter().zip(&schemas).rev() {
                    let line = self.step(step, input);
                    self.line(depth, &line);
                    depth += 1;
                }
                self.node(depth, &chain.input);
            }
            Node::Aggregate(aggregate) => {
                self.aggregate(depth, aggregate);
                self.node(depth + 1, &aggregate.input);
            }
            Node::Session(session) => {
                self.session(depth, session);
                self.node(depth + 1, &session.input);
            }
            Node::Stay(stay) => {
                self.stay(depth, stay);
                self.node(depth + 1, &stay.input);
            }
            Node::Join(join) => {
                self.join(depth, join);
                self.node(depth + 1, &join.left);
                self.node(depth + 1, &join.right);
            }
            Node::Upsert(upsert) => {
                let key = columns(&upsert.meta.schema, &upsert.key);
                self.line(depth, &format!("Upsert: the newest row of each {key}"));
                self.line(depth + 1, "state: a row of each key, until it is deleted");
                self.node(depth + 1, &upsert.input);
            }
            Node::Values(values) => {
                let key = columns(&values.meta.schema, &values.meta.key);
                self.line(depth, &format!("Values: {} rows, key {key}", values.rows.num_rows()));
            }
            Node::TopN(top) => {
                self.top_n(depth, top);
                self.node(depth + 1, &top.input);
            }
            Node::Over(over) => {
                self.over(depth, over);
                self.node(depth + 1, &over.input);
            }
            Node::Union(union) => {
                let key = columns(&union.meta.schema, &union.meta.key);
                self.line(depth, &format!("Union: {} inputs, key {key}", union.inputs.len()));
                for input in &union.inputs {
                    self.node(depth + 1, input);
                }
            }
        }
    }

    fn join(&mut self, depth: usize, join: &Join) {
        let (left, right) = (&join.left.meta().schema, &join.right.meta().schema);
        let mut line = format!("Join: {}", join.kind.name());
        let pair = |pair: &JoinPair| {
            let equals = if pair.null_equal { "IS NOT DISTINCT FROM" } else { "=" };
            let (left, right) = (left.field(pair.left).name(), right.field(pair.right).name());
            format!("{left} {equals} {right}")
        };
        let pairs: Vec<String> = join.on.iter().map(pair).collect();
        match pairs.is_empty() {
            true => line.push_str(", each row with each"),
            false => line.push_str(&format!(" on {}", pairs.join(" AND "))),
        }
        if let Some(filter) = &join.filter {
            line.push_str(&format!(", if {}", expression(filter)));
        }
        line.push_str(&format!(", key {}", columns(&join.meta.schema, &join.meta.key)));
        self.line(depth, &line);
        let [Some(one), Some(other)] = &join.clean else {
            let state = "state: the rows of both inputs, each stays until it is retracted";
            return self.line(depth + 1, state);
        };
        for (side, clean, schema) in [("left", one, left), ("right", other, right)] {
            let goes = self.passed(clean, schema, 0);
            self.line(
                depth + 1,
                &format!("state: rows of the {side} input, each goes when {goes}"),
            );
        }
    }

    fn top_n(&mut self, depth: usize, top: &TopN) {
        let meta = top.input.meta();
        let group = columns(&meta.schema, &top.group);
        let mut line = format!("Top-N: {} rows", top.limit);
        if top.offset > 0 {
            line.push_str(&format!(" after {}", top.offset));
        }
        if !top.group.is_empty() {
            line.push_str(&format!(" per {group}"));
        }
        if !top.order.is_empty() {
            line.push_str(&format!(" by {}", ordered(&top.order, &meta.schema)));
        }
        if let Some(position) = &top.position {
            line.push_str(&format!(", position {position}"));
        }
        line.push_str(&format!(", key {}", columns(&top.meta.schema, &top.meta.key)));
        self.line(depth, &line);
        let kept = match meta.append_only {
            true => {
                let kept = top.offset.saturating_add(top.limit);
                let per =
                    if top.group.is_empty() { String::new() } else { format!(" per {group}") };
                format!("state: the first {kept} rows{per}")
            }
            false => format!("state: all rows, each {}", self.goes(&top.settled, &meta.schema)),
        };
        self.line(depth + 1, &kept);
    }

    /// When a row of a group goes.
    fn goes(&self, settled: &Option<Watermark>, schema: &Schema) -> String {
        match settled {
            Some(settled) => format!("goes when {}", self.passed(settled, schema, 0)),
            None => "stays until it is retracted".to_owned(),
        }
    }

    fn over(&mut self, depth: usize, over: &Over) {
        let input = &over.input.meta().schema;
        let partition = columns(input, &over.group);
        let calls: Vec<String> = over.calls.iter().map(|call| shown_over(call, input)).collect();
        let mut line = format!("Window: {}", calls.join(", "));
        if !over.group.is_empty() {
            line.push_str(&format!(", partition {partition}"));
        }
        if !over.order.is_empty() {
            line.push_str(&format!(" by {}", ordered(&over.order, input)));
        }
        line.push_str(&format!(", key {}", columns(&over.meta.schema, &over.meta.key)));
        self.line(depth, &line);
        let goes = self.goes(&over.settled, input);
        self.line(depth + 1, &format!("state: all rows with their results, each {goes}"));
    }

    fn session(&mut self, depth: usize, session: &Session) {
        let input = &session.input.meta().schema;
        let (key, time) = (columns(input, &session.key), input.field(session.time).name());
        let gap = show(session.gap);
        self.line(depth, &format!("Sessions: of {time}, key {key}, with pauses below {gap}"));
        let goes = match &session.settled {
            Some(settled) => {
                format!("goes when {}", self.passed(settled, &session.meta.schema, 0))
            }
            None => "stays until it is retracted".to_owned(),
        };
        self.line(depth + 1, &format!("state: rows by {key} and {time}, each {goes}"));
    }

    fn stay(&mut self, depth: usize, stay: &Stay) {
        let schema = &stay.input.meta().schema;
        let name = |column: &usize| schema.field(*column).name().clone();
        let (line, goes) = match &stay.clock {
            Clock::Now => {
                let from = stay.from.iter().map(|from| format!("now() >= {}", name(from)));
                let until = stay.until.iter().map(|until| format!("now() < {}", name(until)));
                let shown: Vec<String> = from.chain(until).collect();
                let last = stay.until.or(stay.from).map(|last| name(&last)).unwrap_or_default();
                let line = format!("Temporal filter: rows while {}", shown.join(" and "));
                (line, format!("now() reaches {last}"))
            }
            Clock::Watermark { shift, sources } => {
                let column = stay.from.unwrap_or_default();
                let close = Watermark { column, shift: *shift, sources: sources.clone() };
                let passed = self.passed(&close, schema, 0);
                (format!("Final rows: each once when {passed}"), passed)
            }
        };
        self.line(depth, &line);
        self.line(depth + 1, &format!("state: rows whose time is to come, each goes when {goes}"));
    }

    fn leaf(&mut self, depth: usize, leaf: &Leaf) {
        let (kind, id) = match leaf.kind {
            LeafKind::Source(id) => ("Source", id),
            LeafKind::View(id) => ("Changes of", id),
        };
        let all: Vec<usize> = (0..leaf.columns.len()).collect();
        let (name, shown) = ((self.names)(id), columns(&leaf.meta.schema, &all));
        let key = columns(&leaf.meta.schema, &leaf.meta.key);
        self.line(depth, &format!("{kind} {name}: columns {shown}, key {key}"));
    }

    fn step(&self, step: &Step, input: &Schema) -> String {
        match step {
            Step::Filter(condition) => format!("Filter: {}", expression(condition)),
            Step::Project { expressions, schema } => {
                let pairs = expressions.iter().zip(schema.fields());
                let shown = pairs.map(|(scalar, field)| {
                    let shown = expression(scalar);
                    match readable(&shown) == readable(field.name()) {
                        true => shown,
                        false => format!("{shown} AS {}", field.name()),
                    }
                });
                format!("Project: {}", shown.collect::<Vec<_>>().join(", "))
            }
            Step::Hop { hop, .. } => {
                let name = input.field(hop.column).name();
                format!("Windows: rows copied by {name} into {}", windows(hop))
            }
            Step::Unnest { lists, .. } => {
                format!("Unnest: rows copied by the places of {}", columns(input, lists))
            }
            Step::Late(check) => self.late(check, input),
        }
    }

    fn late(&self, check: &LateCheck, input: &Schema) -> String {
        match &check.hop {
            None => format!("Late: turned away once {}", self.passed(&check.close, input, 0)),
            Some(hop) => format!(
                "Late: turned away from a window once {}, windows of {}",
                self.passed(&check.close, input, hop.size),
                windows(hop)
            ),
        }
    }

    fn aggregate(&mut self, depth: usize, aggregate: &Aggregate) {
        let input = &aggregate.input.meta().schema;
        let output = &aggregate.meta.schema;
        let group: Vec<usize> = (0..aggregate.group.len()).collect();
        let group = columns(output, &group);
        let calls: Vec<String> =
            aggregate.calls.iter().map(|call| shown_call(call, input)).collect();
        let mut line = format!("Aggregate: group {group}");
        if !calls.is_empty() {
            line.push_str(", calls ");
            line.push_str(&calls.join(", "));
        }
        if let Some(hop) = &aggregate.hop {
            let pane = show(hop.pane());
            line.push_str(&format!(", panes of {pane} for windows of {}", windows(hop)));
        }
        self.line(depth, &line);
        let append_only = aggregate.input.meta().append_only;
        let in_place = append_only && aggregate.calls.iter().any(is_ordered);
        let goes = match &aggregate.settled {
            Some(settled) => format!("goes when {}", self.passed(settled, output, 0)),
            None if aggregate.group.is_empty() || in_place => "stays".to_owned(),
            None => "stays until the group has no rows".to_owned(),
        };
        let what = if aggregate.group.is_empty() {
            "one row".to_owned()
        } else {
            format!("a row per {group}")
        };
        self.line(depth + 1, &format!("state: {what}, {goes}"));
        let mut values: Vec<String> = Vec::new();
        for call in aggregate.calls.iter().filter(|call| counts_values(call, append_only)) {
            let by = if aggregate.group.is_empty() { "" } else { &format!("{group} and ") };
            let name = |index: &usize| input.field(*index).name().clone();
            let order = call.order.iter().map(|order| &order.column);
            let mut of: Vec<String> = order.chain(&call.args).map(name).collect();
            of.dedup();
            let filter = call.filter.iter().map(|filter| format!(" where {}", name(filter)));
            let filter: String = filter.collect();
            let line = format!("state: a count per {by}value of ({}){filter}", of.join(", "));
            if !values.contains(&line) {
                values.push(line);
            }
        }
        values.iter().for_each(|line| self.line(depth + 1, line));
    }
}

fn is_ordered(call: &Call) -> bool {
    call.class() == Class::Ordered
}

/// True if the call keeps a counted multiset.
fn counts_values(call: &Call, append_only: bool) -> bool {
    match call.class() {
        Class::Linear => false,
        Class::Ordered => !append_only,
        Class::Distinct | Class::Recompute => true,
    }
}

fn windows(hop: &Hop) -> String {
    if hop.cumulates {
        let shown = format!("up to {} by steps of {}", show(hop.size), show(hop.slide));
        return match hop.offset {
            0 => shown,
            offset => format!("{shown} from {}", show(offset)),
        };
    }
    let mut shown = format!("{} every {}", show(hop.size), show(hop.slide));
    if hop.offset != 0 {
        shown.push_str(&format!(" from {}", show(hop.offset)));
    }
    shown
}

fn shown_call(call: &Call, input: &Schema) -> String {
    let name = |index: &usize| input.field(*index).name().clone();
    let args: Vec<String> = match &call.rebuild {
        Some(rebuild) => rebuild.args.iter().map(argument).collect(),
        None => call.args.iter().map(name).collect(),
    };
    let args = if args.is_empty() { "*".to_owned() } else { args.join(", ") };
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let mut shown = format!("{}({distinct}{args}", call.name());
    let order = call.order.iter().map(|order| {
        let descending = if order.descending { " DESC" } else { "" };
        format!("{}{descending}", name(&order.column))
    });
    let order: Vec<String> = order.collect();
    if !order.is_empty() {
        shown.push_str(&format!(" ORDER BY {}", order.join(", ")));
    }
    shown.push(')');
    if let Some(filter) = &call.filter {
        shown.push_str(&format!(" FILTER ({})", name(filter)));
    }
    let class = match call.class() {
        Class::Linear => "linear",
        Class::Ordered => "ordered",
        Class::Distinct => "distinct",
        Class::Recompute => "recompute",
    };
    format!("{shown} {class}")
}

/// `sum(value) ROWS BETWEEN ...`; the frame that stands for none is left out.
fn shown_over(call: &OverCall, input: &Schema) -> String {
    let args: Vec<String> = call.args.iter().map(argument).collect();
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let mut shown = format!("{}({distinct}{})", call.function.name(), args.join(", "));
    if call.ignore_nulls {
        shown.push_str(" IGNORE NULLS");
    }
    if let Some(filter) = call.filter {
        shown.push_str(&format!(" FILTER ({})", input.field(filter).name()));
    }
    let frame = call.frame.to_string();
    let defaults = [WindowFrame::new(Some(false)), WindowFrame::new(None)];
    if !defaults.iter().any(|default| default.to_string() == frame) {
        shown.push_str(&format!(" {frame}"));
    }
    shown
}

/// `a DESC, b NULLS FIRST`, where PostgreSQL has NULLs otherwise.
fn ordered(order: &[Order], schema: &Schema) -> String {
    let each = order.iter().map(|order| {
        let name = schema.field(order.column).name();
        let descending = if order.descending { " DESC" } else { "" };
        let nulls = match (order.descending, order.nulls_first) {
            (false, true) => " NULLS FIRST",
            (true, false) => " NULLS LAST",
            _ => "",
        };
        format!("{name}{descending}{nulls}")
    });
    each.collect::<Vec<_>>().join(", ")
}

fn columns(schema: &Schema, indexes: &[usize]) -> String {
    let names = indexes.iter().map(|index| schema.field(*index).name().as_str());
    format!("({})", names.collect::<Vec<_>>().join(", "))
}

/// An argument; text is quoted.
fn argument(scalar: &Scalar) -> String {
    match scalar.0.downcast_ref::<Literal>().map(Literal::value) {
        Some(ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text))) => {
            format!("'{text}'")
        }
        _ => expression(scalar),
    }
}

/// An expression without the positions of its columns: `id@0` is `id`.
fn expression(scalar: &Scalar) -> String {
    if let Some(sum) = scalar.0.downcast_ref::<BinaryExpr>()
        && let Some(by) = sum.right().downcast_ref::<Literal>()
        && let ScalarValue::DurationMicrosecond(Some(micros)) = by.value()
    {
        let left = expression(&Scalar(Arc::clone(sum.left())));
        return format!("{left} {} {}", sum.op(), show(*micros));
    }
    without_positions(&with_operators(scalar).to_string())
}

/// The expression with operators in place of the functions that check them.
fn with_operators(scalar: &Scalar) -> Arc<dyn PhysicalExpr> {
    let plain = Arc::clone(&scalar.0).transform_up(|expr| {
        if let Some(plain) = unguarded(&expr) {
            return Ok(Transformed::yes(plain));
        }
        let call = expr.downcast_ref::<ScalarFunctionExpr>();
        if let (Some(call), [value, _]) =
            (call.filter(|call| call.name() == functions::CONVERT), expr.children().as_slice())
        {
            let cast = CastExpr::new(Arc::clone(value), call.return_type().clone(), None);
            return Ok(Transformed::yes(Arc::new(cast) as Arc<dyn PhysicalExpr>));
        }
        let operator = call.and_then(|call| functions::operator(call.name()));
        let children = expr.children();
        let (Some(operator), [left, right]) = (operator, children.as_slice()) else {
            drop(children);
            return Ok(Transformed::no(expr));
        };
        let binary = BinaryExpr::new(Arc::clone(left), operator, Arc::clone(right));
        Ok(Transformed::yes(Arc::new(binary) as Arc<dyn PhysicalExpr>))
    });
    plain.map_or_else(|_| Arc::clone(&scalar.0), |plain| plain.data)
}

fn without_positions(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let digits = rest[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let end = at + 1 + digits;
        shown.push_str(&rest[..if digits == 0 { end } else { at }]);
        rest = &rest[end..];
    }
    shown.push_str(rest);
    shown
}

/// The text with constants as SQL writes them; DataFusion names a column with their types.
fn readable(text: &str) -> String {
    let mut shown = intervals(text);
    let wrappers = [
        ("IntervalMonthDayNano(\"", "\")", ""),
        ("Utf8(\"", "\")", "'"),
        ("Int64(", ")", ""),
        ("Float64(", ")", ""),
    ];
    for (open, close, quote) in wrappers {
        while let Some(at) = shown.find(open) {
            let inner = at + open.len();
            let Some(length) = shown[inner..].find(close) else { break };
            let value = format!("{quote}{}{quote}", &shown[inner..inner + length]);
            shown.replace_range(at..inner + length + close.len(), &value);
        }
    }
    shown
}

/// Replaces the debug form of intervals.
fn intervals(text: &str) -> String {
    const NAME: &str = "IntervalMonthDayNano { ";
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(NAME) {
        let inner = &rest[at + NAME.len()..];
        let Some(end) = inner.find('}') else { break };
        let numbers: Vec<i64> = inner[..end]
            .split(',')
            .filter_map(|part| part.split(':').nth(1)?.trim().parse().ok())
            .collect();
        let [months, days, nanos] = numbers[..] else { break };
        shown.push_str(&rest[..at]);
        shown.push_str("INTERVAL '");
        for (count, unit) in [(months, "months "), (days, "days ")] {
            if count != 0 {
                shown.push_str(&format!("{count} {unit}"));
            }
        }
        shown.push_str(&show(nanos / 1_000));
        shown.push('\'');
        rest = &inner[end + 1..];
    }
    shown.push_str(rest);
    shown
}
