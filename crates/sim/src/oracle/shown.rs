//! EXPLAIN numbers the operators of a plan by itself; the dataflow numbers them too. Here both must
//! say the same, for every plan that the oracle makes.

use std::cell::RefCell;

use millrace_dataflow::graph::Graph;
use millrace_plan::{Upstream, ViewPlan};
use millrace_sql::stream::explain_with;

/// How EXPLAIN's line of an operator begins, and how the dataflow calls it.
const NAMES: [(&str, &str); 8] = [
    ("Aggregate:", "aggregate"),
    ("Join:", "join"),
    ("Upsert:", "upsert"),
    ("Top-N:", "top-n"),
    ("Window:", "window"),
    ("Sessions:", "session"),
    ("Temporal filter:", "stay"),
    ("Final rows:", "stay"),
];

/// Every operator has its figures once, below its own line.
///
/// # Panics
/// If it has not.
pub(super) fn each_operator_once(plan: &ViewPlan) {
    let graph = Graph::new(plan);
    let seen = RefCell::new(Vec::new());
    let figures = |operator: Upstream| {
        seen.borrow_mut().push(operator);
        let Upstream::Stage(stage) = operator else { return None };
        Some(format!("= {}", graph.stages[stage].spec))
    };
    let text = explain_with(plan, &|id| id.to_string(), &figures);
    let leaves = (0..graph.leaves.len()).map(Upstream::Leaf);
    let constants = (0..graph.constants.len()).map(Upstream::Constant);
    let stages = (0..graph.stages.len()).map(Upstream::Stage);
    let mut seen = seen.into_inner();
    seen.sort_unstable();
    assert_eq!(seen, leaves.chain(constants).chain(stages).collect::<Vec<_>>(), "{text}");
    let mut last = "";
    for line in text.lines().map(str::trim_start) {
        if let Some(name) = line.strip_prefix("= ") {
            let known = NAMES.iter().find(|(begin, _)| last.starts_with(begin));
            let (_, wanted) = known.unwrap_or_else(|| panic!("no operator: {last}"));
            assert!(name.starts_with(wanted), "{name} stands below {last}");
        } else if !line.starts_with("state:") {
            last = line;
        }
    }
}
