//! Messages as they are, in one column.

use arrow::array::{BinaryArray, BinaryBuilder};

/// Collects payloads.
#[derive(Default)]
pub(crate) struct BytesDecoder {
    values: BinaryBuilder,
    bytes: usize,
}

impl BytesDecoder {
    pub(super) fn push(&mut self, payload: &[u8]) -> Result<(), String> {
        // Offsets of a column are 32 bits wide.
        if self.bytes + payload.len() > i32::MAX.unsigned_abs() as usize {
            return Err("too many bytes in one chunk".to_owned());
        }
        self.bytes += payload.len();
        self.values.append_value(payload);
        Ok(())
    }

    pub(super) fn finish(&mut self) -> BinaryArray {
        self.bytes = 0;
        self.values.finish()
    }
}
