//! What operators keep by key: a hash index gives each key a slot, a number that addresses the
//! columns of what is known of it, and marks say which slots changed since the last hand-over.
//!
//! `index` maps keys to slots (`table` is its hash table, `keys` the two forms of keys);
//! `Marks` is the bitmap.

mod index;
mod keys;
mod marks;
mod table;

pub(super) use index::{Index, index, row_index};
pub(super) use keys::{canonical_column, one_nan};
pub(super) use marks::Marks;
pub(super) use table::NONE;
