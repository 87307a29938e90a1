//! `gen_random_uuid()`: the library's, as a `uuid` and not as text.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::Result;
use datafusion::functions::string::uuid;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::SqlType;

use super::cast::convert;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct RandomUuid {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl RandomUuid {
    pub(super) fn new() -> RandomUuid {
        RandomUuid { inner: uuid(), signature: Signature::nullary(Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for RandomUuid {
    fn name(&self) -> &'static str {
        "gen_random_uuid"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(SqlType::Uuid.arrow())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let return_field = Arc::new(Field::new(self.inner.name(), DataType::Utf8, false));
        let args = ScalarFunctionArgs { return_field, ..args };
        let texts = self.inner.invoke_with_args(args)?.into_array(rows)?;
        convert(&texts, &SqlType::Uuid.arrow()).map(ColumnarValue::Array)
    }
}
