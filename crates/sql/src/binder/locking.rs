//! `SELECT ... FOR UPDATE` and `FOR SHARE`: what a statement locks before it reads.
//!
//! A clause is that of one query, and of what stands in its FROM: tables, the tables below views and those of
//! subqueries; WITH queries and functions are passed over. What has no rows of a table, such as groups, is refused
//! in PostgreSQL's words. Queries with such clauses are counted in the order in which they are met, so that one
//! whose tables others hold can be left without rows ([`without_rows`]).

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Distinct, Expr, Function, GroupByExpr, Ident, JoinOperator, LockClause,
    LockType, NonBlock, ObjectName, OrderByKind, Query, Select, SelectItem, SetExpr, Spanned,
    TableAlias, TableFactor, TableWithJoins, Value, Visit, VisitMut, Visitor, VisitorMut, With,
};
use millrace_types::{ObjectId, Report, SqlState};

use super::grouping::aggregate;
use super::rows::RowsOf;
use super::syntax::is_named;
use crate::catalog::{Catalog, Kind, Object, RoleId};
use crate::names::{Quoted, fold, object_name};
use crate::parser::parse_query;
use crate::text::Text;

/// Functions in FROM over a table.
const WINDOWS: [&str; 4] = ["tumble", "hop", "cumulate", "session"];

/// What is done about a table that others hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockWait {
    /// `NOWAIT`: the statement fails.
    Fail,
    /// `SKIP LOCKED`: the query has no rows.
    Skip,
    /// It waits.
    Wait,
}

/// A table, or a view in front of one, that a query locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowLock {
    /// What if others hold it.
    pub wait: LockWait,
    /// The table or view.
    pub object: ObjectId,
    /// Whose rights count: the owner of the view that names it; None: who asks.
    pub by: Option<RoleId>,
    /// Which of the statement's queries with such clauses it is.
    pub query: usize,
}

/// True if a statement, or a query in it, locks rows.
pub fn has_row_locks(statement: &impl Visit) -> bool {
    struct Finder;
    impl Visitor for Finder {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            match query.locks.is_empty() {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        }
    }
    statement.visit(&mut Finder).is_break()
}

/// What a statement locks; `text` is that of the statement. A statement that is refused is not whole any more.
///
/// # Errors
/// A clause where none can be, or over what has no rows that can be locked.
pub fn row_locks(
    catalog: &Catalog,
    statement: &mut impl VisitMut,
    text: &str,
) -> Result<Vec<RowLock>, Report> {
    let mut found = Found { catalog, text: Text::new(text), with: Vec::new(), locks: Vec::new() };
    match statement.visit(&mut Walker::new(&mut found)) {
        ControlFlow::Continue(()) => Ok(found.locks),
        ControlFlow::Break(report) => Err(*report),
    }
}

/// Leaves some of the queries that [`row_locks`] counts without rows.
pub fn without_rows(statement: &mut impl VisitMut, queries: &BTreeSet<usize>) {
    struct Emptied<'a>(&'a BTreeSet<usize>);
    impl Visited for Emptied<'_> {
        fn query(&mut self, query: &mut Query, at: usize) -> Result<(), Report> {
            if self.0.contains(&at) {
                empty(&mut query.body);
            }
            Ok(())
        }
    }
    let flow = statement.visit(&mut Walker::new(&mut Emptied(queries)));
    debug_assert!(flow.is_continue(), "nothing is refused here");
}

/// Refuses to lock rows in the query of a view.
///
/// # Errors
/// If it does.
pub(super) fn check_view(query: &Query) -> Result<(), Report> {
    match has_row_locks(query) {
        true => Err(Report::unsupported("FOR UPDATE in the query of a view")
            .hint("Lock rows where the view is read: SELECT ... FROM view FOR UPDATE.")),
        false => Ok(()),
    }
}

fn empty(body: &mut SetExpr) {
    match body {
        SetExpr::Query(query) => empty(&mut query.body),
        SetExpr::Select(select) => {
            let never = Expr::Value(Value::Boolean(false).into());
            select.selection = Some(match select.selection.take() {
                None => never,
                // Its parameters still have their types.
                Some(condition) => Expr::BinaryOp {
                    left: Box::new(Expr::Nested(Box::new(condition))),
                    op: BinaryOperator::And,
                    right: Box::new(never),
                },
            });
        }
        _ => {}
    }
}

/// What is done with the queries of a statement.
trait Visited {
    /// A query that has such clauses; how many had some before.
    fn query(&mut self, query: &mut Query, at: usize) -> Result<(), Report>;

    /// A query that has none.
    fn other(&mut self, _: &Query) -> Result<(), Report> {
        Ok(())
    }

