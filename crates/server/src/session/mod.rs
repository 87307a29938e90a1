//! Sessions: what a client's statements do.
//!
//! [`Sessions`] lets clients in; a [`Conn`] is one of them: it parses a statement and hands it to the
//! module of its kind. What a transaction changes in tables takes effect at COMMIT; all other
//! statements take effect one by one.
//!
//! Invariants: 1. a session never reads an epoch before one that it has read (`Conn::seen`), but for the
//! moment of a read-only transaction.

mod access;
mod backup;
mod change;
mod constrain;
mod constraints;
mod copy;
mod copy_lines;
mod copy_to;
mod create_as;
mod cursors;
mod ddl;
mod explain;
mod explain_json;
mod flush;
mod jobs;
mod locking;
mod lookup;
mod moment;
mod named;
mod prepared;
mod query;
mod redefine;
mod relations;
mod rename;
mod rights;
mod rows;
mod settings;
mod show;
mod shown_constraints;
mod startup;
mod subscribe;
mod tables;
mod transaction;
mod violation;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ScalarUDF;
use millrace_pg::session::{
    Authentication, BoundPortal, Database, Ender, Login, Outcome, Prepared, Session,
    Statement as Text, Transaction,
};
use millrace_sql::RoleId;
use millrace_sql::ast::{self, Statement};
use millrace_types::{Epoch, ObjectId, Report, SqlState};
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::access::Seat;
use crate::apart::{apart, is_long};
use crate::error::ServerError;
use crate::sessions::OpenSession;
use crate::shared::{Connections, OpenConnection, Shared};
use cursors::OpenCursor;
pub use millrace_pg::report_of;
use named::Named;
use settings::SharedSettings;
use transaction::Uncommitted;

/// A text that takes some time to read.
const LONG_BYTES: usize = 256 << 10;
/// The only database.
const DATABASE: &str = "dev";

/// Lets clients in.
pub struct Sessions {
    shared: Arc<Shared>,
    catalog_schemas: Arc<millrace_pg::catalog::Catalog>,
}

impl Sessions {
    /// Sessions on a server.
    ///
    /// # Errors
    /// The catalog schemas cannot be built: a program error.
    pub async fn new(shared: Arc<Shared>) -> Result<Sessions, ServerError> {
        let relations = Arc::new(relations::CatalogRelations(shared.clone()));
        let schemas = millrace_pg::catalog::Catalog::new(DATABASE, relations).await;
        let schemas = schemas.map_err(|error| ServerError::Report(report_of(&error)))?;
        Ok(Sessions { shared, catalog_schemas: Arc::new(schemas) })
    }
}

#[async_trait]
impl Database for Sessions {
    async fn open(&self, login: Login) -> Result<Box<dyn Session>, Report> {
        if self.shared.board.lock().stopping {
            return Err(Report::new(SqlState::ADMIN_SHUTDOWN, "the server is shutting down"));
        }
        if login.database != DATABASE {
            let message = format!("database \"{}\" does not exist", login.database);
            return Err(Report::new(SqlState::INVALID_CATALOG_NAME, message)
                .hint(format!("The database is \"{DATABASE}\".")));
        }
        let (user, seat) = self.shared.guard.seat(&self.shared, &login.user)?;
        let (news, news_out) = unbounded_channel();
        let mut conn = Conn {
            user,
            _seat: seat,
            shared: self.shared.clone(),
            _open: Connections::open(&self.shared),
            catalog_schemas: self.catalog_schemas.clone(),
            settings: Arc::default(),
            notices: Vec::new(),
            transaction: Transaction::Idle,
            seen: Epoch::default(),
            uncommitted: Uncommitted::default(),
            gathering: false,
            string: false,
            block: false,
            moment: moment::Moment::default(),
            defined: false,
            copying: None,
            given: None,
            following: 0,
            sets_default: None,
            explained: Arc::default(),
            named: Arc::default(),
            lookups: lookup::Prepared::default(),
            deallocated: Vec::new(),
            settling: Arc::default(),
            process: 0,
            functions: Mutex::default(),
            activity: OpenSession::open(&self.shared, user, login.peer),
            news,
            news_out: Some(news_out),
        };
        conn.settings.lock().limit(self.shared.guard.connections_max());
        conn.begin_with(login.options)?;
        conn.identify();
        Ok(Box::new(conn))
    }

    fn authentication(&self, login: &Login) -> Authentication {
        let (catalog, now) = (self.shared.catalog(), self.shared.clock.now());
        self.shared.guard.authentication(&catalog, login, now)
    }
}

