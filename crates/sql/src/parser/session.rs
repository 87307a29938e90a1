//! Statements about the session and its transaction, and those that clients send and that have
//! nothing to do here.

use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::{Report, SqlState, input};

use super::cursor::Cursor;
use crate::ast::{Modes, Session};

/// The statement that begins with this word; None if it is not of this kind.
pub(super) fn parse(first: &str, cursor: &mut Cursor<'_>) -> Result<Option<Session>, Report> {
    let session = match first {
        "SET" => set(cursor)?,
        "RESET" => reset(cursor)?,
        "DISCARD" => discard(cursor)?,
        "BEGIN" | "START" => begin(cursor)?,
        "COMMIT" | "END" => end(cursor, Session::Commit)?,
        "ROLLBACK" | "ABORT" => rollback(cursor)?,
        "SAVEPOINT" => {
            cursor.next();
            Session::Savepoint(cursor.identifier()?.name)
        }
        "RELEASE" => {
            cursor.next();
            cursor.take(&["SAVEPOINT"]);
            Session::Release(cursor.identifier()?.name)
        }
        "DEALLOCATE" => {
            cursor.next();
            cursor.take(&["PREPARE"]);
            Session::Deallocate(all_or_name(cursor)?)
        }
        "CLOSE" => {
            cursor.next();
            Session::Close(all_or_name(cursor)?)
        }
        _ => return Ok(accepted(first, cursor)),
    };
    Ok(Some(session))
}

/// What is answered with its tag and does nothing.
fn accepted(first: &str, cursor: &mut Cursor<'_>) -> Option<Session> {
    let tag = match first {
        "LISTEN" => "LISTEN",
        "UNLISTEN" => "UNLISTEN",
        // On what keeps none: types, functions, extensions.
        "COMMENT" => "COMMENT",
        "ANALYZE" => "ANALYZE",
        "VACUUM" => "VACUUM",
        "LOCK" => "LOCK TABLE",
        _ => return None,
    };
    cursor.skip_to_end();
    Some(Session::Accepted(tag))
}

fn all_or_name(cursor: &mut Cursor<'_>) -> Result<Option<String>, Report> {
    match cursor.take(&["ALL"]) {
        true => Ok(None),
        false => Ok(Some(cursor.identifier()?.name)),
    }
}

fn set(cursor: &mut Cursor<'_>) -> Result<Session, Report> {
    cursor.expect(&["SET"])?;
    if cursor.take(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]) {
        return Ok(Session::Modes { session: true, modes: modes(cursor)? });
    }
    if cursor.is(&["CONSTRAINTS"]) || cursor.is(&["TRANSACTION", "SNAPSHOT"]) {
        cursor.skip_to_end();
        return Ok(Session::Accepted("SET"));
    }
    if cursor.take(&["TRANSACTION"]) {
        return Ok(Session::Modes { session: false, modes: modes(cursor)? });
    }
    let local = cursor.take(&["LOCAL"]);
    if !local && cursor.is(&["SESSION"]) && !cursor.is(&["SESSION", "AUTHORIZATION"]) {
        cursor.next();
    }
    if cursor.is(&["ROLE"]) || cursor.is(&["SESSION", "AUTHORIZATION"]) {
        return identity(cursor, local);
    }
    let name = if cursor.take(&["TIME", "ZONE"]) {
        "timezone".to_owned()
    } else if cursor.take(&["NAMES"]) {
        "client_encoding".to_owned()
    } else {
        let name = setting(cursor)?;
        if !cursor.take_token(&Token::Eq) {
            cursor.expect(&["TO"])?;
        }
        name
    };
    let is_zone = name == "timezone";
    if cursor.take(&["DEFAULT"]) || (is_zone && cursor.take(&["LOCAL"])) {
        return Ok(Session::ToDefault(name));
    }
    if is_zone && cursor.is(&["INTERVAL"]) {
        return Ok(Session::Set { name, values: vec![hours_east(cursor)?], local });
    }
    let mut values = vec![value(cursor)?];
    while cursor.take_token(&Token::Comma) {
        values.push(value(cursor)?);
    }
    Ok(Session::Set { name, values, local })
}

/// `INTERVAL '+02:00' HOUR TO MINUTE` as hours to the east.
fn hours_east(cursor: &mut Cursor<'_>) -> Result<String, Report> {
    let position = cursor.here();
    cursor.expect(&["INTERVAL"])?;
    let text = value(cursor)?;
    cursor.take(&["HOUR", "TO", "MINUTE"]);
    let span = input::interval(&text)?;
    if (span.months, span.days) != (0, 0) {
        let message = format!("invalid value for parameter \"TimeZone\": \"INTERVAL '{text}'\"");
        let report = Report::new(SqlState::INVALID_PARAMETER_VALUE, message);
        let what = if span.months == 0 { "days" } else { "months" };
        let detail = format!("Cannot specify {what} in time zone interval.");
        return Err(Report { position, ..report.detail(detail) });
    }
    let minutes = i32::try_from(span.nanoseconds / 60_000_000_000).unwrap_or(i32::MAX);
    Ok((f64::from(minutes) / 60.0).to_string())
}

