//! Minima and maxima over append-only rows.
//!
//! Fixed-width values are kept in a column of natives whose empty slots hold the neutral value (the
//! greatest for a minimum), so that adding is one comparison and no flag is needed: whether a group
//! has a value is known from the count of values beside it. Text and bytes are kept as bytes and
//! compared as such. NaN is the greatest float, as in PostgreSQL.
//!
//! Nothing here can retract: the planner uses it over append-only rows alone, which
//! [`Weights::each_inserted`] asserts.

use std::any::Any;
use std::cmp::Ordering;
use std::str;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{ArrowNativeType, DataType, i256};

use super::accumulator::{Accumulator, Moves, Weights, same};
use crate::natives;
use crate::operator::Error;

/// A fixed-width value with a total order.
pub(super) trait Ordered: ArrowNativeType {
    /// The least value.
    const LEAST: Self;
    /// The greatest value.
    const GREATEST: Self;
    /// The value that stands for all that SQL takes as equal to it.
    fn canonical(self) -> Self {
        self
    }
    /// PostgreSQL's order.
    fn order(&self, other: &Self) -> Ordering;
}

macro_rules! ordered_integer {
    ($($t:ty),*) => {$(
        impl Ordered for $t {
            const LEAST: $t = <$t>::MIN;
            const GREATEST: $t = <$t>::MAX;
            fn order(&self, other: &$t) -> Ordering {
                self.cmp(other)
            }
        }
    )*};
}

macro_rules! ordered_float {
    ($($t:ty),*) => {$(
        impl Ordered for $t {
            const LEAST: $t = <$t>::NEG_INFINITY;
            const GREATEST: $t = <$t>::NAN;
            fn canonical(self) -> $t {
                if self.is_nan() { <$t>::NAN } else { self }
            }
            fn order(&self, other: &$t) -> Ordering {
                self.total_cmp(other)
            }
        }
    )*};
}

ordered_integer!(i16, i32, i64, i128, i256);
ordered_float!(f32, f64);

/// Least or greatest values of a fixed-width type.
pub(super) struct Extreme<N> {
    values: Vec<N>,
    greatest: bool,
    /// The type that the values are kept in.
    data_type: DataType,
}

/// What the results of [`Extreme`], [`BytesExtreme`] and others are asked by.
pub(super) trait Results {
    /// The values of some slots, NULL where not valid.
    fn results(&self, slots: &[u32], valid: &[bool]) -> Result<ArrayRef, Error>;
}

/// The minimum (or with `greatest` the maximum) of a column of this type.
pub(super) fn extreme(data_type: &DataType, greatest: bool) -> Option<Box<dyn Accumulator>> {
    fn of<N: Ordered>(data_type: &DataType, greatest: bool) -> Box<dyn Accumulator> {
        Box::new(Extreme::<N> { values: Vec::new(), greatest, data_type: data_type.clone() })
    }
    let kept = match data_type {
        DataType::Boolean | DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => DataType::Decimal128(*p, *s),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    };
    Some(match &kept {
        DataType::Int16 => of::<i16>(&kept, greatest),
        DataType::Int32 | DataType::Date32 => of::<i32>(&kept, greatest),
        DataType::Int64 | DataType::Timestamp(_, _) | DataType::Time64(_) => {
            of::<i64>(&kept, greatest)
        }
        DataType::Float32 => of::<f32>(&kept, greatest),
        DataType::Float64 => of::<f64>(&kept, greatest),
        DataType::Decimal128(_, _) => of::<i128>(&kept, greatest),
        DataType::Decimal256(_, _) => of::<i256>(&kept, greatest),
        DataType::Utf8 | DataType::Binary => Box::new(BytesExtreme::new(kept, greatest)),
        _ => return None,
    })
}

