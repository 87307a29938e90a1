//! Rows that a table does not take, as PostgreSQL reports them: with the row, and with the names of table,
//! column and constraint, which drivers read.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use millrace_sql::functions::shown;
use millrace_sql::{ChangePlan, Object, References};
use millrace_types::{About, Report, SqlState};

/// Bytes of a value that a message shows.
const SHOWN_MAX: usize = 64;

/// The report for the first row that has NULL where its column takes none.
pub(super) fn null(plan: &ChangePlan, schema: &SchemaRef, columns: &[ArrayRef]) -> Option<Report> {
    let strict = columns
        .iter()
        .zip(schema.fields())
        .filter(|(column, field)| !field.is_nullable() && column.null_count() > 0);
    let first = |column: &ArrayRef| (0..column.len()).find(|row| column.is_null(*row));
    // Of several columns of one row the leftmost.
    let found = strict.filter_map(|(column, field)| Some((first(column)?, field.name())));
    let (row, name) = found.min_by_key(|(row, _)| *row)?;
    let table = &plan.table.name;
    let message = format!(
        "null value in column \"{name}\" of relation \"{table}\" violates not-null constraint"
    );
    let width = plan.definition().columns.len();
    let about = About { column: Some(name.clone()), ..of_table(table) };
    let report = Report::new(SqlState::NOT_NULL_VIOLATION, message).about(about);
    Some(report.detail(failing(&columns[..width], row)))
}

fn failing(columns: &[ArrayRef], row: usize) -> String {
    let values: Vec<String> = columns.iter().map(|column| value(column, row)).collect();
    format!("Failing row contains ({}).", values.join(", "))
}

/// The report for a row that fails a condition; of the row's columns as many are shown.
pub(super) fn check(
    table: &Object,
    name: &str,
    shown: usize,
    (rows, row): (&RecordBatch, usize),
) -> Report {
    let relation = &table.name;
    let message =
        format!("new row for relation \"{relation}\" violates check constraint \"{name}\"");
    let report = Report::new(SqlState::CHECK_VIOLATION, message);
    report.detail(failing(&rows.columns()[..shown], row)).about(of_constraint(relation, name))
}

/// The report for values of columns with a unique index that are taken.
pub(super) fn not_unique(
    table: &Object,
    index: &str,
    columns: &[usize],
    (values, row): (&RecordBatch, usize),
) -> Report {
    let key = key(table, columns, (values, row));
    let message = format!("duplicate key value violates unique constraint \"{index}\"");
    let report = Report::new(SqlState::UNIQUE_VIOLATION, message);
    report.detail(format!("{key} already exists.")).about(of_constraint(&table.name, index))
}

/// The report for a row that refers to what is not there.
pub(super) fn not_there(
    table: &Object,
    reference: &References,
    to: &Object,
    values: &RecordBatch,
) -> Report {
    let (relation, name) = (&table.name, &reference.name);
    let message = format!(
        "insert or update on table \"{relation}\" violates foreign key constraint \"{name}\""
    );
    let key = key(table, &reference.columns, (values, 0));
    let report = Report::new(SqlState::FOREIGN_KEY_VIOLATION, message);
    let detail = format!("{key} is not present in table \"{}\".", to.name);
    report.detail(detail).about(of_constraint(relation, name))
}

/// The report for a row that goes while others refer to it.
pub(super) fn still_there(
    to: &Object,
    table: &Object,
    reference: &References,
    values: &RecordBatch,
) -> Report {
    let (relation, name) = (&table.name, &reference.name);
    let message = format!(
        "update or delete on table \"{}\" violates foreign key constraint \"{name}\" on table \"{relation}\"",
        to.name
    );
    let key = key(to, &reference.to, (values, 0));
    let report = Report::new(SqlState::FOREIGN_KEY_VIOLATION, message);
    let detail = format!("{key} is still referenced from table \"{relation}\".");
    report.detail(detail).about(of_constraint(relation, name))
}

/// `Key (columns)=(values)`
pub(super) fn key(
    table: &Object,
    columns: &[usize],
    (values, row): (&RecordBatch, usize),
) -> String {
    let schema = table.full_schema();
    let names: Vec<&str> =
        columns.iter().map(|column| schema.field(*column).name().as_str()).collect();
    let values: Vec<String> = values.columns().iter().map(|column| text(column, row)).collect();
    format!("Key ({})=({})", names.join(", "), values.join(", "))
}

fn of_constraint(table: &str, name: &str) -> About {
    About { constraint: Some(name.to_owned()), ..of_table(table) }
}

/// The report for a row whose key is taken.
pub(super) fn duplicate(plan: &ChangePlan, rows: &RecordBatch, row: u32) -> Report {
    let table = plan.definition();
    let row = usize::try_from(row).expect("an index");
    let names = table.key.iter().map(|column| table.columns[*column].name.clone());
    let values = table.key.iter().map(|column| text(rows.column(*column), row));
    let detail = format!(
        "Key ({})=({}) already exists.",
        names.collect::<Vec<_>>().join(", "),
        values.collect::<Vec<_>>().join(", ")
    );
    let constraint = table.key_name(&plan.table.name);
    let message = format!("duplicate key value violates unique constraint \"{constraint}\"");
    let about = About { constraint: Some(constraint), ..of_table(&plan.table.name) };
    Report::new(SqlState::UNIQUE_VIOLATION, message).detail(detail).about(about)
}

fn of_table(table: &str) -> About {
    let (schema, table) = (Some("public".to_owned()), Some(table.to_owned()));
    About { schema, table, ..About::default() }
}

/// A value as clients see it in results.
fn text(column: &ArrayRef, row: usize) -> String {
    match column.as_boolean_opt() {
        Some(flags) if flags.value(row) => "t".to_owned(),
        Some(_) => "f".to_owned(),
        None => shown(column, row).unwrap_or_default(),
    }
}

/// A value of a row; of a long text its beginning.
fn value(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "null".to_owned();
    }
    let text = text(column, row);
    match text.len() > SHOWN_MAX {
        true => format!("{}...", &text[..text.floor_char_boundary(SHOWN_MAX)]),
        false => text,
    }
}
