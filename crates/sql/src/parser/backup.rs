//! `BACKUP TO 'directory'`

use millrace_types::{Report, SqlState};

use super::cursor::Cursor;
use crate::ast::Statement;

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["BACKUP"])?;
    cursor.expect(&["TO"])?;
    let position = cursor.here();
    let path = cursor.option_value()?;
    if !path.starts_with('/') {
        let message = "the directory of a backup must be an absolute path";
        let report = Report::new(SqlState::INVALID_PARAMETER_VALUE, message);
        let report = Report { position, ..report };
        return Err(report.hint("It is made on the machine that the server runs on."));
    }
    Ok(Statement::Backup(path))
}
