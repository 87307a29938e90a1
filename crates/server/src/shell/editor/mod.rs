//! Reads a statement from a terminal: editing over several lines, history, search in it, completion.
//!
//! It is ours because the libraries for it turn on features of libc or rustix, with which everything from
//! DataFusion on would be built once more. It knows keys and a writer, no terminal: tests press the keys.

mod buffer;
mod history;
mod screen;
mod words;

use std::io::{self, Write};

use termion::event::Key;

use self::buffer::Buffer;
pub(crate) use self::history::History;
use self::screen::Screen;
pub(crate) use self::words::Words;

/// What came of reading.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A statement, or a command.
    Text(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D, or the terminal is gone.
    End,
}

/// What a key does to the reading.
enum Next {
    Edit,
    Ready(Line),
}

/// Where keys come from.
pub(crate) type Keys<'a> = &'a mut dyn Iterator<Item = io::Result<Key>>;

/// See the module's documentation.
pub(crate) struct Editor<'a> {
    /// What may stand at the cursor.
    pub(crate) words: &'a Words,
    /// What was typed before.
    pub(crate) history: &'a mut History,
    /// True if Enter ends the input, and does not begin another line of it.
    pub(crate) is_complete: &'a dyn Fn(&str) -> bool,
}

impl Editor<'_> {
    /// Reads one input.
    ///
    /// # Errors
    /// The terminal cannot be read or written.
    pub(crate) fn read(
        &mut self,
        keys: Keys<'_>,
        out: &mut dyn Write,
        prompt: &str,
        width: usize,
    ) -> io::Result<Line> {
        let mut screen = Screen::new(prompt, width);
        let mut buffer = Buffer::default();
        self.history.rewind();
        screen.draw(&buffer, out)?;
        loop {
            let key = match keys.next() {
                Some(key) => key?,
                None => return Ok(Line::End),
            };
            let next = match key {
                Key::Ctrl('r') => self.search(keys, &mut buffer, &mut screen, out)?,
                Key::Char('\t') => self.complete(&mut buffer, &mut screen, out)?,
                key => self.press(key, &mut buffer),
            };
            match next {
                Next::Edit => screen.draw(&buffer, out)?,
                Next::Ready(line) => {
                    buffer.end_of_text();
                    screen.draw(&buffer, out)?;
                    write!(out, "{}\r\n", if line == Line::Interrupted { "^C" } else { "" })?;
                    out.flush()?;
                    return Ok(line);
                }
            }
        }
    }

    fn press(&mut self, key: Key, buffer: &mut Buffer) -> Next {
        match key {
            Key::Char('\n') | Key::Ctrl('j' | 'm') if (self.is_complete)(buffer.text()) => {
                return Next::Ready(Line::Text(buffer.text().to_owned()));
            }
            Key::Char('\n') | Key::Ctrl('j' | 'm') => buffer.insert('\n'),
            Key::Ctrl('c') => return Next::Ready(Line::Interrupted),
            Key::Ctrl('d') if buffer.text().is_empty() => return Next::Ready(Line::End),
            Key::Up | Key::Ctrl('p') => self.up(buffer),
            Key::Down | Key::Ctrl('n') => self.down(buffer),
            Key::Char(character) => buffer.insert(character),
            other => edit(other, buffer),
        }
        Next::Edit
    }

    fn up(&mut self, buffer: &mut Buffer) {
        if !buffer.up()
            && let Some(text) = self.history.older(buffer.text())
        {
            buffer.set(text);
        }
    }

    fn down(&mut self, buffer: &mut Buffer) {
        if !buffer.down()
            && let Some(text) = self.history.newer()
        {
            buffer.set(text);
        }
    }

    /// Completes the word before the cursor as far as it is certain; lists what is possible beyond that.
    fn complete(
        &self,
        buffer: &mut Buffer,
        screen: &mut Screen<'_>,
        out: &mut dyn Write,
    ) -> io::Result<Next> {
        let found = self.words.complete(buffer.before());
        if let Some(text) = &found.replacement {
            buffer.replace_before(found.typed, text);
        } else if found.candidates.len() > 1 {
            screen.below(&found.candidates, buffer, out)?;
        }
        Ok(Next::Edit)
    }

    /// Looks for what was typed before: the newest input that holds the text, Ctrl-R again for an older one.
    fn search(
        &mut self,
        keys: Keys<'_>,
        buffer: &mut Buffer,
        screen: &mut Screen<'_>,
        out: &mut dyn Write,
    ) -> io::Result<Next> {
        let (mut wanted, mut skip) = (String::new(), 0);
        loop {
            let found = self.history.find(&wanted, skip).unwrap_or_default().to_owned();
            screen.draw_search(&wanted, &found, out)?;
            match keys.next().transpose()? {
                Some(Key::Ctrl('r')) => skip += 1,
                Some(Key::Backspace) => (_, skip) = (wanted.pop(), 0),
                Some(Key::Char(character)) if character != '\n' && character != '\t' => {
                    wanted.push(character);
                    skip = 0;
                }
                Some(Key::Ctrl('c' | 'g')) | None => return Ok(Next::Edit),
                Some(key) => {
                    buffer.set(&found);
                    return Ok(self.press(key, buffer));
                }
            }
        }
    }
}

