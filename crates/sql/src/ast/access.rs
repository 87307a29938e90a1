//! Statements about who may come in and do what: roles, grants, owners, secrets.

use millrace_types::Concealed;

use super::{Name, ObjectKind};
use crate::catalog::{Privilege, Privileges};

/// A statement about roles, rights and secrets.
#[derive(Clone, Debug, PartialEq)]
pub enum Access {
    /// `CREATE USER | ROLE | GROUP name options`
    CreateRole {
        /// The new role.
        name: Name,
        /// It is no error if it exists.
        if_not_exists: bool,
        /// What is said of it; of `CREATE USER` that it may log in.
        options: RoleOptions,
    },
    /// `ALTER USER | ROLE name ...`
    AlterRole(RoleName, AlterRole),
    /// `DROP USER | ROLE | GROUP name, ...`
    DropRole {
        /// Which.
        names: Vec<Name>,
        /// It is no error if one is missing.
        if_exists: bool,
    },
    /// `GRANT role, ... TO role, ...` and `REVOKE role, ... FROM role, ...`
    Membership {
        /// Which roles.
        groups: Vec<Name>,
        /// Who becomes a member of them, or ceases to be one.
        members: Vec<RoleName>,
        /// `WITH ADMIN OPTION`, `ADMIN OPTION FOR`
        admin: bool,
        /// It is `REVOKE`.
        revokes: bool,
    },
    /// `GRANT privileges ON ... TO ...` and `REVOKE ... FROM ...`
    Grant(Grant),
    /// `ALTER kind name OWNER TO role`
    Owner {
        /// What kind; `TABLE` stands for all that have rows.
        kind: ObjectKind,
        /// Which.
        name: Name,
        /// Whose it becomes.
        to: RoleName,
        /// It is no error if it is missing.
        if_exists: bool,
    },
    /// `REASSIGN OWNED BY role, ... TO role`
    Reassign(Vec<RoleName>, RoleName),
    /// `COMMENT ON kind name IS 'text'`; None: there is to be none.
    Comment(CommentOn, Option<String>),
    /// `CREATE SECRET name AS 'value'`
    CreateSecret(SecretDef),
    /// `DROP SECRET name, ...`
    DropSecret {
        /// Which.
        names: Vec<Name>,
        /// It is no error if one is missing.
        if_exists: bool,
    },
}

/// What a comment is on.
#[derive(Clone, Debug, PartialEq)]
pub enum CommentOn {
    /// An object of a kind; `TABLE` stands for all that have rows.
    Object(ObjectKind, Name),
    /// A table, and a column of it.
    Column(Name, Name),
    /// A role.
    Role(Name),
    /// A schema.
    Schema(Name),
    /// A database.
    Database(Name),
}

/// A role as statements name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleName {
    /// By its name.
    Named(Name),
    /// `CURRENT_USER`, `CURRENT_ROLE`
    Current,
    /// `SESSION_USER`
    Session,
    /// `PUBLIC`: everybody
    Public,
}

/// What `ALTER USER` changes.
#[derive(Clone, Debug, PartialEq)]
pub enum AlterRole {
    /// Options.
    Options(RoleOptions),
    /// `RENAME TO name`
    Rename(Name),
}

/// Options of a role; None where nothing is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoleOptions {
    /// `SUPERUSER`
    pub superuser: Option<bool>,
    /// `CREATEROLE`
    pub creates_roles: Option<bool>,
    /// `INHERIT`
    pub inherits: Option<bool>,
    /// `LOGIN`
    pub login: Option<bool>,
    /// `CONNECTION LIMIT n`; -1 for none
    pub connections: Option<i64>,
    /// `PASSWORD 'x'`, or `PASSWORD NULL`
    pub password: Option<Option<Concealed>>,
    /// `VALID UNTIL 'time'`, with its place
    pub valid_until: Option<(String, Option<usize>)>,
    /// `IN ROLE name, ...`
    pub in_roles: Vec<Name>,
    /// `ROLE name, ...`: its members
    pub members: Vec<Name>,
    /// `ADMIN name, ...`: its members who may make others members
    pub admins: Vec<Name>,
}

/// `GRANT` and `REVOKE` of privileges.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// It is `REVOKE`.
    pub revokes: bool,
    /// Which; None is `ALL`.
    pub privileges: Option<Vec<Privilege>>,
    /// On what.
    pub on: GrantedOn,
    /// To or from whom.
    pub grantees: Vec<RoleName>,
}

/// On what privileges are granted.
#[derive(Clone, Debug, PartialEq)]
pub enum GrantedOn {
    /// Objects that keep or give rows.
    Relations(Targets),
    /// `SECRET name, ...`
    Secrets(Vec<Name>),
    /// `SCHEMA public`
    Schema,
    /// `DATABASE dev`
    Database,
    /// `ALTER DEFAULT PRIVILEGES [FOR ROLE role, ...]`: what these make from now on; none: the user
    Future(Vec<RoleName>),
}

impl GrantedOn {
    /// What `ALL` means there.
    pub fn all(&self) -> Privileges {
        match self {
            GrantedOn::Relations(_) | GrantedOn::Future(_) => {
                Privileges::RELATION.into_iter().collect()
            }
            GrantedOn::Secrets(_) => Privileges::from_iter([Privilege::Usage]),
            GrantedOn::Schema => Privileges::from_iter([Privilege::Usage, Privilege::Create]),
            GrantedOn::Database => Privileges::from_iter([Privilege::Create]),
        }
    }
}

/// Which relations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// By name; `TABLE`, or no word, stands for all kinds.
    Named(ObjectKind, Vec<Name>),
    /// `ALL TABLES IN SCHEMA public`: all of a kind; of `TABLES` all.
    All(ObjectKind),
}

/// `CREATE SECRET`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretDef {
    /// The new secret.
    pub name: Name,
    /// It is no error if it exists.
    pub if_not_exists: bool,
    /// What it stands for.
    pub value: Concealed,
}

impl Access {
    /// The command tag.
    pub fn tag(&self) -> &'static str {
        match self {
            Access::CreateRole { .. } => "CREATE ROLE",
            Access::AlterRole(..) => "ALTER ROLE",
            Access::DropRole { .. } => "DROP ROLE",
            Access::Membership { revokes: false, .. } => "GRANT ROLE",
            Access::Membership { revokes: true, .. } => "REVOKE ROLE",
            Access::Grant(Grant { on: GrantedOn::Future(_), .. }) => "ALTER DEFAULT PRIVILEGES",
            Access::Grant(Grant { revokes: false, .. }) => "GRANT",
            Access::Grant(Grant { revokes: true, .. }) => "REVOKE",
            Access::Owner { kind, .. } => match kind {
                ObjectKind::Source => "ALTER SOURCE",
                ObjectKind::Table => "ALTER TABLE",
                ObjectKind::View => "ALTER VIEW",
                ObjectKind::MaterializedView => "ALTER MATERIALIZED VIEW",
                ObjectKind::Index => "ALTER INDEX",
                ObjectKind::Sink => "ALTER SINK",
            },
            Access::Reassign(..) => "REASSIGN OWNED",
            Access::Comment(..) => "COMMENT",
            Access::CreateSecret(_) => "CREATE SECRET",
            Access::DropSecret { .. } => "DROP SECRET",
        }
    }
}
