//! Aggregate calls: which are kept incrementally, and what they need of the input.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams, NullTreatment};
use datafusion::logical_expr::{AggregateUDF, Cast, Expr};
use millrace_plan::Function;
use millrace_types::Report;

use crate::functions::{self, type_name};

use super::refuse::{internal, not_yet};

/// One call over expressions.
#[derive(Clone, Debug)]
pub(super) struct CallExpr {
    pub(super) function: Function,
    /// The function that is run again over all rows; its arguments may be literals.
    pub(super) rebuilt: Option<Rebuilt>,
    pub(super) args: Vec<Expr>,
    pub(super) distinct: bool,
    pub(super) filter: Option<Expr>,
    /// Expression, descending, nulls first.
    pub(super) order: Vec<(Expr, bool, bool)>,
}

/// A function of the library that is run again over all rows of a group.
#[derive(Clone, Debug)]
pub(super) struct Rebuilt {
    pub(super) function: Arc<AggregateUDF>,
    /// The result depends on the order of the rows.
    pub(super) ordered: bool,
}

impl Rebuilt {
    /// True if an order says what is looked for among the first arguments.
    pub(super) fn is_within_group(&self) -> bool {
        self.function.supports_within_group_clause()
    }
}

impl CallExpr {
    /// True if the key of the rows decides between rows that the order leaves equal.
    pub(super) fn breaks_ties(&self) -> bool {
        let ordered = self.rebuilt.as_ref().is_some_and(|rebuilt| rebuilt.ordered);
        let ends = matches!(self.function, Function::FirstValue | Function::LastValue);
        ends || (ordered && !self.distinct)
    }

    /// All expressions of the call.
    pub(super) fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.args.iter().chain(&self.filter).chain(self.order.iter().map(|(expr, ..)| expr))
    }
}

/// The function of a name, if views keep it.
fn function(name: &str) -> Option<Function> {
    Some(match name {
        "count" => Function::Count,
        "sum" => Function::Sum,
        "avg" | "mean" => Function::Avg,
        "var_pop" | "var_population" => Function::VarPop,
        "var" | "var_samp" | "var_sample" | "variance" => Function::VarSamp,
        "stddev_pop" => Function::StddevPop,
        "stddev" | "stddev_samp" => Function::StddevSamp,
        "bool_and" | "every" => Function::BoolAnd,
        "bool_or" => Function::BoolOr,
        "min" => Function::Min,
        "max" => Function::Max,
        "first_value" => Function::FirstValue,
        "last_value" => Function::LastValue,
        _ => return None,
    })
}

/// The functions that are run again over the rows of a group, and whether the order of the rows
/// decides.
const REBUILT: [(&str, bool); 27] = [
    ("any_value", true),
    ("approx_distinct", false),
    ("approx_median", false),
    ("approx_percentile_cont", false),
    ("approx_percentile_cont_with_weight", false),
    ("array_agg", true),
    ("bit_and", false),
    ("bit_or", false),
    ("bit_xor", false),
    ("corr", false),
    ("covar_pop", false),
    ("covar_samp", false),
    ("median", false),
    ("mode", false),
    ("nth_value", true),
    ("percentile_cont", false),
    ("percentile_disc", false),
    ("regr_avgx", false),
    ("regr_avgy", false),
    ("regr_count", false),
    ("regr_intercept", false),
    ("regr_r2", false),
    ("regr_slope", false),
    ("regr_sxx", false),
    ("regr_sxy", false),
    ("regr_syy", false),
    ("string_agg", true),
];

fn rebuilt(function: &Arc<AggregateUDF>) -> Option<Rebuilt> {
    let name = function.name();
    let (_, ordered) = *REBUILT.iter().find(|(known, _)| *known == name)?;
    Some(Rebuilt { function: Arc::clone(function), ordered })
}

