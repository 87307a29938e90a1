//! Named sets of characters and named characters of bracket expressions, and the other case of letters.
//!
//! Letters, cases and blanks are those of Unicode, digits are 0 to 9, as in a PostgreSQL database whose
//! locale is not C.

use std::sync::LazyLock;

use regex_syntax::Parser;
use regex_syntax::hir::{Class, ClassUnicodeRange, HirKind};

use super::syntax::{Set, range};

/// The names of classes, and what they are in the syntax of `regex_syntax`.
const CLASSES: [(&str, &str); 14] = [
    ("alnum", r"[\p{Alphabetic}\p{Nd}]"),
    ("alpha", r"\p{Alphabetic}"),
    ("ascii", r"[\x00-\x7f]"),
    ("blank", r"[\t\p{Zs}--\u{a0}\u{2007}\u{202f}]"),
    ("cntrl", r"[\p{Cc}\u{2028}\u{2029}]"),
    ("digit", r"[0-9]"),
    ("graph", r"[^\s\p{Cc}\p{Cn}]"),
    ("lower", r"\p{Lowercase}"),
    ("print", r"[[^\p{Cc}\p{Cn}]--\u{2028}\u{2029}]"),
    ("punct", r"[[^\s\p{Cc}\p{Cn}]--\p{Alphabetic}\p{Nd}]"),
    ("space", r"[\s--\u{85}\u{a0}\u{2007}\u{202f}]"),
    ("upper", r"\p{Uppercase}"),
    ("word", r"\w"),
    ("xdigit", r"[0-9A-Fa-f]"),
];

/// The names of characters, from POSIX.
const CHARACTERS: [(&str, char); 95] = [
    ("NUL", '\0'),
    ("SOH", '\x01'),
    ("STX", '\x02'),
    ("ETX", '\x03'),
    ("EOT", '\x04'),
    ("ENQ", '\x05'),
    ("ACK", '\x06'),
    ("BEL", '\x07'),
    ("alert", '\x07'),
    ("BS", '\x08'),
    ("backspace", '\x08'),
    ("HT", '\t'),
    ("tab", '\t'),
    ("LF", '\n'),
    ("newline", '\n'),
    ("VT", '\x0b'),
    ("vertical-tab", '\x0b'),
    ("FF", '\x0c'),
    ("form-feed", '\x0c'),
    ("CR", '\r'),
    ("carriage-return", '\r'),
    ("SO", '\x0e'),
    ("SI", '\x0f'),
    ("DLE", '\x10'),
    ("DC1", '\x11'),
    ("DC2", '\x12'),
    ("DC3", '\x13'),
    ("DC4", '\x14'),
    ("NAK", '\x15'),
    ("SYN", '\x16'),
    ("ETB", '\x17'),
    ("CAN", '\x18'),
    ("EM", '\x19'),
    ("SUB", '\x1a'),
    ("ESC", '\x1b'),
    ("IS4", '\x1c'),
    ("FS", '\x1c'),
    ("IS3", '\x1d'),
    ("GS", '\x1d'),
    ("IS2", '\x1e'),
    ("RS", '\x1e'),
    ("IS1", '\x1f'),
    ("US", '\x1f'),
    ("space", ' '),
    ("exclamation-mark", '!'),
    ("quotation-mark", '"'),
    ("number-sign", '#'),
    ("dollar-sign", '$'),
    ("percent-sign", '%'),
    ("ampersand", '&'),
    ("apostrophe", '\''),
    ("left-parenthesis", '('),
    ("right-parenthesis", ')'),
    ("asterisk", '*'),
    ("plus-sign", '+'),
    ("comma", ','),
    ("hyphen", '-'),
    ("hyphen-minus", '-'),
    ("period", '.'),
    ("full-stop", '.'),
    ("slash", '/'),
    ("solidus", '/'),
    ("zero", '0'),
    ("one", '1'),
    ("two", '2'),
    ("three", '3'),
    ("four", '4'),
    ("five", '5'),
    ("six", '6'),
    ("seven", '7'),
    ("eight", '8'),
    ("nine", '9'),
    ("colon", ':'),
    ("semicolon", ';'),
    ("less-than-sign", '<'),
    ("equals-sign", '='),
    ("greater-than-sign", '>'),
    ("question-mark", '?'),
    ("commercial-at", '@'),
    ("left-square-bracket", '['),
    ("backslash", '\\'),
    ("reverse-solidus", '\\'),
    ("right-square-bracket", ']'),
    ("circumflex", '^'),
    ("circumflex-accent", '^'),
    ("underscore", '_'),
    ("low-line", '_'),
    ("grave-accent", '`'),
    ("left-brace", '{'),
    ("left-curly-bracket", '{'),
    ("vertical-line", '|'),
    ("right-brace", '}'),
    ("right-curly-bracket", '}'),
    ("tilde", '~'),
    ("DEL", '\x7f'),
];

