//! Numbers written by a template of digits: `FM9,990.00`.
//!
//! A value becomes its digits, rounded to the places of the template; these go through the patterns one by
//! one. The steps are PostgreSQL's own, down to what it does with templates that make little sense.

use arrow::datatypes::i256;
use millrace_types::numeric::rescale;
use millrace_types::{NUMERIC_SCALE, Report, SqlState};

use super::form::{Form, Part, Pattern, SignAt};

/// A number to be written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Whole {
        value: i64,
        is_bigint: bool,
    },
    Real(f32),
    Double(f64),
    /// The digits, and how many of them stand behind the point.
    Numeric(i256, i8),
}

/// The digits of a number: what the patterns are filled with.
struct Digits {
    text: String,
    negative: bool,
    /// Digits before the point that the template has and the number has not.
    spaces: usize,
    /// Places that the number was cut to.
    behind: usize,
}

/// A number by a template.
pub(super) fn number(value: Value, form: &Form) -> Result<String, Report> {
    if form.exponent {
        return Ok(scientific(value, form));
    }
    if form.roman {
        return Ok(with_roman(&roman(rounded_whole(value)?), form));
    }
    let digits = digits(value, form)?;
    let is_number = digits.text.ends_with(|c: char| c.is_ascii_digit() || c == '#' || c == '.');
    let counts =
        |part: &Part| matches!(part, Part::Pattern(Pattern::Ordinal | Pattern::SmallOrdinal));
    if !is_number && !digits.negative && !form.has_point && form.parts.iter().any(counts) {
        let message = format!("\"{}\" is not a number", digits.text);
        return Err(Report::new(SqlState::INVALID_TEXT_REPRESENTATION, message));
    }
    Ok(Writer::new(digits, form).written(form))
}

fn overflow(message: &str) -> Report {
    Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

fn digits(value: Value, form: &Form) -> Result<Digits, Report> {
    let before = form.before + form.shift;
    let (text, behind) = match value {
        Value::Whole { value, is_bigint } => (whole(value, is_bigint, form)?, form.behind),
        Value::Real(value) => float(f64::from(value) * shift(form), form.behind, 6),
        Value::Double(value) => float(value * shift(form), form.behind, 15),
        Value::Numeric(value, scale) => (numeric(value, scale, form)?, form.behind),
    };
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest.to_owned()),
        None => (false, text),
    };
    let length = text.find('.').unwrap_or(text.len());
    let spaces = before.saturating_sub(length);
    let text = match length > before {
        true => format!("{}.{}", "#".repeat(before), "#".repeat(behind)),
        false => text,
    };
    Ok(Digits { text, negative, spaces, behind })
}

/// What `V` multiplies by.
fn shift(form: &Form) -> f64 {
    10f64.powi(i32::try_from(form.shift).unwrap_or(i32::MAX))
}

fn whole(value: i64, is_bigint: bool, form: &Form) -> Result<String, Report> {
    let factor = u32::try_from(form.shift).ok().and_then(|shift| 10i64.checked_pow(shift));
    let shifted = factor.and_then(|factor| value.checked_mul(factor));
    let shifted = match is_bigint {
        true => shifted.ok_or_else(|| overflow("bigint out of range"))?,
        false => {
            let narrow = shifted.filter(|shifted| i32::try_from(*shifted).is_ok());
            narrow.ok_or_else(|| overflow("integer out of range"))?
        }
    };
    Ok(match form.behind {
        0 => shifted.to_string(),
        behind => format!("{shifted}.{}", "0".repeat(behind)),
    })
}

/// The digits of a float, no more than it has for certain, and the places that are left.
fn float(value: f64, behind: usize, most: usize) -> (String, usize) {
    if value.is_nan() {
        return ("NaN".to_owned(), behind);
    }
    if value.is_infinite() {
        return ((if value > 0.0 { "Infinity" } else { "-Infinity" }).to_owned(), behind);
    }
    let length = format!("{:.0}", value.abs()).len();
    let behind = behind.min(most.saturating_sub(length));
    (format!("{value:.behind$}"), behind)
}

