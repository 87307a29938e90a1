//! COPY FROM STDIN: the data becomes a table, which an INSERT reads. So types, defaults and
//! constraints are those of INSERT, and the whole is one statement.
//!
//! Text and CSV become a table of texts. Where one of them is no value of its column, the INSERT says
//! what is wrong, and the data is read once more for the line and the column.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::execution::memory_pool::MemoryReservation;
use millrace_pg::copy::read_binary;
use millrace_pg::session::Outcome;
use millrace_sql::ast::{self, CopyColumns, CopyFormat, Name, Statement};
use millrace_sql::{Kind, Object, TableColumn};
use millrace_types::{Report, SqlState};

use super::change::quoted;
use super::copy_lines::Lines;
use super::show::positioned;
use super::{Conn, copy_lines, report_of};
use crate::coordinator::CHANGE_BYTES_MAX;
use crate::queries::Running;

/// The table of what has come; no object can have this name.
const COPIED: &str = "\u{1}copied";

/// A COPY that waits for its data.
pub(super) struct Copying {
    copy: ast::Copy,
    columns: Vec<TableColumn>,
    /// What has come of its data, in the memory of statements.
    held: MemoryReservation,
    /// While it is there, that memory may be had.
    _running: Running,
}

impl Conn {
    /// Looks at the table; the data comes next.
    pub(super) fn begin_copy(&mut self, copy: ast::Copy) -> Result<Outcome, Report> {
        let object = self.object(&copy.table)?;
        let names: Vec<String> = match copy.columns.as_slice() {
            [] => object.visible_schema().fields().iter().map(|f| f.name().clone()).collect(),
            given => given.iter().map(|name: &Name| name.name.clone()).collect(),
        };
        // An unknown column, or what is no table, is refused before the client sends anything.
        let change = self.insert_of(&copy, &names)?;
        let plain = ast::Change { only: None, ..change.clone() };
        millrace_sql::plan_change(&self.shared.catalog(), &plain)
            .map_err(|report| of_insert(report, &copy))?;
        if copy.only.is_some() {
            self.given = Some((COPIED, no_rows(names.len())));
            let bound = self.prepare_change(&change, &[]);
            self.given = None;
            bound?;
        }
        let columns = columns_of(&object, &names)?;
        check_forced(&copy, &columns)?;
        let binary = copy.options.format == CopyFormat::Binary;
        let count = columns.len();
        let running = self.shared.queries.begin("COPY");
        let held = running.reservation();
        self.copying = Some(Copying { copy, columns, held, _running: running });
        Ok(Outcome::CopyIn { columns: count, binary, limit: CHANGE_BYTES_MAX })
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
            Some(Statement::Change(change)) => {
                // Its condition stands in the statement's own text.
                let text = if copy.only.is_some() { copy.text.clone() } else { text };
                Ok(ast::Change { verb: "COPY", only: copy.only.clone(), text, ..*change })
            }
            _ => Err(Report::new(SqlState::INTERNAL_ERROR, "a copy is no insert")),
        }
    }

    /// All data of the COPY has come.
    pub(super) async fn finish_copy(&mut self, data: &[u8]) -> Result<Outcome, Report> {
        let Some(copying) = self.copying.take() else {
            return Err(Report::new(SqlState::PROTOCOL_VIOLATION, "no COPY is under way"));
        };
        let names: Vec<String> = copying.columns.iter().map(|c| c.name.clone()).collect();
        if copying.copy.only.is_some()
            && copying.copy.options.format != CopyFormat::Binary
            && let Some(report) = copying.first_wrong(data, false)?
        {
            // Of a row that is not taken, too.
            return Err(report);
        }
        let change = self.insert_of(&copying.copy, &names)?;
        self.given = Some((COPIED, copying.rows(data)?));
        let outcome = self.change(&change, Vec::new()).await;
        self.given = None;
        match outcome.map_err(|report| copying.located(data, report))? {
            Outcome::Done(tag) => Ok(Outcome::Done(tag.replace("INSERT 0", "COPY"))),
            other => Ok(other),
        }
    }
}

/// What comes, of so many columns, before there is any of it.
fn no_rows(columns: usize) -> RecordBatch {
    let field = |n| Field::new(format!("c{n}"), DataType::Utf8, true);
    RecordBatch::new_empty(Arc::new(Schema::new((0..columns).map(field).collect::<Vec<_>>())))
}

/// A report on the INSERT that stands for a COPY: of its table or of one of its columns.
fn of_insert(report: Report, copy: &ast::Copy) -> Report {
    let is_of_column =
        [SqlState::UNDEFINED_COLUMN, SqlState::DUPLICATE_COLUMN].contains(&report.code);
    let position = if is_of_column { None } else { copy.table.position };
    Report { position, ..report }
}

