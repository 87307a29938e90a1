//! Parameters `$1`, `$2`, ...: their types and their values.
//!
//! A query is planned once to see what types its context gives the parameters, and again with a type
//! for each, so that everything else gets the type that follows from them. What nothing types is
//! text.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ParamValues, Result as DfResult, ScalarValue};
use datafusion::logical_expr::expr::{Cast, Placeholder, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Union};
use datafusion::sql::sqlparser::ast::Query;
use millrace_types::{Report, SqlState, SqlType};

use super::context::Context;
use super::{arguments, plan_query};
use crate::error::report_in;
use crate::functions::{SERIES, type_name};

/// What is known of the parameters of a statement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parameters<'a> {
    /// Types that the client declared; None where it left them open.
    hints: &'a [Option<DataType>],
    /// Their values; None while the statement is only prepared.
    values: Option<&'a [ScalarValue]>,
}

impl<'a> Parameters<'a> {
    /// A statement that may not have any.
    pub fn none() -> Parameters<'static> {
        Parameters { hints: &[], values: Some(&[]) }
    }

    /// A statement that is prepared.
    pub fn typed(hints: &'a [Option<DataType>]) -> Parameters<'a> {
        Parameters { hints, values: None }
    }

    /// A statement that runs with these values.
    pub fn values(hints: &'a [Option<DataType>], values: &'a [ScalarValue]) -> Parameters<'a> {
        Parameters { hints, values: Some(values) }
    }

    /// The plan of a query with its values put in, and the types of the parameters.
    pub(super) fn plan(
        &self,
        context: &Context<'_>,
        query: &Query,
        text: &str,
    ) -> Result<(LogicalPlan, Vec<DataType>), Report> {
        let wrong = |error| report_in(&error, text);
        let first = plan_query(context, query, self.hints).map_err(wrong)?;
        let mut inferred = inferred(&first).map_err(wrong)?;
        if inferred.is_empty() {
            return Ok((first, Vec::new()));
        }
        if inferred.iter().any(|(at, _)| self.hint(*at).is_none()) {
            // What is wrong with the plan is found when everything has a type.
            let coerced = crate::analyze::coerced(first, context.state.config_options());
            let coerced = coerced.and_then(|plan| self::inferred(&plan)).unwrap_or_default();
            inferred.extend(coerced.into_iter().map(|(at, found)| (at, found.map(known))));
        }
        let types = self.types(&inferred)?;
        let hints: Vec<_> = types.iter().cloned().map(Some).collect();
        let plan = plan_query(context, query, &hints).map_err(wrong)?;
        let Some(values) = self.values else { return Ok((plan, types)) };
        if let Some(missing) = (values.len()..types.len()).next() {
            let message = format!("there is no parameter ${}", missing + 1);
            return Err(Report::new(SqlState::UNDEFINED_PARAMETER, message));
        }
        let values = values.iter().zip(&types).map(|(value, wanted)| cast(value, wanted));
        let values = ParamValues::from(values.collect::<Result<Vec<_>, _>>()?);
        let plan = plan.replace_params_with_values(&values).map_err(wrong)?;
        Ok((plan, types))
    }

    fn types(&self, inferred: &[(usize, Option<DataType>)]) -> Result<Vec<DataType>, Report> {
        let count = inferred.iter().map(|(at, _)| at + 1).max().unwrap_or(0);
        if count > usize::from(u16::MAX) {
            let message = format!("there is no parameter ${count}");
            return Err(Report::new(SqlState::UNDEFINED_PARAMETER, message));
        }
        let of = |at: usize| {
            let hint = self.hint(at);
            let found = inferred.iter().find(|(i, t)| *i == at && t.is_some());
            hint.or_else(|| found.and_then(|(_, t)| t.clone())).unwrap_or(DataType::Utf8)
        };
        Ok((0..count).map(of).collect())
    }

    fn hint(&self, at: usize) -> Option<DataType> {
        self.hints.get(at).cloned().flatten()
    }
}

fn cast(value: &ScalarValue, wanted: &DataType) -> Result<ScalarValue, Report> {
    if value.data_type() == *wanted {
        return Ok(value.clone());
    }
    value.cast_to(wanted).map_err(|error| {
        let report = crate::error::report(error);
        report.detail(format!("The parameter is of type {}.", type_name(wanted)))
    })
}

/// A type that DataFusion has chosen, as one that a client knows.
fn known(found: DataType) -> DataType {
    if found.is_string() {
        return DataType::Utf8;
    }
    SqlType::of_arrow(&found).map_or(found, |known| known.arrow())
}

