//! `ALTER SOURCE | TABLE name SET (option = value, ...)`, and the constraints of tables.

use millrace_types::Report;

use super::cursor::Cursor;
use super::{constraint, unsupported};
use crate::ast::{Alter, ObjectKind, Statement};

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    let kind = match cursor.word(1).as_deref() {
        Some("SOURCE") => ObjectKind::Source,
        Some("TABLE") => ObjectKind::Table,
        _ => return Err(unsupported::report(cursor)),
    };
    let refused = unsupported::report(cursor);
    cursor.expect(&["ALTER", kind.sql()])?;
    if kind == ObjectKind::Table
        && let Some(statement) = constraint::changes(cursor)?
    {
        return Ok(statement);
    }
    let name = cursor.object_name()?;
    if !cursor.take(&["SET"]) {
        return Err(
            refused.hint("ALTER sets the options on_error and late_rows of what a topic fills.")
        );
    }
    Ok(Statement::Alter(Alter { kind, name, options: cursor.options()? }))
}
