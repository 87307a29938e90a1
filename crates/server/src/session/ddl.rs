//! CREATE and DROP, the session's part: binding, connecting, asking the coordinator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_connectors::datagen::Anchor;
use millrace_sql::ast::{self, Name, ObjectKind, OptionItem};
use millrace_sql::sqlparser::ast::{Distinct, Query, SetExpr};
use millrace_sql::{Access, BoundView, Kind, MaterializedView, Object, Privilege, Source};
use millrace_types::{ObjectId, Report, SqlState, SqlType, TableId};
use tokio::sync::oneshot;

use super::Conn;
use super::show::positioned;
use crate::coordinator::{Message, NewView, Reply, Request};
use crate::error::ServerError;
use crate::sources::{CONNECT_TIMEOUT, Connected, connect_all};

impl Conn {
    /// True if the name is taken and the statement asks to let that pass; then the object is there, or
    /// goes on being filled in the background.
    pub(super) async fn exists(
        &mut self,
        name: &Name,
        if_not_exists: bool,
    ) -> Result<bool, Report> {
        if if_not_exists && let Some(job) = self.job(&name.name) {
            let (name, id) = (&name.name, job.id);
            self.notice(format!("relation \"{name}\" is being filled (job {id}), skipping"));
            if self.settings.lock().get("background_ddl")? == "on" {
                return Ok(true);
            }
            self.until_ended(name).await;
        }
        if self.shared.catalog().find(&name.name).is_none() {
            return Ok(false);
        }
        let message = format!("relation \"{}\" already exists", name.name);
        match if_not_exists {
            true => {
                self.notice(format!("{message}, skipping"));
                Ok(true)
            }
            false => Err(positioned(Report::new(SqlState::DUPLICATE_TABLE, message), name)),
        }
    }

    pub(super) async fn ask(&self, request: impl FnOnce(Reply) -> Request) -> Result<(), Report> {
        self.send(request)?.await.map_err(|_| shutting_down())?
    }

