//! Keys with texts, as whole numbers: each value of such a column is replaced by its place among
//! the column's different values.
//!
//! A table whose key holds a text (a sensor's name, a day) has few of them beside its many rows, and
//! comparing rows compares the same bytes again and again. Here the different values are ordered
//! once; what is left sorts by its bits. For sorting one list only: places of two lists do not
//! compare.
//!
//! Invariants: 1. of two rows the packed keys compare as Arrow's rows do: ascending, NULLs first.

use arrow::array::{Array, ArrayRef};
use arrow::row::{RowConverter, SortField};
use hashbrown::HashMap;

use crate::error::Result;
use crate::keys::{PACKED_BITS, pack, packed_bits};

/// Fewer rows are sorted soon enough.
const ROWS_MIN: usize = 4096;
/// So many rows must share a value, on average.
const SHARE_MIN: usize = 8;
/// Rows that are encoded at a time.
const STRETCH: usize = 8192;

/// The rows' keys; None where too many values differ, or more bits than a key has.
pub(crate) fn ranked(columns: &[ArrayRef], rows: usize) -> Result<Option<Vec<u128>>> {
    if rows < ROWS_MIN {
        return Ok(None);
    }
    let mut keys = vec![0u128; rows];
    let mut used = 0;
    for column in columns {
        let whole = packed_bits(column.data_type()).filter(|_| column.null_count() == 0);
        used += match whole {
            Some(bits) if used + bits <= PACKED_BITS => {
                pack(&mut keys, column);
                bits
            }
            Some(_) => return Ok(None),
            None => {
                let Some((places, bits)) = places(column)? else { return Ok(None) };
                if used + bits > PACKED_BITS {
                    return Ok(None);
                }
                for (key, place) in keys.iter_mut().zip(places) {
                    *key = (*key << bits) | u128::from(place);
                }
                bits
            }
        };
    }
    Ok(Some(keys))
}

/// The place of each row's value among the different ones, and the bits of the greatest.
fn places(column: &ArrayRef) -> Result<Option<(Vec<u32>, u32)>> {
    let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())])?;
    let mut numbers: HashMap<Box<[u8]>, u32, foldhash::fast::FixedState> = HashMap::default();
    let mut places = Vec::with_capacity(column.len());
    for from in (0..column.len()).step_by(STRETCH) {
        let stretch = column.slice(from, STRETCH.min(column.len() - from));
        let rows = converter.convert_columns(&[stretch])?;
        for row in &rows {
            let bytes = row.as_ref();
            let next = u32::try_from(numbers.len()).expect("less values than rows");
            places.push(match numbers.get(bytes) {
                Some(number) => *number,
                None => {
                    numbers.insert(bytes.into(), next);
                    next
                }
            });
        }
        if numbers.len() > places.len() / SHARE_MIN {
            return Ok(None);
        }
    }
    let mut values: Vec<(&[u8], u32)> =
        numbers.iter().map(|(value, number)| (&**value, *number)).collect();
    values.sort_unstable();
    let mut place_of = vec![0; values.len()];
    for (place, (_, number)) in (0u32..).zip(&values) {
        place_of[*number as usize] = place;
    }
    places.iter_mut().for_each(|place| *place = place_of[*place as usize]);
    let last = values.len().saturating_sub(1);
    Ok(Some((places, usize::BITS - last.leading_zeros())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, Int64Array, StringArray};

    use super::*;
    use crate::keys::{KeyCodec, Keys};

    fn columns(rows: usize, values: usize) -> Vec<ArrayRef> {
        let mixed = |row: usize| row * 7919 % rows;
        let name = |row| (row % 5 != 0).then(|| format!("sensor {}", mixed(row) % values));
        let number = |row| i64::try_from(mixed(row) / 3).unwrap() - 500;
        let small = |row| (row % 7 != 0).then(|| i32::try_from(row % 3).unwrap());
        vec![
            Arc::new((0..rows).map(name).collect::<StringArray>()),
            Arc::new((0..rows).map(number).collect::<Int64Array>()),
            Arc::new((0..rows).map(small).collect::<Int32Array>()),
        ]
    }

    #[test]
    fn places_order_as_arrow_rows_do() {
        let rows = 3 * ROWS_MIN;
        let columns = columns(rows, 40);
        let keys = Keys::Packed(ranked(&columns, rows).unwrap().unwrap());
        let whole = KeyCodec::for_columns(&columns).unwrap().encode(&columns, rows).unwrap();
        assert!(matches!(whole, Keys::Rows(_)), "a text does not pack");
        assert_eq!(keys.order(), whole.order());
    }

    #[test]
    fn too_many_values_and_too_many_bits_are_left_to_others() {
        let rows = 3 * ROWS_MIN;
        assert!(ranked(&columns(rows, rows / 2), rows).unwrap().is_none());
        let long: ArrayRef = Arc::new((0..).take(rows).collect::<Int64Array>());
        let long = vec![Arc::clone(&long), Arc::clone(&long), columns(rows, 2).remove(0)];
        assert!(ranked(&long, rows).unwrap().is_none());
        assert!(ranked(&columns(100, 2), 100).unwrap().is_none(), "few rows");
    }
}
