//! Clauses that sqlparser reads for other dialects, and that would be passed over.
//!
//! The structs are taken apart whole: a field that a new sqlparser adds must be named here.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Delete, Expr, Insert, JoinOperator, LimitClause, OnInsert, Query, Select,
    SetExpr, SetOperator, Statement, TableFactor, TableWithJoins, UnaryOperator, Update, Value,
    Visit, Visitor,
};

use super::Foreign;

/// The first clause of another dialect in a query.
pub(in crate::parser) fn of_query(query: &Query) -> Option<&'static Foreign> {
    match query.visit(&mut Clauses) {
        ControlFlow::Break(found) => Some(found),
        ControlFlow::Continue(()) => None,
    }
}

/// The same for a statement that changes rows.
pub(in crate::parser) fn of_statement(statement: &Statement) -> Option<&'static Foreign> {
    let own = match statement {
        Statement::Insert(insert) => of_insert(insert),
        Statement::Update(update) => of_update(update),
        Statement::Delete(delete) => of_delete(delete),
        _ => None,
    };
    own.or_else(|| match statement.visit(&mut Clauses) {
        ControlFlow::Break(found) => Some(found),
        ControlFlow::Continue(()) => None,
    })
}

struct Clauses;

impl Visitor for Clauses {
    type Break = &'static Foreign;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        broken(of_parts(query))
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        broken(of_select(select).or_else(|| select.from.iter().find_map(of_joins)))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        broken(of_table(factor))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        broken(of_expr(expr))
    }
}

fn broken(found: Option<&'static Foreign>) -> ControlFlow<&'static Foreign> {
    found.map_or(ControlFlow::Continue(()), ControlFlow::Break)
}

/// The clause whose condition is true first.
fn first(clauses: &[(bool, &'static Foreign)]) -> Option<&'static Foreign> {
    clauses.iter().find(|(is_there, _)| *is_there).map(|(_, clause)| *clause)
}

/// What stands behind a query; WITH, ORDER BY, FETCH and locks are PostgreSQL's.
fn of_parts(query: &Query) -> Option<&'static Foreign> {
    let Query {
        with: _,
        body,
        order_by: _,
        limit_clause,
        fetch: _,
        locks: _,
        for_clause,
        settings,
        format_clause,
        pipe_operators,
    } = query;
    let (by, comma) = match limit_clause {
        Some(LimitClause::LimitOffset { limit_by, .. }) => (!limit_by.is_empty(), false),
        Some(LimitClause::OffsetCommaLimit { .. }) => (false, true),
        None => (false, false),
    };
    first(&[
        (subtracts(body), MINUS),
        (by, LIMIT_BY),
        (comma, LIMIT_COMMA),
        (for_clause.is_some(), FOR_XML),
        (settings.is_some(), SETTINGS),
        (format_clause.is_some(), FORMAT),
        (!pipe_operators.is_empty(), PIPE),
    ])
}

/// True for a MINUS that belongs to this query.
fn subtracts(body: &SetExpr) -> bool {
    let mut open = vec![body];
    while let Some(body) = open.pop() {
        if let SetExpr::SetOperation { op, left, right, .. } = body {
            if matches!(op, SetOperator::Minus) {
                return true;
            }
            open.extend([left.as_ref(), right.as_ref()]);
        }
    }
    false
}

fn of_select(select: &Select) -> Option<&'static Foreign> {
    let Select {
        select_token: _,
        optimizer_hints: _,
        distinct: _,
        select_modifiers,
        top,
        top_before_distinct: _,
        projection: _,
        exclude,
        into,
        from: _,
        lateral_views,
        prewhere,
        selection: _,
        connect_by,
        group_by: _,
        cluster_by,
        distribute_by,
        sort_by,
        having: _,
        named_window: _,
        qualify: _,
        window_before_qualify: _,
        value_table_mode,
        flavor: _,
    } = select;
    first(&[
        (select_modifiers.is_some(), MODIFIERS),
        (top.is_some(), TOP),
        (exclude.is_some(), EXCLUDE),
        (into.is_some(), INTO),
        (!lateral_views.is_empty(), LATERAL_VIEW),
        (prewhere.is_some(), PREWHERE),
        (!connect_by.is_empty(), CONNECT_BY),
        (!cluster_by.is_empty(), CLUSTER_BY),
        (!distribute_by.is_empty(), DISTRIBUTE_BY),
        (!sort_by.is_empty(), SORT_BY),
        (value_table_mode.is_some(), VALUE_TABLE),
    ])
}

fn of_joins(from: &TableWithJoins) -> Option<&'static Foreign> {
    from.joins.iter().find_map(|join| match join.join_operator {
        JoinOperator::CrossApply => Some(CROSS_APPLY),
        JoinOperator::OuterApply => Some(OUTER_APPLY),
        JoinOperator::StraightJoin(_) => Some(STRAIGHT_JOIN),
        JoinOperator::ArrayJoin | JoinOperator::LeftArrayJoin | JoinOperator::InnerArrayJoin => {
            Some(ARRAY_JOIN)
        }
        _ => None,
    })
}

fn of_table(factor: &TableFactor) -> Option<&'static Foreign> {
    match factor {
        TableFactor::Table { with_hints, partitions, json_path, index_hints, .. } => first(&[
            (!with_hints.is_empty(), TABLE_HINT),
            (!partitions.is_empty(), PARTITION),
            (json_path.is_some(), JSON_PATH),
            (!index_hints.is_empty(), INDEX_HINT),
        ]),
        TableFactor::NestedJoin { table_with_joins, .. } => of_joins(table_with_joins),
        TableFactor::Pivot { .. } => Some(PIVOT),
        TableFactor::Unpivot { .. } => Some(UNPIVOT),
        TableFactor::MatchRecognize { .. } => Some(MATCH_RECOGNIZE),
        TableFactor::JsonTable { .. } => Some(JSON_TABLE),
        TableFactor::OpenJsonTable { .. } => Some(OPENJSON),
        TableFactor::XmlTable { .. } => Some(XMLTABLE),
        TableFactor::SemanticView { .. } => Some(SEMANTIC_VIEW),
        TableFactor::Derived { .. }
        | TableFactor::TableFunction { .. }
        | TableFactor::Function { .. }
        | TableFactor::UNNEST { .. } => None,
    }
}

