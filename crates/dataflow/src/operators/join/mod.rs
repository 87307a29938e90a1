//! The join operator: inner, left, right, full, semi and anti.
//!
//! Both inputs are kept, by join key. The rows of one time are added up first, then each touched key
//! is looked at once: changed left rows meet the right rows that were there, then changed right rows
//! meet the left rows that are there now; together that is `dA*B + (A + dA)*dB`, the change of the
//! product. A pair both of whose rows change and that was there is told once, with both terms: one
//! that comes and goes within a time leaves nothing.
//!
//! Rows that are shown for having no match (outer, anti) or for having one (semi) keep the weight of
//! their matches. When all pairs of a time are through, what each touched row showed before is
//! compared with what it shows now: a NULL row never flickers, whatever the order of changes.
//!
//! A row with a NULL in its join key matches nothing, unless NULLs are equal there. It is not kept: if
//! rows without a match are shown, it passes through, else it ends here.
//!
//! A lookup keeps the right side alone: the changes of a time are made there first, then its left rows
//! meet what is there now and go.
//!
//! Under retraction: everything is linear in the weights of both inputs. A pair whose condition
//! fails is no match but an error row with the pair's weight.
//!
//! State: a table a side, keyed by the whole row. A row goes with its weight; its slot stays until
//! the next hand-over has written that. Where the condition bounds the times of both sides against each
//! other, a row goes when the watermark says that nothing it could meet will change ([`Side::let_go`]),
//! without output: what it has shown stands. Other rows leave memory when that is short, and come back from
//! the store with all rows of their join key when this is touched (`away`).
//!
//! Invariants: those of [`side`]. 1. the join key of a row that is kept has a slot while any row of
//! it is kept on either side ([`Join::forget`]).

mod appended;
mod away;
mod finish;
mod pairs;
mod side;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::Field;
use millrace_plan::JoinKind;
use millrace_types::{Delta, Ts, concat_deltas};

use self::finish::{FUEL, Finishing};
use self::pairs::{Condition, Pair};
use self::side::{Change, Side};
use super::away::Away;
use super::slots::NONE;
use super::slots::{self, Index};
use crate::graph::JoinSpec;
use crate::operator::{Context, Error, Operator, Output, StateChange, StateSpec, Stored};

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// See the head of the file.
pub(crate) struct Join {
    spec: Arc<JoinSpec>,
    /// The join key's columns of each side.
    on: [Vec<usize>; 2],
    condition: Option<Condition>,
    absorbed: BTreeMap<Ts, [Vec<Delta>; 2]>,
    /// Slots of join keys, of both sides.
    keys: Box<dyn Index>,
    sides: [Side; 2],
    /// Join keys that the store alone has, with their rows.
    away: Away,
    /// Keys without rows, that the store still has rows of until the next hand-over.
    emptied: Vec<u32>,
    /// A time of which pairs are still to come.
    finishing: Option<Finishing>,
    /// Pairs of one piece.
    fuel: usize,
}

impl Join {
    /// The operator, without rows.
    ///
    /// # Errors
    /// A column type that it does not take.
    pub(crate) fn new(spec: Arc<JoinSpec>) -> Result<Join, Error> {
        let [left, right] = &spec.inputs;
        let on = [
            spec.on.iter().map(|pair| pair.left).collect(),
            spec.on.iter().map(|pair| pair.right).collect(),
        ];
        let keys = spec.on.iter().map(|pair| {
            let (left, right) = (left.schema.field(pair.left), right.schema.field(pair.right));
            left.clone().with_nullable(left.is_nullable() || right.is_nullable())
        });
        let keys: Vec<Field> = keys.collect();
        let side = |name: &str, input: usize, counts| {
            let name = format!("{}, {name} side", spec.name);
            Side::new(name, &spec.inputs[input], counts, spec.clean[input].clone())
        };
        let counts_left = spec.kind.keeps_left() || spec.kind == JoinKind::Semi;
        let sides =
            [side("left", LEFT, counts_left)?, side("right", RIGHT, spec.kind.keeps_right())?];
        Ok(Join {
            on,
            condition: Condition::new(&spec),
            absorbed: BTreeMap::new(),
            keys: slots::index(&keys.iter().collect::<Vec<_>>())?,
            sides,
            away: Away::default(),
            emptied: Vec::new(),
            finishing: None,
            fuel: FUEL,
            spec,
        })
    }

