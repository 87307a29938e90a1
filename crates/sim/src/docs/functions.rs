//! `sql/functions.md`: a row for every function that the binder knows, whose example gives what the row says.
//!
//! Rows are `| name | example | result | what it does |`; without an example where each call gives another. `REWRITE=1` writes the results, and adds rows for
//! functions that have none, to be moved to their place. Examples of aggregates and window functions are
//! over the rows that the page shows; several results are joined by commas.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use millrace_sql::{Settings, session_state};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::pages::{cells, directory};
use crate::oracle::scalar::{OF_LIBRARY, OF_OPERATORS};
use crate::server::Server;

/// Written by nobody who has not read DataFusion's own pages.
const WITHOUT: [&str; 7] = [
    "arrow_cast",
    "arrow_try_cast",
    "arrow_typeof",
    "map",
    "map_extract",
    "map_keys",
    "map_values",
];

fn page() -> PathBuf {
    directory().join("sql/functions.md")
}

/// What the binder knows, with what its library says of it.
fn known() -> BTreeMap<String, String> {
    let state = session_state(&Settings::default());
    let mut all = BTreeMap::new();
    let first = |text: &str| text.split(['.', '\n']).next().unwrap_or_default().to_owned();
    for function in state.scalar_functions().values() {
        let what = function.documentation().map(|d| first(&d.description)).unwrap_or_default();
        all.insert(function.name().to_owned(), what);
    }
    for function in state.aggregate_functions().values() {
        let what = function.documentation().map(|d| first(&d.description)).unwrap_or_default();
        all.insert(function.name().to_owned(), what);
    }
    for function in state.window_functions().values() {
        let what = function.documentation().map(|d| first(&d.description)).unwrap_or_default();
        all.insert(function.name().to_owned(), what);
    }
    // Parts of what the planner makes have names that no one writes.
    let without = [&OF_OPERATORS[..], &OF_LIBRARY, &WITHOUT].concat();
    all.retain(|name, _| !name.starts_with("millrace_") && !without.contains(&name.as_str()));
    all
}

/// The names in the first cell of a row.
fn names(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A row's example, without its quotes.
fn example(cells: &[String]) -> Option<&str> {
    match cells {
        [name, example, _, _] if name.starts_with('`') && !example.is_empty() => {
            Some(example.trim_matches('`'))
        }
        _ => None,
    }
}

async fn result(client: &Client, example: &str) -> String {
    let of_rows = ["(x", "DISTINCT x", "(*)", "OVER", "BY x", "(y"];
    let of_rows = of_rows.iter().any(|part| example.contains(part));
    let query = match (example.starts_with("SELECT"), of_rows) {
        (true, _) => example.to_owned(),
        (false, true) => format!(
            "SELECT {example} FROM (VALUES (1, 10), (2, 20), (2, 30), (4, NULL)) AS t (x, y)"
        ),
        (false, false) => format!("SELECT {example}"),
    };
    match client.simple_query(&query).await {
        Err(error) => format!(
            "ERROR: {}",
            error.as_db_error().map_or_else(|| error.to_string(), |e| e.message().to_owned())
        ),
        Ok(messages) => {
            let cell = |message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some(row.get(0).map_or("NULL".to_owned(), str::to_owned))
                }
                _ => None,
            };
            messages.into_iter().filter_map(cell).collect::<Vec<_>>().join(", ")
        }
    }
}

#[test]
fn every_function_has_a_row() {
    let text = std::fs::read_to_string(page()).unwrap();
    let rows = text.lines().map(cells).filter(|cells| cells.len() == 4);
    let described: BTreeSet<String> = rows.flat_map(|cells| names(&cells[0])).collect();
    let missing: Vec<(String, String)> =
        known().into_iter().filter(|(name, _)| !described.contains(name)).collect();
    if std::env::var_os("REWRITE").is_some() {
        let rows: String = missing
            .iter()
            .map(|(name, what)| format!("| `{name}` | `{name}()` |  | {what} |\n"))
            .collect();
        std::fs::write(page(), text + &rows).unwrap();
        return;
    }
    assert!(missing.is_empty(), "functions without a row in sql/functions.md: {missing:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_of_functions_give_what_their_rows_say() {
    let mut server = Server::new(&["--workers", "1"]);
    server.start().await;
    let client = server.connect().await;
    let text = std::fs::read_to_string(page()).unwrap();
    let (mut wrong, mut written) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let cells = cells(line);
        let Some(example) = example(&cells) else {
            written.push(line.to_owned());
            continue;
        };
        let given = result(&client, example).await;
        let told = cells[2].trim_matches('`');
        if told != given {
            wrong.push(format!("{example} gives {given}, not {told}"));
        }
        let bar = |text: &str| text.replace('|', "\\|");
        written.push(format!(
            "| {} | `{}` | `{}` | {} |",
            cells[0],
            bar(example),
            bar(&given),
            bar(&cells[3])
        ));
    }
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(page(), written.join("\n") + "\n").unwrap();
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
    drop(client);
    server.stop().await;
}