/// One client's session.
struct Conn {
    shared: Arc<Shared>,
    /// It counts as open.
    _open: OpenConnection,
    catalog_schemas: Arc<millrace_pg::catalog::Catalog>,
    /// Who came in.
    user: RoleId,
    _seat: Seat,
    settings: Arc<SharedSettings>,
    notices: Vec<Report>,
    transaction: Transaction,
    /// The last epoch that this session has read.
    seen: Epoch,
    uncommitted: Uncommitted,
    /// What is changed outside a transaction waits for [`Session::settle`].
    gathering: bool,
    /// The statements of a string run, each of them in a transaction.
    string: bool,
    /// That transaction has begun.
    block: bool,
    /// What the open transaction reads, if it only reads.
    moment: moment::Moment,
    /// Objects were created or dropped in the open transaction.
    defined: bool,
    /// A COPY that waits for its data.
    copying: Option<copy::Copying>,
    /// Rows that the statement under way reads by a name.
    given: Option<(&'static str, RecordBatch)>,
    /// How many foreign keys lead to the change that is under way, one from another.
    following: usize,
    /// The columns that it sets to their defaults.
    sets_default: Option<(ObjectId, Vec<usize>)>,
    /// EXPLAIN ANALYZE of a statement that changes a table: the plans that were run.
    explained: Arc<Mutex<Option<Vec<String>>>>,
    /// Its cursors and prepared statements.
    named: Arc<Named>,
    lookups: lookup::Prepared,
    /// Those of the protocol that DEALLOCATE has named since the connection asked.
    deallocated: Vec<String>,
    /// Its changes are being made durable.
    settling: Arc<AtomicBool>,
    /// Its number, as the client was told.
    process: i32,
    /// The functions of the catalog, and the role that they were made for.
    functions: Mutex<Option<(String, Vec<Arc<ScalarUDF>>)>>,
    /// What it does, for who asks.
    activity: OpenSession,
    /// Notices that are sent while a statement runs.
    news: UnboundedSender<Report>,
    /// Where they come out; the connection takes it.
    news_out: Option<UnboundedReceiver<Report>>,
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.shared.advisory_locks.leave(self.process);
    }
}

#[async_trait]
impl Session for Conn {
    fn split(&self, query: &str) -> Result<Vec<Text>, Report> {
        let parts = millrace_sql::split(query)?;
        if parts.len() > 1 {
            // None of them runs if one is none.
            for (text, offset) in &parts {
                let Err(report) = parse_one(text) else { continue };
                if report.code == SqlState::SYNTAX_ERROR {
                    let position = report.position.map(|position| position + offset);
                    return Err(Report { position, ..report });
                }
            }
        }
        Ok(parts.into_iter().map(|(text, offset)| Text { text, offset }).collect())
    }

    async fn prepare(
        &mut self,
        statement: &Text,
        hints: &[Option<DataType>],
    ) -> Result<Prepared, Report> {
        apart(is_long(&statement.text), self.prepare_statement(statement, hints)).await
    }

    async fn execute(
        &mut self,
        statement: &Text,
        parameters: Vec<ScalarValue>,
    ) -> Result<Outcome, Report> {
        let application = self.settings.lock().get("application_name").unwrap_or_default();
        self.activity.begin(&statement.text, application);
        apart(is_long(&statement.text), self.statement(&statement.text, parameters)).await
    }

    fn holds(&mut self, bytes: usize) -> Result<(), Report> {
        self.copying.as_ref().map_or(Ok(()), |copying| copying.holds(bytes))
    }

    async fn copied(&mut self, data: &[u8]) -> Result<Outcome, Report> {
        self.finish_copy(data).await
    }

    fn gather(&mut self, string: bool) {
        (self.gathering, self.string) = (true, string);
    }

    fn has_gathered(&self) -> bool {
        self.is_gathering() && !self.uncommitted.is_empty()
    }

    async fn settle(&mut self) -> Result<(), Report> {
        self.settle_before().await
    }

    fn keep(&mut self, name: &str, statement: &Text, known: Prepared) -> Result<(), Report> {
        self.keep_prepared(name, statement, known)
    }

    fn used(&mut self, name: &str) {
        self.named.planned(name);
    }

    fn bound(&mut self, name: &str, portal: BoundPortal) -> Result<(), Report> {
        self.bind_cursor(name, portal)
    }

    fn unbound(&mut self, name: &str) {
        self.named.cursors.lock().remove(name);
    }

