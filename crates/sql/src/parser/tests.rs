//! Statements and what they are read as, and the mistakes that are refused.

use millrace_types::{Report, SqlState};

use super::{parse, split, view_query};
use crate::ast::{ObjectKind, Session, Show, Statement};
use crate::catalog::IncludeKind;

const SOURCE: &str = "CREATE SOURCE IF NOT EXISTS readings (
    id BIGINT NOT NULL, time DOUBLE PRECISION, value BIGINT,
    ts TIMESTAMPTZ AS to_timestamp(time),
    WATERMARK FOR ts AS ts - INTERVAL '1 second'
) INCLUDE partition AS p, offset, timestamp AS kafka_ts
WITH (connector = 'kafka', properties.bootstrap.server = '127.0.0.1:9092', rows = -5)
FORMAT PLAIN ENCODE JSON (timestamp.handling.mode = 'milli')";

fn statement(text: &str) -> Statement {
    let mut statements = parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    assert_eq!(statements.len(), 1, "{text}");
    statements.remove(0)
}

fn failure(text: &str) -> Report {
    parse(text).expect_err(text)
}

#[test]
fn a_string_is_cut_at_semicolons_outside_quotes_and_comments() {
    let text = "SELECT ';', \"a;b\", $$;$$ /* ; /* ; */ */ -- ;\n ; ;; é FROM x; ";
    let found = split(text).unwrap();
    let cut: Vec<(&str, usize)> = found.iter().map(|(t, at)| (t.as_str(), *at)).collect();
    assert_eq!(
        cut,
        [
            ("SELECT ';', \"a;b\", $$;$$", 0),
            ("é FROM x", text.chars().position(|c| c == 'é').unwrap())
        ]
    );
    for nothing in ["", "  ", ";", "-- ping", "/* x */ ; ; -- y\n"] {
        assert_eq!(split(nothing).unwrap(), [], "{nothing:?}");
    }
}

#[test]
fn what_is_not_closed_is_named_where_it_begins() {
    let cases = [
        ("select 'abc", "unterminated quoted string at or near \"'abc\"", 8),
        ("select \"abc", "unterminated quoted identifier at or near \"\"abc\"", 8),
        ("select 1 /* abc", "unterminated /* comment at or near \"/* abc\"", 10),
        ("select $a$ abc", "unterminated dollar-quoted string at or near \"$a$ abc\"", 8),
    ];
    for (text, message, position) in cases {
        let report = split(text).expect_err(text);
        assert_eq!((report.message.as_str(), report.position), (message, Some(position)));
        assert_eq!(report.code, SqlState::SYNTAX_ERROR);
    }
}

#[test]
fn create_source_is_read_whole() {
    let Statement::CreateSource(source) = statement(SOURCE) else { panic!("another statement") };
    assert!(source.if_not_exists);
    assert_eq!(source.text, SOURCE);
    let names: Vec<&str> = source.columns.iter().map(|c| c.name.name.as_str()).collect();
    assert_eq!(names, ["id", "time", "value", "ts"]);
    assert!(source.columns[0].not_null);
    assert_eq!(source.columns[3].computed.as_ref().unwrap().text, "to_timestamp(time)");
    assert_eq!(source.watermark.as_ref().unwrap().expr.text, "ts - INTERVAL '1 second'");
    let include: Vec<_> = source.include.iter().map(|i| (i.kind, i.name.name.as_str())).collect();
    let wanted = [
        (IncludeKind::Partition, "p"),
        (IncludeKind::Offset, "offset"),
        (IncludeKind::Timestamp, "kafka_ts"),
    ];
    assert_eq!(include, wanted);
    let options: Vec<_> =
        source.options.iter().map(|o| (o.name.name.as_str(), o.value.as_str())).collect();
    assert_eq!(options[1], ("properties.bootstrap.server", "127.0.0.1:9092"));
    assert_eq!(options[2], ("rows", "-5"));
    let format = source.format.unwrap();
    assert_eq!((format.format.as_str(), format.encode.as_str()), ("PLAIN", "JSON"));
    assert_eq!(format.options[0].name.name, "timestamp.handling.mode");
}

