//! A data directory whose bytes are not those that were written: files, records of the metadata store, and records
//! with a right checksum over wrong bytes.
//!
//! Damage is refused as such or harmless: what opens shows the rows that were there. With a forged checksum
//! it may show others, and must not panic, hang or take memory by a length that is not true.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use millrace_storage::{
    ChangeRecord, Commit, EpochRecord, Error, FileReader, FileWriter, Files, MetaKind, MetaStore,
    Op, Pair, PartitionRecord, PlaceRecord, Result, Scan, SourceRecord, Store, Table, TableSpec,
    check,
};
use millrace_types::{Delta, Epoch, ObjectId, PartitionId, TableId, encode_delta};

use super::run::{Random, fuzz};
use crate::disk::Disk;

const TABLES: [TableId; 2] = [TableId(1), TableId(2)];
const CHECKPOINTS: u64 = 6;

/// What a store is made of, in memory, to be damaged.
#[derive(Clone, Default)]
struct Image {
    files: BTreeMap<String, Vec<u8>>,
    pairs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The image as files and as a metadata store.
struct Shown(Mutex<Image>);

impl Shown {
    fn image(&self) -> std::sync::MutexGuard<'_, Image> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for Shown {
    fn create(&self, _: &str) -> io::Result<Box<dyn FileWriter>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn FileReader>> {
        let image = self.image();
        let bytes = image.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Content(bytes.clone())))
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.image().files.remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.image().files.keys().cloned().collect())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The bytes of a file.
struct Content(Vec<u8>);

impl FileReader for Content {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let found = self.0.get(from..).and_then(|bytes| bytes.get(..buffer.len()));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

impl MetaStore for Shown {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.image().pairs.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8]) -> Result<Vec<Pair>> {
        if from >= to {
            return Ok(Vec::new());
        }
        let range = (Bound::Included(from), Bound::Excluded(to));
        let image = self.image();
        let pairs = image.pairs.range::<[u8], _>(range);
        Ok(pairs.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&self, ops: Vec<Op>) -> Result<()> {
        let pairs = &mut self.image().pairs;
        for op in ops {
            match op {
                Op::Put(key, value) => drop(pairs.insert(key, value)),
                Op::Delete(key) => drop(pairs.remove(&key)),
                Op::DeleteRange(from, to) => pairs.retain(|key, _| *key < from || *key >= to),
            }
        }
        Ok(())
    }
}

fn spec(id: TableId) -> TableSpec {
    let schema = Schema::new(vec![
        Field::new("key", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("value", DataType::Float64, true),
    ]);
    let sort = if id == TABLES[0] { vec![0] } else { vec![1, 0] };
    TableSpec { id, schema: Arc::new(schema), sort }
}

fn rows(from: i64, count: i64) -> RecordBatch {
    let keys: Vec<i64> = (from..from + count).collect();
    let names = keys.iter().map(|key| Some(format!("name {}", key % 7)));
    let values = keys.iter().map(|key| (key % 5 != 0).then_some(*key as f64));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(keys.clone())),
        Arc::new(names.collect::<StringArray>()),
        Arc::new(values.collect::<Float64Array>()),
    ];
    RecordBatch::try_new(spec(TABLES[0]).schema, columns).expect("columns of the schema")
}

fn record(epoch: u64) -> EpochRecord {
    let partition = PartitionRecord { partition: PartitionId(1), end: 7, ..Default::default() };
    let source = SourceRecord {
        source: ObjectId(3),
        watermark: Some(1),
        partitions: vec![partition; 3],
        ..Default::default()
    };
    let rows = encode_delta(&Delta::constant(rows(0, 5), 1)).expect("rows");
    let change = ChangeRecord { table: ObjectId(4), rows };
    EpochRecord { epoch: Epoch(epoch), now: 5, sources: vec![source; 2], changes: vec![change] }
}

