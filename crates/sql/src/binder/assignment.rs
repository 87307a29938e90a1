//! Values for the columns of a table: with their types, or their defaults.
//!
//! An assigned value is cast to the type of its column if an assignment allows that, which is found out
//! when its type is known ([`crate::functions::ASSIGNED`]). COPY assigns texts to whatever the columns are.

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, SelectItem, SetExpr, Spanned, TableFactor, UnaryOperator, Value,
};
use millrace_types::{Report, SqlType};

use super::change::{item, item_span, select_of};
use super::literal;
use super::syntax::call;
use crate::catalog::{Table, TableColumn};
use crate::functions::{ASSIGNED, FITTING, ONE_VALUE};
use crate::parser::{parse_expression, parse_query};
use crate::text::Text;
use crate::typenames;

/// A value for a column: with its type, or its default.
pub(super) fn assigned_value(
    value: Expr,
    column: usize,
    table: &Table,
    text: &Text<'_>,
) -> Result<Expr, Report> {
    let at = text.position(value.span().start);
    cast_value(value, column, table, Some(at))
}

/// The same; `checked` if the type of the value must fit, with where it stands.
pub(super) fn cast_value(
    value: Expr,
    column: usize,
    table: &Table,
    checked: Option<Option<usize>>,
) -> Result<Expr, Report> {
    let definition = &table.columns[column];
    let value = match &value {
        _ if is_default(&value) => match definition.default_text() {
            Some(text) => parse_expression(&text)?,
            None => Expr::value(Value::Null),
        },
        _ if checked.is_some() && !fits(&value, &definition.sql_type) => {
            let text = |text: &str| Expr::value(Value::SingleQuotedString(text.to_owned()));
            let at = checked.flatten().map_or_else(String::new, |at| at.to_string());
            let zero = typed(Expr::value(Value::Null), definition)?;
            call(ASSIGNED, vec![value, zero, text(&definition.name), text(&at)])
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
        Expr::Nested(inner) => fits(inner, to),
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
    text: &Text<'_>,
) -> Result<Box<Query>, Report> {
    let mut query = parse_query("VALUES (1)")?;
    let SetExpr::Values(values) = query.body.as_mut() else { unreachable!("it is VALUES") };
    let row = values.rows.pop().ok_or_else(|| Report::unsupported("an empty VALUES"))?;
    for given in rows {
        let content = complete(given, targets, table, text)?;
        let mut row = row.clone();
        row.content = content;
        values.rows.push(row);
    }
    Ok(query)
}

/// One value for each column of the table, in order.
fn complete(
    given: Vec<Expr>,
    targets: &[usize],
    table: &Table,
    text: &Text<'_>,
) -> Result<Vec<Expr>, Report> {
    let default = || Expr::Identifier(Ident::new("DEFAULT"));
    let mut values = vec![default(); table.columns.len()];
    for (value, target) in given.into_iter().zip(targets) {
        values[*target] = value;
    }
    let values = values.into_iter().enumerate();
    values.map(|(column, value)| assigned_value(value, column, table, text)).collect()
}

/// True for a column of a query that may be a literal without a type.
fn is_literal(source: &Query, at: usize) -> bool {
    let SetExpr::Select(select) = source.body.as_ref() else { return false };
    if select.distinct.is_some() {
        return false;
    }
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

/// Gives the parameters that a query lists the types of the columns that they are for.
fn type_parameters(source: &mut Query, targets: &[usize], table: &Table) -> Result<(), Report> {
    let SetExpr::Select(select) = source.body.as_mut() else { return Ok(()) };
    let is_list = |item: &SelectItem| {
        matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
    };
    if select.distinct.is_some() || !select.projection.iter().all(is_list) {
        return Ok(());
    }
    for (item, target) in select.projection.iter_mut().zip(targets) {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
            && matches!(expr, Expr::Value(value) if matches!(value.value, Value::Placeholder(_)))
        {
            *expr = typed(expr.clone(), &table.columns[*target])?;
        }
    }
    Ok(())
}

/// The rows of a query, with the table's types.
pub(super) fn selected(
    source: &Query,
    targets: &[usize],
    table: &Table,
    checked: Option<&Text<'_>>,
) -> Result<Box<Query>, Report> {
    let names: Vec<String> = (0..targets.len()).map(|n| format!("given_{n}")).collect();
    let mut query =
        parse_query(&format!("SELECT 1 FROM (SELECT 1) AS given ({})", names.join(", ")))?;
    let given = names.iter().map(|name| Expr::Identifier(Ident::with_quote('"', name.as_str())));
    let mut values = complete(Vec::new(), &[], table, &Text::new(""))?;
    for (at, (value, target)) in given.zip(targets).enumerate() {
        let place = |text: &Text<'_>| {
            let span = item_span(source, at);
            span.and_then(|span| text.position(span.start))
        };
        let checked = checked.filter(|_| !is_literal(source, at)).map(place);
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
        type_parameters(subquery, targets, table)?;
    }
    Ok(query)
}
