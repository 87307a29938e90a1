//! Secrets and what proves passwords are in data directories and backups: they are for their owner alone.

use std::fs::{Permissions, set_permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What others may do with a file.
const OTHERS: u32 = 0o077;

/// What the process makes from now on nobody else may read. To be called before threads are started.
#[allow(unsafe_code, reason = "the standard library has no way to say it")]
pub fn create_for_owner() {
    // Its type is a `mode_t`, which is narrower on some systems, and passed alike.
    unsafe extern "C" {
        fn umask(mask: u32) -> u32;
    }
    // SAFETY: it takes a number, cannot fail, and changes what files are made with.
    unsafe { umask(OTHERS) };
}

/// Takes from others what they may do with a directory and what is in it, which an earlier version, or
/// somebody who copied it, may have made.
///
/// # Errors
/// It is not ours.
pub fn keep(directory: &Path) -> io::Result<()> {
    let mode = directory.symlink_metadata()?.permissions().mode();
    if mode & OTHERS != 0 {
        set_permissions(directory, Permissions::from_mode(mode & 0o777 & !OTHERS))?;
    }
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, entry.path());
        if kind.is_dir() {
            keep(&path)?;
        } else if kind.is_file() {
            let mode = entry.metadata()?.permissions().mode();
            if mode & OTHERS != 0 {
                set_permissions(&path, Permissions::from_mode(mode & 0o777 & !OTHERS))?;
            }
        }
    }
    Ok(())
}
