//! COPY FROM STDIN: the lines become a table of texts, which an INSERT reads. So types, defaults and
//! constraints are those of INSERT, and the whole is one statement.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema};
use millrace_pg::session::Outcome;
use millrace_sql::ast::{self, Name, Statement};
use millrace_types::{Report, SqlState};

use super::change::quoted;
use super::{Conn, copy_lines};
use crate::coordinator::CHANGE_BYTES_MAX;

/// The table of texts; no object can have this name.
const COPIED: &str = "\u{1}copied";

/// A COPY that waits for its data.
pub(super) struct Copying {
    copy: ast::Copy,
    columns: Vec<String>,
}

impl Conn {
    /// Looks at the table; the data comes next.
    pub(super) fn begin_copy(&mut self, copy: ast::Copy) -> Result<Outcome, Report> {
        let object = self.object(&copy.table)?;
        let columns: Vec<String> = match copy.columns.as_slice() {
            [] => object.visible_schema().fields().iter().map(|f| f.name().clone()).collect(),
            given => given.iter().map(|name: &Name| name.name.clone()).collect(),
        };
        // An unknown column, or what is no table, is refused before the client sends anything.
        let change = self.insert_of(&copy, &columns)?;
        millrace_sql::plan_change(&self.shared.catalog(), &change)?;
        let count = columns.len();
        self.copying = Some(Copying { copy, columns });
        Ok(Outcome::CopyIn { columns: count, limit: CHANGE_BYTES_MAX })
    }

    fn insert_of(&self, copy: &ast::Copy, columns: &[String]) -> Result<ast::Change, Report> {
        let targets: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
        let given: Vec<String> = (0..columns.len()).map(|n| format!("c{n}")).collect();
        let text = format!(
            "INSERT INTO {} ({}) SELECT {} FROM {}",
            quoted(&copy.table.name),
            targets.join(", "),
            given.join(", "),
            quoted(COPIED)
        );
        match millrace_sql::parse(&text)?.pop() {
            Some(Statement::Change(change)) => Ok(ast::Change { verb: "COPY", ..*change }),
            _ => Err(Report::new(SqlState::INTERNAL_ERROR, "a copy is no insert")),
        }
    }

    /// All data of the COPY has come.
    pub(super) async fn finish_copy(&mut self, data: &[u8]) -> Result<Outcome, Report> {
        let Some(Copying { copy, columns }) = self.copying.take() else {
            return Err(Report::new(SqlState::PROTOCOL_VIOLATION, "no COPY is under way"));
        };
        let found = copy_lines::columns(data, &copy.options, &copy.table.name, columns.len())?;
        let field = |n: usize| Field::new(format!("c{n}"), DataType::Utf8, true);
        let schema = Schema::new((0..columns.len()).map(field).collect::<Vec<_>>());
        let rows = found.first().map_or(0, Array::len);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let texts = RecordBatch::try_new_with_options(
            Arc::new(schema),
            found.into_iter().map(|column| Arc::new(column) as ArrayRef).collect(),
            &options,
        );
        let texts = texts.map_err(|error| super::change::internal(&error))?;
        let change = self.insert_of(&copy, &columns)?;
        self.given = Some((COPIED, texts));
        let outcome = self.change(&change, Vec::new()).await;
        self.given = None;
        match outcome? {
            Outcome::Done(tag) => Ok(Outcome::Done(tag.replace("INSERT 0", "COPY"))),
            other => Ok(other),
        }
    }
}
