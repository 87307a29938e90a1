//! `now()` and its many names. The value is that of the statement's start: the optimizer puts it in.
//!
//! In a materialized view it is not a constant; being `Stable`, it is refused there.

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::{SqlState, TIME_ZONE};

use super::{no_function, user_error};

/// Which of the two types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Clock {
    /// `timestamp with time zone`
    Zoned,
    /// `timestamp without time zone`
    Local,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Now {
    clock: Clock,
    aliases: Vec<String>,
    signature: Signature,
}

impl Now {
    pub(super) fn new(clock: Clock) -> Now {
        let aliases: &[&str] = match clock {
            Clock::Zoned => &[
                "current_timestamp",
                "transaction_timestamp",
                "statement_timestamp",
                "clock_timestamp",
            ],
            Clock::Local => &[],
        };
        Now {
            clock,
            aliases: aliases.iter().map(ToString::to_string).collect(),
            signature: Signature::user_defined(Volatility::Stable),
        }
    }

    fn value(&self, time: Option<i64>) -> ScalarValue {
        let zone = (self.clock == Clock::Zoned).then(|| TIME_ZONE.into());
        ScalarValue::TimestampMicrosecond(time, zone)
    }
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &'static str {
        match self.clock {
            Clock::Zoned => "now",
            Clock::Local => "localtimestamp",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [] => Ok(Vec::new()),
            // Places of the second, which SQL gives the names without parentheses.
            [places] if places.is_integer() => Ok(vec![DataType::Int64]),
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        let zone = (self.clock == Clock::Zoned).then(|| TIME_ZONE.into());
        Ok(DataType::Timestamp(TimeUnit::Microsecond, zone))
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Field::new(self.name(), self.return_type(&[])?, false).into())
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let places = match args.first() {
            None => Some(6),
            Some(Expr::Literal(ScalarValue::Int64(places), _)) => *places,
            Some(_) => None,
        };
        Ok(match info.query_execution_start_time().zip(places) {
            None => ExprSimplifyResult::Original(args),
            Some((start, places)) => {
                let places = u32::try_from(places.clamp(0, 6)).unwrap_or(6);
                let unit = 10i64.pow(6 - places);
                let rounded = (start.timestamp_micros() + unit / 2).div_euclid(unit) * unit;
                ExprSimplifyResult::Simplified(Expr::Literal(self.value(Some(rounded)), None))
            }
        })
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let message = format!("{}() was not given the statement's time", self.name());
        Err(user_error(SqlState::INTERNAL_ERROR, message))
    }
}
