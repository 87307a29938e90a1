//! Functions whose results are far longer than their arguments: DataFusion's, but they say beforehand how
//! much they would give, and refuse what is too much.
//!
//! `repeat('abcdefgh', n)` over a batch of rows asks for gigabytes in one call, which nothing can end: without
//! a bound the process would. No value has more than 1 GB, as in PostgreSQL, and no batch more than
//! [`bound_results`] says. `levenshtein` takes the product of its arguments' lengths in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{DataFusionError, Result};
use datafusion::functions::{string, unicode};
use datafusion::functions_nested::repeat::array_repeat_udf;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};
use millrace_types::{Report, SqlState};

use super::user_error;

/// Bytes of one value, as in PostgreSQL.
const VALUE_BYTES_MAX: usize = 0x3fff_ffff;
/// Bytes of an argument of `levenshtein`, as in PostgreSQL.
const COMPARED_BYTES_MAX: usize = 255;
/// Bytes that an element of an array takes beside its text.
const ELEMENT_BYTES: usize = 8;

/// Bytes that one call may give for a batch.
static RESULT_BYTES_MAX: AtomicUsize = AtomicUsize::new(VALUE_BYTES_MAX);

/// Bounds what one call of a function may give for a batch of rows, in bytes.
pub fn bound_results(bytes: usize) {
    RESULT_BYTES_MAX.store(bytes.min(VALUE_BYTES_MAX), Ordering::Relaxed);
}

/// How long a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Length {
    /// The first argument as often as the second says.
    Times,
    /// As the second argument says.
    Given,
    /// At most the third argument at each place of the first.
    Replaced,
    /// Short, but of no long argument.
    Compared,
}

/// DataFusion's functions of such results.
pub(super) fn all() -> Vec<(Arc<ScalarUDF>, Length)> {
    vec![
        (string::repeat(), Length::Times),
        (array_repeat_udf(), Length::Times),
        (unicode::lpad(), Length::Given),
        (unicode::rpad(), Length::Given),
        (string::replace(), Length::Replaced),
        (string::levenshtein(), Length::Compared),
    ]
}

/// Says how much a call would give.
///
/// # Errors
/// Too much.
pub(super) fn check(length: Length, name: &str, args: &ScalarFunctionArgs) -> Result<()> {
    let rows = args.number_rows;
    let [first, second, ..] = args.args.as_slice() else { return Ok(()) };
    // Of scalars one value is made, whatever the rows are.
    let scalars = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let rows = if scalars { 1 } else { rows };
    let least = |bytes: i64| usize::try_from(bytes).unwrap_or(0);
    match length {
        Length::Times => {
            let (texts, counts) = (Lengths::of(first)?, Numbers::of(second)?);
            total((0..rows).map(|row| texts.at(row).saturating_mul(least(counts.at(row)))))
        }
        Length::Given => {
            let lengths = Numbers::of(second)?;
            total((0..rows).map(|row| least(lengths.at(row))))
        }
        Length::Replaced => {
            let Some(third) = args.args.get(2) else { return Ok(()) };
            let (texts, new) = (Lengths::of(first)?, Lengths::of(third)?);
            let longest = |row| (texts.at(row) + 1).saturating_mul(new.at(row) + 1);
            let all = (0..rows).map(longest).fold(0, usize::saturating_add);
            // Most texts have few places: only what would be too long anywhere is refused.
            if all > VALUE_BYTES_MAX { Err(too_long()) } else { Ok(()) }
        }
        Length::Compared => {
            let (left, right) = (Lengths::of(first)?, Lengths::of(second)?);
            let longest = (0..rows).map(|row| left.at(row).max(right.at(row))).max();
            if longest.unwrap_or(0) <= COMPARED_BYTES_MAX {
                return Ok(());
            }
            let message = format!(
                "{name} argument exceeds maximum length of {COMPARED_BYTES_MAX} characters"
            );
            Err(user_error(SqlState::INVALID_PARAMETER_VALUE, message))
        }
    }
}

/// # Errors
/// A value, or all of them together, are too long.
fn total(lengths: impl Iterator<Item = usize>) -> Result<()> {
    let mut total: usize = 0;
    for length in lengths {
        if length > VALUE_BYTES_MAX {
            return Err(too_long());
        }
        total = total.saturating_add(length);
        check_total(total)?;
    }
    Ok(())
}

/// # Errors
/// The values of a batch have too many bytes.
pub(super) fn check_total(bytes: usize) -> Result<()> {
    let most = RESULT_BYTES_MAX.load(Ordering::Relaxed);
    if bytes <= most {
        return Ok(());
    }
    let report = Report::new(SqlState::OUT_OF_MEMORY, "out of memory");
    let detail = format!("The values of a batch of rows have more than {} MB.", most >> 20);
    Err(DataFusionError::External(Box::new(report.detail(detail))))
}

fn too_long() -> DataFusionError {
    user_error(SqlState::PROGRAM_LIMIT_EXCEEDED, "requested length too large")
}

/// The lengths of some values, bytes.
enum Lengths {
    One(usize),
    Each(Vec<usize>),
}

impl Lengths {
    fn of(value: &ColumnarValue) -> Result<Lengths> {
        Ok(match value {
            ColumnarValue::Scalar(scalar) => {
                let values = scalar.to_array()?;
                Lengths::One(lengths(values.as_ref()).first().copied().unwrap_or(0))
            }
            ColumnarValue::Array(values) => Lengths::Each(lengths(values.as_ref())),
        })
    }

    fn at(&self, row: usize) -> usize {
        match self {
            Lengths::One(length) => *length,
            Lengths::Each(lengths) => lengths.get(row).copied().unwrap_or(0),
        }
    }
}

fn lengths(values: &dyn Array) -> Vec<usize> {
    let rows = 0..values.len();
    match values.data_type() {
        DataType::Utf8 => values.as_string::<i32>().iter().map(|v| v.map_or(0, str::len)).collect(),
        DataType::LargeUtf8 => {
            values.as_string::<i64>().iter().map(|v| v.map_or(0, str::len)).collect()
        }
        DataType::Utf8View => {
            values.as_string_view().iter().map(|v| v.map_or(0, str::len)).collect()
        }
        // Elements of an array: those of one row are about as long as those of another.
        _ => {
            let each = values.get_array_memory_size() / values.len().max(1);
            rows.map(|_| each.max(ELEMENT_BYTES)).collect()
        }
    }
}

/// Some whole numbers; NULL is 0.
enum Numbers {
    One(i64),
    Each(Vec<i64>),
}

impl Numbers {
    fn of(value: &ColumnarValue) -> Result<Numbers> {
        let read = |values: &dyn Array| -> Result<Vec<i64>> {
            let values = cast(values, &DataType::Int64)?;
            Ok(values.as_primitive::<Int64Type>().iter().map(Option::unwrap_or_default).collect())
        };
        Ok(match value {
            ColumnarValue::Scalar(scalar) => {
                let values = read(scalar.to_array()?.as_ref())?;
                Numbers::One(values.first().copied().unwrap_or(0))
            }
            ColumnarValue::Array(values) => Numbers::Each(read(values.as_ref())?),
        })
    }

    fn at(&self, row: usize) -> i64 {
        match self {
            Numbers::One(number) => *number,
            Numbers::Each(numbers) => numbers.get(row).copied().unwrap_or(0),
        }
    }
}
