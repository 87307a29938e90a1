//! `WINDOW w AS (...)`: what `OVER w`, `OVER (w ...)` and further definitions take from it.
//!
//! DataFusion knows `OVER w` in a select list and drops the name from `OVER (w ...)`. So each call gets
//! its whole window before: the partition of the named one, its order if it has one, and its frame if
//! nothing is added.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Ident, NamedWindowDefinition, NamedWindowExpr, Query, Select, SetExpr, Visit,
    VisitMut, Visitor, VisitorMut, WindowSpec, WindowType,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use millrace_types::{Report, SqlState};

use crate::names::{Quoted, fold};

type Wrong = Box<(Report, Span)>;
type Windows = Vec<(String, WindowSpec)>;

/// Writes the windows of a query's ORDER BY out.
pub(super) fn in_order(query: &mut Query) -> Result<(), Wrong> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Ok(()) };
    if !names_window(&query.order_by) {
        return Ok(());
    }
    let windows = defined(&select.named_window)?;
    written(&mut query.order_by, &windows)
}

/// Writes the windows of a select out.
pub(super) fn in_select(select: &mut Select) -> Result<(), Wrong> {
    let windows = defined(&std::mem::take(&mut select.named_window))?;
    if names_window(&select.projection) {
        written(&mut select.projection, &windows)?;
    }
    if let Some(Distinct::On(exprs)) = &mut select.distinct
        && names_window(exprs)
    {
        written(exprs, &windows)?;
    }
    match &mut select.qualify {
        Some(condition) if names_window(condition) => written(condition, &windows),
        _ => Ok(()),
    }
}

/// True if a call goes by the name of a window; its own subqueries count, too.
fn names_window<T: Visit>(part: &T) -> bool {
    struct Finder;
    impl Visitor for Finder {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(call)
                    if call.over.as_ref().is_some_and(|over| name(over).is_some()) =>
                {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    part.visit(&mut Finder).is_break()
}

fn name(over: &WindowType) -> Option<&Ident> {
    match over {
        WindowType::NamedWindow(name) => Some(name),
        WindowType::WindowSpec(spec) => spec.window_name.as_ref(),
    }
}

/// The definitions, each of which may go by those before it.
fn defined(definitions: &[NamedWindowDefinition]) -> Result<Windows, Wrong> {
    let mut windows = Windows::new();
    for NamedWindowDefinition(name, window) in definitions {
        let folded = fold(name);
        if windows.iter().any(|(known, _)| *known == folded) {
            let message = format!("window {} is already defined", Quoted(&folded));
            return Err(wrong(message, name));
        }
        let spec = match window {
            NamedWindowExpr::NamedWindow(other) => found(&windows, other)?.clone(),
            NamedWindowExpr::WindowSpec(spec) => whole(spec.clone(), &windows, true)?,
        };
        windows.push((folded, spec));
    }
    Ok(windows)
}

fn found<'w>(windows: &'w Windows, name: &Ident) -> Result<&'w WindowSpec, Wrong> {
    let folded = fold(name);
    match windows.iter().find(|(known, _)| *known == folded) {
        Some((_, spec)) => Ok(spec),
        None => {
            let message = format!("window {} does not exist", Quoted(&folded));
            Err(Box::new((Report::new(SqlState::UNDEFINED_OBJECT, message), name.span)))
        }
    }
}

fn wrong(message: String, name: &Ident) -> Wrong {
    Box::new((Report::new(SqlState::WINDOWING_ERROR, message), name.span))
}

/// A window with what it takes from the one that it names.
fn whole(
    mut spec: WindowSpec,
    windows: &Windows,
    is_definition: bool,
) -> Result<WindowSpec, Wrong> {
    let Some(name) = spec.window_name.take() else { return Ok(spec) };
    let base = found(windows, &name)?;
    let quoted = fold(&name);
    let refused = |what: &str| {
        wrong(format!("cannot override {what} clause of window {}", Quoted(&quoted)), &name)
    };
    if !spec.partition_by.is_empty() {
        return Err(refused("PARTITION BY"));
    }
    if !spec.order_by.is_empty() && !base.order_by.is_empty() {
        return Err(refused("ORDER BY"));
    }
    if base.window_frame.is_some() {
        let message =
            format!("cannot copy window {} because it has a frame clause", Quoted(&quoted));
        let mut wrong = wrong(message, &name);
        if !is_definition && spec.order_by.is_empty() && spec.window_frame.is_none() {
            wrong.0 = wrong.0.hint("Omit the parentheses in this OVER clause.");
        }
        return Err(wrong);
    }
    spec.partition_by = base.partition_by.clone();
    if spec.order_by.is_empty() {
        spec.order_by = base.order_by.clone();
    }
    Ok(spec)
}

/// Writes windows out in one part of a select, but not in its subqueries.
fn written<T: VisitMut>(part: &mut T, windows: &Windows) -> Result<(), Wrong> {
    struct Writer<'w> {
        windows: &'w Windows,
        depth: usize,
    }
    impl VisitorMut for Writer<'_> {
        type Break = Wrong;

        fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Wrong> {
            self.depth += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Wrong> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Wrong> {
            let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
            let spec = match &call.over {
                _ if self.depth > 0 => return ControlFlow::Continue(()),
                Some(WindowType::NamedWindow(name)) => found(self.windows, name).cloned(),
                Some(WindowType::WindowSpec(spec)) => whole(spec.clone(), self.windows, false),
                None => return ControlFlow::Continue(()),
            };
            match spec {
                Ok(spec) => {
                    call.over = Some(WindowType::WindowSpec(spec));
                    ControlFlow::Continue(())
                }
                Err(wrong) => ControlFlow::Break(wrong),
            }
        }
    }
    match part.visit(&mut Writer { windows, depth: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(wrong) => Err(wrong),
    }
}
