//! What a path finds in a value.
//!
//! Steps are walked depth first: what one item gives goes through all steps that follow before the next item. In lax
//! mode arrays are taken apart where a step wants no array, a value stands for an array of one, and what is
//! not there is passed over; in strict mode each of these is an error. Errors inside a predicate make it unknown.

use std::cell::Cell;
use std::cmp::Ordering;
use std::rc::Rc;

use arrow::datatypes::i256;
use millrace_types::input::numeric;
use millrace_types::json::{Json, Kind, boolean, number, object, show, string};
use millrace_types::numeric::{product_of, quotient_of};
use millrace_types::{NUMERIC_SCALE, Report, SqlState};

use super::parse::{Method, Node, Path, Step};

/// Items that may go through steps: a path with several `.**` has as many as a power of what there is.
const VISITED_MAX: usize = 10_000_000;

/// What a path gives: a part of the value, or something made of it.
#[derive(Clone, Debug)]
pub(super) enum Item<'a> {
    Seen(Json<'a>),
    Made(Rc<[u8]>),
}

impl<'a> Item<'a> {
    pub(super) fn json(&self) -> Json<'_> {
        match self {
            Item::Seen(json) => *json,
            Item::Made(bytes) => Json::new(bytes),
        }
    }

    fn made(bytes: Vec<u8>) -> Item<'a> {
        Item::Made(bytes.into())
    }

    /// What it holds, as items of their own.
    fn parts(&self) -> Vec<Item<'a>> {
        fn all(json: Json<'_>) -> Vec<Json<'_>> {
            match json.kind() {
                Kind::Object => json.members().map(|(_, value)| value).collect(),
                _ => json.elements().collect(),
            }
        }
        match self {
            Item::Seen(json) => all(*json).into_iter().map(Item::Seen).collect(),
            Item::Made(bytes) => {
                let parts = all(Json::new(bytes)).into_iter();
                parts.map(|part| Item::made(part.bytes().to_vec())).collect()
            }
        }
    }

    /// A member of an object.
    fn member(&self, key: &str) -> Option<Item<'a>> {
        match self {
            Item::Seen(json) => json.member(key).map(Item::Seen),
            Item::Made(bytes) => {
                Json::new(bytes).member(key).map(|found| Item::made(found.bytes().to_vec()))
            }
        }
    }

    fn kind(&self) -> Kind {
        self.json().kind()
    }
}

/// What `silent` passes over, and what it does not.
pub(super) enum Fail {
    Quiet(Report),
    Loud(Report),
}

type Found<T> = Result<T, Fail>;

fn quiet<T>(code: SqlState, message: impl Into<String>) -> Found<T> {
    Err(Fail::Quiet(Report::new(code, message.into())))
}

/// True, false; None is unknown.
type Truth = Option<bool>;

/// A path over a value.
pub(super) struct Walk<'p, 'a> {
    path: &'p Path,
    value: Json<'a>,
    variables: Option<Json<'a>>,
    /// Items that have gone through a step.
    visited: Cell<usize>,
}

/// Where a walk stands.
#[derive(Clone, Copy)]
struct Place<'p, 'a> {
    /// `@`
    current: Option<&'p Item<'a>>,
    /// `last`
    last: i64,
    /// What is not there is passed over.
    lenient: bool,
}

impl<'p, 'a> Walk<'p, 'a> {
    /// Of a path over a value. Variables are members of an object.
    pub(super) fn new(
        path: &'p Path,
        value: Json<'a>,
        variables: Option<Json<'a>>,
    ) -> Walk<'p, 'a> {
        Walk { path, value, variables, visited: Cell::new(0) }
    }

    /// Appends what the path gives, in its order; what was found before an error stays.
    ///
    /// # Errors
    /// What does not fit.
    pub(super) fn run(&self, out: &mut Vec<Item<'a>>) -> Found<()> {
        let place = Place { current: None, last: 0, lenient: !self.path.strict };
        self.node(&self.path.root, place, out)
    }

