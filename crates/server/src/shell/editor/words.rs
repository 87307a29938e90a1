//! What may stand at the cursor: words of SQL, names of relations and columns, commands.

use std::collections::BTreeSet;

const KEYWORDS: &str = "all alter analyze and any array as asc asof backup begin between by cancel cascade case cast \
close coalesce column commit copy count create cross csv cube cumulate current_date current_timestamp \
cursor database date deallocate declare default delete desc describe discard distinct double drop else \
emit encode end escape except execute exists explain extract false fetch filter first flush following \
for format from full grant group grouping having header hop ilike in include index inner insert \
intersect interval into is join json key last lateral left like limit localtimestamp materialized max min not \
now null nulls numeric offset on or order ordinality outer over owner partition plain precision \
preceding prepare primary privileges progress range reassign refresh release reset returning revoke right role \
rollback rollup row rows savepoint secret select session set sets show sink sinks snapshot source sources start \
subscribe sum system_time table tables then ties time timestamp timestamptz to transaction true tumble \
unbounded union unnest update upsert user using values varchar view views watermark when where \
window with within zone";

const COMMANDS: [&str; 14] = [
    "\\?",
    "\\conninfo",
    "\\d",
    "\\dm",
    "\\ds",
    "\\dt",
    "\\echo",
    "\\format",
    "\\i",
    "\\null",
    "\\q",
    "\\timing",
    "\\watch",
    "\\x",
];

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Words {
    names: BTreeSet<String>,
}

/// What a completion came to.
pub(super) struct Found {
    /// Bytes before the cursor that are replaced.
    pub(super) typed: usize,
    /// By what, if there is more than what was typed.
    pub(super) replacement: Option<String>,
    pub(super) candidates: Vec<String>,
}

impl Words {
    /// With these names of relations and columns.
    pub(crate) fn new(names: &[String]) -> Words {
        Words { names: names.iter().cloned().collect() }
    }

    /// Completes the last word of a text.
    pub(super) fn complete(&self, before: &str) -> Found {
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '\\' || c == '?';
        let word = &before[before.trim_end_matches(is_part).len()..];
        let none = Found { typed: word.len(), replacement: None, candidates: Vec::new() };
        if word.is_empty() {
            return none;
        }
        let candidates = self.candidates(word);
        let Some(first) = candidates.first() else { return none };
        let shared = candidates.iter().fold(first.as_str(), |shared, word| common(shared, word));
        let replacement = match candidates.len() {
            1 => Some(format!("{} ", quoted(first))),
            _ => (shared.len() > word.len()).then(|| shared.to_owned()),
        };
        Found { replacement, candidates, ..none }
    }

    /// Words that begin so; those of SQL in the case that was typed.
    fn candidates(&self, word: &str) -> Vec<String> {
        if word.starts_with('\\') {
            let fitting = COMMANDS.iter().filter(|command| command.starts_with(word));
            return fitting.map(ToString::to_string).collect();
        }
        let is_upper =
            word.chars().any(char::is_uppercase) && !word.chars().any(char::is_lowercase);
        let lower = word.to_lowercase();
        let keywords = KEYWORDS.split_whitespace().filter(|keyword| keyword.starts_with(&lower));
        let cased =
            |keyword: &str| if is_upper { keyword.to_uppercase() } else { keyword.to_owned() };
        let names = self.names.iter().filter(|name| name.starts_with(word)).cloned();
        let all: BTreeSet<String> = names.chain(keywords.map(cased)).collect();
        all.into_iter().collect()
    }
}

/// A name as SQL takes it.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_lowercase() || c.is_ascii_digit() || c == '_';
    let is_word =
        name.starts_with('\\') || !name.chars().any(char::is_lowercase) || name.chars().all(plain);
    if is_word { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// What both begin with.
fn common<'a>(left: &'a str, right: &str) -> &'a str {
    let same = left.char_indices().zip(right.chars()).find(|((_, a), b)| a != b);
    let end = same.map_or(left.len().min(right.len()), |((at, _), _)| at);
    left.get(..end).unwrap_or(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(before: &str) -> Option<String> {
        let names = ["readings", "readings_10s", "Mixed Name", "id"].map(str::to_owned);
        Words::new(&names).complete(before).replacement
    }

    #[test]
    fn words_are_completed_in_the_case_that_was_typed() {
        assert_eq!(completed("SELE").as_deref(), Some("SELECT "));
        assert_eq!(completed("select * from readi").as_deref(), Some("readings"));
        assert_eq!(completed("select * from readings_").as_deref(), Some("readings_10s "));
        assert_eq!(completed("\\tim").as_deref(), Some("\\timing "));
        assert_eq!(completed("SELECT Mix").as_deref(), Some("\"Mixed Name\" "));
        assert_eq!(completed("SELECT "), None);
        assert_eq!(completed("zzz"), None);
    }
}
