//! INSERT, UPDATE and DELETE: the statement's query is run over the head of the table, and what it
//! gives becomes a change with weights.
//!
//! Statements on one table run one after the other: each transaction holds the table's lock until its
//! changes are durable, so that it reads what the one before it left. A statement is all or nothing:
//! what it violates is found before anything is kept.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use datafusion::common::ScalarValue;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use millrace_pg::session::{Outcome, Prepared, Transaction};
use millrace_sql::sqlparser::ast::{Query, visit_relations};
use millrace_sql::{
    Binder, CHANGED, ChangeKind, ChangePlan, Conflict, EXCLUDED, Parameters, Returning, Table, ast,
    has_row_locks, plan_change,
};
use millrace_storage::Points;
use millrace_types::{Delta, Epoch, ObjectId, Report, SqlState, concat_deltas};
use tokio::sync::oneshot;

use super::constraints::{Rows as ChangedRows, query_of};
use super::query::{Asked, bound, hint, is_of_tables};
use super::tables::QueryTables;
use super::transaction::Uncommitted;
use super::{Conn, constraints, report_of, violation};
use crate::coordinator::{CHANGE_BYTES_MAX, Message, TableChange, Told};
use crate::queries;

/// Rows of a statement that are gathered before it is known how many bytes of them change: buffers are
/// larger than what is in them, and an UPDATE has each row twice.
const HELD_BYTES_MAX: usize = 4 * CHANGE_BYTES_MAX;

/// What a session changes happens now: until that is known, nothing ends its statement.
struct Settling(Arc<AtomicBool>);

impl Settling {
    fn begin(settling: &Arc<AtomicBool>) -> Settling {
        settling.store(true, Ordering::SeqCst);
        Settling(Arc::clone(settling))
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// A statement with its parameters.
pub(super) struct Running<'a> {
    /// The table that it changes.
    table: ObjectId,
    text: &'a str,
    pub(super) parameters: &'a [ScalarValue],
    /// It may read the table whatever the rights are: what needs them was looked at, or it looks for keys.
    trusted: bool,
    /// Its rows are what is changed, and so no more than a transaction may change.
    bounded: bool,
}

impl<'a> Running<'a> {
    /// A query that looks something up in a table for a statement that may do so.
    pub(super) fn over(table: ObjectId, text: &'a str) -> Running<'a> {
        Running { table, text, parameters: &[], trusted: true, bounded: false }
    }
}

/// What a statement does.
pub(super) struct Changed {
    /// Rows that go, then rows that come.
    rows: Delta,
    /// What it counts and returns: the rows that came, of a DELETE those that went.
    touched: RecordBatch,
    /// What further tables have beside each of these rows.
    beside: Option<RecordBatch>,
}

impl Changed {
    /// The rows that it touched as RETURNING sees them.
    fn shown(&self, plan: &ChangePlan) -> Result<RecordBatch, Report> {
        let shown: Vec<usize> = (0..plan.definition().columns.len()).collect();
        let own = self.touched.project(&shown).map_err(|error| internal(&error))?;
        let Some(beside) = &self.beside else { return Ok(own) };
        let schema = own.schema();
        let given = Returning::given(beside.schema().fields());
        let fields: Vec<FieldRef> = schema.fields().iter().cloned().chain(given).collect();
        let columns = own.columns().iter().chain(beside.columns()).cloned().collect();
        let options = RecordBatchOptions::new().with_row_count(Some(own.num_rows()));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
            .map_err(|error| internal(&error))
    }

