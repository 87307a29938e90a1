//! A function that does not exist. It takes the place of an unknown name while a query is planned,
//! so that the error can name the types of the arguments, as PostgreSQL does.

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::no_function;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Unknown {
    name: String,
    signature: Signature,
}

impl Unknown {
    pub(super) fn new(name: &str) -> Unknown {
        let any = vec![TypeSignature::Nullary, TypeSignature::UserDefined];
        let signature = Signature::one_of(any, Volatility::Immutable);
        Unknown { name: name.to_owned(), signature }
    }
}

impl ScalarUDFImpl for Unknown {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Err(no_function(&self.name, types))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(no_function(&self.name, &[]))
    }
}
