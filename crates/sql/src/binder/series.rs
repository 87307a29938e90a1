//! Functions with many rows in FROM, over columns of what stands before them: `FROM t, generate_series(1, t.n)
//! AS g (i)`, and the parts of JSON: `FROM t, jsonb_array_elements(t.doc) AS e`.
//!
//! It is a list for each row, which is then spread over rows, so that the same plan runs in batch and as a
//! maintained view. As for ASOF joins, what stands before it is put into parentheses together with it.
//! With constant arguments `generate_series` stays DataFusion's own, which makes its rows as they are read.
//! Before the parts of JSON that stand first is put one row without columns.

use std::ops::ControlFlow;

use datafusion::common::{Column, Result, UnnestOptions};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, Ident, Join, JoinConstraint, JoinOperator,
    ObjectName, ObjectNamePart, Query, SelectItem, SetExpr, Spanned, TableAlias, TableFactor,
    TableWithJoins, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use millrace_types::Report;

use super::relation::fail;
use super::syntax::is_series;
use crate::functions::{self, JsonFunction};
use crate::names;
use crate::text::Text;

/// The lists of a row, and then their values.
const LISTS: [&str; 2] = ["\u{0}series", "\u{0}series 2"];
/// One row without columns.
const ONE_ROW: &str = "\u{0}one row";

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Series,
    /// A list of the parts of a JSON value.
    Parts(JsonFunction),
    /// The members of an object: keys, and what this function gives.
    Each(JsonFunction),
}

impl Kind {
    fn of(name: &ObjectName) -> Option<Kind> {
        if is_series(name) {
            return Some(Kind::Series);
        }
        let [ObjectNamePart::Identifier(name)] = name.0.as_slice() else { return None };
        Some(match names::fold(name).as_str() {
            "jsonb_array_elements" | "json_array_elements" => Kind::Parts(JsonFunction::Elements),
            "jsonb_array_elements_text" | "json_array_elements_text" => {
                Kind::Parts(JsonFunction::ElementsText)
            }
            "jsonb_object_keys" | "json_object_keys" => Kind::Parts(JsonFunction::Keys),
            "jsonb_each" | "json_each" => Kind::Each(JsonFunction::Values),
            "jsonb_each_text" | "json_each_text" => Kind::Each(JsonFunction::ValuesText),
            _ => return None,
        })
    }

    /// The names of its columns; None for that of the table.
    fn columns(self) -> &'static [Option<&'static str>] {
        match self {
            Kind::Series | Kind::Parts(JsonFunction::Keys) => &[None],
            Kind::Parts(_) => &[Some("value")],
            Kind::Each(_) => &[Some("key"), Some("value")],
        }
    }

    fn lists(self, args: Vec<Expr>) -> Vec<Expr> {
        match self {
            Kind::Series => vec![functions::series(args)],
            Kind::Parts(which) => vec![functions::json(which, args)],
            Kind::Each(values) => vec![
                functions::json(JsonFunction::Keys, args.clone()),
                functions::json(values, args),
            ],
        }
    }
}

/// `FROM jsonb_array_elements(x) AS e`: `e` alone is the value, not a row of it. It becomes `e.value`.
pub(super) fn name_values(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let factors = select.from.iter().flat_map(|item| {
        let joined = item.joins.iter().map(|join| &join.relation);
        std::iter::once(&item.relation).chain(joined)
    });
    let alias = |factor: &TableFactor| match call(factor) {
        Some((Kind::Parts(which), _, _, Some(alias))) if which != JsonFunction::Keys => {
            alias.columns.is_empty().then(|| alias.name.clone())
        }
        _ => None,
    };
    let aliases: Vec<Ident> = factors.filter_map(alias).collect();
    if aliases.is_empty() {
        return;
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr @ SqlExpr::Identifier(_)) = item
            && let SqlExpr::Identifier(name) = expr.clone()
            && aliases.contains(&name)
        {
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: name };
        }
    }
    let ControlFlow::Continue(()) = VisitMut::visit(query, &mut Values(aliases));
}

