//! What the library for regular expressions says of a text that is none, in PostgreSQL's words.

use crate::{Report, SqlState};

/// Parts of the library's sentences, and PostgreSQL's words.
const KNOWN: [(&str, &str); 12] = [
    ("unclosed group", "parentheses () not balanced"),
    ("unopened group", "parentheses () not balanced"),
    ("unclosed character class", "brackets [] not balanced"),
    ("repetition operator missing", "quantifier operand invalid"),
    ("invalid repetition count", "invalid repetition count(s)"),
    ("unclosed counted repetition", "braces {} not balanced"),
    ("repetition quantifier expects", "invalid repetition count(s)"),
    ("escape sequence", "invalid escape \\ sequence"),
    ("invalid character class range", "invalid character range"),
    ("backreferences are not supported", "invalid backreference number"),
    ("compiled regex exceeds size limit", "regular expression is too complex"),
    ("Compiled regex exceeds size limit", "regular expression is too complex"),
];

/// The report for what is no regular expression; None if a message is about something else.
pub fn of_pattern(message: &str) -> Option<Report> {
    let is_it = ["regex parse error", "Regular expression did not compile", "regex exceeds size"]
        .iter()
        .any(|part| message.contains(part));
    if !is_it {
        return None;
    }
    let known = KNOWN.iter().find(|(part, _)| message.contains(part)).map(|(_, words)| *words);
    let said = message.lines().rev().find_map(|line| line.trim().strip_prefix("error: "));
    let reason = known.or(said).unwrap_or("it cannot be read");
    let message = format!("invalid regular expression: {reason}");
    Some(Report::new(SqlState::INVALID_REGULAR_EXPRESSION, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_pattern_has_postgres_words() {
        let message = "regex parse error:\n    (\n    ^\nerror: unclosed group";
        let report = of_pattern(message).unwrap();
        assert_eq!(report.message, "invalid regular expression: parentheses () not balanced");
        let other = of_pattern("regex parse error:\n    x\nerror: something new").unwrap();
        assert_eq!(other.message, "invalid regular expression: something new");
        assert!(of_pattern("division by zero").is_none());
    }
}
