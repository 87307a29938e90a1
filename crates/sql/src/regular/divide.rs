//! What each group of a pattern holds of a match: the match is divided among the pattern's parts, from the
//! left, each with the longest (or shortest) text with which the rest still matches.

use millrace_types::Report;

use super::automata::Network;
use super::classes::folded;
use super::machine::{Machine, Run, Wanted};
use super::syntax::Bounds;
use super::tree::{Shape, Tree};

/// Places in a text.
pub(super) type Span = (usize, usize);

/// A match that is divided.
pub(super) struct Division<'a, 't> {
    pub(super) network: &'a Network,
    pub(super) machines: &'a mut [Machine],
    pub(super) run: Run<'t>,
    /// By group; from group 1.
    pub(super) groups: Vec<Option<Span>>,
    pub(super) any_case: bool,
}

/// The places at which the repetitions of a part end.
struct Ends {
    places: Vec<usize>,
    /// So many of them divide their texts.
    divided: usize,
    least: usize,
    most: usize,
    end: usize,
}

impl Division<'_, '_> {
    /// Where a part ends that begins at a place.
    pub(super) fn end(
        &mut self,
        tree: &Tree,
        span: Span,
        wanted: Wanted,
    ) -> Result<Option<usize>, Report> {
        self.machines[tree.automaton].end(self.network, &mut self.run, span, wanted)
    }

    fn matches(&mut self, tree: &Tree, (from, until): Span) -> Result<bool, Report> {
        Ok(self.end(tree, (from, until), Wanted::From(until))?.is_some())
    }

    /// Divides a text, which the part matches as far as its automaton knows; false if it can't be.
    pub(super) fn divide(&mut self, tree: &Tree, (from, until): Span) -> Result<bool, Report> {
        self.run.count(1)?;
        let fits = match &tree.shape {
            Shape::Plain(_) => true,
            Shape::Group(inner) => self.divide(inner, (from, until))?,
            Shape::Back { group, bounds, .. } => self.is_again(*group, *bounds, (from, until)),
            Shape::Concat(first, second) => self.in_two(first, second, (from, until))?,
            Shape::Alternate(branches) => {
                let mut fits = false;
                for branch in branches {
                    fits = self.matches(branch, (from, until))?
                        && self.divide(branch, (from, until))?;
                    if fits {
                        break;
                    }
                }
                fits
            }
            Shape::Repeat(inner, bounds) => self.repeat(inner, *bounds, (from, until))?,
        };
        if let Some(group) = tree.group.filter(|_| fits) {
            self.groups[group - 1] = Some((from, until));
        }
        Ok(fits)
    }

    fn in_two(&mut self, first: &Tree, second: &Tree, (from, until): Span) -> Result<bool, Report> {
        let is_short = first.is_short();
        let wanted = if is_short { Wanted::From(from) } else { Wanted::Longest };
        let mut middle = self.end(first, (from, until), wanted)?;
        while let Some(place) = middle {
            if self.matches(second, (place, until))?
                && self.divide(first, (from, place))?
                && self.divide(second, (place, until))?
            {
                return Ok(true);
            }
            self.clear(first);
            self.clear(second);
            let next = match is_short {
                true => self.run.after(place).filter(|_| place < until),
                false => self.run.before(place).filter(|_| place > from),
            };
            let Some(next) = next else { break };
            middle = match is_short {
                true => self.end(first, (from, until), Wanted::From(next))?,
                false => self.end(first, (from, next), Wanted::Longest)?,
            };
        }
        Ok(false)
    }

    /// Forgets what the groups of a part hold.
    fn clear(&mut self, tree: &Tree) {
        if let Some(group) = tree.group {
            self.groups[group - 1] = None;
        }
        match &tree.shape {
            Shape::Plain(_) | Shape::Back { .. } => {}
            Shape::Group(inner) | Shape::Repeat(inner, _) => self.clear(inner),
            Shape::Concat(first, second) => {
                self.clear(first);
                self.clear(second);
            }
            Shape::Alternate(branches) => branches.iter().for_each(|branch| self.clear(branch)),
        }
    }

    /// True if a text is what a group holds, so many times.
    fn is_again(&self, group: usize, bounds: Bounds, (from, until): Span) -> bool {
        let Some(Some((start, end))) = self.groups.get(group - 1).copied() else { return false };
        let held = self.run.text.get(start..end).unwrap_or_default();
        let text = self.run.text.get(from..until).unwrap_or_default();
        if held.is_empty() {
            return text.is_empty();
        }
        let mut times = 0;
        let mut chars = text.chars().peekable();
        while chars.peek().is_some() {
            let is_same = |c: char, other: Option<char>| match other {
                Some(other) => c == other || self.any_case && folded(c) == folded(other),
                None => false,
            };
            if !held.chars().all(|c| is_same(c, chars.next())) {
                return false;
            }
            times += 1;
        }
        times >= bounds.least && bounds.most.is_none_or(|most| times <= most)
    }

