//! The parts of a template for dates and times.

/// One part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Field(Field),
    /// A character that stands for itself.
    Character(char),
    /// A blank, or another character that parts fields from each other.
    Separator(char),
}

/// A field, as it is written and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// In upper case.
    pub(super) name: &'static str,
    /// As it stands in the template, for names that follow its case.
    pub(super) written: String,
    /// Behind `FM`: without zeros and blanks that fill up.
    pub(super) short: bool,
    /// Behind `TM`: names are not filled up.
    pub(super) translated: bool,
    /// `TH` or `th` behind it.
    pub(super) ordinal: Option<Ordinal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ordinal {
    Upper,
    Lower,
}

/// Longer names before their beginnings.
const NAMES: [&str; 54] = [
    "SSSSS", "Y,YYY", "MONTH", "HH24", "HH12", "SSSS", "YYYY", "IYYY", "IDDD", "A.M.", "P.M.",
    "B.C.", "A.D.", "YYY", "IYY", "MON", "DAY", "DDD", "TZH", "TZM", "FF1", "FF2", "FF3", "FF4",
    "FF5", "FF6", "HH", "MI", "SS", "MS", "US", "AM", "PM", "BC", "AD", "YY", "IY", "MM", "DY",
    "DD", "IW", "ID", "WW", "CC", "TZ", "OF", "RM", "FX", "Y", "J", "I", "D", "W", "Q",
];
/// Fields that are words: they may be written with a capital, too.
const CAPITAL: [&str; 4] = ["MONTH", "MON", "DAY", "DY"];

/// The template that was cut last.
#[derive(Default)]
pub(super) struct Cache {
    template: Option<String>,
    parts: Vec<Part>,
}

impl Cache {
    pub(super) fn parts(&mut self, template: &str) -> &[Part] {
        if self.template.as_deref() != Some(template) {
            self.parts = cut(template);
            self.template = Some(template.to_owned());
        }
        &self.parts
    }
}

/// The parts of a template.
pub(super) fn cut(template: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let (mut short, mut translated) = (false, false);
        match rest.get(..2) {
            Some("FM" | "fm") => short = true,
            Some("TM" | "tm") => translated = true,
            _ => {}
        }
        if short || translated {
            rest = &rest[2..];
        }
        if let Some(name) = named(rest) {
            let (written, after) = rest.split_at(name.len());
            let ordinal = match after.get(..2) {
                Some("TH") => Some(Ordinal::Upper),
                Some("th") => Some(Ordinal::Lower),
                _ => None,
            };
            // Numbers are never spelled, as in PostgreSQL.
            let has_ending = ordinal.is_some() || after.starts_with("SP");
            rest = if has_ending { &after[2..] } else { after };
            let written = written.to_owned();
            parts.push(Part::Field(Field { name, written, short, translated, ordinal }));
        } else if let Some(inner) = rest.strip_prefix('"') {
            rest = quoted(inner, &mut parts);
        } else {
            rest = character(rest, &mut parts);
        }
    }
    parts
}

/// The field that a template goes on with.
fn named(rest: &str) -> Option<&'static str> {
    let is = |name: &&str| {
        let Some(head) = rest.get(..name.len()).filter(|head| !head.is_empty()) else {
            return false;
        };
        let is_lower = head.bytes().all(|byte| !byte.is_ascii_uppercase());
        let is_capital =
            CAPITAL.contains(name) && head.bytes().skip(1).all(|byte| byte.is_ascii_lowercase());
        head == *name || ((is_lower || is_capital) && head.eq_ignore_ascii_case(name))
    };
    NAMES.into_iter().find(is)
}

/// Characters up to the closing quote; what follows it.
fn quoted<'a>(text: &'a str, parts: &mut Vec<Part>) -> &'a str {
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '"' => break,
            '\\' => parts.push(Part::Character(rest.next().unwrap_or('\\'))),
            c => parts.push(Part::Character(c)),
        }
    }
    rest.as_str()
}

fn character<'a>(rest: &'a str, parts: &mut Vec<Part>) -> &'a str {
    let rest = if rest.starts_with("\\\"") { &rest[1..] } else { rest };
    let Some(c) = rest.chars().next() else { return rest };
    parts.push(match is_separator(c) || c.is_ascii_whitespace() {
        true => Part::Separator(c),
        false => Part::Character(c),
    });
    &rest[c.len_utf8()..]
}

/// A visible character that is neither a letter nor a digit.
pub(super) fn is_separator(c: char) -> bool {
    c.is_ascii_graphic() && !c.is_ascii_alphanumeric()
}

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// From Sunday.
pub(super) const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// From December.
pub(super) const ROMAN_MONTHS: [&str; 12] =
    ["XII", "XI", "X", "IX", "VIII", "VII", "VI", "V", "IV", "III", "II", "I"];
