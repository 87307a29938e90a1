//! A seeded stream of sensor readings with everything that goes wrong in the field, and what the
//! test remembers of each.
//!
//! Readings come in event-time order but for: disorder inside the watermark's delay, rows far below
//! it, rows hours in the future, and messages that are not rows. Event time lies a month back, so
//! that no watermark follows the clock.
//!
//! Invariants: 1. the n-th message of a partition has offset n, from where it begins (asserted on delivery). 2. a reading
//! of kind [`Kind::InTime`] is never below `greatest event time before it - DELAY`, whatever the
//! order in which partitions are read.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::kafka::{Kafka, Message, place};
use crate::wait;

/// The watermark's delay, microseconds.
pub(super) const DELAY: i64 = 2_000_000;
/// Partitions of the topic.
pub(super) const PARTITIONS: i32 = 4;

const SECOND: i64 = 1_000_000;
const SENSORS: i64 = 20;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// At most the delay behind the greatest event time before it.
    InTime,
    /// Further behind: late, if its window has closed.
    Behind,
    /// More than an hour ahead of the clock.
    Future,
    /// Not a row.
    Malformed,
}

/// One message as the test remembers it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) kind: Kind,
    pub(super) id: i64,
    pub(super) value: i64,
    /// Microseconds.
    pub(super) event_time: i64,
    /// The greatest event time in its partition before it, among those that move the watermark.
    pub(super) reached: Option<i64>,
}

/// Where a message is: partition and offset.
pub(super) type Place = (i32, i64);

/// Shares of the kinds, in thousandths of the messages; the rest is in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mix {
    pub(super) behind: u32,
    pub(super) future: u32,
    pub(super) malformed: u32,
}

impl Mix {
    /// Everything that goes wrong.
    pub(super) const ROUGH: Mix = Mix { behind: 30, future: 5, malformed: 10 };
    /// No row that could be late.
    pub(super) const CLEAN: Mix = Mix { behind: 0, future: 0, malformed: 0 };
}

/// Makes readings and remembers them.
pub(super) struct Workload {
    rng: StdRng,
    mix: Mix,
    /// Greatest event time so far, the future left out.
    greatest: i64,
    started: i64,
    next: Vec<i64>,
    /// Where the messages of each partition begin.
    firsts: Vec<i64>,
    /// By partition, see [`Reading::reached`]. When the topic gains one: how far the watermark may have been.
    reached: Vec<Option<i64>>,
    /// All that was made, by place.
    pub(super) made: BTreeMap<Place, Reading>,
}

impl Workload {
    pub(super) fn new(seed: u64, mix: Mix) -> Workload {
        let started = wait::now_micros();
        let month = 30 * 24 * 3600 * SECOND;
        // Whole milliseconds: those are exact as a double of seconds.
        let greatest = (started - month) / SECOND * SECOND;
        let next = vec![0; usize::try_from(PARTITIONS).expect("a few")];
        Workload {
            rng: StdRng::seed_from_u64(seed),
            mix,
            greatest,
            started,
            reached: vec![None; next.len()],
            firsts: next.clone(),
            next,
            made: BTreeMap::new(),
        }
    }

