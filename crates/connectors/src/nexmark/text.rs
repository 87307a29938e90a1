//! Columns of text, built in one buffer each.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bits of a hash are cut to size, lengths are small"
)]

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::error::ArrowError;

use crate::random::mix;

/// A column in the making.
pub(super) struct Text {
    bytes: Vec<u8>,
    ends: Vec<i32>,
}

impl Text {
    /// Room for rows of about `length` bytes.
    pub(super) fn new(rows: usize, length: usize) -> Text {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Text { bytes: Vec::with_capacity(rows * length), ends }
    }

    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Small letters, as many as asked for.
    #[inline]
    pub(super) fn letters(&mut self, bits: u64, length: i64) {
        let to = self.bytes.len() + length as usize;
        let mut state = bits;
        while self.bytes.len() < to {
            state = mix(state);
            self.bytes.extend_from_slice(&eight_letters(state));
        }
        self.bytes.truncate(to);
    }

    /// Ends the row.
    #[inline]
    pub(super) fn end(&mut self) {
        // A chunk holds some megabytes at most.
        self.ends.push(i32::try_from(self.bytes.len()).unwrap_or(i32::MAX));
    }

    pub(super) fn finish(self) -> Result<ArrayRef, ArrowError> {
        let ends = OffsetBuffer::new(self.ends.into());
        Ok(Arc::new(StringArray::try_new(ends, Buffer::from_vec(self.bytes), None)?))
    }
}

/// Each letter from eight of the bits: 0-15, 0-7 and 0-3 added up, so that all 26 occur.
#[inline]
fn eight_letters(bits: u64) -> [u8; 8] {
    const A: u64 = 0x6161_6161_6161_6161;
    let fifteen = bits & 0x0f0f_0f0f_0f0f_0f0f;
    let seven = (bits >> 4) & 0x0707_0707_0707_0707;
    let three = (bits >> 5) & 0x0303_0303_0303_0303;
    (A + fifteen + seven + three).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    #[test]
    fn letters_are_letters_and_all_of_them_occur() {
        let mut text = Text::new(100, 50);
        for row in 0..100 {
            text.letters(row, row as i64);
            text.end();
        }
        let column = text.finish().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for (row, value) in column.as_string::<i32>().iter().enumerate() {
            assert_eq!(value.unwrap().len(), row);
            seen.extend(value.unwrap().bytes());
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), (b'a'..=b'z').collect::<Vec<_>>());
    }
}
