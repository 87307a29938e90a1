//! Values for the columns of a table: with their types, or their defaults.
//!
//! An assigned value is cast to the type of its column if an assignment allows that, which is found out
//! when its type is known ([`crate::functions::ASSIGNED`]). COPY assigns texts to whatever the columns are.

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, SelectItem, SetExpr, TableFactor, UnaryOperator, Value,
};
use millrace_types::{Report, SqlType};

use super::change::{item, select_of};
use super::literal;
use super::syntax::call;
use crate::catalog::{Table, TableColumn};
use crate::functions::{ASSIGNED, FITTING, ONE_VALUE};
use crate::parser::{parse_expression, parse_query};
use crate::typenames;

/// A value for a column: with its type, or its default.
pub(super) fn assigned_value(value: Expr, column: usize, table: &Table) -> Result<Expr, Report> {
    cast_value(value, column, table, true)
}

/// The same; `checked` if the type of the value must fit.
fn cast_value(value: Expr, column: usize, table: &Table, checked: bool) -> Result<Expr, Report> {
    let definition = &table.columns[column];
    let value = match &value {
        _ if is_default(&value) => match definition.default_text() {
            Some(text) => parse_expression(&text)?,
            None => Expr::value(Value::Null),
        },
        _ if checked && !fits(&value, &definition.sql_type) => {
            let text = |text: &str| Expr::value(Value::SingleQuotedString(text.to_owned()));
            let zero = typed(Expr::value(Value::Null), definition)?;
            call(ASSIGNED, vec![value, zero, text(&definition.name)])
        }
        _ => value,
    };
    let value = typed(value, definition)?;
    let value = match definition.length {
        Some(length) => {
            let length = Expr::value(Value::Number(length.to_string(), false));
            call(FITTING, vec![value, length])
        }
        None => value,
    };
    // Equal keys must look alike: both zeros, and all NaNs.
    let is_float = matches!(definition.sql_type, SqlType::Real | SqlType::Double);
    Ok(match is_float && table.key.contains(&column) {
        true => call(ONE_VALUE, vec![value]),
        false => value,
    })
}

/// True for the word DEFAULT.
pub(super) fn is_default(value: &Expr) -> bool {
    let Expr::Identifier(ident) = value else { return false };
    ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default")
}

/// True for a literal that takes the type of a column, or has it.
fn fits(value: &Expr, to: &SqlType) -> bool {
    let is_number = matches!(
        to,
        SqlType::SmallInt
            | SqlType::Integer
            | SqlType::BigInt
            | SqlType::Numeric(_)
            | SqlType::Real
            | SqlType::Double
    );
    match value {
        Expr::Value(value) => match &value.value {
            Value::Number(..) => is_number,
            Value::Boolean(_) => *to == SqlType::Boolean,
            _ => true,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, .. } => {
            is_number && literal::digits_of(value).is_some()
        }
        _ => false,
    }
}

/// A value with the type of a column.
fn typed(value: Expr, column: &TableColumn) -> Result<Expr, Report> {
    let mut cast = parse_expression("CAST(NULL AS text)")?;
    if let Expr::Cast { expr, data_type, .. } = &mut cast {
        **expr = value;
        *data_type = typenames::written(&column.sql_type)?;
    }
    Ok(cast)
}

/// Rows of values for some columns, and defaults for the others.
pub(super) fn values_query(
    rows: Vec<Vec<Expr>>,
    targets: &[usize],
    table: &Table,
) -> Result<Box<Query>, Report> {
    let mut query = parse_query("VALUES (1)")?;
    let SetExpr::Values(values) = query.body.as_mut() else { unreachable!("it is VALUES") };
    let row = values.rows.pop().ok_or_else(|| Report::unsupported("an empty VALUES"))?;
    for given in rows {
        let content = complete(given, targets, table)?;
        let mut row = row.clone();
        row.content = content;
        values.rows.push(row);
    }
    Ok(query)
}

/// One value for each column of the table, in order.
fn complete(given: Vec<Expr>, targets: &[usize], table: &Table) -> Result<Vec<Expr>, Report> {
    let default = || Expr::Identifier(Ident::new("DEFAULT"));
    let mut values = vec![default(); table.columns.len()];
    for (value, target) in given.into_iter().zip(targets) {
        values[*target] = value;
    }
    let values = values.into_iter().enumerate();
    values.map(|(column, value)| assigned_value(value, column, table)).collect()
}

/// True for a column of a query that may be a literal without a type.
fn is_literal(source: &Query, at: usize) -> bool {
    let SetExpr::Select(select) = source.body.as_ref() else { return false };
    let literal = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(Expr::Value(value))
        | SelectItem::ExprWithAlias { expr: Expr::Value(value), .. } => {
            matches!(
                value.value,
                Value::SingleQuotedString(_) | Value::Null | Value::Placeholder(_)
            )
        }
        _ => false,
    };
    let is_list = |item: &SelectItem| {
        matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
    };
    match select.projection.iter().all(is_list) {
        true => select.projection.get(at).is_some_and(literal),
        // What `*` stands for is not known here.
        false => select.projection.iter().any(literal),
    }
}

/// The rows of a query, with the table's types.
pub(super) fn selected(
    source: &Query,
    targets: &[usize],
    table: &Table,
    checked: bool,
) -> Result<Box<Query>, Report> {
    let names: Vec<String> = (0..targets.len()).map(|n| format!("given_{n}")).collect();
    let mut query =
        parse_query(&format!("SELECT 1 FROM (SELECT 1) AS given ({})", names.join(", ")))?;
    let given = names.iter().map(|name| Expr::Identifier(Ident::with_quote('"', name.as_str())));
    let mut values = complete(Vec::new(), &[], table)?;
    for (at, (value, target)) in given.zip(targets).enumerate() {
        let checked = checked && !is_literal(source, at);
        values[*target] = cast_value(value, *target, table, checked)?;
    }
    let select = select_of(&mut query);
    select.projection = (values.into_iter().enumerate())
        .map(|(number, value)| item(value, format!("new_{number}")))
        .collect();
    if let Some(TableFactor::Derived { subquery, .. }) =
        select.from.first_mut().map(|from| &mut from.relation)
    {
        **subquery = source.clone();
    }
    Ok(query)
}
