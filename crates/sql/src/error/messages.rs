//! The sentences in which DataFusion's planner and functions say what is wrong, and PostgreSQL's.
//!
//! Each entry looks for a fixed part of a sentence; the tests provoke every one of them, so that a
//! new wording of the library shows there.

use std::str::FromStr;

use ::arrow::datatypes::DataType;
use millrace_types::{Report, SqlState, of_pattern, of_sentence};

use super::{At, Found, elsewhere, first_line};
use crate::functions::type_name;
use crate::names::Quoted;

const CASTS: &str = "No function matches the given name and argument types. \
                     You might need to add explicit type casts.";
const OPERATORS: &str = "No operator matches the given name and argument types. \
                         You might need to add explicit type casts.";

/// The text after `start` up to `end`, and what follows `end`.
pub(super) fn between<'a>(message: &'a str, start: &str, end: &str) -> Option<(&'a str, &'a str)> {
    let (_, rest) = message.split_once(start)?;
    rest.split_once(end)
}

/// The first text in single or double quotes.
pub(super) fn quoted(message: &str) -> Option<&str> {
    let start = message.find(['\'', '"'])?;
    let rest = &message[start + 1..];
    Some(&rest[..rest.find(['\'', '"'])?])
}

/// The name that PostgreSQL has for a type that Arrow has printed.
pub(super) fn shown_type(printed: &str) -> String {
    let printed = printed.trim();
    if printed == "Utf8" || printed == "Utf8View" || printed == "String" {
        return "text".to_owned();
    }
    let spelled = printed
        .replace("(ns", "(Nanosecond")
        .replace("(µs", "(Microsecond")
        .replace("(us", "(Microsecond")
        .replace("(ms", "(Millisecond")
        .replace("(s,", "(Second,")
        .replace("Second)", "Second, None)")
        .replace("second)", "second, None)");
    let known = DataType::from_str(printed).or_else(|_| DataType::from_str(&spelled));
    known.map_or_else(|_| printed.to_owned(), |known| type_name(&known))
}

