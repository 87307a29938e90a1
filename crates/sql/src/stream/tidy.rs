//! Fuses projections, drops those that change nothing, reads no column that nobody uses.
//!
//! Invariants: 1. a value that costs something is never computed twice because of fusing. 2. the
//! rows that leave a node stay as they were.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use millrace_plan::{
    Aggregate, Chain, Join, Leaf, Meta, Nearest, Node, Over, Scalar, Session, Stay, Step, TopN,
    Union, Watermark,
};

type Expression = Arc<dyn PhysicalExpr>;

/// The same plan with fewer steps.
pub(super) fn tidy(node: Node) -> Node {
    match node {
        // An upsert stands in tables only, over their leaf.
        Node::Leaf(_) | Node::Values(_) | Node::Upsert(_) => node,
        Node::Aggregate(aggregate) => {
            Node::Aggregate(Box::new(Aggregate { input: tidy(aggregate.input), ..*aggregate }))
        }
        Node::Union(Union { inputs, meta }) => {
            Node::Union(Union { inputs: inputs.into_iter().map(tidy).collect(), meta })
        }
        Node::Join(join) => {
            let (left, right) = (tidy(join.left), tidy(join.right));
            Node::Join(Box::new(Join {
                left,
                right,
                kind: join.kind,
                on: join.on,
                filter: join.filter,
                clean: join.clean,
                lookup: join.lookup,
                meta: join.meta,
            }))
        }
        Node::Nearest(nearest) => {
            let (left, right) = (tidy(nearest.left), tidy(nearest.right));
            let Nearest { keeps_left, on, times, side, settled, meta, .. } = *nearest;
            let tidied = Nearest { left, right, keeps_left, on, times, side, settled, meta };
            Node::Nearest(Box::new(tidied))
        }
        Node::TopN(top) => Node::TopN(Box::new(TopN { input: tidy(top.input), ..*top })),
        Node::Over(over) => Node::Over(Box::new(Over { input: tidy(over.input), ..*over })),
        Node::Session(session) => {
            Node::Session(Box::new(Session { input: tidy(session.input), ..*session }))
        }
        Node::Stay(stay) => Node::Stay(Box::new(Stay { input: tidy(stay.input), ..*stay })),
        Node::Chain(Chain { input, steps, meta }) => {
            let input = without_position(tidy(*input), &steps);
            let mut before = Arc::clone(&input.meta().schema);
            let mut kept: Vec<Step> = Vec::with_capacity(steps.len());
            for step in steps {
                let step = match kept.last().and_then(|last| fused(last, &step)) {
                    Some(both) => {
                        kept.pop();
                        before = schema_before(&kept, &input);
                        both
                    }
                    None => step,
                };
                if !is_identity(&step, &before) {
                    if let Some(schema) = step.schema() {
                        before = Arc::clone(schema);
                    }
                    kept.push(step);
                }
            }
            match kept.is_empty() {
                true => input,
                false => pruned(Chain { input: Box::new(input), steps: kept, meta }),
            }
        }
    }
}

fn schema_before(steps: &[Step], input: &Node) -> SchemaRef {
    let last = steps.iter().rev().find_map(Step::schema);
    Arc::clone(last.unwrap_or(&input.meta().schema))
}

fn is_identity(step: &Step, before: &SchemaRef) -> bool {
    let Step::Project { expressions, schema } = step else { return false };
    let same = |(index, expression): (usize, &Scalar)| column(&expression.0) == Some(index);
    schema == before && expressions.iter().enumerate().all(same)
}

fn column(expression: &Expression) -> Option<usize> {
    expression.downcast_ref::<Column>().map(Column::index)
}

/// Two projections as one, if no value would be computed twice.
fn fused(first: &Step, second: &Step) -> Option<Step> {
    let (Step::Project { expressions: inner, .. }, Step::Project { expressions, schema }) =
        (first, second)
    else {
        return None;
    };
    let mut uses: BTreeMap<usize, usize> = BTreeMap::new();
    for expression in expressions {
        for index in columns_of(&expression.0) {
            *uses.entry(index).or_default() += 1;
        }
    }
    let costs = |index: &usize| {
        inner.get(*index).is_none_or(|inner| {
            column(&inner.0).is_none() && inner.0.downcast_ref::<Literal>().is_none()
        })
    };
    if uses.iter().any(|(index, count)| *count > 1 && costs(index)) {
        return None;
    }
    let replaced = expressions.iter().map(|expression| {
        map_columns(&expression.0, &|index| inner.get(index).map(|inner| Arc::clone(&inner.0)))
    });
    let expressions = replaced.collect::<Option<Vec<_>>>()?;
    Some(Step::Project { expressions, schema: Arc::clone(schema) })
}

