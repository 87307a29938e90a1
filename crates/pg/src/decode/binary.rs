//! Values in PostgreSQL's binary forms.

use std::fmt::Write;

use arrow::datatypes::IntervalMonthDayNano;
use bytes::Buf;
use datafusion::common::ScalarValue;
use millrace_types::input::Zone;
use millrace_types::{Report, SqlState, SqlType, TIME_ZONE};

use super::{array, malformed, out_of_range, text, utf8};
use crate::encode::{DAY, EPOCH_DAYS, EPOCH_MICROSECONDS};
use crate::types::JSON;

/// Reads bytes as a value of a type; the type's number tells `json` from `jsonb`.
pub(super) fn value(bytes: &[u8], sql: &SqlType, oid: u32) -> Result<ScalarValue, Report> {
    Ok(match sql {
        SqlType::Boolean => ScalarValue::Boolean(Some(exact::<1>(bytes)? != [0])),
        SqlType::SmallInt => ScalarValue::Int16(Some(i16::from_be_bytes(exact(bytes)?))),
        SqlType::Integer => ScalarValue::Int32(Some(i32::from_be_bytes(exact(bytes)?))),
        // An oid has four bytes and no sign.
        SqlType::BigInt if bytes.len() == 4 => {
            ScalarValue::Int64(Some(i64::from(u32::from_be_bytes(exact(bytes)?))))
        }
        SqlType::BigInt => ScalarValue::Int64(Some(i64::from_be_bytes(exact(bytes)?))),
        SqlType::Numeric(size) => text::numeric(&numeric(bytes)?, *size)?,
        SqlType::Real => ScalarValue::Float32(Some(f32::from_be_bytes(exact(bytes)?))),
        SqlType::Double => ScalarValue::Float64(Some(f64::from_be_bytes(exact(bytes)?))),
        SqlType::Text => ScalarValue::Utf8(Some(utf8(bytes)?.to_owned())),
        SqlType::Bytea => ScalarValue::Binary(Some(bytes.to_vec())),
        SqlType::Jsonb => text::value(json_text(bytes, oid)?, sql, Zone::Utc)?,
        SqlType::Uuid => ScalarValue::FixedSizeBinary(16, Some(exact::<16>(bytes)?.to_vec())),
        SqlType::Date => {
            let days = i32::from_be_bytes(exact(bytes)?);
            let shifted = match days {
                i32::MAX | i32::MIN => Some(days),
                days => days.checked_add(EPOCH_DAYS),
            };
            ScalarValue::Date32(Some(shifted.ok_or_else(|| out_of_range(sql, "date"))?))
        }
        SqlType::Time => ScalarValue::Time64Microsecond(Some(time(bytes)?)),
        SqlType::Timestamp => ScalarValue::TimestampMicrosecond(Some(timestamp(bytes, sql)?), None),
        SqlType::TimestampTz => {
            ScalarValue::TimestampMicrosecond(Some(timestamp(bytes, sql)?), Some(TIME_ZONE.into()))
        }
        SqlType::Interval => ScalarValue::IntervalMonthDayNano(Some(interval(bytes, sql)?)),
        SqlType::Array(element) => array::decode(bytes, element)?,
        SqlType::Struct(_) => return Err(Report::unsupported("a record as a parameter")),
    })
}

fn exact<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Report> {
    bytes.try_into().map_err(|_| malformed())
}

/// The text of a `jsonb`, after the version of its form, or of a `json`.
fn json_text(bytes: &[u8], oid: u32) -> Result<&str, Report> {
    match bytes.split_first() {
        _ if oid == JSON => utf8(bytes),
        Some((1, json)) => utf8(json),
        _ => Err(malformed()),
    }
}

/// A `numeric` as text.
fn numeric(mut bytes: &[u8]) -> Result<String, Report> {
    if bytes.len() < 8 {
        return Err(malformed());
    }
    let count = usize::from(bytes.get_u16());
    let weight = i32::from(bytes.get_i16());
    let sign = bytes.get_u16();
    let places = usize::from(bytes.get_u16());
    if bytes.len() != 2 * count {
        return Err(malformed());
    }
    let mut out = match sign {
        0 => String::new(),
        0x4000 => "-".to_owned(),
        0xc000 => return Ok("NaN".to_owned()),
        0xd000 => return Ok("Infinity".to_owned()),
        0xf000 => return Ok("-Infinity".to_owned()),
        _ => return Err(malformed()),
    };
    let mut groups = String::with_capacity(4 * count + 1);
    for _ in 0..count {
        let group = bytes.get_u16();
        if group > 9_999 {
            return Err(malformed());
        }
        write!(groups, "{group:04}").map_err(|_| malformed())?;
    }
    if places > 16_383 {
        return Err(malformed());
    }
    // The groups are a whole number whose last digit stands at this power of ten.
    let last = 4 * (weight + 1 - i32::try_from(count).map_err(|_| malformed())?);
    if groups.is_empty() {
        groups.push('0');
    }
    write!(out, "{groups}e{last}").map_err(|_| malformed())?;
    Ok(out)
}

fn time(bytes: &[u8]) -> Result<i64, Report> {
    let microseconds = i64::from_be_bytes(exact(bytes)?);
    match microseconds {
        0..=DAY => Ok(microseconds),
        _ => Err(Report::new(SqlState::DATETIME_FIELD_OVERFLOW, "time out of range")),
    }
}

fn timestamp(bytes: &[u8], sql: &SqlType) -> Result<i64, Report> {
    let microseconds = i64::from_be_bytes(exact(bytes)?);
    match microseconds {
        i64::MAX | i64::MIN => Ok(microseconds),
        microseconds => microseconds
            .checked_add(EPOCH_MICROSECONDS)
            .ok_or_else(|| out_of_range(sql, "timestamp")),
    }
}

fn interval(bytes: &[u8], sql: &SqlType) -> Result<IntervalMonthDayNano, Report> {
    let bytes: [u8; 16] = exact(bytes)?;
    let mut rest = bytes.as_slice();
    let microseconds = rest.get_i64();
    let (days, months) = (rest.get_i32(), rest.get_i32());
    let nanoseconds =
        microseconds.checked_mul(1_000).ok_or_else(|| out_of_range(sql, "interval"))?;
    Ok(IntervalMonthDayNano::new(months, days, nanoseconds))
}