/// Types separated by commas, some with commas inside.
fn shown_types(printed: &str) -> String {
    let (mut depth, mut start) = (0i32, 0);
    let mut types = Vec::new();
    for (at, c) in printed.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ',' if depth == 0 => {
                types.push(shown_type(&printed[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    if !printed[start..].trim().is_empty() {
        types.push(shown_type(&printed[start..]));
    }
    types.join(", ")
}

/// True for the sentences of values that do not fit.
pub(super) fn is_overflow(message: &str) -> bool {
    ["too large to store", "too small to store", "overflow", "Overflow"]
        .iter()
        .any(|part| message.contains(part))
}

/// `Overflow happened on: 1 + 2`
pub(super) fn overflow(message: &str) -> String {
    let digits = |text: &str| text.trim().trim_start_matches('-').parse::<i64>().is_ok();
    let operands = message.split_once("on: ").map_or("", |(_, rest)| rest);
    let integers = operands.split(' ').filter(|part| !part.is_empty()).step_by(2).all(digits);
    match integers && !operands.is_empty() {
        true => "bigint out of range".to_owned(),
        false => "value out of range".to_owned(),
    }
}

fn call(code: SqlState, message: String, name: &str) -> Found {
    Found { report: Report::new(code, message), at: Some(At::Call(name.to_owned())) }
}

fn plain(code: SqlState, message: impl Into<String>) -> Found {
    Report::new(code, message).into()
}

/// `function f(types) does not exist`, in whichever way it was said.
fn undefined_function(message: &str) -> Option<Found> {
    let missing = |name: &str, types: &str| {
        if name == "proctime" {
            return read_time();
        }
        if let Some(found) = unmatched(name, types) {
            return found;
        }
        let message = format!("function {name}({types}) does not exist");
        let mut found = call(SqlState::UNDEFINED_FUNCTION, message, name);
        found.report = found.report.hint(elsewhere::function(name).unwrap_or(CASTS));
        found
    };
    if let Some((whole, _)) = between(message, "function ", " does not exist")
        && let Some((name, types)) = whole.split_once('(')
    {
        return Some(missing(name, types.strip_suffix(')').unwrap_or(types)));
    }
    if let Some((name, rest)) = between(message, "satisfy a call to '", "' function") {
        let types = between(rest, "coercion from ", " to the signature").map_or("", |t| t.0);
        return Some(missing(name, &shown_types(types)));
    }
    if let Some((whole, _)) = between(message, "argument types '", "'. You might")
        && let Some((name, types)) = whole.split_once('(')
    {
        let types = types.strip_suffix(')').unwrap_or(types);
        return Some(missing(name, &shown_types(types)));
    }
    if let Some((name, _)) = between(message, "Invalid function '", "'") {
        return Some(missing(name, ""));
    }
    if let Some((name, _)) = between(message, "There is no window function named ", "\n")
        .or_else(|| between(message, "The function '", "' expected"))
        .or_else(|| between(message, "Function '", "' "))
    {
        return Some(missing(name, "..."));
    }
    None
}

/// Values of which one is taken, and that have no common type.
fn unmatched(name: &str, types: &str) -> Option<Found> {
    let what = match name {
        "coalesce" | "greatest" | "least" => name.to_ascii_uppercase(),
        "make_array" => "ARRAY".to_owned(),
        _ => return None,
    };
    let mut types = types.split(", ");
    let first = types.next()?;
    let other = types.find(|other| *other != first)?;
    let message = format!("{what} types {first} and {other} cannot be matched");
    Some(plain(SqlState::DATATYPE_MISMATCH, message))
}

/// The time at which rows are read belongs to the source: a query that is asked again has no such time.
fn read_time() -> Found {
    let report = Report::unsupported("PROCTIME() in an expression")
        .hint("A column of a source may be PROCTIME(): CREATE SOURCE s (..., p TIMESTAMPTZ AS PROCTIME()). \
               In queries now() is the time.");
    Found { report, at: Some(At::Call("proctime".to_owned())) }
}

/// `operator does not exist: a + b`
fn undefined_operator(message: &str) -> Option<Found> {
    let starts = [
        "Cannot coerce arithmetic expression ",
        "argument type for comparison operation ",
        "argument type for regex operation ",
        "string type for string concat operation ",
        "common type for bitwise operation ",
        "argument type for operation ",
        "Cannot get result type for temporal operation ",
        "Cannot get result type for decimal operation ",
        "Cannot get result type for arithmetic operation ",
    ];
    let rest = starts.iter().find_map(|start| message.split_once(start))?.1;
    let operands = rest.split(" to valid types").next()?.split(": ").next()?;
    let (left, operator, right) = operands_of(operands)?;
    let (left, right) = (shown_type(left), shown_type(right));
    Some(no_operator(&left, operator, &right).into())
}

pub(super) fn no_operator(left: &str, operator: &str, right: &str) -> Report {
    let message = format!("operator does not exist: {left} {operator} {right}");
    Report::new(SqlState::UNDEFINED_FUNCTION, message).hint(OPERATORS)
}

/// What a report of ours is about: a type, a value, or the operator of [`no_operator`].
pub(super) fn place_of(report: &Report) -> Option<At> {
    let quoted = |start: &str| Some(between(&report.message, start, "\"")?.0.to_owned());
    if let Some(name) = quoted("type \"").filter(|_| report.code == SqlState::UNDEFINED_OBJECT) {
        return Some(At::Name(name));
    }
    let value = quoted("invalid input syntax for type ")
        .and_then(|_| report.message.split_once(": \""))
        .or_else(|| report.message.split_once("value out of range: \""))
        .or_else(|| report.message.split_once("malformed array literal: \""));
    if let Some((_, value)) = value {
        return Some(At::Value(value.strip_suffix('"').unwrap_or(value).to_owned()));
    }
    if let Some((value, _)) = between(&report.message, "value \"", "\" is out of range") {
        return Some(At::Value(value.to_owned()));
    }
    operator_of(report)
}

fn operator_of(report: &Report) -> Option<At> {
    let (_, operands) = report.message.split_once("operator does not exist: ")?;
    let is_operator = |word: &&str| word.bytes().all(|byte| b"+-*/<>=~!@#%^&|?".contains(&byte));
    operands.split(' ').find(is_operator).map(|operator| At::Operator(operator.to_owned()))
}

/// `Timestamp(ns, "UTC") + Int64`: the operator is the first word outside parentheses that is no type.
fn operands_of(text: &str) -> Option<(&str, &str, &str)> {
    let mut depth = 0i32;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ' ' if depth == 0 => {
                let (operator, right) = text[at + 1..].split_once(' ')?;
                return Some((&text[..at], operator, right.lines().next()?));
            }
            _ => {}
        }
    }
    None
}

/// What the planner says.
pub(super) fn plan(message: &str) -> Found {
    truth(message)
        .or_else(|| undefined_function(message))
        .or_else(|| undefined_operator(message))
        .or_else(|| grouping(message))
        .or_else(|| types(message))
        .or_else(|| shape(message))
        .unwrap_or_else(|| plain(SqlState::SYNTAX_ERROR, first_line(message)))
}

fn grouping(message: &str) -> Option<Found> {
    let ungrouped = |column: &str| {
        let column = column.replace('"', "");
        let name = column.rsplit('.').next().unwrap_or_default().to_owned();
        let message = format!(
            "column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function"
        );
        Found { report: Report::new(SqlState::GROUPING_ERROR, message), at: Some(At::Name(name)) }
    };
    if let Some((column, _)) = between(message, "column \"", "\" must appear in the GROUP BY") {
        return Some(ungrouped(column));
    }
    if let Some((column, _)) = between(message, "HAVING clause references: ", " must appear") {
        return Some(ungrouped(column));
    }
    let lower = [
        (
            "Aggregate functions are not allowed in the WHERE",
            "aggregate functions are not allowed in WHERE",
        ),
        ("Aggregate function calls cannot be nested", "aggregate function calls cannot be nested"),
        (
            "Aggregate function calls cannot contain window",
            "aggregate function calls cannot contain window function calls",
        ),
        ("Window function calls cannot be nested", "window function calls cannot be nested"),
    ];
    let (_, wanted) = lower.into_iter().find(|(part, _)| message.contains(part))?;
    Some(plain(SqlState::GROUPING_ERROR, wanted))
}

/// `x IS TRUE`
fn truth(message: &str) -> Option<Found> {
    let (_, rest) = message.split_once("argument type for comparison operation ")?;
    let (left, right) = rest.split_once(" IS DISTINCT FROM ")?;
    let left = shown_type(left);
    if !right.starts_with("Boolean") || left == "boolean" {
        return None;
    }
    let message = format!("argument of IS TRUE must be type boolean, not type {left}");
    Some(plain(SqlState::DATATYPE_MISMATCH, message))
}

fn types(message: &str) -> Option<Found> {
    let mismatch = |message: String| plain(SqlState::DATATYPE_MISMATCH, message);
    if let Some((_, returning)) = between(message, "non-boolean predicate '", "' returning ") {
        let found = shown_type(returning.lines().next()?);
        return Some(mismatch(format!("argument of WHERE must be type boolean, not type {found}")));
    }
    if let Some((_, operands)) = message.split_once("for logical boolean operation ") {
        let (left, operator, right) = operands_of(operands)?;
        let wrong = if left == "Boolean" { right } else { left };
        let found = shown_type(wrong);
        return Some(mismatch(format!(
            "argument of {operator} must be type boolean, not type {found}"
        )));
    }
    if message.contains("Unary operator 'NOT'") {
        let found = shown_type(message.split_once("got ")?.1.lines().next()?);
        return Some(mismatch(format!("argument of NOT must be type boolean, not type {found}")));
    }
    if let Some((_, found)) = message.split_once("Join condition must be boolean type, but got ") {
        let found = shown_type(found.lines().next()?);
        let message = format!("argument of JOIN/ON must be type boolean, not type {found}");
        return Some(mismatch(message));
    }
    if let Some((types, _)) = between(message, "a common type to coerce ", " in LIKE expression") {
        let (left, right) = types.split_once(" and ")?;
        return Some(no_operator(&shown_type(left), "~~", &shown_type(right)).into());
    }
    if message.contains("Failed to coerce then") || message.contains("Failed to coerce case") {
        return Some(mismatch("CASE types cannot be matched".to_owned()));
    }
    if message.contains("Incompatible inputs for Union") || message.contains("UNION field") {
        return Some(mismatch("UNION types cannot be matched".to_owned()));
    }
    if message.contains("Can not find compatible types to compare") {
        return Some(mismatch("IN types cannot be matched".to_owned()));
    }
    if let Some(found) = no_cast(message) {
        return Some(found);
    }
    if message.contains("Inconsistent data type across values") {
        return Some(mismatch("VALUES types cannot be matched".to_owned()));
    }
    None
}

fn no_cast(message: &str) -> Option<Found> {
    let (from, to) = between(message, "Unsupported CAST from ", " to ")?;
    let (from, to) = (shown_type(from), shown_type(to.lines().next()?));
    Some(plain(SqlState::CANNOT_COERCE, format!("cannot cast type {from} to {to}")))
}

fn shape(message: &str) -> Option<Found> {
    let syntax = |message: String| plain(SqlState::SYNTAX_ERROR, message);
    if message.contains("queries have different number of columns")
        || message.contains("must have the same number of columns")
    {
        let operator = message.split(' ').next().unwrap_or("UNION");
        return Some(syntax(format!("each {operator} query must have the same number of columns")));
    }
    if let Some((position, _)) = between(message, "column with position ", " in SELECT") {
        return Some(no_position("GROUP BY", position));
    }
    if let Some((position, _)) = between(message, "out of bounds, specified: ", ",") {
        return Some(no_position("ORDER BY", position));
    }
    if message.contains("ORDER BY expressions") && message.contains("must appear in select list") {
        let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
        return Some(plain(SqlState::INVALID_COLUMN_REFERENCE, message));
    }
    if let Some((name, _)) = between(message, "unique expression names but the expression \"", "\"")
    {
        let name = name.rsplit(" AS ").next().unwrap_or_default();
        let name = name.rsplit('.').next().unwrap_or_default();
        let message = format!("column \"{name}\" specified more than once");
        return Some(plain(SqlState::DUPLICATE_COLUMN, message));
    }
    if message.contains("should only return one column") || message.contains("Too many columns!") {
        return Some(syntax("subquery must return only one column".to_owned()));
    }
    if let Some(report) = of_sentence(message) {
        return Some(report.into());
    }
    if let Some((code, message)) = fixed(message) {
        return Some(plain(code, message));
    }
    if let Some((name, _)) = between(message, "WITH query name \"", "\" specified more than once") {
        let message = format!("WITH query name {} specified more than once", Quoted(name));
        return Some(plain(SqlState::DUPLICATE_ALIAS, message));
    }
    if let Some((has, names)) = between(message, "Source table contains ", " columns but only ") {
        let named = names.split(' ').next().unwrap_or_default();
        let message = format!("table has {has} columns available but {named} columns specified");
        return Some(plain(SqlState::INVALID_COLUMN_REFERENCE, message));
    }
    if let Some((_, name)) = message.split_once("Invalid qualifier ") {
        let name = name.lines().next()?.trim_matches('"');
        let message = format!("missing FROM-clause entry for table {}", Quoted(name));
        let at = Some(At::Name(name.to_owned()));
        return Some(Found { report: Report::new(SqlState::UNDEFINED_TABLE, message), at });
    }
    if message.contains("zero is not a valid index") {
        return Some(plain(SqlState::UNDEFINED_PARAMETER, "there is no parameter $0"));
    }
    if message.contains("Conflicting types for id") || message.contains("parameter") {
        return Some(plain(SqlState::INDETERMINATE_DATATYPE, first_line(message)));
    }
    if message.contains("SELECT * with no tables") {
        return Some(syntax("SELECT * with no tables specified is not valid".to_owned()));
    }
    None
}

/// A number that stands for an item of the select list, and is none.
fn no_position(clause: &str, position: &str) -> Found {
    let message = format!("{clause} position {position} is not in select list");
    let at = Some(At::Operator(position.to_owned()));
    Found { report: Report::new(SqlState::INVALID_COLUMN_REFERENCE, message), at }
}

/// Sentences without names in them.
fn fixed(message: &str) -> Option<(SqlState, &'static str)> {
    const SENTENCES: &[(&str, SqlState, &str)] = &[
        (
            "Order by index starts at 1",
            SqlState::INVALID_COLUMN_REFERENCE,
            "ORDER BY position 0 is not in select list",
        ),
        (
            "SELECT DISTINCT ON expressions must match",
            SqlState::INVALID_COLUMN_REFERENCE,
            "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
        ),
        (
            "Inconsistent data length across values list",
            SqlState::SYNTAX_ERROR,
            "VALUES lists must all be the same length",
        ),
        (
            "cannot be larger than end bound",
            SqlState::WINDOWING_ERROR,
            "frame starting from following row cannot have preceding rows",
        ),
        (
            "frame offsets for ROWS / GROUPS must be non negative",
            SqlState::INVALID_FRAME_OFFSET,
            "frame starting offset must not be negative",
        ),
        (
            "start bound cannot be UNBOUNDED FOLLOWING",
            SqlState::WINDOWING_ERROR,
            "frame start cannot be UNBOUNDED FOLLOWING",
        ),
        (
            "end bound cannot be UNBOUNDED PRECEDING",
            SqlState::WINDOWING_ERROR,
            "frame end cannot be UNBOUNDED PRECEDING",
        ),
        (
            "RANGE requires exactly one ORDER BY column",
            SqlState::WINDOWING_ERROR,
            "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column",
        ),
        (
            "GROUPS requires an ORDER BY clause",
            SqlState::WINDOWING_ERROR,
            "GROUPS mode requires an ORDER BY clause",
        ),
        (
            "WITHIN GROUP is only supported for ordered-set aggregate functions",
            SqlState::UNDEFINED_FUNCTION,
            "WITHIN GROUP is for ordered-set aggregate functions",
        ),
        (
            "unnest() can only be applied to array",
            SqlState::UNDEFINED_FUNCTION,
            "function unnest is for arrays",
        ),
        (
            "Unary operator '-' only supports",
            SqlState::UNDEFINED_FUNCTION,
            "operator does not exist: - before a value of this type",
        ),
    ];
    let found = SENTENCES.iter().find(|(part, _, _)| message.contains(part));
    found.map(|(_, code, words)| (*code, *words))
}

/// What evaluation says; most of it is about values.
pub(super) fn execution(message: &str) -> Found {
    if let Some(report) = of_pattern(message).or_else(|| of_sentence(message)) {
        return report.into();
    }
    if let Some(found) = undefined_function(message) {
        return found;
    }
    if message.contains("Divide by zero") || message.contains("DivideByZero") {
        return plain(SqlState::DIVISION_BY_ZERO, "division by zero");
    }
    if is_overflow(message) {
        return plain(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range")
            .with_detail(first_line(message));
    }
    if message.contains("parsing timestamp") || message.contains("parsing date") {
        let value = quoted(message).unwrap_or_default();
        let message = format!("invalid input syntax for type timestamp: \"{value}\"");
        return plain(SqlState::INVALID_DATETIME_FORMAT, message);
    }
    plain(SqlState::DATA_EXCEPTION, first_line(message))
}

/// What DataFusion says of a subquery that it has not made a join of.
const NO_SUBQUERY: &str = "Physical plan does not support logical expression";
const SUBQUERY: &str = "this form of subquery is not supported yet";

/// What is not there, in DataFusion's words.
pub(super) fn not_implemented(message: &str) -> Found {
    if let Some(found) = no_cast(message) {
        return found;
    }
    if message.contains(NO_SUBQUERY) {
        return plain(SqlState::FEATURE_NOT_SUPPORTED, SUBQUERY);
    }
    let what = first_line(message);
    let what = what.strip_suffix(" is not supported yet").unwrap_or(&what);
    let shortened: String = what.chars().take(200).collect();
    plain(SqlState::FEATURE_NOT_SUPPORTED, shortened)
}

/// A program error, or a plan that DataFusion cannot run.
pub(super) fn internal(message: &str) -> Found {
    if let Some(found) = undefined_function(message).or_else(|| undefined_operator(message)) {
        return found;
    }
    if let Some((left, rest)) = between(message, "Failed to coerce types ", " and ")
        && let Some((right, _)) = rest.split_once(" in BETWEEN expression")
    {
        return no_operator(&shown_type(left), ">=", &shown_type(right)).into();
    }
    if message.contains(NO_SUBQUERY) {
        return plain(SqlState::FEATURE_NOT_SUPPORTED, SUBQUERY);
    }
    if let Some(report) = of_pattern(message) {
        return report.into();
    }
    if message.contains("Cannot run range queries on datatype") {
        let what = "a window function or WITH TIES in the order of this type";
        return plain(SqlState::FEATURE_NOT_SUPPORTED, format!("{what} is not supported yet"));
    }
    plain(SqlState::INTERNAL_ERROR, first_line(message))
}

impl Found {
    fn with_detail(mut self, detail: String) -> Found {
        self.report = self.report.detail(detail);
        self
    }
}
