//! The events of an auction house: people, auctions and bids, made inside the server.
//!
//! The Nexmark benchmark's generator, as a source for each of its three tables. Which event is a row
//! of which table follows from its number, so a source makes its own rows and passes over the
//! others without looking at them. Row `n` is a pure function of the seed and `n`: a range read again
//! gives the same rows. Rows are dealt out to the splits in turn, so that all of them get on in event
//! time alike.
//!
//! A generator with a number of events is like a topic that holds them all: a view of it is filled when
//! it has read them. An endless one is like a topic that is empty when the view is made.
//!
//! Invariant: offset `o` of split `s` is row `o * splits + s` of the table, for ever.

mod column;
mod event;
mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use millrace_dataflow::source::{
    Chunk, Columns, Connector, Extent, Limits, Reader, SourceError, Span,
};
use millrace_types::{PartitionId, SqlType};

use self::column::{Column, Stretch};
use self::event::Table;
use crate::connect::Definition;
use crate::datagen::Clock;
use crate::options::{Options, refused};
use crate::rows::{Layout, derived};
use crate::{Include, IncludeKind};

/// The options of a Nexmark source.
pub(crate) const OPTIONS: &[&str] = &[
    "nexmark.table.type",
    "nexmark.event.num",
    "nexmark.split.num",
    "nexmark.min.event.gap.in.ns",
    "nexmark.events.per.second",
    "nexmark.seed",
];

const TYPE: &str = "nexmark.table.type";
const SPLITS: i32 = 4;
const SPLITS_MAX: i32 = 256;
/// Ten thousand events a second, in event time.
const GAP_NS: i64 = 100_000;

/// The columns of the table that the options name, each with the types that it can have, the usual
/// one first. None if they name no table.
pub(crate) fn columns(options: &BTreeMap<String, String>) -> Option<Vec<(String, Vec<SqlType>)>> {
    let table = table(options.get(TYPE)?)?;
    let column = |(name, column): &(&str, Column)| ((*name).to_owned(), column.types());
    Some(column::columns(table).iter().map(column).collect())
}

fn table(name: &str) -> Option<Table> {
    match name.trim().to_ascii_lowercase().as_str() {
        "person" => Some(Table::Person),
        "auction" => Some(Table::Auction),
        "bid" => Some(Table::Bid),
        _ => None,
    }
}

/// One table of the generator.
#[derive(Clone)]
pub(crate) struct Nexmark {
    layout: Arc<Layout>,
    columns: Arc<[Column]>,
    table: Table,
    /// Rows of the table; None without an end.
    rows: Option<i64>,
    splits: i32,
    gap_ns: i64,
    seed: u64,
    /// Events a second; None as fast as they are taken.
    rate: Option<i64>,
    clock: Clock,
}

impl Nexmark {
    pub(crate) fn new(
        definition: &Definition,
        layout: Arc<Layout>,
    ) -> Result<Nexmark, SourceError> {
        let mut options = Options::new("nexmark", &definition.options);
        let kind = options.required(TYPE)?;
        let table = table(kind).ok_or_else(|| refused(TYPE, kind, "Person, Auction or Bid"))?;
        let mut number = |name: &str, least: i64, most: i64, otherwise: i64| {
            let wanted = format!("a whole number from {least} to {most}");
            let value: i64 = options.parsed(name, &wanted)?.unwrap_or(otherwise);
            let fits = (least..=most).contains(&value);
            fits.then_some(value).ok_or_else(|| refused(name, value, &wanted))
        };
        let events = number("nexmark.event.num", 0, 1 << 50, 0)?;
        let splits = number("nexmark.split.num", 1, i64::from(SPLITS_MAX), i64::from(SPLITS))?;
        let gap_ns = number("nexmark.min.event.gap.in.ns", 1, 1_000_000_000, GAP_NS)?;
        let rate = number("nexmark.events.per.second", 0, 1_000_000_000, 0)?;
        let seed = number("nexmark.seed", 0, i64::MAX, 0)?;
        options.finish(OPTIONS)?;
        let known = column::columns(table);
        let column = |name: &str| known.iter().find(|(n, _)| *n == name).map(|(_, c)| *c);
        let unknown = |name: &str| SourceError::Invalid(format!("{kind} has no column \"{name}\""));
        let columns =
            layout.columns.iter().map(|c| column(c.name()).ok_or_else(|| unknown(c.name())));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        if let Some(include) = layout.include.iter().find(|include| !is_known(include)) {
            return Err(SourceError::Invalid(format!(
                "connector \"nexmark\" has no message {:?} to INCLUDE",
                include.kind
            )));
        }
        Ok(Nexmark {
            layout,
            columns: columns.into(),
            table,
            rows: (events > 0).then(|| table.rows(events)),
            splits: i32::try_from(splits).unwrap_or(SPLITS_MAX),
            gap_ns,
            seed: crate::random::mix(seed.unsigned_abs()),
            rate: (rate > 0).then_some(rate),
            clock: definition.clock.clone(),
        })
    }

