//! The functions that SESSION is made of: the bounds of the session that a row is in, over the rows of one
//! key in the order of time. The stream planner knows them by name.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::common::Result;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl,
};
use millrace_types::SqlState;

use super::user_error;

/// `(time, gap_us)`: the start of the row's session.
pub(crate) const SESSION_START: &str = "millrace_session_start";
/// `(time, gap_us)`: its end.
pub(crate) const SESSION_END: &str = "millrace_session_end";

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bound {
    name: &'static str,
    signature: Signature,
}

/// One of the two functions.
pub(crate) fn session_bound(name: &'static str) -> Arc<WindowUDF> {
    let signature = Signature::any(2, Volatility::Immutable);
    Arc::new(WindowUDF::from(Bound { name, signature }))
}

impl WindowUDFImpl for Bound {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(
        &self,
        _: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Sessions { ends: self.name == SESSION_END }))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let time = args.input_fields().first().map(|field| field.data_type().clone());
        let time = time.unwrap_or(DataType::Timestamp(TimeUnit::Microsecond, None));
        Ok(Arc::new(Field::new(args.name(), time, true)))
    }
}

#[derive(Debug)]
struct Sessions {
    ends: bool,
}

impl PartitionEvaluator for Sessions {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let wrong = || user_error(SqlState::INTERNAL_ERROR, "a session has no time or no gap");
        let [times, gaps] = values else { return Err(wrong()) };
        let DataType::Timestamp(TimeUnit::Microsecond, zone) = times.data_type() else {
            return Err(wrong());
        };
        let gap = gaps.as_primitive_opt::<Int64Type>().filter(|gaps| !gaps.is_empty());
        let gap = gap.map(|gaps| gaps.value(0)).ok_or_else(wrong)?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let mut bounds: Vec<Option<i64>> = vec![None; rows];
        let mut from = 0;
        for at in 0..rows {
            let last = at + 1 == rows || times.is_null(at + 1) || {
                times.is_valid(at) && times.value(at + 1).saturating_sub(times.value(at)) >= gap
            };
            if last && times.is_valid(at) {
                let bound = match self.ends {
                    true => times.value(at).saturating_add(gap),
                    false => times.value(from),
                };
                bounds[from..=at].fill(Some(bound));
                from = at + 1;
            } else if times.is_null(at) {
                from = at + 1;
            }
        }
        let bounds: PrimitiveArray<TimestampMicrosecondType> = bounds.into_iter().collect();
        Ok(Arc::new(bounds.with_timezone_opt(zone.clone())))
    }
}
