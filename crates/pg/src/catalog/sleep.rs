//! `pg_sleep`, `pg_sleep_for` and `pg_sleep_until`: the statement waits, and nothing waits with it.
//!
//! The functions are asynchronous: a timer of the runtime wakes the statement, which holds no thread meanwhile
//! and ends as any other does when it is cancelled, has no time left or its client goes.

#![allow(clippy::cast_precision_loss, reason = "a time to wait need not be exact")]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, StringArray};
use arrow::datatypes::{
    DataType, Float64Type, IntervalMonthDayNanoType, IntervalUnit, TimestampMicrosecondType,
};
use async_trait::async_trait;
use datafusion::common::Result as DfResult;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::{Report, SqlState, timestamptz};

use super::model::Relations;

/// The longest wait, as the timer takes it: a year.
const SECONDS_MAX: f64 = 365.0 * 86_400.0;

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wait {
    Seconds,
    Interval,
    Until,
}

struct Sleep {
    wait: Wait,
    signature: Signature,
    relations: Arc<dyn Relations>,
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for Sleep {
    fn eq(&self, other: &Sleep) -> bool {
        self.wait == other.wait
    }
}

impl Eq for Sleep {}

impl std::hash::Hash for Sleep {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.wait.hash(state);
    }
}

/// All three.
pub(super) fn all(relations: &Arc<dyn Relations>) -> Vec<ScalarUDF> {
    let sleep = |wait| {
        let taken = match wait {
            Wait::Seconds => DataType::Float64,
            Wait::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Wait::Until => timestamptz(),
        };
        let signature = Signature::exact(vec![taken], Volatility::Volatile);
        let sleep = Sleep { wait, signature, relations: Arc::clone(relations) };
        AsyncScalarUDF::new(Arc::new(sleep)).into_scalar_udf()
    };
    [Wait::Seconds, Wait::Interval, Wait::Until].map(sleep).into()
}

impl ScalarUDFImpl for Sleep {
    fn name(&self) -> &'static str {
        match self.wait {
            Wait::Seconds => "pg_sleep",
            Wait::Interval => "pg_sleep_for",
            Wait::Until => "pg_sleep_until",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// PostgreSQL's give nothing (`void`), which is shown as an empty text.
    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let message = "a statement cannot wait here";
        let report = Report::new(SqlState::FEATURE_NOT_SUPPORTED, message);
        let report = report.hint("Call it in a select list.");
        Err(DataFusionError::External(Box::new(report)))
    }
}

/// One row waits after the other.
#[async_trait]
impl AsyncScalarUDFImpl for Sleep {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let arg = args.args.into_iter().next().map(|arg| arg.into_array(rows)).transpose()?;
        let mut slept = Vec::with_capacity(rows);
        for row in 0..rows {
            let seconds = arg.as_ref().filter(|arg| arg.is_valid(row)).map(|arg| match self.wait {
                Wait::Seconds => arg.as_primitive::<Float64Type>().value(row),
                Wait::Interval => {
                    let span = arg.as_primitive::<IntervalMonthDayNanoType>().value(row);
                    let days = i64::from(span.months) * 30 + i64::from(span.days);
                    days as f64 * 86_400.0 + span.nanoseconds as f64 / 1e9
                }
                Wait::Until => {
                    let until = arg.as_primitive::<TimestampMicrosecondType>().value(row);
                    until.saturating_sub(self.relations.now()) as f64 / 1e6
                }
            });
            if let Some(seconds) = seconds.filter(|seconds| *seconds > 0.0) {
                let seconds = seconds.min(SECONDS_MAX);
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            }
            slept.push(seconds.map(|_| ""));
        }
        Ok(ColumnarValue::Array(Arc::new(StringArray::from(slept))))
    }
}
