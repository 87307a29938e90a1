//! The tables at the start of the server: made in a new data directory, and read once, so that what they
//! hold is known.

use millrace_sql::{Access, Catalog, Kind, Object, RoleId, SYSTEM_SCHEMA};
use millrace_storage::{Commit, EpochRecord, Op, Scan};
use millrace_types::{Epoch, ObjectId, decode_delta};

use super::super::ddl::object_key;
use super::rows::{errors_table, keys, late_table};
use super::{Kept, List};
use crate::coordinator::Coordinator;
use crate::error::ServerError;

const COUNT_PREFIX: &[u8] = b"counted/";

/// Without a prefix of the schema.
const NAMES: [&str; 2] = ["source_errors", "late_rows"];

fn count_key(id: ObjectId) -> Vec<u8> {
    [COUNT_PREFIX, &id.0.to_be_bytes()].concat()
}

/// The change of the catalog that keeps a counter.
pub(super) fn count_op(id: ObjectId, count: u64) -> Op {
    Op::Put(count_key(id), count.to_le_bytes().to_vec())
}

/// The change of the catalog that forgets a counter.
pub(in crate::coordinator) fn forget_count(id: ObjectId) -> Op {
    Op::Delete(count_key(id))
}

impl Kept {
    /// Before the catalog is known.
    pub(in crate::coordinator) fn nothing() -> Kept {
        let (waiting, read, counted, counted_since) = Default::default();
        let [errors, late] = NAMES.map(|name| List::new(ObjectId::default(), name));
        Kept { errors, late, waiting, read, counted, counted_since }
    }
}

impl List {
    /// Rows that the log says to have come or gone in an epoch.
    fn read_logged(&mut self, epoch: Epoch, rows: &[u8]) -> Result<(), ServerError> {
        let rows = decode_delta(rows).map_err(|error| ServerError::Catalog(error.to_string()))?;
        for ((row, key), weight) in keys(&rows.rows).into_iter().zip(rows.weights.values()) {
            match *weight > 0 {
                true => drop(self.add(row, key)),
                false => drop(self.logged_gone(row, epoch)),
            }
        }
        Ok(())
    }
}

impl Coordinator {
    /// Makes the tables that the catalog lacks.
    pub(in crate::coordinator) fn make_kept(&mut self) -> Result<(), ServerError> {
        let mut catalog: Catalog = (*self.catalog()).clone();
        for name in NAMES {
            let full = format!("{SYSTEM_SCHEMA}.{name}");
            let found = catalog.find(&full).map(|object| object.id);
            let id = match found {
                Some(id) => id,
                None => {
                    let object = self.make(full, name)?;
                    let id = object.id;
                    catalog = catalog.with(object);
                    id
                }
            };
            match name == NAMES[0] {
                true => self.kept.errors.id = id,
                false => self.kept.late.id = id,
            }
        }
        self.shared.set_catalog(catalog);
        Ok(())
    }

    fn make(&mut self, full: String, name: &str) -> Result<Object, ServerError> {
        let mut table = if name == NAMES[0] { errors_table() } else { late_table() };
        let id = self.next_object();
        table.own(id);
        let tables = [self.next_table(), self.next_table(), self.next_table()];
        [table.stored.content, table.stored.late, table.stored.errors] = tables;
        let sql = format!("-- {full} is a table of the server itself");
        let access = Access::of(RoleId::ROOT);
        let object = Object { id, name: full, kind: Kind::Table(table), sql, access };
        let bytes = object.encode().map_err(|error| ServerError::Catalog(error.to_string()))?;
        let ops = vec![Op::Put(object_key(id), bytes), self.ids_op()];
        self.shared.store.commit(Commit { ops, ..Commit::default() })?;
        Ok(object)
    }

    /// Learns what the tables hold: at the checkpoint, and by the log above it.
    pub(in crate::coordinator) fn load_kept(
        &mut self,
        log: &[EpochRecord],
    ) -> Result<(), ServerError> {
        let checkpoint = self.shared.store.checkpoint();
        for errors in [true, false] {
            let list = if errors { &mut self.kept.errors } else { &mut self.kept.late };
            let Some(view) = self.views.get(&list.id) else { continue };
            let snapshot = view.tables.content.snapshot(checkpoint)?;
            for rows in snapshot.scan(Scan::default()) {
                for (row, key) in keys(&rows?) {
                    list.add(row, key);
                }
            }
            let id = list.id;
            for record in log {
                let own = record.changes.iter().filter(|change| change.table == id);
                own.map(|change| &change.rows)
                    .try_for_each(|rows| list.read_logged(record.epoch, rows))?;
            }
        }
        self.load_counts()
    }

    fn load_counts(&mut self) -> Result<(), ServerError> {
        let mut end = COUNT_PREFIX.to_vec();
        end.push(0xff);
        for (key, bytes) in self.shared.store.scan(COUNT_PREFIX, &end)? {
            let damaged = || ServerError::Catalog("a counter of late rows is damaged".into());
            let id = key.get(COUNT_PREFIX.len()..).and_then(|id| id.try_into().ok());
            let id = ObjectId(u32::from_be_bytes(id.ok_or_else(damaged)?));
            let count = u64::from_le_bytes(bytes.as_slice().try_into().map_err(|_| damaged())?);
            match id {
                id if id == self.kept.errors.id => self.kept.errors.gone = count,
                id if id == self.kept.late.id => self.kept.late.gone = count,
                id => drop(self.kept.counted.insert(id, count)),
            }
        }
        Ok(())
    }
}