/// The call that an aggregate expression of the logical plan is; its parts still name the logical
/// plan's columns.
pub(super) fn parse(expr: &Expr) -> Result<CallExpr, Report> {
    let AggregateFunction { func, params } = match expr {
        Expr::Alias(alias) => return parse(&alias.expr),
        Expr::AggregateFunction(call) => call,
        _ => return Err(internal("an aggregate is not a call")),
    };
    let mut params = params.clone();
    if params.distinct {
        // Distinct values are told by what they are equal to.
        let own = |expr: &Expr| functions::without_one_value(expr).clone();
        params.args = params.args.iter().map(own).collect();
        params.order_by.iter_mut().for_each(|order| order.expr = own(&order.expr));
    }
    let params = &params;
    let name = func.name();
    if matches!(params.null_treatment, Some(NullTreatment::IgnoreNulls)) {
        return Err(not_yet(&format!("{name}() with IGNORE NULLS is")));
    }
    let Some(function) = function(name) else {
        let rebuilt = rebuilt(func).ok_or_else(|| {
            not_yet(&format!("{name}() in a materialized view is"))
                .hint("Use it in a SELECT over a view that keeps the rows.")
        })?;
        return again(rebuilt, params);
    };
    // Of equal values, min, max, bool_and and bool_or take one as well as all.
    let idempotent =
        matches!(function, Function::Min | Function::Max | Function::BoolAnd | Function::BoolOr);
    let takes_order = matches!(function, Function::FirstValue | Function::LastValue);
    if params.distinct && takes_order {
        return Err(not_yet(&format!("{name}(DISTINCT ...) in a materialized view is")));
    }
    let args = match (function, params.args.as_slice()) {
        (Function::Count, [Expr::Literal(value, _)]) if !value.is_null() && !params.distinct => {
            Vec::new()
        }
        (Function::Count, []) => Vec::new(),
        (_, [argument]) => vec![argument.clone()],
        _ => return Err(not_yet(&format!("{name}() with several arguments is"))),
    };
    let order = if takes_order { order(params) } else { Vec::new() };
    let filter = params.filter.as_deref().cloned();
    let distinct = params.distinct && !idempotent;
    Ok(CallExpr { function, rebuilt: None, args, distinct, filter, order })
}

fn order(params: &AggregateFunctionParams) -> Vec<(Expr, bool, bool)> {
    let keys = params.order_by.iter();
    keys.map(|key| (key.expr.clone(), !key.asc, key.nulls_first)).collect()
}

/// The call of a function that is run again.
fn again(rebuilt: Rebuilt, params: &AggregateFunctionParams) -> Result<CallExpr, Report> {
    let name = rebuilt.function.name();
    let order =
        if rebuilt.is_within_group() || rebuilt.ordered { order(params) } else { Vec::new() };
    if params.distinct
        && rebuilt.ordered
        && order.iter().any(|(key, ..)| !params.args.contains(key))
    {
        return Err(not_yet(&format!("{name}(DISTINCT ... ORDER BY another expression) is")));
    }
    Ok(CallExpr {
        function: Function::Rebuilt,
        args: params.args.clone(),
        distinct: params.distinct,
        filter: params.filter.as_deref().cloned(),
        order,
        rebuilt: Some(rebuilt),
    })
}

/// True for the functions that add numbers up.
fn adds_up(function: Function) -> bool {
    matches!(
        function,
        Function::Sum
            | Function::Avg
            | Function::VarPop
            | Function::VarSamp
            | Function::StddevPop
            | Function::StddevSamp
    )
}

/// Checks the type of an argument whose equal values count once.
pub(super) fn check_distinct(name: &str, argument: &DataType) -> Result<(), Report> {
    match argument {
        // Intervals that look different may be equal: a day and 24 hours.
        DataType::Interval(_) => {
            Err(not_yet(&format!("{name}(DISTINCT interval) in a materialized view is")))
        }
        _ => Ok(()),
    }
}