fn numeric(value: i256, scale: i8, form: &Form) -> Result<String, Report> {
    let too_large = || overflow("value overflows numeric format");
    let shift = i8::try_from(form.shift).map_err(|_| too_large())?;
    // A shifted point is another scale.
    let (value, scale) = match scale >= shift {
        true => (value, scale - shift),
        false => (rescale(value, scale, shift).ok_or_else(too_large)?, 0),
    };
    let places = form.behind.min(usize::from(scale.unsigned_abs()));
    let to = i8::try_from(places).unwrap_or(NUMERIC_SCALE);
    let rounded = rescale(value, scale, to).ok_or_else(too_large)?;
    let text = pointed(rounded, places);
    Ok(match (form.behind, places) {
        (0, _) => text,
        (behind, 0) => format!("{text}.{}", "0".repeat(behind)),
        (behind, places) => format!("{text}{}", "0".repeat(behind - places)),
    })
}

/// Digits with so many of them behind the point.
fn pointed(value: i256, places: usize) -> String {
    let text = value.to_string();
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let digits = format!("{digits:0>width$}", width = places + 1);
    match places {
        0 => format!("{sign}{digits}"),
        places => {
            let (whole, part) = digits.split_at(digits.len() - places);
            format!("{sign}{whole}.{part}")
        }
    }
}

/// `d.ddde+dd`, with a blank where the minus would stand.
fn scientific(value: Value, form: &Form) -> String {
    let double = match value {
        Value::Whole { value, is_bigint: true } => return exact(i256::from(value), 0, form.behind),
        Value::Numeric(value, scale) => return exact(value, scale, form.behind),
        #[allow(clippy::cast_precision_loss, reason = "an integer fits")]
        Value::Whole { value, .. } => value as f64,
        Value::Real(value) => f64::from(value),
        Value::Double(value) => value,
    };
    if !double.is_finite() {
        return format!(" {}.{}", "#".repeat(form.before), "#".repeat(form.behind + 4));
    }
    let text = format!("{double:.places$e}", places = form.behind);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    with_exponent(mantissa, exponent)
}

/// The same of exact digits, rounded half up.
fn exact(value: i256, scale: i8, places: usize) -> String {
    let negative = value < i256::ZERO;
    let digits = value.to_string();
    let digits = digits.trim_start_matches('-');
    let sign = if negative { "-" } else { "" };
    if value == i256::ZERO {
        let zeros = if places == 0 { "0".to_owned() } else { format!("0.{}", "0".repeat(places)) };
        return with_exponent(&zeros, 0);
    }
    let exponent = i64::try_from(digits.len()).unwrap_or(0) - 1 - i64::from(scale);
    let kept: String = digits.chars().chain(std::iter::repeat('0')).take(places + 1).collect();
    let up = digits.as_bytes().get(places + 1).is_some_and(|digit| *digit >= b'5');
    let mantissa = i256::from_string(&kept).unwrap_or(i256::ZERO);
    let mantissa = if up { mantissa.wrapping_add(i256::ONE) } else { mantissa };
    with_exponent(&format!("{sign}{}", pointed(mantissa, places)), exponent)
}

