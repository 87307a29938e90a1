//! Rows for programs: CSV as PostgreSQL writes it, JSON an object a line.

use std::io::{self, Write};

use millrace_pg::client::Column;

const BOOLEAN: u32 = 16;
/// Types whose text is a number in JSON.
const NUMBERS: [u32; 7] = [20, 21, 23, 26, 700, 701, 1700];
/// json and jsonb.
const DOCUMENTS: [u32; 2] = [114, 3802];

pub(super) fn csv_header(columns: &[Column], out: &mut dyn Write) -> io::Result<()> {
    let names: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    writeln!(out, "{}", names.join(","))
}

/// NULL is nothing, the empty text two quotes.
pub(super) fn csv_row(row: &[Option<String>], out: &mut dyn Write) -> io::Result<()> {
    let cell = |cell: &Option<String>| match cell.as_deref() {
        None => String::new(),
        Some("") => "\"\"".to_owned(),
        Some(text) => quoted(text),
    };
    writeln!(out, "{}", row.iter().map(cell).collect::<Vec<_>>().join(","))
}

fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

pub(super) fn json_row(
    columns: &[Column],
    row: &[Option<String>],
    out: &mut dyn Write,
) -> io::Result<()> {
    let member = |(column, cell): (&Column, &Option<String>)| {
        format!("{}:{}", text(&column.name), value(column.oid, cell.as_deref()))
    };
    let members: Vec<String> = columns.iter().zip(row).map(member).collect();
    writeln!(out, "{{{}}}", members.join(","))
}

fn value(oid: u32, cell: Option<&str>) -> String {
    let Some(cell) = cell else { return "null".into() };
    // NaN and infinities have no number in JSON.
    let is_number =
        NUMBERS.contains(&oid) && serde_json::from_str::<serde_json::Number>(cell).is_ok();
    match oid {
        BOOLEAN if cell == "t" => "true".into(),
        BOOLEAN if cell == "f" => "false".into(),
        _ if is_number || DOCUMENTS.contains(&oid) => cell.into(),
        _ => text(cell),
    }
}

fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
