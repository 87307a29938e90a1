//! Rows that a table does not take, as PostgreSQL reports them: with the row, and with the names of table,
//! column and constraint, which drivers read.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use millrace_sql::ChangePlan;
use millrace_sql::functions::shown;
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
    let values = columns[..width].iter().map(|column| value(column, row));
    let values = values.collect::<Vec<_>>().join(", ");
    let about = About { column: Some(name.clone()), ..of_table(plan) };
    let report = Report::new(SqlState::NOT_NULL_VIOLATION, message).about(about);
    Some(report.detail(format!("Failing row contains ({values}).")))
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
    let constraint = format!("{}_pkey", plan.table.name);
    let message = format!("duplicate key value violates unique constraint \"{constraint}\"");
    let about = About { constraint: Some(constraint), ..of_table(plan) };
    Report::new(SqlState::UNIQUE_VIOLATION, message).detail(detail).about(about)
}

fn of_table(plan: &ChangePlan) -> About {
    let (schema, table) = (Some("public".to_owned()), Some(plan.table.name.clone()));
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
