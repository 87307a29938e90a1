//! Logical time: an [`Epoch`] is what becomes visible together, a [`Ts`] orders steps inside it.
//!
//! `Ts = epoch << 20 | sub`. Live data uses sub 0; the chunks of a hydration use sub above 0.
//!
//! Invariants: 1. an epoch never needs more than 44 bits (asserted in [`Epoch::ts`]).

use std::fmt;

const SUB_BITS: u32 = 20;

/// One step of the system's logical time. Epoch 0 is before all data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// A time of the dataflow: an epoch and a step inside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ts(pub u64);

impl Epoch {
    /// The last epoch that may be: it leaves room for its steps, and for the epoch after it. A greater
    /// number on disk is damage.
    pub const LAST: Epoch = Epoch(u64::MAX >> (SUB_BITS + 1));

    /// The time of this epoch's live data.
    pub fn ts(self) -> Ts {
        assert!(self.0 >> (64 - SUB_BITS) == 0, "epoch {self} leaves no room for steps");
        Ts(self.0 << SUB_BITS)
    }

    /// The epoch after this one.
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }

    /// The epoch before this one; epoch 0 stays.
    pub fn previous(self) -> Epoch {
        Epoch(self.0.saturating_sub(1))
    }
}

impl Ts {
    /// How many steps fit into one epoch.
    pub const SUBS: u64 = 1 << SUB_BITS;

    /// The epoch that this time belongs to.
    pub fn epoch(self) -> Epoch {
        Epoch(self.0 >> SUB_BITS)
    }

    /// The step inside the epoch, 0 for live data.
    pub fn sub(self) -> u64 {
        self.0 & (Self::SUBS - 1)
    }

    /// The time right after this one.
    pub fn next(self) -> Ts {
        Ts(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Ts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sub() {
            0 => write!(f, "{}", self.epoch()),
            sub => write!(f, "{}+{sub}", self.epoch()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_an_epoch_lie_between_it_and_the_next() {
        let ts = Epoch(7).ts();
        assert_eq!(ts.epoch(), Epoch(7));
        assert_eq!(ts.next().sub(), 1);
        assert!(ts.next() < Epoch(8).ts());
    }
}
