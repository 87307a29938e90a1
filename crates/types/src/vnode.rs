//! Routing: a vnode is a hash of a row's key, modulo 256; it decides the worker of exchange and state.
//!
//! The hash is our own and fixed by a golden test: it is computed, never stored, so that a later
//! change of the number of workers only re-reads. Equal values of one column type hash equally;
//! NULL has a hash of its own.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::row::{RowConverter, SortField};

use crate::delta::DeltaError;

/// How many vnodes there are.
pub const VNODES: usize = 256;

/// A share of the key space, 0 to 255.
pub type VNode = u8;

const SEED: u64 = 0x6d69_6c6c_7261_6365;
const NULL: u64 = 0x9ae1_6a3b_2f90_404f;

/// Mixes one 64-bit word into a hash: xor, then two rounds of multiply and shift (the finalizer of
/// SplitMix64).
fn mix(hash: u64, word: u64) -> u64 {
    let mut z = (hash ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn mix_bytes(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        hash = mix(hash, u64::from_le_bytes(word.try_into().expect("chunks of eight bytes")));
    }
    let mut last = [0u8; 8];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    mix(mix(hash, u64::from_le_bytes(last)), bytes.len() as u64)
}

macro_rules! mix_primitive {
    ($hashes:expr, $column:expr, $t:ty, $word:expr) => {{
        let column = $column.as_primitive::<$t>();
        let word = $word;
        match column.nulls() {
            None => {
                for (hash, value) in $hashes.iter_mut().zip(column.values()) {
                    *hash = word(*hash, *value);
                }
            }
            Some(nulls) => {
                for (row, hash) in $hashes.iter_mut().enumerate() {
                    *hash = match nulls.is_null(row) {
                        true => mix(*hash, NULL),
                        false => word(*hash, column.value(row)),
                    };
                }
            }
        }
    }};
}

/// The hash of every row over the given columns, which have `rows` rows each.
///
/// # Errors
/// A column type that Arrow's row format cannot encode.
pub fn hash_rows(columns: &[ArrayRef], rows: usize) -> Result<Vec<u64>, DeltaError> {
    let mut hashes = vec![SEED; rows];
    for column in columns {
        mix_column(&mut hashes, column)?;
    }
    Ok(hashes)
}

fn mix_column(hashes: &mut [u64], column: &ArrayRef) -> Result<(), DeltaError> {
    let int = |hash, value: i64| mix(hash, value.cast_unsigned());
    match column.data_type() {
        DataType::Int64 => mix_primitive!(hashes, column, Int64Type, int),
        DataType::Int32 => {
            mix_primitive!(hashes, column, Int32Type, |h, v: i32| int(h, i64::from(v)))
        }
        DataType::Int16 => {
            mix_primitive!(hashes, column, Int16Type, |h, v: i16| int(h, i64::from(v)))
        }
        DataType::Date32 => {
            mix_primitive!(hashes, column, Date32Type, |h, v: i32| int(h, i64::from(v)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            mix_primitive!(hashes, column, TimestampMicrosecondType, int)
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            mix_primitive!(hashes, column, Time64MicrosecondType, int)
        }
        DataType::Float64 => {
            let word = |h, v: f64| mix(h, canonical_bits(v));
            mix_primitive!(hashes, column, Float64Type, word)
        }
        DataType::Float32 => {
            let word = |h, v: f32| mix(h, canonical_bits(f64::from(v)));
            mix_primitive!(hashes, column, Float32Type, word)
        }
        DataType::Decimal128(_, _) => {
            mix_primitive!(hashes, column, Decimal128Type, |h, v: i128| {
                mix_bytes(h, &v.to_le_bytes())
            })
        }
        DataType::Decimal256(_, _) => {
            let word = |h, v: arrow::datatypes::i256| mix_bytes(h, &v.to_le_bytes());
            mix_primitive!(hashes, column, Decimal256Type, word)
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let word = |h, v: arrow::datatypes::IntervalMonthDayNano| {
                mix(
                    mix(int(h, i64::from(v.months)), u64::from(v.days.cast_unsigned())),
                    v.nanoseconds.cast_unsigned(),
                )
            };
            mix_primitive!(hashes, column, IntervalMonthDayNanoType, word)
        }
        DataType::Boolean => {
            let column = column.as_boolean();
            mix_each(hashes, column, |h, row| mix(h, u64::from(column.value(row))));
        }
        DataType::Utf8 => {
            let column = column.as_string::<i32>();
            mix_each(hashes, column, |h, row| mix_bytes(h, column.value(row).as_bytes()));
        }
        DataType::Binary => {
            let column = column.as_binary::<i32>();
            mix_each(hashes, column, |h, row| mix_bytes(h, column.value(row)));
        }
        other => {
            let converter = RowConverter::new(vec![SortField::new(other.clone())])?;
            let rows = converter.convert_columns(std::slice::from_ref(column))?;
            mix_each(hashes, column, |h, row| mix_bytes(h, rows.row(row).as_ref()));
        }
    }
    Ok(())
}

fn mix_each(hashes: &mut [u64], column: &dyn Array, word: impl Fn(u64, usize) -> u64) {
    for (row, hash) in hashes.iter_mut().enumerate() {
        *hash = if column.is_null(row) { mix(*hash, NULL) } else { word(*hash, row) };
    }
}

/// One bit pattern for values that SQL takes as equal: both zeros, all NaNs.
fn canonical_bits(value: f64) -> u64 {
    match value {
        0.0 => 0,
        v if v.is_nan() => f64::NAN.to_bits(),
        v => v.to_bits(),
    }
}

/// The vnode of every row.
///
/// # Errors
/// As [`hash_rows`].
pub fn vnodes(columns: &[ArrayRef], rows: usize) -> Result<Vec<VNode>, DeltaError> {
    let hashes = hash_rows(columns, rows)?;
    Ok(hashes.into_iter().map(|hash| hash.to_le_bytes()[0]).collect())
}

/// The worker that holds a vnode, of `workers` in all.
pub fn worker_of(vnode: VNode, workers: usize) -> usize {
    usize::from(vnode) % workers
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int32Array, Int64Array, StringArray};

    use super::*;

    /// Stored nowhere, but two servers must agree: these numbers never change.
    #[test]
    fn hashes_are_golden() {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![Some(1), None, Some(-7)])),
            Arc::new(StringArray::from(vec![Some("a"), Some("sensor-12"), None])),
        ];
        assert_eq!(
            hash_rows(&columns, 3).unwrap(),
            [GOLDEN[0], GOLDEN[1], GOLDEN[2]],
            "the hash of a key changed"
        );
    }

    const GOLDEN: [u64; 3] =
        [14_470_538_271_723_794_717, 8_227_280_121_419_169_338, 1_803_292_564_503_725_338];

    #[test]
    fn equal_numbers_of_any_width_and_both_zeros_hash_equally() {
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![5]));
        let narrow: ArrayRef = Arc::new(Int32Array::from(vec![5]));
        assert_eq!(hash_rows(&[wide], 1).unwrap(), hash_rows(&[narrow], 1).unwrap());
        let zeros: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0]));
        let hashes = hash_rows(&[zeros], 2).unwrap();
        assert_eq!(hashes[0], hashes[1]);
    }

    #[test]
    fn keys_spread_over_all_vnodes() {
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100_000));
        let mut counts = [0usize; VNODES];
        for vnode in vnodes(&[keys], 100_000).unwrap() {
            counts[usize::from(vnode)] += 1;
        }
        assert!(counts.iter().all(|n| (250..550).contains(n)), "{counts:?}");
    }
}
