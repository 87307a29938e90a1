//! Random regular expressions over few letters: what they match, what their groups hold, what they split
//! and replace is what PostgreSQL says, or both refuse them.
//!
//! With a back-reference a pattern ends in a letter: PostgreSQL overlooks an empty match at the end of a
//! text if such a pattern failed to match before it.

use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::server::{self, Server, rows};
use crate::wait;

/// Patterns of the standard run.
const PATTERNS: u64 = 1_000;
const TEXTS: [&str; 12] = [
    "",
    "a",
    "b",
    "ab",
    "aab",
    "abab",
    "abcabc",
    "cbbaab",
    "a b-c",
    "A1 _a",
    "bb aacc bca",
    "x\ny\nab",
];
const SETS: [&str; 12] = [
    ".",
    "[ab]",
    "[^a]",
    "\\w",
    "\\W",
    "\\d",
    "\\s",
    "[[:alpha:]]",
    "[\\w-]",
    "[^\\s]",
    "\\S",
    "[b-c]",
];
const ANCHORS: [&str; 9] = ["^", "$", "\\y", "\\Y", "\\m", "\\M", "\\A", "\\Z", "[[:<:]]"];
const COUNTS: [&str; 10] = ["*", "+", "?", "{0}", "{1}", "{2}", "{0,1}", "{1,2}", "{0,}", "{2,3}"];
const FLAGS: [&str; 8] = ["", "", "", "i", "n", "p", "w", "x"];

/// Writes patterns.
struct Writer {
    random: StdRng,
}

impl Writer {
    fn one_of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.random.random_range(0..list.len())]
    }

    fn pattern(&mut self) -> String {
        let pattern = self.alternatives(3);
        let refers = pattern.contains("\\1");
        if refers { format!("(?:{pattern})c") } else { pattern }
    }

    fn alternatives(&mut self, depth: usize) -> String {
        let count = [1, 1, 1, 2, 3][self.random.random_range(0..5)];
        let branches: Vec<String> = (0..count).map(|_| self.branch(depth)).collect();
        branches.join("|")
    }

    fn branch(&mut self, depth: usize) -> String {
        (0..self.random.random_range(0..5)).map(|_| self.piece(depth)).collect()
    }

    fn piece(&mut self, depth: usize) -> String {
        let atom = match self.random.random_range(0..20) {
            0..=4 if depth > 0 => format!("({})", self.alternatives(depth - 1)),
            5 | 6 if depth > 0 => format!("(?:{})", self.alternatives(depth - 1)),
            7 if depth > 0 => {
                let look = self.one_of(&["?=", "?!", "?<=", "?<!"]);
                return format!("({look}{})", self.alternatives(depth - 1));
            }
            8 => return self.one_of(&ANCHORS).to_owned(),
            9 => "\\1".to_owned(),
            10 | 11 => self.one_of(&SETS).to_owned(),
            _ => self.one_of(&["a", "a", "b", "b", "c"]).to_owned(),
        };
        if self.random.random_ratio(1, 2) {
            return atom;
        }
        let lazy = if self.random.random_ratio(1, 3) { "?" } else { "" };
        format!("{atom}{}{lazy}", self.one_of(&COUNTS))
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/postgres run"]
async fn a_random_pattern_matches_what_postgres_matches() {
    let address = std::env::var("MILLRACE_TEST_POSTGRES").expect("scripts/postgres run sets it");
    let address: SocketAddr = address.parse().expect("host:port");
    let (count, seed) = match super::number("MILLRACE_POSTGRES_ROUNDS") {
        Some(rounds) => (rounds * 100, wait::seed()),
        None => (PATTERNS, super::number("MILLRACE_SEED").unwrap_or_default()),
    };
    println!("MILLRACE_SEED={seed} repeats this run");
    let mut server = Server::new(&[]);
    server.start().await;
    let (ours, theirs) =
        (server.connect().await, server::connect(address).await.expect("PostgreSQL answers"));
    let list: Vec<String> = TEXTS.iter().map(|text| format!("('{text}')")).collect();
    let mut writer = Writer { random: StdRng::seed_from_u64(seed) };
    let (mut matched, mut wrong) = (0, Vec::new());
    for _ in 0..count {
        let (p, f) = (writer.pattern(), writer.one_of(&FLAGS));
        let query = format!(
            "SELECT t, regexp_like(t, '{p}', '{f}'), regexp_match(t, '{p}', '{f}'), \
             regexp_replace(t, '{p}', '<\\&|\\1|\\2>', '{f}g'), \
             regexp_split_to_array(t, '{p}', '{f}'), regexp_instr(t, '{p}', 1, 2, 1, '{f}') \
             FROM (VALUES {}) AS v (t) ORDER BY t",
            list.join(", ")
        );
        let code = |error: tokio_postgres::Error| error.code().map(|code| code.code().to_owned());
        let found = rows(&ours, &query).await.map_err(code);
        let wanted = rows(&theirs, &query).await.map_err(code);
        matched += usize::from(wanted.is_ok());
        if found != wanted {
            wrong.push(format!("{query}\nis  {found:?}\nnot {wanted:?}"));
        }
    }
    println!("{count} patterns compared");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(matched > 0, "most patterns are some");
    server.stop().await;
}
