//! `ALTER SOURCE | TABLE name SET (option = value, ...)`, `ALTER kind [IF EXISTS] name RENAME TO name`, and the
//! constraints of tables.

use millrace_types::Report;

use super::cursor::Cursor;
use super::{constraint, unsupported};
use crate::ast::{Alter, ObjectKind, Rename, Statement};

const KINDS: [(&[&str], ObjectKind); 6] = [
    (&["ALTER", "SOURCE"], ObjectKind::Source),
    (&["ALTER", "TABLE"], ObjectKind::Table),
    (&["ALTER", "VIEW"], ObjectKind::View),
    (&["ALTER", "MATERIALIZED", "VIEW"], ObjectKind::MaterializedView),
    (&["ALTER", "INDEX"], ObjectKind::Index),
    (&["ALTER", "SINK"], ObjectKind::Sink),
];

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    let Some((words, kind)) = KINDS.into_iter().find(|(words, _)| cursor.is(words)) else {
        return Err(unsupported::report(cursor));
    };
    let refused = unsupported::report(cursor);
    cursor.expect(words)?;
    if kind == ObjectKind::Table
        && let Some(statement) = constraint::changes(cursor)?
    {
        return Ok(statement);
    }
    let if_exists = cursor.take(&["IF", "EXISTS"]);
    if kind == ObjectKind::Table {
        cursor.take(&["ONLY"]);
    }
    let name = cursor.object_name()?;
    if cursor.take(&["RENAME", "TO"]) {
        let to = cursor.identifier()?;
        return Ok(Statement::Rename(Rename { kind, name, if_exists, to }));
    }
    if cursor.is(&["RENAME"]) {
        let report = Report::unsupported("RENAME of a column");
        let report = Report { position: cursor.here(), ..report };
        return Err(report.hint("Make a view that has the column under another name."));
    }
    let has_options = matches!(kind, ObjectKind::Source | ObjectKind::Table) && !if_exists;
    if !has_options {
        return Err(refused);
    }
    if !cursor.take(&["SET"]) {
        let hint = "ALTER renames an object, gives it another owner, and sets the options on_error and \
                    late_rows of what a topic fills.";
        return Err(refused.hint(hint));
    }
    Ok(Statement::Alter(Alter { kind, name, options: cursor.options()? }))
}
