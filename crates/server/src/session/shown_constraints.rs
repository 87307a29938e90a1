//! The constraints of a table as the catalog that clients read has them.

use millrace_pg::catalog::{ConstraintKind, ConstraintOf};
use millrace_sql::{Catalog, Kind, Object, Table, Unique};

use super::relations::{oid, places};

/// Numbers of UNIQUE are made of those of their indexes, with this added.
const UNIQUE: u32 = 1_600_000_000;
/// Others are counted from here, so many to each table.
const OTHERS: u32 = 1_700_000_000;
const EACH: u32 = 100;

/// All of them, the primary key first.
pub(super) fn of(catalog: &Catalog, object: &Object) -> Vec<ConstraintOf> {
    let Kind::Table(table) = &object.kind else { return Vec::new() };
    let mut all = Vec::new();
    if !table.key.is_empty() {
        let (name, columns) = (table.key_name(&object.name), places(&table.key));
        all.push(ConstraintOf { oid: None, name, columns, kind: ConstraintKind::Key });
    }
    for (index, unique) in catalog.indexes(object.id) {
        if unique.unique == Some(Unique::Constraint) {
            all.push(ConstraintOf {
                oid: Some(UNIQUE + oid(index.id)),
                name: index.name.clone(),
                columns: places(&unique.columns),
                kind: ConstraintKind::Unique(oid(index.id)),
            });
        }
    }
    let first = OTHERS + oid(object.id) % 20_000_000 * EACH;
    let checks = table
        .constraints
        .checks
        .iter()
        .map(|check| (&check.name, &check.columns, ConstraintKind::Check(check.text.clone())));
    let references = table.constraints.references.iter().filter_map(|reference| {
        let kind = references(catalog, reference)?;
        Some((&reference.name, &reference.columns, kind))
    });
    for (number, (name, columns, kind)) in (first..).zip(checks.chain(references)) {
        let (name, columns) = (name.clone(), places(columns));
        all.push(ConstraintOf { oid: Some(number), name, columns, kind });
    }
    all
}

fn references(catalog: &Catalog, reference: &millrace_sql::References) -> Option<ConstraintKind> {
    let to = catalog.get(reference.table)?;
    let Kind::Table(table) = &to.kind else { return None };
    let same = |columns: &[usize]| {
        columns.len() == reference.to.len()
            && columns.iter().all(|column| reference.to.contains(column))
    };
    let (index, unique) = match same(&table.key) {
        true => (None, Some(table.key_name(&to.name))),
        false => {
            let mut indexes = catalog.indexes(to.id);
            let found = indexes.find(|(_, one)| one.unique.is_some() && same(&one.columns));
            let is_constraint = found.filter(|(_, one)| one.unique == Some(Unique::Constraint));
            let name = is_constraint.map(|(object, _)| object.name.clone());
            (Some(found.map_or(0, |(object, _)| oid(object.id))), name)
        }
    };
    Some(ConstraintKind::References {
        table: oid(to.id),
        name: to.name.clone(),
        columns: places(&reference.to),
        names: names(table, &reference.to),
        index,
        unique,
        on_delete: reference.on_delete.words(),
        on_update: reference.on_update.words(),
    })
}

fn names(table: &Table, columns: &[usize]) -> Vec<String> {
    columns.iter().map(|column| table.columns[*column].name.clone()).collect()
}
