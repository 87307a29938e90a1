//! Exact sums of floating-point numbers and of their squares.
//!
//! A finite float is an integer times a power of two, so a sum of floats is one too. A slot keeps
//! it as an integer mantissa of 128 bits (256 for squares) and an exponent; what does not fit, and
//! the count of NaN and infinities, is kept aside in [`Wide`]. The sum therefore does not depend on
//! the order of rows, a retraction restores it bit for bit, and only its result is rounded.
//!
//! Invariants: 1. the exponent of a slot is [`ASIDE`] iff the slot has an entry in `wide`
//! ([`FloatSum::set`]).

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int16Array};
use arrow::datatypes::{ArrowNativeType, DataType, Float32Type, Float64Type, Int16Type, i256};
use num_bigint::BigInt;

use super::accumulator::{Accumulator, Moves, Weights, same};
use super::sum;
use crate::natives;
use crate::operator::Error;

/// The exponent of a slot whose sum is kept aside.
const ASIDE: i16 = i16::MAX;

/// An integer that can hold the mantissa of a sum.
pub(super) trait Mantissa: ArrowNativeType {
    /// Its state column.
    const TYPE: DataType;
    /// Bits without the sign.
    const BITS: u32;
    /// The term of one float with its weight; None if it does not fit.
    fn term(mantissa: i64, weight: i64) -> Option<Self>;
    /// The same, however large.
    fn big_term(mantissa: i64, weight: i64) -> BigInt;
    /// Bits that it needs without the sign.
    fn needs(self) -> u32;
    /// Times `2^shift`, which fits.
    fn shifted(self, shift: u32) -> Self;
    /// The sum, if it fits.
    fn plus(self, other: Self) -> Option<Self>;
    /// As a big integer.
    fn big(self) -> BigInt;
    /// From a big integer, if it fits.
    fn narrow(big: &BigInt) -> Option<Self>;
}

impl Mantissa for i128 {
    const TYPE: DataType = DataType::Decimal128(38, 0);
    const BITS: u32 = 127;

    fn term(mantissa: i64, weight: i64) -> Option<i128> {
        Some(i128::from(mantissa) * i128::from(weight))
    }

    fn big_term(mantissa: i64, weight: i64) -> BigInt {
        BigInt::from(mantissa) * weight
    }

    fn needs(self) -> u32 {
        i128::BITS - self.unsigned_abs().leading_zeros()
    }

    fn shifted(self, shift: u32) -> i128 {
        self << shift
    }

    fn plus(self, other: i128) -> Option<i128> {
        self.checked_add(other)
    }

    fn big(self) -> BigInt {
        BigInt::from(self)
    }

    fn narrow(big: &BigInt) -> Option<i128> {
        i128::try_from(big).ok()
    }
}

/// The mantissas of sums of squares.
impl Mantissa for i256 {
    const TYPE: DataType = DataType::Decimal256(76, 0);
    const BITS: u32 = 255;

    fn term(mantissa: i64, weight: i64) -> Option<i256> {
        let square = i256::from_i128(i128::from(mantissa) * i128::from(mantissa));
        match weight {
            1 => Some(square),
            _ => square.checked_mul(i256::from_i128(i128::from(weight))),
        }
    }

    fn big_term(mantissa: i64, weight: i64) -> BigInt {
        BigInt::from(i128::from(mantissa) * i128::from(mantissa)) * weight
    }

    fn needs(self) -> u32 {
        match self.checked_abs() {
            Some(magnitude) => 256 - magnitude.leading_zeros(),
            None => 256,
        }
    }

    fn shifted(self, shift: u32) -> i256 {
        self << u8::try_from(shift).expect("a shift that fits is below 256")
    }

    fn plus(self, other: i256) -> Option<i256> {
        self.checked_add(other)
    }

    fn big(self) -> BigInt {
        sum::big(self)
    }

    fn narrow(big: &BigInt) -> Option<i256> {
        sum::narrow(big)
    }
}

/// A sum that needs more than its slot has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wide {
    /// The finite terms: `mantissa * 2^exponent`.
    pub(super) mantissa: BigInt,
    /// The power of two.
    pub(super) exponent: i32,
    /// How many NaN.
    pub(super) nans: i64,
    /// How many infinities.
    pub(super) infinities: i64,
    /// How many negative infinities.
    pub(super) negative_infinities: i64,
}

impl Wide {
    fn add(&mut self, other: &Wide) {
        let exponent = match (self.mantissa.bits(), other.mantissa.bits()) {
            (0, _) => other.exponent,
            (_, 0) => self.exponent,
            _ => self.exponent.min(other.exponent),
        };
        let scaled = |wide: &Wide| &wide.mantissa << (wide.exponent - exponent).max(0);
        self.mantissa = scaled(self) + scaled(other);
        self.exponent = exponent;
        self.nans += other.nans;
        self.infinities += other.infinities;
        self.negative_infinities += other.negative_infinities;
    }