/// Checks the type of a call's argument.
pub(super) fn check_argument(function: Function, argument: &DataType) -> Result<(), Report> {
    let fits = match function {
        Function::Min | Function::Max => {
            argument.is_numeric()
                || argument.is_string()
                || matches!(
                    argument,
                    DataType::Boolean
                        | DataType::Date32
                        | DataType::Time64(_)
                        | DataType::Timestamp(..)
                        | DataType::Binary
                )
        }
        function => !adds_up(function) || argument.is_numeric(),
    };
    match fits {
        true => Ok(()),
        false => {
            let (name, of) = (function.name(), type_name(argument));
            Err(not_yet(&format!("{name}({of}) in a materialized view is")))
        }
    }
}

/// The argument below the casts that type coercion put around it: exact numbers are added up as
/// they are, which is faster, and the result's type says what becomes of them.
pub(super) fn raw_argument(
    function: Function,
    mut argument: Expr,
    type_of: &dyn Fn(&Expr) -> Option<DataType>,
) -> Expr {
    if !adds_up(function) {
        return argument;
    }
    argument = argument.unalias_nested().data;
    while let Expr::Cast(Cast { expr, field }) = &argument {
        match type_of(expr) {
            Some(from) if keeps_value(&from, field.data_type()) => argument = (**expr).clone(),
            _ => break,
        }
    }
    argument
}

/// Digits before and after the point of an exact type, and whether it is an integer.
fn digits(data_type: &DataType) -> Option<(i16, i16, bool)> {
    let integer = |digits| Some((digits, 0, true));
    match data_type {
        DataType::Int8 | DataType::UInt8 => integer(3),
        DataType::Int16 | DataType::UInt16 => integer(5),
        DataType::Int32 | DataType::UInt32 => integer(10),
        DataType::Int64 => integer(19),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => Some((i16::from(*p) - i16::from(*s), i16::from(*s), false)),
        _ => None,
    }
}

/// True if every value of one exact type is a value of the other.
fn keeps_value(from: &DataType, to: &DataType) -> bool {
    let signed = |t: &DataType| !t.is_unsigned_integer();
    match (digits(from), digits(to)) {
        (Some((_, _, true)), Some((_, _, true))) => {
            from.primitive_width() < to.primitive_width() && signed(to)
        }
        (Some((whole, after, _)), Some((to_whole, to_after, false))) => {
            whole <= to_whole && after <= to_after
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Settings, session_state};

    /// What the planner refuses by another name: `grouping()` is a column of the grouping sets.
    const REFUSED: [&str; 1] = ["grouping"];

    #[test]
    fn every_aggregate_of_a_session_has_a_class_or_is_refused() {
        let state = session_state(&Settings::default());
        let without = state.aggregate_functions().values().filter(|known| {
            let classed = function(known.name()).is_some() || rebuilt(known).is_some();
            !classed && !REFUSED.contains(&known.name())
        });
        let without: Vec<&str> = without.map(|known| known.name()).collect();
        assert!(without.is_empty(), "aggregates without a class: {without:?}");
    }

    #[test]
    fn every_function_that_is_run_again_is_one_of_the_session() {
        let state = session_state(&Settings::default());
        for (name, _) in REBUILT {
            let known = state.aggregate_functions().get(name);
            assert_eq!(known.map(|known| known.name()), Some(name));
            assert!(function(name).is_none(), "{name} has a class of its own");
        }
    }

    #[test]
    fn casts_that_lose_nothing_are_looked_through() {
        let numeric = DataType::Decimal256(76, 20);
        assert!(keeps_value(&DataType::Int64, &numeric));
        assert!(keeps_value(&DataType::Int16, &DataType::Int64));
        assert!(keeps_value(&DataType::Decimal128(10, 2), &numeric));
        assert!(!keeps_value(&DataType::Decimal128(10, 2), &DataType::Int64));
        assert!(!keeps_value(&DataType::Int64, &DataType::Int16));
        assert!(!keeps_value(&DataType::Int64, &DataType::Float64));
        assert!(!keeps_value(&DataType::Decimal128(38, 25), &numeric));
    }
}
