//! SQL types and the Arrow types that hold them.
//!
//! Unconstrained `numeric` has one representation everywhere, in memory and on disk:
//! `Decimal256(76, 20)`. It holds any sum of bigints exactly (56 digits before the point) and
//! averages to twenty places; trailing zeros are not shown. `numeric(p, s)` is `Decimal128(p, s)`
//! up to 38 digits and `Decimal256(p, s)` above. `jsonb` is the only `LargeBinary`, `uuid` the only
//! `FixedSizeBinary(16)`: an Arrow type alone says which SQL type it is.

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

/// Digits of unconstrained `numeric`.
pub const NUMERIC_PRECISION: u8 = 76;
/// Digits after the point of unconstrained `numeric`.
pub const NUMERIC_SCALE: i8 = 20;
/// The zone that every `timestamptz` is kept in.
pub const TIME_ZONE: &str = "UTC";

/// A PostgreSQL type that a column can have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SqlType {
    /// `boolean`
    Boolean,
    /// `smallint`
    SmallInt,
    /// `integer`
    Integer,
    /// `bigint`
    BigInt,
    /// `numeric` or `numeric(precision, scale)`
    Numeric(Option<(u8, i8)>),
    /// `real`
    Real,
    /// `double precision`
    Double,
    /// `text` and `character varying`
    Text,
    /// `bytea`
    Bytea,
    /// `jsonb`, as [`crate::json`] has it
    Jsonb,
    /// `uuid`
    Uuid,
    /// `date`
    Date,
    /// `time without time zone`
    Time,
    /// `timestamp without time zone`, microseconds
    Timestamp,
    /// `timestamp with time zone`, microseconds, UTC inside
    TimestampTz,
    /// `interval`
    Interval,
    /// An array of another type
    Array(Box<SqlType>),
    /// Fields with names, in order
    Struct(Vec<(String, SqlType)>),
}

/// The Arrow type of `timestamptz`.
pub fn timestamptz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(TIME_ZONE.into()))
}

impl SqlType {
    /// The Arrow type that holds values of this type.
    pub fn arrow(&self) -> DataType {
        match self {
            SqlType::Boolean => DataType::Boolean,
            SqlType::SmallInt => DataType::Int16,
            SqlType::Integer => DataType::Int32,
            SqlType::BigInt => DataType::Int64,
            SqlType::Numeric(None) => DataType::Decimal256(NUMERIC_PRECISION, NUMERIC_SCALE),
            SqlType::Numeric(Some((p, s))) if *p <= 38 => DataType::Decimal128(*p, *s),
            SqlType::Numeric(Some((p, s))) => DataType::Decimal256(*p, *s),
            SqlType::Real => DataType::Float32,
            SqlType::Double => DataType::Float64,
            SqlType::Text => DataType::Utf8,
            SqlType::Bytea => DataType::Binary,
            SqlType::Jsonb => DataType::LargeBinary,
            SqlType::Uuid => DataType::FixedSizeBinary(16),
            SqlType::Date => DataType::Date32,
            SqlType::Time => DataType::Time64(TimeUnit::Microsecond),
            SqlType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            SqlType::TimestampTz => timestamptz(),
            SqlType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            SqlType::Array(element) => DataType::new_list(element.arrow(), true),
            SqlType::Struct(fields) => DataType::Struct(
                fields.iter().map(|(name, t)| Field::new(name, t.arrow(), true)).collect(),
            ),
        }
    }

    /// The SQL type shown for an Arrow type; None for what no SQL type holds (maps, unions).
    pub fn of_arrow(data_type: &DataType) -> Option<SqlType> {
        Some(match data_type {
            DataType::Boolean => SqlType::Boolean,
            DataType::Int8 | DataType::UInt8 | DataType::Int16 => SqlType::SmallInt,
            DataType::UInt16 | DataType::Int32 => SqlType::Integer,
            // Counts and positions, which DataFusion keeps without a sign.
            DataType::UInt32 | DataType::Int64 | DataType::UInt64 => SqlType::BigInt,
            DataType::Float16 | DataType::Float32 => SqlType::Real,
            DataType::Float64 => SqlType::Double,
            DataType::Decimal256(NUMERIC_PRECISION, NUMERIC_SCALE) => SqlType::Numeric(None),
            DataType::Decimal32(p, s)
            | DataType::Decimal64(p, s)
            | DataType::Decimal128(p, s)
            | DataType::Decimal256(p, s) => SqlType::Numeric(Some((*p, *s))),
            DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                SqlType::Text
            }
            DataType::LargeBinary => SqlType::Jsonb,
            DataType::FixedSizeBinary(16) => SqlType::Uuid,
            DataType::Binary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                SqlType::Bytea
            }
            DataType::Date32 | DataType::Date64 => SqlType::Date,
            DataType::Time32(_) | DataType::Time64(_) => SqlType::Time,
            DataType::Timestamp(_, None) => SqlType::Timestamp,
            DataType::Timestamp(_, Some(_)) => SqlType::TimestampTz,
            DataType::Interval(_) | DataType::Duration(_) => SqlType::Interval,
            DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) => {
                SqlType::Array(Box::new(SqlType::of_arrow(f.data_type())?))
            }
            DataType::Dictionary(_, value) => SqlType::of_arrow(value)?,
            DataType::Struct(fields) => SqlType::Struct(
                fields
                    .iter()
                    .map(|f| Some((f.name().clone(), SqlType::of_arrow(f.data_type())?)))
                    .collect::<Option<_>>()?,
            ),
            DataType::Map(_, _)
            | DataType::Union(_, _)
            | DataType::RunEndEncoded(_, _)
            | DataType::ListView(_)
            | DataType::LargeListView(_) => return None,
        })
    }

    /// PostgreSQL's name, as `format_type` gives it.
    pub fn name(&self) -> String {
        match self {
            SqlType::Boolean => "boolean".into(),
            SqlType::SmallInt => "smallint".into(),
            SqlType::Integer => "integer".into(),
            SqlType::BigInt => "bigint".into(),
            SqlType::Numeric(None) => "numeric".into(),
            SqlType::Numeric(Some((p, s))) => format!("numeric({p},{s})"),
            SqlType::Real => "real".into(),
            SqlType::Double => "double precision".into(),
            SqlType::Text => "text".into(),
            SqlType::Bytea => "bytea".into(),
            SqlType::Jsonb => "jsonb".into(),
            SqlType::Uuid => "uuid".into(),
            SqlType::Date => "date".into(),
            SqlType::Time => "time without time zone".into(),
            SqlType::Timestamp => "timestamp without time zone".into(),
            SqlType::TimestampTz => "timestamp with time zone".into(),
            SqlType::Interval => "interval".into(),
            SqlType::Array(element) => format!("{}[]", element.name()),
            SqlType::Struct(fields) => {
                let field =
                    |(name, sql_type): &(String, SqlType)| format!("{name} {}", sql_type.name());
                format!("struct<{}>", fields.iter().map(field).collect::<Vec<_>>().join(", "))
            }
        }
    }
}
