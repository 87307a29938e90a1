//! What the parser gives: our own statements as structs, queries and expressions as sqlparser's.
//!
//! Names carry their position in the text, so that the binder can point at them.

mod access;
mod constraint;
mod copy;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Query, SetExpr, Statement as SqlStatement, With,
};
use millrace_types::SqlType;

pub use access::{
    Access, AlterRole, CommentOn, Grant, GrantedOn, RoleName, RoleOptions, SecretDef, Targets,
};
pub use constraint::{
    AlterConstraints, Constraint, ConstraintChange, ConstraintKind, Reference, ReferenceAction,
    Unique,
};
pub use copy::{Copy, CopyColumns, CopyFormat, CopyHeader, CopyOptions, CopyRows, CopyTo};

/// A folded name and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Folded to lower case unless it was quoted.
    pub name: String,
    /// In characters from 1.
    pub position: Option<usize>,
}

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `CREATE SOURCE`
    CreateSource(Box<CreateSource>),
    /// `CREATE TABLE`
    CreateTable(Box<CreateTable>),
    /// `CREATE TABLE ... AS query`, `SELECT ... INTO`
    CreateTableAs(Box<CreateTableAs>),
    /// `INSERT`, `UPDATE`, `DELETE`
    Change(Box<Change>),
    /// `CREATE MATERIALIZED VIEW`
    CreateMaterializedView(Box<CreateMaterializedView>),
    /// `CREATE VIEW`
    CreateView(Box<CreateView>),
    /// `CREATE INDEX`
    CreateIndex(Box<CreateIndex>),
    /// `CREATE SINK`
    CreateSink(Box<CreateSink>),
    /// `COPY table FROM STDIN`
    Copy(Box<Copy>),
    /// `COPY ... TO STDOUT`
    CopyTo(Box<CopyTo>),
    /// `FLUSH`
    Flush,
    /// `REFRESH MATERIALIZED VIEW name`: it is up to date anyway
    Refresh(Name),
    /// `BACKUP TO 'directory'`
    Backup(String),
    /// `DROP SOURCE | TABLE | VIEW | MATERIALIZED VIEW`
    Drop(Drop),
    /// `ALTER SOURCE | TABLE name SET (...)`
    Alter(Alter),
    /// `ALTER TABLE name ADD constraint | DROP CONSTRAINT`
    AlterConstraints(AlterConstraints),
    /// `ALTER kind name RENAME TO name`
    Rename(Rename),
    /// `CANCEL JOB number`
    CancelJob(u32),
    /// `SHOW`
    Show(Show),
    /// `DESCRIBE name`
    Describe(Name),
    /// `EXPLAIN`
    Explain(Explain),
    /// `SELECT`, `VALUES`, `WITH`
    Query(Box<Query>),
    /// Roles, grants, owners and secrets.
    Access(Box<Access>),
    /// `SUBSCRIBE`
    Subscribe(Box<Subscribe>),
    /// `DECLARE name CURSOR FOR`
    Declare(Box<DeclareCursor>),
    /// `FETCH`, `MOVE`
    Fetch(Box<Fetch>),
    /// `PREPARE name AS`
    Prepare(Box<PrepareStatement>),
    /// `EXECUTE name`
    Execute(Box<ExecuteStatement>),
    /// What concerns the session or its transaction only.
    Session(Session),
}

/// `CREATE SOURCE`
#[derive(Clone, Debug, PartialEq)]
pub struct CreateSource {
    /// The new source.
    pub name: Name,
    /// It is no error if it exists.
    pub if_not_exists: bool,
    /// The declared columns in order.
    pub columns: Vec<ColumnDef>,
    /// `WATERMARK FOR column AS expression`
    pub watermark: Option<WatermarkDef>,
    /// `INCLUDE`
    pub include: Vec<IncludeItem>,
    /// `WITH (...)`
    pub options: Vec<OptionItem>,
    /// `FORMAT ... ENCODE ...`
    pub format: Option<Format>,
    /// The statement's own text.
    pub text: String,
}

