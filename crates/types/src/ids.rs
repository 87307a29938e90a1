//! Names for integers that must not be swapped.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

id!(
    /// A catalog object: source, view or materialized view. Never used twice; 0 is none.
    ObjectId, u32
);
id!(
    /// A stored table: the content of a view or the state of one operator. Never used twice.
    TableId, u64
);
id!(
    /// A worker thread, counted from 0.
    WorkerId, usize
);
id!(
    /// A partition of a source, as its connector numbers them, counted from 0.
    PartitionId, i32
);
