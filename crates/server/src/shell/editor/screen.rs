//! Draws the text with its prompts, over as many rows as it takes, and puts the cursor into it.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use super::buffer::Buffer;

/// See the module's documentation.
pub(super) struct Screen<'a> {
    /// The database's name.
    prompt: &'a str,
    width: usize,
    /// The row of the cursor, from the first one that was drawn.
    row: usize,
}

impl Screen<'_> {
    pub(super) fn new(prompt: &str, width: usize) -> Screen<'_> {
        Screen { prompt, width: width.max(8), row: 0 }
    }

    /// `dev=> SELECT`, below it `dev-> 1`.
    pub(super) fn draw(&mut self, buffer: &Buffer, out: &mut dyn Write) -> io::Result<()> {
        let lines: Vec<String> = buffer
            .text()
            .split('\n')
            .enumerate()
            .map(|(at, line)| {
                format!("{}{} {line}", self.prompt, if at == 0 { "=>" } else { "->" })
            })
            .collect();
        let before = buffer.before();
        let line = before.matches('\n').count();
        let column =
            before.rsplit('\n').next().unwrap_or_default().width() + self.prompt.width() + 3;
        self.put(&lines, line, column, out)
    }

    /// What is looked for in the history, and what was found.
    pub(super) fn draw_search(
        &mut self,
        wanted: &str,
        found: &str,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let lines: Vec<String> =
            format!("search `{wanted}`: {found}").split('\n').map(str::to_owned).collect();
        let column = wanted.width() + 8;
        self.put(&lines, 0, column, out)
    }

    /// Lists words below the text, which is drawn anew below them.
    pub(super) fn below(
        &mut self,
        words: &[String],
        buffer: &Buffer,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let widest = words.iter().map(|word| word.width()).max().unwrap_or_default() + 2;
        let columns = (self.width / widest).max(1);
        let lines = buffer.text().matches('\n').count();
        let text: Vec<String> = words
            .chunks(columns)
            .map(|row| {
                row.iter()
                    .map(|word| format!("{word}{}", " ".repeat(widest - word.width())))
                    .collect::<String>()
            })
            .collect();
        write!(out, "{}", "\r\n".repeat(lines + 1 - lines.min(self.row)))?;
        for row in text {
            write!(out, "{}\r\n", row.trim_end())?;
        }
        self.row = 0;
        Ok(())
    }

    fn put(
        &mut self,
        lines: &[String],
        line: usize,
        column: usize,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut text = String::from("\r");
        if self.row > 0 {
            text.push_str(&format!("\x1b[{}A", self.row));
        }
        text.push_str("\x1b[J");
        text.push_str(&lines.join("\r\n"));
        let rows = |line: &String| line.width().max(1).div_ceil(self.width);
        let mut last = lines.iter().map(rows).sum::<usize>().saturating_sub(1);
        let end = lines.last().map_or(0, |line| line.width());
        if end > 0 && end.is_multiple_of(self.width) {
            // The cursor waits behind the last column: have it go on.
            text.push_str("\r\n");
            last += 1;
        }
        let row = lines.iter().take(line).map(rows).sum::<usize>() + column / self.width;
        let row = row.min(last);
        if last > row {
            text.push_str(&format!("\x1b[{}A", last - row));
        }
        text.push('\r');
        if column % self.width > 0 {
            text.push_str(&format!("\x1b[{}C", column % self.width));
        }
        self.row = row;
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_stands_where_the_text_has_it() {
        let mut screen = Screen::new("dev", 10);
        let mut out = Vec::new();
        let mut buffer = Buffer::default();
        buffer.set("abcdef\nx");
        screen.draw(&buffer, &mut out).unwrap();
        // `dev=> abcdef` takes two rows of ten.
        assert_eq!(String::from_utf8(out).unwrap(), "\r\x1b[Jdev=> abcdef\r\ndev-> x\r\x1b[7C");
        assert_eq!(screen.row, 2);
        let mut out = Vec::new();
        buffer.up();
        screen.draw(&buffer, &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().ends_with("\x1b[2A\r\x1b[7C"));
        assert_eq!(screen.row, 0);
    }
}
