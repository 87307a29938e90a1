//! Grouped aggregation: functions, their classes, and panes for hopping windows.
//!
//! The planner gives every function a class; a function without one does not plan.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::logical_expr::AggregateUDF;

use crate::{Meta, Node, Scalar, Watermark};

/// A grouped (or, without group columns, global) aggregation.
///
/// Its output columns are: the group columns in order (with `hop`, the pane's column becomes
/// `window_start`, NULL for a NULL pane), then with `hop` one column `window_end`, then one column
/// per call. A global aggregation has one row from the start, over no input too.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// Where rows come from; group columns and arguments are plain columns of it.
    pub input: Node,
    /// Indexes of the group columns.
    pub group: Vec<usize>,
    /// With panes: `column` is a position in `group`, of the pane start.
    pub hop: Option<Hop>,
    /// The aggregate calls.
    pub calls: Vec<Call>,
    /// A group whose column (a position in the output) satisfies this never changes again; its
    /// state goes.
    pub settled: Option<Watermark>,
    /// The rows that leave.
    pub meta: Meta,
}

/// Hopping windows over a timestamp column (microseconds): window k is
/// `[offset + k * slide, offset + k * slide + size)`.
///
/// Or cumulating windows: each stretch of `size` has a window for each whole number of slides from its
/// beginning. Such a window is told by its end: `size` before it is taken for its start, so that all
/// that asks for ends does not ask which kind it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The column, see where it is used.
    pub column: usize,
    /// Microseconds from one window's start to the next.
    pub slide: i64,
    /// Microseconds of a window.
    pub size: i64,
    /// Microseconds by which the windows are shifted from the epoch of 1970.
    pub offset: i64,
    /// The windows cumulate; the size is a whole number of slides.
    pub cumulates: bool,
}

impl Hop {
    /// Microseconds of a pane: the greatest span of which every window is a whole number.
    pub fn pane(&self) -> i64 {
        let (mut a, mut b) = (self.slide, self.size);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    }

    /// The starts of the windows that contain a time, ascending. A time that the arithmetic cannot
    /// reach is in no window.
    pub fn windows(&self, time: i64) -> impl Iterator<Item = i64> + use<> {
        self.windows_within(time, i64::MIN..i64::MAX)
    }

    /// Those of them that start in a range.
    pub fn windows_within(
        &self,
        time: i64,
        starts: Range<i64>,
    ) -> impl Iterator<Item = i64> + use<> {
        let (slide, size) = (self.slide, self.size);
        let floor = |step: i64| {
            let since = time.checked_sub(self.offset)?;
            since.div_euclid(step).checked_mul(step)?.checked_add(self.offset)
        };
        let (last, count) = if self.cumulates {
            // The last window ends with the stretch, the first one with the slide.
            let last = floor(size).filter(|last| last.checked_add(size).is_some());
            (last, last.map_or(0, |last| (size - (time - last) + slide - 1) / slide))
        } else {
            let last = floor(slide);
            (last, last.map_or(0, |last| (size - (time - last) + slide - 1).max(0) / slide))
        };
        // How many windows start at or behind a time, of those that go back from the last one.
        let behind = |from: i64| match last {
            Some(last) if last >= from => (last.saturating_sub(from) / slide).saturating_add(1),
            _ => 0,
        };
        let backs = behind(starts.end)..behind(starts.start).min(count);
        backs.rev().filter_map(move |back| last?.checked_sub(back * slide))
    }
}

/// One aggregate call.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is computed.
    pub function: Function,
    /// Input columns; empty for `count(*)`.
    pub args: Vec<usize>,
    /// Equal arguments count once.
    pub distinct: bool,
    /// A boolean input column; only rows where it is true count.
    pub filter: Option<usize>,
    /// For `first_value`, `last_value` and what is rebuilt: the order inside the group.
    pub order: Vec<Order>,
    /// For [`Function::Rebuilt`]: the function.
    pub rebuild: Option<Rebuild>,
    /// Name and type of the result.
    pub output: FieldRef,
}

impl Call {
    /// How it is kept up to date.
    pub fn class(&self) -> Class {
        match self.function.class() {
            Class::Linear if self.distinct => Class::Distinct,
            class => class,
        }
    }

    /// The function's name.
    pub fn name(&self) -> &str {
        self.rebuild.as_ref().map_or(self.function.name(), |rebuild| rebuild.function.name())
    }
}

/// A function of the library that is run again over all rows of a group.
#[derive(Clone, Debug)]
pub struct Rebuild {
    /// The function.
    pub function: Arc<AggregateUDF>,
    /// Its arguments over the input's columns: plain columns, which [`Call::args`] lists in this
    /// order, and literals.
    pub args: Vec<Scalar>,
    /// The result depends on the order of the rows: ties are broken by the rows' key.
    pub ordered: bool,
}

/// One key of an ORDER BY inside a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// An input column.
    pub column: usize,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST.
    pub nulls_first: bool,
}