    fn and(self, other: Changed) -> Result<Changed, Report> {
        let rows = concat_deltas(&[self.rows, other.rows]);
        let rows = rows.map_err(|e| Report::new(SqlState::INTERNAL_ERROR, e.to_string()))?;
        let schema = self.touched.schema();
        let touched = concat_batches(&schema, [&self.touched, &other.touched]);
        let touched = touched.map_err(|error| internal(&error))?;
        let beside = self.beside.or(other.beside);
        Ok(Changed { rows: rows.expect("two deltas are not none"), touched, beside })
    }
}

/// What is known of a value that has to be the only one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// The table has it.
    There,
    /// An earlier row of the statement has it.
    Twice,
}

/// Values that have to differ: of the new rows, and those that the table has.
struct Taken {
    rows: Rows,
    /// None where the row has NULL.
    whole: Vec<bool>,
    there: BTreeSet<OwnedRow>,
    own: BTreeSet<OwnedRow>,
}

impl Taken {
    fn of(
        rows: &RecordBatch,
        columns: &[usize],
        there: BTreeSet<OwnedRow>,
    ) -> Result<Taken, Report> {
        let columns: Vec<ArrayRef> =
            columns.iter().map(|column| Arc::clone(rows.column(*column))).collect();
        let whole = |row: usize| columns.iter().all(|column| column.is_valid(row));
        let whole = (0..rows.num_rows()).map(whole).collect();
        Ok(Taken { rows: rows_of(&columns)?, whole, there, own: BTreeSet::new() })
    }

    /// A row is kept, or touched.
    fn take(&mut self, row: u32) {
        let row = usize::try_from(row).expect("an index");
        if self.whole[row] {
            self.own.insert(self.rows.row(row).owned());
        }
    }

    /// Looks at a row, each in turn.
    fn look(&self, row: u32) -> Option<Known> {
        let row = usize::try_from(row).expect("an index");
        if !self.whole[row] {
            return None;
        }
        let value = self.rows.row(row).owned();
        match self.own.contains(&value) {
            true => Some(Known::Twice),
            false => self.there.contains(&value).then_some(Known::There),
        }
    }
}

impl Conn {
    /// The parameters of a statement that changes rows, and what it returns.
    pub(super) fn prepare_change(
        &mut self,
        change: &ast::Change,
        hints: &[Option<DataType>],
    ) -> Result<Prepared, Report> {
        let plan = plan_change(&self.shared.catalog(), change)?;
        let fresh = || {
            let tables = QueryTables::new(self.shared.clone());
            let tables = tables.seeing(&self.catalog_schemas, self.client());
            match &self.given {
                Some((name, rows)) => tables.with(name, rows.clone()),
                None => Ok(tables),
            }
        };
        let bind = |query: &Query, tables: QueryTables| {
            let state = self.state();
            let binder = Binder::new(tables.catalog(), &tables, &state).opening(plan.table.id);
            let mut query = query.clone();
            let is_users = |name: &str| tables.catalog().find(name).is_some();
            millrace_pg::catalog::rewrite(&mut query, &is_users);
            let bound = binder.bind_query(&query, &change.text, &Parameters::typed(hints));
            tables.failure()?;
            bound
        };
        let found = bind(&plan.query, fresh()?)?;
        // Each query types the parameters that it uses; the first that does decides.
        let (mut parameters, mut columns) = (found.parameters, None);
        let mut know = |more: Vec<DataType>| {
            let known = parameters.len();
            parameters.extend(more.into_iter().skip(known));
        };
        if let Conflict::Update(query) = &plan.conflict {
            let rows = RecordBatch::new_empty(plan.table.visible_schema());
            know(bind(query, fresh()?.with(EXCLUDED, rows)?)?.parameters);
        }
        if let Some(returning) = &plan.returning {
            let beside = &found.columns.fields()[plan.beside(&found.columns)];
            let shown = plan.table.visible_schema();
            let fields = shown.fields().iter().cloned().chain(Returning::given(beside));
            let rows = RecordBatch::new_empty(Arc::new(Schema::new(fields.collect::<Vec<_>>())));
            let bound = bind(&returning.query(beside), fresh()?.with(CHANGED, rows)?)?;
            know(bound.parameters);
            columns = Some(bound.columns);
        }
        Ok(Prepared { parameters, columns })
    }

