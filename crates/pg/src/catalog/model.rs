//! What the catalog is told of a database: relations, roles, comments, sessions.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use millrace_types::{Report, SqlState};

use super::advisory::AdvisoryLocks;

/// What a relation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    /// A source; clients see a table that takes no rows.
    Source,
    /// A table.
    Table,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// An index.
    Index,
    /// What gives a column its numbers.
    Sequence,
}

/// A relation as clients see it.
#[derive(Clone, Debug)]
pub struct Relation {
    /// Its number in `pg_class`, never another's; below 16384 for the system's own.
    pub oid: u32,
    /// `public`, `millrace` or a schema of the catalog.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: RelationKind,
    /// The columns that users see.
    pub columns: SchemaRef,
    /// What else is known of its columns, in their order; nothing of those behind.
    pub more: Vec<ColumnMore>,
    /// The columns of its primary key, counted from 1.
    pub key: Vec<i16>,
    /// Its constraints, the primary key among them.
    pub constraints: Vec<ConstraintOf>,
    /// The SELECT of a view, the statement of an index.
    pub definition: Option<String>,
    /// The numbers of the relations that a view reads.
    pub depends_on: Vec<u32>,
    /// The number of the role that owns it.
    pub owner: u32,
    /// What others may do, an entry each as PostgreSQL writes it; None: nothing was ever granted.
    pub acl: Option<Vec<String>>,
    /// What an index is on.
    pub index: Option<IndexOf>,
    /// About how many rows it has, if that is known.
    pub rows: Option<i64>,
    /// Bytes that it takes.
    pub bytes: i64,
}

/// What an index is on.
#[derive(Clone, Debug)]
pub struct IndexOf {
    /// The number of the relation.
    pub on: u32,
    /// Its columns there, counted from 1.
    pub columns: Vec<i16>,
    /// It is that of the primary key.
    pub primary: bool,
    /// Rows differ in its columns.
    pub unique: bool,
}

/// A constraint of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConstraintOf {
    /// Its number in `pg_constraint`; None for the primary key, whose number is made of its index'.
    pub oid: Option<u32>,
    /// Its name.
    pub name: String,
    /// Its columns, counted from 1.
    pub columns: Vec<i16>,
    /// What it asks for.
    pub kind: ConstraintKind,
}

/// What a constraint asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConstraintKind {
    /// The primary key.
    Key,
    /// Unique columns, with the number of their index.
    Unique(u32),
    /// A condition.
    Check(String),
    /// Columns that refer to others.
    References {
        /// The number of the other table.
        table: u32,
        /// Its name.
        name: String,
        /// Its columns, counted from 1.
        columns: Vec<i16>,
        /// Their names.
        names: Vec<String>,
        /// The number of the index that makes them unique; None: its primary key's.
        index: Option<u32>,
        /// The name of the constraint that does.
        unique: Option<String>,
        /// What becomes of rows whose row there is deleted: words of SQL.
        on_delete: &'static str,
        /// Or gets another key.
        on_update: &'static str,
    },
}

/// What Arrow's field does not say of a column.
#[derive(Clone, Debug, Default)]
pub struct ColumnMore {
    /// The expression of its default, or that computes it.
    pub default: Option<String>,
    /// It is computed from other columns.
    pub computed: bool,
    /// The most characters, of a `varchar(n)`.
    pub length: Option<u32>,
    /// It takes numbers (`GENERATED ... AS IDENTITY`): `a` if always, `d` by default.
    pub identity: Option<&'static str>,
}

/// What gives a column its numbers.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// Its number in `pg_class`.
    pub oid: u32,
    /// Its name, in the schema of users' relations.
    pub name: String,
    /// The number of the table.
    pub table: u32,
    /// The column of it, counted from 1.
    pub column: i16,
    /// The column is `GENERATED ... AS IDENTITY`, not `SERIAL`.
    pub identity: bool,
    /// The number of the role that owns it.
    pub owner: u32,
    /// The type of the column.
    pub data_type: DataType,
    /// The first number.
    pub start: i64,
    /// From one number to the next.
    pub increment: i64,
    /// The least number.
    pub least: i64,
    /// The greatest number.
    pub greatest: i64,
    /// Behind the last number comes the first one again.
    pub cycles: bool,
    /// The last number that was given, if there was one.
    pub last: Option<i64>,
}

/// A role as clients see it.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its number; 10 is root.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// It may do everything.
    pub superuser: bool,
    /// It has the rights of what it is a member of.
    pub inherits: bool,
    /// It may make roles.
    pub creates_roles: bool,
    /// It may come in.
    pub login: bool,
    /// The most sessions at a time, -1 for as many as the server has.
    pub connections_max: i32,
    /// Until when its password counts, microseconds since 1970.
    pub valid_until: Option<i64>,
    /// The numbers of the roles that it is a member of, and whether it may make others members.
    pub member_of: Vec<(u32, bool)>,
    /// What others may do with relations that it makes, an entry each.
    pub defaults: Option<Vec<String>>,
}

/// A comment.
#[derive(Clone, Debug)]
pub struct Comment {
    /// The number of the catalog that the object is in: 1259 for `pg_class`.
    pub class: u32,
    /// The object's number.
    pub object: u32,
    /// A column of it, counted from 1; 0 for itself.
    pub column: i32,
    /// What was said.
    pub text: String,
}