/// How an aggregate is kept up to date, see the design's section 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Numbers that take a retraction.
    Linear,
    /// The least or greatest of an order: a counted multiset; in place while the input only appends.
    Ordered,
    /// Counts per argument, whose first and last occurrences feed the linear class.
    Distinct,
    /// A counted multiset of all inputs, over which the function is run again.
    Recompute,
}

/// An aggregate function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// `count(*)` and `count(x)`
    Count,
    /// `sum`
    Sum,
    /// `avg`
    Avg,
    /// `var_pop`
    VarPop,
    /// `var_samp`, `variance`
    VarSamp,
    /// `stddev_pop`
    StddevPop,
    /// `stddev_samp`, `stddev`
    StddevSamp,
    /// `bool_and`, `every`
    BoolAnd,
    /// `bool_or`
    BoolOr,
    /// `min`
    Min,
    /// `max`
    Max,
    /// `first_value(x ORDER BY ...)`
    FirstValue,
    /// `last_value(x ORDER BY ...)`
    LastValue,
    /// Any other: [`Call::rebuild`] says which.
    Rebuilt,
}

impl Function {
    /// Every function with a class of its own, for tests that must not forget one.
    pub const ALL: [Function; 13] = [
        Function::Count,
        Function::Sum,
        Function::Avg,
        Function::VarPop,
        Function::VarSamp,
        Function::StddevPop,
        Function::StddevSamp,
        Function::BoolAnd,
        Function::BoolOr,
        Function::Min,
        Function::Max,
        Function::FirstValue,
        Function::LastValue,
    ];

    /// Its class.
    pub fn class(self) -> Class {
        match self {
            Function::Count
            | Function::Sum
            | Function::Avg
            | Function::VarPop
            | Function::VarSamp
            | Function::StddevPop
            | Function::StddevSamp
            | Function::BoolAnd
            | Function::BoolOr => Class::Linear,
            Function::Min | Function::Max | Function::FirstValue | Function::LastValue => {
                Class::Ordered
            }
            Function::Rebuilt => Class::Recompute,
        }
    }

    /// PostgreSQL's name.
    pub fn name(self) -> &'static str {
        match self {
            Function::Count => "count",
            Function::Sum => "sum",
            Function::Avg => "avg",
            Function::VarPop => "var_pop",
            Function::VarSamp => "var_samp",
            Function::StddevPop => "stddev_pop",
            Function::StddevSamp => "stddev_samp",
            Function::BoolAnd => "bool_and",
            Function::BoolOr => "bool_or",
            Function::Min => "min",
            Function::Max => "max",
            Function::FirstValue => "first_value",
            Function::LastValue => "last_value",
            Function::Rebuilt => "rebuilt",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_a_time_are_all_that_contain_it() {
        let hop = Hop { column: 0, slide: 4, size: 10, offset: 1, cumulates: false };
        assert_eq!(hop.pane(), 2);
        for time in -30..30 {
            let found: Vec<i64> = hop.windows(time).collect();
            let wanted: Vec<i64> = (-20..20)
                .map(|k| 1 + 4 * k)
                .filter(|start| *start <= time && time < start + 10)
                .collect();
            assert_eq!(found, wanted, "windows of {time}");
            for (from, to) in [(-7, 9), (1, 2), (5, 5), (time, time + 1)] {
                let some: Vec<i64> = hop.windows_within(time, from..to).collect();
                let within = wanted.iter().copied().filter(|start| (from..to).contains(start));
                assert_eq!(some, within.collect::<Vec<_>>(), "windows of {time} in {from}..{to}");
            }
        }
    }

    #[test]
    fn cumulating_windows_of_a_time_end_after_it_within_its_stretch() {
        let hop = Hop { column: 0, slide: 3, size: 12, offset: 1, cumulates: true };
        for time in -30i64..30 {
            let stretch = 1 + 12 * (time - 1).div_euclid(12);
            let ends = (1..=4).map(|step| stretch + 3 * step);
            let wanted: Vec<i64> = ends.filter(|end| time < *end).map(|end| end - 12).collect();
            assert_eq!(hop.windows(time).collect::<Vec<_>>(), wanted, "windows of {time}");
        }
    }

    #[test]
    fn a_slide_above_the_size_leaves_gaps() {
        let hop = Hop { column: 0, slide: 10, size: 4, offset: 0, cumulates: false };
        assert_eq!(hop.windows(3).collect::<Vec<_>>(), [0]);
        assert_eq!(hop.windows(4).count(), 0);
    }

    #[test]
    fn times_at_the_end_of_the_range_do_not_wrap() {
        let hop = Hop { column: 0, slide: 7, size: 14, offset: 3, cumulates: false };
        assert_eq!(hop.windows(i64::MIN).count(), 0);
        assert!(hop.windows(i64::MAX).all(|start| start > i64::MAX - 14));
    }
}
