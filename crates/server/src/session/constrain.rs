//! CREATE and ALTER TABLE: constraints come and go.
//!
//! What becomes a constraint holds for the rows that are there: they are looked at while their table is locked. UNIQUE is an
//! index; it comes behind its table, which goes again if it cannot be made.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;
use millrace_sql::ast::{self, ConstraintChange, Name, ObjectKind};
use millrace_sql::{
    BoundConstraints, Check, Constraints, Index, Kind, Object, References, Table, Unique,
    bind_constraints,
};
use millrace_types::{ObjectId, Report, SqlState};
use tokio::sync::oneshot;

use super::change::{Running, quoted};
use super::constraints::{OWN, query_of};
use super::show::positioned;
use super::tables::QueryTables;
use super::{Conn, violation};
use crate::coordinator::{Message, Request};
use crate::shared::Shared;

/// What the table that a foreign key refers to is called in a query.
const OTHER: &str = "_other_table";

/// A table that has not all of its constraints yet: it is dropped with this.
struct Unfinished {
    shared: Arc<Shared>,
    name: String,
    /// What the coordinator will say of it.
    made: Option<oneshot::Receiver<Result<(), Report>>>,
    table: Option<ObjectId>,
}

impl Unfinished {
    async fn until_made(&mut self) -> Result<(), Report> {
        let Some(made) = &mut self.made else { return Ok(()) };
        let answer = made.await;
        self.made = None;
        answer.map_err(|_| super::ddl::shutting_down())??;
        self.table = self.shared.catalog().find(&self.name).map(|object| object.id);
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let shared = self.shared.clone();
        let forget = move |table: ObjectId| {
            let (reply, _) = oneshot::channel();
            let request = Request::Drop(vec![table], true, reply);
            // A coordinator that has gone has nothing to forget.
            drop(shared.inbox.send(Message::Request(Box::new(request))));
        };
        let (shared, name) = (self.shared.clone(), std::mem::take(&mut self.name));
        match (self.made.take(), self.table.take()) {
            (Some(made), _) => {
                let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
                runtime.spawn(async move {
                    if let Ok(Ok(())) = made.await
                        && let Some(table) = shared.catalog().find(&name).map(|object| object.id)
                    {
                        forget(table);
                    }
                });
            }
            (None, Some(table)) => forget(table),
            (None, None) => {}
        }
    }
}

impl Conn {
    /// The constraints of a table that is about to be made; conditions are bound once, so that a wrong one fails now.
    pub(super) fn constraints_of(
        &mut self,
        create: &ast::CreateTable,
        table: &Table,
    ) -> Result<BoundConstraints, Report> {
        let of = (&create.name, ObjectId::default());
        let bound = bind_constraints(&self.shared.catalog(), of, table, &create.constraints)?;
        self.must_own_referenced(&bound.constraints.references)?;
        for (check, position) in
            bound.constraints.checks.iter().zip(conditions(&create.constraints))
        {
            self.bind_check(&create.name.name, table, check, position)?;
        }
        create.constraints.iter().for_each(|one| self.say_deferred(one));
        Ok(bound)
    }

    /// An error if the transaction has changed a table: a constraint takes effect at once, and stays when this change
    /// is rolled back.
    pub(super) fn must_not_have_changed(&self, table: ObjectId) -> Result<(), Report> {
        if self.uncommitted.rows_of(table).is_none() {
            return Ok(());
        }
        let message = "a constraint cannot be added in a transaction that has changed its table";
        Err(Report::new(SqlState::ACTIVE_SQL_TRANSACTION, message)
            .hint("COMMIT before it: the constraint takes effect at once."))
    }

    /// An error unless who makes a foreign key owns the table that it refers to: it tells which rows are there, and
    /// keeps them from being deleted.
    fn must_own_referenced(&self, references: &[References]) -> Result<(), Report> {
        let catalog = self.shared.catalog();
        let mut tables = references.iter().filter_map(|reference| catalog.get(reference.table));
        tables.try_for_each(|table| self.must_own(table))
    }

    /// What is not as the statement says.
    fn say_deferred(&mut self, constraint: &ast::Constraint) {
        if constraint.deferred {
            let which = match &constraint.name {
                Some(name) => format!("constraint \"{}\"", name.name),
                None => "the constraint".to_owned(),
            };
            self.notice(format!("{which} is looked at when a statement ends, not at COMMIT"));
        }
    }

