//! The storage layer of Millrace: everything that is durable.
//!
//! Small data (catalog, epoch log, manifest) is in a metadata store ([`MetaStore`]: fjall or sled);
//! bulk data (operator state, contents of views) is in columnar runs inside segment files
//! ([`Files`]). [`Store`] ties both together, [`Table`] is how rows go in and come out.
//! `docs/formats.md` draws what is on disk. Nothing here knows a clock or a thread.

mod block;
mod cache;
mod codec;
mod error;
mod files;
mod index;
mod keys;
mod keyspace;
mod layout;
mod merge;
mod meta;
mod narrow;
mod place;
mod rank;
mod record;
mod room;
mod run;
mod segment;
mod store;
mod table;

pub use error::{Error, Result};
pub use files::{DirFiles, FileReader, FileWriter, Files};
pub use layout::TableSpec;
pub use meta::{FjallStore, MetaKind, MetaStore, Op, Pair, SledStore, check_conformance};
pub use place::{KeyBound, LeafRecord, PlaceRecord, Reach};
pub use record::{ChangeRecord, EpochRecord, PartitionRecord, SourceRecord};
pub use room::Room;
pub use store::{Backup, Checked, Commit, Counters, Segment, Store, check, restore};
pub use table::{Change, ColumnRange, Points, Scan, ScanRows, Snapshot, Table};
