//! Days by number: those since 4714 BC, which PostgreSQL counts, and the weeks of ISO 8601.
//!
//! Months and days may be any numbers: intervals are written through here, too.

/// The number of a day, PostgreSQL's way for months that are none, too.
pub(super) fn julian(year: i64, month: i64, day: i64) -> i64 {
    let (month, year) = match month > 2 {
        true => (month + 1, year + 4_800),
        false => (month + 13, year + 4_799),
    };
    let century = year / 100;
    year * 365 - 32_167 + year / 4 - century + century / 4 + 7_834 * month / 256 + day
}

/// Days since 1970 of the number of a day.
pub(super) const EPOCH: i64 = 2_440_588;

/// 0 for Sunday.
pub(super) fn weekday(julian: i64) -> i64 {
    (julian + 1).rem_euclid(7)
}

/// The Monday of a week of a year.
pub(super) fn monday(year: i64, week: i64) -> i64 {
    let fourth = julian(year, 1, 4);
    (week - 1) * 7 + fourth - weekday(fourth - 1)
}

/// Year and week of a day.
pub(super) fn iso_week(mut year: i64, month: i64, day: i64) -> (i64, i64) {
    let number = julian(year, month, day);
    if number < monday(year, 1) {
        year -= 1;
    }
    let week = (number - monday(year, 1)) / 7 + 1;
    match week >= 52 && number >= monday(year + 1, 1) {
        true => (year + 1, (number - monday(year + 1, 1)) / 7 + 1),
        false => (year, week),
    }
}
