//! Trigonometric functions of degrees: `sind`, `cosd`, `tand`, `cotd` and their inverses.
//!
//! As PostgreSQL computes them: scaled so that 0, 30, 45, 60 and 90 degrees give exact results.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::SqlState;

use super::invoke::over_columns;
use super::{no_function, user_error};

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Degrees {
    name: &'static str,
    signature: Signature,
}

const NAMES: [&str; 8] = ["sind", "cosd", "tand", "cotd", "asind", "acosd", "atand", "atan2d"];

pub(super) fn all() -> Vec<Degrees> {
    let signature = |name: &str| {
        let count = if name == "atan2d" { 2 } else { 1 };
        Signature::exact(vec![DataType::Float64; count], Volatility::Immutable)
    };
    NAMES.map(|name| Degrees { name, signature: signature(name) }).into()
}

impl ScalarUDFImpl for Degrees {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |columns| {
            let column = |at: usize| columns.get(at).map(|c| c.as_primitive::<Float64Type>());
            let first = column(0).ok_or_else(|| no_function(self.name, &[]))?;
            let of = |row: usize| {
                let second = match column(1) {
                    Some(second) if second.is_null(row) => return Ok(None),
                    Some(second) => second.value(row),
                    None => 0.0,
                };
                match first.is_valid(row) {
                    true => self.value(first.value(row), second).map(Some),
                    false => Ok(None),
                }
            };
            let values = (0..first.len()).map(of).collect::<Result<Float64Array>>()?;
            Ok(Arc::new(values) as ArrayRef)
        })
    }
}

impl Degrees {
    fn value(&self, x: f64, other: f64) -> Result<f64> {
        let wrong = || {
            let code = SqlState::NUMERIC_VALUE_OUT_OF_RANGE;
            Err(user_error(code, "input is out of range"))
        };
        if x.is_nan() || other.is_nan() {
            return Ok(f64::NAN);
        }
        let inverse = matches!(self.name, "asind" | "acosd");
        let turns = matches!(self.name, "sind" | "cosd" | "tand" | "cotd");
        if (inverse && x.abs() > 1.0) || (turns && x.is_infinite()) {
            return wrong();
        }
        Ok(match self.name {
            "sind" => sine(x),
            "cosd" => cosine(x),
            "tand" => tangent(x),
            "cotd" => cotangent(x),
            "asind" if x >= 0.0 => arcsine(x),
            "asind" => -arcsine(-x),
            "acosd" if x >= 0.0 => arccosine(x),
            "acosd" => 90.0 + arcsine(-x),
            "atand" => x.atan() / 1f64.atan() * 45.0,
            _ => x.atan2(other) / 1f64.atan() * 45.0,
        })
    }
}

const RADIANS: f64 = 0.017_453_292_519_943_295;

/// Sine and cosine up to 90 degrees.
fn sine_below(x: f64) -> f64 {
    if x <= 30.0 { sine_small(x) } else { cosine_small(90.0 - x) }
}

fn cosine_below(x: f64) -> f64 {
    if x <= 60.0 { cosine_small(x) } else { sine_small(90.0 - x) }
}

fn sine_small(x: f64) -> f64 {
    (x * RADIANS).sin() / (30.0 * RADIANS).sin() / 2.0
}

fn cosine_small(x: f64) -> f64 {
    1.0 - (1.0 - (x * RADIANS).cos()) / (1.0 - (60.0 * RADIANS).cos()) / 2.0
}

fn sine(x: f64) -> f64 {
    let (mut x, mut sign) = (x % 360.0, 1.0);
    if x < 0.0 {
        (x, sign) = (-x, -sign);
    }
    if x > 180.0 {
        (x, sign) = (360.0 - x, -sign);
    }
    if x > 90.0 {
        x = 180.0 - x;
    }
    sign * sine_below(x)
}

fn cosine(x: f64) -> f64 {
    let (mut x, mut sign) = ((x % 360.0).abs(), 1.0);
    if x > 180.0 {
        x = 360.0 - x;
    }
    if x > 90.0 {
        (x, sign) = (180.0 - x, -sign);
    }
    sign * cosine_below(x)
}

/// An angle up to 90 degrees with the same tangent, but for the sign.
fn folded(x: f64) -> (f64, f64) {
    let (mut x, mut sign) = (x % 360.0, 1.0);
    if x < 0.0 {
        (x, sign) = (-x, -sign);
    }
    if x > 180.0 {
        (x, sign) = (360.0 - x, -sign);
    }
    if x > 90.0 {
        (x, sign) = (180.0 - x, -sign);
    }
    (x, sign)
}

fn tangent(x: f64) -> f64 {
    let (x, sign) = folded(x);
    let of_45 = sine_below(45.0) / cosine_below(45.0);
    // Without a negative zero, as in PostgreSQL.
    sign * (sine_below(x) / cosine_below(x) / of_45) + 0.0
}

fn cotangent(x: f64) -> f64 {
    let (x, sign) = folded(x);
    let of_45 = cosine_below(45.0) / sine_below(45.0);
    sign * (cosine_below(x) / sine_below(x) / of_45) + 0.0
}

/// The angle of a sine from 0 to 1.
fn arcsine(x: f64) -> f64 {
    match x <= 0.5 {
        true => x.asin() / 0.5f64.asin() * 30.0,
        false => 90.0 - x.acos() / 0.5f64.acos() * 60.0,
    }
}

fn arccosine(x: f64) -> f64 {
    match x <= 0.5 {
        true => 90.0 - x.asin() / 0.5f64.asin() * 30.0,
        false => x.acos() / 0.5f64.acos() * 60.0,
    }
}
