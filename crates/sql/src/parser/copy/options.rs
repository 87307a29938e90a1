//! The options of COPY: `WITH (name value, ...)`, and as PostgreSQL before 9.0 wrote them.
//!
//! What contradicts itself is refused here, with PostgreSQL's words; columns that options name are
//! looked up where the columns are known.

use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::{Report, SqlState};

use super::super::cursor::Cursor;
use crate::ast::{CopyColumns, CopyFormat, CopyHeader, CopyOptions};

/// Where the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    From,
    To,
}

/// An option as it was given.
struct Given {
    /// In upper case.
    name: String,
    value: Value,
    position: Option<usize>,
}

enum Value {
    /// Only the name was there.
    Alone,
    Text(String),
    Columns(CopyColumns),
}

/// The options up to the end of the statement, or to WHERE.
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    direction: Direction,
    binary: bool,
) -> Result<CopyOptions, Report> {
    let mut given = Vec::new();
    if binary {
        given.push(of("FORMAT", Value::Text("binary".to_owned()), None));
    }
    cursor.take(&["WITH"]);
    if cursor.take_token(&Token::LParen) {
        listed(cursor, &mut given)?;
    } else {
        old(cursor, &mut given)?;
    }
    settle(&Options { given, direction })
}

fn of(name: &str, value: Value, position: Option<usize>) -> Given {
    Given { name: name.to_owned(), value, position }
}

/// `name [value], ... )`
fn listed(cursor: &mut Cursor<'_>, given: &mut Vec<Given>) -> Result<(), Report> {
    loop {
        let position = cursor.here();
        let name = cursor.identifier()?.name.to_uppercase();
        let value = match cursor.peek() {
            Token::Comma | Token::RParen => Value::Alone,
            Token::LParen => Value::Columns(CopyColumns::Listed(cursor.optional_names()?)),
            Token::Mul => all(cursor),
            _ => Value::Text(cursor.option_value()?),
        };
        given.push(Given { name, value, position });
        if !cursor.take_token(&Token::Comma) {
            return cursor.expect_token(&Token::RParen);
        }
    }
}

fn all(cursor: &mut Cursor<'_>) -> Value {
    cursor.next();
    Value::Columns(CopyColumns::All)
}

/// `CSV HEADER DELIMITER AS ';' FORCE QUOTE a, b`
fn old(cursor: &mut Cursor<'_>, given: &mut Vec<Given>) -> Result<(), Report> {
    while !cursor.at_end() && !cursor.is(&["WHERE"]) {
        let position = cursor.here();
        let name = cursor.identifier()?.name.to_uppercase();
        let (name, value) = match name.as_str() {
            "CSV" | "BINARY" => ("FORMAT".to_owned(), Value::Text(name.to_lowercase())),
            "HEADER" | "FREEZE" => (name, Value::Alone),
            "DELIMITERS" => ("DELIMITER".to_owned(), text(cursor)?),
            "FORCE" => {
                let forced = [
                    (["NOT", "NULL"].as_slice(), "FORCE_NOT_NULL"),
                    (&["QUOTE"], "FORCE_QUOTE"),
                    (&["NULL"], "FORCE_NULL"),
                ];
                let found = forced.into_iter().find(|(words, _)| cursor.take(words));
                let (_, name) = found.ok_or_else(|| cursor.syntax_error())?;
                (name.to_owned(), names(cursor)?)
            }
            _ => (name, text(cursor)?),
        };
        given.push(Given { name, value, position });
    }
    Ok(())
}

fn text(cursor: &mut Cursor<'_>) -> Result<Value, Report> {
    cursor.take(&["AS"]);
    cursor.option_value().map(Value::Text)
}

/// `a, b` or `*`
fn names(cursor: &mut Cursor<'_>) -> Result<Value, Report> {
    if *cursor.peek() == Token::Mul {
        return Ok(all(cursor));
    }
    let mut names = vec![cursor.identifier()?];
    while cursor.take_token(&Token::Comma) {
        names.push(cursor.identifier()?);
    }
    Ok(Value::Columns(CopyColumns::Listed(names)))
}

struct Options {
    given: Vec<Given>,
    direction: Direction,
}