    /// Runs a statement; its command tag says how many rows it touched.
    pub(super) async fn change(
        &mut self,
        change: &ast::Change,
        parameters: Vec<ScalarValue>,
    ) -> Result<Outcome, Report> {
        let plan = plan_change(&self.shared.catalog(), change)?;
        self.check_change(&plan, change)?;
        if self.is_gathering() && self.reads_views_in(&plan) {
            // What waits is not in views before it takes effect.
            self.settle_before().await?;
        }
        let mut change = Cow::Borrowed(change);
        if has_row_locks(&change.statement) {
            let text = change.text.clone();
            let passed = self.lock_rows(&mut change.to_mut().statement, &text).await?;
            if passed && plan.kind != ChangeKind::Insert {
                // Of rows that others have locked nothing may be left to change, and nobody to wait for.
                let parameters = parameters.clone();
                let none = self.change_locked(&plan, &change, parameters, true).await;
                self.uncommitted.unlock_unchanged();
                if let Some(outcome) = none? {
                    return Ok(outcome);
                }
            }
        }
        self.lock_for_change(&plan).await?;
        let changed = self.change_locked(&plan, &change, parameters, false).await;
        self.uncommitted.unlock_unchanged();
        changed?.ok_or_else(|| Report::new(SqlState::INTERNAL_ERROR, "a change without an outcome"))
    }

    /// The plan of a statement that is not run.
    pub(super) async fn planned_change(
        &mut self,
        change: &ast::Change,
        parameters: &[ScalarValue],
    ) -> Result<String, Report> {
        let plan = plan_change(&self.shared.catalog(), change)?;
        self.check_change(&plan, change)?;
        let running = self.shared.queries.begin(&change.text);
        let asked = Asked {
            query: plan.query.as_ref().clone(),
            text: change.text.clone(),
            hints: parameters.iter().map(|value| hint(&value.data_type())).collect(),
            values: Some(parameters.to_vec()),
            opened: Some(plan.table.id),
        };
        let tables = Arc::new(self.tables()?);
        let (bound, state) = bound(&running, &tables, self.state(), asked).await?;
        self.check_reads(&bound, Some(plan.table.id))?;
        self.pin(&tables).await?;
        let (physical, _) = running.plan(state, bound.plan).await?;
        let below = queries::planned(physical.as_ref());
        let below: Vec<String> = below.lines().map(|line| format!("  {line}")).collect();
        Ok(format!("{}: {}\n{}\n", plan.kind.word(), plan.table.name, below.join("\n")))
    }

    /// True if a change reads something else than tables.
    fn reads_views_in(&self, plan: &ChangePlan) -> bool {
        let catalog = self.shared.catalog();
        let queries = match &plan.conflict {
            Conflict::Update(query) => vec![&plan.query, query],
            _ => vec![&plan.query],
        };
        let returning = plan.returning.iter().map(|returning| returning.template());
        let queries = queries.into_iter().map(|query| query.as_ref());
        let found = queries.chain(returning).try_for_each(|query| {
            visit_relations(query, |name| {
                let last = name.0.last().and_then(|part| part.as_ident());
                let object = last.and_then(|ident| catalog.find(&millrace_sql::folded(ident)));
                match object.is_some_and(|object| !is_of_tables(&catalog, object.id)) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            })
        });
        found.is_break()
    }

