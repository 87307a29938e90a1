//! The automaton of one part as it runs: sets of states of the network, each made when a text first leads
//! there, and remembered.
//!
//! Whether a part ends at a place is known when the character behind the place is: `$` and `\M` ask for it.
//!
//! Invariants: 1. what is remembered stays below a bound: then all of it is forgotten. 2. steps are counted,
//! and a text that takes more than [`steps_max`] is refused, so that no pattern hangs the engine.

use std::collections::BTreeMap;

use millrace_types::{Report, SqlState};

use super::automata::{Automaton, Beside, Look, Network, State};
use super::syntax::Anchor;

/// A transition that is not known yet.
const UNKNOWN: usize = usize::MAX;
/// The set of no states.
const DEAD: usize = 0;
/// Bytes of a set beside its states.
const SET_BYTES: usize = 128;
/// So many states of a network that are not looked at cost about as much as a step.
const STATES_OF_A_STEP: usize = 64;

/// A text, and what was done with it.
pub(super) struct Run<'t> {
    pub(super) text: &'t str,
    steps: usize,
}

/// Steps that a text may take.
fn steps_max(text: &str) -> usize {
    text.len().saturating_mul(100).saturating_add(5_000_000)
}

impl<'t> Run<'t> {
    /// Over a text for which so many steps have been taken.
    pub(super) fn new(text: &'t str, steps: usize) -> Run<'t> {
        Run { text, steps }
    }

    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    pub(super) fn count(&mut self, steps: usize) -> Result<(), Report> {
        self.steps += steps;
        if self.steps <= steps_max(self.text) {
            return Ok(());
        }
        let message = "regular expression failed: it takes too many steps for this text";
        let report = Report::new(SqlState::STATEMENT_TOO_COMPLEX, message);
        Err(report.hint("Write it with fewer back-references or repeated groups."))
    }

    pub(super) fn char_at(&self, at: usize) -> Option<char> {
        self.text.get(at..)?.chars().next()
    }

    pub(super) fn char_before(&self, at: usize) -> Option<char> {
        self.text.get(..at)?.chars().next_back()
    }

    /// The place one character on.
    pub(super) fn after(&self, at: usize) -> Option<usize> {
        self.char_at(at).map(|c| at + c.len_utf8())
    }

    /// The place one character back.
    pub(super) fn before(&self, at: usize) -> Option<usize> {
        self.char_before(at).map(|c| at - c.len_utf8())
    }

    /// What stands before and behind a place.
    fn beside(&self, network: &Network, at: usize) -> (Beside, Beside) {
        let kind = |c: Option<char>| match c {
            Some(c) => kind(network, network.colors.of(c)),
            None => Beside::Nothing,
        };
        (kind(self.char_before(at)), kind(self.char_at(at)))
    }
}

fn kind(network: &Network, color: usize) -> Beside {
    network.colors.kinds.get(color).copied().unwrap_or(Beside::Nothing)
}

fn holds(anchor: Anchor, (before, after): (Beside, Beside)) -> bool {
    let (left, right) = (before == Beside::Word, after == Beside::Word);
    match anchor {
        Anchor::Start => before == Beside::Nothing,
        Anchor::End => after == Beside::Nothing,
        Anchor::LineStart => matches!(before, Beside::Nothing | Beside::Newline),
        Anchor::LineEnd => matches!(after, Beside::Nothing | Beside::Newline),
        Anchor::WordStart => !left && right,
        Anchor::WordEnd => left && !right,
        Anchor::WordBoundary => left != right,
        Anchor::NoWordBoundary => left == right,
    }
}

/// The states that are reached from some without a character.
struct Reached {
    states: Vec<usize>,
    /// Whether that depends on more than the two characters beside the place.
    looked: bool,
}

impl Reached {
    fn from(
        network: &Network,
        from: &[usize],
        beside: (Beside, Beside),
        (run, at): (&mut Run<'_>, usize),
    ) -> Result<Reached, Report> {
        run.count(from.len() + network.states.len() / STATES_OF_A_STEP)?;
        let mut seen = vec![false; network.states.len()];
        let mut reached = Reached { states: Vec::new(), looked: false };
        let mut open: Vec<usize> = from.to_vec();
        while let Some(id) = open.pop() {
            if std::mem::replace(&mut seen[id], true) {
                continue;
            }
            match &network.states[id] {
                State::Split(to) => open.extend(to),
                State::Anchor(anchor, to) if holds(*anchor, beside) => open.push(*to),
                State::Anchor(..) => {}
                State::Around(look, to) => {
                    reached.looked = true;
                    if is_around(network, network.looks[*look], run, at)? {
                        open.push(*to);
                    }
                }
                State::Set(..) | State::End => reached.states.push(id),
            }
        }
        Ok(reached)
    }

    /// The states behind a character, in order.
    fn behind(&self, network: &Network, color: usize) -> Vec<usize> {
        let to = |id: &usize| match &network.states[*id] {
            State::Set(set, to) if network.has_color[*set].get(color) == Some(&true) => Some(*to),
            _ => None,
        };
        let mut states: Vec<usize> = self.states.iter().filter_map(to).collect();
        states.sort_unstable();
        states.dedup();
        states
    }
}

/// True if what is looked at around a place is so.
fn is_around(
    network: &Network,
    look: Look,
    run: &mut Run<'_>,
    mut at: usize,
) -> Result<bool, Report> {
    let mut states = vec![look.automaton.start];
    while !states.is_empty() {
        let beside = run.beside(network, at);
        let reached = Reached::from(network, &states, beside, (run, at))?;
        if reached.states.contains(&look.automaton.end) {
            return Ok(!look.is_negative);
        }
        let next = if look.is_behind { run.char_before(at) } else { run.char_at(at) };
        let Some(c) = next else { break };
        at = if look.is_behind { at - c.len_utf8() } else { at + c.len_utf8() };
        states = reached.behind(network, network.colors.of(c));
    }
    Ok(look.is_negative)
}

/// Which places are asked for.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    Longest,
    /// The first one that is not before a place.
    From(usize),
}

/// A set of states, and what stands before it.
type Known = (Beside, Box<[usize]>);

/// The automaton of a part.
#[derive(Debug)]
pub(super) struct Machine {
    automaton: Automaton,
    sets: Vec<Known>,
    places: BTreeMap<Known, usize>,
    /// By set, by color: twice the next set, and 1 if the part ends here.
    next: Vec<usize>,
    bytes: usize,
    bytes_max: usize,
    /// How often all was forgotten.
    forgotten: usize,
}

impl Machine {
    pub(super) fn new(automaton: Automaton, bytes_max: usize) -> Machine {
        let mut machine = Machine {
            automaton,
            sets: Vec::new(),
            places: BTreeMap::new(),
            next: Vec::new(),
            bytes: 0,
            bytes_max,
            forgotten: 0,
        };
        machine.forget();
        machine
    }

