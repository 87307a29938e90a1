//! What rows of a table have to meet, besides its primary key and the unique ones of its indexes.

use millrace_types::ObjectId;

pub use crate::ast::{ReferenceAction, Unique};

/// The constraints of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constraints {
    /// The name of the primary key, if it has another one than `<table>_pkey`.
    pub key_name: Option<String>,
    /// Conditions that no row may fail.
    pub checks: Vec<Check>,
    /// Foreign keys.
    pub references: Vec<References>,
}

/// A condition that no row may fail; NULL is as good as true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The name of the constraint.
    pub name: String,
    /// The text of the condition.
    pub text: String,
    /// The columns that it names.
    pub columns: Vec<usize>,
}

/// A foreign key: where none of its columns is NULL, the other table has a row with these values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct References {
    /// The name of the constraint.
    pub name: String,
    /// The columns that refer.
    pub columns: Vec<usize>,
    /// The table that they refer to.
    pub table: ObjectId,
    /// Its columns: its primary key, or those of a unique index.
    pub to: Vec<usize>,
    /// What becomes of rows whose row there is deleted.
    pub on_delete: ReferenceAction,
    /// What becomes of rows whose row there gets another key.
    pub on_update: ReferenceAction,
}

impl Constraints {
    /// True if there is nothing to be stored.
    pub fn is_empty(&self) -> bool {
        *self == Constraints::default()
    }

    /// The names of all, the primary key's only if it was given one.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let checks = self.checks.iter().map(|check| &check.name);
        let references = self.references.iter().map(|reference| &reference.name);
        checks.chain(references).chain(&self.key_name).map(String::as_str)
    }

    /// Gives references of the table to itself its number.
    pub(super) fn own(&mut self, id: ObjectId) {
        for reference in &mut self.references {
            if reference.table == ObjectId::default() {
                reference.table = id;
            }
        }
    }
}
