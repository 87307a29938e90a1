//! The functions of regular expressions, and the operators `~`, `~*`, `!~` and `!~*`, which are functions
//! in plans. What a pattern means is in [`crate::regular`].

mod arguments;
mod matches;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanBuilder, Int32Builder, ListBuilder, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Operator, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::{Report, SqlState};

use self::arguments::{Argument, Row};
use self::matches::{Which, each, groups, number, place, replaced, split};
use super::bounded::check_total;
use super::cast::{external, plain};
use super::no_function;
use crate::regular::{Flags, Match, Pattern, compiled, escape_of, part, similar};

/// What is asked of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Regexp {
    /// `text ~ pattern`
    Matches,
    /// `text ~* pattern`
    MatchesAnyCase,
    /// `text !~ pattern`
    Differs,
    /// `text !~* pattern`
    DiffersAnyCase,
    Like,
    Count,
    Place,
    Part,
    Groups,
    /// A list of them: `regexp_matches`, which the binder spreads over rows.
    AllGroups,
    Split,
    /// The same list, which the binder spreads over rows.
    SplitRows,
    Replace,
    /// `SIMILAR TO`'s pattern as a regular expression.
    Similar,
    /// `substring(text from pattern)`, and with the escape of one of `SIMILAR TO`'s.
    Substring,
}

const ALL: [Regexp; 14] = [
    Regexp::Matches,
    Regexp::MatchesAnyCase,
    Regexp::Differs,
    Regexp::DiffersAnyCase,
    Regexp::Like,
    Regexp::Count,
    Regexp::Place,
    Regexp::Part,
    Regexp::Groups,
    Regexp::AllGroups,
    Regexp::Split,
    Regexp::SplitRows,
    Regexp::Replace,
    Regexp::Similar,
];

/// All of these functions but `substring`, which is in [`super::bytes`].
pub(super) fn all() -> Vec<Call> {
    ALL.into_iter().map(Call::new).collect()
}

/// What a result is made in.
enum Column {
    Booleans(BooleanBuilder),
    Numbers(Int32Builder),
    Texts(StringBuilder),
    Lists(ListBuilder<StringBuilder>),
    Rows(ListBuilder<ListBuilder<StringBuilder>>),
}

impl Regexp {
    /// The name that plans have.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Regexp::Matches => "textregexeq",
            Regexp::MatchesAnyCase => "texticregexeq",
            Regexp::Differs => "textregexne",
            Regexp::DiffersAnyCase => "texticregexne",
            Regexp::Like => "regexp_like",
            Regexp::Count => "regexp_count",
            Regexp::Place => "regexp_instr",
            Regexp::Part => "regexp_substr",
            Regexp::Groups => "regexp_match",
            Regexp::AllGroups => "regexp_matches",
            Regexp::Split => "regexp_split_to_array",
            Regexp::SplitRows => "regexp_split_to_table",
            Regexp::Replace => "regexp_replace",
            Regexp::Similar => "similar_to_escape",
            Regexp::Substring => "substring",
        }
    }

    /// The function of an operator.
    pub(crate) fn of(operator: Operator) -> Option<Regexp> {
        Some(match operator {
            Operator::RegexMatch => Regexp::Matches,
            Operator::RegexIMatch => Regexp::MatchesAnyCase,
            Operator::RegexNotMatch => Regexp::Differs,
            Operator::RegexNotIMatch => Regexp::DiffersAnyCase,
            _ => return None,
        })
    }

    /// Texts (t) and numbers (n) that it takes, and how many of them it must have.
    fn takes(self) -> (&'static [&'static str], usize) {
        match self {
            Regexp::Matches | Regexp::MatchesAnyCase | Regexp::Differs | Regexp::DiffersAnyCase => {
                (&["tt"], 2)
            }
            Regexp::Like
            | Regexp::Groups
            | Regexp::AllGroups
            | Regexp::Split
            | Regexp::SplitRows
            | Regexp::Substring => (&["ttt"], 2),
            Regexp::Count => (&["ttnt"], 2),
            Regexp::Place => (&["ttnnntn"], 2),
            Regexp::Part => (&["ttnntn"], 2),
            Regexp::Replace => (&["tttt", "tttnnt"], 3),
            Regexp::Similar => (&["tt"], 1),
        }
    }

    /// Where the flags stand, if they are given.
    fn flags_at(self, arguments: &[Argument]) -> Option<usize> {
        let starts = matches!(arguments.get(3), Some(Argument::Numbers { .. }));
        match self {
            Regexp::Like
            | Regexp::Groups
            | Regexp::AllGroups
            | Regexp::Split
            | Regexp::SplitRows => Some(2),
            Regexp::Count => Some(3),
            Regexp::Place => Some(5),
            Regexp::Part => Some(4),
            Regexp::Replace => Some(if starts { 5 } else { 3 }),
            _ => None,
        }
    }

    fn column(self) -> Column {
        match self {
            Regexp::Matches
            | Regexp::MatchesAnyCase
            | Regexp::Differs
            | Regexp::DiffersAnyCase
            | Regexp::Like => Column::Booleans(BooleanBuilder::new()),
            Regexp::Count | Regexp::Place => Column::Numbers(Int32Builder::new()),
            Regexp::Part | Regexp::Replace | Regexp::Similar | Regexp::Substring => {
                Column::Texts(StringBuilder::new())
            }
            Regexp::Groups | Regexp::Split | Regexp::SplitRows => {
                Column::Lists(ListBuilder::new(StringBuilder::new()))
            }
            Regexp::AllGroups => {
                Column::Rows(ListBuilder::new(ListBuilder::new(StringBuilder::new())))
            }
        }
    }

    fn result(self) -> DataType {
        self.column().finish().data_type().clone()
    }

    /// The flags of a call.
    fn flags(self, text: &str) -> Result<Flags, Report> {
        let starts = text.starts_with(|c: char| c.is_ascii_digit());
        let mut flags = Flags::read(text).map_err(|report| match self {
            Regexp::Replace if starts => report.hint(
                "If you meant to use regexp_replace() with a start parameter, cast the fourth argument to integer explicitly.",
            ),
            _ => report,
        })?;
        flags.any_case |= matches!(self, Regexp::MatchesAnyCase | Regexp::DiffersAnyCase);
        if !flags.is_global || matches!(self, Regexp::AllGroups | Regexp::Replace) {
            return Ok(flags);
        }
        let message = format!("{}() does not support the \"global\" option", self.name());
        let report = Report::new(SqlState::INVALID_PARAMETER_VALUE, message);
        Err(match self {
            Regexp::Groups => report.hint("Use the regexp_matches function instead."),
            _ => report,
        })
    }
}