    fn visit(&self, items: usize) -> Found<()> {
        self.visited.set(self.visited.get().saturating_add(items));
        if self.visited.get() <= VISITED_MAX {
            return Ok(());
        }
        let message = "the jsonpath goes through too many items";
        Err(Fail::Loud(Report::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message)))
    }

    fn is_lax(&self) -> bool {
        !self.path.strict
    }

    fn node(&self, node: &Node, place: Place<'_, 'a>, out: &mut Vec<Item<'a>>) -> Found<()> {
        let item = match node {
            Node::Root => Item::Seen(self.value),
            Node::Current => match place.current {
                Some(current) => current.clone(),
                None => return Ok(()),
            },
            Node::Last => Item::made(of_text(&place.last.to_string())?),
            Node::Null => Item::made(of_null()?),
            Node::Boolean(value) => Item::made(boolean(*value)),
            Node::Number(text) => Item::made(of_text(text)?),
            Node::Text(text) => Item::made(string(text)),
            Node::Variable(name) => self.variable(name)?,
            Node::Chain(start, steps) => {
                let mut starts = Vec::new();
                self.node(start, place, &mut starts)?;
                return starts
                    .iter()
                    .try_for_each(|item| self.steps(item, steps, true, place, out));
            }
            Node::Signed(negative, inner) => return self.signed(*negative, inner, place, out),
            Node::Calculated(operator, left, right) => {
                let left = self.operand("left", *operator, left, place)?;
                let right = self.operand("right", *operator, right, place)?;
                Item::made(shown(calculated(*operator, left, right)?)?)
            }
            predicate => match self.holds(predicate, place)? {
                Some(value) => Item::made(boolean(value)),
                None => Item::made(of_null()?),
            },
        };
        out.push(item);
        Ok(())
    }

    fn variable(&self, name: &str) -> Found<Item<'a>> {
        let found = self.variables.and_then(|variables| variables.member(name));
        found.map(Item::Seen).ok_or_else(|| {
            let message = format!("could not find jsonpath variable \"{name}\"");
            Fail::Loud(Report::new(SqlState::UNDEFINED_OBJECT, message))
        })
    }

    /// The items of a node, those of arrays in lax mode.
    fn unwrapped(&self, node: &Node, place: Place<'_, 'a>) -> Found<Vec<Item<'a>>> {
        let mut found = Vec::new();
        self.node(node, place, &mut found)?;
        if !self.is_lax() {
            return Ok(found);
        }
        let apart = |item: Item<'a>| match item.kind() {
            Kind::Array => item.parts(),
            _ => vec![item],
        };
        Ok(found.into_iter().flat_map(apart).collect())
    }

    fn operand(
        &self,
        side: &str,
        operator: char,
        node: &Node,
        place: Place<'_, 'a>,
    ) -> Found<i256> {
        match self.unwrapped(node, place)?.as_slice() {
            [one] if one.kind() == Kind::Number => number_of(one.json()),
            _ => quiet(
                SqlState::SINGLETON_JSON_ITEM_REQUIRED,
                format!(
                    "{side} operand of jsonpath operator {operator} is not a single numeric value"
                ),
            ),
        }
    }

    fn signed(
        &self,
        negative: bool,
        inner: &Node,
        place: Place<'_, 'a>,
        out: &mut Vec<Item<'a>>,
    ) -> Found<()> {
        for item in self.unwrapped(inner, place)? {
            if item.kind() != Kind::Number {
                let sign = if negative { '-' } else { '+' };
                let message =
                    format!("operand of unary jsonpath operator {sign} is not a numeric value");
                return quiet(SqlState::JSON_NUMBER_NOT_FOUND, message);
            }
            let value = number_of(item.json())?;
            out.push(Item::made(shown(if negative { value.wrapping_neg() } else { value })?));
        }
        Ok(())
    }
}

