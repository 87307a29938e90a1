//! The runtime: timely workers that run views' dataflows, commanded by one coordinator.
//!
//! Each worker has a channel of [`Command`]s and is unparked after each; what it has to say goes out
//! as [`Event`]s whose sending never waits. Every worker builds the same operators in the same order
//! from the same [`Graph`](crate::graph::Graph).
//!
//! Time in a dataflow is [`Ts`]. A live view follows the sealed epochs; a view in hydration is moved
//! by the coordinator alone, and buffers the live rows that it will need, until `GoLive`.
//!
//! Invariants: 1. rows of a feed reach a worker before the seal of their epoch (the gate's lock).
//! 2. `Event::Upper` is sent after everything below it is published on that worker.

mod build;
mod figures;
mod history;
mod leaf;
mod outputs;
mod packet;
mod publish;
mod state;
mod stateful;
mod worker;
mod working;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Sender;
use millrace_storage::{Reach, Table};
use millrace_types::{Delta, Epoch, ObjectId, STACK_BYTES, Ts};

pub use figures::{Figure, Figures, Work};
pub use history::{HISTORY_COLUMNS, HISTORY_EPOCH, HISTORY_WEIGHT, history_schema, history_sort};
pub use outputs::error_schema;
pub use working::{Call, all_working_on, working_on};

use crate::graph::Graph;
use crate::operator::LateRows;

/// Names a stream of rows into workers: a source's shared feed or one hydration's private one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedId(pub u64);

/// What a worker is told.
#[derive(Clone)]
pub enum Command {
    /// Build a view's dataflow.
    Install(Arc<Install>),
    /// Rows of a feed, in the full schema of their source or view.
    Rows {
        /// The feed.
        feed: FeedId,
        /// Their time.
        ts: Ts,
        /// The source's watermark before that time; None: nothing is late.
        watermark: Option<i64>,
        /// The rows.
        rows: Delta,
    },
    /// The rows of a feed from a time on go to a view's leaf.
    Subscribe {
        /// The view.
        view: ObjectId,
        /// Position in the graph's leaves.
        leaf: usize,
        /// The feed.
        feed: FeedId,
        /// The first time.
        from: Ts,
    },
    /// A view's leaf takes the changes of the view that it reads, from a time on. Until it is live it
    /// holds them back, and lets them in as it is advanced.
    Follow {
        /// The view.
        view: ObjectId,
        /// Position in the graph's leaves.
        leaf: usize,
        /// The first time.
        from: Ts,
    },
    /// Hydration: how much of the view below has been read into a leaf, as of all times that come.
    /// Changes of it that lie beyond do not concern the view yet.
    Reach {
        /// The view.
        view: ObjectId,
        /// Position in the graph's leaves.
        leaf: usize,
        /// The part that has been read.
        reach: Reach,
    },
    /// Hydration: the operators hand over at a time, as at a checkpoint.
    Mark {
        /// The view.
        view: ObjectId,
        /// The time; it is not complete yet.
        at: Ts,
    },
    /// Hydration: all rows below a time have been sent, and the views below have completed it.
    Advance {
        /// The view.
        view: ObjectId,
        /// The time.
        upto: Ts,
    },
    /// Hydration is over: from this epoch on the view follows the seals.
    GoLive {
        /// The view.
        view: ObjectId,
        /// The first live epoch; seals up to it may have come already.
        from: Epoch,
    },
    /// An epoch is sealed.
    Seal {
        /// The epoch.
        epoch: Epoch,
        /// The sources' watermarks after it.
        watermarks: Arc<BTreeMap<ObjectId, i64>>,
        /// The clock that it is logged with, microseconds.
        now: i64,
        /// It is a checkpoint.
        hand_over: bool,
    },
    /// Keep a view's changes in a table from an epoch on, whose seal comes later; None: no longer.
    Retain {
        /// The view.
        view: ObjectId,
        /// The table and the first epoch.
        history: Option<(Arc<Table>, Epoch)>,
    },
    /// Stop showing a view's changes: nothing of it is published from here on.
    Unpublish(ObjectId),
    /// Take a view's dataflow away, after all workers have unpublished it.
    Drop(ObjectId),
    /// End.
    Stop,
}