/// The results of an accumulator that [`extreme`] or `ordered` made.
pub(super) fn results(cell: &dyn Accumulator) -> &dyn Results {
    fn of<T: Results + 'static>(any: &dyn Any) -> Option<&dyn Results> {
        any.downcast_ref::<T>().map(|found| found as &dyn Results)
    }
    let any = cell.as_any();
    of::<Extreme<i64>>(any)
        .or_else(|| of::<Extreme<i32>>(any))
        .or_else(|| of::<Extreme<i16>>(any))
        .or_else(|| of::<Extreme<f64>>(any))
        .or_else(|| of::<Extreme<f32>>(any))
        .or_else(|| of::<Extreme<i128>>(any))
        .or_else(|| of::<Extreme<i256>>(any))
        .or_else(|| of::<BytesExtreme>(any))
        .or_else(|| of::<super::ordered::FirstRow>(any))
        .expect("only accumulators of these kinds are asked for their values")
}

impl<N: Ordered> Extreme<N> {
    fn neutral(&self) -> N {
        if self.greatest { N::LEAST } else { N::GREATEST }
    }

    fn keep(&mut self, slot: usize, value: N) {
        let wanted = if self.greatest { Ordering::Greater } else { Ordering::Less };
        let place = &mut self.values[slot];
        // Always stored: which value wins is not to be predicted.
        *place = if value.order(place) == wanted { value } else { *place };
    }
}

impl<N: Ordered> Results for Extreme<N> {
    fn results(&self, slots: &[u32], valid: &[bool]) -> Result<ArrayRef, Error> {
        let value = |slot: &u32| self.values[*slot as usize];
        if valid.iter().all(|valid| *valid) {
            return Ok(natives::array(&self.data_type, slots.iter().map(value).collect(), None)?);
        }
        let values = slots.iter().zip(valid).map(|(slot, valid)| valid.then(|| value(slot)));
        Ok(natives::optional(&self.data_type, values.collect())?)
    }
}

impl<N: Ordered> Accumulator for Extreme<N> {
    fn resize(&mut self, slots: usize) {
        self.values.resize(slots, self.neutral());
    }

    fn clear(&mut self) {
        self.values.clear();
    }

    fn reset(&mut self, slot: u32) {
        self.values[slot as usize] = self.neutral();
    }

    fn update(
        &mut self,
        groups: &[u32],
        columns: &[ArrayRef],
        weights: Weights<'_>,
    ) -> Result<(), Error> {
        let column = match columns[0].data_type() == &self.data_type {
            true => Arc::clone(&columns[0]),
            false => cast(&columns[0], &self.data_type)?,
        };
        let values = natives::values::<N>(&column);
        weights.each_inserted(groups.len(), |row| {
            self.keep(groups[row] as usize, values[row].canonical());
        });
        Ok(())
    }

    fn merge(&mut self, other: &dyn Accumulator, moves: &Moves<'_>) -> Result<(), Error> {
        let other: &Extreme<N> = same(other);
        for (from, into) in moves.pairs() {
            self.keep(into, other.values[from]);
        }
        Ok(())
    }

    fn fields(&self) -> Vec<(&'static str, DataType)> {
        vec![("value", self.data_type.clone())]
    }