/// `ALTER SOURCE | TABLE name SET (...)`
#[derive(Clone, Debug, PartialEq)]
pub struct Alter {
    /// What it is.
    pub kind: ObjectKind,
    /// Its name.
    pub name: Name,
    /// Options with their new values.
    pub options: Vec<OptionItem>,
}

/// `ALTER kind [IF EXISTS] name RENAME TO name`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// What it is; a table may be anything.
    pub kind: ObjectKind,
    /// Its name.
    pub name: Name,
    /// It is no error if it is missing.
    pub if_exists: bool,
    /// Its new name.
    pub to: Name,
}

/// `CREATE TABLE`
#[derive(Clone, Debug, PartialEq)]
pub struct CreateTable {
    /// The new table.
    pub name: Name,
    /// It is no error if it exists.
    pub if_not_exists: bool,
    /// Its columns in order.
    pub columns: Vec<TableColumnDef>,
    /// `PRIMARY KEY`; none: rows have no key.
    pub key: Vec<Name>,
    /// The name of the key's constraint, if it has one of its own.
    pub key_name: Option<Name>,
    /// The other constraints, in order.
    pub constraints: Vec<Constraint>,
    /// What fills it; none: statements do.
    pub feed: Option<Feed>,
    /// The statement's own text.
    pub text: String,
}

/// `CREATE TABLE ... AS query`, `SELECT ... INTO`
#[derive(Clone, Debug, PartialEq)]
pub struct CreateTableAs {
    /// The new table.
    pub name: Name,
    /// It is no error if it exists.
    pub if_not_exists: bool,
    /// Names for its columns; may be fewer than the query has.
    pub columns: Vec<Name>,
    /// Its rows.
    pub query: Box<Query>,
    /// Not `WITH NO DATA`.
    pub with_data: bool,
}

/// What fills a table, or what a source reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Feed {
    /// `INCLUDE`
    pub include: Vec<IncludeItem>,
    /// `WITH (...)`
    pub options: Vec<OptionItem>,
    /// `FORMAT ... ENCODE ...`
    pub format: Option<Format>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct TableColumnDef {
    /// Its name.
    pub name: Name,
    /// Its type as written.
    pub data_type: DataType,
    /// Where the type stands.
    pub type_position: Option<usize>,
    /// `NOT NULL`
    pub not_null: bool,
    /// `DEFAULT expression`
    pub default: Option<Expression>,
    /// `SERIAL`, or `GENERATED ... AS IDENTITY`: it takes numbers.
    pub identity: Option<IdentityDef>,
}

/// `SERIAL`, or `GENERATED ... AS IDENTITY (...)`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityDef {
    /// Which of them.
    pub kind: IdentityKind,
    /// `START WITH`
    pub start: Option<i64>,
    /// `INCREMENT BY`
    pub increment: Option<i64>,
    /// `MINVALUE`
    pub least: Option<i64>,
    /// `MAXVALUE`
    pub greatest: Option<i64>,
    /// `CYCLE`
    pub cycles: bool,
    /// Where it stands.
    pub position: Option<usize>,
}

/// How a column takes numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityKind {
    /// `SERIAL`: they are its default.
    Serial,
    /// `GENERATED BY DEFAULT AS IDENTITY`
    ByDefault,
    /// `GENERATED ALWAYS AS IDENTITY`: no statement gives it another one by chance.
    Always,
}

/// A statement that changes the rows of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// An `INSERT`, `UPDATE` or `DELETE`; with WITH before it a query that has it as its body.
    pub statement: SqlStatement,
    /// Of a COPY: which rows are taken.
    pub only: Option<Expr>,
    /// Its first word; `COPY` for an `INSERT` that stands for one.
    pub verb: &'static str,
    /// The statement's own text.
    pub text: String,
    /// `OVERRIDING SYSTEM VALUE`: columns that always take numbers get those that are given.
    pub overrides: bool,
}