    /// The names of WITH queries that are seen from here on; how many there were.
    fn enter(&mut self, _: &Ident) {}

    /// They are seen no more, but for so many.
    fn leave(&mut self, _: usize) {}
}

/// Goes through all queries, WITH queries first: these do not see what follows them.
struct Walker<'v, V> {
    visited: &'v mut V,
    /// What has been taken out of the queries around, with the number of WITH queries before.
    with: Vec<(Option<With>, usize)>,
    named: usize,
    queries: usize,
}

impl<'v, V: Visited> Walker<'v, V> {
    fn new(visited: &'v mut V) -> Walker<'v, V> {
        Walker { visited, with: Vec::new(), named: 0, queries: 0 }
    }

    fn name(&mut self, name: &Ident) {
        self.visited.enter(name);
        self.named += 1;
    }

    fn look(&mut self, query: &mut Query) -> Result<(), Report> {
        if query.locks.is_empty() {
            return self.visited.other(query);
        }
        self.queries += 1;
        self.visited.query(query, self.queries - 1)
    }
}

impl<V: Visited> VisitorMut for Walker<'_, V> {
    type Break = Box<Report>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Box<Report>> {
        let before = self.named;
        let mut with = query.with.take();
        let recursive = with.as_ref().is_some_and(|with| with.recursive);
        for cte in with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            if recursive {
                self.name(&cte.alias.name);
            }
            VisitMut::visit(&mut cte.query, self)?;
            if !recursive {
                self.name(&cte.alias.name);
            }
        }
        self.with.push((with, before));
        match self.look(query) {
            Ok(()) => ControlFlow::Continue(()),
            Err(report) => ControlFlow::Break(Box::new(report)),
        }
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Box<Report>> {
        if let Some((with, before)) = self.with.pop() {
            query.with = with;
            self.named = before;
            self.visited.leave(before);
        }
        ControlFlow::Continue(())
    }
}

/// What is locked, as far as it has been found.
struct Found<'a> {
    catalog: &'a Catalog,
    text: Text<'a>,
    /// The names of WITH queries.
    with: Vec<String>,
    locks: Vec<RowLock>,
}

impl Visited for Found<'_> {
    fn query(&mut self, query: &mut Query, at: usize) -> Result<(), Report> {
        for clause in &query.locks {
            let wait = match clause.nonblock {
                Some(NonBlock::Nowait) => LockWait::Fail,
                Some(NonBlock::SkipLocked) => LockWait::Skip,
                None => LockWait::Wait,
            };
            let word = match clause.lock_type {
                LockType::Update => "FOR UPDATE",
                LockType::Share => "FOR SHARE",
            };
            let asked = Asked { word, wait, by: None, query: at, pushed: false };
            let of = self.of(clause, asked)?;
            self.body(&query.body, order(query), asked, of)?;
        }
        Ok(())
    }

    fn other(&mut self, query: &Query) -> Result<(), Report> {
        match query.body.as_ref() {
            SetExpr::SetOperation { left, right, .. } => {
                [left, right].into_iter().try_for_each(|part| part_of_union(part))
            }
            _ => Ok(()),
        }
    }

    fn enter(&mut self, name: &Ident) {
        self.with.push(fold(name));
    }

    fn leave(&mut self, before: usize) {
        self.with.truncate(before);
    }
}

/// A clause.
#[derive(Clone, Copy)]
struct Asked {
    word: &'static str,
    wait: LockWait,
    by: Option<RoleId>,
    query: usize,
    /// It is that of the query around.
    pushed: bool,
}

impl Asked {
    fn not_with(self, what: &str) -> Report {
        refused(format!("{} is not allowed with {what}", self.word))
    }

    fn not_to(self, what: &str) -> Report {
        refused(format!("{} cannot be applied to {what}", self.word))
    }
}

fn refused(message: String) -> Report {
    Report::new(SqlState::FEATURE_NOT_SUPPORTED, message)
}

fn part_of_union(part: &SetExpr) -> Result<(), Report> {
    match part {
        SetExpr::SetOperation { left, right, .. } => {
            [left, right].into_iter().try_for_each(|part| part_of_union(part))
        }
        SetExpr::Query(query) => match query.locks.first() {
            Some(clause) => {
                let word = format!("FOR {}", clause.lock_type);
                Err(refused(format!("{word} is not allowed with UNION/INTERSECT/EXCEPT")))
            }
            None => part_of_union(&query.body),
        },
        _ => Ok(()),
    }
}

/// What a query is ordered by.
fn order(query: &Query) -> Vec<&Expr> {
    match query.order_by.as_ref().map(|order| &order.kind) {
        Some(OrderByKind::Expressions(all)) => all.iter().map(|one| &one.expr).collect(),
        _ => Vec::new(),
    }
}

