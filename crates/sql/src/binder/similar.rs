//! `SIMILAR TO`: SQL's own regular expressions, as those of the operator `~`.

use millrace_types::{Report, SqlState};

/// The regular expression that matches the whole text where the pattern does.
///
/// # Errors
/// A pattern that ends in its escape character.
pub(super) fn regular(pattern: &str, escape: Option<char>) -> Result<String, Report> {
    let mut expression = String::from("^(?s:");
    let mut rest = pattern.chars();
    let mut in_class = false;
    while let Some(c) = rest.next() {
        if Some(c) == escape {
            let Some(next) = rest.next() else {
                let code = SqlState::INVALID_ESCAPE_SEQUENCE;
                let message = "SIMILAR TO pattern must not end with escape character";
                return Err(Report::new(code, message));
            };
            if !next.is_alphanumeric() {
                expression.push('\\');
            }
            expression.push(next);
            continue;
        }
        match c {
            ']' if in_class => in_class = false,
            '[' if !in_class => in_class = true,
            '\\' => expression.push('\\'),
            '%' if !in_class => {
                expression.push_str(".*");
                continue;
            }
            '_' if !in_class => {
                expression.push('.');
                continue;
            }
            '.' | '^' | '$' if !in_class => expression.push('\\'),
            _ => {}
        }
        expression.push(c);
    }
    expression.push_str(")$");
    Ok(expression)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        let shown = |pattern| regular(pattern, Some('\\')).unwrap();
        assert_eq!(shown("(a|b)%"), "^(?s:(a|b).*)$");
        assert_eq!(shown("a_c.$"), "^(?s:a.c\\.\\$)$");
        assert_eq!(shown("[%_^]\\%"), "^(?s:[%_^]\\%)$");
        assert!(regular("a\\", Some('\\')).is_err());
    }
}