impl Change {
    /// What WITH names, and the `INSERT`, `UPDATE` or `DELETE`.
    pub fn parts(&self) -> (Option<&With>, &SqlStatement) {
        match &self.statement {
            SqlStatement::Query(query) => match query.body.as_ref() {
                SetExpr::Insert(inner) | SetExpr::Update(inner) | SetExpr::Delete(inner) => {
                    (query.with.as_ref(), inner)
                }
                _ => (None, &self.statement),
            },
            statement => (None, statement),
        }
    }
}

/// A declared column.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnDef {
    /// Its name.
    pub name: Name,
    /// Its type as written.
    pub data_type: DataType,
    /// Where the type stands.
    pub type_position: Option<usize>,
    /// `NOT NULL`
    pub not_null: bool,
    /// `AS expression`
    pub computed: Option<Expression>,
}

/// An expression and its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    /// Its tree.
    pub expr: Expr,
    /// As it was written.
    pub text: String,
    /// Where it stands.
    pub position: Option<usize>,
}

/// `WATERMARK FOR column AS expression`
#[derive(Clone, Debug, PartialEq)]
pub struct WatermarkDef {
    /// The column.
    pub column: Name,
    /// The column, or the column minus an interval.
    pub expr: Expression,
}

/// One item of `INCLUDE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncludeItem {
    /// `partition`, `offset`, `timestamp`, `key`, `headers` or `topic`.
    pub kind: crate::catalog::IncludeKind,
    /// `AS name`, or the kind's own name.
    pub name: Name,
}

/// One `name = value` of a `WITH` list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionItem {
    /// Dotted, in lower case unless quoted.
    pub name: Name,
    /// A string's content, or a number or word as written; the name of a secret.
    pub value: String,
    /// `name = SECRET value`
    pub is_secret: bool,
    /// Where the value stands.
    pub value_position: Option<usize>,
}

/// `FORMAT ... ENCODE ... [(options)]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// In upper case: `PLAIN`, `UPSERT`, `DEBEZIUM`.
    pub format: String,
    /// In upper case: `JSON` and others.
    pub encode: String,
    /// Options of the encoding.
    pub options: Vec<OptionItem>,
    /// Where `FORMAT` stands.
    pub position: Option<usize>,
}

/// `CREATE MATERIALIZED VIEW`
#[derive(Clone, Debug, PartialEq)]
pub struct CreateMaterializedView {
    /// The new view.
    pub name: Name,
    /// It is no error if it exists.
    pub if_not_exists: bool,
    /// Names for its columns; may be fewer than the query has.
    pub columns: Vec<Name>,
    /// Its query.
    pub query: Box<Query>,
    /// `EMIT ON WINDOW CLOSE`
    pub emit_on_window_close: bool,
    /// `WITH (...)`
    pub options: Vec<OptionItem>,
    /// The statement's own text.
    pub text: String,
}

/// `CREATE [OR REPLACE] VIEW`
#[derive(Clone, Debug, PartialEq)]
pub struct CreateView {
    /// The new view.
    pub name: Name,
    /// It takes the place of a view of this name.
    pub or_replace: bool,
    /// It is no error if it exists.
    pub if_not_exists: bool,
    /// Names for its columns; may be fewer than the query has.
    pub columns: Vec<Name>,
    /// Its query.
    pub query: Box<Query>,
    /// The query's own text.
    pub query_text: String,
    /// The statement's own text.
    pub text: String,
}

/// `CREATE INDEX`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateIndex {
    /// Rows of the table differ in its columns.
    pub unique: Option<Unique>,
    /// The new index; none: it is named after its columns.
    pub name: Option<Name>,
    /// It is no error if it exists.
    pub if_not_exists: bool,
    /// What it is on.
    pub on: Name,
    /// Its columns, leading first.
    pub columns: Vec<Name>,
    /// Columns that it holds beside them, as all others.
    pub included: Vec<Name>,
    /// The statement's own text.
    pub text: String,
}

