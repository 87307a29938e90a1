//! `INSERT`, `UPDATE` and `DELETE` as queries: what a statement changes is what a SELECT gives.
//!
//! - `INSERT`: the new rows, every column of the table in order, with its type.
//! - `DELETE`: the rows that go, with the hidden key where the table has one.
//! - `UPDATE`: the rows that go, then the columns of the rows that come in their place.
//!
//! How values become those of columns is told in [`super::assignment`].

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, ConflictTarget, Delete, Expr, FromTable, Ident, Insert, ObjectName,
    OnConflictAction, OnInsert, Query, Select, SelectItem, SetExpr, Spanned,
    Statement as SqlStatement, TableAliasColumnDef, TableFactor, TableObject, TableWithJoins,
    Update, UpdateTableFromKind,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use millrace_types::{Report, SqlState};

use super::assignment::{is_default, selected, values_query};
use super::calls;
use super::returning::{Returning, returning};
use crate::ast::{Change, IdentityKind, Name};
use crate::catalog::{Catalog, Identity, Kind, Object, Table, TableColumn};
use crate::names::{CHANGED, Quoted, SCHEMA, fold, object_name};
use crate::parser::parse_query;
use crate::text::Text;

/// What a statement does to rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Rows come.
    Insert,
    /// Rows change.
    Update,
    /// Rows go.
    Delete,
}

impl ChangeKind {
    /// Its word in plans.
    pub fn word(self) -> &'static str {
        match self {
            ChangeKind::Insert => "Insert",
            ChangeKind::Update => "Update",
            ChangeKind::Delete => "Delete",
        }
    }
}

/// A statement that changes a table, as a query.
#[derive(Clone, Debug)]
pub struct ChangePlan {
    /// The table.
    pub table: Arc<Object>,
    /// What the rows of the query are.
    pub kind: ChangeKind,
    /// See the module.
    pub query: Box<Query>,
    /// What becomes of rows whose key is taken.
    pub conflict: Conflict,
    /// The columns, of the primary key or of a unique index, by which a conflict is no failure.
    pub arbiters: Vec<Vec<usize>>,
    /// `RETURNING`, over the rows that were touched in the place of the table.
    pub returning: Option<Returning>,
}

/// What becomes of new rows whose key is taken.
#[derive(Clone, Debug)]
pub enum Conflict {
    /// The statement fails.
    Fail,
    /// They are left out.
    Skip,
    /// The row that is there changes: a query as for `UPDATE`, over the table and [`EXCLUDED`].
    Update(Box<Query>),
}

/// What the rows that could not be inserted are called.
pub const EXCLUDED: &str = "excluded";

impl ChangePlan {
    /// The table's definition.
    ///
    /// # Panics
    /// Never: [`plan_change`] looks at the kind.
    pub fn definition(&self) -> &Table {
        match &self.table.kind {
            Kind::Table(table) => table,
            _ => unreachable!("only tables are changed"),
        }
    }
}

impl ChangePlan {
    /// Which columns of what its query gives are those of further tables, for RETURNING.
    pub fn beside(&self, found: &Schema) -> Range<usize> {
        let table = self.definition();
        let all = found.fields().len();
        let width = match self.kind {
            ChangeKind::Insert => all,
            ChangeKind::Update => table.full_schema().fields().len() + table.columns.len(),
            ChangeKind::Delete => table.full_schema().fields().len(),
        };
        let width = width.min(all);
        width + Returning::passes(&found.fields()[width..])..all
    }
}

/// The query of a statement.
///
/// # Errors
/// An unknown table or column, another kind of object, or a clause that is not there yet.
pub fn plan_change(catalog: &Catalog, change: &Change) -> Result<ChangePlan, Report> {
    let copies = change.verb == "COPY";
    let (with, statement) = change.parts();
    let named = with.iter().flat_map(|with| &with.cte_tables).map(|table| fold(&table.alias.name));
    let (text, overrides) = (Text::new(&change.text), copies || change.overrides);
    let target = Target { catalog, text, copies, overrides, with: named.collect() };
    let insert = |insert| target.insert(insert, change.only.as_ref());
    let mut plan = match statement {
        SqlStatement::Insert(statement) => insert(statement),
        SqlStatement::Update(update) => target.update(update),
        SqlStatement::Delete(delete) => target.delete(delete),
        _ => Err(Report::unsupported(format!("this form of {}", change.verb))),
    }?;
    plan.query.with = with.cloned();
    if let Conflict::Update(query) = &mut plan.conflict {
        query.with = with.cloned();
    }
    if let Some(returning) = &mut plan.returning {
        returning.template_mut().with = with.cloned();
    }
    Ok(plan)
}

