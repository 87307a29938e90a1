//! Constraints of tables: their names, their columns, what they refer to.
//!
//! A name that is not said is PostgreSQL's: `<table>_<columns>_key`, `_check`, `_fkey`, with a number behind it if there
//! is one of it already. The condition of a CHECK is bound where it is looked at.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, visit_expressions};
use millrace_types::{ObjectId, Report, SqlState, SqlType};

use crate::ast::{Constraint, ConstraintKind, CreateIndex, Expression, Name, Reference, Unique};
use crate::catalog::{Catalog, Check, Constraints, Kind, Object, References, Table};
use crate::names::{Quoted, fold};

/// The constraints of a table, and the indexes that make columns unique.
#[derive(Clone, Debug, PartialEq)]
pub struct BoundConstraints {
    /// Those that it had, and the new ones behind them.
    pub constraints: Constraints,
    /// What is to be made when the table is there.
    pub unique: Vec<CreateIndex>,
}

/// A table that gets constraints.
struct Target<'a> {
    catalog: &'a Catalog,
    name: &'a Name,
    table: &'a Table,
    /// Names of constraints that it has.
    taken: BTreeSet<String>,
}

/// Binds constraints of a table that there is, or that is about to be made; then its number is zero.
///
/// # Errors
/// A column or a table that is not there, a name that is taken, a foreign key to what is not unique.
pub fn bind_constraints(
    catalog: &Catalog,
    (name, id): (&Name, ObjectId),
    table: &Table,
    new: &[Constraint],
) -> Result<BoundConstraints, Report> {
    if table.feed.is_some()
        && let Some(first) = new.first()
    {
        let report = Report::unsupported("a constraint of a table that a topic fills");
        let report = report.hint("Its rows are what its topic says.");
        return Err(Report { position: first.position, ..report });
    }
    let mut taken: BTreeSet<String> = table.constraints.names().map(str::to_owned).collect();
    let indexes = catalog.indexes(id).filter(|(_, index)| index.unique.is_some());
    taken.extend(indexes.map(|(object, _)| object.name.clone()));
    let mut target = Target { catalog, name, table, taken };
    let mut bound = BoundConstraints { constraints: table.constraints.clone(), unique: Vec::new() };
    for constraint in new {
        let at = |report: Report| match report.position {
            None => Report { position: constraint.position, ..report },
            Some(_) => report,
        };
        match &constraint.kind {
            ConstraintKind::Check(condition) => {
                let check = target.check(constraint, condition).map_err(at)?;
                bound.constraints.checks.push(check);
            }
            ConstraintKind::Unique(columns) => {
                bound.unique.push(target.unique(constraint, columns).map_err(at)?);
            }
            ConstraintKind::References(reference) => {
                let is_own = reference.table.name == name.name;
                let same = bound.unique.iter().map(|index| index.columns.as_slice());
                let own: Vec<&[Name]> = same.filter(|_| is_own).collect();
                let reference = target.reference(constraint, reference, id, &own);
                bound.constraints.references.push(reference.map_err(at)?);
            }
        }
    }
    Ok(bound)
}

