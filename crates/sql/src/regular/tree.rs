//! How a match is divided among the parts of a regular expression.
//!
//! PostgreSQL finds a match in two steps: where the whole of it ends, by what the whole pattern prefers;
//! and then, from the outside to the inside, what each part of it takes of that. Parts that hold no group,
//! no back-reference and no two preferences need not be divided: they are [`Shape::Plain`]. The rules for
//! which parts these are, and what a part prefers, are those of PostgreSQL 15's compiler, since they can be
//! seen in what a group holds.

use super::syntax::{Bounds, Node, Preference};

/// Prefers the longest match.
const LONGER: u8 = 1;
/// Prefers the shortest match.
const SHORTER: u8 = 2;
/// Parts of it prefer different ones.
const MIXED: u8 = 4;
/// A group is in it.
const CAPTURES: u8 = 8;
/// A back-reference is in it.
const REFERS: u8 = 16;

const PREFERENCE: u8 = LONGER | SHORTER;

fn of(preference: Preference) -> u8 {
    match preference {
        Preference::Longest => LONGER,
        Preference::Shortest => SHORTER,
        Preference::Operand => 0,
    }
}

/// What goes from parts to the whole.
fn upwards(flags: u8) -> u8 {
    let is_mixed = flags & PREFERENCE == PREFERENCE;
    (flags & !PREFERENCE) | if is_mixed { MIXED } else { 0 }
}

/// The flags of two parts behind each other: the first one with a preference decides.
fn combined(first: u8, second: u8) -> u8 {
    let preference = match first & PREFERENCE {
        0 => second & PREFERENCE,
        preference => preference,
    };
    upwards(first | second) | preference
}

fn must_divide(flags: u8) -> bool {
    flags & (MIXED | CAPTURES | REFERS) != 0
}

/// How the text of a part is divided.
#[derive(Debug)]
pub(super) enum Shape {
    Plain(Node),
    Concat(Box<Tree>, Box<Tree>),
    Alternate(Vec<Tree>),
    Repeat(Box<Tree>, Bounds),
    /// A group that holds nothing but another one.
    Group(Box<Tree>),
    /// A back-reference, and what its group can hold.
    Back {
        group: usize,
        bounds: Bounds,
        like: Node,
    },
}

/// A part.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) shape: Shape,
    /// The group that this part is.
    pub(super) group: Option<usize>,
    /// Its automaton; [`super::automata`] gives them out.
    pub(super) automaton: usize,
    flags: u8,
}

impl Tree {
    fn new(shape: Shape, flags: u8) -> Tree {
        Tree { shape, group: None, automaton: 0, flags }
    }

    fn plain(nodes: Vec<Node>, flags: u8) -> Tree {
        Tree::new(Shape::Plain(Node::Concat(nodes)), flags)
    }

    fn concat(first: Tree, second: Tree, flags: u8) -> Tree {
        Tree::new(Shape::Concat(Box::new(first), Box::new(second)), flags)
    }

    /// True if the shortest match is wanted.
    pub(super) fn is_short(&self) -> bool {
        self.flags & SHORTER != 0
    }

    /// True if a back-reference is in it.
    pub(super) fn refers(&self) -> bool {
        self.flags & REFERS != 0
    }

    fn into_group(mut self, number: usize) -> Tree {
        if self.group.is_some() {
            let flags = self.flags | CAPTURES;
            self = Tree::new(Shape::Group(Box::new(self)), flags);
        }
        self.flags |= CAPTURES;
        self.group = Some(number);
        self
    }
}

/// The tree of a pattern.
pub(super) fn tree(node: &Node, groups: &[Option<Node>]) -> Tree {
    match node {
        Node::Alternate(branches) => {
            let mut flags = LONGER;
            let mut parts = Vec::with_capacity(branches.len());
            for branch in branches {
                let part = tree(branch, groups);
                flags |= upwards(flags | part.flags);
                parts.push(part);
            }
            match must_divide(flags) {
                true => Tree::new(Shape::Alternate(parts), flags),
                false => Tree::new(Shape::Plain(node.clone()), flags),
            }
        }
        Node::Concat(parts) => branch(parts, groups),
        other => branch(std::slice::from_ref(other), groups),
    }
}

