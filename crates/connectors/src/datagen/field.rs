//! How the values of one column are made.
//!
//! | kind | value of row n |
//! |---|---|
//! | `sequence` | `start`, `start + 1`, ... `end`, and again from `start` |
//! | `random` | uniform in `min..=max`; of text, `length` letters and digits |
//! | `sensor` | a reading between `min` and `max` that drifts over ten minutes, with noise |
//! | `now` | the time of the row; of a double the seconds, of a bigint the milliseconds since 1970 |
//!
//! Without options: the first integer is a sequence, other integers and texts are random, doubles
//! and numerics are sensors, times are `now`. Each value of the first integer column is a sensor of
//! its own, with its own phase.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bits of a hash are cut to size, readings to whole numbers within checked limits"
)]

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, StringBuilder, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, FieldRef, TimeUnit, i256};
use millrace_dataflow::source::SourceError;
use millrace_types::{SqlType, TIME_ZONE};

use crate::options::{Options, refused};
use crate::random::{mix, unit};

const DAY_US: i64 = 86_400_000_000;
/// How long a sensor's slow wave is, and its drift.
const WAVE_US: f64 = 600e6;
const DRIFT_US: i64 = 60_000_000;
const LETTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Sequence { start: i64, length: u64 },
    Whole { min: i64, span: u64 },
    Real { min: f64, max: f64 },
    Letters { length: usize },
    Coin,
    Sensor { min: f64, max: f64 },
    Now,
}

/// Makes one column.
#[derive(Clone, Debug)]
pub(super) struct Generator {
    data_type: DataType,
    kind: Kind,
    seed: u64,
    /// What tells one sensor from another.
    identity: Option<(Kind, u64)>,
}

/// The generators of all columns, as the options say.
pub(super) fn generators(
    options: &mut Options<'_>,
    columns: &[FieldRef],
) -> Result<Vec<Generator>, SourceError> {
    let mut all = Vec::with_capacity(columns.len());
    let mut identity = None;
    for (number, column) in columns.iter().enumerate() {
        let spec = Spec::take(options, column)?;
        let seed = spec.seed.map_or(mix(number as u64), |seed| mix(seed as u64));
        let kind = spec.kind(column, identity.is_none())?;
        if identity.is_none() && matches!(kind, Kind::Sequence { .. } | Kind::Whole { .. }) {
            identity = Some((kind, seed));
        }
        let data_type = column.data_type().clone();
        all.push(Generator { data_type, kind, seed, identity: None });
    }
    all.iter_mut().for_each(|generator| generator.identity = identity);
    Ok(all)
}

/// The options of one column.
struct Spec<'a> {
    kind: Option<&'a str>,
    start: Option<i64>,
    end: Option<i64>,
    min: Option<f64>,
    max: Option<f64>,
    length: Option<usize>,
    seed: Option<i64>,
}

