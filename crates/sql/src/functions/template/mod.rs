//! `to_char`, `to_date`, `to_timestamp` and `to_number` with PostgreSQL's templates.
//!
//! A template is cut into [`fields`] once per value of the template, [`show`] writes them, [`read`]
//! reads them back and [`moment`] makes a time of what was read. A template of numbers is a [`form`];
//! [`digits`] writes numbers, [`to_number`] reads them.

mod days;
mod digits;
mod fields;
mod form;
mod moment;
mod read;
mod show;
#[cfg(test)]
mod tests;
mod to_number;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int64Type, IntervalMonthDayNanoType, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::input::Zone;
use millrace_types::{Report, SqlType, TIME_ZONE, timestamptz};

use super::cast::{external, plain, unscaled};
use super::invoke::{over_columns, texts as texts_of};
use super::no_function;
use super::time::is_finite;

pub(super) use to_number::ToNumber;

/// `to_char(value, template)` or `to_date(text, template)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Template {
    reads: bool,
    signature: Signature,
}

impl Template {
    pub(super) fn new(reads: bool) -> Template {
        Template { reads, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Template {
    fn name(&self) -> &'static str {
        if self.reads { "to_date" } else { "to_char" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(if self.reads { DataType::Date32 } else { DataType::Utf8 })
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let text = |t: &DataType| t.is_string() || t.is_null();
        match types {
            [value, template] if text(template) => {
                let taken = match value {
                    value if self.reads && text(value) => Some(DataType::Utf8),
                    _ if self.reads => None,
                    DataType::Timestamp(_, zone) => {
                        Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
                    }
                    DataType::Date32 => Some(DataType::Timestamp(TimeUnit::Microsecond, None)),
                    DataType::Interval(_) | DataType::Duration(_) => {
                        Some(SqlType::Interval.arrow())
                    }
                    value if value.is_numeric() => Some(value.clone()),
                    DataType::Null => Some(timestamptz()),
                    _ => None,
                };
                let taken = taken.ok_or_else(|| no_function(self.name(), types))?;
                Ok(vec![taken, DataType::Utf8])
            }
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let reads = self.reads;
        with_templates(&args.args, |values, templates| match reads {
            true => {
                let days = each(values, templates, read::date)?;
                Ok(Arc::new(Date32Array::from(days)) as ArrayRef)
            }
            false => shown(values, templates, Zone::Utc),
        })
    }
}

/// `to_char(time, template)` by a clock of a zone.
pub(super) fn to_char(args: &[ColumnarValue], zone: Zone) -> Result<ColumnarValue> {
    with_templates(args, |values, templates| shown(values, templates, zone))
}

/// `to_timestamp(text, template)`, read by a clock of a zone.
pub(super) fn to_timestamp(args: &[ColumnarValue], zone: Zone) -> Result<ColumnarValue> {
    with_templates(args, |values, templates| {
        let read = |text: &str, parts: &[fields::Part]| read::timestamp(text, parts, zone);
        let times = each(values, templates, read)?;
        Ok(Arc::new(TimestampMicrosecondArray::from(times).with_timezone(TIME_ZONE)) as ArrayRef)
    })
}

fn with_templates(
    args: &[ColumnarValue],
    apply: impl Fn(&ArrayRef, &StringArray) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    over_columns(args, |arrays| match arrays {
        [values, templates] => apply(values, &texts_of(templates)?),
        _ => Err(no_function("to_char", &[])),
    })
}

fn each<T>(
    values: &ArrayRef,
    templates: &StringArray,
    read: impl Fn(&str, &[fields::Part]) -> Result<T, Report>,
) -> Result<Vec<Option<T>>> {
    let texts = plain(values, &DataType::Utf8)?;
    let pairs = texts.as_string::<i32>().iter().zip(templates);
    let mut cache = fields::Cache::default();
    pairs
        .map(|(text, template)| {
            let Some((text, template)) = text.zip(template) else { return Ok(None) };
            read(text, cache.parts(template)).map(Some).map_err(external)
        })
        .collect()
}

fn shown(values: &ArrayRef, templates: &StringArray, zone: Zone) -> Result<ArrayRef> {
    let mut cache = fields::Cache::default();
    // Nothing is written by an empty template, nor of a time that is infinite.
    let is_written = |template: &str| !template.is_empty();
    let texts: Result<StringArray, Report> = match values.data_type() {
        DataType::Timestamp(_, of) => {
            let zone = of.as_ref().map(|_| zone);
            let times = values.as_primitive::<TimestampMicrosecondType>().iter();
            let pairs = times.zip(templates);
            let shown = pairs.map(|(time, template)| {
                let pair = time.zip(template);
                let pair = pair.filter(|(time, by)| is_finite(*time) && is_written(by));
                let Some((time, template)) = pair else { return Ok(None) };
                show::timestamp(time, zone, cache.parts(template)).map(Some)
            });
            shown.collect()
        }
        DataType::Interval(_) => {
            let spans = values.as_primitive::<IntervalMonthDayNanoType>().iter();
            let shown = spans.zip(templates).map(|(span, template)| {
                let pair = span.zip(template).filter(|(_, template)| is_written(template));
                let Some((span, template)) = pair else { return Ok(None) };
                show::interval(span, cache.parts(template)).map(Some)
            });
            shown.collect()
        }
        _ => {
            let mut forms = form::Forms::default();
            let shown = numbers(values)?.into_iter().zip(templates).map(|(number, template)| {
                let Some((number, template)) = number.zip(template) else { return Ok(None) };
                digits::number(number, forms.form(template)?).map(Some)
            });
            shown.collect()
        }
    };
    Ok(Arc::new(texts.map_err(external)?))
}

fn numbers(array: &ArrayRef) -> Result<Vec<Option<digits::Value>>> {
    use digits::Value;
    let whole = |is_bigint: bool| -> Result<Vec<Option<Value>>> {
        let values = plain(array, &DataType::Int64)?;
        let value = |value: i64| Value::Whole { value, is_bigint };
        Ok(values.as_primitive::<Int64Type>().iter().map(|v| v.map(value)).collect())
    };
    Ok(match array.data_type() {
        DataType::Int64 => whole(true)?,
        given if given.is_signed_integer() => whole(false)?,
        DataType::Float32 => {
            array.as_primitive::<Float32Type>().iter().map(|v| v.map(Value::Real)).collect()
        }
        DataType::Float64 => {
            array.as_primitive::<Float64Type>().iter().map(|v| v.map(Value::Double)).collect()
        }
        _ => {
            let (values, scale) = unscaled(array)?;
            values.into_iter().map(|v| v.map(|value| Value::Numeric(value, scale))).collect()
        }
    })
}