struct Values(Vec<Ident>);

impl VisitorMut for Values {
    type Break = std::convert::Infallible;

    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<Self::Break> {
        if let SqlExpr::Identifier(name) = expr
            && self.0.contains(name)
        {
            *expr = SqlExpr::CompoundIdentifier(vec![name.clone(), Ident::new("value")]);
        }
        ControlFlow::Continue(())
    }
}

/// Puts each series over columns with all that stands before it into parentheses.
pub(super) fn fold(from: &mut Vec<TableWithJoins>) {
    let mut folded: Vec<TableWithJoins> = Vec::with_capacity(from.len());
    for mut next in std::mem::take(from) {
        if folded.is_empty() && is_of_json(&next.relation) {
            let function = cross(next.relation.clone());
            next.relation = nested(one_row(), vec![function]);
        } else if !folded.is_empty() && is_lateral(&next.relation) {
            let before = joined(std::mem::take(&mut folded));
            let series = cross(next.relation.clone());
            next.relation = nested(before, vec![series]);
        }
        fold_joins(&mut next);
        folded.push(next);
    }
    *from = folded;
}

/// The same among the joins of one item; one alone, in parentheses already, stays.
pub(super) fn fold_joins(from: &mut TableWithJoins) {
    while let Some(at) = from.joins.iter().position(|join| is_lateral(&join.relation)) {
        if from.joins.len() == 1 {
            let join = from.joins.remove(0);
            from.relation = nested(from.relation.clone(), vec![join]);
            return;
        }
        let rest = from.joins.split_off(at + 1);
        let join = from.joins.split_off(at);
        let before = std::mem::take(&mut from.joins);
        let left = match before.is_empty() {
            true => from.relation.clone(),
            false => nested(from.relation.clone(), before),
        };
        from.relation = nested(left, join);
        from.joins = rest;
    }
}

/// True for what [`fold`] makes.
pub(super) fn is_folded(from: &TableWithJoins) -> bool {
    matches!(from.joins.as_slice(), [join] if is_lateral(&join.relation))
}

fn nested(relation: TableFactor, joins: Vec<Join>) -> TableFactor {
    let table_with_joins = Box::new(TableWithJoins { relation, joins });
    TableFactor::NestedJoin { table_with_joins, alias: None }
}

fn cross(relation: TableFactor) -> Join {
    let join_operator = JoinOperator::CrossJoin(JoinConstraint::None);
    Join { relation, global: false, join_operator }
}