/// Keys that need nothing but the text.
fn edit(key: Key, buffer: &mut Buffer) {
    match key {
        Key::Left | Key::Ctrl('b') => buffer.left(),
        Key::Right | Key::Ctrl('f') => buffer.right(),
        Key::Alt('b') | Key::CtrlLeft | Key::AltLeft => buffer.word_left(),
        Key::Alt('f') | Key::CtrlRight | Key::AltRight => buffer.word_right(),
        Key::Home | Key::Ctrl('a') => buffer.home(),
        Key::End | Key::Ctrl('e') => buffer.end(),
        Key::Backspace | Key::Ctrl('h') => buffer.backspace(),
        Key::Delete | Key::Ctrl('d') => buffer.delete(),
        Key::Ctrl('w') => buffer.kill_word(),
        Key::Ctrl('k') => buffer.kill_right(),
        Key::Ctrl('u') => buffer.kill_left(),
        Key::Ctrl('y') => buffer.yank(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: Vec<Key>, history: &mut History) -> Line {
        let words = Words::new(&["readings".into(), "readings_10s".into()]);
        let is_complete = |text: &str| text.ends_with(';') || text.starts_with('\\');
        let mut editor = Editor { words: &words, history, is_complete: &is_complete };
        let mut out = Vec::new();
        editor.read(&mut keys.into_iter().map(Ok), &mut out, "dev", 40).unwrap()
    }

    fn keys(text: &str) -> Vec<Key> {
        text.chars().map(Key::Char).collect()
    }

    fn text(text: &str) -> Line {
        Line::Text(text.into())
    }

    #[test]
    fn enter_ends_only_a_whole_statement() {
        let mut history = History::default();
        assert_eq!(typed(keys("SELECT\n1;\nrest"), &mut history), text("SELECT\n1;"));
        assert_eq!(typed(vec![Key::Ctrl('d')], &mut history), Line::End);
        assert_eq!(
            typed([keys("SEL"), vec![Key::Ctrl('c')]].concat(), &mut history),
            Line::Interrupted
        );
    }

    #[test]
    fn keys_move_and_change_the_text() {
        let mut history = History::default();
        let typing = [
            keys("SELECT 12"),
            vec![Key::Left, Key::Backspace, Key::Home],
            keys("(ä"),
            vec![Key::Backspace, Key::End],
            keys(");\n"),
        ];
        assert_eq!(typed(typing.concat(), &mut history), text("(SELECT 2);"));
        let typing =
            [keys("a b"), vec![Key::Ctrl('w'), Key::Ctrl('y'), Key::Ctrl('y')], keys(";\n")];
        assert_eq!(typed(typing.concat(), &mut history), text("a bb;"));
    }

    #[test]
    fn what_was_typed_comes_back() {
        let mut history = History::default();
        history.add("SELECT 1;");
        history.add("SELECT 2;");
        let typing = [vec![Key::Up, Key::Up, Key::Up, Key::Char('\n')]].concat();
        assert_eq!(typed(typing, &mut history), text("SELECT 1;"));
        let typing = [keys("draft;"), vec![Key::Up, Key::Down], keys("\n")].concat();
        assert_eq!(typed(typing, &mut history), text("draft;"));
        let typing = [vec![Key::Ctrl('r')], keys("T 1"), vec![Key::Char('\n')]].concat();
        assert_eq!(typed(typing, &mut history), text("SELECT 1;"));
    }

    #[test]
    fn tab_completes_as_far_as_it_is_certain() {
        let mut history = History::default();
        let typing = keys("sel\t* FROM readi\t_1\t;\n");
        assert_eq!(typed(typing, &mut history), text("select * FROM readings_10s ;"));
    }
}