    /// Runs a statement whose table is locked; without the lock (`none`) only if it changes no row, else there is no
    /// outcome.
    async fn change_locked(
        &mut self,
        plan: &ChangePlan,
        change: &ast::Change,
        parameters: Vec<ScalarValue>,
        none: bool,
    ) -> Result<Option<Outcome>, Report> {
        // What was under way when a statement was cancelled.
        (self.following, self.sets_default) = (0, None);
        self.given.take_if(|(name, _)| *name == constraints::VALUES);
        // Once more: the table may have been dropped and made anew meanwhile.
        let plan = &match plan_change(&self.shared.catalog(), change)? {
            again if again.table.id == plan.table.id => again,
            _ => return Err(Report::new(SqlState::SERIALIZATION_FAILURE, "the table has changed")),
        };
        self.check_change(plan, change)?;
        if none && self.found(plan, change, &parameters).await?.num_rows() > 0 {
            return Ok(None);
        }
        let changed = self.change_rows(plan, change, &parameters).await;
        let is_alone = self.transaction == Transaction::Idle && !self.is_gathering();
        if changed.is_err() && is_alone {
            // What followed from a change that cannot be is given up with it.
            self.uncommitted = Uncommitted::default();
        }
        let (count, returned) = changed?;
        if is_alone && self.uncommitted.has_changes() {
            self.commit_changes().await?;
        }
        let verb = match plan.kind {
            ChangeKind::Insert => "INSERT",
            ChangeKind::Update => "UPDATE",
            ChangeKind::Delete => "DELETE",
        };
        let zero = if plan.kind == ChangeKind::Insert { "0 " } else { "" };
        let Some(returned) = returned else {
            return Ok(Some(Outcome::Done(format!("{verb} {zero}{count}"))));
        };
        let schema = returned.schema();
        let stream = futures::stream::iter([Ok(returned)]);
        let rows = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), stream));
        Ok(Some(Outcome::Rows { schema, rows, verb }))
    }

    /// The rows of a statement's query.
    async fn found(
        &self,
        plan: &ChangePlan,
        change: &ast::Change,
        parameters: &[ScalarValue],
    ) -> Result<RecordBatch, Report> {
        let statement = statement_of(plan, change, parameters);
        self.read_head(&statement, &plan.query, self.tables()?).await
    }

    /// What a statement changes, and all that follows from it, becomes part of the transaction: how many rows it
    /// touched, and what it returns.
    pub(super) async fn change_rows(
        &mut self,
        plan: &ChangePlan,
        change: &ast::Change,
        parameters: &[ScalarValue],
    ) -> Result<(usize, Option<RecordBatch>), Report> {
        let found = self.found(plan, change, parameters).await?;
        let changed = match plan.kind {
            ChangeKind::Insert => {
                let statement = statement_of(plan, change, parameters);
                self.inserted(plan, &statement, &found).await?
            }
            ChangeKind::Delete => deleted(plan, &found)?,
            ChangeKind::Update => self.updated(plan, &found).await?,
        };
        let rows = ChangedRows::of(&changed.rows)?;
        self.check_rows(plan, &rows).await?;
        let returned = match &plan.returning {
            Some(returning) => {
                let schema = found.schema();
                let query = returning.query(&schema.fields()[plan.beside(&schema)]);
                let tables = self.tables()?.with(CHANGED, changed.shown(plan)?)?;
                let statement = statement_of(plan, change, parameters);
                Some(self.read_head(&statement, &query, tables).await?)
            }
            None => None,
        };
        let count = changed.touched.num_rows();
        if !changed.rows.is_empty() {
            self.uncommitted.add(plan.table.id, plan.definition(), changed.rows)?;
            self.follow_references(plan, &rows).await?;
        }
        if self.uncommitted.bytes() > CHANGE_BYTES_MAX {
            self.uncommitted = Uncommitted::default();
            return Err(too_large());
        }
        Ok((count, returned))
    }

    /// The tables of a query, with what this transaction has changed.
    pub(super) fn tables(&self) -> Result<QueryTables, Report> {
        let mut tables = QueryTables::new(self.shared.clone());
        tables = tables.seeing(&self.catalog_schemas, self.client());
        if let Some((name, rows)) = &self.given {
            tables = tables.with(name, rows.clone())?;
        }
        let changed = self.uncommitted.changed();
        Ok(changed.fold(tables, |tables, (id, pending)| tables.changed(id, pending)))
    }

    /// Makes what the transaction has changed durable, in one epoch.
    pub(super) async fn commit_changes(&mut self) -> Result<(), Report> {
        let uncommitted = std::mem::take(&mut self.uncommitted);
        let changes = uncommitted.changes()?;
        if changes.is_empty() {
            return Ok(());
        }
        let gone = || Report::new(SqlState::ADMIN_SHUTDOWN, "the server is shutting down");
        let (reply, answer) = oneshot::channel();
        // The locks go along: they must not end with this session if it is cancelled now.
        let locks = uncommitted.into_locks();
        let reply = Told::Session(reply);
        let change = Box::new(TableChange { changes, locks, reply });
        let _settling = Settling::begin(&self.settling);
        self.shared.inbox.send(Message::Change(change)).map_err(|_| gone())?;
        let epoch = answer.await.map_err(|_| gone())??;
        self.seen = self.seen.max(epoch);
        Ok(())
    }

    /// The rows of a query over the head of a table.
    pub(super) async fn read_head(
        &self,
        statement: &Running<'_>,
        query: &Query,
        tables: QueryTables,
    ) -> Result<RecordBatch, Report> {
        let (running, tables) = (self.shared.queries.begin(statement.text), Arc::new(tables));
        let asked = Asked {
            query: query.clone(),
            text: statement.text.to_owned(),
            hints: statement.parameters.iter().map(|value| hint(&value.data_type())).collect(),
            values: Some(statement.parameters.to_vec()),
            opened: Some(statement.table),
        };
        let (bound, state) = bound(&running, &tables, self.state(), asked).await?;
        self.check_reads(&bound, statement.trusted.then_some(statement.table))?;
        tables.bound(&bound.plan)?;
        if let Some(epoch) = tables.pin(self.seen, None).await?
            && let Some((_, report)) = tables.view_errors(epoch)?
        {
            return Err(report);
        }
        let (physical, state) = running.plan(state, bound.plan).await?;
        let reservation = running.reservation();
        let mut rows = running.start(&state, Arc::clone(&physical))?;
        let (schema, mut found) = (rows.schema(), Vec::new());
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|error| report_of(&error))?;
            let bytes = batch.get_array_memory_size();
            reservation.try_grow(bytes).map_err(|error| report_of(&error))?;
            if statement.bounded && reservation.size() > HELD_BYTES_MAX {
                return Err(too_large());
            }
            found.push(batch);
        }
        if let Some(plans) = &mut *self.explained.lock() {
            plans.push(queries::shown(physical.as_ref()));
        }
        let rows = found;
        let rows = concat_batches(&schema, &rows).map_err(|error| internal(&error))?;
        // The names that a client sees; those of the plan may be other ones.
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let fields = bound
            .columns
            .fields()
            .iter()
            .zip(rows.columns())
            .map(|(shown, real)| Field::new(shown.name(), real.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        RecordBatch::try_new_with_options(schema, rows.columns().to_vec(), &options)
            .map_err(|error| internal(&error))
    }

    async fn inserted(
        &self,
        plan: &ChangePlan,
        statement: &Running<'_>,
        found: &RecordBatch,
    ) -> Result<Changed, Report> {
        let table = plan.definition();
        let mut columns = found.columns().to_vec();
        if table.key.is_empty() {
            let ids = self.shared.row_ids(found.num_rows());
            columns.push(Arc::new(Int64Array::from_iter_values(ids)));
        }
        let rows = typed(table.full_schema(), columns, plan)?;
        let (kept, conflicts) = self.sorted(plan, &rows).await?;
        let take = |picked: Vec<u32>| {
            let picked = take_record_batch(&rows, &UInt32Array::from(picked));
            picked.map_err(|error| internal(&error))
        };
        let new = if kept.len() == rows.num_rows() { rows.clone() } else { take(kept)? };
        let added = Changed { rows: Delta::constant(new.clone(), 1), touched: new, beside: None };
        let Conflict::Update(query) = &plan.conflict else { return Ok(added) };
        let conflicts = take(conflicts)?;
        let tables = match plan.arbiters.first() == Some(&table.key) {
            true => self.tables_asking(plan, &conflicts)?,
            false => self.tables()?,
        };
        let tables = tables.with(EXCLUDED, conflicts)?;
        let found = self.read_head(statement, query, tables).await?;
        added.and(self.updated(plan, &found).await?)
    }

    /// Which new rows come, and which are in conflict with rows that are there. Others come twice, and are left out.
    async fn sorted(
        &self,
        plan: &ChangePlan,
        rows: &RecordBatch,
    ) -> Result<(Vec<u32>, Vec<u32>), Report> {
        let key = &plan.definition().key;
        let arbiters = plan.arbiters.iter().filter(|columns| *columns != key);
        let mut unique = Vec::new();
        for columns in arbiters {
            unique.push((
                Taken::of(rows, columns, self.values_taken(plan, columns, rows).await?)?,
                true,
            ));
        }
        if !key.is_empty() {
            let taken = Taken::of(rows, key, self.taken(plan, rows).await?)?;
            unique.push((taken, plan.arbiters.contains(key)));
        }
        let (mut kept, mut conflicts) = (Vec::new(), Vec::new());
        for row in 0..u32::try_from(rows.num_rows()).unwrap_or(u32::MAX) {
            let mut found = Vec::new();
            for (taken, is_arbiter) in &unique {
                found.push((taken.look(row), *is_arbiter));
            }
            let arbiter = |wanted| found.iter().any(|one| one.1 && one.0 == Some(wanted));
            if arbiter(Known::Twice) && matches!(plan.conflict, Conflict::Update(_)) {
                let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
                let hint = "Ensure that no rows proposed for insertion within the same \
                            command have duplicate constrained values.";
                return Err(Report::new(SqlState::CARDINALITY_VIOLATION, message).hint(hint));
            }
            if arbiter(Known::There) {
                // It does not come: others may have what it would have had elsewhere.
                for (taken, _) in unique.iter_mut().filter(|(_, is_arbiter)| *is_arbiter) {
                    if matches!(plan.conflict, Conflict::Update(_)) {
                        taken.take(row);
                    }
                }
                conflicts.push(row);
            } else if !arbiter(Known::Twice) {
                if found.iter().any(|one| one.0.is_some()) {
                    return Err(violation::duplicate(plan, rows, row));
                }
                unique.iter_mut().for_each(|(taken, _)| taken.take(row));
                kept.push(row);
            }
        }
        Ok((kept, conflicts))
    }

    /// Which values of the columns of a unique index the table has.
    async fn values_taken(
        &self,
        plan: &ChangePlan,
        columns: &[usize],
        rows: &RecordBatch,
    ) -> Result<BTreeSet<OwnedRow>, Report> {
        let there =
            self.present(&plan.table, columns, &constraints::values(rows, columns)?).await?;
        constraints::set(&there)
    }

    async fn updated(&self, plan: &ChangePlan, found: &RecordBatch) -> Result<Changed, Report> {
        let table = plan.definition();
        let width = table.full_schema().fields().len();
        let found = first_of_each(table, found)?;
        let beside = beside(plan, &found)?;
        let (old, new) = found.columns().split_at(width);
        let mut new = new[..table.columns.len()].to_vec();
        new.extend_from_slice(&old[table.columns.len()..]);
        let old = typed(table.full_schema(), old.to_vec(), plan)?;
        let new = typed(table.full_schema(), new, plan)?;
        if !table.key.is_empty() && keys_change(table, &old, &new) {
            let gone: BTreeSet<OwnedRow> =
                keys_of(table, &old)?.iter().map(|key| key.owned()).collect();
            let taken = self.taken(plan, &new).await?;
            let mut own = BTreeSet::new();
            for (row, key) in (0u32..).zip(&keys_of(table, &new)?) {
                let key = key.owned();
                if (taken.contains(&key) && !gone.contains(&key)) || !own.insert(key) {
                    return Err(violation::duplicate(plan, &new, row));
                }
            }
        }
        let empty = RecordBatch::new_empty(Arc::clone(table.full_schema()));
        let gone = Changed { rows: Delta::constant(old, -1), touched: empty, beside: None };
        gone.and(Changed { rows: Delta::constant(new.clone(), 1), touched: new, beside })
    }

    /// Which of the keys of some rows the table has already; maybe others, too.
    async fn taken(
        &self,
        plan: &ChangePlan,
        rows: &RecordBatch,
    ) -> Result<BTreeSet<OwnedRow>, Report> {
        let table = plan.definition();
        let names = table.key.iter().map(|column| quoted(&table.columns[*column].name));
        let names = names.collect::<Vec<_>>().join(", ");
        let text = format!("SELECT {names} FROM {}", quoted(&plan.table.name));
        let query = query_of(&text)?;
        let table = plan.table.id;
        let statement = Running::over(table, &text);
        let tables = self.tables_asking(plan, rows)?.unchanged(table);
        let found = self.read_head(&statement, &query, tables).await?;
        let keys = rows_of(found.columns())?;
        let mut taken: BTreeSet<OwnedRow> = keys.iter().map(|key| key.owned()).collect();
        // What the transaction has changed is looked up, whatever it is.
        if let Some(pending) = self.uncommitted.rows_of(table) {
            for key in &keys_of(plan.definition(), rows)? {
                let key = key.owned();
                match pending.has(&key) {
                    Some(true) => drop(taken.insert(key)),
                    Some(false) => drop(taken.remove(&key)),
                    None => {}
                }
            }
        }
        Ok(taken)
    }

    /// The tables of a query that needs the rows with the keys of some rows alone.
    fn tables_asking(&self, plan: &ChangePlan, rows: &RecordBatch) -> Result<QueryTables, Report> {
        let key = stored_key(plan.definition()).iter();
        let key: Vec<ArrayRef> = key.map(|column| Arc::clone(rows.column(*column))).collect();
        let keys = Points::new(&key).map_err(|error| error.report())?;
        Ok(self.tables()?.asking(plan.table.id, keys))
    }
}

