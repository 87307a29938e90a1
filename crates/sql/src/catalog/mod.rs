//! The catalog: an immutable snapshot of all objects. A change makes a new one; readers keep theirs.
//!
//! Identifiers grow and are never used twice. What keeps rows names objects that were there when it was
//! made, and is never made anew: among these the order of identifiers is an order of dependency. A view may
//! be replaced by one that names newer objects.
//!
//! Invariants: 1. names are unique over all kinds (asserted in [`Catalog::with`]), those of roles and of
//! secrets among themselves. 2. what a stored object reads has a smaller identifier. 3. the role root is
//! always there.

mod codec;
mod comment;
mod constraint;
mod object;
mod rights;
mod role;
mod secret;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_types::ObjectId;

pub use codec::{CatalogError, decode_acl, encode_acl};
pub use comment::Commented;
pub use constraint::{Check, Constraints, ReferenceAction, References, Unique};
pub(crate) use object::visible;
pub use object::{
    Identity, Include, IncludeKind, Index, Kind, MaterializedView, Object, ROW_ID_COLUMN, Sink,
    SinkFormat, Source, SourceColumn, SourceWatermark, Table, TableColumn, View,
};
pub use rights::{Access, Acl, Grantee, Privilege, Privileges};
pub use role::{ROOT, Role, RoleId};
pub use secret::{Secret, is_confidential};

/// All objects at one moment.
#[derive(Clone, Debug)]
pub struct Catalog {
    objects: BTreeMap<ObjectId, Arc<Object>>,
    names: BTreeMap<String, ObjectId>,
    roles: BTreeMap<RoleId, Arc<Role>>,
    role_names: BTreeMap<String, RoleId>,
    secrets: BTreeMap<ObjectId, Arc<Secret>>,
    /// Who may make objects.
    schema: Access,
    comments: BTreeMap<Commented, String>,
    /// How often objects got another definition since the server started.
    redefinitions: u64,
}

impl Default for Catalog {
    fn default() -> Catalog {
        let root = Role::root();
        Catalog {
            objects: BTreeMap::new(),
            names: BTreeMap::new(),
            role_names: BTreeMap::from([(root.name.clone(), root.id)]),
            roles: BTreeMap::from([(root.id, Arc::new(root))]),
            secrets: BTreeMap::new(),
            schema: Access::default(),
            comments: BTreeMap::new(),
            redefinitions: 0,
        }
    }
}

impl Catalog {
    /// A catalog without objects.
    pub fn new() -> Catalog {
        Catalog::default()
    }

    /// The object with this name, folded, without a schema.
    pub fn find(&self, name: &str) -> Option<&Arc<Object>> {
        self.objects.get(self.names.get(name)?)
    }

    /// The object with this identifier.
    pub fn get(&self, id: ObjectId) -> Option<&Arc<Object>> {
        self.objects.get(&id)
    }

    /// Every object, in the order in which they were made.
    pub fn objects(&self) -> impl DoubleEndedIterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// The same with an object more, or with another version of one.
    #[must_use]
    pub fn with(&self, object: Object) -> Catalog {
        let taken = self.names.get(&object.name).is_some_and(|id| *id != object.id);
        assert!(!taken, "the name \"{}\" is taken", object.name);
        let mut catalog = self.without(object.id);
        catalog.names.insert(object.name.clone(), object.id);
        catalog.objects.insert(object.id, Arc::new(object));
        catalog
    }

    /// The same without an object.
    #[must_use]
    pub fn without(&self, id: ObjectId) -> Catalog {
        let mut catalog = self.clone();
        if let Some(object) = catalog.objects.remove(&id) {
            catalog.names.remove(&object.name);
        }
        catalog
    }

    /// What depends on an object, directly or over others, in the order in which it was made.
    pub fn dependants(&self, id: ObjectId) -> Vec<ObjectId> {
        let mut found = BTreeSet::from([id]);
        let mut known = 0;
        // A view that was replaced may stand on one that was made after it.
        while known < found.len() {
            known = found.len();
            for object in self.objects() {
                if object.depends_on().iter().any(|on| found.contains(on)) {
                    found.insert(object.id);
                }
            }
        }
        found.remove(&id);
        found.into_iter().collect()
    }