/// A session, as `pg_stat_activity` tells of it.
#[derive(Clone, Debug)]
pub struct Activity {
    /// Its number, as the client was told.
    pub process: i32,
    /// The number of the role that came in.
    pub role: u32,
    /// Its name.
    pub role_name: String,
    /// What the client calls itself.
    pub application: String,
    /// Where it comes from.
    pub address: Option<String>,
    /// When it came, microseconds since 1970.
    pub began: i64,
    /// When its last statement began.
    pub query_began: Option<i64>,
    /// When its state changed.
    pub changed: i64,
    /// `active`, `idle`, `idle in transaction`.
    pub state: String,
    /// Its last statement.
    pub query: String,
}

/// A lock of a table that a session holds or waits for.
#[derive(Clone, Debug)]
pub struct Lock {
    /// The number of the session's process.
    pub process: i32,
    /// The number of the table in `pg_class`.
    pub relation: u32,
    /// When it began to wait, microseconds since 1970; None: it holds the lock.
    pub waits_since: Option<i64>,
}

/// A statement that a session has prepared.
#[derive(Clone, Debug)]
pub struct PreparedRow {
    /// Its name.
    pub name: String,
    /// What the client sent.
    pub statement: String,
    /// When, microseconds since 1970.
    pub at: i64,
    /// The types of its parameters.
    pub parameters: Vec<DataType>,
    /// Those of its columns; None if it returns none.
    pub columns: Option<Vec<DataType>>,
    /// By PREPARE, not by the protocol.
    pub from_sql: bool,
    /// How many times it was planned for values.
    pub plans: i64,
}

/// A cursor of a session, or a portal with a name.
#[derive(Clone, Debug)]
pub struct CursorRow {
    /// Its name.
    pub name: String,
    /// What the client sent.
    pub statement: String,
    /// It was declared WITH HOLD.
    pub is_held: bool,
    /// When, microseconds since 1970.
    pub at: i64,
}

/// What a session has by names of its own.
pub trait SessionLists: fmt::Debug + Send + Sync {
    /// Its prepared statements.
    fn prepared(&self) -> Vec<PreparedRow> {
        Vec::new()
    }

    /// Its cursors.
    fn cursors(&self) -> Vec<CursorRow> {
        Vec::new()
    }

    /// It has got a number of a sequence.
    fn took(&self, sequence: u32, number: i64) {
        let _ = (sequence, number);
    }

    /// The last number that it has got of a sequence; of whichever if none is named.
    fn taken(&self, sequence: Option<u32>) -> Option<(u32, i64)> {
        let _ = sequence;
        None
    }
}

/// What a right is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The relation of a number.
    Relation(u32),
    /// The schema of users' relations.
    Schema,
    /// Another schema.
    SystemSchema,
    /// The database.
    Database,
}

/// What is done to another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Its statement ends.
    Cancel,
    /// It ends.
    Terminate,
}

/// What there is, now, and who may use it.
pub trait Relations: fmt::Debug + Send + Sync {
    /// All relations.
    fn relations(&self) -> Vec<Relation> {
        Vec::new()
    }

    /// All roles.
    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }

    /// All comments.
    fn comments(&self) -> Vec<Comment> {
        Vec::new()
    }

    /// All sessions.
    fn activity(&self) -> Vec<Activity> {
        Vec::new()
    }

    /// All locks of tables.
    fn locks(&self) -> Vec<Lock> {
        Vec::new()
    }

    /// What sessions have agreed on.
    fn advisory_locks(&self) -> Arc<AdvisoryLocks> {
        Arc::default()
    }

    /// What others than its owner may do in the schema of users' relations, an entry each.
    fn schema_acl(&self) -> Vec<String> {
        Vec::new()
    }

    /// True if a role, by its number, may do something, which is named in upper case; None if there is
    /// no such role or relation.
    fn allows(&self, role: u32, on: On, privilege: &str) -> Option<bool> {
        let _ = (role, on, privilege);
        None
    }

    /// Ends what a session runs, or the session; false if there is none with this number.
    fn signal(&self, process: i32, signal: Signal) -> bool {
        let _ = (process, signal);
        false
    }

    /// All sequences.
    fn sequences(&self) -> Vec<Sequence> {
        Vec::new()
    }

    /// The next numbers of a sequence.
    ///
    /// # Errors
    /// It has so many no more, or they cannot be kept from coming twice.
    fn numbers(&self, sequence: u32, count: usize) -> Result<Vec<i64>, Report> {
        let _ = (sequence, count);
        Err(Report::new(SqlState::UNDEFINED_TABLE, "there is no such sequence"))
    }

    /// Has a sequence go on behind a number, or at it.
    ///
    /// # Errors
    /// The number is none of its own, or cannot be stored.
    fn set_number(&self, sequence: u32, number: i64, behind: bool) -> Result<(), Report> {
        let _ = (sequence, number, behind);
        Err(Report::new(SqlState::UNDEFINED_TABLE, "there is no such sequence"))
    }

    /// The server's time, microseconds since 1970.
    fn now(&self) -> i64 {
        0
    }

    /// When the server began, microseconds since 1970.
    fn began(&self) -> i64 {
        0
    }
}