fn with_exponent(mantissa: &str, exponent: i64) -> String {
    let blank = if mantissa.starts_with('-') { "" } else { " " };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{blank}{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

#[allow(clippy::cast_possible_truncation, reason = "a float too large has no Roman number either")]
fn rounded_whole(value: Value) -> Result<i64, Report> {
    Ok(match value {
        Value::Whole { value, .. } => {
            let narrow = i32::try_from(value).map_err(|_| overflow("integer out of range"))?;
            i64::from(narrow)
        }
        Value::Real(value) => value.round_ties_even() as i64,
        Value::Double(value) => value.round_ties_even() as i64,
        Value::Numeric(value, scale) => {
            let whole = rescale(value, scale, 0).and_then(i256::to_i128);
            let whole = whole.and_then(|whole| i32::try_from(whole).ok());
            i64::from(whole.ok_or_else(|| overflow("integer out of range"))?)
        }
    })
}

/// A Roman number, or crosses where there is none.
pub(super) fn roman(number: i64) -> String {
    const LETTERS: [(i64, &str); 13] = [
        (1_000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if !(1..=3_999).contains(&number) {
        return "#".repeat(15);
    }
    let (mut left, mut text) = (number, String::new());
    for (value, letters) in LETTERS {
        while left >= value {
            text.push_str(letters);
            left -= value;
        }
    }
    text
}

/// A template of a Roman number: nothing else in it is a pattern.
fn with_roman(roman: &str, form: &Form) -> String {
    let filled = |text: String| if form.short { text } else { format!("{text:>15}") };
    let shown = form.parts.iter().map(|part| match part {
        Part::Character(c) => c.to_string(),
        Part::Pattern(Pattern::Roman) => filled(roman.to_owned()),
        Part::Pattern(Pattern::SmallRoman) => filled(roman.to_lowercase()),
        Part::Pattern(Pattern::Comma | Pattern::Group) if !form.short => " ".to_owned(),
        Part::Pattern(Pattern::Currency) => " ".to_owned(),
        Part::Pattern(_) => String::new(),
    });
    shown.collect()
}

/// `st`, `nd`, `rd` or `th`, as the last digits of a number say.
pub(super) fn ordinal(digits: &str, upper: bool) -> &'static str {
    let mut last = digits.bytes().rev();
    let ending = match (last.next(), last.next()) {
        (_, Some(b'1')) => 0,
        (Some(b'1'), _) => 1,
        (Some(b'2'), _) => 2,
        (Some(b'3'), _) => 3,
        _ => 0,
    };
    let endings = if upper { ["TH", "ST", "ND", "RD"] } else { ["th", "st", "nd", "rd"] };
    endings[ending]
}

/// What the patterns are written with.
struct Writer {
    digits: Vec<u8>,
    /// The digit that comes next.
    at: usize,
    negative: bool,
    spaces: usize,
    /// The pattern of a digit that comes next, counted from 0.
    place: usize,
    /// How many patterns of digits there are, less one, and one more where the sign takes a place.
    count: usize,
    behind: usize,
    /// The last digit that is shown behind `FM`; the point if there is none behind it.
    last: Option<usize>,
    sign_at: SignAt,
    brackets: bool,
    sign_done: bool,
    /// A digit has been written.
    begun: bool,
    shown: String,
}

impl Writer {
    fn new(digits: Digits, form: &Form) -> Writer {
        let Digits { text, negative, spaces, behind } = digits;
        let before = form.before + form.shift;
        let apart = form.plus || form.minus;
        let brackets = form.brackets && (negative || apart || !form.short);
        let sign_done = match apart {
            true => form.minus,
            false => !negative && form.short && form.sign_at == SignAt::Nowhere,
        };
        let sign_at = match form.sign_at {
            SignAt::Before if !apart && before == form.before_sign => SignAt::Behind,
            at => at,
        };
        let last = (form.short && form.has_point).then(|| last_relevant(&text)).flatten();
        let last = last.map(|last| match form.zero_end > spaces {
            true => last.max((text.len() - 1).min(form.zero_end - spaces)),
            false => last,
        });
        let count = (behind + before + usize::from(!sign_done && spaces == 0)).wrapping_sub(1);
        Writer {
            digits: text.into_bytes(),
            at: 0,
            negative,
            spaces,
            place: 0,
            count,
            behind,
            last,
            sign_at,
            brackets,
            sign_done,
            begun: false,
            shown: String::new(),
        }
    }

    fn written(mut self, form: &Form) -> String {
        for part in &form.parts {
            match part {
                Part::Character(c) => self.shown.push(*c),
                Part::Pattern(pattern) => self.pattern(*pattern, form),
            }
        }
        // A float has fewer digits than the template: PostgreSQL's text ends there.
        match self.shown.split_once('\0') {
            Some((shown, _)) => shown.to_owned(),
            None => self.shown,
        }
    }

    fn pattern(&mut self, pattern: Pattern, form: &Form) {
        let blank = if form.short { "" } else { " " };
        match pattern {
            Pattern::Nine | Pattern::Zero | Pattern::Point | Pattern::LocalPoint => {
                self.digit(pattern, form);
            }
            Pattern::Comma | Pattern::Group => {
                self.shown.push_str(if self.begun { "," } else { blank });
            }
            Pattern::Currency => self.shown.push(' '),
            Pattern::Ordinal | Pattern::SmallOrdinal => {
                if self.digits.first() != Some(&b'#') && !self.negative && !form.has_point {
                    let digits = String::from_utf8_lossy(&self.digits).into_owned();
                    self.shown.push_str(ordinal(&digits, pattern == Pattern::Ordinal));
                }
            }
            Pattern::Minus => self.shown.push_str(if self.negative { "-" } else { blank }),
            Pattern::Plus => self.shown.push_str(if self.negative { blank } else { "+" }),
            Pattern::PlusMinus => self.shown.push(if self.negative { '-' } else { '+' }),
            _ => {}
        }
    }

    /// True before the zero of `0.5` in a template without zeros: a blank stands there.
    fn hides_zero(&self, form: &Form) -> bool {
        form.zero_start.is_none()
            && self.at == 0
            && self.digits.first() == Some(&b'0')
            && self.behind != 0
    }

    fn last_is_point(&self) -> bool {
        self.last.is_some_and(|last| self.digits.get(last) == Some(&b'.'))
    }

    /// True where a zero is asked for.
    fn in_zeros(&self, form: &Form) -> bool {
        form.zero_start.is_some_and(|start| start - 1 <= self.place)
    }

    fn digit(&mut self, pattern: Pattern, form: &Form) {
        self.begun = false;
        self.sign(form);
        if self.place < self.spaces {
            if self.in_zeros(form) {
                self.shown.push('0');
                self.begun = true;
            } else if !form.short {
                self.shown.push(' ');
            }
        } else {
            self.number(pattern, form);
            if self.at < self.digits.len() {
                self.at += 1;
            }
        }
        let mut end = self.count.wrapping_add(usize::from(self.spaces > 0));
        end = end.wrapping_add(usize::from(form.has_point));
        if self.last == Some(self.at) {
            end = self.place;
        }
        if self.place + 1 == end {
            if self.sign_done && self.brackets {
                self.shown.push(if self.negative { '>' } else { ' ' });
            } else if self.sign_at == SignAt::Behind {
                self.shown.push(if self.negative { '-' } else { '+' });
            }
        }
        self.place += 1;
    }

    /// The sign, before the first digit that is written.
    fn sign(&mut self, form: &Form) {
        let zero = form.zero_start.is_some_and(|start| start - 1 == self.place);
        let is_here = self.place >= self.spaces || zero;
        let is_digit = !self.hides_zero(form) || self.last_is_point();
        if self.sign_done || !is_here || !is_digit {
            return;
        }
        match (self.sign_at, self.brackets) {
            (SignAt::Before, _) => self.shown.push(if self.negative { '-' } else { '+' }),
            (SignAt::Behind, _) => return,
            (SignAt::Nowhere, true) => self.shown.push(if self.negative { '<' } else { ' ' }),
            (SignAt::Nowhere, false) if self.negative => self.shown.push('-'),
            (SignAt::Nowhere, false) if !form.short => self.shown.push(' '),
            (SignAt::Nowhere, false) => {}
        }
        self.sign_done = true;
    }

    /// The digit or the point that comes next.
    fn number(&mut self, pattern: Pattern, form: &Form) {
        let next = self.digits.get(self.at).copied().unwrap_or(0);
        if next == b'.' {
            if !self.last_is_point() || form.short {
                self.shown.push('.');
            }
        } else if self.last.is_some_and(|last| self.at > last) && pattern != Pattern::Zero {
            // Zeros at the end, behind FM.
        } else if self.hides_zero(form) {
            if !form.short {
                self.shown.push(' ');
            } else if self.last_is_point() {
                self.shown.push('0');
            }
        } else {
            self.shown.push(char::from(next));
            self.begun = true;
        }
    }
}

/// The place of the last digit behind the point that is no zero, or of the point.
fn last_relevant(text: &str) -> Option<usize> {
    let point = text.find('.')?;
    let kept = text.trim_end_matches('0').len() - 1;
    Some(kept.max(point))
}
