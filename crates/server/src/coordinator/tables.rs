//! Tables: rows that statements change.
//!
//! A table is a dataflow of one leaf, without operators, whose rows come from here. What a transaction
//! changed is staged, cut into the open epoch at once, logged with its seal, and then sent to the
//! workers: the seal is the moment at which it has happened.
//!
//! Invariants: 1. one transaction a table is staged at a time (sessions hold the table's lock until
//! it is durable), so that a key changes at most once an epoch. 2. rows reach a worker before
//! the seal of their epoch, and only after it is durable. 3. all rows of a table go to one worker,
//! which keeps them in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_dataflow::graph::Graph;
use millrace_dataflow::runtime::{Command, FeedId, Install};
use millrace_sql::{Identity, Kind, Object};
use millrace_storage::{ChangeRecord, Op};
use millrace_types::{Delta, Epoch, ObjectId, Report, SqlState, Ts, decode_delta, encode_delta};
use tokio::sync::oneshot;

use super::checkpoint::Then;
use super::ddl::object_key;
use super::{Coordinator, Reply, Request};
use crate::error::ServerError;
use crate::locks::TableLock;

/// The most bytes that one transaction may change.
pub(crate) const CHANGE_BYTES_MAX: usize = 64 << 20;

/// What a transaction changed.
pub struct TableChange {
    /// The tables, each with rows in its full schema: those that go before those that come in their
    /// place.
    pub changes: Vec<(ObjectId, Delta)>,
    /// Held until the change is durable and who reads next waits for it, whatever becomes of the
    /// session.
    pub locks: Vec<TableLock>,
    /// Told the epoch when it is durable.
    pub reply: Told,
}

/// Who is told what has become of a change.
pub enum Told {
    /// The session that has made it.
    Session(oneshot::Sender<Result<Epoch, Report>>),
    /// Its rows are the first ones of a table, which enters the catalog now.
    Creates(Box<Object>, Reply),
}

impl TableChange {
    /// It does not happen. The tables are free before the session hears of it.
    pub(super) fn refuse(self, report: Report) {
        drop(self.locks);
        // A client that has gone needs no answer.
        match self.reply {
            Told::Session(reply) => drop(reply.send(Err(report))),
            Told::Creates(_, reply) => drop(reply.send(Err(report))),
        }
    }

    /// The table that it makes.
    fn creates(&self) -> Option<&Object> {
        match &self.reply {
            Told::Session(_) => None,
            Told::Creates(object, _) => Some(object),
        }
    }

    /// True if it is of a table that there is not.
    fn lacks_table(&self, feeds: &BTreeMap<ObjectId, FeedId>) -> bool {
        let lacks = |(table, _): &(ObjectId, Delta)| !feeds.contains_key(table);
        self.creates().is_none() && self.changes.iter().any(lacks)
    }
}

impl Coordinator {
    /// Takes the change of a statement into the open epoch.
    pub(super) fn stage(&mut self, change: TableChange) {
        if self.stopping {
            change.refuse(super::shutting_down());
        } else if change.lacks_table(&self.table_feeds) {
            let message = "the table has been dropped";
            change.refuse(Report::new(SqlState::UNDEFINED_TABLE, message));
        } else if let Some(report) = self.refuses_change(bytes(&change)) {
            change.refuse(report);
        } else {
            self.changes.push(change);
        }
    }

    /// The staged changes for the log; what cannot be logged is refused.
    pub(super) fn logged_changes(&mut self) -> (Vec<ChangeRecord>, Vec<TableChange>) {
        let (mut records, mut taken) = (Vec::new(), Vec::new());
        for change in std::mem::take(&mut self.changes) {
            let encoded = change
                .changes
                .iter()
                .map(|(table, rows)| Ok(ChangeRecord { table: *table, rows: encode_delta(rows)? }));
            match encoded.collect::<Result<Vec<_>, arrow::error::ArrowError>>() {
                Ok(encoded) => {
                    records.extend(encoded);
                    taken.push(change);
                }
                Err(error) => {
                    change.refuse(Report::new(SqlState::INTERNAL_ERROR, error.to_string()));
                }
            }
        }
        (records, taken)
    }

    /// The log has them: the workers take them, and the sessions are answered.
    pub(super) fn send_changes(
        &mut self,
        epoch: Epoch,
        changes: Vec<TableChange>,
    ) -> Result<(), ServerError> {
        for change in changes {
            if let Some(object) = change.creates() {
                self.install_table(&object.clone())?;
            }
            for (table, rows) in change.changes {
                self.send_rows(table, epoch.ts(), rows);
            }
            self.shared.changed_at.fetch_max(epoch.0, std::sync::atomic::Ordering::SeqCst);
            drop(change.locks);
            match change.reply {
                // A client that has gone needs no answer.
                Told::Session(reply) => drop(reply.send(Ok(epoch))),
                Told::Creates(object, reply) => {
                    self.waiting.push_front(Request::Filled(object, epoch, reply));
                }
            }
        }
        Ok(())
    }

    /// A logged change once more.
    pub(super) fn send_logged(&self, epoch: Epoch, record: &ChangeRecord) {
        match decode_delta(&record.rows) {
            Ok(rows) => self.send_rows(record.table, epoch.ts(), rows),
            // The record has passed its checksum: this is a program error, and going on without
            // the rows would be worse than to stop.
            Err(error) => panic!("a logged change cannot be read: {error}"),
        }
    }

