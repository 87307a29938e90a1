//! What makes another value out of one: parts added, put in place of others, left out.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, LargeBinaryBuilder};
use datafusion::common::Result;
use millrace_types::json::{Json, Kind, NULL_VALUE, array, object};
use millrace_types::{Report, SqlState};

use super::JsonFunction;
use super::JsonFunction as F;
use super::find::misuse;
use super::value::Arg;
use crate::functions::cast::external;

/// Values are changed so deep.
const DEPTH_MAX: usize = 128;

/// Works a function out for the rows without NULLs.
pub(super) fn apply(
    which: JsonFunction,
    args: &[Arg],
    rows: impl Iterator<Item = Option<usize>>,
) -> Result<ArrayRef> {
    let mut out = LargeBinaryBuilder::new();
    for row in rows {
        let changed = row.map(|row| changed(which, args, row)).transpose()?;
        out.append_option(changed);
    }
    Ok(Arc::new(out.finish()))
}

fn changed(which: JsonFunction, args: &[Arg], row: usize) -> Result<Vec<u8>> {
    let value = args[0].json(row);
    match which {
        F::Concat => Ok(concat(value, args[1].json(row))),
        F::Delete => delete(value, &args[1], row),
        F::StripNulls => Ok(strip(value, 8 * DEPTH_MAX)),
        F::DeletePath => {
            let path = steps(&args[1], row)?;
            let kind = value.kind();
            if !matches!(kind, Kind::Array | Kind::Object) {
                return Err(misuse("cannot delete path in scalar"));
            }
            put(value, &path, 1, &Change::Remove)
        }
        F::Set => {
            let create = args.get(3).is_none_or(|flag| flag.flag(row));
            let change = Change::Set { new: args[2].json(row), create };
            if !matches!(value.kind(), Kind::Array | Kind::Object) {
                return Err(misuse("cannot set path in scalar"));
            }
            put(value, &steps(&args[1], row)?, 1, &change)
        }
        _ => {
            let after = args.get(3).is_some_and(|flag| flag.flag(row));
            let change = Change::Insert { new: args[2].json(row), after };
            if !matches!(value.kind(), Kind::Array | Kind::Object) {
                return Err(misuse("cannot set path in scalar"));
            }
            put(value, &steps(&args[1], row)?, 1, &change)
        }
    }
}

/// `jsonb_set_lax(target, path, new, create, what)`: `jsonb_set`, but a NULL as the new value means something.
pub(super) fn set_lax(
    args: &[Arg],
    arrays: &[ArrayRef],
    rows: impl Iterator<Item = Option<usize>>,
) -> Result<ArrayRef> {
    let mut out = LargeBinaryBuilder::new();
    let is_null = |at: usize, row: usize| {
        arrays
            .get(at)
            .is_some_and(|array| array.logical_nulls().is_some_and(|nulls| nulls.is_null(row)))
    };
    for row in rows {
        let Some(row) = row else {
            out.append_null();
            continue;
        };
        if !is_null(2, row) {
            out.append_value(changed(F::Set, &args[..args.len().min(4)], row)?);
            continue;
        }
        let what = args.get(4).filter(|_| !is_null(4, row)).map(|what| what.text(row));
        let what = if args.len() > 4 { what } else { Some("use_json_null") };
        let target = args[0].json(row);
        match what {
            Some("use_json_null") => {
                let create = args.get(3).is_none_or(|flag| flag.flag(row));
                let change = Change::Set { new: Json::new(NULL_VALUE), create };
                if !matches!(target.kind(), Kind::Array | Kind::Object) {
                    return Err(misuse("cannot set path in scalar"));
                }
                out.append_value(put(target, &steps(&args[1], row)?, 1, &change)?);
            }
            Some("delete_key") => out.append_value(changed(F::DeletePath, args, row)?),
            Some("return_target") => out.append_value(target.bytes()),
            Some("raise_exception") => {
                let report =
                    Report::new(SqlState::NULL_VALUE_NOT_ALLOWED, "JSON value must not be null");
                let detail =
                    "Exception was raised because null_value_treatment is \"raise_exception\".";
                let hint = "To avoid, either change the null_value_treatment argument or ensure that an SQL NULL is not passed.";
                return Err(external(report.detail(detail).hint(hint)));
            }
            _ => {
                let message = "null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \"raise_exception\"";
                return Err(misuse(message));
            }
        }
    }
    Ok(Arc::new(out.finish()))
}

fn steps(arg: &Arg, row: usize) -> Result<Vec<String>> {
    let step = |(at, step): (usize, Option<String>)| {
        step.ok_or_else(|| misuse(&format!("path element at position {} is null", at + 1)))
    };
    let path = arg.texts(row)?;
    if path.len() > DEPTH_MAX {
        let message = format!("a path of more than {DEPTH_MAX} steps");
        return Err(external(Report::new(SqlState::STATEMENT_TOO_COMPLEX, message)));
    }
    path.into_iter().enumerate().map(step).collect()
}

/// The parts of a value beside another: its elements, or itself as one.
fn parts(value: Json<'_>) -> Vec<&[u8]> {
    match value.kind() {
        Kind::Array => value.elements().map(Json::bytes).collect(),
        _ => vec![value.bytes()],
    }
}

fn concat(left: Json<'_>, right: Json<'_>) -> Vec<u8> {
    if (left.kind(), right.kind()) == (Kind::Object, Kind::Object) {
        let members = left.members().chain(right.members());
        return object(&members.map(|(key, value)| (key, value.bytes())).collect::<Vec<_>>());
    }
    array(parts(left).into_iter().chain(parts(right)))
}

