//! Errors of DataFusion and Arrow as PostgreSQL's: message, SQLSTATE, position and hint.
//!
//! DataFusion has kinds for few errors; the rest are sentences. [`messages`] knows the sentences.
//! This is the only place that reads them.
//!
//! Invariants: 1. a [`Report`] that one of our own functions put into an error comes out unchanged.
//! 2. nothing fails without a SQLSTATE.

mod arrow;
pub(crate) mod elsewhere;
mod messages;

#[cfg(test)]
mod tests;

use ::arrow::error::ArrowError;
use datafusion::common::{Column, SchemaError, Span};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::tokenizer::Location;
use millrace_types::{Report, SqlState};

use crate::names::{Quoted, similar};
use crate::text::Text;

/// The report for an error without the text that caused it.
pub fn report(error: DataFusionError) -> Report {
    describe(&error).report
}

/// The report for an error in a statement, with its position.
pub fn report_in(error: &DataFusionError, text: &str) -> Report {
    let text = Text::new(text);
    let found = describe(error);
    let mut report = found.report;
    report.position = report
        .position
        .or_else(|| span(error).and_then(|span| position(span, &text)))
        .or_else(|| found.at.and_then(|at| at.find(&text)));
    report
}

/// The report for an operator that there is not for these types.
pub(crate) fn no_operator(left: &str, operator: &str, right: &str) -> Report {
    messages::no_operator(left, operator, right)
}

/// A report, and what to look for in the text if the error has no place.
struct Found {
    report: Report,
    at: Option<At>,
}

/// What an error is about.
enum At {
    Name(String),
    Call(String),
    /// An operator, or a number.
    Operator(String),
    /// A string, by its value.
    Value(String),
}

impl At {
    fn find(&self, text: &Text<'_>) -> Option<usize> {
        match self {
            At::Name(name) => text.find_name(name),
            At::Call(name) => text.find_call(name),
            At::Operator(operator) => text.find_only(operator),
            At::Value(value) => text.find_string(value),
        }
    }
}

impl From<Report> for Found {
    fn from(report: Report) -> Found {
        Found { report, at: None }
    }
}

fn position(span: Span, text: &Text<'_>) -> Option<usize> {
    text.position(Location::new(span.start.line, span.start.column))
}

/// The first place that a part of the error names.
fn span(error: &DataFusionError) -> Option<Span> {
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => diagnostic.span.or_else(|| span(inner)),
        DataFusionError::Context(_, inner) => span(inner),
        DataFusionError::Collection(errors) => errors.first().and_then(span),
        DataFusionError::Shared(inner) => span(inner),
        _ => None,
    }
}

fn describe(error: &DataFusionError) -> Found {
    match error {
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => {
            describe(inner)
        }
        DataFusionError::Shared(inner) => describe(inner),
        DataFusionError::Collection(errors) => match errors.first() {
            Some(first) => describe(first),
            None => internal("no error").into(),
        },
        DataFusionError::External(inner) => match inner.downcast_ref::<Report>() {
            Some(report) => Found { report: report.clone(), at: messages::place_of(report) },
            None => match inner.downcast_ref::<DataFusionError>() {
                Some(inner) => describe(inner),
                None => messages::internal(&inner.to_string()),
            },
        },
        DataFusionError::ArrowError(inner, _) => arrow_error(inner),
        DataFusionError::SchemaError(inner, _) => schema_error(inner),
        DataFusionError::NotImplemented(message) => messages::not_implemented(message),
        DataFusionError::Plan(message) => messages::plan(message),
        DataFusionError::Execution(message) => messages::execution(message),
        DataFusionError::ResourcesExhausted(message) => {
            let report = Report::new(SqlState::OUT_OF_MEMORY, "out of memory");
            report.detail(first_line(message)).into()
        }
        DataFusionError::SQL(inner, _) => {
            Report::new(SqlState::SYNTAX_ERROR, inner.to_string()).into()
        }
        DataFusionError::Configuration(message) => {
            Report::new(SqlState::INVALID_PARAMETER_VALUE, first_line(message)).into()
        }
        DataFusionError::IoError(inner) => {
            Report::new(SqlState::IO_ERROR, inner.to_string()).into()
        }
        other => messages::internal(&other.strip_backtrace()),
    }
}

fn internal(message: &str) -> Report {
    Report::new(SqlState::INTERNAL_ERROR, first_line(message))
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
}

/// The report for an error of Arrow's kernels.
pub fn arrow_report(error: &ArrowError) -> Report {
    arrow_error(error).report
}

fn arrow_error(error: &ArrowError) -> Found {
    match error {
        ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
            Some(inner) => describe(inner),
            None => match inner.downcast_ref::<Report>() {
                Some(report) => Found { report: report.clone(), at: messages::place_of(report) },
                None => internal(&inner.to_string()).into(),
            },
        },
        other => arrow::describe(other).into(),
    }
}

fn schema_error(error: &SchemaError) -> Found {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => not_found(field, valid_fields),
        SchemaError::AmbiguousReference { field } => {
            let message = format!("column reference {} is ambiguous", Quoted(&field.name));
            named(SqlState::AMBIGUOUS_COLUMN, message, &field.name)
        }
        SchemaError::DuplicateQualifiedField { qualifier, name: _ } => {
            let table = qualifier.table();
            let message = format!("table name {} specified more than once", Quoted(table));
            named(SqlState::DUPLICATE_ALIAS, message, table)
        }
        SchemaError::DuplicateUnqualifiedField { name } => {
            let message = format!("column {} specified more than once", Quoted(name));
            named(SqlState::DUPLICATE_COLUMN, message, name)
        }
    }
}

fn named(code: SqlState, message: String, name: &str) -> Found {
    Found { report: Report::new(code, message), at: Some(At::Name(name.to_owned())) }
}

fn not_found(field: &Column, valid: &[Column]) -> Found {
    let name = &field.name;
    let Some(relation) = &field.relation else {
        let found = named(
            SqlState::UNDEFINED_COLUMN,
            format!("column {} does not exist", Quoted(name)),
            name,
        );
        return hinted(found, name, valid);
    };
    let table = relation.table();
    let known = valid
        .iter()
        .any(|column| column.relation.as_ref().is_some_and(|relation| relation.table() == table));
    if !known && !valid.is_empty() {
        let message = format!("missing FROM-clause entry for table {}", Quoted(table));
        return named(SqlState::UNDEFINED_TABLE, message, table);
    }
    let message = format!("column {table}.{name} does not exist");
    hinted(named(SqlState::UNDEFINED_COLUMN, message, name), name, valid)
}

fn hinted(mut found: Found, name: &str, valid: &[Column]) -> Found {
    let Some(similar) = similar(name, valid.iter().map(|column| column.name.as_str())) else {
        found.report.hint = elsewhere::column(name).map(str::to_owned);
        return found;
    };
    let column = valid.iter().find(|column| column.name == similar);
    let table = column.and_then(|c| c.relation.as_ref()).map(|r| format!("{}.", r.table()));
    let meant = format!("{}{similar}", table.unwrap_or_default());
    found.report =
        found.report.hint(format!("Perhaps you meant to reference the column {}.", Quoted(&meant)));
    found
}
