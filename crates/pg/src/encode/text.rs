//! Bytes as text, and the quoting inside arrays and records.

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

/// An element of an array; quoted where it could be read as something else.
pub(super) fn array_element(text: &[u8], out: &mut BytesMut) {
    let special = |byte: &u8| {
        matches!(byte, b'{' | b'}' | b',' | b'"' | b'\\')
            || byte.is_ascii_whitespace()
            || *byte == 11
    };
    if !text.is_empty() && !text.eq_ignore_ascii_case(b"null") && !text.iter().any(special) {
        out.put_slice(text);
        return;
    }
    out.put_u8(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

/// A field of a record; quotes and backslashes are doubled.
pub(super) fn record_field(text: &[u8], out: &mut BytesMut) {
    let special = |byte: &u8| {
        matches!(byte, b'(' | b')' | b',' | b'"' | b'\\')
            || byte.is_ascii_whitespace()
            || *byte == 11
    };
    if !text.is_empty() && !text.iter().any(special) {
        out.put_slice(text);
        return;
    }
    out.put_u8(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(*byte);
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}