/// An INSERT that reads the table does so as any query.
fn statement_of<'a>(
    plan: &ChangePlan,
    change: &'a ast::Change,
    parameters: &'a [ScalarValue],
) -> Running<'a> {
    let trusted = plan.kind != ChangeKind::Insert;
    Running { table: plan.table.id, text: &change.text, parameters, trusted, bounded: true }
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn internal(error: &arrow::error::ArrowError) -> Report {
    Report::new(SqlState::INTERNAL_ERROR, error.to_string())
}

pub(super) fn too_large() -> Report {
    let message = format!("a transaction may change {} MB of rows", CHANGE_BYTES_MAX >> 20);
    Report::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
        .hint("Write several transactions with fewer rows each.")
}

fn deleted(plan: &ChangePlan, found: &RecordBatch) -> Result<Changed, Report> {
    let table = plan.definition();
    let found = first_of_each(table, found)?;
    let beside = beside(plan, &found)?;
    let width = table.full_schema().fields().len();
    let rows = typed(table.full_schema(), found.columns()[..width].to_vec(), plan)?;
    Ok(Changed { rows: Delta::constant(rows.clone(), -1), touched: rows, beside })
}

/// What was found of further tables.
fn beside(plan: &ChangePlan, found: &RecordBatch) -> Result<Option<RecordBatch>, Report> {
    let columns: Vec<usize> = plan.beside(&found.schema()).collect();
    if columns.is_empty() {
        return Ok(None);
    }
    found.project(&columns).map(Some).map_err(|error| internal(&error))
}

