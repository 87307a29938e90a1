//! Objects that get another definition: CREATE OR REPLACE VIEW, and names ([`super::rename`]).
//!
//! The session binds the new definition, and once more what stands above it, against the catalog as it
//! will be. The coordinator commits it if none of the objects that were looked at has changed meanwhile;
//! else the session begins anew.
//!
//! Invariants: 1. a view above shows the columns that it showed. 2. what a materialized view is made of
//! stays what it was made of.

use std::sync::Arc;

use arrow::datatypes::Field;
use millrace_plan::encode_plan;
use millrace_sql::ast::{self, Name, Statement};
use millrace_sql::{Binder, Catalog, CatalogTables, Kind, MaterializedView, Object, View};
use millrace_types::input::Zone;
use millrace_types::{ObjectId, Report, SqlState, SqlType};

use super::Conn;
use super::show::positioned;
use crate::coordinator::{Draft, Request};
use crate::shared::JobState;

/// How often a statement begins anew because others change what it looks at.
const TRIES: usize = 10;

/// New versions of objects, and what was looked at for them.
pub(super) struct Redefinition {
    after: Vec<Object>,
    /// What is redefined, and all that depends on it, as it was.
    seen: Vec<Arc<Object>>,
}

impl Redefinition {
    /// New versions of objects of a catalog.
    pub(super) fn new(catalog: &Catalog, after: Vec<Object>) -> Redefinition {
        let ids: Vec<ObjectId> = after.iter().map(|object| object.id).collect();
        let seen = with_those_above(catalog, &ids).into_iter();
        let seen = seen.filter_map(|id| catalog.get(id));
        Redefinition { seen: seen.cloned().collect(), after }
    }

    /// Makes it so, on the coordinator's thread.
    fn apply(self, draft: &mut Draft) -> Result<(), Report> {
        let catalog = draft.catalog();
        let ids: Vec<ObjectId> = self.after.iter().map(|object| object.id).collect();
        let now: Vec<_> =
            with_those_above(catalog, &ids).into_iter().filter_map(|id| catalog.get(id)).collect();
        let same = |(now, seen): (&&Arc<Object>, &Arc<Object>)| Arc::ptr_eq(now, seen);
        if now.len() != self.seen.len() || !now.iter().zip(&self.seen).all(same) {
            let message = "the object has changed meanwhile";
            return Err(Report::new(SqlState::SERIALIZATION_FAILURE, message));
        }
        let runs = |state: &JobState| !matches!(state, JobState::Failed(_));
        let mut jobs = draft.jobs().iter().filter(|job| runs(&job.state));
        if let Some(job) = jobs.find(|job| job.needs.iter().any(|id| ids.contains(id))) {
            let message = format!("{} \"{}\" is being filled", job.kind.word(), job.view);
            return Err(Report::new(SqlState::OBJECT_IN_USE, message)
                .hint("Try again when SHOW JOBS does not list it any more, or CANCEL JOB."));
        }
        let taken = |object: &&Object| {
            let other = catalog.find(&object.name).is_some_and(|other| other.id != object.id);
            let sequence = || catalog.sequences().any(|(.., one)| one.name == object.name);
            other || sequence() || draft.is_promised(&object.name)
        };
        if let Some(object) = self.after.iter().find(taken) {
            let message = format!("relation \"{}\" already exists", object.name);
            return Err(Report::new(SqlState::DUPLICATE_TABLE, message));
        }
        draft.redefine(self.after)
    }
}

/// Objects and all that depends on them, in the order in which they were made.
fn with_those_above(catalog: &Catalog, ids: &[ObjectId]) -> Vec<ObjectId> {
    let above = ids.iter().flat_map(|id| catalog.dependants(*id));
    let mut all: Vec<ObjectId> = ids.iter().copied().chain(above).collect();
    all.sort_unstable();
    all.dedup();
    all
}

impl Conn {
    /// Has objects redefined, anew when they have changed meanwhile.
    pub(super) async fn redefine(
        &mut self,
        redefinition: impl Fn(&Conn, &Catalog) -> Result<Redefinition, Report>,
    ) -> Result<(), Report> {
        let mut tries = TRIES;
        loop {
            let redefinition = redefinition(self, &self.shared.catalog())?;
            let apply = move |draft: &mut Draft| redefinition.apply(draft);
            let done = self.ask(|reply| Request::Access(Box::new(apply), reply)).await;
            tries -= 1;
            match done {
                Err(report) if report.code == SqlState::SERIALIZATION_FAILURE && tries > 0 => {}
                done => return done,
            }
        }
    }

