//! Which accumulators the calls of an aggregation need: each kind over a column once.
//!
//! `sum(v)`, `avg(v)` and `max(v)` share the count of values of `v`, which also tells whether their
//! result is NULL; `sum` and `avg` share the sum. Part 0 is always the count of the group's rows.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, SchemaRef, i256};
use arrow::row::SortField;
use millrace_plan::Order;
use millrace_types::Delta;

use super::accumulator::{Accumulator, Weights};
use super::count::Count;
use super::distinct::Distinct;
use super::extreme::extreme;
use super::float::FloatSum;
use super::multiset::Multiset;
use super::ordered::FirstRow;
use super::sum::{IntSum, WideSum};
use crate::operator::Error;

/// Filters of one set of distinct values: a row's are bits of a word.
const FILTERS_MAX: usize = 64;

/// What a part accumulates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Rows that count.
    Count,
    /// Rows whose column is true.
    Trues,
    /// Integers of up to 64 bits.
    IntSum,
    /// Decimals.
    WideSum,
    /// Squares of integers or decimals.
    Squares,
    /// Floats.
    FloatSum,
    /// Squares of floats.
    FloatSquares,
    /// The least value.
    Least,
    /// The greatest value.
    Greatest,
    /// The first row, or the last: columns are order, ties, value.
    Row { last: bool, order: Vec<Order> },
    /// Distinct values, counted for each filter: rows where a boolean column is true, or all. Those
    /// that come and go feed other parts.
    Distinct { filters: Vec<Option<usize>> },
    /// All rows, counted: the columns are those of the order first.
    Multiset { order: Vec<Order>, distinct: bool },
}

/// One accumulator of an aggregation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) kind: Kind,
    /// Input columns.
    pub(super) columns: Vec<usize>,
    /// Only rows where this boolean column is true count.
    pub(super) filter: Option<usize>,
    /// Rows where this column is NULL do not count.
    pub(super) valued: Option<usize>,
    /// Takes the distinct values of another part in place of the rows: those that pass one of its
    /// filters.
    pub(super) over: Option<(usize, usize)>,
}

/// The parts of an aggregation, each once.
pub(super) struct Parts {
    /// In the order of the accumulators.
    pub(super) all: Vec<Part>,
    schema: SchemaRef,
    /// The operator, for messages.
    name: String,
}

impl Parts {
    /// With the count of rows as part 0.
    pub(super) fn new(schema: SchemaRef, name: &str) -> Parts {
        let rows =
            Part { kind: Kind::Count, columns: Vec::new(), filter: None, valued: None, over: None };
        Parts { all: vec![rows], schema, name: name.to_owned() }
    }

    /// The number of a part, which is added if it is new.
    pub(super) fn add(&mut self, part: Part) -> usize {
        let found = self.all.iter().position(|other| *other == part);
        found.unwrap_or_else(|| {
            self.all.push(part);
            self.all.len() - 1
        })
    }

    /// The part that counts the distinct values of a column, and the number of a filter there; both
    /// are added if they are new.
    pub(super) fn add_distinct(
        &mut self,
        column: usize,
        filter: Option<usize>,
        valued: Option<usize>,
    ) -> (usize, usize) {
        for (number, part) in self.all.iter_mut().enumerate() {
            let same = part.columns == [column] && part.valued == valued;
            if let Kind::Distinct { filters } = &mut part.kind
                && same
            {
                if let Some(place) = filters.iter().position(|other| *other == filter) {
                    return (number, place);
                }
                if filters.len() < FILTERS_MAX {
                    filters.push(filter);
                    return (number, filters.len() - 1);
                }
            }
        }
        let kind = Kind::Distinct { filters: vec![filter] };
        let part = Part { kind, columns: vec![column], filter: None, valued, over: None };
        self.all.push(part);
        (self.all.len() - 1, 0)
    }

    /// A fresh accumulator for each part.
    ///
    /// # Errors
    /// A column type that a part does not take.
    pub(super) fn accumulators(&self) -> Result<Vec<Box<dyn Accumulator>>, Error> {
        self.all.iter().map(|part| part.accumulator(self)).collect()
    }
}

impl Part {
    /// The input columns that its accumulator takes.
    pub(super) fn inputs(&self) -> impl Iterator<Item = usize> {
        let filters = match &self.kind {
            Kind::Distinct { filters } => filters.as_slice(),
            _ => &[],
        };
        self.columns.iter().copied().chain(filters.iter().flatten().copied())
    }

