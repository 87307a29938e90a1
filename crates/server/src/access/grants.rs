//! GRANT and REVOKE of privileges, owners of objects.

use std::sync::Arc;

use millrace_sql::ast::{Grant, GrantedOn, Name, ObjectKind, RoleName, Targets};
use millrace_sql::{Access, Catalog, Grantee, Kind, Object, Privilege, Privileges, RoleId};
use millrace_types::{Report, SqlState};

use super::{Who, denied, grantee, name_of, role};
use crate::coordinator::Draft;

/// GRANT and REVOKE; what has no effect, as notices.
pub(crate) fn grant(draft: &mut Draft, who: Who, wanted: &Grant) -> Result<Vec<Report>, Report> {
    let grantees = wanted.grantees.iter().map(|name| grantee(draft.catalog(), who, name));
    let grantees = grantees.collect::<Result<Vec<Grantee>, Report>>()?;
    let privileges = match &wanted.privileges {
        Some(some) => some.iter().copied().collect(),
        None => wanted.on.all(),
    };
    let change = Change { grantees, privileges, revokes: wanted.revokes };
    match &wanted.on {
        GrantedOn::Relations(Targets::Named(kind, names)) => {
            for name in names {
                let object = relation(draft.catalog(), *kind, name)?;
                must_own(draft.catalog(), who, &object)?;
                change.on_object(draft, &object)?;
            }
        }
        GrantedOn::Relations(Targets::All(kind)) => {
            for object in all(draft.catalog(), who, *kind) {
                change.on_object(draft, &object)?;
            }
        }
        GrantedOn::Secrets(names) => change.on_secrets(draft, who, names)?,
        GrantedOn::Schema => return change.on_schema(draft, who),
        GrantedOn::Database => return change.on_database(wanted),
        GrantedOn::Future(roles) => change.on_future(draft, who, roles)?,
    }
    Ok(Vec::new())
}

/// What is granted to or taken from whom.
struct Change {
    grantees: Vec<Grantee>,
    privileges: Privileges,
    revokes: bool,
}

impl Change {
    fn apply(&self, access: &mut Access) {
        // An owner's rights stand in no list.
        let others = self.grantees.iter().filter(|grantee| **grantee != Some(access.owner));
        for grantee in others.copied().collect::<Vec<_>>() {
            match self.revokes {
                true => access.acl.revoke(grantee, self.privileges),
                false => access.acl.grant(grantee, self.privileges),
            }
        }
    }

    fn on_object(&self, draft: &mut Draft, object: &Arc<Object>) -> Result<(), Report> {
        let mut changed = object.as_ref().clone();
        self.apply(&mut changed.access);
        match changed.access == object.access {
            true => Ok(()),
            false => draft.put_object(changed),
        }
    }

    fn on_secrets(&self, draft: &mut Draft, who: Who, names: &[Name]) -> Result<(), Report> {
        for name in names {
            let Some(secret) = draft.catalog().find_secret(&name.name) else {
                let message = format!("secret \"{}\" does not exist", name.name);
                let report = Report::new(SqlState::UNDEFINED_OBJECT, message);
                return Err(Report { position: name.position, ..report });
            };
            let mut changed = secret.as_ref().clone();
            if !draft.catalog().owns(who.current, &changed.access) {
                return Err(denied(format!("for secret {}", name.name)));
            }
            self.apply(&mut changed.access);
            draft.put_secret(changed);
        }
        Ok(())
    }

    /// Everybody may look into the schema; who may make objects there can be said.
    fn on_schema(&self, draft: &mut Draft, who: Who) -> Result<Vec<Report>, Report> {
        let mut schema = draft.catalog().schema().clone();
        if !draft.catalog().owns(who.current, &schema) {
            return Err(denied("for schema public"));
        }
        let create = Privileges::from_iter([Privilege::Create]);
        if self.revokes && !self.privileges.has(Privilege::Create) {
            let report = Report::unsupported("REVOKE USAGE ON SCHEMA");
            return Err(report.hint("Rights on the objects in it say who reads what."));
        }
        if self.privileges.has(Privilege::Create) {
            Change { privileges: create, grantees: self.grantees.clone(), ..*self }
                .apply(&mut schema);
            draft.set_schema(schema);
        }
        Ok(Vec::new())
    }

    /// Who may come in is in other places.
    fn on_database(&self, wanted: &Grant) -> Result<Vec<Report>, Report> {
        let hint = "ALTER USER ... NOLOGIN and the rules of the server say who may come in.";
        if self.revokes {
            return Err(Report::unsupported("REVOKE ON DATABASE").hint(hint));
        }
        if wanted.privileges.is_some() && self.privileges.has(Privilege::Create) {
            return Err(Report::unsupported("GRANT CREATE ON DATABASE")
                .hint("There is one schema: GRANT CREATE ON SCHEMA public."));
        }
        let message = "every role that may log in may use the database";
        let report = Report::new(SqlState::SUCCESSFUL_COMPLETION, message);
        Ok(vec![report.hint("GRANT rights on the schema and on what is in it.")])
    }

