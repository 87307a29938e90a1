//! The text of a statement with another name for one object: what is stored of objects names others by
//! their names.
//!
//! A query may say `t.a` of a column of `t`, so the object keeps its old name there as an alias where the
//! word stands anywhere else in the text. What the text means then is for the caller to look at: it binds it
//! again.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Query, TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer};
use millrace_types::Report;

use super::{SqlDialect, parse};
use crate::ast::{Name, Statement};
use crate::names::{self, SCHEMA, fold};
use crate::text::Text;

/// Functions in FROM whose first argument is a relation.
const WINDOWS: [&str; 4] = ["tumble", "hop", "cumulate", "session"];

/// A stored statement with another name for an object; `own` if the statement makes that object. None if it
/// cannot be told where the name stands.
///
/// # Errors
/// The text is no statement.
pub fn renamed(text: &str, (old, new): (&str, &str), own: bool) -> Result<Option<String>, Report> {
    let whole = Text::new(text);
    let tokens = Tokenizer::new(&SqlDialect::PLAIN, text).tokenize_with_location();
    let tokens: Vec<TokenWithSpan> = tokens.unwrap_or_default();
    let mut places = Places { old, tokens: &tokens, whole: &whole, found: Vec::new() };
    let mut queries = Vec::new();
    for statement in parse(text)? {
        places.of(&statement, own);
        match statement {
            Statement::CreateView(view) => queries.push(view.query),
            Statement::CreateMaterializedView(view) => queries.push(view.query),
            _ => {}
        }
    }
    let mut relations = Relations { old, shadowed: false, found: Vec::new() };
    for query in &queries {
        if query.visit(&mut relations).is_break() {
            return Ok(None);
        }
    }
    if relations.shadowed {
        return Ok(None);
    }
    let named = places.found.len() + relations.found.len();
    let aliased = tokens.iter().filter(|token| is_name(&token.token, old)).count() > named;
    let mut edits: Vec<(Span, String)> =
        places.found.into_iter().map(|(span, after)| (span, written(new) + after)).collect();
    for (span, may_alias) in relations.found {
        let alias = match aliased && may_alias {
            true => format!(" AS {}", written(old)),
            false => String::new(),
        };
        edits.push((span, written(new) + &alias));
    }
    Ok(edited(text, &whole, edits))
}

/// The text with other words at some places.
fn edited(text: &str, whole: &Text<'_>, edits: Vec<(Span, String)>) -> Option<String> {
    let mut places = Vec::new();
    for (span, word) in edits {
        places.push((whole.byte(span.start)?, whole.byte(span.end)?, word));
    }
    places.sort_by_key(|(start, end, _)| (*start, *end));
    let mut result = text.to_owned();
    for (start, end, word) in places.into_iter().rev() {
        result.replace_range(start..end, &word);
    }
    Some(result)
}

/// A name as it is written in a statement.
fn written(name: &str) -> String {
    let first = |c: char| c.is_ascii_lowercase() || c == '_';
    let plain = name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit());
    match plain && !names::is_reserved(name) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

fn is_name(token: &Token, name: &str) -> bool {
    match token {
        Token::Word(word) if word.quote_style.is_some() => word.value == name,
        Token::Word(word) => word.value.to_ascii_lowercase() == name,
        _ => false,
    }
}

/// Where our own statements name an object, and what is written behind the new name there.
struct Places<'a> {
    old: &'a str,
    tokens: &'a [TokenWithSpan],
    whole: &'a Text<'a>,
    found: Vec<(Span, &'static str)>,
}

impl Places<'_> {
    fn of(&mut self, statement: &Statement, own: bool) {
        match statement {
            Statement::CreateSource(create) => self.name(&create.name),
            Statement::CreateTable(create) => self.name(&create.name),
            Statement::CreateView(create) => self.name(&create.name),
            Statement::CreateMaterializedView(create) => self.name(&create.name),
            Statement::CreateSink(create) => {
                self.name(&create.name);
                self.name(&create.from);
            }
            Statement::CreateIndex(create) => {
                match &create.name {
                    Some(name) => self.name(name),
                    None if own => self.unnamed(),
                    None => {}
                }
                self.name(&create.on);
            }
            Statement::Alter(alter) => self.name(&alter.name),
            _ => {}
        }
    }

    /// The last part of a name that may have a schema before it.
    fn name(&mut self, name: &Name) {
        if name.name != self.old {
            return;
        }
        let at = |token: &TokenWithSpan| self.whole.position(token.span.start) == name.position;
        let Some(first) = self.tokens.iter().position(at) else { return };
        let part = |token: &&TokenWithSpan| matches!(token.token, Token::Word(_) | Token::Period);
        let parts = self.tokens[first..].iter().take_while(part);
        let last = parts.filter(|token| is_name(&token.token, self.old)).last();
        self.found.extend(last.map(|token| (token.span, "")));
    }

    /// An index that is named after its columns gets its name before ON.
    fn unnamed(&mut self) {
        let on = self.tokens.iter().find(|token| is_name(&token.token, "on"));
        let before = on.map(|on| Span { start: on.span.start, end: on.span.start });
        self.found.extend(before.map(|span| (span, " ")));
    }
}

