//! `FETCH FIRST n ROWS ONLY`, as LIMIT; `WITH TIES` marks its count. A count in quotes is a number.

use datafusion::sql::sqlparser::ast::{Expr, LimitClause, Query, Spanned, Value};
use datafusion::sql::sqlparser::tokenizer::Span;
use millrace_types::{Report, SqlState};

use super::syntax::call;
use crate::functions::WITH_TIES;

/// Writes a FETCH clause as LIMIT.
///
/// # Errors
/// PERCENT, and a LIMIT beside it.
pub(super) fn as_limit(query: &mut Query) -> Result<(), Box<(Report, Span)>> {
    counts(query);
    let Some(fetch) = query.fetch.take() else { return Ok(()) };
    let span = query.body.span();
    if fetch.percent {
        let report = Report::unsupported("FETCH FIRST ... PERCENT");
        return Err(Box::new((report.hint("Use percent_rank() in a subquery."), span)));
    }
    let one = || Expr::Value(Value::Number("1".into(), false).into());
    let mut count = fetch.quantity.unwrap_or_else(one);
    if fetch.with_ties {
        count = call(WITH_TIES, vec![count]);
    }
    let twice = || {
        let message = "multiple LIMIT clauses not allowed";
        Box::new((Report::new(SqlState::SYNTAX_ERROR, message), span))
    };
    match &mut query.limit_clause {
        None => {
            let limit = Some(count);
            query.limit_clause =
                Some(LimitClause::LimitOffset { limit, offset: None, limit_by: Vec::new() });
        }
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(count),
        Some(LimitClause::LimitOffset { .. } | LimitClause::OffsetCommaLimit { .. }) => {
            return Err(twice());
        }
    }
    Ok(())
}

/// Reads `LIMIT '1'` as `LIMIT 1`: a literal without a type is a bigint there.
fn counts(query: &mut Query) {
    let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause else {
        return;
    };
    for count in limit.iter_mut().chain(offset.iter_mut().map(|offset| &mut offset.value)) {
        if let Expr::Value(value) = count
            && let Value::SingleQuotedString(text) = &value.value
            && let Ok(number) = text.trim().parse::<u64>()
        {
            value.value = Value::Number(number.to_string(), false);
        }
    }
}
