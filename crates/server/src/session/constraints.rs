//! What a table's rows have to meet: CHECK, UNIQUE, foreign keys. Looked at when a statement has said which rows go
//! and come, while their table is locked.
//!
//! 1. Before the change is kept: conditions over the rows that come, and values of unique columns, which the table has
//!    once, or not at all where one of them is NULL. It is counted as a whole: `UPDATE t SET n = n + 1` passes.
//! 2. After it: what the rows refer to is there, and what rows refer to that lose it fail, or change with it. Then
//!    the change and what followed from it are one.
//!
//! Locks: a statement holds those of the tables that its rows refer to, and a DELETE those of the tables that refer to
//! its own, taken in one order before it reads, so that two statements do not wait for each other. They stay until the
//! transaction ends: what a row refers to is not deleted before the row is committed.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{Field, Schema};
use arrow::row::OwnedRow;
use datafusion::common::ScalarValue;
use millrace_sql::{
    ChangeKind, ChangePlan, Kind, Object, ReferenceAction, References, Table, ast, plan_change,
    query_of_rows,
};
use millrace_storage::Points;
use millrace_types::{Delta, ObjectId, Report, SqlState};

use super::change::{Running, internal, quoted, rows_of, stored_key};
use super::{Conn, violation};

/// The table of values that are looked for; no object can have this name.
pub(super) const VALUES: &str = "\u{1}values";
/// The most foreign keys that are followed from a statement, one from another.
const FOLLOWED_MAX: usize = 100;
/// What a table and the values beside it are called in a query: no column has these names.
pub(super) const OWN: &str = "_checked_table";
const GIVEN: &str = "_checked_values";

/// Rows of a statement that went and that came; the last that came are in the places of those that went, unless it is a
/// DELETE.
pub(super) struct Rows {
    gone: RecordBatch,
    come: RecordBatch,
}

impl Rows {
    pub(super) fn of(delta: &Delta) -> Result<Rows, Report> {
        let signs = |wanted: fn(i64) -> bool| -> Result<RecordBatch, Report> {
            let mask: BooleanArray =
                delta.weights.values().iter().map(|weight| Some(wanted(*weight))).collect();
            filter_record_batch(&delta.rows, &mask).map_err(|error| internal(&error))
        };
        Ok(Rows { gone: signs(|weight| weight < 0)?, come: signs(|weight| weight > 0)? })
    }

    /// What came in these columns and was not there before, none of it NULL, each once.
    fn new_values(&self, columns: &[usize]) -> Result<RecordBatch, Report> {
        without(&values(&self.come, columns)?, &values(&self.gone, columns)?)
    }
}

/// Some columns of the rows that have no NULL there, named `k0`, `k1` and so on.
pub(super) fn values(rows: &RecordBatch, columns: &[usize]) -> Result<RecordBatch, Report> {
    let arrays: Vec<ArrayRef> =
        columns.iter().map(|column| Arc::clone(rows.column(*column))).collect();
    let field = |(at, array): (usize, &ArrayRef)| {
        Field::new(format!("k{at}"), array.data_type().clone(), true)
    };
    let fields: Vec<Field> = arrays.iter().enumerate().map(field).collect();
    let whole = |row: usize| arrays.iter().all(|array| array.is_valid(row));
    let mask: BooleanArray = (0..rows.num_rows()).map(|row| Some(whole(row))).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays);
    let batch = batch.and_then(|batch| filter_record_batch(&batch, &mask));
    batch.map_err(|error| internal(&error))
}

pub(super) fn set(values: &RecordBatch) -> Result<BTreeSet<OwnedRow>, Report> {
    Ok(rows_of(values.columns())?.iter().map(|row| row.owned()).collect())
}

/// The values that are not among others, each once.
fn without(values: &RecordBatch, others: &RecordBatch) -> Result<RecordBatch, Report> {
    if values.num_rows() == 0 {
        return Ok(values.clone());
    }
    let mut known = set(others)?;
    let rows = rows_of(values.columns())?;
    let kept = (0u32..).zip(&rows).filter(|(_, row)| known.insert(row.owned()));
    let kept: Vec<u32> = kept.map(|(row, _)| row).collect();
    take_record_batch(values, &UInt32Array::from(kept)).map_err(|error| internal(&error))
}

