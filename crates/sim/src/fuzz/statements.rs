//! Statements of the suites, and what becomes of them when their tokens change.

use std::path::Path;

use super::run::Random;
use crate::slt;

/// Statements by file, in their order.
pub(super) struct Corpus {
    files: Vec<Vec<String>>,
}

/// What stands where a literal or a name stood.
const ODD: &[&str] = &[
    "0",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "99999999999999999999999999999999999999999",
    "1e308",
    "1e-400",
    "0.00000000000000000001",
    "NULL",
    "''",
    "'\u{1F980}'",
    "'NaN'",
    "'infinity'",
    "'-infinity'::timestamptz",
    "'294276-12-31'::timestamp",
    "'4713-01-01 BC'::date",
    "INTERVAL '178000000 years'",
    "INTERVAL '1 microsecond'",
    "'{}'::int[]",
    "'{\"a\":[1,{}]}'::jsonb",
    "$1",
    "*",
    "true",
    "'x'::bytea",
    "(SELECT 1)",
    "ARRAY[1,NULL]",
    "ROW(1,2)",
    "current_timestamp",
    "\"\"",
];

/// What stands where a word stood.
const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "HAVING",
    "ORDER BY",
    "LIMIT",
    "OFFSET",
    "UNION ALL",
    "INTERSECT",
    "EXCEPT",
    "WITH",
    "RECURSIVE",
    "LATERAL",
    "LEFT JOIN",
    "FULL JOIN",
    "CROSS JOIN",
    "ON",
    "USING",
    "NATURAL",
    "DISTINCT",
    "OVER ()",
    "PARTITION BY",
    "ROWS BETWEEN 1 PRECEDING AND CURRENT ROW",
    "FILTER (WHERE true)",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "IN",
    "EXISTS",
    "NOT",
    "IS NULL",
    "BETWEEN",
    "LIKE",
    "SIMILAR TO",
    "::",
    "::int",
    "::text",
    "::numeric(40,39)",
    "::timestamptz",
    "::jsonb",
    "::interval",
    "count(*)",
    "sum",
    "avg",
    "array_agg",
    "string_agg",
    "row_number() OVER ()",
    "tumble",
    "hop",
    "unnest",
    "generate_series(1, 3)",
    "coalesce",
    "date_trunc",
    "extract",
    "to_char",
    "round",
    "substring",
    "regexp_replace",
    "AS",
    "(",
    ")",
    ",",
    "||",
    "->>",
    "@>",
    "AT TIME ZONE 'Asia/Tokyo'",
    "GROUPING SETS ((), 1)",
    "ROLLUP",
    "CUBE",
    "WITHIN GROUP (ORDER BY 1)",
    "VALUES",
    "CREATE",
    "MATERIALIZED VIEW",
    "EXPLAIN",
    "INSERT INTO",
    "UPDATE",
    "DELETE FROM",
    "SET",
    "RETURNING *",
    "ON CONFLICT DO NOTHING",
    "TABLE",
    "PRIMARY KEY",
    "DEFAULT",
    "ASOF",
    "MATCH_CONDITION",
    ";",
    "WATERMARK FOR",
];

impl Corpus {
    /// The statements of all suites.
    pub(super) fn read() -> Corpus {
        let below = slt::suites();
        let mut files = slt::files(&below, false).expect("the suites are there");
        files.extend(slt::files(&below, true).expect("the suites are there"));
        let files: Vec<_> = files.iter().map(|file| statements(file)).collect();
        assert!(files.iter().map(Vec::len).sum::<usize>() > 1_000, "the suites have statements");
        Corpus { files }
    }

    /// The same, with another file at the end.
    pub(super) fn with(mut self, statements: Vec<String>) -> Corpus {
        self.files.push(statements);
        self
    }

    /// How many files there are.
    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    /// The statements of a file.
    pub(super) fn of(&self, file: usize) -> &[String] {
        &self.files[file]
    }

