//! The relations that clients' catalog queries list.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Schema;
use millrace_pg::catalog::{On, Relation, RelationKind, Relations, Role};
use millrace_sql::{
    Access, Catalog, Grantee, Kind, Object, Privilege, Privileges, RoleId, SYSTEM_SCHEMA,
};
use millrace_types::ObjectId;

use super::change::quoted;
use crate::serving::{system_names, system_table};
use crate::shared::Shared;

/// Numbers of users' relations begin here, as in PostgreSQL.
const FIRST_USER_OID: u32 = 16_384;
/// Numbers of the server's own tables begin here.
const FIRST_SYSTEM_OID: u32 = 15_000;

/// Everything in the catalog, and the schema `millrace`.
pub(super) struct CatalogRelations(pub(super) Arc<Shared>);

impl fmt::Debug for CatalogRelations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatalogRelations").finish_non_exhaustive()
    }
}

impl Relations for CatalogRelations {
    fn relations(&self) -> Vec<Relation> {
        let catalog = self.0.catalog();
        let mut all: Vec<Relation> = catalog
            .objects()
            .filter(|object| !matches!(object.kind, Kind::Sink(_)))
            .map(|object| Relation {
                oid: FIRST_USER_OID + object.id.0,
                schema: object.server_name().map_or("public", |_| SYSTEM_SCHEMA).into(),
                name: object.server_name().unwrap_or(&object.name).to_owned(),
                kind: match object.kind {
                    Kind::Source(_) => RelationKind::Source,
                    Kind::Table(_) => RelationKind::Table,
                    Kind::View(_) => RelationKind::View,
                    Kind::MaterializedView(_) => RelationKind::MaterializedView,
                    Kind::Index(_) => RelationKind::Index,
                    // They are filtered out above.
                    Kind::Sink(_) => RelationKind::Table,
                },
                columns: match &object.kind {
                    Kind::Index(index) => Arc::new(
                        object
                            .full_schema()
                            .project(&index.columns)
                            .unwrap_or_else(|_| Schema::empty()),
                    ),
                    _ => object.visible_schema(),
                },
                definition: definition(&catalog, object),
                owner: role_oid(object.access.owner),
                acl: acl(&catalog, &object.access, Privileges::RELATION.into_iter().collect()),
                index: index_of(&object.kind),
            })
            .collect();
        for (oid, name) in (FIRST_SYSTEM_OID..).zip(system_names()) {
            // A table that cannot be read now is left out of the list.
            if let Ok(Some(table)) = system_table(&self.0, name) {
                all.push(Relation {
                    oid,
                    schema: SYSTEM_SCHEMA.into(),
                    name: (*name).into(),
                    kind: RelationKind::Table,
                    columns: table.schema(),
                    definition: None,
                    owner: ROOT_OID,
                    acl: None,
                    index: None,
                });
            }
        }
        all
    }

    fn roles(&self) -> Vec<Role> {
        let catalog = self.0.catalog();
        let role = |role: &Arc<millrace_sql::Role>| Role {
            oid: role_oid(role.id),
            name: role.name.clone(),
            superuser: role.superuser,
            inherits: role.inherits,
            creates_roles: role.creates_roles,
            login: role.login,
            connections_max: role
                .connections_max
                .map_or(-1, |most| i32::try_from(most).unwrap_or(i32::MAX)),
            valid_until: role.valid_until,
            defaults: acl(
                &catalog,
                &Access { owner: role.id, acl: role.defaults.clone() },
                Privileges::RELATION.into_iter().collect(),
            ),
            member_of: role.member_of.iter().map(|(id, admin)| (role_oid(*id), *admin)).collect(),
        };
        catalog.roles().map(role).collect()
    }

    fn schema_acl(&self) -> Vec<String> {
        let catalog = self.0.catalog();
        let mut access = catalog.schema().clone();
        // Everybody may look into it.
        let usage = Privileges::from_iter([Privilege::Usage]);
        access.acl.grant(None, usage);
        let all = Privileges::from_iter([Privilege::Usage, Privilege::Create]);
        acl(&catalog, &access, all).unwrap_or_default()
    }

