//! Grouping sets, ROLLUP and CUBE: each row is copied once per set, with NULLs for the columns that
//! the set leaves out, and one aggregation groups the copies by the number of the set too.
//!
//! The empty set has a row even without input: a row that no call counts stands in its group.
//!
//! Invariants: 1. calls see the columns as they were, only the group's have the NULLs. 2. a column
//! that all sets have is grouped as it is: windows among them close as usual.

use std::sync::Arc;

use arrow::array::{Int64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::logical_plan::Aggregate as LogicalAggregate;
use datafusion::logical_expr::{Expr, ExprSchemable, lit, when};
use millrace_types::Report;

use super::aggregate::Asked;
use super::refuse::{failure, internal};
use super::relation::Relation;
use super::translate::Planner;

/// The number of a row's set.
const SET: &str = "_key_set";
/// False for the row that stands in the group of the empty set.
const REAL: &str = "_key_real";

/// The sets that a GROUP BY asks for.
struct Sets<'a> {
    /// Every column that a set has, in the order of the output.
    columns: Vec<&'a Expr>,
    /// For each set and column, whether the set has it.
    has: Vec<Vec<bool>>,
}

impl Sets<'_> {
    fn new(grouping: &GroupingSet) -> Sets<'_> {
        let columns = grouping.distinct_expr();
        let with = |exprs: &[Expr]| columns.iter().map(|c| exprs.contains(c)).collect();
        let has: Vec<Vec<bool>> = match grouping {
            GroupingSet::GroupingSets(sets) => sets.iter().map(|set| with(set)).collect(),
            GroupingSet::Rollup(exprs) => {
                (0..=exprs.len()).rev().map(|count| with(&exprs[..count])).collect()
            }
            GroupingSet::Cube(exprs) => (0..1usize << exprs.len())
                .map(|mask| {
                    let chosen = exprs.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1);
                    with(&chosen.map(|(_, expr)| expr.clone()).collect::<Vec<_>>())
                })
                .collect(),
        };
        Sets { columns, has }
    }

    fn empty(&self) -> Option<usize> {
        self.has.iter().position(|has| !has.contains(&true))
    }

    /// The bits of the columns that a set leaves out, the last column's lowest; above them how often
    /// the same set came before.
    fn id(&self, set: usize) -> u64 {
        let bits = self.has[set].iter().fold(0, |id, has| id << 1 | u64::from(!has));
        let before = self.has[..set].iter().filter(|has| **has == self.has[set]).count();
        bits | (before as u64) << self.columns.len()
    }

    /// A group column: NULL in the sets that leave it out.
    fn column(&self, at: usize) -> Result<Expr, Report> {
        let with: Vec<Expr> =
            (0i64..).zip(&self.has).filter(|(_, has)| has[at]).map(|(n, _)| lit(n)).collect();
        let expr = self.columns[at].clone();
        match with.len() == self.has.len() {
            true => Ok(expr),
            false => when(set().in_list(with, false), expr).end().map_err(failure),
        }
    }
}

fn set() -> Expr {
    Expr::Column(Column::new_unqualified(SET))
}

