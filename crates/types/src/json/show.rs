//! Values as PostgreSQL writes them.

use std::fmt::Write;

use super::number;
use super::walk::{Elements, Json, Kind, Members};

/// Spaces of a level in [`pretty`].
const INDENT: usize = 4;

/// What is left of an array or an object that has been begun.
enum Open<'a> {
    Array(Elements<'a>),
    Object(Members<'a>),
}

/// Appends a value on one line.
pub fn show(value: Json<'_>, out: &mut String) {
    write_value(value, false, out);
}

/// Appends a value as `jsonb_pretty` does: each element on a line of its own.
pub fn pretty(value: Json<'_>, out: &mut String) {
    write_value(value, true, out);
}

/// Values may be nested deeper than a stack is: what is open is kept in a list.
fn write_value(value: Json<'_>, lines: bool, out: &mut String) {
    let line = |depth: usize, out: &mut String| {
        if lines {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', depth * INDENT));
        }
    };
    let mut open = Vec::new();
    begin(value, out, &mut open);
    let mut first = true;
    while let Some(last) = open.last_mut() {
        let (key, inner, close) = match last {
            Open::Array(elements) => (None, elements.next(), ']'),
            Open::Object(members) => match members.next() {
                Some((key, member)) => (Some(key), Some(member), '}'),
                None => (None, None, '}'),
            },
        };
        let depth = open.len();
        let Some(inner) = inner else {
            open.pop();
            line(depth - 1, out);
            out.push(close);
            first = false;
            continue;
        };
        out.push_str(if first {
            ""
        } else if lines {
            ","
        } else {
            ", "
        });
        line(depth, out);
        if let Some(key) = key {
            quoted(key, out);
            out.push_str(": ");
        }
        begin(inner, out, &mut open);
        first = open.len() > depth;
    }
}

/// Appends a value, or the beginning of one that has others in it.
fn begin<'a>(value: Json<'a>, out: &mut String, open: &mut Vec<Open<'a>>) {
    match value.kind() {
        Kind::Null => out.push_str("null"),
        Kind::Boolean => out.push_str(if value.as_bool() == Some(true) { "true" } else { "false" }),
        Kind::Number => number::show(value.rest(), out),
        Kind::String => quoted(value.as_str().unwrap_or_default(), out),
        Kind::Array => {
            out.push('[');
            open.push(Open::Array(value.elements()));
        }
        Kind::Object => {
            out.push('{');
            open.push(Open::Object(value.members()));
        }
    }
}

/// Appends a text in quotes, with the escapes that it needs.
pub fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // A String takes everything.
            c if c < ' ' => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