    fn allows(&self, role: u32, on: On, privilege: &str) -> Option<bool> {
        let catalog = self.0.catalog();
        let role = catalog.roles().find(|one| role_oid(one.id) == role)?.id;
        let (bare, option) = match privilege.strip_suffix(" WITH GRANT OPTION") {
            Some(bare) => (bare, true),
            None => (privilege, false),
        };
        let superuser = catalog.is_superuser(role);
        match on {
            On::Relation(oid) if oid >= FIRST_USER_OID => {
                let object = catalog.get(ObjectId(oid - FIRST_USER_OID))?;
                let known = Privileges::RELATION.into_iter().find(|one| one.word() == bare);
                Some(match known {
                    Some(wanted) if !option => catalog.allows(role, &object.access, wanted),
                    _ => catalog.owns(role, &object.access),
                })
            }
            On::Relation(_) | On::SystemSchema => {
                Some(superuser || matches!(bare, "SELECT" | "USAGE"))
            }
            On::Schema if bare == "CREATE" => {
                Some(catalog.allows(role, catalog.schema(), Privilege::Create))
            }
            On::Schema => Some(superuser || bare == "USAGE"),
            On::Database => Some(superuser || bare == "CONNECT"),
        }
    }
}

/// The number of root in `pg_roles`, as in PostgreSQL.
const ROOT_OID: u32 = 10;

/// The number of a role in `pg_roles`.
fn role_oid(id: RoleId) -> u32 {
    if id == RoleId::ROOT { ROOT_OID } else { FIRST_USER_OID + id.0 }
}

/// What others than the owner were granted, as PostgreSQL writes it, the owner's own first.
fn acl(catalog: &Catalog, access: &Access, all: Privileges) -> Option<Vec<String>> {
    if access.acl.is_empty() {
        return None;
    }
    let name = |id: RoleId| written(&crate::access::name_of(catalog, id));
    let owner = name(access.owner);
    let mut entries = vec![format!("{owner}={}/{owner}", all.letters())];
    let entry = |(grantee, privileges): (Grantee, Privileges)| {
        format!("{}={}/{owner}", grantee.map(name).unwrap_or_default(), privileges.letters())
    };
    entries.extend(access.acl.entries().map(entry));
    Some(entries)
}

/// What an index is on, and its columns there.
fn index_of(kind: &Kind) -> Option<(u32, Vec<i16>)> {
    let Kind::Index(index) = kind else { return None };
    let columns = index.columns.iter().map(|column| i16::try_from(column + 1).unwrap_or_default());
    Some((FIRST_USER_OID + index.on.0, columns.collect()))
}

/// The query of a view, or the statement of an index as PostgreSQL writes it.
fn definition(catalog: &Catalog, object: &Object) -> Option<String> {
    match &object.kind {
        Kind::Source(_) | Kind::Table(_) | Kind::Sink(_) => None,
        Kind::View(view) => Some(view.query_text.clone()),
        Kind::MaterializedView(_) => {
            let lower = object.sql.to_ascii_lowercase();
            let at = lower.find("select").or_else(|| lower.find("with"));
            at.and_then(|at| object.sql.get(at..)).map(str::to_owned)
        }
        Kind::Index(index) => {
            let schema = object.full_schema();
            let columns = index.columns.iter().map(|column| written(schema.field(*column).name()));
            let columns = columns.collect::<Vec<_>>().join(", ");
            let (name, on) = (written(&object.name), written(&catalog.get(index.on)?.name));
            Some(format!("CREATE INDEX {name} ON public.{on} USING btree ({columns})"))
        }
    }
}

/// A name as it is written in a statement, with quotes where it needs them.
fn written(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
    let first = |c: char| plain(c) && !c.is_ascii_digit();
    match name.starts_with(first) && name.chars().all(plain) {
        true => name.to_owned(),
        false => quoted(name),
    }
}
