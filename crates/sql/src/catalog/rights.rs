//! Who may do what with an object: its owner, lists of what others were granted, and the rules by which
//! roles have each other's rights.
//!
//! Invariants: 1. a superuser may do everything. 2. the owner of an object, and who has the owner's
//! rights, may do everything with it; no list says so. 3. being a superuser is not inherited.

use std::collections::{BTreeMap, BTreeSet};

use super::{Catalog, RoleId};

/// What can be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Privilege {
    /// New rows, COPY.
    Insert,
    /// Reading.
    Select,
    /// Other values.
    Update,
    /// Taking rows away.
    Delete,
    /// Of a secret: naming it in options.
    Usage,
    /// Of the schema: making objects.
    Create,
}

impl Privilege {
    /// Every one, in the order in which PostgreSQL lists them.
    pub const ALL: [Privilege; 6] = [
        Privilege::Insert,
        Privilege::Select,
        Privilege::Update,
        Privilege::Delete,
        Privilege::Usage,
        Privilege::Create,
    ];

    /// As SQL writes it.
    pub fn word(self) -> &'static str {
        match self {
            Privilege::Insert => "INSERT",
            Privilege::Select => "SELECT",
            Privilege::Update => "UPDATE",
            Privilege::Delete => "DELETE",
            Privilege::Usage => "USAGE",
            Privilege::Create => "CREATE",
        }
    }

    /// As PostgreSQL's lists write it.
    pub fn letter(self) -> char {
        match self {
            Privilege::Insert => 'a',
            Privilege::Select => 'r',
            Privilege::Update => 'w',
            Privilege::Delete => 'd',
            Privilege::Usage => 'U',
            Privilege::Create => 'C',
        }
    }

    /// Its bit in [`Privileges`] and on disk, as PostgreSQL numbers them.
    fn bit(self) -> u32 {
        match self {
            Privilege::Insert => 1,
            Privilege::Select => 1 << 1,
            Privilege::Update => 1 << 2,
            Privilege::Delete => 1 << 3,
            Privilege::Usage => 1 << 8,
            Privilege::Create => 1 << 9,
        }
    }
}

/// A set of privileges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Privileges(u32);

impl Privileges {
    /// All that relations have.
    pub const RELATION: [Privilege; 4] =
        [Privilege::Insert, Privilege::Select, Privilege::Update, Privilege::Delete];

    /// The set as a number, for the disk.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The set of a number; bits that mean nothing here are left out.
    pub fn from_bits(bits: u32) -> Privileges {
        Privilege::ALL.into_iter().filter(|one| bits & one.bit() != 0).collect()
    }

    /// True if it is in the set.
    pub fn has(self, privilege: Privilege) -> bool {
        self.0 & privilege.bit() != 0
    }

    /// True if nothing is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The letters of PostgreSQL's lists.
    pub fn letters(self) -> String {
        Privilege::ALL.into_iter().filter(|one| self.has(*one)).map(Privilege::letter).collect()
    }
}

impl FromIterator<Privilege> for Privileges {
    fn from_iter<I: IntoIterator<Item = Privilege>>(all: I) -> Privileges {
        Privileges(all.into_iter().fold(0, |bits, one| bits | one.bit()))
    }
}

/// Whom something is granted to; None is PUBLIC, everybody.
pub type Grantee = Option<RoleId>;

/// What others than the owner were granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl(BTreeMap<Grantee, Privileges>);

impl Acl {
    /// Adds privileges.
    pub fn grant(&mut self, grantee: Grantee, privileges: Privileges) {
        let entry = self.0.entry(grantee).or_default();
        entry.0 |= privileges.0;
    }

    /// Takes privileges away; what was not granted stays as it is.
    pub fn revoke(&mut self, grantee: Grantee, privileges: Privileges) {
        if let Some(entry) = self.0.get_mut(&grantee) {
            entry.0 &= !privileges.0;
            if entry.is_empty() {
                self.0.remove(&grantee);
            }
        }
    }

    /// What was granted to exactly this one.
    pub fn of(&self, grantee: Grantee) -> Privileges {
        self.0.get(&grantee).copied().unwrap_or_default()
    }

    /// Every entry, PUBLIC first.
    pub fn entries(&self) -> impl Iterator<Item = (Grantee, Privileges)> {
        self.0.iter().map(|(grantee, privileges)| (*grantee, *privileges))
    }

    /// True if nothing is granted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whose an object is, and who else may use it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The role that made it, or was given it.
    pub owner: RoleId,
    /// What others may do.
    pub acl: Acl,
}

impl Access {
    /// The access of a new object.
    pub fn of(owner: RoleId) -> Access {
        Access { owner, acl: Acl::default() }
    }
}

impl Catalog {
    /// True if the role may do everything. False for a role that is gone.
    pub fn is_superuser(&self, role: RoleId) -> bool {
        self.role(role).is_some_and(|role| role.superuser)
    }

    /// The roles whose rights a role has: itself, and those that it inherits from.
    pub fn rights_of(&self, role: RoleId) -> BTreeSet<RoleId> {
        self.reached(role, |role| role.inherits)
    }

    /// True if a role may become another one.
    pub fn is_member(&self, role: RoleId, of: RoleId) -> bool {
        self.is_superuser(role) || self.reached(role, |_| true).contains(&of)
    }

    fn reached(&self, from: RoleId, passes: impl Fn(&super::Role) -> bool) -> BTreeSet<RoleId> {
        let (mut found, mut open) = (BTreeSet::from([from]), vec![from]);
        while let Some(role) = open.pop().and_then(|id| self.role(id)) {
            if passes(role) {
                open.extend(role.member_of.keys().filter(|group| found.insert(**group)));
            }
        }
        found
    }

    /// True if a role may do with an object what only its owner may.
    pub fn owns(&self, role: RoleId, access: &Access) -> bool {
        self.is_superuser(role) || self.rights_of(role).contains(&access.owner)
    }

    /// True if a role may make others members of a role.
    pub fn administers(&self, role: RoleId, group: RoleId) -> bool {
        let may =
            |id: RoleId| self.role(id).and_then(|role| role.member_of.get(&group)) == Some(&true);
        self.is_superuser(role) || self.rights_of(role).into_iter().any(may)
    }

    /// True if a role may do something with an object.
    pub fn allows(&self, role: RoleId, access: &Access, privilege: Privilege) -> bool {
        if self.is_superuser(role) || access.acl.of(None).has(privilege) {
            return true;
        }
        let mut rights = self.rights_of(role).into_iter();
        rights.any(|id| id == access.owner || access.acl.of(Some(id)).has(privilege))
    }
}
