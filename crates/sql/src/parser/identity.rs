//! Columns that take numbers: `SERIAL`, `GENERATED ... AS IDENTITY`, and `OVERRIDING ... VALUE`.

use datafusion::sql::sqlparser::ast::{DataType, Statement as SqlStatement};
use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::{Report, SqlState};

use super::cursor::Cursor;
use super::is_word;
use crate::ast::{IdentityDef, IdentityKind};

/// Names of types that take numbers, and what they are.
const SERIALS: [(&[&str], DataType); 3] = [
    (&["SERIAL", "SERIAL4"], DataType::Integer(None)),
    (&["BIGSERIAL", "SERIAL8"], DataType::BigInt(None)),
    (&["SMALLSERIAL", "SERIAL2"], DataType::SmallInt(None)),
];

fn plain(kind: IdentityKind, position: Option<usize>) -> IdentityDef {
    let (start, increment, least, greatest) = (None, None, None, None);
    IdentityDef { kind, start, increment, least, greatest, cycles: false, position }
}

/// The type of a column, and whether it takes numbers.
pub(super) fn column_type(
    cursor: &mut Cursor<'_>,
) -> Result<(DataType, Option<IdentityDef>), Report> {
    let word = cursor.word(0).unwrap_or_default();
    let serial = SERIALS.iter().find(|(names, _)| names.contains(&word.as_str()));
    let Some((_, data_type)) = serial else { return Ok((cursor.data_type()?, None)) };
    let position = cursor.here();
    cursor.next();
    Ok((data_type.clone(), Some(plain(IdentityKind::Serial, position))))
}

/// True if `GENERATED ... AS IDENTITY` comes next.
pub(super) fn is_next(cursor: &Cursor<'_>) -> bool {
    cursor.is(&["GENERATED", "ALWAYS", "AS", "IDENTITY"])
        || cursor.is(&["GENERATED", "BY", "DEFAULT", "AS", "IDENTITY"])
}

/// `GENERATED { ALWAYS | BY DEFAULT } AS IDENTITY [(options)]`
pub(super) fn generated(cursor: &mut Cursor<'_>) -> Result<IdentityDef, Report> {
    let position = cursor.here();
    cursor.expect(&["GENERATED"])?;
    let kind = match cursor.take(&["ALWAYS"]) {
        true => IdentityKind::Always,
        false => {
            cursor.expect(&["BY", "DEFAULT"])?;
            IdentityKind::ByDefault
        }
    };
    cursor.expect(&["AS", "IDENTITY"])?;
    let mut identity = plain(kind, position);
    if cursor.take_token(&Token::LParen) {
        while !cursor.take_token(&Token::RParen) {
            option(cursor, &mut identity)?;
        }
    }
    Ok(identity)
}

fn option(cursor: &mut Cursor<'_>, identity: &mut IdentityDef) -> Result<(), Report> {
    let slot = if cursor.take(&["START"]) {
        cursor.take(&["WITH"]);
        &mut identity.start
    } else if cursor.take(&["INCREMENT"]) {
        cursor.take(&["BY"]);
        &mut identity.increment
    } else if cursor.take(&["MINVALUE"]) {
        &mut identity.least
    } else if cursor.take(&["MAXVALUE"]) {
        &mut identity.greatest
    } else if cursor.take(&["CACHE"]) {
        // Numbers are taken in blocks anyway.
        return number(cursor).map(drop);
    } else if cursor.take(&["NO", "CYCLE"])
        || cursor.take(&["NO", "MINVALUE"])
        || cursor.take(&["NO", "MAXVALUE"])
    {
        return Ok(());
    } else if cursor.take(&["CYCLE"]) {
        identity.cycles = true;
        return Ok(());
    } else {
        return Err(cursor.syntax_error());
    };
    let position = cursor.here();
    if slot.replace(number(cursor)?).is_some() {
        let message = "conflicting or redundant options";
        return Err(Report { position, ..Report::new(SqlState::SYNTAX_ERROR, message) });
    }
    Ok(())
}

fn number(cursor: &mut Cursor<'_>) -> Result<i64, Report> {
    let wrong = cursor.syntax_error();
    let text = cursor.option_value()?;
    text.parse().map_err(|_| wrong)
}

/// An INSERT with `OVERRIDING SYSTEM VALUE`, which sqlparser does not read; None if it is not said.
pub(super) fn overriding(cursor: &mut Cursor<'_>) -> Result<Option<SqlStatement>, Report> {
    let tokens = cursor.rest().to_vec();
    let Some(at) = tokens.iter().position(|token| is_word(&token.token, "OVERRIDING")) else {
        return Ok(None);
    };
    let mut behind = cursor.over(tokens[at..].to_vec());
    if behind.is(&["OVERRIDING", "USER", "VALUE"]) {
        let report = Report::unsupported("OVERRIDING USER VALUE");
        let report = Report { position: behind.here(), ..report };
        return Err(report.hint("Leave the column out: it takes a number then."));
    }
    if !behind.take(&["OVERRIDING", "SYSTEM", "VALUE"]) {
        return Ok(None);
    }
    let mut statement = tokens[..at].to_vec();
    statement.extend_from_slice(behind.rest());
    let statement = cursor.over(statement).statement_to_end()?;
    cursor.skip_to_end();
    Ok(Some(statement))
}
