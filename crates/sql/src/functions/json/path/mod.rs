//! SQL/JSON paths over `jsonb`: `@?`, `@@` and the functions `jsonb_path_...`. A path is a text; it is read once
//! for rows that have the same.

mod parse;
#[cfg(test)]
mod tests;
mod tokens;
mod walk;

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, LargeBinaryBuilder, ListBuilder};
use datafusion::common::Result;
use millrace_types::json::{Kind, array};
use millrace_types::{Report, SqlState};

use super::JsonFunction;
use super::JsonFunction as F;
use super::value::Arg;
use crate::functions::cast::external;
use parse::Path;
use walk::{Fail, Item, Walk};

/// Works a function out for the rows without NULLs.
pub(super) fn apply(
    which: JsonFunction,
    args: &[Arg],
    rows: impl Iterator<Item = Option<usize>>,
) -> Result<ArrayRef> {
    let mut read: Option<(String, Path)> = None;
    let mut values = LargeBinaryBuilder::new();
    let mut lists = ListBuilder::new(LargeBinaryBuilder::new());
    let mut told = BooleanBuilder::new();
    for row in rows {
        let answer = match row {
            Some(row) => answer(which, args, row, &mut read)?,
            None => Answer::Nothing,
        };
        match answer {
            Answer::Truth(truth) => told.append_option(truth),
            Answer::Items(items) if which == F::PathQuery => {
                items.iter().for_each(|item| lists.values().append_value(item.json().bytes()));
                lists.append(true);
            }
            Answer::Items(items) if which == F::PathQueryArray => {
                values.append_value(array(items.iter().map(|item| item.json().bytes())));
            }
            Answer::Items(items) => {
                values.append_option(items.first().map(|item| item.json().bytes()));
            }
            Answer::Nothing => {
                told.append_null();
                lists.append(false);
                values.append_null();
            }
        }
    }
    Ok(match which {
        F::PathQuery => Arc::new(lists.finish()),
        F::PathQueryArray | F::PathQueryFirst => Arc::new(values.finish()),
        _ => Arc::new(told.finish()),
    })
}

enum Answer<'a> {
    Truth(Option<bool>),
    Items(Vec<Item<'a>>),
    Nothing,
}

fn answer<'a>(
    which: JsonFunction,
    args: &'a [Arg],
    row: usize,
    read: &mut Option<(String, Path)>,
) -> Result<Answer<'a>> {
    let text = args[1].text(row);
    if read.as_ref().is_none_or(|(known, _)| known != text) {
        *read = Some((text.to_owned(), parse::parse(text).map_err(external)?));
    }
    let Some((_, path)) = read else { return Ok(Answer::Nothing) };
    let variables = args.get(2).map(|arg| arg.json(row));
    if variables.is_some_and(|variables| variables.kind() != Kind::Object) {
        let report =
            Report::new(SqlState::INVALID_PARAMETER_VALUE, "\"vars\" argument is not an object");
        return Err(external(report.detail(
            "Jsonpath parameters should be encoded as key-value pairs of \"vars\" object.",
        )));
    }
    let operator = matches!(which, F::PathFound | F::PathHolds);
    let silent = operator || args.get(3).is_some_and(|flag| flag.flag(row));
    let strict = path.strict;
    let mut items = Vec::new();
    let ended = Walk::new(path, args[0].json(row), variables).run(&mut items);
    let ended = match ended {
        Ok(()) => None,
        Err(Fail::Quiet(report)) => Some(report),
        Err(Fail::Loud(report)) => return Err(external(report)),
    };
    if matches!(which, F::PathExists | F::PathFound) {
        return match ended {
            Some(_) if !strict && !items.is_empty() => Ok(Answer::Truth(Some(true))),
            Some(_) if silent => Ok(Answer::Truth(None)),
            Some(report) => Err(external(report)),
            None => Ok(Answer::Truth(Some(!items.is_empty()))),
        };
    }
    // With silent, what came before the error counts.
    if let Some(report) = ended.filter(|_| !silent) {
        return Err(external(report));
    }
    if !matches!(which, F::PathMatch | F::PathHolds) {
        return Ok(Answer::Items(items));
    }
    match items.as_slice() {
        [one] if one.json().kind() == Kind::Boolean => Ok(Answer::Truth(one.json().as_bool())),
        [one] if one.json().kind() == Kind::Null => Ok(Answer::Truth(None)),
        _ if silent => Ok(Answer::Truth(None)),
        _ => {
            let message = "single boolean result is expected";
            Err(external(Report::new(SqlState::SINGLETON_JSON_ITEM_REQUIRED, message)))
        }
    }
}