/// Every parameter of a plan, counted from 0, with the type that its place gives it.
fn inferred(plan: &LogicalPlan) -> DfResult<Vec<(usize, Option<DataType>)>> {
    let mut found = Vec::new();
    plan.apply_with_subqueries(|node| {
        let is_limit = matches!(node, LogicalPlan::Limit(_));
        let mut schema = DFSchema::empty();
        node.inputs().iter().for_each(|input| schema.merge(input.schema()));
        if let LogicalPlan::Filter(filter) = node {
            found.extend(open(&filter.predicate).map(|at| (at, Some(DataType::Boolean))));
        }
        if let LogicalPlan::Union(union) = node {
            found.extend(combined(union));
        }
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                found.extend(placed(part, &schema));
                if let Expr::Placeholder(Placeholder { id, field }) = part {
                    let typed = field.as_ref().map(|f| f.data_type()).cloned();
                    let typed = typed.filter(|t| !t.is_null());
                    let limit = is_limit.then_some(DataType::Int64);
                    found.extend(number(id).map(|at| (at, typed.or(limit))));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    found.sort_by_key(|(at, _)| *at);
    Ok(found)
}

/// The parameters that are columns of a part of a UNION, with the types that the other parts give them.
fn combined(union: &Union) -> Vec<(usize, Option<DataType>)> {
    let (mut leaves, mut open_parts) = (Vec::new(), vec![union]);
    while let Some(union) = open_parts.pop() {
        for input in &union.inputs {
            match input.as_ref() {
                LogicalPlan::Union(inner) => open_parts.push(inner),
                leaf => leaves.push(leaf),
            }
        }
    }
    let type_at = |at: usize| {
        let types =
            leaves.iter().filter_map(|leaf| Some(leaf.schema().fields().get(at)?.data_type()));
        types.into_iter().find(|found| !found.is_null()).cloned()
    };
    let listed = leaves.iter().filter_map(|leaf| match leaf {
        LogicalPlan::Projection(projection) => Some(&projection.expr),
        _ => None,
    });
    let of = |(at, expr): (usize, &Expr)| Some((open(unnamed(expr))?, type_at(at)));
    listed.flat_map(|exprs| exprs.iter().enumerate().filter_map(of)).collect()
}

fn unnamed(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unnamed(&alias.expr),
        _ => expr,
    }
}

/// The parameters directly inside an expression to which it gives types.
fn placed(expr: &Expr, schema: &DFSchema) -> Vec<(usize, Option<DataType>)> {
    let one = |inner: &Expr, wanted: DataType| {
        open(inner).map(|at| (at, Some(wanted))).into_iter().collect()
    };
    match expr {
        Expr::Cast(Cast { expr, field }) => one(expr, field.data_type().clone()),
        Expr::Not(inner) | Expr::IsTrue(inner) | Expr::IsFalse(inner) => {
            one(inner, DataType::Boolean)
        }
        Expr::IsNotTrue(inner) | Expr::IsNotFalse(inner) => one(inner, DataType::Boolean),
        Expr::ScalarFunction(call) if call.name() == SERIES => bounds(call, schema),
        Expr::ScalarFunction(call) => arguments(call.name(), &call.args, schema),
        Expr::WindowFunction(call) => arguments(call.fun.name(), &call.params.args, schema),
        _ => Vec::new(),
    }
}

/// The parameters among the arguments of a function.
fn arguments(name: &str, args: &[Expr], schema: &DFSchema) -> Vec<(usize, Option<DataType>)> {
    let list = |item: &Expr| Some(DataType::new_list(item.get_type(schema).ok()?, true));
    let of = |(at, arg): (usize, &Expr)| {
        let number = open(arg)?;
        match args {
            // `x = ANY($1)`
            [_, item] if name == "array_has" && at == 0 => Some((number, list(item))),
            _ => Some((number, arguments::wanted(name, args, at, schema))),
        }
    };
    args.iter().enumerate().filter_map(of).collect()
}

/// The parameters of a series, with the types that its other bounds give them.
fn bounds(call: &ScalarFunction, schema: &DFSchema) -> Vec<(usize, Option<DataType>)> {
    let given: DfResult<Vec<DataType>> = call
        .args
        .iter()
        .map(|arg| if open(arg).is_some() { Ok(DataType::Null) } else { arg.get_type(schema) })
        .collect();
    let wanted = given.and_then(|given| call.func.coerce_types(&given)).unwrap_or_default();
    let wanted = call.args.iter().zip(wanted).filter(|(_, wanted)| !wanted.is_null());
    wanted.filter_map(|(arg, wanted)| Some((open(arg)?, Some(wanted)))).collect()
}

/// The number of a parameter that has no type yet.
fn open(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Placeholder(Placeholder { id, field: None }) => number(id),
        _ => None,
    }
}

/// `$1` is 0.
fn number(id: &str) -> Option<usize> {
    id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}