impl Target<'_> {
    /// The name of a constraint: its own, or one made of these columns.
    fn named(
        &mut self,
        constraint: &Constraint,
        columns: &[&str],
        suffix: &str,
    ) -> Result<String, Report> {
        let is_index = matches!(constraint.kind, ConstraintKind::Unique(_));
        let is_relation = |name: &str| is_index && self.catalog.find(name).is_some();
        if let Some(name) = &constraint.name {
            if !self.taken.insert(name.name.clone()) {
                let (shown, table) = (Quoted(&name.name), Quoted(&self.name.name));
                let message = format!("constraint {shown} for relation {table} already exists");
                let report = Report::new(SqlState::DUPLICATE_OBJECT, message);
                return Err(Report { position: name.position, ..report });
            }
            return Ok(name.name.clone());
        }
        let parts: Vec<&str> = [self.name.name.as_str()].iter().chain(columns).copied().collect();
        let base = format!("{}_{suffix}", parts.join("_"));
        let mut name = base.clone();
        let mut number = 0;
        while self.taken.contains(&name) || is_relation(&name) {
            number += 1;
            name = format!("{base}{number}");
        }
        self.taken.insert(name.clone());
        Ok(name)
    }

    fn check(&mut self, constraint: &Constraint, condition: &Expression) -> Result<Check, Report> {
        let columns = named_columns(&condition.expr, self.table)?;
        let names: Vec<&str> = match columns.as_slice() {
            [one] => vec![self.table.columns[*one].name.as_str()],
            _ => Vec::new(),
        };
        let name = self.named(constraint, &names, "check")?;
        Ok(Check { name, text: condition.text.clone(), columns })
    }

    fn unique(&mut self, constraint: &Constraint, columns: &[Name]) -> Result<CreateIndex, Report> {
        let found = columns_of(self.table, columns, "key")?;
        let names: Vec<&str> =
            found.iter().map(|column| self.table.columns[*column].name.as_str()).collect();
        let name = self.named(constraint, &names, "key")?;
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let listed: Vec<String> = names.iter().map(|name| quoted(name)).collect();
        let text = format!(
            "CREATE UNIQUE INDEX {} ON {} ({})",
            quoted(&name),
            quoted(&self.name.name),
            listed.join(", ")
        );
        let position = constraint.name.as_ref().map_or(constraint.position, |name| name.position);
        Ok(CreateIndex {
            unique: Some(Unique::Constraint),
            name: Some(Name { name, position }),
            if_not_exists: false,
            on: self.name.clone(),
            columns: columns.to_vec(),
            included: Vec::new(),
            text,
        })
    }

    /// `own` are the columns that become unique by the same statement, if it refers to its own table.
    fn reference(
        &mut self,
        constraint: &Constraint,
        reference: &Reference,
        id: ObjectId,
        own: &[&[Name]],
    ) -> Result<References, Report> {
        let columns = columns_of(self.table, &reference.columns, "foreign key constraint")?;
        let names: Vec<&str> =
            columns.iter().map(|column| self.table.columns[*column].name.as_str()).collect();
        let name = self.named(constraint, &names, "fkey")?;
        let is_own = reference.table.name == self.name.name;
        let found = self.catalog.find(&reference.table.name);
        let (to_id, to_table) = match found.map(|object| (object.id, &object.kind)) {
            _ if is_own => (id, self.table),
            Some((to_id, Kind::Table(table))) if found.is_some_and(|one| !one.is_of_server()) => {
                (to_id, table)
            }
            Some(_) => return Err(no_table(&reference.table, found.map(AsRef::as_ref))),
            None => return Err(no_table(&reference.table, None)),
        };
        if to_table.feed.is_some() {
            let report = Report::unsupported("a foreign key to a table that a topic fills");
            let report = report.hint("Its rows come and go as its topic says.");
            return Err(Report { position: reference.table.position, ..report });
        }
        let to = match reference.to.as_slice() {
            [] if to_table.key.is_empty() => return Err(no_key(&reference.table)),
            [] => to_table.key.clone(),
            names => columns_of(to_table, names, "foreign key constraint")?,
        };
        if to.len() != columns.len() {
            let message = "number of referencing and referenced columns for foreign key disagree";
            return Err(Report::new(SqlState::INVALID_FOREIGN_KEY, message));
        }
        let set = |columns: &[usize]| columns.iter().copied().collect::<BTreeSet<usize>>();
        let by_index = self
            .catalog
            .indexes(to_id)
            .any(|(_, index)| index.unique.is_some() && set(&index.columns) == set(&to));
        let by_own = own.iter().any(|names| {
            let columns = columns_of(to_table, names, "key");
            columns.is_ok_and(|columns| set(&columns) == set(&to))
        });
        if set(&to_table.key) != set(&to) && !by_index && !by_own {
            let message = format!(
                "there is no unique constraint matching given keys for referenced table {}",
                Quoted(&reference.table.name)
            );
            return Err(Report::new(SqlState::INVALID_FOREIGN_KEY, message));
        }
        for (from, to) in columns.iter().zip(&to) {
            let (from, to) = (&self.table.columns[*from], &to_table.columns[*to]);
            if !comparable(&from.sql_type, &to.sql_type) {
                let message =
                    format!("foreign key constraint {} cannot be implemented", Quoted(&name));
                let detail = format!(
                    "Key columns {} and {} are of incompatible types: {} and {}.",
                    Quoted(&from.name),
                    Quoted(&to.name),
                    from.sql_type.name(),
                    to.sql_type.name()
                );
                return Err(Report::new(SqlState::DATATYPE_MISMATCH, message).detail(detail));
            }
        }
        let (on_delete, on_update) = (reference.on_delete, reference.on_update);
        Ok(References { name, columns, table: to_id, to, on_delete, on_update })
    }
}

