//! Time zones: by a name of the tz database, or by what they are off.

use std::fmt;

use chrono::{DateTime, Datelike, LocalResult, Offset, TimeZone};
use chrono_tz::{OffsetName, Tz};

use super::time::{days, displacement};
use crate::report::{Report, SqlState};

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR * SECOND;

/// The zone of a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Zone {
    /// That of times without a zone.
    #[default]
    Utc,
    /// One of the tz database.
    Named(Tz),
    /// Seconds to the east of UTC.
    East(i64),
}

/// Abbreviations that the database of zones does not have as names.
const ABBREVIATIONS: [(&str, i64); 14] = [
    ("z", 0),
    ("zulu", 0),
    ("bst", 1),
    ("cest", 2),
    ("eest", 3),
    ("msk", 3),
    ("ist", 2),
    ("jst", 9),
    ("edt", -4),
    ("cst", -6),
    ("cdt", -5),
    ("mdt", -6),
    ("pst", -8),
    ("pdt", -7),
];

impl Zone {
    /// The zone that `AT TIME ZONE` means: a name, an abbreviation, or an offset, which counts to the west
    /// as POSIX has it.
    ///
    /// # Errors
    /// `22023` for a zone that is not known.
    pub fn of(text: &str) -> Result<Zone, Report> {
        let text = text.trim();
        Zone::named(text).or_else(|| posix(text)).ok_or_else(|| {
            let message = format!("time zone \"{text}\" not recognized");
            Report::new(SqlState::INVALID_PARAMETER_VALUE, message)
        })
    }

    /// The zone of a name or an abbreviation, in any case.
    pub(super) fn named(name: &str) -> Option<Zone> {
        match name {
            "UTC" => Some(Zone::Utc),
            _ => abbreviated(name).or_else(|| in_database(name).map(Zone::Named)),
        }
    }

    /// What the setting `TimeZone` keeps of a text, which [`Zone::of`] reads again: a name as the database
    /// spells it, hours to the east as POSIX writes them, or an offset with a name of its own. None for a text
    /// that is no zone.
    pub fn setting(text: &str) -> Option<String> {
        let text = text.trim();
        if let Some(zone) = in_database(text) {
            return Some(zone.name().to_owned());
        }
        match text.parse::<f64>() {
            #[allow(clippy::cast_possible_truncation, reason = "the range has been checked")]
            Ok(hours) if hours.abs() < 16.0 => {
                Some(Zone::East((hours * 3_600.0).round() as i64).to_string())
            }
            Ok(_) => None,
            Err(_) => posix(text).map(|_| text.to_owned()),
        }
    }

    /// True for a zone whose clocks always show UTC.
    pub fn is_utc(self) -> bool {
        match self {
            Zone::Utc | Zone::East(0) => true,
            Zone::East(_) => false,
            Zone::Named(zone) => matches!(
                zone,
                Tz::UTC
                    | Tz::UCT
                    | Tz::Universal
                    | Tz::Zulu
                    | Tz::GMT
                    | Tz::Greenwich
                    | Tz::Etc__UTC
                    | Tz::Etc__UCT
                    | Tz::Etc__Universal
                    | Tz::Etc__Zulu
                    | Tz::Etc__GMT
                    | Tz::Etc__Greenwich
            ),
        }
    }

    /// Seconds to the east of UTC at a time, microseconds since 1970.
    pub fn offset(self, time: i64) -> i64 {
        match (self, DateTime::from_timestamp_micros(foreseen(time))) {
            (Zone::East(seconds), _) => seconds,
            (Zone::Named(zone), Some(time)) => {
                seconds(&zone.offset_from_utc_datetime(&time.naive_utc()))
            }
            (Zone::Utc | Zone::Named(_), _) => 0,
        }
    }

    /// Seconds to the east of UTC where a clock there shows a reading. Of a reading that is there twice the
    /// later counts, as in PostgreSQL; one that is not there is read by the clock before the change.
    pub fn offset_of_reading(self, reading: i64) -> i64 {
        let zone = match self {
            Zone::Utc => return 0,
            Zone::East(seconds) => return seconds,
            Zone::Named(zone) => zone,
        };
        let reading = foreseen(reading);
        let Some(local) = DateTime::from_timestamp_micros(reading) else { return 0 };
        match zone.offset_from_local_datetime(&local.naive_utc()) {
            LocalResult::Single(offset) => seconds(&offset),
            LocalResult::Ambiguous(one, other) => seconds(&one).min(seconds(&other)),
            LocalResult::None => self.offset(reading - DAY),
        }
    }

