//! Constraints, of columns and of tables: `[CONSTRAINT name] PRIMARY KEY | UNIQUE | CHECK | REFERENCES`, and
//! `ALTER TABLE ... ADD constraint | DROP CONSTRAINT name`.
//!
//! A constraint is looked at when a statement ends. That is what `DEFERRABLE` and `INITIALLY IMMEDIATE` ask for;
//! `INITIALLY DEFERRED` is kept, so that the session can say that it is stricter here.

use datafusion::sql::sqlparser::tokenizer::Token;
use millrace_types::{Report, SqlState};

use super::cursor::Cursor;
use crate::ast::{
    AlterConstraints, Constraint, ConstraintChange, ConstraintKind, CreateTable, Name, Reference,
    ReferenceAction, Statement,
};

/// `CONSTRAINT name`, if it is next.
pub(super) fn name(cursor: &mut Cursor<'_>) -> Result<Option<Name>, Report> {
    match cursor.take(&["CONSTRAINT"]) {
        true => cursor.identifier().map(Some),
        false => Ok(None),
    }
}

/// True if a constraint of a table is next, and not a column.
pub(super) fn is_of_table(cursor: &Cursor<'_>) -> bool {
    let first = ["CONSTRAINT", "UNIQUE", "CHECK"];
    first.iter().any(|word| cursor.is(&[word]))
        || cursor.is(&["PRIMARY", "KEY"])
        || cursor.is(&["FOREIGN", "KEY"])
}

/// A constraint of a table.
pub(super) fn of_table(cursor: &mut Cursor<'_>, table: &mut CreateTable) -> Result<(), Report> {
    let name = name(cursor)?;
    if cursor.is(&["PRIMARY", "KEY"]) {
        let position = cursor.here();
        cursor.expect(&["PRIMARY", "KEY"])?;
        let columns = columns(cursor)?;
        attributes(cursor)?;
        return set_key(table, columns, name, position);
    }
    let constraint = constraint(cursor, name)?;
    table.constraints.push(constraint);
    Ok(())
}

/// A constraint of a column; false if none is next.
pub(super) fn of_column(
    cursor: &mut Cursor<'_>,
    table: &mut CreateTable,
    column: &Name,
    name: Option<Name>,
) -> Result<bool, Report> {
    let position = cursor.here();
    let kind = if cursor.take(&["PRIMARY", "KEY"]) {
        attributes(cursor)?;
        set_key(table, vec![column.clone()], name, position)?;
        return Ok(true);
    } else if cursor.take(&["UNIQUE"]) {
        nulls(cursor)?;
        ConstraintKind::Unique(vec![column.clone()])
    } else if cursor.is(&["CHECK"]) {
        check(cursor)?
    } else if cursor.is(&["REFERENCES"]) {
        ConstraintKind::References(reference(cursor, vec![column.clone()])?)
    } else if name.is_some() {
        return Err(cursor.syntax_error());
    } else {
        return Ok(false);
    };
    let deferred = attributes(cursor)?;
    table.constraints.push(Constraint { name, position, kind, deferred });
    Ok(true)
}

/// `UNIQUE`, `CHECK` or `FOREIGN KEY` of a table.
fn constraint(cursor: &mut Cursor<'_>, name: Option<Name>) -> Result<Constraint, Report> {
    let position = cursor.here();
    let kind = if cursor.take(&["UNIQUE"]) {
        nulls(cursor)?;
        if cursor.is(&["USING", "INDEX"]) {
            return Err(refused(cursor, "UNIQUE USING INDEX", "Write UNIQUE (columns)."));
        }
        ConstraintKind::Unique(columns(cursor)?)
    } else if cursor.is(&["CHECK"]) {
        check(cursor)?
    } else {
        if !cursor.take(&["FOREIGN", "KEY"]) {
            return Err(cursor.syntax_error());
        }
        let columns = columns(cursor)?;
        ConstraintKind::References(reference(cursor, columns)?)
    };
    let deferred = attributes(cursor)?;
    Ok(Constraint { name, position, kind, deferred })
}

fn columns(cursor: &mut Cursor<'_>) -> Result<Vec<Name>, Report> {
    match cursor.optional_names()? {
        names if names.is_empty() => Err(cursor.syntax_error()),
        names => Ok(names),
    }
}

/// `NULLS DISTINCT`, which is how it is.
pub(super) fn nulls(cursor: &mut Cursor<'_>) -> Result<(), Report> {
    if cursor.is(&["NULLS", "NOT", "DISTINCT"]) {
        return Err(refused(cursor, "NULLS NOT DISTINCT", "Declare the columns NOT NULL."));
    }
    cursor.take(&["NULLS", "DISTINCT"]);
    Ok(())
}

fn check(cursor: &mut Cursor<'_>) -> Result<ConstraintKind, Report> {
    cursor.expect(&["CHECK"])?;
    cursor.expect_token(&Token::LParen)?;
    let condition = cursor.expression()?;
    cursor.expect_token(&Token::RParen)?;
    Ok(ConstraintKind::Check(Box::new(condition)))
}

