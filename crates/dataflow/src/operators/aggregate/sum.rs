//! Exact sums of integers and decimals, and of their squares.
//!
//! A sum of 64-bit integers with 64-bit weights fits 128 bits as long as the weights themselves
//! can be counted, so [`IntSum`] needs no check of range. Decimals and squares are summed in 256
//! bits; the rare slot that needs more keeps its sum aside as a big integer until it fits again.
//!
//! Invariants: 1. a slot has a big integer iff its sum does not fit 256 bits ([`WideSum::set`]).

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowNativeType, DataType, Decimal128Type, Decimal256Type, Int64Type, i256,
};
use num_bigint::BigInt;

use super::accumulator::{Accumulator, Moves, Weights, same};
use crate::natives;
use crate::operator::Error;

/// Sums of integers of up to 64 bits.
#[derive(Default)]
pub(super) struct IntSum {
    sums: Vec<i128>,
}

impl IntSum {
    /// The sum of a slot.
    pub(super) fn get(&self, slot: u32) -> i128 {
        self.sums[slot as usize]
    }

    fn add<N: ArrowNativeType + Into<i128>>(
        &mut self,
        groups: &[u32],
        column: &dyn Array,
        weights: Weights<'_>,
    ) {
        let values = natives::values::<N>(column);
        let sums = &mut self.sums;
        match weights {
            Weights::Ones => {
                for (group, value) in groups.iter().zip(values.iter()) {
                    sums[*group as usize] += (*value).into();
                }
            }
            Weights::Each(_) => weights.each(groups.len(), |row, weight| {
                sums[groups[row] as usize] += values[row].into() * i128::from(weight);
            }),
        }
    }
}

impl Accumulator for IntSum {
    fn resize(&mut self, slots: usize) {
        self.sums.resize(slots, 0);
    }

    fn clear(&mut self) {
        self.sums.clear();
    }

    fn reset(&mut self, slot: u32) {
        self.sums[slot as usize] = 0;
    }

    fn update(
        &mut self,
        groups: &[u32],
        columns: &[ArrayRef],
        weights: Weights<'_>,
    ) -> Result<(), Error> {
        match columns[0].data_type() {
            DataType::Int64 => self.add::<i64>(groups, &columns[0], weights),
            DataType::Int32 => self.add::<i32>(groups, &columns[0], weights),
            DataType::Int16 => self.add::<i16>(groups, &columns[0], weights),
            _ => self.add::<i64>(groups, &cast(&columns[0], &DataType::Int64)?, weights),
        }
        Ok(())
    }

    fn merge(&mut self, other: &dyn Accumulator, moves: &Moves<'_>) -> Result<(), Error> {
        let other: &IntSum = same(other);
        for (from, into) in moves.pairs() {
            self.sums[into] += other.sums[from];
        }
        Ok(())
    }

    fn fields(&self) -> Vec<(&'static str, DataType)> {
        vec![("sum", DataType::Decimal128(38, 0))]
    }

