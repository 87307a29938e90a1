//! The shape of one table's rows as the storage layer handles them.
//!
//! Inside, every column is nullable: the columns outside the key of a tombstone mean nothing and
//! are mostly NULL. The declared schema comes back when rows leave in a scan.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use millrace_types::TableId;

use crate::error::Result;

/// What the caller says about a table.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// Its id.
    pub id: TableId,
    /// All its columns.
    pub schema: SchemaRef,
    /// The key columns in sort order. No columns: the table has at most one row.
    pub sort: Vec<usize>,
}

/// The name of the tombstone column in a block that has tombstones.
const GONE_COLUMN: &str = "_gone";

/// A table's schemas and key.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) table: TableId,
    /// As the caller declared it.
    pub(crate) declared: SchemaRef,
    /// The same columns, all nullable.
    pub(crate) stored: SchemaRef,
    /// Those and the tombstone column.
    pub(crate) stored_gone: SchemaRef,
    pub(crate) sort: Vec<usize>,
    /// The columns of a run's index: first key, last key, least and greatest value.
    pub(crate) index: SchemaRef,
    /// Of the column types and the key; a run with another one is not this table's.
    pub(crate) fingerprint: u32,
}

impl Layout {
    pub(crate) fn new(spec: TableSpec) -> Layout {
        let TableSpec { id, schema, sort } = spec;
        let types: Vec<&DataType> = schema.fields().iter().map(|f| f.data_type()).collect();
        let nullable =
            |name: String, data_type: &DataType| Field::new(name, data_type.clone(), true);
        let numbered = types.iter().enumerate();
        let mut fields: Vec<Field> =
            numbered.map(|(n, data_type)| nullable(format!("c{n}"), data_type)).collect();
        let stored = Arc::new(Schema::new(fields.clone()));
        fields.push(Field::new(GONE_COLUMN, DataType::Boolean, false));
        let keys = sort.iter().map(|column| types[*column]);
        let index: Vec<Field> = (keys.clone().map(|t| ("first", t)))
            .chain(keys.map(|t| ("last", t)))
            .chain(types.iter().map(|t| ("min", *t)))
            .chain(types.iter().map(|t| ("max", *t)))
            .enumerate()
            .map(|(n, (name, data_type))| nullable(format!("{name}{n}"), data_type))
            .collect();
        let text: Vec<String> = types.iter().map(|data_type| type_name(data_type)).collect();
        let fingerprint = crc32fast::hash(format!("{text:?} {sort:?}").as_bytes());
        Layout {
            table: id,
            stored,
            stored_gone: Arc::new(Schema::new(fields)),
            index: Arc::new(Schema::new(index)),
            declared: schema,
            sort,
            fingerprint,
        }
    }

    /// Rows of the caller with the columns of this table, nullable.
    pub(crate) fn accept(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.stored),
            rows.columns().to_vec(),
            &row_count(rows.num_rows()),
        )?)
    }

    /// The same table seen through some of its columns, the key among them.
    pub(crate) fn project(&self, columns: &[usize]) -> Result<Layout> {
        let gone = columns.iter().copied().chain([self.stored.fields().len()]);
        let place = |column: &usize| {
            columns.iter().position(|c| c == column).expect("the key columns are among them")
        };
        Ok(Layout {
            table: self.table,
            declared: Arc::new(self.declared.project(columns)?),
            stored: Arc::new(self.stored.project(columns)?),
            stored_gone: Arc::new(self.stored_gone.project(&gone.collect::<Vec<_>>())?),
            sort: self.sort.iter().map(place).collect(),
            index: Arc::clone(&self.index),
            fingerprint: self.fingerprint,
        })
    }

    /// The first key column of some rows as numbers, where trims apply.
    pub(crate) fn leading<'a>(&self, rows: &'a RecordBatch) -> Option<Leading<'a>> {
        let column = rows.column(*self.sort.first()?);
        Leading::of(column)
    }

    /// Whether the table can be trimmed at all.
    pub(crate) fn is_trimmable(&self) -> bool {
        let leading = self.sort.first().map(|column| self.stored.field(*column).data_type());
        let micros = TimeUnit::Microsecond;
        match leading {
            Some(DataType::Int64) => true,
            Some(DataType::Timestamp(unit, _)) => *unit == micros,
            _ => false,
        }
    }
}

/// A name of a type that no library version changes: it goes into what is stored.
fn type_name(data_type: &DataType) -> String {
    let micros = TimeUnit::Microsecond;
    match data_type {
        DataType::Boolean => "bool".into(),
        DataType::Int16 => "i16".into(),
        DataType::Int32 => "i32".into(),
        DataType::Int64 => "i64".into(),
        DataType::Float32 => "f32".into(),
        DataType::Float64 => "f64".into(),
        DataType::Decimal128(precision, scale) => format!("d128({precision},{scale})"),
        DataType::Decimal256(precision, scale) => format!("d256({precision},{scale})"),
        DataType::Utf8 => "text".into(),
        DataType::Binary => "bytes".into(),
        DataType::LargeBinary => "jsonb".into(),
        DataType::FixedSizeBinary(bytes) => format!("bytes({bytes})"),
        DataType::Date32 => "date".into(),
        DataType::Time64(unit) if *unit == micros => "time".into(),
        DataType::Timestamp(unit, zone) if *unit == micros => {
            format!("timestamp{}", if zone.is_some() { "tz" } else { "" })
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => "interval".into(),
        DataType::List(element) => format!("[{}]", type_name(element.data_type())),
        other => other.to_string(),
    }
}

/// Values of a bigint or timestamp column.
pub(crate) struct Leading<'a> {
    values: &'a [i64],
    nulls: Option<&'a arrow::buffer::NullBuffer>,
}

impl<'a> Leading<'a> {
    pub(crate) fn of(column: &'a arrow::array::ArrayRef) -> Option<Leading<'a>> {
        use arrow::array::{Array, AsArray};
        use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
        let values = match column.data_type() {
            DataType::Int64 => column.as_primitive::<Int64Type>().values(),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                column.as_primitive::<TimestampMicrosecondType>().values()
            }
            _ => return None,
        };
        Some(Leading { values, nulls: column.nulls() })
    }

    /// True where the value is there and below a mark.
    pub(crate) fn is_below(&self, row: usize, mark: i64) -> bool {
        self.values[row] < mark && self.nulls.is_none_or(|nulls| nulls.is_valid(row))
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}

/// Options that keep the row count of a batch without columns.
pub(crate) fn row_count(rows: usize) -> arrow::array::RecordBatchOptions {
    arrow::array::RecordBatchOptions::new().with_row_count(Some(rows))
}

/// The error for more rows than an index of 32 bits can name.
pub(crate) fn too_long(rows: usize) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("a batch of {rows} rows is too long"))
}
