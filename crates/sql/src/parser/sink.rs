//! `CREATE SINK [IF NOT EXISTS] name FROM view WITH (...) [FORMAT ... ENCODE ...]`

use millrace_types::Report;

use super::create_source;
use super::cursor::Cursor;
use crate::ast::{CreateSink, Statement};

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["CREATE", "SINK"])?;
    let if_not_exists = cursor.take(&["IF", "NOT", "EXISTS"]);
    let name = cursor.object_name()?;
    if cursor.is(&["AS"]) {
        let report = Report::unsupported("CREATE SINK ... AS");
        let report = Report { position: cursor.here(), ..report };
        return Err(report.hint("Create a materialized view of the query, and the sink FROM it."));
    }
    cursor.expect(&["FROM"])?;
    let from = cursor.relation_name()?;
    cursor.expect(&["WITH"])?;
    let options = cursor.options()?;
    let format = match cursor.is(&["FORMAT"]) {
        true => Some(create_source::format(cursor)?),
        false => None,
    };
    let text = cursor.statement_text();
    let sink = CreateSink { name, if_not_exists, from, options, format, text };
    Ok(Statement::CreateSink(Box::new(sink)))
}
