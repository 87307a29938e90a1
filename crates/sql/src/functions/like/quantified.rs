//! A text and an array of patterns: `x LIKE ANY (array)`, `x !~* ALL (array)` and the like, as
//! `millrace_matches(x, array, 'operator ANY')`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use millrace_types::SqlState;

use super::matches;
use crate::functions::cast::{external, own};
use crate::functions::invoke::{text, texts};
use crate::functions::regexp::{self, Regexp};
use crate::functions::{bare_name, no_function, user_error};

/// The name that plans have.
pub(crate) const MATCHES: &str = "millrace_matches";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::functions) struct Matches {
    signature: Signature,
}

impl Matches {
    pub(in crate::functions) fn new() -> Matches {
        Matches { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Matches {
    fn name(&self) -> &'static str {
        MATCHES
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let is_text = |found: &DataType| found.is_string() || found.is_null();
        match types {
            [value, DataType::List(element), _]
                if is_text(value) && is_text(element.data_type()) =>
            {
                Ok(DataType::Boolean)
            }
            [value, DataType::Null, _] if is_text(value) => Ok(DataType::Boolean),
            [value, DataType::List(element), _] => {
                let (value, element) = (bare_name(value), bare_name(element.data_type()));
                let message = format!("operator does not exist: {value} ~~ {element}");
                Err(user_error(SqlState::UNDEFINED_FUNCTION, message))
            }
            _ => {
                let message = "op ANY/ALL (array) requires array on right side";
                Err(user_error(SqlState::WRONG_OBJECT_TYPE, message))
            }
        }
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let (values, patterns, operator) = match args.args.as_slice() {
            [values, patterns, ColumnarValue::Scalar(ScalarValue::Utf8(Some(operator)))] => {
                (values, patterns, operator.as_str())
            }
            _ => return Err(no_function(MATCHES, &[])),
        };
        let is_scalar = [values, patterns].iter().all(|v| matches!(v, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { rows };
        let found = each(&values.to_array(rows)?, &patterns.to_array(rows)?, operator)?;
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&found, 0)?),
            false => ColumnarValue::Array(Arc::new(found)),
        })
    }
}

/// Each text with each of its patterns, and what comes of it by row.
fn each(values: &ArrayRef, lists: &ArrayRef, operator: &str) -> Result<BooleanArray> {
    let Some(lists) = lists.as_list_opt::<i32>() else {
        return Ok(BooleanArray::new_null(values.len()));
    };
    let (lists, values) = (own(lists)?, texts(values)?);
    let patterns = texts(lists.values())?;
    let offsets = lists.value_offsets();
    let bound = |at: usize| usize::try_from(offsets[at]).unwrap_or(0);
    let mut repeated = StringBuilder::new();
    for row in 0..values.len() {
        (bound(row)..bound(row + 1)).for_each(|_| repeated.append_option(text(&values, row)));
    }
    let first = bound(0);
    let patterns = patterns.slice(first, bound(values.len()) - first);
    let (operator, quantifier) = operator.split_once(' ').unwrap_or((operator, "ANY"));
    let (negated, operator) = match operator.strip_prefix('!') {
        Some(operator) => (true, operator),
        None => (false, operator),
    };
    let found = pairs(&repeated.finish(), &patterns, operator)?;
    let all = quantifier == "ALL";
    let row = |row: usize| {
        if lists.is_null(row) {
            return None;
        }
        // The one that decides.
        let (mut decided, mut is_open) = (false, false);
        for at in bound(row) - first..bound(row + 1) - first {
            match found.is_valid(at) {
                true => decided |= (found.value(at) != negated) != all,
                false => is_open = true,
            }
        }
        match (decided, is_open) {
            (true, _) => Some(!all),
            (false, true) => None,
            (false, false) => Some(all),
        }
    };
    Ok((0..values.len()).map(row).collect())
}

/// Which texts match the patterns beside them.
fn pairs(values: &StringArray, patterns: &StringArray, operator: &str) -> Result<BooleanArray> {
    let which = match operator {
        "~~" => return matches(values, patterns, None, false).map_err(external),
        "~~*" => return matches(values, patterns, None, true).map_err(external),
        "~*" => Regexp::MatchesAnyCase,
        _ => Regexp::Matches,
    };
    let columns: [ColumnarValue; 2] =
        [values, patterns].map(|column| ColumnarValue::Array(Arc::new(column.clone()) as ArrayRef));
    let found = regexp::invoke(which, &columns, values.len(), &DataType::Boolean)?;
    Ok(found.into_array(values.len())?.as_boolean().clone())
}