impl Found<'_> {
    /// The table behind OF.
    fn of<'c>(&self, clause: &'c LockClause, asked: Asked) -> Result<Option<&'c Ident>, Report> {
        let Some(name) = &clause.of else { return Ok(None) };
        match name.0.as_slice() {
            [part] => Ok(part.as_ident()),
            _ => {
                let message = format!("{} must specify unqualified relation names", asked.word);
                let report = Report::new(SqlState::SYNTAX_ERROR, message);
                Err(Report { position: self.text.position(name.span().start), ..report })
            }
        }
    }

    fn body(
        &mut self,
        body: &SetExpr,
        order: Vec<&Expr>,
        asked: Asked,
        of: Option<&Ident>,
    ) -> Result<(), Report> {
        match body {
            SetExpr::Query(inner) => self.body(&inner.body, Vec::new(), asked, of),
            SetExpr::Select(select) => {
                check_select(select, order, asked)?;
                self.items(&select.from, asked, of)
            }
            SetExpr::SetOperation { .. } => Err(asked.not_with("UNION/INTERSECT/EXCEPT")),
            SetExpr::Values(_) if !asked.pushed => Err(asked.not_to("VALUES")),
            _ => Ok(()),
        }
    }

    fn items(
        &mut self,
        from: &[TableWithJoins],
        asked: Asked,
        of: Option<&Ident>,
    ) -> Result<(), Report> {
        let mut sides = Vec::new();
        from.iter().for_each(|item| spread(item, &mut sides));
        let Some(of) = of else {
            return sides.into_iter().try_for_each(|side| self.side(side, asked, None));
        };
        let named = |(factor, _): &(&TableFactor, bool)| name(factor).as_ref() == Some(&fold(of));
        let Some(side) = sides.into_iter().find(named) else {
            let message = format!(
                "relation {} in {} clause not found in FROM clause",
                Quoted(&fold(of)),
                asked.word
            );
            let report = Report::new(SqlState::UNDEFINED_TABLE, message);
            return Err(Report { position: self.text.position(of.span.start), ..report });
        };
        self.side(side, asked, Some(of))
    }

    /// One item of FROM, and whether an outer join may give NULLs in its place.
    fn side(
        &mut self,
        (factor, nullable): (&TableFactor, bool),
        asked: Asked,
        of: Option<&Ident>,
    ) -> Result<(), Report> {
        let position = of.and_then(|of| self.text.position(of.span.start));
        let refuse = |what: &str| match of {
            None => Ok(()),
            Some(_) => Err(Report { position, ..asked.not_to(what) }),
        };
        let nullable = || match nullable {
            true => Err(asked.not_to("the nullable side of an outer join")),
            false => Ok(()),
        };
        match factor {
            TableFactor::Table { name, args: None, .. } if self.is_with(name) => {
                refuse("a WITH query")
            }
            TableFactor::Table { name, args: None, .. } => {
                nullable()?;
                self.relation(name, asked)
            }
            TableFactor::Derived { subquery, .. } => {
                nullable()?;
                let before = self.with.len();
                let with = subquery.with.iter().flat_map(|with| &with.cte_tables);
                self.with.extend(with.map(|cte| fold(&cte.alias.name)));
                let asked = Asked { pushed: true, ..asked };
                let found = self.body(&subquery.body, order(subquery), asked, None);
                self.with.truncate(before);
                found
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                refuse("a join")?;
                self.items(std::slice::from_ref(table_with_joins), asked, None)
            }
            // Its rows are those of a table, once or several times.
            TableFactor::Table { name, .. } if WINDOWS.iter().any(|one| is_named(name, one)) => {
                Err(asked.not_to("windows of a table"))
            }
            _ => refuse("a function"),
        }
    }

    fn is_with(&self, name: &ObjectName) -> bool {
        let [part] = name.0.as_slice() else { return false };
        part.as_ident().is_some_and(|ident| self.with.contains(&fold(ident)))
    }

    /// A relation; one that is not in the catalog is one of the server's own, or is missed when it is bound.
    fn relation(&mut self, name: &ObjectName, asked: Asked) -> Result<(), Report> {
        let Ok(name) = object_name(name, &self.text) else { return Ok(()) };
        let catalog = self.catalog;
        let Some(object) = catalog.find(&name.name) else { return Ok(()) };
        let Asked { wait, by, query, .. } = asked;
        let lock = RowLock { wait, object: object.id, by, query };
        match &object.kind {
            Kind::Table(table) if table.feed.is_none() && !object.is_of_server() => {
                self.locks.push(lock);
                Ok(())
            }
            Kind::View(view) => {
                self.locks.push(lock);
                let text = Text::new(&view.query_text);
                let with = Vec::new();
                let mut below = Found { catalog, text, with, locks: Vec::new() };
                let asked = Asked { by: Some(object.access.owner), pushed: true, ..asked };
                let body = parse_query(&view.query_text)?;
                let cte = body.with.iter().flat_map(|with| &with.cte_tables);
                below.with.extend(cte.map(|cte| fold(&cte.alias.name)));
                below.body(&body.body, order(&body), asked, None)?;
                self.locks.append(&mut below.locks);
                Ok(())
            }
            Kind::Index(_) | Kind::Sink(_) => Ok(()),
            Kind::Table(_) | Kind::Source(_) | Kind::MaterializedView(_) => {
                Err(Report { position: name.position, ..no_rows_of_its_own(object) })
            }
        }
    }
}