impl<'a> Spec<'a> {
    fn take(options: &mut Options<'a>, column: &FieldRef) -> Result<Spec<'a>, SourceError> {
        let name = |what: &str| format!("fields.{}.{what}", column.name());
        Ok(Spec {
            kind: options.text(&name("kind")),
            start: options.parsed(&name("start"), "an integer")?,
            end: options.parsed(&name("end"), "an integer")?,
            min: options.parsed(&name("min"), "a number")?,
            max: options.parsed(&name("max"), "a number")?,
            length: options.parsed(&name("length"), "a number of characters")?,
            seed: options.parsed(&name("seed"), "an integer")?,
        })
    }

    fn kind(&self, column: &FieldRef, first: bool) -> Result<Kind, SourceError> {
        let class = Class::of(column)?;
        let kind = match (self.kind, class) {
            (Some(kind), _) => kind,
            (None, Class::Integer) if first => "sequence",
            (None, Class::Integer | Class::Text | Class::Boolean) => "random",
            (None, Class::Real) => "sensor",
            (None, Class::Time) => "now",
        };
        let name = format!("fields.{}", column.name());
        match (kind, class) {
            ("sequence", Class::Integer | Class::Real) => self.sequence(&name, column),
            ("random", Class::Integer) => self.whole(&name),
            ("random", Class::Real) => {
                self.range(&name, 1.0).map(|(min, max)| Kind::Real { min, max })
            }
            ("random", Class::Text) => self.letters(&name),
            ("random", Class::Boolean) => Ok(Kind::Coin),
            ("sensor", Class::Integer | Class::Real) => {
                self.range(&name, 100.0).map(|(min, max)| Kind::Sensor { min, max })
            }
            ("now", Class::Time | Class::Real | Class::Integer) => Ok(Kind::Now),
            ("sequence" | "random" | "sensor" | "now", _) => {
                let sql = SqlType::of_arrow(column.data_type()).map(|t| t.name());
                Err(SourceError::Invalid(format!(
                    "option \"{name}.kind\": a column of type {} cannot be a {kind}",
                    sql.unwrap_or_default()
                )))
            }
            _ => Err(refused(&format!("{name}.kind"), kind, "sequence, random, sensor or now")),
        }
    }

    fn sequence(&self, name: &str, column: &FieldRef) -> Result<Kind, SourceError> {
        let start = self.start.unwrap_or(1);
        let most = match column.data_type() {
            DataType::Int16 => i64::from(i16::MAX),
            DataType::Int32 => i64::from(i32::MAX),
            _ => i64::MAX,
        };
        let end = self.end.unwrap_or(most);
        if end < start {
            return Err(refused(&format!("{name}.end"), end, &format!("{start} or more")));
        }
        Ok(Kind::Sequence { start, length: start.abs_diff(end).saturating_add(1) })
    }

    fn whole(&self, name: &str) -> Result<Kind, SourceError> {
        let (min, max) = self.range(name, 1000.0)?;
        let (min, max) = (min.ceil() as i64, max.floor() as i64);
        if max < min {
            return Err(refused(&format!("{name}.max"), max, &format!("{min} or more")));
        }
        Ok(Kind::Whole { min, span: min.abs_diff(max).saturating_add(1) })
    }

    fn range(&self, name: &str, most: f64) -> Result<(f64, f64), SourceError> {
        let min = self.min.unwrap_or(0.0);
        let max = self.max.unwrap_or(if min < most { most } else { min + most });
        if !(min.is_finite() && max.is_finite() && min <= max) {
            return Err(refused(&format!("{name}.max"), max, &format!("{min} or more")));
        }
        Ok((min, max))
    }

    fn letters(&self, name: &str) -> Result<Kind, SourceError> {
        let length = self.length.unwrap_or(8);
        match length {
            1..=10_000 => Ok(Kind::Letters { length }),
            _ => Err(refused(&format!("{name}.length"), length, "1 to 10000")),
        }
    }
}

/// What a column can hold, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Boolean,
    Integer,
    Real,
    Text,
    Time,
}

impl Class {
    fn of(column: &FieldRef) -> Result<Class, SourceError> {
        Ok(match column.data_type() {
            DataType::Boolean => Class::Boolean,
            DataType::Int16 | DataType::Int32 | DataType::Int64 => Class::Integer,
            DataType::Float32
            | DataType::Float64
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => Class::Real,
            DataType::Utf8 => Class::Text,
            DataType::Date32
            | DataType::Time64(TimeUnit::Microsecond)
            | DataType::Timestamp(TimeUnit::Microsecond, _) => Class::Time,
            other => {
                let name = SqlType::of_arrow(other).map(|t| t.name()).unwrap_or_default();
                return Err(SourceError::Invalid(format!(
                    "column \"{}\": connector \"datagen\" makes no values of type {name}",
                    column.name()
                )));
            }
        })
    }
}

impl Kind {
    /// A whole number of a sequence or of chance.
    fn whole(self, seed: u64, row: i64) -> i64 {
        match self {
            Kind::Sequence { start, length } => {
                start.wrapping_add((row.cast_unsigned() % length).cast_signed())
            }
            Kind::Whole { min, span } => {
                let random = u128::from(mix(seed ^ mix(row.cast_unsigned())));
                min.wrapping_add(((random * u128::from(span)) >> 64) as i64)
            }
            Kind::Real { .. }
            | Kind::Letters { .. }
            | Kind::Coin
            | Kind::Sensor { .. }
            | Kind::Now => 0,
        }
    }
}

impl Generator {
    /// The values of some rows with their times.
    pub(super) fn rows(&self, numbers: &[i64], times: &[i64]) -> ArrayRef {
        match self.kind {
            Kind::Letters { length } => self.letters(numbers, length),
            Kind::Coin => {
                let coin = |n: &i64| Some(self.bits(*n) & 1 == 1);
                Arc::new(numbers.iter().map(coin).collect::<BooleanArray>())
            }
            Kind::Sequence { .. } | Kind::Whole { .. } => {
                self.integers(numbers.iter().map(|n| self.kind.whole(self.seed, *n)))
            }
            Kind::Real { min, max } => {
                self.reals(numbers.iter().map(|n| min + (max - min) * unit(self.bits(*n))))
            }
            Kind::Sensor { .. } => {
                let both = numbers.iter().zip(times);
                self.reals(both.map(|(n, time)| self.reading(*n, *time)))
            }
            Kind::Now => self.times(times),
        }
    }

    fn bits(&self, row: i64) -> u64 {
        mix(self.seed ^ mix(row.cast_unsigned()))
    }

