//! Values as text that are no numbers and no times.

use bytes::{BufMut, BytesMut};
use millrace_types::input::uuid_text;
use millrace_types::json::{Json, show};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// `bytea` in its hex form.
pub(super) fn hex(bytes: &[u8], out: &mut BytesMut) {
    out.reserve(2 + 2 * bytes.len());
    out.put_slice(b"\\x");
    for byte in bytes {
        out.put_u8(HEX[usize::from(byte >> 4)]);
        out.put_u8(HEX[usize::from(byte & 15)]);
    }
}

/// A `jsonb` as JSON text.
pub(super) fn jsonb(bytes: &[u8], out: &mut BytesMut) {
    let mut text = String::new();
    show(Json::new(bytes), &mut text);
    out.put_slice(text.as_bytes());
}

/// A `uuid` with its hyphens.
pub(super) fn uuid(bytes: &[u8], out: &mut BytesMut) {
    let mut text = String::with_capacity(36);
    uuid_text(bytes, &mut text);
    out.put_slice(text.as_bytes());
}
