//! Lines of a script, and the data of a COPY that stand among them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor};
use std::path::Path;

/// The line that ends the data of a COPY.
pub(super) const COPY_END: &str = "\\.";

/// See the module's documentation.
pub(super) struct Script {
    /// How errors name it; none on the command line and for standard input.
    pub(super) name: Option<String>,
    lines: Box<dyn BufRead>,
    /// Lines that were read.
    pub(super) read: usize,
    /// The data of a COPY follow in standard input, not in the script.
    pub(super) is_command: bool,
}

impl Script {
    /// What stands on the command line.
    pub(super) fn of_text(text: &str) -> Script {
        let lines = Box::new(Cursor::new(text.as_bytes().to_vec()));
        Script { name: None, lines, read: 0, is_command: true }
    }

    /// A file.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn of_file(file: &Path) -> io::Result<Script> {
        let lines = Box::new(BufReader::new(File::open(file)?));
        let name = Some(file.display().to_string());
        Ok(Script { name, lines, read: 0, is_command: false })
    }

    /// Standard input.
    pub(super) fn of_input() -> Script {
        let lines = Box::new(BufReader::new(io::stdin()));
        Script { name: None, lines, read: 0, is_command: false }
    }

    /// The next line with its end.
    ///
    /// # Errors
    /// It cannot be read, or is not UTF-8.
    pub(super) fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        self.read += 1;
        Ok((self.lines.read_line(&mut line)? > 0).then_some(line))
    }

    /// The next line of a COPY's data; None where they end.
    ///
    /// # Errors
    /// It cannot be read, or is not UTF-8.
    pub(super) fn data(&mut self) -> io::Result<Option<String>> {
        let line = match self.is_command {
            true => io::stdin().lines().next().transpose()?.map(|line| line + "\n"),
            false => self.line()?,
        };
        Ok(line.filter(|line| line.trim_end() != COPY_END))
    }
}
