//! What sqlparser reads and PostgreSQL refuses: numbers that run into a word, joins without a condition.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Insert, JoinConstraint, JoinOperator, Select, Spanned, Statement, TableFactor, TableWithJoins,
    Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};
use millrace_types::{Report, SqlState};

use crate::text::Text;

/// Looks for numbers and parameters with letters right behind them: `12abc`, `1AND`, `$1x`.
///
/// # Errors
/// The first of them.
pub(super) fn check_numbers(tokens: &[TokenWithSpan], text: &Text<'_>) -> Result<(), Report> {
    for (at, token) in tokens.iter().enumerate() {
        let next = tokens.get(at + 1);
        let (kind, last) = match (&token.token, next) {
            (Token::Number(_, true), _) => ("numeric literal", token),
            (Token::Number(..), Some(next)) if is_glued(token, next) => ("numeric literal", next),
            (Token::Placeholder(name), _) if is_longer(name) => ("parameter", token),
            _ => continue,
        };
        let junk = text.between(token.span, last.span);
        let message = format!("trailing junk after {kind} at or near \"{junk}\"");
        let position = text.position(token.span.start);
        return Err(Report { position, ..Report::new(SqlState::SYNTAX_ERROR, message) });
    }
    Ok(())
}

fn is_glued(number: &TokenWithSpan, next: &TokenWithSpan) -> bool {
    let is_word = matches!(&next.token, Token::Word(word) if word.quote_style.is_none());
    is_word && number.span.end == next.span.start
}

/// True for `$1x`; `$x` is refused as such.
fn is_longer(placeholder: &str) -> bool {
    let name = placeholder.strip_prefix('$').unwrap_or(placeholder);
    name.starts_with(|c: char| c.is_ascii_digit()) && !name.chars().all(|c| c.is_ascii_digit())
}

/// Where a condition of a join should stand and does not: behind this place.
pub(super) fn open_join(parsed: &impl Visit) -> Option<Location> {
    parsed.visit(&mut Joins).break_value()
}

struct Joins;

impl Visitor for Joins {
    type Break = Location;

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Location> {
        select.from.iter().try_for_each(joins)
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Location> {
        match factor {
            TableFactor::NestedJoin { table_with_joins, .. } => joins(table_with_joins),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn joins(from: &TableWithJoins) -> ControlFlow<Location> {
    let is_open = |operator: &JoinOperator| {
        matches!(
            operator,
            JoinOperator::Join(JoinConstraint::None)
                | JoinOperator::Inner(JoinConstraint::None)
                | JoinOperator::Left(JoinConstraint::None)
                | JoinOperator::LeftOuter(JoinConstraint::None)
                | JoinOperator::Right(JoinConstraint::None)
                | JoinOperator::RightOuter(JoinConstraint::None)
                | JoinOperator::FullOuter(JoinConstraint::None)
        )
    };
    match from.joins.iter().find(|join| is_open(&join.join_operator)) {
        Some(join) => ControlFlow::Break(join.relation.span().end),
        None => ControlFlow::Continue(()),
    }
}

/// The table of an INSERT without INTO.
pub(super) fn insert_without_into(statement: &Statement) -> Option<Location> {
    match statement {
        Statement::Insert(Insert { into: false, table, .. }) => Some(table.span().start),
        _ => None,
    }
}