fn open(meta: Arc<dyn MetaStore>, files: Arc<dyn Files>) -> Result<(Arc<Store>, Vec<Arc<Table>>)> {
    let store = Store::with_parts(meta, files)?;
    let tables = TABLES.map(|id| store.create_table(spec(id)));
    Ok((store, tables.into_iter().collect::<Result<_>>()?))
}

/// Makes segments, removed rows, marks, a catalog and a log.
fn fill(store: &Store, tables: &[Arc<Table>]) {
    for epoch in 1..=CHECKPOINTS {
        let start = i64::try_from(epoch).expect("it is small") * 300;
        let mut segments = Vec::new();
        for table in tables {
            let mut deltas = vec![Delta::constant(rows(start, 500), 1)];
            if epoch > 1 {
                deltas.push(Delta::constant(rows(start, 50), -1));
            }
            table.publish(0, Epoch(epoch).ts(), deltas);
            let change = table.flush(Epoch(epoch).ts()).expect("it flushes");
            let changes = change.map(|change| (table.id(), change)).into_iter().collect();
            segments.push(store.write_segment(changes).expect("a segment"));
        }
        let ops = vec![Op::Put(b"catalog".to_vec(), vec![7; 100])];
        let trims = vec![(TABLES[0], start - 400)];
        let epoch = Some(Epoch(epoch));
        let commit = Commit { epoch, segments, trims, ops, ..Commit::default() };
        store.commit(commit).expect("a checkpoint");
    }
    for epoch in CHECKPOINTS + 1..CHECKPOINTS + 4 {
        store.append_epoch(&record(epoch)).expect("it is logged");
    }
}

/// What was made on a simulated disk.
fn image() -> Image {
    let disk = Disk::new(1);
    let (store, tables) = open(disk.meta(), disk.files()).expect("an empty store");
    fill(&store, &tables);
    let files = disk.files();
    let read = |name: String| {
        let file = files.open(&name).expect("a file");
        let mut bytes = vec![0; usize::try_from(file.len().expect("a length")).expect("small")];
        file.read_at(&mut bytes, 0).expect("its bytes");
        (name, bytes)
    };
    let names = files.list().expect("names");
    let pairs = disk.meta().scan(&[], &[0xff; 16]).expect("pairs");
    Image { files: names.into_iter().map(read).collect(), pairs: pairs.into_iter().collect() }
}

type Found = (u64, Vec<Vec<RecordBatch>>, Vec<EpochRecord>);

/// Everything that a store shows.
fn found(image: Image) -> Result<Found> {
    let shown = Arc::new(Shown(Mutex::new(image)));
    let (store, tables) = open(Arc::clone(&shown) as Arc<dyn MetaStore>, shown)?;
    let at = store.checkpoint();
    let read = |table: &Arc<Table>| {
        let keys = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().len();
        let scan = table.snapshot(at)?.scan(Scan::default()).collect::<Result<Vec<_>>>()?;
        assert!(scan.iter().all(|batch| keys(batch) == batch.num_rows()), "whole rows");
        Ok(scan)
    };
    let rows = tables.iter().map(read).collect::<Result<_>>()?;
    Ok((at.0, rows, store.epochs_above(at)?))
}

/// Damages a file or a value; true if checksums are made right again.
fn damage(image: &mut Image, random: &mut Random) -> bool {
    let forge = random.one_in(2);
    if random.one_in(2) {
        let at = random.below(image.pairs.len());
        let value = image.pairs.values_mut().nth(at).expect("it is below their number");
        random.damage(value);
        if forge {
            sign(value);
        }
        return forge;
    }
    let at = random.below(image.files.len());
    let file = image.files.values_mut().nth(at).expect("it is below their number");
    if !forge || !forge_directory(file, random) {
        random.damage(file);
    }
    forge
}