fn of_expr(expr: &Expr) -> Option<&'static Foreign> {
    match expr {
        Expr::RLike { .. } => Some(RLIKE),
        Expr::Convert { .. } => Some(CONVERT),
        Expr::MatchAgainst { .. } => Some(MATCH),
        Expr::Prior(_) => Some(CONNECT_BY),
        Expr::OuterJoin(_) => Some(OUTER_JOIN),
        Expr::UnaryOp { op: UnaryOperator::DoubleAt, .. } => Some(SERVER_VARIABLE),
        Expr::BinaryOp { op: BinaryOperator::Assignment, .. } => Some(ASSIGNMENT),
        Expr::Value(value) => match value.value {
            Value::SingleQuotedByteStringLiteral(_) => Some(BITS),
            _ => None,
        },
        _ => None,
    }
}

fn of_insert(insert: &Insert) -> Option<&'static Foreign> {
    let Insert {
        insert_token: _,
        optimizer_hints: _,
        or,
        ignore,
        into: _,
        table: _,
        table_alias: _,
        columns: _,
        overwrite,
        source: _,
        assignments,
        partitioned,
        after_columns,
        has_table_keyword: _,
        on,
        returning: _,
        output,
        replace_into,
        priority,
        insert_alias,
        settings,
        format_clause,
        multi_table_insert_type,
        multi_table_into_clauses: _,
        multi_table_when_clauses: _,
        multi_table_else_clause: _,
    } = insert;
    first(&[
        (or.is_some(), INSERT_OR),
        (*ignore, INSERT_IGNORE),
        (*overwrite, OVERWRITE),
        (!assignments.is_empty(), INSERT_SET),
        (partitioned.is_some() || !after_columns.is_empty(), PARTITION),
        (matches!(on, Some(OnInsert::DuplicateKeyUpdate(_))), ON_DUPLICATE),
        (output.is_some(), OUTPUT),
        (*replace_into, REPLACE),
        (priority.is_some(), PRIORITY),
        (insert_alias.is_some(), INSERT_ALIAS),
        (settings.is_some(), SETTINGS),
        (format_clause.is_some(), FORMAT),
        (multi_table_insert_type.is_some(), INSERT_ALL),
    ])
}

fn of_update(update: &Update) -> Option<&'static Foreign> {
    let Update {
        update_token: _,
        optimizer_hints: _,
        table,
        assignments: _,
        from: _,
        selection: _,
        returning: _,
        output,
        or,
        order_by,
        limit,
    } = update;
    first(&[
        (!table.joins.is_empty(), UPDATE_JOIN),
        (output.is_some(), OUTPUT),
        (or.is_some(), UPDATE_OR),
        (!order_by.is_empty(), SORTED),
        (limit.is_some(), LIMITED),
    ])
}

