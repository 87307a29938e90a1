//! The store against a map: random publications, flushes, commits, compactions, trims, settlings and
//! reopenings, and every snapshot that is allowed has to show what the map shows.

mod files;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimestampMicrosecondType};
use millrace_types::{Delta, Epoch, SqlType, TableId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::{
    ColumnRange, Commit, EpochRecord, KeyBound, MetaKind, Scan, Snapshot, Store, Table, TableSpec,
};

const TABLE: TableId = TableId(7);

/// Window start, id and name.
type Key = (i64, Option<i32>, String);
type Content = BTreeMap<Key, i64>;
type Predicate = Box<dyn Fn(&(Key, i64)) -> bool>;

/// Which key columns the table has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    /// Window start and id without NULL: packed keys.
    Numbers,
    /// The same with NULL ids.
    Nulls,
    /// Window start and name: keys as Arrow rows.
    Text,
}

fn spec(shape: Shape) -> TableSpec {
    let schema = Schema::new(vec![
        Field::new("total", DataType::Int64, false),
        Field::new("id", DataType::Int32, shape == Shape::Nulls),
        Field::new("start", SqlType::Timestamp.arrow(), false),
        Field::new("name", DataType::Utf8, false),
    ]);
    let sort = if shape == Shape::Text { vec![2, 3] } else { vec![2, 1] };
    TableSpec { id: TABLE, schema: Arc::new(schema), sort }
}

fn batch(rows: &[(Key, i64)], shape: Shape) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))),
        Arc::new(rows.iter().map(|row| row.0.1).collect::<Int32Array>()),
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.0.0))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.0.2))),
    ];
    RecordBatch::try_new(spec(shape).schema, columns).unwrap()
}

fn read(batch: &RecordBatch) -> Vec<(Key, i64)> {
    let id = batch.column(1).as_primitive::<Int32Type>();
    let row = |n: usize| {
        let start = batch.column(2).as_primitive::<TimestampMicrosecondType>().value(n);
        let name = batch.column(3).as_string::<i32>().value(n).to_owned();
        let key = (start, id.is_valid(n).then(|| id.value(n)), name);
        (key, batch.column(0).as_primitive::<Int64Type>().value(n))
    };
    (0..batch.num_rows()).map(row).collect()
}

struct Model {
    shape: Shape,
    random: StdRng,
    store: Arc<Store>,
    table: Arc<Table>,
    /// Contents by epoch, from the last one that may be read on.
    contents: BTreeMap<u64, Content>,
    /// What was published above the checkpoint, to do it again after a reopening.
    published: Vec<(Epoch, usize, Vec<Delta>)>,
    trim: i64,
    /// The first epoch that may be read.
    since: u64,
    compactions: u64,
}

fn reopen(dir: &Path, shape: Shape) -> (Arc<Store>, Arc<Table>) {
    let store = Store::open(dir, MetaKind::Fjall).unwrap();
    store.retain_tables(&[TABLE]).unwrap();
    let table = store.create_table(spec(shape)).unwrap();
    (store, table)
}

impl Model {
    fn new(dir: &Path, shape: Shape, seed: u64) -> Model {
        let (store, table) = reopen(dir, shape);
        let contents = BTreeMap::from([(0, Content::new())]);
        let random = StdRng::seed_from_u64(seed);
        let published = Vec::new();
        let trim = i64::MIN;
        let (since, compactions) = (0, 0);
        Model { shape, random, store, table, contents, published, trim, since, compactions }
    }

    fn epoch(&self) -> u64 {
        *self.contents.keys().next_back().unwrap()
    }

    /// Where windows begin by now: time goes on, and trims follow.
    fn base(&self) -> i64 {
        i64::try_from(self.epoch()).unwrap() / 3 * 10
    }

    fn key(&mut self) -> Key {
        let start = self.base() + self.random.random_range(0..12) * 10;
        let id = self.random.random_range(-10..10);
        match self.shape {
            Shape::Numbers => (start, Some(id), String::new()),
            Shape::Nulls => (start, (id != 0).then_some(id), String::new()),
            Shape::Text => (start, Some(0), format!("n{id}")),
        }
    }