/// Steps.
impl<'a> Walk<'_, 'a> {
    /// What an item gives when it goes through steps. `apart`: the first of them may take an array apart.
    fn steps(
        &self,
        item: &Item<'a>,
        steps: &[Step],
        apart: bool,
        place: Place<'_, 'a>,
        out: &mut Vec<Item<'a>>,
    ) -> Found<()> {
        self.visit(1)?;
        let Some((step, rest)) = steps.split_first() else {
            out.push(item.clone());
            return Ok(());
        };
        let wants_parts = match step {
            Step::Key(_) | Step::AnyKey | Step::Filter(_) => true,
            Step::Method(method) => !matches!(method, Method::Type | Method::Size),
            Step::AnyElement | Step::Elements(_) | Step::Any(..) => false,
        };
        if wants_parts && apart && self.is_lax() && item.kind() == Kind::Array {
            let parts = item.parts();
            return parts.iter().try_for_each(|part| self.steps(part, steps, false, place, out));
        }
        let mut on = |item: &Item<'a>, place| self.steps(item, rest, true, place, out);
        match step {
            Step::Key(_) | Step::AnyKey | Step::AnyElement => {
                let found = self.parts(item, step, place)?;
                found.iter().try_for_each(|part| on(part, place))
            }
            Step::Elements(ranges) => {
                let found = self.elements(item, ranges, place)?;
                found.iter().try_for_each(|part| on(part, place))
            }
            Step::Any(from, to) => {
                let place = Place { lenient: true, ..place };
                let mut found = Vec::new();
                if *from == Some(0) {
                    found.push(item.clone());
                }
                below(item, 1, (*from, *to), &mut found);
                found.iter().try_for_each(|part| on(part, place))
            }
            Step::Filter(condition) => {
                let inner = Place { current: Some(item), ..place };
                match self.holds(condition, inner)? {
                    Some(true) => on(item, place),
                    _ => Ok(()),
                }
            }
            Step::Method(method) => {
                let made = self.method(*method, item)?;
                made.iter().try_for_each(|made| on(made, place))
            }
        }
    }

    /// What a step gives that goes one level down.
    fn parts(&self, item: &Item<'a>, step: &Step, place: Place<'_, 'a>) -> Found<Vec<Item<'a>>> {
        let (code, message) = match (step, item.kind()) {
            (Step::Key(key), kind) => match (item.member(key), kind) {
                (Some(found), _) => return Ok(vec![found]),
                (None, Kind::Object) => (
                    SqlState::JSON_MEMBER_NOT_FOUND,
                    format!("JSON object does not contain key \"{key}\""),
                ),
                _ => (
                    SqlState::JSON_MEMBER_NOT_FOUND,
                    "jsonpath member accessor can only be applied to an object".to_owned(),
                ),
            },
            (Step::AnyKey, Kind::Object) | (Step::AnyElement, Kind::Array) => {
                return Ok(item.parts());
            }
            (Step::AnyElement, _) if self.is_lax() => return Ok(vec![item.clone()]),
            (Step::AnyElement, _) => (
                SqlState::JSON_ARRAY_NOT_FOUND,
                "jsonpath wildcard array accessor can only be applied to an array".to_owned(),
            ),
            _ => (
                SqlState::JSON_OBJECT_NOT_FOUND,
                "jsonpath wildcard member accessor can only be applied to an object".to_owned(),
            ),
        };
        if place.lenient { Ok(Vec::new()) } else { quiet(code, message) }
    }

    fn elements(
        &self,
        item: &Item<'a>,
        ranges: &[(Node, Option<Node>)],
        place: Place<'_, 'a>,
    ) -> Found<Vec<Item<'a>>> {
        let parts = match item.kind() {
            Kind::Array => item.parts(),
            _ if self.is_lax() => vec![item.clone()],
            _ if place.lenient => return Ok(Vec::new()),
            _ => {
                let message = "jsonpath array accessor can only be applied to an array";
                return quiet(SqlState::JSON_ARRAY_NOT_FOUND, message);
            }
        };
        let size = i64::try_from(parts.len()).unwrap_or(i64::MAX);
        let inner = Place { current: place.current.or(Some(item)), last: size - 1, ..place };
        let mut found = Vec::new();
        for (from, to) in ranges {
            let first = self.index(from, inner)?;
            let last = to.as_ref().map_or(Ok(first), |to| self.index(to, inner))?;
            if !place.lenient && (first < 0 || first > last || last >= size) {
                let message = "jsonpath array subscript is out of bounds";
                return quiet(SqlState::JSON_SUBSCRIPT, message);
            }
            let range = usize::try_from(first.max(0)).unwrap_or(usize::MAX)
                ..usize::try_from(last.min(size - 1) + 1).unwrap_or(0);
            found.extend(parts.get(range).unwrap_or_default().iter().cloned());
        }
        Ok(found)
    }

    /// A place in an array: digits behind the point are cut off.
    fn index(&self, node: &Node, place: Place<'_, 'a>) -> Found<i64> {
        let mut found = Vec::new();
        self.node(node, place, &mut found)?;
        match found.as_slice() {
            [one] if one.kind() == Kind::Number => {
                let whole = number_of(one.json())?.checked_div(one_as_numeric());
                let whole =
                    whole.and_then(i256::to_i128).and_then(|whole| i32::try_from(whole).ok());
                match whole {
                    Some(whole) => Ok(i64::from(whole)),
                    None => quiet(
                        SqlState::JSON_SUBSCRIPT,
                        "jsonpath array subscript is out of integer range",
                    ),
                }
            }
            _ => quiet(
                SqlState::JSON_SUBSCRIPT,
                "jsonpath array subscript is not a single numeric value",
            ),
        }
    }

    fn method(&self, method: Method, item: &Item<'a>) -> Found<Vec<Item<'a>>> {
        let json = item.json();
        let (name, kind) = (method.name(), item.kind());
        let only = |code: SqlState, what: &str| {
            quiet(code, format!("jsonpath item method .{name}() can only be applied to {what}"))
        };
        let made = match (method, kind) {
            (Method::Type, _) => string(kind.name()),
            (Method::Size, Kind::Array) => of_text(&json.count().to_string())?,
            (Method::Size, _) if self.is_lax() => of_text("1")?,
            (Method::Size, _) => return only(SqlState::JSON_ARRAY_NOT_FOUND, "an array"),
            (Method::Double, Kind::Number | Kind::String) => double(json)?,
            (Method::Double, _) => {
                return only(SqlState::NON_NUMERIC_JSON_ITEM, "a string or numeric value");
            }
            (Method::Abs | Method::Floor | Method::Ceiling, Kind::Number) => {
                shown(rounded(method, number_of(json)?))?
            }
            (Method::Abs | Method::Floor | Method::Ceiling, _) => {
                return only(SqlState::NON_NUMERIC_JSON_ITEM, "a numeric value");
            }
            (Method::KeyValue, Kind::Object) => return self.members(json),
            (Method::KeyValue, _) => return only(SqlState::JSON_OBJECT_NOT_FOUND, "an object"),
        };
        Ok(vec![Item::made(made)])
    }

    /// `{"id": 0, "key": "a", "value": 1}` of each member; the id tells objects apart: where they begin in the value.
    fn members(&self, json: Json<'_>) -> Found<Vec<Item<'a>>> {
        let whole = self.value.bytes().as_ptr_range();
        let at = json.bytes().as_ptr();
        let within = if whole.contains(&at) { at.addr() - whole.start.addr() } else { 0 };
        let id = of_text(&within.to_string())?;
        let row = |(key, value): (&str, Json<'_>)| {
            let members =
                [("id", id.clone()), ("key", string(key)), ("value", value.bytes().to_vec())];
            Item::made(object(&members))
        };
        Ok(json.members().map(row).collect())
    }
}

/// Predicates.
impl<'a> Walk<'_, 'a> {
    fn holds(&self, node: &Node, place: Place<'_, 'a>) -> Found<Truth> {
        Ok(match node {
            Node::And(left, right) => match self.holds(left, place)? {
                Some(false) => Some(false),
                Some(true) => self.holds(right, place)?,
                None => self.holds(right, place)?.filter(|right| !right),
            },
            Node::Or(left, right) => match self.holds(left, place)? {
                Some(true) => Some(true),
                Some(false) => self.holds(right, place)?,
                None => self.holds(right, place)?.filter(|right| *right),
            },
            Node::Not(inner) => self.holds(inner, place)?.map(|value| !value),
            Node::IsUnknown(inner) => Some(self.holds(inner, place)?.is_none()),
            Node::Exists(inner) => {
                let mut found = Vec::new();
                match caught(self.node(inner, place, &mut found))? {
                    None if self.path.strict || found.is_empty() => None,
                    _ => Some(!found.is_empty()),
                }
            }
            Node::Compared(operator, left, right) => {
                let (Some(left), Some(right)) =
                    (self.sides(left, place)?, self.sides(right, place)?)
                else {
                    return Ok(None);
                };
                self.visit(left.len().saturating_mul(right.len()))?;
                let pairs =
                    left.iter().flat_map(|l| right.iter().map(move |r| (l.json(), r.json())));
                self.any(pairs.map(|(left, right)| compared(operator, left, right)))
            }
            Node::StartsWith(left, initial) => {
                let (Some(left), Some(initial)) =
                    (self.sides(left, place)?, self.sides(initial, place)?)
                else {
                    return Ok(None);
                };
                let begins = |item: &Item<'a>| {
                    let initial = initial.first()?.json();
                    Some(item.json().as_str()?.starts_with(initial.as_str()?))
                };
                self.any(left.iter().map(begins))
            }
            Node::Like(left, expression) => {
                let Some(left) = self.sides(left, place)? else { return Ok(None) };
                let mut pattern = expression.0.borrow_mut();
                let mut truths = Vec::with_capacity(left.len());
                for item in &left {
                    let matches = item.json().as_str().map(|text| pattern.is_match(text));
                    truths.push(matches.transpose().map_err(Fail::Loud)?);
                }
                self.any(truths.into_iter())
            }
            _ => None,
        })
    }

    /// The items of one side; None where they cannot be told.
    fn sides(&self, node: &Node, place: Place<'_, 'a>) -> Found<Option<Vec<Item<'a>>>> {
        caught(self.unwrapped(node, place))
    }

    /// True if it is for any; in strict mode unknown if it is unknown for any.
    fn any(&self, truths: impl Iterator<Item = Truth>) -> Truth {
        let (mut found, mut unknown) = (false, false);
        for truth in truths {
            match truth {
                None if self.path.strict => return None,
                None => unknown = true,
                Some(true) if self.is_lax() => return Some(true),
                Some(value) => found |= value,
            }
        }
        if found { Some(true) } else { (!unknown).then_some(false) }
    }
}

