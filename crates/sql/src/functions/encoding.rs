//! `encode` and `decode`: bytes as text in hex, base64 or escapes.
//!
//! DataFusion's write base64 without its padding and lines, and know no escapes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::{Report, SqlState};

use super::invoke::{over_columns, text, texts};
use super::{no_function, user_error};

/// One of the two.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Encoding {
    decodes: bool,
    signature: Signature,
}

pub(super) fn all() -> [Encoding; 2] {
    let signature = || Signature::user_defined(Volatility::Immutable);
    [false, true].map(|decodes| Encoding { decodes, signature: signature() })
}

impl ScalarUDFImpl for Encoding {
    fn name(&self) -> &str {
        if self.decodes { "decode" } else { "encode" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(if self.decodes { DataType::Binary } else { DataType::Utf8 })
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let is_text = |found: &DataType| found.is_string() || found.is_null();
        // A literal without a type is bytes for `encode`.
        let from = if self.decodes { DataType::Utf8 } else { DataType::Binary };
        match types {
            [value, form] if (*value == from || is_text(value)) && is_text(form) => {
                Ok(vec![from, DataType::Utf8])
            }
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |columns| match (self.decodes, columns) {
            (false, [values, forms]) => encoded(values, forms),
            (true, [values, forms]) => decoded(values, forms),
            _ => Err(no_function(self.name(), &[])),
        })
    }
}

/// How bytes are written.
#[derive(Clone, Copy)]
enum Form {
    Hex,
    Base64,
    Escape,
}

impl Form {
    fn named(name: &str) -> Result<Form> {
        match name.to_ascii_lowercase().as_str() {
            "hex" => Ok(Form::Hex),
            "base64" => Ok(Form::Base64),
            "escape" => Ok(Form::Escape),
            _ => Err(wrong(format!("unrecognized encoding: \"{name}\""))),
        }
    }
}

fn wrong(message: String) -> DataFusionError {
    user_error(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn encoded(values: &ArrayRef, forms: &ArrayRef) -> Result<ArrayRef> {
    let (values, forms) = (values.as_binary::<i32>(), texts(forms)?);
    let mut result = StringBuilder::new();
    for row in 0..values.len() {
        match text(&forms, row).filter(|_| values.is_valid(row)) {
            Some(form) => result.append_value(encode(values.value(row), Form::named(form)?)),
            None => result.append_null(),
        }
    }
    Ok(Arc::new(result.finish()))
}

fn decoded(values: &ArrayRef, forms: &ArrayRef) -> Result<ArrayRef> {
    let (values, forms) = (texts(values)?, texts(forms)?);
    let mut result = BinaryBuilder::new();
    for row in 0..values.len() {
        match (text(&values, row), text(&forms, row)) {
            (Some(value), Some(form)) => result.append_value(decode(value, Form::named(form)?)?),
            _ => result.append_null(),
        }
    }
    Ok(Arc::new(result.finish()))
}

fn encode(bytes: &[u8], form: Form) -> String {
    match form {
        Form::Hex => {
            let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect()
        }
        Form::Base64 => base64(bytes),
        Form::Escape => {
            let octal = |digit: u8| char::from(b'0' + (digit & 7));
            let mut out = String::with_capacity(bytes.len());
            for byte in bytes {
                match byte {
                    b'\\' => out.push_str("\\\\"),
                    0 | 0x80.. => {
                        out.extend(['\\', octal(byte >> 6), octal(byte >> 3), octal(*byte)])
                    }
                    plain => out.push(char::from(*plain)),
                }
            }
            out
        }
    }
}

fn decode(text: &str, form: Form) -> Result<Vec<u8>> {
    match form {
        Form::Hex => from_hex(text),
        Form::Base64 => from_base64(text),
        Form::Escape => from_escapes(text.as_bytes()),
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Characters of a line of base64.
const LINE: usize = 76;

fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for (at, group) in bytes.chunks(3).enumerate() {
        if at > 0 && (at * 4).is_multiple_of(LINE) {
            out.push('\n');
        }
        let byte = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4usize {
            let digit = (bits >> (18 - 6 * place)) & 63;
            match place <= group.len() {
                true => out.push(char::from(DIGITS[digit as usize])),
                false => out.push('='),
            }
        }
    }
    out
}

fn from_base64(text: &str) -> Result<Vec<u8>> {
    let (mut out, mut bits, mut digits, mut padding) = (Vec::new(), 0u32, 0u32, 0u32);
    for c in text.chars().filter(|c| !matches!(c, ' ' | '\t' | '\n' | '\r')) {
        let digit = u8::try_from(c).ok().and_then(|c| DIGITS.iter().position(|one| *one == c));
        let digit = match digit.and_then(|digit| u32::try_from(digit).ok()) {
            Some(digit) if padding == 0 => digit,
            None if c == '=' && (2..4).contains(&digits) => {
                padding += 1;
                0
            }
            _ if c == '=' => {
                return Err(wrong("unexpected \"=\" while decoding base64 sequence".into()));
            }
            _ => {
                let message =
                    format!("invalid symbol \"{c}\" found while decoding base64 sequence");
                return Err(wrong(message));
            }
        };
        (bits, digits) = (bits << 6 | digit, digits + 1);
        if digits == 4 {
            let [_, bytes @ ..] = bits.to_be_bytes();
            out.extend(bytes.iter().take(3 - padding as usize));
            (bits, digits) = (0, 0);
        }
    }
    if digits > 0 {
        let report = Report::new(SqlState::INVALID_PARAMETER_VALUE, "invalid base64 end sequence");
        let hint = "Input data is missing padding, is truncated, or is otherwise corrupted.";
        return Err(DataFusionError::External(Box::new(report.hint(hint))));
    }
    Ok(out)
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let mut digits = Vec::with_capacity(text.len());
    for c in text.chars().filter(|c| !matches!(c, ' ' | '\t' | '\n' | '\r')) {
        let digit = c.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        digits.push(digit.ok_or_else(|| wrong(format!("invalid hexadecimal digit: \"{c}\"")))?);
    }
    if !digits.len().is_multiple_of(2) {
        return Err(wrong("invalid hexadecimal data: odd number of digits".into()));
    }
    Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn from_escapes(mut text: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    while let [first, rest @ ..] = text {
        let (byte, after) = match (first, rest) {
            (b'\\', [b'\\', after @ ..]) => (b'\\', after),
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), after)
            }
            (b'\\', _) => {
                let message = "invalid input syntax for type bytea";
                return Err(user_error(SqlState::INVALID_TEXT_REPRESENTATION, message));
            }
            (plain, after) => (*plain, after),
        };
        out.push(byte);
        text = after;
    }
    Ok(out)
}
