//! How group keys are kept: packed into words, or as bytes of Arrow's row format.
//!
//! Keys of fixed-width columns of up to 256 bits, the usual case (`window_start, id`), are packed
//! into an array of words: comparing them is comparing integers, and they need no memory of their
//! own. All other keys are bytes. Both zeros are one key, and so are all NaNs, as in PostgreSQL.
//!
//! Invariants: 1. two rows have the same key iff SQL takes their columns as not distinct; values
//! below a NULL are zeroed ([`Packed::encode`]).

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "columns are cut into bit fields and put together again"
)]

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::unary;
use arrow::datatypes::{ArrowNativeType, DataType, Field, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

use millrace_types::last_of_each_key;

use crate::natives;

/// Turns columns into keys and back.
pub(super) trait Codec: Send {
    /// One key.
    type Key: Send;
    /// The keys of a batch.
    type Batch;

    /// The keys of columns with `rows` rows.
    fn encode(&self, columns: &[ArrayRef], rows: usize) -> Result<Self::Batch, ArrowError>;
    /// A key of a batch, to keep.
    fn key(&self, batch: &Self::Batch, row: usize) -> Self::Key;
    /// The hash of a key of a batch.
    fn hash(&self, batch: &Self::Batch, row: usize) -> u64;
    /// The same hash of a kept key.
    fn hash_key(&self, key: &Self::Key) -> u64;
    /// True if they are equal.
    fn equals(&self, key: &Self::Key, batch: &Self::Batch, row: usize) -> bool;
    /// The columns of some keys.
    fn decode<'a>(
        &self,
        keys: impl Iterator<Item = &'a Self::Key> + Clone,
    ) -> Result<Vec<ArrayRef>, ArrowError>
    where
        Self::Key: 'a;
    /// The places of different keys in an order in which neighbours are stored near each other.
    fn order(&self, keys: &[Self::Key]) -> Vec<u32>;
    /// Bytes that a key holds beside itself.
    fn heap(key: &Self::Key) -> usize;
}

const SEED: u64 = 0x51_7c_c1_b7_27_22_0a_95;
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Folds a word into a hash: the two halves of a wide product, xored.
fn fold(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word).wrapping_mul(u128::from(FACTOR));
    (product as u64) ^ ((product >> 64) as u64)
}

/// All places as they are.
fn whole(keys: usize) -> Vec<u32> {
    (0..u32::try_from(keys).expect("slots are u32")).collect()
}

/// Where a column lies in a packed key.
#[derive(Clone, Debug)]
struct Place {
    data_type: DataType,
    /// Bits of the value: 1, 8, 16, 32, 64 or 128.
    bits: u32,
    word: usize,
    shift: u32,
    /// Word and shift of the NULL flag.
    null: Option<(usize, u32)>,
}

/// Keys of `W` words.
pub(super) struct Packed<const W: usize> {
    places: Vec<Place>,
}

fn width(data_type: &DataType) -> Option<u32> {
    Some(match data_type {
        DataType::Boolean => 1,
        DataType::Int8 => 8,
        DataType::Int16 => 16,
        DataType::Int32 | DataType::Date32 | DataType::Float32 => 32,
        DataType::Int64 | DataType::Float64 | DataType::Time64(_) | DataType::Timestamp(_, _) => 64,
        DataType::Decimal128(_, _) => 128,
        _ => return None,
    })
}

/// The places of the columns and the number of words; None if a column has no fixed width.
///
/// Wide columns get whole words, narrow ones and NULL flags share what follows.
fn layout(fields: &[&Field]) -> Option<(Vec<Place>, usize)> {
    let mut places = Vec::with_capacity(fields.len());
    let mut words = 0;
    for field in fields {
        let bits = width(field.data_type())?;
        let place =
            Place { data_type: field.data_type().clone(), bits, word: words, shift: 0, null: None };
        words += bits as usize / 64;
        places.push(place);
    }
    let mut used = 64;
    let mut room = |bits: u32| {
        if used + bits > 64 {
            words += 1;
            used = 0;
        }
        used += bits;
        (words - 1, used - bits)
    };
    for place in places.iter_mut().filter(|p| p.bits < 64) {
        (place.word, place.shift) = room(place.bits);
    }
    for (place, _) in places.iter_mut().zip(fields).filter(|(_, f)| f.is_nullable()) {
        place.null = Some(room(1));
    }
    Some((places, words))
}

/// How many words a packed key of these columns has; None if it cannot be packed.
pub(super) fn packed_words(fields: &[&Field]) -> Option<usize> {
    layout(fields).map(|(_, words)| words)
}

impl<const W: usize> Packed<W> {
    /// For columns that need at most `W` words.
    pub(super) fn new(fields: &[&Field]) -> Packed<W> {
        let (places, words) = layout(fields).expect("asked only for columns that can be packed");
        assert!(words <= W, "{words} words do not fit into {W}");
        Packed { places }
    }
}

