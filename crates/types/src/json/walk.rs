//! Values seen through their bytes: what kind they are, what they hold.

use super::{ARRAY, FALSE, NULL_VALUE, NUMBER, OBJECT, STRING, TRUE, number};

/// [`contains`] looks for parts so deep; below it, for equal values.
const HELD_MAX: usize = 1000;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// A text in quotes.
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Values in order.
    Array,
    /// Values by key.
    Object,
}

impl Kind {
    /// As `jsonb_typeof` says it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::String => "string",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
            Kind::Array => "array",
            Kind::Object => "object",
        }
    }
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Json<'a>(&'a [u8]);

/// Cuts the text that ends in 0 off.
fn text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    *bytes = &bytes[end + 1..];
    Some(text)
}

/// Cuts the value at the beginning off.
fn value<'a>(bytes: &mut &'a [u8]) -> Option<Json<'a>> {
    let whole = *bytes;
    // How many values are still to be passed at each level, and if they have keys.
    let mut open: Vec<(u32, bool)> = vec![(1, false)];
    while let Some((left, keyed)) = open.last_mut() {
        if *left == 0 {
            open.pop();
            continue;
        }
        *left -= 1;
        if *keyed {
            text(bytes)?;
        }
        let (kind, rest) = bytes.split_first()?;
        *bytes = rest;
        match *kind {
            STRING => drop(text(bytes)?),
            NUMBER => *bytes = bytes.get(number::length(bytes)?..)?,
            ARRAY | OBJECT => {
                let (count, rest) = bytes.split_first_chunk::<4>()?;
                *bytes = rest;
                open.push((u32::from_be_bytes(*count), *kind == OBJECT));
            }
            _ => {}
        }
    }
    Some(Json(&whole[..whole.len() - bytes.len()]))
}

impl<'a> Json<'a> {
    /// The value of some bytes.
    pub fn new(bytes: &'a [u8]) -> Json<'a> {
        Json(if bytes.is_empty() { NULL_VALUE } else { bytes })
    }

    /// Its bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        match self.0.first() {
            Some(&STRING) => Kind::String,
            Some(&NUMBER) => Kind::Number,
            Some(&(FALSE | TRUE)) => Kind::Boolean,
            Some(&ARRAY) => Kind::Array,
            Some(&OBJECT) => Kind::Object,
            _ => Kind::Null,
        }
    }

    /// The bytes after the kind.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0.get(1..).unwrap_or_default()
    }

    /// The text of a string.
    pub fn as_str(self) -> Option<&'a str> {
        (self.kind() == Kind::String).then(|| text(&mut self.rest()).unwrap_or_default())
    }

    /// A truth value.
    pub fn as_bool(self) -> Option<bool> {
        (self.kind() == Kind::Boolean).then(|| self.0.first() == Some(&TRUE))
    }

    /// How many elements or members it has; 0 for what has none.
    pub fn count(self) -> usize {
        let counted = matches!(self.kind(), Kind::Array | Kind::Object);
        let count = self.rest().first_chunk::<4>().filter(|_| counted);
        count.map_or(0, |count| usize::try_from(u32::from_be_bytes(*count)).unwrap_or(0))
    }

    fn inside(self) -> &'a [u8] {
        self.rest().get(4..).unwrap_or_default()
    }

    /// The elements of an array; none of anything else.
    pub fn elements(self) -> Elements<'a> {
        let is_array = self.kind() == Kind::Array;
        Elements { left: if is_array { self.count() } else { 0 }, bytes: self.inside() }
    }

    /// The members of an object in the order of their keys; none of anything else.
    pub fn members(self) -> Members<'a> {
        let is_object = self.kind() == Kind::Object;
        Members { left: if is_object { self.count() } else { 0 }, bytes: self.inside() }
    }

    /// The member of a key.
    pub fn member(self, key: &str) -> Option<Json<'a>> {
        let order = |found: &str| (found.len(), found.as_bytes()).cmp(&(key.len(), key.as_bytes()));
        let mut members = self.members().skip_while(|(found, _)| order(found).is_lt());
        members.next().filter(|(found, _)| *found == key).map(|(_, value)| value)
    }

    /// The element at a place, from the end where it is negative.
    pub fn element(self, at: i64) -> Option<Json<'a>> {
        let place = match at {
            0.. => usize::try_from(at).ok()?,
            _ => self.count().checked_sub(usize::try_from(at.unsigned_abs()).ok()?)?,
        };
        self.elements().nth(place)
    }

    /// What a path's step leads to: a key, or in an array a number.
    pub fn step(self, step: &str) -> Option<Json<'a>> {
        match self.kind() {
            Kind::Object => self.member(step),
            Kind::Array => self.element(step.trim().parse().ok()?),
            _ => None,
        }
    }
}

/// The elements of an array.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    left: usize,
    bytes: &'a [u8],
}

impl<'a> Iterator for Elements<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        self.left = self.left.checked_sub(1)?;
        value(&mut self.bytes)
    }
}

/// The members of an object.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    left: usize,
    bytes: &'a [u8],
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, Json<'a>);

    fn next(&mut self) -> Option<(&'a str, Json<'a>)> {
        self.left = self.left.checked_sub(1)?;
        Some((text(&mut self.bytes)?, value(&mut self.bytes)?))
    }
}

/// `whole @> part`: PostgreSQL's containment.
pub fn contains(whole: Json<'_>, part: Json<'_>) -> bool {
    // An array contains a value that stands alone, at the top only.
    let alone = !matches!(part.kind(), Kind::Array | Kind::Object);
    if whole.kind() == Kind::Array && alone {
        return whole.elements().any(|element| element == part);
    }
    holds(whole, part, HELD_MAX)
}

fn holds(whole: Json<'_>, part: Json<'_>, depth: usize) -> bool {
    match (whole.kind(), part.kind()) {
        (Kind::Object, Kind::Object) if depth > 0 => part.members().all(|(key, wanted)| {
            whole.member(key).is_some_and(|found| holds(found, wanted, depth - 1))
        }),
        (Kind::Array, Kind::Array) if depth > 0 => part
            .elements()
            .all(|wanted| whole.elements().any(|found| holds(found, wanted, depth - 1))),
        _ => whole == part,
    }
}
