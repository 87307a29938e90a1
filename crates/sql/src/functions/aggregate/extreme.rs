//! `min` and `max` of floats: NaN is the greatest, and an infinity is beyond all other numbers.
//!
//! DataFusion's begin with the greatest finite number, and take a NaN for no value or for any. A view has
//! an operator of its own; this is what a plain SELECT runs ([`crate::extremes`]).

use std::fmt::{self, Debug};
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::sums::{Grouped, Rows, Single, Sums};

/// `min` or `max` of floats.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Extreme {
    is_greatest: bool,
    signature: Signature,
}

/// What stands for DataFusion's function of a name where it is called with floats.
pub(crate) fn extreme(name: &str) -> Option<AggregateUDF> {
    let is_greatest = match name {
        "max" => true,
        "min" => false,
        _ => return None,
    };
    let types = vec![DataType::Float32, DataType::Float64];
    let signature = Signature::uniform(1, types, Volatility::Immutable);
    Some(AggregateUDF::new_from_impl(Extreme { is_greatest, signature }))
}

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &str {
        if self.is_greatest { "max" } else { "min" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(match args.return_field.data_type() {
            DataType::Float32 => Box::new(Single::new(Kept::<Float32Type>::new(self.is_greatest))),
            _ => Box::new(Single::new(Kept::<Float64Type>::new(self.is_greatest))),
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "value");
        Ok(vec![Arc::new(Field::new(name, args.return_field.data_type().clone(), true))])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(match args.return_field.data_type() {
            DataType::Float32 => Box::new(Grouped::new(Kept::<Float32Type>::new(self.is_greatest))),
            _ => Box::new(Grouped::new(Kept::<Float64Type>::new(self.is_greatest))),
        })
    }
}

/// The value of each group so far.
struct Kept<T: ArrowPrimitiveType> {
    is_greatest: bool,
    values: Vec<Option<T::Native>>,
}

impl<T: ArrowPrimitiveType> Clone for Kept<T> {
    fn clone(&self) -> Kept<T> {
        Kept { is_greatest: self.is_greatest, values: self.values.clone() }
    }
}

impl<T: ArrowPrimitiveType> Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.values).finish()
    }
}

impl<T: ArrowPrimitiveType> Kept<T> {
    fn new(is_greatest: bool) -> Kept<T> {
        Kept { is_greatest, values: Vec::new() }
    }

    fn take(&mut self, group: usize, value: T::Native) {
        let is_nan = |value: T::Native| value.partial_cmp(&value).is_none();
        let wins = self.values[group].is_none_or(|known| match self.is_greatest {
            true => !is_nan(known) && (is_nan(value) || value > known),
            false => !is_nan(value) && (is_nan(known) || value < known),
        });
        if wins {
            self.values[group] = Some(value);
        }
    }
}

impl<T: ArrowPrimitiveType> Sums for Kept<T> {
    fn fresh(&self) -> Kept<T> {
        Kept::new(self.is_greatest)
    }

    fn resize(&mut self, groups: usize) {
        self.values.resize(groups, None);
    }

    fn change(&mut self, values: &ArrayRef, rows: &Rows<'_>, sign: i64) -> Result<()> {
        if sign < 0 {
            return internal_err!("a least or greatest value that goes");
        }
        let column = values.as_primitive::<T>();
        rows.each(values, |row, group| {
            self.take(group, column.value(row));
            Ok(())
        })
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize]) -> Result<()> {
        for (value, group) in states[0].as_primitive::<T>().iter().zip(groups) {
            if let Some(value) = value {
                self.take(*group, value);
            }
        }
        Ok(())
    }

    fn split(&mut self, emit: EmitTo) -> Kept<T> {
        Kept { is_greatest: self.is_greatest, values: emit.take_needed(&mut self.values) }
    }

    fn finish(&self) -> Result<ArrayRef> {
        Ok(Arc::new(PrimitiveArray::<T>::from_iter(self.values.iter().copied())))
    }

    fn states(&self) -> Vec<ArrayRef> {
        vec![Arc::new(PrimitiveArray::<T>::from_iter(self.values.iter().copied()))]
    }

    fn state_types(&self) -> Vec<DataType> {
        vec![T::DATA_TYPE]
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.values.capacity() * size_of::<Option<T::Native>>()
    }
}
