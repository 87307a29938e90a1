//! Rows as PostgreSQL's text, for what is not the wire protocol: HTTP.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use bytes::{Buf, BytesMut};
use millrace_types::input::Zone;
use millrace_types::{Report, SqlState, SqlType};

use crate::encode::{Column, Format};
use crate::session::{self, Session};

/// Writes the rows of batches as the text format of the protocol has them.
pub struct TextRows {
    zone: Zone,
}

impl TextRows {
    /// As a session shows them.
    pub fn of(session: &dyn Session) -> TextRows {
        TextRows { zone: session::zone(session) }
    }

    /// Hands each row over, a value or NULL for each column, until `take` has enough and says false.
    ///
    /// # Errors
    /// A value that PostgreSQL's type cannot hold.
    pub fn each(
        &self,
        batch: &RecordBatch,
        mut take: impl FnMut(Vec<Option<String>>) -> bool,
    ) -> Result<(), Report> {
        let columns = batch.columns().iter().map(|array| Column::new(array, self.zone));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let mut cell = BytesMut::new();
        for row in 0..batch.num_rows() {
            let values = columns.iter().map(|column| {
                cell.clear();
                column.put(row, Format::Text, &mut cell)?;
                value(&mut cell)
            });
            if !take(values.collect::<Result<_, Report>>()?) {
                break;
            }
        }
        Ok(())
    }
}

/// A cell behind its length, which is negative for NULL.
fn value(cell: &mut BytesMut) -> Result<Option<String>, Report> {
    if cell.get_i32() < 0 {
        return Ok(None);
    }
    let text = String::from_utf8(cell.to_vec());
    let invalid = |_| Report::new(SqlState::INTERNAL_ERROR, "a value is not UTF-8 text");
    text.map(Some).map_err(invalid)
}

/// Name and PostgreSQL's type of each column; what SQL has no type for is text.
pub fn columns(schema: &Schema) -> Vec<(String, String)> {
    let name = |data_type| {
        SqlType::of_arrow(data_type).map_or_else(|| "text".to_owned(), |sql| sql.name())
    };
    schema.fields().iter().map(|f| (f.name().clone(), name(f.data_type()))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray};

    use super::*;

    #[test]
    fn rows_are_texts_and_end_when_there_are_enough() {
        let batch = RecordBatch::try_from_iter([
            ("a", Arc::new(BooleanArray::from(vec![Some(true), None])) as ArrayRef),
            ("b", Arc::new(Float64Array::from(vec![1.5, f64::NAN])) as ArrayRef),
            ("c", Arc::new(StringArray::from(vec!["x", ""])) as ArrayRef),
        ]);
        let batch = batch.unwrap();
        let rows = TextRows { zone: Zone::Utc };
        let mut found = Vec::new();
        rows.each(&batch, |row| {
            found.push(row);
            true
        })
        .unwrap();
        let text = |value: &str| Some(value.to_owned());
        assert_eq!(
            found,
            [vec![text("t"), text("1.5"), text("x")], vec![None, text("NaN"), text("")]]
        );
        let mut count = 0;
        rows.each(&batch, |_| {
            count += 1;
            false
        })
        .unwrap();
        assert_eq!(count, 1);
        let types: Vec<_> = columns(&batch.schema()).into_iter().map(|(_, name)| name).collect();
        assert_eq!(types, ["boolean", "double precision", "text"]);
    }
}
