//! `percentile_cont`, `percentile_disc` and `mode`, over the values of a group in their order.
//!
//! DataFusion has only the first, and takes the place between two values in steps of a millionth: a 0.9
//! of 1 to 10 is 9.099999 there. All keep the values of a group.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_empty_array};
use arrow::compute::{SortOptions, concat, filter, is_not_null, partition, sort};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, ColumnarValue, Signature, Volatility,
};
use millrace_types::SqlState;

use crate::functions::{no_function, user_error};

/// What is taken of the ordered values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Taken {
    /// What lies at a share of the way, between two values.
    Continuous,
    /// The first value that has at least a share of all up to it.
    Discrete,
    /// The value that is there most often; of several the first.
    Most,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct OrderedSet {
    taken: Taken,
    aliases: Vec<String>,
    signature: Signature,
}

impl OrderedSet {
    pub(super) fn new(taken: Taken) -> OrderedSet {
        let aliases = match taken {
            Taken::Continuous => vec!["quantile_cont".to_owned()],
            Taken::Discrete | Taken::Most => Vec::new(),
        };
        OrderedSet { taken, aliases, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for OrderedSet {
    fn name(&self) -> &'static str {
        match self.taken {
            Taken::Continuous => "percentile_cont",
            Taken::Discrete => "percentile_disc",
            Taken::Most => "mode",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let is_number = |found: &DataType| found.is_numeric() || found.is_null();
        let sorts = |found: &DataType| {
            let fields = [SortField::new(found.clone())];
            RowConverter::supports_fields(&fields) && !matches!(found, DataType::Interval(_))
        };
        match (self.taken, types) {
            (Taken::Continuous, [value, share]) if is_number(value) && is_number(share) => {
                Ok(vec![DataType::Float64; 2])
            }
            (Taken::Discrete, [value, share]) if sorts(value) && is_number(share) => {
                Ok(vec![value.clone(), DataType::Float64])
            }
            (Taken::Most, [value]) if sorts(value) => Ok(vec![value.clone()]),
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| no_function(self.name(), types))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let item = Field::new_list_field(args.input_fields[0].data_type().clone(), true);
        let name = format_state_name(args.name, self.name());
        Ok(vec![Arc::new(Field::new(name, DataType::List(Arc::new(item)), true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            let message = "DISTINCT with WITHIN GROUP is not supported";
            return Err(user_error(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
        let share = match self.taken {
            Taken::Most => Some(0.0),
            Taken::Continuous | Taken::Discrete => share(&args)?,
        };
        Ok(Box::new(Values {
            taken: self.taken,
            share,
            descending: args.order_bys.first().is_some_and(|order| order.options.descending),
            data_type: args.expr_fields[0].data_type().clone(),
            parts: Vec::new(),
        }))
    }
}

/// The share of the values; None for NULL.
fn share(args: &AccumulatorArgs) -> Result<Option<f64>> {
    let nothing = RecordBatch::new_empty(Arc::new(args.schema.clone()));
    let value = args.exprs.get(1).map(|expr| expr.evaluate(&nothing)).transpose()?;
    let Some(ColumnarValue::Scalar(value)) = value else {
        let message = "the share of a percentile that is no constant is not supported";
        return Err(user_error(SqlState::FEATURE_NOT_SUPPORTED, message));
    };
    match value.cast_to(&DataType::Float64)? {
        ScalarValue::Float64(Some(share)) if !(0.0..=1.0).contains(&share) => {
            let message = format!("percentile value {share} is not between 0 and 1");
            Err(user_error(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message))
        }
        ScalarValue::Float64(share) => Ok(share),
        _ => Ok(None),
    }
}

/// The values of a group.
#[derive(Debug)]
struct Values {
    taken: Taken,
    share: Option<f64>,
    descending: bool,
    data_type: DataType,
    parts: Vec<ArrayRef>,
}

impl Values {
    fn take(&mut self, values: &ArrayRef) -> Result<()> {
        let values = match values.null_count() {
            0 => Arc::clone(values),
            _ => filter(values, &is_not_null(values)?)?,
        };
        if !values.is_empty() {
            self.parts.push(values);
        }
        Ok(())
    }

    fn all(&self) -> Result<ArrayRef> {
        let parts: Vec<&dyn Array> = self.parts.iter().map(AsRef::as_ref).collect();
        match parts.is_empty() {
            true => Ok(new_empty_array(&self.data_type)),
            false => Ok(concat(&parts)?),
        }
    }
}

/// The place of a share of `count` values, from 0.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "counts of values in memory, and places among them"
)]
fn place(taken: Taken, share: f64, count: usize) -> (usize, f64) {
    match taken {
        Taken::Continuous => {
            let place = share * (count - 1) as f64;
            (place as usize, place.fract())
        }
        Taken::Discrete => (((share * count as f64).ceil() as usize).max(1) - 1, 0.0),
        Taken::Most => (0, 0.0),
    }
}

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values.first().map_or(Ok(()), |values| self.take(values))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let options = SortOptions { descending: self.descending, nulls_first: false };
        let values = sort(&self.all()?, Some(options))?;
        let Some(share) = self.share.filter(|_| !values.is_empty()) else {
            return ScalarValue::try_new_null(&self.data_type);
        };
        let (at, rest) = place(self.taken, share, values.len());
        match self.taken {
            Taken::Continuous => {
                let values = values.as_primitive::<Float64Type>();
                let (low, high) = (values.value(at), values.value((at + 1).min(values.len() - 1)));
                // Infinity stays what it is between two of its kind.
                let between = if rest == 0.0 { low } else { low + rest * (high - low) };
                Ok(ScalarValue::Float64(Some(if low == high { low } else { between })))
            }
            Taken::Discrete => ScalarValue::try_from_array(&values, at),
            Taken::Most => {
                let runs = partition(std::slice::from_ref(&values))?.ranges();
                let longest = runs.iter().rev().max_by_key(|run| run.len());
                ScalarValue::try_from_array(&values, longest.map_or(0, |run| run.start))
            }
        }
    }

    fn size(&self) -> usize {
        size_of_val(self)
            + self.parts.iter().map(|part| part.get_array_memory_size()).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![SingleRowListArrayBuilder::new(self.all()?).build_list_scalar()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for list in states.first().into_iter().flat_map(|lists| lists.as_list::<i32>().iter()) {
            list.map_or(Ok(()), |values| self.take(&values))?;
        }
        Ok(())
    }
}
