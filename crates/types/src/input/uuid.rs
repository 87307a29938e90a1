//! `uuid`: 32 hexadecimal digits, with a hyphen after any four of them, or in braces.

use super::invalid;
use crate::report::Report;
use crate::sqltype::SqlType;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// `uuid`
///
/// # Errors
/// `22P02`.
pub fn uuid(text: &str) -> Result<[u8; 16], Report> {
    read(text.trim()).ok_or_else(|| invalid(&SqlType::Uuid, text))
}

fn read(text: &str) -> Option<[u8; 16]> {
    let braces = text.strip_prefix('{').map(|rest| rest.strip_suffix('}'));
    let digits = braces.unwrap_or(Some(text))?.as_bytes();
    let (mut value, mut found) = (0_u128, 0);
    for (at, byte) in digits.iter().enumerate() {
        if *byte == b'-' && found > 0 && found % 4 == 0 && digits[at - 1] != b'-' {
            continue;
        }
        value = value << 4 | u128::from(char::from(*byte).to_digit(16)?);
        found += 1;
    }
    (found == 32 && digits.last() != Some(&b'-')).then(|| value.to_be_bytes())
}

/// Sixteen bytes as 8, 4, 4, 4 and 12 digits.
pub fn uuid_text(bytes: &[u8], out: &mut String) {
    for (at, byte) in bytes.iter().enumerate() {
        out.push_str(if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" });
        out.extend([byte >> 4, byte & 15].map(|half| char::from(DIGITS[usize::from(half)])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_read_in_all_of_postgresqls_forms() {
        let wanted = 0xa0ee_bc99_9c0b_4ef8_bb6d_6bb9_bd38_0a11_u128.to_be_bytes();
        for text in [
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        ] {
            assert_eq!(uuid(text).unwrap(), wanted, "{text}");
        }
        let mut shown = String::new();
        uuid_text(&wanted, &mut shown);
        assert_eq!(shown, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
        for text in [
            "",
            "a0eebc99",
            "{a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "g0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a110",
            "-a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11-",
        ] {
            assert!(uuid(text).is_err(), "{text}");
        }
    }
}
