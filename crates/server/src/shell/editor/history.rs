//! What was typed before, also by others of this user: a file with an input on each line.

use std::io::{self, Write};
use std::path::PathBuf;

/// Inputs that are kept.
const KEPT_MAX: usize = 2_000;
/// Words of inputs that are not written down.
const SECRET: [&str; 2] = ["password", "secret"];

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct History {
    inputs: Vec<String>,
    /// The one that is shown; beyond the last, what is being typed.
    at: usize,
    draft: String,
    file: Option<PathBuf>,
}

impl History {
    /// Reads `MILLRACE_HISTORY`, or `.millrace_history` at home. Without either nothing outlives the process.
    pub(crate) fn load() -> History {
        let file = std::env::var_os("MILLRACE_HISTORY").map(PathBuf::from).or_else(|| {
            std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".millrace_history"))
        });
        let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        let mut inputs: Vec<String> = text.unwrap_or_default().lines().map(unescaped).collect();
        inputs.drain(..inputs.len().saturating_sub(KEPT_MAX));
        History { inputs, file, ..History::default() }
    }

    /// Remembers an input, but for one that holds a secret.
    pub(crate) fn add(&mut self, input: &str) {
        let lower = input.to_lowercase();
        let is_secret = SECRET.iter().any(|word| lower.contains(word));
        if is_secret
            || input.trim().is_empty()
            || self.inputs.last().is_some_and(|last| last == input)
        {
            return;
        }
        self.inputs.push(input.to_owned());
    }

    /// Writes it down.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn save(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let kept = &self.inputs[self.inputs.len().saturating_sub(KEPT_MAX)..];
        let mut text = String::new();
        for input in kept {
            text.push_str(&input.replace('\\', "\\\\").replace('\n', "\\n"));
            text.push('\n');
        }
        let mut written = std::fs::File::create(file)?;
        written.write_all(text.as_bytes())
    }

    /// Begins at the newest.
    pub(super) fn rewind(&mut self) {
        self.at = self.inputs.len();
    }

    /// The one before; what was typed so far is kept for the way back.
    pub(super) fn older(&mut self, typed: &str) -> Option<&str> {
        if self.at == self.inputs.len() {
            typed.clone_into(&mut self.draft);
        }
        self.at = self.at.checked_sub(1)?;
        self.inputs.get(self.at).map(String::as_str)
    }

    /// The one after.
    pub(super) fn newer(&mut self) -> Option<&str> {
        if self.at >= self.inputs.len() {
            return None;
        }
        self.at += 1;
        Some(self.inputs.get(self.at).unwrap_or(&self.draft))
    }

    /// The newest that holds a text, but for so many.
    pub(super) fn find(&self, text: &str, skip: usize) -> Option<&str> {
        let mut found = self.inputs.iter().rev().filter(|input| input.contains(text));
        found.nth(skip).map(String::as_str)
    }
}

fn unescaped(line: &str) -> String {
    let mut text = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (_, true) => text.extend(characters.next().map(|c| if c == 'n' { '\n' } else { c })),
            (other, false) => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_keeps_lines_apart_and_secrets_out() {
        let directory = tempfile::tempdir().unwrap();
        let file = Some(directory.path().join("history"));
        let mut history = History { file: file.clone(), ..History::default() };
        for input in ["SELECT\n'\\n';", "CREATE USER a PASSWORD 'x';", "\\x", "\\x"] {
            history.add(input);
        }
        history.save().unwrap();
        let text = std::fs::read_to_string(file.unwrap()).unwrap();
        let read: Vec<String> = text.lines().map(unescaped).collect();
        assert_eq!(read, ["SELECT\n'\\n';", "\\x"]);
    }
}