/// What a worker says.
#[derive(Debug)]
pub enum Event {
    /// Everything of a view below a time is published on this worker.
    Upper {
        /// The view.
        view: ObjectId,
        /// The worker.
        worker: usize,
        /// The first time not published.
        upper: Ts,
    },
    /// The least `now()` at which a view has changes on this worker, if no data comes.
    Turn {
        /// The view.
        view: ObjectId,
        /// The worker.
        worker: usize,
        /// Microseconds; None: never.
        at: Option<i64>,
    },
    /// A view has turned rows away; said before its `upper` passes their time.
    Late {
        /// The view.
        view: ObjectId,
        /// Their time.
        ts: Ts,
        /// The rows.
        rows: Vec<LateRows>,
    },
    /// All operators of a view on this worker have handed over: what has changed is published in their tables.
    HandedOver {
        /// The view.
        view: ObjectId,
        /// The worker.
        worker: usize,
        /// The time of the cut.
        mark: Ts,
        /// Bytes that the operators hold.
        bytes: usize,
        /// Microseconds in which the worker did nothing else.
        took_us: i64,
    },
    /// State that an operator of a view needs is damaged: nothing more of the view is published, until it
    /// is taken away.
    Damaged {
        /// The view.
        view: ObjectId,
        /// Which file, and where.
        reason: String,
    },
    /// A view is unpublished on this worker.
    Unpublished {
        /// The view.
        view: ObjectId,
        /// The worker.
        worker: usize,
    },
}

/// Where a view's output is kept.
#[derive(Clone)]
pub struct ViewTables {
    /// Its rows.
    pub content: Arc<Table>,
    /// Rows whose evaluation failed.
    pub errors: Arc<Table>,
    /// The state of its operators, by position in `Graph::tables`.
    pub state: Vec<Arc<Table>>,
}

/// A dataflow to build.
pub struct Install {
    /// The view.
    pub view: ObjectId,
    /// Its name, for logs.
    pub name: String,
    /// What to build.
    pub graph: Arc<Graph>,
    /// Where its output goes.
    pub tables: ViewTables,
    /// The first time that it will see.
    pub start: Ts,
    /// Recovery: the checkpoint whose state is taken back; `start` is the epoch after it.
    pub restore: Option<Epoch>,
    /// Recovery: the view is live from `start` on.
    pub live: bool,
    /// Hydration: by leaf, the key of the view below.
    pub keys_below: BTreeMap<usize, Vec<usize>>,
    /// The sources' watermarks before `start`.
    pub watermarks: Arc<BTreeMap<ObjectId, i64>>,
    /// The clock of the epoch before `start`, microseconds.
    pub now: i64,
    /// Where its operators count what they do.
    pub figures: Arc<Figures>,
}

struct Handle {
    commands: Sender<Command>,
    thread: std::thread::Thread,
}

/// The running workers; ends them when dropped.
pub struct Runtime {
    handles: Vec<Handle>,
    /// Memory is short: operators let go of their state when they have handed over.
    short: Arc<AtomicBool>,
    guards: Option<timely::communication::WorkerGuards<()>>,
}

/// Receives events; must not wait.
pub type Events = Arc<dyn Fn(Event) + Send + Sync>;

/// Microseconds since 1970, never falling. The runtime measures its work with it, and nothing else.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

impl Runtime {
    /// Starts `workers` threads.
    ///
    /// # Errors
    /// A thread that cannot be started.
    pub fn start(workers: usize, events: Events, clock: Clock) -> Result<Runtime, std::io::Error> {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..workers).map(|_| crossbeam_channel::unbounded()).unzip();
        let (threads, started) = crossbeam_channel::unbounded();
        let receivers = Arc::new(receivers);
        let short = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&short);
        let guards = timely::execute(timely::Config::process(workers), move |timely| {
            let index = timely.index();
            if threads.send((index, std::thread::current())).is_ok() {
                // Timely starts its threads with the smallest stack.
                let run = || worker::run(timely, &receivers[index], &events, (&clock, &told));
                stacker::grow(STACK_BYTES, run);
            }
        })
        .map_err(std::io::Error::other)?;
        let mut found: Vec<(usize, std::thread::Thread)> = started.iter().take(workers).collect();
        found.sort_by_key(|(index, _)| *index);
        let handles = senders
            .into_iter()
            .zip(found)
            .map(|(commands, (_, thread))| Handle { commands, thread })
            .collect();
        Ok(Runtime { handles, short, guards: Some(guards) })
    }

    /// Says whether memory is short: then operators let go of state that is stored, at the next hand-over.
    pub fn set_short(&self, short: bool) {
        self.short.store(short, Ordering::Relaxed);
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.handles.len()
    }

    /// A function that sends commands to one worker, for gates.
    pub fn sender(&self) -> Arc<dyn Fn(usize, Command) + Send + Sync> {
        let handles: Vec<(Sender<Command>, std::thread::Thread)> =
            self.handles.iter().map(|h| (h.commands.clone(), h.thread.clone())).collect();
        Arc::new(move |worker, command| {
            let (commands, thread) = &handles[worker];
            // A closed channel means that the runtime is ending: nobody misses the command.
            if commands.send(command).is_ok() {
                thread.unpark();
            }
        })
    }

    /// Tells all workers.
    pub fn broadcast(&self, command: &Command) {
        for handle in &self.handles {
            if handle.commands.send(command.clone()).is_ok() {
                handle.thread.unpark();
            }
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.broadcast(&Command::Stop);
        // The guards join the threads.
        drop(self.guards.take());
    }
}
