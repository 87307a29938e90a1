//! Columns of text read as values of a type.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanArray, Decimal128Array,
    Decimal256Array, FixedSizeBinaryBuilder, LargeBinaryBuilder, PrimitiveArray, StringArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, i256,
};
use datafusion::common::Result;
use millrace_types::{Report, SqlType, TIME_ZONE, input, json};

use super::{external, nested, plain};
use crate::functions::no_function;

/// The texts as values of a type.
pub(super) fn read(texts: &StringArray, to: &DataType) -> Result<ArrayRef> {
    let Some(sql) = SqlType::of_arrow(to) else {
        return Err(no_function(super::CONVERT, std::slice::from_ref(to)));
    };
    let array: ArrayRef = match &sql {
        SqlType::Boolean => {
            let read = |text: &str| input::boolean(text).map_err(external);
            let values = texts.iter().map(|text| text.map(read).transpose());
            Arc::new(values.collect::<Result<BooleanArray>>()?)
        }
        SqlType::SmallInt => each::<Int16Type>(texts, |text| input::integer(text, &sql))?,
        SqlType::Integer => each::<Int32Type>(texts, |text| input::integer(text, &sql))?,
        SqlType::BigInt => each::<Int64Type>(texts, |text| input::integer(text, &sql))?,
        SqlType::Real => each::<Float32Type>(texts, input::real)?,
        SqlType::Double => each::<Float64Type>(texts, input::double)?,
        SqlType::Numeric(size) => numerics(texts, *size, to)?,
        SqlType::Bytea => bytes(texts)?,
        SqlType::Jsonb => jsonbs(texts)?,
        SqlType::Uuid => uuids(texts)?,
        SqlType::Date => each::<Date32Type>(texts, input::date)?,
        SqlType::Time => each::<Time64MicrosecondType>(texts, input::time)?,
        SqlType::Timestamp => each::<TimestampMicrosecondType>(texts, input::timestamp)?,
        SqlType::TimestampTz => {
            let times = primitive::<TimestampMicrosecondType>(texts, input::timestamptz)?;
            Arc::new(times.with_timezone(TIME_ZONE))
        }
        SqlType::Interval => each::<IntervalMonthDayNanoType>(texts, input::interval)?,
        SqlType::Array(_) | SqlType::Struct(_) => return nested::read(texts, to),
        SqlType::Text => Arc::new(texts.clone()),
    };
    plain(&array, to)
}

fn primitive<T: ArrowPrimitiveType>(
    texts: &StringArray,
    read: impl Fn(&str) -> Result<T::Native, Report>,
) -> Result<PrimitiveArray<T>> {
    let values = texts.iter().map(|text| text.map(&read).transpose().map_err(external));
    values.collect()
}

fn each<T: ArrowPrimitiveType>(
    texts: &StringArray,
    read: impl Fn(&str) -> Result<T::Native, Report>,
) -> Result<ArrayRef> {
    Ok(Arc::new(primitive::<T>(texts, read)?))
}

fn numerics(texts: &StringArray, size: Option<(u8, i8)>, to: &DataType) -> Result<ArrayRef> {
    let read = |text: &str| input::numeric(text, size).map_err(external);
    let values = texts.iter().map(|text| text.map(read).transpose());
    decimals(values.collect::<Result<Vec<_>>>()?, to)
}

/// Unscaled values, which fit, as a column of their type.
pub(in crate::functions) fn decimals(values: Vec<Option<i256>>, to: &DataType) -> Result<ArrayRef> {
    Ok(match to {
        DataType::Decimal256(precision, scale) => {
            let array = Decimal256Array::from(values);
            Arc::new(array.with_precision_and_scale(*precision, *scale)?)
        }
        DataType::Decimal128(precision, scale) => {
            let values = values.into_iter().map(|value| value.and_then(i256::to_i128));
            let array = values.collect::<Decimal128Array>();
            Arc::new(array.with_precision_and_scale(*precision, *scale)?)
        }
        other => return Err(no_function(super::CONVERT, std::slice::from_ref(other))),
    })
}

fn bytes(texts: &StringArray) -> Result<ArrayRef> {
    let mut builder = BinaryBuilder::with_capacity(texts.len(), texts.value_data().len());
    for text in texts {
        match text {
            Some(text) => builder.append_value(input::bytea(text).map_err(external)?),
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn jsonbs(texts: &StringArray) -> Result<ArrayRef> {
    let mut builder = LargeBinaryBuilder::with_capacity(texts.len(), texts.value_data().len());
    for text in texts {
        builder.append_option(text.map(json::encode).transpose().map_err(external)?);
    }
    Ok(Arc::new(builder.finish()))
}

fn uuids(texts: &StringArray) -> Result<ArrayRef> {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(texts.len(), 16);
    for text in texts {
        match text {
            Some(text) => builder.append_value(input::uuid(text).map_err(external)?)?,
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}
