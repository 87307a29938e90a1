//! `LIKE` where DataFusion's differs: a pattern that is no constant, or that ends in its escape character, which is
//! an error if text is left there (`textlike`, `texticlike`); and patterns in arrays (`x LIKE ANY (array)`,
//! `x ~ ALL (array)`: [`quantified`]). Constant patterns stay DataFusion's.

pub(super) mod quantified;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::{Report, SqlState};

use super::cast::external;
use super::invoke::{over_columns, text, texts};
use super::{bare_name, no_function, user_error};
use crate::regular;

/// `LIKE`: text, pattern and, where it is not the backslash, the escape character.
pub(crate) const LIKE: &str = "textlike";
/// `ILIKE`
pub(crate) const ANY_CASE: &str = "texticlike";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Like {
    any_case: bool,
    signature: Signature,
}

pub(super) fn all() -> [Like; 2] {
    let signature = || Signature::user_defined(Volatility::Immutable);
    [false, true].map(|any_case| Like { any_case, signature: signature() })
}

impl ScalarUDFImpl for Like {
    fn name(&self) -> &'static str {
        if self.any_case { ANY_CASE } else { LIKE }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let is_text = |found: &DataType| found.is_string() || found.is_null();
        match types {
            [text, pattern, ..] if !is_text(text) || !is_text(pattern) => {
                let operator = if self.any_case { "~~*" } else { "~~" };
                let (text, pattern) = (bare_name(text), bare_name(pattern));
                let message = format!("operator does not exist: {text} {operator} {pattern}");
                Err(user_error(SqlState::UNDEFINED_FUNCTION, message))
            }
            _ => Ok(DataType::Boolean),
        }
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let coerced = |found: &DataType| match found.is_string() || found.is_null() {
            true => DataType::Utf8,
            false => found.clone(),
        };
        match types {
            [_, _] | [_, _, _] => Ok(types.iter().map(coerced).collect()),
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |columns| {
            let columns = columns.iter().map(texts).collect::<Result<Vec<_>>>()?;
            let [values, patterns, escapes @ ..] = columns.as_slice() else {
                return Err(no_function(self.name(), &[]));
            };
            let found = matches(values, patterns, escapes.first(), self.any_case);
            Ok(Arc::new(found.map_err(external)?) as ArrayRef)
        })
    }
}

/// Which texts match their patterns.
fn matches(
    values: &StringArray,
    patterns: &StringArray,
    escapes: Option<&StringArray>,
    any_case: bool,
) -> Result<BooleanArray, Report> {
    let (mut pattern, mut characters) = (Pattern::default(), Vec::new());
    let mut row = |row: usize| {
        let escape = escapes.map_or(Some("\\"), |escapes| text(escapes, row));
        let given = text(values, row).zip(text(patterns, row)).zip(escape);
        let Some(((value, written), escape)) = given else { return Ok(None) };
        pattern.read(written, escape, any_case)?;
        characters.clear();
        match any_case {
            true => characters.extend(value.to_lowercase().chars()),
            false => characters.extend(value.chars()),
        }
        pattern.matches(&characters).map(Some)
    };
    (0..values.len()).map(&mut row).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// `%`
    Any,
    /// `_`
    One,
    Exactly(char),
    /// The escape character, and nothing behind it.
    Escape,
}

/// A pattern, kept from row to row.
#[derive(Default)]
struct Pattern {
    written: String,
    escape: String,
    parts: Vec<Part>,
}

impl Pattern {
    /// # Errors
    /// An escape of more than one character.
    fn read(&mut self, written: &str, escape: &str, any_case: bool) -> Result<(), Report> {
        if self.written == written && self.escape == escape {
            return Ok(());
        }
        self.parts.clear();
        let mark = regular::escape_of(escape)?;
        let mut characters = written.chars();
        while let Some(character) = characters.next() {
            let exact = match character {
                character if Some(character) == mark => characters.next(),
                '%' | '_' => {
                    self.parts.push(if character == '%' { Part::Any } else { Part::One });
                    continue;
                }
                character => Some(character),
            };
            match exact {
                None => self.parts.push(Part::Escape),
                Some(exact) if any_case => {
                    self.parts.extend(exact.to_lowercase().map(Part::Exactly));
                }
                Some(exact) => self.parts.push(Part::Exactly(exact)),
            }
        }
        written.clone_into(&mut self.written);
        escape.clone_into(&mut self.escape);
        Ok(())
    }

    /// # Errors
    /// `22025` where text is left at an escape character that ends the pattern.
    fn matches(&self, text: &[char]) -> Result<bool, Report> {
        let (mut at, mut part) = (0, 0);
        // Behind the last `%`, and how much of the text it took.
        let mut wide: Option<(usize, usize)> = None;
        while let Some(character) = text.get(at) {
            match self.parts.get(part) {
                Some(Part::Any) => {
                    part += 1;
                    wide = Some((part, at));
                    if part == self.parts.len() {
                        return Ok(true);
                    }
                }
                Some(Part::Escape) => return Err(ends_in_escape()),
                Some(Part::One) => (at, part) = (at + 1, part + 1),
                Some(Part::Exactly(wanted)) if wanted == character => {
                    (at, part) = (at + 1, part + 1);
                }
                _ => {
                    let Some((behind, taken)) = wide else { return Ok(false) };
                    wide = Some((behind, taken + 1));
                    (at, part) = (taken + 1, behind);
                }
            }
        }
        Ok(self.parts[part..].iter().all(|part| *part == Part::Any))
    }
}

fn ends_in_escape() -> Report {
    let message = "LIKE pattern must not end with escape character";
    Report::new(SqlState::INVALID_ESCAPE_SEQUENCE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, written: &str, escape: &str) -> Result<bool, Report> {
        let mut pattern = Pattern::default();
        pattern.read(written, escape, false)?;
        pattern.matches(&text.chars().collect::<Vec<_>>())
    }

    #[test]
    fn patterns_match_whole_texts_and_go_back_to_the_last_wildcard() {
        for (text, pattern, wanted) in [
            ("abc", "a%", true),
            ("abc", "%b%", true),
            ("abcabd", "a%abd", true),
            ("aab", "a%ab", true),
            ("abc", "a_", false),
            ("größe", "gr__e", true),
            ("a%c", "a\\%c", true),
            ("abc", "a\\%c", false),
            ("", "%", true),
            ("", "_", false),
            ("ab", "", false),
        ] {
            assert_eq!(found(text, pattern, "\\").unwrap(), wanted, "{text} {pattern}");
        }
    }

    #[test]
    fn a_pattern_that_ends_in_its_escape_fails_where_text_is_left() {
        assert_eq!(found("abc", "ab\\", "\\").unwrap_err().code, SqlState::INVALID_ESCAPE_SEQUENCE);
        assert!(!found("ab", "ab\\", "\\").unwrap());
        assert!(!found("x", "ab\\", "\\").unwrap());
        assert!(found("ab\\", "ab\\", "").unwrap());
        assert!(found("x", "x", "ab").is_err());
    }
}
