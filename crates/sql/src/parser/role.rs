//! `CREATE | ALTER | DROP USER | ROLE | GROUP`, `ALTER ... OWNER TO`, `REASSIGN OWNED`.

use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::{Concealed, Report, SqlState};

use super::cursor::Cursor;
use crate::ast::{Access, AlterRole, Name, ObjectKind, RoleName, RoleOptions, Statement};

/// What a role is called in statements.
const WORDS: [&str; 3] = ["USER", "ROLE", "GROUP"];

/// True if the statement's first word is followed by one for a role.
pub(super) fn is_next(cursor: &Cursor<'_>) -> bool {
    cursor.word(1).is_some_and(|word| WORDS.contains(&word.as_str()))
}

pub(super) fn create(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["CREATE"])?;
    let is_user = cursor.is(&["USER"]);
    cursor.next();
    let if_not_exists = cursor.take(&["IF", "NOT", "EXISTS"]);
    let name = cursor.identifier()?;
    let mut options = RoleOptions { login: is_user.then_some(true), ..RoleOptions::default() };
    role_options(cursor, &mut options, true)?;
    Ok(access(Access::CreateRole { name, if_not_exists, options }))
}

/// `ALTER ...`; None if it is of another kind.
pub(super) fn alter(cursor: &mut Cursor<'_>) -> Result<Option<Statement>, Report> {
    if is_next(cursor) {
        return alter_role(cursor).map(Some);
    }
    let kinds = [
        ObjectKind::Source,
        ObjectKind::Table,
        ObjectKind::View,
        ObjectKind::MaterializedView,
        ObjectKind::Index,
        ObjectKind::Sink,
    ];
    let words = |kind: ObjectKind| {
        std::iter::once("ALTER").chain(kind.sql().split(' ')).collect::<Vec<_>>()
    };
    let Some(kind) = kinds.into_iter().find(|kind| cursor.is(&words(*kind))) else {
        return Ok(None);
    };
    // Other changes of objects are told what to do instead.
    let length = words(kind).len();
    let is = |n: usize, word: &str| cursor.word(n).as_deref() == Some(word);
    let named = (length..length + 8).any(|n| is(n, "OWNER") && is(n + 1, "TO"));
    if !named {
        return Ok(None);
    }
    cursor.take(&words(kind));
    let if_exists = cursor.take(&["IF", "EXISTS"]);
    let name = cursor.object_name()?;
    cursor.expect(&["OWNER", "TO"])?;
    let to = role_name(cursor)?;
    Ok(Some(access(Access::Owner { kind, name, to, if_exists })))
}

fn alter_role(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["ALTER"])?;
    cursor.next();
    let unsupported = |cursor: &Cursor<'_>, what: &str, hint: &str| {
        let report = Report { position: cursor.here(), ..Report::unsupported(what) };
        Err(report.hint(hint))
    };
    let role = role_name(cursor)?;
    if cursor.take(&["RENAME", "TO"]) {
        let name = cursor.identifier()?;
        return Ok(access(Access::AlterRole(role, AlterRole::Rename(name))));
    }
    if cursor.is(&["SET"]) || cursor.is(&["RESET"]) || cursor.is(&["IN", "DATABASE"]) {
        let what = "settings of a role";
        return unsupported(cursor, what, "Clients can say SET when they connect.");
    }
    if cursor.is(&["ADD", "USER"]) || cursor.is(&["DROP", "USER"]) {
        return unsupported(cursor, "ALTER GROUP", "Write GRANT group TO user.");
    }
    let mut options = RoleOptions::default();
    role_options(cursor, &mut options, false)?;
    Ok(access(Access::AlterRole(role, AlterRole::Options(options))))
}

pub(super) fn drop(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["DROP"])?;
    cursor.next();
    let if_exists = cursor.take(&["IF", "EXISTS"]);
    let names = names(cursor)?;
    Ok(access(Access::DropRole { names, if_exists }))
}

/// `REASSIGN OWNED BY role, ... TO role`
pub(super) fn reassign(cursor: &mut Cursor<'_>) -> Result<Statement, Report> {
    cursor.expect(&["REASSIGN", "OWNED", "BY"])?;
    let from = role_names(cursor)?;
    cursor.expect(&["TO"])?;
    Ok(access(Access::Reassign(from, role_name(cursor)?)))
}

pub(super) fn access(access: Access) -> Statement {
    Statement::Access(Box::new(access))
}

/// Names with commas between them.
pub(super) fn names(cursor: &mut Cursor<'_>) -> Result<Vec<Name>, Report> {
    let mut names = vec![cursor.identifier()?];
    while cursor.take_token(&Token::Comma) {
        names.push(cursor.identifier()?);
    }
    Ok(names)
}

