//! `millrace_fitting(text, length)`: a text that a statement stores in a column of `varchar(length)`.
//!
//! Unlike a cast it fails for a longer one, unless spaces are all that is too much: these go.

use std::sync::Arc;

use arrow::array::{Array, StringArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::SqlState;

use super::invoke::{over_columns, text, texts};
use super::{no_function, user_error};

/// Its name.
pub(crate) const FITTING: &str = "millrace_fitting";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Fitting {
    signature: Signature,
}

impl Fitting {
    pub(super) fn new() -> Fitting {
        let types = vec![DataType::Utf8, DataType::Int64];
        Fitting { signature: Signature::exact(types, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Fitting {
    fn name(&self) -> &'static str {
        FITTING
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value, ColumnarValue::Scalar(ScalarValue::Int64(Some(length)))] = args.args.as_slice()
        else {
            return Err(no_function(FITTING, &[]));
        };
        let most = usize::try_from(*length).unwrap_or(0);
        over_columns(std::slice::from_ref(value), |columns| {
            Ok(Arc::new(fitting(&texts(&columns[0])?, most)?))
        })
    }
}

fn fitting(values: &StringArray, most: usize) -> Result<StringArray> {
    let mut result = StringBuilder::with_capacity(values.len(), values.value_data().len());
    for row in 0..values.len() {
        result.append_option(match text(values, row) {
            Some(value) => Some(cut(value, most)?),
            None => None,
        });
    }
    Ok(result.finish())
}

fn cut(value: &str, most: usize) -> Result<&str> {
    // No text has more characters than bytes.
    if value.len() <= most {
        return Ok(value);
    }
    let Some((end, _)) = value.char_indices().nth(most) else { return Ok(value) };
    if value[end..].bytes().any(|byte| byte != b' ') {
        let message = format!("value too long for type character varying({most})");
        return Err(user_error(SqlState::STRING_DATA_RIGHT_TRUNCATION, message));
    }
    Ok(&value[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_count_and_spaces_at_the_end_go() {
        assert_eq!(cut("äöü", 3).unwrap(), "äöü");
        assert_eq!(cut("äö   ", 3).unwrap(), "äö ");
        assert_eq!(cut("", 3).unwrap(), "");
        assert!(cut("äöüx", 3).is_err());
        assert!(cut("ab  c", 3).is_err());
    }
}
