//! Computed columns of a source: expressions over what the connector decodes.
//!
//! As in PostgreSQL they see no other computed column and no function whose value changes by itself:
//! a row read again must be the same row. `PROCTIME()` alone is the exception, and no expression: who
//! reads the row puts the time there.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, ExprSchemable, Volatility, cast};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::Expr as SqlExpr;
use millrace_plan::{Computed, Scalar};
use millrace_types::{Report, SqlState};

use super::context::Context;
use super::relation::is_time;
use super::syntax;
use super::table::CatalogTables;
use super::version::is_proctime;
use crate::analyze;
use crate::ast::CreateSource;
use crate::catalog::{Catalog, Source, SourceColumn};
use crate::error::{report, report_in};
use crate::functions::type_name;
use crate::guard::guarded;
use crate::names::Quoted;
use crate::parser::parse_expression;
use crate::session;

impl Source {
    /// The computed columns: index in [`Source::full_schema`], and what gives them, expressions over the
    /// columns of [`Source::chunk_schema`].
    ///
    /// # Errors
    /// An expression that does not plan; the binder has refused those.
    pub fn computed(&self) -> Result<Vec<(usize, Computed)>, Report> {
        let schema = self.chunk_schema();
        let computed = self.columns.iter().enumerate();
        let computed = computed.filter_map(|(at, c)| Some((at, c, c.computed.as_ref()?)));
        computed
            .map(|(at, column, text)| {
                let expr = parse_expression(text)?;
                if is_proctime(&expr) {
                    return Ok((at, Computed::ReadTime));
                }
                let expr = logical(expr, &schema, text)?;
                Ok((at, Computed::Scalar(physical(expr, column, &schema)?)))
            })
            .collect()
    }

    /// Plans each computed column once, with positions in the statement.
    pub(super) fn check_computed(&self, create: &CreateSource) -> Result<(), Report> {
        let schema = self.chunk_schema();
        for def in &create.columns {
            let Some(computed) = &def.computed else { continue };
            // Columns that the connector decides stand before those that are declared.
            let Some(column) = self.columns.iter().find(|c| c.name == def.name.name) else {
                continue;
            };
            // Positions inside the expression, shifted by where it stands.
            let at = |report: Report| {
                let inside = report.position.map_or(0, |position| position - 1);
                let position = computed.position.map(|start| start + inside);
                self.about_columns(Report { position, ..report })
            };
            let expr = parse_expression(&computed.text).map_err(at)?;
            if is_proctime(&expr) {
                match is_time(&column.sql_type) {
                    true => continue,
                    false => return Err(at(of_another_type(column, "timestamp with time zone"))),
                }
            }
            let expr = logical(expr, &schema, &computed.text).map_err(at)?;
            physical(expr, column, &schema).map_err(at)?;
        }
        Ok(())
    }

    /// A missing column may be one that is computed itself.
    fn about_columns(&self, report: Report) -> Report {
        let computed = self.columns.iter().filter(|column| column.computed.is_some());
        let named = computed.map(|column| &column.name).find(|name| {
            report.code == SqlState::UNDEFINED_COLUMN
                && report.message.contains(&Quoted(name).to_string())
        });
        let Some(name) = named else { return report };
        let message =
            format!("cannot use generated column {} in column generation expression", Quoted(name));
        let position = report.position;
        let report = Report::new(SqlState::INVALID_OBJECT_DEFINITION, message);
        let report = report.detail("A generated column cannot reference another generated column.");
        Report { position, ..report }
    }
}