/// A role by its name, or by a word that stands for one.
pub(super) fn role_name(cursor: &mut Cursor<'_>) -> Result<RoleName, Report> {
    cursor.take(&["GROUP"]);
    let words = [
        ("CURRENT_USER", RoleName::Current),
        ("CURRENT_ROLE", RoleName::Current),
        ("SESSION_USER", RoleName::Session),
        ("PUBLIC", RoleName::Public),
    ];
    for (word, role) in words {
        if cursor.take(&[word]) {
            return Ok(role);
        }
    }
    Ok(RoleName::Named(cursor.identifier()?))
}

/// Roles with commas between them.
pub(super) fn role_names(cursor: &mut Cursor<'_>) -> Result<Vec<RoleName>, Report> {
    let mut names = vec![role_name(cursor)?];
    while cursor.take_token(&Token::Comma) {
        names.push(role_name(cursor)?);
    }
    Ok(names)
}

fn role_options(
    cursor: &mut Cursor<'_>,
    options: &mut RoleOptions,
    creates: bool,
) -> Result<(), Report> {
    cursor.take(&["WITH"]);
    while !cursor.at_end() {
        let position = cursor.here();
        let Some(word) = cursor.word(0) else { return Err(cursor.syntax_error()) };
        let (bare, wanted) = match word.strip_prefix("NO") {
            Some(bare) => (bare.to_owned(), false),
            None => (word.clone(), true),
        };
        let flag = match bare.as_str() {
            "SUPERUSER" => Some(&mut options.superuser),
            "CREATEROLE" | "CREATEUSER" => Some(&mut options.creates_roles),
            "INHERIT" => Some(&mut options.inherits),
            "LOGIN" => Some(&mut options.login),
            _ => None,
        };
        if let Some(flag) = flag {
            cursor.next();
            *flag = Some(wanted);
        } else if matches!(bare.as_str(), "CREATEDB" | "REPLICATION" | "BYPASSRLS") {
            // Without them nothing is lost; with them something would be promised.
            if wanted && bare != "CREATEDB" {
                let report = Report::unsupported(format!("the attribute {bare} of a role"));
                let hint = "SUPERUSER, CREATEROLE, INHERIT and LOGIN are there.";
                return Err(Report { position, ..report.hint(hint) });
            }
            cursor.next();
        } else {
            valued_option(cursor, &word, options, creates)?;
        }
    }
    Ok(())
}

/// An option that has a value.
fn valued_option(
    cursor: &mut Cursor<'_>,
    word: &str,
    options: &mut RoleOptions,
    creates: bool,
) -> Result<(), Report> {
    match word {
        "CONNECTION" => {
            cursor.expect(&["CONNECTION", "LIMIT"])?;
            options.connections = Some(limit(cursor)?);
        }
        "VALID" => {
            cursor.expect(&["VALID", "UNTIL"])?;
            let position = cursor.here();
            options.valid_until = Some((text(cursor)?, position));
        }
        "ENCRYPTED" | "PASSWORD" => {
            cursor.take(&["ENCRYPTED"]);
            cursor.expect(&["PASSWORD"])?;
            options.password = Some(match cursor.take(&["NULL"]) {
                true => None,
                false => Some(Concealed::new(text(cursor)?)),
            });
        }
        "UNENCRYPTED" => {
            let report = Report::unsupported("UNENCRYPTED PASSWORD");
            let report = report.hint("Write PASSWORD: what is stored only proves the password.");
            return Err(Report { position: cursor.here(), ..report });
        }
        "IN" if creates => {
            cursor.next();
            if !cursor.take(&["ROLE"]) {
                cursor.expect(&["GROUP"])?;
            }
            options.in_roles.extend(names(cursor)?);
        }
        "ROLE" | "USER" if creates => {
            cursor.next();
            options.members.extend(names(cursor)?);
        }
        "ADMIN" if creates => {
            cursor.next();
            options.admins.extend(names(cursor)?);
        }
        "SYSID" if creates => {
            cursor.next();
            limit(cursor)?;
        }
        _ => return Err(cursor.syntax_error()),
    }
    Ok(())
}

/// A string.
pub(super) fn text(cursor: &mut Cursor<'_>) -> Result<String, Report> {
    let text = match cursor.peek().clone() {
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text,
        Token::DollarQuotedString(text) => text.value,
        _ => return Err(cursor.syntax_error()),
    };
    cursor.next();
    Ok(text)
}

/// A number of connections, -1 for as many as the server has.
fn limit(cursor: &mut Cursor<'_>) -> Result<i64, Report> {
    let position = cursor.here();
    let sign = if cursor.take_token(&Token::Minus) { -1 } else { 1 };
    let Token::Number(number, _) = cursor.peek().clone() else { return Err(cursor.syntax_error()) };
    cursor.next();
    let limit = number.parse::<i64>().ok().map(|limit| sign * limit);
    let limit = limit.filter(|limit| (-1..=i64::from(i32::MAX)).contains(limit));
    limit.ok_or_else(|| {
        let message =
            format!("invalid connection limit: {}{number}", if sign < 0 { "-" } else { "" });
        Report { position, ..Report::new(SqlState::INVALID_PARAMETER_VALUE, message) }
    })
}