    fn save(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, Error> {
        let sums = slots.iter().map(|slot| self.get(*slot)).collect();
        Ok(vec![natives::array(&DataType::Decimal128(38, 0), sums, None)?])
    }

    fn restore(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<(), String> {
        let sums = columns[0].as_primitive::<Decimal128Type>();
        if sums.null_count() > 0 {
            return Err("a sum is NULL".into());
        }
        for (slot, sum) in slots.iter().zip(sums.values()) {
            self.sums[*slot as usize] = *sum;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<i128>()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Sums of decimals, or of the squares of decimals or integers, as integers at the column's scale
/// (twice it for squares).
pub(super) struct WideSum {
    sums: Vec<i256>,
    big: BTreeMap<u32, BigInt>,
    squares: bool,
}

/// The big integer of 256 bits.
pub(super) fn big(value: i256) -> BigInt {
    match value.to_i128() {
        Some(small) => BigInt::from(small),
        None => BigInt::from_signed_bytes_le(&value.to_le_bytes()),
    }
}

/// 256 bits of a big integer, if it fits.
pub(super) fn narrow(value: &BigInt) -> Option<i256> {
    let bytes = value.to_signed_bytes_le();
    let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
    let mut all = [fill; 32];
    all.get_mut(..bytes.len())?.copy_from_slice(&bytes);
    Some(i256::from_le_bytes(all))
}

impl WideSum {
    /// Sums of the values or of their squares.
    pub(super) fn new(squares: bool) -> WideSum {
        WideSum { sums: Vec::new(), big: BTreeMap::new(), squares }
    }

    /// The sum of a slot if it fits 256 bits.
    pub(super) fn small(&self, slot: u32) -> Option<i256> {
        let fits = self.big.is_empty() || !self.big.contains_key(&slot);
        fits.then(|| self.sums[slot as usize])
    }

    /// The sum of a slot.
    pub(super) fn get(&self, slot: u32) -> BigInt {
        match self.small(slot) {
            Some(sum) => big(sum),
            None => self.big[&slot].clone(),
        }
    }

    fn set(&mut self, slot: u32, sum: BigInt) {
        match narrow(&sum) {
            Some(small) => {
                self.big.remove(&slot);
                self.sums[slot as usize] = small;
            }
            None => {
                self.sums[slot as usize] = i256::ZERO;
                self.big.insert(slot, sum);
            }
        }
    }

    fn add(&mut self, slot: u32, value: i256) {
        match self.small(slot).and_then(|sum| sum.checked_add(value)) {
            Some(sum) => self.sums[slot as usize] = sum,
            None => self.set(slot, self.get(slot) + big(value)),
        }
    }

    fn add_weighted(&mut self, slot: u32, value: i256, weight: i64) {
        let term = if self.squares { value.checked_mul(value) } else { Some(value) };
        let term = match weight {
            1 => term,
            _ => term.and_then(|t| t.checked_mul(i256::from_i128(i128::from(weight)))),
        };
        match term {
            Some(term) => self.add(slot, term),
            None => {
                let value = big(value);
                let term = if self.squares { &value * &value } else { value };
                self.set(slot, self.get(slot) + term * weight);
            }
        }
    }

    fn add_all(&mut self, groups: &[u32], weights: Weights<'_>, value: impl Fn(usize) -> i256) {
        weights.each(groups.len(), |row, weight| {
            self.add_weighted(groups[row], value(row), weight);
        });
    }
}

impl Accumulator for WideSum {
    fn resize(&mut self, slots: usize) {
        self.sums.resize(slots, i256::ZERO);
    }

    fn clear(&mut self) {
        self.sums.clear();
        self.big.clear();
    }

    fn reset(&mut self, slot: u32) {
        self.sums[slot as usize] = i256::ZERO;
        self.big.remove(&slot);
    }

    fn update(
        &mut self,
        groups: &[u32],
        columns: &[ArrayRef],
        weights: Weights<'_>,
    ) -> Result<(), Error> {
        let column = match columns[0].data_type() {
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => {
                cast(&columns[0], &DataType::Decimal128(*p, *s))?
            }
            DataType::Decimal128(_, _) | DataType::Decimal256(_, _) => Arc::clone(&columns[0]),
            _ => cast(&columns[0], &DataType::Int64)?,
        };
        match column.data_type() {
            DataType::Decimal256(_, _) => {
                let values = column.as_primitive::<Decimal256Type>().values();
                self.add_all(groups, weights, |row| values[row]);
            }
            DataType::Decimal128(_, _) => {
                let values = column.as_primitive::<Decimal128Type>().values();
                self.add_all(groups, weights, |row| i256::from_i128(values[row]));
            }
            _ => {
                let values = column.as_primitive::<Int64Type>().values();
                self.add_all(groups, weights, |row| i256::from_i128(i128::from(values[row])));
            }
        }
        Ok(())
    }

    fn merge(&mut self, other: &dyn Accumulator, moves: &Moves<'_>) -> Result<(), Error> {
        let other: &WideSum = same(other);
        for (from, into) in moves.from.iter().zip(moves.into) {
            match other.small(*from) {
                Some(sum) => self.add(*into, sum),
                None => self.set(*into, self.get(*into) + other.get(*from)),
            }
        }
        Ok(())
    }

    fn fields(&self) -> Vec<(&'static str, DataType)> {
        vec![("sum", DataType::Decimal256(76, 0)), ("big", DataType::Binary)]
    }

    fn save(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, Error> {
        let sums = slots.iter().map(|slot| self.sums[*slot as usize]).collect();
        let big = slots.iter().map(|slot| self.big.get(slot).map(BigInt::to_signed_bytes_le));
        Ok(vec![
            natives::array(&DataType::Decimal256(76, 0), sums, None)?,
            Arc::new(BinaryArray::from_iter(big)),
        ])
    }

    fn restore(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<(), String> {
        let sums = columns[0].as_primitive::<Decimal256Type>();
        let bigs = columns[1].as_binary::<i32>();
        if sums.null_count() > 0 {
            return Err("a sum is NULL".into());
        }
        for (row, slot) in slots.iter().enumerate() {
            match bigs.is_null(row) {
                true => self.sums[*slot as usize] = sums.value(row),
                false => self.set(*slot, BigInt::from_signed_bytes_le(bigs.value(row))),
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let big: u64 = self.big.values().map(|big| big.bits() / 8 + 64).sum();
        self.sums.capacity() * size_of::<i256>() + usize::try_from(big).unwrap_or(usize::MAX)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_beyond_256_bits_comes_back_when_it_is_retracted() {
        let mut sum = WideSum::new(false);
        sum.resize(1);
        for _ in 0..3 {
            sum.add_weighted(0, i256::MAX, 1);
        }
        assert_eq!(sum.small(0), None);
        assert_eq!(sum.get(0), big(i256::MAX) * 3);
        let saved = sum.save(&[0]).unwrap();
        let mut other = WideSum::new(false);
        other.resize(1);
        other.restore(&[0], &saved).unwrap();
        other.add_weighted(0, i256::MAX, -2);
        assert_eq!(other.small(0), Some(i256::MAX));
        assert!(other.big.is_empty());
    }

    #[test]
    fn big_integers_narrow_at_the_ends_of_the_range() {
        for value in [i256::MIN, i256::MAX, i256::ZERO, i256::MINUS_ONE] {
            assert_eq!(narrow(&big(value)), Some(value));
        }
        assert_eq!(narrow(&(big(i256::MAX) + 1)), None);
        assert_eq!(narrow(&(big(i256::MIN) - 1)), None);
    }
}
