//! Which functions and steps a run has reached: an oracle that never asks proves nothing.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::execution::SessionState;
use millrace_plan::{
    Aggregate, Clock, Join, JoinKind, LeafKind, Nearest, Node, Over, Stay, Step, TopN, ViewPlan,
};

use super::scalar;
use super::sql::TABLE_ID;

/// Forms of a statement that become other operators, by what stands in its text.
const FORMS: [&str; 28] = [
    " OFFSET 1)",
    " HAVING count(*) <> 1)",
    " % 3 <> 0) AS q",
    "CROSS JOIN LATERAL (SELECT ",
    "LEFT JOIN LATERAL (SELECT ",
    " LIMIT(",
    "(SELECT max(n) FROM (SELECT rank()",
    "IN (SELECT count(*) OVER()",
    " USING (",
    " NATURAL ",
    " WITH ORDINALITY ",
    ", generate_series(",
    "JOIN generate_series(",
    " WITH TIES",
    " INTERSECT ALL ",
    " EXCEPT ALL ",
    " GROUPING SETS ",
    " ROLLUP ",
    " CUBE ",
    "(SELECT count(*)",
    "(SELECT max(",
    " LIMIT 1)",
    " IN (SELECT ",
    " NOT IN (SELECT ",
    " ANY (SELECT ",
    " ALL (SELECT ",
    "EXISTS (SELECT ",
    " OR ",
];

/// Steps, operators and happenings that a run must have reached.
const WANTED: &[&str] = &[
    "upsert",
    "top-n with ties",
    "top-n with ties of rows that only come",
    "frame that is computed anew",
    "window that turns late rows away",
    "top-n that turns late rows away",
    "inner asof join with >=",
    "inner asof join with >",
    "inner asof join with <=",
    "inner asof join with <",
    "left asof join with >=",
    "left asof join with >",
    "left asof join with <=",
    "left asof join with <",
    "asof join without equality",
    "asof join that settles with earlier rows",
    "asof join that settles with later rows",
    "inner lookup",
    "left lookup",
    "lookup by key of rows with a time",
    "retention of rows that only come",
    "retention of rows that change",
    "sessions that close",
    "sessions that stay",
    "window that settles",
    "top-n that settles",
    "leaf source",
    "leaf table",
    "leaf view",
    "union",
    "values",
    "filter",
    "project",
    "copies for windows",
    "unnest",
    "late check",
    "late check of panes",
    "filter of a call",
    "filters of one distinct value",
    "Linear",
    "Ordered",
    "Distinct",
    "Recompute",
    "panes",
    "settled",
    "global",
    "no calls",
    "over changing rows",
    "late rows",
    "stops",
    "compared",
    "compared without late rows",
    "join with NULLs equal",
    "join without equality",
    "join on several columns",
    "join with a condition",
    "join with itself",
    "join of changing rows",
    "join that only appends",
    "top-n of all rows",
    "top-n of groups",
    "top-n of one row",
    "top-n after others",
    "top-n with positions",
    "top-n of changing rows",
    "top-n of rows that only come",
    "window with a filter",
    "window of all rows",
    "window of partitions",
    "windows of one order",
    "window over a window",
    "window of changing rows",
    "sliding frame of ROWS",
    "sliding frame of RANGE",
    "sliding frame of GROUPS",
    "growing frame of ROWS",
    "growing frame of RANGE",
    "growing frame of GROUPS",
    "whole frame of ROWS",
    "join whose state is cleaned",
    "cleaned join of changing rows",
    "final rows",
    "cumulating panes",
    "copies for cumulating windows",
    "calendar windows",
    "temporal filter on both sides",
    "temporal filter until",
    "temporal filter from",
];

/// How often each thing was planned or happened.
#[derive(Debug, Default)]
pub(super) struct Coverage(BTreeMap<String, u64>);

