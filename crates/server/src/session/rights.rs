//! What the role of a session may do: looked at before a statement does it.
//!
//! A query needs SELECT on what it names itself. What stands behind a view is read with the rights of the
//! view's owner; what stands behind a materialized view was read with the rights that its owner had when it
//! was made.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use millrace_sql::ast::{self, Statement};
use millrace_sql::sqlparser::ast::{Expr, Statement as SqlStatement};
use millrace_sql::{
    Bound, Catalog, ChangeKind, ChangePlan, Conflict, Kind, Object, Privilege, Role, RoleId,
};
use millrace_types::{ObjectId, Report, SqlState};

use super::{Conn, report_of};
use crate::access::grants::not_owner;
use crate::access::{Who, denied};
use millrace_sql::SYSTEM_SCHEMA;

/// Tables of the schema `millrace` that hold users' rows.
const WITH_ROWS: [&str; 3] = ["late_rows", "source_errors", "view_errors"];

impl Conn {
    /// The role whose rights count now.
    ///
    /// # Errors
    /// It is gone, or the user is no member of it any more.
    pub(super) fn role(&self) -> Result<Arc<Role>, Report> {
        let catalog = self.shared.catalog();
        let gone = || {
            let message = "the role of this session has been dropped";
            Report::new(SqlState::INVALID_AUTHORIZATION, message)
        };
        let user = catalog.role(self.user).ok_or_else(gone)?;
        let wanted = self.settings.lock().get("role")?;
        match wanted.as_str() {
            "none" => Ok(Arc::clone(user)),
            name => become_role(&catalog, self.user, name),
        }
    }

    /// Whose session it is.
    pub(super) fn who(&self) -> Result<Who, Report> {
        Ok(Who { current: self.role()?.id, session: self.user })
    }

    /// The name of the user that came in.
    pub(super) fn user_name(&self) -> String {
        crate::access::name_of(&self.shared.catalog(), self.user)
    }

    /// Tells the settings who asks.
    pub(super) fn identify(&self) {
        let superuser = self.role().is_ok_and(|role| role.superuser);
        self.settings.lock().identify(self.user_name(), superuser);
    }

    /// Looks at what a statement needs before it is bound; the rest is looked at where it is.
    pub(super) fn check_rights(&self, statement: &Statement) -> Result<(), Report> {
        let by_name = |name: &ast::Name| self.shared.catalog().find(&name.name).cloned();
        match statement {
            Statement::CreateSource(_)
            | Statement::CreateTable(_)
            | Statement::CreateTableAs(_)
            | Statement::CreateSink(_)
            | Statement::CreateView(_)
            | Statement::CreateMaterializedView(_) => self.may_create(),
            Statement::CreateIndex(create) => {
                by_name(&create.on).map_or(Ok(()), |object| self.must_own(&object))
            }
            Statement::Drop(drop) => drop.names.iter().try_for_each(|name| match by_name(name) {
                Some(object) => self.must_own(&object),
                None => self.job(&name.name).map_or(Ok(()), |job| self.must_own_job(&job)),
            }),
            Statement::Alter(alter) => {
                by_name(&alter.name).map_or(Ok(()), |object| self.must_own(&object))
            }
            Statement::AlterConstraints(alter) => {
                by_name(&alter.table).map_or(Ok(()), |object| self.must_own(&object))
            }
            Statement::Backup(_) => self.must_be_superuser("back up the server"),
            Statement::CancelJob(number) => {
                let jobs = self.shared.board.lock().jobs.clone();
                let job = jobs.into_iter().find(|job| job.id == ObjectId(*number));
                job.map_or(Ok(()), |job| self.must_own_job(&job))
            }
            Statement::Copy(copy) => {
                by_name(&copy.table).map_or(Ok(()), |object| self.must(&object, Privilege::Insert))
            }
            _ => self.role().map(|_| ()),
        }
    }

    fn may_create(&self) -> Result<(), Report> {
        let catalog = self.shared.catalog();
        match catalog.allows(self.role()?.id, catalog.schema(), Privilege::Create) {
            true => Ok(()),
            false => {
                let hint = "GRANT CREATE ON SCHEMA public lets a role make objects.";
                Err(denied("for schema public").hint(hint))
            }
        }
    }

    fn must_be_superuser(&self, what: &str) -> Result<(), Report> {
        match self.role()?.superuser {
            true => Ok(()),
            false => Err(denied(format!("to {what}")).hint("Only superusers may.")),
        }
    }

    pub(super) fn must_own(&self, object: &Object) -> Result<(), Report> {
        let owns = self.shared.catalog().owns(self.role()?.id, &object.access);
        if owns { Ok(()) } else { Err(not_owner(object)) }
    }

