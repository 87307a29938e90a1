//! The text of a path (`$.items[*] ? (@.price > 10)`) as a tree.
//!
//! One descent over the text, without going back: `!`, `&&`, `||` and comparisons bind as in PostgreSQL, weaker than
//! `+ -`, these weaker than `* / %`; what stands in brackets may be a predicate or a value, and is looked at after
//! it is read.

use std::cell::RefCell;
use std::fmt;

use millrace_types::{Report, SqlState};

use super::tokens::{Token, Tokens};
use crate::regular::{Flags, Pattern};

/// Brackets and prefixes in each other, at most: a value is worked out by recursion.
const DEPTH_MAX: usize = 64;
/// Values of a path, at most.
const NODES_MAX: usize = 1024;

/// A path.
#[derive(Debug)]
pub(super) struct Path {
    /// What does not fit is an error, and nothing is unwrapped.
    pub(super) strict: bool,
    pub(super) root: Node,
}

/// A value or a predicate.
#[derive(Debug)]
pub(super) enum Node {
    /// `$`
    Root,
    /// `@`
    Current,
    /// `last`
    Last,
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
    /// `$name`
    Variable(String),
    /// A value and what is looked up in it, step by step.
    Chain(Box<Node>, Vec<Step>),
    /// `-x`, or `+x`.
    Signed(bool, Box<Node>),
    Calculated(char, Box<Node>, Box<Node>),
    Compared(&'static str, Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    IsUnknown(Box<Node>),
    Exists(Box<Node>),
    StartsWith(Box<Node>, Box<Node>),
    Like(Box<Node>, Box<Expression>),
}

/// What `like_regex` matches: PostgreSQL's regular expressions.
pub(super) struct Expression(pub(super) RefCell<Pattern>);

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expression")
    }
}

/// What is looked up in a value.
#[derive(Debug)]
pub(super) enum Step {
    /// `.key`
    Key(String),
    /// `.*`
    AnyKey,
    /// `[*]`
    AnyElement,
    /// `[1, 3 to last]`
    Elements(Vec<(Node, Option<Node>)>),
    /// `.**`, `.**{2}`, `.**{1 to last}`: levels, where None is the last.
    Any(Option<u32>, Option<u32>),
    /// `? (...)`
    Filter(Node),
    Method(Method),
}

/// `.name()`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Type,
    Size,
    Double,
    Abs,
    Floor,
    Ceiling,
    KeyValue,
}

impl Method {
    const ALL: [(&'static str, Method); 7] = [
        ("type", Method::Type),
        ("size", Method::Size),
        ("double", Method::Double),
        ("abs", Method::Abs),
        ("floor", Method::Floor),
        ("ceiling", Method::Ceiling),
        ("keyvalue", Method::KeyValue),
    ];

    /// How it is written.
    pub(super) fn name(self) -> &'static str {
        Method::ALL.iter().find(|(_, method)| *method == self).map_or("", |(name, _)| name)
    }
}

impl Node {
    /// True for what is true, false or unknown, and no value.
    pub(super) fn is_predicate(&self) -> bool {
        matches!(
            self,
            Node::Compared(..)
                | Node::And(..)
                | Node::Or(..)
                | Node::Not(_)
                | Node::IsUnknown(_)
                | Node::Exists(_)
                | Node::StartsWith(..)
                | Node::Like(..)
        )
    }
}

/// Reads a path.
///
/// # Errors
/// `42601` where it is none, `54001` for one that is too deep or too long, `2201B` for a regular expression.
pub(super) fn parse(text: &str) -> Result<Path, Report> {
    let tokens = Tokens::of(text)?;
    let mut parser = Parser { tokens, depth: 0, nodes: 0, filters: 0, subscripts: 0 };
    let strict = parser.tokens.take_word("strict");
    if !strict {
        parser.tokens.take_word("lax");
    }
    let root = parser.either()?;
    match parser.tokens.peek() {
        None => Ok(Path { strict, root }),
        Some(_) => Err(parser.tokens.refused()),
    }
}

struct Parser<'a> {
    tokens: Tokens<'a>,
    depth: usize,
    nodes: usize,
    /// Open filters, in which `@` may stand, and subscripts, in which `last` may.
    filters: usize,
    subscripts: usize,
}