    /// True if only the finite terms count.
    pub(super) fn is_finite(&self) -> bool {
        self.nans == 0 && self.infinities == 0 && self.negative_infinities == 0
    }

    /// Without factors of two in the mantissa.
    fn reduced(mut self) -> Wide {
        let zeros = self.mantissa.trailing_zeros().unwrap_or(0);
        self.mantissa >>= zeros;
        self.exponent += i32::try_from(zeros).expect("as long as the range of exponents");
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.exponent.to_le_bytes().to_vec();
        for count in [self.nans, self.infinities, self.negative_infinities] {
            bytes.extend(count.to_le_bytes());
        }
        bytes.extend(self.mantissa.to_signed_bytes_le());
        bytes
    }

    fn of_bytes(bytes: &[u8]) -> Option<Wide> {
        let count = |at: usize| Some(i64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(Wide {
            exponent: i32::from_le_bytes(bytes.get(..4)?.try_into().ok()?),
            nans: count(4)?,
            infinities: count(12)?,
            negative_infinities: count(20)?,
            mantissa: BigInt::from_signed_bytes_le(bytes.get(28..)?),
        })
    }
}

/// Mantissa, odd or zero, and exponent of a finite float.
fn parts(value: f64) -> (i64, i16) {
    let bits = value.to_bits();
    let biased = i16::try_from(bits >> 52 & 0x7ff).expect("eleven bits");
    let fraction = bits & ((1 << 52) - 1);
    let (magnitude, exponent) = match biased {
        0 => (fraction, -1074),
        _ => (fraction | 1 << 52, biased - 1075),
    };
    if magnitude == 0 {
        return (0, 0);
    }
    let zeros = magnitude.trailing_zeros();
    let magnitude = (magnitude >> zeros).cast_signed();
    let mantissa = if value.is_sign_negative() { -magnitude } else { magnitude };
    (mantissa, exponent + i16::try_from(zeros).expect("below 64"))
}

/// Sums of floats (128-bit mantissa) or of their squares (256-bit mantissa).
pub(super) struct FloatSum<M> {
    mantissas: Vec<M>,
    exponents: Vec<i16>,
    wide: BTreeMap<u32, Wide>,
}

impl<M: Mantissa> FloatSum<M> {
    /// An empty column.
    pub(super) fn new() -> FloatSum<M> {
        FloatSum { mantissas: Vec::new(), exponents: Vec::new(), wide: BTreeMap::new() }
    }

    /// Squares double the exponent.
    const POWER: i16 = if M::BITS > 128 { 2 } else { 1 };

    /// The sum of a slot as mantissa and exponent; None if it is kept aside.
    pub(super) fn small(&self, slot: u32) -> Option<(M, i16)> {
        let exponent = self.exponents[slot as usize];
        (exponent != ASIDE).then(|| (self.mantissas[slot as usize], exponent))
    }

    /// The sum of a slot in the wide form.
    pub(super) fn get(&self, slot: u32) -> Wide {
        match self.small(slot) {
            None => self.wide[&slot].clone(),
            Some((mantissa, exponent)) => {
                Wide { mantissa: mantissa.big(), exponent: i32::from(exponent), ..Wide::default() }
            }
        }
    }

    fn set(&mut self, slot: u32, wide: Wide) {
        let wide = wide.reduced();
        let small = M::narrow(&wide.mantissa).filter(|_| wide.is_finite());
        let place = slot as usize;
        match (small, i16::try_from(wide.exponent)) {
            (Some(mantissa), Ok(exponent)) if exponent != ASIDE => {
                self.wide.remove(&slot);
                self.mantissas[place] = mantissa;
                self.exponents[place] = exponent;
            }
            _ => {
                self.mantissas[place] = M::default();
                self.exponents[place] = ASIDE;
                self.wide.insert(slot, wide);
            }
        }
    }

    /// Adds if nothing has to be kept aside.
    fn try_add(&mut self, slot: usize, mantissa: M, exponent: i16) -> Option<()> {
        let (old, old_exponent) = (self.mantissas[slot], self.exponents[slot]);
        if old_exponent == ASIDE {
            return None;
        }
        if mantissa.needs() == 0 {
            return Some(());
        }
        if old.needs() == 0 {
            self.mantissas[slot] = mantissa;
            self.exponents[slot] = exponent;
            return Some(());
        }
        let raise = |m: M, by: i16| {
            let by = u32::from(by.cast_unsigned());
            (m.needs() + by <= M::BITS).then(|| m.shifted(by))
        };
        if exponent >= old_exponent {
            self.mantissas[slot] = old.plus(raise(mantissa, exponent - old_exponent)?)?;
        } else {
            self.mantissas[slot] = raise(old, old_exponent - exponent)?.plus(mantissa)?;
            self.exponents[slot] = exponent;
        }
        Some(())
    }

