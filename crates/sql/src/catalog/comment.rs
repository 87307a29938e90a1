//! Comments on objects, columns, roles, the schema and the database.

use millrace_types::ObjectId;

use super::RoleId;

/// What a comment is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Commented {
    /// An object.
    Object(ObjectId),
    /// A column of one, counted from 1.
    Column(ObjectId, u32),
    /// A role.
    Role(RoleId),
    /// The schema of users' objects.
    Schema,
    /// The database.
    Database,
}

impl Commented {
    /// What tells it from others in the metadata store: its kind, and its numbers.
    pub fn key(self) -> [u8; 9] {
        let (kind, first, second) = match self {
            Commented::Object(id) => (1, id.0, 0),
            Commented::Column(id, column) => (1, id.0, column),
            Commented::Role(id) => (2, id.0, 0),
            Commented::Schema => (3, 0, 0),
            Commented::Database => (4, 0, 0),
        };
        let mut key = [kind; 9];
        key[1..5].copy_from_slice(&u32::to_be_bytes(first));
        key[5..].copy_from_slice(&u32::to_be_bytes(second));
        key
    }

    /// What a key stands for; None for none.
    pub fn of_key(key: &[u8]) -> Option<Commented> {
        let key: [u8; 9] = key.try_into().ok()?;
        let number = |at: usize| Some(u32::from_be_bytes(key.get(at..at + 4)?.try_into().ok()?));
        let (first, second) = (number(1)?, number(5)?);
        Some(match (key[0], second) {
            (1, 0) => Commented::Object(ObjectId(first)),
            (1, column) => Commented::Column(ObjectId(first), column),
            (2, _) => Commented::Role(RoleId(first)),
            (3, _) => Commented::Schema,
            (4, _) => Commented::Database,
            _ => return None,
        })
    }
}