fn delete(value: Json<'_>, what: &Arg, row: usize) -> Result<Vec<u8>> {
    if !matches!(value.kind(), Kind::Array | Kind::Object) {
        return Err(misuse("cannot delete from scalar"));
    }
    if let Arg::Whole(places) = what {
        if value.kind() == Kind::Object {
            return Err(misuse("cannot delete from object using integer index"));
        }
        let count = i64::try_from(value.count()).unwrap_or(i64::MAX);
        let place = places.value(row);
        let place = if place < 0 { place.saturating_add(count) } else { place };
        let kept = value.elements().zip(0_i64..).filter(|(_, at)| *at != place);
        return Ok(array(kept.map(|(element, _)| element.bytes())));
    }
    let gone: Vec<String> = match what {
        Arg::Text(keys) => vec![keys.value(row).to_owned()],
        other => other.texts(row)?.into_iter().flatten().collect(),
    };
    let stays = |key: &str| !gone.iter().any(|gone| gone == key);
    Ok(match value.kind() {
        Kind::Object => members(value.members().filter(|(key, _)| stays(key))),
        _ => array(
            value.elements().filter(|element| element.as_str().is_none_or(stays)).map(Json::bytes),
        ),
    })
}

fn members<'a>(members: impl Iterator<Item = (&'a str, Json<'a>)>) -> Vec<u8> {
    object(&members.map(|(key, value)| (key, value.bytes())).collect::<Vec<_>>())
}

/// Without the members of objects that are null, so deep.
fn strip(value: Json<'_>, depth: usize) -> Vec<u8> {
    match value.kind() {
        Kind::Array if depth > 0 => {
            let inner: Vec<Vec<u8>> = value.elements().map(|e| strip(e, depth - 1)).collect();
            array(inner.iter().map(Vec::as_slice))
        }
        Kind::Object if depth > 0 => {
            let kept = value.members().filter(|(_, value)| value.kind() != Kind::Null);
            object(&kept.map(|(key, value)| (key, strip(value, depth - 1))).collect::<Vec<_>>())
        }
        _ => value.bytes().to_vec(),
    }
}

/// What happens at the end of a path.
enum Change<'a> {
    Remove,
    Set { new: Json<'a>, create: bool },
    Insert { new: Json<'a>, after: bool },
}

/// The value with a change at the end of a path; `depth` counts steps for errors.
fn put(value: Json<'_>, path: &[String], depth: usize, change: &Change<'_>) -> Result<Vec<u8>> {
    let Some((step, rest)) = path.split_first() else { return Ok(value.bytes().to_vec()) };
    match value.kind() {
        Kind::Object => put_member(value, step, rest, depth, change),
        Kind::Array => put_element(value, step, rest, depth, change),
        _ => Ok(value.bytes().to_vec()),
    }
}

fn put_member(
    value: Json<'_>,
    step: &str,
    rest: &[String],
    depth: usize,
    change: &Change<'_>,
) -> Result<Vec<u8>> {
    let mut all: Vec<(&str, Vec<u8>)> = Vec::with_capacity(value.count() + 1);
    let found = value.member(step);
    for (key, member) in value.members() {
        if key != step {
            all.push((key, member.bytes().to_vec()));
        } else if !rest.is_empty() {
            all.push((key, put(member, rest, depth + 1, change)?));
        } else {
            match change {
                Change::Remove => {}
                Change::Set { new, .. } => all.push((key, new.bytes().to_vec())),
                Change::Insert { .. } => {
                    let report = Report::new(
                        SqlState::INVALID_PARAMETER_VALUE,
                        "cannot replace existing key",
                    );
                    return Err(external(
                        report.hint("Try using the function jsonb_set to replace key value."),
                    ));
                }
            }
        }
    }
    if let (None, [], Change::Set { new, create: true } | Change::Insert { new, .. }) =
        (found, rest, change)
    {
        all.push((step, new.bytes().to_vec()));
    }
    Ok(object(&all))
}

fn put_element(
    value: Json<'_>,
    step: &str,
    rest: &[String],
    depth: usize,
    change: &Change<'_>,
) -> Result<Vec<u8>> {
    let Ok(place) = step.trim().parse::<i64>() else {
        let message = format!("path element at position {depth} is not an integer: \"{step}\"");
        let code = SqlState::INVALID_TEXT_REPRESENTATION;
        return Err(external(Report::new(code, message)));
    };
    let count = i64::try_from(value.count()).unwrap_or(i64::MAX);
    // Counted from the end where it is negative; before the beginning is the beginning.
    let at = if place < 0 { place.saturating_add(count) } else { place };
    let mut all: Vec<Vec<u8>> = value.elements().map(|element| element.bytes().to_vec()).collect();
    let inside = usize::try_from(at).ok().filter(|at| *at < all.len());
    match (inside, rest) {
        (Some(at), [_, ..]) => all[at] = put(Json::new(&all[at]), rest, depth + 1, change)?,
        (None, [_, ..]) => {}
        (Some(at), []) => match change {
            Change::Remove => drop(all.remove(at)),
            Change::Set { new, .. } => all[at] = new.bytes().to_vec(),
            Change::Insert { new, after } => {
                all.insert(at + usize::from(*after), new.bytes().to_vec());
            }
        },
        (None, []) => {
            if let Change::Set { new, create: true } | Change::Insert { new, .. } = change {
                let end = if at < 0 { 0 } else { all.len() };
                all.insert(end, new.bytes().to_vec());
            }
        }
    }
    Ok(array(all.iter().map(Vec::as_slice)))
}
