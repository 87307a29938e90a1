//! Expressions as a user would write them: operators in place of the functions that check them,
//! constants without their types, columns without their positions.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use millrace_plan::Scalar;

use crate::functions;
use crate::guard::unguarded;
use crate::stream::time::show;

/// An argument; text is quoted.
pub(super) fn argument(scalar: &Scalar) -> String {
    match scalar.0.downcast_ref::<Literal>().map(Literal::value) {
        Some(ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text))) => {
            format!("'{text}'")
        }
        _ => expression(scalar),
    }
}

/// An expression without the positions of its columns: `id@0` is `id`.
pub(super) fn expression(scalar: &Scalar) -> String {
    if let Some(sum) = scalar.0.downcast_ref::<BinaryExpr>()
        && let Some(by) = sum.right().downcast_ref::<Literal>()
        && let ScalarValue::DurationMicrosecond(Some(micros)) = by.value()
    {
        let left = expression(&Scalar(Arc::clone(sum.left())));
        return format!("{left} {} {}", sum.op(), show(*micros));
    }
    without_positions(&with_operators(scalar).to_string())
}

/// The expression with operators in place of the functions that check them.
fn with_operators(scalar: &Scalar) -> Arc<dyn PhysicalExpr> {
    let plain = Arc::clone(&scalar.0).transform_up(|expr| {
        if let Some(plain) = unguarded(&expr) {
            return Ok(Transformed::yes(plain));
        }
        let call = expr.downcast_ref::<ScalarFunctionExpr>();
        if let (Some(call), [value, _]) =
            (call.filter(|call| call.name() == functions::CONVERT), expr.children().as_slice())
        {
            let cast = CastExpr::new(Arc::clone(value), call.return_type().clone(), None);
            return Ok(Transformed::yes(Arc::new(cast) as Arc<dyn PhysicalExpr>));
        }
        let operator = call.and_then(|call| functions::operator(call.name()));
        let children = expr.children();
        let (Some(operator), [left, right]) = (operator, children.as_slice()) else {
            drop(children);
            return Ok(Transformed::no(expr));
        };
        let binary = BinaryExpr::new(Arc::clone(left), operator, Arc::clone(right));
        Ok(Transformed::yes(Arc::new(binary) as Arc<dyn PhysicalExpr>))
    });
    plain.map_or_else(|_| Arc::clone(&scalar.0), |plain| plain.data)
}

fn without_positions(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let digits = rest[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let end = at + 1 + digits;
        shown.push_str(&rest[..if digits == 0 { end } else { at }]);
        rest = &rest[end..];
    }
    shown.push_str(rest);
    shown
}

/// The text with constants as SQL writes them; DataFusion names a column with their types.
pub(super) fn readable(text: &str) -> String {
    let mut shown = intervals(text);
    let wrappers = [
        ("IntervalMonthDayNano(\"", "\")", ""),
        ("Utf8(\"", "\")", "'"),
        ("Int64(", ")", ""),
        ("Float64(", ")", ""),
    ];
    for (open, close, quote) in wrappers {
        while let Some(at) = shown.find(open) {
            let inner = at + open.len();
            let Some(length) = shown[inner..].find(close) else { break };
            let value = format!("{quote}{}{quote}", &shown[inner..inner + length]);
            shown.replace_range(at..inner + length + close.len(), &value);
        }
    }
    shown
}

/// Replaces the debug form of intervals.
fn intervals(text: &str) -> String {
    const NAME: &str = "IntervalMonthDayNano { ";
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(NAME) {
        let inner = &rest[at + NAME.len()..];
        let Some(end) = inner.find('}') else { break };
        let numbers: Vec<i64> = inner[..end]
            .split(',')
            .filter_map(|part| part.split(':').nth(1)?.trim().parse().ok())
            .collect();
        let [months, days, nanos] = numbers[..] else { break };
        shown.push_str(&rest[..at]);
        shown.push_str("INTERVAL '");
        for (count, unit) in [(months, "months "), (days, "days ")] {
            if count != 0 {
                shown.push_str(&format!("{count} {unit}"));
            }
        }
        shown.push_str(&show(nanos / 1_000));
        shown.push('\'');
        rest = &inner[end + 1..];
    }
    shown.push_str(rest);
    shown
}
