//! A line on the terminal that says how far a view is filled.

use std::io::{IsTerminal, Write};

/// Cells of the bar.
const CELLS: usize = 24;

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What is filled.
    pub name: String,
    /// It waits for others.
    pub queued: bool,
    /// Rows read.
    pub read: i64,
    /// Rows there are to read, once it is known.
    pub total: Option<i64>,
    /// Per cent, once it is known.
    pub percent: Option<i64>,
}

impl Progress {
    /// The line.
    pub fn line(&self) -> String {
        let Progress { name, queued, read, total, percent } = self;
        let percent = percent.unwrap_or_default().clamp(0, 100);
        let full = usize::try_from(percent).unwrap_or_default() * CELLS / 100;
        let bar = format!("{}{}", "█".repeat(full), "░".repeat(CELLS - full));
        match (queued, total) {
            (true, _) => format!("{name} waits for other views to be filled"),
            (false, None) => format!("{name} {bar} begins"),
            // All is read; what is left is to make it durable.
            (false, Some(0)) => format!("{name} {bar} {percent:>3}%"),
            (false, Some(total)) => {
                format!(
                    "{name} {bar} {percent:>3}%  {} of {} rows",
                    grouped(*read),
                    grouped(*total)
                )
            }
        }
    }
}

/// A number with its thousands apart.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Draws progress on standard error; nothing where that is no terminal.
#[derive(Debug, Default)]
pub struct Bar {
    drawn: bool,
}

impl Bar {
    /// True where a bar can be drawn.
    pub fn is_possible() -> bool {
        std::io::stderr().is_terminal()
    }

    /// Shows how far it is, in the place of what was shown.
    pub fn draw(&mut self, progress: &Progress) {
        self.drawn = true;
        self.put(&format!("\r\x1b[K{}", progress.line()));
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            self.put("\r\x1b[K");
        }
    }

    fn put(&self, text: &str) {
        let mut err = std::io::stderr();
        // A terminal that is gone sees no bar.
        drop(err.write_all(text.as_bytes()).and_then(|()| err.flush()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_full_as_the_view() {
        let of = |percent| Progress {
            name: "v".into(),
            read: 1_234_567,
            total: Some(2_469_134),
            percent: Some(percent),
            ..Progress::default()
        };
        assert_eq!(of(50).line(), "v ████████████░░░░░░░░░░░░  50%  1,234,567 of 2,469,134 rows");
        assert!(of(100).line().contains("████████████████████████ 100%"));
        assert!(Progress { total: Some(0), ..of(100) }.line().ends_with("100%"));
        assert!(Progress { total: None, ..of(0) }.line().ends_with("begins"));
    }
}
