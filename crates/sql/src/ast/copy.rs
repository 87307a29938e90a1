//! `COPY`: rows of a table from the client, rows of a query to it.

use datafusion::sql::sqlparser::ast::{Expr, Query};

use super::{Name, Subscribe};

/// `COPY table FROM STDIN`
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// The table.
    pub table: Name,
    /// Its columns in the order of the data; none: all.
    pub columns: Vec<Name>,
    /// How the data is written.
    pub options: CopyOptions,
    /// Which rows are taken.
    pub only: Option<Expr>,
    /// The statement's own text.
    pub text: String,
}

/// `COPY ... TO STDOUT`
#[derive(Clone, Debug, PartialEq)]
pub struct CopyTo {
    /// What is copied.
    pub rows: CopyRows,
    /// How the data is written.
    pub options: CopyOptions,
    /// The statement's own text.
    pub text: String,
}

/// What COPY TO sends.
#[derive(Clone, Debug, PartialEq)]
pub enum CopyRows {
    /// All rows of a relation.
    Relation {
        /// Its name as it was written, with schema and quotes, and where it stands.
        relation: Name,
        /// Its columns in the order of the data; none: all.
        columns: Vec<Name>,
    },
    /// The rows of a query.
    Query(Box<Query>),
    /// The changes of a view.
    Subscribe(Box<Subscribe>),
}

/// How the data of a COPY is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOptions {
    /// Text, CSV or binary.
    pub format: CopyFormat,
    /// Between columns.
    pub delimiter: u8,
    /// Stands for NULL.
    pub null: String,
    /// What the first line is.
    pub header: CopyHeader,
    /// Around values of CSV.
    pub quote: u8,
    /// Before a quote inside quotes.
    pub escape: u8,
    /// Columns that stand in quotes whatever they hold: COPY TO in CSV.
    pub force_quote: CopyColumns,
    /// Columns of which a value in quotes may be NULL, too: COPY FROM in CSV.
    pub force_null: CopyColumns,
    /// Columns of which no value is NULL: COPY FROM in CSV.
    pub force_not_null: CopyColumns,
}

/// The format of a COPY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    /// PostgreSQL's text format.
    Text,
    /// Comma separated values.
    Csv,
    /// PostgreSQL's binary format.
    Binary,
}

/// The first line of a COPY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyHeader {
    /// It holds values as all others.
    Absent,
    /// It holds names, which are passed over.
    Present,
    /// It holds the names of the columns.
    Match,
}

/// The columns that an option of COPY is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyColumns {
    /// All of them.
    All,
    /// These; maybe none.
    Listed(Vec<Name>),
}

impl CopyColumns {
    /// Which of some columns are meant.
    ///
    /// # Errors
    /// The name that is not among them.
    pub fn among<'a>(&'a self, columns: &[impl AsRef<str>]) -> Result<Vec<bool>, &'a Name> {
        let listed = match self {
            CopyColumns::All => return Ok(vec![true; columns.len()]),
            CopyColumns::Listed(listed) => listed,
        };
        let mut meant = vec![false; columns.len()];
        for name in listed {
            let found = columns.iter().position(|column| column.as_ref() == name.name);
            meant[found.ok_or(name)?] = true;
        }
        Ok(meant)
    }
}