impl Conn {
    /// The other tables that a statement may read or change because of foreign keys, as far as its kind tells.
    fn beside(&self, plan: &ChangePlan) -> BTreeSet<ObjectId> {
        let catalog = self.shared.catalog();
        let mut all = BTreeSet::new();
        if plan.kind != ChangeKind::Delete {
            all.extend(plan.definition().constraints.references.iter().map(|one| one.table));
        } else {
            let mut open = vec![plan.table.id];
            while let Some(id) = open.pop() {
                let from = catalog.references(id).map(|(object, _)| object.id);
                open.extend(from.filter(|id| all.insert(*id)));
            }
        }
        all
    }

    /// Locks the table of a statement, and what foreign keys make it look at, in one order.
    pub(super) async fn lock_for_change(&mut self, plan: &ChangePlan) -> Result<(), Report> {
        let mut all = self.beside(plan);
        all.insert(plan.table.id);
        for table in all {
            self.lock_whole(table).await?;
        }
        Ok(())
    }

    pub(super) async fn lock_whole(&mut self, table: ObjectId) -> Result<(), Report> {
        let now = self.shared.clock.now();
        let lock = self.shared.locks.lock(table, self.process, now);
        let timeout = self.settings.lock().duration("lock_timeout");
        self.uncommitted.lock(table, lock, timeout).await
    }

    /// CHECK and UNIQUE, before the change is kept.
    pub(super) async fn check_rows(&self, plan: &ChangePlan, rows: &Rows) -> Result<(), Report> {
        if rows.come.num_rows() == 0 {
            return Ok(());
        }
        self.check_conditions(&plan.table, plan.definition(), rows).await?;
        let catalog = self.shared.catalog();
        for (index, columns) in catalog
            .indexes(plan.table.id)
            .filter_map(|(object, index)| index.unique.map(|_| (object, index.columns.as_slice())))
        {
            let come = values(&rows.come, columns)?;
            let gone = values(&rows.gone, columns)?;
            let mut own = BTreeSet::new();
            let twice = (0..)
                .zip(&rows_of(come.columns())?)
                .find_map(|(row, value)| (!own.insert(value.owned())).then_some(row));
            if let Some(row) = twice {
                return Err(violation::not_unique(&plan.table, &index.name, columns, (&come, row)));
            }
            let new = without(&come, &gone)?;
            let there = self.present(&plan.table, columns, &new).await?;
            if there.num_rows() > 0 {
                return Err(violation::not_unique(&plan.table, &index.name, columns, (&there, 0)));
            }
        }
        Ok(())
    }

    async fn check_conditions(
        &self,
        object: &Object,
        table: &Table,
        rows: &Rows,
    ) -> Result<(), Report> {
        let checks = &table.constraints.checks;
        if checks.is_empty() {
            return Ok(());
        }
        let texts: Vec<String> = checks.iter().map(|check| format!("({})", check.text)).collect();
        let query = query_of_rows(object, &texts.join(", "))?;
        let shown: Vec<usize> = (0..table.columns.len()).collect();
        let shown = rows.come.project(&shown).map_err(|error| internal(&error))?;
        let tables = self.tables()?.with(millrace_sql::CHANGED, shown)?;
        let text = query.to_string();
        let statement = Running::over(object.id, &text);
        let found = self.read_head(&statement, &query, tables).await?;
        let fails = |column: &ArrayRef| {
            let flags = column.as_boolean_opt()?;
            (0..flags.len()).find(|row| flags.is_valid(*row) && !flags.value(*row))
        };
        let failed = found.columns().iter().zip(checks);
        let failed = failed.filter_map(|(column, check)| Some((fails(column)?, check)));
        match failed.min_by_key(|(row, _)| *row) {
            Some((row, check)) => {
                Err(violation::check(object, &check.name, table.columns.len(), (&rows.come, row)))
            }
            None => Ok(()),
        }
    }

