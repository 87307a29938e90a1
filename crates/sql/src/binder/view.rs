//! `CREATE VIEW` and `CREATE MATERIALIZED VIEW`: the query, its columns' names, and options.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use millrace_types::input::Zone;
use millrace_types::{ObjectId, Report, SqlState, is_hidden};

use super::context::rename;
use super::{Binder, Bound, Parameters, columns, duplicates, locking, options};
use crate::ast::{CreateMaterializedView, CreateView, Name, OptionItem};
use crate::catalog::View;
use crate::error::report;
use crate::functions::type_name;
use crate::names::Quoted;
use crate::parser::parse_query;
use crate::stream::ViewOptions;
use crate::typenames::is_storable;

/// A materialized view, ready for the stream planner.
#[derive(Clone, Debug)]
pub struct BoundView {
    /// Its columns have the view's names. Analyzed, not optimized.
    pub plan: LogicalPlan,
    /// The objects that its query names, ascending.
    pub depends_on: Vec<ObjectId>,
    /// How long after its end a window still takes rows, microseconds.
    pub allowed_lateness_us: i64,
    /// Only final rows are shown.
    pub emit_on_window_close: bool,
    /// How long a row stays after it is final, microseconds.
    pub retention_us: Option<i64>,
    /// `WITH (...)` as it was written.
    pub options: BTreeMap<String, String>,
}

impl BoundView {
    /// What changes its plan.
    pub fn stream_options(&self) -> ViewOptions {
        ViewOptions {
            allowed_lateness_us: self.allowed_lateness_us,
            emit_on_window_close: self.emit_on_window_close,
            retention_us: self.retention_us,
        }
    }
}

impl Binder<'_> {
    /// Binds a materialized view; `text` is the statement that holds it.
    ///
    /// # Errors
    /// What is wrong with its query, columns or options.
    pub fn bind_materialized_view(
        &self,
        view: &CreateMaterializedView,
        text: &str,
    ) -> Result<BoundView, Report> {
        let (allowed_lateness_us, retention_us) = view_options(&view.options)?;
        locking::check_view(&view.query)?;
        let bound = self.bind_query(&view.query, text, &Parameters::none())?;
        let (plan, _) = named(bound.plan, &view.columns)?;
        let options = view.options.iter().map(|o| (o.name.name.clone(), o.value.clone()));
        Ok(BoundView {
            plan,
            depends_on: bound.depends_on,
            allowed_lateness_us,
            emit_on_window_close: view.emit_on_window_close,
            retention_us,
            options: options.collect(),
        })
    }

    /// Binds a view; `text` is the statement that holds it.
    ///
    /// # Errors
    /// What is wrong with its query or columns.
    pub fn bind_view(&self, view: &CreateView, text: &str) -> Result<View, Report> {
        locking::check_view(&view.query)?;
        let Bound { plan, depends_on, .. } =
            self.bind_query(&view.query, text, &Parameters::none())?;
        let (_, schema) = named(plan, &view.columns)?;
        Ok(View { query_text: view.query_text.clone(), depends_on, schema })
    }

    /// Binds a stored view again, in a catalog in which something below it may have changed.
    ///
    /// # Errors
    /// What is wrong with its query now, or that it has not the columns that it had.
    pub fn bind_again(&self, view: &View) -> Result<View, Report> {
        let query = parse_query(&view.query_text)?;
        let Bound { plan, depends_on, .. } =
            self.bind_query(&query, &view.query_text, &Parameters::none())?;
        let names = view.schema.fields().iter();
        let names = names.map(|field| Name { name: field.name().clone(), position: None });
        let (_, schema) = named(plan, &names.collect::<Vec<_>>())?;
        let same = |(old, new): (&Arc<Field>, &Arc<Field>)| old.data_type() == new.data_type();
        let columns = schema.fields().len() == view.schema.fields().len();
        match columns && view.schema.fields().iter().zip(schema.fields()).all(same) {
            true => Ok(View { query_text: view.query_text.clone(), depends_on, schema }),
            false => {
                let message = "its columns would be other ones";
                Err(Report::new(SqlState::INVALID_TABLE_DEFINITION, message))
            }
        }
    }
}

