//! Columns that some objects seem to have.
//!
//! Members in the order in which they are first met. A type is the narrowest that holds all values:
//! whole numbers are bigint, others double precision or, beyond a bigint, numeric; texts that are all
//! dates or times are that; objects and arrays of them are jsonb; what does not go together is text.

use millrace_types::SqlType;

use millrace_types::json::{Cursor, Malformed, Token, unescape};

/// What the messages so far say.
#[derive(Default)]
pub(crate) struct Inferred {
    columns: Vec<(String, Option<SqlType>)>,
}

impl Inferred {
    /// Looks at one message; false if it is not one object.
    pub(crate) fn look(&mut self, message: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(message) else { return false };
        self.object(&mut Cursor::new(text)).is_ok()
    }

    fn object(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
        cursor.skip_space();
        if !cursor.take(b'{') {
            return cursor.expected("one object");
        }
        cursor.skip_space();
        if cursor.take(b'}') {
            return cursor.end();
        }
        loop {
            let (raw, _) = cursor.string()?;
            let mut name = String::new();
            unescape(raw, &mut name);
            cursor.colon()?;
            let found = value(cursor)?;
            match self.columns.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = both(known.take(), found),
                None => self.columns.push((name, found)),
            }
            if !cursor.goes_on(b'}')? {
                return cursor.end();
            }
        }
    }

    /// The columns; text where every value was NULL.
    pub(crate) fn columns(self) -> Vec<(String, SqlType)> {
        let typed =
            |(name, found): (String, Option<SqlType>)| (name, found.unwrap_or(SqlType::Text));
        self.columns.into_iter().map(typed).collect()
    }
}

/// The type of the value at the cursor; None for NULL.
fn value(cursor: &mut Cursor<'_>) -> Result<Option<SqlType>, Malformed> {
    if cursor.take_null()? {
        return Ok(None);
    }
    let mut scratch = String::new();
    Ok(Some(match cursor.token(&mut scratch)? {
        Token::Boolean(_) => SqlType::Boolean,
        Token::Number(number) => number_type(number.text),
        Token::Text(text) => text_type(text),
        Token::Nested(text) => match text.starts_with('[') {
            true => array_type(&mut Cursor::new(text))?,
            false => SqlType::Jsonb,
        },
    }))
}

fn number_type(text: &str) -> SqlType {
    let whole = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    match (whole, text.parse::<i64>()) {
        (true, Ok(_)) => SqlType::BigInt,
        (true, Err(_)) => SqlType::Numeric(None),
        (false, _) => SqlType::Double,
    }
}

/// Dates and times as RFC 3339 writes them.
fn text_type(text: &str) -> SqlType {
    let shape: String = text
        .chars()
        .take(40)
        .map(|character| if character.is_ascii_digit() { '9' } else { character })
        .collect();
    let Some(rest) = shape.strip_prefix("9999-99-99") else { return SqlType::Text };
    if rest.is_empty() {
        return SqlType::Date;
    }
    let time = rest.strip_prefix(['T', ' ']).and_then(|rest| rest.strip_prefix("99:99:99"));
    let Some(rest) = time else { return SqlType::Text };
    let zone = match rest.strip_prefix('.') {
        Some(places) => places.trim_start_matches('9'),
        None => rest,
    };
    match zone {
        "" => SqlType::Timestamp,
        "Z" | "z" | "+99" | "-99" | "+99:99" | "-99:99" | "+9999" | "-9999" => SqlType::TimestampTz,
        _ => SqlType::Text,
    }
}

fn array_type(cursor: &mut Cursor<'_>) -> Result<SqlType, Malformed> {
    let mut element = None;
    cursor.take(b'[');
    cursor.skip_space();
    if !cursor.take(b']') {
        loop {
            element = both(element, value(cursor)?);
            if !cursor.goes_on(b']')? {
                break;
            }
        }
    }
    Ok(match element {
        Some(SqlType::Array(_) | SqlType::Jsonb) => SqlType::Jsonb,
        Some(element) => SqlType::Array(Box::new(element)),
        // Nobody knows yet.
        None => SqlType::Array(Box::new(SqlType::Text)),
    })
}

/// The type that holds the values of two.
fn both(one: Option<SqlType>, other: Option<SqlType>) -> Option<SqlType> {
    use SqlType::{Array, BigInt, Date, Double, Jsonb, Numeric, Text, Timestamp};
    Some(match (one, other) {
        (None, found) | (found, None) => return found,
        (Some(one), Some(other)) if one == other => one,
        (Some(BigInt), Some(Double)) | (Some(Double), Some(BigInt)) => Double,
        (Some(BigInt | Double), Some(Numeric(None)))
        | (Some(Numeric(None)), Some(BigInt | Double)) => Numeric(None),
        (Some(Jsonb), _) | (_, Some(Jsonb)) => Jsonb,
        (Some(Date), Some(Timestamp)) | (Some(Timestamp), Some(Date)) => Timestamp,
        (Some(Array(one)), Some(Array(other))) => match both(Some(*one), Some(*other)) {
            Some(element) => Array(Box::new(element)),
            None => Text,
        },
        _ => Text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(messages: &[&str]) -> String {
        let mut inferred = Inferred::default();
        assert!(messages.iter().all(|message| inferred.look(message.as_bytes())));
        let column = |(name, sql_type): (String, SqlType)| format!("{name} {}", sql_type.name());
        inferred.columns().into_iter().map(column).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_column_has_the_narrowest_type_that_holds_all_values() {
        let found = columns(&[
            r#"{"id": 1, "v": 2, "ok": true, "name": "x", "at": "2024-01-02T03:04:05.6Z"}"#,
            r#"{"id": -7, "v": 2.5, "at": "2024-01-02 03:04:05+01:00", "more": null}"#,
        ]);
        assert_eq!(
            found,
            "id bigint, v double precision, ok boolean, name text, at timestamp with time zone, \
             more text"
        );
    }

    #[test]
    fn what_does_not_go_together_is_text() {
        let found = columns(&[
            r#"{"a": 1, "b": "2024-01-02", "c": [1, 2.5], "d": {"x": 1}, "f": [[1]], "e": 12345678901234567890}"#,
            r#"{"a": "x", "b": "soon", "c": [], "d": 1, "e": 1}"#,
        ]);
        assert_eq!(found, "a text, b text, c text[], d jsonb, f jsonb, e numeric");
    }

    #[test]
    fn what_is_no_object_is_passed_over() {
        let mut inferred = Inferred::default();
        assert!(!inferred.look(b"[1]") && !inferred.look(b"{") && !inferred.look(&[0xff]));
        assert!(inferred.columns().is_empty());
    }
}
