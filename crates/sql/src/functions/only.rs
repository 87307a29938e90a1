//! The value of a subquery that was asked for one value, from a list of its first values.
//!
//! A subquery with more than one row is an error of the row that asks, and only there.

use arrow::array::{Array, AsArray, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::SqlState;

use super::{no_function, user_error};

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Only {
    signature: Signature,
}

impl Only {
    pub(super) fn new() -> Only {
        Only { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Only {
    fn name(&self) -> &'static str {
        "millrace_only_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::List(field)] => Ok(field.data_type().clone()),
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let list = args.args.into_iter().next().ok_or_else(|| no_function(self.name(), &[]))?;
        let list = list.into_array(rows)?;
        let list = list.as_list::<i32>();
        let mut at = Vec::with_capacity(list.len());
        for (index, bounds) in list.value_offsets().windows(2).enumerate() {
            let count = if list.is_null(index) { 0 } else { bounds[1] - bounds[0] };
            if count > 1 {
                let message = "more than one row returned by a subquery used as an expression";
                return Err(user_error(SqlState::CARDINALITY_VIOLATION, message));
            }
            at.push(u64::try_from(bounds[0]).ok().filter(|_| count == 1));
        }
        Ok(ColumnarValue::Array(take(list.values(), &UInt64Array::from(at), None)?))
    }
}
