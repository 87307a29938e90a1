//! Plans whose operators never let state go: what a view shows must not depend on its clean-up.

use millrace_plan::{Chain, Node, Union, ViewPlan};

/// The plan without what says when state goes. Rows that are late are turned away all the same.
pub(super) fn without_clean_up(plan: &ViewPlan) -> ViewPlan {
    ViewPlan { root: node(&plan.root), sort: plan.sort.clone() }
}

fn node(of: &Node) -> Node {
    match of {
        Node::Leaf(_) | Node::Values(_) => of.clone(),
        Node::Chain(chain) => {
            Node::Chain(Chain { input: Box::new(node(&chain.input)), ..chain.clone() })
        }
        Node::Union(union) => {
            Node::Union(Union { inputs: union.inputs.iter().map(node).collect(), ..union.clone() })
        }
        Node::Aggregate(aggregate) => {
            let mut aggregate = aggregate.clone();
            aggregate.input = node(&aggregate.input);
            // Of a row's windows some may be closed: panes do not tell, but this.
            aggregate.settled = aggregate.settled.filter(|_| aggregate.hop.is_some());
            Node::Aggregate(aggregate)
        }
        Node::Join(join) => {
            let mut join = join.clone();
            (join.left, join.right) = (node(&join.left), node(&join.right));
            join.clean = [None, None];
            Node::Join(join)
        }
        Node::Upsert(upsert) => {
            let mut upsert = upsert.clone();
            upsert.input = node(&upsert.input);
            Node::Upsert(upsert)
        }
        Node::TopN(top) => {
            let mut top = top.clone();
            (top.input, top.settled) = (node(&top.input), None);
            Node::TopN(top)
        }
        Node::Over(over) => {
            let mut over = over.clone();
            (over.input, over.settled) = (node(&over.input), None);
            Node::Over(over)
        }
        // What it waits for is what it shows.
        Node::Stay(stay) => {
            let mut stay = stay.clone();
            stay.input = node(&stay.input);
            Node::Stay(stay)
        }
        Node::Session(session) => {
            let mut session = session.clone();
            (session.input, session.settled) = (node(&session.input), None);
            Node::Session(session)
        }
    }
}