    /// Asks the coordinator; what comes is its answer.
    pub(super) fn send(
        &self,
        request: impl FnOnce(Reply) -> Request,
    ) -> Result<oneshot::Receiver<Result<(), Report>>, Report> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Request(Box::new(request(reply)));
        self.shared.inbox.send(message).map_err(|_| shutting_down())?;
        Ok(answer)
    }

    pub(super) async fn create_source(&mut self, create: ast::CreateSource) -> Result<(), Report> {
        if self.exists(&create.name, create.if_not_exists).await? {
            return Ok(());
        }
        let mut source = self.bind_source(&create).await?;
        source.secrets = self.secrets(&create.options)?;
        self.start_source(&mut source).await?;
        let (name, sql, access) = (create.name.name, create.text, self.own_access()?);
        let (id, kind) = (ObjectId::default(), Kind::Source(source));
        let object = Object { id, name, kind, sql, access };
        self.ask(|reply| Request::Create(Box::new(object), reply)).await
    }

    /// What the role of the session makes is its own.
    pub(super) fn own_access(&self) -> Result<Access, Report> {
        Ok(Access::of(self.role()?.id))
    }

    /// The secrets that options name, if they may be used.
    fn secrets(&self, options: &[OptionItem]) -> Result<BTreeMap<String, ObjectId>, Report> {
        let (catalog, role) = (self.shared.catalog(), self.role()?.id);
        let secrets = millrace_sql::bind_secrets(&catalog, options)?;
        for id in secrets.values() {
            if let Some(secret) = catalog.secret(*id)
                && !catalog.allows(role, &secret.access, Privilege::Usage)
            {
                return Err(crate::access::denied(format!("for secret {}", secret.name)));
            }
        }
        Ok(secrets)
    }

    /// Binds a source; its columns are those of its topic if it says so.
    async fn bind_source(&mut self, create: &ast::CreateSource) -> Result<Source, Report> {
        let connectors = crate::sources::CONNECTORS;
        let Some(mut probe) = millrace_sql::source_to_infer(create, &connectors)? else {
            return millrace_sql::bind_source(create, &connectors);
        };
        probe.secrets = self.secrets(&create.options)?;
        let shared = self.shared.clone();
        let found = blocking(move || {
            let probe = crate::coordinator::revealed(&shared.store, &probe)?;
            Ok(crate::sources::infer(&shared.clock, &probe, CONNECT_TIMEOUT)?)
        });
        let found = found.await?;
        let column = |(name, sql_type): &(String, SqlType)| {
            format!("{} {}", super::change::quoted(name), sql_type.name())
        };
        let shown: Vec<String> = found.iter().map(column).collect();
        self.notice(format!("source \"{}\" has {}", create.name.name, shown.join(", ")));
        let columns = |_: &str, _: &BTreeMap<String, String>| {
            Some(found.iter().map(|(name, found)| (name.clone(), vec![found.clone()])).collect())
        };
        let connectors = millrace_sql::Connectors { names: connectors.names, columns: &columns };
        millrace_sql::bind_source(create, &connectors)
    }

    /// Checks a source against what it names, and resolves where it starts.
    async fn start_source(&self, source: &mut Source) -> Result<(), Report> {
        crate::sources::check_options(source)?;
        let (shared, probe) = (self.shared.clone(), source.clone());
        let start = blocking(move || {
            let probe = crate::coordinator::revealed(&shared.store, &probe)?;
            let anchor = Anchor { first: 0, at: shared.clock.now() };
            let connector = crate::sources::connect(vec![anchor], &shared.clock, &probe)?;
            let start = connector.start(CONNECT_TIMEOUT)?;
            Ok((start, connector.identity(CONNECT_TIMEOUT)?))
        });
        let (start, identity) = start.await?;
        source.identity = identity;
        source.start = start.into_iter().map(|span| (span.partition, span.from)).collect();
        Ok(())
    }

    pub(super) async fn create_table(&mut self, create: ast::CreateTable) -> Result<(), Report> {
        if self.exists(&create.name, create.if_not_exists).await? {
            return Ok(());
        }
        let mut table = millrace_sql::bind_table(&create, &crate::sources::CONNECTORS)?;
        self.check_defaults(&create)?;
        let bound = self.constraints_of(&create, &table)?;
        table.constraints = bound.constraints;
        let (name, sql, access) = (create.name.name, create.text, self.own_access()?);
        if let Some(mut feed) = table.feed.take() {
            let options = create.feed.map(|feed| feed.options).unwrap_or_default();
            feed.secrets = self.secrets(&options)?;
            self.start_source(&mut feed).await?;
            let source = (*feed).clone();
            table.feed = Some(feed);
            let (id, kind) = (ObjectId::default(), Kind::Table(table));
            let object = Object { id, name, kind, sql, access };
            let seen = self.shared.catalog().redefinitions();
            return self.fill(object, [(ObjectId::default(), source)].into(), seen).await;
        }
        let (id, kind) = (ObjectId::default(), Kind::Table(table));
        let object = Object { id, name, kind, sql, access };
        self.create_unique(object, bound.unique).await
    }

    /// Binds the defaults once, so that a wrong one fails now and not at an INSERT.
    fn check_defaults(&self, create: &ast::CreateTable) -> Result<(), Report> {
        let tables = super::tables::QueryTables::new(self.shared.clone());
        let state = self.state();
        for column in &create.columns {
            let Some(default) = &column.default else { continue };
            let text = format!("SELECT CAST(({}) AS {})", default.text, column.data_type);
            let at = |report: Report| Report { position: default.position, ..report };
            let Some(ast::Statement::Query(query)) = millrace_sql::parse(&text).map_err(at)?.pop()
            else {
                continue;
            };
            let binder = millrace_sql::Binder::new(tables.catalog(), &tables, &state);
            let bound = binder.bind_query(&query, &text, &millrace_sql::Parameters::none());
            // Who inserts may have more rights than who makes the table.
            self.check_reads(&bound.map_err(at)?, None).map_err(at)?;
        }
        Ok(())
    }

    pub(super) async fn create_view(&mut self, create: ast::CreateView) -> Result<(), Report> {
        let catalog = self.shared.catalog();
        if create.or_replace && catalog.find(&create.name.name).is_some() {
            return self.replace_view(&create).await;
        }
        if self.exists(&create.name, create.if_not_exists).await? {
            return Ok(());
        }
        let catalog = self.shared.catalog();
        let (object, seen) = (self.bind_view(&catalog, &create)?, catalog.redefinitions());
        self.ask(|reply| Request::CreateView(Box::new(object), seen, reply)).await
    }

    pub(super) async fn create_materialized_view(
        &mut self,
        mut create: ast::CreateMaterializedView,
    ) -> Result<(), Report> {
        if self.exists(&create.name, create.if_not_exists).await? {
            return Ok(());
        }
        let seen = self.shared.catalog().redefinitions();
        let (plan, bound) = self.plan_view(&create)?;
        if create.query.order_by.is_some()
            && create.query.limit_clause.is_none()
            && create.query.fetch.is_none()
            && !keeps_first(&create.query)
        {
            let order = "ORDER BY has no effect: a materialized view has no order";
            self.notice(format!("{order}, the SELECT that reads it has"));
        }
        self.keep_zone(&mut create, &bound);
        let catalog = self.shared.catalog();
        let mut sources: BTreeMap<ObjectId, Source> = BTreeMap::new();
        for leaf in plan.root.leaves() {
            if let millrace_plan::LeafKind::Source(id) = leaf.kind
                && let Some(Kind::Source(source)) = catalog.get(id).map(|object| &object.kind)
            {
                sources.insert(id, source.clone());
            }
        }
        let view = MaterializedView {
            plan,
            allowed_lateness_us: bound.allowed_lateness_us,
            content: TableId::default(),
            late: TableId::default(),
            errors: TableId::default(),
            state: Vec::new(),
            depends_on: bound.depends_on,
            options: bound.options,
        };
        let (name, sql, access) = (create.name.name, create.text, self.own_access()?);
        let kind = Kind::MaterializedView(view);
        let object = Object { id: ObjectId::default(), name, kind, sql, access };
        self.fill(object, sources, seen).await
    }

    /// Writes the session's zone into the statement of a view that depends on it: who makes the view of this
    /// statement again has the same view.
    fn keep_zone(&mut self, create: &mut ast::CreateMaterializedView, bound: &BoundView) {
        let zone = self.settings.lock().zone();
        let is_named = millrace_sql::view_zone(&create.options).is_some();
        if is_named || zone.is_utc() || !millrace_sql::depends_on_zone(&bound.plan, zone) {
            return;
        }
        create.text.push_str(&format!(" WITH (time_zone = '{zone}')"));
        let view = "days and clocks of this materialized view are those of the time zone";
        self.notice(format!("{view} \"{zone}\" in every session"));
    }

    pub(super) async fn create_index(&mut self, create: ast::CreateIndex) -> Result<(), Report> {
        if let Some(name) = &create.name
            && self.exists(name, create.if_not_exists).await?
        {
            return Ok(());
        }
        let seen = self.shared.catalog().redefinitions();
        let (name, index) = millrace_sql::bind_index(&self.shared.catalog(), &create)?;
        // It belongs to whom what it is on belongs to.
        let on = self.shared.catalog().get(index.on).map(|on| on.access.owner);
        let access = Access::of(on.unwrap_or_default());
        if index.unique.is_some() {
            self.must_not_have_changed(index.on)?;
            self.lock_whole(index.on).await?;
        }
        let differ = match index.unique {
            Some(_) => self.check_differ(&name, &index).await,
            None => Ok(()),
        };
        let (id, kind, sql) = (ObjectId::default(), Kind::Index(index), create.text);
        let made = match differ {
            Ok(()) => {
                self.fill(Object { id, name, kind, sql, access }, BTreeMap::new(), seen).await
            }
            Err(report) => Err(report),
        };
        self.uncommitted.unlock_unchanged();
        made
    }

    pub(super) async fn create_sink(&mut self, create: ast::CreateSink) -> Result<(), Report> {
        if self.exists(&create.name, create.if_not_exists).await? {
            return Ok(());
        }
        let unique = crate::sinks::unique_name();
        let mut sink = millrace_sql::bind_sink(&self.shared.catalog(), &create, unique)?;
        self.check_named(&[sink.from])?;
        sink.secrets = self.secrets(&create.options)?;
        let (from, described) = (self.object(&create.from)?, sink.clone());
        let shared = self.shared.clone();
        blocking(move || {
            let connector = crate::sinks::connect(&shared.store, &described, &from)?;
            let checked = connector.check(CONNECT_TIMEOUT);
            checked.map_err(|error| ServerError::Report(crate::sinks::sink_report(&error)))
        })
        .await?;
        let (id, kind) = (ObjectId::default(), Kind::Sink(sink));
        let (name, sql, access) = (create.name.name, create.text, self.own_access()?);
        let object = Object { id, name, kind, sql, access };
        self.ask(|reply| Request::Create(Box::new(object), reply)).await
    }

    /// Connects the sources and fills what is made of them. `redefinitions` is the number of the catalog
    /// that it was bound to.
    async fn fill(
        &mut self,
        object: Object,
        sources: BTreeMap<ObjectId, Source>,
        redefinitions: u64,
    ) -> Result<(), Report> {
        let (shared, catalog) = (self.shared.clone(), self.shared.catalog());
        let Connected { sources, ends, gone } =
            blocking(move || connect_all(&shared, sources)).await?;
        for (source, partition, first) in gone {
            let name = catalog.get(source).map(|object| object.name.as_str()).unwrap_or_default();
            self.notice(format!(
                "older records of source \"{name}\" are gone: partition {} is read from offset {first}",
                partition.0
            ));
        }
        let name = object.name.clone();
        // What is unique is looked at under a lock, which ends with the statement.
        let is_unique = matches!(&object.kind, Kind::Index(index) if index.unique.is_some());
        let background = !is_unique && self.settings.lock().get("background_ddl")? == "on";
        let new = Box::new(NewView { object, sources, ends, redefinitions, background });
        self.until_filled(&name, |reply| Request::CreateMaterializedView(new, reply)).await
    }

    pub(super) async fn drop_objects(&mut self, drop: ast::Drop) -> Result<(), Report> {
        let (mut ids, mut jobs) = (Vec::new(), Vec::new());
        for name in &drop.names {
            match self.object(name) {
                Ok(object) if object.object_kind() == drop.kind => ids.push(object.id),
                Ok(object) => {
                    return Err(positioned(other_kind(&drop, name, object.object_kind()), name));
                }
                Err(_) if let Some(job) = self.job(&name.name) => match job.kind == drop.kind {
                    true => jobs.push((job.id, name)),
                    false => return Err(positioned(other_kind(&drop, name, job.kind), name)),
                },
                Err(_) if drop.if_exists => {
                    let kind = drop.kind.word();
                    self.notice(format!("{kind} \"{}\" does not exist, skipping", name.name));
                }
                Err(_) => return Err(positioned(missing(drop.kind, &name.name), name)),
            }
        }
        // All go, or none.
        if !jobs.is_empty() && !ids.is_empty() && !drop.cascade {
            let (ids, jobs) = (ids.clone(), jobs.iter().map(|(job, _)| *job).collect());
            self.ask(|reply| Request::MayDrop(ids, jobs, reply)).await?;
        }
        for (job, name) in jobs {
            // One that has become a view meanwhile is dropped as such.
            if self.cancel_job(job).await.is_err() {
                self.until_ended(&name.name).await;
            }
            ids.extend(self.object(name).ok().map(|object| object.id));
        }
        if ids.is_empty() {
            return Ok(());
        }
        self.drop_references(&ids, &drop).await?;
        let cascades = self.cascades(&ids);
        self.ask(|reply| Request::Drop(ids, drop.cascade, reply)).await?;
        self.notices.extend(cascades);
        Ok(())
    }

    /// Gives options of a source, or of what fills a table, other values.
    pub(super) async fn alter(&mut self, alter: ast::Alter) -> Result<(), Report> {
        let (name, object) = (&alter.name, self.object(&alter.name)?);
        if object.object_kind() != alter.kind || object.source().is_none() {
            let message = match alter.kind {
                ObjectKind::Table => format!("no connector fills \"{}\"", name.name),
                kind => format!("\"{}\" is not {}", name.name, kind.one()),
            };
            return Err(positioned(Report::new(SqlState::WRONG_OBJECT_TYPE, message), name));
        }
        let mut options = Vec::new();
        for item in alter.options {
            let at = |report: Report| Report { position: item.name.position, ..report };
            crate::sources::check_policy(&item.name.name, &item.value).map_err(at)?;
            options.push((item.name.name, item.value));
        }
        let id = object.id;
        self.ask(|reply| Request::Alter(id, options, reply)).await
    }

    /// What PostgreSQL says of objects that go with others, and which jobs end. Indexes go without a
    /// word.
    fn cascades(&self, ids: &[ObjectId]) -> Option<Report> {
        let catalog = self.shared.catalog();
        let all: BTreeSet<ObjectId> = ids.iter().flat_map(|id| catalog.dependants(*id)).collect();
        let gone = |id: &ObjectId| ids.contains(id) || all.contains(id);
        let jobs = self.shared.board.lock().jobs.clone();
        let jobs = jobs.iter().filter(|job| job.needs.iter().any(gone));
        let jobs = jobs.map(|job| format!("drop cascades to job {} ({})", job.id, job.view));
        let above = all.iter().filter(|id| !ids.contains(id)).filter_map(|id| catalog.get(*id));
        let above = above.filter(|object| !matches!(object.kind, Kind::Index(_)));
        let line = |object: &Arc<Object>| {
            format!("drop cascades to {} {}", object.object_kind().word(), object.name)
        };
        let lines: Vec<String> = above.map(line).chain(jobs).collect();
        let report = |message| Report::new(SqlState::SUCCESSFUL_COMPLETION, message);
        match lines.as_slice() {
            [] => None,
            [one] => Some(report(one.clone())),
            lines => {
                let message = format!("drop cascades to {} other objects", lines.len());
                Some(report(message).detail(lines.join("\n")))
            }
        }
    }
}

