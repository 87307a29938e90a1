//! Characters by their numbers and texts in one of Unicode's normal forms: `unistr`, `normalize`, `is_normalized`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::{Report, SqlState};
use unicode_normalization::UnicodeNormalization;

use super::cast::external;
use super::invoke::{over_columns, text, texts};
use super::no_function;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Which {
    Escapes,
    Normal,
    IsNormal,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Forms {
    which: Which,
    signature: Signature,
}

pub(super) fn all() -> [Forms; 3] {
    let signature = || Signature::user_defined(Volatility::Immutable);
    [Which::Escapes, Which::Normal, Which::IsNormal]
        .map(|which| Forms { which, signature: signature() })
}

impl ScalarUDFImpl for Forms {
    fn name(&self) -> &'static str {
        match self.which {
            Which::Escapes => "unistr",
            Which::Normal => "normalize",
            Which::IsNormal => "is_normalized",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(if self.which == Which::IsNormal { DataType::Boolean } else { DataType::Utf8 })
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let is_text = |found: &DataType| found.is_string() || found.is_null();
        let most = if self.which == Which::Escapes { 1 } else { 2 };
        match (1..=most).contains(&types.len()) && types.iter().all(is_text) {
            true => Ok(vec![DataType::Utf8; types.len()]),
            false => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |columns| {
            let columns = columns.iter().map(texts).collect::<Result<Vec<_>>>()?;
            let Some(values) = columns.first() else { return Err(no_function(self.name(), &[])) };
            let pair = |row: usize| {
                let form = columns.get(1).map_or(Some("NFC"), |forms| text(forms, row));
                text(values, row).zip(form)
            };
            let changed = |row: usize| match (self.which, pair(row)) {
                (_, None) => Ok(None),
                (Which::Escapes, Some((value, _))) => characters(value).map(Some),
                (_, Some((value, form))) => normal(value, form).map(Some),
            };
            let rows = 0..values.len();
            let changed = rows.map(changed).collect::<Result<StringArray, Report>>();
            let changed = changed.map_err(external)?;
            if self.which != Which::IsNormal {
                return Ok(Arc::new(changed) as ArrayRef);
            }
            let same = |row: usize| Some(text(values, row)? == text(&changed, row)?);
            Ok(Arc::new((0..values.len()).map(same).collect::<BooleanArray>()))
        })
    }
}

fn normal(value: &str, form: &str) -> Result<String, Report> {
    Ok(match form.to_ascii_uppercase().as_str() {
        "NFC" => value.nfc().collect(),
        "NFD" => value.nfd().collect(),
        "NFKC" => value.nfkc().collect(),
        "NFKD" => value.nfkd().collect(),
        _ => {
            let message = format!("invalid normalization form: {form}");
            return Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, message));
        }
    })
}

/// A text with `\0061`, `\+000061`, `\u0061` or `\U00000061` for characters; two halves of a pair may be two of them.
fn characters(value: &str) -> Result<String, Report> {
    let mut result = String::with_capacity(value.len());
    let (mut rest, mut half) = (value, None);
    while let Some(at) = rest.find('\\').or((!rest.is_empty()).then_some(rest.len())) {
        let (plain, escape) = rest.split_at(at);
        if half.is_some() && !plain.is_empty() {
            return Err(no_pair());
        }
        result.push_str(plain);
        let Some(escape) = escape.strip_prefix('\\') else { break };
        if let Some(after) = escape.strip_prefix('\\') {
            if half.is_some() {
                return Err(no_pair());
            }
            result.push('\\');
            rest = after;
            continue;
        }
        let (digits, count) = match escape.as_bytes().first() {
            Some(b'+') => (&escape[1..], 6),
            Some(b'u') => (&escape[1..], 4),
            Some(b'U') => (&escape[1..], 8),
            _ => (escape, 4),
        };
        let written = digits.get(..count).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let written = written.ok_or_else(|| {
            let hint = "Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.";
            Report::new(SqlState::SYNTAX_ERROR, "invalid Unicode escape").hint(hint)
        })?;
        rest = &digits[count..];
        let number = u32::from_str_radix(written, 16).unwrap_or(u32::MAX);
        half = match (half, number) {
            (None, 0xd800..0xdc00) => Some(number),
            (Some(first), 0xdc00..0xe000) => {
                let joined = 0x10000 + ((first - 0xd800) << 10) + (number - 0xdc00);
                result.extend(char::from_u32(joined));
                None
            }
            (Some(_), _) | (None, 0xdc00..0xe000) => return Err(no_pair()),
            (None, number) => {
                let character = char::from_u32(number).filter(|character| *character != '\0');
                result.push(character.ok_or_else(|| {
                    // Without the zeros that more than four digits begin with.
                    let message = format!("invalid Unicode code point: {number:04X}");
                    Report::new(SqlState::INVALID_PARAMETER_VALUE, message)
                })?);
                None
            }
        };
    }
    if half.is_some() { Err(no_pair()) } else { Ok(result) }
}

fn no_pair() -> Report {
    Report::new(SqlState::SYNTAX_ERROR, "invalid Unicode surrogate pair")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_characters_and_halves_make_pairs() {
        for (text, wanted) in [
            ("d\\0061t\\+000061", Ok("data")),
            ("\\u0064\\U00000061", Ok("da")),
            ("a\\\\b", Ok("a\\b")),
            ("\\d83d\\de00", Ok("\u{1f600}")),
            ("\\d83d", Err("42601")),
            ("\\d83dx\\de00", Err("42601")),
            ("\\12", Err("42601")),
            ("x\\", Err("42601")),
            ("\\0000", Err("22023")),
            ("\\+110000", Err("22023")),
        ] {
            let found = characters(text);
            let found = found.as_deref().map_err(|report| report.code.code());
            assert_eq!(found, wanted, "{text}");
        }
    }
}