/// `CREATE SINK`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateSink {
    /// The new sink.
    pub name: Name,
    /// It is no error if it exists.
    pub if_not_exists: bool,
    /// The table or materialized view that it follows.
    pub from: Name,
    /// `WITH (...)`
    pub options: Vec<OptionItem>,
    /// `FORMAT ... ENCODE ...`
    pub format: Option<Format>,
    /// The statement's own text.
    pub text: String,
}

/// A kind of object, as statements name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// `SOURCE`
    Source,
    /// `TABLE`
    Table,
    /// `VIEW`
    View,
    /// `MATERIALIZED VIEW`
    MaterializedView,
    /// `INDEX`
    Index,
    /// `SINK`
    Sink,
}

impl ObjectKind {
    /// As SQL writes it.
    pub fn sql(self) -> &'static str {
        match self {
            ObjectKind::Source => "SOURCE",
            ObjectKind::Table => "TABLE",
            ObjectKind::View => "VIEW",
            ObjectKind::MaterializedView => "MATERIALIZED VIEW",
            ObjectKind::Index => "INDEX",
            ObjectKind::Sink => "SINK",
        }
    }

    /// As messages write it.
    pub fn word(self) -> &'static str {
        match self {
            ObjectKind::Source => "source",
            ObjectKind::Table => "table",
            ObjectKind::View => "view",
            ObjectKind::MaterializedView => "materialized view",
            ObjectKind::Index => "index",
            ObjectKind::Sink => "sink",
        }
    }

    /// The same with an article.
    pub fn one(self) -> &'static str {
        match self {
            ObjectKind::Source => "a source",
            ObjectKind::Table => "a table",
            ObjectKind::View => "a view",
            ObjectKind::MaterializedView => "a materialized view",
            ObjectKind::Index => "an index",
            ObjectKind::Sink => "a sink",
        }
    }
}

/// `DROP`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drop {
    /// What kind.
    pub kind: ObjectKind,
    /// Which.
    pub names: Vec<Name>,
    /// It is no error if one is missing.
    pub if_exists: bool,
    /// What depends on them goes too.
    pub cascade: bool,
}

/// `SHOW`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Show {
    /// `SHOW SOURCES`
    Sources,
    /// `SHOW TABLES`
    Tables,
    /// `SHOW VIEWS`
    Views,
    /// `SHOW MATERIALIZED VIEWS`
    MaterializedViews,
    /// `SHOW SINKS`
    Sinks,
    /// `SHOW JOBS`
    Jobs,
    /// `SHOW SECRETS`: their names
    Secrets,
    /// `SHOW ALL`: every setting
    All,
    /// `SHOW CREATE kind name`
    Create(ObjectKind, Name),
    /// `SHOW COLUMNS FROM name`
    Columns(Name),
    /// `SHOW setting`, in lower case
    Parameter(String),
}

/// `EXPLAIN`
#[derive(Clone, Debug, PartialEq)]
pub struct Explain {
    /// Runs it and shows what happened.
    pub analyze: bool,
    /// Shows more.
    pub verbose: bool,
    /// `FORMAT JSON`: one value instead of lines.
    pub json: bool,
    /// What is explained.
    pub inner: Explained,
}

/// What `EXPLAIN` explains.
#[derive(Clone, Debug, PartialEq)]
pub enum Explained {
    /// A query or `CREATE MATERIALIZED VIEW`.
    Statement(Box<Statement>),
    /// `MATERIALIZED VIEW name`: one that is there.
    MaterializedView(Name),
}

/// `SUBSCRIBE TO name`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The view or table.
    pub name: Name,
    /// The rows that are there come first; if it is not said, they do unless there is `AS OF`.
    pub snapshot: Option<bool>,
    /// It is told when an epoch is complete.
    pub progress: bool,
    /// `AS OF`: the changes after this epoch.
    pub as_of: Option<u64>,
}

