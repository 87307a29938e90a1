//! How a regular expression is read and what its parts match: the flags of functions, and the options at
//! the head of a pattern.

use millrace_types::{Report, SqlState};

use super::syntax::Wrong;

/// Which kind of regular expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// PostgreSQL's advanced ones.
    Advanced,
    /// POSIX's extended ones.
    Extended,
    /// POSIX's basic ones.
    Basic,
    /// The characters themselves.
    Literal,
}

/// Flags of a regular expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(super) kind: Kind,
    /// Whether letters match in any case.
    pub(crate) any_case: bool,
    /// Whether blanks and comments are skipped.
    pub(super) is_expanded: bool,
    /// Whether `.` and `[^x]` stop at the end of a line.
    pub(super) stops_at_lines: bool,
    /// Whether `^` and `$` match at lines.
    pub(super) anchors_at_lines: bool,
    /// Whether all matches are asked for.
    pub(crate) is_global: bool,
}

impl Default for Flags {
    fn default() -> Flags {
        Flags {
            kind: Kind::Advanced,
            any_case: false,
            is_expanded: false,
            stops_at_lines: false,
            anchors_at_lines: false,
            is_global: false,
        }
    }
}

impl Flags {
    /// The flags of a function's argument.
    ///
    /// # Errors
    /// An unknown one.
    pub(crate) fn read(text: &str) -> Result<Flags, Report> {
        let mut flags = Flags::default();
        for flag in text.chars() {
            if flag == 'g' {
                flags.is_global = true;
            } else if flag == 'e' {
                // PostgreSQL's functions take it so; at the head of a pattern it is extended ones.
                flags.kind = Kind::Basic;
            } else if !flags.set(flag) {
                let message = format!("invalid regular expression option: \"{flag}\"");
                return Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, message));
            }
        }
        Ok(flags)
    }

    /// Takes a flag; false for one that there is not.
    pub(super) fn set(&mut self, flag: char) -> bool {
        match flag {
            'b' => self.kind = Kind::Basic,
            'e' => self.kind = Kind::Extended,
            'q' => self.kind = Kind::Literal,
            'c' => self.any_case = false,
            'i' => self.any_case = true,
            'm' | 'n' => self.lines(true, true),
            'p' => self.lines(true, false),
            'w' => self.lines(false, true),
            's' => self.lines(false, false),
            't' => self.is_expanded = false,
            'x' => self.is_expanded = true,
            _ => return false,
        }
        true
    }

    pub(super) fn lines(&mut self, stops: bool, anchors: bool) {
        (self.stops_at_lines, self.anchors_at_lines) = (stops, anchors);
    }

    /// Turns flags away that exclude each other.
    pub(super) fn check(self) -> Result<(), Wrong> {
        let others = self.is_expanded || self.stops_at_lines || self.anchors_at_lines;
        if self.kind == Kind::Literal && others { Err(Wrong::FLAGS) } else { Ok(()) }
    }
}
