//! Results as text: aligned tables as psql has them, one record after the other, CSV, JSON.
//!
//! CSV and JSON are written row by row. An aligned table is as wide as its rows, so they are gathered: up to
//! [`GATHERED_MAX`] of them, or until more does not come soon ([`Printer::pause`]), for results that do not
//! end; what follows keeps these widths unless it is wider.

mod aligned;
mod machine;

use std::io::{self, Write};

use clap::ValueEnum;
use millrace_pg::client::Column;

/// Rows after which a table's widths are decided.
const GATHERED_MAX: usize = 10_000;

/// How results are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables with aligned columns
    #[default]
    Aligned,
    /// Comma-separated values with a line of names
    Csv,
    /// An object a line
    Json,
}

impl Format {
    /// True if people read it: results have a footer, statements without one say that they are done.
    pub(crate) fn is_for_people(self) -> bool {
        self == Format::Aligned
    }
}

/// A row as it came.
pub(super) type Row = Vec<Option<String>>;

/// A result that is being shown.
pub(crate) struct Printer {
    format: Format,
    expanded: bool,
    null: String,
    columns: Vec<Column>,
    rows: Vec<Row>,
    widths: Vec<usize>,
    count: usize,
}

impl Printer {
    /// A result with these columns.
    pub(crate) fn new(format: Format, expanded: bool, null: &str, columns: Vec<Column>) -> Printer {
        let widths = Vec::new();
        Printer { format, expanded, null: null.into(), columns, rows: Vec::new(), widths, count: 0 }
    }

    /// What stands above the rows, where it does not depend on them.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(crate) fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        match self.format {
            Format::Csv => machine::csv_header(&self.columns, out),
            Format::Aligned | Format::Json => Ok(()),
        }
    }

    /// Shows a row, or keeps it until the widths are known.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(crate) fn row(&mut self, row: Row, out: &mut dyn Write) -> io::Result<()> {
        self.count += 1;
        match (self.format, self.expanded) {
            (Format::Csv, _) => machine::csv_row(&row, out),
            (Format::Json, _) => machine::json_row(&self.columns, &row, out),
            (Format::Aligned, true) => {
                aligned::record(&self.columns, &self.shown(&row), self.count, out)
            }
            (Format::Aligned, false) => {
                self.rows.push(row);
                match self.rows.len() < GATHERED_MAX && self.widths.is_empty() {
                    true => Ok(()),
                    false => self.pause(out),
                }
            }
        }
    }

    /// Shows what was kept.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(crate) fn pause(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.format != Format::Aligned || self.expanded {
            return out.flush();
        }
        let rows: Vec<Vec<String>> =
            std::mem::take(&mut self.rows).iter().map(|row| self.shown(row)).collect();
        let is_first = self.widths.is_empty();
        if is_first {
            self.widths = vec![0; self.columns.len()];
        }
        aligned::widen(&mut self.widths, &self.columns, &rows);
        if is_first {
            aligned::header(&self.columns, &self.widths, out)?;
        }
        for row in rows {
            aligned::row(&self.columns, &self.widths, &row, out)?;
        }
        out.flush()
    }

    /// Shows what was kept, and how many rows there were.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(crate) fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.format == Format::Aligned {
            match self.expanded {
                true if self.count == 0 => writeln!(out, "(0 rows)")?,
                true => {}
                false => {
                    self.pause(out)?;
                    let rows = if self.count == 1 { "row" } else { "rows" };
                    writeln!(out, "({} {rows})", self.count)?;
                }
            }
            writeln!(out)?;
        }
        out.flush()
    }

    /// A row's cells, NULL as it is to be shown.
    fn shown(&self, row: &[Option<String>]) -> Vec<String> {
        row.iter().map(|cell| cell.as_deref().map_or_else(|| self.null.clone(), harmless)).collect()
    }
}

/// What a terminal would obey is shown and not done.
pub(super) fn harmless(text: &str) -> String {
    if !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return text.to_owned();
    }
    let shown = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        c if c.is_control() => format!("\\x{:02X}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: Format, expanded: bool, rows: &[&[Option<&str>]]) -> String {
        let columns = [("id", 20), ("name", 25), ("ok", 16), ("j", 3802)]
            .map(|(name, oid)| Column { name: name.into(), oid });
        let mut out = Vec::new();
        let mut printer = Printer::new(format, expanded, "", columns.into());
        printer.begin(&mut out).unwrap();
        for row in rows {
            let row = row.iter().map(|cell| cell.map(str::to_owned)).collect();
            printer.row(row, &mut out).unwrap();
        }
        printer.end(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    const ROWS: &[&[Option<&str>]] = &[
        &[Some("1"), Some("ann"), Some("t"), Some("{\"a\": 1}")],
        &[Some("-200"), Some("two\nlines, \"ä\""), None, None],
    ];

    #[test]
    fn tables_are_aligned_and_numbers_stand_right() {
        let expected = "  id  |    name    | ok |    j\n\
                        ------+------------+----+----------\n    \
                          1 | ann        | t  | {\"a\": 1}\n \
                        -200 | two       +|    |\n      \
                             | lines, \"ä\" |    |\n\
                        (2 rows)\n\n";
        assert_eq!(shown(Format::Aligned, false, ROWS), expected);
        assert!(shown(Format::Aligned, false, &[]).ends_with("(0 rows)\n\n"));
    }

    #[test]
    fn records_stand_one_below_the_other() {
        let text = shown(Format::Aligned, true, &ROWS[..1]);
        let expected = "-[ RECORD 1 ]--\nid   | 1\nname | ann\nok   | t\nj    | {\"a\": 1}\n\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn csv_quotes_what_needs_it_and_null_is_nothing() {
        let expected =
            "id,name,ok,j\n1,ann,t,\"{\"\"a\"\": 1}\"\n-200,\"two\nlines, \"\"ä\"\"\",,\n";
        assert_eq!(shown(Format::Csv, false, ROWS), expected);
    }

    #[test]
    fn json_keeps_numbers_booleans_and_documents() {
        let expected = "{\"id\":1,\"name\":\"ann\",\"ok\":true,\"j\":{\"a\": 1}}\n\
                        {\"id\":-200,\"name\":\"two\\nlines, \\\"ä\\\"\",\"ok\":null,\"j\":null}\n";
        assert_eq!(shown(Format::Json, false, ROWS), expected);
    }

    #[test]
    fn a_table_goes_on_after_a_pause_and_widens() {
        let columns =
            vec![Column { name: "x".into(), oid: 25 }, Column { name: "y".into(), oid: 23 }];
        let mut out = Vec::new();
        let mut printer = Printer::new(Format::Aligned, false, "", columns);
        let row = |x: &str| vec![Some(x.to_owned()), Some("7".to_owned())];
        printer.row(row("a"), &mut out).unwrap();
        printer.pause(&mut out).unwrap();
        printer.row(row("long"), &mut out).unwrap();
        printer.row(row("b"), &mut out).unwrap();
        printer.end(&mut out).unwrap();
        let expected = " x | y\n---+---\n a | 7\n long | 7\n b    | 7\n(3 rows)\n\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
