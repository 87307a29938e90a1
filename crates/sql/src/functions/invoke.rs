//! Calls of functions over columns.

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::ColumnarValue;

use super::cast::plain;

/// Calls a function over the arguments as columns of one length; constants give a constant.
pub(super) fn over_columns(
    args: &[ColumnarValue],
    apply: impl FnOnce(&[ArrayRef]) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    let is_scalar = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let result = apply(&ColumnarValue::values_to_arrays(args)?)?;
    Ok(match is_scalar {
        true => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
        false => ColumnarValue::Array(result),
    })
}

/// A column of text.
pub(super) fn texts(array: &ArrayRef) -> Result<StringArray> {
    Ok(plain(array, &DataType::Utf8)?.as_string::<i32>().clone())
}

/// The text of a row.
pub(super) fn text(texts: &StringArray, row: usize) -> Option<&str> {
    texts.is_valid(row).then(|| texts.value(row))
}