/// Refuses to change a table that a connector fills.
///
/// # Errors
/// If it is one; `name` is how the statement calls it.
fn check_changeable(table: &Table, name: &Name) -> Result<(), Report> {
    let Some(feed) = &table.feed else { return Ok(()) };
    let message = format!("cannot change table {}", Quoted(&name.name));
    let report = Report::new(SqlState::WRONG_OBJECT_TYPE, message);
    let report = report
        .detail(format!("Connector '{}' fills it.", feed.connector))
        .hint("Its rows are what its topic says: write to the topic.");
    Err(Report { position: name.position, ..report })
}

pub(super) struct Target<'a> {
    catalog: &'a Catalog,
    pub(super) text: Text<'a>,
    /// The rows are texts that a COPY has brought.
    copies: bool,
    /// The names that WITH has given before the statement.
    pub(super) with: BTreeSet<String>,
    /// Columns that always take numbers get those that are given.
    overrides: bool,
}

impl Target<'_> {
    fn table(&self, name: &ObjectName) -> Result<Arc<Object>, Report> {
        let name = object_name(name, &self.text)?;
        let at = |report: Report| Report { position: name.position, ..report };
        let Some(object) = self.catalog.find(&name.name) else {
            let message = format!("relation {} does not exist", Quoted(&name.name));
            return Err(at(Report::new(SqlState::UNDEFINED_TABLE, message)));
        };
        if object.is_of_server() {
            let message = format!("cannot change table {}", Quoted(&name.name));
            return Err(at(Report::new(SqlState::WRONG_OBJECT_TYPE, message)
                .detail("The server itself writes to it.")));
        }
        if let Kind::Table(table) = &object.kind {
            check_changeable(table, &name)?;
            return Ok(Arc::clone(object));
        }
        let kind = object.object_kind().word();
        let message = format!("cannot change {kind} {}", Quoted(&name.name));
        let hint = "INSERT, UPDATE and DELETE work on tables: CREATE TABLE makes one.";
        Err(at(Report::new(SqlState::WRONG_OBJECT_TYPE, message).hint(hint)))
    }

    pub(super) fn column(
        &self,
        object: &Object,
        table: &Table,
        name: &ObjectName,
    ) -> Result<usize, Report> {
        let ident = name.0.last().and_then(|part| part.as_ident());
        let ident = ident.ok_or_else(|| Report::unsupported("this form of a column"))?;
        let folded = fold(ident);
        let found = table.columns.iter().position(|column| column.name == folded);
        found.ok_or_else(|| {
            let (column, relation) = (Quoted(&folded), Quoted(&object.name));
            let message = format!("column {column} of relation {relation} does not exist");
            let position = self.text.position(ident.span.start);
            Report { position, ..Report::new(SqlState::UNDEFINED_COLUMN, message) }
        })
    }

    fn insert(&self, insert: &Insert, only: Option<&Expr>) -> Result<ChangePlan, Report> {
        let TableObject::TableName(name) = &insert.table else {
            return Err(Report::unsupported("INSERT into a function"));
        };
        let object = self.table(name)?;
        let Kind::Table(table) = &object.kind else { unreachable!("looked at above") };
        let alias = match &insert.table_alias {
            Some(alias) => alias.alias.clone(),
            None => Ident::with_quote('"', object.name.clone()),
        };
        let (conflict, arbiters) = self.conflict(insert, &object, table, &alias)?;
        let returning = returning(insert.returning.as_deref(), &object, &alias, &[])?;
        let columns = insert.columns.iter().map(|name| self.column(&object, table, name));
        let mut targets = columns.collect::<Result<Vec<_>, _>>()?;
        let named = insert.columns.as_slice();
        if let Some(twice) = (1..targets.len()).find(|at| targets[..*at].contains(&targets[*at])) {
            let name = &table.columns[targets[twice]].name;
            let message = format!("column {} specified more than once", Quoted(name));
            let report = Report::new(SqlState::DUPLICATE_COLUMN, message);
            return Err(self.at(named.get(twice).map(Spanned::span), report));
        }
        if named.is_empty() {
            targets = (0..table.columns.len()).collect();
        }
        let query = match insert.source.as_deref() {
            None => values_query(vec![Vec::new()], &[], table, &self.text)?,
            Some(source) => match source.body.as_ref() {
                SetExpr::Values(values)
                    if source.order_by.is_none() && source.limit_clause.is_none() =>
                {
                    let rows = values.rows.iter().map(|row| row.content.clone()).collect();
                    self.values(rows, targets, named, table)?
                }
                _ => {
                    if let Some(width) = self.width(source, &mut self.with.clone()) {
                        self.check_width(width, targets.len(), named, |at| item_span(source, at))?;
                        targets.truncate(width);
                    }
                    targets.iter().try_for_each(|target| self.may_give(table, *target))?;
                    selected(source, &targets, table, (!self.copies).then_some(&self.text))?
                }
            },
        };
        let query = match only {
            Some(condition) => self.taken(query, condition, &alias, table)?,
            None => query,
        };
        let kind = ChangeKind::Insert;
        Ok(ChangePlan { table: Arc::clone(&object), kind, query, conflict, arbiters, returning })
    }

    /// The rows of a COPY that its condition takes.
    fn taken(
        &self,
        rows: Box<Query>,
        condition: &Expr,
        alias: &Ident,
        table: &Table,
    ) -> Result<Box<Query>, Report> {
        if let Some(span) = calls::subquery(condition) {
            let message = "cannot use subquery in COPY FROM WHERE condition";
            let report = Report::new(SqlState::FEATURE_NOT_SUPPORTED, message);
            let start = self.text.opening(span.start).and_then(|start| self.text.position(start));
            return Err(Report { position: start, ..report });
        }
        calls::check(condition, "COPY FROM WHERE conditions", true).map_err(|wrong| {
            let (report, span) = *wrong;
            self.at(Some(span), report)
        })?;
        let mut query = parse_query("SELECT * FROM (SELECT 1) AS a (b)")?;
        let select = select_of(&mut query);
        select.selection = Some(condition.clone());
        if let Some(TableFactor::Derived { subquery, alias: Some(shown), .. }) =
            select.from.first_mut().map(|from| &mut from.relation)
        {
            let named = |column: &TableColumn| TableAliasColumnDef {
                name: Ident::with_quote('"', column.name.as_str()),
                data_type: None,
            };
            *subquery = rows;
            shown.name = alias.clone();
            shown.columns = table.columns.iter().map(named).collect();
        }
        Ok(query)
    }

    /// An error if a column always takes numbers, and the statement does not say that it knows.
    fn may_give(&self, table: &Table, target: usize) -> Result<(), Report> {
        let column = &table.columns[target];
        let always = |identity: &Identity| identity.kind == IdentityKind::Always;
        if self.overrides || !column.identity.as_ref().is_some_and(always) {
            return Ok(());
        }
        let name = Quoted(&column.name);
        let message = format!("cannot insert a non-DEFAULT value into column {name}");
        let detail = format!("Column {name} is an identity column defined as GENERATED ALWAYS.");
        let report = Report::new(SqlState::GENERATED_ALWAYS, message).detail(detail);
        Err(report.hint("Use OVERRIDING SYSTEM VALUE to override."))
    }

    /// Looks whether so many values are too many, or too few for columns that the statement names. `value` is
    /// where a value stands.
    fn check_width(
        &self,
        width: usize,
        targets: usize,
        named: &[ObjectName],
        value: impl Fn(usize) -> Option<Span>,
    ) -> Result<(), Report> {
        let (message, span) = match width.cmp(&targets) {
            Ordering::Greater => {
                ("INSERT has more expressions than target columns", value(targets))
            }
            Ordering::Less if !named.is_empty() => {
                let first = named.get(width).map(Spanned::span);
                ("INSERT has more target columns than expressions", first)
            }
            _ => return Ok(()),
        };
        Err(self.at(span, Report::new(SqlState::SYNTAX_ERROR, message)))
    }

    pub(super) fn at(&self, span: Option<Span>, report: Report) -> Report {
        Report { position: span.and_then(|span| self.text.position(span.start)), ..report }
    }

    fn values(
        &self,
        rows: Vec<Vec<Expr>>,
        mut targets: Vec<usize>,
        named: &[ObjectName],
        table: &Table,
    ) -> Result<Box<Query>, Report> {
        let width = rows.first().map_or(0, Vec::len);
        if let Some(other) = rows.iter().find(|row| row.len() != width) {
            let message = "VALUES lists must all be the same length";
            let report = Report::new(SqlState::SYNTAX_ERROR, message);
            return Err(self.at(other.first().map(Spanned::span), report));
        }
        let span = |at: usize| rows.first()?.get(at).map(Spanned::span);
        self.check_width(width, targets.len(), named, span)?;
        targets.truncate(width);
        for (at, target) in targets.iter().enumerate() {
            if !rows.iter().all(|row| is_default(&row[at])) {
                self.may_give(table, *target)?;
            }
        }
        values_query(rows, &targets, table, &self.text)
    }

    /// How many columns a query gives, if its text or the catalog say so.
    /// `own` are the names that WITH has given.
    pub(super) fn width(&self, query: &Query, own: &mut BTreeSet<String>) -> Option<usize> {
        let with = query.with.iter().flat_map(|with| &with.cte_tables);
        own.extend(with.map(|table| fold(&table.alias.name)));
        let mut body = query.body.as_ref();
        while let SetExpr::SetOperation { left, .. } = body {
            body = left;
        }
        match body {
            SetExpr::Select(select) => {
                let item = |item: &SelectItem| match item {
                    SelectItem::Wildcard(_) => self.width_of(select, own),
                    SelectItem::QualifiedWildcard(..) if select.from.len() == 1 => {
                        self.width_of(select, own)
                    }
                    SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => Some(1),
                    _ => None,
                };
                select.projection.iter().map(item).sum()
            }
            SetExpr::Values(values) => Some(values.rows.first()?.content.len()),
            SetExpr::Query(query) => self.width(query, own),
            _ => None,
        }
    }

    /// How many columns the one relation of a FROM has.
    fn width_of(&self, select: &Select, own: &BTreeSet<String>) -> Option<usize> {
        let [TableWithJoins { relation: TableFactor::Table { name, args: None, .. }, joins }] =
            select.from.as_slice()
        else {
            return None;
        };
        let name = object_name(name, &self.text).ok()?.name;
        if !joins.is_empty() || own.contains(&name) {
            return None;
        }
        Some(self.catalog.find(&name)?.visible_schema().fields().len())
    }

    fn update(&self, update: &Update) -> Result<ChangePlan, Report> {
        let (object, alias) = self.changed(&update.table)?;
        let Kind::Table(table) = &object.kind else { unreachable!("looked at above") };
        let mut from = vec![marked(&update.table, &object)];
        match &update.from {
            None => {}
            Some(UpdateTableFromKind::BeforeSet(more) | UpdateTableFromKind::AfterSet(more)) => {
                from.extend(more.iter().cloned());
            }
        }
        let returning = returning(update.returning.as_deref(), &object, &alias, &from[1..])?;
        let assigned = self.assignments(&update.assignments, &object, table)?;
        let mut items = assigned.below(&alias, table, &self.text)?;
        items.extend(returning.iter().flat_map(|returning| returning.given.iter().cloned()));
        let query = assigned.above(select(items, from, update.selection.clone())?, table)?;
        let (kind, conflict, arbiters) = (ChangeKind::Update, Conflict::Fail, Vec::new());
        Ok(ChangePlan { table: Arc::clone(&object), kind, query, conflict, arbiters, returning })
    }

    /// `ON CONFLICT`, and the columns that it means.
    fn conflict(
        &self,
        insert: &Insert,
        object: &Object,
        table: &Table,
        alias: &Ident,
    ) -> Result<(Conflict, Vec<Vec<usize>>), Report> {
        let Some(on) = &insert.on else { return Ok((Conflict::Fail, Vec::new())) };
        let OnInsert::OnConflict(on) = on else {
            return Err(Report::unsupported("ON DUPLICATE KEY"));
        };
        let arbiters = self.arbiters(on.conflict_target.as_ref(), object, table)?;
        let OnConflictAction::DoUpdate(update) = &on.action else {
            return Ok((Conflict::Skip, arbiters));
        };
        if on.conflict_target.is_none() {
            let message =
                "ON CONFLICT DO UPDATE requires inference specification or constraint name";
            let hint = "For example, ON CONFLICT (column_name).";
            return Err(Report::new(SqlState::SYNTAX_ERROR, message).hint(hint));
        }
        let mut assigned = self.assignments(&update.assignments, object, table)?;
        let arbiter = arbiters.first().map(Vec::as_slice).unwrap_or_default();
        for column in arbiter {
            // It has that value already.
            let own = &table.columns[*column].name;
            assigned.leave_if(*column, |value| is_excluded(value, own));
        }
        if table.key.iter().any(|column| assigned.has(*column)) {
            return Err(Report::unsupported("ON CONFLICT DO UPDATE of a key column")
                .hint("Write UPDATE for that."));
        }
        let items = assigned.below(alias, table, &self.text)?;
        // With its schema it is none of the names that WITH gives.
        let name = object.name.replace('"', "\"\"");
        let text = format!("SELECT 1 FROM {SCHEMA}.\"{name}\" AS a, {EXCLUDED}");
        let mut query = parse_query(&text)?;
        let select = select_of(&mut query);
        if let Some(from) = select.from.first_mut() {
            if table.key.is_empty() {
                // The rows are known by a hidden column.
                *from = marked(from, object);
            }
            if let TableFactor::Table { alias: Some(shown), .. } = &mut from.relation {
                shown.name = alias.clone();
            }
        }
        let arbiter = arbiter.iter().map(|column| table.columns[*column].name.as_str());
        let same = arbiter.map(|column| Expr::BinaryOp {
            left: Box::new(qualified(alias, column)),
            op: BinaryOperator::Eq,
            right: Box::new(qualified(&Ident::new(EXCLUDED), column)),
        });
        select.projection = items;
        select.selection = same.chain(update.selection.clone()).reduce(|left, right| {
            let nested = |expr| Box::new(Expr::Nested(Box::new(expr)));
            Expr::BinaryOp { left: nested(left), op: BinaryOperator::And, right: nested(right) }
        });
        Ok((Conflict::Update(assigned.above(query, table)?), arbiters))
    }

    /// The columns of the primary key and of unique indexes that a target of ON CONFLICT means.
    fn arbiters(
        &self,
        target: Option<&ConflictTarget>,
        object: &Object,
        table: &Table,
    ) -> Result<Vec<Vec<usize>>, Report> {
        let key = (!table.key.is_empty()).then(|| (table.key_name(&object.name), &table.key));
        let indexes = self.catalog.indexes(object.id);
        let unique = indexes
            .filter(|(_, index)| index.unique.is_some())
            .map(|(object, index)| (object.name.clone(), &index.columns));
        let all = key.into_iter().chain(unique);
        match target {
            None => Ok(all.map(|(_, columns)| columns.clone()).collect()),
            Some(ConflictTarget::Columns(columns)) => {
                let named: BTreeSet<String> = columns.iter().map(fold).collect();
                let name = |column: &usize| table.columns[*column].name.clone();
                let fits = |columns: &&Vec<usize>| {
                    columns.iter().map(name).collect::<BTreeSet<_>>() == named
                };
                let found = all.map(|(_, columns)| columns).find(fits);
                let message = "there is no unique or exclusion constraint matching the ON \
                               CONFLICT specification";
                let missing = || Report::new(SqlState::INVALID_COLUMN_REFERENCE, message);
                Ok(vec![found.cloned().ok_or_else(missing)?])
            }
            Some(ConflictTarget::OnConstraint(name)) => {
                let name = object_name(name, &self.text)?;
                let mut found = all.filter(|(known, _)| *known == name.name);
                let missing = || {
                    let (constraint, table) = (Quoted(&name.name), Quoted(&object.name));
                    let message =
                        format!("constraint {constraint} for table {table} does not exist");
                    let report = Report::new(SqlState::UNDEFINED_OBJECT, message);
                    Report { position: name.position, ..report }
                };
                Ok(vec![found.next().map(|(_, columns)| columns.clone()).ok_or_else(missing)?])
            }
        }
    }

    fn delete(&self, delete: &Delete) -> Result<ChangePlan, Report> {
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        let [target] = from.as_slice() else {
            return Err(Report::unsupported("DELETE from several tables"));
        };
        let (object, alias) = self.changed(target)?;
        let Kind::Table(table) = &object.kind else { unreachable!("looked at above") };
        let mut from = vec![marked(target, &object)];
        from.extend(delete.using.iter().flatten().cloned());
        let returning = returning(delete.returning.as_deref(), &object, &alias, &from[1..])?;
        let mut items = old_columns(&alias, table);
        items.extend(returning.iter().flat_map(|returning| returning.given.iter().cloned()));
        let query = select(items, from, delete.selection.clone())?;
        let (kind, conflict, arbiters) = (ChangeKind::Delete, Conflict::Fail, Vec::new());
        Ok(ChangePlan { table: Arc::clone(&object), kind, query, conflict, arbiters, returning })
    }

    /// The table of an UPDATE or DELETE, and what the statement calls it.
    fn changed(&self, target: &TableWithJoins) -> Result<(Arc<Object>, Ident), Report> {
        let TableFactor::Table { name, alias, .. } = &target.relation else {
            return Err(Report::unsupported("a change of something else than a table"));
        };
        if !target.joins.is_empty() {
            return Err(Report::unsupported("a join as the table to change"));
        }
        let object = self.table(name)?;
        let alias = match alias {
            Some(alias) => alias.name.clone(),
            None => Ident::with_quote('"', object.name.clone()),
        };
        Ok((object, alias))
    }
}

