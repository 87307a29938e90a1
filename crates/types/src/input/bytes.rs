//! `bytea`: hexadecimal digits behind `\x`, or text with escapes.

use crate::report::{Report, SqlState};

/// The bytes of a text.
///
/// # Errors
/// `22023` for bad hexadecimal digits, `22P02` for bad escapes.
pub fn bytea(text: &str) -> Result<Vec<u8>, Report> {
    match text.strip_prefix("\\x") {
        Some(digits) => hexadecimal(digits),
        None => escaped(text).ok_or_else(|| {
            let message = "invalid input syntax for type bytea";
            Report::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
        }),
    }
}

fn hexadecimal(text: &str) -> Result<Vec<u8>, Report> {
    let wrong = |message: String| Report::new(SqlState::INVALID_PARAMETER_VALUE, message);
    let digit = |c: char| {
        let value = c.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        value.ok_or_else(|| wrong(format!("invalid hexadecimal digit: \"{c}\"")))
    };
    let mut digits = text.chars().filter(|c| !c.is_ascii_whitespace());
    let mut bytes = Vec::with_capacity(text.len() / 2);
    while let Some(first) = digits.next() {
        let high = digit(first)?;
        let Some(second) = digits.next() else {
            return Err(wrong("invalid hexadecimal data: odd number of digits".to_owned()));
        };
        bytes.push(high << 4 | digit(second)?);
    }
    Ok(bytes)
}

fn escaped(text: &str) -> Option<Vec<u8>> {
    let mut rest = text.bytes();
    let mut bytes = Vec::with_capacity(text.len());
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let octal = |digit: u8| (b'0'..=b'7').contains(&digit).then(|| digit - b'0');
        match rest.next()? {
            b'\\' => bytes.push(b'\\'),
            first @ b'0'..=b'3' => {
                let (second, third) = (octal(rest.next()?)?, octal(rest.next()?)?);
                bytes.push((first - b'0') << 6 | second << 3 | third);
            }
            _ => return None,
        }
    }
    Some(bytes)
}
