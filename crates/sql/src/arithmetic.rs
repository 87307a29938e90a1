//! An analyzer rule: arithmetic and casts of numbers as PostgreSQL does them.
//!
//! DataFusion's integer operators wrap, its float division gives infinity, and its casts to integers
//! truncate. After types are resolved this rule puts checked functions in their places; decimals are
//! rounded by a cast to scale 0 on the way. Names of columns stay.
//!
//! Invariants: 1. running it again changes nothing more than rounding what is whole already.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, cast};
use datafusion::optimizer::AnalyzerRule;

use crate::functions;

#[derive(Debug)]
pub(crate) struct Arithmetic;

impl AnalyzerRule for Arithmetic {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(rewrite)?.data)
    }

    fn name(&self) -> &'static str {
        "postgres_arithmetic"
    }
}

fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut schema = match &plan {
        LogicalPlan::TableScan(scan) => scan.projected_schema.as_ref().clone(),
        _ => DFSchema::empty(),
    };
    for input in plan.inputs() {
        schema.merge(input.schema());
    }
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let saved = names.save(&expr);
        let changed = expr.transform_up(|expr| Ok(checked(expr, &schema)))?;
        Ok(changed.update_data(|expr| saved.restore(expr)))
    })
}

fn checked(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(binary) => match replaced(&binary, schema) {
            Some(expr) => Transformed::yes(expr),
            None => Transformed::no(Expr::BinaryExpr(binary)),
        },
        Expr::Cast(Cast { expr, field }) if field.data_type().is_integer() => {
            match expr.get_type(schema) {
                Ok(DataType::Float64 | DataType::Float32) if !functions::is_rounded(&expr) => {
                    let rounded = Box::new(functions::round_half_even(*expr));
                    Transformed::yes(Expr::Cast(Cast { expr: rounded, field }))
                }
                Ok(DataType::Decimal128(_, scale)) if scale > 0 => {
                    let whole = Box::new(cast(*expr, DataType::Decimal128(38, 0)));
                    Transformed::yes(Expr::Cast(Cast { expr: whole, field }))
                }
                Ok(DataType::Decimal256(_, scale)) if scale > 0 => {
                    let whole = Box::new(cast(*expr, DataType::Decimal256(76, 0)));
                    Transformed::yes(Expr::Cast(Cast { expr: whole, field }))
                }
                _ => Transformed::no(Expr::Cast(Cast { expr, field })),
            }
        }
        other => Transformed::no(other),
    }
}

/// The checked call for an operator that wraps or gives infinity.
fn replaced(binary: &BinaryExpr, schema: &DFSchema) -> Option<Expr> {
    let data_type = binary.left.get_type(schema).ok()?;
    if binary.right.get_type(schema).ok()? != data_type {
        return None;
    }
    let wraps = matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64)
        && matches!(binary.op, Operator::Plus | Operator::Minus | Operator::Multiply);
    let divides =
        matches!(data_type, DataType::Float32 | DataType::Float64) && binary.op == Operator::Divide;
    if !wraps && !divides {
        return None;
    }
    let function = functions::checked(binary.op)?;
    let args = vec![(*binary.left).clone(), (*binary.right).clone()];
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(function, args)))
}