/// The expression with names resolved.
fn logical(mut expr: SqlExpr, schema: &SchemaRef, text: &str) -> Result<Expr, Report> {
    syntax::normalize_expr(&mut expr, text)?;
    let catalog = Catalog::new();
    let tables = CatalogTables(&catalog);
    let context = Context::new(&catalog, &tables, session::shared(), text);
    let schema = DFSchema::try_from(Arc::clone(schema)).map_err(report)?;
    let planned = SqlToRel::new(&context).sql_to_expr(expr, &schema, &mut PlannerContext::new());
    let checked = planned.and_then(|expr| analyze::check_casts_in(expr, &schema));
    let expr = checked.map_err(|error| report_in(&error, text))?;
    check(&expr)?;
    // A type that does not fit shows here, while the text is at hand.
    expr.get_type(&schema).map_err(|error| report_in(&error, text))?;
    Ok(expr)
}

fn check(expr: &Expr) -> Result<(), Report> {
    let mut found = None;
    let walked = expr.apply(|part| {
        found = refused(part);
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.map_err(report)?;
    found.map_or(Ok(()), Err)
}

fn refused(expr: &Expr) -> Option<Report> {
    let definition = |message: &str| Report::new(SqlState::INVALID_OBJECT_DEFINITION, message);
    match expr {
        Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
            let detail = format!("{}() has another value at each call.", call.name());
            Some(definition("generation expression is not immutable").detail(detail))
        }
        Expr::AggregateFunction(_) => Some(Report::new(
            SqlState::GROUPING_ERROR,
            "aggregate functions are not allowed in column generation expressions",
        )),
        Expr::WindowFunction(_) => Some(Report::new(
            SqlState::GROUPING_ERROR,
            "window functions are not allowed in column generation expressions",
        )),
        Expr::Exists(_)
        | Expr::InSubquery(_)
        | Expr::ScalarSubquery(_)
        | Expr::SetComparison(_) => Some(Report::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "cannot use subquery in column generation expression",
        )),
        Expr::Placeholder(parameter) => Some(Report::new(
            SqlState::UNDEFINED_PARAMETER,
            format!("there is no parameter {}", parameter.id),
        )),
        _ => None,
    }
}

/// The expression in the column's type, simplified, over the columns by index.
fn physical(expr: Expr, column: &SourceColumn, schema: &SchemaRef) -> Result<Scalar, Report> {
    let state: &SessionState = session::shared();
    let schema = DFSchema::try_from(Arc::clone(schema)).map_err(report)?;
    let wanted = column.sql_type.arrow();
    let simplify = || {
        let context = SimplifyContext::builder()
            .with_schema(Arc::new(schema.clone()))
            .with_config_options(Arc::clone(state.config_options()))
            .build();
        let simplifier = ExprSimplifier::new(context);
        let coerced = simplifier.coerce(expr, &schema)?;
        let found = coerced.get_type(&schema)?;
        let typed = if found == wanted { coerced } else { cast(coerced, wanted.clone()) };
        let typed = analyze::with_functions(typed, &schema)?;
        Ok((simplifier.simplify(typed)?, found))
    };
    let (expr, found) = simplify().map_err(report)?;
    if !assignable(&found, &wanted) {
        return Err(of_another_type(column, &type_name(&found)));
    }
    let physical = state.create_physical_expr(expr, &schema).map_err(report)?;
    guarded(&physical).map(Scalar).map_err(report)
}

fn of_another_type(column: &SourceColumn, found: &str) -> Report {
    let message = format!(
        "column {} is of type {} but expression is of type {found}",
        Quoted(&column.name),
        column.sql_type.name(),
    );
    let report = Report::new(SqlState::DATATYPE_MISMATCH, message);
    report.hint("You will need to rewrite or cast the expression.")
}

/// True if PostgreSQL would store the one type in the other without a cast being written.
fn assignable(from: &DataType, to: &DataType) -> bool {
    let text = |t: &DataType| t.is_string();
    let time =
        |t: &DataType| matches!(t, DataType::Timestamp(_, _) | DataType::Date32 | DataType::Date64);
    from == to
        || from.is_null()
        || (from.is_numeric() && to.is_numeric())
        || (time(from) && time(to))
        || text(to)
        || matches!((from, to), (DataType::Duration(_), DataType::Interval(_)))
}