/// `DECLARE name CURSOR FOR ...`
#[derive(Clone, Debug, PartialEq)]
pub struct DeclareCursor {
    /// The new cursor.
    pub name: Name,
    /// `WITH HOLD`: it outlives its transaction.
    pub hold: bool,
    /// What it gives.
    pub rows: CursorRows,
}

/// What a cursor gives.
#[derive(Clone, Debug, PartialEq)]
pub enum CursorRows {
    /// `SUBSCRIBE ...`
    Subscribe(Subscribe),
    /// A query.
    Query(Box<Query>),
}

/// `PREPARE name (types) AS statement`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrepareStatement {
    /// The new statement.
    pub name: Name,
    /// The types of its first parameters.
    pub types: Vec<SqlType>,
    /// The statement.
    pub text: String,
    /// Characters before its text.
    pub offset: usize,
}

/// `EXECUTE name (arguments)`
#[derive(Clone, Debug, PartialEq)]
pub struct ExecuteStatement {
    /// A prepared statement.
    pub name: Name,
    /// The values of its parameters.
    pub arguments: Vec<Expression>,
}

/// `FETCH ... FROM name`, `MOVE ...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The cursor.
    pub name: Name,
    /// How many rows at most; None: all that are there.
    pub count: Option<u64>,
    /// `MOVE`: the rows are passed over.
    pub passes_over: bool,
    /// How long it waits for the first row, as written.
    pub timeout: Option<OptionItem>,
}

/// What is said of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// `READ ONLY` or `READ WRITE`, if it was said.
    pub read_only: Option<bool>,
    /// The isolation level, in lower case, if it was said.
    pub isolation: Option<&'static str>,
}

/// A statement about the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Session {
    /// `SET name = values`; the name in lower case
    Set {
        /// The setting.
        name: String,
        /// One value, or the members of a list.
        values: Vec<String>,
        /// Until the end of the transaction only.
        local: bool,
    },
    /// `SET name TO DEFAULT`
    ToDefault(String),
    /// `RESET name`; None is `RESET ALL`
    Reset(Option<String>),
    /// `DISCARD ALL | PLANS | SEQUENCES | TEMP`, in upper case
    Discard(String),
    /// `BEGIN`, `START TRANSACTION`
    Begin {
        /// It was `START TRANSACTION`, which has a command tag of its own.
        start: bool,
        /// What is said of it.
        modes: Modes,
    },
    /// `SET TRANSACTION ...`, or `SET SESSION CHARACTERISTICS AS TRANSACTION ...`
    Modes {
        /// For all transactions of the session from now on.
        session: bool,
        /// What is said of them.
        modes: Modes,
    },
    /// `COMMIT`, `END`
    Commit,
    /// `ROLLBACK`, `ABORT`
    Rollback,
    /// `SAVEPOINT name`
    Savepoint(String),
    /// `RELEASE [SAVEPOINT] name`
    Release(String),
    /// `ROLLBACK TO [SAVEPOINT] name`
    RollbackTo(String),
    /// `DEALLOCATE name`; None is `ALL`
    Deallocate(Option<String>),
    /// `CLOSE name`; None is `ALL`
    Close(Option<String>),
    /// Taken and without effect; the command tag.
    Accepted(&'static str),
}

