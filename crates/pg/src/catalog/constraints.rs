//! Constraints of tables: the list that `pg_constraint` and the views of `information_schema` are made of.

use arrow::array::RecordBatch;
use datafusion::common::Result as DfResult;

use super::functions::Shared;
use super::live::{CONSTRAINTS, batch, key_index, oids, schema_oid, small_lists, texts};
use super::model::{ConstraintKind, ConstraintOf, Relation, Relations};
use super::named::quoted;

/// The name of the primary key of a table.
pub(super) fn key_name(table: &Relation) -> String {
    let key = table.constraints.iter().find(|one| one.kind == ConstraintKind::Key);
    key.map_or_else(|| format!("{}_pkey", table.name), |key| key.name.clone())
}

/// How many conditions a table has.
pub(super) fn checks(table: &Relation) -> i16 {
    let checks = table.constraints.iter();
    let checks = checks.filter(|one| matches!(one.kind, ConstraintKind::Check(_)));
    i16::try_from(checks.count()).unwrap_or(i16::MAX)
}

fn number(table: &Relation, constraint: &ConstraintOf) -> u32 {
    constraint.oid.unwrap_or_else(|| key_index(table.oid) + CONSTRAINTS)
}

/// `pg_get_constraintdef`
pub(super) fn definition(shared: &Shared, oid: u32) -> Option<String> {
    let relations = shared.relations();
    let mut all = relations
        .iter()
        .flat_map(|table| table.constraints.iter().map(move |constraint| (table, constraint)));
    let (table, constraint) = all.find(|(table, constraint)| number(table, constraint) == oid)?;
    let name = |at: &i16| {
        let at = usize::try_from(*at - 1).ok()?;
        Some(quoted(table.columns.fields().get(at)?.name()))
    };
    let columns: Vec<String> = constraint.columns.iter().filter_map(name).collect();
    let columns = columns.join(", ");
    Some(match &constraint.kind {
        ConstraintKind::Key => format!("PRIMARY KEY ({columns})"),
        ConstraintKind::Unique(_) => format!("UNIQUE ({columns})"),
        ConstraintKind::Check(condition) => format!("CHECK (({condition}))"),
        ConstraintKind::References { name, names, on_delete, on_update, .. } => {
            let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
            let action = |of: &str, words: &str| match words {
                "NO ACTION" => String::new(),
                words => format!(" ON {of} {words}"),
            };
            format!(
                "FOREIGN KEY ({columns}) REFERENCES {}({}){}{}",
                quoted(name),
                names.join(", "),
                action("UPDATE", on_update),
                action("DELETE", on_delete)
            )
        }
    })
}

/// What a foreign key refers to.
struct To<'a> {
    table: u32,
    name: &'a str,
    columns: &'a [i16],
    unique: Option<&'a str>,
    on_delete: &'static str,
    on_update: &'static str,
}

fn to(constraint: &ConstraintOf) -> Option<To<'_>> {
    match &constraint.kind {
        ConstraintKind::References {
            table, name, columns, unique, on_delete, on_update, ..
        } => {
            let unique = unique.as_deref();
            Some(To { table: *table, name, columns, unique, on_delete, on_update })
        }
        _ => None,
    }
}

/// The letter of an action in `pg_constraint`.
fn letter(words: &str) -> &'static str {
    match words {
        "RESTRICT" => "r",
        "CASCADE" => "c",
        "SET NULL" => "n",
        "SET DEFAULT" => "d",
        _ => "a",
    }
}

/// One row a constraint.
pub(super) fn rows(live: &dyn Relations) -> DfResult<RecordBatch> {
    let relations = live.relations();
    let all: Vec<(&Relation, &ConstraintOf)> = relations
        .iter()
        .flat_map(|table| table.constraints.iter().map(move |constraint| (table, constraint)))
        .collect();
    let kind = |one: &ConstraintOf| match &one.kind {
        ConstraintKind::Key => "p",
        ConstraintKind::Unique(_) => "u",
        ConstraintKind::Check(_) => "c",
        ConstraintKind::References { .. } => "f",
    };
    let index = |table: &Relation, one: &ConstraintOf| match &one.kind {
        ConstraintKind::Key => key_index(table.oid),
        ConstraintKind::Unique(index) => *index,
        ConstraintKind::Check(_) => 0,
        ConstraintKind::References { table, index, .. } => {
            index.unwrap_or_else(|| key_index(*table))
        }
    };
    let condition = |one: &ConstraintOf| match &one.kind {
        ConstraintKind::Check(condition) => Some(condition.clone()),
        _ => None,
    };
    // The columns of the key that a foreign key refers to, in the key's own order.
    let to_key = |one: &ConstraintOf| {
        let to = to(one)?;
        let table = relations.iter().find(|table| table.oid == to.table)?;
        let key = table.constraints.iter().find(|key| Some(key.name.as_str()) == to.unique)?;
        Some(key.columns.as_slice())
    };
    batch(vec![
        ("oid", oids(all.iter().map(|(table, one)| Some(number(table, one))))),
        ("name", texts(all.iter().map(|(_, one)| Some(&one.name)))),
        ("namespace", oids(all.iter().map(|(table, _)| schema_oid(&table.schema)))),
        ("schema", texts(all.iter().map(|(table, _)| Some(&table.schema)))),
        ("letter", texts(all.iter().map(|(_, one)| Some(kind(one))))),
        ("relation", oids(all.iter().map(|(table, _)| Some(table.oid)))),
        ("table_name", texts(all.iter().map(|(table, _)| Some(&table.name)))),
        ("columns", small_lists(all.iter().map(|(_, one)| Some(one.columns.as_slice())))),
        ("index", oids(all.iter().map(|(table, one)| Some(index(table, one))))),
        ("to_relation", oids(all.iter().map(|(_, one)| Some(to(one).map_or(0, |to| to.table))))),
        ("to_name", texts(all.iter().map(|(_, one)| Some(to(one)?.name)))),
        ("to_columns", small_lists(all.iter().map(|(_, one)| Some(to(one)?.columns)))),
        ("to_key", small_lists(all.iter().map(|(_, one)| to_key(one)))),
        ("to_constraint", texts(all.iter().map(|(_, one)| to(one)?.unique))),
        (
            "deleted",
            texts(all.iter().map(|(_, one)| Some(to(one).map_or(" ", |to| letter(to.on_delete))))),
        ),
        (
            "updated",
            texts(all.iter().map(|(_, one)| Some(to(one).map_or(" ", |to| letter(to.on_update))))),
        ),
        ("on_delete", texts(all.iter().map(|(_, one)| Some(to(one)?.on_delete)))),
        ("on_update", texts(all.iter().map(|(_, one)| Some(to(one)?.on_update)))),
        ("condition", texts(all.iter().map(|(_, one)| condition(one)))),
    ])
}