    fn cursor(&self, name: &str) -> Option<SchemaRef> {
        self.named.cursors.lock().get(name).map(OpenCursor::schema)
    }

    fn forget(&mut self, name: &str) {
        self.named.prepared.lock().remove(name);
    }

    fn deallocated(&mut self) -> Vec<String> {
        std::mem::take(&mut self.deallocated)
    }

    fn failed(&mut self) {
        // A statement that was cancelled leaves no lock behind.
        if self.transaction == Transaction::Idle {
            self.uncommitted = Uncommitted::default();
            self.end_block(false);
        }
        (self.copying, self.given) = (None, None);
        if self.transaction == Transaction::Open {
            self.transaction = Transaction::Failed;
            self.uncommitted.abandon();
        }
    }

    fn notices(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.notices)
    }

    fn news(&mut self) -> Option<UnboundedReceiver<Report>> {
        self.news_out.take()
    }

    fn statement_timeout(&self) -> Option<Duration> {
        self.settings.lock().duration("statement_timeout")
    }

    fn idle_timeout(&self) -> Option<Duration> {
        self.settings.lock().duration("idle_in_transaction_session_timeout")
    }

    fn settling(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.settling)
    }

    fn transaction(&self) -> Transaction {
        self.transaction
    }

    fn known_as(&mut self, process: i32, ender: Ender) {
        self.process = process;
        self.activity.known_as(process, ender);
    }

    fn rests(&mut self) {
        (self.gathering, self.string) = (false, false);
        self.end_block(true);
        // Outside a transaction a query's locks end with it.
        if self.transaction == Transaction::Idle {
            self.shared.advisory_locks.end_transaction(self.process);
            self.uncommitted = Uncommitted::default();
        }
        self.activity.rest(match self.transaction {
            Transaction::Idle => "idle",
            Transaction::Open => "idle in transaction",
            Transaction::Failed => "idle in transaction (aborted)",
        });
    }

    fn parameter(&self, name: &str) -> Option<String> {
        if matches!(name, "is_superuser" | "session_authorization") {
            self.identify();
        }
        self.settings.lock().get(name).ok()
    }
}

/// True for a statement before which changes outside a transaction may wait for what comes behind it.
fn waits(statement: &Statement) -> bool {
    use Statement as S;
    matches!(
        statement,
        S::Change(_) | S::Copy(_) | S::Query(_) | S::Prepare(_) | S::Execute(_) | S::Session(_)
    ) || matches!(
        statement,
        S::Show(_) | S::Describe(_) | S::Explain(_) | S::Declare(_) | S::Fetch(_)
    )
}

/// The statement of a text that holds one; None if it holds nothing.
fn parse_one(text: &str) -> Result<Option<Statement>, Report> {
    let mut statements = millrace_sql::parse(text)?;
    match statements.len() {
        0 | 1 => Ok(statements.pop()),
        _ => Err(Report::new(
            SqlState::SYNTAX_ERROR,
            "cannot insert multiple commands into a prepared statement",
        )),
    }
}

impl Conn {
    async fn prepare_statement(
        &mut self,
        statement: &Text,
        hints: &[Option<DataType>],
    ) -> Result<Prepared, Report> {
        let none = || Prepared { parameters: Vec::new(), columns: None };
        let Some(parsed) = self.parsed(&statement.text).await? else { return Ok(none()) };
        match parsed {
            Statement::Query(query) => self.prepare_query(*query, &statement.text, hints).await,
            Statement::CreateTableAs(create) => {
                let prepared = self.prepare_query(*create.query, &statement.text, hints).await?;
                Ok(Prepared { columns: None, ..prepared })
            }
            Statement::Change(change) => self.prepare_change(&change, hints),
            Statement::Subscribe(subscribe) => self.prepare_subscribe(&subscribe),
            Statement::Fetch(fetch) => self.prepare_fetch(&fetch),
            Statement::Declare(declare) => {
                self.prepare_declare(*declare, &statement.text, hints).await
            }
            Statement::Execute(execute) => self.prepare_execute(&execute.name).await,
            Statement::Explain(explain) => {
                self.prepare_explain(explain, &statement.text, hints).await
            }
            Statement::Show(_) | Statement::Describe(_) => {
                match self.run(parsed, &statement.text, Vec::new()).await? {
                    Outcome::Rows { schema, .. } => {
                        Ok(Prepared { parameters: Vec::new(), columns: Some(schema) })
                    }
                    Outcome::Empty
                    | Outcome::Done(_)
                    | Outcome::CopyIn { .. }
                    | Outcome::CopyOut { .. } => Ok(none()),
                }
            }
            _ => Ok(none()),
        }
    }

