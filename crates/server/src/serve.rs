//! `millrace serve`: opens the data directory, recovers, listens, and ends on SIGTERM or Ctrl-C.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millrace_pg::session::SharedDatabase;
use millrace_storage::{MetaKind, Store};
use millrace_types::STACK_BYTES;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::access::Guard;
use crate::clock::Clock;
use crate::config::{Config, Options, StoreKind};
use crate::coordinator::{Coordinator, Message, load_catalog, logged_now, login_nonce};
use crate::error::ServerError;
use crate::queries::Queries;
use crate::session::Sessions;
use crate::shared::{Opened, Shared};
use crate::{http, log, memory, private, stops};

/// How long clients may take to finish when the server ends.
const GRACE: Duration = Duration::from_secs(5);

/// Arenas of malloc at least: workers are not the only threads.
const ARENAS_MIN: usize = 2;
/// One message of a client has at most such a part of the memory limit.
const MESSAGE_PARTS: usize = 4;
/// One call of a function gives at most such a part of the memory limit.
const RESULT_PARTS: usize = 8;
/// Threads of statements at least: one that keeps its thread for long must not keep all others waiting.
const STATEMENT_THREADS_MIN: usize = 4;

/// Runs the server until it is told to end.
///
/// # Errors
/// What keeps it from starting, or ends it.
pub fn run(options: Options) -> Result<(), ServerError> {
    let config = options.resolve()?;
    log::start(config.log_format)?;
    memory::bound_arenas(config.workers.max(ARENAS_MIN));
    start(config)?.wait()
}

/// A running server.
pub struct Server {
    /// Where Postgres clients connect.
    pub address: SocketAddr,
    /// Where the console is.
    pub http: Option<SocketAddr>,
    /// What sessions see.
    pub shared: Arc<Shared>,
    runtime: tokio::runtime::Runtime,
    /// Where statements calculate.
    statements: tokio::runtime::Runtime,
    coordinator: std::thread::JoinHandle<Result<(), ServerError>>,
    stop: watch::Sender<bool>,
    listener: tokio::task::JoinHandle<()>,
}

/// Opens everything; clients may connect when it returns.
///
/// # Errors
/// A locked, damaged or newer data directory, an address in use, TLS files that cannot be read.
pub fn start(config: Config) -> Result<Server, ServerError> {
    end_on_panic();
    stops::note_aborts(&config.data_dir)?;
    let runtime = threads("session", config.workers.max(2))?;
    let statements = threads("statement", config.workers.max(STATEMENT_THREADS_MIN))?;
    let bind = |address| ServerError::listen(address);
    let listener =
        runtime.block_on(TcpListener::bind(config.listen)).map_err(bind(config.listen))?;
    let page = match config.http {
        Some(address) => Some(runtime.block_on(TcpListener::bind(address)).map_err(bind(address))?),
        None => None,
    };
    let kind = match config.store {
        StoreKind::Fjall => MetaKind::Fjall,
        StoreKind::Sled => MetaKind::Sled,
    };
    let store = Store::open(&config.data_dir, kind)?;
    stops::watch(&config.data_dir, config.memory_limit)?;
    if let Err(error) = private::keep(&config.data_dir) {
        tracing::warn!(%error, "others may be able to read the data directory");
    }
    store.set_cache_bytes((config.memory_limit / 16).clamp(8 << 20, 256 << 20));
    let clock = Clock::start(logged_now(&store)?);
    let catalog = load_catalog(&store)?;
    let guard = Guard::new(&config, login_nonce(&store)?)?;
    guard.check_open(&config, &catalog)?;
    let (inbox, messages) = crossbeam_channel::unbounded();
    let queries = Queries::new(statements.handle().clone(), config.memory_limit);
    let queries = queries.map_err(|error| ServerError::Report(millrace_pg::report_of(&error)))?;
    millrace_sql::bound_results(config.memory_limit / RESULT_PARTS);
    let opened = Opened { store, clock, catalog };
    let shared = Arc::new(Shared::new(config.clone(), opened, guard, queries, inbox));
    let coordinator = Coordinator::start(shared.clone(), messages)?;
    let coordinator = std::thread::Builder::new()
        .name("coordinator".into())
        .stack_size(STACK_BYTES)
        .spawn(move || coordinator.run().inspect_err(die))
        .map_err(ServerError::Thread)?;
    let (stop, stopped) = watch::channel(false);
    let address = listener.local_addr()?;
    let database: SharedDatabase = Arc::new(runtime.block_on(Sessions::new(shared.clone()))?);
    let wire = millrace_pg::Config {
        tls: shared.guard.certificate.clone(),
        connections_max: config.max_connections,
        message_bytes_max: config.memory_limit / MESSAGE_PARTS,
        attempts: shared.guard.attempts.clone(),
    };
    let mut http = None;
    if let Some(page) = page {
        let place = page.local_addr()?;
        tracing::info!(address = %place, "serving HTTP");
        runtime.spawn(http::serve(page, shared.clone(), database.clone(), stopped.clone()));
        http = Some(place);
    }
    runtime.spawn(shared.queries.clone().attend());
    let listener = runtime.spawn(millrace_pg::serve(listener, database, wire, stopped));
    Ok(Server { address, http, shared, runtime, statements, coordinator, stop, listener })
}