    /// A statement of a file, changed; other files give parts.
    pub(super) fn changed(&self, file: usize, random: &mut Random) -> String {
        let of = |file: usize, random: &mut Random| {
            let all = self.of(file);
            all.get(random.below(all.len())).map_or("SELECT 1", String::as_str)
        };
        let mut now = tokens(of(file, random));
        let other = if random.one_in(3) { random.below(self.files()) } else { file };
        let other = tokens(of(other, random));
        for _ in 0..=random.below(3) {
            change(&mut now, &other, random);
        }
        let mut text = String::new();
        for token in now {
            text.push_str(&token);
            // A missing space is an input too.
            if !random.one_in(200) {
                text.push(' ');
            }
        }
        text.truncate(text.floor_char_boundary(20_000));
        if !random.one_in(50) {
            return text;
        }
        let mut bytes = text.into_bytes();
        random.damage(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Changes some tokens.
fn change(now: &mut Vec<String>, other: &[String], random: &mut Random) {
    let at = random.below(now.len());
    let until = (at + 1 + random.below(6)).min(now.len());
    match random.below(12) {
        0 => drop(now.drain(at.min(until)..until)),
        1 => {
            let again = now[at.min(until)..until].to_vec();
            now.splice(until..until, again);
        }
        2 => {
            let with = random.below(now.len());
            if !now.is_empty() {
                now.swap(at, with);
            }
        }
        3..=5 => replace(now, at, random.pick(ODD), is_value),
        6 | 7 => replace(now, at, random.pick(WORDS), |token| !is_value(token)),
        8 => {
            now.truncate(at);
            now.extend_from_slice(&other[random.below(other.len() + 1).min(other.len())..]);
        }
        9 => {
            let from = random.below(other.len());
            let end = (from + random.below(12)).min(other.len());
            now.splice(at.min(until)..until, other[from.min(end)..end].iter().cloned());
        }
        10 => {
            let again = now[at.min(until)..until].to_vec();
            for _ in 0..random.below(300) {
                now.splice(until..until, again.iter().cloned());
            }
        }
        _ => {
            now.insert(until, ")".to_owned());
            now.insert(at.min(until), random.pick(&["(", "NOT (", "(SELECT ", "abs("]).to_owned());
        }
    }
}

/// Replaces the first token from a place on that is of the kind.
fn replace(now: &mut [String], at: usize, with: &str, kind: impl Fn(&str) -> bool) {
    if let Some(token) = now.iter_mut().skip(at).find(|token| kind(token)) {
        with.clone_into(token);
    }
}

fn is_value(token: &str) -> bool {
    token.starts_with(|first: char| first.is_ascii_digit() || first == '\'')
}

/// Words, numbers, quoted text, operators; comments and white space go.
fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let same = |of: fn(char) -> bool| rest.find(|c: char| !of(c)).unwrap_or(rest.len());
        let end = match first {
            '\'' | '"' => quoted(rest, first),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            _ if first.is_alphanumeric() || "_$".contains(first) => {
                same(|c| c.is_alphanumeric() || "_$.".contains(c))
            }
            '(' | ')' | ',' | ';' | '[' | ']' => 1,
            _ if first.is_ascii_punctuation() => {
                same(|c| c.is_ascii_punctuation() && !"'\"(),;[]_$".contains(c))
            }
            _ => first.len_utf8(),
        };
        let (token, behind) = rest.split_at(end.max(first.len_utf8()));
        if !token.starts_with("--") {
            found.push(token.to_owned());
        }
        rest = behind.trim_start();
    }
    found
}

/// Where a quoted text ends; a quote in it stands twice.
fn quoted(text: &str, quote: char) -> usize {
    let mut end = 1;
    while let Some(next) = text[end..].find(quote) {
        end += next + 1;
        if !text[end..].starts_with(quote) {
            return end;
        }
        end += 1;
    }
    text.len()
}

/// The statements and queries of a suite.
fn statements(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).expect("a suite");
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("statement ") || line.starts_with("query ") {
            let statement = lines.by_ref().take_while(|line| !line.is_empty() && *line != "----");
            found.push(statement.collect::<Vec<_>>().join("\n"));
        }
    }
    found
}
