//! What is decided by the types of arguments: `pg_typeof(x)`, and a literal that is an array of them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::cast::convert;
use super::{bare_name, no_function};

/// `(text, value)`: the text as an array of the value's type. It stands for the literal of
/// `value = ANY ('{1,2}')`.
pub(crate) const ARRAY_LIKE: &str = "millrace_array_like";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ArrayLike {
    signature: Signature,
}

impl ArrayLike {
    pub(super) fn new() -> ArrayLike {
        ArrayLike { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ArrayLike {
    fn name(&self) -> &'static str {
        ARRAY_LIKE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [_, element] => {
                Ok(DataType::List(Arc::new(Field::new_list_field(element.clone(), true))))
            }
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let to = args.return_field.data_type();
        match args.args.first() {
            Some(ColumnarValue::Scalar(text)) => {
                super::value_as(text, to).map(ColumnarValue::Scalar)
            }
            Some(ColumnarValue::Array(texts)) => convert(texts, to).map(ColumnarValue::Array),
            None => Err(no_function(self.name(), &[])),
        }
    }
}

/// `pg_typeof(x)`: the type's name.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TypeOf {
    signature: Signature,
}

impl TypeOf {
    pub(super) fn new() -> TypeOf {
        TypeOf { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for TypeOf {
    fn name(&self) -> &'static str {
        "pg_typeof"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let name = args.arg_fields.first().map(|field| bare_name(field.data_type()));
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(name)))
    }
}
