//! The matches of a pattern in a text, one behind the other, and what is made of them.

use millrace_types::{Report, SqlState};

use crate::regular::{Match, Pattern, part};

/// Bytes of one value, as in PostgreSQL.
const VALUE_BYTES_MAX: usize = 0x3fff_ffff;

/// Which matches are wanted.
#[derive(Clone, Copy)]
pub(super) struct Which {
    /// Where the search begins, in bytes.
    pub(super) from: usize,
    /// How many are asked for.
    pub(super) most: usize,
    /// Whether one counts that is empty and at the end of the text or of the match before it.
    pub(super) with_empty: bool,
}

/// The place of a character that is counted from 1; None for one behind the text's end.
pub(super) fn place(text: &str, start: i64) -> Option<usize> {
    let before = usize::try_from(start.saturating_sub(1)).unwrap_or(0);
    let mut places = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    places.nth(before)
}

/// How many characters stand before a place, and one.
pub(super) fn number(text: &str, at: usize) -> i64 {
    let before = text.get(..at).unwrap_or_default().chars().count();
    i64::try_from(before).unwrap_or(i64::MAX).saturating_add(1)
}

/// Hands matches out, one behind the other; a match may begin where the one before it ended.
pub(super) fn each(
    pattern: &mut Pattern,
    text: &str,
    which: Which,
    mut take: impl FnMut(Match) -> Result<(), Report>,
) -> Result<(), Report> {
    let (mut from, mut last, mut count, mut steps) = (which.from, 0, 0, 0);
    while count < which.most {
        let Some(found) = pattern.find_more(text, from, &mut steps)? else { break };
        let (begin, end) = found.whole;
        if which.with_empty || begin < text.len() && end > last {
            take(found)?;
            count += 1;
        }
        last = end;
        let next = text.get(end..).and_then(|rest| rest.chars().next());
        from = match (begin == end, next) {
            (false, _) => end,
            (true, Some(c)) => end + c.len_utf8(),
            (true, None) => break,
        };
    }
    Ok(())
}

/// What the groups of a match hold, or the match where there are none.
pub(super) fn groups<'t>(text: &'t str, found: &Match) -> Vec<Option<&'t str>> {
    if found.groups.is_empty() {
        return vec![Some(part(text, found.whole))];
    }
    found.groups.iter().map(|group| group.map(|group| part(text, group))).collect()
}

/// The parts of a text between the matches.
pub(super) fn split<'t>(pattern: &mut Pattern, text: &'t str) -> Result<Vec<&'t str>, Report> {
    let which = Which { from: 0, most: usize::MAX, with_empty: false };
    let (mut parts, mut last) = (Vec::new(), 0);
    each(pattern, text, which, |found| {
        parts.push(part(text, (last, found.whole.0)));
        last = found.whole.1;
        Ok(())
    })?;
    parts.push(part(text, (last, text.len())));
    Ok(parts)
}

/// Replaces the match of a number, or all of them for 0.
pub(super) fn replaced(
    pattern: &mut Pattern,
    text: &str,
    with: &str,
    (from, number): (usize, i64),
) -> Result<String, Report> {
    let number = usize::try_from(number).unwrap_or(0);
    let most = if number == 0 { usize::MAX } else { number };
    let (mut new, mut last, mut count) = (String::with_capacity(text.len()), 0, 0);
    each(pattern, text, Which { from, most, with_empty: true }, |found| {
        count += 1;
        if number > 0 && count != number {
            return Ok(());
        }
        new.push_str(part(text, (last, found.whole.0)));
        replacement(text, with, &found, &mut new)?;
        last = found.whole.1;
        Ok(())
    })?;
    new.push_str(part(text, (last, text.len())));
    Ok(new)
}

/// What stands for a match: `\1` to `\9` are its groups, `\&` is all of it, `\\` a backslash.
fn replacement(text: &str, with: &str, found: &Match, new: &mut String) -> Result<(), Report> {
    let mut rest = with;
    while let Some((plain, behind)) = rest.split_once('\\') {
        new.push_str(plain);
        let span = match behind.chars().next() {
            Some('&') => Some(found.whole),
            Some(digit @ '1'..='9') => {
                let group = digit.to_digit(10).and_then(|digit| digit.checked_sub(1));
                let group = group.and_then(|group| found.groups.get(group as usize));
                group.copied().flatten()
            }
            Some('\\') => {
                new.push('\\');
                None
            }
            _ => {
                new.push('\\');
                rest = behind;
                continue;
            }
        };
        new.push_str(span.map_or("", |span| part(text, span)));
        rest = behind.get(1..).unwrap_or_default();
    }
    new.push_str(rest);
    if new.len() > VALUE_BYTES_MAX {
        let message = "requested length too large";
        return Err(Report::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
    }
    Ok(())
}
