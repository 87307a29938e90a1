//! `pg_timezone_names`: the zones that there are, with what they are off now.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, IntervalMonthDayNanoArray, RecordBatch, StringArray};
use arrow::datatypes::IntervalMonthDayNano;
use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::{OffsetComponents, OffsetName, TZ_VARIANTS};
use datafusion::common::Result as DfResult;

/// Offsets are those of the first day of 2026, so that the table is the same at every look.
const AT: i64 = 1_767_225_600;

/// The table.
pub(super) fn names() -> DfResult<RecordBatch> {
    let at = DateTime::from_timestamp(AT, 0).unwrap_or_default().naive_utc();
    let offsets: Vec<_> =
        TZ_VARIANTS.iter().map(|zone| zone.offset_from_utc_datetime(&at)).collect();
    let names: ArrayRef =
        Arc::new(TZ_VARIANTS.iter().map(|zone| Some(zone.name())).collect::<StringArray>());
    let short: ArrayRef =
        Arc::new(offsets.iter().map(OffsetName::abbreviation).collect::<StringArray>());
    let seconds = |offset: i32| IntervalMonthDayNano::new(0, 0, i64::from(offset) * 1_000_000_000);
    let off = offsets.iter().map(|offset| Some(seconds(offset.fix().local_minus_utc())));
    let off: ArrayRef = Arc::new(off.collect::<IntervalMonthDayNanoArray>());
    let summer = offsets.iter().map(|offset| Some(!offset.dst_offset().is_zero()));
    let summer: ArrayRef = Arc::new(summer.collect::<BooleanArray>());
    let columns = [("name", names), ("abbrev", short), ("utc_offset", off), ("is_dst", summer)];
    Ok(RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )?)
}
