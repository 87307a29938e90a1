//! Names of objects: folded as PostgreSQL folds them, in the one schema `public` of database `dev`.

use std::fmt;

use datafusion::common::TableReference;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Spanned};
use millrace_types::{Report, SqlState};

use crate::ast::Name;
use crate::text::Text;

/// The one database.
pub(crate) const DATABASE: &str = "dev";
/// The one schema of user objects.
pub(crate) const SCHEMA: &str = "public";

/// The schema of the server's own tables. Those of them that are in the catalog have it in their names.
pub const SYSTEM_SCHEMA: &str = "millrace";

/// The name in the catalog of a table of the server.
pub(crate) fn of_server(table: &str) -> String {
    format!("{SYSTEM_SCHEMA}.{table}")
}

/// What the names of tables of columns that USING merges begin with; first in every order of names.
pub(crate) const MERGED: &str = "\u{0}using";

/// The database in which a statement that changes a table names it: there, and nowhere else in the
/// statement, its hidden columns are seen. Such a reference has it as its schema.
pub const CHANGED: &str = "\u{0}changed";

/// True for the name of a table of merged columns.
pub(crate) fn is_merged(table: &str) -> bool {
    table.starts_with(MERGED)
}

/// An identifier as PostgreSQL stores it: folded unless quoted.
pub fn fold(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    }
}

/// Words that PostgreSQL takes for the name of a table only in quotes.
const RESERVED: [&str; 75] = [
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "localtime",
    "localtimestamp",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "some",
    "symmetric",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "when",
    "where",
];

/// True for a word that is a name only in quotes.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

/// The part of a name that would have to stand in quotes.
pub(crate) fn reserved(name: &ObjectName) -> Option<&Ident> {
    let bare = |ident: &&Ident| {
        let word = || RESERVED.iter().any(|word| word.eq_ignore_ascii_case(&ident.value));
        ident.quote_style.is_none() && word()
    };
    name.0.iter().filter_map(|part| part.as_ident()).find(bare)
}

/// The error for a reserved word where a name is wanted.
pub(crate) fn not_a_name(ident: &Ident) -> Report {
    let message = format!("syntax error at or near \"{}\"", ident.value);
    Report::new(SqlState::SYNTAX_ERROR, message)
}

/// An identifier with its place.
pub(crate) fn name_of(ident: &Ident, text: &Text<'_>) -> Name {
    Name { name: fold(ident), position: text.position(ident.span.start) }
}

/// The name of a user's object, in the one schema.
///
/// # Errors
/// It is no name, or one in another schema or database.
pub(crate) fn object_name(name: &ObjectName, text: &Text<'_>) -> Result<Name, Report> {
    let found = relation_name(name, text)?;
    if found.name.starts_with(&of_server("")) {
        let message = format!("{} is a table of the server itself", found.name);
        let report = Report::new(SqlState::WRONG_OBJECT_TYPE, message);
        let report = report.hint("SELECT, SUBSCRIBE, views and sinks may read it.");
        return Err(Report { position: found.position, ..report });
    }
    Ok(found)
}

/// The name of what a statement reads: a user's object, or a table of the server with its schema.
///
/// # Errors
/// It is no name, or one in another schema or database.
pub(crate) fn relation_name(name: &ObjectName, text: &Text<'_>) -> Result<Name, Report> {
    let position = text.position(name.span().start);
    if let Some(ident) = reserved(name) {
        return Err(Report { position: text.position(ident.span.start), ..not_a_name(ident) });
    }
    let parts: Option<Vec<String>> = name.0.iter().map(|p| p.as_ident().map(fold)).collect();
    let parts = parts.unwrap_or_default();
    let outside = |report: Report| Report { position, ..report };
    if parts.iter().any(String::is_empty) {
        let message = "zero-length delimited identifier at or near \"\"\"\"";
        return Err(outside(Report::new(SqlState::SYNTAX_ERROR, message)));
    }
    match parts.as_slice() {
        [name] => Ok(Name { name: name.clone(), position }),
        [schema, name] | [_, schema, name] => {
            if parts.len() == 3 && parts[0] != DATABASE {
                return Err(outside(cross_database(&parts.join("."))));
            }
            match schema.as_str() {
                SYSTEM_SCHEMA => Ok(Name { name: of_server(name), position }),
                SCHEMA => Ok(Name { name: name.clone(), position }),
                _ => {
                    let message = format!("schema {} does not exist", Quoted(schema));
                    Err(outside(Report::new(SqlState::INVALID_SCHEMA_NAME, message)))
                }
            }
        }
        _ => {
            let message = format!("improper qualified name (too many dotted names): {name}");
            Err(outside(Report::new(SqlState::SYNTAX_ERROR, message)))
        }
    }
}

/// The report of what a statement wants to follow and the catalog does not have: most tables of the server are
/// made when they are read.
pub fn nothing_to_follow(name: &Name) -> Report {
    let message = format!("relation {} does not exist", Quoted(&name.name));
    let report = Report::new(SqlState::UNDEFINED_TABLE, message);
    let report = Report { position: name.position, ..report };
    match name.name.starts_with(&of_server("")) {
        true => {
            let kept = "Of the tables of the server, late_rows and source_errors can be followed.";
            report.hint(kept)
        }
        false => report,
    }
}

fn cross_database(name: &str) -> Report {
    let message = format!("cross-database references are not implemented: {}", Quoted(name));
    Report::new(SqlState::FEATURE_NOT_SUPPORTED, message)
}

/// A reference without the parts that name what is the default anyway.
pub(crate) fn local(reference: &TableReference) -> Result<TableReference, Report> {
    match reference {
        TableReference::Bare { .. } => Ok(reference.clone()),
        TableReference::Full { catalog, table, .. } if catalog.as_ref() == CHANGED => {
            Ok(TableReference::partial(CHANGED, table.as_ref()))
        }
        TableReference::Full { catalog, .. } if catalog.as_ref() != DATABASE => {
            Err(cross_database(&reference.to_string()))
        }
        TableReference::Partial { schema, table } | TableReference::Full { schema, table, .. } => {
            Ok(match schema.as_ref() {
                SCHEMA => TableReference::bare(table.as_ref()),
                _ => TableReference::partial(schema.as_ref(), table.as_ref()),
            })
        }
    }
}

/// A name in double quotes, as messages show it.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// The candidate that differs least from a name, if it is near enough to be meant.
pub(crate) fn similar<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let distance = |candidate: &&str| {
        datafusion::common::utils::datafusion_strsim::levenshtein(
            &name.to_lowercase(),
            &candidate.to_lowercase(),
        )
    };
    let nearest = candidates.into_iter().min_by_key(distance)?;
    (distance(&nearest) <= (name.chars().count() / 2).min(3)).then_some(nearest)
}
