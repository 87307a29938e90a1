//! The matches of `regexp_matches(text, pattern [, flags])`, each an array of what its groups hold: a list
//! of them for each row, which [`crate::binder`] spreads over rows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListBuilder, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::{Report, SqlState, of_pattern};
use regex::{Regex, RegexBuilder};

use super::cast::external;
use super::invoke::{over_columns, text, texts};
use super::no_function;

/// The name that plans have.
pub(crate) const REGEXP_MATCHES: &str = "regexp_matches";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct RegexpMatches {
    signature: Signature,
}

impl RegexpMatches {
    pub(super) fn new() -> RegexpMatches {
        RegexpMatches { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for RegexpMatches {
    fn name(&self) -> &'static str {
        REGEXP_MATCHES
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::new_list(DataType::Utf8, true), true))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let takes = |given: &DataType| given.is_string() || given.is_null();
        match types {
            [_, _] | [_, _, _] if types.iter().all(takes) => Ok(vec![DataType::Utf8; types.len()]),
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |arrays| {
            let columns = arrays.iter().map(texts).collect::<Result<Vec<_>>>()?;
            let [values, patterns, flags @ ..] = columns.as_slice() else {
                return Err(no_function(self.name(), &[]));
            };
            let mut known = Patterns::default();
            let mut out = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
            for row in 0..values.len() {
                let flags = match flags.first() {
                    Some(flags) => text(flags, row),
                    None => Some(""),
                };
                let Some(((value, pattern), flags)) =
                    text(values, row).zip(text(patterns, row)).zip(flags)
                else {
                    out.append_null();
                    continue;
                };
                let (regex, count) = known.get(pattern, flags)?;
                for found in regex.captures_iter(value).take(*count) {
                    // Without groups, the whole match.
                    let first = usize::from(found.len() > 1);
                    for group in first..found.len() {
                        out.values().values().append_option(found.get(group).map(|m| m.as_str()));
                    }
                    out.values().append(true);
                }
                out.append(true);
            }
            Ok(Arc::new(out.finish()) as ArrayRef)
        })
    }
}

/// The regular expressions of a call, each compiled once.
#[derive(Default)]
pub(super) struct Patterns<'a>(BTreeMap<(&'a str, &'a str), (Regex, usize)>);

impl<'a> Patterns<'a> {
    /// A regular expression, and how many matches are wanted.
    pub(super) fn get(&mut self, pattern: &'a str, flags: &'a str) -> Result<&(Regex, usize)> {
        Ok(match self.0.entry((pattern, flags)) {
            Entry::Occupied(entry) => &*entry.into_mut(),
            Entry::Vacant(entry) => &*entry.insert(compiled(pattern, flags).map_err(external)?),
        })
    }
}

fn compiled(pattern: &str, flags: &str) -> Result<(Regex, usize), Report> {
    let mut builder = RegexBuilder::new(pattern);
    // As PostgreSQL, where a point takes the end of a line too.
    builder.dot_matches_new_line(true);
    let mut count = 1;
    for flag in flags.chars() {
        match flag {
            'g' => count = usize::MAX,
            'i' => _ = builder.case_insensitive(true),
            'c' => _ = builder.case_insensitive(false),
            'n' | 'm' => _ = builder.multi_line(true).dot_matches_new_line(false),
            's' => _ = builder.multi_line(false).dot_matches_new_line(true),
            'x' => _ = builder.ignore_whitespace(true),
            other => {
                let message = format!("invalid regular expression option: \"{other}\"");
                return Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, message));
            }
        }
    }
    let invalid = |error: regex::Error| {
        let unknown = || Report::new(SqlState::INVALID_REGULAR_EXPRESSION, error.to_string());
        of_pattern(&error.to_string()).unwrap_or_else(unknown)
    };
    Ok((builder.build().map_err(invalid)?, count))
}