    /// Which of these values the columns of a table have, with what the transaction has changed.
    pub(super) async fn present(
        &self,
        object: &Object,
        columns: &[usize],
        values: &RecordBatch,
    ) -> Result<RecordBatch, Report> {
        if values.num_rows() == 0 {
            return Ok(values.clone());
        }
        let schema = object.full_schema();
        let name = |column: &usize| quoted(schema.field(*column).name());
        let table = quoted(&object.name);
        let mut tables = self.tables()?;
        if let Kind::Table(definition) = &object.kind
            && stored_key(definition) == columns
            && values
                .columns()
                .iter()
                .zip(columns)
                .all(|(array, column)| array.data_type() == schema.field(*column).data_type())
        {
            let points = Points::new(values.columns()).map_err(|error| error.report())?;
            tables = tables.asking(object.id, points);
        }
        if values.num_rows() == 1 {
            let equal = columns.iter().enumerate();
            let equal = equal.map(|(at, column)| format!("{} = ${}", name(column), at + 1));
            let equal: Vec<String> = equal.collect();
            let text = format!("SELECT 1 FROM {table} WHERE {} LIMIT 1", equal.join(" AND "));
            let value = |array: &ArrayRef| ScalarValue::try_from_array(array, 0);
            let parameters = values.columns().iter().map(value).collect::<Result<Vec<_>, _>>();
            let parameters = parameters.map_err(|error| super::report_of(&error))?;
            let mut statement = Running::over(object.id, &text);
            statement.parameters = &parameters;
            let found = self.read_head(&statement, query_of(&text)?.as_ref(), tables).await?;
            return Ok(values.slice(0, found.num_rows().min(1)));
        }
        let equal = columns.iter().enumerate();
        let equal = equal.map(|(at, column)| format!("{OWN}.{} = {GIVEN}.k{at}", name(column)));
        let equal: Vec<String> = equal.collect();
        let text = format!(
            "SELECT * FROM \"{VALUES}\" AS {GIVEN} WHERE EXISTS (SELECT 1 FROM {table} AS {OWN} WHERE {})",
            equal.join(" AND ")
        );
        let tables = tables.with(VALUES, values.clone())?;
        self.read_head(&Running::over(object.id, &text), query_of(&text)?.as_ref(), tables).await
    }

    /// Foreign keys, after the change is kept: of the rows that came, and to those that went.
    pub(super) async fn follow_references(
        &mut self,
        plan: &ChangePlan,
        rows: &Rows,
    ) -> Result<(), Report> {
        for reference in &plan.definition().constraints.references {
            // A default that is set may be the value that has gone.
            let new = match &self.sets_default {
                Some((table, columns))
                    if (*table, columns) == (plan.table.id, &reference.columns) =>
                {
                    values(&rows.come, &reference.columns)?
                }
                _ => rows.new_values(&reference.columns)?,
            };
            if new.num_rows() > 0 {
                self.uncommitted.selected(reference.table);
            }
            self.check_reference(&plan.table, reference, &new).await?;
        }
        if rows.gone.num_rows() == 0 {
            return Ok(());
        }
        let catalog = self.shared.catalog();
        for (object, reference) in catalog.references(plan.table.id) {
            let gone = values(&rows.gone, &reference.to)?;
            let lost = without(&gone, &values(&rows.come, &reference.to)?)?;
            if lost.num_rows() == 0 {
                continue;
            }
            self.lock_whole(object.id).await?;
            self.uncommitted.selected(object.id);
            let there = self.present(object, &reference.columns, &lost).await?;
            if there.num_rows() > 0 {
                self.follow(plan, (object, reference), rows, &there).await?;
            }
        }
        Ok(())
    }

    /// Looks whether what these values of a foreign key refer to is there.
    pub(super) async fn check_reference(
        &self,
        object: &Object,
        reference: &References,
        new: &RecordBatch,
    ) -> Result<(), Report> {
        let catalog = self.shared.catalog();
        let Some(to) = catalog.get(reference.table).filter(|_| new.num_rows() > 0) else {
            return Ok(());
        };
        let there = self.present(to, &reference.to, new).await?;
        let missing = without(new, &there)?;
        match missing.num_rows() {
            0 => Ok(()),
            _ => Err(violation::not_there(object, reference, to, &missing)),
        }
    }

