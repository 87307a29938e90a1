//! The parts of a template for numbers: PostgreSQL's rules about which patterns may stand together, and how
//! many digits they ask for.

use millrace_types::{Report, SqlState};

/// One part of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Pattern(Pattern),
    /// A character that stands for itself.
    Character(char),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Nine,
    Zero,
    Point,
    LocalPoint,
    Comma,
    Group,
    Currency,
    Blank,
    Code,
    Exponent,
    Fill,
    Minus,
    Plus,
    PlusMinus,
    Brackets,
    Roman,
    SmallRoman,
    Sign,
    Spelled,
    Ordinal,
    SmallOrdinal,
    Shift,
}

/// In upper and in lower case, never in a mixture; two cases of which tell nothing have one pattern.
const PATTERNS: [(&str, &str, Pattern, Pattern); 18] = [
    ("EEEE", "eeee", Pattern::Exponent, Pattern::Exponent),
    ("FM", "fm", Pattern::Fill, Pattern::Fill),
    ("MI", "mi", Pattern::Minus, Pattern::Minus),
    ("PL", "pl", Pattern::Plus, Pattern::Plus),
    ("PR", "pr", Pattern::Brackets, Pattern::Brackets),
    ("RN", "rn", Pattern::Roman, Pattern::SmallRoman),
    ("SG", "sg", Pattern::PlusMinus, Pattern::PlusMinus),
    ("SP", "sp", Pattern::Spelled, Pattern::Spelled),
    ("TH", "th", Pattern::Ordinal, Pattern::SmallOrdinal),
    (",", ",", Pattern::Comma, Pattern::Comma),
    (".", ".", Pattern::Point, Pattern::Point),
    ("B", "b", Pattern::Blank, Pattern::Blank),
    ("C", "c", Pattern::Code, Pattern::Code),
    ("D", "d", Pattern::LocalPoint, Pattern::LocalPoint),
    ("G", "g", Pattern::Group, Pattern::Group),
    ("L", "l", Pattern::Currency, Pattern::Currency),
    ("S", "s", Pattern::Sign, Pattern::Sign),
    ("V", "v", Pattern::Shift, Pattern::Shift),
];

/// Where `S` writes the sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SignAt {
    #[default]
    Nowhere,
    Before,
    Behind,
}

/// A template, with what its patterns ask for together.
#[derive(Clone, Debug, Default)]
pub(super) struct Form {
    pub(super) parts: Vec<Part>,
    /// Digits before the point, and behind it.
    pub(super) before: usize,
    pub(super) behind: usize,
    /// Digits behind `V`, by which the value is multiplied.
    pub(super) shift: usize,
    /// The first `0` before the point, counted from 1.
    pub(super) zero_start: Option<usize>,
    /// The digit of the last `0`.
    pub(super) zero_end: usize,
    pub(super) sign_at: SignAt,
    /// Digits before the point when `S` came.
    pub(super) before_sign: usize,
    pub(super) has_point: bool,
    pub(super) short: bool,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) brackets: bool,
    pub(super) roman: bool,
    pub(super) exponent: bool,
    pub(super) shifts: bool,
    blank: bool,
}

fn wrong(message: &str) -> Report {
    Report::new(SqlState::SYNTAX_ERROR, message)
}

/// Takes a template apart.
pub(super) fn form(template: &str) -> Result<Form, Report> {
    let mut form = Form::default();
    let mut rest = template;
    while let Some(c) = rest.chars().next() {
        if let Some((pattern, length)) = pattern(rest) {
            form.add(pattern)?;
            form.parts.push(Part::Pattern(pattern));
            rest = &rest[length..];
        } else if c == '"' {
            rest = quoted(&rest[1..], &mut form.parts);
        } else {
            rest = if rest.starts_with("\\\"") { &rest[1..] } else { rest };
            let c = rest.chars().next().unwrap_or(c);
            form.parts.push(Part::Character(c));
            rest = &rest[c.len_utf8()..];
        }
    }
    Ok(form)
}