/// The plan and its columns under the names of the view.
pub(super) fn named(plan: LogicalPlan, names: &[Name]) -> Result<(LogicalPlan, SchemaRef), Report> {
    let plan = typed(plan).map_err(report)?;
    let fields = plan.schema().fields();
    if let Some(extra) = names.get(fields.len()) {
        let report = Report::new(SqlState::SYNTAX_ERROR, "too many column names were specified");
        return Err(Report { position: extra.position, ..report });
    }
    let wanted = fields.iter().enumerate().map(|(at, field)| {
        let name = names.get(at).map_or(columns::shown(field.name()), |name| &name.name);
        Field::new(name, field.data_type().clone(), field.is_nullable())
    });
    let schema = Arc::new(Schema::new(wanted.collect::<Vec<_>>()));
    check(&schema, names)?;
    let plan = rename(plan, &schema).map_err(report)?;
    Ok((plan, schema))
}

/// A NULL without a type is text, as in PostgreSQL.
fn typed(plan: LogicalPlan) -> datafusion::common::Result<LogicalPlan> {
    if !plan.schema().fields().iter().any(|field| field.data_type().is_null()) {
        return Ok(plan);
    }
    let schema = Arc::clone(plan.schema());
    let columns = schema.columns().into_iter().map(|column| {
        let is_null =
            schema.qualified_field_from_column(&column).is_ok_and(|(_, f)| f.data_type().is_null());
        let name = column.name.clone();
        match is_null {
            true => cast(Expr::Column(column), DataType::Utf8).alias(name),
            false => Expr::Column(column),
        }
    });
    LogicalPlanBuilder::from(plan).project(columns.collect::<Vec<_>>())?.build()
}

fn check(schema: &SchemaRef, names: &[Name]) -> Result<(), Report> {
    let position = |name: &str| names.iter().find(|n| n.name == name).and_then(|n| n.position);
    let names_of = schema.fields().iter().map(|field| field.name().as_str());
    if let Some(name) = duplicates(names_of).first() {
        let message = format!("column {} specified more than once", Quoted(name));
        let report = Report::new(SqlState::DUPLICATE_COLUMN, message);
        let report = report.hint("Give the columns different names with AS.");
        return Err(Report { position: position(name), ..report });
    }
    for field in schema.fields() {
        if is_hidden(field.name()) {
            return Err(Report { position: position(field.name()), ..reserved(field.name()) });
        }
        if !is_storable(field.data_type()) {
            let what =
                format!("column {} of type {}", Quoted(field.name()), type_name(field.data_type()));
            return Err(Report::unsupported(what));
        }
    }
    Ok(())
}

/// The error for a name that the planner keeps for itself.
pub(super) fn reserved(name: &str) -> Report {
    let message = format!("column name {} is reserved", Quoted(name));
    let hint = "Names that begin with _key_, and _partition and _offset, are hidden columns.";
    Report::new(SqlState::RESERVED_NAME, message).hint(hint)
}

/// What `WITH (...)` takes.
const VIEW_OPTIONS: &[&str] = &["allowed_lateness", "retention", "retain_history", TIME_ZONE];

/// The option that says by which clock a view's query reads and shows times.
const TIME_ZONE: &str = "time_zone";

/// The zone that a materialized view's options name; None without one, or if it is none.
pub fn view_zone(items: &[OptionItem]) -> Option<Zone> {
    let item = items.iter().find(|item| item.name.name == TIME_ZONE)?;
    Zone::of(&Zone::setting(&item.value)?).ok()
}

/// The allowed lateness and the retention, microseconds.
fn view_options(items: &[OptionItem]) -> Result<(i64, Option<i64>), Report> {
    let (mut allowed_lateness_us, mut retention_us) = (0, None);
    for (name, item) in options::by_name(items)? {
        let interval = |least: i64, hint: &str| {
            let micros = options::interval_us(&item.value).filter(|us| *us >= least);
            micros.ok_or_else(|| options::invalid(item, hint))
        };
        match name {
            "allowed_lateness" => {
                let hint = "It is an interval without months, such as '1 hour'.";
                allowed_lateness_us = interval(0, hint)?;
            }
            "retention" => {
                let hint = "It is an interval above zero without months, such as '30 days'.";
                retention_us = Some(interval(1, hint)?);
            }
            TIME_ZONE if Zone::setting(&item.value).is_some() => {}
            TIME_ZONE => {
                let hint = "SELECT name FROM pg_timezone_names lists the time zones.";
                return Err(options::invalid(item, hint));
            }
            "retain_history" => {
                let hint = "It is an interval without months, such as '10 minutes'.";
                interval(0, hint)?;
            }
            _ => return Err(options::unknown(item, VIEW_OPTIONS)),
        }
    }
    Ok((allowed_lateness_us, retention_us))
}
