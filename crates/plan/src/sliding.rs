//! Aggregates over sliding frames: those that cannot take a row back are run again over each frame.
//!
//! Rows leave a frame in the order in which they came into it. So what is needed of a frame is a queue, and
//! a new accumulator when its value is asked for.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, WindowFrame, WindowFunctionDefinition,
};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};

/// A function as a frame needs it: one that cannot take rows back is wrapped if rows leave the frame.
pub fn sliding(
    function: &WindowFunctionDefinition,
    frame: &WindowFrame,
) -> WindowFunctionDefinition {
    match function {
        WindowFunctionDefinition::AggregateUDF(inner)
            if !frame.start_bound.is_unbounded() && !inner.inner().is::<Recomputed>() =>
        {
            let recomputed = Recomputed { inner: Arc::clone(inner) };
            WindowFunctionDefinition::AggregateUDF(Arc::new(AggregateUDF::from(recomputed)))
        }
        other => other.clone(),
    }
}

/// An aggregate that slides over any frame.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Recomputed {
    inner: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for Recomputed {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(fields)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let own = Arguments::of(&args);
        // A NaN, an infinity, or a digit lost beside a large number would stay when its row leaves.
        if !args.expr_fields.iter().any(|field| field.data_type().is_floating()) {
            let known = self.inner.create_sliding_accumulator(args)?;
            if known.supports_retract_batch() {
                return Ok(known);
            }
        }
        let inner = Arc::clone(&self.inner);
        Ok(Box::new(Frame { inner, args: own, rows: VecDeque::new() }))
    }
}

/// What an accumulator is made of.
#[derive(Debug)]
struct Arguments {
    return_field: FieldRef,
    schema: Schema,
    ignore_nulls: bool,
    order_bys: Vec<PhysicalSortExpr>,
    is_reversed: bool,
    name: String,
    is_distinct: bool,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    expr_fields: Vec<FieldRef>,
}

impl Arguments {
    fn of(args: &AccumulatorArgs) -> Arguments {
        Arguments {
            return_field: Arc::clone(&args.return_field),
            schema: args.schema.clone(),
            ignore_nulls: args.ignore_nulls,
            order_bys: args.order_bys.to_vec(),
            is_reversed: args.is_reversed,
            name: args.name.to_owned(),
            is_distinct: args.is_distinct,
            exprs: args.exprs.to_vec(),
            expr_fields: args.expr_fields.to_vec(),
        }
    }

    fn borrowed(&self) -> AccumulatorArgs<'_> {
        AccumulatorArgs {
            return_field: Arc::clone(&self.return_field),
            schema: &self.schema,
            ignore_nulls: self.ignore_nulls,
            order_bys: &self.order_bys,
            is_reversed: self.is_reversed,
            name: &self.name,
            is_distinct: self.is_distinct,
            exprs: &self.exprs,
            expr_fields: &self.expr_fields,
        }
    }
}

/// The rows of a frame.
#[derive(Debug)]
struct Frame {
    inner: Arc<AggregateUDF>,
    args: Arguments,
    /// As they came.
    rows: VecDeque<Vec<ArrayRef>>,
}

impl Frame {
    fn filled(&self) -> Result<Box<dyn Accumulator>> {
        let mut accumulator = self.inner.accumulator(self.args.borrowed())?;
        let width = self.rows.front().map_or(0, Vec::len);
        if width > 0 {
            let column = |at: usize| {
                let parts: Vec<&dyn Array> =
                    self.rows.iter().map(|rows| rows[at].as_ref()).collect();
                Ok(concat(&parts)?)
            };
            let columns = (0..width).map(column).collect::<Result<Vec<ArrayRef>>>()?;
            accumulator.update_batch(&columns)?;
        }
        Ok(accumulator)
    }
}

impl Accumulator for Frame {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if values.first().is_some_and(|column| !column.is_empty()) {
            self.rows.push_back(values.to_vec());
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut gone = values.first().map_or(0, |column| column.len());
        while let Some(first) = self.rows.front_mut().filter(|_| gone > 0) {
            let rows = first.first().map_or(0, |column| column.len());
            if rows > gone {
                first.iter_mut().for_each(|column| *column = column.slice(gone, rows - gone));
                break;
            }
            gone -= rows;
            self.rows.pop_front();
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.filled()?.evaluate()
    }

    fn size(&self) -> usize {
        let rows = self.rows.iter().flatten();
        size_of::<Frame>() + rows.map(|column| column.get_array_memory_size()).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.filled()?.state()
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        datafusion::common::exec_err!("the parts of a frame are not merged")
    }
}
