//! `TUMBLE`, `HOP` and `CUMULATE` in FROM.
//!
//! They become ordinary plans: TUMBLE a projection of [`TUMBLE`](crate::functions::TUMBLE) or, where the
//! calendar decides, of both bounds; HOP and CUMULATE an unnested list of windows. So the same plan runs in batch, and the stream planner finds the
//! windows by their functions. `window_end` is the start plus a constant.
//!
//! A row without a time belongs to no window; it stays once, with NULL bounds.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Column, DFSchema, DataFusionError, Result, ScalarValue, UnnestOptions};
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, WindowFrame, WindowFunctionDefinition,
    lit,
};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, Spanned,
    TableFactor, TableFunctionArgs,
};
use millrace_types::input::Zone;
use millrace_types::{Report, SqlState, SqlType};

use crate::functions::{
    self, CALENDAR_END, CALENDAR_START, Calendar, SESSION_END, SESSION_START, type_name,
};
use crate::names::Quoted;
use crate::text::Text;

const START: &str = "window_start";
const END: &str = "window_end";

/// Plans the window functions of FROM.
#[derive(Debug)]
pub(super) struct Windows {
    /// The statement, for positions.
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tumble,
    Hop,
    Cumulate,
    Session,
}

/// A call with its arguments in hand.
struct Call {
    kind: Kind,
    name: &'static str,
    args: Vec<SqlExpr>,
    /// Where the call stands.
    position: Option<usize>,
}

impl Windows {
    pub(super) fn new(text: &str) -> Windows {
        Windows { text: text.to_owned() }
    }

    fn at(&self, expr: &impl Spanned) -> Option<usize> {
        Text::new(&self.text).position(expr.span().start)
    }