/// The columns as rows of the table; NULL where the column takes none is an error.
fn typed(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    plan: &ChangePlan,
) -> Result<RecordBatch, Report> {
    let columns = canonical(schema, columns)?;
    match violation::null(plan, schema, &columns) {
        Some(report) => Err(report),
        None => RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| internal(&error)),
    }
}

/// Columns with the types of a schema.
pub(super) fn canonical(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
) -> Result<Vec<ArrayRef>, Report> {
    let canonical = columns.iter().zip(schema.fields()).map(|(column, field)| {
        match column.data_type() == field.data_type() {
            true => Ok(Arc::clone(column)),
            false => arrow::compute::cast(column, field.data_type()),
        }
    });
    canonical.collect::<Result<_, _>>().map_err(|error| internal(&error))
}

pub(super) fn rows_of(columns: &[ArrayRef]) -> Result<Rows, Report> {
    let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
    let converter = RowConverter::new(fields).map_err(|error| internal(&error))?;
    converter.convert_columns(columns).map_err(|error| internal(&error))
}

pub(super) fn keys_of(table: &Table, rows: &RecordBatch) -> Result<Rows, Report> {
    let columns = stored_key(table).iter().map(|column| Arc::clone(rows.column(*column)));
    rows_of(&columns.collect::<Vec<_>>())
}

/// The key columns, of a table without a primary key the hidden one.
pub(super) fn stored_key(table: &Table) -> &[usize] {
    &table.stored.plan.sort
}

fn keys_change(table: &Table, old: &RecordBatch, new: &RecordBatch) -> bool {
    table.key.iter().any(|column| old.column(*column) != new.column(*column))
}

/// A row that the query gives several times, of a join, is changed once.
fn first_of_each(table: &Table, found: &RecordBatch) -> Result<RecordBatch, Report> {
    let keys = keys_of(table, found)?;
    let mut seen = BTreeSet::new();
    let first = (0u32..).zip(&keys).filter(|(_, key)| seen.insert(key.owned()));
    let first: Vec<u32> = first.map(|(row, _)| row).collect();
    if first.len() == found.num_rows() {
        return Ok(found.clone());
    }
    take_record_batch(found, &UInt32Array::from(first)).map_err(|error| internal(&error))
}

impl crate::shared::Shared {
    /// The last epoch with an acknowledged change.
    pub(crate) fn last_change(&self) -> Epoch {
        Epoch(self.changed_at.load(Ordering::SeqCst))
    }
}
