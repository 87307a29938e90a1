//! Bracket expressions: `[a-z]`, `[^[:digit:]_]`, `[[.hyphen.]]`, `[[=a=]]`, `[\w-]`.

use super::classes::{character, class, in_any_case};
use super::parse::{BRACKETS, ESCAPE, Escape, Parser};
use super::syntax::{Set, Wrong, range};

const CLASS: &str = "invalid character class";
const ELEMENT: &str = "invalid collating element";
const RANGE: &str = "invalid character range";

/// A part of a bracket expression.
enum Part {
    /// A character, which can begin a range.
    Char(char),
    Whole(Set),
}

impl Parser {
    /// The set of a bracket that has opened.
    pub(super) fn brackets(&mut self) -> Result<Set, Wrong> {
        let is_negated = self.eat("^");
        let mut set = Set::empty();
        let mut is_first = true;
        loop {
            match self.peek() {
                None => return self.fail(BRACKETS),
                Some(']') if !is_first => break,
                Some('-') if !is_first && !self.is_last() => return self.fail(RANGE),
                Some(_) => {}
            }
            is_first = false;
            match self.part()? {
                Part::Whole(part) => set.union(&part),
                Part::Char(from) => set.union(&self.range_from(from)?),
            }
        }
        self.at += 1;
        if is_negated {
            set.negate();
            set = self.within_line(set);
        }
        Ok(set)
    }

    /// True at the character before the one that closes the bracket.
    fn is_last(&self) -> bool {
        self.ahead(1) == Some(']')
    }

    fn range_from(&mut self, from: char) -> Result<Set, Wrong> {
        if self.peek() != Some('-') || self.is_last() {
            return Ok(self.one(from));
        }
        self.at += 1;
        let to = match self.peek() {
            None => return self.fail(BRACKETS),
            Some('-') => {
                self.at += 1;
                '-'
            }
            Some(_) => match self.part()? {
                Part::Char(to) => to,
                Part::Whole(_) => return self.fail(RANGE),
            },
        };
        if to < from {
            return self.fail(RANGE);
        }
        let set = range(from, to);
        Ok(if self.flags.any_case { in_any_case(&set) } else { set })
    }

    fn part(&mut self) -> Result<Part, Wrong> {
        for (open, close) in [("[.", ".]"), ("[=", "=]"), ("[:", ":]")] {
            if self.eat(open) {
                let name = self.name(close)?;
                return self.named(open, &name);
            }
        }
        Ok(match self.next() {
            None => return self.fail(BRACKETS),
            Some('\\') if self.is_advanced() => match self.escape()? {
                Escape::Char(c) => Part::Char(c),
                Escape::Class(set) => Part::Whole(set),
                Escape::NoClass(mut set) => {
                    set.negate();
                    Part::Whole(set)
                }
                Escape::Anchor(_) | Escape::Back(_) => return self.fail(ESCAPE),
            },
            Some(c) => Part::Char(c),
        })
    }

    fn name(&mut self, close: &str) -> Result<String, Wrong> {
        let mut name = String::new();
        while !self.eat(close) {
            match self.next() {
                Some(c) => name.push(c),
                None => return self.fail(BRACKETS),
            }
        }
        Ok(name)
    }

    fn named(&mut self, open: &str, name: &str) -> Result<Part, Wrong> {
        if open == "[:" {
            let name = match name {
                "lower" | "upper" if self.flags.any_case => "alpha",
                other => other,
            };
            return match class(name) {
                Some(set) => Ok(Part::Whole(set.clone())),
                None => self.fail(CLASS),
            };
        }
        match character(name) {
            Some(c) if open == "[=" => Ok(Part::Whole(self.one(c))),
            Some(c) => Ok(Part::Char(c)),
            None => self.fail(ELEMENT),
        }
    }
}
