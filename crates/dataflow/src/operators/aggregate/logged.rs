//! The rows of a scratch that counts distinct values: as they came, or by group, where groups are
//! merged a few at a time.

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::{concat, take};

use super::accumulator::Moves;
use crate::operator::Error;

/// Rows that came together.
pub(super) struct Logged {
    pub(super) groups: Vec<u32>,
    pub(super) columns: Vec<ArrayRef>,
    /// None: each row once.
    pub(super) weights: Option<Vec<i64>>,
    /// A bit for each filter that a row passes. None: there is one, which all rows pass.
    pub(super) passes: Option<Vec<u64>>,
}

impl Logged {
    /// Some of the rows.
    ///
    /// # Errors
    /// Arrow's.
    pub(super) fn take(&self, rows: &[u32]) -> Result<Logged, Error> {
        let kept = UInt32Array::from(rows.to_vec());
        let columns = self.columns.iter().map(|column| take(column, &kept, None));
        let weights = self.weights.as_ref();
        let passes = self.passes.as_ref();
        Ok(Logged {
            groups: rows.iter().map(|row| self.groups[*row as usize]).collect(),
            columns: columns.collect::<Result<_, _>>()?,
            weights: weights.map(|all| rows.iter().map(|row| all[*row as usize]).collect()),
            passes: passes.map(|all| rows.iter().map(|row| all[*row as usize]).collect()),
        })
    }

    /// All rows of a log as one; None if there are none.
    fn joined(log: &[Logged]) -> Result<Option<Logged>, Error> {
        let Some(first) = log.first() else { return Ok(None) };
        let columns = (0..first.columns.len()).map(|column| {
            let parts: Vec<&dyn Array> =
                log.iter().map(|rows| rows.columns[column].as_ref()).collect();
            concat(&parts)
        });
        let columns = columns.collect::<Result<_, _>>()?;
        let groups = log.iter().flat_map(|rows| rows.groups.iter().copied()).collect();
        let weights = log.iter().any(|rows| rows.weights.is_some()).then(|| {
            let each = |rows: &Logged| match &rows.weights {
                Some(weights) => weights.clone(),
                None => vec![1; rows.groups.len()],
            };
            log.iter().flat_map(each).collect()
        });
        let passes = log.iter().any(|rows| rows.passes.is_some()).then(|| {
            let each = |rows: &Logged| match &rows.passes {
                Some(passes) => passes.clone(),
                None => vec![1; rows.groups.len()],
            };
            log.iter().flat_map(each).collect()
        });
        Ok(Some(Logged { groups, columns, weights, passes }))
    }
}

/// The rows of a scratch by group.
pub(super) struct Sorted {
    rows: Logged,
    /// Where the rows of each group begin, and where those of the last one end.
    starts: Vec<u32>,
}

impl Sorted {
    /// All rows of a log; None if there are none.
    ///
    /// # Errors
    /// Arrow's.
    pub(super) fn new(log: &[Logged]) -> Result<Option<Sorted>, Error> {
        let Some(all) = Logged::joined(log)? else { return Ok(None) };
        let groups = all.groups.iter().max().map_or(0, |last| *last as usize + 1);
        let mut starts = vec![0u32; groups + 1];
        all.groups.iter().for_each(|group| starts[*group as usize + 1] += 1);
        for group in 0..groups {
            starts[group + 1] += starts[group];
        }
        let (mut next, mut order) = (starts.clone(), vec![0; all.groups.len()]);
        for (row, group) in (0u32..).zip(&all.groups) {
            let place = &mut next[*group as usize];
            order[*place as usize] = row;
            *place += 1;
        }
        Ok(Some(Sorted { rows: all.take(&order)?, starts }))
    }

    /// All of them.
    pub(super) fn rows(&self) -> &Logged {
        &self.rows
    }

    /// The rows of the groups that move, under the groups that they go to.
    ///
    /// # Errors
    /// Arrow's.
    pub(super) fn moved(&self, moves: &Moves<'_>) -> Result<Logged, Error> {
        let (mut rows, mut groups) = (Vec::new(), Vec::new());
        for (from, into) in moves.from.iter().zip(moves.into) {
            let from = *from as usize;
            let Some([start, end]) = self.starts.get(from..from + 2) else { continue };
            rows.extend(*start..*end);
            groups.resize(rows.len(), *into);
        }
        Ok(Logged { groups, ..self.rows.take(&rows)? })
    }
}

/// Which filters each row passes: those that are columns where it is true, the others always.
pub(super) fn passes(filters: &[bool], columns: &[ArrayRef], rows: usize) -> Option<Vec<u64>> {
    if columns.is_empty() && filters.len() == 1 {
        return None;
    }
    let always = filters.iter().enumerate().filter(|(_, is_column)| !**is_column);
    let mut passes = vec![always.fold(0, |bits, (filter, _)| bits | 1 << filter); rows];
    let filters = filters.iter().enumerate().filter(|(_, is_column)| **is_column);
    for ((filter, _), column) in filters.zip(columns) {
        for (bits, flag) in passes.iter_mut().zip(column.as_boolean()) {
            *bits |= u64::from(flag == Some(true)) << filter;
        }
    }
    Some(passes)
}