    /// One epoch of random changes, as operators send them: retractions and rows of one update with
    /// the same key arrays, or mixed, or from different workers.
    fn publish(&mut self) {
        let mut content = self.contents[&self.epoch()].clone();
        let epoch = Epoch(self.epoch() + 1);
        let mut changes = BTreeMap::new();
        for _ in 0..self.random.random_range(0..60) {
            let value = self.random.random_bool(0.7).then(|| self.random.random_range(0..1000));
            changes.insert(self.key(), value);
        }
        let (mut updates, mut rest) = (Vec::new(), Vec::new());
        for (key, value) in changes {
            let old = content.get(&key).copied();
            match (old, value) {
                (Some(old), Some(new)) if self.random.random_bool(0.7) => {
                    updates.push((key.clone(), old, new));
                }
                (old, new) => {
                    rest.extend(old.map(|old| ((key.clone(), old), -1)));
                    rest.extend(new.map(|new| ((key.clone(), new), 1)));
                }
            }
            match value {
                Some(value) => content.insert(key, value),
                None => content.remove(&key),
            };
        }
        let old: Vec<_> = updates.iter().map(|(key, old, _)| (key.clone(), *old)).collect();
        let old = batch(&old, self.shape);
        let totals = Int64Array::from_iter_values(updates.iter().map(|(_, _, new)| *new));
        let mut columns = old.columns().to_vec();
        columns[0] = Arc::new(totals);
        let new = RecordBatch::try_new(old.schema(), columns).unwrap();
        let update = vec![Delta::constant(old, -1), Delta::constant(new, 1)];
        let (first, second): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|_| self.random.random_bool(0.5));
        for (worker, rows) in [second, first].into_iter().enumerate() {
            let weights: Vec<i64> = rows.iter().map(|row| row.1).collect();
            let rows: Vec<_> = rows.into_iter().map(|row| row.0).collect();
            let delta = Delta::new(batch(&rows, self.shape), weights.into());
            self.published.push((epoch, worker, vec![delta]));
            self.send(self.published.len() - 1);
        }
        self.published.push((epoch, 0, update));
        self.send(self.published.len() - 1);
        self.contents.insert(epoch.0, content);
        self.store.append_epoch(&EpochRecord { epoch, ..EpochRecord::default() }).unwrap();
    }

    fn send(&self, n: usize) {
        let (epoch, worker, deltas) = &self.published[n];
        self.table.publish(*worker, epoch.ts(), deltas.clone());
    }

    fn forget_below(&mut self, since: u64) {
        self.since = self.since.max(since);
        self.contents = self.contents.split_off(&self.since);
    }

    fn checkpoint(&mut self) {
        let epoch = self.random.random_range(self.since..=self.epoch());
        if epoch >= self.store.checkpoint().0 {
            self.checkpoint_at(epoch);
        }
    }

    fn checkpoint_at(&mut self, epoch: u64) {
        let change = self.table.flush(Epoch(epoch).ts()).unwrap();
        let changes = change.map(|change| (TABLE, change)).into_iter().collect();
        let segment = self.store.write_segment(changes).unwrap();
        if self.random.random_bool(0.3) {
            self.publish();
            self.check();
        }
        let mut trims = Vec::new();
        if self.random.random_bool(0.3) {
            let mark = self.base() + self.random.random_range(-60..30);
            self.trim = self.trim.max(mark);
            trims.push((TABLE, mark));
        }
        let segments = vec![segment];
        let epoch = Some(Epoch(epoch));
        self.store.commit(Commit { epoch, segments, trims, ..Commit::default() }).unwrap();
        let epoch = self.store.checkpoint();
        self.published.retain(|(published, ..)| *published > epoch);
        self.forget_below(epoch.0);
    }

    fn reopen(&mut self, dir: &Path) {
        let spare = tempfile::tempdir().unwrap();
        // The directory is locked while the store lives: another one takes its place meanwhile.
        (self.store, self.table) = reopen(spare.path(), self.shape);
        (self.store, self.table) = reopen(dir, self.shape);
        let logged = self.store.epochs_above(self.store.checkpoint()).unwrap();
        let logged: Vec<u64> = logged.into_iter().map(|record| record.epoch.0).collect();
        let above: Vec<u64> = (self.store.checkpoint().0 + 1..=self.epoch()).collect();
        assert_eq!(logged, above, "the log holds what was acknowledged");
        (0..self.published.len()).for_each(|n| self.send(n));
    }

    fn check(&mut self) {
        let epoch = self.random.random_range(self.since..=self.epoch());
        let snapshot = self.table.snapshot(Epoch(epoch)).unwrap();
        let (min, max) = (self.random.random_range(-65..120), self.random.random_range(-65..120));
        let (min, max) = (self.base() + min, self.base() + max);
        let total = self.random.random_range(0..1000);
        let mut ranges = Vec::new();
        let within: Predicate = match self.random.random_range(0..4) {
            0 => Box::new(|_| true),
            1 => {
                let bound =
                    |v| Some(Arc::new(TimestampMicrosecondArray::from(vec![v])) as ArrayRef);
                ranges.push(ColumnRange { column: 2, min: bound(min), max: bound(max) });
                Box::new(move |(key, _)| min <= key.0 && key.0 <= max)
            }
            2 => {
                let min: ArrayRef = Arc::new(Int64Array::from(vec![total]));
                ranges.push(ColumnRange { column: 0, min: Some(min), max: None });
                Box::new(move |(_, value)| *value >= total)
            }
            _ => {
                let max: ArrayRef = Arc::new(Int64Array::from(vec![total]));
                ranges.push(ColumnRange { column: 0, min: None, max: Some(max) });
                Box::new(move |(_, value)| *value <= total)
            }
        };
        let unfiltered = ranges.is_empty();
        let batches = snapshot.scan(Scan { ranges, ..Scan::default() });
        let rows: Vec<_> = batches.flat_map(|batch| read(&batch.unwrap())).collect();
        assert!(rows.is_sorted_by(|a, b| a.0 < b.0), "keys ascend strictly");
        assert!(rows.len() as u64 <= snapshot.rows_upper_bound());
        let rows: Vec<_> = rows.into_iter().filter(&*within).collect();
        let expected = self.contents[&epoch].iter().map(|(key, value)| (key.clone(), *value));
        let expected: Vec<_> =
            expected.filter(|row| row.0.0 >= self.trim).filter(|row| within(row)).collect();
        assert_eq!(rows, expected, "at epoch {epoch}");
        if unfiltered {
            let columns = Some(vec![3, 0]);
            let some = snapshot.scan(Scan { columns, ..Scan::default() });
            let totals: Vec<i64> = some
                .flat_map(|b| b.unwrap().column(1).as_primitive::<Int64Type>().values().to_vec())
                .collect();
            assert_eq!(totals, expected.iter().map(|row| row.1).collect::<Vec<_>>());
            self.check_rest(&snapshot, &expected);
        }
    }

    /// Behind any row the rest follows, and what is left is never less than that.
    fn check_rest(&mut self, snapshot: &Snapshot, expected: &[(Key, i64)]) {
        if expected.is_empty() {
            return;
        }
        let at = self.random.random_range(0..expected.len());
        let sort = spec(self.shape).sort;
        let bound = KeyBound::of_row(&batch(expected, self.shape), &sort, at);
        let after = Some(bound.clone());
        let rest = snapshot.scan(Scan { after, ..Scan::default() });
        let rest: Vec<(Key, i64)> = rest.flat_map(|rows| read(&rows.unwrap())).collect();
        assert_eq!(rest, expected[at + 1..]);
        assert!(snapshot.rows_after(&bound).unwrap() >= rest.len() as u64);
    }

    fn step(&mut self, dir: &Path) {
        match self.random.random_range(0..100) {
            0..40 => self.publish(),
            40..75 => self.check(),
            75..90 => self.checkpoint(),
            90..94 => self.compactions += u64::from(self.store.compact().unwrap()),
            94..98 => {
                let since = self.random.random_range(self.since..=self.epoch());
                self.table.settle(Epoch(since).ts()).unwrap();
                self.forget_below(since);
            }
            _ => self.reopen(dir),
        }
    }
}

#[test]
fn every_snapshot_shows_what_a_map_shows() {
    let mut compactions = 0;
    for (seed, shape) in
        [Shape::Numbers, Shape::Nulls, Shape::Text, Shape::Numbers].into_iter().enumerate()
    {
        println!("{shape:?}, seed {seed}");
        let dir = tempfile::tempdir().unwrap();
        let mut model = Model::new(dir.path(), shape, seed as u64);
        for _ in 0..600 {
            model.step(dir.path());
        }
        compactions += model.compactions;
    }
    assert!(compactions > 8, "{compactions} compactions");
}