    fn bind_check(
        &self,
        name: &str,
        table: &Table,
        check: &Check,
        position: Option<usize>,
    ) -> Result<(), Report> {
        let at = |report: Report| Report { position, ..report };
        let schema = Arc::new(
            table
                .full_schema()
                .project(&visible(table))
                .unwrap_or_else(|_| arrow::datatypes::Schema::empty()),
        );
        let tables = QueryTables::new(self.shared.clone());
        let tables = tables.with(name, RecordBatch::new_empty(schema))?;
        let text = format!("SELECT ({}) FROM {}", check.text, quoted(name));
        let query = query_of(&text).map_err(at)?;
        let state = self.state();
        let binder = millrace_sql::Binder::new(tables.catalog(), &tables, &state);
        let bound = binder.bind_query(&query, &text, &millrace_sql::Parameters::none());
        let bound = bound.map_err(at)?;
        let found = bound.columns.field(0).data_type().clone();
        if !matches!(found, DataType::Boolean | DataType::Null) {
            let name = millrace_types::SqlType::of_arrow(&found).map(|sql| sql.name());
            let message = format!(
                "argument of CHECK must be type boolean, not type {}",
                name.unwrap_or_else(|| "record".to_owned())
            );
            return Err(at(Report::new(SqlState::DATATYPE_MISMATCH, message)));
        }
        let mut calls = None;
        let walked = bound.plan.apply(|node| {
            match node {
                LogicalPlan::Aggregate(_) => calls = Some("aggregate"),
                LogicalPlan::Window(_) => calls = Some("window"),
                _ => return Ok(TreeNodeRecursion::Continue),
            }
            Ok(TreeNodeRecursion::Stop)
        });
        walked.map_err(|error| super::report_of(&error))?;
        let Some(calls) = calls else { return Ok(()) };
        let code = match calls {
            "window" => SqlState::WINDOWING_ERROR,
            _ => SqlState::GROUPING_ERROR,
        };
        Err(at(Report::new(
            code,
            format!("{calls} functions are not allowed in check constraints"),
        )))
    }

    /// Makes a table, and the indexes of UNIQUE; the table goes if one cannot be made, and with a statement that is
    /// cancelled.
    pub(super) async fn create_unique(
        &mut self,
        object: Object,
        indexes: Vec<ast::CreateIndex>,
    ) -> Result<(), Report> {
        let name = object.name.clone();
        let made = self.send(|reply| Request::Create(Box::new(object), reply))?;
        let shared = self.shared.clone();
        let mut unfinished = Unfinished { shared, name, made: Some(made), table: None };
        unfinished.until_made().await?;
        for create in indexes {
            let filled = Box::pin(self.create_index(create)).await;
            if let (Err(report), Some(table)) = (filled, unfinished.table) {
                unfinished.table = None;
                self.ask(|reply| Request::Drop(vec![table], true, reply)).await?;
                return Err(report);
            }
        }
        unfinished.table = None;
        Ok(())
    }

    /// Looks whether the rows of a table differ in the columns of an index; the table is locked.
    pub(super) async fn check_differ(&self, name: &str, index: &Index) -> Result<(), Report> {
        let catalog = self.shared.catalog();
        let Some(on) = catalog.get(index.on) else { return Ok(()) };
        let schema = on.full_schema();
        let names = index.columns.iter().map(|column| quoted(schema.field(*column).name()));
        let names: Vec<String> = names.collect();
        let whole: Vec<String> = names.iter().map(|name| format!("{name} IS NOT NULL")).collect();
        let text = format!(
            "SELECT {0} FROM {1} WHERE {2} GROUP BY {0} HAVING count(*) > 1 LIMIT 1",
            names.join(", "),
            quoted(&on.name),
            whole.join(" AND ")
        );
        let found = self.look(on.id, &text).await?;
        if found.num_rows() == 0 {
            return Ok(());
        }
        let message = format!("could not create unique index \"{name}\"");
        let key = violation::key(on, &index.columns, (&found, 0));
        let report = Report::new(SqlState::UNIQUE_VIOLATION, message);
        Err(report.detail(format!("{key} is duplicated.")))
    }

    async fn look(&self, table: ObjectId, text: &str) -> Result<RecordBatch, Report> {
        let query = query_of(text)?;
        self.read_head(&Running::over(table, text), &query, self.tables()?).await
    }

