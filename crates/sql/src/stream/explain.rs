//! EXPLAIN of a materialized view: the dataflow as a tree, the view at the top, sources below.
//!
//! One line per operator; an operator that keeps state says under which key, and when a row of its
//! state goes. Of a view that runs, a line of figures stands below each operator.

mod expression;

use arrow::datatypes::Schema;
use datafusion::logical_expr::WindowFrame;
use millrace_plan::{
    Aggregate, Call, Chain, Class, Clock, Hop, Join, JoinPair, LateCheck, Leaf, LeafKind, Meta,
    Nearest, Node, Order, Over, OverCall, Session, Stay, Step, TopN, Upstream, ViewPlan, Watermark,
};
use millrace_types::ObjectId;

use self::expression::{argument, expression, readable};
use super::time::show;

/// The plan as text, lines separated by newlines. `names` gives the names of sources and views.
pub fn explain(plan: &ViewPlan, names: &dyn Fn(ObjectId) -> String) -> String {
    explain_with(plan, names, &|_| None)
}

/// The same with a line of what `figures` says of each operator.
pub fn explain_with(
    plan: &ViewPlan,
    names: &dyn Fn(ObjectId) -> String,
    figures: &dyn Fn(Upstream) -> Option<String>,
) -> String {
    let mut printer = Printer { names, figures, text: String::new(), seen: [0; 3] };
    let meta = plan.root.meta();
    let kind = if meta.append_only { ", append only" } else { "" };
    let key = columns(&meta.schema, &meta.key);
    let sort = columns(&meta.schema, &plan.sort);
    printer.line(0, &format!("View: key {key}, stored by {sort}{kind}"));
    printer.watermarks(1, meta);
    if let Some(retention) = &plan.retention {
        let passed = printer.passed(retention, &meta.schema, 0);
        printer.line(1, &format!("rows leave when {passed}"));
    }
    printer.node(1, &plan.root);
    readable(printer.text.trim_end())
}

struct Printer<'a> {
    names: &'a dyn Fn(ObjectId) -> String,
    figures: &'a dyn Fn(Upstream) -> Option<String>,
    text: String,
    /// Leaves, constants and stateful operators that are printed with all that is below them.
    seen: [usize; 3],
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
        let depth = self.own(depth, node);
        self.figure(depth, node);
        node.inputs().into_iter().for_each(|input| self.node(depth, input));
        match node {
            Node::Leaf(_) => self.seen[0] += 1,
            Node::Values(_) => self.seen[1] += 1,
            Node::Chain(_) | Node::Union(_) => {}
            _ => self.seen[2] += 1,
        }
    }

    /// The figures of an operator, one line.
    fn figure(&mut self, depth: usize, node: &Node) {
        let [leaves, constants, stages] = self.seen;
        let operator = match node {
            Node::Leaf(_) => Upstream::Leaf(leaves),
            Node::Values(_) => Upstream::Constant(constants),
            Node::Chain(_) | Node::Union(_) => return,
            // It is numbered after those below it.
            _ => Upstream::Stage(stages + node.stages() - 1),
        };
        if let Some(line) = (self.figures)(operator) {
            self.line(depth, &line);
        }
    }

    /// What is said of the node itself; gives the depth of its inputs.
    fn own(&mut self, depth: usize, node: &Node) -> usize {
        match node {
            Node::Leaf(leaf) => self.leaf(depth, leaf),
            Node::Chain(chain) => return self.chain(depth, chain),
            Node::Aggregate(aggregate) => self.aggregate(depth, aggregate),
            Node::Session(session) => self.session(depth, session),
            Node::Stay(stay) => self.stay(depth, stay),
            Node::Join(join) => self.join(depth, join),
            Node::Nearest(nearest) => self.nearest(depth, nearest),
            Node::Upsert(upsert) => {
                let key = columns(&upsert.meta.schema, &upsert.key);
                self.line(depth, &format!("Upsert: the newest row of each {key}"));
                self.line(depth + 1, "state: a row of each key, until it is deleted");
            }
            Node::Values(values) => {
                let key = columns(&values.meta.schema, &values.meta.key);
                self.line(depth, &format!("Values: {} rows, key {key}", values.rows.num_rows()));
            }
            Node::TopN(top) => self.top_n(depth, top),
            Node::Over(over) => self.over(depth, over),
            Node::Union(union) => {
                let key = columns(&union.meta.schema, &union.meta.key);
                self.line(depth, &format!("Union: {} inputs, key {key}", union.inputs.len()));
            }
        }
        depth + 1
    }

    fn chain(&mut self, depth: usize, chain: &Chain) -> usize {
        let mut schemas = vec![&chain.input.meta().schema];
        for step in &chain.steps {
            schemas.extend(step.schema().or(schemas.last().copied()));
        }
        for (at, (step, input)) in chain.steps.iter().zip(&schemas).rev().enumerate() {
            let line = self.step(step, input);
            self.line(depth + at, &line);
        }
        depth + chain.steps.len()
    }

    fn nearest(&mut self, depth: usize, nearest: &Nearest) {
        let (left, right) = (&nearest.left.meta().schema, &nearest.right.meta().schema);
        let compared = |pair: &JoinPair, by: &str| {
            format!("{} {by} {}", left.field(pair.left).name(), right.field(pair.right).name())
        };
        let kind = if nearest.keeps_left { "left" } else { "inner" };
        let mut line = format!("ASOF join: {kind}");
        let pairs: Vec<String> = nearest.on.iter().map(|pair| compared(pair, "=")).collect();
        if !pairs.is_empty() {
            line.push_str(&format!(" on {}", pairs.join(" AND ")));
        }
        let which = if nearest.side.later { "first" } else { "last" };
        let times = compared(&nearest.times, nearest.side.operator());
        let key = columns(&nearest.meta.schema, &nearest.meta.key);
        self.line(depth, &format!("{line}, the {which} with {times}, key {key}"));
        let state = match &nearest.settled {
            None => "state: the rows of both inputs, each stays until it is retracted".to_owned(),
            Some(settled) if nearest.side.later => {
                let goes = self.passed(settled, right, 0);
                format!(
                    "state: rows of the right input, each goes when {goes}; of the left input those that \
                     have taken none of these, each goes with the one that it takes"
                )
            }
            Some(settled) => {
                let goes = self.passed(settled, left, 0);
                format!(
                    "state: rows of the left input, each goes when {goes}; of the right input the last \
                     one per key before that and all later ones"
                )
            }
        };
        self.line(depth + 1, &state);
    }

    fn join(&mut self, depth: usize, join: &Join) {
        let (left, right) = (&join.left.meta().schema, &join.right.meta().schema);
        let word = if join.lookup { "Lookup" } else { "Join" };
        let mut line = format!("{word}: {}", join.kind.name());
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
        if join.lookup {
            let state = "state: the rows of the right input, each stays until it is retracted";
            return self.line(depth + 1, state);
        }
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
        if top.ties.is_some() {
            line.push_str(" and those that tie");
        }
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