/// The columns that an expression uses, as often as it uses them.
fn columns_of(expression: &Expression) -> Vec<usize> {
    let mut found = Vec::new();
    let walked = expression.apply(|part| {
        found.extend(column(part));
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "nothing in the walk fails");
    found
}

fn map_columns(
    expression: &Expression,
    map: &dyn Fn(usize) -> Option<Expression>,
) -> Option<Scalar> {
    let mut lost = false;
    let mapped = Arc::clone(expression).transform_up(|part| {
        Ok(match column(&part) {
            None => Transformed::no(part),
            Some(index) => match map(index) {
                Some(with) => Transformed::yes(with),
                None => {
                    lost = true;
                    Transformed::no(part)
                }
            },
        })
    });
    mapped.ok().filter(|_| !lost).map(|mapped| Scalar(mapped.data))
}

/// A Top-N that does not say the rows' positions if no step up to the first projection uses them: one
/// row less would then change all behind it.
fn without_position(input: Node, steps: &[Step]) -> Node {
    let Node::TopN(mut top) = input else { return input };
    let position = top.meta.schema.fields().len() - 1;
    let mut used = top.position.is_none();
    for step in steps {
        match step {
            Step::Filter(predicate) => used |= columns_of(&predicate.0).contains(&position),
            Step::Project { expressions, .. } => {
                used |= expressions.iter().any(|e| columns_of(&e.0).contains(&position));
                if !used {
                    top.position = None;
                    top.meta.schema = TopN::output_schema(&top.input.meta().schema, None);
                }
                break;
            }
            Step::Hop { .. } | Step::Unnest { .. } | Step::Late(_) => break,
        }
    }
    Node::TopN(top)
}

/// Takes columns away from a leaf that no step up to the first projection uses. Key columns stay:
/// they name the row in errors.
fn pruned(chain: Chain) -> Node {
    let Node::Leaf(leaf) = chain.input.as_ref() else { return Node::Chain(chain) };
    let Some(last) = chain.steps.iter().position(|step| !matches!(step, Step::Filter(_))) else {
        return Node::Chain(chain);
    };
    let Step::Project { expressions, .. } = &chain.steps[last] else {
        return Node::Chain(chain);
    };
    let mut used: Vec<usize> = leaf.meta.key.clone();
    used.extend(expressions.iter().flat_map(|expression| columns_of(&expression.0)));
    for step in &chain.steps[..last] {
        if let Step::Filter(predicate) = step {
            used.extend(columns_of(&predicate.0));
        }
    }
    let kept: Vec<usize> = (0..leaf.columns.len()).filter(|index| used.contains(index)).collect();
    if kept.is_empty() || kept.len() == leaf.columns.len() {
        return Node::Chain(chain);
    }
    let smaller = narrowed(leaf, &kept);
    let remap = |expression: &Scalar| {
        map_columns(&expression.0, &|index| {
            let position = kept.iter().position(|column| *column == index)?;
            let name = smaller.meta.schema.field(position).name();
            Some(Arc::new(Column::new(name, position)) as Expression)
        })
    };
    let steps = chain.steps[..=last].iter().map(|step| match step {
        Step::Filter(predicate) => remap(predicate).map(Step::Filter),
        Step::Project { expressions, schema } => {
            let expressions = expressions.iter().map(remap).collect::<Option<_>>()?;
            Some(Step::Project { expressions, schema: Arc::clone(schema) })
        }
        Step::Hop { .. } | Step::Unnest { .. } | Step::Late(_) => None,
    });
    match steps.collect::<Option<Vec<_>>>() {
        None => Node::Chain(chain),
        Some(mut steps) => {
            steps.extend_from_slice(&chain.steps[last + 1..]);
            Node::Chain(Chain { input: Box::new(Node::Leaf(smaller)), steps, meta: chain.meta })
        }
    }
}

fn narrowed(leaf: &Leaf, kept: &[usize]) -> Leaf {
    let position = |index: &usize| kept.iter().position(|column| column == index);
    let fields = kept.iter().map(|index| Arc::clone(&leaf.meta.schema.fields()[*index]));
    let watermarks = leaf.meta.watermarks.iter().filter_map(|watermark| {
        Some(Watermark { column: position(&watermark.column)?, ..watermark.clone() })
    });
    Leaf {
        kind: leaf.kind,
        columns: kept.iter().map(|index| leaf.columns[*index]).collect(),
        meta: Meta {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            key: leaf.meta.key.iter().filter_map(position).collect(),
            append_only: leaf.meta.append_only,
            watermarks: watermarks.collect(),
        },
    }
}
