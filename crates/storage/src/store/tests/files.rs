//! What becomes of files: all types come back, damage is noticed, unused files go, nothing else.

use std::fs;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array,
    new_null_array,
};
use arrow::compute::{cast, concat, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use millrace_types::{Delta, Epoch, SqlType, TIME_ZONE, TableId};

use crate::{
    Change, Commit, EpochRecord, Error, MetaKind, Op, Result, Scan, Snapshot, Store, TableSpec,
    check, keyspace,
};

fn numbers(id: u64) -> TableSpec {
    let field = |name| Field::new(name, DataType::Int64, false);
    let schema = Arc::new(Schema::new(vec![field("key"), field("value")]));
    TableSpec { id: TableId(id), schema, sort: vec![0] }
}

fn change(keys: std::ops::Range<i64>, value: i64) -> Change {
    let rows = batch_of(keys, value);
    let gone = BooleanArray::from(vec![false; rows.num_rows()]);
    Change::new(rows, &gone)
}

fn batch_of(keys: std::ops::Range<i64>, value: i64) -> RecordBatch {
    let count = usize::try_from(keys.end - keys.start).unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(keys)),
        Arc::new(Int64Array::from_value(value, count)),
    ];
    RecordBatch::try_new(numbers(0).schema, columns).unwrap()
}

fn checkpoint(store: &Store, changes: Vec<(TableId, Change)>) {
    let segments = vec![store.write_segment(changes).unwrap()];
    let epoch = Some(store.checkpoint().next());
    store.commit(Commit { epoch, segments, ..Commit::default() }).unwrap();
}

fn rows(snapshot: &Snapshot) -> Result<usize> {
    snapshot.scan(Scan::default()).map(|batch| batch.map(|batch| batch.num_rows())).sum()
}

fn segment_files(dir: &std::path::Path) -> usize {
    fs::read_dir(dir.join("segments")).unwrap().count()
}

fn all_types() -> RecordBatch {
    let text = |values: &[&str], data_type: &SqlType| -> ArrayRef {
        let values = arrow::array::StringArray::from(values.to_vec());
        cast(&values, &data_type.arrow()).unwrap()
    };
    let number = ["-2", "7"].as_slice();
    let times = ["1969-12-31T23:59:59.999999", "2026-01-02T03:04:05.000001"].as_slice();
    let types = [
        (SqlType::Boolean, ["false", "true"].as_slice()),
        (SqlType::SmallInt, number),
        (SqlType::Integer, number),
        (SqlType::BigInt, number),
        (SqlType::Numeric(None), ["-0.00000000000000000001", "12345678901234567890"].as_slice()),
        (SqlType::Numeric(Some((20, 2))), ["-2.50", "7.25"].as_slice()),
        (SqlType::Numeric(Some((50, 3))), number),
        (SqlType::Real, ["-0.5", "NaN"].as_slice()),
        (SqlType::Double, ["-Infinity", "1e300"].as_slice()),
        (SqlType::Text, ["", "caf\u{e9}"].as_slice()),
        (SqlType::Bytea, ["", "bytes"].as_slice()),
        (SqlType::Date, ["1969-07-20", "2026-01-02"].as_slice()),
        (SqlType::Time, ["00:00:00", "23:59:59.999999"].as_slice()),
        (SqlType::Timestamp, times),
        (SqlType::Interval, ["1 day", "2 months -3 seconds"].as_slice()),
    ];
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    for (sql_type, values) in types {
        let values = text(values, &sql_type);
        let null = new_null_array(values.data_type(), 1);
        columns.push((sql_type.name(), concat(&[&null, &values]).unwrap()));
    }
    let zoned = TimestampMicrosecondArray::from(vec![None, Some(-1), Some(1)]);
    columns.push(("timestamptz".into(), Arc::new(zoned.with_timezone(TIME_ZONE))));
    let list = arrow::array::ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>([
        None,
        Some(vec![Some(1), None]),
        Some(vec![]),
    ]);
    let array = SqlType::Array(Box::new(SqlType::BigInt));
    columns.push((array.name(), cast(&list, &array.arrow()).unwrap()));
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
fn rows_of_all_types_and_null_keys_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let batch = all_types();
    let fields = batch
        .schema()
        .fields()
        .iter()
        .map(|f| f.as_ref().clone().with_nullable(true))
        .collect::<Vec<_>>();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()).unwrap();
    let key_first = (0..batch.num_columns()).rev().collect();
    let spec = TableSpec { id: TableId(1), schema, sort: key_first };
    {
        let store = Store::open(dir.path(), MetaKind::Fjall).unwrap();
        let table = store.create_table(spec.clone()).unwrap();
        let shuffled = take_record_batch(&batch, &UInt32Array::from(vec![2, 0, 1])).unwrap();
        table.publish(0, Epoch(1).ts(), vec![Delta::constant(shuffled, 1)]);
        let flushed = table.flush(Epoch(1).ts()).unwrap().unwrap();
        checkpoint(&store, vec![(TableId(1), flushed)]);
    }
    let store = Store::open(dir.path(), MetaKind::Fjall).unwrap();
    let table = store.create_table(spec).unwrap();
    let read: Vec<RecordBatch> =
        table.snapshot(Epoch(1)).unwrap().scan(Scan::default()).map(|b| b.unwrap()).collect();
    // The last column leads: NULL, the empty array, then the other one.
    let expected = take_record_batch(&batch, &UInt32Array::from(vec![0, 2, 1])).unwrap();
    assert_eq!(read, [expected]);
}

