//! Pages of the documentation and the blocks in them.

use std::path::{Path, PathBuf};

/// The directory of the documentation.
pub(super) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").canonicalize().unwrap()
}

/// All pages below it, and the README beside it, sorted.
pub(super) fn pages() -> Vec<PathBuf> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "md") {
                found.push(path);
            }
        }
    }
    let mut found = vec![directory().join("../README.md").canonicalize().unwrap()];
    walk(&directory(), &mut found);
    found.sort();
    found
}

/// A fenced block.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    /// What stands behind the fence: `sql`, `sql,kafka`, `output`, ...
    pub(super) kind: String,
    /// Its first line, from 0, and the one of the closing fence.
    pub(super) lines: std::ops::Range<usize>,
    pub(super) text: String,
}

/// The blocks of a page.
pub(super) fn blocks(page: &str) -> Vec<Block> {
    let lines: Vec<&str> = page.lines().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let Some(kind) = lines[at].strip_prefix("```") else {
            at += 1;
            continue;
        };
        let begin = at + 1;
        let length = lines[begin..].iter().position(|line| line.starts_with("```"));
        let end = begin + length.expect("a block ends");
        let text = lines[begin..end].iter().map(|line| format!("{line}\n")).collect();
        found.push(Block { kind: kind.trim().to_owned(), lines: begin..end, text });
        at = end + 1;
    }
    found
}

/// The cells of a row of a table; none for another line, and for the line below the names.
pub(super) fn cells(line: &str) -> Vec<String> {
    let Some(inner) = line.strip_prefix('|').and_then(|line| line.trim_end().strip_suffix('|'))
    else {
        return Vec::new();
    };
    if inner.chars().all(|c| "-| :".contains(c)) {
        return Vec::new();
    }
    let (mut cells, mut escaped) = (vec![String::new()], false);
    for character in inner.chars() {
        match character {
            '|' if !escaped => cells.push(String::new()),
            '|' => {
                let cell = cells.last_mut().unwrap();
                cell.pop();
                cell.push('|');
            }
            other => cells.last_mut().unwrap().push(other),
        }
        escaped = character == '\\';
    }
    cells.into_iter().map(|cell| cell.trim().to_owned()).collect()
}

#[test]
fn a_page_is_taken_apart() {
    let page = "a\n```sql\nSELECT 1;\n```\n```output\n1\n```\n";
    let found = blocks(page);
    assert_eq!(found[0], Block { kind: "sql".into(), lines: 2..3, text: "SELECT 1;\n".into() });
    assert_eq!((found[1].kind.as_str(), found[1].lines.clone()), ("output", 5..6));
    assert_eq!(cells("| a | `b \\| c` |  |"), ["a", "`b | c`", ""]);
    assert!(cells("|---|---|").is_empty() && cells("text").is_empty());
}
