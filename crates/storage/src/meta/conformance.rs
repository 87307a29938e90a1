//! What every metadata store has to do, as one check that each backend's test calls, the simulated
//! one too. It is compiled into the library because that backend lives in another crate.

use std::sync::Arc;

use crate::error::Result;
use crate::meta::{MetaStore, Op, Pair};

fn put(key: &str, value: &str) -> Op {
    Op::Put(key.into(), value.into())
}

fn delete_range(from: &str, to: &str) -> Op {
    Op::DeleteRange(from.into(), to.into())
}

fn all(store: &dyn MetaStore) -> Result<Vec<(String, String)>> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let pairs = store.scan(b"", b"\xff")?;
    Ok(pairs.into_iter().map(|(k, v): Pair| (text(k), text(v))).collect())
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// Runs the suite. `open` gives the same, at first empty, store each time; the one before has been
/// dropped.
///
/// # Errors
/// What the store reports.
///
/// # Panics
/// When the store does not conform.
pub fn check_conformance(open: &mut dyn FnMut() -> Arc<dyn MetaStore>) -> Result<()> {
    let store = open();
    assert_eq!(all(&*store)?, pairs(&[]), "a new store is empty");
    store.commit(vec![put("b", "2"), put("a", "1"), put("c", "3"), put("b", "two")])?;
    assert_eq!(all(&*store)?, pairs(&[("a", "1"), ("b", "two"), ("c", "3")]), "in key order");
    assert_eq!(store.get(b"b")?.as_deref(), Some(b"two".as_slice()), "the last put wins");
    assert_eq!(store.get(b"bb")?, None);
    assert_eq!(store.scan(b"a", b"b")?.len(), 1, "the end is excluded");
    assert_eq!(store.scan(b"c", b"a")?.len(), 0, "a range that runs backwards is empty");
    drop(store);

    let store = open();
    assert_eq!(all(&*store)?.len(), 3, "a commit survives a reopening");
    store.commit(vec![put("d", "4"), delete_range("b", "e"), put("d", "four")])?;
    assert_eq!(all(&*store)?, pairs(&[("a", "1"), ("d", "four")]), "changes apply in order");
    store.commit(vec![put("b", "5"), Op::Delete(b"b".to_vec()), Op::Delete(b"none".to_vec())])?;
    store.commit(vec![delete_range("z", "a"), delete_range("a", "a")])?;
    store.commit(Vec::new())?;
    assert_eq!(all(&*store)?, pairs(&[("a", "1"), ("d", "four")]), "empty ranges remove nothing");
    drop(store);

    let store = open();
    let large = "x".repeat(300_000);
    let many = (0..500).map(|n| put(&format!("n{n:03}"), &large[..n]));
    store.commit(many.chain([put("large", &large), Op::Delete(b"d".to_vec())]).collect())?;
    drop(store);
    let store = open();
    assert_eq!(store.get(b"large")?.map(|value| value.len()), Some(large.len()));
    assert_eq!(store.scan(b"n", b"o")?.len(), 500);
    store.commit(vec![delete_range("", "\u{7f}")])?;
    assert_eq!(all(&*store)?, pairs(&[]), "everything can be removed");
    Ok(())
}
