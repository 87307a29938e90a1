//! What patterns match and hold, as PostgreSQL 15 says.

use super::*;

/// The match and the groups of a pattern, as PostgreSQL 15 has them.
fn found(pattern: &str, flags: &str, text: &str) -> String {
    let flags = Flags::read(flags).unwrap();
    let mut pattern = match Pattern::new(pattern, flags) {
        Ok(pattern) => pattern,
        Err(report) => return report.message.replace("invalid regular expression: ", ""),
    };
    let matches = pattern.is_match(text).unwrap();
    let Some(found) = pattern.find(text, 0).unwrap() else {
        assert!(!matches, "a match has a place");
        return "-".to_owned();
    };
    assert!(matches, "what has a place is a match");
    let mut shown = part(text, found.whole).to_owned();
    for group in found.groups {
        shown.push('|');
        shown.push_str(group.map_or("NULL", |group| part(text, group)));
    }
    shown
}

fn check(cases: &[(&str, &str, &str, &str)]) {
    for (pattern, flags, text, expected) in cases {
        assert_eq!(&found(pattern, flags, text), expected, "{pattern} over {text}");
    }
}

#[test]
fn the_longest_alternative_matches() {
    check(&[
        ("a|ab|abc", "", "xabcd", "abc"),
        ("(a|ab)(c|bcd)", "", "abcd", "abcd|a|bcd"),
        ("a?(ab)?", "", "ab", "ab|ab"),
        ("X*Y*?", "", "XXYY", "XXYY"),
        ("XY*?", "", "XYYY", "X"),
        ("(a|b)*?c|abd", "", "abd", "abd|NULL"),
    ]);
}

#[test]
fn the_first_quantifier_decides_what_a_branch_prefers() {
    check(&[
        ("Y*([0-9]{1,3})", "", "XY1234Z", "Y123|123"),
        ("Y*?([0-9]{1,3})", "", "XY1234Z", "Y1|1"),
        ("(.*)(\\d+)(.*)", "", "abc01234xyz", "abc01234xyz|abc0123|4|xyz"),
        ("(.*?)(\\d+)(.*)", "", "abc01234xyz", "abc0|abc|0|"),
        ("(?:(.*?)(\\d+)(.*)){1,1}", "", "abc01234xyz", "abc01234xyz|abc|01234|xyz"),
    ]);
}

#[test]
fn groups_hold_what_they_took_last() {
    check(&[
        ("(a*)*", "", "", "|"),
        ("(a*)*", "", "b", "|"),
        ("(a|(c))*", "", "b", "|NULL|NULL"),
        ("(a|b)+", "", "abab", "abab|b"),
        ("((a)|(b))+", "", "ab", "ab|b|NULL|b"),
    ]);
}

#[test]
fn patterns_look_around_and_back() {
    check(&[
        ("foo(?=bar)", "", "foobar", "foo"),
        ("(?<!a)b", "", "abcb", "b"),
        ("(?<=^|x)(a|b)", "", "cxb", "b|b"),
        ("^(abc)\\1$", "i", "abcABC", "abcABC|abc"),
        ("(.)\\1", "", "hello", "ll|l"),
        ("(a*)\\1b", "", "aaab", "aab|a"),
    ]);
}

#[test]
fn what_is_no_pattern_says_why_and_where() {
    check(&[
        ("(a", "", "", "parentheses () not balanced"),
        ("a{256}", "", "", "invalid repetition count(s)"),
        ("[b-a]", "", "", "invalid character range"),
        ("(?P<name>a)", "", "", "invalid embedded option"),
        ("\\p{L}", "", "", "invalid escape \\ sequence"),
        ("a", "qx", "", "invalid argument to regex function"),
    ]);
    let report = Pattern::new("ab**", Flags::default()).err().unwrap();
    assert_eq!(report.detail.as_deref(), Some("At character 4 of the regular expression."));
}

#[test]
fn no_pattern_takes_for_ever_or_all_memory() {
    let new = |pattern: &str| Pattern::new(pattern, Flags::default());
    let too_complex = "invalid regular expression: regular expression is too complex";
    assert_eq!(new("((a{255}){255}){255}").err().unwrap().message, too_complex);
    let deep = format!("{}a{}", "(".repeat(5_000), ")".repeat(5_000));
    assert_eq!(new(&deep).err().unwrap().message, too_complex);
    let side_by_side = "(a|b)".repeat(100_000);
    let classes = "\\w".repeat(100_000);
    let held = format!("{}{}{}", "(".repeat(150), "a".repeat(100_000), ")".repeat(150));
    let nothing = format!("({}{})?a", "(?:".repeat(6), "){255}".repeat(6));
    let letters: String = ('\u{4e00}'..='\u{9fff}').map(|c| format!("{c}(?=a)")).collect();
    for pattern in [side_by_side, classes, held, nothing, letters, "a".repeat(1_000_000)] {
        let made = new(&pattern).and_then(|mut made| made.find("a", 0));
        assert_eq!(made.err().unwrap().message, too_complex, "{:.20}", pattern);
    }
    // A match at each letter, and the whole rest is read for each.
    let mut many = new("a(.*b)?").unwrap();
    let (text, mut from, mut steps) = ("a".repeat(100_000), 0, 0);
    let ended = loop {
        match many.find_more(&text, from, &mut steps) {
            Ok(Some(found)) => from = found.whole.1,
            Ok(None) => break None,
            Err(report) => break Some(report.code),
        }
    };
    assert_eq!(ended, Some(millrace_types::SqlState::STATEMENT_TOO_COMPLEX));
    // However the first letters are divided, one lacks behind them.
    let mut vain = new("^(a*)(a*)(a*)(a*)(a*)(a*)b\\1\\2\\3\\4\\5\\6c").unwrap();
    let text = format!("{}b{}c", "a".repeat(60), "a".repeat(59));
    let report = vain.find(&text, 0).err().unwrap();
    assert_eq!(report.code, millrace_types::SqlState::STATEMENT_TOO_COMPLEX);
}

#[test]
fn what_an_automaton_remembers_is_bounded() {
    let mut pattern = Pattern::new("(a|b)*a(a|b){12}(c)", Flags::default()).unwrap();
    let text: String =
        (0..20_000_u32).map(|n| if n.count_ones() % 2 == 0 { 'a' } else { 'b' }).collect();
    assert_eq!(pattern.find(&text, 0).unwrap(), None);
    let found = pattern.find(&format!("{text}{}c", "a".repeat(13)), 0).unwrap().unwrap();
    assert_eq!(found.whole, (0, 20_014));
}