/// What [`ONE_ROW`] is the name of.
fn one_row() -> TableFactor {
    TableFactor::Table {
        name: ObjectName::from(vec![Ident::with_quote('"', ONE_ROW)]),
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

fn is_one_row(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::Table { name, .. }
        if matches!(name.0.as_slice(), [ObjectNamePart::Identifier(name)] if name.value == ONE_ROW))
}

/// All items of a FROM as one.
fn joined(items: Vec<TableWithJoins>) -> TableFactor {
    let mut factors = items.into_iter().map(|item| match item.joins.is_empty() {
        true => item.relation,
        false => nested(item.relation, item.joins),
    });
    let first = factors.next().expect("something stands before it");
    let joins: Vec<Join> = factors.map(cross).collect();
    if joins.is_empty() { first } else { nested(first, joins) }
}

/// A call of a function with many rows, with its alias.
fn call(factor: &TableFactor) -> Option<(Kind, &ObjectName, &[FunctionArg], Option<&TableAlias>)> {
    let (name, args, alias) = match factor {
        TableFactor::Table { name, args: Some(args), alias, .. } => (name, &args.args, alias),
        TableFactor::Function { name, args, alias, .. } => (name, args, alias),
        _ => return None,
    };
    Some((Kind::of(name)?, name, args.as_slice(), alias.as_ref()))
}

fn is_of_json(factor: &TableFactor) -> bool {
    call(factor).is_some_and(|(kind, ..)| kind != Kind::Series)
}

/// True for parts of JSON, and for a series whose arguments name columns or are to be computed.
fn is_lateral(factor: &TableFactor) -> bool {
    struct Columns;
    impl Visitor for Columns {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &SqlExpr) -> ControlFlow<()> {
            match expr {
                SqlExpr::Identifier(_)
                | SqlExpr::CompoundIdentifier(_)
                | SqlExpr::BinaryOp { .. } => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    let names = |args: &[FunctionArg]| args.iter().any(|arg| arg.visit(&mut Columns).is_break());
    call(factor).is_some_and(|(kind, _, args, _)| kind != Kind::Series || names(args))
}

/// Plans series over columns.
#[derive(Debug)]
pub(super) struct Series {
    /// The statement, for positions.
    text: String,
}

impl Series {
    pub(super) fn new(text: &str) -> Series {
        Series { text: text.to_owned() }
    }

    fn plan(
        &self,
        left: TableFactor,
        join: &Join,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let Some((kind, name, args, alias)) = call(&join.relation) else {
            return fail(Report::unsupported("this function in FROM"), None);
        };
        let position = Text::new(&self.text).position(name.span().start);
        if !keeps_all(&join.join_operator) {
            let what = format!("a join with {name} over columns other than a cross join");
            return fail(Report::unsupported(what).hint("Put conditions into WHERE."), position);
        }
        let left = match is_one_row(&left) {
            true => LogicalPlanBuilder::empty(true).build()?,
            false => context.plan(left)?,
        };
        let mut bounds = Vec::with_capacity(3);
        for arg in args {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg else {
                let what = format!("a named argument of {name}");
                return fail(Report::unsupported(what), position);
            };
            bounds.push(context.sql_to_expr(arg.clone(), left.schema())?);
        }
        if kind == Kind::Series && !(2..=3).contains(&bounds.len()) {
            let what = "generate_series without a start and an end";
            return fail(Report::unsupported(what), position);
        }
        let plain = || name.0.last().and_then(ObjectNamePart::as_ident).map(names::fold);
        let table = alias.map(|alias| names::fold(&alias.name)).or_else(plain).unwrap_or_default();
        let given = |at: usize| alias.and_then(|alias| alias.columns.get(at));
        let own: Vec<Expr> = left.schema().columns().into_iter().map(Expr::Column).collect();
        let lists = kind.lists(bounds).into_iter().zip(LISTS).map(|(list, name)| list.alias(name));
        let values = LISTS.into_iter().map(Column::new_unqualified).zip(kind.columns());
        let shown = values.clone().enumerate().map(|(at, (value, name))| {
            let column = given(at).map(|given| names::fold(&given.name));
            let own = || name.map_or_else(|| table.clone(), str::to_owned);
            Expr::Column(value).alias_qualified(Some(table.as_str()), column.unwrap_or_else(own))
        });
        let shown: Vec<Expr> = shown.collect();
        let options = UnnestOptions::new().with_preserve_nulls(false);
        LogicalPlanBuilder::from(left)
            .project(own.iter().cloned().chain(lists))?
            .unnest_columns_with_options(values.map(|(value, _)| value).collect(), options)?
            .project(own.into_iter().chain(shown))?
            .build()
    }
}

/// True for a join without a condition that could turn rows away.
fn keeps_all(operator: &JoinOperator) -> bool {
    match operator {
        JoinOperator::CrossJoin(JoinConstraint::None) => true,
        JoinOperator::Join(JoinConstraint::On(on))
        | JoinOperator::Inner(JoinConstraint::On(on)) => {
            matches!(on, SqlExpr::Value(value) if value.value == Value::Boolean(true))
        }
        _ => false,
    }
}

impl RelationPlanner for Series {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        match relation {
            TableFactor::NestedJoin { table_with_joins, alias } if is_folded(&table_with_joins) => {
                let TableWithJoins { relation, joins } = *table_with_joins;
                let plan = self.plan(relation, &joins[0], context)?;
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
            }
            other => Ok(RelationPlanning::Original(Box::new(other))),
        }
    }
}
