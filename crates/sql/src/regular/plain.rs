//! A regular expression in the terms of the library `regex`: whether there is a match, and where the first
//! one begins, is the same there, whatever a part prefers. Where it ends is not.

use regex_automata::meta::{Config, Regex};
use regex_syntax::hir::{Class, Hir, Look, Repetition};

use super::syntax::{Anchor, Bounds, Node};

/// Bytes that the library remembers of texts.
const REMEMBERED_MAX: usize = 1 << 20;
/// Bytes of a compiled expression.
const COMPILED_MAX: usize = 4 << 20;

/// The library's own; None for what looks around or back, and for what is too large for it.
pub(super) fn plain(node: &Node) -> Option<Regex> {
    if node.looks() {
        return None;
    }
    let config =
        Config::new().hybrid_cache_capacity(REMEMBERED_MAX).nfa_size_limit(Some(COMPILED_MAX));
    Regex::builder().configure(config).build_from_hir(&hir(node)).ok()
}

fn hir(node: &Node) -> Hir {
    match node {
        Node::Empty | Node::Around(_) | Node::Back(_) => Hir::empty(),
        Node::Set(set) => Hir::class(Class::Unicode(set.clone())),
        Node::Anchor(anchor) => Hir::look(look(*anchor)),
        Node::Group(_, inner) => hir(inner),
        Node::Concat(parts) => Hir::concat(parts.iter().map(hir).collect()),
        Node::Alternate(parts) => Hir::alternation(parts.iter().map(hir).collect()),
        Node::Repeat(inner, Bounds { least, most }, _) => {
            let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            let (min, max) = (number(*least), most.map(number));
            Hir::repetition(Repetition { min, max, greedy: true, sub: Box::new(hir(inner)) })
        }
    }
}

fn look(anchor: Anchor) -> Look {
    match anchor {
        Anchor::Start => Look::Start,
        Anchor::End => Look::End,
        Anchor::LineStart => Look::StartLF,
        Anchor::LineEnd => Look::EndLF,
        Anchor::WordStart => Look::WordStartUnicode,
        Anchor::WordEnd => Look::WordEndUnicode,
        Anchor::WordBoundary => Look::WordUnicode,
        Anchor::NoWordBoundary => Look::WordUnicodeNegate,
    }
}