    /// The offset behind a split's last row below `rows`.
    fn end(&self, split: PartitionId, rows: i64) -> i64 {
        let splits = i64::from(self.splits);
        (rows - i64::from(split.0) + splits - 1).max(0) / splits
    }

    fn splits(&self) -> impl Iterator<Item = PartitionId> {
        (0..self.splits).map(PartitionId)
    }

    /// Offsets `[from, to)` of a split, with those columns that are wanted.
    fn chunk(
        &self,
        split: PartitionId,
        (from, to): (i64, i64),
        wanted: &Columns,
        blanks: &mut Blanks,
    ) -> Result<Chunk, SourceError> {
        let (splits, first) = (i64::from(self.splits), i64::from(split.0));
        let offsets: Vec<i64> = (from..to).collect();
        let events: Vec<i64> =
            offsets.iter().map(|offset| self.table.event(offset * splits + first)).collect();
        let stretch =
            Stretch { table: self.table, seed: self.seed, gap_ns: self.gap_ns, events: &events };
        let mut bytes = events.len() * 16;
        let mut columns = Vec::with_capacity(self.columns.len());
        for (place, (column, field)) in self.columns.iter().zip(&self.layout.columns).enumerate() {
            let values = match wanted.has(place) {
                true => stretch.column(*column, field.data_type()),
                false => blanks.column(place, field.data_type(), events.len()),
            };
            let values = values.map_err(|error| invalid(&error))?;
            if wanted.has(place) {
                bytes += values.get_buffer_memory_size();
            }
            columns.push(values);
        }
        let extra = self.layout.include.iter().map(|i| derived(i.kind, "nexmark", split, &offsets));
        let extra = extra.collect();
        let rows =
            self.layout.finish(columns, extra, split, offsets).map_err(|error| invalid(&error))?;
        let at_end = self.last(split) == Some(to);
        Ok(Chunk { partition: split, from, to, rows, bad: Vec::new(), bytes, at_end })
    }
}

fn invalid(error: &ArrowError) -> SourceError {
    SourceError::Invalid(format!("rows cannot be generated: {error}"))
}

/// Partition and offset are known of a generated row.
fn is_known(include: &Include) -> bool {
    matches!(include.kind, IncludeKind::Partition | IncludeKind::Offset)
}

impl Connector for Nexmark {
    fn schema(&self) -> SchemaRef {
        self.layout.schema.clone()
    }

    fn extents(&self, _timeout: Duration) -> Result<Vec<Extent>, SourceError> {
        // With a rate, rows become readable while they are read.
        let rows = self.rows.filter(|_| self.rate.is_none()).unwrap_or(0);
        let extent = |split| Extent { partition: split, first: 0, end: self.end(split, rows) };
        Ok(self.splits().map(extent).collect())
    }

    fn last(&self, partition: PartitionId) -> Option<i64> {
        Some(self.end(partition, self.rows?))
    }

