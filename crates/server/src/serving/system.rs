//! The schema `millrace`: what the server says of itself, as tables made when they are read.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use millrace_dataflow::runtime::{Figure, Figures};
use millrace_sql::Kind;
use millrace_types::{Epoch, TIME_ZONE};

use super::side::{VIEW_ERRORS, ViewErrors};
use crate::shared::{Shared, SourceStatus};

/// The table of late rows, which is in the catalog.
pub const LATE_ROWS: &str = "late_rows";

const NAMES: [&str; 9] = [
    "epochs",
    "jobs",
    "kept_rows",
    "operators",
    "settings",
    "sinks",
    "sources",
    "view_errors",
    "views",
];

/// True if a table of the schema says what failed in views, or was turned away: it waits for them.
pub fn is_of_views(name: &str) -> bool {
    name == VIEW_ERRORS || name == LATE_ROWS
}

/// The tables of the schema.
pub fn system_names() -> &'static [&'static str] {
    &NAMES
}

/// A table of the schema as it is now; None for an unknown name. Failed rows are read when the table is
/// scanned.
///
/// # Errors
/// What cannot be made into a table.
pub fn system_table(shared: &Arc<Shared>, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    if name == VIEW_ERRORS {
        return Ok(Some(Arc::new(ViewErrors::new(Arc::clone(shared))?)));
    }
    let batch = match name {
        "epochs" => epochs(shared)?,
        "jobs" => jobs(shared)?,
        "kept_rows" => kept_rows(shared)?,
        "operators" => operators(shared)?,
        "settings" => settings(shared)?,
        "sinks" => sinks(shared)?,
        "sources" => sources(shared)?,
        "views" => views(shared)?,
        _ => return Ok(None),
    };
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
    Ok(Some(Arc::new(table)))
}

pub(super) fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