    fn letters(&self, numbers: &[i64], length: usize) -> ArrayRef {
        let mut values = StringBuilder::with_capacity(numbers.len(), numbers.len() * length);
        let mut text = String::with_capacity(length);
        for n in numbers {
            text.clear();
            let mut bits = self.bits(*n);
            for place in 0..length {
                // A hash gives twelve letters.
                if place > 0 && place % 12 == 0 {
                    bits = mix(self.bits(*n) ^ place as u64);
                }
                text.push(char::from(LETTERS[(bits % 36) as usize]));
                bits /= 36;
            }
            values.append_value(&text);
        }
        Arc::new(values.finish())
    }

    /// A sensor's reading: where it mostly is, a slow wave, a drift between random points a minute
    /// apart, and noise.
    fn reading(&self, row: i64, time: i64) -> f64 {
        let Kind::Sensor { min, max } = self.kind else { return 0.0 };
        let sensor = self.identity.map_or(0, |(kind, seed)| kind.whole(seed, row).cast_unsigned());
        let own = mix(self.seed ^ mix(sensor.wrapping_add(1)));
        let wave = (time as f64 / WAVE_US + unit(own)) * std::f64::consts::TAU;
        let minute = time.div_euclid(DRIFT_US);
        let between = time.rem_euclid(DRIFT_US) as f64 / DRIFT_US as f64;
        let point = |minute: i64| unit(mix(own ^ minute.cast_unsigned())) - 0.5;
        let drift = point(minute) * (1.0 - between) + point(minute + 1) * between;
        let noise = unit(self.bits(row)) - 0.5;
        let home = unit(mix(own)) - 0.5;
        let share = 0.5 + 0.4 * home + 0.15 * wave.sin() + 0.2 * drift + 0.04 * noise;
        min + (max - min) * share.clamp(0.0, 1.0)
    }

    fn integers(&self, values: impl Iterator<Item = i64>) -> ArrayRef {
        match &self.data_type {
            DataType::Int16 => Arc::new(values.map(|v| clamp(v) as i16).collect::<Int16Array>()),
            DataType::Int32 => {
                let cut = |v: i64| v.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
                Arc::new(values.map(cut).collect::<Int32Array>())
            }
            DataType::Int64 => Arc::new(Int64Array::from_iter_values(values)),
            _ => self.reals(values.map(|v| v as f64)),
        }
    }

    fn reals(&self, values: impl Iterator<Item = f64>) -> ArrayRef {
        match &self.data_type {
            DataType::Float64 => Arc::new(Float64Array::from_iter_values(values)),
            DataType::Float32 => Arc::new(Float32Array::from_iter_values(values.map(|v| v as f32))),
            DataType::Decimal128(precision, scale) => {
                let most = 10_i128.pow(u32::from((*precision).min(38))) - 1;
                let ten = 10_f64.powi(i32::from(*scale));
                let scaled = values.map(|v| ((v * ten).round() as i128).clamp(-most, most));
                let array = Decimal128Array::from_iter_values(scaled);
                Arc::new(array.with_data_type(self.data_type.clone()))
            }
            DataType::Decimal256(_, scale) => {
                // Six places are what a reading has; the rest of the scale is zeros.
                let places = (*scale).clamp(0, 6);
                let rest =
                    i256::from_i128(10).wrapping_pow(u32::from((*scale - places).unsigned_abs()));
                let ten = 10_f64.powi(i32::from(places));
                let scaled =
                    values.map(|v| i256::from_i128((v * ten).round() as i128).wrapping_mul(rest));
                let array = Decimal256Array::from_iter_values(scaled);
                Arc::new(array.with_data_type(self.data_type.clone()))
            }
            _ => self.integers(values.map(|v| v.round() as i64).collect::<Vec<_>>().into_iter()),
        }
    }

    fn times(&self, times: &[i64]) -> ArrayRef {
        let all = times.iter().copied();
        match &self.data_type {
            DataType::Timestamp(_, None) => {
                Arc::new(TimestampMicrosecondArray::from_iter_values(all))
            }
            DataType::Timestamp(_, Some(_)) => timestamps(times.to_vec()),
            DataType::Date32 => {
                Arc::new(Date32Array::from_iter_values(all.map(|t| t.div_euclid(DAY_US) as i32)))
            }
            DataType::Time64(_) => Arc::new(Time64MicrosecondArray::from_iter_values(
                all.map(|t| t.rem_euclid(DAY_US)),
            )),
            DataType::Int64 => {
                Arc::new(Int64Array::from_iter_values(all.map(|t| t.div_euclid(1000))))
            }
            DataType::Int32 | DataType::Int16 => {
                self.integers(all.map(|t| t.div_euclid(1_000_000)))
            }
            _ => self.reals(all.map(|t| t as f64 / 1e6)),
        }
    }
}

fn clamp(value: i64) -> i64 {
    value.clamp(i64::from(i16::MIN), i64::from(i16::MAX))
}

/// Times as `timestamptz`.
pub(super) fn timestamps(times: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(times).with_timezone(TIME_ZONE))
}
