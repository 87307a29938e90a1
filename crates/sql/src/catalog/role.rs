//! Roles: users and groups of them. A user is a role that may log in.

use std::collections::BTreeMap;

use millrace_types::Concealed;

use super::Acl;

/// The number of a role, never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleId(pub u32);

impl RoleId {
    /// The superuser that every database has, `root`.
    pub const ROOT: RoleId = RoleId(0);
}

/// The name of [`RoleId::ROOT`].
pub const ROOT: &str = "root";

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Never used twice.
    pub id: RoleId,
    /// Folded.
    pub name: String,
    /// It may do everything.
    pub superuser: bool,
    /// It may make and drop roles.
    pub creates_roles: bool,
    /// It has the rights of the roles that it is a member of without asking for them.
    pub inherits: bool,
    /// It may come in.
    pub login: bool,
    /// The most sessions at a time; None: as many as the server has.
    pub connections_max: Option<u32>,
    /// Until when its password counts, microseconds since 1970; None: for ever.
    pub valid_until: Option<i64>,
    /// What proves its password, as `millrace_pg::scram` writes it; None: it has no password.
    pub verifier: Option<Concealed>,
    /// The roles that it is a member of, and whether it may make others members of them.
    pub member_of: BTreeMap<RoleId, bool>,
    /// What others may do with objects that it makes from now on.
    pub defaults: Acl,
}

impl Role {
    /// A role as CREATE ROLE without options makes it.
    pub fn new(name: impl Into<String>) -> Role {
        Role {
            id: RoleId::default(),
            name: name.into(),
            superuser: false,
            creates_roles: false,
            inherits: true,
            login: false,
            connections_max: None,
            valid_until: None,
            verifier: None,
            member_of: BTreeMap::new(),
            defaults: Acl::default(),
        }
    }

    /// The superuser that every database has.
    pub fn root() -> Role {
        Role { superuser: true, creates_roles: true, login: true, ..Role::new(ROOT) }
    }
}