    /// The slots of the join keys of a side's rows.
    fn keys(&mut self, side: usize, columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>, Error> {
        let columns: Vec<ArrayRef> =
            self.on[side].iter().map(|column| Arc::clone(&columns[*column])).collect();
        let mut slots = Vec::new();
        if columns.is_empty() {
            self.keys.assign(&columns, rows.min(1), &mut slots)?;
            let slot = slots.first().copied().unwrap_or_default();
            slots.resize(rows, slot);
        } else {
            self.keys.assign(&columns, rows, &mut slots)?;
        }
        let capacity = self.keys.capacity();
        self.sides.iter_mut().for_each(|side| side.reserve_keys(capacity));
        Ok(slots)
    }

    /// True where a row can have matches; None if all can.
    fn matchable(&self, side: usize, delta: &Delta) -> Option<BooleanArray> {
        let strict = self.spec.on.iter().zip(&self.on[side]).filter(|(pair, _)| !pair.null_equal);
        let time = self.sides[side].clean_column();
        let columns: Vec<&ArrayRef> = strict
            .map(|(_, column)| *column)
            .chain(time)
            .map(|column| delta.rows.column(column))
            .filter(|column| column.null_count() > 0)
            .collect();
        if columns.is_empty() {
            return None;
        }
        let all_valid = |row: usize| columns.iter().all(|column| column.is_valid(row));
        Some((0..delta.len()).map(|row| Some(all_valid(row))).collect())
    }

    /// The net changes of one side, by join key; rows that cannot match pass or end here.
    fn incoming(
        &mut self,
        side: usize,
        deltas: &[Delta],
        out: &mut Output,
    ) -> Result<Vec<Change>, Error> {
        let Some(delta) = concat_deltas(deltas)? else { return Ok(Vec::new()) };
        // Rows that nobody retracts come once each.
        let once = self.spec.inputs[side].append_only;
        let mut delta = if once { delta } else { delta.consolidate()? };
        if let Some(matchable) = self.matchable(side, &delta) {
            let alone = if side == LEFT {
                self.spec.kind.keeps_left()
            } else {
                self.spec.kind.keeps_right()
            };
            if alone {
                let others = delta.filter(&arrow::compute::not(&matchable)?)?;
                self.show(side, others.rows.columns().to_vec(), others.weights, out)?;
            }
            delta = delta.filter(&matchable)?;
        }
        self.bring_back(side, delta.rows.columns(), delta.len())?;
        let keys = self.keys(side, delta.rows.columns(), delta.len())?;
        let rows = self.sides[side].slots(delta.rows.columns(), delta.len())?;
        let changes = keys.into_iter().zip(rows).zip(delta.weights.values());
        let mut changes: Vec<Change> =
            changes.map(|((key, row), weight)| Change { key, row, weight: *weight }).collect();
        changes.sort_unstable_by_key(|change| (change.key, change.row));
        Ok(changes)
    }

    /// Rows of one side leave alone, padded with NULLs where the other side has columns.
    fn show(
        &self,
        side: usize,
        mut columns: Vec<ArrayRef>,
        weights: Int64Array,
        out: &mut Output,
    ) -> Result<(), Error> {
        if weights.is_empty() {
            return Ok(());
        }
        if self.spec.kind.gives_pairs() {
            let other = self.spec.inputs[1 - side].schema.fields().iter();
            let nulls = other.map(|field| new_null_array(field.data_type(), weights.len()));
            match side {
                LEFT => columns.extend(nulls),
                _ => columns = nulls.chain(columns).collect(),
            }
        }
        let rows = RecordBatch::try_new(Arc::clone(&self.spec.output), columns)?;
        out.deltas.push(Delta::new(rows, weights));
        Ok(())
    }

    /// The sides whose rows are state, one a table.
    fn kept(&self) -> &'static [usize] {
        if self.spec.lookup { &[RIGHT] } else { &[LEFT, RIGHT] }
    }

    /// A changed row meets one of the other side; None if that changes nothing, or nobody asks for it.
    /// `both`: rows of both sides change.
    fn pair(&self, side: usize, change: &Change, other: u32, both: bool) -> Option<Pair> {
        let (own, opposite) = (&self.sides[side], &self.sides[1 - side]);
        let (before, weight) = (own.weight(change.row), opposite.weight(other));
        // What the other row still changes by, if this one is there to meet that.
        let mut later = if both { opposite.announced(other) } else { 0 };
        if side == RIGHT && later != 0 {
            if before != 0 {
                // The left row has met both changes.
                return None;
            }
            later = 0;
        }
        let after = before + change.weight;
        if after == 0 {
            later = 0;
        }
        let mut to_own = if before == 0 { weight } else { 0 } + later;
        if !own.counts {
            to_own = 0;
        }
        let to_other = if opposite.counts { change.weight } else { 0 };
        let weight = weight * change.weight + after * later;
        let asked = self.spec.kind.gives_pairs() || self.condition.is_some();
        if to_own == 0 && to_other == 0 && (!asked || weight == 0) {
            return None;
        }
        Some(match side {
            LEFT => {
                Pair { left: change.row, right: other, weight, to_left: to_own, to_right: to_other }
            }
            _ => {
                Pair { left: other, right: change.row, weight, to_left: to_other, to_right: to_own }
            }
        })
    }

