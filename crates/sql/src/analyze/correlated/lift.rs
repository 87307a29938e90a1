//! One node after the other, from below: how it lets conditions pass.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, Result};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{Sort as Order, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, FetchType, Filter, Join, Limit, LogicalPlan, Operator,
    Projection, SkipType, Sort, SubqueryAlias, Window, WindowFrame, WindowFunctionDefinition, lit,
};

use super::condition::{Condition, above, keys, taken};
use super::{Asked, Names, refused};

/// A plan without the conditions that name columns from outside.
pub(super) struct Lifted {
    /// Its columns are those that it had, and then those that the conditions need.
    pub(super) plan: LogicalPlan,
    pub(super) conditions: Vec<Condition>,
    /// Some if the plan is an aggregate without groups, or stands over one, below which the conditions
    /// are: true if each outer row has its row.
    pub(super) single: Option<bool>,
}

impl Lifted {
    fn of(plan: LogicalPlan, conditions: Vec<Condition>) -> Lifted {
        Lifted { plan, conditions, single: None }
    }
}

/// Lifts conditions to the top of one subquery.
pub(super) struct Lift<'a> {
    /// True if what is above does not see whether a row is there twice.
    once: bool,
    /// True if it does not see how many rows there are, but whether there are any.
    any: bool,
    /// Names that the subquery gives to what it computes.
    given: BTreeSet<String>,
    names: &'a mut Names,
}

impl<'a> Lift<'a> {
    pub(super) fn new(
        asked: Asked,
        subquery: &LogicalPlan,
        names: &'a mut Names,
    ) -> Result<Lift<'a>> {
        let any = asked == Asked::Exists;
        let mut given = BTreeSet::new();
        subquery.apply(|node| {
            if let LogicalPlan::Projection(projection) = node {
                let aliases = projection.expr.iter().filter(|expr| matches!(expr, Expr::Alias(_)));
                given.extend(aliases.map(|expr| expr.qualified_name().1));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(Lift { once: any || asked == Asked::Member, any, given, names })
    }

    pub(super) fn plan(&mut self, plan: LogicalPlan) -> Result<Lifted> {
        if plan.all_out_ref_exprs().is_empty() {
            return Ok(Lifted::of(plan, Vec::new()));
        }
        match plan {
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::SubqueryAlias(alias) => self.alias(alias),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input),
            LogicalPlan::Distinct(Distinct::On(on)) => self.first(on),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Sort(sort) => self.sort(sort),
            LogicalPlan::Limit(limit) => self.limit(limit),
            // Columns from outside it may be those beside it.
            LogicalPlan::Subquery(_) => Ok(Lifted::of(plan, Vec::new())),
            other => self.other(other),
        }
    }

    fn below(&mut self, plan: Arc<LogicalPlan>) -> Result<Lifted> {
        self.plan(Arc::unwrap_or_clone(plan))
    }

    /// What is below a node that counts rows, or tells one from another that is equal.
    fn counted(&mut self, plan: Arc<LogicalPlan>) -> Result<Lifted> {
        let before = (self.once, self.any);
        (self.once, self.any) = (false, false);
        let below = self.below(plan);
        (self.once, self.any) = before;
        below
    }

    fn filter(&mut self, filter: Filter) -> Result<Lifted> {
        let below = self.below(filter.input)?;
        if below.single.is_some() {
            if filter.predicate.contains_outer() {
                return Err(refused("HAVING with a column from outside"));
            }
            let filter = Filter::try_new(filter.predicate, Arc::new(below.plan))?;
            return Ok(Lifted { plan: LogicalPlan::Filter(filter), single: Some(false), ..below });
        }
        let (plan, conditions) = taken(below.plan, filter.predicate, self.names)?;
        Ok(Lifted::of(plan, below.conditions.into_iter().chain(conditions).collect()))
    }

    fn projection(&mut self, projection: Projection) -> Result<Lifted> {
        let below = self.below(projection.input)?;
        let mut exprs = projection.expr;
        let places = self.with_columns(&mut exprs, &below.conditions);
        let plan = Projection::try_new(exprs, Arc::new(below.plan))?;
        let conditions = at_places(below.conditions, &places, &plan.schema)?;
        Ok(Lifted { plan: LogicalPlan::Projection(plan), conditions, single: below.single })
    }

    /// Adds the columns that conditions need to a select list, and tells where they are.
    fn with_columns(
        &mut self,
        exprs: &mut Vec<Expr>,
        conditions: &[Condition],
    ) -> Vec<(Column, usize)> {
        let mut places: Vec<(Column, usize)> = Vec::new();
        for column in conditions.iter().flat_map(Condition::columns) {
            if places.iter().any(|(known, _)| *known == column) {
                continue;
            }
            let wanted = Expr::Column(column.clone());
            let place = exprs.iter().position(|expr| *expr == wanted).unwrap_or_else(|| {
                let is_taken = exprs.iter().any(|expr| expr.qualified_name().1 == column.name);
                exprs.push(if is_taken { wanted.alias(self.names.next()) } else { wanted });
                exprs.len() - 1
            });
            places.push((column, place));
        }
        places
    }

    fn alias(&mut self, alias: SubqueryAlias) -> Result<Lifted> {
        let below = self.below(alias.input)?;
        let before = Arc::clone(below.plan.schema());
        // DataFusion does not see that an alias has got more columns when it takes the conditions from
        // below the aggregate.
        if below.single.is_some() {
            let after = SubqueryAlias::try_new(Arc::new(below.plan.clone()), alias.alias)?;
            let pairs = before.columns().into_iter().zip(after.schema.columns());
            let exprs = pairs.map(|(column, named)| {
                Expr::Column(column).alias_qualified(named.relation, named.name)
            });
            let plan = Projection::try_new(exprs.collect(), Arc::new(below.plan))?;
            return Ok(Lifted { plan: LogicalPlan::Projection(plan), ..below });
        }
        let alias = SubqueryAlias::try_new(Arc::new(below.plan), alias.alias)?;
        let column = |from: &Column| match before.index_of_column(from) {
            Ok(place) => alias.schema.qualified_field(place).into(),
            Err(_) => from.clone(),
        };
        let renamed = below.conditions.into_iter().map(|condition| condition.renamed(&column));
        let conditions = renamed.collect::<Result<_>>()?;
        Ok(Lifted::of(LogicalPlan::SubqueryAlias(alias), conditions))
    }

    fn window(&mut self, window: Window) -> Result<Lifted> {
        const WHAT: &str = "a window function over rows that a subquery takes by a comparison with a \
                            column from outside, other than by =,";
        let names = NamePreserver::new(&LogicalPlan::Window(window.clone()));
        let below = self.counted(window.input)?;
        if below.single.is_some() || !below.conditions.iter().all(Condition::is_by_key) {
            return Err(refused(WHAT));
        }
        let keys = keys(&below.conditions);
        let calls = window.window_expr.into_iter().map(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(|part| {
                let Expr::WindowFunction(mut call) = part else { return Ok(Transformed::no(part)) };
                let known = &mut call.params.partition_by;
                let new: Vec<Expr> =
                    keys.iter().filter(|key| !known.contains(key)).cloned().collect();
                known.extend(new);
                Ok(Transformed::yes(Expr::WindowFunction(call)))
            })?;
            Ok(name.restore(changed.data))
        });
        let calls = calls.collect::<Result<Vec<_>>>()?;
        let window = Window::try_new(calls, Arc::new(below.plan))?;
        Ok(Lifted::of(LogicalPlan::Window(window), below.conditions))
    }