    fn must_own_job(&self, job: &crate::shared::JobStatus) -> Result<(), Report> {
        let (catalog, role) = (self.shared.catalog(), self.role()?.id);
        if catalog.is_superuser(role) || catalog.rights_of(role).contains(&job.owner) {
            return Ok(());
        }
        let message = format!("must be owner of job {}", job.id);
        Err(Report::new(SqlState::INSUFFICIENT_PRIVILEGE, message))
    }

    /// An error unless the role has a right on an object.
    pub(super) fn must(&self, object: &Object, privilege: Privilege) -> Result<(), Report> {
        may(&self.shared.catalog(), self.role()?.id, object, privilege)
    }

    /// Looks at what a bound query reads, but for one table.
    pub(super) fn check_reads(
        &self,
        bound: &Bound,
        without: Option<ObjectId>,
    ) -> Result<(), Report> {
        let role = self.role()?;
        let catalog = self.shared.catalog();
        check_named(&catalog, role.id, &bound.depends_on, without)?;
        if role.superuser {
            return Ok(());
        }
        check_system(&bound.plan)
    }

    /// As [`Conn::check_reads`], for objects that a view names.
    pub(super) fn check_named(&self, named: &[ObjectId]) -> Result<(), Report> {
        check_named(&self.shared.catalog(), self.role()?.id, named, None)
    }

    /// Looks at what a statement does to its table.
    pub(super) fn check_change(
        &self,
        plan: &ChangePlan,
        change: &ast::Change,
    ) -> Result<(), Report> {
        let verb = match plan.kind {
            ChangeKind::Insert => Privilege::Insert,
            ChangeKind::Update => Privilege::Update,
            ChangeKind::Delete => Privilege::Delete,
        };
        self.must(&plan.table, verb)?;
        if matches!(plan.conflict, Conflict::Update(_)) {
            self.must(&plan.table, Privilege::Update)?;
        }
        match reads_own_rows(&change.statement) {
            true => self.must(&plan.table, Privilege::Select),
            false => Ok(()),
        }
    }
}

/// The role that a user becomes with SET ROLE.
///
/// # Errors
/// There is none of that name, or the user is no member of it.
pub(super) fn become_role(
    catalog: &Catalog,
    user: RoleId,
    name: &str,
) -> Result<Arc<Role>, Report> {
    let Some(role) = catalog.find_role(name) else {
        let message = format!("role \"{name}\" does not exist");
        return Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, message));
    };
    match catalog.is_member(user, role.id) {
        true => Ok(Arc::clone(role)),
        false => Err(denied(format!("to set role \"{name}\""))),
    }
}

/// An error unless a role has a right on an object.
pub(super) fn may(
    catalog: &Catalog,
    role: RoleId,
    object: &Object,
    privilege: Privilege,
) -> Result<(), Report> {
    match catalog.allows(role, &object.access, privilege) {
        true => Ok(()),
        false => {
            let (kind, name) = (object.object_kind().word(), &object.name);
            Err(denied(format!("for {kind} {name}")))
        }
    }
}

/// SELECT on what is named, and behind views that of their owners.
fn check_named(
    catalog: &Catalog,
    role: RoleId,
    named: &[ObjectId],
    without: Option<ObjectId>,
) -> Result<(), Report> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<(RoleId, ObjectId)> =
        named.iter().filter(|id| Some(**id) != without).map(|id| (role, *id)).collect();
    while let Some((role, id)) = open.pop() {
        let Some(object) = catalog.get(id).filter(|_| seen.insert((role, id))) else { continue };
        may(catalog, role, object, Privilege::Select)?;
        if let Kind::View(view) = &object.kind {
            let owner = object.access.owner;
            open.extend(view.depends_on.iter().map(|below| (owner, *below)));
        }
    }
    Ok(())
}

/// What the server keeps of rows, whosever they are, is for superusers.
fn check_system(plan: &LogicalPlan) -> Result<(), Report> {
    let mut found = None;
    let looked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && scan.table_name.schema() == Some(SYSTEM_SCHEMA)
            && WITH_ROWS.contains(&scan.table_name.table())
        {
            found = Some(scan.table_name.table().to_owned());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    looked.map_err(|error| report_of(&error))?;
    match found {
        None => Ok(()),
        Some(name) => {
            let hint = "It holds rows of all sources and views: superusers read it.";
            Err(denied(format!("for table {SYSTEM_SCHEMA}.{name}")).hint(hint))
        }
    }
}

/// True if a statement looks at rows of the table that it changes.
fn reads_own_rows(statement: &SqlStatement) -> bool {
    let given = |value: &Expr| matches!(value, Expr::Value(_));
    match statement {
        SqlStatement::Insert(insert) => insert.returning.is_some() || insert.on.is_some(),
        SqlStatement::Delete(delete) => {
            delete.selection.is_some() || delete.using.is_some() || delete.returning.is_some()
        }
        SqlStatement::Update(update) => {
            let values = update.assignments.iter().all(|assignment| given(&assignment.value));
            !values
                || update.selection.is_some()
                || update.from.is_some()
                || update.returning.is_some()
        }
        _ => true,
    }
}
