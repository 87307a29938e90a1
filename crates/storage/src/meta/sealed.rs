//! The files of the metadata store on fjall, verified before fjall reads them.
//!
//! fjall has checksums of its lists of files, and takes memory by a length in them before it compares: one flipped bit
//! asks for a hundred gigabytes, and the process ends. So they are compared here first.
//!
//! Facts from lsm-tree 3.1 and sfa 1.0, all numbers little-endian: `current` is the number of the version as u64, the
//! xxh3-128 of the file `v<number>`, a byte 0. That ends with a trailer: `SFA!`, two bytes, the xxh3-128 of the list of
//! its sections, where that begins and its length as u64. The list is `TOC!`, a count as u32, and by section place and
//! length as u64 and its name behind a u16. In the section `tables` are the counts of levels and runs as bytes,
//! that of tables as u32, and by table its number as u64, a byte, the xxh3-128 of its file, eight bytes.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Error, Result};

/// The length of `current`.
const CURRENT: usize = 25;
/// Where the place of the sections' list stands, from the end.
const PLACE: usize = 16;

/// Verifies what has been written in a directory of fjall; there may be nothing yet.
///
/// # Errors
/// [`Error::Damaged`] with the file, [`Error::Io`] where one cannot be read.
pub(super) fn verify(dir: &Path) -> Result<()> {
    let name = last(dir);
    for keyspace in entries(&dir.join("keyspaces"))? {
        let name = format!("{name}/keyspaces/{}", last(&keyspace));
        let Some(version) = version(&keyspace, &name)? else { continue };
        for (table, checksum) in tables(&version).unwrap_or_default() {
            verify_file(&keyspace, &format!("tables/{table}"), &name, &checksum)?;
        }
    }
    Ok(())
}

/// The current version of a keyspace; None before there is one.
fn version(keyspace: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let Some(current) = read(&keyspace.join("current"))? else { return Ok(None) };
    let (number, checksum) = match current.split_first_chunk::<8>() {
        Some((number, rest)) if current.len() == CURRENT => (number, &rest[..16]),
        _ => {
            return Err(Error::damaged(&format!("{name}/current"), 0, "its length is another one"));
        }
    };
    let version = format!("v{}", u64::from_le_bytes(*number));
    verify_file(keyspace, &version, name, checksum).map(Some)
}

/// The bytes of a file that have this checksum.
fn verify_file(keyspace: &Path, file: &str, name: &str, checksum: &[u8]) -> Result<Vec<u8>> {
    let damaged = |reason| Error::damaged(&format!("{name}/{file}"), 0, reason);
    let bytes = read(&keyspace.join(file))?.ok_or_else(|| damaged("it is not there"))?;
    match xxh3_128(&bytes).to_le_bytes() == checksum {
        true => Ok(bytes),
        false => Err(damaged("its checksum is another one")),
    }
}

/// The tables of a version with their checksums; None if it is written in another way, which is fjall's to judge.
fn tables(version: &[u8]) -> Option<Vec<(u64, [u8; 16])>> {
    let place = Bytes(version.get(version.len().checked_sub(PLACE)?..)?).number()?;
    let mut list = Bytes(version.get(usize::try_from(place).ok()?..)?);
    (list.take(4)? == *b"TOC!").then_some(())?;
    let count = u32::from_le_bytes(*list.take(4)?.first_chunk()?);
    let mut section = None;
    for _ in 0..count {
        let (place, length) = (list.number()?, list.number()?);
        let name = u16::from_le_bytes(*list.take(2)?.first_chunk()?);
        if list.take(name.into())? == *b"tables" {
            let place = usize::try_from(place).ok()?;
            section = version.get(place..place.checked_add(usize::try_from(length).ok()?)?);
        }
    }
    let mut section = Bytes(section?);
    let mut tables = Vec::new();
    for _ in 0..section.take(1)?[0] {
        for _ in 0..section.take(1)?[0] {
            for _ in 0..u32::from_le_bytes(*section.take(4)?.first_chunk()?) {
                let (number, _) = (section.number()?, section.take(1)?);
                tables.push((number, *section.take(16)?.first_chunk()?));
                section.take(8)?;
            }
        }
    }
    Some(tables)
}

/// Bytes that are read one after the other.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }
}

/// What lies in a directory, by name; nothing if that is not there.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| Error::io(format!("read directory \"{}\"", dir.display()), error);
    let read = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(failed)?,
    };
    let paths = read.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    paths.sort();
    Ok(paths)
}

/// The bytes of a file, if it is there.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => {
            let failed = |error| Error::io(format!("read file \"{}\"", path.display()), error);
            read.map(Some).map_err(failed)
        }
    }
}

fn last(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::fjall::FjallStore;
    use crate::meta::{MetaStore, Op};

    /// A store whose keyspaces have versions and tables.
    fn written(dir: &Path) {
        for round in 0..3_u8 {
            let store = FjallStore::open(dir).unwrap();
            let put = |key: u8| Op::Put(vec![key, round], vec![round; 10]);
            store.commit((0..20).map(put).collect()).unwrap();
            store.write_tables();
        }
    }

    #[test]
    fn a_changed_file_is_found_before_it_is_believed() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("meta");
        verify(&dir).unwrap();
        written(&dir);
        verify(&dir).unwrap();
        let mut found = 0;
        for keyspace in entries(&dir.join("keyspaces")).unwrap() {
            let version = version(&keyspace, "").unwrap().unwrap();
            let current = fs::read(keyspace.join("current")).unwrap();
            let number = u64::from_le_bytes(*current.first_chunk().unwrap());
            let tables = tables(&version).expect("it is understood");
            found += tables.len();
            let tables = tables.iter().map(|(table, _)| keyspace.join(format!("tables/{table}")));
            for file in tables.chain([keyspace.join(format!("v{number}"))]) {
                let whole = fs::read(&file).unwrap();
                for at in (0..whole.len()).step_by(5) {
                    let mut bytes = whole.clone();
                    bytes[at] ^= 0x40;
                    fs::write(&file, bytes).unwrap();
                    let error = FjallStore::open(&dir).err().expect("it is refused");
                    assert!(matches!(error, Error::Damaged { .. }), "{file:?}, {at}: {error}");
                }
                fs::write(&file, whole).unwrap();
            }
        }
        assert!(found > 0, "no table was written");
    }
}
