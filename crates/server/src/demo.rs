//! `millrace demo`: a server with made sensor readings and a 10-second view of them, live.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use clap::Args;
use futures::TryStreamExt;
use millrace_pg::session::{Database, Login, Outcome, Session, Statement};
use millrace_types::Report;

use crate::config::Options as ServeOptions;
use crate::error::ServerError;
use crate::serve;
use crate::session::Sessions;
use crate::shared::JobState;
use crate::shell::bar::{Bar, Progress};

/// Options of the demo.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Address for Postgres clients
    #[arg(long, default_value = "127.0.0.1:4567", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Address of the console [default: 127.0.0.1:4568, a free port if that is in use]
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    /// Do not open the console in a browser
    #[arg(long)]
    no_browser: bool,
    /// Keep the data here instead of a temporary directory
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Readings a second
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// Number of sensors
    #[arg(long, default_value_t = 20)]
    sensors: u32,
    /// End by itself after so many seconds
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
}

/// How often the bar is drawn anew.
const LOOK_EVERY: Duration = Duration::from_millis(250);

const NAME: &str = "readings_10s";

const VIEW: &str = "CREATE MATERIALIZED VIEW IF NOT EXISTS readings_10s AS
SELECT window_start, window_end, id, sum(value) AS total, count(*) AS n, avg(value), min(value), max(value)
FROM TUMBLE(readings, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end, id";

const QUERY: &str = "SELECT window_start, id, total, n, round(avg, 2) AS avg, min, max
FROM readings_10s WHERE window_start > now() - INTERVAL '20 seconds'
ORDER BY window_start DESC, total DESC LIMIT 15";

/// Runs until Ctrl-C, or for the seconds asked.
///
/// # Errors
/// What keeps the server from starting.
pub fn run(options: &Options) -> Result<(), ServerError> {
    let temporary = std::env::temp_dir().join(format!("millrace-demo-{}", std::process::id()));
    let data_dir = options.data_dir.clone().unwrap_or_else(|| temporary.clone());
    let config = ServeOptions {
        listen: Some(options.listen),
        http: Some(options.http.unwrap_or_else(free_place)),
        data_dir: Some(data_dir),
        ..ServeOptions::default()
    };
    let server = serve::start(config.resolve()?)?;
    let (address, console) = (server.address, server.http.map(|http| format!("http://{http}/")));
    if let Some(console) = console.as_ref().filter(|_| !options.no_browser) {
        open_browser(console);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServerError::Thread)?;
    let database = runtime.block_on(Sessions::new(server.shared.clone()))?;
    let shown = runtime.block_on(async {
        let end = async {
            match options.seconds {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            shown = show(&database, options, address, console.as_deref()) => shown,
            () = end => Ok(()),
            // Without the signal the demo runs on.
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    });
    let stopped = server.stop();
    if options.data_dir.is_none() {
        // A temporary directory that stays behind harms nobody.
        drop(std::fs::remove_dir_all(&temporary));
    }
    shown.map_err(ServerError::Report)?;
    stopped
}

/// The console's usual address, or a free port.
fn free_place() -> SocketAddr {
    let usual = SocketAddr::from(([127, 0, 0, 1], 4568));
    match std::net::TcpListener::bind(usual) {
        Ok(_) => usual,
        Err(_) => SocketAddr::from(([127, 0, 0, 1], 0)),
    }
}

/// Opens the console where somebody sits before a desktop; the address is shown in any case.
fn open_browser(address: &str) {
    let desktop =
        ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if !desktop || !std::io::stdout().is_terminal() {
        return;
    }
    let quiet = || std::process::Stdio::null();
    let mut command = std::process::Command::new("xdg-open");
    // Without xdg-open nothing opens.
    drop(command.arg(address).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn());
}

async fn show(
    database: &Sessions,
    options: &Options,
    address: SocketAddr,
    console: Option<&str>,
) -> Result<(), Report> {
    let login = Login {
        user: "root".into(),
        database: "dev".into(),
        peer: address.ip(),
        encrypted: false,
        options: Vec::new(),
    };
    let mut session = database.open(login).await?;
    let (rate, sensors) = (options.rate, options.sensors);
    let source = format!(
        "CREATE SOURCE IF NOT EXISTS readings (id BIGINT, value BIGINT, ts TIMESTAMPTZ,
         WATERMARK FOR ts AS ts - INTERVAL '1 second')
         WITH (connector = 'datagen', rows.per.second = {rate},
               fields.id.kind = 'random', fields.id.min = 1, fields.id.max = {sensors},
               fields.value.kind = 'sensor', fields.value.min = 0, fields.value.max = 100,
               fields.ts.kind = 'now')"
    );
    ask(session.as_mut(), &source).await?;
    fill(session.as_mut(), database).await?;
    let terminal = std::io::stdout().is_terminal();
    loop {
        let batches = ask(session.as_mut(), QUERY).await?;
        let mut text = String::new();
        if terminal {
            text.push_str("\x1b[H\x1b[2J");
        }
        text.push_str(&format!(
            "readings_10s, kept up to date from {rate} readings a second\n\n{}\n\
             console:  {}\n\
             look in:  psql -h {} -p {} -U root dev        end: Ctrl-C\n",
            table(&batches),
            console.unwrap_or("off"),
            address.ip(),
            address.port()
        ));
        let mut out = std::io::stdout();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Makes the view; a bar shows how far it is filled with what the data directory held already.
async fn fill(session: &mut dyn Session, database: &Sessions) -> Result<(), Report> {
    let mut bar = Bar::default();
    let made = ask(session, VIEW);
    futures::pin_mut!(made);
    let made = loop {
        tokio::select! {
            made = &mut made => break made,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let jobs = database.jobs();
        if let Some(job) = jobs.iter().find(|job| job.view == NAME).filter(|_| Bar::is_possible()) {
            bar.draw(&Progress {
                name: job.view.clone(),
                queued: matches!(job.state, JobState::Queued),
                read: job.read,
                total: job.total,
                percent: job.percent(),
            });
        }
    };
    bar.clear();
    made.map(drop)
}

async fn ask(session: &mut dyn Session, text: &str) -> Result<Vec<RecordBatch>, Report> {
    let statement = Statement { text: text.into(), offset: 0 };
    match session.execute(&statement, Vec::new()).await? {
        Outcome::Rows { rows, .. } => {
            rows.try_collect().await.map_err(|error| crate::session::report_of(&error))
        }
        Outcome::Empty | Outcome::Done(_) | Outcome::CopyIn { .. } | Outcome::CopyOut { .. } => {
            Ok(Vec::new())
        }
    }
}

/// Rows as a plain table with aligned columns.
fn table(batches: &[RecordBatch]) -> String {
    let Some(first) = batches.first() else { return "(no rows yet)\n".into() };
    let names = first.schema();
    let mut lines = vec![names.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>()];
    let format = FormatOptions::default().with_null("").with_timestamp_tz_format(Some("%H:%M:%S"));
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .filter_map(|column| ArrayFormatter::try_new(column.as_ref(), &format).ok())
            .collect();
        for row in 0..batch.num_rows() {
            lines.push(columns.iter().map(|c| trimmed(&c.value(row).to_string())).collect());
        }
    }
    let width = |at: usize| lines.iter().map(|line| line[at].len()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..names.fields().len()).map(width).collect();
    let mut text = String::new();
    for line in lines {
        for (cell, width) in line.iter().zip(&widths) {
            text.push_str(&format!("{cell:>width$}  "));
        }
        text.push('\n');
    }
    text
}

/// A number without the zeros that say nothing.
fn trimmed(text: &str) -> String {
    match text.contains('.') && text.chars().all(|c| c.is_ascii_digit() || ".-".contains(c)) {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    }
}