    /// What the zone is called at a time, microseconds since 1970: `CET`, `CEST`; without a name its offset.
    pub fn abbreviation(self, time: i64) -> String {
        match (self, DateTime::from_timestamp_micros(foreseen(time))) {
            (Zone::Named(zone), Some(time)) => {
                let offset = zone.offset_from_utc_datetime(&time.naive_utc());
                offset.abbreviation().unwrap_or_default().to_owned()
            }
            (Zone::East(seconds), _) => east(seconds),
            (Zone::Utc | Zone::Named(_), _) => "UTC".to_owned(),
        }
    }

    /// What a clock shows at a time; infinite times stay. None for one beyond all clocks.
    pub fn reading(self, time: i64) -> Option<i64> {
        match time {
            i64::MIN | i64::MAX => Some(time),
            time => time.checked_add(self.offset(time) * SECOND),
        }
    }

    /// The time at which a clock shows a reading; infinite ones stay. None for one beyond all times.
    pub fn time(self, reading: i64) -> Option<i64> {
        match reading {
            i64::MIN | i64::MAX => Some(reading),
            reading => reading.checked_sub(self.offset_of_reading(reading) * SECOND),
        }
    }
}

/// The name that [`Zone::of`] knows the zone by.
impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = match self {
            Zone::Utc => return f.write_str("UTC"),
            Zone::Named(zone) => return f.write_str(zone.name()),
            Zone::East(seconds) => *seconds,
        };
        let east = east(seconds);
        let west = if seconds < 0 { '+' } else { '-' };
        write!(f, "<{east}>{west}{}", &east[1..])
    }
}

/// Seconds to the east as PostgreSQL shows them: hours, and minutes and seconds if there are some.
pub fn east(seconds: i64) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let left = seconds.unsigned_abs();
    let mut shown = format!("{sign}{:02}", left / 3_600);
    if !left.is_multiple_of(3_600) {
        shown.push_str(&format!(":{:02}", left / 60 % 60));
    }
    if !left.is_multiple_of(60) {
        shown.push_str(&format!(":{:02}", left % 60));
    }
    shown
}

/// A time that the tables of zones hold, which end with the century: of a later one that of the same day of
/// a year that begins with the same weekday and is as long, so that the last rules go on.
fn foreseen(time: i64) -> i64 {
    const FIRST: i64 = 2071;
    const LAST: i64 = 2098;
    let start = |year: i64| days(year, 1, 1).unwrap_or_default();
    if time < start(LAST + 1) * DAY {
        return time;
    }
    let Some(late) = DateTime::from_timestamp_micros(time) else { return time };
    let year = i64::from(late.year());
    let shape = |year: i64| (start(year).rem_euclid(7), start(year + 1) - start(year));
    let like = (FIRST..=LAST).find(|one| shape(*one) == shape(year)).unwrap_or(LAST);
    time - (start(year) - start(like)) * DAY
}

fn seconds(offset: &impl Offset) -> i64 {
    i64::from(offset.fix().local_minus_utc())
}

fn abbreviated(name: &str) -> Option<Zone> {
    let known = ABBREVIATIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.map(|(_, hours)| Zone::East(hours * HOUR))
}

fn in_database(name: &str) -> Option<Tz> {
    name.parse::<Tz>().ok().or_else(|| {
        chrono_tz::TZ_VARIANTS.into_iter().find(|zone| zone.name().eq_ignore_ascii_case(name))
    })
}

/// `+03`, `UTC+3` or `<-03>+03`: an abbreviation that anybody may choose, and an offset that counts to the west.
fn posix(zone: &str) -> Option<Zone> {
    let (name, offset) = match zone.strip_prefix('<') {
        Some(rest) => rest.split_once('>')?,
        None => zone.split_at(zone.bytes().take_while(u8::is_ascii_alphabetic).count()),
    };
    let is_named = name.len() >= 3 || (name.is_empty() && offset.starts_with(['+', '-']));
    let signed = match offset.starts_with(['+', '-']) {
        true => offset.to_owned(),
        false => format!("+{offset}"),
    };
    displacement(&signed).filter(|_| is_named).map(|seconds| Zone::East(-seconds))
}