/// None for an error that makes a predicate unknown.
fn caught<T>(found: Found<T>) -> Found<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Fail::Quiet(_)) => Ok(None),
        Err(loud) => Err(loud),
    }
}

/// What is in an item, level by level, each before what it holds. None is the last level.
fn below<'a>(
    item: &Item<'a>,
    level: u32,
    (from, to): (Option<u32>, Option<u32>),
    out: &mut Vec<Item<'a>>,
) {
    for part in item.parts() {
        let holds = matches!(part.kind(), Kind::Array | Kind::Object);
        let wanted = match (from, to) {
            (None, _) => !holds,
            (Some(from), to) => level >= from && to.is_none_or(|to| level <= to),
        };
        if wanted {
            out.push(part.clone());
        }
        if holds && to.is_none_or(|to| level < to) {
            below(&part, level + 1, (from, to), out);
        }
    }
}

fn compared(operator: &str, left: Json<'_>, right: Json<'_>) -> Truth {
    let (left_kind, right_kind) = (left.kind(), right.kind());
    if left_kind != right_kind {
        let one_is_null = left_kind == Kind::Null || right_kind == Kind::Null;
        return one_is_null.then_some(operator == "!=");
    }
    let order = match left_kind {
        Kind::Null => Ordering::Equal,
        Kind::Boolean => left.as_bool().cmp(&right.as_bool()),
        Kind::String => left.as_str().cmp(&right.as_str()),
        // Their bytes compare as numbers do.
        Kind::Number => left.bytes().cmp(right.bytes()),
        Kind::Array | Kind::Object => return None,
    };
    Some(match operator {
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    })
}

