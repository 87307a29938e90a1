//! `sum`, `avg` and the measures of spread, with PostgreSQL's result types.
//!
//! They run in batch here; in a maintained view the dataflow has operators of its own, and both call
//! [`millrace_types::numeric`] for what must agree to the last digit. Each function is a set of
//! running sums per group ([`Sums`]), over integers, decimals or doubles, and a way to finish them.
//!
//! Invariants: 1. integers and decimals are added exactly; what does not fit is an error, never a
//! wrapped value.

mod bit_xor;
mod distinct;
mod doubles;
mod exact;
mod extreme;
mod ordered_set;
mod sorted;
mod sums;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::functions_aggregate::bool_and_or::bool_and_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
};
use millrace_types::numeric::Spread;
use millrace_types::{NUMERIC_PRECISION, NUMERIC_SCALE};

use self::bit_xor::BitXor;
use self::distinct::Distinct;
use self::doubles::Doubles;
use self::exact::Exact;
use self::ordered_set::{OrderedSet, Taken};
use self::sums::{Grouped, Single, Sums};
use super::no_function;

pub(crate) use self::extreme::extreme;
pub(crate) use self::sorted::sorted;

/// Our aggregate functions.
pub(super) fn all() -> Vec<Arc<AggregateUDF>> {
    let own = [
        (Measure::Sum, "sum", &[][..]),
        (Measure::Avg, "avg", &["mean"]),
        (Measure::Spread(Spread::VarPop), "var_pop", &["var_population"]),
        (Measure::Spread(Spread::VarSamp), "var_samp", &["variance", "var", "var_sample"]),
        (Measure::Spread(Spread::StddevPop), "stddev_pop", &[]),
        (Measure::Spread(Spread::StddevSamp), "stddev_samp", &["stddev"]),
    ];
    let mut all: Vec<Arc<AggregateUDF>> = own
        .into_iter()
        .map(|(measure, name, aliases)| {
            Arc::new(AggregateUDF::new_from_impl(Aggregate::new(measure, name, aliases)))
        })
        .collect();
    all.push(Arc::new(AggregateUDF::new_from_impl(BitXor::new())));
    for taken in [Taken::Continuous, Taken::Discrete, Taken::Most] {
        all.push(Arc::new(AggregateUDF::new_from_impl(OrderedSet::new(taken))));
    }
    all.push(Arc::new(bool_and_udaf().as_ref().clone().with_aliases(["every"])));
    all
}

/// What is computed of the numbers of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Measure {
    Sum,
    Avg,
    Spread(Spread),
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Aggregate {
    measure: Measure,
    name: &'static str,
    aliases: Vec<String>,
    signature: Signature,
}

impl Aggregate {
    fn new(measure: Measure, name: &'static str, aliases: &[&str]) -> Aggregate {
        let aliases = aliases.iter().map(ToString::to_string).collect();
        let signature = Signature::user_defined(Volatility::Immutable);
        Aggregate { measure, name, aliases, signature }
    }

    /// Calls `with` with the empty sums for an argument type.
    fn start<R>(&self, input: &DataType, with: impl Start<R>) -> Result<R> {
        let output = self.return_type(std::slice::from_ref(input))?;
        Ok(match input {
            DataType::Float32 | DataType::Float64 => with.with(Doubles::new(self.measure, output)),
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => {
                with.with(Exact::decimals(self.measure, *scale, output))
            }
            _ => with.with(Exact::integers(self.measure, output)),
        })
    }
}

/// What is made of sums, whatever their kind.
trait Start<R> {
    fn with<S: Sums>(self, sums: S) -> R;
}

struct IntoSingle;

impl Start<Box<dyn Accumulator>> for IntoSingle {
    fn with<S: Sums>(self, sums: S) -> Box<dyn Accumulator> {
        Box::new(Single::new(sums))
    }
}

struct IntoGrouped;

impl Start<Box<dyn GroupsAccumulator>> for IntoGrouped {
    fn with<S: Sums>(self, sums: S) -> Box<dyn GroupsAccumulator> {
        Box::new(Grouped::new(sums))
    }
}

struct IntoState;

impl Start<Vec<DataType>> for IntoState {
    fn with<S: Sums>(self, sums: S) -> Vec<DataType> {
        sums.state_types()
    }
}

/// The type in which an argument is taken; None for what has no sum.
fn taken(input: &DataType) -> Option<DataType> {
    Some(match input {
        DataType::Int16 | DataType::Int32 | DataType::Int64 => input.clone(),
        DataType::Float32 | DataType::Float64 => input.clone(),
        DataType::Decimal128(_, _) | DataType::Decimal256(_, _) => input.clone(),
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::Null => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => DataType::Decimal128(*p, *s),
        DataType::Dictionary(_, value) => taken(value)?,
        _ => return None,
    })
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [input] => match taken(input) {
                Some(taken) => Ok(vec![taken]),
                None => Err(no_function(self.name, types)),
            },
            _ => Err(no_function(self.name, types)),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let numeric = DataType::Decimal256(NUMERIC_PRECISION, NUMERIC_SCALE);
        let input = types.first().ok_or_else(|| no_function(self.name, types))?;
        Ok(match (self.measure, input) {
            (Measure::Sum, DataType::Int16 | DataType::Int32) => DataType::Int64,
            (Measure::Sum, DataType::Float32) => DataType::Float32,
            (_, DataType::Float32 | DataType::Float64) => DataType::Float64,
            // A sum has the places of what it adds up.
            (Measure::Sum, DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale)) => {
                DataType::Decimal256(NUMERIC_PRECISION, *scale)
            }
            (_, DataType::Int16 | DataType::Int32 | DataType::Int64) => numeric,
            (_, DataType::Decimal128(_, _) | DataType::Decimal256(_, _)) => numeric,
            _ => return Err(no_function(self.name, types)),
        })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let input = args.expr_fields[0].data_type();
        let single = self.start(input, IntoSingle)?;
        Ok(match args.is_distinct {
            true => Box::new(Distinct::new(input.clone(), single)),
            false => single,
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let input = args.input_fields[0].data_type();
        let types = match args.is_distinct {
            true => vec![DataType::new_list(input.clone(), true)],
            false => self.start(input, IntoState)?,
        };
        let field = |(at, data_type)| {
            let name = format_state_name(args.name, &format!("sum{at}"));
            Arc::new(Field::new(name, data_type, true))
        };
        Ok(types.into_iter().enumerate().map(field).collect())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.start(args.expr_fields[0].data_type(), IntoGrouped)
    }
}
