//! Rows that are shown for a time: temporal filters (`ts > now() - INTERVAL '1 hour'`), and rows that
//! wait until no change can reach them (`EMIT ON WINDOW CLOSE`).
//!
//! Each row says from when and until when it is shown; the clock is `now()` or a watermark, and never
//! falls. A row whose time is still to come, or to end, is kept, in the order of its next *turn*. When
//! the clock passes turns, those rows come or go, and nothing else is looked at: an epoch costs what
//! comes in and what turns.
//!
//! Under retraction: a row that is not kept is over (its change ends here) or for good (its change
//! passes); which of the two follows from the row and the clock alone.
//!
//! State: one table of whole rows with their weight, the time at which a row is let go first. Rows
//! that the clock has passed go by one `trim`; retracted ones by a tombstone, until which their slot
//! stays.
//!
//! Invariants: 1. no weight is below 0 ([`Stay::keep`]). 2. a slot is listed under its next turn, or
//! has weight 0 and is listed nowhere.

mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, TimeUnit};
use millrace_plan::Clock;
use millrace_types::{Delta, Ts, concat_deltas};

use super::slots::Marks;
use super::slots::{self, Index};
use crate::graph::StaySpec;
use crate::natives;
use crate::operator::{Context, Error, Operator, Output, StateChange, StateSpec};

/// What is kept of a slot's row.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    weight: i64,
    /// The row has come; its next turn is its end.
    shown: bool,
    turn: i64,
}

/// See the head of the file.
pub(crate) struct Stay {
    spec: Arc<StaySpec>,
    absorbed: BTreeMap<Ts, Vec<Delta>>,
    rows: Box<dyn Index>,
    /// By slot.
    kept: Vec<Kept>,
    /// Next turns and whose they are.
    turns: BTreeSet<(i64, u32)>,
    marks: Marks,
    /// Rows whose last time is below this have gone since the last hand-over.
    trim: Option<i64>,
}

/// When the rows of some columns come and go.
struct Times {
    columns: [Option<(ArrayRef, ScalarBuffer<i64>)>; 2],
}

impl Times {
    /// From when and until when a row is shown; None: never.
    fn of(&self, row: usize) -> Option<(i64, i64)> {
        let time = |side: usize, without: i64| match &self.columns[side] {
            None => Some(without),
            Some((column, values)) => column.is_valid(row).then(|| values[row]),
        };
        let (from, until) = (time(0, i64::MIN)?, time(1, i64::MAX)?);
        (from < until).then_some((from, until))
    }
}

impl Stay {
    /// The operator, without rows.
    ///
    /// # Errors
    /// A column type that it does not take.
    pub(crate) fn new(spec: Arc<StaySpec>) -> Result<Stay, Error> {
        let schema = &spec.input.schema;
        for column in spec.from.into_iter().chain(spec.until) {
            let data_type = schema.field(column).data_type();
            if !matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, _)) {
                return Err(Error::Unsupported("rows that stay until what is no time".into()));
            }
        }
        let fields: Vec<&Field> = schema.fields().iter().map(AsRef::as_ref).collect();
        Ok(Stay {
            rows: slots::row_index(&fields)?,
            spec,
            absorbed: BTreeMap::new(),
            kept: Vec::new(),
            turns: BTreeSet::new(),
            marks: Marks::default(),
            trim: None,
        })
    }

    /// Where the clock stands; before its first time, below all times.
    fn clock(&self, context: &Context) -> i64 {
        let time = match &self.spec.clock {
            Clock::Now => context.now,
            Clock::Watermark { shift, sources } => {
                context.watermark(sources).map(|watermark| watermark.saturating_sub(*shift))
            }
        };
        time.unwrap_or(i64::MIN)
    }

    fn times(&self, columns: &[ArrayRef]) -> Times {
        let column = |at: Option<usize>| {
            at.map(|at| (Arc::clone(&columns[at]), natives::values::<i64>(&columns[at])))
        };
        Times { columns: [column(self.spec.from), column(self.spec.until)] }
    }

    /// The rows whose turn has come.
    fn turn(&mut self, clock: i64) -> Result<Option<Delta>, Error> {
        let mut slots = Vec::new();
        while let Some((_, slot)) = self.turns.first().filter(|(turn, _)| *turn <= clock) {
            slots.push(*slot);
            self.turns.pop_first();
        }
        if slots.is_empty() {
            return Ok(None);
        }
        self.marks.count(slots.len());
        let columns = self.rows.decode(&slots)?;
        let times = self.times(&columns);
        let (mut weights, mut over) = (Vec::with_capacity(slots.len()), Vec::new());
        for (row, slot) in slots.into_iter().enumerate() {
            let kept = &mut self.kept[slot as usize];
            let until = times.of(row).map_or(i64::MIN, |(_, until)| until);
            let ends = until != i64::MAX;
            if !kept.shown && ends && until > clock {
                weights.push(kept.weight);
                (kept.shown, kept.turn) = (true, until);
                self.turns.insert((until, slot));
                self.marks.set(slot);
                continue;
            }
            weights.push(match (kept.shown, ends) {
                (true, _) => -kept.weight,
                (false, true) => 0,
                (false, false) => kept.weight,
            });
            *kept = Kept::default();
            over.push(slot);
        }
        self.trim = Some(clock.saturating_add(1));
        over.iter().for_each(|slot| self.marks.unset(*slot));
        self.rows.remove_all(over);
        let rows = RecordBatch::try_new(Arc::clone(&self.spec.input.schema), columns)?;
        let delta = Delta::new(rows, Int64Array::from(weights));
        Ok(Some(nonzero(delta)?))
    }

    /// Rows that change: what passes, and what is kept of them.
    fn take_in(&mut self, delta: Delta, clock: i64) -> Result<Delta, Error> {
        let times = self.times(delta.rows.columns());
        let (mut passes, mut stays) = (Vec::new(), Vec::new());
        let (mut turns, mut changes) = (Vec::new(), Vec::new());
        for row in 0..delta.len() {
            let times = times.of(row).filter(|(_, until)| *until > clock);
            let shown = times.is_some_and(|(from, _)| from <= clock);
            let turn = times.map(|(from, until)| if shown { until } else { from });
            let turn = turn.filter(|turn| *turn != i64::MAX);
            passes.push(shown);
            stays.push(turn.is_some());
            if let Some(turn) = turn {
                turns.push((turn, shown));
                changes.push(delta.weights.value(row));
            }
        }
        if !turns.is_empty() {
            let rows = delta.filter(&BooleanArray::from(stays))?;
            self.keep(rows.rows.columns(), &turns, &changes)?;
        }
        Ok(delta.filter(&BooleanArray::from(passes))?)
    }

    /// Changes the weights of rows that are kept, each at its next turn.
    fn keep(
        &mut self,
        columns: &[ArrayRef],
        turns: &[(i64, bool)],
        changes: &[i64],
    ) -> Result<(), Error> {
        let mut slots = Vec::new();
        self.rows.assign(columns, turns.len(), &mut slots)?;
        self.kept.resize(self.rows.capacity(), Kept::default());
        for ((slot, (turn, shown)), change) in slots.into_iter().zip(turns).zip(changes) {
            let kept = &mut self.kept[slot as usize];
            let weight = kept.weight + change;
            assert!(weight >= 0, "{}: a row has the weight {weight}", self.spec.name);
            let entry = (*turn, slot);
            match (kept.weight, weight) {
                (0, _) => drop(self.turns.insert(entry)),
                (_, 0) => drop(self.turns.remove(&entry)),
                _ => {}
            }
            *kept = Kept { weight, shown: *shown, turn: *turn };
            self.marks.set(slot);
        }
        Ok(())
    }
}

