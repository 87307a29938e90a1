//! `SHOW ...` and `DESCRIBE name`

use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::Report;

use super::cursor::Cursor;
use super::unsupported;
use crate::ast::{ObjectKind, Show, Statement};

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["SHOW"])?;
    let plain = [
        (&["SOURCES"][..], Show::Sources),
        (&["TABLES"], Show::Tables),
        (&["VIEWS"], Show::Views),
        (&["MATERIALIZED", "VIEWS"], Show::MaterializedViews),
        (&["SINKS"], Show::Sinks),
        (&["JOBS"], Show::Jobs),
        (&["SECRETS"], Show::Secrets),
        (&["ALL"], Show::All),
        (&["TIME", "ZONE"], Show::Parameter("timezone".to_owned())),
        (
            &["TRANSACTION", "ISOLATION", "LEVEL"],
            Show::Parameter("transaction_isolation".to_owned()),
        ),
        (&["SESSION", "AUTHORIZATION"], Show::Parameter("session_authorization".to_owned())),
    ];
    for (words, show) in plain {
        if cursor.take(words) {
            return Ok(Statement::Show(show));
        }
    }
    if cursor.take(&["CREATE"]) {
        return Ok(Statement::Show(create(cursor)?));
    }
    if cursor.take(&["COLUMNS"]) {
        if !cursor.take(&["FROM"]) {
            cursor.expect(&["IN"])?;
        }
        return Ok(Statement::Show(Show::Columns(cursor.object_name()?)));
    }
    if let Some(report) = unsupported::shown(cursor) {
        return Err(report);
    }
    let mut name = cursor.identifier()?.name;
    while cursor.take_token(&Token::Period) {
        name = format!("{name}.{}", cursor.identifier()?.name);
    }
    Ok(Statement::Show(Show::Parameter(name.to_lowercase())))
}

fn create(cursor: &mut Cursor<'_>) -> Result<Show, Report> {
    for kind in [
        ObjectKind::Source,
        ObjectKind::Table,
        ObjectKind::View,
        ObjectKind::MaterializedView,
        ObjectKind::Index,
        ObjectKind::Sink,
    ] {
        if cursor.take(&kind.sql().split(' ').collect::<Vec<_>>()) {
            return Ok(Show::Create(kind, cursor.object_name()?));
        }
    }
    Err(cursor.syntax_error())
}

pub(super) fn describe(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.next();
    Ok(Statement::Describe(cursor.object_name()?))
}
