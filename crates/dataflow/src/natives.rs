//! Primitive Arrow arrays as plain slices of their native type, whatever SQL type they carry.
//!
//! Timestamps, dates and decimals differ from integers only in their data type; state columns keep
//! the native values and put the data type back on the way out.

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

/// A null mask from one flag a row; None if all are valid.
pub(crate) fn nulls(valid: Vec<bool>) -> Option<NullBuffer> {
    if valid.iter().all(|v| *v) { None } else { Some(NullBuffer::from(valid)) }
}