    /// The rows of a side that come and go for having a match, or none.
    fn alone(&mut self, side: usize) -> Vec<(u32, i64)> {
        match self.sides[side].counts {
            true => self.sides[side].shown(self.spec.kind == JoinKind::Semi),
            false => Vec::new(),
        }
    }

    /// Such rows leave.
    fn show_some(&self, side: usize, rows: &[(u32, i64)], out: &mut Output) -> Result<(), Error> {
        let slots: Vec<u32> = rows.iter().map(|(row, _)| *row).collect();
        let columns = self.sides[side].rows.decode(&slots)?;
        let weights = Int64Array::from_iter_values(rows.iter().map(|(_, weight)| *weight));
        self.show(side, columns, weights, out)
    }

    /// Forgets the keys that no row has any more.
    fn forget(&mut self, keys: impl IntoIterator<Item = u32>) {
        for key in keys {
            if self.sides.iter().any(|side| side.first(key) != NONE) {
                continue;
            }
            match self.away.is_some() {
                true => self.emptied.push(key),
                false => drop(self.keys.remove(key)),
            }
        }
    }
}

impl Operator for Join {
    fn absorb(&mut self, port: usize, delta: Delta, context: &Context) -> Result<(), Error> {
        if !delta.is_empty() {
            self.absorbed.entry(context.ts).or_default()[port].push(delta);
        }
        Ok(())
    }

    fn finish(&mut self, context: &Context, out: &mut Output) -> Result<(), Error> {
        let mut finishing = match self.finishing.take() {
            Some(finishing) => finishing,
            None => {
                let Some([left, right]) = self.absorbed.remove(&context.ts) else {
                    return self.settle(context);
                };
                let left = self.incoming(LEFT, &left, out)?;
                Finishing::new([left, self.incoming(RIGHT, &right, out)?])
            }
        };
        if !self.go_on(&mut finishing, (context, out))? {
            self.finishing = Some(finishing);
            return Ok(());
        }
        let [left, right] = &finishing.changes;
        if self.spec.lookup {
            self.sides[LEFT].drop_rows(left);
        }
        self.forget(left.iter().chain(right).map(|change| change.key));
        self.settle(context)
    }

    fn has_more(&self) -> bool {
        self.finishing.is_some()
    }

    fn set_fuel(&mut self, rows: usize) {
        self.fuel = rows.max(1);
    }

    fn tables(&self) -> Vec<StateSpec> {
        self.kept().iter().map(|side| self.table(*side)).collect()
    }

    fn settle(&mut self, context: &Context) -> Result<(), Error> {
        for side in [LEFT, RIGHT] {
            let keys = self.sides[side].let_go(context);
            self.forget(keys);
        }
        Ok(())
    }

    fn hand_over(&mut self) -> Result<Vec<Option<StateChange>>, Error> {
        let changes = self.kept().iter().map(|side| self.changes(*side)).collect();
        for key in std::mem::take(&mut self.emptied) {
            if self.sides.iter().all(|side| side.first(key) == NONE) {
                self.keys.remove(key);
            }
        }
        changes
    }

    fn restore(&mut self, table: usize, rows: RecordBatch) -> Result<(), Error> {
        let side = self.kept().get(table).copied();
        let side = side.unwrap_or_else(|| panic!("{}: it has no table {table}", self.spec.name));
        self.take_back(side, &rows)
    }

    fn let_go(&mut self, stored: &Arc<dyn Stored>) -> Result<bool, Error> {
        self.let_all_go(stored)
    }

    fn rows(&self) -> usize {
        self.sides.iter().map(|side| side.rows.len()).sum()
    }

    fn bytes(&self) -> usize {
        let absorbed = self.absorbed.values().flatten().flatten();
        self.keys.bytes()
            + self.sides.iter().map(Side::bytes).sum::<usize>()
            + absorbed.map(Delta::bytes).sum::<usize>()
            + self.finishing.as_ref().map_or(0, Finishing::bytes)
    }

    fn touched(&self) -> u64 {
        self.sides.iter().map(|side| side.marks.touched()).sum()
    }
}
