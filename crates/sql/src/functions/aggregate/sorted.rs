//! An aggregate that sorts its own rows: `f(args ORDER BY keys)` as `f(args, keys)`.
//!
//! DataFusion sorts the input once for all calls of a node. Where they ask for different orders each of
//! them gets this ([`crate::orders`]): it collects the rows of a group, and when the value is asked for it
//! gives them to the function in its order, equal ones once if it is `DISTINCT`.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use arrow::compute::{SortOptions, concat, take};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::row::{RowConverter, SortField};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;

/// A function over sorted rows. Its arguments are those of the function and then the keys.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Sorted {
    inner: Arc<AggregateUDF>,
    /// The arguments of the function.
    width: usize,
    order: Vec<SortOptions>,
    is_distinct: bool,
    signature: Signature,
}

/// A function of some arguments that sorts them by the arguments after these.
pub(crate) fn sorted(
    inner: &Arc<AggregateUDF>,
    width: usize,
    order: Vec<SortOptions>,
    is_distinct: bool,
) -> AggregateUDF {
    let signature = Signature::variadic_any(Volatility::Immutable);
    let inner = Arc::clone(inner);
    AggregateUDF::new_from_impl(Sorted { inner, width, order, is_distinct, signature })
}

impl AggregateUDFImpl for Sorted {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(&types[..self.width])
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(&fields[..self.width])
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |(at, of): (usize, &FieldRef)| {
            let name = format_state_name(args.name, &format!("rows{at}"));
            let list = DataType::new_list(of.data_type().clone(), true);
            Arc::new(Field::new(name, list, true))
        };
        Ok(args.input_fields.iter().enumerate().map(field).collect())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let types: Vec<DataType> =
            args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        let empty = |data_type: &DataType| arrow::array::new_empty_array(data_type);
        Ok(Box::new(Collected {
            inner: Arc::clone(&self.inner),
            width: self.width,
            order: self.order.clone(),
            is_distinct: self.is_distinct,
            call: Call {
                return_field: Arc::clone(&args.return_field),
                schema: args.schema.clone(),
                ignore_nulls: args.ignore_nulls,
                name: args.name.to_owned(),
                exprs: args.exprs[..self.width].to_vec(),
                fields: args.expr_fields[..self.width].to_vec(),
            },
            rows: vec![types.iter().map(empty).collect()],
            bytes: 0,
        }))
    }
}

/// What the function is called with.
#[derive(Debug)]
struct Call {
    return_field: FieldRef,
    schema: Schema,
    ignore_nulls: bool,
    name: String,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    fields: Vec<FieldRef>,
}

/// The rows of a group.
#[derive(Debug)]
struct Collected {
    inner: Arc<AggregateUDF>,
    width: usize,
    order: Vec<SortOptions>,
    is_distinct: bool,
    call: Call,
    /// Arguments and keys, as they came; the first have no rows and the types.
    rows: Vec<Vec<ArrayRef>>,
    /// What they take, as far as it can be told: other groups share their buffers.
    bytes: usize,
}

impl Collected {
    fn push(&mut self, rows: Vec<ArrayRef>) -> Result<()> {
        for column in &rows {
            self.bytes += column.to_data().get_slice_memory_size()?;
        }
        self.rows.push(rows);
        Ok(())
    }

    fn columns(&self) -> Result<Vec<ArrayRef>> {
        let column = |at: usize| {
            let parts: Vec<&dyn Array> = self.rows.iter().map(|part| part[at].as_ref()).collect();
            Ok(concat(&parts)?)
        };
        (0..self.rows[0].len()).map(column).collect()
    }

    /// The arguments in the order of the keys, equal ones once if they are to be.
    fn arguments(&self) -> Result<Vec<ArrayRef>> {
        let columns = self.columns()?;
        let (arguments, keys) = columns.split_at(self.width);
        let options = keys.iter().zip(&self.order);
        let fields = options
            .map(|(key, options)| SortField::new_with_options(key.data_type().clone(), *options));
        let sorted = RowConverter::new(fields.collect())?.convert_columns(keys)?;
        let mut places: Vec<usize> = (0..sorted.num_rows()).collect();
        places.sort_by(|one, other| sorted.row(*one).cmp(&sorted.row(*other)));
        if self.is_distinct {
            let fields = arguments.iter().map(|column| SortField::new(column.data_type().clone()));
            let values = RowConverter::new(fields.collect())?.convert_columns(arguments)?;
            let mut seen = BTreeSet::new();
            places.retain(|place| seen.insert(values.row(*place)));
        }
        let places: UInt64Array =
            places.into_iter().map(|place| u64::try_from(place).unwrap_or(u64::MAX)).collect();
        Ok(arguments.iter().map(|column| take(column, &places, None)).collect::<Result<_, _>>()?)
    }
}

impl Accumulator for Collected {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.push(values.to_vec())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists: Vec<_> = states.iter().map(|state| state.as_list::<i32>()).collect();
        for row in 0..lists.first().map_or(0, |list| list.len()) {
            if lists.iter().all(|list| list.is_valid(row)) {
                self.push(lists.iter().map(|list| list.value(row)).collect())?;
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = |column| SingleRowListArrayBuilder::new(column).build_list_scalar();
        Ok(self.columns()?.into_iter().map(list).collect())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let arguments = self.arguments()?;
        let mut accumulator = self.inner.accumulator(AccumulatorArgs {
            return_field: Arc::clone(&self.call.return_field),
            schema: &self.call.schema,
            ignore_nulls: self.call.ignore_nulls,
            order_bys: &[],
            is_reversed: false,
            name: &self.call.name,
            is_distinct: false,
            exprs: &self.call.exprs,
            expr_fields: &self.call.fields,
        })?;
        accumulator.update_batch(&arguments)?;
        accumulator.evaluate()
    }

    fn size(&self) -> usize {
        size_of::<Collected>() + self.bytes
    }
}
