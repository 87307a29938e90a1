//! The relations that clients' catalog queries list.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use millrace_pg::catalog::{
    Activity, AdvisoryLocks, ColumnMore, Comment, IndexOf, Lock, On, Relation, RelationKind,
    Relations, Role, Sequence, Signal, class_oid,
};
use millrace_sql::ast::IdentityKind;
use millrace_sql::{
    Access, Catalog, Commented, Grantee, Identity, Kind, Object, Privilege, Privileges, RoleId,
    SYSTEM_SCHEMA, SourceColumn, TableColumn,
};
use millrace_types::{ObjectId, Report};

use super::change::quoted;
use crate::locks::Shown;
use crate::serving::{system_names, system_table};
use crate::shared::{Shared, ViewStatus};

/// Numbers of users' relations begin here, as in PostgreSQL.
const FIRST_USER_OID: u32 = 16_384;
/// The number of the schema of users' relations.
const PUBLIC_OID: u32 = 2200;
/// The number of the database.
const DATABASE_OID: u32 = 5;
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
        let sizes = Sizes::of(&self.0);
        let relation = |object: &Arc<Object>| relation(&catalog, object, &sizes);
        let mut all: Vec<Relation> = catalog.objects().filter_map(relation).collect();
        all.extend(
            catalog.sequences().map(|(table, _, identity)| sequence(&catalog, table, identity)),
        );
        for (oid, name) in (FIRST_SYSTEM_OID..).zip(system_names()) {
            // A table that cannot be read now is left out of the list.
            if let Ok(Some(table)) = system_table(&self.0, name) {
                all.push(Relation {
                    oid,
                    schema: SYSTEM_SCHEMA.into(),
                    name: (*name).into(),
                    kind: RelationKind::Table,
                    columns: table.schema(),
                    more: Vec::new(),
                    key: Vec::new(),
                    constraints: Vec::new(),
                    definition: None,
                    depends_on: Vec::new(),
                    owner: ROOT_OID,
                    acl: None,
                    index: None,
                    rows: None,
                    bytes: 0,
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

    fn comments(&self) -> Vec<Comment> {
        let catalog = self.0.catalog();
        let class = |name| class_oid(name).unwrap_or_default();
        let comment = |(on, text): (Commented, &str)| {
            let (class, object, column) = match on {
                Commented::Object(id) => (class("pg_class"), oid(catalog.get(id)?.id), 0),
                Commented::Column(id, column) => {
                    let column = i32::try_from(column).unwrap_or_default();
                    (class("pg_class"), oid(catalog.get(id)?.id), column)
                }
                Commented::Role(id) => {
                    let role = catalog.roles().find(|role| role.id == id)?;
                    (class("pg_authid"), role_oid(role.id), 0)
                }
                Commented::Schema => (class("pg_namespace"), PUBLIC_OID, 0),
                Commented::Database => (class("pg_database"), DATABASE_OID, 0),
            };
            Some(Comment { class, object, column, text: text.to_owned() })
        };
        catalog.comments().filter_map(comment).collect()
    }

    fn activity(&self) -> Vec<Activity> {
        let catalog = self.0.catalog();
        let name = |id: RoleId| crate::access::name_of(&catalog, id);
        self.0.sessions.read(|role| (role_oid(role), name(role)))
    }

    fn sequences(&self) -> Vec<Sequence> {
        let catalog = self.0.catalog();
        let sequence = |(table, at, identity): (&Arc<Object>, usize, &Identity)| Sequence {
            oid: oid(identity.sequence),
            name: identity.name.clone(),
            table: oid(table.id),
            column: i16::try_from(at + 1).unwrap_or_default(),
            identity: identity.kind != IdentityKind::Serial,
            owner: role_oid(table.access.owner),
            data_type: table.full_schema().field(at).data_type().clone(),
            start: identity.start,
            increment: identity.increment,
            least: identity.least,
            greatest: identity.greatest,
            cycles: identity.cycles,
            last: self.0.last_number(identity),
        };
        catalog.sequences().map(sequence).collect()
    }

    fn numbers(&self, sequence: u32, count: usize) -> Result<Vec<i64>, Report> {
        self.0.numbers(object_id(sequence), count)
    }

    fn set_number(&self, sequence: u32, number: i64, behind: bool) -> Result<(), Report> {
        self.0.set_number(object_id(sequence), number, behind)
    }

    fn locks(&self) -> Vec<Lock> {
        let lock = |shown: Shown| Lock {
            process: shown.process,
            relation: oid(shown.table),
            waits_since: shown.waits_since,
        };
        self.0.locks.shown().into_iter().map(lock).collect()
    }

    fn advisory_locks(&self) -> Arc<AdvisoryLocks> {
        Arc::clone(&self.0.advisory_locks)
    }

    fn signal(&self, process: i32, signal: Signal) -> bool {
        self.0.sessions.signal(process, signal)
    }

    fn now(&self) -> i64 {
        self.0.clock.now()
    }

    fn began(&self) -> i64 {
        self.0.sessions.began
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

/// What is stored of views and tables: rows, and bytes in memory and of operators' state.
struct Sizes(BTreeMap<ObjectId, (i64, i64)>);

impl Sizes {
    fn of(shared: &Shared) -> Sizes {
        let views = shared.board.lock().views.clone();
        let size = |(id, status): (ObjectId, ViewStatus)| {
            let content = &status.tables.content;
            // None in the moment in which a checkpoint passes the epoch by.
            let snapshot = content.snapshot(status.upper.epoch().previous()).ok()?;
            let bytes = content.bytes().saturating_add(status.state_bytes);
            let rows = snapshot.rows_upper_bound().cast_signed();
            Some((id, (rows, i64::try_from(bytes).unwrap_or(i64::MAX))))
        };
        Sizes(views.into_iter().filter_map(size).collect())
    }
}

/// An object as clients see it; sinks they don't.
fn relation(catalog: &Catalog, object: &Object, sizes: &Sizes) -> Option<Relation> {
    let kind = match object.kind {
        Kind::Source(_) => RelationKind::Source,
        Kind::Table(_) => RelationKind::Table,
        Kind::View(_) => RelationKind::View,
        Kind::MaterializedView(_) => RelationKind::MaterializedView,
        Kind::Index(_) => RelationKind::Index,
        Kind::Sink(_) => return None,
    };
    let columns = match &object.kind {
        Kind::Index(index) => {
            let columns = object.full_schema().project(&index.columns);
            Arc::new(columns.unwrap_or_else(|_| Schema::empty()))
        }
        _ => object.visible_schema(),
    };
    let size = sizes.0.get(&object.id);
    Some(Relation {
        oid: oid(object.id),
        schema: object.server_name().map_or("public", |_| SYSTEM_SCHEMA).into(),
        name: object.server_name().unwrap_or(&object.name).to_owned(),
        kind,
        columns,
        more: more(&object.kind),
        key: match &object.kind {
            Kind::Table(table) => places(&table.key),
            _ => Vec::new(),
        },
        constraints: super::shown_constraints::of(catalog, object),
        definition: definition(catalog, object),
        depends_on: match &object.kind {
            Kind::View(view) => view.depends_on.iter().copied().map(oid).collect(),
            Kind::MaterializedView(view) => view.depends_on.iter().copied().map(oid).collect(),
            _ => Vec::new(),
        },
        owner: role_oid(object.access.owner),
        acl: acl(catalog, &object.access, Privileges::RELATION.into_iter().collect()),
        index: match &object.kind {
            Kind::Index(index) => {
                let (on, columns) = (oid(index.on), places(&index.columns));
                let unique = index.unique.is_some();
                Some(IndexOf { on, columns, primary: false, unique })
            }
            _ => None,
        },
        rows: size.map(|(rows, _)| *rows),
        bytes: size.map_or(0, |(_, bytes)| *bytes),
    })
}

/// A sequence, as clients see it.
fn sequence(catalog: &Catalog, table: &Object, identity: &Identity) -> Relation {
    let columns = [
        ("last_value", DataType::Int64),
        ("log_cnt", DataType::Int64),
        ("is_called", DataType::Boolean),
    ];
    let columns = columns.map(|(name, data_type)| Field::new(name, data_type, false));
    Relation {
        oid: oid(identity.sequence),
        schema: "public".into(),
        name: identity.name.clone(),
        kind: RelationKind::Sequence,
        columns: Arc::new(Schema::new(columns.to_vec())),
        more: Vec::new(),
        key: Vec::new(),
        definition: None,
        depends_on: Vec::new(),
        owner: role_oid(table.access.owner),
        acl: acl(catalog, &Access::of(table.access.owner), Privileges::default()),
        constraints: Vec::new(),
        index: None,
        rows: None,
        bytes: 0,
    }
}

/// The object of a number in `pg_class`.
fn object_id(oid: u32) -> ObjectId {
    ObjectId(oid.saturating_sub(FIRST_USER_OID))
}

/// The number of an object in `pg_class`.
pub(super) fn oid(id: ObjectId) -> u32 {
    FIRST_USER_OID + id.0
}

/// Columns as `pg_index` counts them.
pub(super) fn places(columns: &[usize]) -> Vec<i16> {
    columns.iter().map(|column| i16::try_from(column + 1).unwrap_or_default()).collect()
}

/// Defaults, computed columns and lengths.
fn more(kind: &Kind) -> Vec<ColumnMore> {
    match kind {
        Kind::Table(table) => {
            let more = |column: &TableColumn| ColumnMore {
                default: column.default.clone().or_else(|| serial(column.identity.as_ref()?)),
                computed: false,
                length: column.length,
                identity: match column.identity.as_ref().map(|identity| identity.kind) {
                    Some(IdentityKind::Always) => Some("a"),
                    Some(IdentityKind::ByDefault) => Some("d"),
                    Some(IdentityKind::Serial) | None => None,
                },
            };
            table.columns.iter().map(more).collect()
        }
        Kind::Source(source) => {
            let more = |column: &SourceColumn| ColumnMore {
                default: column.computed.clone(),
                computed: column.computed.is_some(),
                length: None,
                identity: None,
            };
            source.columns.iter().map(more).collect()
        }
        _ => Vec::new(),
    }
}

/// The default of a column of type SERIAL, as PostgreSQL writes it.
fn serial(identity: &Identity) -> Option<String> {
    let name = written(&identity.name).replace('\'', "''");
    (identity.kind == IdentityKind::Serial).then(|| format!("nextval('{name}'::regclass)"))
}

/// The query of a view, or the statement of an index as PostgreSQL writes it.
fn definition(catalog: &Catalog, object: &Object) -> Option<String> {
    match &object.kind {
        Kind::Source(_) | Kind::Table(_) | Kind::Sink(_) => None,
        Kind::View(view) => Some(view.query_text.clone()),
        Kind::MaterializedView(_) => millrace_sql::view_query(&object.sql).ok(),
        Kind::Index(index) => {
            let schema = object.full_schema();
            let columns = index.columns.iter().map(|column| written(schema.field(*column).name()));
            let columns = columns.collect::<Vec<_>>().join(", ");
            let (name, on) = (written(&object.name), written(&catalog.get(index.on)?.name));
            let unique = if index.unique.is_some() { "UNIQUE " } else { "" };
            Some(format!("CREATE {unique}INDEX {name} ON public.{on} USING btree ({columns})"))
        }
    }
}

/// A name as it is written in a statement, with quotes where it needs them.
pub(super) fn written(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
    let first = |c: char| plain(c) && !c.is_ascii_digit();
    match name.starts_with(first) && name.chars().all(plain) {
        true => name.to_owned(),
        false => quoted(name),
    }
}
