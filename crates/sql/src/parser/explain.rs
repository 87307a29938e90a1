//! `EXPLAIN [ANALYZE] [VERBOSE] statement`, `EXPLAIN (options) statement`, and of a view that is
//! there: `EXPLAIN [ANALYZE] MATERIALIZED VIEW name`

use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::{Report, SqlState};

use super::cursor::Cursor;
use super::statement;
use crate::ast::{Explain, Explained, Statement};

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["EXPLAIN"])?;
    let mut options = Options::default();
    if *cursor.peek() == Token::LParen && !is_query(cursor) {
        options = read_options(cursor)?;
    } else {
        options.analyze = cursor.take(&["ANALYZE"]) || cursor.take(&["ANALYSE"]);
        options.verbose = cursor.take(&["VERBOSE"]);
    }
    let Options { analyze, verbose, json } = options;
    let position = cursor.here();
    if cursor.take(&["MATERIALIZED", "VIEW"]) {
        let inner = Explained::MaterializedView(cursor.object_name()?);
        return Ok(Statement::Explain(Explain { analyze, verbose, json, inner }));
    }
    let inner = Box::new(statement(cursor)?);
    match *inner {
        Statement::CreateMaterializedView(_) if analyze => {
            let report = Report::unsupported("EXPLAIN ANALYZE of CREATE MATERIALIZED VIEW");
            let report = report.hint("EXPLAIN ANALYZE MATERIALIZED VIEW shows one that runs.");
            Err(Report { position, ..report })
        }
        Statement::Query(_) | Statement::CreateMaterializedView(_) | Statement::Change(_) => {
            let inner = Explained::Statement(inner);
            Ok(Statement::Explain(Explain { analyze, verbose, json, inner }))
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

#[derive(Clone, Copy, Default)]
struct Options {
    analyze: bool,
    verbose: bool,
    json: bool,
}

/// `(ANALYZE [on | off], VERBOSE ..., FORMAT TEXT | JSON, ...)`
fn read_options(cursor: &mut Cursor<'_>) -> Result<Options, Report> {
    cursor.expect_token(&Token::LParen)?;
    let mut options = Options::default();
    loop {
        let position = cursor.here();
        let name = cursor.identifier()?.name;
        let value = match cursor.peek() {
            Token::Comma | Token::RParen => String::new(),
            _ => cursor.next().token.to_string().to_lowercase(),
        };
        let on = !matches!(value.as_str(), "off" | "false" | "0");
        match name.as_str() {
            "analyze" => options.analyze = on,
            "verbose" => options.verbose = on,
            "format" if value == "text" => options.json = false,
            "format" if value == "json" => options.json = true,
            "costs" | "buffers" | "timing" | "summary" | "settings" | "wal" => {}
            "format" => {
                let what = format!("EXPLAIN in format {}", value.to_uppercase());
                let report = Report::unsupported(what).hint("FORMAT is TEXT or JSON.");
                return Err(Report { position, ..report });
            }
            other => {
                let message = format!("unrecognized EXPLAIN option \"{other}\"");
                let report = Report::new(SqlState::SYNTAX_ERROR, message);
                return Err(Report { position, ..report });
            }
        }
        if !cursor.take_token(&Token::Comma) {
            cursor.expect_token(&Token::RParen)?;
            return Ok(options);
        }
    }
}
