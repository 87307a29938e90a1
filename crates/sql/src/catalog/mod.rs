//! The catalog: an immutable snapshot of all objects. A change makes a new one; readers keep theirs.
//!
//! Identifiers grow and are never used twice, and an object can only name objects that exist, so the
//! order of identifiers is an order of dependency.
//!
//! Invariants: 1. names are unique over all kinds (asserted in [`Catalog::with`]). 2. what an object
//! depends on has a smaller identifier.

mod codec;
mod object;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_types::ObjectId;

pub use codec::CatalogError;
pub(crate) use object::visible;
pub use object::{
    Include, IncludeKind, Index, Kind, MaterializedView, Object, ROW_ID_COLUMN, Sink, SinkFormat,
    Source, SourceColumn, SourceWatermark, Table, TableColumn, View,
};

/// All objects at one moment.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    objects: BTreeMap<ObjectId, Arc<Object>>,
    names: BTreeMap<String, ObjectId>,
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

    /// Every object, after what it depends on.
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

    /// What depends on an object, directly or over others, in order of dependency.
    pub fn dependants(&self, id: ObjectId) -> Vec<ObjectId> {
        let mut found = BTreeSet::from([id]);
        for object in self.objects() {
            if object.depends_on().iter().any(|on| found.contains(on)) {
                found.insert(object.id);
            }
        }
        found.remove(&id);
        found.into_iter().collect()
    }

    /// The indexes on an object.
    pub fn indexes(&self, on: ObjectId) -> impl Iterator<Item = (&Arc<Object>, &Index)> {
        self.objects().filter_map(move |object| match &object.kind {
            Kind::Index(index) if index.on == on => Some((object, index)),
            _ => None,
        })
    }

    /// The sinks that follow an object.
    pub fn sinks(&self, from: ObjectId) -> impl Iterator<Item = (&Arc<Object>, &Sink)> {
        self.objects().filter_map(move |object| match &object.kind {
            Kind::Sink(sink) if sink.from == from => Some((object, sink)),
            _ => None,
        })
    }

    /// The names of all objects.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }
}