fn of_delete(delete: &Delete) -> Option<&'static Foreign> {
    let Delete {
        delete_token: _,
        optimizer_hints: _,
        tables,
        from: _,
        using: _,
        selection: _,
        returning: _,
        output,
        order_by,
        limit,
    } = delete;
    first(&[
        (!tables.is_empty(), DELETE_JOIN),
        (output.is_some(), OUTPUT),
        (!order_by.is_empty(), SORTED),
        (limit.is_some(), LIMITED),
    ])
}

const MINUS: &Foreign = &("MINUS", "MINUS", "Write EXCEPT.");
const LIMIT_BY: &Foreign =
    &("LIMIT", "LIMIT ... BY", "Compare row_number() OVER (PARTITION BY ... ORDER BY ...).");
const LIMIT_COMMA: &Foreign = &("LIMIT", "LIMIT start, count", "Write LIMIT count OFFSET start.");
const FOR_XML: &Foreign = &("FOR", "this FOR", "Write to_jsonb(...) in the select list.");
const SETTINGS: &Foreign =
    &("SETTINGS", "SETTINGS in a statement", "Write SET name = value before it.");
const FORMAT: &Foreign =
    &("FORMAT", "FORMAT in a statement", "Write COPY (query) TO STDOUT WITH (FORMAT csv).");
const PIPE: &Foreign = &("| >", "a query in pipes", "Write SELECT ... FROM ... WHERE.");
const MODIFIERS: &Foreign = &("SELECT ?", "a modifier of SELECT", "Leave it out.");
const TOP: &Foreign = &("TOP", "TOP", "Write LIMIT count at the end of the query.");
const EXCLUDE: &Foreign = &("EXCLUDE", "SELECT * EXCLUDE", "Write the columns.");
const INTO: &Foreign =
    &("INTO", "SELECT INTO", "CREATE MATERIALIZED VIEW name AS ... keeps the result of a query.");
const LATERAL_VIEW: &Foreign =
    &("LATERAL VIEW", "LATERAL VIEW", "Write FROM table, unnest(column) AS element.");
const PREWHERE: &Foreign = &("PREWHERE", "PREWHERE", "Write WHERE.");
const CONNECT_BY: &Foreign = &("CONNECT BY", "CONNECT BY", "Write WITH RECURSIVE.");
const CLUSTER_BY: &Foreign = &("CLUSTER BY", "CLUSTER BY", "Write ORDER BY.");
const DISTRIBUTE_BY: &Foreign = &("DISTRIBUTE BY", "DISTRIBUTE BY", "Leave it out.");
const SORT_BY: &Foreign = &("SORT BY", "SORT BY", "Write ORDER BY.");
const VALUE_TABLE: &Foreign =
    &("SELECT ? ?", "SELECT AS STRUCT or VALUE", "Write SELECT ROW(...).");
const CROSS_APPLY: &Foreign =
    &("CROSS APPLY", "CROSS APPLY", "Write CROSS JOIN LATERAL (SELECT ...) AS name.");
const OUTER_APPLY: &Foreign =
    &("OUTER APPLY", "OUTER APPLY", "Write LEFT JOIN LATERAL (SELECT ...) AS name ON true.");
const STRAIGHT_JOIN: &Foreign = &("STRAIGHT_JOIN", "STRAIGHT_JOIN", "Write JOIN.");
const ARRAY_JOIN: &Foreign =
    &("ARRAY JOIN", "ARRAY JOIN", "Write FROM table, unnest(column) AS element.");
const TABLE_HINT: &Foreign = &(
    "WITH (",
    "a hint behind a table",
    "Leave it out: a SELECT reads one moment and waits for nobody.",
);
const PARTITION: &Foreign =
    &("PARTITION", "PARTITION of a table", "Leave it out: name rows by WHERE.");
const JSON_PATH: &Foreign =
    &("FROM", "a path into a table", "Write jsonb_array_elements(column) in FROM.");
const INDEX_HINT: &Foreign =
    &("INDEX", "an index hint", "Leave it out: an index is used where it helps.");
const PIVOT: &Foreign =
    &("PIVOT", "PIVOT", "Write an aggregate for each column: sum(x) FILTER (WHERE kind = 'a').");
