//! Functions in FROM that give rows: `generate_series(a, b [, step])`, `unnest(list, ...)`, the parts of JSON
//! (`jsonb_array_elements`, `jsonb_object_keys`, `jsonb_each`), alone or over columns of what stands before them (`FROM t, unnest(t.list) AS u (x)`), `WITH ORDINALITY`.
//!
//! Each is a list, or several side by side, for each row, which are then spread over rows, so that the
//! same plan runs in batch and as a maintained view; one that stands alone has one row to start from. What
//! stands before one over columns is in parentheses together with it ([`super::fold`]). A long series of
//! constant integers stays DataFusion's own, which makes its rows as they are read.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::common::{Column, Result, UnnestOptions};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::sql::sqlparser::ast::{
    DataType as SqlDataType, Expr as SqlExpr, FunctionArg, FunctionArgExpr, Join, JoinConstraint,
    JoinOperator, Spanned, TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins, Value,
    Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use millrace_types::{Report, SqlState};

use super::literal;
use super::relation::fail;
use super::rows::RowsOf;
use crate::functions;
use crate::names;
use crate::text::Text;
use crate::typenames;

/// The lists of a row, and then their values.
const LIST: &str = "\u{0}series";

/// True for a join that is planned here.
fn is_folded(from: &TableWithJoins) -> bool {
    matches!(from.joins.as_slice(), [join] if is_lateral(&join.relation))
}

/// A function in FROM.
struct Call<'a> {
    position: Span,
    of: RowsOf,
    args: Vec<&'a SqlExpr>,
    alias: Option<&'a TableAlias>,
    ordinality: bool,
}

/// The function that an item of FROM is, if it is one of ours.
fn call(factor: &TableFactor) -> Option<Call<'_>> {
    let (name, args, alias, ordinality) = match factor {
        TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. } => {
            (name, args.args.as_slice(), alias, *with_ordinality)
        }
        TableFactor::Function { name, args, alias, with_ordinality, .. } => {
            (name, args.as_slice(), alias, *with_ordinality)
        }
        TableFactor::UNNEST { alias, array_exprs, with_ordinality, with_offset: false, .. } => {
            return Some(Call {
                position: factor.span(),
                of: RowsOf::Arrays,
                args: array_exprs.iter().collect(),
                alias: alias.as_ref(),
                ordinality: *with_ordinality,
            });
        }
        _ => return None,
    };
    let of = RowsOf::named(name)?;
    let args = args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) => Some(arg),
        _ => None,
    });
    let (args, position) = (args.collect::<Option<_>>()?, name.span());
    Some(Call { position, of, args, alias: alias.as_ref(), ordinality })
}

/// Which function an item of FROM is, and its alias.
pub(super) fn called(factor: &TableFactor) -> Option<(RowsOf, Option<&TableAlias>)> {
    call(factor).map(|call| (call.of, call.alias))
}

/// What the table of a function in FROM is called, and its columns.
pub(super) fn shown(factor: &TableFactor) -> Option<(String, Vec<String>)> {
    let call = call(factor)?;
    let lists = match call.of {
        RowsOf::Arrays => call.args.len(),
        RowsOf::Members(_) => 2,
        RowsOf::Records(_) => call.alias.map_or(0, |alias| alias.columns.len()),
        RowsOf::Series
        | RowsOf::Found(_)
        | RowsOf::Parts(_)
        | RowsOf::Split
        | RowsOf::Subscripts => 1,
    };
    Some(names(&call, lists + usize::from(call.ordinality)))
}

