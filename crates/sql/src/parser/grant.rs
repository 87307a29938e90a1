//! `GRANT`, `REVOKE`, `ALTER DEFAULT PRIVILEGES`.

use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::{Report, SqlState};

use super::cursor::Cursor;
use super::role::{access, names, role_names};
use crate::ast::{Access, Grant, GrantedOn, Name, ObjectKind, RoleName, Statement, Targets};
use crate::catalog::{Privilege, Privileges};

/// Kinds as they are named, one and many.
const KINDS: [(&str, &str, ObjectKind); 5] = [
    ("TABLE", "TABLES", ObjectKind::Table),
    ("SOURCE", "SOURCES", ObjectKind::Source),
    ("SINK", "SINKS", ObjectKind::Sink),
    ("VIEW", "VIEWS", ObjectKind::View),
    ("MATERIALIZED VIEW", "MATERIALIZED VIEWS", ObjectKind::MaterializedView),
];

/// What PostgreSQL grants and nothing here could be kept from.
const OTHERS: [&str; 10] = [
    "TRUNCATE",
    "REFERENCES",
    "TRIGGER",
    "MAINTAIN",
    "EXECUTE",
    "CONNECT",
    "TEMPORARY",
    "TEMP",
    "SET",
    "ALTER",
];

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    let revokes = cursor.word(0).as_deref() == Some("REVOKE");
    cursor.next();
    let admin_option = revokes && cursor.take(&["ADMIN", "OPTION", "FOR"]);
    if cursor.is(&["GRANT", "OPTION", "FOR"]) {
        return unsupported(cursor, "GRANT OPTION FOR", ALONE);
    }
    match has_on(cursor) && !admin_option {
        true => privileges(cursor, revokes, None),
        false => membership(cursor, revokes, admin_option),
    }
}

const ALONE: &str = "Only the owner of an object grants rights on it.";

/// `ALTER DEFAULT PRIVILEGES [FOR ROLE role, ...] [IN SCHEMA public] GRANT ... ON TABLES TO ...`
pub(super) fn defaults(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["ALTER", "DEFAULT", "PRIVILEGES"])?;
    let mut roles = Vec::new();
    if cursor.take(&["FOR"]) {
        if !cursor.take(&["ROLE"]) {
            cursor.expect(&["USER"])?;
        }
        roles = role_names(cursor)?;
    }
    if cursor.take(&["IN", "SCHEMA"]) {
        schema(cursor)?;
    }
    let revokes = cursor.is(&["REVOKE"]);
    if !revokes && !cursor.is(&["GRANT"]) {
        return Err(cursor.syntax_error());
    }
    cursor.next();
    if cursor.is(&["GRANT", "OPTION", "FOR"]) {
        return unsupported(cursor, "GRANT OPTION FOR", ALONE);
    }
    privileges(cursor, revokes, Some(roles))
}

fn unsupported<T>(cursor: &Cursor<'_>, what: &str, hint: &str) -> Result<T, Report> {
    let report = Report { position: cursor.here(), ..Report::unsupported(what) };
    Err(report.hint(hint))
}

/// True if `ON` comes before `TO` or `FROM`: privileges are granted, not roles.
fn has_on(cursor: &Cursor<'_>) -> bool {
    let is = |token: &Token, word: &str| super::is_word(token, word);
    let ends = |token: &&Token| ["ON", "TO", "FROM"].iter().any(|word| is(token, word));
    let mut rest = cursor.rest().iter().map(|token| &token.token);
    rest.find(ends).is_some_and(|token| is(token, "ON"))
}

/// `role, ... TO | FROM role, ...`
fn membership(
    cursor: &mut Cursor<'_>,
    revokes: bool,
    admin_option: bool,
) -> Result<Statement, Report> {
    let groups = names(cursor)?;
    cursor.expect(&[if revokes { "FROM" } else { "TO" }])?;
    let members = grantees(cursor)?;
    let mut admin = admin_option;
    if !revokes && cursor.take(&["WITH"]) {
        if cursor.is(&["INHERIT"]) || cursor.is(&["SET"]) {
            let hint = "ALTER ROLE name NOINHERIT says so for all that a role is a member of.";
            return unsupported(cursor, "this option of a membership", hint);
        }
        cursor.expect(&["ADMIN"])?;
        admin = !cursor.take(&["FALSE"]);
        if !cursor.take(&["OPTION"]) {
            cursor.take(&["TRUE"]);
        }
    }
    tail(cursor, revokes)?;
    Ok(access(Access::Membership { groups, members, admin, revokes }))
}

/// `privileges ON ... TO | FROM ...`
fn privileges(
    cursor: &mut Cursor<'_>,
    revokes: bool,
    future: Option<Vec<RoleName>>,
) -> Result<Statement, Report> {
    let listed = listed(cursor)?;
    cursor.expect(&["ON"])?;
    let on = match future {
        Some(roles) => {
            cursor.expect(&["TABLES"])?;
            GrantedOn::Future(roles)
        }
        None => granted_on(cursor)?,
    };
    let privileges = match listed {
        Listed::All => None,
        Listed::Some(all) => Some(check(all, &on)?),
    };
    cursor.expect(&[if revokes { "FROM" } else { "TO" }])?;
    let grantees = grantees(cursor)?;
    if !revokes && cursor.is(&["WITH", "GRANT", "OPTION"]) {
        return unsupported(cursor, "WITH GRANT OPTION", ALONE);
    }
    tail(cursor, revokes)?;
    Ok(access(Access::Grant(Grant { revokes, privileges, on, grantees })))
}

