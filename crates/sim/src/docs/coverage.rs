//! What exists is described: each kind of statement has an example, each option of a connector and each option
//! of the server a row, each table of schema `millrace` too.
//!
//! What exists is read off the sources: a new variant, option or table fails the test until its page has it.

use std::collections::BTreeSet;
use std::path::Path;

use millrace_sql::parse;

use super::pages::{blocks, cells, directory, pages};
use crate::server::Server;

fn source(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The variants of an enum, as its source has them.
fn variants(source: &str, name: &str) -> BTreeSet<String> {
    let begin = format!("pub enum {name} {{\n");
    let (_, rest) = source.split_once(&begin).expect("the enum is where it was");
    let body = rest.split("\n}").next().unwrap();
    let of_line = |line: &str| {
        let line = line.strip_prefix("    ")?;
        let end = line.find(|c: char| !c.is_alphanumeric()).unwrap_or(line.len());
        line.starts_with(char::is_uppercase).then(|| line[..end].to_owned())
    };
    body.lines().filter_map(of_line).collect()
}

/// The strings of a list, as its source has them.
fn strings(source: &str, name: &str) -> Vec<String> {
    let (_, rest) = source.split_once(&format!("{name}: ")).expect("the list is where it was");
    let (_, rest) = rest.split_once(" = ").unwrap();
    let body = rest.split("];").next().unwrap();
    body.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What a debug text begins with: the names of the variants, one in the other.
fn shape(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_alphanumeric()).take(2).collect()
}

#[test]
fn each_kind_of_statement_has_an_example() {
    let (ast, access) = (source("sql/src/ast.rs"), source("sql/src/ast/access.rs"));
    let nested = [("Show", &ast), ("Session", &ast), ("Access", &access)];
    let mut wanted = BTreeSet::new();
    for name in variants(&ast, "Statement") {
        match nested.iter().find(|(nested, _)| *nested == name) {
            Some((_, source)) => {
                wanted.extend(variants(source, &name).into_iter().map(|v| format!("{name} {v}")));
            }
            None => drop(wanted.insert(name)),
        }
    }
    for page in pages() {
        let text = std::fs::read_to_string(page).unwrap();
        for block in blocks(&text).iter().filter(|block| block.kind.starts_with("sql")) {
            for statement in block.text.split(";\n").filter_map(|text| parse(text).ok()).flatten() {
                let text = format!("{statement:?}");
                let shape = shape(&text);
                wanted.remove(shape[0]);
                wanted.remove(&shape.join(" "));
            }
        }
    }
    assert!(wanted.is_empty(), "statements without an example: {wanted:#?}");
}

/// Names in the first column of the tables of a page.
fn named(page: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(directory().join(page)).unwrap();
    let first = text.lines().filter_map(|line| cells(line).into_iter().next());
    let names = first
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
    names.collect()
}

fn assert_named(page: &str, wanted: impl IntoIterator<Item = String>) {
    let named = named(page);
    let missing: Vec<String> = wanted.into_iter().filter(|name| !named.contains(name)).collect();
    assert!(missing.is_empty(), "{page} has no row for {missing:?}");
}

#[test]
fn each_option_of_a_connector_has_a_row() {
    for file in ["kafka/settings.rs", "datagen/mod.rs", "nexmark/mod.rs"] {
        assert_named(
            "connectors.md",
            strings(&source(&format!("connectors/src/{file}")), "OPTIONS"),
        );
    }
    assert_named("connectors.md", strings(&source("connectors/src/kafka/sink.rs"), "SINK_OPTIONS"));
    let own = ["source_idle_timeout", "max_future", "on_error", "late_rows", "schema.infer"];
    assert_named("connectors.md", own.map(str::to_owned));
}

#[test]
fn each_option_of_the_programs_has_a_row() {
    let options = |text: &str| -> Vec<String> {
        let longs =
            text.lines().filter(|line| line.starts_with("      --") || line.starts_with("  -"));
        let name = |line: &str| {
            line.split_whitespace().find(|word| word.starts_with("--")).map(str::to_owned)
        };
        let names = longs.filter_map(name).map(|name| name.trim_end_matches(',').to_owned());
        names.filter(|name| !matches!(name.as_str(), "--help" | "--version")).collect()
    };
    for (command, page) in [("serve", "operations/options.md"), ("sql", "clients/millrace-sql.md")]
    {
        let program = crate::server::program("millrace");
        let help = std::process::Command::new(program).args([command, "--help"]).output().unwrap();
        let found = options(&String::from_utf8(help.stdout).unwrap());
        assert!(found.len() > 8, "the options of {command} are where they were");
        assert_named(page, found);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_table_of_the_server_and_each_setting_has_a_row() {
    let mut server = Server::new(&["--workers", "1"]);
    server.start().await;
    let client = server.connect().await;
    let texts = async |query: &str| -> Vec<String> {
        let rows = client.simple_query(query).await.unwrap();
        let text = |message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap().to_owned()),
            _ => None,
        };
        rows.into_iter().filter_map(text).collect()
    };
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'millrace'";
    let found = texts(tables).await;
    assert!(found.contains(&"views".to_owned()), "{found:?}");
    assert_named("operations/monitoring.md", found);
    assert_named("sql/settings.md", texts("SHOW ALL").await);
    drop(client);
    server.stop().await;
}
