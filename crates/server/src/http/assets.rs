//! The files of the console, compressed. Written by scripts/console; do not edit.

/// Name and gzip of each file.
pub(super) const ASSETS: &[(&str, &[u8])] = &[];
