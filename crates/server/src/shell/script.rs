//! Lines of a script, and the data of a COPY that stand among them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, IsTerminal};
use std::path::Path;

use super::input::Input;

/// The line that ends the data of a COPY.
pub(super) const COPY_END: &str = "\\.";

/// See the module's documentation.
pub(super) struct Script {
    /// How errors name it; none on the command line and for standard input.
    pub(super) name: Option<String>,
    lines: Lines,
    /// Lines that were read.
    pub(super) read: usize,
    /// The data of a COPY follow in standard input, not in the script.
    pub(super) is_command: bool,
}

/// Where lines come from.
enum Lines {
    /// They are there.
    Here(Box<dyn BufRead>),
    /// They may be waited for.
    Input(Input),
}

impl Script {
    /// What stands on the command line.
    pub(super) fn of_text(text: &str) -> Script {
        let lines = Lines::Here(Box::new(Cursor::new(text.as_bytes().to_vec())));
        Script { name: None, lines, read: 0, is_command: true }
    }

    /// A file.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn of_file(file: &Path) -> io::Result<Script> {
        let lines = Lines::Here(Box::new(BufReader::new(File::open(file)?)));
        let name = Some(file.display().to_string());
        Ok(Script { name, lines, read: 0, is_command: false })
    }

    /// Standard input.
    pub(super) fn of_input(input: &Input) -> Script {
        let lines = Lines::Input(input.clone());
        Script { name: None, lines, read: 0, is_command: false }
    }

    /// The next line with its end.
    ///
    /// # Errors
    /// It cannot be read, or is not UTF-8.
    pub(super) async fn line(&mut self) -> io::Result<Option<String>> {
        self.read += 1;
        match &mut self.lines {
            Lines::Here(lines) => {
                let mut line = String::new();
                Ok((lines.read_line(&mut line)? > 0).then_some(line))
            }
            Lines::Input(input) => input.line().await,
        }
    }

    /// True if somebody types the data of a COPY.
    pub(super) fn is_typed(&self) -> bool {
        (self.is_command || matches!(self.lines, Lines::Input(_))) && io::stdin().is_terminal()
    }

    /// The next line of a COPY's data; None where they end.
    ///
    /// # Errors
    /// It cannot be read, or is not UTF-8.
    pub(super) async fn data(&mut self, input: &Input) -> io::Result<Option<String>> {
        let line = match self.is_command {
            true => input.line().await?,
            false => self.line().await?,
        };
        Ok(line.filter(|line| line.trim_end() != COPY_END))
    }
}