impl Parser<'_> {
    fn deeper<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Report>,
    ) -> Result<T, Report> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(too_complex());
        }
        let found = read(self)?;
        self.depth -= 1;
        Ok(found)
    }

    /// A predicate or a value.
    fn either(&mut self) -> Result<Node, Report> {
        let mut left = self.conjunction()?;
        while self.tokens.take("||") {
            let right = self.conjunction()?;
            left = Node::Or(self.predicate(left)?, self.predicate(right)?);
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Node, Report> {
        let mut left = self.comparison()?;
        while self.tokens.take("&&") {
            let right = self.comparison()?;
            left = Node::And(self.predicate(left)?, self.predicate(right)?);
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<Node, Report> {
        if self.tokens.take("!") {
            let negated = self.deeper(Self::delimited)?;
            return Ok(Node::Not(Box::new(negated)));
        }
        let left = self.sum()?;
        for (written, operator) in [
            ("==", "=="),
            ("!=", "!="),
            ("<>", "!="),
            ("<=", "<="),
            (">=", ">="),
            ("<", "<"),
            (">", ">"),
        ] {
            if self.tokens.take(written) {
                let right = self.sum()?;
                return Ok(Node::Compared(operator, self.value(left)?, self.value(right)?));
            }
        }
        if self.tokens.take_word("starts") {
            self.tokens.expect_word("with")?;
            let initial = match self.tokens.next() {
                Some(Token::Text(text)) => Node::Text(text),
                Some(Token::Variable(name)) => Node::Variable(name),
                _ => return Err(self.tokens.refused_last()),
            };
            return Ok(Node::StartsWith(self.value(left)?, Box::new(initial)));
        }
        if self.tokens.take_word("like_regex") {
            let pattern = self.tokens.text()?;
            let flags = match self.tokens.take_word("flag") {
                true => self.tokens.text()?,
                false => String::new(),
            };
            return Ok(Node::Like(self.value(left)?, expression(&pattern, &flags)?));
        }
        Ok(left)
    }

    /// What `!` stands before: a predicate in brackets, or `exists`.
    fn delimited(&mut self) -> Result<Node, Report> {
        if self.tokens.take_word("exists") {
            return self.exists();
        }
        if self.tokens.take("!") {
            return Err(self.tokens.refused_last());
        }
        self.tokens.expect("(")?;
        let inner = self.either()?;
        self.tokens.expect(")")?;
        self.predicate(inner).map(|inner| *inner)
    }

    fn exists(&mut self) -> Result<Node, Report> {
        self.tokens.expect("(")?;
        let inner = self.deeper(Self::either)?;
        self.tokens.expect(")")?;
        Ok(Node::Exists(self.value(inner)?))
    }

    fn sum(&mut self) -> Result<Node, Report> {
        let mut left = self.product()?;
        while let Some(operator) = self.tokens.take_any(&["+", "-"]) {
            let right = self.product()?;
            left = Node::Calculated(operator, self.value(left)?, self.value(right)?);
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Node, Report> {
        let mut left = self.signed()?;
        while let Some(operator) = self.tokens.take_any(&["*", "/", "%"]) {
            let right = self.signed()?;
            left = Node::Calculated(operator, self.value(left)?, self.value(right)?);
        }
        Ok(left)
    }

    fn signed(&mut self) -> Result<Node, Report> {
        match self.tokens.take_any(&["+", "-"]) {
            Some(sign) => {
                let inner = self.deeper(Self::signed)?;
                Ok(Node::Signed(sign == '-', self.value(inner)?))
            }
            None => self.chain(),
        }
    }

    fn chain(&mut self) -> Result<Node, Report> {
        self.count()?;
        let start = self.primary()?;
        let mut steps = Vec::new();
        while let Some(step) = self.step()? {
            steps.push(step);
        }
        Ok(if steps.is_empty() { start } else { Node::Chain(Box::new(start), steps) })
    }

    fn primary(&mut self) -> Result<Node, Report> {
        if self.tokens.take("(") {
            let inner = self.deeper(Self::either)?;
            self.tokens.expect(")")?;
            if self.tokens.take_word("is") {
                self.tokens.expect_word("unknown")?;
                return Ok(Node::IsUnknown(self.predicate(inner)?));
            }
            return Ok(inner);
        }
        if self.tokens.take_word("exists") {
            return self.exists();
        }
        Ok(match self.tokens.next() {
            Some(Token::Root) => Node::Root,
            Some(Token::Current) if self.filters > 0 => Node::Current,
            Some(Token::Current) => return Err(syntax("@ is not allowed in root expressions")),
            Some(Token::Text(text)) => Node::Text(text),
            Some(Token::Number(number)) => Node::Number(number),
            Some(Token::Variable(name)) => Node::Variable(name),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("last") => match self.subscripts {
                0 => return Err(syntax("LAST is allowed only in array subscripts")),
                _ => Node::Last,
            },
            Some(Token::Word(word)) => match word.as_str() {
                "null" => Node::Null,
                "true" | "false" => Node::Boolean(word == "true"),
                _ => return Err(self.tokens.refused_last()),
            },
            _ => return Err(self.tokens.refused_last()),
        })
    }

    fn step(&mut self) -> Result<Option<Step>, Report> {
        self.count()?;
        if self.tokens.take("?") {
            self.tokens.expect("(")?;
            self.filters += 1;
            let inner = self.deeper(Self::either)?;
            self.filters -= 1;
            self.tokens.expect(")")?;
            return Ok(Some(Step::Filter(*self.predicate(inner)?)));
        }
        if self.tokens.take("[") {
            return self.subscript().map(Some);
        }
        if !self.tokens.take(".") {
            return Ok(None);
        }
        if self.tokens.take("**") {
            return self.levels().map(Some);
        }
        if self.tokens.take("*") {
            return Ok(Some(Step::AnyKey));
        }
        let key = match self.tokens.next() {
            Some(Token::Word(word)) if self.tokens.take("(") => {
                self.tokens.expect(")")?;
                return self.method(&word).map(Some);
            }
            Some(Token::Word(key) | Token::Text(key)) => key,
            _ => return Err(self.tokens.refused_last()),
        };
        Ok(Some(Step::Key(key)))
    }

    fn method(&self, name: &str) -> Result<Step, Report> {
        if let Some((_, method)) = Method::ALL.iter().find(|(known, _)| *known == name) {
            return Ok(Step::Method(*method));
        }
        match name {
            "datetime" => Err(Report::unsupported("the jsonpath item method .datetime()")
                .hint("Take the text out with ->> and cast it.")),
            _ => Err(self.tokens.refused_last()),
        }
    }

    fn subscript(&mut self) -> Result<Step, Report> {
        if self.tokens.take("*") {
            self.tokens.expect("]")?;
            return Ok(Step::AnyElement);
        }
        self.subscripts += 1;
        let mut ranges = Vec::new();
        loop {
            let from = self.deeper(Self::sum)?;
            let from = *self.value(from)?;
            let to = match self.tokens.take_word("to") {
                true => {
                    let to = self.deeper(Self::sum)?;
                    Some(*self.value(to)?)
                }
                false => None,
            };
            ranges.push((from, to));
            if !self.tokens.take(",") {
                break;
            }
        }
        self.subscripts -= 1;
        self.tokens.expect("]")?;
        Ok(Step::Elements(ranges))
    }

    /// What may follow `**`.
    fn levels(&mut self) -> Result<Step, Report> {
        if !self.tokens.take("{") {
            return Ok(Step::Any(Some(0), None));
        }
        let from = self.level()?;
        let to = if self.tokens.take_word("to") { self.level()? } else { from };
        self.tokens.expect("}")?;
        Ok(Step::Any(from, to))
    }

    fn level(&mut self) -> Result<Option<u32>, Report> {
        match self.tokens.next() {
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("last") => Ok(None),
            Some(Token::Number(number)) => {
                number.parse().map(Some).map_err(|_| self.tokens.refused_last())
            }
            _ => Err(self.tokens.refused_last()),
        }
    }

    fn predicate(&self, node: Node) -> Result<Box<Node>, Report> {
        if node.is_predicate() { Ok(Box::new(node)) } else { Err(self.tokens.refused()) }
    }

    fn value(&self, node: Node) -> Result<Box<Node>, Report> {
        if node.is_predicate() { Err(self.tokens.refused()) } else { Ok(Box::new(node)) }
    }

    fn count(&mut self) -> Result<(), Report> {
        self.nodes += 1;
        if self.nodes > NODES_MAX { Err(too_complex()) } else { Ok(()) }
    }
}

/// A regular expression with the flags of `like_regex`.
fn expression(pattern: &str, flags: &str) -> Result<Box<Expression>, Report> {
    if let Some(unknown) = flags.chars().find(|flag| !"ismqx".contains(*flag)) {
        let message = "invalid input syntax for type jsonpath";
        let detail = format!("Unrecognized flag character \"{unknown}\" in LIKE_REGEX predicate.");
        return Err(Report::new(SqlState::SYNTAX_ERROR, message).detail(detail));
    }
    let has = |flag: char| flags.contains(flag);
    let quoted = has('q');
    if has('x') && !quoted {
        let what = "XQuery \"x\" flag (expanded regular expressions)";
        return Err(Report::unsupported(what));
    }
    let lines = match (quoted, has('s'), has('m')) {
        (true, ..) => "q",
        (_, true, true) => "w",
        (_, true, false) => "s",
        (_, false, true) => "n",
        (_, false, false) => "p",
    };
    let case = if has('i') { "i" } else { "" };
    let pattern = Pattern::new(pattern, Flags::read(&format!("{lines}{case}"))?)?;
    Ok(Box::new(Expression(RefCell::new(pattern))))
}

fn too_complex() -> Report {
    let message = "the jsonpath is nested too deeply or has too many parts";
    Report::new(SqlState::STATEMENT_TOO_COMPLEX, message)
}

/// The error of text that is no path.
pub(super) fn syntax(message: &str) -> Report {
    Report::new(SqlState::SYNTAX_ERROR, message)
}