const UNPIVOT: &Foreign =
    &("UNPIVOT", "UNPIVOT", "Write SELECT ... UNION ALL SELECT ... for each column.");
const MATCH_RECOGNIZE: &Foreign = &(
    "MATCH_RECOGNIZE",
    "MATCH_RECOGNIZE",
    "Compare rows with lag() and lead() OVER (PARTITION BY ... ORDER BY ...), or join them by time.",
);
const JSON_TABLE: &Foreign =
    &("JSON_TABLE", "JSON_TABLE", "Write jsonb_array_elements(value) in FROM.");
const OPENJSON: &Foreign = &("OPENJSON", "OPENJSON", "Write jsonb_array_elements(value) in FROM.");
const XMLTABLE: &Foreign = &("XMLTABLE", "XML", "Write jsonb.");
const SEMANTIC_VIEW: &Foreign = &("SEMANTIC_VIEW", "SEMANTIC_VIEW", "Write the query.");
const RLIKE: &Foreign = &("?", "RLIKE or REGEXP", "Write value ~ 'pattern'.");
const CONVERT: &Foreign = &("CONVERT (", "CONVERT", "Write CAST(value AS type).");
const MATCH: &Foreign = &("MATCH (", "MATCH ... AGAINST", "Write value LIKE '%word%'.");
const OUTER_JOIN: &Foreign =
    &("( +", "an outer join written as (+)", "Write a LEFT JOIN b ON a.key = b.key.");
const SERVER_VARIABLE: &Foreign =
    &("@@", "a variable of the server", "Write SHOW name, or current_setting('name').");
const ASSIGNMENT: &Foreign =
    &(":=", "an assignment in an expression", "Write a parameter, $1, or a subquery in WITH.");
const BITS: &Foreign = &("?", "a bit string", "Write a bytea, '\\x05', or a number.");
const INSERT_OR: &Foreign = &(
    "INSERT OR",
    "INSERT OR ...",
    "Write INSERT INTO table VALUES (...) ON CONFLICT DO NOTHING, or ON CONFLICT (key) DO UPDATE SET column = excluded.column.",
);
const INSERT_IGNORE: &Foreign = &(
    "INSERT IGNORE",
    "INSERT IGNORE",
    "Write INSERT INTO table VALUES (...) ON CONFLICT DO NOTHING.",
);
const OVERWRITE: &Foreign = &(
    "INSERT OVERWRITE",
    "INSERT OVERWRITE",
    "Write DELETE FROM table, then INSERT INTO it, between BEGIN and COMMIT.",
);
const INSERT_SET: &Foreign =
    &("SET", "INSERT ... SET", "Write INSERT INTO table (columns) VALUES (...).");
const ON_DUPLICATE: &Foreign = &(
    "ON DUPLICATE",
    "ON DUPLICATE KEY",
    "Write ON CONFLICT (key) DO UPDATE SET column = excluded.column.",
);
const OUTPUT: &Foreign = &("OUTPUT", "OUTPUT", "Write RETURNING columns at the end.");
const REPLACE: &Foreign = &(
    "REPLACE",
    "REPLACE INTO",
    "Write INSERT INTO table VALUES (...) ON CONFLICT (key) DO UPDATE SET column = excluded.column.",
);
const PRIORITY: &Foreign = &("INSERT ?", "a priority of INSERT", "Leave it out.");
const INSERT_ALIAS: &Foreign =
    &("AS", "a name for new rows", "Write excluded.column in ON CONFLICT.");
const INSERT_ALL: &Foreign = &("INSERT", "INSERT into several tables", "Write an INSERT for each.");
const UPDATE_JOIN: &Foreign = &(
    "UPDATE",
    "a join as the table to change",
    "Write UPDATE table SET column = other.column FROM other WHERE ...",
);
const UPDATE_OR: &Foreign = &("UPDATE OR", "UPDATE OR ...", "Write UPDATE.");
const DELETE_JOIN: &Foreign =
    &("DELETE", "DELETE from several tables", "Write DELETE FROM table USING other WHERE ...");
const SORTED: &Foreign = &("ORDER BY", "ORDER BY in a change of rows", SOME_ROWS);
const LIMITED: &Foreign = &("LIMIT", "LIMIT in a change of rows", SOME_ROWS);
const SOME_ROWS: &str =
    "Name the rows: WHERE key IN (SELECT key FROM table ORDER BY ... LIMIT ...).";
