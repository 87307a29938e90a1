//! A table's row as a value: `SELECT t FROM t`, `row_to_json(t)`, `json_agg(t)`, `count(t)`, `t IS NULL`.
//!
//! The name of a table that is no column's name stands for a record of its columns. On the side of an outer join that
//! may have no row, a record of NULLs alone is NULL: that of the row that is not there.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, JoinOperator,
    ObjectName, TableFactor, TableWithJoins, Value,
};

use super::columns::shown;
use super::nested::case;
use super::scopes::Scopes;
use super::syntax::call;
use crate::names::{self, fold};

/// A table of FROM whose columns are known.
#[derive(Clone)]
pub(super) struct WholeRow {
    pub(super) table: Ident,
    pub(super) columns: Vec<String>,
    /// It stands where an outer join may have no row of it.
    may_lack: bool,
}

impl WholeRow {
    fn column(&self, name: &str) -> Expr {
        Expr::CompoundIdentifier(vec![self.table.clone(), Ident::with_quote('"', name)])
    }

    /// A condition on all columns.
    fn all(&self, condition: impl Fn(Box<Expr>) -> Expr) -> Option<Expr> {
        let each = self.columns.iter().map(|name| condition(Box::new(self.column(name))));
        let all = each.reduce(|left, right| Expr::BinaryOp {
            left: Box::new(left),
            op: BinaryOperator::And,
            right: Box::new(right),
        })?;
        Some(Expr::Nested(Box::new(all)))
    }

    /// The row as a record.
    pub(super) fn value(&self) -> Option<Expr> {
        let text = |text: &str| Expr::value(Value::SingleQuotedString(text.to_owned()));
        let fields = self.columns.iter().flat_map(|name| [text(shown(name)), self.column(name)]);
        let record = call("named_struct", fields.collect());
        let none = self.all(Expr::IsNull)?;
        Some(match self.may_lack {
            true => case(none, Expr::value(Value::Null), Some(record)),
            false => record,
        })
    }

    /// `t IS NULL`
    pub(super) fn is_null(&self) -> Option<Expr> {
        self.all(Expr::IsNull)
    }

    /// `t IS NOT NULL`
    pub(super) fn is_not_null(&self) -> Option<Expr> {
        self.all(Expr::IsNotNull)
    }
}

impl Scopes<'_> {
    /// The tables of an item of FROM whose columns are known.
    pub(super) fn whole_rows(
        &self,
        from: &TableWithJoins,
        may_lack: bool,
        rows: &mut Vec<WholeRow>,
    ) {
        let (left, right) = (|join: &JoinOperator| lacks_left(join), lacks_right);
        let lacks = |at: usize| from.joins.iter().skip(at).any(|join| left(&join.join_operator));
        self.whole_row(&from.relation, may_lack || lacks(0), rows);
        for (at, join) in from.joins.iter().enumerate() {
            let lacks = right(&join.join_operator) || lacks(at + 1);
            self.whole_row(&join.relation, may_lack || lacks, rows);
        }
    }

    fn whole_row(&self, factor: &TableFactor, may_lack: bool, rows: &mut Vec<WholeRow>) {
        if let TableFactor::NestedJoin { table_with_joins, alias } = factor {
            if alias.as_ref().is_none_or(|alias| names::is_merged(&alias.name.value)) {
                self.whole_rows(table_with_joins, may_lack, rows);
            }
            return;
        }
        if let (Some(table), Some(columns)) =
            (super::stars::called(factor), self.columns(factor, true))
        {
            rows.push(WholeRow { table, columns, may_lack });
        }
    }
}

fn lacks_left(join: &JoinOperator) -> bool {
    matches!(
        join,
        JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_)
    )
}

fn lacks_right(join: &JoinOperator) -> bool {
    matches!(join, JoinOperator::Left(_) | JoinOperator::LeftOuter(_) | JoinOperator::FullOuter(_))
}

/// `f(t.*)` as `f(t)`.
pub(super) fn without_stars(expr: &mut Expr) {
    let Expr::Function(function) = expr else { return };
    let FunctionArguments::List(list) = &mut function.args else { return };
    for arg in &mut list.args {
        if let FunctionArg::Unnamed(of @ FunctionArgExpr::QualifiedWildcard(_)) = arg
            && let FunctionArgExpr::QualifiedWildcard(name) = of
            && let Some(table) = single(name)
        {
            *of = FunctionArgExpr::Expr(Expr::Identifier(table));
        }
    }
}

fn single(name: &ObjectName) -> Option<Ident> {
    match name.0.as_slice() {
        [part] => part.as_ident().cloned(),
        _ => None,
    }
}

/// True for two names of one table.
pub(super) fn is_same(one: &Ident, other: &Ident) -> bool {
    fold(one) == fold(other)
}
