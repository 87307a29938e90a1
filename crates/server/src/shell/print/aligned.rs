//! Tables and records for people.

use std::io::{self, Write};

use millrace_pg::client::Column;
use unicode_width::UnicodeWidthStr;

/// Types whose values stand right: numbers, OIDs, money.
const RIGHT: [u32; 9] = [20, 21, 23, 26, 28, 700, 701, 790, 1700];

/// Makes room for rows.
pub(super) fn widen(widths: &mut [usize], columns: &[Column], rows: &[Vec<String>]) {
    for (at, width) in widths.iter_mut().enumerate() {
        let name = columns.get(at).map_or(0, |column| column.name.width());
        let cells = rows.iter().filter_map(|row| row.get(at)).flat_map(|cell| cell.lines());
        *width = cells.map(UnicodeWidthStr::width).chain([name, *width]).max().unwrap_or_default();
    }
}

/// The names and the line below them.
pub(super) fn header(columns: &[Column], widths: &[usize], out: &mut dyn Write) -> io::Result<()> {
    let centred = |(column, width): (&Column, &usize)| {
        let free = width.saturating_sub(column.name.width());
        format!(" {}{}{} ", " ".repeat(free / 2), column.name, " ".repeat(free - free / 2))
    };
    let names: Vec<String> = columns.iter().zip(widths).map(centred).collect();
    writeln!(out, "{}", names.join("|").trim_end())?;
    let lines: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
    writeln!(out, "{}", lines.join("+"))
}

/// A row; a cell of several lines takes as many, and a plus says that it goes on.
pub(super) fn row(
    columns: &[Column],
    widths: &[usize],
    cells: &[String],
    out: &mut dyn Write,
) -> io::Result<()> {
    let lines: Vec<Vec<&str>> = cells.iter().map(|cell| cell.split('\n').collect()).collect();
    let height = lines.iter().map(Vec::len).max().unwrap_or(1);
    for line in 0..height {
        let mut shown = Vec::new();
        for (at, cell) in lines.iter().enumerate() {
            let text = cell.get(line).copied().unwrap_or_default();
            let width = widths.get(at).copied().unwrap_or_default();
            let free = " ".repeat(width.saturating_sub(text.width()));
            let goes_on = if line + 1 < cell.len() { "+" } else { " " };
            let right = columns.get(at).is_some_and(|column| RIGHT.contains(&column.oid));
            shown.push(match right {
                true => format!(" {free}{text}{goes_on}"),
                false => format!(" {text}{free}{goes_on}"),
            });
        }
        writeln!(out, "{}", shown.join("|").trim_end())?;
    }
    Ok(())
}

/// A row, a column a line.
pub(super) fn record(
    columns: &[Column],
    cells: &[String],
    number: usize,
    out: &mut dyn Write,
) -> io::Result<()> {
    let name = columns.iter().map(|column| column.name.width()).max().unwrap_or_default();
    let value = cells.iter().flat_map(|cell| cell.lines()).map(UnicodeWidthStr::width).max();
    let title = format!("-[ RECORD {number} ]");
    let mut line: Vec<char> = "-".repeat(name + 3 + value.unwrap_or_default()).chars().collect();
    if let Some(cross) = line.get_mut(name + 1) {
        *cross = '+';
    }
    let rest: String = line.iter().skip(title.len()).collect();
    writeln!(out, "{title}{}", if rest.is_empty() { "-" } else { &rest })?;
    for (column, cell) in columns.iter().zip(cells) {
        let free = " ".repeat(name - column.name.width());
        for (at, text) in cell.split('\n').enumerate() {
            let label = if at == 0 { format!("{}{free}", column.name) } else { " ".repeat(name) };
            writeln!(out, "{}", format!("{label} | {text}").trim_end())?;
        }
    }
    Ok(())
}