    /// How often objects got another name or definition since the server started: what was bound to a
    /// catalog with another number may mean something else now.
    pub fn redefinitions(&self) -> u64 {
        self.redefinitions
    }

    /// Objects have got another name or definition.
    pub fn redefined(&mut self) {
        self.redefinitions += 1;
    }

    /// The indexes on an object.
    pub fn indexes(&self, on: ObjectId) -> impl Iterator<Item = (&Arc<Object>, &Index)> {
        self.objects().filter_map(move |object| match &object.kind {
            Kind::Index(index) if index.on == on => Some((object, index)),
            _ => None,
        })
    }

    /// The foreign keys that refer to a table, with the tables that have them.
    pub fn references(&self, to: ObjectId) -> impl Iterator<Item = (&Arc<Object>, &References)> {
        self.objects().flat_map(move |object| {
            let references = match &object.kind {
                Kind::Table(table) => table.constraints.references.as_slice(),
                _ => &[],
            };
            let there = references.iter().filter(move |reference| reference.table == to);
            there.map(move |reference| (object, reference))
        })
    }

    /// The sinks that follow an object.
    pub fn sinks(&self, from: ObjectId) -> impl Iterator<Item = (&Arc<Object>, &Sink)> {
        self.objects().filter_map(move |object| match &object.kind {
            Kind::Sink(sink) if sink.from == from => Some((object, sink)),
            _ => None,
        })
    }

    /// Every sequence, with the table and the column that takes its numbers.
    pub fn sequences(&self) -> impl Iterator<Item = (&Arc<Object>, usize, &Identity)> {
        self.objects().flat_map(|object| {
            let columns = match &object.kind {
                Kind::Table(table) => table.columns.as_slice(),
                _ => &[],
            };
            let columns = columns.iter().enumerate();
            columns.filter_map(move |(at, column)| Some((object, at, column.identity.as_ref()?)))
        })
    }

    /// The names of all objects.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The role with this number.
    pub fn role(&self, id: RoleId) -> Option<&Arc<Role>> {
        self.roles.get(&id)
    }

    /// The role with this name, folded.
    pub fn find_role(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.get(self.role_names.get(name)?)
    }

    /// Every role, root first.
    pub fn roles(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.values()
    }

    /// Adds a role, or another version of one.
    pub fn put_role(&mut self, role: Role) {
        let taken = self.role_names.get(&role.name).is_some_and(|id| *id != role.id);
        assert!(!taken, "the name of the role is taken");
        self.remove_role(role.id);
        self.role_names.insert(role.name.clone(), role.id);
        self.roles.insert(role.id, Arc::new(role));
    }

    /// Takes a role away.
    pub fn remove_role(&mut self, id: RoleId) {
        if let Some(role) = self.roles.remove(&id) {
            self.role_names.remove(&role.name);
        }
    }

    /// The secret with this number.
    pub fn secret(&self, id: ObjectId) -> Option<&Arc<Secret>> {
        self.secrets.get(&id)
    }

    /// The secret with this name, folded.
    pub fn find_secret(&self, name: &str) -> Option<&Arc<Secret>> {
        self.secrets.values().find(|secret| secret.name == name)
    }

    /// Every secret, oldest first.
    pub fn secrets(&self) -> impl Iterator<Item = &Arc<Secret>> {
        self.secrets.values()
    }

    /// Adds a secret, or another version of one.
    pub fn put_secret(&mut self, secret: Secret) {
        self.secrets.insert(secret.id, Arc::new(secret));
    }

    /// Takes a secret away.
    pub fn remove_secret(&mut self, id: ObjectId) {
        self.secrets.remove(&id);
    }

    /// Keeps a comment, or takes it away.
    pub fn put_comment(&mut self, on: Commented, text: Option<String>) {
        match text {
            Some(text) => self.comments.insert(on, text),
            None => self.comments.remove(&on),
        };
    }

    /// All comments, those on what has gone too.
    pub fn comments(&self) -> impl Iterator<Item = (Commented, &str)> {
        self.comments.iter().map(|(on, text)| (*on, text.as_str()))
    }

    /// Whose the schema `public` is, and who may make objects in it.
    pub fn schema(&self) -> &Access {
        &self.schema
    }

    /// Changes who may make objects.
    pub fn set_schema(&mut self, schema: Access) {
        self.schema = schema;
    }
}
