//! COMMENT ON: by who owns the object, or may change the role.

use millrace_sql::ast::{CommentOn, Name};
use millrace_sql::{Catalog, Commented};
use millrace_types::{Report, SqlState};

use super::grants::{not_owner, relation};
use super::{Who, denied};
use crate::coordinator::Draft;

/// Keeps what is said of something, or takes it away.
pub(crate) fn comment(
    draft: &mut Draft,
    who: Who,
    on: &CommentOn,
    text: Option<String>,
) -> Result<(), Report> {
    let on = found(draft.catalog(), who, on)?;
    draft.put_comment(on, text);
    Ok(())
}

fn found(catalog: &Catalog, who: Who, on: &CommentOn) -> Result<Commented, Report> {
    match on {
        CommentOn::Object(kind, name) => {
            let object = relation(catalog, *kind, name)?;
            match catalog.owns(who.current, &object.access) {
                true => Ok(Commented::Object(object.id)),
                false => Err(not_owner(&object)),
            }
        }
        CommentOn::Column(table, column) => {
            let table = relation(catalog, millrace_sql::ast::ObjectKind::Table, table)?;
            if !catalog.owns(who.current, &table.access) {
                return Err(not_owner(&table));
            }
            let schema = table.visible_schema();
            let place = schema.fields().iter().position(|field| *field.name() == column.name);
            let place = place.and_then(|place| u32::try_from(place + 1).ok());
            let missing = || {
                let (column, table) = (&column.name, &table.name);
                let message = format!("column \"{column}\" of relation \"{table}\" does not exist");
                Report::new(SqlState::UNDEFINED_COLUMN, message)
            };
            let place = place.ok_or_else(|| at(column, missing()))?;
            Ok(Commented::Column(table.id, place))
        }
        CommentOn::Role(name) => {
            let role = catalog.find_role(&name.name).ok_or_else(|| {
                let message = format!("role \"{}\" does not exist", name.name);
                at(name, Report::new(SqlState::UNDEFINED_OBJECT, message))
            })?;
            match catalog.is_superuser(who.current) || role.id == who.current {
                true => Ok(Commented::Role(role.id)),
                false => Err(denied(format!("for role {}", name.name))),
            }
        }
        CommentOn::Schema(name) if name.name == "public" => whole(catalog, who, Commented::Schema),
        CommentOn::Schema(name) => {
            let message = format!("schema \"{}\" does not exist", name.name);
            Err(at(name, Report::new(SqlState::INVALID_SCHEMA_NAME, message)))
        }
        CommentOn::Database(name) if name.name == "dev" => whole(catalog, who, Commented::Database),
        CommentOn::Database(name) => {
            let message = format!("database \"{}\" does not exist", name.name);
            Err(at(name, Report::new(SqlState::INVALID_CATALOG_NAME, message)))
        }
    }
}

fn whole(catalog: &Catalog, who: Who, on: Commented) -> Result<Commented, Report> {
    match catalog.is_superuser(who.current) {
        true => Ok(on),
        false => Err(Report::new(SqlState::INSUFFICIENT_PRIVILEGE, "must be superuser")),
    }
}

fn at(name: &Name, report: Report) -> Report {
    Report { position: name.position, ..report }
}
