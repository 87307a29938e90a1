//! ALTER ... RENAME TO: another name for an object, in the texts of all that names it.
//!
//! Plans name objects by their numbers and stay what they are. Views, and what is shown of definitions, name
//! them in SQL: these texts are written anew, and bound once more before anything changes.

use std::sync::Arc;

use millrace_sql::ast::{CreateMaterializedView, CreateView, ObjectKind, Rename, Statement};
use millrace_sql::{Binder, Catalog, CatalogTables, Kind, Object, View};
use millrace_types::{Report, SqlState};

use super::Conn;
use super::redefine::Redefinition;
use super::show::positioned;

impl Conn {
    pub(super) async fn rename(&mut self, rename: &Rename) -> Result<(), Report> {
        if rename.if_exists && self.shared.catalog().find(&rename.name.name).is_none() {
            let message = format!("relation \"{}\" does not exist, skipping", rename.name.name);
            self.notice(message);
            return Ok(());
        }
        self.redefine(|conn, catalog| conn.renamed(catalog, rename)).await
    }

    fn renamed(&self, catalog: &Catalog, rename: &Rename) -> Result<Redefinition, Report> {
        let (name, to) = (&rename.name, &rename.to);
        let Some(object) = catalog.find(&name.name) else {
            let message = format!("relation \"{}\" does not exist", name.name);
            return Err(positioned(Report::new(SqlState::UNDEFINED_TABLE, message), name));
        };
        // As in PostgreSQL, ALTER TABLE renames whatever it is.
        if rename.kind != ObjectKind::Table && object.object_kind() != rename.kind {
            let message = format!("\"{}\" is not {}", name.name, rename.kind.one());
            return Err(positioned(Report::new(SqlState::WRONG_OBJECT_TYPE, message), name));
        }
        self.must_own(object)?;
        if let Kind::Table(table) = &object.kind {
            let is_own = |word: &str| word.eq_ignore_ascii_case(&object.name);
            let is_gap = |c: char| !(c.is_alphanumeric() || c == '_' || c == '$');
            let is_column = table.columns.iter().any(|column| is_own(&column.name));
            let mut checks = table.constraints.checks.iter().filter(|_| !is_column);
            if let Some(check) = checks.find(|check| check.text.split(is_gap).any(is_own)) {
                let what =
                    format!("another name for a table that its constraint {} names", check.name);
                let hint =
                    "Drop the constraint, and add it anew with the names of its columns alone.";
                return Err(positioned(Report::unsupported(what).hint(hint), name));
            }
        }
        if catalog.find(&to.name).is_some() {
            let message = format!("relation \"{}\" already exists", to.name);
            return Err(positioned(Report::new(SqlState::DUPLICATE_TABLE, message), to));
        }
        let names = (name.name.as_str(), to.name.as_str());
        let own = Object { name: to.name.clone(), ..with_names(object, names, true)? };
        let named = catalog.objects().filter(|above| above.depends_on().contains(&object.id));
        let mut after = vec![own];
        for above in named {
            after.push(with_names(above, names, false)?);
        }
        let renamed = after.iter().fold(catalog.clone(), |all, one| all.with(one.clone()));
        let mut checked = Vec::new();
        for object in after {
            checked.push(self.bound_again(&renamed, object)?);
        }
        Ok(Redefinition::new(catalog, checked))
    }

    /// The object as its new text says; an error if that says something else than the old one.
    fn bound_again(&self, catalog: &Catalog, object: Object) -> Result<Object, Report> {
        let again = match &object.kind {
            Kind::View(_) => self.view_again(catalog, &object)?,
            Kind::MaterializedView(_) if self.is_bound_alike(catalog, &object)? => {
                Some(object.clone())
            }
            Kind::MaterializedView(_) => None,
            // They name what they are on by its number.
            Kind::Source(_) | Kind::Table(_) | Kind::Index(_) | Kind::Sink(_) => {
                Some(object.clone())
            }
        };
        again.ok_or_else(|| cannot(&object))
    }

    fn view_again(&self, catalog: &Catalog, object: &Object) -> Result<Option<Object>, Report> {
        let (Kind::View(old), Some(create)) = (&object.kind, created_view(object)?) else {
            return Ok(None);
        };
        let view = View { query_text: create.query_text, ..old.clone() };
        let (state, tables) = (self.state(), CatalogTables(catalog));
        let bound = Binder::new(catalog, &tables, &state).bind_again(&view);
        let same = bound.is_ok_and(|bound| bound.depends_on == old.depends_on);
        Ok(same.then(|| Object { kind: Kind::View(view), ..object.clone() }))
    }

    fn is_bound_alike(&self, catalog: &Catalog, object: &Object) -> Result<bool, Report> {
        let Some(create) = created_materialized_view(object)? else { return Ok(false) };
        let (state, tables) = (self.state(), CatalogTables(catalog));
        let binder = Binder::new(catalog, &tables, &state);
        let Ok(bound) = binder.bind_materialized_view(&create, &object.sql) else {
            return Ok(false);
        };
        let (new, old) = (bound.plan.schema(), object.visible_schema());
        let same =
            new.fields().len() == old.fields().len()
                && new.fields().iter().zip(old.fields()).all(|(new, old)| {
                    new.name() == old.name() && new.data_type() == old.data_type()
                });
        Ok(same && bound.depends_on == object.depends_on())
    }
}

/// An object whose text has other names.
fn with_names(object: &Arc<Object>, names: (&str, &str), own: bool) -> Result<Object, Report> {
    match millrace_sql::renamed(&object.sql, names, own)? {
        Some(sql) => Ok(Object { sql, ..Object::clone(object) }),
        None => Err(cannot(object)),
    }
}

fn created_view(object: &Object) -> Result<Option<CreateView>, Report> {
    Ok(match millrace_sql::parse(&object.sql)?.pop() {
        Some(Statement::CreateView(create)) => Some(*create),
        _ => None,
    })
}

fn created_materialized_view(object: &Object) -> Result<Option<CreateMaterializedView>, Report> {
    Ok(match millrace_sql::parse(&object.sql)?.pop() {
        Some(Statement::CreateMaterializedView(create)) => Some(*create),
        _ => None,
    })
}

fn cannot(object: &Object) -> Report {
    let (kind, name) = (object.object_kind().word(), &object.name);
    let what = format!("another name in the query of {kind} {name}");
    Report::unsupported(what).hint(format!("Drop {kind} {name}, and create it anew afterwards."))
}
