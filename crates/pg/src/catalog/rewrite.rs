//! Clients' catalog queries in a form that DataFusion plans.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::OnceLock;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    OrderByKind, Query, SelectItem, SetExpr, Statement, TableFactor, Value, Visit, VisitMut,
    Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use millrace_types::{Report, SqlState};

/// True for a query that reads the catalog, or that reads no relation at all and calls a function or
/// names a type of the catalog. A query over the user's relations alone is none, whatever it calls.
pub fn is_catalog_query(statement: &Statement) -> bool {
    if !matches!(statement, Statement::Query(_)) {
        return false;
    }
    let mut seen = Seen::default();
    // The visitor never breaks.
    let ControlFlow::Continue(()) = statement.visit(&mut seen);
    seen.catalog_relation || (seen.catalog_expression && !seen.user_relation)
}

/// What a statement names.
#[derive(Default)]
struct Seen {
    catalog_relation: bool,
    catalog_expression: bool,
    user_relation: bool,
}

impl Visitor for Seen {
    type Break = std::convert::Infallible;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::Table { name, args: None, .. } = factor {
            if is_catalog_name(name) {
                self.catalog_relation = true;
            } else {
                self.user_relation = true;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        self.catalog_expression |= match expr {
            Expr::Function(function) => is_catalog_function(&function.name),
            Expr::Identifier(name) => {
                name.quote_style.is_none() && is_session_word(&name.value.to_ascii_lowercase())
            }
            Expr::Cast { data_type, .. } => is_catalog_type(data_type),
            _ => false,
        };
        ControlFlow::Continue(())
    }
}

fn parts(name: &ObjectName) -> Vec<String> {
    let idents = name.0.iter().filter_map(|part| part.as_ident());
    idents.map(|ident| ident.value.to_ascii_lowercase()).collect()
}

fn is_catalog_name(name: &ObjectName) -> bool {
    match parts(name).as_slice() {
        [table] => table.starts_with("pg_"),
        [.., schema, _] => schema == "pg_catalog" || schema == "information_schema",
        [] => false,
    }
}

fn is_session_word(name: &str) -> bool {
    matches!(
        name,
        "current_schema"
            | "current_user"
            | "current_role"
            | "session_user"
            | "user"
            | "current_catalog"
            | "current_database"
    )
}

fn is_catalog_function(name: &ObjectName) -> bool {
    let parts = parts(name);
    let Some(last) = parts.last() else { return false };
    (last.starts_with("pg_") && last != "pg_typeof")
        || (last.starts_with("has_") && last.ends_with("_privilege"))
        || is_session_word(last)
        || parts.first().is_some_and(|schema| parts.len() > 1 && schema == "pg_catalog")
        || matches!(
            last.as_str(),
            "version"
                | "current_schemas"
                | "current_setting"
                | "set_config"
                | "format_type"
                | "parse_ident"
                | "to_regclass"
                | "obj_description"
                | "col_description"
                | "shobj_description"
                | "txid_current"
                | "inet_server_addr"
                | "inet_client_addr"
        )
}

fn is_catalog_type(data_type: &DataType) -> bool {
    match data_type {
        DataType::Regclass => true,
        DataType::Custom(name, _) => match parts(name).as_slice() {
            [name] => name == "oid" || name == "name" || name.starts_with("reg"),
            [schema, ..] => schema == "pg_catalog",
            [] => false,
        },
        _ => false,
    }
}

/// Brings a catalog query into a form that a context plans on which the catalog is installed.
///
/// # Errors
/// A syntax error, or not exactly one statement.
pub fn rewrite(sql: &str) -> Result<Statement, Report> {
    static PARSER: OnceLock<PostgresCompatibilityParser> = OnceLock::new();
    let parser = PARSER.get_or_init(PostgresCompatibilityParser::new);
    let mut statements = parser
        .parse(&with_session_user(sql))
        .map_err(|error| Report::new(SqlState::SYNTAX_ERROR, format!("syntax error: {error}")))?;
    let (Some(mut statement), true) = (statements.pop(), statements.is_empty()) else {
        let message = "a catalog query must be a single statement";
        return Err(Report::new(SqlState::SYNTAX_ERROR, message));
    };
    let ControlFlow::Continue(()) = VisitMut::visit(&mut statement, &mut Ours);
    if let Statement::Query(query) = &mut statement {
        name_columns(query);
    }
    Ok(statement)
}

/// A name for `session_user`, which the library has stand for `current_user`.
const SESSION_USER: &str = "session_user_itself";

/// The query with another name for `session_user`.
fn with_session_user(sql: &str) -> Cow<'_, str> {
    if !sql.to_ascii_lowercase().contains("session_user") {
        return Cow::Borrowed(sql);
    }
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).with_unescape(false).tokenize();
    let Ok(tokens) = tokens else { return Cow::Borrowed(sql) };
    let text = |token: &Token| match token {
        Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("session_user") =>
        {
            format!("{SESSION_USER}()")
        }
        token => token.to_string(),
    };
    Cow::Owned(tokens.iter().map(text).collect())
}

