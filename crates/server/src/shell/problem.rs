//! Errors and notices as people read them: what is wrong, the line with a caret below the place, what helps.

use millrace_pg::client::Told;
use unicode_width::UnicodeWidthStr;

use super::print::harmless;

/// The longest part of a line that is shown.
const SHOWN_MAX: usize = 76;
/// How much of it stands before the caret.
const BEFORE: usize = 40;

/// The line of a statement, from 0, in which an error is.
pub(crate) fn line_of(told: &Told, statement: &str) -> usize {
    let characters = told.position.map_or(0, |position| position.saturating_sub(1));
    statement.chars().take(characters).filter(|c| *c == '\n').count()
}

/// The text of an error or notice of a statement.
pub(crate) fn text(told: &Told, statement: &str) -> String {
    let code = match told.severity.as_str() {
        "ERROR" | "FATAL" | "PANIC" => format!("{}: ", told.code),
        _ => String::new(),
    };
    let mut text = format!("{}:  {code}{}\n", told.severity, told.message);
    if let Some(position) = told.position {
        text.push_str(&place(statement, position));
    }
    let more = [("DETAIL", &told.detail), ("HINT", &told.hint), ("CONTEXT", &told.context)];
    for (label, more) in more {
        if let Some(more) = more {
            text.push_str(&format!("{label}:  {more}\n"));
        }
    }
    // It may quote a value.
    harmless(&text)
}

/// `LINE 2: SELECT x` and a caret; nothing for a position beyond the statement.
fn place(statement: &str, position: usize) -> String {
    let Some(at) = position.checked_sub(1) else { return String::new() };
    let characters: Vec<char> = statement.chars().collect();
    if at > characters.len() {
        return String::new();
    }
    let begin = characters[..at].iter().rposition(|c| *c == '\n').map_or(0, |newline| newline + 1);
    let end = characters[at..].iter().position(|c| *c == '\n').map_or(characters.len(), |n| at + n);
    let number = 1 + characters[..at].iter().filter(|c| **c == '\n').count();
    let (from, cut) = match end - begin > SHOWN_MAX && at - begin > BEFORE {
        true => (at - BEFORE, "..."),
        false => (begin, ""),
    };
    let to = end.min(from + SHOWN_MAX);
    let rest = if to < end { "..." } else { "" };
    let flat =
        |part: &[char]| part.iter().map(|c| if *c == '\t' { ' ' } else { *c }).collect::<String>();
    let label = format!("LINE {number}: {cut}");
    let indent = label.width() + flat(&characters[from..at]).width();
    format!("{label}{}{rest}\n{}^\n", flat(&characters[from..to]), " ".repeat(indent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(position: usize) -> Told {
        Told {
            severity: "ERROR".into(),
            code: "42703".into(),
            message: "column \"x\" does not exist".into(),
            hint: Some("Look again.".into()),
            position: Some(position),
            ..Told::default()
        }
    }

    #[test]
    fn the_caret_stands_below_the_place() {
        let statement = "SELECT 'ä',\n\tx FROM t";
        let expected = "ERROR:  42703: column \"x\" does not exist\nLINE 2:  x FROM t\n         ^\nHINT:  Look again.\n";
        assert_eq!(text(&error(14), statement), expected);
        assert_eq!(line_of(&error(14), statement), 1);
    }

    #[test]
    fn of_a_long_line_the_part_around_the_place_is_shown() {
        let statement = format!("SELECT {}x{}", "1, ".repeat(100), ", 2".repeat(100));
        let shown = text(&error(308), &statement);
        let mut lines = shown.lines().skip(1);
        let (line, caret) = (lines.next().unwrap(), lines.next().unwrap());
        assert!(line.starts_with("LINE 1: ...") && line.ends_with("...") && line.len() < 100);
        assert_eq!(line.as_bytes()[caret.len() - 1], b'x');
    }

    #[test]
    fn a_position_outside_is_not_shown() {
        assert!(!text(&error(100), "SELECT 1").contains("LINE"));
    }
}
