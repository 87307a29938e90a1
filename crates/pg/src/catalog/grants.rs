//! `aclexplode(acl)`: the rights in a list of grants, a row each.
//!
//! [`super::rewrite`] writes it as `unnest` of four lists side by side, one for each column.

use std::sync::Arc;

use arrow::array::{
    Array, AsArray, BooleanBuilder, ListArray, ListBuilder, StringBuilder, UInt32Builder,
};
use arrow::datatypes::DataType;
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{ScalarUDF, Volatility};

use super::functions::{Body, argument, array, function};
use super::model::{Relations, Role};

/// The columns of a row, and the functions that give their values.
pub(super) const COLUMNS: [(&str, &str); 4] = [
    ("grantor", "aclexplode_grantor"),
    ("grantee", "aclexplode_grantee"),
    ("privilege_type", "aclexplode_privilege_type"),
    ("is_grantable", "aclexplode_is_grantable"),
];

/// The letters of rights, in PostgreSQL's order.
const RIGHTS: [(char, &str); 14] = [
    ('a', "INSERT"),
    ('r', "SELECT"),
    ('w', "UPDATE"),
    ('d', "DELETE"),
    ('D', "TRUNCATE"),
    ('x', "REFERENCES"),
    ('t', "TRIGGER"),
    ('X', "EXECUTE"),
    ('U', "USAGE"),
    ('C', "CREATE"),
    ('T', "TEMPORARY"),
    ('c', "CONNECT"),
    ('s', "SET"),
    ('A', "ALTER SYSTEM"),
];

/// One right that was granted.
struct Right {
    grantor: u32,
    grantee: u32,
    name: &'static str,
    grantable: bool,
}

/// The functions for the four columns.
pub(super) fn all(relations: &Arc<dyn Relations>) -> Vec<ScalarUDF> {
    let of = |(at, (_, name)): (usize, (&str, &str))| {
        let relations = Arc::clone(relations);
        let body: Body = Arc::new(move |args, rows| {
            let wanted = DataType::new_list(DataType::Utf8, true);
            let lists = argument(args, 0, rows, &wanted)?;
            array(column(at, lists.as_list::<i32>(), &relations.roles())?)
        });
        let element = match at {
            0 | 1 => DataType::UInt32,
            2 => DataType::Utf8,
            _ => DataType::Boolean,
        };
        function(name, Volatility::Stable, DataType::new_list(element, true), body)
    };
    COLUMNS.into_iter().enumerate().map(of).collect()
}

fn column(at: usize, lists: &ListArray, roles: &[Role]) -> DfResult<ListArray> {
    let rights = |row: usize| -> Option<Vec<Right>> {
        let texts = lists.is_valid(row).then(|| lists.value(row))?;
        let texts = texts.as_string_opt::<i32>()?;
        Some(texts.iter().flatten().flat_map(|text| rights(text, roles)).collect())
    };
    let rows = (0..lists.len()).map(rights);
    macro_rules! built {
        ($values:expr, $value:expr) => {{
            let mut built = ListBuilder::new($values);
            for row in rows {
                let is_there = row.is_some();
                row.into_iter().flatten().for_each(|one| built.values().append_value($value(one)));
                built.append(is_there);
            }
            built.finish()
        }};
    }
    Ok(match at {
        0 => built!(UInt32Builder::new(), |one: Right| one.grantor),
        1 => built!(UInt32Builder::new(), |one: Right| one.grantee),
        2 => built!(StringBuilder::new(), |one: Right| one.name),
        _ => built!(BooleanBuilder::new(), |one: Right| one.grantable),
    })
}

/// The rights of `grantee=arw*d/grantor`; nobody's name is everybody.
fn rights(text: &str, roles: &[Role]) -> Vec<Right> {
    let number = |name: &str| {
        let name = name.trim_matches('"').replace("\"\"", "\"");
        roles.iter().find(|role| role.name == name).map_or(0, |role| role.oid)
    };
    let Some((grantee, rest)) = text.rsplit_once('=') else { return Vec::new() };
    let (letters, grantor) = rest.split_once('/').unwrap_or((rest, ""));
    let (grantee, grantor) = (number(grantee), number(grantor));
    let granted = RIGHTS.into_iter().filter_map(|(letter, name)| {
        let at = letters.find(letter)?;
        let grantable = letters[at + 1..].starts_with('*');
        Some(Right { grantor, grantee, name, grantable })
    });
    granted.collect()
}
