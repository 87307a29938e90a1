//! `CREATE TABLE ... AS`: the columns of a table that takes the rows of a query.
//!
//! A calculated numeric has as many digits as its calculation needs; in a table it is `numeric`, as in
//! PostgreSQL, so that rows that come later are not rounded to them. What a column or a cast declares stays.

use arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use millrace_types::{Report, SqlType};

use super::Bound;
use super::view::named;
use crate::ast::Name;
use crate::catalog::TableColumn;
use crate::error::report;
use crate::functions::CONVERT;

/// A query whose rows a table takes: its plan, and the columns of the table.
///
/// # Errors
/// More names than columns, equal names, or a type that no column can have.
pub fn rows_of_table(
    bound: Bound,
    names: &[Name],
) -> Result<(LogicalPlan, Vec<TableColumn>), Report> {
    let (plan, schema) = named(bound.plan, names)?;
    let column = |(at, field): (usize, &Field)| TableColumn {
        name: field.name().clone(),
        sql_type: match SqlType::of_arrow(field.data_type()).expect("it has been looked at") {
            SqlType::Numeric(Some(_)) if !is_declared(&plan, at) => SqlType::Numeric(None),
            sql_type => sql_type,
        },
        length: None,
        not_null: false,
        default: None,
        identity: None,
    };
    let fields = schema.fields().iter().map(AsRef::as_ref);
    let columns: Vec<TableColumn> = fields.enumerate().map(column).collect();
    let wanted: Vec<DataType> = columns.iter().map(|column| column.sql_type.arrow()).collect();
    let plan = with_types(plan, &wanted).map_err(report)?;
    Ok((plan, columns))
}

/// The plan with columns of some types.
fn with_types(plan: LogicalPlan, types: &[DataType]) -> datafusion::common::Result<LogicalPlan> {
    let fields = plan.schema().fields();
    if fields.iter().zip(types).all(|(field, wanted)| field.data_type() == wanted) {
        return Ok(plan);
    }
    let columns = plan.schema().columns().into_iter().zip(types).zip(fields.iter());
    let columns = columns.map(|((column, wanted), field)| {
        let name = column.name.clone();
        match field.data_type() == wanted {
            true => Expr::Column(column),
            false => cast(Expr::Column(column), wanted.clone()).alias(name),
        }
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// True if a column of a table, or a cast, says how many digits a numeric has.
fn is_declared(plan: &LogicalPlan, at: usize) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => match bare(&projection.expr[at]) {
            Expr::Column(column) => {
                let below = projection.input.schema().index_of_column(column);
                below.is_ok_and(|below| is_declared(&projection.input, below))
            }
            Expr::Cast(_) => true,
            Expr::ScalarFunction(call) => call.name() == CONVERT,
            _ => false,
        },
        LogicalPlan::Join(join) => {
            let left = join.left.schema().fields().len();
            match at < left {
                true => is_declared(&join.left, at),
                false => {
                    at - left < join.right.schema().fields().len()
                        && is_declared(&join.right, at - left)
                }
            }
        }
        LogicalPlan::SubqueryAlias(alias) => is_declared(&alias.input, at),
        LogicalPlan::Filter(filter) => is_declared(&filter.input, at),
        LogicalPlan::Sort(sort) => is_declared(&sort.input, at),
        LogicalPlan::Limit(limit) => is_declared(&limit.input, at),
        LogicalPlan::TableScan(_) => true,
        _ => false,
    }
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => bare(&alias.expr),
        expr => expr,
    }
}