#[test]
fn clauses_after_a_query_do_not_become_part_of_it() {
    for (tail, emit, options) in [
        ("", false, 0),
        (" WITH (allowed_lateness = '1 hour')", false, 1),
        (" EMIT ON WINDOW CLOSE", true, 0),
        (" EMIT ON WINDOW CLOSE WITH (a = 1, b = 2)", true, 2),
        (" WITH (a = 1) EMIT ON WINDOW CLOSE", true, 1),
        (" WITH DATA", false, 0),
    ] {
        let text = format!(
            "CREATE MATERIALIZED VIEW public.V (a, b) AS WITH x AS (SELECT 1) SELECT * FROM x, t{tail}"
        );
        let Statement::CreateMaterializedView(view) = statement(&text) else { panic!("{text}") };
        assert_eq!((view.emit_on_window_close, view.options.len()), (emit, options), "{text}");
        assert_eq!(view.name.name, "v");
        assert_eq!(view.query.to_string(), "WITH x AS (SELECT 1) SELECT * FROM x, t");
        assert_eq!(view.columns.len(), 2);
    }
}

#[test]
fn a_view_keeps_the_text_of_its_query() {
    let Statement::CreateView(view) = statement("create view v as  SELECT 'x'  FROM t ") else {
        panic!("another statement")
    };
    assert_eq!(view.query_text, "SELECT 'x'  FROM t");
}

#[test]
fn the_query_of_a_materialized_view_is_cut_out_of_its_statement() {
    for query in [
        "SELECT 1",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "VALUES (1), (2)",
        "(SELECT 1) UNION ALL SELECT 2",
        "SELECT /* as */ max(t) FROM r EMIT ON WINDOW CLOSE",
    ] {
        for begin in [
            "CREATE MATERIALIZED VIEW selected (a)",
            "create materialized view if not exists \"select as\" WITH (x = 'as select')",
            "CREATE MATERIALIZED VIEW /* select */ v -- as select\n",
        ] {
            assert_eq!(view_query(&format!("{begin} AS\n {query} ;")).unwrap(), query);
        }
    }
}

#[test]
fn drop_and_show_are_read() {
    let Statement::Drop(drop) =
        statement("DROP MATERIALIZED VIEW IF EXISTS a, dev.public.b CASCADE")
    else {
        panic!("another statement")
    };
    assert_eq!((drop.kind, drop.names.len()), (ObjectKind::MaterializedView, 2));
    assert!(drop.if_exists && drop.cascade);
    for (text, wanted) in [
        ("SHOW MATERIALIZED VIEWS", Show::MaterializedViews),
        ("show all", Show::All),
        ("SHOW TRANSACTION ISOLATION LEVEL", Show::Parameter("transaction_isolation".into())),
        ("SHOW TimeZone", Show::Parameter("timezone".into())),
        ("SHOW standard_conforming_strings", Show::Parameter("standard_conforming_strings".into())),
    ] {
        assert_eq!(statement(text), Statement::Show(wanted), "{text}");
    }
    let Statement::Show(Show::Create(kind, name)) = statement("SHOW CREATE SOURCE \"R\"") else {
        panic!("another statement")
    };
    assert_eq!((kind, name.name.as_str()), (ObjectKind::Source, "R"));
}

