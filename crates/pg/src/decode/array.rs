//! Arrays of one dimension.

use bytes::Buf;
use datafusion::common::ScalarValue;
use millrace_types::{Report, SqlState, SqlType};

use super::{binary, malformed, text};

/// Reads `{a,"b c",NULL}`.
pub(super) fn parse(input: &str, element: &SqlType) -> Result<ScalarValue, Report> {
    let malformed = || {
        let message = format!("malformed array literal: \"{input}\"");
        Report::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
    };
    let inner = input
        .trim()
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .ok_or_else(malformed)?;
    let mut values = Vec::new();
    let mut rest = inner.trim_start();
    while !rest.is_empty() {
        let (item, after) = item(rest)?.ok_or_else(malformed)?;
        values.push(match item {
            Some(item) => text::value(&item, element)?,
            None => null(element)?,
        });
        rest = match after.trim_start().strip_prefix(',') {
            Some(more) if !more.trim().is_empty() => more.trim_start(),
            None if after.trim().is_empty() => "",
            _ => return Err(malformed()),
        };
    }
    Ok(list(&values, element))
}

/// An element's text, None for NULL, and what follows it.
type Item<'a> = (Option<String>, &'a str);

/// The first element of a list; None if it is not well formed.
fn item(input: &str) -> Result<Option<Item<'_>>, Report> {
    if input.starts_with('{') {
        return Err(Report::unsupported("an array parameter of more than one dimension"));
    }
    let quoted = input.starts_with('"');
    let mut value = String::new();
    let mut chars = input.char_indices().skip(usize::from(quoted));
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, escaped)) => value.push(escaped),
                None => return Ok(None),
            },
            '"' if quoted => return Ok(Some((Some(value), &input[at + 1..]))),
            ',' if !quoted => return Ok(unquoted(&value, &input[at..])),
            '"' | '{' | '}' if !quoted => return Ok(None),
            c => value.push(c),
        }
    }
    Ok(if quoted { None } else { unquoted(&value, "") })
}

fn unquoted<'a>(value: &str, after: &'a str) -> Option<Item<'a>> {
    let value = value.trim_end();
    match value {
        "" => None,
        value if value.eq_ignore_ascii_case("null") => Some((None, after)),
        value => Some((Some(value.to_owned()), after)),
    }
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