/// Damages the directory of a segment, whose place stands in the last 24 bytes; false if it has none any more.
fn forge_directory(file: &mut Vec<u8>, random: &mut Random) -> bool {
    let Some(end) = file.len().checked_sub(24) else { return false };
    let trailer = file[end..].to_vec();
    let offset = u64::from_le_bytes(*trailer.first_chunk().expect("24 bytes"));
    let Some(start) = usize::try_from(offset).ok().filter(|start| *start <= end) else {
        return false;
    };
    let mut directory = file[start..end].to_vec();
    random.damage(&mut directory);
    sign(&mut directory);
    file.truncate(start);
    file.extend_from_slice(&directory);
    file.extend_from_slice(&offset.to_le_bytes());
    file.extend_from_slice(&(directory.len() as u64).to_le_bytes());
    file.extend_from_slice(&trailer[16..]);
    true
}

/// Makes the last four bytes the CRC-32 of those before.
fn sign(bytes: &mut [u8]) {
    let Some(body) = bytes.len().checked_sub(4) else { return };
    let mut crc = u32::MAX;
    for byte in &bytes[..body] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    bytes[body..].copy_from_slice(&(!crc).to_le_bytes());
}

/// True for what an operator is told of a directory that is not as it was written.
fn is_refusal(error: &Error) -> bool {
    match error {
        Error::Damaged { .. } | Error::NewerFormat { .. } | Error::WrongKind { .. } => true,
        // What the metadata store itself says.
        Error::Meta(_) => true,
        Error::Locked { .. }
        | Error::Durability(_)
        | Error::Io { .. }
        | Error::TooOld { .. }
        | Error::UnknownTable(_)
        | Error::Arrow(_) => false,
    }
}

#[test]
fn damaged_stores_are_refused_or_show_what_was_there() {
    let whole = image();
    let expected = found(whole.clone()).expect("it is sound");
    assert_eq!((expected.0, expected.2.len()), (CHECKPOINTS, 3));
    let ran = fuzz("storage", |random| {
        let mut image = whole.clone();
        let mut forged = false;
        for _ in 0..=random.below(2) {
            forged |= damage(&mut image, random);
        }
        let mut record = record(9).encode();
        random.damage(&mut record);
        sign(&mut record);
        drop((EpochRecord::decode(&record), PlaceRecord::decode(&record)));
        match found(image) {
            Ok(found) => {
                assert!(forged || found == expected, "other rows, and nobody was told");
                true
            }
            Err(error) => {
                assert!(is_refusal(&error), "{error:?}");
                false
            }
        }
    });
    assert!(ran.inputs < 200 || ran.accepted < ran.inputs, "nothing is refused");
}

fn copy(from: &Path, to: &Path) -> Vec<std::path::PathBuf> {
    std::fs::create_dir_all(to).expect("a directory");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            files.extend(copy(&path, &to));
        } else {
            std::fs::copy(&path, &to).expect("a copy");
            files.push(to);
        }
    }
    files.sort();
    files
}

#[test]
fn damaged_data_directories_are_checked_and_opened_without_a_panic() {
    let scratch = tempfile::tempdir().expect("a directory");
    let whole = scratch.path().join("whole");
    let store = Store::open(&whole, MetaKind::Fjall).expect("a store");
    let tables: Vec<_> = TABLES.map(|id| store.create_table(spec(id)).expect("a table")).into();
    fill(&store, &tables);
    drop((store, tables));
    fuzz("data directories", |random| {
        let dir = scratch.path().join("damaged");
        let files = copy(&whole, &dir);
        let file = &files[random.below(files.len())];
        let mut bytes = std::fs::read(file).expect("its bytes");
        random.damage(&mut bytes);
        std::fs::write(file, bytes).expect("it is written");
        let sound = check(&dir).is_ok_and(|checked| checked.is_sound());
        if let Ok(store) = Store::open(&dir, MetaKind::Fjall) {
            for id in TABLES {
                let Ok(table) = store.create_table(spec(id)) else { continue };
                table.latest().scan(Scan::default()).for_each(drop);
            }
        }
        std::fs::remove_dir_all(&dir).expect("it is removed");
        sound
    });
}
