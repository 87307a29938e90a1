//! Arrays of one dimension.

use bytes::Buf;
use datafusion::common::ScalarValue;
use millrace_types::input::{self, Item, Zone};
use millrace_types::{Report, SqlState, SqlType};

use super::{binary, malformed, text};

/// Reads `{a,"b c",NULL}`.
pub(super) fn parse(text: &str, element: &SqlType, zone: Zone) -> Result<ScalarValue, Report> {
    let value = |item: Item| match item {
        Item::Null => null(element),
        Item::Text(item) => text::value(&item, element, zone),
        Item::Array(_) => Err(Report::unsupported("an array parameter of more than one dimension")),
    };
    let values: Vec<ScalarValue> =
        input::array(text)?.into_iter().map(value).collect::<Result<_, _>>()?;
    Ok(list(&values, element))
}

/// Reads the binary form.
pub(super) fn decode(mut bytes: &[u8], element: &SqlType) -> Result<ScalarValue, Report> {
    let need = |bytes: &[u8], count: usize| {
        if bytes.len() < count { Err(malformed()) } else { Ok(()) }
    };
    need(bytes, 12)?;
    let dimensions = bytes.get_i32();
    bytes.advance(4);
    let oid = bytes.get_u32();
    if dimensions == 0 {
        return Ok(list(&[], element));
    }
    if dimensions != 1 {
        return Err(Report::unsupported("an array parameter of more than one dimension"));
    }
    need(bytes, 8)?;
    let count = bytes.get_i32();
    bytes.advance(4);
    let mut values = Vec::new();
    for _ in 0..count {
        need(bytes, 4)?;
        let value = match usize::try_from(bytes.get_i32()) {
            Ok(length) => {
                need(bytes, length)?;
                let (item, rest) = bytes.split_at(length);
                bytes = rest;
                binary::value(item, element, oid)?
            }
            Err(_) => null(element)?,
        };
        values.push(value);
    }
    if bytes.is_empty() { Ok(list(&values, element)) } else { Err(malformed()) }
}

fn null(element: &SqlType) -> Result<ScalarValue, Report> {
    ScalarValue::try_from(&element.arrow())
        .map_err(|error| Report::new(SqlState::INTERNAL_ERROR, error.strip_backtrace()))
}

fn list(values: &[ScalarValue], element: &SqlType) -> ScalarValue {
    ScalarValue::List(ScalarValue::new_list_nullable(values, &element.arrow()))
}
