//! Values written as text.

use arrow::datatypes::i256;
use datafusion::common::ScalarValue;
use millrace_types::input::{self, Zone};
use millrace_types::{NUMERIC_PRECISION, NUMERIC_SCALE, Report, SqlType, TIME_ZONE, json};

use super::array;

/// Reads text as a value of a type, times by a clock of a zone.
pub(super) fn value(text: &str, sql: &SqlType, zone: Zone) -> Result<ScalarValue, Report> {
    Ok(match sql {
        SqlType::Boolean => ScalarValue::Boolean(Some(input::boolean(text)?)),
        SqlType::SmallInt => ScalarValue::Int16(Some(input::integer(text, sql)?)),
        SqlType::Integer => ScalarValue::Int32(Some(input::integer(text, sql)?)),
        SqlType::BigInt => ScalarValue::Int64(Some(input::integer(text, sql)?)),
        SqlType::Numeric(size) => numeric(text, *size)?,
        SqlType::Real => ScalarValue::Float32(Some(input::real(text)?)),
        SqlType::Double => ScalarValue::Float64(Some(input::double(text)?)),
        SqlType::Text => ScalarValue::Utf8(Some(text.to_owned())),
        SqlType::Bytea => ScalarValue::Binary(Some(input::bytea(text)?)),
        SqlType::Jsonb => ScalarValue::LargeBinary(Some(json::encode(text)?)),
        SqlType::Uuid => ScalarValue::FixedSizeBinary(16, Some(input::uuid(text)?.to_vec())),
        SqlType::Date => ScalarValue::Date32(Some(input::date(text)?)),
        SqlType::Time => ScalarValue::Time64Microsecond(Some(input::time(text)?)),
        SqlType::Timestamp => {
            ScalarValue::TimestampMicrosecond(Some(input::timestamp(text)?), None)
        }
        SqlType::TimestampTz => {
            let time = input::timestamptz_in(text, zone)?;
            ScalarValue::TimestampMicrosecond(Some(time), Some(TIME_ZONE.into()))
        }
        SqlType::Interval => ScalarValue::IntervalMonthDayNano(Some(input::interval(text)?)),
        SqlType::Array(element) => array::parse(text, element, zone)?,
        SqlType::Struct(_) => return Err(Report::unsupported("a record as a parameter")),
    })
}

/// Reads a decimal number with an optional exponent.
pub(super) fn numeric(text: &str, size: Option<(u8, i8)>) -> Result<ScalarValue, Report> {
    let value: i256 = input::numeric(text, size)?;
    Ok(match (size, value.to_i128()) {
        (Some((precision, scale)), Some(value)) if precision <= 38 => {
            ScalarValue::Decimal128(Some(value), precision, scale)
        }
        _ => {
            let (precision, scale) = size.unwrap_or((NUMERIC_PRECISION, NUMERIC_SCALE));
            ScalarValue::Decimal256(Some(value), precision, scale)
        }
    })
}
