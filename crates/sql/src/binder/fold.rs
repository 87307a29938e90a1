//! Joins that we plan ourselves, each in parentheses with all that stands before it.
//!
//! DataFusion asks us for what stands between the words of FROM, not for joins. So functions over columns,
//! ASOF joins and joins with USING or NATURAL are folded before it looks: `a, b JOIN c USING (k) JOIN d ...`
//! becomes `a, (b JOIN c USING (k)) JOIN d ...`. The parentheses around a join that merges columns get a name
//! of its own, that of the table of these columns.

use datafusion::sql::sqlparser::ast::{
    Ident, Join, JoinConstraint, JoinOperator, TableAlias, TableFactor, TableWithJoins,
};

use super::{asof, lateral, table_function, using};
use crate::names::{self, MERGED};

/// Folds the joins of one statement.
#[derive(Default)]
pub(super) struct Folder {
    /// How many joins merge columns.
    merges: usize,
}

impl Folder {
    /// Folds the items of a FROM, and a function over columns with the items before it.
    pub(super) fn items(&mut self, from: &mut Vec<TableWithJoins>) {
        lateral::as_lists(from);
        let mut folded: Vec<TableWithJoins> = Vec::with_capacity(from.len());
        for mut next in std::mem::take(from) {
            if !folded.is_empty() && table_function::is_lateral(&next.relation) {
                let before = joined(std::mem::take(&mut folded));
                let function = cross(next.relation.clone());
                next.relation = self.nested(before, vec![function]);
            }
            self.joins(&mut next);
            folded.push(next);
        }
        *from = folded;
    }

    fn joins(&mut self, from: &mut TableWithJoins) {
        while let Some(at) = from.joins.iter().position(is_own) {
            let rest = from.joins.split_off(at + 1);
            let join = from.joins.split_off(at);
            let before = std::mem::take(&mut from.joins);
            let left = match before.is_empty() {
                true => from.relation.clone(),
                false => self.nested(from.relation.clone(), before),
            };
            from.relation = self.nested(left, join);
            from.joins = rest;
        }
        self.inside(from);
    }

    fn inside(&mut self, from: &mut TableWithJoins) {
        self.factor(&mut from.relation);
        from.joins.iter_mut().for_each(|join| self.factor(&mut join.relation));
    }

    /// Folds what stands in parentheses.
    fn factor(&mut self, factor: &mut TableFactor) {
        let TableFactor::NestedJoin { table_with_joins, alias } = factor else { return };
        let [join] = table_with_joins.joins.as_slice() else {
            return self.joins(table_with_joins);
        };
        let is_named = alias.as_ref().is_some_and(|alias| names::is_merged(&alias.name.value));
        if !is_own(join) || is_named || using::merges(join).is_none() {
            return self.inside(table_with_joins);
        }
        match alias {
            None => {
                *alias = Some(self.name());
                self.inside(table_with_joins);
            }
            Some(_) => self.joins(table_with_joins),
        }
    }

    fn nested(&mut self, relation: TableFactor, joins: Vec<Join>) -> TableFactor {
        let merges = matches!(joins.as_slice(), [join] if using::merges(join).is_some());
        let alias = merges.then(|| self.name());
        let table_with_joins = Box::new(TableWithJoins { relation, joins });
        TableFactor::NestedJoin { table_with_joins, alias }
    }

    fn name(&mut self) -> TableAlias {
        self.merges += 1;
        let name = Ident::with_quote('"', format!("{MERGED}{}", self.merges));
        TableAlias { explicit: true, name, columns: Vec::new(), at: None }
    }
}

fn is_own(join: &Join) -> bool {
    table_function::is_lateral(&join.relation)
        || asof::is_asof(join)
        || using::merges(join).is_some()
}

fn cross(relation: TableFactor) -> Join {
    let join_operator = JoinOperator::CrossJoin(JoinConstraint::None);
    Join { relation, global: false, join_operator }
}

/// All items of a FROM as one.
fn joined(items: Vec<TableWithJoins>) -> TableFactor {
    let nested = |relation, joins| {
        let table_with_joins = Box::new(TableWithJoins { relation, joins });
        TableFactor::NestedJoin { table_with_joins, alias: None }
    };
    let mut factors = items.into_iter().map(|item| match item.joins.is_empty() {
        true => item.relation,
        false => nested(item.relation, item.joins),
    });
    let first = factors.next().expect("something stands before it");
    let joins: Vec<Join> = factors.map(cross).collect();
    if joins.is_empty() { first } else { nested(first, joins) }
}