/// No statement changes the rows, so that a lock would keep nobody away.
fn no_rows_of_its_own(object: &Object) -> Report {
    let kind = object.object_kind().word();
    let message = format!("cannot lock rows in {kind} {}", Quoted(&object.name));
    Report::new(SqlState::WRONG_OBJECT_TYPE, message)
        .hint("Rows of tables that INSERT, UPDATE and DELETE change can be locked.")
}

/// Refuses what has no rows of tables.
fn check_select(select: &Select, order: Vec<&Expr>, asked: Asked) -> Result<(), Report> {
    let is_grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(by, modifiers) => !by.is_empty() || !modifiers.is_empty(),
    };
    let item = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            Some(expr.clone())
        }
        _ => None,
    };
    let mut shown: Vec<Expr> = select.projection.iter().filter_map(item).collect();
    shown.extend(order.into_iter().cloned());
    let what = if !matches!(select.distinct, None | Some(Distinct::All)) {
        "DISTINCT clause"
    } else if is_grouped {
        "GROUP BY clause"
    } else if select.having.is_some() {
        "HAVING clause"
    } else if shown.iter().any(|expr| aggregate(expr).is_some()) {
        "aggregate functions"
    } else if shown.iter().any(|expr| calls(expr, &|call| call.over.is_some())) {
        "window functions"
    } else if shown.iter().any(|expr| calls(expr, &|call| RowsOf::named(&call.name).is_some())) {
        "set-returning functions in the target list"
    } else {
        return Ok(());
    };
    Err(asked.not_with(what))
}

/// True if an expression itself, and no query in it, calls such a function.
fn calls(expr: &Expr, wanted: &dyn Fn(&Function) -> bool) -> bool {
    struct Finder<'a> {
        depth: usize,
        wanted: &'a dyn Fn(&Function) -> bool,
    }
    impl Visitor for Finder<'_> {
        type Break = ();

        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(call) if self.depth == 0 && (self.wanted)(call) => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expr.visit(&mut Finder { depth: 0, wanted }).is_break()
}

/// The items of a FROM, and whether an outer join may give NULLs in their place.
fn spread<'a>(item: &'a TableWithJoins, sides: &mut Vec<(&'a TableFactor, bool)>) {
    let begin = sides.len();
    add(&item.relation, false, sides);
    for join in &item.joins {
        use JoinOperator as J;
        let (left, right) = match &join.join_operator {
            J::Left(_) | J::LeftOuter(_) => (false, true),
            J::Right(_) | J::RightOuter(_) => (true, false),
            J::FullOuter(_) => (true, true),
            _ => (false, false),
        };
        sides[begin..].iter_mut().for_each(|(_, nullable)| *nullable |= left);
        add(&join.relation, right, sides);
    }
}

fn add<'a>(factor: &'a TableFactor, nullable: bool, sides: &mut Vec<(&'a TableFactor, bool)>) {
    match factor {
        TableFactor::NestedJoin { table_with_joins, alias: None } => {
            let begin = sides.len();
            spread(table_with_joins, sides);
            sides[begin..].iter_mut().for_each(|(_, side)| *side |= nullable);
        }
        factor => sides.push((factor, nullable)),
    }
}

/// What an item of FROM is called.
fn name(factor: &TableFactor) -> Option<String> {
    let of = |alias: &Option<TableAlias>| alias.as_ref().map(|alias| fold(&alias.name));
    match factor {
        TableFactor::Table { name, alias, .. } => {
            of(alias).or_else(|| name.0.last().and_then(|part| part.as_ident()).map(fold))
        }
        TableFactor::Derived { alias, .. }
        | TableFactor::NestedJoin { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. } => of(alias),
        _ => None,
    }
}
