//! The store on a disk that loses power at every single operation of a script of epochs,
//! checkpoints and compactions.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use millrace_storage::{
    Commit, EpochRecord, Op, Result, Scan, Store, Table, TableSpec, check_conformance,
};
use millrace_types::{Delta, Epoch, TableId};

use super::Disk;

const TABLES: [TableId; 2] = [TableId(1), TableId(2)];
const EPOCHS: u64 = 34;
/// Marks begin here, so that trims and removals both happen.
const TRIMMED_FROM: u64 = 20;

fn spec(id: TableId) -> TableSpec {
    let field = |name| Field::new(name, DataType::Int64, false);
    let schema = Arc::new(Schema::new(vec![field("key"), field("value")]));
    TableSpec { id, schema, sort: vec![0] }
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap()
}

/// What an epoch sets and removes.
fn changes(epoch: u64, table: TableId) -> Vec<(i64, Option<i64>)> {
    let first = (epoch * 5 * table.0) % 40;
    let set = (first..first + 8).map(|key| (number(key), Some(number(epoch))));
    set.chain([(number(epoch % 40), None)]).collect::<BTreeMap<_, _>>().into_iter().collect()
}

fn mark(epoch: u64) -> i64 {
    number(epoch.saturating_sub(TRIMMED_FROM) / 4)
}

/// The rows of a table at a checkpoint.
fn content(epoch: u64, table: TableId) -> Vec<(i64, i64)> {
    let mut rows = BTreeMap::new();
    for (key, value) in (1..=epoch).flat_map(|epoch| changes(epoch, table)) {
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        };
    }
    rows.into_iter().filter(|(key, _)| table == TABLES[0] || *key >= mark(epoch)).collect()
}

fn publish(table: &Table, epoch: u64) {
    let deltas = changes(epoch, table.id()).into_iter().map(|(key, value)| {
        let column = |value| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
        let columns = vec![column(key), column(value.unwrap_or(0))];
        let rows = RecordBatch::try_new(spec(table.id()).schema, columns).unwrap();
        Delta::constant(rows, if value.is_some() { 1 } else { -1 })
    });
    table.publish(0, Epoch(epoch).ts(), deltas.collect());
}

fn read(table: &Table, epoch: u64) -> Result<Vec<(i64, i64)>> {
    let mut rows = Vec::new();
    for batch in table.snapshot(Epoch(epoch))?.scan(Scan::default()) {
        let batch = batch?;
        let column = |n: usize| batch.column(n).as_primitive::<Int64Type>().values().to_vec();
        rows.extend(column(0).into_iter().zip(column(1)));
    }
    Ok(rows)
}

/// What the store has said is durable, and what it may have made durable when it failed.
#[derive(Debug, Default)]
struct Promised {
    logged: u64,
    logging: u64,
    checkpoint: u64,
    checkpointing: u64,
    compactions: u64,
}

fn open(disk: &Disk) -> Result<(Arc<Store>, Vec<Arc<Table>>)> {
    let store = Store::with_parts(disk.meta(), disk.files())?;
    store.retain_tables(&TABLES)?;
    let tables = TABLES.map(|id| store.create_table(spec(id)));
    Ok((store, tables.into_iter().collect::<Result<_>>()?))
}

/// Works from the last checkpoint on up to an epoch.
fn work(disk: &Disk, last: u64, promised: &mut Promised) -> Result<()> {
    let (store, tables) = open(disk)?;
    let start = store.checkpoint();
    let logged = store.epochs_above(start)?.len() as u64;
    for epoch in start.0 + 1..=last {
        if epoch > start.0 + logged {
            promised.logging = epoch;
            store.append_epoch(&EpochRecord { epoch: Epoch(epoch), ..EpochRecord::default() })?;
            promised.logged = epoch;
        }
        tables.iter().for_each(|table| publish(table, epoch));
        if epoch % 2 == 0 {
            checkpoint(&store, &tables, epoch, promised)?;
        }
        while store.compact()? {
            promised.compactions += 1;
        }
    }
    Ok(())
}