    /// `ALTER TABLE ... ADD constraint | DROP CONSTRAINT`
    pub(super) async fn alter_constraints(
        &mut self,
        alter: &ast::AlterConstraints,
        text: &str,
    ) -> Result<(), Report> {
        if self.object(&alter.table).is_err() && alter.if_exists {
            self.notice(format!("relation \"{}\" does not exist, skipping", alter.table.name));
            return Ok(());
        }
        let object = self.object(&alter.table)?;
        if !matches!(object.kind, Kind::Table(_)) {
            let message = format!("\"{}\" is not a table", object.name);
            return Err(positioned(
                Report::new(SqlState::WRONG_OBJECT_TYPE, message),
                &alter.table,
            ));
        }
        self.must_not_have_changed(object.id)?;
        self.lock_whole(object.id).await?;
        let mut changed = Ok(());
        for change in &alter.changes {
            changed = match change {
                ConstraintChange::Add(constraint) => {
                    self.say_deferred(constraint);
                    self.add_constraint(&alter.table, constraint, text).await
                }
                ConstraintChange::Drop(name, if_exists) => {
                    self.drop_constraint(&alter.table, name, *if_exists, text).await
                }
            };
            if changed.is_err() {
                break;
            }
        }
        self.uncommitted.unlock_unchanged();
        changed
    }

    async fn add_constraint(
        &mut self,
        name: &Name,
        constraint: &ast::Constraint,
        text: &str,
    ) -> Result<(), Report> {
        let object = self.object(name)?;
        let Kind::Table(table) = &object.kind else { return Ok(()) };
        let new = std::slice::from_ref(constraint);
        let of = (name, object.id);
        let bound = bind_constraints(&self.shared.catalog(), of, table, new)?;
        self.must_own_referenced(&bound.constraints.references)?;
        if let ast::ConstraintKind::Unique(_) = &constraint.kind {
            for create in bound.unique {
                Box::pin(self.create_index(create)).await?;
            }
            return Ok(());
        }
        let constraints = bound.constraints;
        if let Some(check) = constraints.checks.get(table.constraints.checks.len()) {
            let position = conditions(new).next().flatten();
            self.bind_check(&object.name, table, check, position)?;
            self.check_all(&object, check).await?;
        }
        if let Some(reference) = constraints.references.get(table.constraints.references.len()) {
            self.must_not_have_changed(reference.table)?;
            self.lock_whole(reference.table).await?;
            self.refer_all(&object, reference).await?;
        }
        self.constrain(object.id, constraints, text).await
    }

    /// Looks whether all rows meet a condition.
    async fn check_all(&self, object: &Object, check: &Check) -> Result<(), Report> {
        let table = quoted(&object.name);
        let text = format!("SELECT 1 FROM {table} WHERE NOT ({}) LIMIT 1", check.text);
        if self.look(object.id, &text).await?.num_rows() == 0 {
            return Ok(());
        }
        let (name, relation) = (&check.name, &object.name);
        let message = format!(
            "check constraint \"{name}\" of relation \"{relation}\" is violated by some row"
        );
        Err(Report::new(SqlState::CHECK_VIOLATION, message))
    }

    /// Looks whether all rows refer to what is there.
    async fn refer_all(&self, object: &Object, reference: &References) -> Result<(), Report> {
        let catalog = self.shared.catalog();
        let Some(to) = catalog.get(reference.table) else { return Ok(()) };
        let (from_schema, to_schema) = (object.full_schema(), to.full_schema());
        let from = |column: &usize| format!("{OWN}.{}", quoted(from_schema.field(*column).name()));
        let names: Vec<String> = reference.columns.iter().map(from).collect();
        let whole: Vec<String> = names.iter().map(|name| format!("{name} IS NOT NULL")).collect();
        let pairs = names.iter().zip(&reference.to);
        let same = pairs.map(|(name, column)| {
            format!("{OTHER}.{} = {name}", quoted(to_schema.field(*column).name()))
        });
        let text = format!(
            "SELECT {} FROM {} AS {OWN} WHERE {} AND NOT EXISTS (SELECT 1 FROM {} AS {OTHER} WHERE {}) LIMIT 1",
            names.join(", "),
            quoted(&object.name),
            whole.join(" AND "),
            quoted(&to.name),
            same.collect::<Vec<_>>().join(" AND ")
        );
        let found = self.look(object.id, &text).await?;
        match found.num_rows() {
            0 => Ok(()),
            _ => Err(violation::not_there(object, reference, to, &found)),
        }
    }

