//! CREATE, ALTER and DROP of roles, and memberships.

use std::collections::BTreeSet;

use millrace_sql::ast::{Name, RoleName, RoleOptions};
use millrace_sql::{Catalog, Role, RoleId};
use millrace_types::{Concealed, Report, SqlState};

use super::{Who, denied, name_of, role, unknown};
use crate::coordinator::Draft;

/// What is said of a role, made ready by the session.
pub(crate) struct Wanted {
    /// As it was written; password and time are in the other fields.
    pub(crate) options: RoleOptions,
    /// What proves the password; inner None takes it away.
    pub(crate) verifier: Option<Option<Concealed>>,
    /// Until when it counts; inner None is for ever.
    pub(crate) valid_until: Option<Option<i64>>,
}

impl Wanted {
    /// True if nothing but the password is to change.
    fn is_password_only(&self) -> bool {
        let password = self.options.password.clone();
        self.valid_until.is_none()
            && self.options == RoleOptions { password, ..RoleOptions::default() }
    }

    fn put_into(&self, role: &mut Role) {
        let options = &self.options;
        let set = |flag: &mut bool, wanted: Option<bool>| *flag = wanted.unwrap_or(*flag);
        set(&mut role.superuser, options.superuser);
        set(&mut role.creates_roles, options.creates_roles);
        set(&mut role.inherits, options.inherits);
        set(&mut role.login, options.login);
        if let Some(limit) = options.connections {
            role.connections_max = u32::try_from(limit).ok();
        }
        if let Some(verifier) = &self.verifier {
            role.verifier.clone_from(verifier);
        }
        if let Some(until) = self.valid_until {
            role.valid_until = until;
        }
    }
}

/// CREATE ROLE; true if it was there already, which the statement lets pass.
pub(crate) fn create(
    draft: &mut Draft,
    who: Who,
    name: &Name,
    if_not_exists: bool,
    wanted: &Wanted,
) -> Result<bool, Report> {
    let catalog = draft.catalog();
    let superuser = catalog.is_superuser(who.current);
    let creates = catalog.role(who.current).is_some_and(|role| role.creates_roles);
    if !superuser && !creates {
        let detail = "Only roles with the CREATEROLE attribute may create roles.";
        return Err(denied("to create role").detail(detail));
    }
    if wanted.options.superuser == Some(true) && !superuser {
        let detail = "Only superusers make superusers.";
        return Err(denied("to create role").detail(detail));
    }
    check_name(name)?;
    if catalog.find_role(&name.name).is_some() {
        return match if_not_exists {
            true => Ok(true),
            false => Err(taken(name)),
        };
    }
    let id = RoleId(draft.number());
    let mut new = Role { id, ..Role::new(&name.name) };
    wanted.put_into(&mut new);
    draft.put_role(new);
    if !superuser {
        // Who makes roles may say who is a member of them, as in PostgreSQL.
        join(draft, id, who.current, true);
    }
    let options = &wanted.options;
    for group in &options.in_roles {
        let group = named(draft.catalog(), group)?.id;
        may_administer(draft.catalog(), who, group)?;
        add(draft, group, id, false)?;
    }
    for (members, admin) in [(&options.members, false), (&options.admins, true)] {
        for member in members {
            let member = named(draft.catalog(), member)?.id;
            add(draft, id, member, admin)?;
        }
    }
    Ok(false)
}

fn named(catalog: &Catalog, name: &Name) -> Result<Role, Report> {
    let found = catalog.find_role(&name.name).map(|role| role.as_ref().clone());
    found.ok_or_else(|| unknown(&name.name, name.position))
}

fn taken(name: &Name) -> Report {
    let message = format!("role \"{}\" already exists", name.name);
    Report { position: name.position, ..Report::new(SqlState::DUPLICATE_OBJECT, message) }
}

/// Names that would be taken for something else.
fn check_name(name: &Name) -> Result<(), Report> {
    let reserved = matches!(name.name.as_str(), "public" | "none") || name.name.starts_with("pg_");
    if reserved || name.name.is_empty() {
        let message = format!("role name \"{}\" is reserved", name.name);
        let report = Report::new(SqlState::RESERVED_NAME, message);
        return Err(Report { position: name.position, ..report });
    }
    Ok(())
}

