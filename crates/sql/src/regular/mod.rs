//! PostgreSQL's regular expressions: what they match, which of several matches it is, and what their groups
//! hold.
//!
//! Libraries have other rules for all three (of alternatives the first, not the longest one; greed that
//! each quantifier has for itself; another syntax), so most of this is our own: [`parse`] reads a pattern,
//! [`tree`] says how a match is divided, [`automata`] and [`machine`] find where parts end, [`divide`]
//! divides. Whether and where there is a match at all does not depend on these rules: that is asked of the
//! library `regex` ([`plain`]), which is fast at it, unless the pattern looks around or back.
//!
//! Invariants: 1. the time for a text is bounded ([`machine`]), but for the library's, which is linear.
//! 2. so is the memory of a pattern ([`MACHINES_BYTES`], [`plain`]), and the number of those that a thread
//! keeps ([`KEPT`]).

mod automata;
mod brackets;
mod classes;
mod divide;
mod flags;
mod machine;
mod parse;
mod plain;
mod similar;
mod syntax;
mod tree;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::rc::Rc;

use millrace_types::Report;
use regex_automata::Input;
use regex_automata::meta::Regex;

use automata::Network;
use divide::{Division, Span};
pub(crate) use flags::Flags;
use machine::{Machine, Run, Wanted};
use parse::Parsed;
pub(crate) use similar::{escape_of, no_escape, similar};
use tree::Tree;

/// Bytes that the automata of a pattern may remember.
const MACHINES_BYTES: usize = 1 << 20;
/// Patterns that a thread keeps, as many as a session of PostgreSQL.
const KEPT: usize = 32;

/// A match: the places of the whole, and of each group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) whole: Span,
    pub(crate) groups: Vec<Option<Span>>,
}

/// A regular expression that is ready to run.
pub(crate) struct Pattern {
    parsed: Parsed,
    plain: Option<Regex>,
    /// Made when places are asked for.
    engine: Option<Engine>,
}

/// The automata of a pattern.
struct Engine {
    tree: Tree,
    network: Network,
    /// By automaton of the network.
    machines: Vec<Machine>,
}

impl Engine {
    fn new(parsed: &Parsed) -> Result<Engine, Report> {
        let mut tree = tree::tree(&parsed.node, &parsed.groups);
        let network = Network::new(&mut tree)?;
        let bytes = MACHINES_BYTES / network.automata.len().max(1);
        let machine = |automaton: &automata::Automaton| Machine::new(*automaton, bytes);
        let machines = network.automata.iter().map(machine).collect();
        Ok(Engine { tree, network, machines })
    }

    /// Where the first match ends that begins at a place or behind it; back-references match anything.
    fn search(&mut self, run: &mut Run<'_>, from: usize) -> Result<Option<usize>, Report> {
        let Some(machine) = self.machines.last_mut() else { return Ok(None) };
        machine.end(&self.network, run, (from, run.text.len()), Wanted::From(from))
    }
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is none, in PostgreSQL's words.
    pub(crate) fn new(pattern: &str, flags: Flags) -> Result<Pattern, Report> {
        let parsed = parse::parse(pattern, flags)?;
        let plain = plain::plain(&parsed.node);
        let engine = match plain {
            Some(_) => None,
            None => Some(Engine::new(&parsed)?),
        };
        Ok(Pattern { parsed, plain, engine })
    }

    /// True if it matches anywhere in a text.
    ///
    /// # Errors
    /// A text that takes too long.
    pub(crate) fn is_match(&mut self, text: &str) -> Result<bool, Report> {
        if let Some(plain) = &self.plain {
            return Ok(plain.is_match(text));
        }
        let engine = made(&mut self.engine, &self.parsed)?;
        if engine.tree.refers() {
            return Ok(self.find(text, 0)?.is_some());
        }
        Ok(engine.search(&mut Run::new(text, 0), 0)?.is_some())
    }