/// `REFERENCES table (columns) ...`
fn reference(cursor: &mut Cursor<'_>, columns: Vec<Name>) -> Result<Reference, Report> {
    cursor.expect(&["REFERENCES"])?;
    let table = cursor.object_name()?;
    let to = cursor.optional_names()?;
    let (mut on_delete, mut on_update) = Default::default();
    if cursor.is(&["MATCH", "FULL"]) || cursor.is(&["MATCH", "PARTIAL"]) {
        return Err(refused(cursor, "MATCH FULL", "Declare the columns NOT NULL."));
    }
    cursor.take(&["MATCH", "SIMPLE"]);
    loop {
        if cursor.take(&["ON", "DELETE"]) {
            on_delete = action(cursor)?;
        } else if cursor.take(&["ON", "UPDATE"]) {
            on_update = action(cursor)?;
        } else {
            return Ok(Reference { columns, table, to, on_delete, on_update });
        }
    }
}

fn action(cursor: &mut Cursor<'_>) -> Result<ReferenceAction, Report> {
    let found = ReferenceAction::ALL.into_iter().find(|action| {
        let words: Vec<&str> = action.words().split(' ').collect();
        cursor.take(&words)
    });
    let found = found.ok_or_else(|| cursor.syntax_error())?;
    if matches!(cursor.peek(), Token::LParen) {
        let what = format!("{} of some columns", found.words());
        return Err(refused(cursor, &what, "Leave the columns out: all of the key are meant."));
    }
    Ok(found)
}

/// What may stand behind a constraint; true for `INITIALLY DEFERRED`.
fn attributes(cursor: &mut Cursor<'_>) -> Result<bool, Report> {
    let mut deferred = false;
    loop {
        if cursor.take(&["INITIALLY", "DEFERRED"]) {
            deferred = true;
        } else if cursor.is(&["NOT", "VALID"]) {
            return Err(refused(cursor, "NOT VALID", "Correct the rows first."));
        } else if cursor.is(&["INCLUDE"]) {
            return Err(refused(cursor, "INCLUDE", "Leave it out: all columns are stored."));
        } else if cursor.take(&["WITH"]) {
            // How an index is laid out.
            cursor.options()?;
        } else {
            let words: [&[&str]; 6] = [
                &["DEFERRABLE"],
                &["NOT", "DEFERRABLE"],
                &["INITIALLY", "IMMEDIATE"],
                &["NO", "INHERIT"],
                &["ENFORCED"],
                &["NULLS", "DISTINCT"],
            ];
            if !words.iter().any(|words| cursor.take(words)) {
                return Ok(deferred);
            }
        }
    }
}

fn refused(cursor: &Cursor<'_>, what: &str, hint: &str) -> Report {
    Report { position: cursor.here(), ..Report::unsupported(what) }.hint(hint)
}

fn set_key(
    table: &mut CreateTable,
    columns: Vec<Name>,
    key_name: Option<Name>,
    position: Option<usize>,
) -> Result<(), Report> {
    if table.key.is_empty() {
        (table.key, table.key_name) = (columns, key_name);
        return Ok(());
    }
    let name = &table.name.name;
    let message = format!("multiple primary keys for table \"{name}\" are not allowed");
    Err(Report { position, ..Report::new(SqlState::INVALID_TABLE_DEFINITION, message) })
}

/// `[IF EXISTS] [ONLY] table ADD constraint | DROP CONSTRAINT name, ...`, behind `ALTER TABLE`; None, and nothing
/// is taken, if it is something else.
pub(super) fn changes(cursor: &mut Cursor<'_>) -> Result<Option<Statement>, Report> {
    if !is_of_constraints(cursor) {
        return Ok(None);
    }
    let if_exists = cursor.take(&["IF", "EXISTS"]);
    cursor.take(&["ONLY"]);
    let table = cursor.object_name()?;
    let mut changes = Vec::new();
    loop {
        if cursor.take(&["ADD"]) {
            let name = name(cursor)?;
            if cursor.is(&["PRIMARY", "KEY"]) {
                let hint = "Rows are stored by their key: create the table with it.";
                return Err(refused(cursor, "ADD PRIMARY KEY", hint));
            }
            changes.push(ConstraintChange::Add(Box::new(constraint(cursor, name)?)));
        } else {
            cursor.expect(&["DROP", "CONSTRAINT"])?;
            let if_exists = cursor.take(&["IF", "EXISTS"]);
            changes.push(ConstraintChange::Drop(cursor.identifier()?, if_exists));
            if !cursor.take(&["CASCADE"]) {
                cursor.take(&["RESTRICT"]);
            }
        }
        if !cursor.take_token(&Token::Comma) {
            break;
        }
    }
    Ok(Some(Statement::AlterConstraints(AlterConstraints { table, if_exists, changes })))
}

/// True if the first thing that the statement does is to a constraint.
fn is_of_constraints(cursor: &Cursor<'_>) -> bool {
    let mut at = 0;
    let word = |at: usize| cursor.word(at).unwrap_or_default();
    at += if word(at) == "IF" { 2 } else { 0 };
    at += usize::from(word(at) == "ONLY");
    // The name, with its schema perhaps.
    while at < 16 && !matches!(word(at).as_str(), "ADD" | "DROP" | "SET" | "ALTER" | "RENAME") {
        at += 1;
    }
    match (word(at).as_str(), word(at + 1).as_str()) {
        ("ADD", "CONSTRAINT" | "UNIQUE" | "CHECK") | ("DROP", "CONSTRAINT") => true,
        ("ADD", "PRIMARY" | "FOREIGN") => word(at + 2) == "KEY",
        _ => false,
    }
}
