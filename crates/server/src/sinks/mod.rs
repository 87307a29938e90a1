//! Sinks: each follows a view's changes on a thread of its own, outside of the dataflow.
//!
//! The coordinator starts and stops them by the catalog ([`Running`]), keeps the changes that they have
//! not sent, and stores with each checkpoint how far they are. What decides is what the other end says
//! that it has; the stored position counts where that has forgotten it.

mod follow;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_connectors::SinkShape;
use millrace_dataflow::sink::{Sink as Connector, SinkError};
use millrace_sql::{Object, Sink, SinkFormat};
use millrace_storage::{Op, Store};
use millrace_types::{Epoch, ObjectId, Report, SqlState};

use crate::error::ServerError;
use crate::shared::Shared;
use crate::sources::without_secrets;

/// A sink's thread.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Running {
    /// Begins to follow.
    ///
    /// # Errors
    /// A thread that cannot be started.
    pub(crate) fn start(shared: &Arc<Shared>, object: &Arc<Object>) -> std::io::Result<Running> {
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, object, told) = (Arc::clone(shared), Arc::clone(object), Arc::clone(&stop));
        let name = format!("sink-{}", object.id);
        let run = move || follow::run(&shared, &object, &told);
        Ok(Running { stop, thread: std::thread::Builder::new().name(name).spawn(run)? })
    }

    /// It commits nothing more than what it is about to.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
    }

    /// True if its thread has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

/// A name that no other sink has, on other servers either.
pub(crate) fn unique_name() -> String {
    // Each of them is seeded by the system.
    let part = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", part(), part())
}

/// Makes a sink's connector; does not wait for a broker.
///
/// # Errors
/// Options that it does not take; a secret that is gone.
pub(crate) fn connect(
    store: &Store,
    sink: &Sink,
    from: &Object,
) -> Result<Box<dyn Connector>, ServerError> {
    let schema = from.full_schema();
    let key = sink.key.iter().filter_map(|name| schema.index_of(name).ok()).collect();
    let shape = SinkShape {
        identity: from.stored().map(|view| view.plan.sort.clone()).unwrap_or_default(),
        key,
        format: match sink.format {
            SinkFormat::Plain => millrace_connectors::SinkFormat::Plain,
            SinkFormat::Upsert => millrace_connectors::SinkFormat::Upsert,
            SinkFormat::Debezium => millrace_connectors::SinkFormat::Debezium,
        },
        schema,
        from: from.name.clone(),
    };
    let mut options = sink.options.clone();
    options.extend(crate::coordinator::secret_values(store, &sink.secrets)?);
    let connector = millrace_connectors::sink(&sink.connector, &options, &sink.unique, shape);
    connector.map_err(|error| without_secrets(error, &options, &sink.secrets).into())
}

/// What a session is told of a sink that cannot be written.
pub(crate) fn sink_report(error: &SinkError) -> Report {
    let code = match error {
        SinkError::Invalid(_) => SqlState::INVALID_PARAMETER_VALUE,
        SinkError::Unreachable(_) | SinkError::Refused(_) => SqlState::FOREIGN_DATA_ERROR,
    };
    Report::new(code, error.to_string())
}

fn position_key(sink: ObjectId) -> Vec<u8> {
    let mut key = b"sink/".to_vec();
    key.extend(sink.0.to_be_bytes());
    key
}

/// The change of the catalog that stores how far a sink is.
pub(crate) fn position_op(sink: ObjectId, position: Epoch) -> Op {
    Op::Put(position_key(sink), position.0.to_le_bytes().to_vec())
}

/// The change of the catalog that forgets it.
pub(crate) fn forget_position(sink: ObjectId) -> Op {
    Op::Delete(position_key(sink))
}

/// How far a sink was at the last checkpoint.
///
/// # Errors
/// A record that is damaged.
pub(crate) fn stored_position(store: &Store, sink: ObjectId) -> Result<Option<Epoch>, ServerError> {
    let Some(bytes) = store.get(&position_key(sink))? else { return Ok(None) };
    let bytes = bytes.try_into().map_err(|_| {
        ServerError::Catalog(format!("the record of how far sink {sink} is is damaged"))
    })?;
    Ok(Some(Epoch(u64::from_le_bytes(bytes))))
}