fn nonzero(delta: Delta) -> Result<Delta, Error> {
    if delta.weights.values().iter().all(|weight| *weight != 0) {
        return Ok(delta);
    }
    let keep = delta.weights.values().iter().map(|weight| Some(*weight != 0)).collect();
    Ok(delta.filter(&keep)?)
}

impl Operator for Stay {
    fn absorb(&mut self, _port: usize, delta: Delta, context: &Context) -> Result<(), Error> {
        if !delta.is_empty() {
            self.absorbed.entry(context.ts).or_default().push(delta);
        }
        Ok(())
    }

    fn finish(&mut self, context: &Context, out: &mut Output) -> Result<(), Error> {
        let clock = self.clock(context);
        let mut made: Vec<Delta> = self.turn(clock)?.into_iter().collect();
        let absorbed = self.absorbed.remove(&context.ts).unwrap_or_default();
        if let Some(delta) = concat_deltas(&absorbed)? {
            made.push(self.take_in(delta.consolidate()?, clock)?);
        }
        made.retain(|delta| !delta.is_empty());
        // A row that comes and is retracted within one time leaves nothing.
        let made = match made.len() {
            2 => concat_deltas(&made)?.map(|both| both.consolidate()).transpose()?,
            _ => made.pop(),
        };
        out.deltas.extend(made.filter(|delta| !delta.is_empty()));
        Ok(())
    }

    fn tables(&self) -> Vec<StateSpec> {
        vec![self.table()]
    }

    fn settle(&mut self, _: &Context) -> Result<(), Error> {
        Ok(())
    }

    fn hand_over(&mut self) -> Result<Vec<Option<StateChange>>, Error> {
        Ok(vec![self.changes()?])
    }

    fn restore(&mut self, table: usize, rows: RecordBatch) -> Result<(), Error> {
        assert!(table == 0, "{}: it has one table", self.spec.name);
        self.take_back(&rows)
    }

    fn is_due(&self, context: &Context) -> bool {
        let clock = self.clock(context);
        self.turns.first().is_some_and(|(turn, _)| *turn <= clock)
    }

    fn next_turn(&self) -> Option<i64> {
        let (turn, _) = self.turns.first().filter(|_| self.spec.clock == Clock::Now)?;
        Some(*turn)
    }

    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn bytes(&self) -> usize {
        let absorbed = self.absorbed.values().flatten();
        self.rows.bytes()
            + self.kept.capacity() * size_of::<Kept>()
            + self.turns.len() * size_of::<(i64, u32)>()
            + self.marks.bytes()
            + absorbed.map(Delta::bytes).sum::<usize>()
    }

    fn touched(&self) -> u64 {
        self.marks.touched()
    }
}
