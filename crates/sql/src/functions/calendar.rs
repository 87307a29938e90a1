//! Windows of calendar days and months, cut where a clock in some time zone shows midnight.
//!
//! Days are counted from 1970-01-01, months from January 1970. A day begins at the first moment at which
//! the clock shows its midnight, or at the moment at which the clock jumps over that: so the days of
//! a zone cover time without gaps and without overlaps, be they 23, 24 or 25 hours long.

use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::SqlState;
use millrace_types::input::Zone;

use arrow::datatypes::DataType;

use super::cast::external;
use super::time::map_times;
use super::{no_function, user_error};

/// `(time, months, days, zone)`: the start of the window.
pub(crate) const CALENDAR_START: &str = "millrace_calendar_start";
/// `(time, months, days, zone)`: its end.
pub(crate) const CALENDAR_END: &str = "millrace_calendar_end";

const DAY: i64 = 86_400_000_000;

/// Windows of a whole number of months or of days; one of the two is 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Calendar {
    pub(crate) months: i64,
    pub(crate) days: i64,
    pub(crate) zone: Zone,
}

impl Calendar {
    /// Microseconds between the clock in the zone and UTC.
    fn offset(&self, at: i64) -> Option<i64> {
        self.zone.offset(at).checked_mul(1_000_000)
    }

    /// The first moment of a day.
    fn midnight(&self, day: i64) -> Option<i64> {
        let local = day.checked_mul(DAY)?;
        let before = self.offset(local.checked_sub(DAY)?)?;
        let after = self.offset(local.checked_add(DAY)?)?;
        let (one, other) = (local.checked_sub(before)?, local.checked_sub(after)?);
        let (mut low, mut high) = (one.min(other), one.max(other));
        for moment in [low, high] {
            if moment.checked_add(self.offset(moment)?)? == local {
                return Some(moment);
            }
        }
        // The clock jumps over midnight: at the moment from which on it shows the later time.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.offset(middle)? == before {
                true => low = middle,
                false => high = middle,
            }
        }
        Some(high)
    }

    /// The first day of window `number`.
    fn first_day(&self, number: i64) -> Option<i64> {
        match self.months {
            0 => number.checked_mul(self.days),
            months => first_of_month(number.checked_mul(months)?),
        }
    }

    /// The bounds of the window that holds a time.
    pub(crate) fn window(&self, time: i64) -> Option<(i64, i64)> {
        let day = time.checked_add(self.offset(time)?)?.div_euclid(DAY);
        let mut number = match self.months {
            0 => day.div_euclid(self.days),
            months => month_of(day).div_euclid(months),
        };
        // Where a clock is set back over midnight, a moment may show the day before the one it is in.
        loop {
            let start = self.midnight(self.first_day(number)?)?;
            let end = self.midnight(self.first_day(number.checked_add(1)?)?)?;
            match (time < start, time >= end) {
                (true, _) => number -= 1,
                (_, true) => number += 1,
                _ => return Some((start, end)),
            }
        }
    }
}

/// Days from 1970-01-01 to the first day of a month, which is counted from January 1970.
fn first_of_month(month: i64) -> Option<i64> {
    // Years that begin in March end with the day that leap years add.
    let since = month.checked_add(1970 * 12 - 2)?;
    let (year, month) = (since.div_euclid(12), since.rem_euclid(12));
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day = (153 * month + 2) / 5 + of_era * 365 + of_era / 4 - of_era / 100;
    era.checked_mul(146_097)?.checked_add(day - 719_468)
}

/// The month of a day, counted from January 1970.
fn month_of(day: i64) -> i64 {
    // 400 years are 4,800 months.
    let mut month = day.saturating_mul(4_800).div_euclid(146_097);
    while first_of_month(month + 1).is_some_and(|first| first <= day) {
        month += 1;
    }
    while first_of_month(month).is_some_and(|first| first > day) {
        month -= 1;
    }
    month
}

/// One bound of the windows, as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct CalendarBound {
    name: &'static str,
    signature: Signature,
}

impl CalendarBound {
    pub(super) fn new(name: &'static str) -> CalendarBound {
        CalendarBound { name, signature: Signature::any(4, Volatility::Immutable) }
    }
}

fn calendar(args: &[ColumnarValue]) -> Result<Calendar> {
    match args {
        [
            _,
            ColumnarValue::Scalar(ScalarValue::Int64(Some(months))),
            ColumnarValue::Scalar(ScalarValue::Int64(Some(days))),
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(zone))),
        ] if *months >= 0 && *days >= 0 && *months + *days > 0 => {
            let zone = Zone::of(zone).map_err(external)?;
            Ok(Calendar { months: *months, days: *days, zone })
        }
        _ => Err(user_error(SqlState::INTERNAL_ERROR, "a window is not constant")),
    }
}