    /// CREATE OR REPLACE VIEW where there is an object of that name.
    pub(super) async fn replace_view(&mut self, create: &ast::CreateView) -> Result<(), Report> {
        self.redefine(|conn, catalog| conn.replaced(catalog, create)).await
    }

    fn replaced(
        &self,
        catalog: &Catalog,
        create: &ast::CreateView,
    ) -> Result<Redefinition, Report> {
        let name = &create.name;
        let Some(old) = catalog.find(&name.name) else {
            let message = format!("relation \"{}\" does not exist", name.name);
            return Err(positioned(Report::new(SqlState::UNDEFINED_TABLE, message), name));
        };
        let Kind::View(before) = &old.kind else {
            let message = format!("\"{}\" is not a view", name.name);
            return Err(positioned(Report::new(SqlState::WRONG_OBJECT_TYPE, message), name));
        };
        self.must_own(old)?;
        let new = self.bind_view(catalog, create)?;
        let Kind::View(after) = &new.kind else { unreachable!("it is a view") };
        check_columns(before, after)?;
        let stands_on = with_those_above(catalog, &[old.id]);
        if after.depends_on.iter().any(|id| stands_on.contains(id)) {
            let message =
                format!("infinite recursion detected in rules for relation \"{}\"", name.name);
            return Err(positioned(
                Report::new(SqlState::INVALID_OBJECT_DEFINITION, message),
                name,
            ));
        }
        let access = old.access.clone();
        let new = Object { id: old.id, sql: millrace_sql::masked(&new.sql), access, ..new };
        self.check_above(&catalog.with(new.clone()), &new, name)?;
        Ok(Redefinition::new(catalog, vec![new]))
    }

    /// What stands above a view shows what it showed, in a catalog that has it already.
    fn check_above(&self, catalog: &Catalog, view: &Object, name: &Name) -> Result<(), Report> {
        let above = catalog.dependants(view.id);
        let above = above.iter().filter_map(|id| catalog.get(*id));
        let changed: Vec<String> = above
            .filter(|object| !self.shows_the_same(catalog, object))
            .map(|object| {
                let (kind, above) = (object.object_kind().word(), &object.name);
                format!("{kind} {above} depends on view {}", view.name)
            })
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        let message =
            format!("cannot replace view {} because other objects depend on it", view.name);
        let report = Report::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
            .detail(changed.join("\n"))
            .hint("They show what they were made of: drop them, and create them anew after it.");
        Err(positioned(report, name))
    }

    /// True if an object would be made of the same, and have the same columns.
    fn shows_the_same(&self, catalog: &Catalog, object: &Object) -> bool {
        match &object.kind {
            Kind::View(view) => {
                let (state, tables) = (self.state(), CatalogTables(catalog));
                Binder::new(catalog, &tables, &state).bind_again(view).is_ok()
            }
            Kind::MaterializedView(view) => self.made_of_the_same(catalog, object, view),
            // They follow what they are on.
            Kind::Index(_) | Kind::Sink(_) | Kind::Source(_) | Kind::Table(_) => true,
        }
    }

    fn made_of_the_same(&self, catalog: &Catalog, object: &Object, old: &MaterializedView) -> bool {
        let Ok(mut statements) = millrace_sql::parse(&object.sql) else { return false };
        let Some(Statement::CreateMaterializedView(create)) = statements.pop() else {
            return false;
        };
        // A zone that it depends on is in its statement.
        let Ok((plan, _)) = self.plan_view_in(catalog, &create, Zone::Utc) else { return false };
        match (encode_plan(&plan), encode_plan(&old.plan)) {
            (Ok(new), Ok(old)) => new == old,
            _ => false,
        }
    }
}

/// A view keeps its columns; others may come behind them.
fn check_columns(before: &View, after: &View) -> Result<(), Report> {
    let (before, after) = (before.schema.fields(), after.schema.fields());
    let refused = |message: String| Report::new(SqlState::INVALID_TABLE_DEFINITION, message);
    if after.len() < before.len() {
        return Err(refused("cannot drop columns from view".into()));
    }
    let type_of = |field: &Field| {
        SqlType::of_arrow(field.data_type()).map(|sql_type| sql_type.name()).unwrap_or_default()
    };
    for (old, new) in before.iter().zip(after) {
        if old.name() != new.name() {
            let (old, new) = (old.name(), new.name());
            let message = format!("cannot change name of view column \"{old}\" to \"{new}\"");
            return Err(
                refused(message).hint("DROP VIEW and CREATE VIEW make it anew with other columns.")
            );
        }
        if old.data_type() != new.data_type() {
            let (name, old, new) = (old.name(), type_of(old), type_of(new));
            let message =
                format!("cannot change data type of view column \"{name}\" from {old} to {new}");
            return Err(refused(message));
        }
    }
    Ok(())
}
