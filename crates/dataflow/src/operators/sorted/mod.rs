//! Groups of rows in an order, as Top-N and window functions keep them.
//!
//! Rows are kept whole, as bytes that sort in the order ([`rows`]); each group has a list of its rows
//! ([`list`]). So a row is found again without an index of its own. In the store they are columns,
//! keyed by the group and the key of the rows ([`layout`]).

pub(super) mod closing;
pub(super) mod layout;
pub(super) mod list;
pub(super) mod rows;

pub(super) use closing::Closing;
pub(super) use layout::Layout;
pub(super) use list::List;
pub(super) use rows::{Rows, sort_field};

/// A group and a row as one number, which sorts by the group.
pub(super) fn packed(group: u32, row: u32) -> u64 {
    u64::from(group) << 32 | u64::from(row)
}

/// The group of a packed number.
pub(super) fn group_of(packed: u64) -> u32 {
    u32::try_from(packed >> 32).expect("the upper half")
}

/// The row of a packed number.
pub(super) fn row_of(packed: u64) -> usize {
    let row = u32::try_from(packed & u64::from(u32::MAX)).expect("the lower half");
    row as usize
}

/// The rows of each group together, by the groups of the rows.
pub(super) fn by_group(groups: &[u32]) -> Vec<u64> {
    let rows = (0u32..).zip(groups);
    let mut order: Vec<u64> = rows.map(|(row, group)| packed(*group, row)).collect();
    order.sort_unstable();
    order
}
