//! The parser of PostgreSQL's regular expressions: advanced ones (its own), extended ones (POSIX's) and
//! texts to be taken as they are. Brackets are in [`super::brackets`].
//!
//! Invariants: 1. every error has the character at which it was found. 2. what is nested deeper than
//! [`DEPTH_MAX`] is refused, so that nothing that walks the tree runs out of stack.

use super::classes::{class, in_any_case};
use super::flags::{Flags, Kind};
use super::syntax::{Anchor, Around, Bounds, Node, Preference, Set, Wrong, range};

/// How often something can be repeated.
const REPEATS_MAX: usize = 255;
/// Parts in each other.
const DEPTH_MAX: usize = 200;
/// What the parts of a pattern may weigh: about 64 bytes each for a character, and what a class or a group costs more.
const WEIGHT_MAX: usize = 500_000;
/// A class has so many ranges.
const CLASS_WEIGHT: usize = 100;
/// Groups side by side are walked by recursion: there may be two thousand.
const GROUP_WEIGHT: usize = 250;

pub(super) const BRACKETS: &str = "brackets [] not balanced";
pub(super) const ESCAPE: &str = "invalid escape \\ sequence";
const BRACES: &str = "braces {} not balanced";
const COUNT: &str = "invalid repetition count(s)";
const NUMBER: &str = "invalid backreference number";
const OPERAND: &str = "quantifier operand invalid";
const OPTION: &str = "invalid embedded option";
const PARENTHESES: &str = "parentheses () not balanced";

/// A regular expression as it was read.
pub(super) struct Parsed {
    pub(super) node: Node,
    /// By group what it holds; from group 1.
    pub(super) groups: Vec<Option<Node>>,
    pub(super) flags: Flags,
}

/// Reads a regular expression.
pub(super) fn parse(pattern: &str, flags: Flags) -> Result<Parsed, Wrong> {
    flags.check()?;
    let chars: Vec<char> = pattern.chars().collect();
    if chars.len() > WEIGHT_MAX {
        return Err(Wrong::TOO_COMPLEX);
    }
    let mut parser =
        Parser { chars, at: 0, flags, groups: Vec::new(), depth: 0, is_around: false, weight: 0 };
    parser.prefix()?;
    let node = match parser.flags.kind {
        Kind::Literal => parser.literal(),
        Kind::Basic => return Err(Wrong::BASIC),
        Kind::Advanced | Kind::Extended => parser.alternation()?,
    };
    if parser.at < parser.chars.len() {
        return parser.fail(PARENTHESES);
    }
    Ok(Parsed { node, groups: parser.groups, flags: parser.flags })
}

pub(super) struct Parser {
    chars: Vec<char>,
    pub(super) at: usize,
    pub(super) flags: Flags,
    groups: Vec<Option<Node>>,
    depth: usize,
    /// Inside of what looks around, where nothing is captured.
    is_around: bool,
    weight: usize,
}

/// What an escape stands for.
pub(super) enum Escape {
    Char(char),
    Class(Set),
    /// All but a class.
    NoClass(Set),
    Anchor(Anchor),
    Back(usize),
}

impl Parser {
    pub(super) fn fail<T>(&self, what: &'static str) -> Result<T, Wrong> {
        Err(Wrong { what, at: Some(self.at.min(self.chars.len()).max(1)) })
    }