    fn forget(&mut self) {
        self.places.clear();
        self.next.clear();
        self.bytes = 0;
        self.forgotten += 1;
        // Nothing leads away from it, so it needs no transitions.
        self.sets = vec![(Beside::Nothing, Box::default())];
    }

    fn place(&mut self, network: &Network, known: Known) -> usize {
        if known.1.is_empty() {
            return DEAD;
        }
        if let Some(place) = self.places.get(&known) {
            return *place;
        }
        let width = network.colors.count() + 1;
        let bytes = SET_BYTES + (width + 2 * known.1.len()) * size_of::<usize>();
        if self.bytes + bytes > self.bytes_max {
            self.forget();
        }
        self.bytes += bytes;
        self.sets.push(known.clone());
        self.places.insert(known, self.sets.len() - 1);
        self.next.resize((self.sets.len() - 1) * width, UNKNOWN);
        self.sets.len() - 1
    }

    /// Where the part ends that begins at a place, and not behind another one.
    pub(super) fn end(
        &mut self,
        network: &Network,
        run: &mut Run<'_>,
        (from, until): (usize, usize),
        wanted: Wanted,
    ) -> Result<Option<usize>, Report> {
        let width = network.colors.count() + 1;
        let (before, _) = run.beside(network, from);
        let mut set = self.place(network, (before, Box::new([self.automaton.start])));
        let (mut at, mut found) = (from, None);
        loop {
            let (color, length) = match run.char_at(at) {
                Some(c) => (network.colors.of(c), c.len_utf8()),
                None => (width - 1, 0),
            };
            let known = self.next.get((set - 1) * width + color).copied().unwrap_or(UNKNOWN);
            let next = match known {
                UNKNOWN => self.step(network, run, set, (at, color))?,
                known => known,
            };
            if next % 2 == 1 {
                match wanted {
                    Wanted::From(least) if at < least => {}
                    Wanted::From(_) => {
                        found = Some(at);
                        break;
                    }
                    Wanted::Longest => found = Some(at),
                }
            }
            set = next / 2;
            if at >= until || set == DEAD {
                break;
            }
            at += length;
        }
        run.count(at - from + 1)?;
        Ok(found)
    }

    fn step(
        &mut self,
        network: &Network,
        run: &mut Run<'_>,
        set: usize,
        (at, color): (usize, usize),
    ) -> Result<usize, Report> {
        let (before, states) = &self.sets[set];
        let after = kind(network, color);
        let reached = Reached::from(network, states, (*before, after), (run, at))?;
        let ends = reached.states.contains(&self.automaton.end);
        let forgotten = self.forgotten;
        let next = self.place(network, (after, reached.behind(network, color).into()));
        let next = next * 2 + usize::from(ends);
        // If all was forgotten, the set has gone.
        if !reached.looked && self.forgotten == forgotten {
            self.next[(set - 1) * (network.colors.count() + 1) + color] = next;
        }
        Ok(next)
    }
}