/// True for a function whose arguments name columns.
pub(super) fn is_lateral(factor: &TableFactor) -> bool {
    struct Columns;
    impl Visitor for Columns {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &SqlExpr) -> ControlFlow<()> {
            match expr {
                SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    call(factor).is_some_and(|call| call.args.iter().any(|arg| arg.visit(&mut Columns).is_break()))
}

/// Plans such functions.
#[derive(Debug)]
pub(super) struct TableFunctions {
    /// The statement, for positions.
    text: String,
}

impl TableFunctions {
    pub(super) fn new(text: &str) -> TableFunctions {
        TableFunctions { text: text.to_owned() }
    }

    /// A function after what stands before it.
    fn joined(
        &self,
        left: TableFactor,
        join: &Join,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let Some(call) = call(&join.relation) else {
            return fail(Report::unsupported("this function in FROM"), None);
        };
        let kind = kind(&join.join_operator);
        let Some(kind) = kind else {
            let position = Text::new(&self.text).position(call.position.start);
            let what = "this kind of join with a function over columns";
            let hint = "CROSS JOIN, JOIN and LEFT JOIN ... ON true are there.";
            return fail(Report::unsupported(what).hint(hint), position);
        };
        let left = context.plan(left)?;
        let plan = self.spread(left, &call, matches!(kind, Kind::Left), context)?;
        match kind {
            Kind::On(condition) => {
                let condition = context.sql_to_expr(condition.clone(), plan.schema())?;
                LogicalPlanBuilder::from(plan).filter(condition)?.build()
            }
            Kind::Cross | Kind::Left => Ok(plan),
        }
    }

    /// The rows of a plan, each as often as its lists are long.
    fn spread(
        &self,
        left: LogicalPlan,
        call: &Call<'_>,
        keeps_left: bool,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let args = call.args.iter().map(|arg| {
            let mut arg = (*arg).clone();
            literal::type_integer(&mut arg);
            context.sql_to_expr(arg, left.schema())
        });
        let args = args.collect::<Result<Vec<Expr>>>()?;
        let mut lists = call.of.lists(args);
        let position = Text::new(&self.text).position(call.position.start);
        for list in &lists {
            let found = list.get_type(left.schema())?;
            if !matches!(found, DataType::List(_)) {
                let given = functions::type_name(&found);
                let message = format!("function unnest({given}) does not exist");
                return fail(Report::new(SqlState::UNDEFINED_FUNCTION, message), position);
            }
        }
        if call.ordinality {
            lists.push(functions::places(lists.clone()));
        }
        if keeps_left {
            let padded = |at: usize| {
                let others = lists.iter().enumerate().filter(|(other, _)| *other != at);
                let others = others.map(|(_, list)| list.clone());
                functions::padded(std::iter::once(lists[at].clone()).chain(others).collect())
            };
            lists = (0..lists.len()).map(padded).collect();
        }
        let own: Vec<Expr> = left.schema().columns().into_iter().map(Expr::Column).collect();
        let named = |at: usize| format!("{LIST}{at}");
        let values: Vec<Column> =
            (0..lists.len()).map(|at| Column::new_unqualified(named(at))).collect();
        let lists = lists.into_iter().enumerate().map(|(at, list)| list.alias(named(at)));
        let (table, columns) = names(call, values.len());
        let shown: Vec<Expr> = match defined(call) {
            Ok(None) => {
                let shown = values.iter().map(|value| Expr::Column(value.clone())).zip(&columns);
                shown
                    .map(|(value, name)| value.alias_qualified(Some(table.as_str()), name))
                    .collect()
            }
            Ok(Some(columns)) => {
                let object = Expr::Column(Column::new_unqualified(named(0)));
                let column = |(name, data_type): &(String, DataType)| {
                    let member = functions::member_as(object.clone(), name, data_type)?;
                    Ok(member.alias_qualified(Some(table.as_str()), name))
                };
                columns.iter().map(column).collect::<Result<_>>()?
            }
            Err(report) => return fail(report, position),
        };
        let options = UnnestOptions::new().with_preserve_nulls(false);
        LogicalPlanBuilder::from(left)
            .project(own.iter().cloned().chain(lists))?
            .unnest_columns_with_options(values.clone(), options)?
            .project(own.iter().cloned().chain(shown))?
            .build()
    }

    /// A function that stands alone.
    fn alone(
        &self,
        call: &Call<'_>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        if let Some(numbers) = long_series(call) {
            let (table, columns) = names(call, 1);
            let provider = context.context_provider();
            let wide = |number: &i64| lit(*number);
            let args = numbers.iter().map(wide).collect();
            let source = provider.get_table_function_source("generate_series", args)?;
            let narrow = numbers.iter().all(|number| i32::try_from(*number).is_ok());
            let value = Expr::Column(Column::new_unqualified("value"));
            let value = if narrow { cast(value, DataType::Int32) } else { value };
            let scan = LogicalPlanBuilder::scan("generate_series", source, None)?;
            let shown = value.alias_qualified(Some(table.as_str()), &columns[0]);
            return scan.project([shown])?.build();
        }
        let one_row = LogicalPlanBuilder::empty(true).build()?;
        self.spread(one_row, call, false, context)
    }
}

/// More constant integers than this are made as they are read.
const LONG: i128 = 10_000;

/// The bounds of a long series of constant integers.
fn long_series(call: &Call<'_>) -> Option<Vec<i64>> {
    if call.of != RowsOf::Series || call.ordinality || !(2..=3).contains(&call.args.len()) {
        return None;
    }
    let number = |arg: &&SqlExpr| literal::digits_of(arg)?.parse::<i64>().ok();
    let numbers = call.args.iter().map(number).collect::<Option<Vec<i64>>>()?;
    let step = numbers.get(2).copied().unwrap_or(1);
    let length = (i128::from(numbers[1]) - i128::from(numbers[0])).checked_div(step.into())?;
    (length > LONG).then_some(numbers)
}

/// The name of a function's table, and those of its columns.
fn names(call: &Call<'_>, width: usize) -> (String, Vec<String>) {
    let plain = call.of.name();
    let table = call.alias.map_or_else(|| plain.to_owned(), |alias| names::fold(&alias.name));
    let given = call.alias.map_or(&[][..], |alias| alias.columns.as_slice());
    let several = width > 1 + usize::from(call.ordinality);
    let name = |at: usize| match (given.get(at), call.of.column(at)) {
        (Some(column), _) => names::fold(&column.name),
        (None, Some(own)) => own.to_owned(),
        (None, None) if call.ordinality && at + 1 == width => "ordinality".to_owned(),
        (None, None) if several => plain.to_owned(),
        (None, None) => table.clone(),
    };
    let columns: Vec<String> = (0..width).map(name).collect();
    let columns = super::columns::unique(columns.iter().map(String::as_str));
    (table, columns)
}

/// The columns of a function that gives records, by its definition list; None for other functions.
///
/// # Errors
/// It has none, or a type that there is not.
fn defined(call: &Call<'_>) -> std::result::Result<Option<Vec<(String, DataType)>>, Report> {
    let wrong = |message: &str| Err(Report::new(SqlState::SYNTAX_ERROR, message));
    let RowsOf::Records(_) = call.of else { return Ok(None) };
    let given = call.alias.map_or(&[][..], |alias| alias.columns.as_slice());
    if given.is_empty() || given.iter().any(|column| column.data_type.is_none()) {
        return wrong("a column definition list is required for functions returning \"record\"");
    }
    if call.ordinality {
        return wrong("WITH ORDINALITY cannot be used with a column definition list");
    }
    let column = |column: &TableAliasColumnDef| {
        let written = column.data_type.as_ref().unwrap_or(&SqlDataType::Text);
        if typenames::text_length(written)?.is_some() {
            let report = Report::unsupported("varchar(n) in a column definition list");
            return Err(report.hint("Write text."));
        }
        Ok((names::fold(&column.name), typenames::column_type(written)?.arrow()))
    };
    given.iter().map(column).collect::<std::result::Result<_, _>>().map(Some)
}

/// How a function is joined to what stands before it.
enum Kind<'a> {
    Cross,
    Left,
    On(&'a SqlExpr),
}

fn kind(operator: &JoinOperator) -> Option<Kind<'_>> {
    let is_true =
        |on: &SqlExpr| matches!(on, SqlExpr::Value(value) if value.value == Value::Boolean(true));
    match operator {
        JoinOperator::CrossJoin(JoinConstraint::None) => Some(Kind::Cross),
        JoinOperator::Join(JoinConstraint::On(on))
        | JoinOperator::Inner(JoinConstraint::On(on)) => {
            Some(if is_true(on) { Kind::Cross } else { Kind::On(on) })
        }
        JoinOperator::Left(JoinConstraint::On(on))
        | JoinOperator::LeftOuter(JoinConstraint::On(on)) => is_true(on).then_some(Kind::Left),
        _ => None,
    }
}

impl RelationPlanner for TableFunctions {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        if let Some(call) = call(&relation) {
            let plan = self.alone(&call, context)?;
            return Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, None))));
        }
        match relation {
            TableFactor::NestedJoin { table_with_joins, alias } if is_folded(&table_with_joins) => {
                let TableWithJoins { relation, joins } = *table_with_joins;
                let plan = self.joined(relation, &joins[0], context)?;
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
            }
            other => Ok(RelationPlanning::Original(Box::new(other))),
        }
    }
}
