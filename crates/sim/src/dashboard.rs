//! The Grafana dashboard that `docker/` provides: its queries, as Grafana expands them, answer over
//! what `docker/sensors.sql` makes.

use std::path::Path;

use tokio_postgres::SimpleQueryMessage;

use crate::server::Server;
use crate::wait::{PATIENCE, until};

fn docker(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker");
    std::fs::read_to_string(folder.join(file)).expect("docker/ is complete")
}

/// The queries of all panels.
fn queries() -> Vec<String> {
    let dashboard: serde_json::Value =
        serde_json::from_str(&docker("grafana/dashboards/sensors.json")).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("a dashboard has panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    targets.filter_map(|target| Some(target["rawSql"].as_str()?.to_owned())).collect()
}

/// `$__timeFilter(column)` as Grafana's PostgreSQL data source writes it.
fn expanded(query: &str) -> String {
    let Some((before, rest)) = query.split_once("$__timeFilter(") else { return query.to_owned() };
    let (column, after) = rest.split_once(')').expect("the macro is closed");
    let range = "BETWEEN '2020-01-01T00:00:00.5Z' AND '2100-01-01T00:00:00Z'";
    format!("{before}{column} {range}{after}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboards_queries_answer() {
    let mut server = Server::new(&["--workers", "1"]);
    server.start().await;
    let client = server.connect().await;
    client.batch_execute(&docker("sensors.sql")).await.unwrap();
    let queries = queries();
    assert!(queries.len() >= 3, "{queries:?}");
    for query in queries {
        let query = expanded(&query);
        assert!(!query.contains("$__"), "{query}");
        let rows = until(&query, PATIENCE, || async {
            let messages = client.simple_query(&query).await.unwrap();
            let rows = messages.iter().filter(|m| matches!(m, SimpleQueryMessage::Row(_))).count();
            (rows > 0).then_some(rows)
        });
        rows.await;
        // Grafana reads the types from the description of the statement.
        client.prepare(&query).await.unwrap();
    }
    drop(client);
    server.stop().await;
}
