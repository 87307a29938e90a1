//! Primitive Arrow arrays as plain slices of their native type, whatever SQL type they carry.
//!
//! Timestamps, dates and decimals differ from integers only in their data type; state columns keep
//! the native values and put the data type back on the way out.
//!
//! Invariants: 1. arrays that leave an operator hold zeros below their NULLs ([`optional`],
//! [`zeroed`]).

use arrow::array::{Array, ArrayData, ArrayRef, make_array};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType};
use arrow::error::ArrowError;

/// The values of a primitive array, those of NULL rows too (any value).
pub(crate) fn values<N: ArrowNativeType>(array: &dyn Array) -> ScalarBuffer<N> {
    let data = array.to_data();
    assert_eq!(
        data.data_type().primitive_width(),
        Some(size_of::<N>()),
        "the native type has the width of {}",
        data.data_type()
    );
    ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len())
}

/// An array of a primitive type from its native values.
///
/// # Errors
/// Arrow's, if the type has another width.
pub(crate) fn array<N: ArrowNativeType>(
    data_type: &DataType,
    values: Vec<N>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    let data = ArrayData::builder(data_type.clone())
        .len(values.len())
        .add_buffer(Buffer::from_vec(values))
        .nulls(nulls)
        .build()?;
    Ok(make_array(data))
}

/// The same array with zeros below its NULLs. Some library functions compute there, too, and fail on
/// what they find.
pub(crate) fn zeroed(array: ArrayRef) -> ArrayRef {
    let (Some(width), Some(nulls)) = (array.data_type().primitive_width(), array.nulls()) else {
        return array;
    };
    let data = array.to_data();
    let from = data.offset() * width;
    let mut bytes = data.buffers()[0].as_slice()[from..from + data.len() * width].to_vec();
    for (row, value) in bytes.chunks_exact_mut(width).enumerate() {
        if nulls.is_null(row) {
            value.fill(0);
        }
    }
    let buffer = Buffer::from_slice_ref(&bytes);
    let zeroed = ArrayData::builder(data.data_type().clone())
        .len(data.len())
        .add_buffer(buffer)
        .nulls(Some(nulls.clone()))
        .build();
    make_array(zeroed.expect("a copy of the same shape"))
}

/// An array of a primitive type from values that may be NULL.
///
/// # Errors
/// As [`array`].
pub(crate) fn optional<N: ArrowNativeType>(
    data_type: &DataType,
    values: Vec<Option<N>>,
) -> Result<ArrayRef, ArrowError> {
    let valid = nulls(values.iter().map(Option::is_some).collect());
    array(data_type, values.into_iter().map(Option::unwrap_or_default).collect(), valid)
}

/// A null mask from one flag a row; None if all are valid.
pub(crate) fn nulls(valid: Vec<bool>) -> Option<NullBuffer> {
    if valid.iter().all(|v| *v) { None } else { Some(NullBuffer::from(valid)) }
}
