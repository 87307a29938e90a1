//! SESSION: window calls by our own functions become sessions.
//!
//! A session has no end until a pause of the gap has passed by the watermark. A row of a source that is
//! below the watermark is late: it might belong to a session that has gone.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, Window};
use millrace_plan::{LateCheck, Meta, Node, Session, Step, Watermark};
use millrace_types::Report;

use super::refuse::internal;
use super::relation::{Carry, Columns, Relation, column, origin, step, unique, with_type};
use super::translate::Planner;
use crate::analyze::window_call;
use crate::functions::{SESSION_END, SESSION_START};

/// The calls of a window node, if they are those of sessions.
pub(super) fn calls(window: &Window) -> Option<Vec<&WindowFunction>> {
    let calls =
        window.window_expr.iter().map(|expr| window_call(expr).filter(|call| is_bound(call)));
    calls.collect()
}

fn is_bound(call: &WindowFunction) -> bool {
    matches!(call.fun.name(), SESSION_START | SESSION_END)
}

impl Planner<'_> {
    pub(super) fn session(
        &self,
        window: &Window,
        calls: &[&WindowFunction],
    ) -> Result<Relation, Report> {
        let wrong = || internal("a session has no time or no gap");
        let Some(params) = calls.first().map(|call| &call.params) else { return Err(wrong()) };
        let [time, Expr::Literal(ScalarValue::Int64(Some(gap)), _)] = params.args.as_slice() else {
            return Err(wrong());
        };
        let logical = window.input.schema();
        let relation = self.copied(self.translate(&window.input)?)?;
        let mut wanted = Columns::default();
        let mut types = Vec::new();
        for (expr, field) in relation.columns.iter().zip(logical.fields()) {
            types.push(field.data_type().clone());
            wanted.push(expr.clone(), field.name());
        }
        let mut add = |expr: &Expr| {
            let name = expr.schema_name().to_string();
            Ok::<_, Report>(wanted.add(relation.inline(expr, logical)?, &name))
        };
        let time_type = self.type_of(&relation.inline(time, logical)?, relation.schema())?;
        let key = params.partition_by.iter().map(&mut add).collect::<Result<Vec<_>, _>>()?;
        let time = add(time)?;
        let (input, event_time) = self.project(relation, wanted, Carry::KeyAndTime)?;
        let (input, settled) = self.punctual_sessions(input, time, event_time);
        let meta = with_bounds(input.meta(), time, settled.as_ref());
        let schema = Arc::clone(&meta.schema);
        let width = input.meta().schema.fields().len();
        let settled = settled.map(|settled| Watermark { column: width + 1, ..settled });
        let session = Session { input, key, time, gap: *gap, settled, meta };
        let mut columns: Vec<Expr> = types
            .iter()
            .enumerate()
            .map(|(at, seen)| with_type(column(&schema, at), schema.field(at).data_type(), seen))
            .collect();
        for call in calls {
            let at = width + usize::from(call.fun.name() == SESSION_END);
            columns.push(with_type(column(&schema, at), schema.field(at).data_type(), &time_type));
        }
        let node = Node::Session(Box::new(session));
        Ok(Relation { node, columns, event_time: None, hop: None })
    }

    /// The input without late rows, and the promise on the ends of sessions; the column is the time's.
    fn punctual_sessions(
        &self,
        input: Node,
        time: usize,
        event_time: Option<usize>,
    ) -> (Node, Option<Watermark>) {
        let meta = input.meta().clone();
        let found = meta.watermarks.iter().find(|watermark| watermark.column == time).cloned();
        // All rows before the end of a session come before its end by a microsecond.
        let ends = |promise: &Watermark| {
            Some(Watermark { shift: promise.shift.checked_sub(1)?, ..promise.clone() })
        };
        if !meta.append_only {
            return (input, found.as_ref().and_then(ends));
        }
        let lateness = self.options.allowed_lateness_us;
        let (Some(found), Some(origin)) = (found, origin(&meta)) else { return (input, None) };
        let Some(shift) = found.shift.checked_add(lateness) else { return (input, None) };
        let close = Watermark { shift, ..found };
        let settled = ends(&close);
        let to_end = close.shift.saturating_sub(lateness);
        let check = LateCheck { close, hop: None, event_time, origin, to_end };
        (step(input, Step::Late(check), meta), settled)
    }
}

/// What is known of rows with the bounds of their session.
fn with_bounds(before: &Meta, time: usize, settled: Option<&Watermark>) -> Meta {
    let mut fields: Vec<Field> =
        before.schema.fields().iter().map(|f| f.as_ref().clone()).collect();
    let width = fields.len();
    let bound = fields[time].clone().with_nullable(true);
    fields.extend(["window_start", "window_end"].map(|name| bound.clone().with_name(name)));
    let end = settled.map(|settled| Watermark { column: width + 1, ..settled.clone() });
    Meta {
        schema: Arc::new(Schema::new(unique(fields))),
        key: before.key.clone(),
        append_only: false,
        watermarks: end.into_iter().collect(),
    }
}
