//! `num_nulls(...)` and `num_nonnulls(...)`: how many arguments are NULL, and how many are not.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::invoke::over_columns;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Counts {
    of_nulls: bool,
    signature: Signature,
}

pub(super) fn all() -> Vec<Counts> {
    let signature = || Signature::variadic_any(Volatility::Immutable);
    [true, false].map(|of_nulls| Counts { of_nulls, signature: signature() }).into()
}

impl ScalarUDFImpl for Counts {
    fn name(&self) -> &'static str {
        if self.of_nulls { "num_nulls" } else { "num_nonnulls" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |columns| {
            let nulls: Vec<_> = columns.iter().map(|column| column.logical_nulls()).collect();
            let count = |row: usize| {
                let is_null = |nulls: &Option<arrow::buffer::NullBuffer>| {
                    nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
                };
                let found = nulls.iter().filter(|nulls| is_null(nulls) == self.of_nulls).count();
                i32::try_from(found).ok()
            };
            let rows = columns.first().map_or(0, |column| column.len());
            Ok(Arc::new((0..rows).map(count).collect::<Int32Array>()) as ArrayRef)
        })
    }
}