impl Coverage {
    /// Counts one.
    pub(super) fn hit(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    /// Counts what a plan is made of.
    pub(super) fn plan(&mut self, plan: &ViewPlan) {
        if format!("{plan:?}").contains("millrace_calendar") {
            self.hit("calendar windows");
        }
        if plan.retention.is_some() {
            self.hit(match plan.root.meta().append_only {
                true => "retention of rows that only come",
                false => "retention of rows that change",
            });
        }
        self.node(&plan.root);
    }

    /// Counts forms of a statement that its plan does not tell.
    pub(super) fn text(&mut self, text: &str) {
        for form in FORMS.map(str::to_owned).into_iter().chain(scalar::marks()) {
            if text.contains(&form) {
                self.hit(form);
            }
        }
        for call in text.split('(') {
            let named = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            let name = call.rsplit(named).next().unwrap_or_default();
            self.hit(format!("{name}()"));
        }
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::Leaf(leaf) => self.hit(match leaf.kind {
                LeafKind::Source(_) => "leaf source",
                LeafKind::View(TABLE_ID) => "leaf table",
                LeafKind::View(_) => "leaf view",
            }),
            Node::Chain(chain) => chain.steps.iter().for_each(|step| self.step(step)),
            Node::Aggregate(aggregate) => self.aggregate(aggregate),
            Node::Union(_) => self.hit("union"),
            Node::Values(_) => self.hit("values"),
            Node::Join(join) => self.join(join),
            Node::Nearest(nearest) => self.nearest(nearest),
            Node::Upsert(_) => self.hit("upsert"),
            Node::TopN(top) => self.top_n(top),
            Node::Over(over) => self.over(over),
            Node::Stay(stay) => {
                self.hit(stay_name(stay));
                if is_of_full_join(stay) {
                    self.hit("final rows of a full join");
                }
            }
            Node::Session(session) => self.hit(match session.settled {
                Some(_) => "sessions that close",
                None => "sessions that stay",
            }),
        }
        node.inputs().into_iter().for_each(|input| self.node(input));
    }

    fn join(&mut self, join: &Join) {
        if join.lookup {
            self.hit(format!("{} lookup", join.kind.name()));
            if !join.meta.watermarks.is_empty() {
                self.hit("lookup by key of rows with a time");
            }
        }
        self.hit(join_name(join.kind));
        let kinds = |node: &Node| node.leaves().iter().map(|leaf| leaf.kind).collect::<Vec<_>>();
        let changes = |node: &Node| !node.meta().append_only;
        for (what, there) in [
            ("join with NULLs equal", join.on.iter().any(|pair| pair.null_equal)),
            ("join without equality", join.on.is_empty()),
            ("join on several columns", join.on.len() > 1),
            ("join with a condition", join.filter.is_some()),
            ("join with itself", kinds(&join.left) == kinds(&join.right)),
            ("join of changing rows", changes(&join.left) && changes(&join.right)),
            ("join that only appends", join.meta.append_only),
            ("join whose state is cleaned", join.clean.iter().any(Option::is_some)),
            (
                "cleaned join of changing rows",
                join.clean.iter().any(Option::is_some) && changes(&join.left),
            ),
        ] {
            if there {
                self.hit(what);
            }
        }
    }

    fn nearest(&mut self, nearest: &Nearest) {
        let kind = if nearest.keeps_left { "left" } else { "inner" };
        self.hit(format!("{kind} asof join with {}", nearest.side.operator()));
        if nearest.on.is_empty() {
            self.hit("asof join without equality");
        }
        if nearest.settled.is_some() {
            self.hit(match nearest.side.later {
                false => "asof join that settles with earlier rows",
                true => "asof join that settles with later rows",
            });
        }
    }

    fn over(&mut self, over: &Over) {
        for call in &over.calls {
            self.hit(over_name(call.function.name()));
            let (from, to) = (&call.frame.start_bound, &call.frame.end_bound);
            let kind = match (from.is_unbounded(), to.is_unbounded()) {
                (true, true) => "whole",
                (true, false) | (false, true) => "growing",
                (false, false) => "sliding",
            };
            self.hit(format!("{kind} frame of {}", call.frame.units));
            if kind == "sliding" && ["string_agg", "median"].contains(&call.function.name()) {
                self.hit("frame that is computed anew");
            }
            if call.filter.is_some() {
                self.hit("window with a filter");
            }
        }
        for (what, there) in [
            ("window that settles", over.settled.is_some()),
            ("window that turns late rows away", turns_away(&over.input)),
            ("window of all rows", over.group.is_empty()),
            ("window of partitions", !over.group.is_empty()),
            ("windows of one order", over.calls.len() > 1),
            ("window over a window", matches!(over.input, Node::Over(_))),
            ("window of changing rows", !over.input.meta().append_only),
        ] {
            if there {
                self.hit(what);
            }
        }
    }

    fn top_n(&mut self, top: &TopN) {
        let changes = !top.input.meta().append_only;
        for (what, there) in [
            ("top-n that settles", top.settled.is_some()),
            ("top-n that turns late rows away", turns_away(&top.input)),
            ("top-n with ties", top.ties.is_some()),
            ("top-n with ties of rows that only come", top.ties.is_some() && !changes),
            ("top-n of all rows", top.group.is_empty()),
            ("top-n of groups", !top.group.is_empty()),
            ("top-n of one row", top.limit == 1),
            ("top-n after others", top.offset > 0),
            ("top-n with positions", top.position.is_some()),
            ("top-n of changing rows", changes),
            ("top-n of rows that only come", !changes),
        ] {
            if there {
                self.hit(what);
            }
        }
    }

