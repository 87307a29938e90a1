//! What a regular expression says: the tree that [`super::parse`] reads, and what can be wrong with one.

use millrace_types::{Report, SqlState};
use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

/// A set of characters.
pub(super) type Set = ClassUnicode;

/// The set of the characters from one to another.
pub(super) fn range(from: char, to: char) -> Set {
    Set::new([ClassUnicodeRange::new(from, to)])
}

/// What holds at a place between characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    End,
    LineStart,
    LineEnd,
    WordStart,
    WordEnd,
    WordBoundary,
    NoWordBoundary,
}

/// Which match a part would rather have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preference {
    Longest,
    Shortest,
    /// Whatever its operand has.
    Operand,
}

/// How often something is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) least: usize,
    /// None: without end.
    pub(super) most: Option<usize>,
}

impl Bounds {
    pub(super) const ONCE: Bounds = Bounds { least: 1, most: Some(1) };

    /// True for `{0}`, which cancels its operand.
    pub(super) fn is_never(self) -> bool {
        self.most == Some(0)
    }

    /// Once less.
    pub(super) fn before_last(self) -> Bounds {
        let most = self.most.map(|most| most.saturating_sub(1));
        Bounds { least: self.least.saturating_sub(1), most }
    }
}

/// A part of a regular expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Empty,
    Set(Set),
    Anchor(Anchor),
    Around(Box<Around>),
    /// Parentheses; with a number if they capture.
    Group(Option<usize>, Box<Node>),
    /// What a group has matched; by its number.
    Back(usize),
    Repeat(Box<Node>, Bounds, Preference),
    Concat(Vec<Node>),
    Alternate(Vec<Node>),
}

impl Node {
    /// The same, but what holds at places holds everywhere.
    pub(super) fn without_anchors(self) -> Node {
        let all = |parts: Vec<Node>| parts.into_iter().map(Node::without_anchors).collect();
        match self {
            Node::Anchor(_) | Node::Around(_) => Node::Empty,
            Node::Group(number, inner) => Node::Group(number, Box::new(inner.without_anchors())),
            Node::Repeat(inner, bounds, preference) => {
                Node::Repeat(Box::new(inner.without_anchors()), bounds, preference)
            }
            Node::Concat(parts) => Node::Concat(all(parts)),
            Node::Alternate(parts) => Node::Alternate(all(parts)),
            other @ (Node::Empty | Node::Set(_) | Node::Back(_)) => other,
        }
    }

    /// What matches the characters in the other direction.
    pub(super) fn reversed(self) -> Node {
        match self {
            Node::Group(number, inner) => Node::Group(number, Box::new(inner.reversed())),
            Node::Repeat(inner, bounds, preference) => {
                Node::Repeat(Box::new(inner.reversed()), bounds, preference)
            }
            Node::Concat(parts) => {
                Node::Concat(parts.into_iter().rev().map(Node::reversed).collect())
            }
            Node::Alternate(parts) => {
                Node::Alternate(parts.into_iter().map(Node::reversed).collect())
            }
            other @ (Node::Empty
            | Node::Set(_)
            | Node::Anchor(_)
            | Node::Around(_)
            | Node::Back(_)) => other,
        }
    }

    /// True if something in it is found only by looking around or back.
    pub(super) fn looks(&self) -> bool {
        match self {
            Node::Around(_) | Node::Back(_) => true,
            Node::Empty | Node::Set(_) | Node::Anchor(_) => false,
            Node::Group(_, inner) | Node::Repeat(inner, ..) => inner.looks(),
            Node::Concat(parts) | Node::Alternate(parts) => parts.iter().any(Node::looks),
        }
    }
}

/// What must, or must not, stand before or behind a place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Around {
    pub(super) is_behind: bool,
    pub(super) is_negative: bool,
    pub(super) node: Node,
}

/// What is wrong with a pattern, and with which of its characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) what: &'static str,
    /// Counted from 1; None where it is all of the pattern.
    pub(super) at: Option<usize>,
}

impl Wrong {
    /// More than the engine holds.
    pub(super) const TOO_COMPLEX: Wrong =
        Wrong { what: "regular expression is too complex", at: None };
    /// What POSIX calls basic.
    pub(super) const BASIC: Wrong = Wrong { what: "basic", at: None };
    /// Flags that exclude each other.
    pub(super) const FLAGS: Wrong = Wrong { what: "invalid argument to regex function", at: None };
}

impl From<Wrong> for Report {
    fn from(wrong: Wrong) -> Report {
        if wrong == Wrong::BASIC {
            let report = Report::unsupported("a basic regular expression (flag b)");
            return report.hint("Write an advanced one, which needs no flag.");
        }
        let message = format!("invalid regular expression: {}", wrong.what);
        let report = Report::new(SqlState::INVALID_REGULAR_EXPRESSION, message);
        match wrong.at {
            Some(at) => report.detail(format!("At character {at} of the regular expression.")),
            None => report,
        }
    }
}
