//! Stops of the engine at a view, noted beside the data: a view that stops the engine twice is not
//! started a third time, so that the others go on.
//!
//! The note is written while the process ends, so it is a plain file: one line a stop, with the
//! view's id. A clean end takes it away.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use millrace_types::ObjectId;

const FILE: &str = "STOPS";

/// Stops of one view after which it is not started again.
const ENOUGH: usize = 2;

/// Notes that the engine stops while it works on a view.
///
/// # Errors
/// Those of the file system.
pub(crate) fn note(dir: &Path, view: ObjectId) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(dir.join(FILE))?;
    writeln!(file, "{}", view.0)?;
    file.sync_all()
}

/// The views at which the engine has stopped too often since the last clean end.
///
/// # Errors
/// Those of the file system.
pub(crate) fn repeated(dir: &Path) -> io::Result<Vec<ObjectId>> {
    let text = match std::fs::read_to_string(dir.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let mut stops: BTreeMap<u32, usize> = BTreeMap::new();
    // A line that the end of the process cut off names nothing.
    for view in text.lines().filter_map(|line| line.parse().ok()) {
        *stops.entry(view).or_default() += 1;
    }
    let often = stops.into_iter().filter(|(_, count)| *count >= ENOUGH);
    Ok(often.map(|(view, _)| ObjectId(view)).collect())
}

/// Starts counting anew.
///
/// # Errors
/// Those of the file system.
pub(crate) fn forget(dir: &Path) -> io::Result<()> {
    match std::fs::remove_file(dir.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_stop_at_a_view_counts_until_a_clean_end() {
        let dir = tempfile::tempdir().unwrap();
        assert!(repeated(dir.path()).unwrap().is_empty());
        for view in [7, 9] {
            note(dir.path(), ObjectId(view)).unwrap();
        }
        assert!(repeated(dir.path()).unwrap().is_empty());
        note(dir.path(), ObjectId(9)).unwrap();
        assert_eq!(repeated(dir.path()).unwrap(), [ObjectId(9)]);
        forget(dir.path()).unwrap();
        assert!(repeated(dir.path()).unwrap().is_empty());
        forget(dir.path()).unwrap();
    }
}
