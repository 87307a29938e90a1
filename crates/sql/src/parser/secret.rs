//! `CREATE SECRET`, `DROP SECRET`.

use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::{Concealed, Report};

use super::cursor::Cursor;
use super::role::{access, text};
use crate::ast::{Access, SecretDef, Statement};

/// `CREATE SECRET [IF NOT EXISTS] name [WITH (backend = 'meta')] AS 'value'`
pub(super) fn create(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["CREATE", "SECRET"])?;
    let if_not_exists = cursor.take(&["IF", "NOT", "EXISTS"]);
    let name = cursor.object_name()?;
    if cursor.take(&["WITH"]) {
        for option in cursor.options()? {
            if option.name.name != "backend" || option.value != "meta" {
                let what = format!("option \"{}\" of a secret", option.name.name);
                let report = Report { position: option.name.position, ..Report::unsupported(what) };
                return Err(report.hint("Write CREATE SECRET name AS 'value'."));
            }
        }
    }
    cursor.expect(&["AS"])?;
    let value = Concealed::new(text(cursor)?);
    Ok(access(Access::CreateSecret(SecretDef { name, if_not_exists, value })))
}

/// `DROP SECRET [IF EXISTS] name, ...`
pub(super) fn drop(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["DROP", "SECRET"])?;
    let if_exists = cursor.take(&["IF", "EXISTS"]);
    let mut names = vec![cursor.object_name()?];
    while cursor.take_token(&Token::Comma) {
        names.push(cursor.object_name()?);
    }
    if !cursor.take(&["CASCADE"]) {
        cursor.take(&["RESTRICT"]);
    }
    Ok(access(Access::DropSecret { names, if_exists }))
}
