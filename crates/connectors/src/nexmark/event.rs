//! Which event is what: the order in which the auction house's events come.
//!
//! Of 50 events the first is a person, the next three are auctions, the other 46 bids. All that an
//! event says of others follows from its number: how many people and auctions there were before.
//!
//! Invariants: 1. `row(event(r)) == r` for each table. 2. an identifier that an event names is at
//! most the lead beyond those that exist then.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "draws are below limits that fit, event numbers are never negative"
)]

use crate::random::mix;

const EVENTS: i64 = 50;
const AUCTIONS: i64 = 3;

/// The first identifier of people and auctions.
const FIRST_ID: i64 = 1000;
/// How many people are active, and how many auctions are open, at a time.
const PEOPLE_ACTIVE: i64 = 1000;
pub(super) const AUCTIONS_OPEN: i64 = 100;
/// How far beyond the newest an event may name one.
const LEAD: i64 = 10;
/// A new hot auction, seller and bidder comes with each so many.
const HOT_EVERY: i64 = 100;
/// One of so many does not go to the hot one.
const HOT_AUCTIONS: i64 = 2;
const HOT_PEOPLE: i64 = 4;

/// Microseconds of 2015-07-15 00:00 UTC, when the first event happens.
const BASE_TIME_US: i64 = 1_436_918_400_000_000;

/// One of the three tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Person,
    Auction,
    Bid,
}

impl Table {
    /// The place of its first event among 50, and how many it has.
    fn share(self) -> (i64, i64) {
        match self {
            Table::Person => (0, 1),
            Table::Auction => (1, AUCTIONS),
            Table::Bid => (1 + AUCTIONS, EVENTS - 1 - AUCTIONS),
        }
    }

    /// The number of the event that is a row.
    #[inline]
    pub(super) fn event(self, row: i64) -> i64 {
        let (first, count) = self.share();
        (row / count).saturating_mul(EVENTS) + first + row % count
    }

    /// How many rows stand among the first so many events.
    pub(super) fn rows(self, events: i64) -> i64 {
        let (first, count) = self.share();
        events / EVENTS * count + (events % EVENTS - first).clamp(0, count)
    }
}

/// Draws that belong to one event; each `what` gives one of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draws(u64);

impl Draws {
    #[inline]
    pub(super) fn new(seed: u64, event: i64) -> Draws {
        Draws(mix(seed ^ (event as u64)))
    }

    #[inline]
    pub(super) fn bits(self, what: u64) -> u64 {
        mix(self.0 ^ (what << 56))
    }

    /// A whole number in `[0, limit)`; `limit` is below 2^31.
    #[inline]
    pub(super) fn below(self, what: u64, limit: i64) -> i64 {
        below(self.bits(what), limit)
    }
}

/// A whole number in `[0, limit)` from the upper half of some bits; `limit` is below 2^31.
#[inline]
pub(super) fn below(bits: u64, limit: i64) -> i64 {
    (((bits >> 32) * limit as u64) >> 32) as i64
}

/// When an event happens, microseconds since 1970.
#[inline]
pub(super) fn time_us(event: i64, gap_ns: i64) -> i64 {
    let since = i128::from(event) * i128::from(gap_ns) / 1000;
    i64::try_from(since).unwrap_or(i64::MAX).saturating_add(BASE_TIME_US)
}

/// The newest person when an event happens, from 0; itself if it is one.
#[inline]
fn last_person(event: i64) -> i64 {
    event / EVENTS
}

/// The newest auction when an event happens, from 0; itself if it is one. -1 before any.
#[inline]
fn last_auction(event: i64) -> i64 {
    event / EVENTS * AUCTIONS + (event % EVENTS).min(AUCTIONS) - 1
}

/// The identifier of the person that an event is.
#[inline]
pub(super) fn person_id(event: i64) -> i64 {
    FIRST_ID + last_person(event)
}

/// The identifier of the auction that an event is.
#[inline]
pub(super) fn auction_id(event: i64) -> i64 {
    FIRST_ID + last_auction(event)
}

/// One of the people that are active when an event happens.
#[inline]
fn any_person(event: i64, bits: u64) -> i64 {
    let people = last_person(event) + 1;
    let active = people.min(PEOPLE_ACTIVE);
    people - active + below(bits, active + LEAD)
}

/// Who sells at an event: mostly the hot seller.
#[inline]
pub(super) fn seller(event: i64, hot: u64, other: u64) -> i64 {
    FIRST_ID
        + match below(hot, HOT_PEOPLE) > 0 {
            true => last_person(event) / HOT_EVERY * HOT_EVERY,
            false => any_person(event, other),
        }
}

/// Who bids at an event: mostly the hot bidder.
#[inline]
pub(super) fn bidder(event: i64, hot: u64, other: u64) -> i64 {
    FIRST_ID
        + match below(hot, HOT_PEOPLE) > 0 {
            true => last_person(event) / HOT_EVERY * HOT_EVERY + 1,
            false => any_person(event, other),
        }
}

/// What a bid at an event is for: half go to the hot auction.
#[inline]
pub(super) fn bid_on(event: i64, hot: u64, other: u64) -> i64 {
    let last = last_auction(event);
    FIRST_ID
        + match below(hot, HOT_AUCTIONS) > 0 {
            true => last / HOT_EVERY * HOT_EVERY,
            false => {
                let least = (last - AUCTIONS_OPEN).max(0);
                least + below(other, last - least + 1 + LEAD)
            }
        }
}

/// How many events pass until as many auctions as are open have begun.
pub(super) fn events_of_open_auctions() -> i64 {
    AUCTIONS_OPEN * EVENTS / AUCTIONS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_a_row_of_one_table() {
        let mut seen = vec![0; 500];
        for table in [Table::Person, Table::Auction, Table::Bid] {
            for row in 0..table.rows(500) {
                let event = table.event(row);
                seen[usize::try_from(event).unwrap()] += 1;
                assert_eq!((table.rows(event), table.rows(event + 1)), (row, row + 1));
            }
        }
        assert!(seen.iter().all(|count| *count == 1));
        assert_eq!(Table::Bid.rows(5_000_000), 4_600_000);
    }

    #[test]
    fn identifiers_are_without_gaps() {
        let ids: Vec<i64> = (0..6).map(|row| auction_id(Table::Auction.event(row))).collect();
        assert_eq!(ids, [1000, 1001, 1002, 1003, 1004, 1005]);
        assert_eq!(person_id(Table::Person.event(7)), 1007);
    }
}
