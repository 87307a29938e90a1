//! Aggregates without a class of their own: the library's function is run again over the counted
//! rows of each touched group.
//!
//! The rows come in one order whatever way they came in: that of the call, ties by the row's key
//! where the result depends on it. So the result before an epoch is found again from the state
//! before it, though the library adds floats up one after the other.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::DataFusionError;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use millrace_plan::{Call, Order, Rebuild, Scalar};

use super::multiset::Multiset;
use crate::chain::guarded;
use crate::failure::Failure;
use crate::natives;
use crate::operator::Error;

/// Which input columns the multiset of a call has.
pub(super) struct Layout<'a> {
    /// What the rows are ordered by: the first columns.
    pub(super) order: &'a [Order],
    /// Order, ties, arguments.
    pub(super) columns: Vec<usize>,
    /// Where the arguments begin.
    args: usize,
}

impl<'a> Layout<'a> {
    /// `ties` are the key columns of the input.
    pub(super) fn new(call: &'a Call, rebuild: &Rebuild, ties: &[usize]) -> Layout<'a> {
        // The order of a WITHIN GROUP is that of the argument: it says what the function looks for.
        let within = rebuild.function.supports_within_group_clause();
        let order = if within { &[][..] } else { &call.order };
        let ties = if rebuild.ordered && !call.distinct { ties } else { &[] };
        let first = order.iter().map(|order| order.column).chain(ties.iter().copied());
        let mut columns: Vec<usize> = first.collect();
        let args = columns.len();
        columns.extend(&call.args);
        Layout { order, columns, args }
    }
}

/// Runs a function over the rows of a group.
#[derive(Clone, Debug)]
pub(super) struct Rebuilder {
    function: AggregateFunctionExpr,
    schema: SchemaRef,
    /// Where the arguments begin.
    args: usize,
    distinct: bool,
    data_type: DataType,
}

impl Rebuilder {
    /// The function of a call over input columns.
    ///
    /// # Errors
    /// Arguments that the function does not take.
    pub(super) fn new(
        call: &Call,
        rebuild: &Rebuild,
        layout: &Layout<'_>,
        input: &SchemaRef,
    ) -> Result<Rebuilder, Error> {
        let field = |(at, column): (usize, &usize)| {
            Field::new(format!("a{at}"), input.field(*column).data_type().clone(), true)
        };
        let fields: Vec<Field> = call.args.iter().enumerate().map(field).collect();
        let schema = Arc::new(Schema::new(fields));
        let args = rebuild.args.iter().map(|arg| compact(arg, &call.args));
        let args = args.collect::<Result<Vec<_>, DataFusionError>>()?;
        let within = rebuild.function.supports_within_group_clause();
        let order = call.order.iter().filter(|_| within).map(|order| {
            let options =
                SortOptions { descending: order.descending, nulls_first: order.nulls_first };
            PhysicalSortExpr::new(Arc::clone(&args[0]), options)
        });
        let order = order.collect();
        let function = AggregateExprBuilder::new(Arc::clone(&rebuild.function), args)
            .schema(Arc::clone(&schema))
            .alias(rebuild.function.name())
            .order_by(order)
            .build()?;
        let data_type = call.output.data_type().clone();
        Ok(Rebuilder { function, schema, args: layout.args, distinct: call.distinct, data_type })
    }

    /// What the function says of the rows of a slot.
    ///
    /// # Errors
    /// Arrow's; an error of the function is inside.
    pub(super) fn value(
        &self,
        rows: &Multiset,
        slot: u32,
    ) -> Result<Result<ScalarValue, Failure>, Error> {
        let columns = rows.rows(slot, self.distinct)?;
        let count = columns.first().map_or(0, |column| column.len());
        let columns: Vec<ArrayRef> =
            columns.into_iter().skip(self.args).map(natives::zeroed).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        let run = || {
            let mut accumulator = self.function.create_accumulator()?;
            let args = self.function.expressions();
            let values = args.iter().map(|arg| arg.evaluate(&rows)?.into_array(count));
            accumulator.update_batch(&values.collect::<Result<Vec<_>, _>>()?)?;
            accumulator.evaluate()
        };
        let failure = |error: DataFusionError| Failure::of(&error, Some(&self.data_type));
        Ok(guarded(run).and_then(|found| found.map_err(failure)))
    }

    /// Stands for a result that could not be had.
    ///
    /// # Errors
    /// A type without NULL.
    pub(super) fn nothing(&self) -> Result<ScalarValue, Error> {
        Ok(ScalarValue::try_from(self.function.field().data_type())?)
    }

    /// The values as a column of the call's type.
    ///
    /// # Errors
    /// Arrow's.
    pub(super) fn column(&self, values: Vec<ScalarValue>) -> Result<ArrayRef, Error> {
        if values.is_empty() {
            return Ok(arrow::array::new_empty_array(&self.data_type));
        }
        let column = ScalarValue::iter_to_array(values)?;
        match column.data_type() == &self.data_type {
            true => Ok(natives::zeroed(column)),
            false => Ok(natives::zeroed(cast(&column, &self.data_type)?)),
        }
    }
}

/// An expression over the input's columns as one over the arguments alone.
fn compact(scalar: &Scalar, args: &[usize]) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    let moved = Arc::clone(&scalar.0).transform_up(|part| {
        let Some(column) = part.downcast_ref::<Column>() else {
            return Ok(Transformed::no(part));
        };
        let at = args.iter().position(|arg| *arg == column.index());
        let at = at.ok_or_else(|| {
            DataFusionError::Plan(format!("column {} is no argument", column.index()))
        })?;
        Ok(Transformed::yes(Arc::new(Column::new(&format!("a{at}"), at)) as Arc<dyn PhysicalExpr>))
    });
    Ok(moved?.data)
}
