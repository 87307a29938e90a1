//! A relation on its way from the logical plan to nodes.
//!
//! Projections stay symbolic: each column of the logical plan is an expression over the columns of
//! the last real node. Only what must stand as a column (a group key, an argument, a stored column,
//! a value used twice) is computed, in one projection.
//!
//! Invariants: 1. the node's column names are unique, so that a name is a column. 2. while windows
//! are pending, [`WINDOW`] stands for the window's start, and only then.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Cast, Expr};
use datafusion::physical_expr::expressions;
use millrace_plan::{Chain, Hop, Meta, Node, Scalar, Step};
use millrace_types::{OFFSET_COLUMN, PARTITION_COLUMN, Report, SqlType, is_hidden};

use super::refuse::{failure, internal};
use super::temporal::uses_now;
use super::time::{affine, bound};
use super::translate::Planner;

/// Stands for the start of a pending window in expressions; no column can have this name.
pub(super) const WINDOW: &str = "\u{0}window";

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    /// What is built so far.
    pub(super) node: Node,
    /// The columns of the logical plan, over those of the node.
    pub(super) columns: Vec<Expr>,
    /// The node's column that holds the event time of a row of a source.
    pub(super) event_time: Option<usize>,
    /// Hopping windows that rows have not been copied into.
    pub(super) hop: Option<PendingHop>,
}

/// Hopping windows over a time that is not computed yet.
#[derive(Clone, Debug)]
pub(super) struct PendingHop {
    pub(super) time: Expr,
    pub(super) hop: Hop,
    /// Conditions that use the window's start.
    pub(super) filters: Vec<Expr>,
}

/// The columns to compute, each once; equal expressions share one.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns(Vec<(Expr, String)>);

impl Columns {
    pub(super) fn add(&mut self, expr: Expr, name: &str) -> usize {
        let expr = expr.unalias_nested().data;
        let found = self.0.iter().position(|(known, _)| *known == expr);
        found.unwrap_or_else(|| self.push(expr, name))
    }

    /// Adds a column even if an equal one is there.
    pub(super) fn push(&mut self, expr: Expr, name: &str) -> usize {
        self.0.push((expr, name.to_owned()));
        self.0.len() - 1
    }

    /// What is computed, in order.
    pub(super) fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.0.iter().map(|(expr, _)| expr)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// What else than the asked columns leaves a projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carry {
    /// Nothing: the key of the rows is lost.
    Nothing,
    /// The key columns, hidden where they are not among those asked for.
    Key,
    /// The key and the event time.
    KeyAndTime,
}

/// A reference to a node's column.
pub(super) fn column(schema: &Schema, index: usize) -> Expr {
    Expr::Column(Column::new_unqualified(schema.field(index).name().clone()))
}

/// The index of the column that an expression is, if it is one.
pub(super) fn as_column(expr: &Expr, schema: &Schema) -> Option<usize> {
    match expr {
        Expr::Alias(alias) => as_column(&alias.expr, schema),
        Expr::Column(column) => schema.index_of(&column.name).ok(),
        _ => None,
    }
}

/// `_partition` and `_offset` of a row, if the rows are those of sources, each once.
pub(super) fn origin(meta: &Meta) -> Option<(usize, usize)> {
    let found = |name| meta.schema.index_of(name).ok();
    meta.append_only.then_some(())?;
    Some((found(PARTITION_COLUMN)?, found(OFFSET_COLUMN)?))
}

/// The type that a stored column has for an expression's type.
pub(super) fn canonical(data_type: &DataType) -> DataType {
    SqlType::of_arrow(data_type).map_or_else(|| data_type.clone(), |known| known.arrow())
}

/// True if an expression uses the pending window.
pub(super) fn uses_window(expr: &Expr) -> bool {
    refers(expr, &|column| column.name == WINDOW)
}

pub(super) fn refers(expr: &Expr, wanted: &dyn Fn(&Column) -> bool) -> bool {
    let found = expr.exists(|part| Ok(matches!(part, Expr::Column(column) if wanted(column))));
    found.unwrap_or(false)
}

/// Adds a step to a node, in the chain that it ends with.
pub(super) fn step(node: Node, step: Step, meta: Meta) -> Node {
    match node {
        Node::Chain(mut chain) => {
            chain.steps.push(step);
            Node::Chain(Chain { meta, ..chain })
        }
        other => Node::Chain(Chain { input: Box::new(other), steps: vec![step], meta }),
    }
}

