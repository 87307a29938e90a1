//! SQL's own regular expressions, those of `SIMILAR TO`, as advanced ones.

use millrace_types::{Report, SqlState};

/// The escape character of an ESCAPE clause; None if it turns escapes off.
///
/// # Errors
/// More than one character.
pub(crate) fn escape_of(text: &str) -> Result<Option<char>, Report> {
    let mut chars = text.chars();
    let escape = chars.next();
    if chars.next().is_none() {
        return Ok(escape);
    }
    Err(no_escape())
}

/// What is said of an escape that is not one character.
pub(crate) fn no_escape() -> Report {
    let hint = "Escape string must be empty or one character.";
    Report::new(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string").hint(hint)
}

/// The regular expression that matches the whole text where the pattern does. Between two escaped double
/// quotes stands what `substring` gives: it becomes a group.
///
/// # Errors
/// More than two of these quotes.
pub(crate) fn similar(pattern: &str, escape: Option<char>) -> Result<String, Report> {
    let mut expression = String::from("^(?:");
    let (mut is_class, mut is_escaped, mut quotes) = (false, false, 0);
    for c in pattern.chars() {
        if is_escaped {
            is_escaped = false;
            match (c == '"' && !is_class, quotes) {
                (false, _) => expression.extend(['\\', c]),
                // What stands before is as short, what stands behind as long as can be.
                (true, 0) => expression.push_str("){1,1}?("),
                (true, 1) => expression.push_str("){1,1}(?:"),
                (true, _) => return Err(quoted_twice()),
            }
            quotes += usize::from(c == '"' && !is_class);
        } else if Some(c) == escape {
            is_escaped = true;
        } else if is_class {
            is_class = c != ']';
            expression.push_str(if c == '\\' { "\\" } else { "" });
            expression.push(c);
        } else {
            is_class = c == '[';
            match c {
                '%' => expression.push_str(".*"),
                '_' => expression.push('.'),
                '(' => expression.push_str("(?:"),
                '\\' | '.' | '^' | '$' => expression.extend(['\\', c]),
                other => expression.push(other),
            }
        }
    }
    expression.push_str(")$");
    Ok(expression)
}

fn quoted_twice() -> Report {
    let message =
        "SQL regular expression may not contain more than two escape-double-quote separators";
    Report::new(SqlState::INVALID_USE_OF_ESCAPE_CHARACTER, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        let shown = |pattern| similar(pattern, Some('\\')).unwrap();
        assert_eq!(shown("(a|b)%"), "^(?:(?:a|b).*)$");
        assert_eq!(shown("a_c.$"), "^(?:a.c\\.\\$)$");
        assert_eq!(shown("[%_^]\\%"), "^(?:[%_^]\\%)$");
        assert_eq!(shown("a\\\"b\\\"c"), "^(?:a){1,1}?(b){1,1}(?:c)$");
        assert!(similar("#\"#\"#\"", Some('#')).is_err());
    }
}