/// Parts behind each other: what needs no division, the first part that does, and the rest.
fn branch(parts: &[Node], groups: &[Option<Node>]) -> Tree {
    let (mut plain, mut flags) = (Vec::new(), 0);
    for (at, part) in parts.iter().enumerate() {
        let (atom, bounds, preference) = match part {
            Node::Repeat(atom, bounds, preference) => (atom.as_ref(), *bounds, of(*preference)),
            atom => (atom, Bounds::ONCE, 0),
        };
        if bounds.is_never() {
            continue;
        }
        let (inner, divides) = operand(atom, bounds, groups);
        let all = flags | preference | inner.as_ref().map_or(0, |inner| inner.flags);
        if !divides && !must_divide(upwards(all)) {
            plain.push(part.clone());
            flags = all;
            continue;
        }
        let inner = inner.unwrap_or_else(|| Tree::plain(vec![atom.clone()], 0));
        let upper = combined(preference, inner.flags);
        let part = repeated(inner, atom, bounds, preference);
        let before = (at > 0).then(|| Tree::plain(plain, flags));
        return divided(before, part, (flags, upper), &parts[at + 1..], groups);
    }
    Tree::plain(plain, flags)
}

/// The tree of what is quantified, if it has one; and whether it always divides.
fn operand(atom: &Node, bounds: Bounds, groups: &[Option<Node>]) -> (Option<Tree>, bool) {
    match atom {
        Node::Group(Some(number), node) => (Some(tree(node, groups).into_group(*number)), true),
        Node::Group(None, node) => (Some(tree(node, groups)), false),
        Node::Back(group) => {
            let like = groups.get(group - 1).cloned().flatten().unwrap_or(Node::Empty);
            let shape = Shape::Back { group: *group, bounds, like: like.without_anchors() };
            (Some(Tree::new(shape, REFERS)), true)
        }
        _ => (None, false),
    }
}

/// A part with its quantifier.
fn repeated(mut inner: Tree, atom: &Node, bounds: Bounds, preference: u8) -> Tree {
    let flags = combined(preference, inner.flags);
    let own = inner.flags & (PREFERENCE | MIXED);
    if matches!(atom, Node::Back(_)) {
        inner.flags |= flags;
        return inner;
    }
    if bounds == Bounds::ONCE && (preference == 0 || own == 0 || preference == own) {
        return inner;
    }
    let times = |bounds| Node::Repeat(Box::new(atom.clone()), bounds, Preference::Operand);
    if inner.flags & (CAPTURES | REFERS) == 0 {
        return Tree::plain(vec![times(bounds)], flags);
    }
    if bounds.least > 0 && inner.flags & REFERS == 0 {
        // Only the last time is seen.
        let before = Tree::plain(vec![times(bounds.before_last())], flags & PREFERENCE);
        return Tree::concat(before, inner, flags);
    }
    Tree::new(Shape::Repeat(Box::new(inner), bounds), flags)
}

/// What stands before a part that must be divided, the part, and the rest of the branch.
fn divided(
    before: Option<Tree>,
    part: Tree,
    (mut flags, mut upper): (u8, u8),
    rest: &[Node],
    groups: &[Option<Node>],
) -> Tree {
    if rest.is_empty() {
        flags |= combined(flags, part.flags);
        return match before {
            None => part,
            Some(before) => Tree::concat(before, part, flags),
        };
    }
    let rest = branch(rest, groups);
    upper |= combined(upper, rest.flags);
    flags |= combined(flags, upper);
    let Some(before) = before else { return Tree::concat(part, rest, flags) };
    let merges = part.group.is_none() && !must_divide(upwards(part.flags | rest.flags));
    let behind = match (&part.shape, &rest.shape) {
        (Shape::Plain(first), Shape::Plain(second)) if merges => {
            let flags = combined(part.flags, rest.flags);
            Tree::plain(vec![first.clone(), second.clone()], flags)
        }
        _ => Tree::concat(part, rest, upper),
    };
    Tree::concat(before, behind, flags)
}
