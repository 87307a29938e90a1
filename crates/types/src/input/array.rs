//! Arrays and records: `{1,2,{3}}` and `(1,"a b",)`, taken apart into the texts of their parts.

use crate::report::{Report, SqlState};

/// Arrays in arrays, at most.
const DEPTH_MAX: usize = 6;

/// A part of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// NULL
    Null,
    /// The text of a value, without quotes and escapes.
    Text(String),
    /// An array in an array.
    Array(Vec<Item>),
}

/// The parts of an array's text.
///
/// # Errors
/// `22P02`.
pub fn array(text: &str) -> Result<Vec<Item>, Report> {
    let malformed = || {
        let message = format!("malformed array literal: \"{text}\"");
        Report::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
    };
    let mut rest = text.trim();
    let items = items(&mut rest, DEPTH_MAX).ok_or_else(malformed)?;
    if rest.trim().is_empty() { Ok(items) } else { Err(malformed()) }
}

/// The items from the opening brace to the closing one.
fn items(rest: &mut &str, depth: usize) -> Option<Vec<Item>> {
    *rest = rest.strip_prefix('{')?.trim_start();
    let mut items = Vec::new();
    if let Some(after) = rest.strip_prefix('}') {
        *rest = after;
        return Some(items);
    }
    loop {
        *rest = rest.trim_start();
        items.push(match rest.starts_with('{') {
            true => Item::Array(self::items(rest, depth.checked_sub(1)?)?),
            false => item(rest)?,
        });
        *rest = rest.trim_start();
        match rest.chars().next()? {
            ',' => *rest = &rest[1..],
            '}' => {
                *rest = &rest[1..];
                return Some(items);
            }
            _ => return None,
        }
    }
}

/// One value, up to the comma or brace that ends it.
fn item(rest: &mut &str) -> Option<Item> {
    let quoted = rest.starts_with('"');
    let mut value = String::new();
    let mut escaped = false;
    let mut chars = rest.char_indices().skip(usize::from(quoted));
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                value.push(chars.next()?.1);
                escaped = true;
            }
            '"' if quoted => {
                *rest = &rest[at + 1..];
                return Some(Item::Text(value));
            }
            ',' | '}' if !quoted => {
                *rest = &rest[at..];
                let value = value.trim_end();
                return match value {
                    "" => None,
                    null if !escaped && null.eq_ignore_ascii_case("null") => Some(Item::Null),
                    value => Some(Item::Text(value.to_owned())),
                };
            }
            '"' | '{' if !quoted => return None,
            c => value.push(c),
        }
    }
    None
}

/// The fields of a record's text; None is NULL.
///
/// # Errors
/// `22P02`.
pub fn record(text: &str) -> Result<Vec<Option<String>>, Report> {
    let malformed = || {
        let message = format!("malformed record literal: \"{text}\"");
        Report::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
    };
    let inner = text.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    fields(inner.ok_or_else(malformed)?).ok_or_else(malformed)
}

fn fields(inner: &str) -> Option<Vec<Option<String>>> {
    let (mut fields, mut field) = (Vec::new(), None::<String>);
    let mut quoted = false;
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ',' if !quoted => fields.push(field.take()),
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.get_or_insert_default().push('"');
            }
            '"' => {
                quoted = !quoted;
                field.get_or_insert_default();
            }
            '\\' => field.get_or_insert_default().push(chars.next()?),
            '(' | ')' if !quoted => return None,
            c => field.get_or_insert_default().push(c),
        }
    }
    fields.push(field);
    (!quoted).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Item {
        Item::Text(value.to_owned())
    }

    #[test]
    fn an_array_is_taken_apart_as_postgresql_does_it() {
        assert_eq!(array(" {} ").unwrap(), []);
        let found = array(r#"{1, two words ,"a,\"b}", NULL,"NULL",\N}"#).unwrap();
        let wanted =
            [text("1"), text("two words"), text("a,\"b}"), Item::Null, text("NULL"), text("N")];
        assert_eq!(found, wanted);
        let inner = |n: &str| Item::Array(vec![text(n)]);
        assert_eq!(array("{{1},{2}}").unwrap(), [inner("1"), inner("2")]);
        for wrong in ["", "1", "{1", "{1}}", "{,}", "{1,}", "{\"a}", "{a\"b}", "{1 {2}}", "{1}x"] {
            assert_eq!(array(wrong).unwrap_err().code.code(), "22P02", "{wrong}");
        }
    }

    #[test]
    fn a_record_is_taken_apart_as_postgresql_does_it() {
        let found = record(r#"(1,"a ""b"", c",,"",\))"#).unwrap();
        let wanted = [Some("1"), Some("a \"b\", c"), None, Some(""), Some(")")];
        assert_eq!(found.iter().map(Option::as_deref).collect::<Vec<_>>(), wanted);
        for wrong in ["", "1", "(1", "(\"a)", "((1))"] {
            assert!(record(wrong).is_err(), "{wrong}");
        }
    }
}