    /// The pattern has become heavier.
    pub(super) fn weigh(&mut self, weight: usize) -> Result<(), Wrong> {
        self.weight += weight;
        match self.weight <= WEIGHT_MAX {
            true => Ok(()),
            false => Err(Wrong { at: Some(self.at), ..Wrong::TOO_COMPLEX }),
        }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    pub(super) fn ahead(&self, by: usize) -> Option<char> {
        self.chars.get(self.at + by).copied()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += 1;
        Some(next)
    }

    /// Skips a text if it stands here.
    pub(super) fn eat(&mut self, text: &str) -> bool {
        let here = self.chars.get(self.at..).unwrap_or_default();
        let length = text.chars().count();
        let stands = here.len() >= length && text.chars().zip(here).all(|(c, here)| c == *here);
        self.at += if stands { length } else { 0 };
        stands
    }

    pub(super) fn is_advanced(&self) -> bool {
        self.flags.kind == Kind::Advanced
    }

    /// Directors and options at the head of the pattern.
    fn prefix(&mut self) -> Result<(), Wrong> {
        if self.flags.kind == Kind::Literal {
            return Ok(());
        }
        if self.eat("***") {
            match self.next() {
                Some('=') => {
                    self.flags.kind = Kind::Literal;
                    self.flags.is_expanded = false;
                    self.flags.lines(false, false);
                    return Ok(());
                }
                Some(':') => self.flags.kind = Kind::Advanced,
                Some('?') => return self.fail("invalid regexp (reg version 0.8)"),
                _ => return self.fail(OPERAND),
            }
        }
        let third = self.chars.get(self.at + 2);
        if !self.is_advanced() || !third.is_some_and(char::is_ascii_alphabetic) || !self.eat("(?") {
            return Ok(());
        }
        while let Some(option) = self.peek().filter(char::is_ascii_alphabetic) {
            self.at += 1;
            if !self.flags.set(option) {
                return self.fail(OPTION);
            }
        }
        if !self.eat(")") {
            return self.fail(OPTION);
        }
        if self.flags.kind == Kind::Literal {
            self.flags.is_expanded = false;
            self.flags.lines(false, false);
        }
        Ok(())
    }

    fn literal(&mut self) -> Node {
        let rest = self.chars.get(self.at..).unwrap_or_default();
        let parts = rest.iter().map(|c| Node::Set(self.one(*c))).collect();
        self.at = self.chars.len();
        Node::Concat(parts)
    }

    /// A character, in the cases that match.
    pub(super) fn one(&self, c: char) -> Set {
        let only = range(c, c);
        if self.flags.any_case { in_any_case(&only) } else { only }
    }

    /// A set without the ends of lines, if these are apart.
    pub(super) fn within_line(&self, mut set: Set) -> Set {
        if self.flags.stops_at_lines {
            set.difference(&range('\n', '\n'));
        }
        set
    }

    /// Alternatives up to the end or a parenthesis that closes.
    fn alternation(&mut self) -> Result<Node, Wrong> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Wrong { at: Some(self.at), ..Wrong::TOO_COMPLEX });
        }
        let mut branches = vec![self.branch()?];
        while self.eat("|") {
            branches.push(self.branch()?);
        }
        self.depth -= 1;
        Ok(match branches.len() {
            1 => branches.swap_remove(0),
            _ => Node::Alternate(branches),
        })
    }

    fn branch(&mut self) -> Result<Node, Wrong> {
        let mut parts = Vec::new();
        loop {
            self.skip_blanks();
            match self.peek() {
                None | Some('|') => break,
                Some(')') if self.depth > 1 || self.is_advanced() => break,
                Some(_) => parts.push(self.piece()?),
            }
        }
        Ok(if parts.is_empty() { Node::Empty } else { Node::Concat(parts) })
    }

    /// Blanks and comments of the expanded syntax, and comments in parentheses.
    fn skip_blanks(&mut self) {
        loop {
            if self.is_advanced() && self.eat("(?#") {
                while self.next().is_some_and(|c| c != ')') {}
                continue;
            }
            match self.peek() {
                Some(c) if self.flags.is_expanded && is_blank(c) => self.at += 1,
                Some('#') if self.flags.is_expanded => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    /// An atom with its quantifier, or what holds at a place.
    fn piece(&mut self) -> Result<Node, Wrong> {
        let atom = self.atom()?;
        if matches!(atom, Node::Anchor(_) | Node::Around(_)) {
            return Ok(atom);
        }
        self.skip_blanks();
        let (least, most) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') if self.is_bound() => return self.bounds(atom),
            _ => return Ok(atom),
        };
        self.at += 1;
        let preference = self.preference();
        Ok(Node::Repeat(Box::new(atom), Bounds { least, most }, preference))
    }

    fn preference(&mut self) -> Preference {
        match self.is_advanced() && self.eat("?") {
            true => Preference::Shortest,
            false => Preference::Longest,
        }
    }

    /// True if a brace opens a bound here.
    fn is_bound(&self) -> bool {
        let mut rest = self.chars.get(self.at + 1..).unwrap_or_default().iter();
        let first = match self.flags.is_expanded {
            true => rest.find(|c| !is_blank(**c)),
            false => rest.next(),
        };
        first.is_some_and(char::is_ascii_digit)
    }

    fn bounds(&mut self, atom: Node) -> Result<Node, Wrong> {
        self.at += 1;
        let least = self.count()?.unwrap_or(0);
        let (most, is_range) = match self.peek() {
            Some(',') => {
                self.at += 1;
                (self.count()?, true)
            }
            _ => (Some(least), false),
        };
        match self.next() {
            None => return self.fail(BRACES),
            Some('}') if most.is_none_or(|most| least <= most) => {}
            Some(_) => return self.fail(COUNT),
        }
        let preference = match (self.preference(), is_range) {
            (preference, true) => preference,
            (_, false) => Preference::Operand,
        };
        Ok(Node::Repeat(Box::new(atom), Bounds { least, most }, preference))
    }

    fn count(&mut self) -> Result<Option<usize>, Wrong> {
        let mut count = None;
        loop {
            self.skip_blanks();
            match self.peek().and_then(|c| c.to_digit(10)) {
                Some(digit) => count = Some(count.unwrap_or(0) * 10 + digit as usize),
                None => return Ok(count),
            }
            if count.is_some_and(|count| count > REPEATS_MAX) {
                return self.fail(COUNT);
            }
            self.at += 1;
        }
    }

    fn atom(&mut self) -> Result<Node, Wrong> {
        self.weigh(1)?;
        if self.eat("[[:<:]]") {
            return Ok(Node::Anchor(Anchor::WordStart));
        }
        if self.eat("[[:>:]]") {
            return Ok(Node::Anchor(Anchor::WordEnd));
        }
        let at_lines = self.flags.anchors_at_lines;
        Ok(match self.next() {
            Some('(') => return self.group(),
            Some('[') => {
                let set = self.brackets()?;
                self.weigh(set.ranges().len())?;
                Node::Set(set)
            }
            Some('.') => Node::Set(self.within_line(range('\0', char::MAX))),
            Some('^') => Node::Anchor(if at_lines { Anchor::LineStart } else { Anchor::Start }),
            Some('$') => Node::Anchor(if at_lines { Anchor::LineEnd } else { Anchor::End }),
            Some('*' | '+' | '?') => return self.fail(OPERAND),
            Some('{') => {
                self.at -= 1;
                if self.is_bound() {
                    return self.fail(OPERAND);
                }
                self.at += 1;
                Node::Set(self.one('{'))
            }
            Some('\\') => match self.escape()? {
                Escape::Char(c) => Node::Set(self.one(c)),
                Escape::Class(set) => {
                    self.weigh(CLASS_WEIGHT)?;
                    Node::Set(set)
                }
                Escape::NoClass(mut set) => {
                    self.weigh(CLASS_WEIGHT)?;
                    set.negate();
                    Node::Set(set)
                }
                Escape::Anchor(anchor) => Node::Anchor(anchor),
                Escape::Back(number) => self.back(number)?,
            },
            Some(c) => Node::Set(self.one(c)),
            None => Node::Empty,
        })
    }

    fn back(&mut self, number: usize) -> Result<Node, Wrong> {
        let is_known = matches!(self.groups.get(number - 1), Some(Some(_)));
        if is_known && !self.is_around { Ok(Node::Back(number)) } else { self.fail(NUMBER) }
    }

    /// What a parenthesis that has opened holds.
    fn group(&mut self) -> Result<Node, Wrong> {
        self.weigh(GROUP_WEIGHT)?;
        let mut around = None;
        let mut captures = !self.is_around;
        if self.is_advanced() && self.eat("?") {
            match self.next() {
                Some(':') => captures = false,
                Some('=') => around = Some((false, false)),
                Some('!') => around = Some((false, true)),
                Some('<') if self.eat("=") => around = Some((true, false)),
                Some('<') if self.eat("!") => around = Some((true, true)),
                _ => return self.fail(OPERAND),
            }
        }
        let Some((is_behind, is_negative)) = around else {
            let number = captures.then(|| {
                self.groups.push(None);
                self.groups.len()
            });
            let begin = self.at;
            let node = self.inside()?;
            // What it holds is kept a second time.
            self.weigh(self.at - begin)?;
            if let Some(group) = number.and_then(|number| self.groups.get_mut(number - 1)) {
                *group = Some(node.clone());
            }
            return Ok(Node::Group(number, Box::new(node)));
        };
        let outer = std::mem::replace(&mut self.is_around, true);
        let node = self.inside()?;
        self.is_around = outer;
        Ok(Node::Around(Box::new(Around { is_behind, is_negative, node })))
    }

    fn inside(&mut self) -> Result<Node, Wrong> {
        let node = self.alternation()?;
        if self.eat(")") { Ok(node) } else { self.fail(PARENTHESES) }
    }

    /// What stands behind a backslash.
    pub(super) fn escape(&mut self) -> Result<Escape, Wrong> {
        let Some(c) = self.next() else { return self.fail(ESCAPE) };
        if !self.is_advanced() || !c.is_ascii_alphanumeric() {
            return Ok(Escape::Char(c));
        }
        let known = |name: &str| class(name).cloned().unwrap_or_else(Set::empty);
        Ok(match c {
            'A' => Escape::Anchor(Anchor::Start),
            'Z' => Escape::Anchor(Anchor::End),
            'm' => Escape::Anchor(Anchor::WordStart),
            'M' => Escape::Anchor(Anchor::WordEnd),
            'y' => Escape::Anchor(Anchor::WordBoundary),
            'Y' => Escape::Anchor(Anchor::NoWordBoundary),
            'd' => Escape::Class(known("digit")),
            's' => Escape::Class(known("space")),
            'w' => Escape::Class(known("word")),
            'D' => Escape::NoClass(known("digit")),
            'S' => Escape::NoClass(known("space")),
            'W' => Escape::NoClass(known("word")),
            'c' => match self.next() {
                Some(next) => Escape::Char(char::from_u32(next as u32 & 0x1f).unwrap_or_default()),
                None => return self.fail(ESCAPE),
            },
            'u' => Escape::Char(self.code(16, 4, 4)?),
            'U' => Escape::Char(self.code(16, 8, 8)?),
            'x' => Escape::Char(self.code(16, 1, usize::MAX)?),
            '0'..='9' => return self.number(),
            _ => match control(c) {
                Some(control) => Escape::Char(control),
                None => return self.fail(ESCAPE),
            },
        })
    }

    /// A back-reference, or the number of a character in base 8.
    fn number(&mut self) -> Result<Escape, Wrong> {
        self.at -= 1;
        let digits = self.chars.get(self.at..).unwrap_or_default();
        let count = digits.iter().take_while(|c| c.is_ascii_digit()).count();
        let number: String = digits.iter().take(count).collect();
        let known = |number: &usize| count == 1 || *number <= self.groups.len();
        let is_octal = digits.first() == Some(&'0');
        if let Some(number) = number.parse().ok().filter(known)
            && !is_octal
        {
            self.at += count;
            return Ok(Escape::Back(number));
        }
        let end = self.at + 3;
        let mut code = 0;
        while self.at < end
            && let Some(digit) = self.peek().and_then(|c| c.to_digit(8))
            && code * 8 + digit <= 0xff
        {
            code = code * 8 + digit;
            self.at += 1;
        }
        match char::from_u32(code).filter(|_| self.at + 3 > end) {
            Some(c) => Ok(Escape::Char(c)),
            None => self.fail(ESCAPE),
        }
    }

    /// A character by its code.
    fn code(&mut self, base: u32, least: usize, most: usize) -> Result<char, Wrong> {
        let start = self.at;
        let mut code: u32 = 0;
        while self.at - start < most
            && let Some(digit) = self.peek().and_then(|c| c.to_digit(base))
        {
            code = code.saturating_mul(base).saturating_add(digit);
            self.at += 1;
        }
        match char::from_u32(code).filter(|_| self.at - start >= least) {
            Some(c) => Ok(c),
            None => self.fail(ESCAPE),
        }
    }
}

fn is_blank(c: char) -> bool {
    class("space").is_some_and(|blanks| {
        blanks.ranges().iter().any(|part| (part.start()..=part.end()).contains(&c))
    })
}

/// The character for which a letter behind a backslash stands.
fn control(letter: char) -> Option<char> {
    Some(match letter {
        'a' => '\x07',
        'b' => '\x08',
        'B' => '\\',
        'e' => '\x1b',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        _ => return None,
    })
}