/// Where the n-th item of a query's select list stands.
pub(super) fn item_span(query: &Query, at: usize) -> Option<Span> {
    match query.body.as_ref() {
        SetExpr::Select(select) => select.projection.get(at).map(Spanned::span),
        _ => None,
    }
}

/// The table that a statement changes, named so that it is told from the same one elsewhere.
pub(super) fn marked(target: &TableWithJoins, object: &Object) -> TableWithJoins {
    let mut marked = target.clone();
    if let TableFactor::Table { name, .. } = &mut marked.relation {
        let parts = [CHANGED, SCHEMA, &object.name].map(|part| Ident::with_quote('"', part));
        *name = ObjectName::from(parts.to_vec());
    }
    marked
}

/// True for `excluded.column`.
fn is_excluded(value: &Expr, column: &str) -> bool {
    match value {
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [table, name] => fold(table) == EXCLUDED && fold(name) == column,
            _ => false,
        },
        _ => false,
    }
}

/// The query of expressions over rows that stand for a table's, see [`CHANGED`].
///
/// # Errors
/// What is wrong with the expressions' text.
pub fn query_of_rows(object: &Object, expressions: &str) -> Result<Box<Query>, Report> {
    let name = format!("\"{}\"", object.name.replace('"', "\"\""));
    let mut query = parse_query(&format!("SELECT {expressions} FROM {name}"))?;
    if let Some(from) = select_of(&mut query).from.first_mut() {
        *from = marked(from, object);
    }
    Ok(query)
}

/// The rows that go: every column, the hidden key too.
pub(super) fn old_columns(alias: &Ident, table: &Table) -> Vec<SelectItem> {
    let fields = table.full_schema().fields().iter().enumerate();
    fields.map(|(at, field)| item(qualified(alias, field.name()), format!("old_{at}"))).collect()
}

pub(super) fn qualified(alias: &Ident, column: &str) -> Expr {
    Expr::CompoundIdentifier(vec![alias.clone(), Ident::with_quote('"', column)])
}

pub(super) fn item(expr: Expr, alias: String) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', alias) }
}

fn select(
    items: Vec<SelectItem>,
    from: Vec<TableWithJoins>,
    selection: Option<Expr>,
) -> Result<Box<Query>, Report> {
    let mut query = parse_query("SELECT 1")?;
    let select = select_of(&mut query);
    select.projection = items;
    select.from = from;
    select.selection = selection;
    Ok(query)
}

pub(super) fn select_of(query: &mut Query) -> &mut Select {
    match query.body.as_mut() {
        SetExpr::Select(select) => select,
        _ => unreachable!("it begins with SELECT"),
    }
}
