//! Text read by a template.
//!
//! The fields are taken from the text one by one, as PostgreSQL takes them; then [`moment`] makes a time
//! of them.

use millrace_types::input::Zone;
use millrace_types::{Report, SqlState};

use super::fields::{DAYS, Field, MONTHS, Part, ROMAN_MONTHS, is_separator};
use super::moment;

/// What has been read; 0 is what has not.
#[derive(Default)]
pub(super) struct Read {
    pub(super) year: i64,
    /// The length of the year's field.
    pub(super) year_size: usize,
    pub(super) century: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) day_of_year: i64,
    pub(super) weekday: i64,
    pub(super) week: i64,
    pub(super) week_of_month: i64,
    pub(super) julian: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    pub(super) millis: i64,
    pub(super) micros: i64,
    pub(super) seconds_of_day: i64,
    pub(super) before_christ: i64,
    pub(super) afternoon: i64,
    pub(super) twelve_hours: bool,
    /// 1 to the east, -1 to the west, 0 without a zone.
    pub(super) zone_sign: i64,
    pub(super) zone_hour: i64,
    pub(super) zone_minute: i64,
    /// By weeks, or by months and days.
    pub(super) by_weeks: Option<bool>,
}

/// Days since 1970.
pub(super) fn date(text: &str, parts: &[Part]) -> Result<i32, Report> {
    moment::days(&read(text, parts)?, text)
}

/// Microseconds since 1970 in UTC, read by a clock of a zone unless the text has one.
pub(super) fn timestamp(text: &str, parts: &[Part], zone: Zone) -> Result<i64, Report> {
    moment::micros(&read(text, parts)?, text, zone)
}

pub(super) fn wrong(message: String) -> Report {
    Report::new(SqlState::INVALID_DATETIME_FORMAT, message)
}

/// Where the reading stands.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Characters passed over beyond those of the template.
    extra: i64,
    /// Behind `FX`: blanks count.
    exact: bool,
}

fn read(text: &str, parts: &[Part]) -> Result<Read, Report> {
    let mut read = Read::default();
    let mut reader = Reader { text, at: 0, extra: 0, exact: false };
    for (at, part) in parts.iter().enumerate() {
        if reader.rest().is_empty() {
            break;
        }
        let is_field = matches!(part, Part::Field(field) if field.name != "FX");
        if !reader.exact && (is_field || (at == 0 && !matches!(part, Part::Field(_)))) {
            reader.blanks();
        }
        match part {
            Part::Separator(_) => reader.separator(),
            Part::Character(_) => reader.character(),
            Part::Field(field) => {
                let one = One { field, next: parts.get(at + 1) };
                one.read(&mut reader, &mut read)?;
                if !reader.exact {
                    reader.extra = 0;
                    reader.blanks();
                }
            }
        }
    }
    Ok(read)
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn step(&mut self) {
        self.at += self.rest().chars().next().map_or(0, char::len_utf8);
    }

    fn blanks(&mut self) {
        while self.rest().starts_with(|c: char| c.is_ascii_whitespace()) {
            self.at += 1;
            self.extra += 1;
        }
    }

    fn separator(&mut self) {
        if self.exact {
            return self.step();
        }
        self.extra -= 1;
        if self.rest().starts_with(|c: char| c.is_ascii_whitespace() || is_separator(c)) {
            self.at += 1;
            self.extra += 1;
        }
    }

    fn character(&mut self) {
        match !self.exact && self.extra > 0 {
            true => self.extra -= 1,
            false => self.step(),
        }
    }
}

/// A field, and what stands behind it in the template.
struct One<'a> {
    field: &'a Field,
    next: Option<&'a Part>,
}