/// The same names, each once.
pub(super) fn unique(fields: Vec<Field>) -> Vec<Field> {
    let mut taken = BTreeSet::new();
    let mut result = Vec::with_capacity(fields.len());
    for field in fields {
        let mut name = field.name().clone();
        let mut count = 1;
        while !taken.insert(name.clone()) {
            count += 1;
            name = format!("{}_{count}", field.name());
        }
        result.push(field.with_name(name));
    }
    result
}

impl Relation {
    /// A relation whose columns are those of a node, `width` of them, seen with the logical types.
    pub(super) fn of(node: Node, logical: &[FieldRef]) -> Relation {
        let schema = Arc::clone(&node.meta().schema);
        let typed = |(index, field): (usize, &FieldRef)| {
            with_type(column(&schema, index), schema.field(index).data_type(), field.data_type())
        };
        let columns = logical.iter().enumerate().map(typed).collect();
        Relation { node, columns, event_time: None, hop: None }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.node.meta().schema
    }

    /// An expression over the logical plan's columns as one over the node's.
    pub(super) fn inline(&self, expr: &Expr, logical: &DFSchema) -> Result<Expr, Report> {
        let replaced = expr.clone().transform_up(|part| match part {
            Expr::Column(column) => {
                let index = logical.index_of_column(&column)?;
                Ok(Transformed::yes(self.columns[index].clone()))
            }
            other => Ok(Transformed::no(other)),
        });
        Ok(replaced.map_err(failure)?.data.unalias_nested().data)
    }
}

/// A column seen with another type than it is stored with.
pub(super) fn with_type(expr: Expr, stored: &DataType, seen: &DataType) -> Expr {
    match stored == seen {
        true => expr,
        false => Expr::Cast(Cast::new(Box::new(expr), seen.clone())),
    }
}

