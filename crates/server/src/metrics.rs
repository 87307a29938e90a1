//! What `/metrics` says, in Prometheus' text format: counters end in `_total`, units are seconds and
//! bytes, each name has its HELP and TYPE.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use millrace_sql::Kind;

use crate::memory;
use crate::serving::status_word;
use crate::shared::{Board, JobState, Shared, ViewStatus};

/// The upper bounds of the buckets of a duration, seconds.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// How long something took, over all times that it did.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    /// How many were at most as long as each bound.
    counts: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
    last: f64,
}

impl Durations {
    /// Counts one of so many microseconds.
    pub fn add(&mut self, micros: i64) {
        let seconds = seconds(micros.max(0));
        for (bound, count) in BUCKETS.iter().zip(&mut self.counts) {
            *count += u64::from(seconds <= *bound);
        }
        self.count += 1;
        self.sum += seconds;
        self.last = seconds;
    }
}

fn float(number: u64) -> f64 {
    // Exact up to 2^53, which is far.
    let (high, low) = (u32::try_from(number >> 32), u32::try_from(number & 0xffff_ffff));
    f64::from(high.unwrap_or(u32::MAX)) * 4_294_967_296.0 + f64::from(low.unwrap_or(u32::MAX))
}

fn signed(number: i64) -> f64 {
    let size = float(number.unsigned_abs());
    if number < 0 { -size } else { size }
}

fn seconds(micros: i64) -> f64 {
    signed(micros) / 1e6
}

fn size(bytes: usize) -> f64 {
    float(bytes as u64)
}

#[derive(Clone, Copy)]
enum Type {
    Counter,
    Gauge,
}

type Labels<'a> = &'a [(&'a str, &'a str)];

/// The text as it grows.
#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        writeln!(self.0, "# HELP millrace_{name} {help}\n# TYPE millrace_{name} {kind}")
            .unwrap_or_default();
    }

    fn line(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        let escaped =
            |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let label = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", escaped(value));
        let labels = labels.iter().map(label).collect::<Vec<_>>().join(",");
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        writeln!(self.0, "millrace_{name}{labels} {value}").unwrap_or_default();
    }

    fn family<'a>(
        &mut self,
        name: &str,
        kind: Type,
        help: &str,
        lines: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, f64)>,
    ) {
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
        };
        self.head(name, kind, help);
        lines.into_iter().for_each(|(labels, value)| self.line(name, &labels, value));
    }

    fn one(&mut self, name: &str, kind: Type, help: &str, value: f64) {
        self.family(name, kind, help, [(Vec::new(), value)]);
    }

    fn durations(&mut self, name: &str, help: &str, found: &Durations) {
        self.head(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for (bound, count) in BUCKETS.iter().zip(&found.counts) {
            self.line(&bucket, &[("le", &bound.to_string())], float(*count));
        }
        self.line(&bucket, &[("le", "+Inf")], float(found.count));
        self.line(&format!("{name}_sum"), &[], found.sum);
        self.line(&format!("{name}_count"), &[], float(found.count));
    }
}

/// True when every view that runs has read the log again, and the server is not ending.
pub(crate) fn is_ready(board: &Board) -> bool {
    let mut running = board.views.values().filter(|view| view.failed.is_none());
    !board.stopping && running.all(|view| view.complete().is_some())
}

/// All metrics as they are now.
pub(crate) fn text(shared: &Shared) -> String {
    let mut page = Page::default();
    page.family(
        "build_info",
        Type::Gauge,
        "The version that runs, always 1.",
        [(vec![("version", env!("CARGO_PKG_VERSION"))], 1.0)],
    );
    let now = shared.clock.now();
    page.one("clock_seconds", Type::Gauge, "The server's clock, since 1970.", seconds(now));
    let (open, opened) = shared.connections.read();
    page.one("connections", Type::Gauge, "Sessions that are open.", size(open));
    page.one("connections_total", Type::Counter, "Sessions since the start.", float(opened));
    let refused = float(shared.guard.attempts.refused());
    page.one("failed_logins_total", Type::Counter, "Logins that were refused.", refused);
    let (begun, looked_up) = shared.queries.counts();
    page.one("queries_total", Type::Counter, "Queries that were planned or run.", float(begun));
    let help = "Queries that were look-ups of a key and needed no plan.";
    page.one("lookups_total", Type::Counter, help, float(looked_up));
    let board = shared.board.lock();
    let ready = if is_ready(&board) { 1.0 } else { 0.0 };
    page.one("ready", Type::Gauge, "1 when the log has been read again.", ready);
    memory_kinds(&mut page, shared, &board);
    disk(&mut page, &board);
    epochs(&mut page, &board, now);
    checkpoints(&mut page, shared, &board, now);
    sources(&mut page, shared, &board);
    partitions(&mut page, shared, &board);
    sinks(&mut page, shared, &board);
    views(&mut page, shared, &board);
    operators(&mut page, shared, &board);
    not_taken(&mut page, &board);
    jobs(&mut page, &board);
    page.0
}