fn missing(kind: ObjectKind, name: &str) -> Report {
    let code = match kind {
        ObjectKind::Index | ObjectKind::Sink => SqlState::UNDEFINED_OBJECT,
        _ => SqlState::UNDEFINED_TABLE,
    };
    Report::new(code, format!("{} \"{name}\" does not exist", kind.word()))
}

/// The error for a DROP of something else.
fn other_kind(drop: &ast::Drop, name: &Name, found: ObjectKind) -> Report {
    let message = format!("\"{}\" is not {}", name.name, drop.kind.one());
    let report = Report::new(SqlState::WRONG_OBJECT_TYPE, message);
    report.hint(format!("Use DROP {} to remove {}.", found.sql(), found.one()))
}

/// What is said when the coordinator has gone.
pub(super) fn shutting_down() -> Report {
    Report::new(SqlState::ADMIN_SHUTDOWN, "the server is shutting down")
}

/// Runs what waits for the network on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ServerError> + Send + 'static,
) -> Result<T, Report> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| error.report()),
        Err(error) => Err(Report::new(SqlState::INTERNAL_ERROR, error.to_string())),
    }
}

/// True for `SELECT DISTINCT ON`, whose ORDER BY says which rows stay.
fn keeps_first(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    matches!(select.distinct, Some(Distinct::On(_)))
}
