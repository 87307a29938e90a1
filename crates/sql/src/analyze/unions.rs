//! Columns of a UNION: numeric in one query and a float in another are double precision, and literals take
//! the type of the other queries.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Union, cast};

use super::choices;
use super::operators::is_untyped;
use crate::functions;

/// Casts the columns below a union where DataFusion would make a numeric of both.
pub(super) fn widen(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Union(union) = &plan else { return Ok(Transformed::no(plan)) };
    let mut changed = false;
    let mut wanted: Vec<Vec<DataType>> = vec![Vec::new(); union.inputs.len()];
    for column in 0..union.schema.fields().len() {
        let of = |input: &Arc<LogicalPlan>| {
            input.schema().fields().get(column).map_or(DataType::Null, |f| f.data_type().clone())
        };
        let found: Vec<DataType> = union.inputs.iter().map(of).collect();
        let literal = |input: &Arc<LogicalPlan>| is_literal(input, column);
        let literals = union.inputs.iter().map(literal);
        let values: Vec<(DataType, bool)> = found.iter().cloned().zip(literals).collect();
        let taken = choices::wanted("UNION", &values)?;
        let taken = values.into_iter().map(|(found, untyped)| match &taken {
            Some(taken) if untyped => taken.clone(),
            _ => found,
        });
        let widened = functions::widened(&taken.collect::<Vec<_>>());
        changed |= found != widened;
        wanted.iter_mut().zip(widened).for_each(|(types, widened)| types.push(widened));
    }
    if !changed {
        return Ok(Transformed::no(plan));
    }
    let inputs = union.inputs.iter().zip(wanted).map(|(input, types)| typed(input, &types));
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    Union::try_new_with_loose_types(inputs).map(LogicalPlan::Union).map(Transformed::yes)
}

/// True for a column that is a literal whose type nobody wrote.
fn is_literal(input: &LogicalPlan, column: usize) -> bool {
    match input {
        LogicalPlan::Projection(projection) => {
            projection.expr.get(column).is_some_and(|expr| is_untyped(without_alias(expr)))
        }
        _ => false,
    }
}

fn without_alias(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => without_alias(&alias.expr),
        other => other,
    }
}

fn typed(input: &Arc<LogicalPlan>, types: &[DataType]) -> Result<Arc<LogicalPlan>> {
    let schema = input.schema();
    let columns = schema.iter().zip(types).map(|((qualifier, field), wanted)| {
        let column = Expr::Column((qualifier, field).into());
        match field.data_type() == wanted {
            true => column,
            false => cast(column, wanted.clone()).alias_qualified(qualifier.cloned(), field.name()),
        }
    });
    let projected =
        LogicalPlanBuilder::from(Arc::clone(input)).project(columns.collect::<Vec<_>>());
    Ok(Arc::new(projected?.build()?))
}