#[test]
fn what_clients_send_at_will_is_accepted() {
    for (text, tag) in [
        ("BEGIN ISOLATION LEVEL READ COMMITTED, READ ONLY NOT DEFERRABLE", "BEGIN"),
        ("START TRANSACTION READ WRITE", "START TRANSACTION"),
        ("END", "COMMIT"),
        ("ABORT WORK", "ROLLBACK"),
        ("SAVEPOINT a", "SAVEPOINT"),
        ("RELEASE SAVEPOINT a", "RELEASE"),
        ("ROLLBACK TO SAVEPOINT a", "ROLLBACK"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ UNCOMMITTED", "SET"),
        ("SET TIME ZONE 'UTC'", "SET"),
        ("SET search_path = \"$user\", public", "SET"),
        ("SET extra_float_digits TO 3", "SET"),
        ("RESET ALL", "RESET"),
        ("DISCARD ALL", "DISCARD ALL"),
        ("DEALLOCATE ALL", "DEALLOCATE ALL"),
        ("CLOSE ALL", "CLOSE CURSOR ALL"),
        ("UNLISTEN *", "UNLISTEN"),
        ("COMMENT ON VIEW x IS 'y'", "COMMENT"),
        ("VACUUM ANALYZE", "VACUUM"),
        ("SET LOCAL x TO DEFAULT", "SET"),
        ("SET ROLE NONE", "SET"),
    ] {
        assert_eq!(statement(text).tag(), tag, "{text}");
    }
    let wanted = Session::Set {
        name: "search_path".into(),
        values: vec!["$user".into(), "public".into()],
        local: false,
    };
    assert_eq!(statement("SET search_path = \"$user\", public"), Statement::Session(wanted));
}

#[test]
fn explain_takes_queries_and_materialized_views() {
    let Statement::Explain(explain) = statement("EXPLAIN (ANALYZE, VERBOSE off) SELECT 1") else {
        panic!("another statement")
    };
    assert!(explain.analyze && !explain.verbose);
    let text = "EXPLAIN CREATE MATERIALIZED VIEW v AS SELECT 1";
    assert!(matches!(statement(text), Statement::Explain(_)));
    assert_eq!(failure("EXPLAIN DROP VIEW x").code, SqlState::SYNTAX_ERROR);
}

#[test]
fn syntax_errors_are_those_of_postgresql() {
    for (text, message, position) in [
        ("SELEC 1", "syntax error at or near \"SELEC\"", 1),
        ("select é frm t where", "syntax error at or near \"t\"", 14),
        ("select * from", "syntax error at end of input", 14),
        ("select * from ; select 1", "syntax error at or near \";\"", 15),
        ("select (1", "syntax error at end of input", 10),
        ("select 1 2", "syntax error at or near \"2\"", 10),
        ("drop view", "syntax error at end of input", 10),
        ("create source s (a int,, b int)", "syntax error at or near \",\"", 24),
        ("create materialized view v as\nselect 1 fro m t", "syntax error at or near \"m\"", 44),
        ("show create source", "syntax error at end of input", 19),
        ("create", "syntax error at end of input", 7),
    ] {
        let report = failure(text);
        assert_eq!(report.code, SqlState::SYNTAX_ERROR, "{text}");
        assert_eq!((report.message.as_str(), report.position), (message, Some(position)), "{text}");
    }
}

#[test]
fn what_is_known_and_not_there_says_so() {
    for (text, what) in [
        ("MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", "MERGE"),
        ("CREATE TABLE t AS EXECUTE e", "CREATE TABLE AS EXECUTE"),
        ("CREATE SINK s AS SELECT 1", "CREATE SINK ... AS"),
        ("SUBSCRIBE TO (SELECT 1)", "SUBSCRIBE to a query"),
        ("DECLARE c SCROLL CURSOR FOR SELECT 1", "a cursor with SCROLL"),
        ("CREATE OR REPLACE TEMP VIEW v AS SELECT 1", "CREATE OR REPLACE"),
        ("COPY t TO '/tmp/t'", "COPY to a file or a program"),
        ("COPY (DELETE FROM t RETURNING a) TO STDOUT", "COPY of a statement that changes rows"),
        ("ALTER SYSTEM SET a = 1", "ALTER SYSTEM"),
        ("CREATE USER u REPLICATION", "the attribute REPLICATION of a role"),
        ("GRANT SELECT ON t TO u WITH GRANT OPTION", "WITH GRANT OPTION"),
        ("GRANT SELECT (a) ON t TO u", "rights on columns"),
        ("ALTER USER u SET work_mem = 1", "settings of a role"),
        ("CREATE SOURCE s WITH (a = secret b AS FILE)", "a secret as a file"),
        ("CREATE UNIQUE INDEX i ON v (a) NULLS NOT DISTINCT", "NULLS NOT DISTINCT"),
        ("ALTER TABLE t ADD PRIMARY KEY (a)", "ADD PRIMARY KEY"),
        ("CREATE SOURCE s (a int PRIMARY KEY)", "PRIMARY KEY on a column of a source"),
    ] {
        let report = failure(text);
        assert_eq!(report.code, SqlState::FEATURE_NOT_SUPPORTED, "{text}");
        assert_eq!(report.message, format!("{what} is not supported yet"));
        assert!(report.hint.is_some() && report.position.is_some(), "{text}");
    }
}

#[test]
fn a_query_string_has_an_end() {
    let report = failure(&format!("SELECT '{}'", "x".repeat(17 << 20)));
    assert_eq!(report.code, SqlState::PROGRAM_LIMIT_EXCEEDED);
    assert!(report.hint.is_some());
}

#[test]
fn passwords_are_in_no_debug_output_of_a_statement() {
    for text in [
        "CREATE USER u WITH SUPERUSER NOCREATEROLE PASSWORD 'hunter2' VALID UNTIL 'infinity'",
        "ALTER ROLE u ENCRYPTED PASSWORD 'hunter2'",
        "CREATE SECRET IF NOT EXISTS s AS 'hunter2'",
    ] {
        let shown = format!("{:?}", parse(text).unwrap());
        assert!(shown.contains("********") && !shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn grants_of_roles_and_of_privileges_are_told_apart() {
    let tag = |text: &str| parse(text).unwrap()[0].tag();
    for (text, wanted) in [
        ("GRANT a, b TO c, CURRENT_USER WITH ADMIN OPTION", "GRANT ROLE"),
        ("REVOKE ADMIN OPTION FOR a FROM c CASCADE", "REVOKE ROLE"),
        ("GRANT ALL ON t TO PUBLIC", "GRANT"),
        ("GRANT SELECT, INSERT ON TABLE t, public.u TO GROUP a", "GRANT"),
        ("GRANT SELECT ON ALL MATERIALIZED VIEWS IN SCHEMA public TO a", "GRANT"),
        ("GRANT \"select\" TO a", "GRANT ROLE"),
        ("REVOKE ALL PRIVILEGES ON SCHEMA public FROM a RESTRICT", "REVOKE"),
        (
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO a",
            "ALTER DEFAULT PRIVILEGES",
        ),
        ("ALTER MATERIALIZED VIEW IF EXISTS v OWNER TO CURRENT_ROLE", "ALTER MATERIALIZED VIEW"),
        ("REASSIGN OWNED BY a, b TO c", "REASSIGN OWNED"),
        ("DROP GROUP IF EXISTS a, b", "DROP ROLE"),
    ] {
        assert_eq!(tag(text), wanted, "{text}");
    }
}

#[test]
fn names_outside_the_schema_are_refused() {
    assert_eq!(failure("DROP VIEW other.v").code, SqlState::INVALID_SCHEMA_NAME);
    assert_eq!(failure("DROP VIEW x.public.v").code, SqlState::FEATURE_NOT_SUPPORTED);
}

/// A parser that tries things twice at each level would not come back from this.
#[test]
fn nested_forms_take_no_exponential_time() {
    for (open, inner, close) in [
        ("abs(", "1", ")"),
        ("(", "1", ")"),
        ("NOT (", "true", ")"),
        ("coalesce(NULL, ", "1", ")"),
        ("CASE WHEN true THEN ", "1", " END"),
        ("ARRAY[", "1", "]"),
        ("CAST(", "1", " AS int)"),
        ("1 IN (", "1", ")"),
        ("(SELECT ", "1", ")"),
        ("EXISTS (SELECT ", "1", ")"),
        ("- ", "1", ""),
        ("extract(day from ", "x", ")"),
        ("substring(", "x", " from 1)"),
        ("trim(", "x", ")"),
        ("position('a' in ", "x", ")"),
        ("sum(x) FILTER (WHERE ", "x", ")"),
        ("sum(x) OVER (ORDER BY ", "x", ")"),
        ("(1, ", "2", ")"),
    ] {
        let text = format!("SELECT {}{inner}{}", open.repeat(30), close.repeat(30));
        assert_eq!(parse(&text).map(|found| found.len()), Ok(1), "{text}");
    }
    for (open, close) in [("(SELECT * FROM ", ") AS q"), ("(", " JOIN u ON true)")] {
        let text = format!("SELECT * FROM {}t{}", open.repeat(30), close.repeat(30));
        assert!(parse(&text).is_ok(), "{text}");
    }
}

/// What is wrong is read again as something else, at each level.
#[test]
fn mistakes_in_nested_forms_take_no_exponential_time() {
    for open in [
        "CAST(",
        "CASE WHEN ",
        "NOT (",
        "extract(",
        "position(",
        "overlay(",
        "ceil(",
        "convert(",
        "ARRAY[",
    ] {
        for (inner, levels) in [("1", 300), ("1 +)", 60), ("FROM", 40)] {
            let text = format!("SELECT {}{inner}", open.repeat(levels));
            let code = failure(&text).code;
            let known = [SqlState::SYNTAX_ERROR, SqlState::STATEMENT_TOO_COMPLEX];
            assert!(known.contains(&code), "{text}: {code:?}");
        }
    }
    // Where they are few the error still says where it is.
    let text = format!("SELECT {}1 +{}", "extract(day from ".repeat(8), ")".repeat(8));
    let report = failure(&text);
    assert_eq!(
        (report.code, report.position),
        (SqlState::SYNTAX_ERROR, text.find(')').map(|at| at + 1))
    );
}

#[test]
fn deep_nesting_is_an_error_not_a_crash() {
    let text = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert_eq!(failure(&text).code, SqlState::STATEMENT_TOO_COMPLEX);
}

#[test]
fn long_chains_are_an_error_and_long_lists_are_not() {
    let refused = |text: String| failure(&text).code == SqlState::STATEMENT_TOO_COMPLEX;
    assert!(refused(format!("SELECT 1{}", " + 1".repeat(1_000))));
    assert!(refused(format!("SELECT * FROM t WHERE x = 1{}", " OR x = 2".repeat(5_000))));
    assert!(refused(format!("SELECT 1{}", "::int".repeat(5_000))));
    assert!(refused(format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(2_000))));
    // What is planned with its argument twice doubles with each level.
    for (open, close) in
        [("coalesce(", ", 2)"), ("(", " BETWEEN 1 AND 2)::int"), ("abs(nvl(", ", 1))")]
    {
        let nested = |levels| format!("SELECT {}x{}", open.repeat(levels), close.repeat(levels));
        assert!(refused(nested(18)), "{open}");
        assert!(parse(&nested(14)).is_ok(), "{open}");
    }
    for text in [
        format!("SELECT x BETWEEN 1 AND 2{}", " AND (x BETWEEN 1 AND (2))".repeat(100)),
        format!("SELECT coalesce(x, 1){}", ", coalesce((x), 1)".repeat(100)),
        format!("SELECT 1{}", " + 1".repeat(200)),
        format!("SELECT * FROM t WHERE x = 1{}", " OR x = 2".repeat(900)),
        format!("SELECT * FROM t WHERE x IN (1{})", ", 2".repeat(20_000)),
        format!("INSERT INTO t VALUES (1, -1){}", ", (a + 2, -2)".repeat(20_000)),
        format!("SELECT CASE {} END", "WHEN x = 1 AND y > 2 THEN z + 1 ".repeat(2_000)),
        "SELECT x + 1 AS y FROM t;".repeat(2_000),
    ] {
        assert!(parse(&text).is_ok(), "{}", &text[..40]);
    }
}
