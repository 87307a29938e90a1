//! `EXPLAIN [ANALYZE] [VERBOSE] statement`, `EXPLAIN (options) statement`, and of a view that is
//! there: `EXPLAIN [ANALYZE] MATERIALIZED VIEW name`

use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::{Report, SqlState};

use super::cursor::Cursor;
use super::statement;
use crate::ast::{Explain, Explained, Statement};

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["EXPLAIN"])?;
    let (mut analyze, mut verbose) = (false, false);
    if *cursor.peek() == Token::LParen && !is_query(cursor) {
        (analyze, verbose) = options(cursor)?;
    } else {
        if cursor.take(&["ANALYZE"]) || cursor.take(&["ANALYSE"]) {
            analyze = true;
        }
        verbose |= cursor.take(&["VERBOSE"]);
    }
    let position = cursor.here();
    if cursor.take(&["MATERIALIZED", "VIEW"]) {
        let inner = Explained::MaterializedView(cursor.object_name()?);
        return Ok(Statement::Explain(Explain { analyze, verbose, inner }));
    }
    let inner = Box::new(statement(cursor)?);
    match *inner {
        Statement::CreateMaterializedView(_) if analyze => {
            let report = Report::unsupported("EXPLAIN ANALYZE of CREATE MATERIALIZED VIEW");
            let report = report.hint("EXPLAIN ANALYZE MATERIALIZED VIEW shows one that runs.");
            Err(Report { position, ..report })
        }
        Statement::Change(_) if !analyze => {
            let report = Report::unsupported(format!("EXPLAIN of {}", inner.tag()));
            let report = report.hint("EXPLAIN ANALYZE runs the statement and shows what it read.");
            Err(Report { position, ..report })
        }
        Statement::Query(_) | Statement::CreateMaterializedView(_) | Statement::Change(_) => {
            let inner = Explained::Statement(inner);
            Ok(Statement::Explain(Explain { analyze, verbose, inner }))
        }
        _ => {
            let message = format!("cannot explain {}", inner.tag());
            let report = Report::new(SqlState::SYNTAX_ERROR, message);
            Err(Report { position, ..report })
        }
    }
}

fn is_query(cursor: &Cursor<'_>) -> bool {
    let word = cursor.word(1).unwrap_or_default();
    matches!(word.as_str(), "SELECT" | "WITH" | "VALUES" | "")
}

/// `(ANALYZE [on | off], VERBOSE ..., FORMAT TEXT, ...)`
fn options(cursor: &mut Cursor<'_>) -> Result<(bool, bool), Report> {
    cursor.expect_token(&Token::LParen)?;
    let (mut analyze, mut verbose) = (false, false);
    loop {
        let position = cursor.here();
        let name = cursor.identifier()?.name;
        let value = match cursor.peek() {
            Token::Comma | Token::RParen => String::new(),
            _ => cursor.next().token.to_string().to_lowercase(),
        };
        let on = !matches!(value.as_str(), "off" | "false" | "0");
        match name.as_str() {
            "analyze" => analyze = on,
            "verbose" => verbose = on,
            "format" if value == "text" => {}
            "costs" | "buffers" | "timing" | "summary" | "settings" | "wal" => {}
            "format" => {
                let what = format!("EXPLAIN in format {}", value.to_uppercase());
                return Err(Report { position, ..Report::unsupported(what) });
            }
            other => {
                let message = format!("unrecognized EXPLAIN option \"{other}\"");
                let report = Report::new(SqlState::SYNTAX_ERROR, message);
                return Err(Report { position, ..report });
            }
        }
        if !cursor.take_token(&Token::Comma) {
            cursor.expect_token(&Token::RParen)?;
            return Ok((analyze, verbose));
        }
    }
}
