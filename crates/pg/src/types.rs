//! PostgreSQL's type numbers for Arrow types, and back.

use arrow::datatypes::{DataType, Field, Schema};
use millrace_types::{Report, SqlState, SqlType};
use pgwire::messages::data::{FieldDescription, RowDescription};

use crate::encode::Format;

/// `text`, which also stands for what has no SQL type.
pub(crate) const TEXT: u32 = 25;
/// `varchar`, which is kept as text.
pub(crate) const VARCHAR: u32 = 1043;
/// `oid`: numbers of objects, the only ones without a sign.
const OID: u32 = 26;
const OID_ARRAY: u32 = 1028;
/// `record`, a struct.
const RECORD: u32 = 2249;
const RECORD_ARRAY: u32 = 2287;
/// `json`, which is kept as `jsonb`.
pub(crate) const JSON: u32 = 114;
const JSON_ARRAY: u32 = 199;
/// What drivers declare when they leave a type open.
const UNKNOWN: u32 = 705;

/// Number, number of the array type, bytes (negative if they vary).
fn numbers(sql: &SqlType) -> (u32, u32, i16) {
    match sql {
        SqlType::Boolean => (16, 1000, 1),
        SqlType::SmallInt => (21, 1005, 2),
        SqlType::Integer => (23, 1007, 4),
        SqlType::BigInt => (20, 1016, 8),
        SqlType::Numeric(_) => (1700, 1231, -1),
        SqlType::Real => (700, 1021, 4),
        SqlType::Double => (701, 1022, 8),
        SqlType::Text => (TEXT, 1009, -1),
        SqlType::Bytea => (17, 1001, -1),
        SqlType::Jsonb => (3802, 3807, -1),
        SqlType::Uuid => (2950, 2951, 16),
        SqlType::Date => (1082, 1182, 4),
        SqlType::Time => (1083, 1183, 8),
        SqlType::Timestamp => (1114, 1115, 8),
        SqlType::TimestampTz => (1184, 1185, 8),
        SqlType::Interval => (1186, 1187, 16),
        SqlType::Array(element) => {
            // An array of arrays has the type of an array: PostgreSQL counts no dimensions.
            let (_, array, _) = numbers(element);
            (array, array, -1)
        }
        SqlType::Struct(_) => (RECORD, RECORD_ARRAY, -1),
    }
}

/// The type's number.
pub(crate) fn oid(data_type: &DataType) -> u32 {
    match SqlType::of_arrow(data_type) {
        _ if *data_type == DataType::UInt32 => OID,
        _ if matches!(data_type, DataType::List(item) if *item.data_type() == DataType::UInt32) => {
            OID_ARRAY
        }
        Some(sql) => numbers(&sql).0,
        None => TEXT,
    }
}

/// The type that a number stands for; types that are kept as text are text.
pub(crate) fn sql_type(oid: u32) -> Option<SqlType> {
    const SCALARS: [SqlType; 16] = [
        SqlType::Boolean,
        SqlType::SmallInt,
        SqlType::Integer,
        SqlType::BigInt,
        SqlType::Numeric(None),
        SqlType::Real,
        SqlType::Double,
        SqlType::Text,
        SqlType::Bytea,
        SqlType::Jsonb,
        SqlType::Uuid,
        SqlType::Date,
        SqlType::Time,
        SqlType::Timestamp,
        SqlType::TimestampTz,
        SqlType::Interval,
    ];
    match oid {
        // name, bpchar, varchar
        19 | 1042 | 1043 => Some(SqlType::Text),
        // their arrays
        1003 | 1014 | 1015 => Some(SqlType::Array(Box::new(SqlType::Text))),
        JSON => Some(SqlType::Jsonb),
        JSON_ARRAY => Some(SqlType::Array(Box::new(SqlType::Jsonb))),
        // oid and the names that stand for one
        26 | 24 | 2202..=2206 | 4089 | 4096 => Some(SqlType::BigInt),
        OID_ARRAY => Some(SqlType::Array(Box::new(SqlType::BigInt))),
        _ => SCALARS.into_iter().find_map(|scalar| match numbers(&scalar) {
            (own, _, _) if own == oid => Some(scalar),
            (_, array, _) if array == oid => Some(SqlType::Array(Box::new(scalar))),
            _ => None,
        }),
    }
}

/// True for a parameter type that the client has decided.
pub(crate) fn is_declared(oid: u32) -> bool {
    oid != UNKNOWN && sql_type(oid).is_some()
}

/// The Arrow type for a declared parameter; None where it is left open.
pub(crate) fn hint(oid: u32) -> Option<DataType> {
    sql_type(oid).map(|sql| sql.arrow())
}

/// Bytes of a type's values, negative if they vary.
pub(crate) fn width(oid: u32) -> i16 {
    if oid == OID {
        return 4;
    }
    sql_type(oid).map_or(-1, |sql| if numbers(&sql).0 == oid { numbers(&sql).2 } else { -1 })
}

/// Precision and scale of a `numeric` as the protocol packs them; -1 for none.
pub(crate) fn modifier(data_type: &DataType) -> i32 {
    match SqlType::of_arrow(data_type) {
        Some(SqlType::Numeric(Some((precision, scale)))) => {
            // The scale's 11 bits hold negative scales too.
            ((i32::from(precision) << 16) | (i32::from(scale) & 0x7ff)) + 4
        }
        _ => -1,
    }
}

/// The RowDescription of a result; one format stands for all columns.
///
/// # Errors
/// More columns than the protocol counts.
pub(crate) fn describe(schema: &Schema, formats: &[Format]) -> Result<RowDescription, Report> {
    let columns = schema.fields().len();
    if i16::try_from(columns).is_err() {
        let message = format!("a result can have at most {} columns", i16::MAX);
        return Err(Report::new(SqlState::STATEMENT_TOO_COMPLEX, message));
    }
    let format = |at: usize| formats.get(at).or(formats.first()).copied();
    let field = |(at, field): (usize, &std::sync::Arc<Field>)| {
        let number = oid(field.data_type());
        FieldDescription::new(
            field.name().replace('\0', ""),
            0,
            0,
            number,
            width(number),
            modifier(field.data_type()),
            format(at).unwrap_or(Format::Text).code(),
        )
    };
    Ok(RowDescription::new(schema.fields().iter().enumerate().map(field).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_types_are_each_others_inverse() {
        let numbers =
            [16, 20, 21, 23, 25, 700, 701, 1700, 17, 1082, 1083, 1114, 1184, 1186, 2950, 3802];
        for number in numbers {
            let sql = sql_type(number).unwrap();
            assert_eq!(oid(&sql.arrow()), number);
            let array = SqlType::Array(Box::new(sql));
            assert_eq!(sql_type(oid(&array.arrow())), Some(array));
        }
    }

    #[test]
    fn numeric_tells_precision_and_scale() {
        assert_eq!(modifier(&DataType::Decimal128(10, 2)), ((10 << 16) | 2) + 4);
        assert_eq!(modifier(&SqlType::Numeric(None).arrow()), -1);
    }
}