    async fn drop_constraint(
        &mut self,
        table: &Name,
        name: &Name,
        if_exists: bool,
        text: &str,
    ) -> Result<(), Report> {
        let object = self.object(table)?;
        let Kind::Table(definition) = &object.kind else { return Ok(()) };
        let catalog = self.shared.catalog();
        let mut indexes = catalog.indexes(object.id);
        let index = indexes
            .find(|(index, one)| index.name == name.name && one.unique == Some(Unique::Constraint));
        if let Some((index, unique)) = index {
            let set = |columns: &[usize]| {
                columns.iter().copied().collect::<std::collections::BTreeSet<usize>>()
            };
            let mut users = catalog.references(object.id);
            let user = users.find(|(_, one)| set(&one.to) == set(&unique.columns));
            if let Some((from, reference)) = user {
                return Err(needed(&name.name, &object.name, &from.name, &reference.name));
            }
            let id = index.id;
            return self.ask(|reply| Request::Drop(vec![id], false, reply)).await;
        }
        if !definition.key.is_empty() && definition.key_name(&object.name) == name.name {
            let report = Report::unsupported("DROP CONSTRAINT of a primary key");
            let report = report.hint("Rows are stored by their key: create another table.");
            return Err(positioned(report, name));
        }
        let mut constraints = definition.constraints.clone();
        constraints.checks.retain(|check| check.name != name.name);
        constraints.references.retain(|reference| reference.name != name.name);
        if constraints != definition.constraints {
            return self.constrain(object.id, constraints, text).await;
        }
        let (constraint, relation) = (&name.name, &object.name);
        let message =
            format!("constraint \"{constraint}\" of relation \"{relation}\" does not exist");
        match if_exists {
            true => {
                self.notice(format!("{message}, skipping"));
                Ok(())
            }
            false => Err(positioned(Report::new(SqlState::UNDEFINED_OBJECT, message), name)),
        }
    }

    async fn constrain(
        &self,
        id: ObjectId,
        constraints: Constraints,
        text: &str,
    ) -> Result<(), Report> {
        let constraints = Box::new(constraints);
        let text = text.to_owned();
        self.ask(|reply| Request::Constrain(id, constraints, text, reply)).await
    }

    /// Foreign keys from other tables to what is dropped: they go with CASCADE, and keep it otherwise.
    pub(super) async fn drop_references(
        &mut self,
        ids: &[ObjectId],
        drop: &ast::Drop,
    ) -> Result<(), Report> {
        let catalog = self.shared.catalog();
        for id in ids {
            let Some(object) = catalog.get(*id) else { continue };
            if let Kind::Index(index) = &object.kind
                && index.unique == Some(Unique::Constraint)
                && let Some(table) = catalog.get(index.on)
                && drop.kind == ObjectKind::Index
            {
                let (name, table) = (&object.name, &table.name);
                let message = format!(
                    "cannot drop index {name} because constraint {name} on table {table} requires it"
                );
                let report = Report::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message);
                let hint = format!("You can drop constraint {name} on table {table} instead.");
                return Err(report.hint(hint));
            }
            let from = catalog.references(*id).filter(|(from, _)| !ids.contains(&from.id));
            for (from, reference) in from {
                if !drop.cascade {
                    return Err(kept(&object.name, &from.name, &reference.name));
                }
                let gone = format!("constraint {} on table {}", reference.name, from.name);
                self.notice(format!("drop cascades to {gone}"));
                let Some(Kind::Table(table)) =
                    self.shared.catalog().get(from.id).map(|object| object.kind.clone())
                else {
                    continue;
                };
                let mut constraints = table.constraints;
                constraints.references.retain(|one| one.name != reference.name);
                let (name, from_name) = (quoted(&reference.name), quoted(&from.name));
                let text = format!("ALTER TABLE {from_name} DROP CONSTRAINT {name}");
                self.constrain(from.id, constraints, &text).await?;
            }
        }
        Ok(())
    }
}

/// Where the conditions of CHECK stand.
fn conditions(constraints: &[ast::Constraint]) -> impl Iterator<Item = Option<usize>> {
    constraints.iter().filter_map(|constraint| match &constraint.kind {
        ast::ConstraintKind::Check(condition) => Some(condition.position),
        _ => None,
    })
}

fn visible(table: &Table) -> Vec<usize> {
    (0..table.columns.len()).collect()
}

fn kept(table: &str, from: &str, constraint: &str) -> Report {
    let message = format!("cannot drop table {table} because other objects depend on it");
    let report = Report::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message);
    let detail = format!("constraint {constraint} on table {from} depends on table {table}");
    report.detail(detail).hint("Use DROP ... CASCADE to drop the dependent objects too.")
}

fn needed(name: &str, table: &str, from: &str, constraint: &str) -> Report {
    let message = format!(
        "cannot drop constraint {name} on table {table} because other objects depend on it"
    );
    let report = Report::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message);
    report.detail(format!("constraint {constraint} on table {from} depends on index {name}"))
}