/// Where a query names a relation, and whether an alias may stand behind it.
struct Relations<'a> {
    old: &'a str,
    /// WITH gives the name to something else.
    shadowed: bool,
    found: Vec<(Span, bool)>,
}

impl Relations<'_> {
    /// The last part, of an object of ours.
    fn names<'n>(&self, name: &'n ObjectName) -> Option<&'n Ident> {
        let parts: Option<Vec<&Ident>> = name.0.iter().map(|part| part.as_ident()).collect();
        let parts = parts?;
        let (last, before) = parts.split_last()?;
        let ours = before.last().is_none_or(|schema| fold(schema) == SCHEMA);
        (ours && fold(last) == self.old).then_some(*last)
    }

    /// The relation that a function takes.
    fn argument<'n>(&self, name: &ObjectName, args: &'n [FunctionArg]) -> Option<&'n Ident> {
        let [part] = name.0.as_slice() else { return None };
        let called = part.as_ident().map(fold)?;
        if !WINDOWS.contains(&called.as_str()) {
            return None;
        }
        let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) = args.first() else {
            return None;
        };
        let ident = match first {
            Expr::Identifier(ident) => ident,
            Expr::CompoundIdentifier(parts) => parts.last()?,
            _ => return None,
        };
        (fold(ident) == self.old).then_some(ident)
    }
}

impl Visitor for Relations<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let mut tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.shadowed |= tables.any(|table| fold(&table.alias.name) == self.old);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let found = self.names(name).map(|ident| (ident.span, alias.is_none()));
                self.found.extend(found);
            }
            TableFactor::Table { name, args: Some(args), .. } => {
                let found = self.argument(name, &args.args).map(|ident| (ident.span, false));
                self.found.extend(found);
            }
            TableFactor::Function { name, args, .. } => {
                let found = self.argument(name, args).map(|ident| (ident.span, false));
                self.found.extend(found);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_another_one_wherever_the_object_is_meant() {
        for (text, own, wanted) in [
            ("CREATE TABLE t (t INT)", true, "CREATE TABLE u (t INT)"),
            ("create table public.T (a int)", true, "create table public.u (a int)"),
            ("CREATE VIEW v AS SELECT a FROM t", false, "CREATE VIEW v AS SELECT a FROM u"),
            (
                "CREATE VIEW v AS SELECT t.a FROM public.\"t\" JOIN x ON x.a = t.a",
                false,
                "CREATE VIEW v AS SELECT t.a FROM public.u AS t JOIN x ON x.a = t.a",
            ),
            (
                "CREATE VIEW v AS SELECT y.a, 't' FROM t AS y WHERE a IN (SELECT a FROM t)",
                false,
                "CREATE VIEW v AS SELECT y.a, 't' FROM u AS y WHERE a IN (SELECT a FROM u)",
            ),
            (
                "CREATE MATERIALIZED VIEW m AS SELECT a FROM TUMBLE(t, ts, INTERVAL '1 s') AS w",
                false,
                "CREATE MATERIALIZED VIEW m AS SELECT a FROM TUMBLE(u, ts, INTERVAL '1 s') AS w",
            ),
            ("CREATE INDEX i ON t (a)", false, "CREATE INDEX i ON u (a)"),
            ("CREATE INDEX ON x (a)", true, "CREATE INDEX u ON x (a)"),
        ] {
            assert_eq!(renamed(text, ("t", "u"), own).unwrap().as_deref(), Some(wanted));
        }
        let shadowed = "CREATE VIEW v AS WITH t AS (SELECT a FROM public.t) SELECT a FROM t";
        assert_eq!(renamed(shadowed, ("t", "u"), false).unwrap(), None);
        let quoted = renamed("CREATE VIEW t AS SELECT 1", ("t", "Big one"), true).unwrap();
        assert_eq!(quoted.as_deref(), Some("CREATE VIEW \"Big one\" AS SELECT 1"));
    }
}
