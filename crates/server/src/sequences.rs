//! Numbers that columns take. None comes twice, whatever becomes of the server.
//!
//! They are taken in blocks: the store holds the first number that is not taken, and a block is stored
//! before its first number is given. So a number costs no fsync, and after a stop the rest of a block is
//! missing. Blocks grow with what is asked for.
//!
//! Invariants: 1. a number is given only below the stored end of its block ([`Sequences::take`]). 2. a
//! sequence has the number of no other object, ever: what is stored of one that has gone belongs to nothing.

use std::collections::BTreeMap;

use millrace_sql::{Catalog, Identity};
use millrace_storage::{Commit, Op, Store};
use millrace_types::{ObjectId, Report, SqlState};
use parking_lot::Mutex;

use crate::coordinator::Message;
use crate::error::ServerError;
use crate::shared::Shared;

/// Keys of sequences begin with this.
const PREFIX: &[u8] = b"sequence/";
/// The numbers of the first block.
const FIRST_BLOCK: i128 = 32;
/// The most numbers of a block, unless one statement asks for more.
const BLOCK_MAX: i128 = 1 << 16;

/// Where a sequence stands; beyond the range of its numbers if there are no more.
#[derive(Clone, Copy, Debug)]
struct Counter {
    /// The next number.
    next: i128,
    /// The first number behind the block.
    end: i128,
    /// Numbers of the next block.
    block: i128,
    /// A number was given.
    called: bool,
}

/// The sequences of the server.
#[derive(Debug, Default)]
pub(crate) struct Sequences(Mutex<BTreeMap<ObjectId, Counter>>);

fn key(sequence: ObjectId) -> Vec<u8> {
    [PREFIX, &sequence.0.to_be_bytes()].concat()
}

/// The change of the catalog that forgets a sequence.
pub(crate) fn forget(sequence: ObjectId) -> Op {
    Op::Delete(key(sequence))
}

/// What is stored of a sequence: the first number that is not taken.
fn stored(store: &Store, sequence: ObjectId) -> Result<Option<i128>, ServerError> {
    let Some(bytes) = store.get(&key(sequence))? else { return Ok(None) };
    let damaged = |_| ServerError::Catalog("the numbers of a sequence are damaged".into());
    bytes.try_into().map(i128::from_le_bytes).map(Some).map_err(damaged)
}

impl Shared {
    /// The next numbers of a sequence.
    ///
    /// # Errors
    /// It has so many no more, the disk is full, or there is no such sequence.
    pub(crate) fn numbers(&self, sequence: ObjectId, count: usize) -> Result<Vec<i64>, Report> {
        let catalog = self.catalog();
        let identity = of(&catalog, sequence)?;
        let mut counters = self.sequences.0.lock();
        let mut counter = self.counter(&mut counters, identity)?;
        let mut numbers = Vec::with_capacity(count);
        for left in (1..=count).rev() {
            if !is_within(identity, counter.next) {
                if !identity.cycles {
                    return Err(exhausted(identity));
                }
                let first = if identity.increment > 0 { identity.least } else { identity.greatest };
                (counter.next, counter.end) = (i128::from(first), i128::from(first));
            }
            if counter.next == counter.end {
                let left = i128::try_from(left).unwrap_or(i128::MAX);
                let wanted = counter.block.min(block_max(identity)).max(left);
                counter.end = self.reserve(identity, counter.next, wanted)?;
                counter.block = (counter.block * 2).min(BLOCK_MAX);
            }
            numbers.push(i64::try_from(counter.next).map_err(|_| exhausted(identity))?);
            counter.next += i128::from(identity.increment);
            counter.called = true;
            counters.insert(sequence, counter);
        }
        Ok(numbers)
    }