impl Planner<'_> {
    /// Keeps the rows for which a condition is true; it may use the pending window.
    pub(super) fn filter(
        &self,
        mut relation: Relation,
        condition: Expr,
    ) -> Result<Relation, Report> {
        let parts = split_conjunction_owned(condition).into_iter();
        let (later, now): (Vec<Expr>, Vec<Expr>) = parts.partition(uses_window);
        if let Some(hop) = &mut relation.hop {
            hop.filters.extend(later);
        } else if !later.is_empty() {
            return Err(internal("a window's start outlived its window"));
        }
        let (timed, now): (Vec<Expr>, Vec<Expr>) = now.into_iter().partition(uses_now);
        if let Some(condition) = conjunction(now) {
            let predicate = self.physical(condition, relation.schema())?;
            let meta = relation.node.meta().clone();
            relation.node = step(relation.node, Step::Filter(predicate), meta);
        }
        self.temporal(relation, &timed)
    }

    /// Computes columns and nothing else but what is carried. The result's columns begin with those
    /// asked for. Returns the node and where the event time is.
    pub(super) fn project(
        &self,
        relation: Relation,
        mut wanted: Columns,
        carry: Carry,
    ) -> Result<(Node, Option<usize>), Report> {
        if relation.hop.is_some() {
            return Err(internal("windows are pending below a projection"));
        }
        let from = relation.node.meta().clone();
        let mut key = Vec::new();
        if carry != Carry::Nothing {
            for index in &from.key {
                let position = carried(&mut wanted, *index, &from.schema);
                if !key.contains(&position) {
                    key.push(position);
                }
            }
        }
        let time = relation.event_time.filter(|_| carry == Carry::KeyAndTime);
        let time = time.map(|index| {
            let name = from.schema.field(index).name();
            wanted.add(column(&from.schema, index), name)
        });
        let (expressions, schema) = self.compute(&wanted, &from.schema)?;
        let bounds = wanted.0.iter().enumerate().filter_map(|(index, (expr, _))| {
            Some(bound(expr, &from.schema, &from.watermarks)?.on(index))
        });
        let watermarks = bounds.collect();
        let meta = Meta { schema, key, append_only: from.append_only, watermarks };
        let schema = Arc::clone(&meta.schema);
        Ok((step(relation.node, Step::Project { expressions, schema }, meta), time))
    }

    fn compute(
        &self,
        wanted: &Columns,
        from: &SchemaRef,
    ) -> Result<(Vec<Scalar>, SchemaRef), Report> {
        let mut expressions = Vec::with_capacity(wanted.len());
        let mut fields = Vec::with_capacity(wanted.len());
        for (expr, name) in &wanted.0 {
            let scalar = self.physical(stored_form(expr, from).clone(), from)?.0;
            let stored = canonical(&scalar.data_type(from).map_err(failure)?);
            let scalar = expressions::cast(scalar, from, stored.clone()).map_err(failure)?;
            let nullable = scalar.nullable(from).map_err(failure)?;
            fields.push(Field::new(name, stored, nullable));
            expressions.push(Scalar(scalar));
        }
        Ok((expressions, Arc::new(Schema::new(unique(fields)))))
    }

    /// Computes what several expressions will use, once. Other columns of the node that are still
    /// needed go along.
    pub(super) fn share(&self, relation: Relation, shared: &[usize]) -> Result<Relation, Report> {
        let Relation { node, mut columns, event_time, hop } = relation;
        let from = Arc::clone(&node.meta().schema);
        let mut needed: Vec<&Expr> = Vec::new();
        let rest = columns.iter().enumerate().filter(|(index, _)| !shared.contains(index));
        needed.extend(rest.map(|(_, expr)| expr));
        if let Some(hop) = &hop {
            needed.push(&hop.time);
            needed.extend(&hop.filters);
        }
        let used = |index: &usize| {
            let name = from.field(*index).name();
            needed.iter().any(|expr| refers(expr, &|column| column.name == *name))
        };
        let mut wanted = Columns::default();
        for index in (0..from.fields().len()).filter(used) {
            wanted.push(column(&from, index), from.field(index).name());
        }
        let logical: Vec<(usize, Expr)> =
            shared.iter().map(|index| (*index, columns[*index].clone())).collect();
        let at: Vec<usize> = (logical.iter())
            .map(|(_, expr)| wanted.push(expr.clone(), &expr.schema_name().to_string()))
            .collect();
        let plain = Relation { node, columns: Vec::new(), event_time, hop: None };
        let (node, event_time) = self.project(plain, wanted, Carry::KeyAndTime)?;
        let schema = Arc::clone(&node.meta().schema);
        for ((index, expr), position) in logical.into_iter().zip(at) {
            let seen = self.type_of(&expr, &from)?;
            let stored = schema.field(position).data_type();
            columns[index] = with_type(column(&schema, position), stored, &seen);
        }
        Ok(Relation { node, columns, event_time, hop })
    }
}

/// The name under which a column is carried along: its own if it is one of the node.
pub(super) fn own_name<'a>(expr: &Expr, from: &'a Schema, name: &'a str) -> &'a str {
    match as_column(stored_form(expr, from), from) {
        Some(index) => from.field(index).name(),
        None => name,
    }
}

/// The name of a key column that was not asked for.
pub(super) fn hidden_name(name: &str, position: usize) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match plain {
        _ if is_hidden(name) => name.to_owned(),
        true => format!("_key_{name}"),
        false => format!("_key_{position}"),
    }
}

/// An expression without the cast by which a stored column is seen with another type.
fn stored_form<'a>(expr: &'a Expr, from: &Schema) -> &'a Expr {
    match expr {
        Expr::Cast(Cast { expr: inner, field }) => match as_column(inner, from) {
            Some(index) if *from.field(index).data_type() == canonical(field.data_type()) => inner,
            _ => expr,
        },
        other => other,
    }
}

/// Where a key column stands among the asked columns; adds it as a hidden one if it does not.
fn carried(wanted: &mut Columns, index: usize, from: &Schema) -> usize {
    let name = from.field(index).name();
    // The origin of a row is known by its columns' names.
    let origin = name == PARTITION_COLUMN || name == OFFSET_COLUMN;
    let same = |(expr, shown): &(Expr, String)| {
        let core = affine(stored_form(expr, from)).0;
        as_column(core, from) == Some(index) && (!origin || shown == name)
    };
    if let Some(position) = wanted.0.iter().position(same) {
        return position;
    }
    let hidden = hidden_name(name, wanted.len());
    wanted.push(column(from, index), &hidden)
}