    fn start(&self, _timeout: Duration) -> Result<Vec<Span>, SourceError> {
        Ok(self.splits().map(|partition| Span { partition, from: 0, to: None }).collect())
    }

    fn reader(&self, spans: &[Span]) -> Result<Box<dyn Reader>, SourceError> {
        self.reader_of(spans, &Columns::all())
    }

    fn reader_of(&self, spans: &[Span], columns: &Columns) -> Result<Box<dyn Reader>, SourceError> {
        if let Some(span) = spans.iter().find(|span| !(0..self.splits).contains(&span.partition.0))
        {
            return Err(SourceError::Gone(format!("there is no split {}", span.partition.0)));
        }
        let spans = spans.iter().map(|span| Open { span: *span, first: span.from }).collect();
        Ok(Box::new(NexmarkReader {
            opened: (self.clock)(),
            source: self.clone(),
            spans,
            turn: 0,
            columns: columns.clone(),
            blanks: Blanks::default(),
        }))
    }
}

/// A span that is being read: `span.from` moves on, `first` is where it was.
struct Open {
    span: Span,
    first: i64,
}

struct NexmarkReader {
    source: Nexmark,
    spans: Vec<Open>,
    turn: usize,
    columns: Columns,
    blanks: Blanks,
    opened: i64,
}

impl NexmarkReader {
    /// Offsets of a span that can be given now. A span with an end has been readable before.
    fn due(&self, open: &Open, rows: usize) -> (i64, i64) {
        let (source, span) = (&self.source, open.span);
        let most = span.from.saturating_add(i64::try_from(rows.max(1)).unwrap_or(i64::MAX));
        let end = source.last(span.partition).unwrap_or(i64::MAX);
        let mut to = most.min(end).min(span.to.unwrap_or(i64::MAX));
        if let (None, Some(rate)) = (span.to, source.rate) {
            let elapsed = i128::from((source.clock)().saturating_sub(self.opened).max(0));
            let events = elapsed * i128::from(rate) / 1_000_000;
            let rows = source.table.rows(i64::try_from(events).unwrap_or(i64::MAX));
            to = to.min(open.first.saturating_add(source.end(span.partition, rows)));
        }
        (span.from, to)
    }
}

impl Reader for NexmarkReader {
    fn poll(&mut self, limits: Limits) -> Result<Vec<Chunk>, SourceError> {
        for _ in 0..self.spans.len() {
            let place = self.turn % self.spans.len();
            self.turn = place + 1;
            let open = &self.spans[place];
            let (from, to) = self.due(open, limits.rows);
            if from < to {
                let split = open.span.partition;
                self.spans[place].span.from = to;
                let chunk =
                    self.source.chunk(split, (from, to), &self.columns, &mut self.blanks)?;
                return Ok(vec![chunk]);
            }
        }
        // Another wake-up only makes the wait shorter than it could be.
        std::thread::park_timeout(limits.wait);
        Ok(Vec::new())
    }
}

/// Columns that nobody reads: zeros and empty texts, made once and shared by all chunks.
#[derive(Default)]
struct Blanks(BTreeMap<usize, ArrayRef>);

impl Blanks {
    fn column(
        &mut self,
        place: usize,
        data_type: &DataType,
        rows: usize,
    ) -> Result<ArrayRef, ArrowError> {
        if let Some(made) = self.0.get(&place).filter(|made| made.len() >= rows) {
            return Ok(made.slice(0, rows));
        }
        let made: ArrayRef = match data_type {
            DataType::Utf8 => {
                let ends = OffsetBuffer::new_zeroed(rows);
                Arc::new(StringArray::try_new(ends, Buffer::from_vec(Vec::<u8>::new()), None)?)
            }
            DataType::Timestamp(_, zone) => {
                let zeros = TimestampMicrosecondArray::from(vec![0; rows]);
                Arc::new(zeros.with_timezone_opt(zone.clone()))
            }
            _ => Arc::new(Int64Array::from(vec![0; rows])),
        };
        self.0.insert(place, made.clone());
        Ok(made)
    }
}
