//! `SET` of UPDATE and of ON CONFLICT: which value each column gets, of `(a, b) = ...` too.
//!
//! A row constructor gives a value to each column. A subquery gives them all at once, or its rows could be
//! different ones for each: it stands once, as a record, in a query below, and its fields are assigned above.

use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, Expr, GroupByExpr, Ident, ObjectName, Query, SelectItem, SetExpr,
    Spanned, TableAliasColumnDef, TableFactor, Value,
};
use datafusion::sql::sqlparser::tokenizer::Location;
use millrace_types::{Report, SqlState};

use super::assignment::{assigned_value, cast_value, is_default};
use super::change::{Target, item, item_span, old_columns, qualified, select_of};
use super::records;
use super::syntax::call;
use crate::ast::IdentityKind;
use crate::catalog::{Identity, Object, Table, TableColumn};
use crate::names::Quoted;
use crate::parser::parse_query;
use crate::text::Text;

/// What the columns of a table become.
pub(super) struct Assigned {
    /// By column; None: they stay.
    values: Vec<Option<Source>>,
    /// Subqueries that give several values.
    records: Vec<Expr>,
    /// Where these values stand.
    places: Vec<Vec<Option<usize>>>,
}

enum Source {
    Value(Box<Expr>),
    /// A field of a record.
    Field(usize, usize),
}

/// Before what RETURNING needs of further tables, in a query over records.
pub(super) const START: &str = "\u{0}start";

fn ident(name: String) -> Ident {
    Ident::with_quote('"', name)
}

fn record(at: usize) -> String {
    format!("record_{at}")
}

fn field(at: usize) -> String {
    format!("c{at}")
}

/// What a column is called above, where `*` shows the one below, too.
fn above(name: &str) -> String {
    format!("above_{name}")
}

fn text(text: String) -> Expr {
    Expr::value(Value::SingleQuotedString(text))
}

impl Assigned {
    /// True if a column gets a value.
    pub(super) fn has(&self, column: usize) -> bool {
        self.values.get(column).is_some_and(Option::is_some)
    }

    /// Leaves a column as it is, if its value is one of some.
    pub(super) fn leave_if(&mut self, column: usize, is_left: impl Fn(&Expr) -> bool) {
        if let Some(value) = self.values.get_mut(column) {
            value.take_if(|value| matches!(value, Source::Value(value) if is_left(value)));
        }
    }

    /// The rows that go, and the columns of those that come in their place, as far as they are known below.
    pub(super) fn below(
        &self,
        alias: &Ident,
        table: &Table,
        text: &Text<'_>,
    ) -> Result<Vec<SelectItem>, Report> {
        let mut items = old_columns(alias, table);
        for (number, (column, value)) in table.columns.iter().zip(&self.values).enumerate() {
            let value = match value {
                Some(Source::Field(..)) => continue,
                Some(Source::Value(value)) => {
                    assigned_value(value.as_ref().clone(), number, table, text)?
                }
                None => qualified(alias, &column.name),
            };
            items.push(item(value, format!("new_{number}")));
        }
        let records = self.records.iter().cloned().enumerate();
        items.extend(records.map(|(at, value)| item(value, record(at))));
        if !self.records.is_empty() {
            items.push(item(Expr::value(Value::Boolean(true)), START.to_owned()));
        }
        Ok(items)
    }

    /// The same rows with all columns, over the query that has what is below.
    pub(super) fn above(&self, below: Box<Query>, table: &Table) -> Result<Box<Query>, Report> {
        if self.records.is_empty() {
            return Ok(below);
        }
        let mut query = parse_query("SELECT 1, * FROM (SELECT 1) AS below")?;
        let select = select_of(&mut query);
        let all = select.projection.pop();
        let plain = |name: String| Expr::Identifier(ident(name));
        let old = (0..table.full_schema().fields().len()).map(|at| format!("old_{at}"));
        let mut items: Vec<SelectItem> =
            old.map(|name| item(plain(name.clone()), above(&name))).collect();
        for (number, value) in self.values.iter().enumerate() {
            let name = format!("new_{number}");
            let value = match value {
                Some(Source::Field(of, at)) => {
                    let value = call("get_field", vec![plain(record(*of)), text(field(*at))]);
                    let at = self.places.get(*of).and_then(|places| places.get(*at)).copied();
                    cast_value(value, number, table, Some(at.flatten()))?
                }
                _ => plain(name.clone()),
            };
            items.push(item(value, above(&name)));
        }
        items.extend(all);
        select.projection = items;
        if let Some(TableFactor::Derived { subquery, .. }) =
            select.from.first_mut().map(|from| &mut from.relation)
        {
            *subquery = below;
        }
        Ok(query)
    }
}

/// An error if a column always takes numbers, and is to have another value.
fn may_set(column: &TableColumn, is_default: bool) -> Result<(), Report> {
    let always = |identity: &Identity| identity.kind == IdentityKind::Always;
    if is_default || !column.identity.as_ref().is_some_and(always) {
        return Ok(());
    }
    let name = Quoted(&column.name);
    let message = format!("column {name} can only be updated to DEFAULT");
    let detail = format!("Column {name} is an identity column defined as GENERATED ALWAYS.");
    Err(Report::new(SqlState::GENERATED_ALWAYS, message).detail(detail))
}