fn checkpoint(
    store: &Store,
    tables: &[Arc<Table>],
    epoch: u64,
    promised: &mut Promised,
) -> Result<()> {
    let mut segments = Vec::new();
    for table in tables {
        let change = table.flush(Epoch(epoch).ts())?;
        let changes = change.map(|change| (table.id(), change)).into_iter().collect();
        segments.push(store.write_segment(changes)?);
    }
    let ops = vec![Op::Put(b"at".to_vec(), epoch.to_string().into_bytes())];
    let trims = vec![(TABLES[1], mark(epoch))];
    promised.checkpointing = epoch;
    let epoch = Some(Epoch(epoch));
    store.commit(Commit { epoch, segments, trims, ops, ..Commit::default() })?;
    promised.checkpoint = promised.checkpointing;
    Ok(())
}

/// What a data directory must be after a restart.
fn check(disk: &Disk, promised: &Promised) -> Result<()> {
    let (store, tables) = open(disk)?;
    let at = store.checkpoint().0;
    let checkpoints = [promised.checkpoint, promised.checkpointing];
    assert!(checkpoints.contains(&at), "checkpoint {at}, {promised:?}");
    if at > 0 {
        let catalog = store.get(b"at")?.map(|value| String::from_utf8(value).unwrap());
        assert_eq!(catalog, Some(at.to_string()), "the catalog is at the checkpoint");
    }
    for table in &tables {
        assert_eq!(read(table, at)?, content(at, table.id()), "table {} at {at}", table.id());
    }
    let logged: Vec<u64> =
        store.epochs_above(Epoch(at))?.into_iter().map(|record| record.epoch.0).collect();
    let whole = |last: u64| logged == (at + 1..=last).collect::<Vec<_>>();
    assert!(whole(promised.logged) || whole(promised.logging), "log {logged:?}, {promised:?}");
    let files = disk.files().list().unwrap().len() as u64;
    assert_eq!(files, store.counters().segments, "no file is left over");
    Ok(())
}

/// The whole script without a crash: how many operations it takes.
fn operations() -> u64 {
    let disk = Disk::new(0);
    let mut promised = Promised::default();
    work(&disk, EPOCHS, &mut promised).unwrap();
    assert!(promised.compactions > 1, "the script compacts");
    check(&disk, &promised).unwrap();
    disk.operations()
}

#[test]
fn simulated_metadata_conforms() {
    let disk = Disk::new(1);
    check_conformance(&mut || disk.meta()).unwrap();
}

#[test]
fn power_may_fail_at_every_operation() {
    for n in 1..=operations() {
        for seed in 0..2 {
            let disk = Disk::new(n * 31 + seed);
            let mut promised = Promised::default();
            disk.crash_at(n);
            let failed = work(&disk, EPOCHS, &mut promised).is_err();
            // A file that is removed when nobody needs it any more may fail without an error.
            assert!(failed || disk.is_crashed(), "operation {n}");
            disk.restart();
            // It may fail again while it recovers.
            disk.crash_at(seed + 1);
            drop(open(&disk));
            disk.restart();
            check(&disk, &promised).unwrap_or_else(|error| panic!("operation {n}: {error}"));
            work(&disk, EPOCHS, &mut promised).unwrap();
            check(&disk, &promised).unwrap();
        }
    }
}

#[test]
fn a_missing_fsync_shows() {
    let damaged = |n: &u64| {
        let disk = Disk::new(*n);
        disk.lie_about_syncs();
        let mut promised = Promised::default();
        disk.crash_at(*n);
        drop(work(&disk, EPOCHS, &mut promised));
        disk.restart();
        open(&disk).is_err()
    };
    assert!((1..=operations()).any(|n| damaged(&n)));
}
