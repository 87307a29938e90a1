//! `EXPLAIN (FORMAT JSON)`: the tree that EXPLAIN shows by indents, in the shape in which PostgreSQL gives
//! plans, as DBeaver and pgAdmin draw them.
//!
//! A line `Filter: x > 1` is a node of the type `Filter` with the rest as its `Description`; what is
//! further to the right is in its `Plans`. A word in lower case begins no node: `state: ...` says more of the
//! one above.

use serde_json::{Map, Value, json};

/// Lines with their indents, as one text.
pub(super) fn of(lines: &str) -> String {
    let lines: Vec<(usize, &str)> = lines
        .lines()
        .map(|line| (line.len() - line.trim_start().len(), line.trim()))
        .filter(|(_, text)| !text.is_empty())
        .collect();
    let mut plans = nodes(&lines);
    let plan = match plans.len() {
        1 => plans.remove(0),
        _ => json!({ "Node Type": "Plans", "Plans": plans }),
    };
    format!("{:#}", json!([{ "Plan": plan }]))
}

/// The nodes of lines, of which the first is furthest to the left.
fn nodes(lines: &[(usize, &str)]) -> Vec<Value> {
    let Some((left, _)) = lines.first() else { return Vec::new() };
    let is_first = |(_, (indent, _)): &(usize, &(usize, &str))| indent <= left;
    let starts: Vec<usize> = lines.iter().enumerate().filter(is_first).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([lines.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| node(lines[*start].1, &lines[start + 1..end]))
        .collect()
}

fn node(text: &str, below: &[(usize, &str)]) -> Value {
    let (kind, description) = text.split_once(": ").unwrap_or((text, ""));
    let mut node = Map::new();
    node.insert("Node Type".into(), kind.into());
    if !description.is_empty() {
        node.insert("Description".into(), description.into());
    }
    let is_note = |(_, text): &&(usize, &str)| text.starts_with(char::is_lowercase);
    let notes = below.iter().take_while(is_note).count();
    if notes > 0 {
        let notes: Vec<&str> = below[..notes].iter().map(|(_, text)| *text).collect();
        node.insert("Details".into(), notes.into());
    }
    let plans = nodes(&below[notes..]);
    if !plans.is_empty() {
        node.insert("Plans".into(), plans.into());
    }
    Value::Object(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_of_lines_is_a_tree_of_nodes() {
        let lines = "Join: a = b\n  state: a row per a\n  Filter: x > 1\n    Scan: t\n  Scan: u\n";
        let parsed: Value = serde_json::from_str(&of(lines)).unwrap();
        let scan = |name: &str| json!({ "Node Type": "Scan", "Description": name });
        let filter = json!({ "Node Type": "Filter", "Description": "x > 1", "Plans": [scan("t")] });
        let join = json!({
            "Node Type": "Join",
            "Description": "a = b",
            "Details": ["state: a row per a"],
            "Plans": [filter, scan("u")],
        });
        assert_eq!(parsed, json!([{ "Plan": join }]));
    }
}