    /// The first match from a place on.
    ///
    /// # Errors
    /// A text that takes too long.
    pub(crate) fn find(&mut self, text: &str, from: usize) -> Result<Option<Match>, Report> {
        self.find_more(text, from, &mut 0)
    }

    /// The same, of several matches in one text, which all its steps together bound.
    ///
    /// # Errors
    /// A text that takes too long.
    pub(crate) fn find_more(
        &mut self,
        text: &str,
        from: usize,
        steps: &mut usize,
    ) -> Result<Option<Match>, Report> {
        let (mut begin, mut last) = (from, text.len());
        if let Some(plain) = &self.plain {
            let Some(found) = plain.find(Input::new(text).span(from..text.len())) else {
                return Ok(None);
            };
            (begin, last) = (found.start(), found.start());
        }
        let engine = made(&mut self.engine, &self.parsed)?;
        let mut run = Run::new(text, *steps);
        if self.plain.is_none() {
            let Some(end) = engine.search(&mut run, from)? else { return Ok(None) };
            last = if engine.tree.refers() { last } else { end };
        }
        let mut division = Division {
            network: &engine.network,
            machines: &mut engine.machines,
            run,
            groups: vec![None; self.parsed.groups.len()],
            any_case: self.parsed.flags.any_case,
        };
        loop {
            let found = division.from(&engine.tree, begin)?;
            *steps = division.run.steps();
            if let Some(end) = found {
                return Ok(Some(Match { whole: (begin, end), groups: division.groups }));
            }
            match division.run.after(begin) {
                Some(next) if next <= last => begin = next,
                _ => return Ok(None),
            }
        }
    }
}

fn made<'a>(engine: &'a mut Option<Engine>, parsed: &Parsed) -> Result<&'a mut Engine, Report> {
    Ok(match engine {
        Some(engine) => engine,
        None => engine.insert(Engine::new(parsed)?),
    })
}

impl Division<'_, '_> {
    /// Where the match ends that begins at a place.
    fn from(&mut self, tree: &Tree, begin: usize) -> Result<Option<usize>, Report> {
        let (mut least, mut most) = (begin, self.run.text.len());
        loop {
            let wanted = if tree.is_short() { Wanted::From(least) } else { Wanted::Longest };
            let Some(end) = self.end(tree, (begin, most), wanted)? else { return Ok(None) };
            if self.groups.is_empty() || self.divide(tree, (begin, end))? {
                return Ok(Some(end));
            }
            self.groups.fill(None);
            let next = match tree.is_short() {
                true => self.run.after(end).filter(|_| end < most),
                false => self.run.before(end).filter(|_| end > begin),
            };
            let Some(next) = next else { return Ok(None) };
            if tree.is_short() { least = next } else { most = next }
        }
    }
}

/// A pattern with what it was compiled from.
type Kept = (String, Flags, Rc<RefCell<Pattern>>);

thread_local! {
    /// The patterns that were used last, the newest first.
    static PATTERNS: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

/// A pattern, compiled once as long as the thread keeps it.
///
/// # Errors
/// What is none, in PostgreSQL's words.
pub(crate) fn compiled(pattern: &str, flags: Flags) -> Result<Rc<RefCell<Pattern>>, Report> {
    PATTERNS.with_borrow_mut(|known| {
        let place = known.iter().position(|(text, with, _)| *with == flags && text == pattern);
        let entry = match place {
            Some(0) => return Ok(Rc::clone(&known[0].2)),
            Some(place) => known.remove(place),
            None => {
                let new = Rc::new(RefCell::new(Pattern::new(pattern, flags)?));
                known.truncate(KEPT - 1);
                (pattern.to_owned(), flags, new)
            }
        };
        let found = Rc::clone(&entry.2);
        known.insert(0, entry);
        Ok(found)
    })
}

/// The text of a span.
pub(crate) fn part(text: &str, (from, until): Span) -> &str {
    text.get(from..until).unwrap_or_default()
}