impl Copying {
    /// So many bytes more of its data are held.
    pub(super) fn holds(&self, bytes: usize) -> Result<(), Report> {
        self.held.try_grow(bytes).map_err(|error| report_of(&error))
    }

    /// The data as a table.
    fn rows(&self, data: &[u8]) -> Result<RecordBatch, Report> {
        let found: Vec<ArrayRef> = match self.copy.options.format {
            CopyFormat::Binary => {
                let columns: Vec<_> =
                    self.columns.iter().map(|c| (c.name.clone(), c.sql_type.clone())).collect();
                read_binary(data, &self.copy.table.name, &columns)?
            }
            CopyFormat::Text | CopyFormat::Csv => {
                let texts = copy_lines::columns(self.lines(data)?)?;
                texts.into_iter().map(|column| Arc::new(column) as ArrayRef).collect()
            }
        };
        let fields = found.iter().enumerate();
        let fields = fields.map(|(n, a)| Field::new(format!("c{n}"), a.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let rows = found.first().map_or(0, |column| column.len());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema, found, &options)
            .map_err(|error| super::change::internal(&error))
    }

    fn lines<'a>(&'a self, data: &'a [u8]) -> Result<Lines<'a>, Report> {
        let names = self.columns.iter().map(|column| column.name.as_str()).collect();
        Lines::new(data, &self.copy.options, &self.copy.table.name, names)
    }

    /// What is wrong, with the first place where it is.
    fn located(&self, data: &[u8], report: Report) -> Report {
        let is_of_data = report.code.code().starts_with("22");
        let is_null = report.code == SqlState::NOT_NULL_VIOLATION;
        if self.copy.options.format == CopyFormat::Binary || !(is_of_data || is_null) {
            return report;
        }
        match self.first_wrong(data, is_null) {
            Ok(Some(found)) if is_null => Report { context: found.context, ..report },
            Ok(Some(found)) => found,
            Ok(None) | Err(_) => report,
        }
    }

    fn first_wrong(&self, data: &[u8], null: bool) -> Result<Option<Report>, Report> {
        let mut lines = self.lines(data)?;
        while let Some(row) = lines.next()? {
            for (column, value) in self.columns.iter().zip(row) {
                match value {
                    None if null && column.not_null => {
                        let report = Report::new(SqlState::NOT_NULL_VIOLATION, "");
                        return Ok(Some(report.context(lines.place())));
                    }
                    Some(value) if !null => {
                        if let Err(report) = check(&value, column) {
                            let context = lines.place_of(&column.name, &value);
                            return Ok(Some(report.context(context)));
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(None)
    }
}

/// Looks whether a text is a value of a column.
fn check(value: &str, column: &TableColumn) -> Result<(), Report> {
    millrace_pg::copy::check_text(value, &column.sql_type)?;
    match column.length {
        Some(length)
            if value.chars().count() > usize::try_from(length).unwrap_or(usize::MAX)
                // Spaces beyond the length are cut.
                && value.trim_end_matches(' ').chars().count()
                    > usize::try_from(length).unwrap_or(usize::MAX) =>
        {
            let message = format!("value too long for type character varying({length})");
            Err(Report::new(SqlState::STRING_DATA_RIGHT_TRUNCATION, message))
        }
        _ => Ok(()),
    }
}

fn columns_of(object: &Object, names: &[String]) -> Result<Vec<TableColumn>, Report> {
    let Kind::Table(table) = &object.kind else {
        return Err(Report::new(SqlState::INTERNAL_ERROR, "a COPY into no table"));
    };
    let column = |name: &String| table.columns.iter().find(|c| c.name == *name).cloned();
    names.iter().map(column).collect::<Option<_>>().ok_or_else(|| {
        Report::new(SqlState::INTERNAL_ERROR, "a COPY into a column that is not there")
    })
}

/// Columns that an option names must be among those that are copied.
fn check_forced(copy: &ast::Copy, columns: &[TableColumn]) -> Result<(), Report> {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let check = |option: &str, forced: &CopyColumns| match forced.among(&names) {
        Ok(_) => Ok(()),
        Err(name) => {
            let message = format!("{option} column \"{}\" not referenced by COPY", name.name);
            Err(positioned(Report::new(SqlState::INVALID_COLUMN_REFERENCE, message), name))
        }
    };
    check("FORCE_NOT_NULL", &copy.options.force_not_null)?;
    check("FORCE_NULL", &copy.options.force_null)
}
