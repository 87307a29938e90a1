//! Temporal joins: `FROM s JOIN t FOR SYSTEM_TIME AS OF PROCTIME() ON ...`.
//!
//! Each row of the left input meets the rows of the table that are there at the end of the epoch in which
//! the row comes, and is not kept. So its result is no function of what the inputs hold, but one of their
//! epochs; what has left is never taken back.
//!
//! Invariants: 1. the left input only appends. 2. where the join compares with the whole key of the table
//! there is at most one row for each left row, and what is known of left rows is known of those.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{LogicalPlan, TableScan};
use millrace_plan::{JoinKind, JoinPair, Meta};
use millrace_types::Report;

use super::refuse::{failure, not_yet};
use crate::binder::CatalogTable;

/// The right input of a join without its mark, if it is a table in which rows are looked up.
pub(super) fn table(plan: &LogicalPlan) -> Result<Option<LogicalPlan>, Report> {
    let mut below = plan;
    loop {
        below = match below {
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::Filter(filter) => &filter.input,
            LogicalPlan::TableScan(scan) if is_marked(scan) => break,
            _ => return Ok(None),
        };
    }
    let plain = plan.clone().transform_up(|node| match node {
        LogicalPlan::TableScan(scan) => {
            let Some(table) = scan.source.downcast_ref::<CatalogTable>() else {
                return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
            };
            let source = Arc::new(CatalogTable { looked_up: false, ..table.clone() });
            Ok(Transformed::yes(LogicalPlan::TableScan(TableScan { source, ..scan })))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(Some(plain.map_err(failure)?.data))
}

/// True for a scan of a table in which rows are looked up.
pub(super) fn is_marked(scan: &TableScan) -> bool {
    scan.source.downcast_ref::<CatalogTable>().is_some_and(|table| table.looked_up)
}

/// The report for a marked table that is not on the right side of a join.
pub(super) fn misplaced() -> Report {
    not_yet(
        "FOR SYSTEM_TIME AS OF in a materialized view other than on the right side of a join is",
    )
    .hint("Write stream JOIN table FOR SYSTEM_TIME AS OF PROCTIME() ON ...")
}

/// Refuses what cannot look rows up.
pub(super) fn check(kind: JoinKind, left: &Meta) -> Result<(), Report> {
    if !kind.looks_up() {
        let what = format!("{} joins with FOR SYSTEM_TIME AS OF are", kind.name());
        return Err(not_yet(&what).hint("Inner and left joins look rows up."));
    }
    if !left.append_only {
        let what = "FOR SYSTEM_TIME AS OF beside rows that change is";
        return Err(not_yet(what)
            .detail("A row that goes would have to be looked up as it was when it came.")
            .hint(
                "Put a source, or a view whose rows only come, on the left side; conditions with now() \
                 belong into a view over this one.",
            ));
    }
    Ok(())
}

/// True if a left row meets one right row at most.
pub(super) fn finds_one(right: &Meta, on: &[JoinPair]) -> bool {
    let compared = |column: &usize| on.iter().any(|pair| pair.right == *column);
    right.key.iter().all(compared)
}

/// What is known of the rows that leave, beyond what a join says.
pub(super) fn promise(meta: &mut Meta, left: &Meta, finds_one: bool) {
    meta.append_only = true;
    meta.watermarks = Vec::new();
    if finds_one {
        meta.key.clone_from(&left.key);
        meta.watermarks.clone_from(&left.watermarks);
    }
}