    /// The statement of a text; a long one is read on the threads of statements.
    async fn parsed(&self, text: &str) -> Result<Option<Statement>, Report> {
        if text.len() < LONG_BYTES {
            return parse_one(text);
        }
        let (running, text) = (self.shared.queries.begin(text), text.to_owned());
        running.run(async move { parse_one(&text) }).await
    }

    async fn statement(
        &mut self,
        text: &str,
        parameters: Vec<ScalarValue>,
    ) -> Result<Outcome, Report> {
        let Some(parsed) = self.parsed(text).await? else { return Ok(Outcome::Empty) };
        if self.transaction == Transaction::Failed && !ends_transaction(&parsed) {
            return Err(Report::new(
                SqlState::IN_FAILED_SQL_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        self.run(parsed, text, parameters).await
    }

    async fn run(
        &mut self,
        statement: Statement,
        text: &str,
        parameters: Vec<ScalarValue>,
    ) -> Result<Outcome, Report> {
        let (tag, defines) = (statement.tag(), statement.defines());
        let mut done = tag.to_owned();
        if self.string && self.transaction == Transaction::Idle {
            self.block = true;
            self.settings.lock().begin();
        }
        self.check_mode(&statement)?;
        // Whatever has become of a role, its session can go back to the user's own.
        if !matches!(statement, Statement::Session(_)) {
            self.check_rights(&statement)?;
            self.identify();
        }
        if !waits(&statement) {
            self.settle_before().await?;
        }
        match statement {
            Statement::CreateSource(create) => self.create_source(*create).await?,
            Statement::CreateMaterializedView(create) => {
                self.create_materialized_view(*create).await?;
            }
            Statement::CreateTable(create) => self.create_table(*create).await?,
            Statement::CreateTableAs(create) => {
                done = self.create_table_as(*create, text, parameters).await?;
            }
            Statement::Change(change) => return self.change(&change, parameters).await,
            Statement::CreateView(create) => self.create_view(*create).await?,
            Statement::CreateIndex(create) => self.create_index(*create).await?,
            Statement::CreateSink(create) => self.create_sink(*create).await?,
            Statement::Copy(copy) => return self.begin_copy(*copy),
            Statement::CopyTo(copy) => return self.copy_to(*copy).await,
            Statement::Access(access) => self.change_access(*access).await?,
            Statement::Flush => self.flush().await?,
            Statement::Refresh(name) => self.refresh(&name)?,
            Statement::Backup(path) => self.backup(path).await?,
            Statement::Drop(drop) => self.drop_objects(drop).await?,
            Statement::Alter(alter) => self.alter(alter).await?,
            Statement::AlterConstraints(alter) => self.alter_constraints(&alter, text).await?,
            Statement::Rename(rename) => self.rename(&rename).await?,
            Statement::CancelJob(job) => self.cancel_job(ObjectId(job)).await?,
            Statement::Show(show) => return self.show(&show),
            Statement::Describe(name) => return self.describe(&name, "DESCRIBE"),
            Statement::Explain(explain) => return self.explain(explain, text, parameters).await,
            Statement::Query(query) => return self.query(*query, text, parameters).await,
            Statement::Subscribe(subscribe) => return self.subscribe(&subscribe).await,
            Statement::Declare(declare) => self.declare(*declare, text, parameters).await?,
            Statement::Fetch(fetch) => return self.fetch(&fetch).await,
            Statement::Prepare(prepare) => Box::pin(self.prepare_named(&prepare, text)).await?,
            Statement::Execute(execute) => {
                return self.execute_named(&execute.name, &execute.arguments).await;
            }
            Statement::Session(session) => return self.session(session, tag).await,
        }
        if defines && self.transaction == Transaction::Open {
            let message = format!("{tag} takes effect at once: ROLLBACK does not undo it");
            self.warn(SqlState::WARNING, &message);
            self.defined = true;
        }
        Ok(Outcome::Done(done))
    }

    /// What waits outside a transaction takes effect before something that cannot wait with it, or has to
    /// see it.
    async fn settle_before(&mut self) -> Result<(), Report> {
        match self.is_gathering() {
            true => self.commit_changes().await,
            false => Ok(()),
        }
    }

    /// What is changed waits, and is not in a transaction that a client has begun.
    fn is_gathering(&self) -> bool {
        self.gathering && self.transaction == Transaction::Idle
    }

    /// The transaction that a string is ends, or has become one of its own.
    fn end_block(&mut self, committed: bool) {
        if std::mem::take(&mut self.block) {
            self.close_its_cursors(committed);
            self.settings.lock().end(committed);
        }
    }

    async fn session(&mut self, statement: ast::Session, tag: &str) -> Result<Outcome, Report> {
        use ast::Session as S;
        let mut done = tag.to_owned();
        match statement {
            S::Set { name, values, local } => self.set(&name, &values, local)?,
            S::Modes { session, modes } => self.modes(session, modes)?,
            S::ToDefault(name) => self.settings.lock().reset(Some(&name))?,
            S::Reset(name) => self.settings.lock().reset(name.as_deref())?,
            S::Discard(what) => {
                match what.as_str() {
                    "ALL" => self.discard_all()?,
                    "SEQUENCES" => self.named.forget_numbers(),
                    _ => {}
                }
                done = format!("DISCARD {what}");
            }
            S::Begin { modes, .. } => {
                if self.transaction == Transaction::Open {
                    let message = "there is already a transaction in progress";
                    self.warn(SqlState::ACTIVE_SQL_TRANSACTION, message);
                }
                (self.transaction, self.block) = (Transaction::Open, false);
                self.settings.lock().begin();
                self.modes(false, modes)?;
            }
            S::Commit => {
                self.warn_if_idle();
                let failed = self.transaction == Transaction::Failed;
                self.moment.pass();
                (self.transaction, self.block) = (Transaction::Idle, false);
                self.close_its_cursors(!failed);
                self.settings.lock().end(!failed);
                if failed {
                    done = "ROLLBACK".to_owned();
                    self.roll_back();
                } else {
                    self.defined = false;
                    self.commit_changes().await?;
                }
            }
            S::Rollback => {
                self.warn_if_idle();
                self.moment.pass();
                (self.transaction, self.block) = (Transaction::Idle, false);
                self.close_its_cursors(false);
                self.settings.lock().end(false);
                self.roll_back();
            }
            S::Savepoint(_) | S::Release(_) | S::RollbackTo(_) => self.savepoint(statement)?,
            S::Close(name) => self.close_cursor(name.as_deref())?,
            S::Deallocate(name) => self.deallocate(name.as_deref())?,
            S::Accepted("UNLISTEN") => {}
            // Drivers say UNLISTEN by themselves; the others somebody has written.
            S::Accepted(tag) => self.notice(format!("{tag} has no effect")),
        }
        Ok(Outcome::Done(done))
    }

    /// Makes, forgets or goes back to a savepoint.
    fn savepoint(&mut self, statement: ast::Session) -> Result<(), Report> {
        use ast::Session as S;
        match statement {
            S::Savepoint(name) => {
                self.in_transaction("SAVEPOINT")?;
                let kept = self.settings.lock().kept();
                self.uncommitted.savepoint(name, kept);
            }
            S::Release(name) => {
                self.in_transaction("RELEASE SAVEPOINT")?;
                let at = self.uncommitted.release(&name)?;
                self.named.cursors.lock().values_mut().for_each(|cursor| cursor.belong_to(at));
            }
            S::RollbackTo(name) => {
                self.in_transaction("ROLLBACK TO SAVEPOINT")?;
                let (at, kept) = self.uncommitted.rollback_to(&name)?;
                self.settings.lock().back_to(kept);
                self.named.cursors.lock().retain(|_, cursor| !cursor.is_after(at));
                self.transaction = Transaction::Open;
            }
            _ => {}
        }
        Ok(())
    }

    /// `SET`
    fn set(&mut self, name: &str, values: &[String], local: bool) -> Result<(), Report> {
        if name == "session_authorization" {
            return self.set_authorization(values);
        }
        self.check_set(name, values)?;
        if !local {
            self.settings.lock().set(name, values)?;
            if let ("default_transaction_isolation", [level]) = (name, values) {
                self.warn_of_isolation(&level.to_lowercase());
            }
            return Ok(());
        }
        if self.transaction == Transaction::Idle && !self.block {
            self.warn_outside("SET LOCAL");
            return Ok(());
        }
        self.settings.lock().set_local(name, values)
    }

    /// Refuses to become a role that the user is no member of.
    fn check_set(&self, name: &str, values: &[String]) -> Result<(), Report> {
        match (name, values) {
            ("role", [value]) if value != "none" => {
                rights::become_role(&self.shared.catalog(), self.user, value).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    /// `SET SESSION AUTHORIZATION`
    fn set_authorization(&self, values: &[String]) -> Result<(), Report> {
        match values.first() {
            Some(name) if *name == self.user_name() => Ok(()),
            _ => Err(Report::unsupported("SET SESSION AUTHORIZATION to another user")
                .hint("SET ROLE takes the rights of another role.")),
        }
    }

    /// What is said of the transaction, or of all that follow.
    fn modes(&mut self, session: bool, modes: ast::Modes) -> Result<(), Report> {
        if !session && self.transaction == Transaction::Idle && !self.block {
            self.warn_outside("SET TRANSACTION");
            return Ok(());
        }
        let prefix = if session { "default_" } else { "" };
        let set = |name: &str, value: &str| {
            self.settings.lock().set(&format!("{prefix}{name}"), &[value.to_owned()])
        };
        if let Some(read_only) = modes.read_only {
            set("transaction_read_only", if read_only { "on" } else { "off" })?;
        }
        if let Some(level) = modes.isolation {
            set("transaction_isolation", level)?;
            self.warn_of_isolation(level);
        }
        Ok(())
    }

    /// Tells that a transaction that may write has not the isolation that it asks for.
    fn warn_of_isolation(&mut self, level: &str) {
        if level.starts_with("read ") || self.settings.lock().is_read_only() {
            return;
        }
        let message = format!(
            "a transaction that may write is not {}: its isolation is READ COMMITTED",
            level.to_uppercase()
        );
        let report = Report::new(SqlState::WARNING, message);
        self.notices.push(report.hint("All statements of BEGIN READ ONLY read one epoch."));
    }

    /// `DISCARD ALL`
    fn discard_all(&mut self) -> Result<(), Report> {
        if self.transaction != Transaction::Idle || self.block {
            let message = "DISCARD ALL cannot run inside a transaction block";
            return Err(Report::new(SqlState::ACTIVE_SQL_TRANSACTION, message));
        }
        let mut settings = self.settings.lock();
        settings.reset(None)?;
        settings.reset(Some("role"))?;
        drop(settings);
        self.named.cursors.lock().clear();
        self.shared.advisory_locks.give_all(self.process);
        self.named.forget_numbers();
        self.deallocate(None)
    }

    /// For COMMIT and ROLLBACK.
    fn warn_if_idle(&mut self) {
        if self.transaction == Transaction::Idle {
            let message = "there is no transaction in progress";
            self.warn(SqlState::NO_ACTIVE_SQL_TRANSACTION, message);
        }
    }

    /// Refuses to change something where the transaction only reads.
    fn check_mode(&self, statement: &Statement) -> Result<(), Report> {
        let mut settings = self.settings.lock();
        let verb = match statement {
            Statement::Change(change) => change.verb,
            Statement::Copy(_) => "COPY FROM",
            Statement::CancelJob(_) => return Ok(()),
            Statement::Query(_) | Statement::CopyTo(_) => {
                settings.used();
                return Ok(());
            }
            other if other.defines() => other.tag(),
            _ => return Ok(()),
        };
        settings.used();
        if settings.is_read_only() {
            let message = format!("cannot execute {verb} in a read-only transaction");
            return Err(Report::new(SqlState::READ_ONLY_SQL_TRANSACTION, message));
        }
        Ok(())
    }

    fn warn_outside(&mut self, what: &str) {
        let message = format!("{what} can only be used in transaction blocks");
        self.warn(SqlState::NO_ACTIVE_SQL_TRANSACTION, &message);
    }

    /// What was changed in tables is forgotten.
    fn roll_back(&mut self) {
        self.uncommitted = Uncommitted::default();
        if std::mem::take(&mut self.defined) {
            let message = "what was created and dropped in the transaction is not rolled back";
            self.warn(SqlState::WARNING, message);
        }
    }

    fn in_transaction(&self, what: &str) -> Result<(), Report> {
        if self.transaction == Transaction::Idle {
            let message = format!("{what} can only be used in transaction blocks");
            return Err(Report::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, message));
        }
        Ok(())
    }

    fn warn(&mut self, code: SqlState, message: &str) {
        self.notices.push(Report::new(code, message));
    }

    fn notice(&mut self, message: String) {
        self.notices.push(Report::new(SqlState::SUCCESSFUL_COMPLETION, message));
    }
}

fn ends_transaction(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Session(
            ast::Session::Commit | ast::Session::Rollback | ast::Session::RollbackTo(_)
        )
    )
}
