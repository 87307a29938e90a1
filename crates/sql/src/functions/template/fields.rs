//! The parts of a template for dates and times.

/// One part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Field(Field),
    /// A character that stands for itself; true inside double quotes.
    Character(char, bool),
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
    /// `TH` or `th` behind it.
    pub(super) ordinal: Option<String>,
}

/// Longer names before their beginnings.
const NAMES: [&str; 49] = [
    "SSSSS", "Y,YYY", "MONTH", "HH24", "HH12", "SSSS", "YYYY", "IYYY", "IDDD", "A.M.", "P.M.",
    "B.C.", "A.D.", "YYY", "IYY", "MON", "DAY", "DDD", "TZH", "TZM", "FF1", "FF2", "FF3", "FF4",
    "FF5", "FF6", "HH", "MI", "SS", "MS", "US", "AM", "PM", "BC", "AD", "YY", "IY", "MM", "DY",
    "DD", "IW", "ID", "WW", "CC", "TZ", "OF", "RM", "Y", "J",
];
/// Names of one letter, which only count where no longer name begins.
const LETTERS: [&str; 4] = ["I", "D", "W", "Q"];

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
    let (mut rest, mut short, mut quoted) = (template, false, false);
    while let Some(c) = rest.chars().next() {
        if c == '"' {
            quoted = !quoted;
            rest = &rest[1..];
            continue;
        }
        if c == '\\' && rest.len() > 1 {
            rest = &rest[1..];
            if let Some(escaped) = rest.chars().next() {
                parts.push(Part::Character(escaped, true));
                rest = &rest[escaped.len_utf8()..];
            }
            continue;
        }
        let starts = |name: &&str| {
            rest.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name))
        };
        if !quoted && (starts(&"FM") || starts(&"TM")) {
            short |= starts(&"FM");
            rest = &rest[2..];
            continue;
        }
        let found = NAMES.into_iter().chain(LETTERS).find(starts).filter(|_| !quoted);
        let Some(name) = found else {
            parts.push(Part::Character(c, quoted));
            rest = &rest[c.len_utf8()..];
            continue;
        };
        let (written, after) = rest.split_at(name.len());
        rest = after;
        let ordinal = after.get(..2).filter(|end| end.eq_ignore_ascii_case("th"));
        let ordinal = ordinal.map(str::to_owned);
        if ordinal.is_some() {
            rest = &rest[2..];
        }
        parts.push(Part::Field(Field { name, written: written.to_owned(), short, ordinal }));
        short = false;
    }
    parts
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
