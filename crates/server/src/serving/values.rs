//! Which columns a condition binds to some values: `a = 1`, `a IN (1, 2)`, `a = 1 OR a = 2`. What the
//! leading columns of an order are bound to makes keys to look up.
//!
//! Only types whose equal values are one key take part: not 0 and -0 of double precision, nor intervals.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Expr, Operator};
use millrace_storage::Points;

use super::content::{column_of, literal_of};

/// By column, the values that it may have.
pub type Values = BTreeMap<usize, ArrayRef>;

/// Keys that are looked up at most; a condition with more of them is a range.
const KEYS_MAX: usize = 100_000;

/// Adds what a conjunction says; of a column that is bound twice the shorter list counts.
pub(super) fn collect_values(filter: &Expr, schema: &SchemaRef, values: &mut Values) {
    if let Expr::BinaryExpr(binary) = filter
        && binary.op == Operator::And
    {
        collect_values(&binary.left, schema, values);
        collect_values(&binary.right, schema, values);
        return;
    }
    let mut list = Vec::new();
    let Some(column) = bound(filter, schema, &mut list) else { return };
    let Ok(list) = ScalarValue::iter_to_array(list) else { return };
    if values.get(&column).is_none_or(|known| list.len() < known.len()) {
        values.insert(column, list);
    }
}

/// The one column that a condition binds to values, which are added to a list.
fn bound(filter: &Expr, schema: &SchemaRef, list: &mut Vec<ScalarValue>) -> Option<usize> {
    match filter {
        Expr::BinaryExpr(binary) if binary.op == Operator::Or => {
            let column = bound(&binary.left, schema, list)?;
            (bound(&binary.right, schema, list)? == column).then_some(column)
        }
        Expr::BinaryExpr(binary) if binary.op == Operator::Eq => {
            let (left, right) = (&*binary.left, &*binary.right);
            let (column, value) = match (literal_of(left), literal_of(right)) {
                (None, Some(value)) => (column_of(left, schema)?, value),
                (Some(value), None) => (column_of(right, schema)?, value),
                _ => return None,
            };
            add(schema, column, value, list)
        }
        Expr::InList(InList { expr, list: values, negated: false }) => {
            let column = column_of(expr, schema)?;
            for value in values {
                match value {
                    // It equals nothing.
                    Expr::Literal(value, _) if value.is_null() => {}
                    value => drop(add(schema, column, literal_of(value)?, list)?),
                }
            }
            (!list.is_empty()).then_some(column)
        }
        _ => None,
    }
}

fn add(
    schema: &SchemaRef,
    column: usize,
    value: &ScalarValue,
    list: &mut Vec<ScalarValue>,
) -> Option<usize> {
    let wanted = schema.field(column).data_type();
    (is_exact(wanted) && value.data_type() == *wanted).then(|| {
        list.push(value.clone());
        column
    })
}

/// True of types whose equal values are one key.
pub(super) fn is_exact(data_type: &DataType) -> bool {
    let decimal = matches!(data_type, DataType::Decimal128(..) | DataType::Decimal256(..));
    let text = matches!(data_type, DataType::Utf8 | DataType::Binary | DataType::Boolean);
    let time = matches!(data_type, DataType::Timestamp(..) | DataType::Time64(_));
    data_type.is_signed_integer() || decimal || text || time || *data_type == DataType::Date32
}

/// The keys that the leading columns of an order are bound to; None if the first one is not bound.
pub(super) fn points(sort: &[usize], values: &Values) -> Result<Option<Points>> {
    let mut keys: Vec<ArrayRef> = Vec::new();
    for list in sort.iter().map_while(|column| values.get(column)) {
        let count = keys.first().map_or(1, |column| column.len());
        let all = count.saturating_mul(list.len());
        if all > KEYS_MAX {
            break;
        }
        // Each key so far with each value.
        let length = u32::try_from(list.len()).unwrap_or(u32::MAX);
        let rows = 0..u32::try_from(all).unwrap_or(u32::MAX);
        let repeated = UInt32Array::from_iter_values(rows.clone().map(|row| row / length));
        let cycled = UInt32Array::from_iter_values(rows.map(|row| row % length));
        keys = keys.iter().map(|key| take(key, &repeated, None)).collect::<Result<_, _>>()?;
        keys.push(take(list, &cycled, None)?);
    }
    if keys.is_empty() {
        return Ok(None);
    }
    let failed = |error: millrace_storage::Error| DataFusionError::External(error.report().into());
    Points::new(&keys).map(Some).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, Schema};
    use datafusion::prelude::{col, lit};

    use super::*;

    #[test]
    fn values_of_the_leading_columns_make_keys() {
        let field = |name: &str, data_type| Field::new(name, data_type, true);
        let fields = vec![
            field("a", DataType::Int64),
            field("b", DataType::Utf8),
            field("f", DataType::Float64),
        ];
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let keys = |filter: Expr| {
            let mut values = Values::new();
            collect_values(&filter, &schema, &mut values);
            points(&[0, 1], &values).unwrap().map(|points| points.len())
        };
        let (a, b) = (|| col("a"), || col("b"));
        assert_eq!(keys(a().eq(lit(1i64))), Some(1));
        assert_eq!(keys(a().eq(lit(1i64)).or(lit(2i64).eq(a()))), Some(2));
        let list = a().in_list(vec![lit(1i64), lit(2i64), lit(1i64)], false);
        assert_eq!(keys(list.clone()), Some(2));
        assert_eq!(keys(list.clone().and(b().in_list(vec![lit("x"), lit("y")], false))), Some(4));
        assert_eq!(keys(list.and(a().eq(lit(2i64)))), Some(1), "the shorter list");
        assert_eq!(keys(b().eq(lit("x"))), None, "the first column is not bound");
        assert_eq!(keys(a().eq(lit(1i64)).or(b().eq(lit("x")))), None);
        assert_eq!(keys(a().in_list(vec![lit(1i64)], true)), None);
        assert_eq!(keys(a().eq(lit(1i32))), None, "another type would compare other bytes");
        assert_eq!(keys(a().eq(lit(1i64)).or(a().gt(lit(2i64)))), None);
    }
}