impl Column {
    fn append_null(&mut self) {
        match self {
            Column::Booleans(values) => values.append_null(),
            Column::Numbers(values) => values.append_null(),
            Column::Texts(values) => values.append_null(),
            Column::Lists(values) => values.append_null(),
            Column::Rows(values) => values.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Column::Booleans(values) => Arc::new(values.finish()),
            Column::Numbers(values) => Arc::new(values.finish()),
            Column::Texts(values) => Arc::new(values.finish()),
            Column::Lists(values) => Arc::new(values.finish()),
            Column::Rows(values) => Arc::new(values.finish()),
        }
    }

    fn append_number(&mut self, number: i64) {
        if let Column::Numbers(values) = self {
            values.append_value(i32::try_from(number).unwrap_or(i32::MAX));
        }
    }

    /// The bytes of a text that was added.
    fn append_text(&mut self, text: Option<&str>) -> usize {
        if let Column::Texts(values) = self {
            values.append_option(text);
        }
        text.map_or(0, str::len)
    }
}

/// A call of one of these functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Call {
    regexp: Regexp,
    signature: Signature,
}

impl Call {
    pub(super) fn new(regexp: Regexp) -> Call {
        Call { regexp, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// The types that a call takes; None for a call that there is not.
pub(super) fn coerced(regexp: Regexp, types: &[DataType]) -> Option<Vec<DataType>> {
    let (shapes, least) = regexp.takes();
    let fits = |(given, takes): (&DataType, u8)| match takes {
        b'n' => given.is_integer() || given.is_null(),
        _ => given.is_string() || given.is_null(),
    };
    let shape = shapes.iter().find(|shape| {
        (least..=shape.len()).contains(&types.len()) && types.iter().zip(shape.bytes()).all(fits)
    })?;
    let wanted = |takes: u8| if takes == b'n' { DataType::Int64 } else { DataType::Utf8 };
    Some(shape.bytes().take(types.len()).map(wanted).collect())
}

impl ScalarUDFImpl for Call {
    fn name(&self) -> &'static str {
        self.regexp.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.regexp.result())
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        coerced(self.regexp, types).ok_or_else(|| no_function(self.name(), types))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        // Plans of older versions have other types: bigints, views of texts.
        invoke(self.regexp, &args.args, args.number_rows, args.return_type())
    }
}

/// Calls a function over the rows of a batch.
pub(super) fn invoke(
    regexp: Regexp,
    values: &[ColumnarValue],
    rows: usize,
    wanted: &DataType,
) -> Result<ColumnarValue> {
    let is_scalar = values.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
    let arguments = values.iter().map(Argument::new).collect::<Result<Vec<_>>>()?;
    let mut column = regexp.column();
    let mut total = 0;
    for row in 0..if is_scalar { 1 } else { rows } {
        if arguments.iter().any(|argument| argument.is_null(row)) {
            column.append_null();
            continue;
        }
        let row = Row { all: &arguments, row };
        total += append(regexp, &row, &mut column).map_err(external)?;
        check_total(total)?;
    }
    let result = plain(&column.finish(), wanted)?;
    Ok(match is_scalar {
        true => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
        false => ColumnarValue::Array(result),
    })
}

/// Adds the result of a row; how many bytes of text it has.
fn append(regexp: Regexp, row: &Row<'_>, column: &mut Column) -> Result<usize, Report> {
    let text = row.text(0);
    if regexp == Regexp::Similar {
        let escape = if row.all.len() > 1 { escape_of(row.text(1))? } else { Some('\\') };
        return Ok(column.append_text(Some(&similar(text, escape)?)));
    }
    let flags = regexp.flags(regexp.flags_at(row.all).map_or("", |at| row.text(at)))?;
    let pattern = match (regexp, row.all.len()) {
        (Regexp::Substring, 3) => compiled(&similar(row.text(1), escape_of(row.text(2))?)?, flags)?,
        _ => compiled(row.text(1), flags)?,
    };
    let mut pattern = pattern.borrow_mut();
    match (regexp, &mut *column) {
        (_, Column::Booleans(values)) => {
            let differs = matches!(regexp, Regexp::Differs | Regexp::DiffersAnyCase);
            values.append_value(pattern.is_match(text)? != differs);
            Ok(0)
        }
        (_, Column::Lists(values)) => {
            let parts = match regexp {
                Regexp::Groups => match pattern.find(text, 0)? {
                    Some(found) => groups(text, &found),
                    None => {
                        values.append_null();
                        return Ok(0);
                    }
                },
                _ => split(&mut pattern, text)?.into_iter().map(Some).collect(),
            };
            Ok(append_list(values, parts))
        }
        (_, Column::Rows(values)) => {
            let most = if flags.is_global { usize::MAX } else { 1 };
            let mut bytes = 0;
            each(&mut pattern, text, Which { from: 0, most, with_empty: true }, |found| {
                bytes += append_list(values.values(), groups(text, &found));
                check_total(bytes).map_err(|_| too_long())
            })?;
            values.append(true);
            Ok(bytes)
        }
        (Regexp::Replace, _) => {
            let (start, number) = replaced_places(row, flags)?;
            let Some(from) = place(text, start) else { return Ok(column.append_text(Some(text))) };
            let new = replaced(&mut pattern, text, row.text(2), (from, number))?;
            Ok(column.append_text(Some(&new)))
        }
        (Regexp::Substring, _) => {
            let found = pattern.find(text, 0)?;
            let found = found.and_then(|found| groups(text, &found).first().copied().flatten());
            Ok(column.append_text(found))
        }
        _ => counted(regexp, row, &mut pattern, column),
    }
}

fn append_list(values: &mut ListBuilder<StringBuilder>, parts: Vec<Option<&str>>) -> usize {
    // An element costs a few bytes, too.
    let bytes = parts.iter().map(|part| part.map_or(0, str::len) + size_of::<u32>()).sum();
    parts.into_iter().for_each(|part| values.values().append_option(part));
    values.append(true);
    bytes
}

fn too_long() -> Report {
    Report::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "requested length too large")
}

