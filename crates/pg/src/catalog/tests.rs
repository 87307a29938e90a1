//! What psql 15 and drivers ask, over a source `t`, a view `v` and a materialized view `m`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use bytes::BytesMut;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use millrace_types::{Report, SqlState, SqlType, timestamptz};

use super::functions::Settings;
use super::*;
use crate::encode::{Column, Format, Zone};
use crate::report_of;

#[derive(Debug)]
pub(crate) struct Three;

impl Relations for Three {
    fn relations(&self) -> Vec<Relation> {
        let columns = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("total", SqlType::Numeric(None).arrow(), true),
            Field::new("price", DataType::Decimal128(10, 2), true),
            Field::new("ts", timestamptz(), true),
            Field::new("tags", SqlType::Array(Box::new(SqlType::Text)).arrow(), true),
        ]));
        let relation = |oid, schema: &str, name: &str, kind, definition: Option<&str>| Relation {
            oid,
            schema: schema.to_owned(),
            name: name.to_owned(),
            kind,
            columns: Arc::clone(&columns),
            definition: definition.map(str::to_owned),
            owner: 10,
            acl: (name == "m").then(|| vec!["root=arwd/root".to_owned(), "ann=r/root".to_owned()]),
            index: None,
        };
        vec![
            relation(16384, PUBLIC, "t", RelationKind::Source, None),
            relation(16389, PUBLIC, "v", RelationKind::View, Some("SELECT * FROM t")),
            relation(16393, PUBLIC, "m", RelationKind::MaterializedView, Some("SELECT 1 AS id")),
            relation(12001, "millrace", "sources", RelationKind::Table, None),
        ]
    }

    fn roles(&self) -> Vec<Role> {
        let role = |oid, name: &str, superuser, login, member_of: &[(u32, bool)]| Role {
            oid,
            name: name.to_owned(),
            superuser,
            inherits: true,
            creates_roles: superuser,
            login,
            connections_max: if login && !superuser { 2 } else { -1 },
            valid_until: None,
            member_of: member_of.to_vec(),
            defaults: None,
        };
        vec![
            role(10, "root", true, true, &[]),
            role(16500, "readers", false, false, &[]),
            role(16501, "ann", false, true, &[(16500, false)]),
            role(16502, "ada", false, true, &[]),
        ]
    }

    fn schema_acl(&self) -> Vec<String> {
        vec!["root=UC/root".to_owned(), "=U/root".to_owned()]
    }

    fn allows(&self, role: u32, on: On, privilege: &str) -> Option<bool> {
        let reads = role == 16501 && on == On::Relation(16393) && privilege == "SELECT";
        Some(role == 10 || reads)
    }
}

#[derive(Debug)]
struct NoSettings;

impl Settings for NoSettings {
    fn get(&self, name: &str) -> Option<String> {
        (name == "application_name").then(|| "test".to_owned())
    }

    fn set(&self, name: &str, _: &str) -> Result<(), Report> {
        Err(Report::new(SqlState::UNDEFINED_OBJECT, format!("no setting {name}")))
    }
}

/// A context with the catalog over the three relations.
pub(crate) async fn context() -> SessionContext {
    let catalog = Catalog::new("dev", Arc::new(Three)).await.unwrap();
    let config = SessionConfig::new().with_default_catalog_and_schema("dev", PUBLIC);
    let context = SessionContext::new_with_config(config);
    let client = Client {
        user: "ada".to_owned(),
        session_user: "ada".to_owned(),
        database: "dev".to_owned(),
        settings: Arc::new(NoSettings),
    };
    catalog.install(&context, &client).unwrap();
    context
}

/// The rows of a catalog query as text; `-` for NULL.
async fn rows(context: &SessionContext, sql: &str) -> Result<Vec<String>, Report> {
    let statement = rewrite(sql)?;
    let state = context.state();
    let statement = DfStatement::Statement(Box::new(statement));
    let plan = state.statement_to_plan(statement).await.map_err(|e| report_of(&e))?;
    let frame = context.execute_logical_plan(plan).await.map_err(|e| report_of(&e))?;
    let batches = frame.collect().await.map_err(|e| report_of(&e))?;
    let mut rows = Vec::new();
    for batch in &batches {
        let columns: Vec<Column> =
            batch.columns().iter().map(|c| Column::new(c, &Zone::Utc).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = columns.iter().map(|column| cell(column, row)).collect();
            rows.push(cells.join("|"));
        }
    }
    Ok(rows)
}

fn cell(column: &Column, row: usize) -> String {
    let mut out = BytesMut::new();
    column.put(row, Format::Text, &mut out).unwrap();
    match out[..4] {
        [0xff, 0xff, 0xff, 0xff] => "-".to_owned(),
        _ => String::from_utf8(out[4..].to_vec()).unwrap(),
    }
}