impl Statement {
    /// The command tag; for what gives rows its first word.
    pub fn tag(&self) -> &'static str {
        match self {
            Statement::CreateSource(_) => "CREATE SOURCE",
            Statement::CreateTable(_) => "CREATE TABLE",
            Statement::CreateTableAs(_) => "CREATE TABLE AS",
            Statement::Change(change) => change.verb,
            Statement::CreateMaterializedView(_) => "CREATE MATERIALIZED VIEW",
            Statement::CreateView(_) => "CREATE VIEW",
            Statement::CreateIndex(_) => "CREATE INDEX",
            Statement::CreateSink(_) => "CREATE SINK",
            Statement::Copy(_) | Statement::CopyTo(_) => "COPY",
            Statement::Flush => "FLUSH",
            Statement::Refresh(_) => "REFRESH MATERIALIZED VIEW",
            Statement::Backup(_) => "BACKUP",
            Statement::Drop(drop) => match drop.kind {
                ObjectKind::Source => "DROP SOURCE",
                ObjectKind::Table => "DROP TABLE",
                ObjectKind::View => "DROP VIEW",
                ObjectKind::MaterializedView => "DROP MATERIALIZED VIEW",
                ObjectKind::Index => "DROP INDEX",
                ObjectKind::Sink => "DROP SINK",
            },
            Statement::AlterConstraints(_) => "ALTER TABLE",
            Statement::Alter(alter) => match alter.kind {
                ObjectKind::Table => "ALTER TABLE",
                _ => "ALTER SOURCE",
            },
            Statement::Rename(rename) => match rename.kind {
                ObjectKind::Source => "ALTER SOURCE",
                ObjectKind::Table => "ALTER TABLE",
                ObjectKind::View => "ALTER VIEW",
                ObjectKind::MaterializedView => "ALTER MATERIALIZED VIEW",
                ObjectKind::Index => "ALTER INDEX",
                ObjectKind::Sink => "ALTER SINK",
            },
            Statement::CancelJob(_) => "CANCEL JOB",
            Statement::Show(_) => "SHOW",
            Statement::Describe(_) => "DESCRIBE",
            Statement::Explain(_) => "EXPLAIN",
            Statement::Query(_) => "SELECT",
            Statement::Access(access) => access.tag(),
            Statement::Subscribe(_) => "SUBSCRIBE",
            Statement::Declare(_) => "DECLARE CURSOR",
            Statement::Fetch(fetch) if fetch.passes_over => "MOVE",
            Statement::Fetch(_) => "FETCH",
            Statement::Prepare(_) => "PREPARE",
            Statement::Execute(_) => "EXECUTE",
            Statement::Session(session) => session.tag(),
        }
    }
}

impl Statement {
    /// True if it changes what objects there are.
    pub fn defines(&self) -> bool {
        matches!(
            self,
            Statement::CreateSource(_)
                | Statement::CreateTable(_)
                | Statement::CreateTableAs(_)
                | Statement::CreateMaterializedView(_)
                | Statement::CreateView(_)
                | Statement::CreateIndex(_)
                | Statement::CreateSink(_)
                | Statement::Drop(_)
                | Statement::Alter(_)
                | Statement::AlterConstraints(_)
                | Statement::Rename(_)
                | Statement::Access(_)
                | Statement::CancelJob(_)
        )
    }
}

impl Session {
    fn tag(&self) -> &'static str {
        match self {
            Session::Set { .. } | Session::ToDefault(_) | Session::Modes { .. } => "SET",
            Session::Reset(_) => "RESET",
            Session::Discard(what) => match what.as_str() {
                "PLANS" => "DISCARD PLANS",
                "SEQUENCES" => "DISCARD SEQUENCES",
                "TEMP" => "DISCARD TEMP",
                _ => "DISCARD ALL",
            },
            Session::Begin { start: false, .. } => "BEGIN",
            Session::Begin { start: true, .. } => "START TRANSACTION",
            Session::Commit => "COMMIT",
            Session::Rollback | Session::RollbackTo(_) => "ROLLBACK",
            Session::Savepoint(_) => "SAVEPOINT",
            Session::Release(_) => "RELEASE",
            Session::Deallocate(Some(_)) => "DEALLOCATE",
            Session::Deallocate(None) => "DEALLOCATE ALL",
            Session::Close(Some(_)) => "CLOSE CURSOR",
            Session::Close(None) => "CLOSE CURSOR ALL",
            Session::Accepted(tag) => tag,
        }
    }
}
