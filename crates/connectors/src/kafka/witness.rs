//! What librdkafka says about its connections, kept for whoever asks.
//!
//! librdkafka repairs connections by itself and reports them through callbacks; a source must say
//! since when and why it is away. Errors give the reason, the statistics of each second whether
//! every partition has a broker that is connected.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;

/// Statistics in a row that must show a partition without a broker before it counts: one may fall
/// between two connections.
const SILENT_MAX: u32 = 2;

/// Listens to one client.
#[derive(Debug, Default)]
pub(super) struct Witness {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Partitions that must have a broker.
    watched: BTreeSet<i32>,
    /// The newest reason for a lost or failed connection.
    reason: Option<String>,
    /// No broker can be reached.
    down: bool,
    /// Statistics in a row that showed a partition without a broker.
    silent: u32,
}

impl Witness {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is valid after every statement, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on these partitions must have a broker.
    pub(super) fn watch(&self, partitions: impl IntoIterator<Item = i32>) {
        self.state().watched = partitions.into_iter().collect();
    }

    /// Something has arrived.
    pub(super) fn alive(&self) {
        let mut state = self.state();
        state.down = false;
        state.silent = 0;
    }

    /// Why the source is away; None if it is not.
    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.state();
        if !state.down && state.silent < SILENT_MAX {
            return None;
        }
        Some(state.reason.clone().unwrap_or_else(|| "no broker leads the partition".to_owned()))
    }

    /// The newest reason for a lost or failed connection, even if it has been repaired since.
    pub(super) fn reason(&self) -> Option<String> {
        self.state().reason.clone()
    }
}

impl ClientContext for Witness {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What a person must know of it comes through `error` and the source's status.
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        let mut state = self.state();
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => state.down = true,
            _ => state.reason = Some(reason.to_owned()),
        }
    }

    fn stats(&self, statistics: Statistics) {
        let served: BTreeSet<i32> = statistics
            .brokers
            .values()
            .filter(|broker| broker.nodeid >= 0 && broker.state == "UP")
            .flat_map(|broker| broker.toppars.values().map(|place| place.partition))
            .collect();
        let mut state = self.state();
        if state.watched.is_subset(&served) {
            state.silent = 0;
            state.down = false;
        } else {
            state.silent = state.silent.saturating_add(1);
        }
    }
}

impl ConsumerContext for Witness {}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(state: &str) -> Statistics {
        let broker = |nodeid: i32, partition: i32, state: &str| {
            let name = format!("b{nodeid}");
            let broker = rdkafka::statistics::Broker {
                nodeid,
                state: state.to_owned(),
                toppars: [(
                    name.clone(),
                    rdkafka::statistics::TopicPartition { topic: "t".to_owned(), partition },
                )]
                .into(),
                ..Default::default()
            };
            (name, broker)
        };
        let brokers = [broker(1, 0, "UP"), broker(2, 1, state), broker(-1, 1, "UP")];
        Statistics { brokers: brokers.into(), ..Default::default() }
    }

    #[test]
    fn a_partition_without_a_broker_is_trouble_until_it_has_one() {
        let witness = Witness::default();
        witness.watch([0, 1]);
        witness.error(KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure), "refused");
        assert_eq!(witness.trouble(), None);
        witness.stats(statistics("DOWN"));
        assert_eq!(witness.trouble(), None);
        witness.stats(statistics("CONNECT"));
        assert_eq!(witness.trouble().as_deref(), Some("refused"));
        witness.stats(statistics("UP"));
        assert_eq!(witness.trouble(), None);
        witness.error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 are down");
        assert_eq!(witness.trouble().as_deref(), Some("refused"));
        witness.alive();
        assert_eq!(witness.trouble(), None);
    }
}