    /// The call that a table factor is, if it is one of ours.
    fn call(&self, name: &ObjectName, args: &TableFunctionArgs) -> Result<Option<Call>> {
        let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else { return Ok(None) };
        let position = Text::new(&self.text).position(ident.span.start);
        let (kind, name) = match ident.value.to_ascii_uppercase().as_str() {
            "TUMBLE" => (Kind::Tumble, "TUMBLE"),
            "HOP" => (Kind::Hop, "HOP"),
            "CUMULATE" => (Kind::Cumulate, "CUMULATE"),
            "SESSION" => (Kind::Session, "SESSION"),
            _ => return Ok(None),
        };
        let mut taken = Vec::with_capacity(args.args.len());
        for arg in &args.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => taken.push(expr.clone()),
                _ => return fail(usage(kind), position),
            }
        }
        let intervals = if kind == Kind::Tumble { 1 } else { 2 };
        if kind == Kind::Session {
            if taken.len() < 3 {
                return fail(usage(kind), position);
            }
        } else if !(2 + intervals..=3 + intervals).contains(&taken.len()) {
            return fail(usage(kind), position);
        }
        Ok(Some(Call { kind, name, args: taken, position }))
    }

    fn plan(&self, call: Call, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
        let mut args = call.args.iter();
        let table = args.next().expect("the number of arguments has been checked");
        let Some(table) = relation(table) else {
            let report = Report::new(
                SqlState::SYNTAX_ERROR,
                format!("the first argument of {} must be a table or a subquery", call.name),
            );
            return fail(report, self.at(table).or(call.position));
        };
        let input = context.plan(table)?;
        self.check_names(&call, &input)?;
        if call.kind == Kind::Session {
            return self.session(&call, input, context);
        }
        let time = args.next().expect("the number of arguments has been checked");
        let time = self.time(&call, time, &input, context)?;
        if let Some(windows) = self.calendar(&call, context)? {
            let data_type = time.get_type(input.schema())?;
            if !windows.zone.is_utc() && matches!(data_type, DataType::Timestamp(_, None)) {
                let message = "windows in a time zone need a time of type timestamp with time zone";
                let report = Report::new(SqlState::DATATYPE_MISMATCH, message);
                return fail(report, self.at(&call.args[1]).or(call.position));
            }
            return calendar(input, &time, &windows);
        }
        let mut intervals = Vec::new();
        for (at, arg) in args.enumerate() {
            let may_be_any = at + 1 == call.args.len() - 2 && at >= call.sizes();
            intervals.push(self.interval(&call, arg, may_be_any, context)?);
        }
        if let (Kind::Hop | Kind::Cumulate, [slide, size, ..]) = (call.kind, intervals.as_slice()) {
            limit(&call, *slide, *size).or_else(|report| fail(report, call.position))?;
        }
        match (call.kind, intervals.as_slice()) {
            (Kind::Tumble, [size]) => tumble(input, time, *size, 0),
            (Kind::Tumble, [size, offset]) => tumble(input, time, *size, *offset),
            (Kind::Hop, [slide, size]) => hop(input, time, (*slide, *size, 0)),
            (Kind::Hop, [slide, size, offset]) => hop(input, time, (*slide, *size, *offset)),
            (Kind::Cumulate, [step, size]) => cumulate(input, time, (*step, *size, 0)),
            (Kind::Cumulate, [step, size, offset]) => {
                cumulate(input, time, (*step, *size, *offset))
            }
            _ => fail(usage(call.kind), call.position),
        }
    }

    fn check_names(&self, call: &Call, input: &LogicalPlan) -> Result<()> {
        let taken = [START, END]
            .into_iter()
            .find(|name| input.schema().fields().iter().any(|field| field.name() == name));
        let Some(name) = taken else { return Ok(()) };
        let message = format!("column {} specified more than once", Quoted(name));
        let hint = format!(
            "The input of {} has a column of this name: rename it in a subquery.",
            call.name
        );
        fail(Report::new(SqlState::DUPLICATE_COLUMN, message).hint(hint), call.position)
    }

    /// The column of event time.
    fn time(
        &self,
        call: &Call,
        arg: &SqlExpr,
        input: &LogicalPlan,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Expr> {
        let position = self.at(arg);
        let wrong = |found: &str| {
            let message = format!(
                "the time of {} must be a column of type timestamp or timestamp with time zone, not {found}",
                call.name
            );
            fail(Report::new(SqlState::DATATYPE_MISMATCH, message), position)
        };
        let expr = context.sql_to_expr(arg.clone(), input.schema())?;
        let Expr::Column(column) = &expr else { return wrong("an expression") };
        let field = match input.schema().qualified_field_from_column(column) {
            Ok((_, field)) => field,
            Err(error) => return Err(error),
        };
        match field.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, _) => Ok(expr),
            other => wrong(&type_name(other)),
        }
    }

    /// The bounds of each row's session, over the rows of one key in the order of time.
    fn session(
        &self,
        call: &Call,
        input: LogicalPlan,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let [_, keys @ .., time, gap] = call.args.as_slice() else {
            return fail(usage(call.kind), call.position);
        };
        let time = self.time(call, time, &input, context)?;
        let gap = self.interval(call, gap, false, context)?;
        let keys = keys.iter().map(|key| context.sql_to_expr(key.clone(), input.schema()));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let bound = |name| {
            let params = WindowFunctionParams {
                args: vec![time.clone(), lit(gap)],
                partition_by: keys.clone(),
                order_by: vec![time.clone().sort(true, false)],
                window_frame: WindowFrame::new(Some(false)),
                filter: None,
                null_treatment: None,
                distinct: false,
            };
            let fun = WindowFunctionDefinition::WindowUDF(functions::session_bound(name));
            Expr::WindowFunction(Box::new(WindowFunction { fun, params }))
        };
        let all = columns(&input);
        let calls = [(START, bound(SESSION_START)), (END, bound(SESSION_END))];
        let told = calls.iter().map(|(_, call)| call.clone());
        let shown = calls.iter().map(|(name, call)| {
            Expr::Column(Column::new_unqualified(call.schema_name().to_string())).alias(*name)
        });
        let shown: Vec<Expr> = all.into_iter().chain(shown).collect();
        LogicalPlanBuilder::from(input).window(told)?.project(shown)?.build()
    }

    /// The windows of a call that follow the calendar: those of months, or with a time zone.
    fn calendar(
        &self,
        call: &Call,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Option<Calendar>> {
        let [_, _, size, more @ ..] = call.args.as_slice() else { return Ok(None) };
        let mut value = |arg: &SqlExpr| {
            context.sql_to_expr(arg.clone(), &DFSchema::empty()).map(|expr| constant(&expr))
        };
        let Some(ScalarValue::IntervalMonthDayNano(Some(size))) = value(size)? else {
            return Ok(None);
        };
        let zone = match more.first().map(&mut value).transpose()?.flatten() {
            Some(ScalarValue::Utf8(Some(zone))) => Some(zone),
            _ => None,
        };
        if call.kind != Kind::Tumble || zone.is_none() && (size.months == 0 || !more.is_empty()) {
            return Ok(None);
        }
        let position = more.first().and_then(|arg| self.at(arg)).or(call.position);
        let whole = size.nanoseconds == 0 && (size.months == 0) != (size.days == 0);
        if !whole || size.months < 0 || size.days < 0 {
            let message = "windows that follow the calendar are whole months or whole days";
            return fail(Report::new(SqlState::INVALID_PARAMETER_VALUE, message), position);
        }
        let (months, days) = (i64::from(size.months), i64::from(size.days));
        let zone = zone.map_or(Ok(Zone::Utc), |zone| Zone::of(&zone));
        let zone = zone.or_else(|report| fail(report, position))?;
        Ok(Some(Calendar { months, days, zone }))
    }

    /// The microseconds of a constant interval.
    fn interval(
        &self,
        call: &Call,
        arg: &SqlExpr,
        may_be_any: bool,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<i64> {
        let position = self.at(arg).or(call.position);
        let expr = context.sql_to_expr(arg.clone(), &DFSchema::empty())?;
        let value = match constant(&expr) {
            Some(ScalarValue::IntervalMonthDayNano(Some(value))) => value,
            _ => {
                let message = format!("the windows of {} must be constant intervals", call.name);
                let report = Report::new(SqlState::DATATYPE_MISMATCH, message);
                return fail(report.hint("Write INTERVAL '10 seconds'."), position);
            }
        };
        if value.months != 0 {
            let report = Report::unsupported(format!("{} with months or years", call.name));
            return fail(report.hint("TUMBLE takes them."), position);
        }
        let days = i64::from(value.days) * 86_400_000_000;
        let micros = days.checked_add(value.nanoseconds / 1_000).unwrap_or(0);
        if micros <= 0 && !may_be_any {
            let message = format!("the size of a window of {} must be positive", call.name);
            return fail(Report::new(SqlState::INVALID_PARAMETER_VALUE, message), position);
        }
        Ok(micros)
    }
}

impl Call {
    /// How many intervals come before the offset.
    fn sizes(&self) -> usize {
        match self.kind {
            Kind::Tumble => 1,
            Kind::Hop | Kind::Cumulate | Kind::Session => 2,
        }
    }
}

impl RelationPlanner for Windows {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::Table { name, alias, args: Some(args), version: None, .. } = &relation
        else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let Some(call) = self.call(name, args)? else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let alias = alias.clone();
        let plan = self.plan(call, context)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

pub(super) fn fail<T>(report: Report, position: Option<usize>) -> Result<T> {
    Err(DataFusionError::External(Box::new(Report { position, ..report })))
}

/// The most windows that a row may be in: each of its groups has a row of state in all of them.
const WINDOWS_MAX: i64 = 5_000;

fn limit(call: &Call, slide: i64, size: i64) -> Result<(), Report> {
    let name = call.name;
    if call.kind == Kind::Cumulate && size % slide != 0 {
        let message = format!("{name}: the greatest size is not a whole number of steps");
        return Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    let windows = if slide > 0 { size / slide } else { 0 };
    if windows <= WINDOWS_MAX {
        return Ok(());
    }
    let message =
        format!("{name}: each row would be in {windows} windows, the limit is {WINDOWS_MAX}");
    let hint = "Choose a longer slide or a shorter size.";
    Err(Report::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message).hint(hint))
}

fn usage(kind: Kind) -> Report {
    let (name, usage) = match kind {
        Kind::Tumble => ("tumble", "TUMBLE(table, time column, size [, offset or time zone])"),
        Kind::Hop => ("hop", "HOP(table, time column, slide, size [, offset])"),
        Kind::Session => ("session", "SESSION(table [PARTITION BY columns], time column, gap)"),
        Kind::Cumulate => {
            ("cumulate", "CUMULATE(table, time column, step, greatest size [, offset])")
        }
    };
    let message = format!("function {name} does not exist with these arguments");
    Report::new(SqlState::UNDEFINED_FUNCTION, message).hint(format!("It is written {usage}."))
}

/// The first argument as something that FROM takes.
fn relation(arg: &SqlExpr) -> Option<TableFactor> {
    let table = |idents: Vec<Ident>| TableFactor::Table {
        name: ObjectName::from(idents),
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    };
    match arg {
        SqlExpr::Identifier(ident) => Some(table(vec![ident.clone()])),
        SqlExpr::CompoundIdentifier(idents) => Some(table(idents.clone())),
        SqlExpr::Subquery(query) => Some(TableFactor::Derived {
            lateral: false,
            subquery: query.clone(),
            alias: None,
            sample: None,
        }),
        SqlExpr::Nested(inner) => relation(inner),
        _ => None,
    }
}

/// The value of a literal, with casts and signs around it.
fn constant(expr: &Expr) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Cast(cast) => {
            functions::value_as(&constant(&cast.expr)?, cast.field.data_type()).ok()
        }
        Expr::Negative(inner) => constant(inner)?.arithmetic_negate().ok(),
        _ => None,
    }
}

