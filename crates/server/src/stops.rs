//! Stops of the engine at a view, noted beside the data: a view that stops the engine twice is not
//! started a third time, so that the others go on.
//!
//! The note is a plain file, one line a stop, with the view's id: it is written while the process ends, by the
//! handler of SIGABRT, with which a panic, an allocation that the system refuses and a stack that is full end a
//! process. SIGKILL leaves no time for a note: while the process has so much memory that the kernel may end it,
//! the views whose operators are in one call since a while stand in a file of their own, and count when it is still
//! there at the next start. A clean end takes both away. Both are hints: what cannot be read or written of them keeps no server from
//! starting.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millrace_dataflow::runtime::{all_working_on, working_on};
use millrace_types::ObjectId;

use crate::memory;

const FILE: &str = "STOPS";
/// What stands here counts as a stop if the process ends before it takes it away.
const SUSPECTS: &str = "SUSPECTS";

/// Stops of one view after which it is not started again.
const ENOUGH: usize = 2;

/// The time between two looks at what the process uses.
const LOOK: Duration = Duration::from_millis(100);
/// A process that uses half as much again as its limit and this, bytes, has something in it that nothing bounds.
const FAR_BYTES: usize = 512 << 20;

/// Notes from now on at which view the process aborts.
///
/// # Errors
/// The handler cannot be set.
#[allow(unsafe_code, reason = "what a handler of a signal does is on its author")]
pub(crate) fn note_aborts(dir: &Path) -> io::Result<()> {
    static ENDING: AtomicBool = AtomicBool::new(false);
    let (file, suspects) = (dir.join(FILE), dir.join(SUSPECTS));
    let handler = move || {
        if let Some(view) = working_on()
            && !ENDING.swap(true, Ordering::SeqCst)
        {
            // Nobody to tell: the process ends for another reason.
            note(&file, view).unwrap_or_default();
            std::fs::remove_file(&suspects).unwrap_or_default();
        }
        // SAFETY: both may be called in a handler. The signal is blocked until this returns, and then ends the process.
        unsafe {
            libc::signal(libc::SIGABRT, libc::SIG_DFL);
            libc::raise(libc::SIGABRT);
        }
    };
    // SAFETY: it allocates nothing and takes no lock: paths of a few hundred bytes become C strings on the stack,
    // the number is written there too, and the rest are system calls.
    unsafe { signal_hook_registry::register(libc::SIGABRT, handler) }.map(drop)
}

/// One system call for the line, so that it is there wholly or not at all.
fn note(file: &Path, view: ObjectId) -> io::Result<()> {
    let mut line = [0; 16];
    let mut left = &mut line[..];
    writeln!(left, "{}", view.0)?;
    let length = 16 - left.len();
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    file.write_all(&line[..length])?;
    file.sync_all()
}

/// Counts what an end without a note has left, and watches what the process uses from now on. To be called when
/// the directory is this process's own.
///
/// # Errors
/// Those of a thread.
pub(crate) fn watch(dir: &Path, limit: usize) -> io::Result<()> {
    let (file, suspects) = (dir.join(FILE), dir.join(SUSPECTS));
    for view in lines(&suspects) {
        tracing::warn!(
            view,
            "the server was ended when it worked on a view and had too much memory"
        );
        hint(&file, note(&file, ObjectId(view)));
    }
    hint(&suspects, absent(std::fs::remove_file(&suspects)));
    let watch = move || look(&suspects, limit);
    std::thread::Builder::new().name("suspects".into()).spawn(watch).map(drop)
}

fn look(suspects: &Path, limit: usize) {
    let (mut before, mut shown, most) = (Vec::new(), Vec::new(), memory::most());
    loop {
        std::thread::park_timeout(LOOK);
        let now = if may_be_ended(limit, most) { all_working_on() } else { Vec::new() };
        // Many small pieces of work are not what takes the memory.
        let same = now.iter().filter(|work| before.contains(*work)).map(|work| work.view);
        let mut views: Vec<ObjectId> = same.collect();
        views.sort_unstable();
        views.dedup();
        before = now;
        if views != shown {
            hint(suspects, show(suspects, &views));
            shown = views;
        }
    }
}

/// What goes wrong with a hint is told, and no more.
fn hint(file: &Path, done: io::Result<()>) {
    if let Err(error) = done {
        tracing::warn!(%error, file = %file.display(), "what stops the server cannot be noted");
    }
}

/// True while the kernel may end the process for its memory.
fn may_be_ended(limit: usize, most: Option<usize>) -> bool {
    let resident = memory::resident();
    let far = limit.saturating_add(limit / 2 + FAR_BYTES);
    let Some(most) = most else { return resident > far };
    if resident <= far.min(most / 10 * 9) && resident <= limit {
        return false;
    }
    let scarce = memory::available().is_some_and(|available| available < most / 20);
    resident > far.min(most / 10 * 9) || scarce && resident > limit
}

/// Whole or not at all, as far as an end of the process goes.
fn show(suspects: &Path, views: &[ObjectId]) -> io::Result<()> {
    if views.is_empty() {
        return absent(std::fs::remove_file(suspects));
    }
    let lines: String = views.iter().map(|view| format!("{}\n", view.0)).collect();
    let new = suspects.with_extension("new");
    std::fs::write(&new, lines)?;
    std::fs::rename(new, suspects)
}

/// The numbers in a file of lines; a line that the end of the process cut off names nothing.
fn lines(file: &Path) -> Vec<u32> {
    let text = match std::fs::read(file) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                hint(file, Err(error));
            }
            return Vec::new();
        }
    };
    let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    whole.filter_map(|line| line.parse().ok()).collect()
}

/// What is not there is as good as taken away.
fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The views at which the engine has stopped too often since the last clean end.
pub(crate) fn repeated(dir: &Path) -> Vec<ObjectId> {
    let mut stops: BTreeMap<u32, usize> = BTreeMap::new();
    for view in lines(&dir.join(FILE)) {
        *stops.entry(view).or_default() += 1;
    }
    let often = stops.into_iter().filter(|(_, count)| *count >= ENOUGH);
    often.map(|(view, _)| ObjectId(view)).collect()
}

/// Starts counting anew.
///
/// # Errors
/// Those of the file system.
pub(crate) fn forget(dir: &Path) -> io::Result<()> {
    [FILE, SUSPECTS].iter().try_for_each(|file| absent(std::fs::remove_file(dir.join(file))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_stop_at_a_view_counts_until_a_clean_end() {
        let dir = tempfile::tempdir().unwrap();
        assert!(repeated(dir.path()).is_empty());
        for view in [7, 9] {
            note(&dir.path().join(FILE), ObjectId(view)).unwrap();
        }
        assert!(repeated(dir.path()).is_empty());
        note(&dir.path().join(FILE), ObjectId(9)).unwrap();
        assert_eq!(repeated(dir.path()), [ObjectId(9)]);
        forget(dir.path()).unwrap();
        assert!(repeated(dir.path()).is_empty());
        std::fs::write(dir.path().join(FILE), b"9\n\xff\n12").unwrap();
        assert_eq!(lines(&dir.path().join(FILE)), [9], "12 may be the beginning of 123");
        forget(dir.path()).unwrap();
    }
}