    fn accumulator(&self, parts: &Parts) -> Result<Box<dyn Accumulator>, Error> {
        let types: Vec<DataType> =
            self.columns.iter().map(|c| parts.schema.field(*c).data_type().clone()).collect();
        let of_extreme = |greatest| {
            extreme(&types[0], greatest)
                .ok_or_else(|| Error::Unsupported(format!("min or max of {}", types[0])))
        };
        Ok(match &self.kind {
            Kind::Count => Box::new(Count::new(false)),
            Kind::Trues => Box::new(Count::new(true)),
            Kind::IntSum => Box::new(IntSum::default()),
            Kind::WideSum => Box::new(WideSum::new(false)),
            Kind::Squares => Box::new(WideSum::new(true)),
            Kind::FloatSum => Box::new(FloatSum::<i128>::new()),
            Kind::FloatSquares => Box::new(FloatSum::<i256>::new()),
            Kind::Least => of_extreme(false)?,
            Kind::Greatest => of_extreme(true)?,
            Kind::Row { last, order } => {
                Box::new(FirstRow::new(sort_fields(&types, order), types, *last)?)
            }
            Kind::Distinct { filters } => {
                let filters = filters.iter().map(Option::is_some).collect();
                Box::new(Distinct::new(parts.name.clone(), &types, filters)?)
            }
            Kind::Multiset { order, distinct } => {
                let fields = sort_fields(&types, order);
                Box::new(Multiset::new(parts.name.clone(), fields, types, *distinct)?)
            }
        })
    }
}

/// The columns of the order come first; what follows breaks ties.
fn sort_fields(types: &[DataType], order: &[Order]) -> Vec<SortField> {
    let options = |i: usize| {
        order.get(i).map_or(SortOptions::default(), |o| SortOptions {
            descending: o.descending,
            nulls_first: o.nulls_first,
        })
    };
    let field = |(i, t): (usize, &DataType)| SortField::new_with_options(t.clone(), options(i));
    types.iter().enumerate().map(field).collect()
}

/// The weights of one delta's rows for each part; parts that look at the same columns share them.
pub(super) struct Masks<'a> {
    delta: &'a Delta,
    /// None if every row has weight 1.
    weights: Option<&'a Int64Array>,
    cache: Vec<Mask>,
}

/// The valued column and the filter, and the weights that they leave; None if all rows count.
type Mask = ((Option<usize>, Option<usize>), Option<Vec<i64>>);

impl<'a> Masks<'a> {
    /// For the rows of a delta.
    pub(super) fn new(delta: &'a Delta) -> Masks<'a> {
        let ones = delta.weights.values().iter().all(|weight| *weight == 1);
        let weights = (!ones).then_some(&delta.weights);
        Masks { delta, weights, cache: Vec::new() }
    }

    /// The weights of the rows for a part.
    pub(super) fn weights(&mut self, part: &Part) -> Weights<'_> {
        let valued = part.valued.filter(|c| self.delta.rows.column(*c).null_count() > 0);
        let key = (valued, part.filter);
        let at = match self.cache.iter().position(|(k, _)| *k == key) {
            Some(at) => at,
            None => {
                let found = self.compute(valued, part.filter);
                self.cache.push((key, found));
                self.cache.len() - 1
            }
        };
        match (&self.cache[at].1, self.weights) {
            (Some(weights), _) => Weights::Each(weights),
            (None, Some(weights)) => Weights::Each(weights.values()),
            (None, None) => Weights::Ones,
        }
    }

    /// None if all rows count with their own weight.
    fn compute(&self, valued: Option<usize>, filter: Option<usize>) -> Option<Vec<i64>> {
        if valued.is_none() && filter.is_none() {
            return None;
        }
        let mut weights = self.delta.weights.values().to_vec();
        if let Some(nulls) = valued.and_then(|c| self.delta.rows.column(c).nulls()) {
            for (weight, valid) in weights.iter_mut().zip(nulls) {
                *weight = if valid { *weight } else { 0 };
            }
        }
        if let Some(column) = filter {
            let flags: &ArrayRef = self.delta.rows.column(column);
            for (weight, flag) in weights.iter_mut().zip(flags.as_boolean()) {
                *weight = if flag == Some(true) { *weight } else { 0 };
            }
        }
        Some(weights)
    }
}
