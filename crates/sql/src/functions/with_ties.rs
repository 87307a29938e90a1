//! Marks the count of `FETCH FIRST n ROWS WITH TIES` until the plan has been rewritten.

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::no_function;

/// The name of the mark.
pub(crate) const WITH_TIES: &str = "millrace_with_ties";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct WithTies {
    signature: Signature,
}

impl WithTies {
    pub(super) fn new() -> WithTies {
        let signature = Signature::exact(vec![DataType::Int64], Volatility::Immutable);
        WithTies { signature }
    }
}

impl ScalarUDFImpl for WithTies {
    fn name(&self) -> &'static str {
        WITH_TIES
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        args.args.into_iter().next().ok_or_else(|| no_function(WITH_TIES, &[]))
    }
}