fn memory_kinds(page: &mut Page, shared: &Shared, board: &Board) {
    let content = board.views.values().map(|view| view.tables.content.bytes()).sum();
    let state = board.views.values().map(|view| view.state_bytes).sum();
    let cache = float(shared.store.counters().cache_bytes);
    let kinds = [
        ("resident", size(memory::resident())),
        ("statements", size(shared.queries.memory().0)),
        ("state", size(state)),
        ("content", size(content)),
        ("cache", cache),
    ];
    let help = "Memory: of the process, of operators' state at the last checkpoint, of rows that no \
                checkpoint holds yet, of the block cache.";
    let kinds = kinds.map(|(kind, bytes)| (vec![("kind", kind)], bytes));
    page.family("memory_bytes", Type::Gauge, help, kinds);
    let limit = size(shared.config.memory_limit);
    page.one("memory_limit_bytes", Type::Gauge, "The option memory-limit.", limit);
}

fn disk(page: &mut Page, board: &Board) {
    let disk = &board.disk;
    let help = "What may still be written on the disk of the data directory.";
    page.one("disk_free_bytes", Type::Gauge, help, float(disk.free));
    let reserve = float(disk.reserve);
    page.one("disk_reserve_bytes", Type::Gauge, "What is kept in reserve of it.", reserve);
    let full = if disk.full { 1.0 } else { 0.0 };
    page.one("disk_full", Type::Gauge, "1 while writes wait for room on the disk.", full);
}

fn epochs(page: &mut Page, board: &Board, now: i64) {
    let Some(last) = board.epochs.back() else { return };
    page.one("epoch", Type::Gauge, "The last sealed epoch.", float(last.epoch.0));
    let age = seconds((now - last.sealed_at).max(0));
    page.one("epoch_age_seconds", Type::Gauge, "Since the last seal.", age);
    let open = board.epochs.iter().filter(|epoch| epoch.complete_us.is_none()).count();
    page.one("epochs_in_flight", Type::Gauge, "Sealed, not complete in all views.", size(open));
    let help = "From the seal of an epoch until all views had completed it.";
    page.durations("epoch_duration_seconds", help, &board.figures.epochs);
    let help = "What the record of an epoch took, its fsync included.";
    page.durations("epoch_seal_seconds", help, &board.figures.seals);
}

fn checkpoints(page: &mut Page, shared: &Shared, board: &Board, now: i64) {
    let counters = shared.store.counters();
    let epoch = float(board.checkpoint.0);
    page.one("checkpoint_epoch", Type::Gauge, "The epoch of the last checkpoint.", epoch);
    if board.checkpoint_at > 0 {
        let age = seconds((now - board.checkpoint_at).max(0));
        page.one("checkpoint_age_seconds", Type::Gauge, "Since the last checkpoint.", age);
    }
    let help = "How long a checkpoint kept a worker from other work, the longest of all workers.";
    page.durations("checkpoint_hand_over_seconds", help, &board.figures.hand_overs);
    let help = "What writing and committing a checkpoint took.";
    page.durations("checkpoint_duration_seconds", help, &board.figures.checkpoints);
    let (last, bytes) = (board.figures.checkpoint_bytes, counters.segment_bytes);
    page.one("checkpoint_bytes", Type::Gauge, "Written by the last checkpoint.", float(last));
    page.one("segment_bytes", Type::Gauge, "Segments on disk.", float(bytes));
    page.one("segments", Type::Gauge, "Segments on disk.", float(counters.segments));
    let written =
        [("checkpoint", counters.checkpoint_bytes), ("compaction", counters.compaction_bytes)];
    let written = written.map(|(by, bytes)| (vec![("by", by)], float(bytes)));
    page.family("written_bytes_total", Type::Counter, "Written to segments.", written);
}