/// Our own rules, after the library's.
struct Ours;

impl VisitorMut for Ours {
    type Break = std::convert::Infallible;

    /// The library knows the names of PostgreSQL's tables, not of all its views.
    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::Table { name, args: None, .. } = factor
            && let [table] = parts(name).as_slice()
            && super::tables::is_ours(table)
        {
            *name = ObjectName::from(vec![Ident::new("pg_catalog"), Ident::new(table)]);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Expr::Function(function) = expr {
            let named = parts(&function.name).pop();
            let meant = match named.as_deref() {
                Some("session_user") => Some("current_user"),
                Some(SESSION_USER) => Some("session_user"),
                _ => None,
            };
            function.name = meant
                .map_or(function.name.clone(), |name| ObjectName::from(vec![Ident::new(name)]));
        }
        if let Expr::Function(function) = expr
            && parts(&function.name) == ["array"]
            && let FunctionArguments::Subquery(query) = &function.args
        {
            if unnests(query) {
                *expr = no_texts();
            } else if let Some(aggregated) = aggregated(query) {
                *expr = Expr::Subquery(Box::new(aggregated));
            }
        } else if let Expr::Subquery(query) = expr {
            take_first(query);
        }
        ControlFlow::Continue(())
    }
}

/// True for a query over the elements of an array. DataFusion cannot unnest a column of an outer
/// query, and the arrays of options that clients ask so for are all NULL here.
fn unnests(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    select.from.iter().any(|from| match &from.relation {
        TableFactor::Table { name, args: Some(_), .. } => {
            parts(name).last().is_some_and(|last| last == "unnest")
        }
        TableFactor::UNNEST { .. } => true,
        _ => false,
    })
}

/// Makes a look-up of one value an aggregate: DataFusion plans a correlated subquery only where it
/// sees that there is one row.
fn take_first(query: &mut Query) {
    let unlimited = query.limit_clause.is_none() && query.fetch.is_none();
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let [SelectItem::UnnamedExpr(value)] = select.projection.as_mut_slice() else { return };
    let is_plain = match value {
        Expr::Function(function) => parts(&function.name) == ["pg_get_expr"],
        _ => true,
    };
    if unlimited && is_plain && select.selection.is_some() && select.distinct.is_none() {
        let taken = std::mem::replace(value, Expr::Value(Value::Null.with_empty_span()));
        *value = call("first_value", taken, Vec::new());
    }
}

fn call(name: &str, argument: Expr, clauses: Vec<FunctionArgumentClause>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))],
            clauses,
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// `NULL::text[]`
fn no_texts() -> Expr {
    Expr::Cast {
        kind: CastKind::DoubleColon,
        expr: Box::new(Expr::Value(Value::Null.with_empty_span())),
        data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None)),
        array: false,
        format: None,
    }
}

/// `SELECT x ... ORDER BY y` as `SELECT array_agg(x ORDER BY y) ...`, for `ARRAY(SELECT ...)`.
fn aggregated(query: &Query) -> Option<Query> {
    let mut query = query.clone();
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let order = query.order_by.take();
    let [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }] =
        select.projection.as_slice()
    else {
        return None;
    };
    let mut clauses = Vec::new();
    if let Some(order) = order
        && let OrderByKind::Expressions(keys) = order.kind
        && !keys.iter().any(|key| matches!(key.expr, Expr::Value(_)))
    {
        clauses.push(FunctionArgumentClause::OrderBy(keys));
    }
    let value = call("array_agg", value.clone(), clauses);
    select.projection = vec![SelectItem::UnnamedExpr(value)];
    Some(query)
}

/// Names the columns of the outermost SELECT as PostgreSQL does: a call by its function, a cast by
/// what is cast. DataFusion wants names to differ, so a second of the same name gets a number.
fn name_columns(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for item in &select.projection {
        let name = match item {
            SelectItem::UnnamedExpr(expr) if is_named_here(expr) => None,
            SelectItem::UnnamedExpr(expr) => column_name(expr),
            SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
            _ => return,
        };
        uses.extend(name.map(|name| (name, 1)));
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && is_named_here(expr)
            && let Some(name) = column_name(expr)
        {
            let before = uses.entry(name.clone()).or_default();
            let name = if *before == 0 { name } else { format!("{name}_{before}") };
            *before += 1;
            let alias = Ident::with_quote('"', name);
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}

fn is_named_here(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(_) | Expr::Cast { .. })
}

fn column_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(ident.value.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| ident.value.clone()),
        Expr::Function(function) => parts(&function.name).pop(),
        Expr::Cast { expr, .. } => column_name(expr),
        _ => None,
    }
}
