//! Numbers written by a template of digits: `FM9,990.00`.

use arrow::datatypes::i256;
use millrace_types::numeric::rescale;
use millrace_types::{NUMERIC_SCALE, Report, input};

/// A number, as its text, by a template.
pub(super) fn number(text: &str, template: &str) -> Result<String, Report> {
    let upper = template.to_ascii_uppercase();
    let short = upper.contains("FM");
    let pattern = upper.replace("FM", "").replace('D', ".").replace('G', ",");
    let (pattern, signed) = match (pattern.strip_prefix('S'), pattern.strip_suffix('S')) {
        (Some(rest), _) => (rest.to_owned(), Some(true)),
        (_, Some(rest)) => (rest.to_owned(), Some(false)),
        _ => (pattern, None),
    };
    if let Some(other) = pattern.chars().find(|c| c.is_ascii_alphabetic()) {
        return Err(Report::unsupported(format!("the pattern {other} in a template of numbers")));
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        return Err(Report::unsupported(format!("to_char of {text}")));
    }
    let (whole_pattern, part_pattern) = pattern.split_once('.').unwrap_or((&pattern, ""));
    let is_digit = |c: &char| matches!(c, '9' | '0');
    let places = part_pattern.chars().filter(is_digit).count();
    let (negative, mut whole, part) = rounded(text, places)?;
    let is_zero = whole.is_empty() && part.bytes().all(|digit| digit == b'0');
    if is_zero && (short || !pattern.contains('.')) {
        whole.push('0');
    }
    let count = whole_pattern.chars().filter(is_digit).count();
    let mut shown = String::new();
    if whole.len() > count {
        shown.push_str(&whole_pattern.replace(['9', '0'], "#"));
    } else {
        shown.push_str(&filled(whole_pattern, &whole, count, short));
    }
    if pattern.contains('.') {
        shown.push('.');
    }
    shown.push_str(&fraction(
        part_pattern,
        if whole.len() > count { None } else { Some(&part) },
        short,
    ));
    Ok(with_sign(shown, negative, signed, short))
}

/// The sign, the whole digits without leading zeros, and so many places.
fn rounded(text: &str, places: usize) -> Result<(bool, String, String), Report> {
    let value = input::numeric(text, None)?;
    let to = i8::try_from(places.min(20)).unwrap_or(20);
    let overflow = || input::field_overflow(76, NUMERIC_SCALE);
    let value = rescale(value, NUMERIC_SCALE, to).ok_or_else(overflow)?;
    let digits = value.to_string();
    let digits = format!("{:0>width$}", digits.trim_start_matches('-'), width = places.min(20));
    let (whole, part) = digits.split_at(digits.len() - places.min(20));
    let part = format!("{part}{}", "0".repeat(places - places.min(20)));
    Ok((value < i256::ZERO, whole.trim_start_matches('0').to_owned(), part))
}

/// Digits in the places of a pattern, from the right; separators before the first digit are blanks.
fn filled(pattern: &str, digits: &str, count: usize, short: bool) -> String {
    let mut shown = String::new();
    let leading = count - digits.len();
    let (mut at, mut started) = (0, false);
    let mut digits = digits.chars();
    for c in pattern.chars() {
        match c {
            '9' | '0' => {
                started |= c == '0' || at >= leading;
                match (at >= leading, started) {
                    (true, _) => shown.extend(digits.next()),
                    (false, true) => shown.push('0'),
                    (false, false) if !short => shown.push(' '),
                    (false, false) => {}
                }
                at += 1;
            }
            ',' if !started => {
                if !short {
                    shown.push(' ');
                }
            }
            other => shown.push(other),
        }
    }
    shown
}

/// The places; behind `FM` without the zeros that a 9 would show at the end.
fn fraction(pattern: &str, digits: Option<&str>, short: bool) -> String {
    let needed = pattern
        .rfind('0')
        .map_or(0, |at| pattern[..=at].chars().filter(|c| matches!(c, '9' | '0')).count());
    let mut shown = String::new();
    let mut source = digits.map(str::chars);
    let kept = digits.map_or(0, |digits| digits.trim_end_matches('0').len()).max(needed);
    let mut at = 0;
    for c in pattern.chars() {
        match c {
            '9' | '0' => {
                let digit = source.as_mut().and_then(Iterator::next).unwrap_or('#');
                if !short || digits.is_none() || at < kept {
                    shown.push(digit);
                }
                at += 1;
            }
            other => shown.push(other),
        }
    }
    shown
}

/// The sign before the first digit; a blank keeps its place.
fn with_sign(shown: String, negative: bool, signed: Option<bool>, short: bool) -> String {
    let sign = match (negative, signed) {
        (true, _) => "-",
        (false, Some(_)) => "+",
        (false, None) if short => "",
        (false, None) => " ",
    };
    if signed == Some(false) {
        return format!("{shown}{sign}");
    }
    let blanks = shown.len() - shown.trim_start().len();
    format!("{}{sign}{}", &shown[..blanks], &shown[blanks..])
}