impl Target<'_> {
    /// The value that is assigned to each column.
    pub(super) fn assignments(
        &self,
        assignments: &[Assignment],
        object: &Object,
        table: &Table,
    ) -> Result<Assigned, Report> {
        let values = table.columns.iter().map(|_| None).collect();
        let mut assigned = Assigned { values, records: Vec::new(), places: Vec::new() };
        for Assignment { target, value } in assignments {
            let (names, sources) = match target {
                AssignmentTarget::ColumnName(name) => {
                    (std::slice::from_ref(name), vec![Source::Value(Box::new(value.clone()))])
                }
                AssignmentTarget::Tuple(names) => {
                    (names.as_slice(), self.several(names, value, &mut assigned)?)
                }
            };
            for (name, source) in names.iter().zip(sources) {
                let column = self.assigned_column(object, table, name)?;
                let is_default = matches!(&source, Source::Value(value) if is_default(value));
                may_set(&table.columns[column], is_default)?;
                if assigned.values[column].replace(source).is_some() {
                    let name = &table.columns[column].name;
                    let message = format!("multiple assignments to same column {}", Quoted(name));
                    return Err(Report::new(SqlState::SYNTAX_ERROR, message));
                }
            }
        }
        Ok(assigned)
    }

    /// The values of `(a, b) = ...`.
    fn several(
        &self,
        names: &[ObjectName],
        value: &Expr,
        assigned: &mut Assigned,
    ) -> Result<Vec<Source>, Report> {
        let unequal = |start: Option<Location>| {
            let message = "number of columns does not match number of values";
            let report = Report::new(SqlState::SYNTAX_ERROR, message);
            Report { position: start.and_then(|start| self.text.position(start)), ..report }
        };
        if let Some(query) = subquery(value) {
            let start = self.text.opening(query.span().start);
            return match self.width(query, &mut self.with.clone()) {
                Some(width) if width != names.len() => Err(unequal(start)),
                Some(width) => self.fields_of(query, width, assigned),
                None => Err(Report::unsupported("SET of several columns to columns without names")
                    .hint("Name the columns in the select list.")),
            };
        }
        let is_row = matches!(value, Expr::Tuple(_) | Expr::Function(_));
        match records::fields(value).filter(|_| is_row) {
            Some(values) if values.len() == names.len() => {
                Ok(values.into_iter().map(|value| Source::Value(Box::new(value))).collect())
            }
            Some(_) => {
                let start = value.span().start;
                Err(unequal(match value {
                    Expr::Tuple(_) => self.text.opening(start),
                    _ => Some(start),
                }))
            }
            None => {
                let message = "source for a multiple-column UPDATE item must be a sub-SELECT or \
                               ROW() expression";
                let report = Report::new(SqlState::FEATURE_NOT_SUPPORTED, message);
                Err(self.at(Some(value.span()), report))
            }
        }
    }

    /// The fields of a subquery, which becomes one of the records. One without FROM gives what it lists.
    fn fields_of(
        &self,
        query: &Query,
        width: usize,
        assigned: &mut Assigned,
    ) -> Result<Vec<Source>, Report> {
        if let Some(values) = listed(query) {
            return Ok(values.into_iter().map(|value| Source::Value(Box::new(value))).collect());
        }
        let of = assigned.records.len();
        let place = |at| item_span(query, at).and_then(|span| self.text.position(span.start));
        assigned.places.push((0..width).map(place).collect());
        let mut outer = parse_query("SELECT 1 FROM (SELECT 1) AS below (c0)")?;
        let select = select_of(&mut outer);
        let fields =
            (0..width).flat_map(|at| [text(field(at)), Expr::Identifier(ident(field(at)))]);
        select.projection = vec![SelectItem::UnnamedExpr(call("named_struct", fields.collect()))];
        if let Some(TableFactor::Derived { subquery, alias: Some(alias), .. }) =
            select.from.first_mut().map(|from| &mut from.relation)
        {
            **subquery = query.clone();
            let column = |at| TableAliasColumnDef { name: ident(field(at)), data_type: None };
            alias.columns = (0..width).map(column).collect();
        }
        assigned.records.push(Expr::Subquery(outer));
        Ok((0..width).map(|at| Source::Field(of, at)).collect())
    }

    /// The column that SET names.
    fn assigned_column(
        &self,
        object: &Object,
        table: &Table,
        name: &ObjectName,
    ) -> Result<usize, Report> {
        match name.0.as_slice() {
            [_] => self.column(object, table, name),
            // `t.a` is part a of a column t.
            [first, ..] => {
                self.column(object, table, &ObjectName(vec![first.clone()])).and_then(|_| {
                    Err(Report::unsupported("SET of a part of a column")
                        .hint("Set the whole column."))
                })
            }
            [] => Err(Report::unsupported("this form of a column")),
        }
    }
}

fn subquery(value: &Expr) -> Option<&Query> {
    match value {
        Expr::Subquery(query) => Some(query),
        Expr::Nested(inner) => subquery(inner),
        _ => None,
    }
}

/// What a query without any clause lists; not its texts, which have a type there.
fn listed(query: &Query) -> Option<Vec<Expr>> {
    let Query { with: None, body, order_by: None, limit_clause: None, fetch: None, .. } = query
    else {
        return None;
    };
    let SetExpr::Select(select) = body.as_ref() else { return None };
    let is_plain = select.from.is_empty()
        && select.distinct.is_none()
        && select.selection.is_none()
        && select.having.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let value = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            Some(expr.clone())
        }
        _ => None,
    };
    let is_literal = |value: &Expr| matches!(value, Expr::Value(value) if !matches!(value.value, Value::Number(..) | Value::Boolean(_)));
    let values: Vec<Expr> = select.projection.iter().map(value).collect::<Option<_>>()?;
    let rows =
        values.iter().all(|value| !is_literal(value) && super::grouping::is_row_by_row(value));
    (is_plain && rows).then_some(values)
}
