//! The time zone of a session: what reads, shows or moves a `timestamp with time zone` is told it.
//!
//! A session in UTC has nothing to tell: everything else is done in UTC. The rule runs behind DataFusion's
//! type coercion, so that the casts that it has put in are told, too.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, cast, lit};
use millrace_types::input::Zone;

use crate::functions::{
    self, ARRAY_LIKE, ASSIGNED, MOVING, SERIES, Zoned, at_zone, has_times, is_zoned, zoned,
};

/// What shows its arguments as text.
const AS_TEXT: [&str; 6] =
    ["array_to_string", "concat", "concat_ws", "format", "quote_literal", "quote_nullable"];
/// What makes JSON of its arguments.
const AS_JSON: [&str; 4] =
    ["to_jsonb", "jsonb_build_array", "jsonb_build_object", functions::OBJECT_OF];

/// True if a plan is told a zone: it would give other rows in a session with another.
pub fn depends_on_zone(plan: &LogicalPlan, zone: Zone) -> bool {
    let name = zone.to_string();
    let is_name = |arg: &Expr| match arg {
        Expr::Literal(value, _) => value.try_as_str().flatten() == Some(name.as_str()),
        _ => false,
    };
    let is_told = |part: &Expr| match part {
        Expr::ScalarFunction(call) => call.args.iter().any(is_name),
        _ => false,
    };
    let tells = |expr: &Expr| expr.exists(|part| Ok(is_told(part))).unwrap_or(false);
    let found = plan.exists(|node| {
        let mut found = false;
        node.apply_expressions(|expr| {
            found |= tells(expr);
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(found)
    });
    found.unwrap_or(false)
}

fn local() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

/// An expression that is told the zone, if it depends on one.
pub(super) fn told(expr: Expr, schema: &DFSchema, zone: Zone) -> Result<Transformed<Expr>> {
    match expr {
        Expr::Cast(cast) => {
            let from = cast.expr.get_type(schema)?;
            Ok(match converted(&cast.expr, &from, cast.field.data_type(), zone)? {
                Some(expr) => Transformed::yes(expr),
                None => Transformed::no(Expr::Cast(cast)),
            })
        }
        Expr::BinaryExpr(binary) => Ok(match moved(&binary, schema, zone) {
            Some(expr) => Transformed::yes(expr),
            None => Transformed::no(Expr::BinaryExpr(binary)),
        }),
        Expr::ScalarFunction(call) => called(call, schema, zone),
        other => Ok(Transformed::no(other)),
    }
}

/// A value as another type; None if no zone has a part in it.
fn converted(value: &Expr, from: &DataType, to: &DataType, zone: Zone) -> Result<Option<Expr>> {
    let given = || value.clone();
    Ok(match (from, to) {
        (from, DataType::List(field)) if is_zoned(field.data_type()) => {
            let texts = DataType::new_list(DataType::Utf8, true);
            let is_of_texts = match from {
                DataType::List(from) => from.data_type().is_string(),
                from => from.is_string(),
            };
            let texts = if *from == texts { given() } else { cast(given(), texts) };
            is_of_texts.then(|| zoned(Zoned::Read, vec![texts], zone))
        }
        (from, to) if from.is_string() => read(value, to, zone)?,
        (from, to) if has_times(from) && to.is_string() => {
            let text = zoned(Zoned::Text, vec![given()], zone);
            Some(if from.is_nested() { cast(text, to.clone()) } else { text })
        }
        (from, DataType::Timestamp(_, None)) if is_zoned(from) => Some(at_zone(zone, given())),
        (from, DataType::Date32 | DataType::Time64(_)) if is_zoned(from) => {
            Some(cast(at_zone(zone, given()), to.clone()))
        }
        (DataType::Timestamp(_, None), to) if is_zoned(to) => Some(at_zone(zone, given())),
        (DataType::Date32, to) if is_zoned(to) => Some(at_zone(zone, cast(given(), local()))),
        _ => None,
    })
}

/// A text as a time.
fn read(text: &Expr, to: &DataType, zone: Zone) -> Result<Option<Expr>> {
    let Expr::Literal(value, metadata) = text else {
        return Ok(is_zoned(to).then(|| zoned(Zoned::Read, vec![text.clone()], zone)));
    };
    if let Some(moving) = functions::moving(value, to) {
        return Ok(Some(moving_at(moving, zone)));
    }
    match value.try_as_str().flatten().filter(|_| is_zoned(to)) {
        Some(text) => {
            let time = functions::read_at(text, zone)?;
            Ok(Some(Expr::Literal(time, metadata.clone())))
        }
        None => Ok(None),
    }
}

/// `'today'` where the day begins elsewhere.
fn moving_at(moving: Expr, zone: Zone) -> Expr {
    match moving {
        Expr::ScalarFunction(mut call) if call.args.len() == 2 => {
            call.args.push(lit(zone.to_string()));
            Expr::ScalarFunction(call)
        }
        other => other,
    }
}

/// `time + interval`, unless all days have 24 hours for it.
fn moved(binary: &BinaryExpr, schema: &DFSchema, zone: Zone) -> Option<Expr> {
    let is_span = |expr: &Expr| matches!(expr.get_type(schema), Ok(DataType::Interval(_)));
    let is_time = |expr: &Expr| expr.get_type(schema).is_ok_and(|found| is_zoned(&found));
    let (left, right) = (binary.left.as_ref(), binary.right.as_ref());
    let (time, span) = match binary.op {
        Operator::Plus if is_time(left) && is_span(right) => (left, right.clone()),
        Operator::Plus if is_span(left) && is_time(right) => (right, left.clone()),
        Operator::Minus if is_time(left) && is_span(right) => (left, negative(right)),
        _ => return None,
    };
    if let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(span)), _) = &span
        && (span.months, span.days) == (0, 0)
    {
        return None;
    }
    Some(zoned(Zoned::Add, vec![time.clone(), span], zone))
}

