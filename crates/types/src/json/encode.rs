//! JSON text, and values that SQL has, as bytes.

use super::cursor::{Cursor, Malformed, Token, unescape};
use super::{ARRAY, FALSE, NULL, NUMBER, OBJECT, STRING, TRUE, number as digits};
use crate::report::{Report, SqlState};

/// The bytes of a JSON text.
///
/// # Errors
/// `22P02` with what was expected, `22P05` for a NUL, `22003` for a number beyond `numeric`.
pub fn encode(text: &str) -> Result<Vec<u8>, Report> {
    let mut out = Vec::with_capacity(text.len() + 8);
    let mut cursor = Cursor::new(text);
    cursor.skip_space();
    value(&mut cursor, 0, &mut String::new(), &mut out)?;
    cursor.end().map_err(|wrong| invalid(&wrong))?;
    Ok(out)
}

/// Appends the bytes of a token.
///
/// # Errors
/// As [`encode`].
pub fn encode_token(token: Token<'_>, out: &mut Vec<u8>) -> Result<(), Report> {
    match token {
        Token::Boolean(flag) => out.push(if flag { TRUE } else { FALSE }),
        Token::Number(number) => {
            out.push(NUMBER);
            digits::put(number.text, out)?;
        }
        Token::Text(text) => {
            out.push(STRING);
            put_text(text, out)?;
        }
        Token::Nested(text) => value(&mut Cursor::new(text), 0, &mut String::new(), out)?,
    }
    Ok(())
}

fn invalid(wrong: &Malformed) -> Report {
    let code = SqlState::INVALID_TEXT_REPRESENTATION;
    let report = Report::new(code, "invalid input syntax for type json");
    report.detail(format!("Expected {} at byte {}.", wrong.wanted, wrong.at))
}

fn put_text(text: &str, out: &mut Vec<u8>) -> Result<(), Report> {
    if text.contains('\0') {
        let code = SqlState::UNTRANSLATABLE_CHARACTER;
        let report = Report::new(code, "unsupported Unicode escape sequence");
        return Err(report.detail("\\u0000 cannot be converted to text."));
    }
    out.extend_from_slice(text.as_bytes());
    out.push(0);
    Ok(())
}

fn value(
    cursor: &mut Cursor<'_>,
    depth: usize,
    scratch: &mut String,
    out: &mut Vec<u8>,
) -> Result<(), Report> {
    let failed = |wrong: Malformed| invalid(&wrong);
    cursor.enter(depth).map_err(failed)?;
    match cursor.peek() {
        Some(b'n') => {
            cursor.take_null().map_err(failed)?;
            out.push(NULL);
        }
        Some(b'[') => elements(cursor, depth, scratch, out)?,
        Some(b'{') => members(cursor, depth, scratch, out)?,
        _ => {
            let token = cursor.token(scratch).map_err(failed)?;
            encode_token(token, out)?;
        }
    }
    Ok(())
}

fn elements(
    cursor: &mut Cursor<'_>,
    depth: usize,
    scratch: &mut String,
    out: &mut Vec<u8>,
) -> Result<(), Report> {
    cursor.take(b'[');
    cursor.skip_space();
    out.push(ARRAY);
    let place = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut count = 0_u32;
    if !cursor.take(b']') {
        loop {
            value(cursor, depth + 1, scratch, out)?;
            count += 1;
            if !cursor.goes_on(b']').map_err(|wrong| invalid(&wrong))? {
                break;
            }
        }
    }
    out[place..place + 4].copy_from_slice(&count.to_be_bytes());
    Ok(())
}

/// Each member's bytes are its key, 0 and its value: where the keys come in another order than they
/// are kept in, or twice, the members are put in order afterwards.
fn members(
    cursor: &mut Cursor<'_>,
    depth: usize,
    scratch: &mut String,
    out: &mut Vec<u8>,
) -> Result<(), Report> {
    let failed = |wrong: Malformed| invalid(&wrong);
    cursor.take(b'{');
    cursor.skip_space();
    out.push(OBJECT);
    let place = out.len();
    out.extend_from_slice(&[0; 4]);
    // Where a member begins, and how long its key is.
    let mut found: Vec<(usize, usize)> = Vec::new();
    if !cursor.take(b'}') {
        loop {
            let (raw, escaped) = cursor.string().map_err(failed)?;
            let begin = out.len();
            match escaped {
                true => {
                    unescape(raw, scratch);
                    put_text(scratch, out)?;
                }
                false => put_text(raw, out)?,
            }
            found.push((begin, out.len() - begin - 1));
            cursor.colon().map_err(failed)?;
            value(cursor, depth + 1, scratch, out)?;
            if !cursor.goes_on(b'}').map_err(failed)? {
                break;
            }
        }
    }
    let key = |(begin, length): (usize, usize)| (length, &out[begin..begin + length]);
    if !found.is_sorted_by(|a, b| key(*a) < key(*b)) {
        let end = |at: usize| found.get(at + 1).map_or(out.len(), |(begin, _)| *begin);
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_by(|a, b| key(found[*a]).cmp(&key(found[*b])));
        // Of equal keys the last one counts.
        let last = |place: usize| {
            let next = order.get(place + 1).map(|next| key(found[*next]));
            next != Some(key(found[order[place]]))
        };
        let kept: Vec<usize> =
            (0..order.len()).filter(|place| last(*place)).map(|place| order[place]).collect();
        let sorted: Vec<u8> =
            kept.iter().flat_map(|at| out[found[*at].0..end(*at)].iter().copied()).collect();
        out.truncate(place + 4);
        out.extend_from_slice(&sorted);
        found.truncate(kept.len());
    }
    let count = u32::try_from(found.len()).unwrap_or(u32::MAX);
    out[place..place + 4].copy_from_slice(&count.to_be_bytes());
    Ok(())
}

/// A truth value.
pub fn boolean(value: bool) -> Vec<u8> {
    vec![if value { TRUE } else { FALSE }]
}

/// A string.
pub fn string(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(STRING);
    out.extend(text.bytes().filter(|byte| *byte != 0));
    out.push(0);
    out
}

/// A number as SQL writes it; what is none (`NaN`) is a string, as in PostgreSQL.
///
/// # Errors
/// `22003` for more digits than `numeric` has.
pub fn number(text: &str) -> Result<Vec<u8>, Report> {
    if !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return Ok(string(text));
    }
    let mut out = vec![NUMBER];
    digits::put(text, &mut out)?;
    Ok(out)
}

/// An array of values.
pub fn array<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = vec![ARRAY, 0, 0, 0, 0];
    let mut count = 0_u32;
    for value in values {
        out.extend_from_slice(value);
        count = count.saturating_add(1);
    }
    out[1..5].copy_from_slice(&count.to_be_bytes());
    out
}

/// An object; of equal keys the last one counts.
pub fn object<K: AsRef<str>, V: AsRef<[u8]>>(members: &[(K, V)]) -> Vec<u8> {
    let key = |at: usize| (members[at].0.as_ref().len(), members[at].0.as_ref());
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|a, b| key(*a).cmp(&key(*b)));
    let last = |place: &usize| order.get(place + 1).is_none_or(|n| key(*n) != key(order[*place]));
    let kept: Vec<usize> = (0..order.len()).filter(last).map(|place| order[place]).collect();
    let mut out = vec![OBJECT];
    out.extend_from_slice(&u32::try_from(kept.len()).unwrap_or(u32::MAX).to_be_bytes());
    for at in kept {
        out.extend(members[at].0.as_ref().bytes().filter(|byte| *byte != 0));
        out.push(0);
        out.extend_from_slice(members[at].1.as_ref());
    }
    out
}