    fn save(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, Error> {
        Ok(vec![self.results(slots, &vec![true; slots.len()])?])
    }

    fn restore(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<(), String> {
        if columns[0].null_count() > 0 {
            return Err("an extreme value is NULL".into());
        }
        let values = natives::values::<N>(&columns[0]);
        for (slot, value) in slots.iter().zip(values.iter()) {
            self.values[*slot as usize] = *value;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<N>()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Least or greatest byte strings.
pub(super) struct BytesExtreme {
    values: Vec<Option<Box<[u8]>>>,
    greatest: bool,
    /// `Utf8` or `Binary`.
    data_type: DataType,
    heap: usize,
}

impl BytesExtreme {
    fn new(data_type: DataType, greatest: bool) -> BytesExtreme {
        BytesExtreme { values: Vec::new(), greatest, data_type, heap: 0 }
    }

    fn keep(&mut self, slot: usize, value: &[u8]) {
        let place = &mut self.values[slot];
        let better = match place {
            None => true,
            Some(old) if self.greatest => value > &**old,
            Some(old) => value < &**old,
        };
        if better {
            self.heap += value.len();
            self.heap -= place.as_ref().map_or(0, |old| old.len());
            *place = Some(value.into());
        }
    }

    fn array(&self, values: impl Iterator<Item = Option<Box<[u8]>>>) -> ArrayRef {
        match self.data_type {
            DataType::Utf8 => Arc::new(StringArray::from_iter(values.map(|value| {
                let text = |v: Box<[u8]>| String::from_utf8(v.into_vec()).expect("was text");
                value.map(text)
            }))),
            _ => Arc::new(BinaryArray::from_iter(values)),
        }
    }
}

impl Results for BytesExtreme {
    fn results(&self, slots: &[u32], valid: &[bool]) -> Result<ArrayRef, Error> {
        let values = slots.iter().zip(valid);
        Ok(self.array(values.map(
            |(slot, valid)| {
                if *valid { self.values[*slot as usize].clone() } else { None }
            },
        )))
    }
}

impl Accumulator for BytesExtreme {
    fn resize(&mut self, slots: usize) {
        self.values.resize(slots, None);
    }

    fn clear(&mut self) {
        self.values.clear();
        self.heap = 0;
    }

    fn reset(&mut self, slot: u32) {
        let old = self.values[slot as usize].take();
        self.heap -= old.map_or(0, |old| old.len());
    }

    fn update(
        &mut self,
        groups: &[u32],
        columns: &[ArrayRef],
        weights: Weights<'_>,
    ) -> Result<(), Error> {
        let column = cast(&columns[0], &DataType::Binary)?;
        let values = column.as_binary::<i32>();
        weights.each_inserted(groups.len(), |row| {
            self.keep(groups[row] as usize, values.value(row));
        });
        Ok(())
    }

    fn merge(&mut self, other: &dyn Accumulator, moves: &Moves<'_>) -> Result<(), Error> {
        let other: &BytesExtreme = same(other);
        for (from, into) in moves.pairs() {
            if let Some(value) = &other.values[from] {
                self.keep(into, value);
            }
        }
        Ok(())
    }

    fn fields(&self) -> Vec<(&'static str, DataType)> {
        vec![("value", self.data_type.clone())]
    }

    fn save(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, Error> {
        Ok(vec![self.array(slots.iter().map(|slot| self.values[*slot as usize].clone()))])
    }

    fn restore(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<(), String> {
        let column = cast(&columns[0], &DataType::Binary).map_err(|e| e.to_string())?;
        let values = column.as_binary::<i32>();
        for (row, slot) in slots.iter().enumerate().filter(|(row, _)| values.is_valid(*row)) {
            self.keep(*slot as usize, values.value(row));
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<Option<Box<[u8]>>>() + self.heap
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, StringArray};

    use super::*;

    fn both(column: ArrayRef) -> [ArrayRef; 2] {
        [false, true].map(|greatest| {
            let mut cell = extreme(column.data_type(), greatest).unwrap();
            cell.resize(1);
            let groups = vec![0; column.len()];
            cell.update(&groups, &[Arc::clone(&column)], Weights::Ones).unwrap();
            results(cell.as_ref()).results(&[0], &[true]).unwrap()
        })
    }

    #[test]
    fn nan_is_the_greatest_float() {
        let column = Float64Array::from(vec![1.5, -f64::NAN, f64::INFINITY, -2.0]);
        let [min, max] = both(Arc::new(column));
        assert_eq!(min.as_primitive::<arrow::datatypes::Float64Type>().value(0), -2.0);
        assert!(max.as_primitive::<arrow::datatypes::Float64Type>().value(0).is_nan());
        let [min, _] = both(Arc::new(Float64Array::from(vec![f64::NAN])));
        assert!(min.as_primitive::<arrow::datatypes::Float64Type>().value(0).is_nan());
    }

    #[test]
    fn text_is_ordered_by_bytes() {
        let [min, max] = both(Arc::new(StringArray::from(vec!["b", "B", "é", ""])));
        assert_eq!(min.as_string::<i32>().value(0), "");
        assert_eq!(max.as_string::<i32>().value(0), "é");
    }
}
