//! Outer joins with USING or NATURAL whose merged column would not be PostgreSQL's.
//!
//! The merged column is the left one in an inner or left join, the right one in a right join, the
//! one that is not NULL in a full join. DataFusion takes the left one for its name, and for `*` that
//! of the table whose name comes first: both are right in an inner join only.

use datafusion::common::{Column, JoinConstraint, JoinType};
use datafusion::logical_expr::logical_plan::Join;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// True for a join whose merged column cannot be had, and for a select list that names the padded
/// column of a left join: `*` may have chosen it.
pub(super) fn is_ambiguous(node: &LogicalPlan) -> bool {
    match node {
        LogicalPlan::Join(join) => {
            is_using(join) && matches!(join.join_type, JoinType::Right | JoinType::Full)
        }
        LogicalPlan::Projection(projection) => {
            let mut padded = Vec::new();
            collect(&projection.input, &mut padded);
            let names = |expr: &Expr| matches!(expr, Expr::Column(c) if padded.contains(&c));
            projection.expr.iter().any(names)
        }
        _ => false,
    }
}

fn is_using(join: &Join) -> bool {
    join.join_constraint == JoinConstraint::Using
}

/// The right columns of USING in the left joins right below.
fn collect<'a>(plan: &'a LogicalPlan, padded: &mut Vec<&'a Column>) {
    match plan {
        LogicalPlan::Filter(filter) => collect(&filter.input, padded),
        LogicalPlan::Join(join) => {
            if is_using(join) && join.join_type == JoinType::Left {
                // A column may stand below a cast to the type that both sides share.
                padded.extend(join.on.iter().flat_map(|(_, right)| right.column_refs()));
            }
            collect(&join.left, padded);
            collect(&join.right, padded);
        }
        _ => {}
    }
}
