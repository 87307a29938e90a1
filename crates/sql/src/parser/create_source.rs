//! `CREATE SOURCE [IF NOT EXISTS] name (columns, WATERMARK FOR ...) [INCLUDE ...] [WITH (...)]
//! [FORMAT ... ENCODE ...]`

use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::{Report, SqlState};

use super::cursor::Cursor;
use crate::ast::{
    ColumnDef, CreateSource, Feed, Format, IncludeItem, Name, Statement, WatermarkDef,
};
use crate::catalog::IncludeKind;

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["CREATE", "SOURCE"])?;
    let if_not_exists = cursor.take(&["IF", "NOT", "EXISTS"]);
    let mut source = CreateSource {
        name: cursor.object_name()?,
        if_not_exists,
        columns: Vec::new(),
        watermark: None,
        include: Vec::new(),
        options: Vec::new(),
        format: None,
        text: cursor.statement_text(),
    };
    if cursor.take_token(&Token::LParen) {
        elements(cursor, &mut source)?;
    }
    Feed { include: source.include, options: source.options, format: source.format } =
        feed(cursor)?;
    Ok(Statement::CreateSource(Box::new(source)))
}

/// `[INCLUDE ...] [WITH (...)] [FORMAT ... ENCODE ...]`
pub(super) fn feed(cursor: &mut Cursor<'_>) -> Result<Feed, Report> {
    let mut feed = Feed { include: Vec::new(), options: Vec::new(), format: None };
    while cursor.take(&["INCLUDE"]) {
        loop {
            feed.include.push(include(cursor)?);
            if !cursor.take_token(&Token::Comma) {
                break;
            }
        }
    }
    if cursor.take(&["WITH"]) {
        feed.options = cursor.options()?;
    }
    if cursor.is(&["FORMAT"]) {
        feed.format = Some(format(cursor)?);
    }
    Ok(feed)
}

/// What stands between the parentheses, the closing one included.
fn elements(cursor: &mut Cursor<'_>, source: &mut CreateSource) -> Result<(), Report> {
    loop {
        if cursor.is(&["WATERMARK", "FOR"]) {
            let position = cursor.here();
            let watermark = watermark(cursor)?;
            if source.watermark.replace(watermark).is_some() {
                let message = "multiple watermarks for one source are not allowed";
                let report = Report::new(SqlState::INVALID_OBJECT_DEFINITION, message);
                return Err(Report { position, ..report });
            }
        } else if cursor.is(&["PRIMARY", "KEY"]) {
            let report = Report { position: cursor.here(), ..Report::unsupported("PRIMARY KEY") };
            return Err(report.hint("A source has no primary key: its rows are what was sent."));
        } else {
            source.columns.push(column(cursor)?);
        }
        if !cursor.take_token(&Token::Comma) {
            return cursor.expect_token(&Token::RParen);
        }
    }
}

fn watermark(cursor: &mut Cursor<'_>) -> Result<WatermarkDef, Report> {
    cursor.expect(&["WATERMARK", "FOR"])?;
    let column = cursor.identifier()?;
    cursor.expect(&["AS"])?;
    Ok(WatermarkDef { column, expr: cursor.expression()? })
}

fn column(cursor: &mut Cursor<'_>) -> Result<ColumnDef, Report> {
    let name = cursor.identifier()?;
    let type_position = cursor.here();
    let data_type = cursor.data_type()?;
    let mut column = ColumnDef { name, data_type, type_position, not_null: false, computed: None };
    loop {
        if cursor.take(&["NOT", "NULL"]) {
            column.not_null = true;
        } else if cursor.take(&["NULL"]) {
            column.not_null = false;
        } else if column.computed.is_none() && cursor.take(&["AS"]) {
            column.computed = Some(cursor.expression()?);
        } else {
            break;
        }
    }
    for (words, what) in [
        (&["DEFAULT"][..], "DEFAULT"),
        (&["GENERATED"], "GENERATED"),
        (&["PRIMARY", "KEY"], "PRIMARY KEY"),
        (&["UNIQUE"], "UNIQUE"),
        (&["CHECK"], "CHECK"),
        (&["REFERENCES"], "REFERENCES"),
        (&["COLLATE"], "COLLATE"),
    ] {
        if cursor.is(words) {
            let what = format!("{what} on a column of a source");
            let report = Report { position: cursor.here(), ..Report::unsupported(what) };
            return Err(report.hint("A computed column is written: name TYPE AS expression."));
        }
    }
    Ok(column)
}

fn include(cursor: &mut Cursor<'_>) -> Result<IncludeItem, Report> {
    let position = cursor.here();
    let word = cursor.word(0).unwrap_or_default();
    let Some(kind) = IncludeKind::from_word(&word.to_lowercase()) else {
        let report = cursor.syntax_error();
        return Err(
            report.hint("INCLUDE takes partition, offset, timestamp, key, headers and topic.")
        );
    };
    cursor.next();
    let name = match cursor.take(&["AS"]) {
        true => cursor.identifier()?,
        false => Name { name: kind.word().to_owned(), position },
    };
    Ok(IncludeItem { kind, name })
}

pub(super) fn format(cursor: &mut Cursor<'_>) -> Result<Format, Report> {
    let position = cursor.here();
    cursor.expect(&["FORMAT"])?;
    let format = cursor.identifier()?.name.to_uppercase();
    cursor.expect(&["ENCODE"])?;
    let encode = cursor.identifier()?.name.to_uppercase();
    let options = match cursor.peek() {
        Token::LParen => cursor.options()?,
        _ => Vec::new(),
    };
    Ok(Format { format, encode, options, position })
}