impl Planner<'_> {
    pub(super) fn grouping_sets(
        &self,
        aggregate: &LogicalAggregate,
        grouping: &GroupingSet,
        output: &[FieldRef],
    ) -> Result<Relation, Report> {
        let sets = Sets::new(grouping);
        let relation = self.copied(self.translate(&aggregate.input)?)?;
        let mut relation = self.per_set(relation, sets.has.len())?;
        let field = |name, data_type| Arc::new(Field::new(name, data_type, true));
        let mut added = vec![field(SET, DataType::Int64)];
        let mut calls = aggregate.aggr_expr.clone();
        let plain = self.with_columns(aggregate.input.schema(), &added)?;
        if let Some(empty) = sets.empty() {
            added.push(field(REAL, DataType::Boolean));
            relation.columns.push(lit(true));
            let schema = self.with_columns(aggregate.input.schema(), &added)?;
            let standing = self.standing(empty, &schema)?;
            relation = self.union_of(vec![relation, standing], &schema)?;
            calls = calls.into_iter().map(real_only).collect::<Result<_, _>>()?;
        }
        let schema = self.with_columns(aggregate.input.schema(), &added)?;
        let mut group =
            (0..sets.columns.len()).map(|at| sets.column(at)).collect::<Result<Vec<_>, _>>()?;
        for (expr, field) in group.iter_mut().zip(output) {
            let seen = expr.get_type(&plain).map_err(failure)?;
            if seen != *field.data_type() {
                return Err(internal("a grouping set's column has another type"));
            }
        }
        group.push(set());
        let width = group.len();
        let mut asked_output = output.to_vec();
        let id = std::mem::replace(&mut asked_output[width - 1], field(SET, DataType::Int64));
        let asked = Asked { group: &group, calls: &calls, input: &schema, output: &asked_output };
        let mut result = self.grouped(relation, &asked)?;
        result.columns[width - 1] = grouping_id(&sets, &result.columns[width - 1], &id)?;
        Ok(result)
    }

    /// Copies of each row with the numbers of the sets.
    fn per_set(&self, mut relation: Relation, count: usize) -> Result<Relation, Report> {
        let numbers: Int64Array = (0i64..).take(count).collect();
        let element = Arc::new(Field::new_list_field(DataType::Int64, true));
        let offsets = OffsetBuffer::from_lengths([count]);
        let list = ListArray::try_new(element, offsets, Arc::new(numbers), None);
        let list = list.map_err(|error| failure(error.into()))?;
        relation.columns.push(lit(ScalarValue::List(Arc::new(list))));
        let last = relation.columns.len() - 1;
        self.spread(relation, &[last])
    }

    /// The row of the empty set's group.
    fn standing(&self, empty: usize, schema: &DFSchema) -> Result<Relation, Report> {
        let number = i64::try_from(empty).map_err(|_| internal("too many grouping sets"))?;
        let width = schema.fields().len();
        let row = schema.fields().iter().enumerate().map(|(at, field)| match width - at {
            1 => Ok(lit(false)),
            2 => Ok(lit(number)),
            _ => ScalarValue::try_from(field.data_type()).map(lit).map_err(failure),
        });
        self.values(&[row.collect::<Result<Vec<_>, _>>()?], schema)
    }

    fn with_columns(&self, schema: &DFSchema, added: &[FieldRef]) -> Result<DFSchema, Report> {
        let fields = schema.iter().map(|(table, field)| (table.cloned(), Arc::clone(field)));
        let fields = fields.chain(added.iter().map(|field| (None, Arc::clone(field))));
        DFSchema::new_with_metadata(fields.collect(), Default::default()).map_err(failure)
    }
}

/// A call that counts no row but those of the input.
fn real_only(call: Expr) -> Result<Expr, Report> {
    let real = Expr::Column(Column::new_unqualified(REAL));
    let changed = call.transform_down(|part| match part {
        Expr::AggregateFunction(mut call) => {
            let filter = call.params.filter.take();
            let filter = match filter {
                Some(filter) => filter.and(real.clone()),
                None => real.clone(),
            };
            call.params.filter = Some(Box::new(filter));
            Ok(Transformed::new(Expr::AggregateFunction(call), true, TreeNodeRecursion::Jump))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(changed.map_err(failure)?.data)
}

/// The number that `grouping()` reads bits of, from the number of the set.
fn grouping_id(sets: &Sets, set: &Expr, output: &Field) -> Result<Expr, Report> {
    let id = |number: usize| {
        let id = ScalarValue::UInt64(Some(sets.id(number)));
        id.cast_to(output.data_type()).map(lit).map_err(failure)
    };
    let mut found = id(0)?;
    for (at, number) in (0..sets.has.len()).zip(0i64..).skip(1) {
        found = when(set.clone().eq(lit(number)), id(at)?).otherwise(found).map_err(failure)?;
    }
    Ok(found)
}
