//! `SUBSCRIBE [TO] name [AS OF epoch] [WITH (snapshot = ..., progress = ...)]`

use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::Report;

use super::cursor::Cursor;
use crate::ast::{OptionItem, Statement, Subscribe};
use crate::binder::{invalid_option, unknown_option};

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    Ok(Statement::Subscribe(Box::new(subscribe(cursor)?)))
}

/// The statement without what may follow it.
pub(super) fn subscribe(cursor: &mut Cursor<'_>) -> Result<Subscribe, Report> {
    cursor.expect(&["SUBSCRIBE"])?;
    cursor.take(&["TO"]);
    if *cursor.peek() == Token::LParen {
        let report = Report::unsupported("SUBSCRIBE to a query");
        let report = Report { position: cursor.here(), ..report };
        return Err(report.hint("Create a materialized view of the query and subscribe to that."));
    }
    let name = cursor.relation_name()?;
    let mut subscribe = Subscribe { name, snapshot: None, progress: false, as_of: None };
    loop {
        if subscribe.as_of.is_none() && cursor.take(&["AS", "OF"]) {
            subscribe.as_of = Some(number(cursor)?);
        } else if cursor.take(&["WITH"]) {
            options(cursor.options()?, &mut subscribe)?;
        } else {
            return Ok(subscribe);
        }
    }
}

fn options(items: Vec<OptionItem>, subscribe: &mut Subscribe) -> Result<(), Report> {
    for item in items {
        match item.name.name.as_str() {
            "snapshot" => subscribe.snapshot = Some(flag(&item)?),
            "progress" => subscribe.progress = flag(&item)?,
            _ => return Err(unknown_option(&item, &["snapshot", "progress"])),
        }
    }
    Ok(())
}

fn flag(item: &OptionItem) -> Result<bool, Report> {
    match item.value.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" | "yes" => Ok(true),
        "false" | "off" | "0" | "no" => Ok(false),
        _ => Err(invalid_option(item, "It is true or false.")),
    }
}

/// A number from 0.
pub(super) fn number(cursor: &mut Cursor<'_>) -> Result<u64, Report> {
    let parsed = match cursor.peek() {
        Token::Number(digits, _) => digits.parse().ok(),
        _ => None,
    };
    let number = parsed.ok_or_else(|| cursor.syntax_error())?;
    cursor.next();
    Ok(number)
}
