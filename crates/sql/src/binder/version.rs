//! `t FOR SYSTEM_TIME AS OF PROCTIME()` in FROM.
//!
//! In a plain SELECT it is the table as it is. In a maintained view the scan is marked, so that the stream
//! planner finds out where rows are looked up.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{LogicalPlan, TableScan};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArguments, ObjectNamePart, Spanned, TableFactor, TableVersion,
};
use millrace_types::Report;

use super::CatalogTable;
use super::relation::fail;
use crate::ast::ObjectKind;
use crate::text::Text;

/// Plans tables of which a version is named.
#[derive(Debug)]
pub(super) struct Versions {
    /// The statement, for positions.
    text: String,
}

impl Versions {
    pub(super) fn new(text: &str) -> Versions {
        Versions { text: text.to_owned() }
    }
}

/// True for `FOR SYSTEM_TIME AS OF PROCTIME()`.
fn is_now(version: &TableVersion) -> bool {
    matches!(version, TableVersion::ForSystemTimeAsOf(time) if is_proctime(time))
}

/// True for a call of `PROCTIME()`.
pub(super) fn is_proctime(expr: &SqlExpr) -> bool {
    if let SqlExpr::Nested(inner) = expr {
        return is_proctime(inner);
    }
    let SqlExpr::Function(call) = expr else { return false };
    let [ObjectNamePart::Identifier(name)] = call.name.0.as_slice() else { return false };
    let empty = match &call.args {
        FunctionArguments::List(list) => list.args.is_empty(),
        FunctionArguments::None | FunctionArguments::Subquery(_) => false,
    };
    empty && name.value.eq_ignore_ascii_case("proctime")
}

/// The plan with its scan marked; None if it is more than a table's scan. Tables that are executed need no
/// mark.
fn marked(plan: LogicalPlan) -> Result<Option<LogicalPlan>> {
    let mut fits = true;
    let plan = plan.transform_up(|node| match node {
        LogicalPlan::TableScan(scan) => {
            let Some(table) = scan.source.downcast_ref::<CatalogTable>() else {
                return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
            };
            fits &= table.kind != ObjectKind::Source;
            let source = Arc::new(CatalogTable { looked_up: true, ..table.clone() });
            Ok(Transformed::yes(LogicalPlan::TableScan(TableScan { source, ..scan })))
        }
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => Ok(Transformed::no(node)),
        other => {
            fits = false;
            Ok(Transformed::no(other))
        }
    })?;
    Ok(fits.then_some(plan.data))
}

impl RelationPlanner for Versions {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::Table { name, version: Some(version), .. } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let position = Text::new(&self.text).position(name.span().start);
        let now = is_now(version);
        let TableFactor::Table {
            name,
            alias,
            args,
            with_hints,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
            version: _,
        } = relation
        else {
            return fail(Report::unsupported("FOR SYSTEM_TIME AS OF here"), position);
        };
        if !now || args.is_some() {
            let report = Report::unsupported("a version of a table other than that of PROCTIME()");
            return fail(report.hint("Write FOR SYSTEM_TIME AS OF PROCTIME()."), position);
        }
        let table = TableFactor::Table {
            name,
            alias: None,
            args,
            with_hints,
            version: None,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
        };
        match marked(context.plan(table)?)? {
            Some(plan) => {
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
            }
            None => {
                let what = "FOR SYSTEM_TIME AS OF PROCTIME() of a source or a query";
                let hint = "Rows are looked up in a table or a materialized view.";
                fail(Report::unsupported(what).hint(hint), position)
            }
        }
    }
}
