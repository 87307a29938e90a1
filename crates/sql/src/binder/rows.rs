//! Which functions give rows, and the lists behind them: series, the elements of arrays, the parts of JSON.

use datafusion::logical_expr::Expr;
use datafusion::sql::sqlparser::ast::{ObjectName, ObjectNamePart};

use super::syntax::{is_named, is_series};
use crate::functions::{self, JsonFunction, Regexp};
use crate::names;

/// A function that gives rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowsOf {
    /// `generate_series`
    Series,
    /// `unnest`
    Arrays,
    /// `regexp_matches`, `regexp_split_to_table`
    Found(Regexp),
    /// The elements of a JSON array, or the keys of an object.
    Parts(JsonFunction),
    /// The members of an object: keys, and what this function gives.
    Members(JsonFunction),
}

impl RowsOf {
    /// The function of a name.
    pub(super) fn named(name: &ObjectName) -> Option<RowsOf> {
        if is_series(name) {
            return Some(RowsOf::Series);
        }
        if is_named(name, "unnest") {
            return Some(RowsOf::Arrays);
        }
        let found = [Regexp::AllGroups, Regexp::SplitRows];
        if let Some(found) = found.into_iter().find(|found| is_named(name, found.name())) {
            return Some(RowsOf::Found(found));
        }
        let name = name.0.last().and_then(ObjectNamePart::as_ident).map(names::fold)?;
        Some(match name.strip_prefix("jsonb_").or_else(|| name.strip_prefix("json_"))? {
            "array_elements" => RowsOf::Parts(JsonFunction::Elements),
            "array_elements_text" => RowsOf::Parts(JsonFunction::ElementsText),
            "object_keys" => RowsOf::Parts(JsonFunction::Keys),
            "path_query" => RowsOf::Parts(JsonFunction::PathQuery),
            "each" => RowsOf::Members(JsonFunction::Values),
            "each_text" => RowsOf::Members(JsonFunction::ValuesText),
            _ => return None,
        })
    }

    /// What a table of it is named that has no alias.
    pub(super) fn name(self) -> &'static str {
        match self {
            RowsOf::Series => "generate_series",
            RowsOf::Arrays => "unnest",
            RowsOf::Found(which) => which.name(),
            RowsOf::Parts(which) => which.name(),
            RowsOf::Members(JsonFunction::ValuesText) => "jsonb_each_text",
            RowsOf::Members(_) => "jsonb_each",
        }
    }

    /// The name that a column has whatever the table is named.
    pub(super) fn column(self, at: usize) -> Option<&'static str> {
        match self {
            RowsOf::Series
            | RowsOf::Arrays
            | RowsOf::Found(_)
            | RowsOf::Parts(JsonFunction::Keys | JsonFunction::PathQuery) => None,
            RowsOf::Parts(_) => (at == 0).then_some("value"),
            RowsOf::Members(_) => ["key", "value"].get(at).copied(),
        }
    }

    /// The lists that its rows come from, side by side.
    pub(super) fn lists(self, args: Vec<Expr>) -> Vec<Expr> {
        match self {
            RowsOf::Series => vec![functions::series(args)],
            RowsOf::Arrays => args,
            RowsOf::Found(which) => vec![functions::regexp(which, args)],
            RowsOf::Parts(which) => vec![functions::json(which, args)],
            RowsOf::Members(values) => vec![
                functions::json(JsonFunction::Keys, args.clone()),
                functions::json(values, args),
            ],
        }
    }
}