fn comparable(one: &SqlType, other: &SqlType) -> bool {
    let is_integer =
        |sql: &SqlType| matches!(sql, SqlType::SmallInt | SqlType::Integer | SqlType::BigInt);
    let is_numeric = |sql: &SqlType| matches!(sql, SqlType::Numeric(_));
    one == other || is_integer(one) && is_integer(other) || is_numeric(one) && is_numeric(other)
}

/// The places of columns that a constraint names.
fn columns_of(table: &Table, names: &[Name], of: &str) -> Result<Vec<usize>, Report> {
    let mut found = Vec::new();
    for name in names {
        let at = |report: Report| Report { position: name.position, ..report };
        let Some(place) = table.columns.iter().position(|column| column.name == name.name) else {
            let which =
                if of == "key" { "named in key" } else { "referenced in foreign key constraint" };
            let message = format!("column {} {which} does not exist", Quoted(&name.name));
            return Err(at(Report::new(SqlState::UNDEFINED_COLUMN, message)));
        };
        if found.contains(&place) {
            let of = if of == "key" { "unique constraint" } else { of };
            let message = format!("column {} appears twice in {of}", Quoted(&name.name));
            return Err(at(Report::new(SqlState::DUPLICATE_COLUMN, message)));
        }
        found.push(place);
    }
    Ok(found)
}

/// The columns that a condition names; a subquery is refused.
fn named_columns(condition: &Expr, table: &Table) -> Result<Vec<usize>, Report> {
    let mut columns = BTreeSet::new();
    let found = visit_expressions(condition, |expr| {
        let ident = match expr {
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
                return ControlFlow::Break(());
            }
            Expr::Identifier(ident) => Some(ident),
            Expr::CompoundIdentifier(idents) => idents.last(),
            _ => None,
        };
        let folded = ident.map(fold);
        columns.extend(table.columns.iter().position(|one| Some(&one.name) == folded.as_ref()));
        ControlFlow::Continue(())
    });
    if found.is_break() {
        let message = "cannot use subquery in check constraint";
        return Err(Report::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    Ok(columns.into_iter().collect())
}

fn no_table(name: &Name, found: Option<&Object>) -> Report {
    let report = match found {
        None => {
            let message = format!("relation {} does not exist", Quoted(&name.name));
            Report::new(SqlState::UNDEFINED_TABLE, message)
        }
        Some(_) => {
            let message = format!("referenced relation {} is not a table", Quoted(&name.name));
            Report::new(SqlState::WRONG_OBJECT_TYPE, message)
        }
    };
    Report { position: name.position, ..report }
}

fn no_key(name: &Name) -> Report {
    let message = format!("there is no primary key for referenced table {}", Quoted(&name.name));
    let report = Report::new(SqlState::UNDEFINED_OBJECT, message);
    Report { position: name.position, ..report }
}
