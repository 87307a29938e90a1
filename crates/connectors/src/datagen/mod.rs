//! Rows made inside the server: sensor readings for a first try, without a broker.
//!
//! Row `n` is a pure function of the options, `n` and the anchors, so a range read again gives the
//! same rows, as a topic would. Only *when* a row becomes readable depends on the clock.

mod anchors;
mod field;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use millrace_dataflow::source::{Chunk, Connector, Extent, Limits, Reader, SourceError, Span};
use millrace_types::PartitionId;

use self::anchors::Schedule;
pub use self::anchors::{Anchor, Clock, restart_anchor};
use self::field::Generator;
use crate::connect::Definition;
use crate::options::{Options, refused};
use crate::rows::{Layout, derived};
use crate::{Include, IncludeKind};

/// The options of a generated source.
pub const OPTIONS: &[&str] = &[
    "rows.per.second",
    "fields.<column>.kind",
    "fields.<column>.start",
    "fields.<column>.end",
    "fields.<column>.min",
    "fields.<column>.max",
    "fields.<column>.length",
    "fields.<column>.seed",
];

const RATE: i64 = 10;
const RATE_MAX: i64 = 10_000_000;
const PARTITION: PartitionId = PartitionId(0);

/// `rows.per.second` of a generated source, or its default; None if that is no rate.
pub fn rate(options: &BTreeMap<String, String>) -> Option<i64> {
    let rate = options.get("rows.per.second").map_or(Some(RATE), |text| text.trim().parse().ok());
    rate.filter(|rate| (1..=RATE_MAX).contains(rate))
}

/// A generated source.
#[derive(Clone)]
pub struct Datagen {
    layout: Arc<Layout>,
    generators: Arc<[Generator]>,
    schedule: Schedule,
    clock: Clock,
}

impl Datagen {
    pub(crate) fn new(
        definition: &Definition,
        layout: Arc<Layout>,
    ) -> Result<Datagen, SourceError> {
        let mut options = Options::new("datagen", &definition.options);
        options.text("rows.per.second");
        let rate = rate(&definition.options).ok_or_else(|| {
            let given = definition.options.get("rows.per.second").map_or("", String::as_str);
            refused("rows.per.second", given, &format!("a whole number from 1 to {RATE_MAX}"))
        })?;
        let generators = field::generators(&mut options, &layout.columns)?;
        options.finish(OPTIONS)?;
        if let Some(include) = layout.include.iter().find(|include| !is_known(include)) {
            return Err(SourceError::Invalid(format!(
                "connector \"datagen\" has no message {:?} to INCLUDE",
                include.kind
            )));
        }
        let schedule = Schedule::new(rate, &definition.anchors).ok_or_else(|| {
            SourceError::Invalid("the anchors of a generated source must ascend".to_owned())
        })?;
        Ok(Datagen {
            layout,
            generators: generators.into(),
            schedule,
            clock: definition.clock.clone(),
        })
    }

    /// Rows `[from, to)`.
    fn chunk(&self, from: i64, to: i64, at_end: bool) -> Result<Chunk, SourceError> {
        let numbers: Vec<i64> = (from..to).collect();
        let times: Vec<i64> = numbers.iter().map(|n| self.schedule.time(*n)).collect();
        let columns = self.generators.iter().map(|field| field.rows(&numbers, &times)).collect();
        let extra = |include: &Include| match include.kind {
            IncludeKind::Timestamp => field::timestamps(times.clone()),
            kind => derived(kind, "datagen", PARTITION, &numbers),
        };
        let extra = self.layout.include.iter().map(extra).collect();
        let rows = self
            .layout
            .finish(columns, extra, PARTITION, numbers)
            .map_err(|error| SourceError::Invalid(format!("rows cannot be generated: {error}")))?;
        let bytes = rows.get_array_memory_size();
        Ok(Chunk { partition: PARTITION, from, to, rows, bad: Vec::new(), bytes, at_end })
    }
}

/// Partition, offset and time are known of a generated row.
fn is_known(include: &Include) -> bool {
    matches!(include.kind, IncludeKind::Partition | IncludeKind::Offset | IncludeKind::Timestamp)
}

impl Connector for Datagen {
    fn schema(&self) -> SchemaRef {
        self.layout.schema.clone()
    }

    fn extents(&self, _timeout: Duration) -> Result<Vec<Extent>, SourceError> {
        let end = self.schedule.end((self.clock)());
        Ok(vec![Extent { partition: PARTITION, first: 0, end }])
    }

    fn start(&self, _timeout: Duration) -> Result<Vec<Span>, SourceError> {
        Ok(vec![Span { partition: PARTITION, from: 0, to: None }])
    }

    fn reader(&self, spans: &[Span]) -> Result<Box<dyn Reader>, SourceError> {
        let span = match spans {
            [] => Span { partition: PARTITION, from: 0, to: Some(0) },
            [span] if span.partition == PARTITION => *span,
            _ => {
                return Err(SourceError::Invalid(
                    "a generated source has one partition, 0".to_owned(),
                ));
            }
        };
        Ok(Box::new(DatagenReader { source: self.clone(), next: span.from, to: span.to }))
    }
}

struct DatagenReader {
    source: Datagen,
    next: i64,
    to: Option<i64>,
}

impl DatagenReader {
    /// The rows that can be given now, and whether they reach the end.
    fn due(&self, rows: usize) -> (i64, bool) {
        let end = self.source.schedule.end((self.source.clock)());
        let most = self.next.saturating_add(i64::try_from(rows.max(1)).unwrap_or(i64::MAX));
        let to = end.min(most).min(self.to.unwrap_or(i64::MAX));
        (to, to == end)
    }
}

impl Reader for DatagenReader {
    fn poll(&mut self, limits: Limits) -> Result<Vec<Chunk>, SourceError> {
        let (mut to, mut at_end) = self.due(limits.rows);
        if to <= self.next {
            // Another wake-up only makes the wait shorter than it could be.
            std::thread::park_timeout(limits.wait);
            (to, at_end) = self.due(limits.rows);
        }
        if to <= self.next {
            return Ok(Vec::new());
        }
        let chunk = self.source.chunk(self.next, to, at_end)?;
        self.next = to;
        Ok(vec![chunk])
    }
}