    pub(super) fn send_rows(&self, table: ObjectId, ts: Ts, rows: Delta) {
        let Some(feed) = self.table_feeds.get(&table).copied() else { return };
        let workers = self.runtime.workers();
        let worker = usize::try_from(table.0).expect("identifiers are small") % workers;
        (self.runtime.sender())(worker, Command::Rows { feed, ts, watermark: None, rows });
    }

    /// Installs the dataflow of a new table and commits its catalog entry.
    pub(super) fn create_table(
        &mut self,
        mut object: Object,
        reply: Reply,
    ) -> Result<(), ServerError> {
        if let Err(report) = self.admit_table(&mut object) {
            drop(reply.send(Err(report)));
            return Ok(());
        }
        self.install_table(&object)?;
        self.enter_table(object, reply)
    }

    /// Stages the first rows of a new table. It enters the catalog when they are durable; of what comes
    /// before that a crash leaves rows in the log that belong to nothing.
    pub(super) fn create_table_as(&mut self, mut object: Object, rows: Delta, reply: Reply) {
        match self.admit_table(&mut object) {
            Err(report) => drop(reply.send(Err(report))),
            Ok(()) => self.stage(TableChange {
                changes: vec![(object.id, rows)],
                locks: Vec::new(),
                reply: Told::Creates(Box::new(object), reply),
            }),
        }
    }

    /// The first rows of a table are durable.
    pub(super) fn filled(
        &mut self,
        object: Object,
        epoch: Epoch,
        reply: Reply,
    ) -> Result<(), ServerError> {
        self.ddl.filled.insert(object.id, epoch);
        self.enter_table(object, reply)
    }

    /// The names of tables that are about to enter the catalog.
    pub(super) fn filled_names(&self) -> impl Iterator<Item = &str> {
        let staged = self.changes.iter().filter_map(TableChange::creates);
        let logged = self.waiting.iter().filter_map(|request| match request {
            Request::Filled(object, _, _) => Some(object.as_ref()),
            _ => None,
        });
        staged.chain(logged).map(|object| object.name.as_str())
    }

    /// Looks whether a table may be made, and gives it its numbers.
    fn admit_table(&mut self, object: &mut Object) -> Result<(), Report> {
        let refused = self.name_taken(&object.name).or_else(|| self.admit_owner(object));
        refused.map_or(Ok(()), Err)?;
        object.id = self.next_object();
        let tables = [self.next_table(), self.next_table(), self.next_table()];
        let catalog = self.catalog();
        let name = object.name.clone();
        let Kind::Table(table) = &mut object.kind else {
            let message = format!("\"{}\" is no table", object.name);
            return Err(Report::new(SqlState::INTERNAL_ERROR, message));
        };
        let mut names = vec![name.clone()];
        for column in &mut table.columns {
            let Some(identity) = &mut column.identity else { continue };
            let is_taken = |taken: &str| {
                let of_sequence = |(.., other): (_, _, &Identity)| other.name == taken;
                catalog.find(taken).is_some()
                    || catalog.sequences().any(of_sequence)
                    || names.iter().any(|name| name == taken)
            };
            identity.name = crate::sequences::name_of(&name, &column.name, is_taken);
            identity.sequence = self.next_object();
            names.push(identity.name.clone());
        }
        table.own(object.id);
        [table.stored.content, table.stored.late, table.stored.errors] = tables;
        Ok(())
    }

    fn enter_table(&mut self, object: Object, reply: Reply) -> Result<(), ServerError> {
        let ops = match object.encode() {
            Ok(bytes) => vec![Op::Put(object_key(object.id), bytes), self.ids_op()],
            Err(error) => {
                self.retire(object.id);
                drop(reply.send(Err(Report::new(SqlState::INTERNAL_ERROR, error.to_string()))));
                return Ok(());
            }
        };
        let created = vec![object.id];
        let catalog = Some(self.catalog().with(object));
        let then = Then { catalog, replies: vec![reply], created, ..Then::default() };
        self.commit_catalog(ops, Vec::new(), then)
    }

    /// Builds the dataflow of a table.
    fn install_table(&mut self, object: &Object) -> Result<(), ServerError> {
        let graph = Graph::new(&object.stored().expect("it is a table").plan);
        let watermarks = self.sources.iter().filter_map(|(id, s)| Some((*id, s.watermark?)));
        let install = Install {
            now: self.last_now,
            view: object.id,
            name: object.name.clone(),
            tables: self.view_tables(object, &graph)?,
            figures: self.figures(&graph),
            graph: Arc::new(graph),
            start: self.open.ts(),
            restore: None,
            live: true,
            keys_below: BTreeMap::new(),
            watermarks: Arc::new(watermarks.collect()),
        };
        self.install(install, Vec::new());
        self.feed_table(object.id);
        Ok(())
    }

    /// Connects a table's leaf with what statements change.
    pub(super) fn feed_table(&mut self, table: ObjectId) {
        let feed: FeedId = self.next_feed();
        self.table_feeds.insert(table, feed);
        let from = Ts::default();
        self.runtime.broadcast(&Command::Subscribe { view: table, leaf: 0, feed, from });
    }
}

/// Bytes of the rows of a change.
fn bytes(change: &TableChange) -> usize {
    change.changes.iter().map(|(_, rows)| rows.bytes()).sum()
}