fn invalid(name: &str, value: i64) -> Report {
    let message = format!("invalid value for parameter \"{name}\": {value}");
    Report::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn at_least(least: i64, name: &str, value: i64) -> Result<i64, Report> {
    if value < least { Err(invalid(name, value)) } else { Ok(value) }
}

/// Where `regexp_replace` begins, and which match it replaces.
fn replaced_places(row: &Row<'_>, flags: Flags) -> Result<(i64, i64), Report> {
    let start = at_least(1, "start", row.number(3, 1))?;
    let number = row.number(4, if flags.is_global { 0 } else { 1 });
    Ok((start, at_least(0, "n", number)?))
}

/// `regexp_count`, `regexp_instr` and `regexp_substr`, which count matches from a place on.
fn counted(
    regexp: Regexp,
    row: &Row<'_>,
    pattern: &mut Pattern,
    column: &mut Column,
) -> Result<usize, Report> {
    let text = row.text(0);
    let start = at_least(1, "start", row.number(2, 1))?;
    let wanted = match regexp {
        Regexp::Count => i64::MAX,
        _ => at_least(1, "n", row.number(3, 1))?,
    };
    let end = row.number(4, 0);
    if regexp == Regexp::Place && !(0..=1).contains(&end) {
        return Err(invalid("endoption", end));
    }
    let group = at_least(0, "subexpr", row.number(if regexp == Regexp::Place { 6 } else { 5 }, 0))?;
    let (mut count, mut last) = (0, None);
    if let Some(from) = place(text, start) {
        let most = usize::try_from(wanted).unwrap_or(usize::MAX);
        each(pattern, text, Which { from, most, with_empty: true }, |found| {
            count += 1;
            last = Some(found);
            Ok(())
        })?;
    }
    if regexp == Regexp::Count {
        column.append_number(count);
        return Ok(0);
    }
    let span = last.filter(|_| count == wanted).and_then(|found| span(&found, group));
    if regexp == Regexp::Part {
        return Ok(column.append_text(span.map(|span| part(text, span))));
    }
    let place = span.map(|(begin, behind)| if end == 1 { behind } else { begin });
    column.append_number(place.map_or(0, |at| number(text, at)));
    Ok(0)
}

/// A match, or one of its groups; without groups the first one is the match.
fn span(found: &Match, group: i64) -> Option<(usize, usize)> {
    let group = usize::try_from(group).ok()?;
    match (group, found.groups.len()) {
        (0, _) | (1, 0) => Some(found.whole),
        _ => found.groups.get(group - 1).copied().flatten(),
    }
}
