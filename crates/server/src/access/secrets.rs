//! CREATE SECRET and DROP SECRET.

use millrace_sql::ast::{Name, SecretDef};
use millrace_sql::{Access, Privilege, Secret};
use millrace_types::{ObjectId, Report, SqlState};

use super::{Who, denied};
use crate::coordinator::Draft;

/// CREATE SECRET; true if it was there already, which the statement lets pass.
pub(crate) fn create(draft: &mut Draft, who: Who, wanted: &SecretDef) -> Result<bool, Report> {
    let catalog = draft.catalog();
    if !catalog.allows(who.current, catalog.schema(), Privilege::Create) {
        return Err(denied("for schema public"));
    }
    let name = &wanted.name;
    if catalog.find_secret(&name.name).is_some() {
        if wanted.if_not_exists {
            return Ok(true);
        }
        let message = format!("secret \"{}\" already exists", name.name);
        let report = Report::new(SqlState::DUPLICATE_OBJECT, message);
        return Err(Report { position: name.position, ..report });
    }
    let id = ObjectId(draft.number());
    let access = Access::of(who.current);
    draft.put_secret(Secret { id, name: name.name.clone(), value: wanted.value.clone(), access });
    Ok(false)
}

/// DROP SECRET; the names that were missing, if the statement lets that pass.
pub(crate) fn drop(
    draft: &mut Draft,
    who: Who,
    names: &[Name],
    if_exists: bool,
) -> Result<Vec<String>, Report> {
    let mut missing = Vec::new();
    for name in names {
        let Some(secret) = draft.catalog().find_secret(&name.name).cloned() else {
            if if_exists {
                missing.push(name.name.clone());
                continue;
            }
            let message = format!("secret \"{}\" does not exist", name.name);
            let report = Report::new(SqlState::UNDEFINED_OBJECT, message);
            return Err(Report { position: name.position, ..report });
        };
        if !draft.catalog().owns(who.current, &secret.access) {
            let message = format!("must be owner of secret {}", secret.name);
            return Err(Report::new(SqlState::INSUFFICIENT_PRIVILEGE, message));
        }
        let uses = draft.catalog().objects().filter(|one| one.secrets().any(|id| id == secret.id));
        let line = |what: String| format!("{what} depends on secret {}", secret.name);
        let mut lines: Vec<String> = uses
            .map(|object| line(format!("{} {}", object.object_kind().word(), object.name)))
            .collect();
        let jobs = draft.jobs().iter().filter(|job| job.needs.contains(&secret.id));
        lines.extend(jobs.map(|job| line(format!("job {} ({})", job.id, job.view))));
        if !lines.is_empty() {
            let message =
                format!("cannot drop secret {} because other objects depend on it", secret.name);
            let report = Report::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message);
            return Err(report.detail(lines.join("\n")).hint("Drop these objects first."));
        }
        draft.remove_secret(secret.id);
    }
    Ok(missing)
}