#[test]
fn a_flipped_byte_or_a_cut_file_is_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = Store::open(dir.path(), MetaKind::Fjall).unwrap();
        store.create_table(numbers(1)).unwrap();
        checkpoint(&store, vec![(TableId(1), change(0..40, 5))]);
    }
    let path = dir.path().join("segments").join("0000000001.segment");
    let good = fs::read(&path).unwrap();
    let read_all = || -> Result<usize> {
        let store = Store::open(dir.path(), MetaKind::Fjall)?;
        rows(&store.create_table(numbers(1))?.snapshot(store.checkpoint())?)
    };
    assert_eq!(read_all().unwrap(), 40);
    let flips = (0..good.len()).step_by(good.len() / 60).map(|at| {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        bad
    });
    let cuts = [0, 5, 30, good.len() / 2, good.len() - 1].map(|len| good[..len].to_vec());
    for (n, bad) in flips.chain(cuts).enumerate() {
        fs::write(&path, &bad).unwrap();
        match read_all() {
            Err(Error::Damaged { file, .. }) => assert_eq!(file, "0000000001.segment"),
            other => panic!("damage {n} gave {other:?}"),
        }
    }
    fs::remove_file(&path).unwrap();
    let error = read_all().unwrap_err().to_string();
    assert_eq!(error, "file \"0000000001.segment\" is damaged at byte 0: the file is missing");
    fs::write(&path, &good).unwrap();
    assert_eq!(read_all().unwrap(), 40);
}

#[test]
fn a_run_is_not_read_with_other_columns() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), MetaKind::Fjall).unwrap();
    store.create_table(numbers(1)).unwrap();
    checkpoint(&store, vec![(TableId(1), change(0..4, 5))]);
    drop(store);
    let store = Store::open(dir.path(), MetaKind::Fjall).unwrap();
    let spec = TableSpec { sort: vec![1], ..numbers(1) };
    assert!(matches!(store.create_table(spec), Err(Error::Damaged { .. })));
}

#[test]
fn readers_keep_files_until_they_end_and_unused_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), MetaKind::Fjall).unwrap();
    let table = store.create_table(numbers(1)).unwrap();
    let other = store.create_table(numbers(2)).unwrap();
    for n in 0..8 {
        let both = vec![(TableId(1), change(n..n + 30, n)), (TableId(2), change(0..1, n))];
        checkpoint(&store, both);
    }
    assert_eq!(segment_files(dir.path()), 8);
    let reader = table.snapshot(store.checkpoint()).unwrap();
    assert!(store.compact().unwrap());
    assert!(!store.compact().unwrap());
    assert_eq!(segment_files(dir.path()), 9, "the reader still holds the old ones");
    assert_eq!(rows(&reader).unwrap(), 37);
    drop(reader);
    assert_eq!(segment_files(dir.path()), 1);
    assert_eq!(rows(&other.snapshot(store.checkpoint()).unwrap()).unwrap(), 1);

    drop(store.write_segment(vec![(TableId(1), change(0..3, 0))]).unwrap());
    assert_eq!(segment_files(dir.path()), 1, "a segment that was not committed leaves no file");
    drop((table, other));
    let drop_tables = vec![TableId(1), TableId(2)];
    store.commit(Commit { drop_tables, ..Commit::default() }).unwrap();
    assert_eq!(segment_files(dir.path()), 0);
    assert!(store.table(TableId(1)).is_none());
}