/// ALTER ROLE with options.
pub(crate) fn alter(
    draft: &mut Draft,
    who: Who,
    name: &RoleName,
    wanted: &Wanted,
) -> Result<(), Report> {
    let catalog = draft.catalog();
    let mut changed = role(catalog, who, name)?;
    let own_password = changed.id == who.current && wanted.is_password_only();
    if !own_password {
        may_change(catalog, who, &changed, "to alter role")?;
    }
    if wanted.options.superuser.is_some_and(|wanted| wanted != changed.superuser)
        && !catalog.is_superuser(who.current)
    {
        let detail = "Only superusers change the SUPERUSER attribute.";
        return Err(denied("to alter role").detail(detail));
    }
    if changed.id == RoleId::ROOT {
        let without = [wanted.options.superuser, wanted.options.login].contains(&Some(false));
        if without || wanted.options.connections.is_some() {
            let message = "the role root must be a superuser that may log in";
            return Err(Report::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
    }
    wanted.put_into(&mut changed);
    draft.put_role(changed);
    Ok(())
}

/// Superusers may change every role, who makes roles those that they administer and that are no
/// superusers.
fn may_change(catalog: &Catalog, who: Who, changed: &Role, what: &str) -> Result<(), Report> {
    if catalog.is_superuser(who.current) {
        return Ok(());
    }
    let creates = catalog.role(who.current).is_some_and(|role| role.creates_roles);
    if creates && !changed.superuser && catalog.administers(who.current, changed.id) {
        return Ok(());
    }
    let detail = format!(
        "It takes the CREATEROLE attribute and the ADMIN option on role \"{}\".",
        changed.name
    );
    Err(denied(what).detail(detail))
}

/// ALTER ROLE ... RENAME TO
pub(crate) fn rename(
    draft: &mut Draft,
    who: Who,
    name: &RoleName,
    to: &Name,
) -> Result<(), Report> {
    let catalog = draft.catalog();
    let mut changed = role(catalog, who, name)?;
    may_change(catalog, who, &changed, "to rename role")?;
    if changed.id == RoleId::ROOT || changed.id == who.session {
        let message = match changed.id {
            RoleId::ROOT => "the role root cannot be renamed",
            _ => "session user cannot be renamed",
        };
        return Err(Report::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    check_name(to)?;
    if catalog.find_role(&to.name).is_some() {
        return Err(taken(to));
    }
    changed.name.clone_from(&to.name);
    draft.put_role(changed);
    Ok(())
}

/// DROP ROLE; the names that were missing, if the statement lets that pass.
pub(crate) fn drop(
    draft: &mut Draft,
    who: Who,
    names: &[Name],
    if_exists: bool,
) -> Result<Vec<String>, Report> {
    let mut missing = Vec::new();
    for name in names {
        let Some(gone) = draft.catalog().find_role(&name.name).cloned() else {
            if if_exists {
                missing.push(name.name.clone());
                continue;
            }
            return Err(unknown(&name.name, name.position));
        };
        may_change(draft.catalog(), who, &gone, "to drop role")?;
        let used = |message: &str| Err(Report::new(SqlState::OBJECT_IN_USE, message));
        if gone.id == RoleId::ROOT {
            let message = "cannot drop role root because it is required by the database system";
            return Err(Report::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message));
        }
        if gone.id == who.current {
            return used("current user cannot be dropped");
        }
        if gone.id == who.session {
            return used("session user cannot be dropped");
        }
        let lines = depending(draft, gone.id);
        if !lines.is_empty() {
            let message = format!(
                "role \"{}\" cannot be dropped because some objects depend on it",
                name.name
            );
            let report = Report::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message);
            let hint = "REASSIGN OWNED gives objects to another role, REVOKE ALL takes privileges.";
            return Err(report.detail(lines.join("\n")).hint(hint));
        }
        draft.remove_role(gone.id);
    }
    Ok(missing)
}

/// What a role owns, and what it was granted.
fn depending(draft: &Draft, id: RoleId) -> Vec<String> {
    let (catalog, some) = (draft.catalog(), Some(id));
    let mut lines = Vec::new();
    for object in catalog.objects() {
        let what = format!("{} {}", object.object_kind().word(), object.name);
        if object.access.owner == id {
            lines.push(format!("owner of {what}"));
        }
        if !object.access.acl.of(some).is_empty() {
            lines.push(format!("privileges for {what}"));
        }
    }
    for secret in catalog.secrets() {
        if secret.access.owner == id {
            lines.push(format!("owner of secret {}", secret.name));
        }
        if !secret.access.acl.of(some).is_empty() {
            lines.push(format!("privileges for secret {}", secret.name));
        }
    }
    let jobs = draft.jobs().iter().filter(|job| job.owner == id);
    lines.extend(jobs.map(|job| format!("owner of job {} ({})", job.id, job.view)));
    if !catalog.schema().acl.of(some).is_empty() {
        lines.push("privileges for schema public".to_owned());
    }
    let granting = catalog.roles().filter(|role| !role.defaults.of(some).is_empty());
    lines.extend(granting.map(|role| format!("default privileges of role {}", role.name)));
    lines
}

/// Who is granted which roles, or loses them.
pub(crate) struct Memberships {
    pub(crate) groups: Vec<Name>,
    pub(crate) members: Vec<RoleName>,
    pub(crate) admin: bool,
    pub(crate) revokes: bool,
}

/// GRANT and REVOKE of roles; what changed nothing, as notices.
pub(crate) fn grant(
    draft: &mut Draft,
    who: Who,
    wanted: &Memberships,
) -> Result<Vec<Report>, Report> {
    let mut notices = Vec::new();
    for group in &wanted.groups {
        let group = named(draft.catalog(), group)?;
        may_administer(draft.catalog(), who, group.id)?;
        for member in &wanted.members {
            let member = role(draft.catalog(), who, member)?;
            let is = member.member_of.get(&group.id).copied();
            let (group_name, name) = (&group.name, &member.name);
            match (is, wanted.revokes, wanted.admin) {
                (Some(_), true, false) => leave(draft, group.id, member.id),
                (Some(_), true, true) => join(draft, group.id, member.id, false),
                (None, true, _) => {
                    let message = format!(
                        "role \"{name}\" has not been granted membership in role \"{group_name}\""
                    );
                    notices.push(Report::new(SqlState::WARNING, message));
                }
                (Some(has), false, wants) if has || !wants => {
                    let message =
                        format!("role \"{name}\" is already a member of role \"{group_name}\"");
                    notices.push(Report::new(SqlState::SUCCESSFUL_COMPLETION, message));
                }
                (_, false, admin) => add(draft, group.id, member.id, admin)?,
            }
        }
    }
    Ok(notices)
}

/// Makes a role a member of another one, if that makes no circle.
fn add(draft: &mut Draft, group: RoleId, member: RoleId, admin: bool) -> Result<(), Report> {
    let catalog = draft.catalog();
    let mut open = vec![group];
    let mut above = BTreeSet::new();
    while let Some(role) = open.pop().and_then(|id| catalog.role(id)) {
        above.insert(role.id);
        open.extend(role.member_of.keys().filter(|id| !above.contains(id)));
    }
    if above.contains(&member) {
        let (group, member) = (name_of(catalog, group), name_of(catalog, member));
        let message = format!("role \"{group}\" is a member of role \"{member}\"");
        return Err(Report::new(SqlState::INVALID_GRANT_OPERATION, message));
    }
    join(draft, group, member, admin);
    Ok(())
}

fn join(draft: &mut Draft, group: RoleId, member: RoleId, admin: bool) {
    if let Some(role) = draft.catalog().role(member) {
        let mut role = role.as_ref().clone();
        role.member_of.insert(group, admin);
        draft.put_role(role);
    }
}

fn leave(draft: &mut Draft, group: RoleId, member: RoleId) {
    if let Some(role) = draft.catalog().role(member) {
        let mut role = role.as_ref().clone();
        role.member_of.remove(&group);
        draft.put_role(role);
    }
}

fn may_administer(catalog: &Catalog, who: Who, group: RoleId) -> Result<(), Report> {
    if catalog.is_superuser(who.current) {
        return Ok(());
    }
    let name = name_of(catalog, group);
    if catalog.is_superuser(group) || !catalog.administers(who.current, group) {
        let detail = format!("Only roles with the ADMIN option on role \"{name}\" may do so.");
        return Err(denied(format!("to grant role \"{name}\"")).detail(detail));
    }
    Ok(())
}