/// Sets one bit field of each key from a column's values.
fn pack<const W: usize, N: ArrowNativeType>(
    keys: &mut [[u64; W]],
    (place, column): (&Place, &ArrayRef),
    word: impl Fn(N) -> u64,
) {
    let values = natives::values::<N>(column);
    match column.nulls().filter(|n| n.null_count() > 0) {
        None => {
            for (key, value) in keys.iter_mut().zip(values.iter()) {
                key[place.word] |= word(*value) << place.shift;
            }
        }
        Some(nulls) => {
            let (null_word, null_shift) = place.null.expect("only nullable columns hold NULLs");
            for (row, (key, value)) in keys.iter_mut().zip(values.iter()).enumerate() {
                match nulls.is_null(row) {
                    true => key[null_word] |= 1 << null_shift,
                    false => key[place.word] |= word(*value) << place.shift,
                }
            }
        }
    }
}

/// One bit pattern for both zeros and one for all NaNs.
fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

/// As [`canonical`].
fn canonical32(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value + 0.0 }
}

fn pack_column<const W: usize>(keys: &mut [[u64; W]], place: &Place, column: &ArrayRef) {
    let at = (place, column);
    match (&place.data_type, place.bits) {
        (DataType::Boolean, _) => {
            let flags = column.as_boolean();
            for (row, key) in keys.iter_mut().enumerate() {
                if flags.is_valid(row) {
                    key[place.word] |= u64::from(flags.value(row)) << place.shift;
                } else {
                    let (word, shift) = place.null.expect("only nullable columns hold NULLs");
                    key[word] |= 1 << shift;
                }
            }
        }
        (DataType::Float64, _) => pack(keys, at, |v: f64| canonical(v).to_bits()),
        (DataType::Float32, _) => pack(keys, at, |v: f32| u64::from(canonical32(v).to_bits())),
        (_, 8) => pack(keys, at, |v: i8| u64::from(v.cast_unsigned())),
        (_, 16) => pack(keys, at, |v: i16| u64::from(v.cast_unsigned())),
        (_, 32) => pack(keys, at, |v: i32| u64::from(v.cast_unsigned())),
        (_, 128) => {
            pack(keys, at, |v: i128| v as u64);
            let high = Place { word: place.word + 1, ..place.clone() };
            pack(keys, (&high, column), |v: i128| (v >> 64) as u64);
        }
        _ => pack(keys, at, |v: i64| v.cast_unsigned()),
    }
}

impl Place {
    fn array<'a, const W: usize, N: ArrowNativeType>(
        &self,
        keys: impl Iterator<Item = &'a [u64; W]> + Clone,
        value: impl Fn(&[u64; W]) -> N,
    ) -> Result<ArrayRef, ArrowError> {
        natives::array(&self.data_type, keys.clone().map(value).collect(), self.nulls(keys))
    }

    fn nulls<'a, const W: usize>(
        &self,
        keys: impl Iterator<Item = &'a [u64; W]> + Clone,
    ) -> Option<arrow::buffer::NullBuffer> {
        let (word, shift) = self.null?;
        if keys.clone().all(|key| key[word] >> shift & 1 == 0) {
            return None;
        }
        natives::nulls(keys.map(|key| key[word] >> shift & 1 == 0).collect())
    }

    fn decode<'a, const W: usize>(
        &self,
        keys: impl Iterator<Item = &'a [u64; W]> + Clone,
    ) -> Result<ArrayRef, ArrowError> {
        let part = |key: &[u64; W]| key[self.word] >> self.shift;
        match (&self.data_type, self.bits) {
            (DataType::Boolean, _) => {
                let flags = keys.clone().map(|key| part(key) & 1 == 1).collect::<Vec<bool>>();
                Ok(Arc::new(BooleanArray::new(flags.into(), self.nulls(keys))))
            }
            (DataType::Float64, _) => self.array(keys, |key| f64::from_bits(part(key))),
            (DataType::Float32, _) => self.array(keys, |key| f32::from_bits(part(key) as u32)),
            (_, 8) => self.array(keys, |key| part(key) as i8),
            (_, 16) => self.array(keys, |key| part(key) as i16),
            (_, 32) => self.array(keys, |key| part(key) as i32),
            (_, 128) => self.array(keys, |key| {
                (u128::from(key[self.word + 1]) << 64 | u128::from(key[self.word])).cast_signed()
            }),
            _ => self.array(keys, |key| part(key).cast_signed()),
        }
    }
}

impl<const W: usize> Codec for Packed<W> {
    type Key = [u64; W];
    type Batch = Vec<[u64; W]>;

    fn encode(&self, columns: &[ArrayRef], rows: usize) -> Result<Self::Batch, ArrowError> {
        let mut keys = vec![[0; W]; rows];
        for (place, column) in self.places.iter().zip(columns) {
            pack_column(&mut keys, place, column);
        }
        Ok(keys)
    }

    fn key(&self, batch: &Self::Batch, row: usize) -> [u64; W] {
        batch[row]
    }

    fn hash(&self, batch: &Self::Batch, row: usize) -> u64 {
        self.hash_key(&batch[row])
    }

