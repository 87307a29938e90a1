//! Which functions give rows, and the lists behind them: series, the elements of arrays, the parts of JSON.

use datafusion::common::ScalarValue;
use datafusion::functions_nested::string::string_to_array_udf;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{Expr, lit};
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
    /// `string_to_table`
    Split,
    /// `generate_subscripts`
    Subscripts,
    /// The elements of a JSON array, or the keys of an object.
    Parts(JsonFunction),
    /// Objects, whose members the columns of the definition are.
    Records(JsonFunction),
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
        for (called, rows) in
            [("string_to_table", RowsOf::Split), ("generate_subscripts", RowsOf::Subscripts)]
        {
            if is_named(name, called) {
                return Some(rows);
            }
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
            "to_record" => RowsOf::Records(JsonFunction::Record),
            "to_recordset" => RowsOf::Records(JsonFunction::RecordSet),
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
            RowsOf::Split => "string_to_table",
            RowsOf::Subscripts => "generate_subscripts",
            RowsOf::Found(which) => which.name(),
            RowsOf::Parts(which) => which.name(),
            RowsOf::Records(JsonFunction::Record) => "jsonb_to_record",
            RowsOf::Records(_) => "jsonb_to_recordset",
            RowsOf::Members(JsonFunction::ValuesText) => "jsonb_each_text",
            RowsOf::Members(_) => "jsonb_each",
        }
    }

    /// The name that a column has whatever the table is named.
    pub(super) fn column(self, at: usize) -> Option<&'static str> {
        match self {
            RowsOf::Series
            | RowsOf::Arrays
            | RowsOf::Split
            | RowsOf::Subscripts
            | RowsOf::Found(_)
            | RowsOf::Records(_)
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
            RowsOf::Split => vec![string_to_array_udf().call(args)],
            RowsOf::Subscripts => subscripts(args),
            RowsOf::Found(which) => vec![functions::regexp(which, args)],
            RowsOf::Parts(which) | RowsOf::Records(which) => vec![functions::json(which, args)],
            RowsOf::Members(values) => vec![
                functions::json(JsonFunction::Keys, args.clone()),
                functions::json(values, args),
            ],
        }
    }
}

/// The places of a dimension of an array, from its end where the third argument says so.
fn subscripts(args: Vec<Expr>) -> Vec<Expr> {
    let (mut args, reversed) = (args, lit(false));
    let reversed = if args.len() == 3 { args.pop().unwrap_or(reversed) } else { reversed };
    let length = functions::array_length(args);
    let backwards = functions::series(vec![length.clone(), lit(1_i32), lit(-1_i32)]);
    let forwards = functions::series(vec![lit(1_i32), length]);
    match reversed {
        Expr::Literal(ScalarValue::Boolean(Some(true)), _) => vec![backwards],
        Expr::Literal(ScalarValue::Boolean(Some(false)), _) => vec![forwards],
        reversed => vec![Expr::Case(Case::new(
            None,
            vec![(Box::new(reversed), Box::new(backwards))],
            Some(Box::new(forwards)),
        ))],
    }
}