    fn aggregate(&mut self, aggregate: Aggregate) -> Result<Lifted> {
        let Aggregate { input, group_expr, aggr_expr, .. } = aggregate;
        let below = match aggr_expr.is_empty() {
            true => self.below(input)?,
            false => self.counted(input)?,
        };
        if below.single.is_some() {
            return Err(refused(
                "an aggregate over an aggregate of the rows of a row from outside",
            ));
        }
        if group_expr.is_empty() {
            let equal = |condition: &Condition| {
                matches!(condition, Condition::Equal { operator: Operator::Eq, .. })
            };
            if !below.conditions.iter().all(equal) {
                return Err(refused(
                    "an aggregate over rows that a subquery takes by other than =",
                ));
            }
            let single = (!below.conditions.is_empty()).then_some(true);
            let (input, conditions) = self.renamed(below.plan, below.conditions)?;
            let input = above(input, conditions)?;
            let plan = Aggregate::try_new(Arc::new(input), group_expr, aggr_expr)?;
            return Ok(Lifted { plan: LogicalPlan::Aggregate(plan), conditions: vec![], single });
        }
        self.groups(below, group_expr, aggr_expr)
    }

    /// DataFusion adds what these conditions compare to all select lists above: it must have no name that
    /// stands there.
    fn renamed(
        &mut self,
        plan: LogicalPlan,
        conditions: Vec<Condition>,
    ) -> Result<(LogicalPlan, Vec<Condition>)> {
        let columns = conditions.iter().flat_map(Condition::columns);
        let clash = columns.filter(|column| self.given.contains(&column.name));
        let named: Vec<(Column, String)> =
            clash.map(|column| (column, self.names.next())).collect();
        if named.is_empty() {
            return Ok((plan, conditions));
        }
        let kept = plan.schema().columns().into_iter().map(Expr::Column);
        let added = named.iter().map(|(column, name)| Expr::Column(column.clone()).alias(name));
        let plan = Projection::try_new(kept.chain(added).collect(), Arc::new(plan))?;
        let rename = |column: &Column| {
            let found = named.iter().find(|(known, _)| known == column);
            found.map_or_else(|| column.clone(), |(_, name)| Column::new_unqualified(name))
        };
        let conditions = conditions.into_iter().map(|condition| condition.renamed(&rename));
        Ok((LogicalPlan::Projection(plan), conditions.collect::<Result<_>>()?))
    }