    fn hash_key(&self, key: &[u64; W]) -> u64 {
        key.iter().fold(SEED, |hash, word| fold(hash, *word))
    }

    fn equals(&self, key: &[u64; W], batch: &Self::Batch, row: usize) -> bool {
        *key == batch[row]
    }

    fn decode<'a>(
        &self,
        keys: impl Iterator<Item = &'a [u64; W]> + Clone,
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        // Gathered once: each column and each NULL mask reads them again.
        let keys: Vec<[u64; W]> = keys.copied().collect();
        self.places.iter().map(|place| place.decode(keys.iter())).collect()
    }

    fn order(&self, keys: &[[u64; W]]) -> Vec<u32> {
        // Two words tell keys apart, or nearly: what follows are narrow columns and NULL flags.
        let high =
            |key: &[u64; W]| u128::from(key[0]) << 64 | u128::from(*key.get(1).unwrap_or(&0));
        let tied = |key: &[u64; W]| key[2.min(W)..].iter().any(|word| *word != 0);
        match keys.iter().any(tied) {
            true => whole(keys.len()),
            false => last_of_each_key(&keys.iter().map(high).collect::<Vec<_>>()),
        }
    }

    fn heap(_: &[u64; W]) -> usize {
        0
    }
}

/// Keys as bytes of Arrow's row format.
pub(super) struct RowBytes {
    converter: RowConverter,
    /// Values that SQL takes for equal are one key.
    canonical: bool,
}

impl RowBytes {
    /// For columns of any type that Arrow's row format takes.
    ///
    /// # Errors
    /// A type that it does not take.
    pub(super) fn new(fields: &[&Field]) -> Result<RowBytes, ArrowError> {
        let fields = fields.iter().map(|f| SortField::new(f.data_type().clone())).collect();
        Ok(RowBytes { converter: RowConverter::new(fields)?, canonical: true })
    }

    /// The same, where only equal bits are one key.
    ///
    /// # Errors
    /// As [`RowBytes::new`].
    pub(super) fn exact(fields: &[&Field]) -> Result<RowBytes, ArrowError> {
        Ok(RowBytes { canonical: false, ..RowBytes::new(fields)? })
    }
}

fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    let mut hash = SEED ^ bytes.len() as u64;
    for word in &mut words {
        hash = fold(hash, u64::from_le_bytes(word.try_into().expect("chunks of eight bytes")));
    }
    let mut last = [0; 8];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    fold(hash, u64::from_le_bytes(last))
}

/// The column with one pattern for both zeros and one for all NaNs.
pub(in crate::operators) fn canonical_column(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float64 => {
            Arc::new(unary::<_, _, Float64Type>(column.as_primitive::<Float64Type>(), canonical))
        }
        DataType::Float32 => {
            Arc::new(unary::<_, _, Float32Type>(column.as_primitive::<Float32Type>(), canonical32))
        }
        _ => Arc::clone(column),
    }
}

/// The column with one pattern for all NaNs, the greatest.
pub(in crate::operators) fn one_nan(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float64 => {
            let one = |v: f64| if v.is_nan() { f64::NAN } else { v };
            Arc::new(unary::<_, _, Float64Type>(column.as_primitive::<Float64Type>(), one))
        }
        DataType::Float32 => {
            let one = |v: f32| if v.is_nan() { f32::NAN } else { v };
            Arc::new(unary::<_, _, Float32Type>(column.as_primitive::<Float32Type>(), one))
        }
        _ => Arc::clone(column),
    }
}

impl Codec for RowBytes {
    type Key = Box<[u8]>;
    type Batch = Rows;

    fn encode(&self, columns: &[ArrayRef], _: usize) -> Result<Rows, ArrowError> {
        if !self.canonical {
            return self.converter.convert_columns(columns);
        }
        let columns: Vec<ArrayRef> = columns.iter().map(canonical_column).collect();
        self.converter.convert_columns(&columns)
    }

    fn key(&self, batch: &Rows, row: usize) -> Box<[u8]> {
        batch.row(row).as_ref().into()
    }

    fn hash(&self, batch: &Rows, row: usize) -> u64 {
        hash_bytes(batch.row(row).as_ref())
    }

    fn hash_key(&self, key: &Box<[u8]>) -> u64 {
        hash_bytes(key)
    }

    fn equals(&self, key: &Box<[u8]>, batch: &Rows, row: usize) -> bool {
        **key == *batch.row(row).as_ref()
    }

    fn decode<'a>(
        &self,
        keys: impl Iterator<Item = &'a Box<[u8]>> + Clone,
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        let parser = self.converter.parser();
        let columns = self.converter.convert_rows(keys.map(|key| parser.parse(key)))?;
        Ok(columns.into_iter().map(natives::zeroed).collect())
    }

    fn order(&self, keys: &[Box<[u8]>]) -> Vec<u32> {
        let mut order = whole(keys.len());
        order.sort_unstable_by(|a, b| keys[*a as usize].cmp(&keys[*b as usize]));
        order
    }

    fn heap(key: &Box<[u8]>) -> usize {
        key.len()
    }
}