fn grantees(cursor: &mut Cursor<'_>) -> Result<Vec<RoleName>, Report> {
    role_names(cursor)
}

/// What follows the names of roles.
fn tail(cursor: &mut Cursor<'_>, revokes: bool) -> Result<(), Report> {
    if cursor.is(&["GRANTED", "BY"]) {
        return unsupported(cursor, "GRANTED BY", ALONE);
    }
    if revokes && !cursor.take(&["CASCADE"]) {
        cursor.take(&["RESTRICT"]);
    }
    Ok(())
}

/// Privileges as they are written: a word and where it stands.
enum Listed {
    All,
    Some(Vec<Name>),
}

fn listed(cursor: &mut Cursor<'_>) -> Result<Listed, Report> {
    if cursor.take(&["ALL"]) {
        cursor.take(&["PRIVILEGES"]);
        no_columns(cursor)?;
        return Ok(Listed::All);
    }
    let mut all = Vec::new();
    loop {
        let position = cursor.here();
        let Some(name) = cursor.word(0) else { return Err(cursor.syntax_error()) };
        cursor.next();
        all.push(Name { name, position });
        no_columns(cursor)?;
        if !cursor.take_token(&Token::Comma) {
            return Ok(Listed::Some(all));
        }
    }
}

fn no_columns(cursor: &Cursor<'_>) -> Result<(), Report> {
    match cursor.peek() {
        Token::LParen => {
            unsupported(cursor, "rights on columns", "A view shows some columns of a table.")
        }
        _ => Ok(()),
    }
}

/// The privileges of words, all of which must be such that there are on what they are granted on.
fn check(words: Vec<Name>, on: &GrantedOn) -> Result<Vec<Privilege>, Report> {
    let possible = on.all();
    let one = |word: Name| {
        let at = |report: Report| Report { position: word.position, ..report };
        let known = Privilege::ALL.into_iter().find(|one| one.word() == word.name);
        let temporary = matches!(word.name.as_str(), "TEMPORARY" | "TEMP" | "CONNECT");
        match known {
            Some(privilege) if possible.has(privilege) => Ok(Some(privilege)),
            None if temporary && *on == GrantedOn::Database => Ok(None),
            Some(_) => Err(at(wrong(&word.name, possible))),
            None if OTHERS.contains(&word.name.as_str()) => {
                let report = Report::unsupported(format!("the privilege {}", word.name));
                Err(at(report.hint(hint(possible))))
            }
            None => {
                let message =
                    format!("unrecognized privilege type \"{}\"", word.name.to_lowercase());
                Err(at(Report::new(SqlState::SYNTAX_ERROR, message)))
            }
        }
    };
    let found = words.into_iter().map(one).collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

fn wrong(word: &str, possible: Privileges) -> Report {
    let message = format!("invalid privilege type {word} for this kind of object");
    Report::new(SqlState::INVALID_GRANT_OPERATION, message).hint(hint(possible))
}

fn hint(possible: Privileges) -> String {
    let words = Privilege::ALL.into_iter().filter(|one| possible.has(*one)).map(Privilege::word);
    format!("Privileges there are {}.", words.collect::<Vec<_>>().join(", "))
}

fn granted_on(cursor: &mut Cursor<'_>) -> Result<GrantedOn, Report> {
    if cursor.take(&["SECRET"]) {
        let mut all = vec![cursor.object_name()?];
        while cursor.take_token(&Token::Comma) {
            all.push(cursor.object_name()?);
        }
        return Ok(GrantedOn::Secrets(all));
    }
    if cursor.take(&["SCHEMA"]) {
        schema(cursor)?;
        return Ok(GrantedOn::Schema);
    }
    if cursor.take(&["DATABASE"]) {
        cursor.identifier()?;
        return Ok(GrantedOn::Database);
    }
    let others = ["SEQUENCE", "FUNCTION", "ROUTINE", "PROCEDURE", "LANGUAGE", "TYPE", "DOMAIN"];
    if cursor.word(0).is_some_and(|word| others.contains(&word.as_str())) {
        return unsupported(cursor, "GRANT on this kind of object", "There is none of them.");
    }
    for (one, all, kind) in KINDS {
        let (one, all): (Vec<&str>, Vec<&str>) =
            (one.split(' ').collect(), all.split(' ').collect());
        let every: Vec<&str> = std::iter::once("ALL").chain(all).chain(["IN", "SCHEMA"]).collect();
        if cursor.take(&every) {
            schema(cursor)?;
            return Ok(GrantedOn::Relations(Targets::All(kind)));
        }
        if cursor.take(&one) {
            return Ok(GrantedOn::Relations(Targets::Named(kind, relations(cursor)?)));
        }
    }
    Ok(GrantedOn::Relations(Targets::Named(ObjectKind::Table, relations(cursor)?)))
}

fn relations(cursor: &mut Cursor<'_>) -> Result<Vec<Name>, Report> {
    let mut names = vec![cursor.object_name()?];
    while cursor.take_token(&Token::Comma) {
        names.push(cursor.object_name()?);
    }
    Ok(names)
}

/// The one schema.
fn schema(cursor: &mut Cursor<'_>) -> Result<(), Report> {
    let name = cursor.identifier()?;
    if name.name == crate::names::SCHEMA {
        return Ok(());
    }
    let message = format!("schema \"{}\" does not exist", name.name);
    let report = Report::new(SqlState::INVALID_SCHEMA_NAME, message);
    Err(Report { position: name.position, ..report.hint("There is one schema, public.") })
}
