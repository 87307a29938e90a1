//! Constraints of tables.

use super::{Expression, Name};

/// What rows of a table have to meet, besides the primary key.
#[derive(Clone, Debug, PartialEq)]
pub struct Constraint {
    /// Its name, if it has one of its own.
    pub name: Option<Name>,
    /// Where it stands.
    pub position: Option<usize>,
    /// What it asks for.
    pub kind: ConstraintKind,
    /// `INITIALLY DEFERRED`
    pub deferred: bool,
}

/// Why the columns of an index are unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unique {
    /// `CREATE UNIQUE INDEX`
    Index,
    /// A constraint of the table.
    Constraint,
}

/// What a constraint asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum ConstraintKind {
    /// `CHECK (condition)`
    Check(Box<Expression>),
    /// `UNIQUE (columns)`
    Unique(Vec<Name>),
    /// `FOREIGN KEY (columns) REFERENCES ...`
    References(Reference),
}

/// `FOREIGN KEY (columns) REFERENCES table (columns)`
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// The columns that refer.
    pub columns: Vec<Name>,
    /// The table that they refer to.
    pub table: Name,
    /// Its columns; none: its primary key.
    pub to: Vec<Name>,
    /// What becomes of rows whose row there is deleted.
    pub on_delete: ReferenceAction,
    /// What becomes of rows whose row there gets another key.
    pub on_update: ReferenceAction,
}

/// What becomes of rows when what they refer to goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReferenceAction {
    /// `NO ACTION`: it stays, and the statement fails.
    #[default]
    Nothing,
    /// `RESTRICT`, the same.
    Restrict,
    /// `CASCADE`
    Cascade,
    /// `SET NULL`
    SetNull,
    /// `SET DEFAULT`
    SetDefault,
}

impl ReferenceAction {
    /// Every action.
    pub const ALL: [ReferenceAction; 5] = [
        ReferenceAction::Nothing,
        ReferenceAction::Restrict,
        ReferenceAction::Cascade,
        ReferenceAction::SetNull,
        ReferenceAction::SetDefault,
    ];

    /// As SQL writes it.
    pub fn words(self) -> &'static str {
        match self {
            ReferenceAction::Nothing => "NO ACTION",
            ReferenceAction::Restrict => "RESTRICT",
            ReferenceAction::Cascade => "CASCADE",
            ReferenceAction::SetNull => "SET NULL",
            ReferenceAction::SetDefault => "SET DEFAULT",
        }
    }
}

/// `ALTER TABLE ... ADD constraint | DROP CONSTRAINT`
#[derive(Clone, Debug, PartialEq)]
pub struct AlterConstraints {
    /// The table.
    pub table: Name,
    /// It is no error if it does not exist.
    pub if_exists: bool,
    /// What is done, in order.
    pub changes: Vec<ConstraintChange>,
}

/// One change of the constraints of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum ConstraintChange {
    /// `ADD`
    Add(Box<Constraint>),
    /// `DROP CONSTRAINT [IF EXISTS]`
    Drop(Name, bool),
}
