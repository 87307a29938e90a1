//! Cursors: `DECLARE name CURSOR FOR`, `FETCH`, `MOVE`. They go forward only.

use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::{Report, SqlState};

use super::cursor::Cursor;
use super::subscribe::{number, subscribe};
use crate::ast::{CursorRows, DeclareCursor, Fetch, Statement};
use crate::binder::unknown_option;

/// `DECLARE name [BINARY] [[IN|A]SENSITIVE] [NO SCROLL] CURSOR [WITH | WITHOUT HOLD] FOR query | SUBSCRIBE ...`
pub(super) fn declare(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["DECLARE"])?;
    let name = cursor.identifier()?;
    while !cursor.take(&["CURSOR"]) {
        for (word, instead) in [
            ("BINARY", "The extended protocol gives values in binary."),
            ("SCROLL", "A cursor only goes forward: leave SCROLL out."),
        ] {
            if cursor.is(&[word]) {
                let report = Report::unsupported(format!("a cursor with {word}"));
                return Err(Report { position: cursor.here(), ..report }.hint(instead));
            }
        }
        let known = cursor.take(&["NO", "SCROLL"])
            || cursor.take(&["INSENSITIVE"])
            || cursor.take(&["ASENSITIVE"]);
        if !known {
            return Err(cursor.syntax_error());
        }
    }
    let hold = cursor.take(&["WITH", "HOLD"]);
    if !hold {
        cursor.take(&["WITHOUT", "HOLD"]);
    }
    cursor.expect(&["FOR"])?;
    let rows = if cursor.word(0).as_deref() == Some("SUBSCRIBE") {
        CursorRows::Subscribe(subscribe(cursor)?)
    } else {
        let text = cursor.rest_text();
        CursorRows::Query(cursor.query_to_end()?, text)
    };
    Ok(Statement::Declare(Box::new(DeclareCursor { name, hold, rows })))
}

/// `FETCH [FORWARD] [NEXT | n | ALL] [FROM | IN] name [WITH (timeout = '1s')]`, and `MOVE`
pub(super) fn fetch(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    let passes_over = cursor.take(&["MOVE"]);
    if !passes_over {
        cursor.expect(&["FETCH"])?;
    }
    for word in ["PRIOR", "FIRST", "LAST", "ABSOLUTE", "RELATIVE", "BACKWARD"] {
        if cursor.is(&[word]) {
            let message = "cursor can only scan forward";
            let report = Report::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message);
            let report = Report { position: cursor.here(), ..report };
            return Err(report.hint("FETCH n and FETCH ALL give the rows that come."));
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
    let mut fetch = Fetch { name, count, passes_over, timeout: None };
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