/// Letters beside another case of them.
static CASES: LazyLock<Vec<(char, char)>> = LazyLock::new(|| {
    let one = |mut all: Box<dyn Iterator<Item = char>>| all.next().filter(|_| all.next().is_none());
    let others = |c: char| {
        let (lower, upper) = (one(Box::new(c.to_lowercase())), one(Box::new(c.to_uppercase())));
        let others = lower.into_iter().chain(upper).filter(move |other| *other != c);
        others.map(move |other| (c, other))
    };
    ('\0'..=char::MAX).flat_map(others).collect()
});

/// The classes by place in [`CLASSES`].
static SETS: LazyLock<Vec<Set>> = LazyLock::new(|| {
    let set =
        |(_, syntax): &(&str, &str)| match Parser::new().parse(syntax).map(|hir| hir.into_kind()) {
            Ok(HirKind::Class(Class::Unicode(set))) => set,
            _ => Set::empty(),
        };
    CLASSES.iter().map(set).collect()
});

/// The class of a name.
pub(super) fn class(name: &str) -> Option<&'static Set> {
    SETS.get(CLASSES.iter().position(|(known, _)| *known == name)?)
}

/// The characters that words are made of.
pub(super) fn word() -> &'static Set {
    static NONE: LazyLock<Set> = LazyLock::new(Set::empty);
    class("word").unwrap_or(&NONE)
}

/// The character of a name, or that which is the name.
pub(super) fn character(name: &str) -> Option<char> {
    let mut chars = name.chars();
    match (chars.next(), chars.next()) {
        (Some(only), None) => Some(only),
        _ => CHARACTERS.iter().find(|(known, _)| *known == name).map(|(_, found)| *found),
    }
}

/// A set with the other cases of its letters.
pub(super) fn in_any_case(set: &Set) -> Set {
    let has = |c: char| set.ranges().iter().any(|part| (part.start()..=part.end()).contains(&c));
    let mut all = set.clone();
    match set.ranges() {
        [only] if only.start() == only.end() => {
            for (_, other) in CASES.iter().filter(|(c, _)| *c == only.start()) {
                all.union(&range(*other, *other));
            }
        }
        _ => {
            let others = CASES.iter().filter(|(c, _)| has(*c));
            let others = others.map(|(_, other)| ClassUnicodeRange::new(*other, *other));
            all.union(&Set::new(others));
        }
    }
    all
}

/// A letter as the one that stands for all of its cases.
pub(super) fn folded(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_characters() {
        assert!(CLASSES.iter().all(|(name, _)| !class(name).unwrap().ranges().is_empty()));
        assert_eq!(class("nothing"), None);
    }

    #[test]
    fn letters_have_their_other_case() {
        assert_eq!(
            in_any_case(&range('a', 'a')),
            Set::new([ClassUnicodeRange::new('A', 'A'), ClassUnicodeRange::new('a', 'a'),])
        );
        assert_eq!(in_any_case(&range('0', '9')), range('0', '9'));
    }
}