impl One<'_> {
    fn read(&self, reader: &mut Reader<'_>, read: &mut Read) -> Result<(), Report> {
        self.convention(read)?;
        match self.field.name {
            "FX" => reader.exact = true,
            "TZ" | "OF" => {
                let name = &self.field.written;
                let message = format!("formatting field \"{name}\" is only supported in to_char");
                return Err(Report::new(SqlState::FEATURE_NOT_SUPPORTED, message));
            }
            "A.M." | "P.M." | "AM" | "PM" => {
                let names: [&str; 2] =
                    if self.field.name.contains('.') { ["a.m.", "p.m."] } else { ["am", "pm"] };
                let value = self.name(reader, &names)?;
                self.set(&mut read.afternoon, value)?;
                read.twelve_hours = true;
            }
            "A.D." | "B.C." | "AD" | "BC" => {
                let names: [&str; 2] =
                    if self.field.name.contains('.') { ["a.d.", "b.c."] } else { ["ad", "bc"] };
                let value = self.name(reader, &names)?;
                self.set(&mut read.before_christ, value)?;
            }
            "MONTH" => return self.month(reader, read, &MONTHS),
            "MON" => return self.month(reader, read, &MONTHS.map(|name| &name[..3])),
            "RM" => {
                let value = self.name(reader, &ROMAN_MONTHS)?;
                self.set(&mut read.month, 12 - value)?;
            }
            "DAY" | "DY" => {
                let short = DAYS.map(|name| &name[..3]);
                let names = if self.field.name == "DAY" { &DAYS } else { &short };
                let value = self.name(reader, names)?;
                self.set(&mut read.weekday, value + 1)?;
            }
            "Y,YYY" => self.thousands(reader, read)?,
            _ => {
                self.number(reader, read)?;
                if self.field.ordinal.is_some() {
                    reader.step();
                    reader.step();
                }
            }
        }
        Ok(())
    }

    /// Weeks and months do not go together.
    fn convention(&self, read: &mut Read) -> Result<(), Report> {
        let by_weeks = match self.field.name {
            "IDDD" | "ID" | "IW" | "IYYY" | "IYY" | "IY" | "I" => true,
            "DDD" | "DD" | "D" | "MM" | "MONTH" | "MON" | "RM" | "WW" | "W" | "Y,YYY" | "YYYY"
            | "YYY" | "YY" | "Y" => false,
            _ => return Ok(()),
        };
        match read.by_weeks.replace(by_weeks) {
            Some(before) if before != by_weeks => Err(wrong(
                "invalid combination of date conventions".to_owned(),
            )
            .hint("Do not mix Gregorian and ISO week date conventions in a formatting template.")),
            _ => Ok(()),
        }
    }

    fn month(
        &self,
        reader: &mut Reader<'_>,
        read: &mut Read,
        names: &[&str],
    ) -> Result<(), Report> {
        let value = self.name(reader, names)?;
        self.set(&mut read.month, value + 1)
    }

    /// A field that is told twice is told the same.
    fn set(&self, known: &mut i64, value: i64) -> Result<(), Report> {
        if *known != 0 && *known != value {
            let name = &self.field.written;
            let message = format!("conflicting values for \"{name}\" field in formatting string");
            let detail = "This value contradicts a previous setting for the same field type.";
            return Err(wrong(message).detail(detail));
        }
        *known = value;
        Ok(())
    }

    fn number(&self, reader: &mut Reader<'_>, read: &mut Read) -> Result<(), Report> {
        let name = self.field.name;
        let length = match name {
            "HH12" | "HH24" => 2,
            "FF1" => 1,
            "FF2" => 2,
            "FF3" => 3,
            "FF4" => 4,
            "FF5" => 5,
            "FF6" | "US" => 6,
            "MS" | "IDDD" => 3,
            "TZH" | "TZM" => 2,
            "ID" => 1,
            other => other.len(),
        };
        if name == "TZH" {
            zone_sign(reader, read);
        }
        let (value, digits) = self.integer(reader, length)?;
        // The digits stand behind a point.
        let scaled = |places: usize| (digits..places).fold(value, |value, _| value * 10);
        let partial = if digits < 4 { of_2020(value) } else { value };
        match name {
            "HH" | "HH12" => {
                read.twelve_hours = true;
                self.set(&mut read.hour, value)
            }
            "HH24" => self.set(&mut read.hour, value),
            "MI" => self.set(&mut read.minute, value),
            "SS" => self.set(&mut read.second, value),
            "MS" => self.set(&mut read.millis, scaled(3)),
            "SSSS" | "SSSSS" => self.set(&mut read.seconds_of_day, value),
            "TZH" => self.set(&mut read.zone_hour, value),
            "TZM" => {
                read.zone_sign = if read.zone_sign == 0 { 1 } else { read.zone_sign };
                self.set(&mut read.zone_minute, value)
            }
            "MM" => self.set(&mut read.month, value),
            "DD" => self.set(&mut read.day, value),
            "DDD" | "IDDD" => self.set(&mut read.day_of_year, value),
            "D" => self.set(&mut read.weekday, value),
            // Sunday is 1 there.
            "ID" => self.set(&mut read.weekday, if value > 6 { 1 } else { value + 1 }),
            "WW" | "IW" => self.set(&mut read.week, value),
            "W" => self.set(&mut read.week_of_month, value),
            "CC" => self.set(&mut read.century, value),
            "J" => self.set(&mut read.julian, value),
            // It says nothing of the day.
            "Q" => Ok(()),
            "YYYY" | "IYYY" => self.year(read, value, 4),
            "YYY" | "IYY" => self.year(read, partial, 3),
            "YY" | "IY" => self.year(read, partial, 2),
            "Y" | "I" => self.year(read, partial, 1),
            _ => self.set(&mut read.micros, scaled(6)),
        }
    }

    fn year(&self, read: &mut Read, value: i64, size: usize) -> Result<(), Report> {
        read.year_size = size;
        self.set(&mut read.year, value)
    }

    /// `1,582`
    fn thousands(&self, reader: &mut Reader<'_>, read: &mut Read) -> Result<(), Report> {
        let wrong = || wrong("invalid input string for \"Y,YYY\"".to_owned());
        let (thousands, rest) = reader.rest().split_once(',').ok_or_else(wrong)?;
        let length = rest.bytes().take(3).take_while(u8::is_ascii_digit).count();
        let part = |text: &str| text.trim_start().parse::<i64>().map_err(|_| wrong());
        let year = part(thousands)?.saturating_mul(1_000) + part(&rest[..length])?;
        reader.at += thousands.len() + 1 + length;
        if self.field.ordinal.is_some() {
            reader.step();
            reader.step();
        }
        self.year(read, year, 4)
    }

    /// True if the digits end by themselves.
    fn ends(&self) -> bool {
        if self.field.short || self.field.ordinal.is_some() {
            return true;
        }
        match self.next {
            None => true,
            Some(Part::Field(next)) => !has_digits(next.name),
            Some(Part::Character(c) | Part::Separator(c)) => !c.is_ascii_digit(),
        }
    }

    /// A number, and how many characters it took.
    fn integer(&self, reader: &mut Reader<'_>, length: usize) -> Result<(i64, usize), Report> {
        let begin = reader.at;
        let name = &self.field.written;
        let rest = reader.rest().trim_start_matches(|c: char| c.is_ascii_whitespace());
        let blanks = reader.rest().len() - rest.len();
        let most = if self.ends() { rest.len() } else { length };
        let short = "If your source string is not fixed-width, try using the \"FM\" modifier.";
        if most > rest.len() {
            let left = rest.len();
            let message = format!("source string too short for \"{name}\" formatting field");
            let detail = format!("Field requires {length} characters, but only {left} remain.");
            return Err(wrong(message).detail(detail).hint(short));
        }
        let sign = usize::from(rest.starts_with(['+', '-']) && most > 0);
        let digits = rest.bytes().skip(sign).take(most - sign).take_while(u8::is_ascii_digit);
        let used = match digits.count() {
            0 => 0,
            digits => digits + sign,
        };
        let copy: String = rest.chars().take(length).collect();
        let invalid = || wrong(format!("invalid value \"{copy}\" for \"{name}\""));
        if used == 0 {
            return Err(invalid().detail("Value must be an integer."));
        }
        if !self.ends() && used < length {
            let detail =
                format!("Field requires {length} characters, but only {used} could be parsed.");
            return Err(invalid().detail(detail).hint(short));
        }
        let value = rest[..used].parse::<i32>().map_err(|_| {
            let message = format!("value for \"{name}\" in source string is out of range");
            let detail = format!("Value must be in the range {} to {}.", i32::MIN, i32::MAX);
            Report::new(SqlState::DATETIME_FIELD_OVERFLOW, message).detail(detail)
        })?;
        reader.at += blanks + used;
        Ok((i64::from(value), reader.at - begin))
    }

    /// The place of the first of some names that the text goes on with.
    fn name(&self, reader: &mut Reader<'_>, names: &[&str]) -> Result<i64, Report> {
        let rest = reader.rest();
        let starts = |name: &&str| {
            rest.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name))
        };
        match (0..).zip(names).find(|(_, name)| starts(name)) {
            Some((at, name)) => {
                reader.at += name.len();
                Ok(at)
            }
            None => {
                let word = rest.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default();
                let message = format!("invalid value \"{word}\" for \"{}\"", self.field.written);
                let detail =
                    "The given value did not match any of the allowed values for this field.";
                Err(wrong(message).detail(detail))
            }
        }
    }
}

/// The sign of a zone may have been passed over as a separator.
fn zone_sign(reader: &mut Reader<'_>, read: &mut Read) {
    let sign = reader.rest().chars().next();
    let before = reader.text.get(..reader.at).and_then(|text| text.chars().next_back());
    let is_west = match sign {
        Some('+' | '-' | ' ') => {
            reader.at += 1;
            sign == Some('-')
        }
        _ => reader.extra > 0 && before == Some('-'),
    };
    read.zone_sign = if is_west { -1 } else { 1 };
}

/// Fields whose text begins with a digit.
fn has_digits(name: &str) -> bool {
    let words = [
        "A.D.", "A.M.", "AD", "AM", "B.C.", "BC", "P.M.", "PM", "DAY", "DY", "MONTH", "MON", "RM",
        "OF", "TZ", "TZH", "FX", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6",
    ];
    !words.contains(&name)
}

/// Less than four digits are the year nearest to 2020.
fn of_2020(year: i64) -> i64 {
    match year {
        ..70 => year + 2_000,
        70..100 => year + 1_900,
        100..520 => year + 2_000,
        520..1_000 => year + 1_000,
        _ => year,
    }
}