/// `SET ROLE name | NONE`, `SET SESSION AUTHORIZATION name | DEFAULT`
fn identity(cursor: &mut Cursor<'_>, local: bool) -> Result<Session, Report> {
    let name = if cursor.take(&["ROLE"]) {
        cursor.take_token(&Token::Eq);
        cursor.take(&["TO"]);
        "role"
    } else {
        cursor.expect(&["SESSION", "AUTHORIZATION"])?;
        "session_authorization"
    };
    if cursor.take(&["DEFAULT"]) || (name != "role" && cursor.take(&["NONE"])) {
        return Ok(Session::ToDefault(name.to_owned()));
    }
    let value = match cursor.peek().clone() {
        Token::SingleQuotedString(text) => {
            cursor.next();
            text
        }
        _ => cursor.identifier()?.name,
    };
    Ok(Session::Set { name: name.to_owned(), values: vec![value], local })
}

fn setting(cursor: &mut Cursor<'_>) -> Result<String, Report> {
    if matches!(cursor.peek(), Token::SingleQuotedString(_)) {
        return Err(cursor.syntax_error());
    }
    let mut name = cursor.identifier()?.name;
    while cursor.take_token(&Token::Period) {
        name = format!("{name}.{}", cursor.identifier()?.name);
    }
    Ok(name.to_lowercase())
}

fn value(cursor: &mut Cursor<'_>) -> Result<String, Report> {
    let sign = if cursor.take_token(&Token::Minus) { "-" } else { "" };
    let value = match cursor.peek().clone() {
        Token::Number(number, _) => format!("{sign}{number}"),
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text,
        Token::Word(word) => word.value,
        _ => return Err(cursor.syntax_error()),
    };
    cursor.next();
    Ok(value)
}

fn reset(cursor: &mut Cursor<'_>) -> Result<Session, Report> {
    cursor.expect(&["RESET"])?;
    if cursor.take(&["ALL"]) {
        return Ok(Session::Reset(None));
    }
    if cursor.take(&["TIME", "ZONE"]) {
        return Ok(Session::Reset(Some("timezone".to_owned())));
    }
    if cursor.take(&["SESSION", "AUTHORIZATION"]) {
        return Ok(Session::Reset(Some("session_authorization".to_owned())));
    }
    Ok(Session::Reset(Some(setting(cursor)?)))
}

fn discard(cursor: &mut Cursor<'_>) -> Result<Session, Report> {
    cursor.expect(&["DISCARD"])?;
    let what = match cursor.word(0).as_deref() {
        Some("TEMPORARY") => "TEMP".to_owned(),
        Some(word @ ("ALL" | "PLANS" | "SEQUENCES" | "TEMP")) => word.to_owned(),
        _ => return Err(cursor.syntax_error()),
    };
    cursor.next();
    Ok(Session::Discard(what))
}

fn begin(cursor: &mut Cursor<'_>) -> Result<Session, Report> {
    let start = cursor.take(&["START"]);
    match start {
        true => cursor.expect(&["TRANSACTION"])?,
        false => {
            cursor.expect(&["BEGIN"])?;
            if !cursor.take(&["TRANSACTION"]) {
                cursor.take(&["WORK"]);
            }
        }
    }
    let modes = if cursor.at_end() { Modes::default() } else { modes(cursor)? };
    Ok(Session::Begin { start, modes })
}

/// Transaction modes.
fn modes(cursor: &mut Cursor<'_>) -> Result<Modes, Report> {
    let mut modes = Modes::default();
    loop {
        match cursor.take(&["READ", "ONLY"]) {
            true => modes.read_only = Some(true),
            false if cursor.take(&["READ", "WRITE"]) => modes.read_only = Some(false),
            false if cursor.take(&["ISOLATION", "LEVEL"]) => {
                modes.isolation = Some(isolation(cursor)?);
            }
            false if cursor.take(&["NOT", "DEFERRABLE"]) || cursor.take(&["DEFERRABLE"]) => {}
            false => return Err(cursor.syntax_error()),
        }
        if cursor.at_end() {
            return Ok(modes);
        }
        cursor.take_token(&Token::Comma);
    }
}

fn isolation(cursor: &mut Cursor<'_>) -> Result<&'static str, Report> {
    let levels = [
        (&["READ", "UNCOMMITTED"][..], "read uncommitted"),
        (&["READ", "COMMITTED"], "read committed"),
        (&["REPEATABLE", "READ"], "repeatable read"),
        (&["SERIALIZABLE"], "serializable"),
    ];
    let found = levels.into_iter().find(|(words, _)| cursor.take(words));
    found.map(|(_, level)| level).ok_or_else(|| cursor.syntax_error())
}

fn end(cursor: &mut Cursor<'_>, session: Session) -> Result<Session, Report> {
    cursor.next();
    if !cursor.take(&["TRANSACTION"]) {
        cursor.take(&["WORK"]);
    }
    if cursor.is(&["AND", "CHAIN"]) {
        return Err(Report { position: cursor.here(), ..Report::unsupported("AND CHAIN") });
    }
    cursor.take(&["AND", "NO", "CHAIN"]);
    Ok(session)
}

fn rollback(cursor: &mut Cursor<'_>) -> Result<Session, Report> {
    let rollback = end(cursor, Session::Rollback)?;
    if !cursor.take(&["TO"]) {
        return Ok(rollback);
    }
    cursor.take(&["SAVEPOINT"]);
    Ok(Session::RollbackTo(cursor.identifier()?.name))
}
