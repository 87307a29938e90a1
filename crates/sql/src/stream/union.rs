//! UNION ALL: inputs of one schema, told apart by a hidden branch number.
//!
//! Invariants: 1. the key is the branch, every visible column that is a key column of all inputs,
//! and hidden columns for the rest, NULL in the inputs that have no such column. 2. watermarks hold
//! for the union only if all inputs promise in the same way: all by their sources, or all in fact.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::lit;
use datafusion::logical_expr::logical_plan::Union as LogicalUnion;
use millrace_plan::{Meta, Node, Step, Union, Watermark};
use millrace_types::{Report, is_hidden};

use super::refuse::{failure, internal};
use super::relation::{
    Carry, Columns, Relation, as_column, canonical, column, hidden_name, with_type,
};
use super::translate::Planner;

const BRANCH: &str = "_key_branch";
const EVENT_TIME: &str = "_key_event_time";

/// A hidden key column of the union.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    name: String,
    data_type: DataType,
}

/// The key of the union.
struct Key {
    /// Visible columns.
    visible: BTreeSet<usize>,
    /// Hidden columns, with the columns of each input that they hold.
    slots: Vec<(Slot, Vec<Option<usize>>)>,
}

impl Planner<'_> {
    pub(super) fn union(&self, union: &LogicalUnion) -> Result<Relation, Report> {
        let inputs = union.inputs.iter().map(|input| self.copied(self.translate(input)?));
        let inputs = inputs.collect::<Result<Vec<Relation>, _>>()?;
        self.union_of(inputs, &union.schema)
    }

    /// The rows of all inputs, which have the columns of a schema.
    pub(super) fn union_of(
        &self,
        inputs: Vec<Relation>,
        output: &DFSchema,
    ) -> Result<Relation, Report> {
        let types: Vec<DataType> =
            output.fields().iter().map(|field| canonical(field.data_type())).collect();
        let key = union_key(&inputs, &types);
        let event_time = common_event_time(&inputs);
        let width = types.len();
        let mut branches = Vec::with_capacity(inputs.len());
        for (branch, input) in inputs.into_iter().enumerate() {
            let mut wanted = Columns::default();
            for (expr, (field, wanted_type)) in
                input.columns.iter().zip(output.fields().iter().zip(&types))
            {
                let found = self.type_of(expr, input.schema())?;
                wanted.push(with_type(expr.clone(), &found, wanted_type), field.name());
            }
            let number = i64::try_from(branch).map_err(|_| internal("too many inputs"))?;
            wanted.push(lit(number), BRANCH);
            for (slot, columns) in &key.slots {
                let expr = match columns[branch] {
                    Some(index) => column(input.schema(), index),
                    None => lit(ScalarValue::try_from(&slot.data_type).map_err(failure)?),
                };
                wanted.push(expr, &slot.name);
            }
            if let (Some(_), Some(index)) = (&event_time, input.event_time) {
                wanted.push(column(input.schema(), index), EVENT_TIME);
            }
            branches.push(self.project(input, wanted, Carry::Nothing)?.0);
        }
        let keys = key.visible.iter().copied().chain(width..=width + key.slots.len()).collect();
        let event_time = event_time.map(|_| width + 1 + key.slots.len());
        let node = joined(branches, keys)?;
        let relation = Relation::of(node, output.fields());
        Ok(Relation { event_time, ..relation })
    }
}

fn union_key(inputs: &[Relation], types: &[DataType]) -> Key {
    let shows = |input: &Relation, position: usize, index: usize| {
        let field = input.schema().field(index);
        let same = as_column(&input.columns[position], input.schema()) == Some(index);
        same && types[position] == *field.data_type() && !is_hidden(field.name())
    };
    let in_all = |position: &usize| {
        inputs
            .iter()
            .all(|input| input.node.meta().key.iter().any(|index| shows(input, *position, *index)))
    };
    let visible = (0..types.len()).filter(in_all).collect();
    let mut key = Key { visible, slots: Vec::new() };
    for (branch, input) in inputs.iter().enumerate() {
        let schema = input.schema();
        for index in &input.node.meta().key {
            let data_type = schema.field(*index).data_type().clone();
            if key.visible.iter().any(|position| shows(input, *position, *index)) {
                continue;
            }
            let name = schema.field(*index).name();
            let name = hidden_name(name, key.slots.len());
            let wanted = Slot { name, data_type };
            let free = |(slot, columns): &(Slot, Vec<Option<usize>>)| {
                *slot == wanted && columns[branch].is_none()
            };
            let position = key.slots.iter().position(free).unwrap_or_else(|| {
                key.slots.push((wanted.clone(), vec![None; inputs.len()]));
                key.slots.len() - 1
            });
            key.slots[position].1[branch] = Some(*index);
        }
    }
    key
}

/// The type of the event time, if all inputs have one of the same type.
fn common_event_time(inputs: &[Relation]) -> Option<DataType> {
    let of = |input: &Relation| Some(input.schema().field(input.event_time?).data_type().clone());
    let first = of(inputs.first()?)?;
    inputs.iter().all(|input| of(input).as_ref() == Some(&first)).then_some(first)
}

/// One node over inputs that have the same columns but for what may be NULL.
fn joined(mut inputs: Vec<Node>, key: Vec<usize>) -> Result<Node, Report> {
    let first = inputs.first().ok_or_else(|| internal("a union without inputs"))?;
    let nullable =
        |index: usize| inputs.iter().any(|input| input.meta().schema.field(index).is_nullable());
    let fields = first.meta().schema.fields().iter().enumerate();
    let fields: Vec<Field> =
        fields.map(|(i, field)| field.as_ref().clone().with_nullable(nullable(i))).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let append_only = inputs.iter().all(|input| input.meta().append_only);
    let mixed = !append_only && inputs.iter().any(|input| input.meta().append_only);
    let watermarks = if mixed { Vec::new() } else { common_watermarks(&inputs) };
    for input in &mut inputs {
        relabel(input, &schema, &key);
    }
    let meta = Meta { schema, key, append_only, watermarks };
    Ok(Node::Union(Union { inputs, meta }))
}

/// The watermarks of columns that all inputs bound: the later promise of each.
fn common_watermarks(inputs: &[Node]) -> Vec<Watermark> {
    let Some((first, others)) = inputs.split_first() else { return Vec::new() };
    let both = |one: Watermark, other: &Node| {
        let found = other.meta().watermarks.iter().find(|found| found.column == one.column)?;
        let sources: BTreeSet<_> = one.sources.iter().chain(&found.sources).copied().collect();
        Some(Watermark {
            column: one.column,
            shift: one.shift.max(found.shift),
            sources: sources.into_iter().collect(),
        })
    };
    let each = first.meta().watermarks.iter();
    each.filter_map(|one| others.iter().try_fold(one.clone(), both)).collect()
}

/// Gives the last projection of a chain the union's schema.
fn relabel(node: &mut Node, schema: &SchemaRef, key: &[usize]) {
    let Node::Chain(chain) = node else { return };
    if let Some(Step::Project { schema: own, .. }) = chain.steps.last_mut() {
        *own = Arc::clone(schema);
    }
    chain.meta.schema = Arc::clone(schema);
    chain.meta.key = key.to_vec();
}
