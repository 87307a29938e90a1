//! The binary format: a signature, flags, and for each row the number of its columns and their values.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::concat;
use arrow::datatypes::Field;
use bytes::Buf;
use datafusion::common::ScalarValue;
use millrace_types::{Report, SqlState, SqlType};

use crate::{decode, types};

/// Signature, flags, length of what else would be in the head.
pub(super) const HEADER: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// In place of a number of columns.
pub(super) const TRAILER: [u8; 2] = [0xff, 0xff];
const SIGNATURE_BYTES: usize = 11;
/// Flags that a reader must know; there are none.
const CRITICAL: u32 = 0xffff_0000;
/// Rows that are values by themselves before they become columns.
const ROWS_MAX: usize = 8_192;

/// Reads columns of some names and types.
///
/// # Errors
/// What the format or a value does not allow, with the line and the column as context.
pub fn read_binary(
    data: &[u8],
    relation: &str,
    columns: &[(String, SqlType)],
) -> Result<Vec<ArrayRef>, Report> {
    let mut reader = Reader { rest: data, line: 0, relation, columns };
    reader.head()?;
    let mut building = Building::new(columns);
    while reader.row(&mut building)? {}
    building.finish()
}

struct Reader<'a> {
    rest: &'a [u8],
    line: usize,
    relation: &'a str,
    columns: &'a [(String, SqlType)],
}

impl Reader<'_> {
    fn head(&mut self) -> Result<(), Report> {
        if !self.rest.starts_with(&HEADER[..SIGNATURE_BYTES]) {
            return Err(wrong("COPY file signature not recognized"));
        }
        self.rest.advance(SIGNATURE_BYTES);
        let short = |_| wrong("invalid COPY file header (missing flags)");
        let flags = self.rest.try_get_u32().map_err(short)?;
        if flags & CRITICAL != 0 {
            return Err(wrong("unrecognized critical flags in COPY file header"));
        }
        let short = |_| wrong("invalid COPY file header (missing length)");
        let length = usize::try_from(self.rest.try_get_i32().map_err(short)?);
        match length {
            Ok(length) if length <= self.rest.len() => self.rest.advance(length),
            _ => return Err(wrong("invalid COPY file header (wrong length)")),
        }
        Ok(())
    }

    /// Takes a row; false at the end.
    fn row(&mut self, building: &mut Building<'_>) -> Result<bool, Report> {
        self.line += 1;
        let count = match self.rest.try_get_i16() {
            // PostgreSQL takes data without the trailer, too.
            Err(_) if self.rest.is_empty() => return Ok(false),
            Err(_) => return Err(self.located(wrong("unexpected EOF in COPY data"), None)),
            Ok(-1) if self.rest.is_empty() => return Ok(false),
            Ok(-1) => {
                return Err(self.located(wrong("received copy data after EOF marker"), None));
            }
            Ok(count) => count,
        };
        if usize::try_from(count) != Ok(self.columns.len()) {
            let wanted = self.columns.len();
            let message = format!("row field count is {count}, expected {wanted}");
            return Err(self.located(wrong(message), None));
        }
        for at in 0..self.columns.len() {
            let value = self.value(at);
            building.rows[at].push(value.map_err(|report| self.located(report, Some(at)))?);
        }
        building.full()?;
        Ok(true)
    }

    fn value(&mut self, at: usize) -> Result<ScalarValue, Report> {
        let sql = &self.columns[at].1;
        let length = self.rest.try_get_i32().map_err(|_| wrong("unexpected EOF in COPY data"))?;
        if length == -1 {
            return null(sql);
        }
        let length = usize::try_from(length).map_err(|_| wrong("invalid field size"))?;
        if length > self.rest.len() {
            return Err(wrong("unexpected EOF in COPY data"));
        }
        let (value, rest) = self.rest.split_at(length);
        self.rest = rest;
        decode::binary_value(value, sql, types::oid(&sql.arrow()))
    }

    fn located(&self, report: Report, column: Option<usize>) -> Report {
        let column = column.and_then(|at| self.columns.get(at));
        let column = column.map(|(name, _)| format!(", column {name}")).unwrap_or_default();
        report.context(format!("COPY {}, line {}{column}", self.relation, self.line))
    }
}

/// Values on their way to columns.
struct Building<'a> {
    columns: &'a [(String, SqlType)],
    rows: Vec<Vec<ScalarValue>>,
    parts: Vec<Vec<ArrayRef>>,
}

impl<'a> Building<'a> {
    fn new(columns: &'a [(String, SqlType)]) -> Building<'a> {
        let (rows, parts) = columns.iter().map(|_| Default::default()).unzip();
        Building { columns, rows, parts }
    }

    /// Makes columns of the values, if there are many.
    fn full(&mut self) -> Result<(), Report> {
        match self.rows.first() {
            Some(rows) if rows.len() >= ROWS_MAX => self.cut(),
            _ => Ok(()),
        }
    }

    fn cut(&mut self) -> Result<(), Report> {
        for (rows, parts) in self.rows.iter_mut().zip(&mut self.parts) {
            if !rows.is_empty() {
                let array = ScalarValue::iter_to_array(rows.drain(..));
                parts.push(array.map_err(|error| internal(error.strip_backtrace()))?);
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<ArrayRef>, Report> {
        self.cut()?;
        let parts = self.columns.iter().zip(self.parts);
        parts
            .map(|((_, sql), parts)| {
                let parts: Vec<_> = parts.iter().map(|part| part.as_ref()).collect();
                match parts.as_slice() {
                    [] => Ok(arrow::array::new_empty_array(&sql.arrow())),
                    parts => concat(parts).map_err(|error| internal(error.to_string())),
                }
            })
            .collect()
    }
}

fn null(sql: &SqlType) -> Result<ScalarValue, Report> {
    let field = Arc::new(Field::new("value", sql.arrow(), true));
    ScalarValue::try_from(field.data_type()).map_err(|error| internal(error.strip_backtrace()))
}

fn wrong(message: impl Into<String>) -> Report {
    Report::new(SqlState::BAD_COPY_FILE_FORMAT, message)
}

fn internal(message: String) -> Report {
    Report::new(SqlState::INTERNAL_ERROR, message)
}