    /// Has a sequence go on behind a number, or at it.
    ///
    /// # Errors
    /// The number is none of its own, the disk is full, or there is no such sequence.
    pub(crate) fn set_number(
        &self,
        sequence: ObjectId,
        number: i64,
        behind: bool,
    ) -> Result<(), Report> {
        let catalog = self.catalog();
        let identity = of(&catalog, sequence)?;
        if !is_within(identity, i128::from(number)) {
            let Identity { name, least, greatest, .. } = identity;
            let message = format!(
                "setval: value {number} is out of bounds for sequence \"{name}\" ({least}..{greatest})"
            );
            return Err(Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message));
        }
        let step = if behind { i128::from(identity.increment) } else { 0 };
        let next = i128::from(number) + step;
        let mut counters = self.sequences.0.lock();
        let end = self.reserve(identity, next, 0)?;
        counters.insert(sequence, Counter { next, end, block: FIRST_BLOCK, called: behind });
        Ok(())
    }

    /// The last number that was given, as far as that is known.
    pub(crate) fn last_number(&self, identity: &Identity) -> Option<i64> {
        let mut counters = self.sequences.0.lock();
        let counter = self.counter(&mut counters, identity).ok().filter(|one| one.called)?;
        i64::try_from(counter.next - i128::from(identity.increment)).ok()
    }

    fn counter(
        &self,
        counters: &mut BTreeMap<ObjectId, Counter>,
        identity: &Identity,
    ) -> Result<Counter, Report> {
        if let Some(known) = counters.get(&identity.sequence) {
            return Ok(*known);
        }
        let found = stored(&self.store, identity.sequence).map_err(|error| error.report())?;
        let next = found.unwrap_or(i128::from(identity.start));
        let counter = Counter { next, end: next, block: FIRST_BLOCK, called: found.is_some() };
        counters.insert(identity.sequence, counter);
        Ok(counter)
    }

    /// Stores that so many numbers are taken; the first one that is not.
    fn reserve(&self, identity: &Identity, next: i128, count: i128) -> Result<i128, Report> {
        let disk = self.board.lock().disk;
        if disk.full {
            return Err(disk.report(&self.config.data_dir));
        }
        let end = next + i128::from(identity.increment) * count;
        let ops = vec![Op::Put(key(identity.sequence), end.to_le_bytes().to_vec())];
        match self.store.commit(Commit { ops, ..Commit::default() }) {
            Ok(()) => Ok(end),
            Err(error) => {
                let error = ServerError::from(error);
                let report = error.report();
                // Whether it is there is not known: the process ends, and reads it again.
                drop(self.inbox.send(Message::Failed(Box::new(error))));
                Err(report)
            }
        }
    }
}

/// The sequence of a number.
fn of(catalog: &Catalog, sequence: ObjectId) -> Result<&Identity, Report> {
    let mut all = catalog.sequences();
    let found = all.find(|(_, _, identity)| identity.sequence == sequence);
    found
        .map(|(_, _, identity)| identity)
        .ok_or_else(|| Report::new(SqlState::UNDEFINED_TABLE, "the sequence has been dropped"))
}

/// The most numbers that are taken at once: what a restart loses is a small part of those that there are.
fn block_max(identity: &Identity) -> i128 {
    let all = i128::from(identity.greatest) - i128::from(identity.least);
    (all / i128::from(identity.increment).abs().max(1) / 1024).max(1)
}

fn is_within(identity: &Identity, number: i128) -> bool {
    (i128::from(identity.least)..=i128::from(identity.greatest)).contains(&number)
}

fn exhausted(identity: &Identity) -> Report {
    let (word, bound) = match identity.increment > 0 {
        true => ("maximum", identity.greatest),
        false => ("minimum", identity.least),
    };
    let name = &identity.name;
    let message = format!("nextval: reached {word} value of sequence \"{name}\" ({bound})");
    Report::new(SqlState::SEQUENCE_LIMIT_EXCEEDED, message)
}

/// The name of the sequence of a column, which no relation and no other sequence has: PostgreSQL's, who
/// cuts the longer of both parts off at 63 bytes.
pub(crate) fn name_of(table: &str, column: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let suffix = |n: u32| if n == 0 { "seq".to_owned() } else { format!("seq{n}") };
    let named = |n: u32| {
        let suffix = suffix(n);
        let (mut table, mut column) = (table.to_owned(), column.to_owned());
        while table.len() + column.len() + suffix.len() + 2 > 63 {
            let longer = if table.len() > column.len() { &mut table } else { &mut column };
            longer.pop();
        }
        format!("{table}_{column}_{suffix}")
    };
    (0..).map(named).find(|name| !is_taken(name)).unwrap_or_default()
}