/// The names of the sources that somebody has read, with how they are.
fn sources(page: &mut Page, shared: &Shared, board: &Board) {
    let catalog = shared.catalog();
    let named: Vec<_> = board
        .sources
        .iter()
        .filter_map(|(id, status)| Some((catalog.get(*id)?.name.clone(), status)))
        .collect();
    let up = named.iter().map(|(name, status)| {
        let word = status_word(status);
        let up = if matches!(word, "running" | "unread") { 1.0 } else { 0.0 };
        (vec![("source", name.as_str()), ("status", word)], up)
    });
    let help = "1 unless the source cannot be reached, has stopped or has failed.";
    page.family("source_up", Type::Gauge, help, up);
    let watermarks = named.iter().filter_map(|(name, status)| {
        Some((vec![("source", name.as_str())], seconds(status.watermark?)))
    });
    let help = "The watermark, as seconds since 1970.";
    page.family("source_watermark_seconds", Type::Gauge, help, watermarks);
}

fn partitions(page: &mut Page, shared: &Shared, board: &Board) {
    use Type::{Counter, Gauge};
    let catalog = shared.catalog();
    let mut all = Vec::new();
    for (id, status) in &board.sources {
        let Some(object) = catalog.get(*id) else { continue };
        for (partition, at) in &status.partitions {
            all.push((object.name.clone(), partition.0.to_string(), at));
        }
    }
    let mut family =
        |name, kind, help, value: fn(&crate::shared::PartitionStatus) -> Option<f64>| {
            let lines = all.iter().filter_map(|(source, partition, at)| {
                let labels = vec![("source", source.as_str()), ("partition", partition.as_str())];
                Some((labels, value(at)?))
            });
            page.family(name, kind, help, lines);
        };
    family("source_rows_total", Counter, "Rows read.", |at| Some(float(at.cut.rows)));
    let help = "Rows read a second, over the last seconds.";
    family("source_rows_per_second", Gauge, help, |at| Some(at.rate));
    let help = "Messages that are no rows.";
    family("source_errors_total", Counter, help, |at| Some(float(at.cut.malformed)));
    let help = "Rows too far in the future to move the watermark.";
    family("source_future_rows_total", Counter, help, |at| Some(float(at.cut.future)));
    let help = "Where reading stands.";
    family("source_offset", Gauge, help, |at| Some(signed(at.cut.end)));
    let help = "Offsets between where reading stands and the end.";
    family("source_lag", Gauge, help, |at| Some(signed(at.end? - at.cut.end)));
    let help = "1 if the partition does not hold the watermark back.";
    family("source_idle", Gauge, help, |at| Some(if at.idle { 1.0 } else { 0.0 }));
}

fn sinks(page: &mut Page, shared: &Shared, board: &Board) {
    let catalog = shared.catalog();
    let all: Vec<_> = catalog
        .objects()
        .filter_map(|object| match &object.kind {
            Kind::Sink(sink) => Some((object, sink, board.sinks.get(&object.id)?)),
            _ => None,
        })
        .collect();
    let up = all.iter().map(|(sink, _, status)| {
        let word = status.state.word();
        let up = if matches!(word, "retrying" | "refused" | "failed") { 0.0 } else { 1.0 };
        (vec![("sink", sink.name.as_str()), ("status", word)], up)
    });
    page.family(
        "sink_up",
        Type::Gauge,
        "1 unless the sink waits for its broker, is refused or has failed.",
        up,
    );
    let lag = all.iter().filter_map(|(sink, definition, status)| {
        let complete = board.views.get(&definition.from)?.complete()?;
        let behind = complete.0.saturating_sub(status.position?.0);
        Some((vec![("sink", sink.name.as_str())], behind as f64))
    });
    let help = "Epochs that the view has completed and the sink has not sent.";
    page.family("sink_lag_epochs", Type::Gauge, help, lag);
    let sent = all
        .iter()
        .map(|(sink, _, status)| (vec![("sink", sink.name.as_str())], status.messages as f64));
    page.family("sink_messages_total", Type::Counter, "Messages sent since the start.", sent);
}