pub(super) fn text<S: AsRef<str>>(values: impl IntoIterator<Item = Option<S>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

fn ints(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

fn counts(values: impl IntoIterator<Item = u64>) -> ArrayRef {
    ints(values.into_iter().map(|n| Some(n.cast_signed())))
}

fn times(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    let array = values.into_iter().collect::<TimestampMicrosecondArray>();
    Arc::new(array.with_timezone(TIME_ZONE))
}

fn size(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn sources(shared: &Shared) -> Result<RecordBatch> {
    let catalog = shared.catalog();
    let board = shared.board.lock();
    let mut rows = Vec::new();
    for object in catalog.objects() {
        let Some(source) = object.source() else { continue };
        let status = board.sources.get(&object.id).cloned().unwrap_or_default();
        if status.partitions.is_empty() {
            for (partition, start) in &source.start {
                let at = crate::shared::PartitionStatus { start: *start, ..Default::default() };
                rows.push((object.name.clone(), status.clone(), partition.0, at));
            }
        }
        for (partition, at) in &status.partitions {
            rows.push((object.name.clone(), status.clone(), partition.0, at.clone()));
        }
    }
    let reading = |s: &SourceStatus| s.running;
    batch(vec![
        ("source", text(rows.iter().map(|(name, ..)| Some(name)))),
        ("partition", Arc::new(rows.iter().map(|r| Some(r.2)).collect::<Int32Array>())),
        ("start_offset", ints(rows.iter().map(|r| Some(r.3.start)))),
        ("offset", ints(rows.iter().map(|r| reading(&r.1).then_some(r.3.cut.end)))),
        ("end_offset", ints(rows.iter().map(|r| r.3.end))),
        ("lag", ints(rows.iter().map(|r| r.3.end.map(|end| end - r.3.cut.end)))),
        ("rows", counts(rows.iter().map(|r| r.3.cut.rows))),
        ("rate", Arc::new(rows.iter().map(|r| Some(r.3.rate)).collect::<Float64Array>())),
        ("watermark", times(rows.iter().map(|r| r.1.watermark))),
        ("max_event_time", times(rows.iter().map(|r| r.3.cut.max_event_time))),
        ("idle", Arc::new(rows.iter().map(|r| Some(r.3.idle)).collect::<BooleanArray>())),
        ("malformed", counts(rows.iter().map(|r| r.3.cut.malformed))),
        ("future_rows", counts(rows.iter().map(|r| r.3.cut.future))),
        ("status", text(rows.iter().map(|r| Some(status_word(&r.1))))),
        ("since", times(rows.iter().map(|r| r.1.unreachable.as_ref().map(|(at, _)| *at)))),
        ("error", text(rows.iter().map(|r| status_reason(&r.1)))),
    ])
}

/// One word for how a source is doing.
pub fn status_word(status: &SourceStatus) -> &'static str {
    match status {
        SourceStatus { failed: Some(_), .. } => "failed",
        SourceStatus { stopped: Some(_), .. } => "stopped",
        SourceStatus { unreachable: Some(_), .. } => "unreachable",
        SourceStatus { running: true, .. } => "running",
        SourceStatus { .. } => "unread",
    }
}

/// Why a source is not running well.
pub fn status_reason(status: &SourceStatus) -> Option<String> {
    let unreachable = || status.unreachable.as_ref().map(|(_, reason)| reason.clone());
    status.failed.clone().or_else(|| status.stopped.clone()).or_else(unreachable)
}

fn views(shared: &Shared) -> Result<RecordBatch> {
    let catalog = shared.catalog();
    let board = shared.board.lock();
    let mut rows = Vec::new();
    for object in catalog.objects() {
        if matches!(object.kind, Kind::MaterializedView(_))
            && let Some(status) = board.views.get(&object.id)
        {
            let late = board.late_counts.get(&object.id).copied().unwrap_or_default();
            rows.push((object.name.clone(), status.clone(), late));
        }
    }
    drop(board);
    let at_most = |status: &crate::shared::ViewStatus| {
        let at = status.upper.epoch().previous();
        // None in the moment in which a checkpoint passes the epoch by.
        let snapshot = status.tables.content.snapshot(at).ok()?;
        Some(snapshot.rows_upper_bound().cast_signed())
    };
    let epoch = |e: Epoch| Some(e.0.cast_signed());
    batch(vec![
        ("view", text(rows.iter().map(|(name, ..)| Some(name)))),
        ("epoch", ints(rows.iter().map(|r| epoch(r.1.upper.epoch().previous())))),
        ("rows_at_most", ints(rows.iter().map(|r| at_most(&r.1)))),
        ("state_bytes", ints(rows.iter().map(|r| Some(size(r.1.state_bytes))))),
        ("memory_bytes", ints(rows.iter().map(|r| Some(size(r.1.tables.content.bytes()))))),
        ("late_rows", counts(rows.iter().map(|r| r.2))),
        ("status", text(rows.iter().map(|r| Some(view_word(&r.1))))),
        ("error", text(rows.iter().map(|r| r.1.failed.as_ref()))),
    ])
}

/// What the tables of bad messages and late rows hold, and what has gone.
fn kept_rows(shared: &Shared) -> Result<RecordBatch> {
    let kept = shared.board.lock().kept.clone();
    batch(vec![
        ("table_name", text(kept.iter().map(|list| Some(list.table)))),
        ("rows", ints(kept.iter().map(|list| Some(size(list.rows))))),
        ("gone", counts(kept.iter().map(|list| list.gone))),
    ])
}

fn sinks(shared: &Shared) -> Result<RecordBatch> {
    let catalog = shared.catalog();
    let board = shared.board.lock();
    let mut rows = Vec::new();
    for object in catalog.objects() {
        let Kind::Sink(sink) = &object.kind else { continue };
        let from = catalog.get(sink.from).map(|from| from.name.clone());
        let complete = board.views.get(&sink.from).and_then(|view| view.complete());
        let status = board.sinks.get(&object.id).cloned().unwrap_or_default();
        rows.push((Arc::clone(object), sink.clone(), from, complete, status));
    }
    drop(board);
    let epoch = |epoch: Option<Epoch>| epoch.map(|epoch| epoch.0.cast_signed());
    let lag = |complete: Option<Epoch>, position: Option<Epoch>| {
        Some(complete?.0.saturating_sub(position?.0).cast_signed())
    };
    batch(vec![
        ("sink", text(rows.iter().map(|r| Some(&r.0.name)))),
        ("view", text(rows.iter().map(|r| r.2.as_ref()))),
        ("connector", text(rows.iter().map(|r| Some(&r.1.connector)))),
        ("topic", text(rows.iter().map(|r| r.1.options.get("topic")))),
        ("format", text(rows.iter().map(|r| Some(r.1.format.word())))),
        ("status", text(rows.iter().map(|r| Some(r.4.state.word())))),
        ("since", times(rows.iter().map(|r| Some(r.4.since).filter(|since| *since > 0)))),
        ("epoch", ints(rows.iter().map(|r| epoch(r.4.position)))),
        ("lag_epochs", ints(rows.iter().map(|r| lag(r.3, r.4.position)))),
        ("messages", counts(rows.iter().map(|r| r.4.messages))),
        ("error", text(rows.iter().map(|r| r.4.error.as_ref()))),
    ])
}

/// What each operator of each view and table has done on each worker since it was built.
fn operators(shared: &Shared) -> Result<RecordBatch> {
    let catalog = shared.catalog();
    let running: Vec<(String, Arc<Figures>)> = {
        let board = shared.board.lock();
        let running = board.views.iter().filter_map(|(id, status)| {
            Some((catalog.get(*id)?.name.clone(), Arc::clone(status.figures.as_ref()?)))
        });
        running.collect()
    };
    let rows = running.iter().flat_map(|(name, figures)| {
        figures.read().into_iter().map(move |figure| (name, figures.since, figure))
    });
    let rows: Vec<(&String, i64, Figure)> = rows.collect();
    let worker = |worker: usize| i32::try_from(worker).ok();
    batch(vec![
        ("view", text(rows.iter().map(|r| Some(r.0)))),
        ("operator", text(rows.iter().map(|r| Some(&r.2.name)))),
        ("worker", Arc::new(rows.iter().map(|r| worker(r.2.worker)).collect::<Int32Array>())),
        ("since", times(rows.iter().map(|r| Some(r.1)))),
        ("rows_in", counts(rows.iter().map(|r| r.2.work.rows_in))),
        ("rows_out", counts(rows.iter().map(|r| r.2.work.rows_out))),
        ("state_rows", counts(rows.iter().map(|r| r.2.work.state_rows))),
        ("state_bytes", counts(rows.iter().map(|r| r.2.work.state_bytes))),
        ("state_rows_touched", counts(rows.iter().map(|r| r.2.work.touched))),
        ("busy_us", counts(rows.iter().map(|r| r.2.work.busy_us))),
        ("behind_us", counts(rows.iter().map(|r| r.2.work.behind_us))),
        ("rows_waiting", counts(rows.iter().map(|r| r.2.work.rows_waiting))),
    ])
}

fn view_word(status: &crate::shared::ViewStatus) -> &'static str {
    match (&status.failed, status.complete()) {
        (Some(_), _) => "failed",
        (None, Some(_)) => "running",
        (None, None) => "recovering",
    }
}

fn epochs(shared: &Shared) -> Result<RecordBatch> {
    let board = shared.board.lock();
    let rows: Vec<_> = board.epochs.iter().copied().collect();
    drop(board);
    let checkpoint = rows.iter().map(|r| Some(r.checkpoint)).collect::<BooleanArray>();
    batch(vec![
        ("epoch", ints(rows.iter().map(|r| Some(r.epoch.0.cast_signed())))),
        ("sealed_at", times(rows.iter().map(|r| Some(r.sealed_at)))),
        ("seal_us", ints(rows.iter().map(|r| Some(r.seal_us)))),
        ("complete_us", ints(rows.iter().map(|r| r.complete_us))),
        ("bytes", ints(rows.iter().map(|r| Some(size(r.bytes))))),
        ("checkpoint", Arc::new(checkpoint)),
    ])
}

fn jobs(shared: &Shared) -> Result<RecordBatch> {
    let jobs = shared.board.lock().jobs.clone();
    batch(vec![
        ("job", ints(jobs.iter().map(|job| Some(i64::from(job.id.0))))),
        ("view", text(jobs.iter().map(|job| Some(&job.view)))),
        ("status", text(jobs.iter().map(|job| Some(job.word())))),
        ("rows_read", ints(jobs.iter().map(|job| Some(job.read)))),
        ("rows_to_read", ints(jobs.iter().map(|job| job.total))),
        ("rows_kept", ints(jobs.iter().map(|job| Some(job.kept)))),
        ("percent", ints(jobs.iter().map(|job| job.percent()))),
        ("error", text(jobs.iter().map(|job| job.error()))),
    ])
}

fn settings(shared: &Shared) -> Result<RecordBatch> {
    let config = &shared.config;
    let shown = |file: Option<&std::path::PathBuf>| {
        file.map(|file| file.display().to_string()).unwrap_or_default()
    };
    let rows = [
        ("data-dir", config.data_dir.display().to_string()),
        ("listen", config.listen.to_string()),
        ("workers", config.workers.to_string()),
        ("store", format!("{:?}", config.store).to_lowercase()),
        ("epoch-interval", format!("{:?}", config.epoch_interval)),
        ("checkpoint-interval", format!("{:?}", config.checkpoint_interval)),
        ("memory-limit", config.memory_limit.to_string()),
        ("jobs", config.jobs.to_string()),
        ("kept-rows", config.kept_rows.to_string()),
        ("kept-age", format!("{:?}", config.kept_age)),
        ("max-connections", config.max_connections.to_string()),
        ("hba-file", shown(config.hba_file.as_ref())),
        ("tls-cert", shown(config.tls.as_ref().map(|(certificate, _)| certificate))),
        ("http", config.http.map(|http| http.to_string()).unwrap_or_default()),
        ("http-connections", config.http_connections.to_string()),
        ("http-timeout", format!("{:?}", config.http_timeout)),
    ];
    batch(vec![
        ("name", text(rows.iter().map(|(name, _)| Some(*name)))),
        ("value", text(rows.iter().map(|(_, value)| Some(value)))),
    ])
}