    fn step(&mut self, step: &Step) {
        self.hit(match step {
            Step::Filter(_) => "filter",
            Step::Project { .. } => "project",
            Step::Hop { hop, .. } if hop.cumulates => "copies for cumulating windows",
            Step::Hop { .. } => "copies for windows",
            Step::Unnest { .. } => "unnest",
            Step::Late(check) if check.hop.is_some() => "late check of panes",
            Step::Late(_) => "late check",
        });
    }

    fn aggregate(&mut self, aggregate: &Aggregate) {
        for call in &aggregate.calls {
            self.hit(call.name());
            self.hit(format!("{:?}", call.class()));
            if !aggregate.input.meta().append_only {
                self.hit(format!("{} over changing rows", call.name()));
            }
            if call.distinct {
                self.hit(format!("{} of distinct values", call.name()));
            }
            if call.filter.is_some() {
                self.hit("filter of a call");
            }
        }
        let distinct = || aggregate.calls.iter().filter(|call| call.distinct);
        let twice = distinct()
            .any(|one| distinct().any(|other| one.args == other.args && one.filter < other.filter));
        for (what, there) in [
            ("filters of one distinct value", twice),
            ("panes", aggregate.hop.is_some()),
            ("cumulating panes", aggregate.hop.as_ref().is_some_and(|hop| hop.cumulates)),
            ("settled", aggregate.settled.is_some()),
            ("global", aggregate.group.is_empty()),
            ("no calls", aggregate.calls.is_empty()),
            ("over changing rows", !aggregate.input.meta().append_only),
        ] {
            if there {
                self.hit(what);
            }
        }
    }

    /// What was reached, and how often.
    pub(super) fn say(&self) -> String {
        let counts = self.0.iter().map(|(what, times)| format!("{what}: {times}"));
        counts.collect::<Vec<_>>().join("; ")
    }

    /// Panics unless everything was reached.
    pub(super) fn check(&self, state: &SessionState) {
        let never = self.never(state);
        assert!(never.is_empty(), "never reached: {never:?}; reached: {:#?}", self.0);
    }

    /// True if something of a list was reached.
    pub(super) fn reached(&self, any_of: &[String]) -> bool {
        any_of.iter().any(|what| self.0.contains_key(what))
    }

    /// What was not reached yet; every aggregate function of the session is among the wishes.
    pub(super) fn never(&self, state: &SessionState) -> Vec<String> {
        let adding = ["count", "sum", "avg", "var_pop", "var_samp", "stddev_pop", "stddev_samp"];
        let distinct = adding.iter().map(|name| format!("{name} of distinct values"));
        let functions = functions(state).into_iter();
        let functions =
            functions.flat_map(|name| [format!("{name} over changing rows"), name]).chain(distinct);
        let joins = JoinKind::ALL.into_iter().map(join_name);
        let windows = state.window_functions().values();
        let windows = windows.map(|function| over_name(function.name()));
        let others = WANTED.iter().chain(&FORMS).map(ToString::to_string);
        let wanted = functions.chain(joins).chain(windows).chain(others);
        let called = |(name, others): &(String, Vec<String>)| {
            let mut names = others.iter().chain([name]);
            names.any(|name| self.0.contains_key(&format!("{name}()")))
        };
        let scalars = scalar::wanted(state).into_iter().filter(|names| !called(names));
        let scalars = scalars.map(|(name, _)| format!("{name}()"));
        let wanted = wanted.chain(scalar::marks()).chain(scalars);
        wanted.filter(|what| !self.0.contains_key(what)).collect()
    }
}

/// True for rows of a full join that wait until they are final.
fn is_of_full_join(stay: &Stay) -> bool {
    let join = match &stay.input {
        Node::Chain(chain) => chain.input.as_ref(),
        other => other,
    };
    matches!(join, Node::Join(join) if join.kind == JoinKind::Full && stay.clock != Clock::Now)
}

/// True for rows without those that come too late.
fn turns_away(node: &Node) -> bool {
    let is_late = |step: &Step| matches!(step, Step::Late(_));
    matches!(node, Node::Chain(chain) if chain.steps.iter().any(is_late))
}

fn stay_name(stay: &Stay) -> &'static str {
    match (&stay.clock, stay.from, stay.until) {
        (Clock::Watermark { .. }, ..) => "final rows",
        (Clock::Now, Some(_), Some(_)) => "temporal filter on both sides",
        (Clock::Now, None, _) => "temporal filter until",
        (Clock::Now, _, None) => "temporal filter from",
    }
}

fn join_name(kind: JoinKind) -> String {
    format!("{} join", kind.name())
}

fn over_name(function: &str) -> String {
    format!("{function} of a window")
}

/// The aggregate functions of a session, but for `grouping`, which the planner replaces.
fn functions(state: &SessionState) -> BTreeSet<String> {
    let names = state.aggregate_functions().values().map(|function| function.name().to_owned());
    names.filter(|name| name != "grouping").collect()
}