const KNOWN: [&str; 11] = [
    "FORMAT",
    "FREEZE",
    "DELIMITER",
    "NULL",
    "HEADER",
    "QUOTE",
    "ESCAPE",
    "FORCE_QUOTE",
    "FORCE_NOT_NULL",
    "FORCE_NULL",
    "ENCODING",
];

impl Options {
    fn find(&self, name: &str) -> Option<&Given> {
        self.given.iter().find(|given| given.name == name)
    }

    /// An option that is a text.
    fn text(&self, name: &str) -> Result<Option<&str>, Report> {
        match self.find(name) {
            None => Ok(None),
            Some(Given { value: Value::Text(text), .. }) => Ok(Some(text)),
            Some(given) => {
                let message = format!("{} requires a parameter", name.to_lowercase());
                Err(positioned(Report::new(SqlState::SYNTAX_ERROR, message), given))
            }
        }
    }

    /// An option that is one byte, of CSV alone or of text, too.
    fn byte(&self, name: &str) -> Result<Option<u8>, Report> {
        match self.text(name)?.map(str::as_bytes) {
            None => Ok(None),
            Some([byte]) => Ok(Some(*byte)),
            Some(_) => {
                let lower = name.to_lowercase();
                let message = format!("COPY {lower} must be a single one-byte character");
                Err(Report::new(SqlState::FEATURE_NOT_SUPPORTED, message))
            }
        }
    }

    fn columns(&self, name: &str) -> Result<CopyColumns, Report> {
        match self.find(name).map(|given| (given, &given.value)) {
            None => Ok(CopyColumns::Listed(Vec::new())),
            Some((_, Value::Columns(columns))) => Ok(columns.clone()),
            Some((given, _)) => {
                let message = format!(
                    "argument to option \"{}\" must be a list of column names",
                    lower(name)
                );
                Err(positioned(Report::new(SqlState::INVALID_PARAMETER_VALUE, message), given))
            }
        }
    }

    fn header(&self) -> Result<CopyHeader, Report> {
        let Some(given) = self.find("HEADER") else { return Ok(CopyHeader::Absent) };
        let word = match &given.value {
            Value::Alone => return Ok(CopyHeader::Present),
            Value::Text(word) => word.to_lowercase(),
            Value::Columns(_) => String::new(),
        };
        match word.as_str() {
            "true" | "on" | "1" => Ok(CopyHeader::Present),
            "false" | "off" | "0" => Ok(CopyHeader::Absent),
            "match" if self.direction == Direction::From => Ok(CopyHeader::Match),
            "match" => Err(Report::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "cannot use \"match\" with HEADER in COPY TO",
            )),
            _ => {
                let message = "header requires a Boolean value or \"match\"";
                Err(positioned(Report::new(SqlState::SYNTAX_ERROR, message), given))
            }
        }
    }

    fn format(&self) -> Result<CopyFormat, Report> {
        let format = self.text("FORMAT")?.unwrap_or("text").to_lowercase();
        match format.as_str() {
            "text" => Ok(CopyFormat::Text),
            "csv" => Ok(CopyFormat::Csv),
            "binary" => Ok(CopyFormat::Binary),
            _ => {
                let message = format!("COPY format \"{format}\" not recognized");
                let report = Report::new(SqlState::INVALID_PARAMETER_VALUE, message);
                Err(self.find("FORMAT").map_or(report.clone(), |given| positioned(report, given)))
            }
        }
    }

    /// Unknown options, and those that are given twice.
    fn check_names(&self) -> Result<(), Report> {
        for (at, given) in self.given.iter().enumerate() {
            let message = if !KNOWN.contains(&given.name.as_str()) {
                format!("option \"{}\" not recognized", lower(&given.name))
            } else if self.given[..at].iter().any(|before| before.name == given.name) {
                "conflicting or redundant options".to_owned()
            } else {
                continue;
            };
            return Err(positioned(Report::new(SqlState::SYNTAX_ERROR, message), given));
        }
        Ok(())
    }

    /// Options that the format or the direction does not have.
    fn check_format(&self, format: CopyFormat) -> Result<(), Report> {
        let unsupported = |message: String| Report::new(SqlState::FEATURE_NOT_SUPPORTED, message);
        if format == CopyFormat::Binary {
            for name in ["DELIMITER", "NULL"] {
                if self.find(name).is_some() {
                    let message = format!("cannot specify {name} in BINARY mode");
                    return Err(Report::new(SqlState::SYNTAX_ERROR, message));
                }
            }
            if self.header()? != CopyHeader::Absent {
                return Err(unsupported("cannot specify HEADER in BINARY mode".to_owned()));
            }
        }
        for name in ["QUOTE", "ESCAPE", "FORCE_QUOTE", "FORCE_NOT_NULL", "FORCE_NULL"] {
            if format != CopyFormat::Csv && self.find(name).is_some() {
                let words = lower(name).replace('_', " ");
                return Err(unsupported(format!("COPY {words} available only in CSV mode")));
            }
        }
        for (name, direction, word) in [
            ("FORCE_QUOTE", Direction::To, "TO"),
            ("FORCE_NOT_NULL", Direction::From, "FROM"),
            ("FORCE_NULL", Direction::From, "FROM"),
        ] {
            if self.direction != direction && self.find(name).is_some() {
                let words = lower(name).replace('_', " ");
                let message = format!("COPY {words} only available using COPY {word}");
                return Err(unsupported(message));
            }
        }
        match self.text("ENCODING")? {
            Some(name) if !matches!(name.to_lowercase().as_str(), "utf8" | "utf-8" | "unicode") => {
                Err(Report::unsupported(format!("the encoding {name}"))
                    .hint("Data is in UTF8, as all text is."))
            }
            _ => Ok(()),
        }
    }
}

