//! The root of a view: what is stored, under which key, in which order.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use millrace_plan::{Meta, Node, ViewPlan};
use millrace_types::{Report, SqlState, SqlType};

use super::close::on_close;
use super::relation::{Carry, Columns, Relation, column, hidden_name};
use super::tidy::tidy;
use super::time::bound;
use super::translate::Planner;

impl Planner<'_> {
    /// The plan of a view whose query is a relation with the columns of a schema.
    pub(super) fn root(&self, relation: Relation, schema: &DFSchema) -> Result<ViewPlan, Report> {
        let relation = self.copied(relation)?;
        let mut wanted = Columns::default();
        let mut names = BTreeSet::new();
        for (expr, field) in relation.columns.iter().zip(schema.fields()) {
            let name = field.name();
            if !names.insert(name) {
                let message = format!("column \"{name}\" specified more than once");
                return Err(Report::new(SqlState::DUPLICATE_COLUMN, message));
            }
            if SqlType::of_arrow(&self.type_of(expr, relation.schema())?).is_none() {
                let message = format!("column \"{name}\" has a type that cannot be stored yet");
                return Err(Report::new(SqlState::FEATURE_NOT_SUPPORTED, message));
            }
            wanted.push(expr.clone(), name);
        }
        let retains = self.options.retention_us.is_some();
        if self.options.wants_final_rows() {
            carry_bound(&relation, &mut wanted, retains);
        }
        let (mut node, _) = self.project(relation, wanted, Carry::Key)?;
        if self.options.emit_on_window_close {
            node = on_close(node)?;
        }
        let mut retention = None;
        if let Some(retention_us) = self.options.retention_us {
            let left = self.retained(node, retention_us)?;
            (node, retention) = (left.0, Some(left.1));
        }
        let mut root = tidy(node);
        let meta = meta_mut(&mut root);
        // A row of a source keeps its event time: with it in the key, rows are stored by time.
        if meta.append_only
            && let Some(first) = meta.watermarks.first()
            && !meta.key.contains(&first.column)
        {
            meta.key.push(first.column);
        }
        let leaves_by = retention.as_ref().map(|retention| retention.column);
        if let Some(column) = leaves_by.filter(|column| !meta.key.contains(column)) {
            meta.key.push(column);
        }
        let sort = sorted(meta, leaves_by);
        Ok(ViewPlan { root, sort, retention })
    }
}

/// Adds a column that bounds the rows, hidden, if none of those asked for does; rows that only come
/// have one where `appended` asks for it.
fn carry_bound(relation: &Relation, wanted: &mut Columns, appended: bool) {
    let meta = relation.node.meta();
    let is_bounded = |expr: &Expr| bound(expr, &meta.schema, &meta.watermarks).is_some();
    let Some(first) = meta.watermarks.iter().min_by_key(|watermark| watermark.shift) else {
        return;
    };
    if (appended || !meta.append_only) && !wanted.exprs().any(is_bounded) {
        let name = hidden_name(meta.schema.field(first.column).name(), wanted.len());
        wanted.push(column(&meta.schema, first.column), &name);
    }
}

/// What is known of a node's rows, to change.
pub(super) fn meta_mut(node: &mut Node) -> &mut Meta {
    match node {
        Node::Leaf(leaf) => &mut leaf.meta,
        Node::Chain(chain) => &mut chain.meta,
        Node::Aggregate(aggregate) => &mut aggregate.meta,
        Node::Union(union) => &mut union.meta,
        Node::Join(join) => &mut join.meta,
        Node::Nearest(nearest) => &mut nearest.meta,
        Node::Upsert(upsert) => &mut upsert.meta,
        Node::Values(values) => &mut values.meta,
        Node::TopN(top) => &mut top.meta,
        Node::Over(over) => &mut over.meta,
        Node::Stay(stay) => &mut stay.meta,
        Node::Session(session) => &mut session.meta,
    }
}

/// The key columns: the one by which rows leave, those bounded by a watermark, then other times.
fn sorted(meta: &Meta, leaves_by: Option<usize>) -> Vec<usize> {
    let rank = |index: &usize| {
        if leaves_by == Some(*index) {
            return 0;
        }
        let bounded = meta.watermarks.iter().any(|watermark| watermark.column == *index);
        let time = matches!(meta.schema.field(*index).data_type(), DataType::Timestamp(..));
        match (bounded, time) {
            (true, _) => 1,
            (false, true) => 2,
            (false, false) => 3,
        }
    };
    let mut sort = Arc::clone(&meta.schema)
        .fields()
        .iter()
        .enumerate()
        .map(|(i, _)| i)
        .filter(|index| meta.key.contains(index))
        .collect::<Vec<_>>();
    sort.sort_by_key(rank);
    sort
}
