//! `array_dims(array)`: the bounds of each dimension as text, `[1:2][1:3]`.

use std::sync::Arc;

use arrow::array::{Array, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::common::Result;
use datafusion::functions_nested::dimension::array_dims_udf;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// The library's gives a list of lengths.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ArrayDims {
    inner: Arc<ScalarUDF>,
}

impl ArrayDims {
    pub(super) fn new() -> ArrayDims {
        ArrayDims { inner: array_dims_udf() }
    }
}

impl ScalarUDFImpl for ArrayDims {
    fn name(&self) -> &'static str {
        "array_dims"
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)?;
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<DataType> =
            args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let lengths = self.inner.return_type(&types)?;
        let return_field = Arc::new(Field::new(self.name(), lengths, true));
        let rows = args.number_rows;
        let lists = self.inner.invoke_with_args(ScalarFunctionArgs { return_field, ..args })?;
        let lists = lists.into_array(rows)?;
        let lists = lists.as_list::<i32>();
        let shown = |row: usize| -> Result<Option<String>> {
            // An array without elements has no dimensions.
            if lists.is_null(row) {
                return Ok(None);
            }
            let lengths = cast(&lists.value(row), &DataType::Int64)?;
            let lengths = lengths.as_primitive::<Int64Type>();
            let text: String =
                lengths.iter().map(|length| format!("[1:{}]", length.unwrap_or(0))).collect();
            Ok((!text.is_empty() && !text.contains(":0]")).then_some(text))
        };
        let texts = (0..lists.len()).map(shown).collect::<Result<StringArray>>()?;
        Ok(ColumnarValue::Array(Arc::new(texts)))
    }
}
