//! `jsonb`: JSON values as bytes that compare as PostgreSQL compares them.
//!
//! A value is a byte for its kind and what belongs to it, so that equal values have equal bytes and
//! `memcmp` is PostgreSQL's order: grouping, joins, DISTINCT and ORDER BY need nothing of their own.
//! Numbers keep all their digits but for zeros at their end, as `numeric` does here.
//!
//! | kind | bytes after it |
//! |---|---|
//! | null, false, true | |
//! | string | its UTF-8, 0 |
//! | number | [`number`] |
//! | array | how many elements as four bytes, the elements |
//! | object | how many members as four bytes, then each key, 0 and value; keys by length, then bytes |
//!
//! Invariants: 1. a text holds no NUL, so 0 ends it. 2. reading never panics, whatever the bytes are:
//! what is not a value is null.

mod cursor;
mod encode;
mod number;
mod show;
mod walk;

#[cfg(test)]
mod tests;

pub use cursor::{Cursor, Malformed, Number, Token, unescape};
pub use encode::{array, boolean, encode, encode_token, number, object, string};
pub use show::{pretty, quoted, show};
pub use walk::{Elements, Json, Kind, Members, contains};

const NULL: u8 = 1;
const STRING: u8 = 2;
const NUMBER: u8 = 3;
const FALSE: u8 = 4;
const TRUE: u8 = 5;
const ARRAY: u8 = 6;
const OBJECT: u8 = 7;

/// The bytes of `null`.
pub const NULL_VALUE: &[u8] = &[NULL];
