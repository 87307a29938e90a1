//! `INSERT`, `UPDATE` and `DELETE` as queries: what a statement changes is what a SELECT gives.
//!
//! - `INSERT`: the new rows, every column of the table in order, with its type.
//! - `DELETE`: the rows that go, with the hidden key where the table has one.
//! - `UPDATE`: the rows that go, then the columns of the rows that come in their place.
//!
//! How values become those of columns is told in [`super::assignment`].

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, BinaryOperator, ConflictTarget, Delete, Expr, FromTable, Ident,
    Insert, ObjectName, OnConflictAction, OnInsert, Query, Select, SelectItem, SetExpr, Spanned,
    Statement as SqlStatement, TableAlias, TableFactor, TableObject, TableWithJoins, Update,
    UpdateTableFromKind,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use millrace_types::{Report, SqlState};

use super::assignment::{assigned_value, is_default, selected, values_query};
use crate::ast::{Change, IdentityKind, Name};
use crate::catalog::{Catalog, Identity, Kind, Object, Table};
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
    /// `RETURNING`, over the rows that were touched in the place of the table.
    pub returning: Option<Box<Query>>,
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

/// The query of a statement.
///
/// # Errors
/// An unknown table or column, another kind of object, or a clause that is not there yet.
pub fn plan_change(catalog: &Catalog, change: &Change) -> Result<ChangePlan, Report> {
    let copies = change.verb == "COPY";
    let overrides = copies || change.overrides;
    let target = Target { catalog, text: Text::new(&change.text), copies, overrides };
    match &change.statement {
        SqlStatement::Insert(insert) => target.insert(insert),
        SqlStatement::Update(update) => target.update(update),
        SqlStatement::Delete(delete) => target.delete(delete),
        _ => Err(Report::unsupported(format!("this form of {}", change.verb))),
    }
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

struct Target<'a> {
    catalog: &'a Catalog,
    text: Text<'a>,
    /// The rows are texts that a COPY has brought.
    copies: bool,
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

    fn column(&self, object: &Object, table: &Table, name: &ObjectName) -> Result<usize, Report> {
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

    fn insert(&self, insert: &Insert) -> Result<ChangePlan, Report> {
        let TableObject::TableName(name) = &insert.table else {
            return Err(Report::unsupported("INSERT into a function"));
        };
        let object = self.table(name)?;
        let Kind::Table(table) = &object.kind else { unreachable!("looked at above") };
        let alias = match &insert.table_alias {
            Some(alias) => alias.alias.clone(),
            None => Ident::with_quote('"', object.name.clone()),
        };
        let conflict = self.conflict(insert, &object, table, &alias)?;
        let returning = returning(insert.returning.as_deref(), &object, &alias)?;
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
            None => values_query(vec![Vec::new()], &[], table)?,
            Some(source) => match source.body.as_ref() {
                SetExpr::Values(values)
                    if source.order_by.is_none() && source.limit_clause.is_none() =>
                {
                    let rows = values.rows.iter().map(|row| row.content.clone()).collect();
                    self.values(rows, targets, named, table)?
                }
                _ => {
                    if let Some(width) = self.width(source, &mut BTreeSet::new()) {
                        self.check_width(width, targets.len(), named, |at| item_span(source, at))?;
                        targets.truncate(width);
                    }
                    targets.iter().try_for_each(|target| self.may_give(table, *target))?;
                    selected(source, &targets, table, !self.copies)?
                }
            },
        };
        let kind = ChangeKind::Insert;
        Ok(ChangePlan { table: Arc::clone(&object), kind, query, conflict, returning })
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

    fn at(&self, span: Option<Span>, report: Report) -> Report {
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
        values_query(rows, &targets, table)
    }

    /// How many columns a query gives, if its text or the catalog say so.
    /// `own` are the names that WITH has given.
    fn width(&self, query: &Query, own: &mut BTreeSet<String>) -> Option<usize> {
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
        let returning = returning(update.returning.as_deref(), &object, &alias)?;
        if update.from.is_some() {
            check_returned(update.returning.as_deref(), &alias)?;
        }
        let mut from = vec![marked(&update.table, &object)];
        match &update.from {
            None => {}
            Some(UpdateTableFromKind::BeforeSet(more) | UpdateTableFromKind::AfterSet(more)) => {
                from.extend(more.iter().cloned());
            }
        }
        let assigned = self.assignments(&update.assignments, &object, table)?;
        let items = changed_columns(&alias, table, assigned)?;
        let query = select(items, from, update.selection.clone())?;
        let (kind, conflict) = (ChangeKind::Update, Conflict::Fail);
        Ok(ChangePlan { table: Arc::clone(&object), kind, query, conflict, returning })
    }

    /// The value that is assigned to each column.
    fn assignments(
        &self,
        assignments: &[Assignment],
        object: &Object,
        table: &Table,
    ) -> Result<Vec<Option<Expr>>, Report> {
        let mut assigned: Vec<Option<Expr>> = vec![None; table.columns.len()];
        for Assignment { target, value } in assignments {
            let AssignmentTarget::ColumnName(name) = target else {
                return Err(Report::unsupported("SET of several columns at once"));
            };
            let column = self.column(object, table, name)?;
            let identity = table.columns[column].identity.as_ref();
            if identity.is_some_and(|identity| identity.kind == IdentityKind::Always)
                && !is_default(value)
            {
                let name = Quoted(&table.columns[column].name);
                let message = format!("column {name} can only be updated to DEFAULT");
                let detail =
                    format!("Column {name} is an identity column defined as GENERATED ALWAYS.");
                return Err(Report::new(SqlState::GENERATED_ALWAYS, message).detail(detail));
            }
            if assigned[column].replace(value.clone()).is_some() {
                let name = &table.columns[column].name;
                let message = format!("multiple assignments to same column {}", Quoted(name));
                return Err(Report::new(SqlState::SYNTAX_ERROR, message));
            }
        }
        Ok(assigned)
    }

    /// `ON CONFLICT`
    fn conflict(
        &self,
        insert: &Insert,
        object: &Object,
        table: &Table,
        alias: &Ident,
    ) -> Result<Conflict, Report> {
        let Some(on) = &insert.on else { return Ok(Conflict::Fail) };
        let OnInsert::OnConflict(on) = on else {
            return Err(Report::unsupported("ON DUPLICATE KEY"));
        };
        let key = || table.key.iter().map(|column| table.columns[*column].name.as_str());
        if let Some(ConflictTarget::Columns(columns)) = &on.conflict_target {
            let named: BTreeSet<String> = columns.iter().map(fold).collect();
            if named != key().map(str::to_owned).collect() {
                let message = "there is no unique or exclusion constraint matching the ON \
                               CONFLICT specification";
                return Err(Report::new(SqlState::INVALID_COLUMN_REFERENCE, message));
            }
        }
        let OnConflictAction::DoUpdate(update) = &on.action else { return Ok(Conflict::Skip) };
        if on.conflict_target.is_none() {
            let message =
                "ON CONFLICT DO UPDATE requires inference specification or constraint name";
            let hint = "For example, ON CONFLICT (column_name).";
            return Err(Report::new(SqlState::SYNTAX_ERROR, message).hint(hint));
        }
        let assigned = self.assignments(&update.assignments, object, table)?;
        if table.key.iter().any(|column| assigned[*column].is_some()) {
            return Err(Report::unsupported("ON CONFLICT DO UPDATE of a key column")
                .hint("Write UPDATE for that."));
        }
        let items = changed_columns(alias, table, assigned)?;
        let text = format!("SELECT 1 FROM \"{}\", {EXCLUDED}", object.name.replace('"', "\"\""));
        let mut query = parse_query(&text)?;
        let select = select_of(&mut query);
        if insert.table_alias.is_some()
            && let Some(TableFactor::Table { alias: shown, .. }) =
                select.from.first_mut().map(|from| &mut from.relation)
        {
            *shown = Some(TableAlias {
                explicit: true,
                name: alias.clone(),
                columns: Vec::new(),
                at: None,
            });
        }
        let same = key().map(|column| Expr::BinaryOp {
            left: Box::new(qualified(alias, column)),
            op: BinaryOperator::Eq,
            right: Box::new(qualified(&Ident::new(EXCLUDED), column)),
        });
        select.projection = items;
        select.selection = same.chain(update.selection.clone()).reduce(|left, right| {
            let nested = |expr| Box::new(Expr::Nested(Box::new(expr)));
            Expr::BinaryOp { left: nested(left), op: BinaryOperator::And, right: nested(right) }
        });
        Ok(Conflict::Update(query))
    }

    fn delete(&self, delete: &Delete) -> Result<ChangePlan, Report> {
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        let [target] = from.as_slice() else {
            return Err(Report::unsupported("DELETE from several tables"));
        };
        let (object, alias) = self.changed(target)?;
        let Kind::Table(table) = &object.kind else { unreachable!("looked at above") };
        let returning = returning(delete.returning.as_deref(), &object, &alias)?;
        if delete.using.is_some() {
            check_returned(delete.returning.as_deref(), &alias)?;
        }
        let mut from = vec![marked(target, &object)];
        from.extend(delete.using.iter().flatten().cloned());
        let query = select(old_columns(&alias, table), from, delete.selection.clone())?;
        let (kind, conflict) = (ChangeKind::Delete, Conflict::Fail);
        Ok(ChangePlan { table: Arc::clone(&object), kind, query, conflict, returning })
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
fn item_span(query: &Query, at: usize) -> Option<Span> {
    match query.body.as_ref() {
        SetExpr::Select(select) => select.projection.get(at).map(Spanned::span),
        _ => None,
    }
}

/// The table that a statement changes, named so that it is told from the same one elsewhere.
fn marked(target: &TableWithJoins, object: &Object) -> TableWithJoins {
    let mut marked = target.clone();
    if let TableFactor::Table { name, .. } = &mut marked.relation {
        let parts = [CHANGED, SCHEMA, &object.name].map(|part| Ident::with_quote('"', part));
        *name = ObjectName::from(parts.to_vec());
    }
    marked
}

/// Refuses `RETURNING *` beside further tables, whose columns it would show too.
fn check_returned(items: Option<&[SelectItem]>, alias: &Ident) -> Result<(), Report> {
    let shows_all = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_));
    if !items.unwrap_or_default().iter().any(shows_all) {
        return Ok(());
    }
    let report = Report::unsupported("RETURNING * of a statement with further tables");
    Err(report.hint(format!("Name the table: RETURNING {}.*.", alias.value)))
}

/// The query of `RETURNING`.
fn returning(
    items: Option<&[SelectItem]>,
    object: &Object,
    alias: &Ident,
) -> Result<Option<Box<Query>>, Report> {
    let Some(items) = items else { return Ok(None) };
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let alias = match alias.quote_style {
        Some(_) => quoted(&alias.value),
        None => alias.value.clone(),
    };
    let mut query = parse_query(&format!("SELECT 1 FROM {} AS {alias}", quoted(&object.name)))?;
    if let Some(from) = select_of(&mut query).from.first_mut() {
        *from = marked(from, object);
    }
    select_of(&mut query).projection = items.to_vec();
    Ok(Some(query))
}

/// The rows that go, and the columns of those that come in their place.
fn changed_columns(
    alias: &Ident,
    table: &Table,
    assigned: Vec<Option<Expr>>,
) -> Result<Vec<SelectItem>, Report> {
    let mut items = old_columns(alias, table);
    for (number, (column, value)) in table.columns.iter().zip(assigned).enumerate() {
        let value = match value {
            Some(value) => assigned_value(value, number, table)?,
            None => qualified(alias, &column.name),
        };
        items.push(item(value, format!("new_{number}")));
    }
    Ok(items)
}

/// The rows that go: every column, the hidden key too.
fn old_columns(alias: &Ident, table: &Table) -> Vec<SelectItem> {
    let fields = table.full_schema().fields().iter().enumerate();
    fields.map(|(at, field)| item(qualified(alias, field.name()), format!("old_{at}"))).collect()
}

fn qualified(alias: &Ident, column: &str) -> Expr {
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