/// All columns of a plan, as they are.
fn columns(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().columns().into_iter().map(Expr::Column).collect()
}

fn tumble(input: LogicalPlan, time: Expr, size: i64, offset: i64) -> Result<LogicalPlan> {
    let mut with_start = columns(&input);
    with_start.push(functions::tumble(time, size, offset).alias(START));
    with_end(LogicalPlanBuilder::from(input).project(with_start)?, size)
}

fn hop(input: LogicalPlan, time: Expr, windows: (i64, i64, i64)) -> Result<LogicalPlan> {
    let (slide, size, offset) = windows;
    let mut with_starts = columns(&input);
    with_starts.push(functions::hop(time, slide, size, offset).alias(START));
    let starts = LogicalPlanBuilder::from(input).project(with_starts)?;
    let options = UnnestOptions::new().with_preserve_nulls(true);
    let unnested = starts.unnest_column_with_options(Column::new_unqualified(START), options)?;
    with_end(unnested, size)
}

/// Windows are told by their ends, see [`CUMULATE`](functions::CUMULATE).
fn cumulate(input: LogicalPlan, time: Expr, windows: (i64, i64, i64)) -> Result<LogicalPlan> {
    let (step, size, offset) = windows;
    let mut with_list = columns(&input);
    with_list.push(functions::cumulate(time, step, size, offset).alias(END));
    let lists = LogicalPlanBuilder::from(input.clone()).project(with_list)?;
    let options = UnnestOptions::new().with_preserve_nulls(true);
    let unnested = lists.unnest_column_with_options(Column::new_unqualified(END), options)?;
    let micros = |micros| lit(ScalarValue::DurationMicrosecond(Some(micros)));
    let told = || Expr::Column(Column::new_unqualified(END));
    let last = told() + micros(size - 1);
    let mut all = columns(&input);
    all.push(functions::tumble(last, size, offset).alias(START));
    all.push((told() + micros(size)).alias(END));
    unnested.project(all)?.build()
}

fn calendar(input: LogicalPlan, time: &Expr, windows: &Calendar) -> Result<LogicalPlan> {
    let mut all = columns(&input);
    for (name, bound) in [(START, CALENDAR_START), (END, CALENDAR_END)] {
        all.push(functions::calendar(bound, time.clone(), windows).alias(name));
    }
    LogicalPlanBuilder::from(input).project(all)?.build()
}

fn with_end(plan: LogicalPlanBuilder, size: i64) -> Result<LogicalPlan> {
    let mut all = columns(plan.plan());
    let start = Expr::Column(Column::new_unqualified(START));
    let end = start + lit(ScalarValue::DurationMicrosecond(Some(size)));
    all.push(end.alias(END));
    plan.project(all)?.build()
}

/// Types that can be the time of a window, for messages elsewhere.
pub(super) fn is_time(sql_type: &SqlType) -> bool {
    matches!(sql_type, SqlType::Timestamp | SqlType::TimestampTz)
}