    /// ALTER DEFAULT PRIVILEGES: for what roles make from now on.
    fn on_future(&self, draft: &mut Draft, who: Who, roles: &[RoleName]) -> Result<(), Report> {
        let roles = match roles {
            [] => vec![role(draft.catalog(), who, &RoleName::Current)?],
            some => some
                .iter()
                .map(|name| role(draft.catalog(), who, name))
                .collect::<Result<_, _>>()?,
        };
        for mut granting in roles {
            if !draft.catalog().is_member(who.current, granting.id) {
                return Err(denied("to change default privileges"));
            }
            let acl = std::mem::take(&mut granting.defaults);
            let mut access = Access { owner: granting.id, acl };
            self.apply(&mut access);
            granting.defaults = access.acl;
            draft.put_role(granting);
        }
        Ok(())
    }
}

/// The object of a name and a kind; `TABLE` fits all that have rows.
pub(super) fn relation(
    catalog: &Catalog,
    kind: ObjectKind,
    name: &Name,
) -> Result<Arc<Object>, Report> {
    let at = |report: Report| Report { position: name.position, ..report };
    let Some(object) = catalog.find(&name.name) else {
        let message = format!("relation \"{}\" does not exist", name.name);
        return Err(at(Report::new(SqlState::UNDEFINED_TABLE, message)));
    };
    let wrong = |message: String| Err(at(Report::new(SqlState::WRONG_OBJECT_TYPE, message)));
    if matches!(object.kind, Kind::Index(_)) && kind != ObjectKind::Index {
        return wrong(format!("\"{}\" is an index", name.name));
    }
    if kind != ObjectKind::Table && object.object_kind() != kind {
        return wrong(format!("\"{}\" is not {}", name.name, kind.one()));
    }
    Ok(Arc::clone(object))
}

/// All objects of a kind, of `TABLES` all that have rows, which the role may grant rights on.
fn all(catalog: &Catalog, who: Who, kind: ObjectKind) -> Vec<Arc<Object>> {
    let wanted = |object: &&Arc<Object>| {
        let found = object.object_kind();
        found != ObjectKind::Index
            && (kind == ObjectKind::Table || found == kind)
            && catalog.owns(who.current, &object.access)
    };
    catalog.objects().filter(wanted).cloned().collect()
}

/// An error unless a role may grant rights on an object.
fn must_own(catalog: &Catalog, who: Who, object: &Object) -> Result<(), Report> {
    match catalog.owns(who.current, &object.access) {
        true => Ok(()),
        false => {
            let (kind, name) = (object.object_kind().word(), &object.name);
            Err(denied(format!("for {kind} {name}")))
        }
    }
}

/// The error for who is not the owner.
pub(crate) fn not_owner(object: &Object) -> Report {
    let (kind, name) = (object.object_kind().word(), &object.name);
    let message = format!("must be owner of {kind} {name}");
    Report::new(SqlState::INSUFFICIENT_PRIVILEGE, message)
}

/// ALTER ... OWNER TO
pub(crate) fn give(
    draft: &mut Draft,
    who: Who,
    (kind, name): (ObjectKind, &Name),
    to: &RoleName,
) -> Result<(), Report> {
    let catalog = draft.catalog();
    let object = relation(catalog, kind, name)?;
    if object.object_kind() == ObjectKind::Index {
        let message = format!("cannot change owner of index \"{}\"", object.name);
        let report = Report::new(SqlState::WRONG_OBJECT_TYPE, message);
        return Err(report.hint("It belongs to the owner of what it is on."));
    }
    if !catalog.owns(who.current, &object.access) {
        return Err(not_owner(&object));
    }
    let to = role(catalog, who, to)?;
    if !catalog.is_superuser(who.current) {
        if !catalog.is_member(who.current, to.id) {
            return Err(denied(format!("to set role \"{}\"", to.name)));
        }
        if !catalog.allows(to.id, catalog.schema(), Privilege::Create) {
            return Err(denied("for schema public"));
        }
    }
    own(draft, &object, to.id)
}

/// Gives an object to a role, with its indexes.
fn own(draft: &mut Draft, object: &Object, to: RoleId) -> Result<(), Report> {
    let indexes: Vec<Object> =
        draft.catalog().indexes(object.id).map(|(index, _)| index.as_ref().clone()).collect();
    for mut changed in std::iter::once(object.clone()).chain(indexes) {
        changed.access.owner = to;
        let had = changed.access.acl.of(Some(to));
        changed.access.acl.revoke(Some(to), had);
        draft.put_object(changed)?;
    }
    Ok(())
}

/// REASSIGN OWNED BY ... TO
pub(crate) fn reassign(
    draft: &mut Draft,
    who: Who,
    from: &[RoleName],
    to: &RoleName,
) -> Result<(), Report> {
    let to = role(draft.catalog(), who, to)?;
    for name in from {
        let from = role(draft.catalog(), who, name)?;
        for id in [from.id, to.id] {
            if !draft.catalog().is_member(who.current, id) {
                let name = name_of(draft.catalog(), id);
                return Err(denied("to reassign objects")
                    .detail(format!("It takes membership in role \"{name}\".")));
            }
        }
        let owned = |object: &&Arc<Object>| object.access.owner == from.id;
        let objects: Vec<_> = draft.catalog().objects().filter(owned).cloned().collect();
        for object in objects.iter().filter(|object| !matches!(object.kind, Kind::Index(_))) {
            own(draft, object, to.id)?;
        }
        let secrets = draft.catalog().secrets().filter(|secret| secret.access.owner == from.id);
        for mut secret in secrets.map(|secret| secret.as_ref().clone()).collect::<Vec<_>>() {
            secret.access.owner = to.id;
            draft.put_secret(secret);
        }
    }
    Ok(())
}