    /// Rows refer to values that have gone: they go or change too, or the statement fails.
    async fn follow(
        &mut self,
        plan: &ChangePlan,
        (object, reference): (&Arc<Object>, &References),
        rows: &Rows,
        lost: &RecordBatch,
    ) -> Result<(), Report> {
        let deletes = plan.kind == ChangeKind::Delete;
        let action = if deletes { reference.on_delete } else { reference.on_update };
        let schema = object.full_schema();
        let names: Vec<String> =
            reference.columns.iter().map(|column| quoted(schema.field(*column).name())).collect();
        let each = |join: &str, one: &dyn Fn(usize, &String) -> String| {
            let all = names.iter().enumerate().map(|(at, name)| one(at, name));
            all.collect::<Vec<_>>().join(join)
        };
        let (table, same) = (
            quoted(&object.name),
            each(" AND ", &|at, name| format!("{OWN}.{name} = {GIVEN}.k{at}")),
        );
        let set = |value: &dyn Fn(usize) -> String| {
            let set = each(", ", &|at, name| format!("{name} = {}", value(at)));
            format!("UPDATE {table} AS {OWN} SET {set} FROM \"{VALUES}\" AS {GIVEN} WHERE {same}")
        };
        let (text, given) = match action {
            ReferenceAction::Nothing | ReferenceAction::Restrict => {
                return Err(violation::still_there(&plan.table, object, reference, lost));
            }
            ReferenceAction::Cascade if deletes => {
                let text = format!(
                    "DELETE FROM {table} AS {OWN} USING \"{VALUES}\" AS {GIVEN} WHERE {same}"
                );
                (text, lost.clone())
            }
            ReferenceAction::Cascade => {
                (set(&|at| format!("{GIVEN}.n{at}")), moved(rows, &reference.to)?)
            }
            ReferenceAction::SetNull => (set(&|_| "NULL".to_owned()), lost.clone()),
            ReferenceAction::SetDefault => (set(&|_| "DEFAULT".to_owned()), lost.clone()),
        };
        let Some(ast::Statement::Change(change)) = millrace_sql::parse(&text)?.pop() else {
            return Err(Report::new(SqlState::INTERNAL_ERROR, "what follows is no change"));
        };
        let following = plan_change(&self.shared.catalog(), &change)?;
        if self.following == FOLLOWED_MAX {
            let message = format!("rows refer to each other over more than {FOLLOWED_MAX} steps");
            let report = Report::new(SqlState::STATEMENT_TOO_COMPLEX, message);
            return Err(report.hint("Change those first that others do not refer to."));
        }
        let sets_default = matches!(action, ReferenceAction::SetDefault)
            .then(|| (object.id, reference.columns.clone()));
        self.following += 1;
        let before = self.given.replace((VALUES, given));
        let outer = std::mem::replace(&mut self.sets_default, sets_default);
        let followed = Box::pin(self.change_rows(&following, &change, &[])).await;
        self.sets_default = outer;
        self.given = before;
        self.following -= 1;
        followed.map(drop)
    }
}

/// Keys that have become others: `k0`, `k1` before, `n0`, `n1` after.
fn moved(rows: &Rows, columns: &[usize]) -> Result<RecordBatch, Report> {
    let new = rows.come.num_rows() - rows.gone.num_rows();
    let come = rows.come.slice(new, rows.gone.num_rows());
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (letter, batch) in [("k", &rows.gone), ("n", &come)] {
        for (at, column) in columns.iter().enumerate() {
            let array = Arc::clone(batch.column(*column));
            fields.push(Field::new(format!("{letter}{at}"), array.data_type().clone(), true));
            arrays.push(array);
        }
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays);
    let batch = batch.map_err(|error| internal(&error))?;
    let (old, new) = batch.columns().split_at(columns.len());
    let (old, new) = (rows_of(old)?, rows_of(new)?);
    let mask: BooleanArray =
        (0..batch.num_rows()).map(|row| Some(old.row(row) != new.row(row))).collect();
    filter_record_batch(&batch, &mask).map_err(|error| internal(&error))
}

pub(super) fn query_of(text: &str) -> Result<Box<millrace_sql::sqlparser::ast::Query>, Report> {
    match millrace_sql::parse(text)?.pop() {
        Some(ast::Statement::Query(query)) => Ok(query),
        _ => Err(Report::new(SqlState::INTERNAL_ERROR, "a look-up is no query")),
    }
}
