//! `to_number(text, template)`: a number read by a template of digits.

use std::iter::Peekable;
use std::str::Chars;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::{Report, SqlState, SqlType, input};

use crate::functions::cast::{decimals, external};
use crate::functions::invoke::{over_columns, text, texts};
use crate::functions::no_function;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::functions) struct ToNumber {
    signature: Signature,
}

impl ToNumber {
    pub(in crate::functions) fn new() -> ToNumber {
        ToNumber { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ToNumber {
    fn name(&self) -> &'static str {
        "to_number"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(SqlType::Numeric(None).arrow())
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let takes = |given: &DataType| given.is_string() || given.is_null();
        match types {
            [_, _] if types.iter().all(takes) => Ok(vec![DataType::Utf8; 2]),
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |arrays| -> Result<ArrayRef> {
            let columns = arrays.iter().map(texts).collect::<Result<Vec<_>>>()?;
            let [values, templates] = columns.as_slice() else {
                return Err(no_function(self.name(), &[]));
            };
            let row = |row: usize| {
                let pair = text(values, row).zip(text(templates, row));
                let pair = pair.filter(|(_, template)| !template.is_empty());
                pair.map(|(value, template)| number(value, template)).transpose()
            };
            let numbers = (0..values.len()).map(row).collect::<Result<Vec<_>, Report>>();
            decimals(numbers.map_err(external)?, &SqlType::Numeric(None).arrow())
        })
    }
}

/// What has been read of a number.
#[derive(Default)]
struct Read {
    negative: bool,
    /// A sign stood somewhere.
    signed: bool,
    /// With the point among them.
    digits: String,
}

/// An unscaled numeric.
fn number(text: &str, template: &str) -> Result<arrow::datatypes::i256, Report> {
    let upper = template.to_uppercase();
    let mut pattern = upper.chars().peekable();
    let mut rest = text.chars().peekable();
    let mut read = Read::default();
    let (brackets, has_point) = (upper.contains("PR"), upper.contains(['.', 'D']));
    let mut points = 0;
    // The digits behind a V, by which the number is divided.
    let mut behind: Option<u32> = None;
    while let Some(c) = pattern.next() {
        let two = pattern.peek().map(|next| [c, *next]);
        match (c, two) {
            ('9' | '0', _) => {
                if c == '9' {
                    behind = behind.map(|count| count.saturating_add(1));
                }
                digit(&mut rest, &mut read, brackets, has_point);
            }
            ('V', _) if points == 0 => behind = behind.or(Some(0)),
            ('V', _) => return Err(with_point()),
            ('.' | 'D', _) if behind.is_some() => return Err(with_point()),
            ('.' | 'D', _) => {
                points += 1;
                if points > 1 {
                    return Err(Report::new(SqlState::SYNTAX_ERROR, "multiple decimal points"));
                }
                if rest.next_if_eq(&'.').is_some() {
                    read.digits.push('.');
                }
            }
            (',' | 'G', _) => _ = rest.next_if_eq(&','),
            ('S', _) => sign(&mut rest, &mut read),
            (_, Some(['M', 'I'] | ['P', 'L'] | ['S', 'G'])) => {
                pattern.next();
                sign(&mut rest, &mut read);
            }
            (_, Some(['F', 'M'] | ['P', 'R'])) => _ = pattern.next(),
            (_, Some(['T', 'H'])) if !read.digits.is_empty() => {
                pattern.next();
                skip(&mut rest);
                skip(&mut rest);
            }
            (_, Some(['E', 'E'] | ['R', 'N'])) => {
                return Err(Report::unsupported(format!("this template of numbers: {template}")));
            }
            ('"', _) => {
                while pattern.next().is_some_and(|quoted| quoted != '"') {
                    skip(&mut rest);
                }
            }
            ('L', _) => _ = rest.next_if(|c| !c.is_ascii_digit() && !"+-.,".contains(*c)),
            _ => skip(&mut rest),
        }
    }
    if !read.signed {
        // A sign behind the digits counts, whatever the template says of it.
        sign(&mut rest, &mut read);
    }
    let (sign, digits) = (if read.negative { "-" } else { "" }, read.digits.as_str());
    if !digits.bytes().any(|digit| digit.is_ascii_digit()) {
        let shown = if read.negative { "-" } else { " " };
        let message = format!("invalid input syntax for type numeric: \"{shown}\"");
        return Err(Report::new(SqlState::INVALID_TEXT_REPRESENTATION, message));
    }
    input::numeric(&format!("{sign}{digits}e-{}", behind.unwrap_or(0)), None)
}

fn with_point() -> Report {
    let message = "cannot use \"V\" and decimal point together";
    Report::new(SqlState::SYNTAX_ERROR, message)
}

type Rest<'a> = Peekable<Chars<'a>>;

/// Takes one digit, with the blanks and the sign before it.
fn digit(rest: &mut Rest<'_>, read: &mut Read, brackets: bool, has_point: bool) {
    if read.digits.is_empty() {
        while rest.next_if_eq(&' ').is_some() {}
        if brackets && rest.next_if_eq(&'<').is_some() {
            (read.negative, read.signed) = (true, true);
        }
        sign(rest, read);
    }
    rest.next_if_eq(&' ');
    match rest.next_if(char::is_ascii_digit) {
        Some(digit) => read.digits.push(digit),
        // It takes the place of a digit.
        None => _ = rest.next_if(|c| !(matches!(c, '+' | '-') || has_point && *c == '.')),
    }
}

fn sign(rest: &mut Rest<'_>, read: &mut Read) {
    if read.signed {
        return;
    }
    if let Some(sign) = rest.next_if(|c| matches!(c, '+' | '-')) {
        (read.negative, read.signed) = (sign == '-', true);
    }
}

/// Passes over a character that is no part of a number.
fn skip(rest: &mut Rest<'_>) {
    rest.next_if(|c| !"0123456789.,+-".contains(*c));
}
