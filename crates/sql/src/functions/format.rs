//! `format(pattern, ...)`: `%s`, `%I` and `%L` with positions (`%2$s`) and widths (`%-10s`, `%*s`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::{Report, SqlState};

use super::cast::{external, show_values};
use super::invoke::{over_columns, text};
use super::no_function;
use super::quoting::{identifier, literal};

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Format {
    signature: Signature,
}

impl Format {
    pub(super) fn new() -> Format {
        Format { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Format {
    fn name(&self) -> &'static str {
        "format"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [pattern, rest @ ..] if pattern.is_string() || pattern.is_null() => {
                Ok(std::iter::once(DataType::Utf8).chain(rest.iter().cloned()).collect())
            }
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |arrays| {
            let columns = arrays.iter().map(written).collect::<Result<Vec<_>>>()?;
            let [patterns, values @ ..] = columns.as_slice() else {
                return Err(no_function(self.name(), &[]));
            };
            let row = |row: usize| {
                let values: Vec<Option<&str>> = values.iter().map(|v| text(v, row)).collect();
                text(patterns, row).map(|pattern| formatted(pattern, &values)).transpose()
            };
            let shown = (0..patterns.len()).map(row).collect::<Result<StringArray, Report>>();
            Ok(Arc::new(shown.map_err(external)?) as ArrayRef)
        })
    }
}

/// The values as a client sees them: a truth value by its letter.
fn written(array: &ArrayRef) -> Result<StringArray> {
    match array.data_type() {
        DataType::Boolean => {
            let letter = |value: bool| if value { "t" } else { "f" };
            Ok(array.as_boolean().iter().map(|value| value.map(letter)).collect())
        }
        _ => show_values(array),
    }
}

fn wrong(message: impl Into<String>) -> Report {
    Report::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn unterminated() -> Report {
    wrong("unterminated format() type specifier").hint("For a single \"%\" use \"%%\".")
}

/// What stands between `%` and the letter.
#[derive(Default)]
struct Specifier {
    /// Which value, from 1.
    position: Option<usize>,
    left: bool,
    width: Option<Width>,
}

enum Width {
    Fixed(i64),
    /// The next value, or the one at a place.
    Value(Option<usize>),
}

/// A pattern with the values in it.
fn formatted(pattern: &str, values: &[Option<&str>]) -> Result<String, Report> {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    // The place of the value that was taken last.
    let mut taken = 0;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let (specifier, after) = specifier(after)?;
        let mut letters = after.chars();
        let letter = letters.next().ok_or_else(unterminated)?;
        rest = letters.as_str();
        if !matches!(letter, 's' | 'I' | 'L') {
            let message = format!("unrecognized format() type specifier \"{letter}\"");
            return Err(wrong(message).hint("For a single \"%\" use \"%%\"."));
        }
        let mut value = |position: Option<usize>| {
            taken = position.unwrap_or(taken + 1);
            values.get(taken - 1).copied().ok_or_else(|| wrong("too few arguments for format()"))
        };
        let (mut width, mut left) = (0, specifier.left);
        match specifier.width {
            None => {}
            Some(Width::Fixed(fixed)) => width = fixed,
            Some(Width::Value(position)) => {
                let number = value(position)?.unwrap_or("0");
                let invalid = || wrong(format!("invalid width for format(): \"{number}\""));
                width = number.trim().parse::<i32>().map_err(|_| invalid())?.into();
                left |= width < 0;
            }
        }
        let shown = converted(letter, value(specifier.position)?)?;
        pad(&mut out, &shown, width.unsigned_abs(), left);
    }
    out.push_str(rest);
    Ok(out)
}

fn converted(letter: char, value: Option<&str>) -> Result<String, Report> {
    Ok(match (letter, value) {
        ('I', None) => {
            let message = "null values cannot be formatted as an SQL identifier";
            return Err(Report::new(SqlState::NULL_VALUE_NOT_ALLOWED, message));
        }
        ('I', Some(value)) => identifier(value),
        ('L', None) => "NULL".to_owned(),
        ('L', Some(value)) => literal(value),
        (_, value) => value.unwrap_or_default().to_owned(),
    })
}

fn pad(out: &mut String, shown: &str, width: u64, left: bool) {
    let length = u64::try_from(shown.chars().count()).unwrap_or(u64::MAX);
    let blanks = usize::try_from(width.saturating_sub(length)).unwrap_or(0);
    let blanks = " ".repeat(blanks);
    let (before, after) = if left { ("", blanks.as_str()) } else { (blanks.as_str(), "") };
    out.extend([before, shown, after]);
}

/// `[position$][-][width]`, and what follows it.
fn specifier(text: &str) -> Result<(Specifier, &str), Report> {
    let mut found = Specifier::default();
    let (number, after) = digits(text)?;
    let mut rest = text;
    if let (Some(number), Some(after)) = (number, after.strip_prefix('$')) {
        found.position = Some(place(number)?);
        rest = after;
    } else if let Some(number) = number {
        // It is a width: nothing else may stand before the letter.
        found.width = Some(Width::Fixed(number));
        return Ok((found, after));
    }
    while let Some(after) = rest.strip_prefix('-') {
        found.left = true;
        rest = after;
    }
    if let Some(after) = rest.strip_prefix('*') {
        let (number, behind) = digits(after)?;
        rest = match (number, behind.strip_prefix('$')) {
            (Some(number), Some(behind)) => {
                found.width = Some(Width::Value(Some(place(number)?)));
                behind
            }
            (Some(_), None) => {
                return Err(wrong("width argument position must be ended by \"$\""));
            }
            (None, _) => {
                found.width = Some(Width::Value(None));
                after
            }
        };
        return Ok((found, rest));
    }
    let (number, after) = digits(rest)?;
    found.width = number.map(Width::Fixed);
    Ok((found, after))
}

fn place(number: i64) -> Result<usize, Report> {
    match usize::try_from(number) {
        Ok(0) | Err(_) => {
            Err(wrong("format specifies argument 0, but arguments are numbered from 1"))
        }
        Ok(place) => Ok(place),
    }
}

/// The number that a text begins with.
fn digits(text: &str) -> Result<(Option<i64>, &str), Report> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let range = || Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "number is out of range");
    let number = match number {
        "" => None,
        number => Some(i64::from(number.parse::<i32>().map_err(|_| range())?)),
    };
    Ok((number, rest))
}