fn views(page: &mut Page, shared: &Shared, board: &Board) {
    use Type::{Counter, Gauge};
    let catalog = shared.catalog();
    let all: Vec<_> = board
        .views
        .iter()
        .filter_map(|(id, status)| {
            let late = board.late_counts.get(id).copied().unwrap_or_default();
            Some((catalog.get(*id)?.name.clone(), status, late))
        })
        .collect();
    let mut family = |name, kind, help, value: fn(&ViewStatus, u64) -> Option<f64>| {
        let lines = all.iter().filter_map(|(view, status, late)| {
            Some((vec![("view", view.as_str())], value(status, *late)?))
        });
        page.family(name, kind, help, lines);
    };
    let running = |view: &ViewStatus| view.failed.is_none();
    family("view_failed", Gauge, "1 if the view has stopped.", |view, _| {
        Some(if view.failed.is_some() { 1.0 } else { 0.0 })
    });
    family("view_epoch", Gauge, "The last epoch that it has completed.", |view, _| {
        view.failed.is_none().then(|| float(view.upper.epoch().previous().0))
    });
    let help = "Operators' state at the last checkpoint.";
    family("view_state_bytes", Gauge, help, |view, _| Some(size(view.state_bytes)));
    let help = "Rows that no checkpoint holds yet.";
    family("view_memory_bytes", Gauge, help, |view, _| Some(size(view.tables.content.bytes())));
    let help = "Rows that the view has turned away, once for each window that they missed.";
    family("late_rows_total", Counter, help, |_, late| Some(float(late)));
    let failed = all.iter().filter(|(_, view, _)| !running(view)).count();
    page.one("views_failed", Gauge, "Views that have stopped.", size(failed));
    page.one("views", Gauge, "Views, tables and indexes.", size(all.len()));
}

/// Operators that others had to wait for.
fn operators(page: &mut Page, shared: &Shared, board: &Board) {
    let catalog = shared.catalog();
    let mut behind: BTreeMap<(String, String), u64> = BTreeMap::new();
    for (id, status) in &board.views {
        let (Some(object), Some(figures)) = (catalog.get(*id), &status.figures) else { continue };
        for figure in figures.read() {
            if figure.work.behind_us > 0 {
                let key = (object.name.clone(), figure.name);
                *behind.entry(key).or_default() += figure.work.behind_us;
            }
        }
    }
    let lines = behind.iter().map(|((view, operator), us)| {
        let labels = vec![("view", view.as_str()), ("operator", operator.as_str())];
        (labels, float(*us) / 1e6)
    });
    let help = "Time in which an operator had work left over, of all workers; without those that never had.";
    page.family("operator_behind_seconds_total", Type::Counter, help, lines);
}

fn not_taken(page: &mut Page, board: &Board) {
    let rows = board.kept.iter().map(|list| (vec![("table", list.table)], size(list.rows)));
    page.family("kept_rows", Type::Gauge, "Bad messages and late rows that are listed.", rows);
    let gone = board.kept.iter().map(|list| (vec![("table", list.table)], float(list.gone)));
    let help = "Rows that have left these lists, by their number or their age.";
    page.family("kept_rows_gone_total", Type::Counter, help, gone);
}

fn jobs(page: &mut Page, board: &Board) {
    let count = |wanted: fn(&JobState) -> bool| {
        size(board.jobs.iter().filter(|job| wanted(&job.state)).count())
    };
    let states = [
        ("queued", count(|state| *state == JobState::Queued)),
        ("running", count(|state| *state == JobState::Running)),
        ("failed", count(|state| matches!(state, JobState::Failed(_)))),
    ];
    let states = states.map(|(state, count)| (vec![("state", state)], count));
    page.family("jobs", Type::Gauge, "Views that are being filled.", states);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_size() {
        assert_eq!(float(u64::from(u32::MAX) + 5), 4_294_967_300.0);
        assert_eq!(signed(-12), -12.0);
        assert_eq!(seconds(1_500_000), 1.5);
    }

    #[test]
    fn a_label_is_escaped_and_buckets_add_up() {
        let mut page = Page::default();
        page.family("x", Type::Gauge, "X.", [(vec![("view", "a\"b\\c\n")], 2.0)]);
        let mut found = Durations::default();
        found.add(3_000);
        found.add(60_000_000);
        page.durations("y_seconds", "Y.", &found);
        assert!(page.0.contains("millrace_x{view=\"a\\\"b\\\\c\\n\"} 2\n"), "{}", page.0);
        assert!(page.0.contains("millrace_y_seconds_bucket{le=\"0.0025\"} 0\n"), "{}", page.0);
        assert!(page.0.contains("millrace_y_seconds_bucket{le=\"0.005\"} 1\n"), "{}", page.0);
        assert!(page.0.contains("millrace_y_seconds_bucket{le=\"+Inf\"} 2\n"), "{}", page.0);
        assert!(page.0.contains("millrace_y_seconds_count 2\n"), "{}", page.0);
    }
}