fn negative(span: &Expr) -> Expr {
    match span {
        Expr::Literal(value, metadata) => match value.arithmetic_negate() {
            Ok(value) => Expr::Literal(value, metadata.clone()),
            Err(_) => Expr::Negative(Box::new(span.clone())),
        },
        span => Expr::Negative(Box::new(span.clone())),
    }
}

fn called(mut call: ScalarFunction, schema: &DFSchema, zone: Zone) -> Result<Transformed<Expr>> {
    let types = call.args.iter().map(|arg| arg.get_type(schema)).collect::<Result<Vec<_>>>()?;
    let is_time = |at: usize| types.get(at).is_some_and(is_zoned);
    let shows = |at: usize| types.get(at).is_some_and(has_times);
    let known = |call: ScalarFunction| Expr::ScalarFunction(call);
    let (count, own) = (call.args.len(), zone.to_string());
    let changed = match call.name() {
        "date_trunc" if count == 2 && is_time(1) => {
            call.args.push(lit(own));
            known(call)
        }
        SERIES if count == 3 && is_time(0) => {
            call.args.push(lit(own));
            known(call)
        }
        MOVING if count == 2 => moving_at(known(call), zone),
        "make_timestamptz" if count == 6 => {
            call.args.push(lit(own));
            known(call)
        }
        "date_part" | "extract" if count == 2 && is_time(1) => return part(call, schema, zone),
        "date" | "to_local_time" if is_time(0) => {
            known(each(call, is_time, |arg| at_zone(zone, arg)))
        }
        "to_char" if count == 2 && is_time(0) => zoned(Zoned::ToChar, call.args, zone),
        "to_timestamp" if count == 2 => zoned(Zoned::ToTimestamp, call.args, zone),
        "age" if is_time(0) || is_time(1) => known(each(call, is_time, |a| at_zone(zone, a))),
        "overlaps" => known(lengths(call, &types, zone)),
        "localtimestamp" | "current_date" | "current_time" => {
            let wanted = known(call.clone()).get_type(schema)?;
            let places = if call.name() == "localtimestamp" { call.args } else { Vec::new() };
            let now = at_zone(zone, functions::now(places));
            if wanted == local() { now } else { cast(now, wanted) }
        }
        ASSIGNED => return assigned(call, &types, zone),
        ARRAY_LIKE if is_time(1) && types[0].is_string() => {
            let texts = cast(call.args.swap_remove(0), DataType::new_list(DataType::Utf8, true));
            zoned(Zoned::Read, vec![texts], zone)
        }
        name if AS_TEXT.contains(&name) && (0..count).any(shows) => {
            known(each(call, shows, |arg| zoned(Zoned::Text, vec![arg], zone)))
        }
        name if AS_JSON.contains(&name) && (0..count).any(shows) => {
            known(each(call, shows, |arg| zoned(Zoned::Iso, vec![arg], zone)))
        }
        _ => return Ok(Transformed::no(known(call))),
    };
    Ok(Transformed::yes(changed))
}

/// The call with some of its arguments changed.
fn each(
    mut call: ScalarFunction,
    is_wanted: impl Fn(usize) -> bool,
    change: impl Fn(Expr) -> Expr,
) -> ScalarFunction {
    let args = call.args.into_iter().enumerate();
    call.args = args.map(|(at, arg)| if is_wanted(at) { change(arg) } else { arg }).collect();
    call
}

/// `(start, length)` of OVERLAPS as its bounds.
fn lengths(mut call: ScalarFunction, types: &[DataType], zone: Zone) -> ScalarFunction {
    for at in [1, 3] {
        let is_length = matches!(types.get(at), Some(DataType::Interval(_)));
        if is_length && types.get(at - 1).is_some_and(is_zoned) {
            let args = vec![call.args[at - 1].clone(), call.args[at].clone()];
            call.args[at] = zoned(Zoned::Add, args, zone);
        }
    }
    call
}

/// A field of a time, as a clock shows it.
fn part(mut call: ScalarFunction, schema: &DFSchema, zone: Zone) -> Result<Transformed<Expr>> {
    let unit = functions::written_unit(&call.args[0]);
    let seconds = |time: Expr| zoned(Zoned::Offset, vec![time], zone);
    let time = call.args[1].clone();
    let number = match unit {
        // Seconds since 1970 are the same everywhere.
        Some("epoch") => return Ok(Transformed::no(Expr::ScalarFunction(call))),
        Some("timezone") => seconds(time),
        Some("timezone_hour") => seconds(time) / lit(3_600i64),
        Some("timezone_minute") => seconds(time) / lit(60i64) % lit(60i64),
        _ => {
            call.args[1] = at_zone(zone, time);
            return Ok(Transformed::yes(Expr::ScalarFunction(call)));
        }
    };
    let wanted = Expr::ScalarFunction(call).get_type(schema)?;
    Ok(Transformed::yes(cast(number, wanted)))
}

/// What is assigned to a column of another type of times.
fn assigned(mut call: ScalarFunction, types: &[DataType], zone: Zone) -> Result<Transformed<Expr>> {
    let [from, to, ..] = types else { return Ok(Transformed::no(Expr::ScalarFunction(call))) };
    let is_text = from.is_string() && !matches!(call.args[0], Expr::Literal(..));
    match converted(&call.args[0], from, to, zone)? {
        // A text that is no literal is not assigned to a time.
        Some(value) if !is_text => {
            call.args[0] = value;
            Ok(Transformed::yes(Expr::ScalarFunction(call)))
        }
        _ => Ok(Transformed::no(Expr::ScalarFunction(call))),
    }
}
