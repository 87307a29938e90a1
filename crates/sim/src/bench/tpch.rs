//! TPC-H inside the server: each query as a view over loaded tables, alone; then all of them at once
//! while orders come and go.

use millrace_sim::server::rows;
use millrace_sim::tpch::{self, Data, QUERIES, Refresh};
use millrace_sim::wait;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tokio_postgres::Client;

use crate::process::{Server, data_dir};
use crate::report::{Report, say};
use crate::topic::seconds_since;
use crate::{Failure, Setting};

/// Transactions of each kind that the refreshes are cut into.
const PARTS: u32 = 10;

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Tpch {
    /// Queries, all without any: q1 q3 ...
    queries: Vec<String>,
    /// 1 is 6 M lines of 1.5 M orders
    #[arg(long, default_value_t = 0.1)]
    scale: f64,
    /// Another one gives other rows
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

/// All in one server with 2 workers.
pub(crate) async fn measure(setting: &Setting, options: &Tpch) -> Result<Report, Failure> {
    let asked =
        |name: &str| options.queries.is_empty() || options.queries.iter().any(|q| q == name);
    let queries: Vec<(&str, String)> = QUERIES
        .iter()
        .filter(|(name, _)| asked(name))
        .map(|(name, text)| (*name, tpch::query(text, options.scale)))
        .collect();
    let (directory, data) = (data_dir()?, Data::new(options.scale, options.seed));
    let mut serve = vec!["--workers".to_owned(), "2".to_owned()];
    serve.extend(setting.serve.iter().cloned());
    let setting = Setting { serve, ..setting.clone() };
    let server = Server::start(&setting, directory.path()).await?;
    let client = server.connect().await?;
    let mut report = Report::default();
    load(&server, &client, &data, &mut report).await?;
    for (name, query) in &queries {
        say(name);
        alone(&server, &client, (name, query), &mut report).await?;
    }
    together(&server, &client, &data, &queries, &mut report).await?;
    server.stop().await?;
    Ok(report)
}

async fn load(
    server: &Server,
    client: &Client,
    data: &Data,
    report: &mut Report,
) -> Result<(), Failure> {
    let begin = wait::now_micros();
    tpch::create(client).await?;
    tpch::load(client, data).await?;
    report.add("load: time", seconds_since(begin), "s");
    report.add("load: CPU", server.cpu_seconds()?, "s");
    report.add("load: peak memory", server.peak_bytes()? / 1e6, "MB");
    Ok(())
}

/// One view over the loaded tables, from CREATE to its return.
async fn alone(
    server: &Server,
    client: &Client,
    (name, query): (&str, &str),
    report: &mut Report,
) -> Result<(), Failure> {
    server.forget_peak()?;
    let (cpu, begin) = (server.cpu_seconds()?, wait::now_micros());
    client.batch_execute(&format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await?;
    report.add(&format!("{name}: time"), seconds_since(begin), "s");
    report.add(&format!("{name}: CPU"), server.cpu_seconds()? - cpu, "s");
    report.add(&format!("{name}: peak memory of the server"), server.peak_bytes()? / 1e6, "MB");
    let state = of_operators(client, name, "state_bytes").await?;
    report.add(&format!("{name}: state"), state / 1e6, "MB");
    let count = rows(client, &format!("SELECT count(*) FROM {name}")).await?;
    report.add(&format!("{name}: rows"), number(&count)?, "");
    client.batch_execute(&format!("DROP MATERIALIZED VIEW {name}")).await?;
    Ok(())
}

/// All views at once, while a thousandth of the orders comes and a thousandth goes; then each is
/// compared with its query.
async fn together(
    server: &Server,
    client: &Client,
    data: &Data,
    queries: &[(&str, String)],
    report: &mut Report,
) -> Result<(), Failure> {
    say("all at once");
    server.forget_peak()?;
    let begin = wait::now_micros();
    for (name, query) in queries {
        client.batch_execute(&format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await?;
    }
    report.add("all: time to make them", seconds_since(begin), "s");
    let mut before = Vec::new();
    for (name, _) in queries {
        before.push(of_operators(client, name, "busy_us").await?);
    }
    let refreshes = (0..PARTS).flat_map(|part| [Refresh::Insert(part), Refresh::Delete(part)]);
    let mut refreshes: Vec<Refresh> = refreshes.collect();
    refreshes.shuffle(&mut StdRng::seed_from_u64(7));
    let (cpu, begin) = (server.cpu_seconds()?, wait::now_micros());
    for refresh in &refreshes {
        tpch::refresh(client, data, *refresh, PARTS).await?;
    }
    report.add("all: time of a refresh", seconds_since(begin) / refreshes.len() as f64, "s");
    report.add("all: CPU of the refreshes", server.cpu_seconds()? - cpu, "s");
    for ((name, query), before) in queries.iter().zip(before) {
        if content(client, &format!("SELECT * FROM {name}")).await?
            != content(client, query).await?
        {
            return Err(format!("{name} is not what its query gives").into());
        }
        let busy = of_operators(client, name, "busy_us").await? - before;
        let each = busy / 1e3 / refreshes.len() as f64;
        report.add(&format!("{name}: work of a refresh"), each, "ms");
    }
    report.add("all: peak memory of the server", server.peak_bytes()? / 1e6, "MB");
    Ok(())
}

async fn content(client: &Client, query: &str) -> Result<Vec<Vec<Option<String>>>, Failure> {
    let mut found = rows(client, query).await?;
    found.sort_unstable();
    Ok(found)
}

/// The sum of a figure over a view's operators.
async fn of_operators(client: &Client, view: &str, figure: &str) -> Result<f64, Failure> {
    let query = format!("SELECT sum({figure}) FROM millrace.operators WHERE view = '{view}'");
    number(&rows(client, &query).await?)
}

fn number(rows: &[Vec<Option<String>>]) -> Result<f64, Failure> {
    let value = rows.first().and_then(|row| row[0].as_deref()).ok_or("no answer")?;
    Ok(value.parse()?)
}
