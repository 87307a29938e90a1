//! Reports on the wire, and the reports inside DataFusion's errors.

use std::error::Error;

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use millrace_types::{About, Report, SqlState, of_pattern, of_sentence};
use pgwire::messages::response::{ErrorResponse, NoticeResponse};

/// The message where a prepared statement would give other columns than the client knows.
pub(crate) const CHANGED_COLUMNS: &str = "cached plan must not change result type";

/// How bad a message to the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The session ends.
    Fatal,
    /// The statement ends.
    Error,
}

/// The message for a failure; `offset` characters of the query string stand before the statement.
pub(crate) fn error(severity: Severity, report: &Report, offset: usize) -> ErrorResponse {
    let word = match severity {
        Severity::Fatal => "FATAL",
        Severity::Error => "ERROR",
    };
    ErrorResponse::new(fields(word, report, offset))
}

/// The message for something that went on; the classes 01 and 25 of SQLSTATE are warnings.
pub(crate) fn notice(report: &Report, offset: usize) -> NoticeResponse {
    let is_warning = ["01", "25"].iter().any(|class| report.code.code().starts_with(class));
    let word = if is_warning { "WARNING" } else { "NOTICE" };
    NoticeResponse::new(fields(word, report, offset))
}

fn fields(severity: &str, report: &Report, offset: usize) -> Vec<(u8, String)> {
    // A zero byte would end the field early.
    let clean = |text: &str| text.replace('\0', "");
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', report.code.code().to_owned()),
        (b'M', clean(&report.message)),
    ];
    fields.extend(report.detail.as_deref().map(|detail| (b'D', clean(detail))));
    fields.extend(report.hint.as_deref().map(|hint| (b'H', clean(hint))));
    fields.extend(routine(report).map(|routine| (b'R', routine.to_owned())));
    fields.extend(report.context.as_deref().map(|context| (b'W', clean(context))));
    fields.extend(report.position.map(|position| (b'P', (position + offset).to_string())));
    if let Some(about) = &report.about {
        let About { schema, table, column, constraint } = about.as_ref();
        let named = [(b's', schema), (b't', table), (b'c', column), (b'n', constraint)];
        let named = named.into_iter().filter_map(|(field, name)| Some((field, name.as_deref()?)));
        fields.extend(named.map(|(field, name)| (field, clean(name))));
    }
    fields
}

/// PostgreSQL's name for the place of an error, where drivers look at it: asyncpg and pgjdbc prepare a
/// statement anew when it is this one, and only then.
fn routine(report: &Report) -> Option<&'static str> {
    let is_changed =
        report.code == SqlState::FEATURE_NOT_SUPPORTED && report.message == CHANGED_COLUMNS;
    is_changed.then_some("RevalidateCachedQuery")
}

/// What a client is told of an error that DataFusion gave while it ran a statement. A [`Report`]
/// anywhere in the chain wins.
pub fn report_of(error: &DataFusionError) -> Report {
    if let Some(report) = find(error) {
        return report.clone();
    }
    match error.find_root() {
        DataFusionError::ArrowError(error, _) => of_arrow(error),
        DataFusionError::ResourcesExhausted(message) => {
            Report::new(SqlState::OUT_OF_MEMORY, "out of memory").detail(message.clone())
        }
        // What it says of a subquery that it has not made a join of.
        DataFusionError::NotImplemented(message)
            if message.contains("Physical plan does not support logical expression") =>
        {
            Report::unsupported("this form of subquery")
        }
        DataFusionError::NotImplemented(message) => {
            Report::new(SqlState::FEATURE_NOT_SUPPORTED, message.clone())
        }
        DataFusionError::SQL(error, _) => {
            Report::new(SqlState::SYNTAX_ERROR, format!("syntax error: {error}"))
        }
        DataFusionError::SchemaError(error, _) => of_schema(error),
        DataFusionError::Plan(message) => {
            let unknown = || Report::new(of_plan(message), message.clone());
            of_sentence(message).unwrap_or_else(unknown)
        }
        DataFusionError::Execution(message) => {
            let unknown = || Report::new(SqlState::DATA_EXCEPTION, message.clone());
            of_pattern(message).or_else(|| of_sentence(message)).unwrap_or_else(unknown)
        }
        other => {
            let message = other.strip_backtrace();
            let unknown = || Report::new(SqlState::INTERNAL_ERROR, message.clone());
            of_pattern(&message).unwrap_or_else(unknown)
        }
    }
}

fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Report> {
    if let Some(report) = error.downcast_ref::<Report>() {
        return Some(report);
    }
    if let Some(DataFusionError::External(inner)) = error.downcast_ref::<DataFusionError>()
        && let Some(report) = find(inner.as_ref())
    {
        return Some(report);
    }
    if let Some(ArrowError::ExternalError(inner)) = error.downcast_ref::<ArrowError>()
        && let Some(report) = find(inner.as_ref())
    {
        return Some(report);
    }
    error.source().and_then(find)
}

fn of_arrow(error: &ArrowError) -> Report {
    match error {
        ArrowError::DivideByZero => Report::new(SqlState::DIVISION_BY_ZERO, "division by zero"),
        ArrowError::ArithmeticOverflow(message) => {
            Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range")
                .detail(message.clone())
        }
        ArrowError::CastError(message) | ArrowError::ParseError(message) => {
            Report::new(SqlState::INVALID_TEXT_REPRESENTATION, message.clone())
        }
        other => {
            let message = other.to_string();
            let unknown = || Report::new(SqlState::DATA_EXCEPTION, message.clone());
            of_pattern(&message).or_else(|| of_sentence(&message)).unwrap_or_else(unknown)
        }
    }
}

fn of_schema(error: &SchemaError) -> Report {
    match error {
        SchemaError::FieldNotFound { field, .. } => Report::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{}\" does not exist", field.name()),
        ),
        SchemaError::AmbiguousReference { field } => Report::new(
            SqlState::AMBIGUOUS_COLUMN,
            format!("column reference \"{}\" is ambiguous", field.name()),
        ),
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => Report::new(
            SqlState::DUPLICATE_COLUMN,
            format!("column \"{name}\" specified more than once"),
        ),
    }
}

fn of_plan(message: &str) -> SqlState {
    if message.contains("table '") && message.contains("not found") {
        SqlState::UNDEFINED_TABLE
    } else if message.contains("Invalid function") {
        SqlState::UNDEFINED_FUNCTION
    } else {
        SqlState::SYNTAX_ERROR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_found_below_wrappers() {
        let report = Report::new(SqlState::UNIQUE_VIOLATION, "twice").hint("Once is enough.");
        let wrapped = DataFusionError::ArrowError(
            Box::new(ArrowError::ExternalError(Box::new(DataFusionError::External(Box::new(
                report.clone(),
            ))))),
            None,
        )
        .context("while scanning");
        assert_eq!(report_of(&wrapped), report);
    }

    #[test]
    fn arithmetic_errors_have_postgresql_codes() {
        let divided = DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None);
        assert_eq!(report_of(&divided).code, SqlState::DIVISION_BY_ZERO);
        assert_eq!(report_of(&divided).message, "division by zero");
    }

    #[test]
    fn drivers_are_told_that_they_must_prepare_anew() {
        let report = Report::new(SqlState::FEATURE_NOT_SUPPORTED, CHANGED_COLUMNS);
        let message = error(Severity::Error, &report, 0);
        assert!(message.fields.contains(&(b'R', "RevalidateCachedQuery".into())));
        let other = error(Severity::Error, &Report::unsupported("MERGE"), 0);
        assert!(other.fields.iter().all(|(field, _)| *field != b'R'));
    }

    #[test]
    fn drivers_are_told_what_a_row_violates() {
        let names = |name: &str| Some(name.to_owned());
        let (table, constraint) = (names("t"), names("t_pkey"));
        let about = About { table, constraint, ..About::default() };
        let report = Report::new(SqlState::UNIQUE_VIOLATION, "twice").about(about);
        let message = error(Severity::Error, &report, 0);
        let last = &message.fields[message.fields.len() - 2..];
        assert_eq!(last, [(b't', "t".to_owned()), (b'n', "t_pkey".to_owned())]);
    }

    #[test]
    fn positions_are_shifted_by_the_statement_offset_and_zero_bytes_go() {
        let report = Report::new(SqlState::SYNTAX_ERROR, "a\0b").at(3);
        let message = error(Severity::Error, &report, 10);
        assert!(message.fields.contains(&(b'P', "13".into())));
        assert!(message.fields.contains(&(b'M', "ab".into())));
    }
}
