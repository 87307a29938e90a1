//! The automata of a pattern's parts: one network of states, in which each part has a first and a last one.
//!
//! Characters that no set of the pattern tells apart have one color, and the network has colors for
//! characters. A back-reference stands there as whatever its group can hold: what it held is compared when
//! a match is divided ([`super::divide`]).

use super::classes::word;
use super::syntax::{Anchor, Around, Bounds, Node, Set, Wrong, range};
use super::tree::{Shape, Tree};

/// States of a network.
const STATES_MAX: usize = 50_000;
/// How often parts may be repeated, those without a state of their own too.
const REPEATED_MAX: usize = 200_000;
/// Sets times runs of characters that may be compared.
const COLORS_MAX: usize = 16 << 20;

/// A state of the network.
#[derive(Debug)]
pub(super) enum State {
    /// A character of a set, and the state behind it.
    Set(usize, usize),
    /// All of them at once.
    Split(Vec<usize>),
    /// Another state, if this holds here.
    Anchor(Anchor, usize),
    /// Another state, if what is around is so; by its place in the network's list.
    Around(usize, usize),
    /// The end of a part.
    End,
}

/// Where a part begins and ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Automaton {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What is looked at around a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) is_behind: bool,
    pub(super) is_negative: bool,
    pub(super) automaton: Automaton,
}

/// What kind of character stands beside a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Beside {
    /// None: it is an end of the text.
    Nothing,
    Newline,
    Word,
    Other,
}

/// The states of all parts.
#[derive(Debug, Default)]
pub(super) struct Network {
    pub(super) states: Vec<State>,
    pub(super) automata: Vec<Automaton>,
    pub(super) looks: Vec<Look>,
    sets: Vec<Set>,
    /// By set, by color, whether it is in the set.
    pub(super) has_color: Vec<Vec<bool>>,
    pub(super) colors: Colors,
    repeated: usize,
}

/// The colors of characters.
#[derive(Debug, Default)]
pub(super) struct Colors {
    ascii: Vec<usize>,
    /// First characters of runs, and their colors.
    runs: Vec<(char, usize)>,
    /// By color what such a character is to its neighbours.
    pub(super) kinds: Vec<Beside>,
}

impl Colors {
    pub(super) fn of(&self, c: char) -> usize {
        if let Some(color) = self.ascii.get(c as usize) {
            return *color;
        }
        let run = self.runs.partition_point(|(first, _)| *first <= c);
        run.checked_sub(1).and_then(|run| self.runs.get(run)).map_or(0, |(_, color)| *color)
    }

    pub(super) fn count(&self) -> usize {
        self.kinds.len()
    }
}

impl Network {
    /// The network of a pattern; its parts get their automata. The last one finds where the first match
    /// ends, wherever that starts.
    pub(super) fn new(tree: &mut Tree) -> Result<Network, Wrong> {
        let mut network = Network::default();
        let end = network.add(State::End)?;
        let start = network.tree(tree, end)?;
        let anything = network.set(&range('\0', char::MAX));
        let loops = network.states.len();
        network.add(State::Split(vec![start, loops + 1]))?;
        network.add(State::Set(anything, loops))?;
        network.automata.push(Automaton { start: loops, end });
        network.paint()?;
        Ok(network)
    }

    fn add(&mut self, state: State) -> Result<usize, Wrong> {
        if self.states.len() >= STATES_MAX {
            return Err(Wrong::TOO_COMPLEX);
        }
        self.states.push(state);
        Ok(self.states.len() - 1)
    }

    fn set(&mut self, set: &Set) -> usize {
        let known = self.sets.iter().rev().take(64).position(|known| known == set);
        if let Some(back) = known {
            return self.sets.len() - 1 - back;
        }
        self.sets.push(set.clone());
        self.sets.len() - 1
    }

    /// The automata of a part and of those in it, which end at a state.
    fn tree(&mut self, tree: &mut Tree, end: usize) -> Result<usize, Wrong> {
        let start = match &mut tree.shape {
            Shape::Plain(node) => self.node(node, end)?,
            Shape::Back { bounds, like, .. } => {
                self.repeat(*bounds, end, |this, end| this.node(like, end))?
            }
            Shape::Group(inner) => self.tree(inner, end)?,
            Shape::Concat(first, second) => {
                let behind = self.tree(second, end)?;
                let own = self.add(State::End)?;
                self.tree(first, own)?;
                self.like(first, behind)?
            }
            Shape::Alternate(branches) => {
                let starts = branches
                    .iter_mut()
                    .map(|branch| self.tree(branch, end))
                    .collect::<Result<_, _>>()?;
                self.add(State::Split(starts))?
            }
            Shape::Repeat(inner, bounds) => {
                let own = self.add(State::End)?;
                self.tree(inner, own)?;
                self.repeat(*bounds, end, |this, end| this.like(inner, end))?
            }
        };
        tree.automaton = self.automata.len();
        self.automata.push(Automaton { start, end });
        Ok(start)
    }

