//! `CANCEL JOB number`

use millrace_types::{Report, SqlState};

use super::cursor::Cursor;
use crate::ast::Statement;

pub(super) fn cancel(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["CANCEL"])?;
    cursor.expect(&["JOB"])?;
    let position = cursor.here();
    let text = cursor.option_value()?;
    let wrong = || {
        let message = format!("\"{text}\" is not the number of a job");
        let report = Report::new(SqlState::INVALID_PARAMETER_VALUE, message);
        Report { position, ..report }.hint("SHOW JOBS lists them.")
    };
    Ok(Statement::CancelJob(text.parse().map_err(|_| wrong())?))
}
