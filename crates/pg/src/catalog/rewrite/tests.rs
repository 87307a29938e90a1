//! Constructs of the catalog's queries and what stands for them.

use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::*;

fn rewritten(sql: &str) -> String {
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
    let Statement::Query(mut query) = statements.remove(0) else { panic!("{sql}") };
    rewrite(&mut query, &|name| name == "pg_publication");
    query.to_string()
}

#[test]
fn queries_on_users_relations_stay_as_they_are() {
    for sql in [
        "SELECT id, current_user FROM m WHERE xmin > 1",
        "SELECT (SELECT max(x) FROM t WHERE t.a = m.a AND m.b) FROM m",
        "SELECT CASE WHEN kind = 'd' THEN (SELECT 1 FROM t) END FROM m",
        "SELECT a FROM t WHERE b LIKE 'x\\_%'",
    ] {
        assert_eq!(rewritten(sql), sql);
    }
}

#[test]
fn casts_to_types_of_named_numbers_become_calls() {
    for (sql, wanted) in [
        ("SELECT 't'::regclass::oid", "SELECT regclassin('t')::oid AS \"oid\""),
        (
            "SELECT c.oid::pg_catalog.regtype::text FROM c",
            "SELECT regtypeout(regtypein(c.oid)) AS \"oid\" FROM c",
        ),
        (
            "SELECT c.oid::regclass FROM c",
            "SELECT regclassout(regclassin(c.oid)) AS \"oid\" FROM c",
        ),
        ("SELECT 1 FROM c WHERE x = 't'::regclass", "SELECT 1 FROM c WHERE x = regclassin('t')"),
        ("SELECT x::pg_catalog.int2[] FROM c", "SELECT x::int2[] FROM c"),
    ] {
        assert_eq!(rewritten(sql).to_lowercase(), wanted.to_lowercase());
    }
}

#[test]
fn conditions_on_outer_rows_leave_the_subquery() {
    let sql = "SELECT (SELECT d.adbin FROM pg_attrdef d \
               WHERE d.adrelid = a.attrelid AND a.atthasdef AND a.attrelid <> d.adnum) \
               FROM pg_attribute a";
    let wanted = "SELECT CASE WHEN a.atthasdef THEN (SELECT d.adbin FROM pg_attrdef AS d \
                  WHERE d.adrelid = a.attrelid AND d.adrelid <> d.adnum) END \
                  FROM pg_attribute AS a";
    assert_eq!(rewritten(sql).replace(" AS ", " "), wanted.replace(" AS ", " "));
}

#[test]
fn columns_lose_the_schema_of_their_table_and_vectors_are_spaced() {
    for (sql, wanted) in [
        (
            "SELECT pg_catalog.pg_class.oid FROM pg_catalog.pg_class",
            "SELECT pg_class.oid FROM pg_catalog.pg_class",
        ),
        (
            "SELECT ix.indkey::varchar FROM pg_index ix",
            "SELECT array_to_string(ix.indkey, ' ') AS \"indkey\" FROM pg_index ix",
        ),
        (
            "SELECT (SELECT json_build_object('a', s.seqmin) FROM pg_sequence s \
             WHERE s.seqrelid = f(a.attrelid)) FROM pg_attribute a",
            "SELECT NULL::JSONB FROM pg_attribute a",
        ),
        (
            "SELECT (SELECT count(*) FROM pg_enum) FROM pg_class",
            "SELECT (SELECT count(*) FROM pg_enum) FROM pg_class",
        ),
    ] {
        assert_eq!(rewritten(sql).replace(" AS ", " "), wanted.replace(" AS ", " "));
    }
}

#[test]
fn what_has_no_rows_is_asked_no_subqueries() {
    let sql = "SELECT pol.polname, array_to_string(array(SELECT 1), ',') FROM pg_policy pol \
               WHERE EXISTS (SELECT 1 FROM x)";
    assert!(!rewritten(sql).contains("(SELECT"), "{}", rewritten(sql));
    let sql = "SELECT (SELECT 1 FROM t WHERE t.a = x.a) FROM x LEFT JOIN pg_policy ON true";
    assert_eq!(rewritten(sql), sql);
    for own in ["pg_publication AS p", "p"] {
        let with = if own == "p" { "WITH p AS (SELECT 1) " } else { "" };
        let sql = format!("{with}SELECT (SELECT 1 FROM t WHERE t.a = x.a) FROM pg_class, {own}");
        assert_eq!(rewritten(&sql), sql);
    }
    let counted = "SELECT count(*), (SELECT max(a) FROM t) FROM pg_policy";
    assert_eq!(rewritten(counted), counted);
}