    /// The states of what a part matches, apart from its own automaton.
    fn like(&mut self, tree: &Tree, end: usize) -> Result<usize, Wrong> {
        match &tree.shape {
            Shape::Plain(node) => self.node(node, end),
            Shape::Back { bounds, like, .. } => {
                self.repeat(*bounds, end, |this, end| this.node(like, end))
            }
            Shape::Group(inner) => self.like(inner, end),
            Shape::Concat(first, second) => {
                let behind = self.like(second, end)?;
                self.like(first, behind)
            }
            Shape::Alternate(branches) => {
                let starts = branches.iter().map(|branch| self.like(branch, end));
                let starts = starts.collect::<Result<_, _>>()?;
                self.add(State::Split(starts))
            }
            Shape::Repeat(inner, bounds) => {
                self.repeat(*bounds, end, |this, end| this.like(inner, end))
            }
        }
    }

    fn node(&mut self, node: &Node, end: usize) -> Result<usize, Wrong> {
        match node {
            Node::Empty | Node::Back(_) => Ok(end),
            Node::Set(set) => {
                let set = self.set(set);
                self.add(State::Set(set, end))
            }
            Node::Anchor(anchor) => self.add(State::Anchor(*anchor, end)),
            Node::Around(around) => {
                let look = self.look(around)?;
                self.add(State::Around(look, end))
            }
            Node::Group(_, inner) => self.node(inner, end),
            Node::Concat(parts) => {
                parts.iter().rev().try_fold(end, |end, part| self.node(part, end))
            }
            Node::Alternate(branches) => {
                let starts = branches.iter().map(|branch| self.node(branch, end));
                let starts = starts.collect::<Result<_, _>>()?;
                self.add(State::Split(starts))
            }
            Node::Repeat(inner, bounds, _) => {
                self.repeat(*bounds, end, |this, end| this.node(inner, end))
            }
        }
    }

    fn repeat(
        &mut self,
        bounds: Bounds,
        end: usize,
        mut part: impl FnMut(&mut Network, usize) -> Result<usize, Wrong>,
    ) -> Result<usize, Wrong> {
        let mut start = end;
        match bounds.most {
            None => {
                let loops = self.add(State::Split(Vec::new()))?;
                let inner = part(self, loops)?;
                if let Some(State::Split(to)) = self.states.get_mut(loops) {
                    *to = vec![inner, end];
                }
                start = loops;
            }
            Some(most) => {
                for _ in bounds.least..most {
                    self.again()?;
                    let inner = part(self, start)?;
                    start = self.add(State::Split(vec![inner, end]))?;
                }
            }
        }
        for _ in 0..bounds.least {
            self.again()?;
            start = part(self, start)?;
        }
        Ok(start)
    }

    /// A part is repeated once more.
    fn again(&mut self) -> Result<(), Wrong> {
        self.repeated += 1;
        if self.repeated > REPEATED_MAX { Err(Wrong::TOO_COMPLEX) } else { Ok(()) }
    }

    fn look(&mut self, around: &Around) -> Result<usize, Wrong> {
        let end = self.add(State::End)?;
        let start = match around.is_behind {
            true => self.node(&around.node.clone().reversed(), end)?,
            false => self.node(&around.node, end)?,
        };
        let Around { is_behind, is_negative, .. } = *around;
        self.looks.push(Look { is_behind, is_negative, automaton: Automaton { start, end } });
        Ok(self.looks.len() - 1)
    }

    /// Gives characters their colors: runs of characters that are in the same sets have the same one.
    fn paint(&mut self) -> Result<(), Wrong> {
        let anchored = self.states.iter().any(|state| matches!(state, State::Anchor(..)));
        let mut sets: Vec<Set> = self.sets.clone();
        if anchored {
            sets.extend([range('\n', '\n'), word().clone()]);
        }
        let mut firsts = vec!['\0'];
        for part in sets.iter().flat_map(|set| set.ranges()) {
            firsts.push(part.start());
            firsts.extend(following(part.end()));
        }
        firsts.sort_unstable();
        firsts.dedup();
        if sets.len().saturating_mul(firsts.len()) > COLORS_MAX {
            return Err(Wrong::TOO_COMPLEX);
        }
        let mut members: Vec<Vec<bool>> = vec![Vec::with_capacity(sets.len()); firsts.len()];
        for set in &sets {
            let mut ranges = set.ranges().iter().peekable();
            for (first, members) in firsts.iter().zip(&mut members) {
                while ranges.next_if(|part| part.end() < *first).is_some() {}
                members.push(ranges.peek().is_some_and(|part| part.start() <= *first));
            }
        }
        let mut kinds: Vec<&Vec<bool>> = members.iter().collect();
        kinds.sort_unstable();
        kinds.dedup();
        let color = |members: &Vec<bool>| kinds.binary_search(&members).unwrap_or(0);
        let runs = firsts.iter().zip(&members).map(|(first, members)| (*first, color(members)));
        self.colors.runs = runs.collect();
        self.has_color = (0..self.sets.len())
            .map(|set| kinds.iter().map(|members| members.get(set) == Some(&true)).collect())
            .collect();
        let beside = |members: &&Vec<bool>| match members.get(self.sets.len()..) {
            Some([true, _]) => Beside::Newline,
            Some([_, true]) => Beside::Word,
            _ => Beside::Other,
        };
        self.colors.kinds = kinds.iter().map(beside).collect();
        let ascii = ('\0'..='\x7f').map(|c| self.colors.of(c)).collect();
        self.colors.ascii = ascii;
        Ok(())
    }
}

/// The character behind another one.
fn following(c: char) -> Option<char> {
    (c..=char::MAX).nth(1)
}
