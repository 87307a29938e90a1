//! The quoting of parts inside the text of an array or a record.

/// Appends an element of an array; quoted where it could be read as something else.
pub fn array_element(text: &[u8], out: &mut impl Extend<u8>) {
    let special = |byte: &u8| matches!(byte, b'{' | b'}' | b',' | b'"' | b'\\') || is_blank(*byte);
    if !text.is_empty() && !text.eq_ignore_ascii_case(b"null") && !text.iter().any(special) {
        return out.extend(text.iter().copied());
    }
    let escaped = |byte: &u8| {
        let escape = matches!(byte, b'"' | b'\\').then_some(b'\\');
        escape.into_iter().chain([*byte])
    };
    out.extend([b'"']);
    out.extend(text.iter().flat_map(escaped));
    out.extend([b'"']);
}

/// Appends a field of a record; quotes and backslashes are doubled.
pub fn record_field(text: &[u8], out: &mut impl Extend<u8>) {
    let special = |byte: &u8| matches!(byte, b'(' | b')' | b',' | b'"' | b'\\') || is_blank(*byte);
    if !text.is_empty() && !text.iter().any(special) {
        return out.extend(text.iter().copied());
    }
    let doubled = |byte: &u8| {
        let again = matches!(byte, b'"' | b'\\').then_some(*byte);
        again.into_iter().chain([*byte])
    };
    out.extend([b'"']);
    out.extend(text.iter().flat_map(doubled));
    out.extend([b'"']);
}

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 11
}