fn calculated(operator: char, left: i256, right: i256) -> Found<i256> {
    if matches!(operator, '/' | '%') && right == i256::ZERO {
        return quiet(SqlState::DIVISION_BY_ZERO, "division by zero");
    }
    let (l, r) = ((left, NUMERIC_SCALE), (right, NUMERIC_SCALE));
    let value = match operator {
        '+' => left.checked_add(right),
        '-' => left.checked_sub(right),
        '*' => product_of(l, r),
        '/' => quotient_of(l, r),
        _ => left.checked_rem(right),
    };
    value.map_or_else(
        || quiet(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format"),
        Ok,
    )
}

fn one_as_numeric() -> i256 {
    i256::from_i128(10_i128.pow(NUMERIC_SCALE.unsigned_abs().into()))
}

fn rounded(method: Method, value: i256) -> i256 {
    let one = one_as_numeric();
    let rest = value.wrapping_rem(one);
    let cut = value.wrapping_sub(rest);
    match method {
        Method::Floor if rest < i256::ZERO => cut.wrapping_sub(one),
        Method::Ceiling if rest > i256::ZERO => cut.wrapping_add(one),
        Method::Floor | Method::Ceiling => cut,
        _ if value < i256::ZERO => value.wrapping_neg(),
        _ => value,
    }
}

fn double(json: Json<'_>) -> Found<Vec<u8>> {
    let text = match json.as_str() {
        Some(text) => text.trim().to_owned(),
        None => text_of(json),
    };
    let what = if json.kind() == Kind::String { "string" } else { "numeric" };
    let value: Option<f64> = text.parse().ok();
    match value.filter(|value| value.is_finite()) {
        Some(value) => of_text(&value.to_string()),
        None => quiet(
            SqlState::NON_NUMERIC_JSON_ITEM,
            format!(
                "{what} argument of jsonpath item method .double() is not a valid representation of a double precision number"
            ),
        ),
    }
}

fn number_of(json: Json<'_>) -> Found<i256> {
    numeric(&text_of(json), None).map_err(Fail::Quiet)
}

fn text_of(json: Json<'_>) -> String {
    let mut text = String::new();
    show(json, &mut text);
    text
}

/// A number of numeric's scale.
fn shown(value: i256) -> Found<Vec<u8>> {
    let digits = value.wrapping_abs().to_string();
    let places = usize::from(NUMERIC_SCALE.unsigned_abs());
    let digits = format!("{digits:0>width$}", width = places + 1);
    let (whole, part) = digits.split_at(digits.len() - places);
    of_text(&format!("{}{whole}.{part}", if value < i256::ZERO { "-" } else { "" }))
}

fn of_text(text: &str) -> Found<Vec<u8>> {
    number(text).map_err(Fail::Quiet)
}

fn of_null() -> Found<Vec<u8>> {
    millrace_types::json::encode("null").map_err(Fail::Loud)
}
