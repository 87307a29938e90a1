//! An array or a record as text that sorts as PostgreSQL sorts the value: by its parts, NULLs among them
//! after all others, whatever direction the whole has.
//!
//! Arrow's kernels put NULLs inside of a value first here and last there, and what DataFusion keeps of the
//! first rows of an order believes both. The text is Arrow's row format, each byte a character, because
//! windows have no order of bytes.
//!
//! There are two: one in which equal values are equal, both zeros and the intervals of one length, and
//! one that tells all values apart, for rows that an order leaves tied.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, GenericListArray, StringArray, StructArray};
use arrow::datatypes::{DataType, Field};
use arrow::row::{RowConverter, SortField};
use datafusion::arrow::compute::SortOptions;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::{no_function, one_value, span};

/// The name of the function whose results are equal for equal values.
pub(super) const ORDER_KEY: &str = "millrace_order_key";
/// The name of the one that tells all values apart.
pub(super) const EXACT_ORDER_KEY: &str = "millrace_exact_order_key";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct OrderKey {
    signature: Signature,
    exact: bool,
}

impl OrderKey {
    pub(super) fn new(exact: bool) -> OrderKey {
        OrderKey { signature: Signature::any(1, Volatility::Immutable), exact }
    }
}

impl ScalarUDFImpl for OrderKey {
    fn name(&self) -> &'static str {
        if self.exact { EXACT_ORDER_KEY } else { ORDER_KEY }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let array = args.args.into_iter().next().map(|value| value.into_array(rows)).transpose()?;
        let array = array.ok_or_else(|| no_function(self.name(), &[]))?;
        let parts = if self.exact { Arc::clone(&array) } else { comparable(&array)? };
        let options = SortOptions { descending: false, nulls_first: false };
        let field = SortField::new_with_options(parts.data_type().clone(), options);
        let encoded = RowConverter::new(vec![field])?.convert_columns(&[parts])?;
        let text = |row: &[u8]| row.iter().map(|byte| char::from(*byte)).collect::<String>();
        let keys =
            (0..array.len()).map(|at| array.is_valid(at).then(|| text(encoded.row(at).data())));
        Ok(ColumnarValue::Array(Arc::new(keys.collect::<StringArray>())))
    }
}

/// The same values with parts of which equal ones are the same.
pub(super) fn comparable(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Float32 | DataType::Float64 => one_value::one_value(array),
        DataType::Interval(_) => span::lengths(array)?,
        DataType::List(field) => {
            let list = array.as_list::<i32>();
            let values = comparable(list.values())?;
            let field = with_type(field, &values);
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Arc::new(GenericListArray::try_new(field, offsets, values, nulls)?)
        }
        DataType::Struct(fields) => {
            let parts = array.as_struct();
            let columns = parts.columns().iter().map(comparable).collect::<Result<Vec<_>>>()?;
            let fields =
                fields.iter().zip(&columns).map(|(field, column)| with_type(field, column));
            Arc::new(StructArray::try_new(fields.collect(), columns, parts.nulls().cloned())?)
        }
        _ => Arc::clone(array),
    })
}

fn with_type(field: &Arc<Field>, values: &ArrayRef) -> Arc<Field> {
    Arc::new(field.as_ref().clone().with_data_type(values.data_type().clone()))
}