    /// The next message, already remembered.
    fn make(&mut self) -> (Place, Message) {
        let partition = self.rng.random_range(0..self.partitions());
        let at = usize::try_from(partition).expect("not negative");
        let offset = &mut self.next[at];
        let place = (partition, *offset);
        *offset += 1;
        let dice = self.rng.random_range(0..1000);
        let Mix { behind, future, malformed } = self.mix;
        let kind = match dice {
            d if d < behind => Kind::Behind,
            d if d < behind + future => Kind::Future,
            d if d < behind + future + malformed => Kind::Malformed,
            _ => Kind::InTime,
        };
        let milliseconds = |rng: &mut StdRng, from: i64, to: i64| rng.random_range(from..to) * 1000;
        self.greatest += milliseconds(&mut self.rng, 0, 40);
        let event_time = match kind {
            Kind::InTime | Kind::Malformed => {
                self.greatest - milliseconds(&mut self.rng, 0, DELAY / 1000)
            }
            Kind::Behind => self.greatest - DELAY - milliseconds(&mut self.rng, 0, 60_000),
            Kind::Future => {
                let ahead = milliseconds(&mut self.rng, 2 * 3_600_000, 5 * 3_600_000);
                (self.started + ahead) / 1000 * 1000
            }
        };
        let reading = Reading {
            kind,
            id: self.rng.random_range(0..SENSORS),
            value: self.rng.random_range(0..1000),
            event_time,
            reached: self.reached[at],
        };
        if matches!(kind, Kind::InTime | Kind::Behind) {
            self.reached[at] = self.reached[at].max(Some(event_time));
        }
        self.made.insert(place, reading);
        let payload = match kind {
            Kind::Malformed => self.malformed(&reading),
            Kind::InTime | Kind::Behind | Kind::Future => json(&reading),
        };
        (place, Message { partition, payload: Some(payload), ..Message::default() })
    }

    fn malformed(&mut self, reading: &Reading) -> String {
        let whole = json(reading);
        match self.rng.random_range(0..6) {
            0 => whole.trim_end_matches('}').to_owned(),
            1 => format!("{whole}{whole}"),
            2 => whole.replace("\"value\":", "\"value\":\"many\",\"v\":"),
            3 => String::new(),
            4 => format!("[{whole}]"),
            _ => "not a reading".to_owned(),
        }
    }

    /// Sends `count` more messages and waits until the broker has them.
    pub(super) async fn send(&mut self, kafka: &Kafka, topic: &str, count: usize) {
        let mut deliveries = Vec::with_capacity(count);
        for _ in 0..count {
            let (place, message) = self.make();
            let delivery = kafka.send(topic, &message).expect("the client takes a message");
            deliveries.push((place, delivery));
        }
        for (wanted, delivery) in deliveries {
            let found = place(delivery).await.expect("the broker takes a message");
            assert_eq!(found, wanted, "the n-th message of a partition has offset n");
        }
    }

    /// How many partitions it sends to.
    pub(super) fn partitions(&self) -> i32 {
        i32::try_from(self.next.len()).expect("a few")
    }

    /// The topic has gained a partition, whose messages begin at an offset.
    pub(super) fn gain(&mut self, first: i64) {
        self.next.push(first);
        self.firsts.push(first);
        self.reached.push(Some(self.greatest));
    }

    /// Where the messages of a partition begin.
    pub(super) fn first(&self, partition: i32) -> i64 {
        self.firsts[usize::try_from(partition).expect("not negative")]
    }

    /// Where those of a partition end.
    pub(super) fn end(&self, partition: i32) -> i64 {
        self.next[usize::try_from(partition).expect("not negative")]
    }

    /// Messages of one kind in one partition.
    pub(super) fn count(&self, partition: i32, kind: Kind) -> i64 {
        let all = self.made.range((partition, 0)..(partition + 1, 0));
        let count = all.filter(|(_, reading)| reading.kind == kind).count();
        i64::try_from(count).expect("few")
    }

    /// Messages that are rows.
    pub(super) fn rows(&self) -> i64 {
        let rows = self.made.values().filter(|reading| reading.kind != Kind::Malformed).count();
        i64::try_from(rows).expect("few")
    }

    /// Partition, offset, sensor and value of those that are rows, in order.
    pub(super) fn rows_made(&self) -> Vec<Vec<i64>> {
        let rows = self.made.iter().filter(|(_, reading)| reading.kind != Kind::Malformed);
        rows.map(|((partition, offset), reading)| {
            vec![i64::from(*partition), *offset, reading.id, reading.value]
        })
        .collect()
    }
}

fn json(reading: &Reading) -> String {
    let milliseconds = reading.event_time / 1000;
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    let Reading { id, value, .. } = reading;
    format!(r#"{{"id":{id},"time":{seconds}.{rest:03},"value":{value}}}"#)
}