fn pattern(text: &str) -> Option<(Pattern, usize)> {
    match text.as_bytes().first()? {
        b'9' => return Some((Pattern::Nine, 1)),
        b'0' => return Some((Pattern::Zero, 1)),
        _ => {}
    }
    PATTERNS.into_iter().find_map(|(upper, lower, large, small)| {
        let found = if text.starts_with(upper) {
            Some(large)
        } else {
            text.starts_with(lower).then_some(small)
        };
        found.map(|pattern| (pattern, upper.len()))
    })
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

impl Form {
    fn add(&mut self, pattern: Pattern) -> Result<(), Report> {
        if self.exponent && pattern != Pattern::Exponent {
            return Err(wrong("\"EEEE\" must be the last pattern used"));
        }
        match pattern {
            Pattern::Nine | Pattern::Zero => self.digit(pattern == Pattern::Zero),
            Pattern::Point | Pattern::LocalPoint => self.point(),
            Pattern::Sign => self.sign(),
            Pattern::Minus | Pattern::Plus | Pattern::PlusMinus => self.signs(pattern),
            Pattern::Brackets if self.has_sign() || self.plus || self.minus => {
                Err(wrong("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together"))
            }
            Pattern::Shift if self.has_point => Err(together()),
            Pattern::Exponent => self.exponent(),
            Pattern::Blank => {
                self.blank |= self.before == 0 && self.behind == 0 && self.zero_start.is_none();
                Ok(())
            }
            Pattern::Brackets => set(&mut self.brackets),
            Pattern::Shift => set(&mut self.shifts),
            Pattern::Fill => set(&mut self.short),
            Pattern::Roman | Pattern::SmallRoman => set(&mut self.roman),
            Pattern::Comma | Pattern::Group | Pattern::Currency | Pattern::Code => Ok(()),
            Pattern::Spelled | Pattern::Ordinal | Pattern::SmallOrdinal => Ok(()),
        }
    }

    fn has_sign(&self) -> bool {
        self.sign_at != SignAt::Nowhere
    }

    fn digit(&mut self, is_zero: bool) -> Result<(), Report> {
        if self.brackets {
            let digit = if is_zero { "0" } else { "9" };
            return Err(wrong(&format!("\"{digit}\" must be ahead of \"PR\"")));
        }
        if is_zero && self.zero_start.is_none() && !self.has_point {
            self.zero_start = Some(self.before + 1);
        }
        match (is_zero, self.shifts, self.has_point) {
            (false, true, _) => self.shift += 1,
            (_, _, true) => self.behind += 1,
            _ => self.before += 1,
        }
        if is_zero {
            self.zero_end = self.before + self.behind;
        }
        Ok(())
    }

    fn point(&mut self) -> Result<(), Report> {
        if self.has_point {
            return Err(wrong("multiple decimal points"));
        }
        if self.shifts {
            return Err(together());
        }
        set(&mut self.has_point)
    }

    fn sign(&mut self) -> Result<(), Report> {
        if self.has_sign() {
            return Err(wrong("cannot use \"S\" twice"));
        }
        if self.plus || self.minus || self.brackets {
            return Err(wrong("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together"));
        }
        match self.has_point {
            false => (self.sign_at, self.before_sign) = (SignAt::Before, self.before),
            true => self.sign_at = SignAt::Behind,
        }
        Ok(())
    }

    fn signs(&mut self, pattern: Pattern) -> Result<(), Report> {
        let name = match pattern {
            Pattern::Minus => "MI",
            Pattern::Plus => "PL",
            _ => "SG",
        };
        if self.has_sign() {
            return Err(wrong(&format!("cannot use \"S\" and \"{name}\" together")));
        }
        self.minus |= pattern != Pattern::Plus;
        self.plus |= pattern != Pattern::Minus;
        Ok(())
    }

    fn exponent(&mut self) -> Result<(), Report> {
        if self.exponent {
            return Err(wrong("cannot use \"EEEE\" twice"));
        }
        let others = [self.blank, self.short, self.has_sign(), self.brackets];
        let more = [self.minus, self.plus, self.roman, self.shifts];
        if others.into_iter().chain(more).any(|other| other) {
            let detail =
                "\"EEEE\" may only be used together with digit and decimal point patterns.";
            return Err(wrong("\"EEEE\" is incompatible with other formats").detail(detail));
        }
        set(&mut self.exponent)
    }
}

fn together() -> Report {
    wrong("cannot use \"V\" and decimal point together")
}

fn set(flag: &mut bool) -> Result<(), Report> {
    *flag = true;
    Ok(())
}

/// The template that was taken apart last.
#[derive(Default)]
pub(super) struct Forms {
    last: Option<(String, Form)>,
}

impl Forms {
    /// # Errors
    /// Patterns that may not stand together.
    pub(super) fn form(&mut self, template: &str) -> Result<&Form, Report> {
        if self.last.as_ref().is_none_or(|(known, _)| known != template) {
            self.last = Some((template.to_owned(), form(template)?));
        }
        match &self.last {
            Some((_, form)) => Ok(form),
            None => Err(Report::new(SqlState::INTERNAL_ERROR, "a template is missing")),
        }
    }
}