/// Threads for sessions or their statements, whose plans are walked by recursion.
fn threads(name: &str, count: usize) -> Result<tokio::runtime::Runtime, ServerError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(count)
        .thread_name(name)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .map_err(ServerError::Thread)
}

impl Server {
    /// Waits for SIGTERM, SIGINT or the end of the coordinator, then stops. SIGHUP has certificate and
    /// rules read again.
    ///
    /// # Errors
    /// What ended the coordinator.
    pub fn wait(self) -> Result<(), ServerError> {
        let listening = || tracing::info!("listening on {}", self.address);
        self.runtime.block_on(signal(listening, || self.shared.guard.reload()))?;
        tracing::info!("stopping");
        self.stop()
    }

    /// Writes a checkpoint and ends.
    ///
    /// # Errors
    /// What ended the coordinator before.
    pub fn stop(self) -> Result<(), ServerError> {
        // Nobody listens any more if the listener has ended.
        self.stop.send(true).unwrap_or_default();
        let (done, wait) = std::sync::mpsc::channel();
        drop(self.shared.inbox.send(Message::Stop(done)));
        // An error means that the coordinator ended without an answer; the join tells why.
        wait.recv().unwrap_or_default();
        let listener = self.listener;
        drop(self.runtime.block_on(async { tokio::time::timeout(GRACE, listener).await }));
        self.runtime.shutdown_timeout(GRACE);
        self.statements.shutdown_timeout(GRACE);
        match self.coordinator.join() {
            Ok(result) => result.and_then(|()| Ok(stops::forget(&self.shared.config.data_dir)?)),
            Err(_) => Err(ServerError::CommitterGone),
        }
    }
}

impl ServerError {
    fn listen(address: SocketAddr) -> impl FnOnce(std::io::Error) -> ServerError {
        move |error| ServerError::Listen { address, error }
    }
}

/// Says on standard error, in one line, why the program ends.
pub fn complain(error: &dyn std::fmt::Display) {
    // Nobody to tell if standard error is closed.
    writeln!(std::io::stderr(), "millrace: {error}").unwrap_or_default();
}

/// Without its coordinator the server can promise nothing: end now, recover at the next start.
fn die(error: &ServerError) {
    tracing::error!(%error, "the server cannot go on");
    complain(error);
    std::process::exit(1);
}

/// A panic in a worker would leave its peers waiting for ever: the process ends and recovers. What stops several
/// workers at once, as damaged state does, is one stop: the first of them ends the process.
fn end_on_panic() {
    static ENDING: AtomicBool = AtomicBool::new(false);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default().to_owned();
        let engine = ["timely", "coordinator", "committer", "housekeeping", "reader"];
        if engine.iter().any(|prefix| name.starts_with(prefix)) && !guarded() {
            while ENDING.swap(true, Ordering::SeqCst) {
                std::thread::park();
            }
            tracing::error!(thread = name, "a thread of the engine panicked, the server ends");
            std::process::abort();
        }
    }));
}

/// True while the engine evaluates an expression, where a panic is only an error row.
fn guarded() -> bool {
    millrace_dataflow::chain::is_evaluating()
}

/// Waits for a signal to end; says when it would see one, and does what SIGHUP asks for.
async fn signal(ready: impl FnOnce(), reload: impl Fn()) -> Result<(), ServerError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    ready();
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => reload(),
        }
    }
}