fn settle(options: &Options) -> Result<CopyOptions, Report> {
    options.check_names()?;
    let format = options.format()?;
    options.check_format(format)?;
    let csv = format == CopyFormat::Csv;
    let quote = options.byte("QUOTE")?.unwrap_or(b'"');
    let settled = CopyOptions {
        format,
        delimiter: options.byte("DELIMITER")?.unwrap_or(if csv { b',' } else { b'\t' }),
        null: options.text("NULL")?.unwrap_or(if csv { "" } else { "\\N" }).to_owned(),
        header: options.header()?,
        quote,
        escape: options.byte("ESCAPE")?.unwrap_or(quote),
        force_quote: options.columns("FORCE_QUOTE")?,
        force_null: options.columns("FORCE_NULL")?,
        force_not_null: options.columns("FORCE_NOT_NULL")?,
    };
    match format {
        CopyFormat::Binary => {}
        CopyFormat::Text | CopyFormat::Csv => check_characters(&settled)?,
    }
    Ok(settled)
}

/// Characters that would stand for two things.
fn check_characters(options: &CopyOptions) -> Result<(), Report> {
    let invalid = |message: String| Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, message));
    let unsupported = |message: &str| Err(Report::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    let CopyOptions { delimiter, quote, ref null, .. } = *options;
    if matches!(delimiter, b'\n' | b'\r') {
        return invalid("COPY delimiter cannot be newline or carriage return".to_owned());
    }
    if null.contains(['\n', '\r']) {
        return invalid(
            "COPY null representation cannot use newline or carriage return".to_owned(),
        );
    }
    if options.format == CopyFormat::Text
        && (matches!(delimiter, b'\\' | b'.')
            || delimiter.is_ascii_lowercase()
            || delimiter.is_ascii_digit())
    {
        return invalid(format!("COPY delimiter cannot be \"{}\"", char::from(delimiter)));
    }
    if options.format == CopyFormat::Csv && delimiter == quote {
        return invalid("COPY delimiter and quote must be different".to_owned());
    }
    if null.as_bytes().contains(&delimiter) {
        return unsupported("COPY delimiter must not appear in the NULL specification");
    }
    if options.format == CopyFormat::Csv && null.as_bytes().contains(&quote) {
        return unsupported("CSV quote character must not appear in the NULL specification");
    }
    Ok(())
}

fn lower(name: &str) -> String {
    name.to_lowercase()
}

fn positioned(report: Report, given: &Given) -> Report {
    Report { position: given.position, ..report }
}