#[test]
fn a_trim_removes_whole_files_and_forgotten_tables_go_at_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), MetaKind::Fjall).unwrap();
    let table = store.create_table(numbers(1)).unwrap();
    store.create_table(numbers(2)).unwrap();
    checkpoint(&store, vec![(TableId(1), change(0..50, 1))]);
    checkpoint(&store, vec![(TableId(1), change(50..100, 1))]);
    checkpoint(&store, vec![(TableId(2), change(0..10, 1))]);
    assert_eq!(segment_files(dir.path()), 3);
    let trims = vec![(TableId(1), 60)];
    store.commit(Commit { trims, epoch: Some(Epoch(4)), ..Commit::default() }).unwrap();
    assert_eq!(segment_files(dir.path()), 2, "the run below the mark went with its file");
    assert!(matches!(table.snapshot(Epoch(3)), Err(Error::TooOld { .. })));
    assert_eq!(rows(&table.snapshot(Epoch(4)).unwrap()).unwrap(), 40);
    drop((table, store));

    fs::write(dir.path().join("segments").join("0000000099.segment"), b"left over").unwrap();
    let store = Store::open(dir.path(), MetaKind::Fjall).unwrap();
    store.retain_tables(&[TableId(1)]).unwrap();
    assert_eq!(segment_files(dir.path()), 1);
    let table = store.create_table(numbers(1)).unwrap();
    assert_eq!(rows(&table.snapshot(Epoch(4)).unwrap()).unwrap(), 40, "the mark was kept");
}

#[test]
fn expired_rows_are_gone_from_their_time_on_and_stay_gone_once_committed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), MetaKind::Fjall).unwrap();
    let table = store.create_table(numbers(1)).unwrap();
    table.publish(0, Epoch(1).ts(), vec![Delta::constant(batch_of(0..100, 1), 1)]);
    for (epoch, mark) in [(3, 40), (2, 20), (2, 20), (4, 30)] {
        table.expire(Epoch(epoch).ts(), mark);
    }
    let count = |table: &crate::Table, epoch| rows(&table.snapshot(Epoch(epoch)).unwrap()).unwrap();
    let counts = [1, 2, 3, 4].map(|epoch| count(&table, epoch));
    assert_eq!(counts, [100, 80, 60, 60]);
    let at = Epoch(3);
    let trims = vec![(TableId(1), table.expired(at.ts()).unwrap())];
    let flushed = table.flush(at.ts()).unwrap().unwrap();
    let segments = vec![store.write_segment(vec![(TableId(1), flushed)]).unwrap()];
    store.commit(Commit { trims, segments, epoch: Some(at), ..Commit::default() }).unwrap();
    assert_eq!(count(&table, 3), 60);
    drop((table, store));
    let store = Store::open(dir.path(), MetaKind::Fjall).unwrap();
    assert_eq!(count(&store.create_table(numbers(1)).unwrap(), 3), 60);
}

#[test]
fn a_table_without_key_has_one_row() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), MetaKind::Sled).unwrap();
    let spec = TableSpec { sort: Vec::new(), ..numbers(1) };
    let table = store.create_table(spec).unwrap();
    let publish = |epoch, old: Option<i64>, new: i64| {
        let old = old.map(|old| Delta::constant(batch_of(0..1, old), -1));
        let new = Delta::constant(batch_of(0..1, new), 1);
        table.publish(0, Epoch(epoch).ts(), old.into_iter().chain([new]).collect());
    };
    publish(1, None, 10);
    let flushed = table.flush(Epoch(1).ts()).unwrap().unwrap();
    publish(2, Some(10), 20);
    checkpoint(&store, vec![(TableId(1), flushed)]);
    for (epoch, value) in [(1, 10), (2, 20)] {
        let scan = Scan { columns: Some(vec![1]), ..Scan::default() };
        let mut rows = table.snapshot(Epoch(epoch)).unwrap().scan(scan);
        let batch = rows.next().unwrap().unwrap();
        let expected: ArrayRef = Arc::new(Int64Array::from(vec![value]));
        assert_eq!(batch.columns(), [expected]);
        assert!(rows.next().is_none());
        let count = Scan { columns: Some(Vec::new()), ..Scan::default() };
        let counted = table.snapshot(Epoch(epoch)).unwrap().scan(count).next().unwrap().unwrap();
        assert_eq!(counted.num_rows(), 1);
    }
}

