//! The text that is being edited, and where the cursor is.
//!
//! Invariants: 1. the cursor stands between two characters.

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    text: String,
    at: usize,
    killed: String,
}

impl Buffer {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The text up to the cursor.
    pub(super) fn before(&self) -> &str {
        &self.text[..self.at]
    }

    /// Another text, the cursor at its end.
    pub(super) fn set(&mut self, text: &str) {
        text.clone_into(&mut self.text);
        self.at = text.len();
    }

    pub(super) fn insert(&mut self, character: char) {
        self.text.insert(self.at, character);
        self.at += character.len_utf8();
    }

    /// Puts a text in the place of so many bytes before the cursor.
    pub(super) fn replace_before(&mut self, bytes: usize, text: &str) {
        let start = self.at.saturating_sub(bytes);
        self.text.replace_range(start..self.at, text);
        self.at = start + text.len();
    }

    fn previous(&self) -> usize {
        self.before().char_indices().next_back().map_or(0, |(at, _)| at)
    }

    fn following(&self) -> usize {
        self.text[self.at..].chars().next().map_or(self.at, |c| self.at + c.len_utf8())
    }

    pub(super) fn left(&mut self) {
        self.at = self.previous();
    }

    pub(super) fn right(&mut self) {
        self.at = self.following();
    }

    fn word_start(&self) -> usize {
        let before = self.before().trim_end_matches(|c: char| !is_word(c));
        before.trim_end_matches(is_word).len()
    }

    pub(super) fn word_left(&mut self) {
        self.at = self.word_start();
    }

    pub(super) fn word_right(&mut self) {
        let rest = self.text[self.at..].trim_start_matches(|c: char| !is_word(c));
        self.at = self.text.len() - rest.trim_start_matches(is_word).len();
    }

    fn line_start(&self) -> usize {
        self.before().rfind('\n').map_or(0, |newline| newline + 1)
    }

    fn line_end(&self) -> usize {
        self.text[self.at..].find('\n').map_or(self.text.len(), |newline| self.at + newline)
    }

    pub(super) fn home(&mut self) {
        self.at = self.line_start();
    }

    pub(super) fn end(&mut self) {
        self.at = self.line_end();
    }

    pub(super) fn end_of_text(&mut self) {
        self.at = self.text.len();
    }

    /// One line up; false on the first.
    pub(super) fn up(&mut self) -> bool {
        let start = self.line_start();
        let Some(end) = start.checked_sub(1) else { return false };
        let column = self.text[start..self.at].chars().count();
        self.at = end;
        self.go_to(column);
        true
    }

    /// One line down; false on the last.
    pub(super) fn down(&mut self) -> bool {
        let end = self.line_end();
        if end == self.text.len() {
            return false;
        }
        let column = self.text[self.line_start()..self.at].chars().count();
        self.at = end + 1;
        self.go_to(column);
        true
    }

    /// A column of the line that the cursor is on, or its end.
    fn go_to(&mut self, column: usize) {
        let (start, end) = (self.line_start(), self.line_end());
        let line = &self.text[start..end];
        self.at = start + line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
    }

    pub(super) fn backspace(&mut self) {
        let start = self.previous();
        self.text.replace_range(start..self.at, "");
        self.at = start;
    }

    pub(super) fn delete(&mut self) {
        let end = self.following();
        self.text.replace_range(self.at..end, "");
    }

    fn kill(&mut self, start: usize, end: usize) {
        self.killed = self.text.drain(start..end).collect();
        self.at = start;
    }

    pub(super) fn kill_word(&mut self) {
        self.kill(self.word_start(), self.at);
    }

    pub(super) fn kill_left(&mut self) {
        self.kill(self.line_start(), self.at);
    }

    /// To the end of the line, or the end itself.
    pub(super) fn kill_right(&mut self) {
        let end = self.line_end();
        self.kill(self.at, if end == self.at { self.following() } else { end });
    }

    pub(super) fn yank(&mut self) {
        self.text.insert_str(self.at, &self.killed);
        self.at += self.killed.len();
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_goes_over_lines_and_words() {
        let mut buffer = Buffer::default();
        buffer.set("SELECT größe\nFROM t_1 x");
        assert!(buffer.up() && !buffer.up());
        assert_eq!(buffer.before(), "SELECT grö");
        buffer.word_left();
        assert_eq!(buffer.before(), "SELECT ");
        buffer.word_right();
        buffer.delete();
        assert_eq!(buffer.text(), "SELECT größeFROM t_1 x");
        buffer.kill_right();
        buffer.yank();
        assert!(!buffer.down());
        assert_eq!(buffer.before(), "SELECT größeFROM t_1 x");
        buffer.kill_left();
        assert_eq!(buffer.text(), "");
    }
}