    fn add_wide(&mut self, slot: u32, term: &Wide) {
        let mut wide = self.get(slot);
        wide.add(term);
        self.set(slot, wide);
    }

    fn add(&mut self, slot: u32, value: f64, weight: i64) {
        if !value.is_finite() {
            let term = match (value.is_nan(), value > 0.0, M::BITS > 128) {
                (true, _, _) => Wide { nans: weight, ..Wide::default() },
                (_, false, false) => Wide { negative_infinities: weight, ..Wide::default() },
                _ => Wide { infinities: weight, ..Wide::default() },
            };
            return self.add_wide(slot, &term);
        }
        let (mantissa, exponent) = parts(value);
        let exponent = exponent * Self::POWER;
        let added =
            M::term(mantissa, weight).and_then(|t| self.try_add(slot as usize, t, exponent));
        if added.is_none() {
            let mantissa = M::big_term(mantissa, weight);
            let term = Wide { mantissa, exponent: i32::from(exponent), ..Wide::default() };
            self.add_wide(slot, &term);
        }
    }
}

impl<M: Mantissa> Accumulator for FloatSum<M> {
    fn resize(&mut self, slots: usize) {
        self.mantissas.resize(slots, M::default());
        self.exponents.resize(slots, 0);
    }

    fn clear(&mut self) {
        self.mantissas.clear();
        self.exponents.clear();
        self.wide.clear();
    }

    fn reset(&mut self, slot: u32) {
        self.mantissas[slot as usize] = M::default();
        self.exponents[slot as usize] = 0;
        self.wide.remove(&slot);
    }

    fn update(
        &mut self,
        groups: &[u32],
        columns: &[ArrayRef],
        weights: Weights<'_>,
    ) -> Result<(), Error> {
        if *columns[0].data_type() == DataType::Float32 {
            let values = columns[0].as_primitive::<Float32Type>().values();
            weights.each(groups.len(), |row, weight| {
                self.add(groups[row], f64::from(values[row]), weight);
            });
        } else {
            let values = columns[0].as_primitive::<Float64Type>().values();
            weights.each(groups.len(), |row, weight| self.add(groups[row], values[row], weight));
        }
        Ok(())
    }

    fn merge(&mut self, other: &dyn Accumulator, moves: &Moves<'_>) -> Result<(), Error> {
        let other: &FloatSum<M> = same(other);
        for (from, into) in moves.from.iter().zip(moves.into) {
            let small = other.small(*from);
            let added = small.and_then(|(m, exponent)| self.try_add(*into as usize, m, exponent));
            if added.is_none() {
                self.add_wide(*into, &other.get(*from));
            }
        }
        Ok(())
    }

    fn fields(&self) -> Vec<(&'static str, DataType)> {
        vec![("mantissa", M::TYPE), ("exponent", DataType::Int16), ("wide", DataType::Binary)]
    }

    fn save(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, Error> {
        let mantissas = slots.iter().map(|slot| self.mantissas[*slot as usize]).collect();
        let exponents = slots.iter().map(|slot| self.exponents[*slot as usize]);
        let wide = slots.iter().map(|slot| self.wide.get(slot).map(Wide::bytes));
        Ok(vec![
            natives::array(&M::TYPE, mantissas, None)?,
            Arc::new(Int16Array::from_iter_values(exponents)),
            Arc::new(BinaryArray::from_iter(wide)),
        ])
    }

    fn restore(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<(), String> {
        let mantissas = natives::values::<M>(&columns[0]);
        let exponents = columns[1].as_primitive::<Int16Type>();
        let wide = columns[2].as_binary::<i32>();
        for (row, slot) in slots.iter().enumerate() {
            if wide.is_valid(row) {
                let wide = Wide::of_bytes(wide.value(row)).ok_or("a wide sum is cut short")?;
                self.set(*slot, wide);
            } else if exponents.value(row) == ASIDE {
                return Err("a wide sum is missing".into());
            } else {
                self.mantissas[*slot as usize] = mantissas[row];
                self.exponents[*slot as usize] = exponents.value(row);
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let wide: u64 = self.wide.values().map(|w| w.mantissa.bits() / 8 + 128).sum();
        self.mantissas.capacity() * size_of::<M>()
            + self.exponents.capacity() * size_of::<i16>()
            + usize::try_from(wide).unwrap_or(usize::MAX)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
