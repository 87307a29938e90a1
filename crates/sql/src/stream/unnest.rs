//! Lists that are spread over rows: unnest(), and grouping sets, for which each row is copied once
//! per set.
//!
//! Invariants: 1. a copy is told by the key of its row and its place in the list.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::NullHandling;
use datafusion::logical_expr::{LogicalPlan, Unnest};
use millrace_plan::{Meta, Step};
use millrace_types::Report;

use super::refuse::{self, internal};
use super::relation::{Carry, Columns, Relation, column, step, unique, with_type};
use super::translate::Planner;

/// The place in the list, from 1.
const PLACE: &str = "_key_place";

impl Planner<'_> {
    /// Lists of the logical plan that are no windows.
    pub(super) fn unnested(
        &self,
        relation: Relation,
        unnest: &Unnest,
        plan: &LogicalPlan,
    ) -> Result<Relation, Report> {
        let flat = unnest.list_type_columns.iter().all(|(_, list)| list.depth == 1);
        let drops = unnest.options.null_handling == NullHandling::Drop;
        if !flat || !drops || !unnest.struct_type_columns.is_empty() {
            return Err(refuse::node(plan));
        }
        let lists: Vec<usize> = unnest.list_type_columns.iter().map(|(list, _)| *list).collect();
        let mut relation = self.spread(relation, &lists)?;
        let outputs = unnest.dependency_indices.iter().zip(unnest.schema.fields());
        let outputs = outputs.map(|(from, field)| {
            let expr = relation.columns[*from].clone();
            let seen = self.type_of(&expr, relation.schema())?;
            Ok(with_type(expr, &seen, field.data_type()))
        });
        relation.columns = outputs.collect::<Result<_, Report>>()?;
        Ok(relation)
    }

    /// Copies rows for each place of some of the relation's columns, which are lists; these columns
    /// hold the lists' elements then.
    pub(super) fn spread(&self, relation: Relation, lists: &[usize]) -> Result<Relation, Report> {
        let types = relation.columns.iter().map(|expr| self.type_of(expr, relation.schema()));
        let types = types.collect::<Result<Vec<DataType>, _>>()?;
        let mut wanted = Columns::default();
        for expr in &relation.columns {
            wanted.push(expr.clone(), &expr.schema_name().to_string());
        }
        let (node, event_time) = self.project(relation, wanted, Carry::KeyAndTime)?;
        let before = node.meta().clone();
        let mut fields: Vec<Field> =
            before.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        for list in lists {
            let DataType::List(element) = before.schema.field(*list).data_type() else {
                return Err(internal("unnest() of what is no list"));
            };
            let name = before.schema.field(*list).name();
            fields.push(Field::new(name, element.data_type().clone(), true));
        }
        let place = fields.len();
        fields.push(Field::new(PLACE, DataType::Int64, false));
        let schema = Arc::new(Schema::new(unique(fields)));
        let mut meta = Meta { schema: Arc::clone(&schema), ..before.clone() };
        meta.key.push(place);
        let copies = Step::Unnest { lists: lists.to_vec(), schema: Arc::clone(&schema) };
        let node = step(node, copies, meta);
        let columns = types.iter().enumerate().map(|(index, seen)| {
            match (lists.iter().position(|list| *list == index), seen) {
                (Some(list), DataType::List(element)) => {
                    let at = before.schema.fields().len() + list;
                    let stored = schema.field(at).data_type();
                    with_type(column(&schema, at), stored, element.data_type())
                }
                _ => with_type(column(&schema, index), schema.field(index).data_type(), seen),
            }
        });
        Ok(Relation { node, columns: columns.collect(), event_time, hop: None })
    }
}
