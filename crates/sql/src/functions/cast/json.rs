//! JSON values as values of other types: numbers and truth values have one, null is NULL.

use arrow::array::{Array, ArrayRef, LargeBinaryArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use millrace_types::json::{Json, Kind, show};
use millrace_types::{Report, SqlState, SqlType};

use super::{external, plain};
use crate::functions::bare_name;

/// The values as values of a type.
pub(super) fn read(values: &LargeBinaryArray, to: &DataType) -> Result<ArrayRef> {
    let wanted = if *to == DataType::Boolean { Kind::Boolean } else { Kind::Number };
    let mut texts = Vec::with_capacity(values.len());
    for value in values {
        let value = value.map(Json::new).filter(|value| value.kind() != Kind::Null);
        if let Some(other) = value.filter(|value| value.kind() != wanted) {
            let other = match other.kind() {
                Kind::String | Kind::Boolean => other.kind().name().to_owned(),
                Kind::Number => "numeric".to_owned(),
                _ => format!("{} or object", Kind::Array.name()),
            };
            let message = format!("cannot cast jsonb {other} to type {}", bare_name(to));
            let report = Report::new(SqlState::INVALID_PARAMETER_VALUE, message);
            return Err(external(report));
        }
        texts.push(value.map(|value| {
            let mut text = String::new();
            show(value, &mut text);
            text
        }));
    }
    let texts = StringArray::from(texts);
    if *to == DataType::Boolean {
        return plain(&super::text::read(&texts, to)?, to);
    }
    // A whole number of another type is rounded, which its input syntax does not do.
    let numerics = super::text::read(&texts, &SqlType::Numeric(None).arrow())?;
    super::number::convert(&numerics, to)
}