    /// Divides a text among the repetitions of a part.
    fn repeat(
        &mut self,
        inner: &Tree,
        bounds: Bounds,
        (from, until): Span,
    ) -> Result<bool, Report> {
        let least = bounds.least.max(1);
        let most = bounds.most.map_or(usize::MAX, |most| most.min(until - from)).max(least);
        let most = most.min((until - from).max(least));
        let mut ends = Ends { places: vec![from], divided: 0, least, most, end: until };
        self.clear(inner);
        let may_be_none = bounds.least == 0 && from == until;
        if inner.is_short() {
            return Ok(may_be_none || self.shortest(inner, &mut ends)?);
        }
        if self.longest(inner, &mut ends)? {
            return Ok(true);
        }
        self.clear(inner);
        Ok(may_be_none)
    }

    /// True if all repetitions divide their texts.
    fn all_divide(&mut self, inner: &Tree, ends: &mut Ends) -> Result<bool, Report> {
        for at in ends.divided + 1..ends.places.len() {
            self.clear(inner);
            let span = (ends.places[at - 1], ends.places[at]);
            if !self.divide(inner, span)? {
                return Ok(false);
            }
            ends.divided = at;
        }
        Ok(true)
    }

    fn longest(&mut self, inner: &Tree, ends: &mut Ends) -> Result<bool, Report> {
        let mut limit = ends.end;
        loop {
            self.run.count(1)?;
            let count = ends.places.len();
            let last = ends.places[count - 1];
            let end = self.end(inner, (last, limit), Wanted::Longest)?;
            ends.divided = ends.divided.min(count - 1);
            if let Some(end) = end {
                ends.places.push(end);
                if end != ends.end {
                    if count < ends.most && !(end == last && self.is_vain(ends, count, end)) {
                        limit = ends.end;
                        continue;
                    }
                    // The last one that may be must reach the end: one before it has to be shorter.
                    if count >= ends.most {
                        ends.places.pop();
                    }
                } else if count >= ends.least && self.all_divide(inner, ends)? {
                    return Ok(true);
                }
            }
            let Some(shorter) = self.shortened(ends) else { return Ok(false) };
            limit = shorter;
        }
    }

    /// True if a repetition of nothing brings nothing.
    fn is_vain(&self, ends: &Ends, count: usize, at: usize) -> bool {
        count >= ends.least || ends.least - count < self.chars(at, ends.end)
    }

    /// Takes the last repetition back that can be shorter: before which place it must end now.
    fn shortened(&self, ends: &mut Ends) -> Option<usize> {
        while let [.., before, last] = ends.places[..] {
            let count = ends.places.len() - 1;
            ends.places.pop();
            if last > before {
                let limit = self.run.before(last)?;
                let may_be_empty =
                    count < ends.least && ends.least - count >= self.chars(before, ends.end);
                if limit > before || may_be_empty {
                    return Some(limit);
                }
            }
        }
        None
    }

    fn shortest(&mut self, inner: &Tree, ends: &mut Ends) -> Result<bool, Report> {
        let mut limit = ends.places[0];
        loop {
            self.run.count(1)?;
            let count = ends.places.len();
            let last = ends.places[count - 1];
            if limit == last && limit != ends.end && self.is_vain(ends, count, limit) {
                limit = self.run.after(limit).unwrap_or(ends.end);
            }
            if count >= ends.most {
                limit = ends.end;
            }
            let end = self.end(inner, (last, ends.end), Wanted::From(limit))?;
            ends.divided = ends.divided.min(count - 1);
            if let Some(end) = end {
                ends.places.push(end);
                if end != ends.end && count < ends.most {
                    limit = end;
                    continue;
                }
                if end != ends.end {
                    ends.places.pop();
                } else if count >= ends.least && self.all_divide(inner, ends)? {
                    return Ok(true);
                }
            }
            let Some(longer) = self.lengthened(ends) else { return Ok(false) };
            limit = longer;
        }
    }

    /// Takes the last repetition back that can be longer: from which place on it must end now.
    fn lengthened(&self, ends: &mut Ends) -> Option<usize> {
        while let [.., _, last] = ends.places[..] {
            ends.places.pop();
            if last < ends.end {
                return self.run.after(last);
            }
        }
        None
    }

    fn chars(&self, from: usize, until: usize) -> usize {
        self.run.text.get(from..until).unwrap_or_default().chars().count()
    }
}