impl ScalarUDFImpl for CalendarBound {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| no_function(self.name, types))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let calendar = calendar(&args.args)?;
        // Most rows are in the window of the row before.
        let last = std::cell::Cell::new((0, 0));
        map_times(&args.args[0], |time| {
            let (start, end) = last.get();
            if time < start || time >= end {
                last.set(calendar.window(time)?);
            }
            let (start, end) = last.get();
            Some(if self.name == CALENDAR_START { start } else { end })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn of(zone: &str, months: i64, days: i64) -> Calendar {
        Calendar { months, days, zone: Zone::of(zone).unwrap() }
    }

    fn at(text: &str) -> i64 {
        millrace_types::input::timestamptz(text).unwrap()
    }

    fn shown(calendar: &Calendar, time: &str) -> (i64, i64, i64) {
        let (start, end) = calendar.window(at(time)).unwrap();
        (start, end, (end - start) / HOUR)
    }

    #[test]
    fn days_follow_daylight_saving_time() {
        let helsinki = of("Europe/Helsinki", 0, 1);
        let (start, end, hours) = shown(&helsinki, "2024-03-31 12:00:00+00");
        assert_eq!((start, end), (at("2024-03-30 22:00:00+00"), at("2024-03-31 21:00:00+00")));
        assert_eq!(hours, 23);
        assert_eq!(shown(&helsinki, "2024-10-27 00:30:00+00").2, 25);
        assert_eq!(shown(&helsinki, "2024-10-28 00:30:00+00").2, 24);
        assert_eq!(shown(&helsinki, "2024-10-26 21:00:00+00").0, at("2024-10-26 21:00:00+00"));
    }

    #[test]
    fn a_midnight_that_the_clock_jumps_over_or_shows_twice_begins_one_day() {
        // 2018-11-04 began at 01:00 in Sao Paulo; 2018-02-17 ended an hour later.
        let paulo = of("America/Sao_Paulo", 0, 1);
        assert_eq!(shown(&paulo, "2018-11-04 12:00:00+00").0, at("2018-11-04 03:00:00+00"));
        assert_eq!(shown(&paulo, "2018-11-04 12:00:00+00").2, 23);
        assert_eq!(shown(&paulo, "2018-02-18 02:30:00+00").2, 25);
        // Samoa had no 2011-12-30.
        let apia = of("Pacific/Apia", 0, 1);
        let (start, end, _) = shown(&apia, "2011-12-30 09:59:59+00");
        assert_eq!((start, end), (at("2011-12-29 10:00:00+00"), at("2011-12-30 10:00:00+00")));
    }

    #[test]
    fn months_and_quarters_have_their_own_lengths() {
        let (start, end, _) = shown(&of("UTC", 1, 0), "2024-02-29 23:59:59+00");
        assert_eq!((start, end), (at("2024-02-01 00:00:00+00"), at("2024-03-01 00:00:00+00")));
        let (start, end, _) = shown(&of("Europe/Helsinki", 3, 0), "1969-12-31 21:59:59+00");
        assert_eq!((start, end), (at("1969-09-30 22:00:00+00"), at("1969-12-31 22:00:00+00")));
        let (start, end, _) = shown(&of("UTC", 12, 0), "1999-06-01 00:00:00+00");
        assert_eq!((start, end), (at("1999-01-01 00:00:00+00"), at("2000-01-01 00:00:00+00")));
    }

    #[test]
    fn windows_of_a_zone_follow_each_other_without_gaps() {
        for zone in ["Europe/Helsinki", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Beirut"] {
            for (months, days) in [(0, 1), (0, 7), (1, 0), (5, 0)] {
                let calendar = of(zone, months, days);
                let mut time = at("2015-01-01 00:00:00+00");
                let mut count = 0;
                while time < at("2020-01-01 00:00:00+00") {
                    let (start, end) = calendar.window(time).unwrap();
                    assert!(start <= time && time < end, "{zone} {time}");
                    assert_eq!(calendar.window(end - 1), Some((start, end)), "{zone} {time}");
                    assert_eq!(calendar.window(end).map(|next| next.0), Some(end), "{zone}");
                    (time, count) = (end, count + 1);
                }
                assert!(count > 10, "{zone}");
            }
        }
    }

    #[test]
    fn times_at_the_end_of_the_range_have_no_window() {
        assert_eq!(of("UTC", 0, 1).window(i64::MAX), None);
        assert_eq!(of("UTC", 1, 0).window(i64::MIN), None);
    }
}