    fn groups(&mut self, below: Lifted, group: Vec<Expr>, calls: Vec<Expr>) -> Result<Lifted> {
        let Lifted { plan, conditions, .. } = below;
        let is_kept = !conditions.is_empty();
        if is_kept && group.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
            return Err(refused("GROUPING SETS over the rows of a row from outside"));
        }
        let rows_count = !calls.is_empty() || !self.once;
        if rows_count && !conditions.iter().all(Condition::is_by_key) {
            return Err(refused("GROUP BY over rows that a subquery takes by other than ="));
        }
        let mut group = group;
        let mut places: Vec<(Column, usize)> = Vec::new();
        for column in conditions.iter().flat_map(Condition::columns) {
            let key = Expr::Column(column.clone());
            let place = group.iter().position(|known| *known == key).unwrap_or_else(|| {
                group.push(key);
                group.len() - 1
            });
            places.push((column, place));
        }
        let plan = Aggregate::try_new(Arc::new(plan), group, calls)?;
        let conditions = at_places(conditions, &places, &plan.schema)?;
        Ok(Lifted::of(LogicalPlan::Aggregate(plan), conditions))
    }

    fn distinct(&mut self, input: Arc<LogicalPlan>) -> Result<Lifted> {
        let below = self.below(input)?;
        if below.single.is_some() {
            return Ok(below);
        }
        if !self.once && !below.conditions.iter().all(Condition::is_by_key) {
            return Err(refused("DISTINCT over rows that a subquery takes by other than ="));
        }
        let plan = LogicalPlan::Distinct(Distinct::All(Arc::new(below.plan)));
        Ok(Lifted { plan, ..below })
    }

    fn first(&mut self, on: DistinctOn) -> Result<Lifted> {
        let below = self.counted(on.input)?;
        if below.single.is_some() || !below.conditions.iter().all(Condition::is_by_key) {
            return Err(refused("DISTINCT ON over rows that a subquery takes by other than ="));
        }
        let keys = keys(&below.conditions);
        let mut select_expr = on.select_expr;
        let places = self.with_columns(&mut select_expr, &below.conditions);
        let first = keys.iter().map(|key| Order::new(key.clone(), true, false));
        let sort_expr = on.sort_expr.map(|order| first.chain(order).collect());
        let on_expr = keys.iter().cloned().chain(on.on_expr).collect();
        let on = DistinctOn::try_new(on_expr, select_expr, sort_expr, Arc::new(below.plan))?;
        let conditions = at_places(below.conditions, &places, &on.schema)?;
        Ok(Lifted::of(LogicalPlan::Distinct(Distinct::On(on)), conditions))
    }

    fn join(&mut self, join: Join) -> Result<Lifted> {
        let left = self.below(join.left)?;
        let right = self.below(join.right)?;
        if left.single.is_some() || right.single.is_some() {
            return Err(refused("a join with an aggregate of the rows of a row from outside"));
        }
        let (of_left, of_right) = match join.join_type {
            JoinType::Inner => (true, true),
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
                (true, false)
            }
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
                (false, true)
            }
            JoinType::Full => (false, false),
        };
        let keeps = |side: &Lifted, passes: bool| passes || side.conditions.is_empty();
        if !keeps(&left, of_left) || !keeps(&right, of_right) {
            return Err(refused(
                "an outer join with rows that a subquery takes by columns from outside",
            ));
        }
        let is_inner = join.join_type == JoinType::Inner;
        let conditions: Vec<Condition> =
            left.conditions.into_iter().chain(right.conditions).collect();
        let (filter, predicate) = match join.filter {
            Some(filter) if is_inner && filter.contains_outer() => (None, Some(filter)),
            other => (other, None),
        };
        let plan = LogicalPlan::Join(Join::try_new(
            Arc::new(left.plan),
            Arc::new(right.plan),
            join.on,
            filter,
            join.join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        )?);
        let Some(predicate) = predicate else { return Ok(Lifted::of(plan, conditions)) };
        let (plan, more) = taken(plan, predicate, self.names)?;
        Ok(Lifted::of(plan, conditions.into_iter().chain(more).collect()))
    }

    fn sort(&mut self, sort: Sort) -> Result<Lifted> {
        let below = self.below(sort.input)?;
        if below.single.is_some() {
            return Ok(below);
        }
        let plan = LogicalPlan::Sort(Sort { input: Arc::new(below.plan), ..sort });
        Ok(Lifted { plan, ..below })
    }

    fn limit(&mut self, limit: Limit) -> Result<Lifted> {
        let (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(fetch))) =
            (limit.get_skip_type(), limit.get_fetch_type())
        else {
            return Err(refused("LIMIT of an expression in a subquery with columns from outside"));
        };
        if let LogicalPlan::Projection(projection) = limit.input.as_ref() {
            let input = Limit { input: Arc::clone(&projection.input), ..limit.clone() };
            let input = Arc::new(LogicalPlan::Limit(input));
            return self.projection(Projection::try_new(projection.expr.clone(), input)?);
        }
        let keeps_any = skip == 0 && fetch.is_none_or(|fetch| fetch > 0);
        if self.any && keeps_any {
            return self.below(limit.input);
        }
        let (order, input) = match Arc::unwrap_or_clone(limit.input) {
            LogicalPlan::Sort(sort) => (sort.expr, sort.input),
            other => (Vec::new(), Arc::new(other)),
        };
        let below = self.counted(input)?;
        if below.single.is_some() && keeps_any {
            return Ok(below);
        }
        if below.single.is_some() || !below.conditions.iter().all(Condition::is_by_key) {
            return Err(refused("LIMIT over rows that a subquery takes by other than ="));
        }
        let columns = below.plan.schema().columns().into_iter().map(Expr::Column).collect();
        let number = self.names.next();
        let call = numbered(keys(&below.conditions), order).alias(number.clone());
        let numbered = Window::try_new(vec![call], Arc::new(below.plan))?;
        let number = || Expr::Column(Column::new_unqualified(number.clone()));
        let constant = |count: usize| lit(u64::try_from(count).unwrap_or(u64::MAX));
        let after = (skip > 0).then(|| number().gt(constant(skip)));
        let until = fetch.map(|fetch| number().lt_eq(constant(skip.saturating_add(fetch))));
        let predicate = conjunction(after.into_iter().chain(until)).unwrap_or_else(|| lit(true));
        let taken = Filter::try_new(predicate, Arc::new(LogicalPlan::Window(numbered)))?;
        let plan = Projection::try_new(columns, Arc::new(LogicalPlan::Filter(taken)))?;
        Ok(Lifted::of(LogicalPlan::Projection(plan), below.conditions))
    }

    /// Nodes that give rows on, with their columns, and those that do not.
    fn other(&mut self, plan: LogicalPlan) -> Result<Lifted> {
        let mut inputs = Vec::new();
        let mut conditions = Vec::new();
        for input in plan.inputs() {
            let below = self.counted(Arc::new(input.clone()))?;
            let passes = below.conditions.is_empty() || matches!(plan, LogicalPlan::Unnest(_));
            if below.single.is_some() || !passes {
                return Err(refused(match plan {
                    LogicalPlan::Union(_) => {
                        "UNION over rows that a subquery takes by columns from outside"
                    }
                    _ => "this form of subquery",
                }));
            }
            inputs.push(below.plan);
            conditions.extend(below.conditions);
        }
        let plan = plan.with_new_exprs(plan.expressions(), inputs)?;
        let is_there = |column: &Column| plan.schema().has_column(column);
        if !conditions.iter().flat_map(Condition::columns).all(|column| is_there(&column)) {
            return Err(refused("unnest() of what a subquery compares with a column from outside"));
        }
        Ok(Lifted::of(plan, conditions))
    }
}

/// Conditions over columns that stand elsewhere now.
fn at_places(
    conditions: Vec<Condition>,
    places: &[(Column, usize)],
    schema: &DFSchema,
) -> Result<Vec<Condition>> {
    let column = |from: &Column| {
        let place = places.iter().find(|(column, _)| column == from).map(|(_, place)| *place);
        place.map_or_else(|| from.clone(), |place| schema.qualified_field(place).into())
    };
    conditions.into_iter().map(|condition| condition.renamed(&column)).collect()
}

/// `row_number() OVER (PARTITION BY keys ORDER BY order)`
fn numbered(keys: Vec<Expr>, order_by: Vec<Order>) -> Expr {
    let params = WindowFunctionParams {
        args: Vec::new(),
        partition_by: keys,
        window_frame: WindowFrame::new(Some(false)),
        order_by,
        filter: None,
        null_treatment: None,
        distinct: false,
    };
    let fun = WindowFunctionDefinition::WindowUDF(row_number_udwf());
    Expr::WindowFunction(Box::new(WindowFunction { fun, params }))
}
