//! `SUBSCRIBE [TO] name [AS OF epoch] [WITH (snapshot = ..., progress = ...)]`, and cursors over it:
//! `DECLARE`, `FETCH`.

use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::Report;

use super::cursor::Cursor;
use crate::ast::{DeclareCursor, Fetch, OptionItem, Statement, Subscribe};
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
    let name = cursor.object_name()?;
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
fn number(cursor: &mut Cursor<'_>) -> Result<u64, Report> {
    let parsed = match cursor.peek() {
        Token::Number(digits, _) => digits.parse().ok(),
        _ => None,
    };
    let number = parsed.ok_or_else(|| cursor.syntax_error())?;
    cursor.next();
    Ok(number)
}

/// `DECLARE name [NO SCROLL] CURSOR [WITHOUT HOLD] FOR SUBSCRIBE ...`
pub(super) fn declare(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["DECLARE"])?;
    let name = cursor.identifier()?;
    cursor.take(&["NO", "SCROLL"]);
    cursor.expect(&["CURSOR"])?;
    if !cursor.take(&["WITH", "HOLD"]) {
        cursor.take(&["WITHOUT", "HOLD"]);
    }
    cursor.expect(&["FOR"])?;
    if cursor.word(0).as_deref() != Some("SUBSCRIBE") {
        let report = Report::unsupported("a cursor for anything but SUBSCRIBE");
        let report = Report { position: cursor.here(), ..report };
        return Err(report.hint("The rows of a SELECT are sent as they come; read them directly."));
    }
    let subscribe = subscribe(cursor)?;
    Ok(Statement::Declare(Box::new(DeclareCursor { name, subscribe })))
}

/// `FETCH [FORWARD] [NEXT | n | ALL] [FROM | IN] name [WITH (timeout = '1s')]`
pub(super) fn fetch(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["FETCH"])?;
    for word in ["PRIOR", "FIRST", "LAST", "ABSOLUTE", "RELATIVE", "BACKWARD"] {
        if cursor.is(&[word]) {
            let report = Report::unsupported(format!("FETCH {word}"));
            let report = Report { position: cursor.here(), ..report };
            return Err(report.hint("A subscription only goes forward: FETCH n, FETCH ALL."));
        }
    }
    let forward = cursor.take(&["FORWARD"]);
    let count = match cursor.peek().clone() {
        Token::Number(..) => Some(number(cursor)?),
        _ if cursor.take(&["ALL"]) => None,
        _ => {
            cursor.take(&["NEXT"]);
            Some(1)
        }
    };
    if !cursor.take(&["FROM"]) {
        cursor.take(&["IN"]);
    }
    let name = match forward || !cursor.at_end() {
        true => cursor.identifier()?,
        false => return Err(cursor.syntax_error()),
    };
    let mut fetch = Fetch { name, count, timeout: None };
    if cursor.take(&["WITH"]) {
        for item in cursor.options()? {
            match item.name.name.as_str() {
                "timeout" => fetch.timeout = Some(item),
                _ => return Err(unknown_option(&item, &["timeout"])),
            }
        }
    }
    Ok(Statement::Fetch(Box::new(fetch)))
}