#[tokio::test]
async fn drivers_find_out_who_answers() {
    let context = context().await;
    let version = rows(&context, "select pg_catalog.version()").await.unwrap();
    assert!(version[0].starts_with("PostgreSQL 16.6 (Millrace "), "{version:?}");
    for (query, answer) in [
        ("SELECT current_setting('server_version_num')::int/100 as version", "1600"),
        ("SELECT current_setting('application_name')", "test"),
        ("SELECT current_setting('no.such', true)", "-"),
        ("select current_schema()", "public"),
        ("select current_schema", "public"),
        ("select current_user, session_user, current_database()", "ada|ada|dev"),
        ("SELECT pg_catalog.pg_size_pretty(123456789::bigint)", "118 MB"),
        ("SELECT 'm'::regclass::oid", "16393"),
        ("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'", ""),
        ("SELECT matviewname FROM pg_matviews", "m"),
    ] {
        let got = rows(&context, query).await.unwrap_or_else(|e| panic!("{query}: {e}"));
        assert_eq!(got.join("/"), answer, "{query}");
    }
    let unknown = rows(&context, "SELECT current_setting('no.such')").await.unwrap_err();
    assert_eq!(unknown.code, SqlState::UNDEFINED_OBJECT);
}

#[tokio::test]
async fn information_schema_has_postgresql_names() {
    let context = context().await;
    let columns = "SELECT column_name, data_type, udt_name, numeric_precision, numeric_scale \
                   FROM information_schema.columns WHERE table_name = 'm' ORDER BY ordinal_position";
    assert_eq!(
        rows(&context, columns).await.unwrap(),
        [
            "id|bigint|int8|64|0",
            "total|numeric|numeric|-|-",
            "price|numeric|numeric|10|2",
            "ts|timestamp with time zone|timestamptz|-|-",
            "tags|ARRAY|_text|-|-",
        ]
    );
    let tables = "SELECT table_name, table_type FROM information_schema.tables \
                  WHERE table_schema = 'public' ORDER BY 1";
    assert_eq!(rows(&context, tables).await.unwrap(), ["m|BASE TABLE", "t|BASE TABLE", "v|VIEW"]);
}

#[test]
fn only_queries_of_the_catalog_are_catalog_queries() {
    let is = |sql: &str| {
        is_catalog_query(&Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0))
    };
    for sql in [
        "SELECT relname FROM pg_class",
        "SELECT * FROM information_schema.tables",
        "SELECT 1 FROM m JOIN pg_catalog.pg_type t ON true",
        "SELECT version()",
        "SELECT current_schema",
        "SELECT 'm'::regclass",
    ] {
        assert!(is(sql), "{sql}");
    }
    for sql in [
        "SELECT 1",
        "SELECT id, current_user FROM m",
        "SELECT \"user\" FROM m",
        "SELECT count(*) FROM readings WHERE ts > now()",
        "INSERT INTO t SELECT relname FROM pg_class",
    ] {
        assert!(!is(sql), "{sql}");
    }
}

#[tokio::test]
async fn the_role_whose_rights_count_is_not_the_user_who_came_in() {
    let catalog = Catalog::new("dev", Arc::new(Three)).await.unwrap();
    let config = SessionConfig::new().with_default_catalog_and_schema("dev", PUBLIC);
    let context = SessionContext::new_with_config(config);
    let client = Client {
        user: "readers".to_owned(),
        session_user: "ann".to_owned(),
        database: "dev".to_owned(),
        settings: Arc::new(NoSettings),
    };
    catalog.install(&context, &client).unwrap();
    let query = "select current_user, session_user, 'session_user''s', current_role()";
    let found = rows(&context, query).await.unwrap();
    assert_eq!(found, ["readers|ann|session_user's|readers"]);
}

#[tokio::test]
async fn rights_are_told_by_names_and_numbers_of_roles_and_relations() {
    let context = context().await;
    for (query, answer) in [
        ("SELECT has_table_privilege('m', 'SELECT')", "f"),
        ("SELECT has_table_privilege('ann', 'm', 'select')", "t"),
        ("SELECT has_table_privilege('ann', 'public.m', 'INSERT, SELECT')", "t"),
        ("SELECT has_table_privilege(16501, 16393, 'SELECT')", "t"),
        ("SELECT has_table_privilege('root', 't', 'DELETE')", "t"),
        ("SELECT has_column_privilege('ann', 'm', 'id', 'SELECT')", "t"),
        ("SELECT pg_has_role('ann', 'readers', 'MEMBER')", "t"),
        ("SELECT pg_has_role('readers', 'USAGE')", "f"),
        ("SELECT pg_get_userbyid(16501)", "ann"),
        ("SELECT pg_get_userbyid(5)", "unknown (OID=5)"),
        ("SELECT rolname FROM pg_roles WHERE rolsuper", "root"),
        ("SELECT usename FROM pg_user ORDER BY 1", "ada/ann/root"),
        ("SELECT relname FROM pg_class WHERE has_table_privilege('ann', oid, 'SELECT')", "m"),
        ("SELECT tableowner FROM pg_tables WHERE tablename = 't'", "root"),
    ] {
        let got = rows(&context, query).await.unwrap_or_else(|e| panic!("{query}: {e}"));
        assert_eq!(got.join("/"), answer, "{query}");
    }
    let missing = rows(&context, "SELECT has_table_privilege('eve', 'm', 'SELECT')").await;
    assert_eq!(missing.unwrap_err().code, SqlState::UNDEFINED_OBJECT);
}