#[test]
fn what_is_published_after_a_read_of_its_time_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), MetaKind::Sled).unwrap();
    let table = store.create_table(numbers(1)).unwrap();
    for (n, keys) in [0..4, 4..6, 6..7].into_iter().enumerate() {
        let end = usize::try_from(keys.end).unwrap();
        table.publish(n, Epoch(1).ts(), vec![Delta::constant(batch_of(keys, 1), 1)]);
        assert_eq!(rows(&table.snapshot(Epoch(1)).unwrap()).unwrap(), end);
    }
}

#[test]
fn a_logged_epoch_that_is_not_that_of_its_key_is_damage() {
    let forged = [(5, 6), (5, 1 << 43), (1 << 43, 1 << 43), (u64::MAX, u64::MAX)];
    for (key, epoch) in forged.map(|(key, epoch)| (Epoch(key), Epoch(epoch))) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), MetaKind::Fjall).unwrap();
        store.append_epoch(&EpochRecord { epoch: Epoch(1), ..EpochRecord::default() }).unwrap();
        let record = EpochRecord { epoch, ..EpochRecord::default() }.encode();
        store.meta.commit(vec![Op::Put(keyspace::epoch(key), record)]).unwrap();
        drop(store);
        assert!(!check(dir.path()).unwrap().is_sound(), "epoch {epoch} at {key}");
        let error = Store::open(dir.path(), MetaKind::Fjall).err();
        assert!(error.is_some_and(|error| error.is_damage()), "epoch {epoch} at {key}");
    }
}

#[test]
fn catalog_keys_are_a_space_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), MetaKind::Sled).unwrap();
    let put = |key: &str| Op::Put(key.into(), b"v".to_vec());
    let ops = vec![put(""), put("a"), put("zz"), Op::Delete(b"a".to_vec())];
    store.commit(Commit { ops, epoch: Some(Epoch(3)), ..Commit::default() }).unwrap();
    drop(store);
    let store = Store::open(dir.path(), MetaKind::Sled).unwrap();
    assert_eq!(store.checkpoint(), Epoch(3));
    let keys: Vec<_> = store.scan(b"", b"").unwrap().into_iter().map(|pair| pair.0).collect();
    assert_eq!(keys, [b"".to_vec(), b"zz".to_vec()]);
    let ops = vec![Op::DeleteRange(Vec::new(), Vec::new())];
    store.commit(Commit { ops, ..Commit::default() }).unwrap();
    assert!(store.get(b"zz").unwrap().is_none());
    assert_eq!(store.checkpoint(), Epoch(3));
}

#[test]
fn a_damaged_run_keeps_no_other_table_from_being_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), MetaKind::Fjall).unwrap();
    let tables = [1, 2].map(|id| store.create_table(numbers(id)).unwrap());
    for value in 0..8 {
        checkpoint(
            &store,
            vec![(TableId(1), change(0..10, value)), (TableId(2), change(0..10, value))],
        );
    }
    // The first block of a segment is one of the first table.
    let file = fs::read_dir(dir.path().join("segments")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&file).unwrap();
    bytes[100] ^= 1;
    fs::write(&file, bytes).unwrap();
    for _ in 0..10 {
        store.compact().unwrap();
    }
    assert!(!store.compact().unwrap(), "nothing is left to be done");
    assert_eq!(tables.each_ref().map(|table| table.runs().len()), [8, 1]);
    assert_eq!(rows(&tables[1].latest()).unwrap(), 10);
    assert!(rows(&tables[0].latest()).is_err_and(|error| error.is_damage()));
}
