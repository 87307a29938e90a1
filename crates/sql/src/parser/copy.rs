//! `COPY table [(columns)] FROM STDIN [WITH (options)]`, and the options as older clients write them.

use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::{Report, SqlState};

use super::cursor::Cursor;
use crate::ast::{Copy, CopyOptions, Statement};

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    let text = cursor.statement_text();
    cursor.expect(&["COPY"])?;
    if *cursor.peek() == Token::LParen {
        return Err(unsupported(cursor, "COPY of a query"));
    }
    let table = cursor.object_name()?;
    let columns = cursor.optional_names()?;
    if cursor.is(&["TO"]) {
        return Err(unsupported(cursor, "COPY TO"));
    }
    cursor.expect(&["FROM"])?;
    if !cursor.take(&["STDIN"]) {
        return Err(unsupported(cursor, "COPY from a file or a program"));
    }
    let given = options(cursor)?;
    let options = settle(&given)?;
    Ok(Statement::Copy(Box::new(Copy { table, columns, options, text })))
}

fn unsupported(cursor: &Cursor<'_>, what: &str) -> Report {
    let report = Report { position: cursor.here(), ..Report::unsupported(what) };
    report.hint("COPY table FROM STDIN is there (\\copy in psql); read with SELECT.")
}

/// Names in upper case with their values; a name alone is true.
fn options(cursor: &mut Cursor<'_>) -> Result<Vec<(String, String)>, Report> {
    let mut found = Vec::new();
    cursor.take(&["WITH"]);
    if cursor.take_token(&Token::LParen) {
        loop {
            let name = cursor.identifier()?.name.to_uppercase();
            let value = match cursor.peek() {
                Token::Comma | Token::RParen => "true".to_owned(),
                _ => cursor.option_value()?,
            };
            found.push((name, value));
            if !cursor.take_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
        return Ok(found);
    }
    while !cursor.at_end() {
        let name = cursor.identifier()?.name.to_uppercase();
        match name.as_str() {
            "CSV" | "BINARY" => found.push(("FORMAT".to_owned(), name.to_lowercase())),
            "HEADER" => found.push((name, "true".to_owned())),
            _ => {
                cursor.take(&["AS"]);
                found.push((name, cursor.option_value()?));
            }
        }
    }
    Ok(found)
}

fn settle(given: &[(String, String)]) -> Result<CopyOptions, Report> {
    let of = |wanted: &str| given.iter().find(|(name, _)| name == wanted).map(|(_, v)| v.as_str());
    let known = ["FORMAT", "DELIMITER", "NULL", "HEADER", "QUOTE", "ESCAPE", "ENCODING"];
    if let Some((name, _)) = given.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        let message = format!("option \"{}\" not recognized", name.to_lowercase());
        return Err(Report::new(SqlState::SYNTAX_ERROR, message));
    }
    let csv = match of("FORMAT").map(str::to_lowercase).as_deref() {
        None | Some("text") => false,
        Some("csv") => true,
        Some("binary") => {
            return Err(Report::unsupported("COPY in binary").hint("Write FORMAT text or csv."));
        }
        Some(other) => {
            let message = format!("COPY format \"{other}\" not recognized");
            return Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, message));
        }
    };
    let byte = |name: &str, default: u8| -> Result<u8, Report> {
        let Some(text) = of(name) else { return Ok(default) };
        let ([byte], true) = (text.as_bytes(), csv || name == "DELIMITER") else {
            let lower = name.to_lowercase();
            let message = format!("COPY {lower} must be a single one-byte character");
            return Err(Report::unsupported(message));
        };
        Ok(*byte)
    };
    let quote = byte("QUOTE", b'"')?;
    let header = of("HEADER").is_some_and(|on| matches!(on, "true" | "on" | "1" | "match"));
    Ok(CopyOptions {
        csv,
        delimiter: byte("DELIMITER", if csv { b',' } else { b'\t' })?,
        null: of("NULL").unwrap_or(if csv { "" } else { "\\N" }).to_owned(),
        header,
        quote,
        escape: byte("ESCAPE", quote)?,
    })
}
