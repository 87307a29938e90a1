//! Connections over HTTP: how many there may be, how long they may take, and an orderly end.
//!
//! A client has so long for the head of a request ([`Limits::timeout`]), as long to rest between two, as long for each
//! megabyte of a body ([`body_in_time`]), and as long to take something of an answer ([`Patient`]). When all places are
//! taken, a new connection gets that of one that asks nothing: the oldest one of the address that has most of these. So
//! clients that open connections and say nothing, or say it slowly, keep nobody out. If all are being answered, it is
//! sent away (503).
//!
//! Invariants: 1. no more connections than `Limits::connections_max` are served ([`Places::enter`]). 2. a connection whose
//! request is being answered is never closed for another one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};

/// What a client may leave untaken for at least.
const UNTAKEN_MIN: Duration = Duration::from_secs(60);
/// Connections that are told why they are sent away, at a time; others are just closed.
const REFUSALS_MAX: usize = 64;
/// How long that may take.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// What is sent to them.
const REFUSAL: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 31\r\nretry-after: 1\r\nconnection: close\r\n\r\nall connections are in use now\n";
/// Log lines of one kind come at most so often.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// A body may take the timeout once for each so many bytes.
const BODY_STEP: u64 = 1 << 20;

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at a time.
    pub(super) connections_max: usize,
    /// How long a client may say nothing, or take nothing.
    pub(super) timeout: Duration,
}

/// The connections that are open.
struct Places {
    limits: Limits,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: BTreeMap<u64, Entry>,
    /// Counts what happens, to know what was first.
    turns: u64,
    crowded: Seldom,
    slow: Seldom,
}

/// A connection.
struct Entry {
    address: IpAddr,
    /// The turn since which it has asked nothing; None while it is answered.
    rests: Option<u64>,
    has_asked: bool,
    /// Ends it.
    end: Arc<Notify>,
}

/// Keeps the log short.
#[derive(Default)]
struct Seldom {
    told: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// How many there were since the last line; None if it is too early for another one.
    fn tell(&mut self) -> Option<u64> {
        self.untold += 1;
        let now = Instant::now();
        if self.told.is_some_and(|told| now - told < TOLD_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// The place of a connection, given back when it is dropped.
struct Place {
    places: Arc<Places>,
    id: u64,
    end: Arc<Notify>,
}

impl Places {
    /// A place for a connection, taken from another one if need be.
    fn enter(self: &Arc<Places>, address: IpAddr) -> Option<Place> {
        let mut open = self.open.lock();
        if open.all.len() >= self.limits.connections_max {
            let id = open.restful();
            let closed = id.and_then(|id| open.all.remove(&id));
            let connections = open.all.len();
            let others = open.crowded.tell();
            if let Some(closed) = &closed {
                closed.end.notify_one();
            }
            if let Some(times) = others {
                let of = closed.as_ref().map(|closed| closed.address);
                let closed = of.map_or_else(|| "none".to_owned(), |of| of.to_string());
                let text = "all HTTP connections are taken";
                tracing::warn!(%address, closed, connections, times, "{text}");
            }
            closed?;
        }
        open.turns += 1;
        let (id, end) = (open.turns, Arc::new(Notify::new()));
        let entry = Entry { address, rests: Some(id), has_asked: false, end: Arc::clone(&end) };
        open.all.insert(id, entry);
        Some(Place { places: Arc::clone(self), id, end })
    }
}

impl Open {
    /// The connection that has rested longest, of the address that has most that rest.
    fn restful(&self) -> Option<u64> {
        let mut of_address: BTreeMap<IpAddr, (usize, u64, u64)> = BTreeMap::new();
        for (id, entry) in &self.all {
            let Some(since) = entry.rests else { continue };
            let (count, oldest, found) = of_address.entry(entry.address).or_insert((0, since, *id));
            *count += 1;
            if since < *oldest {
                (*oldest, *found) = (since, *id);
            }
        }
        let most =
            of_address.into_values().max_by_key(|(count, oldest, _)| (*count, u64::MAX - oldest));
        most.map(|(_, _, id)| id)
    }
}

impl Place {
    /// A request has come.
    fn asks(&self) {
        if let Some(entry) = self.places.open.lock().all.get_mut(&self.id) {
            (entry.rests, entry.has_asked) = (None, true);
        }
    }

    /// The answer has been given.
    fn rests(&self) {
        let mut open = self.places.open.lock();
        open.turns += 1;
        let turn = open.turns;
        if let Some(entry) = open.all.get_mut(&self.id) {
            entry.rests = Some(turn);
        }
    }

    /// Says that a client took too long for its first request.
    fn tell_slow(&self, address: IpAddr) {
        let mut open = self.places.open.lock();
        if open.all.get(&self.id).is_none_or(|entry| entry.has_asked) {
            return;
        }
        if let Some(times) = open.slow.tell() {
            let timeout = self.places.limits.timeout;
            tracing::info!(%address, ?timeout, times, "HTTP connection closed: no request came in time");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.open.lock().all.remove(&self.id);
    }
}

/// Serves until told to stop, and until the requests under way are answered.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let places = Arc::new(Places { limits, open: Mutex::default() });
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = super::sql::ended(&mut stopped) => break,
            Some(joined) = connections.join_next() => {
                if let Err(error) = joined && error.is_panic() {
                    tracing::error!(%error, "an HTTP connection failed");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match places.enter(peer.ip().to_canonical()) {
                    Some(place) => {
                        let (router, stopped) = (router.clone(), stopped.clone());
                        connections.spawn(attend(stream, peer, place, router, stopped));
                    }
                    None => {
                        if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                            connections.spawn(async move {
                                drop(timeout(REFUSAL_TIMEOUT, refuse(stream)).await);
                                drop(permit);
                            });
                        }
                    }
                },
                Err(error) => {
                    // Out of file descriptors: those in use must close first.
                    tracing::warn!(%error, "could not accept an HTTP connection");
                    sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Tells a client that there is no place.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(REFUSAL.as_bytes()).await?;
    stream.shutdown().await?;
    // What it has sent is read: else it would be told of a broken connection, and not of the reason.
    let mut bytes = [0; 4096];
    while stream.read(&mut bytes).await? > 0 {}
    Ok(())
}

/// Answers the requests of one connection.
async fn attend(
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let limit = place.places.limits.timeout;
    if let Err(error) = millrace_pg::attend_stream(&stream, Some(limit.max(UNTAKEN_MIN))) {
        tracing::debug!(%peer, %error, "HTTP connection lost");
        return;
    }
    let place = Arc::new(place);
    let service = service_fn(|request: Request<Incoming>| {
        let (router, place) = (TowerToHyperService::new(router.clone()), Arc::clone(&place));
        place.asks();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        async move {
            let response: Response = router.call(request).await?;
            Ok::<_, Infallible>(response.map(|body| Answering { body, place }))
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limit);
    let stream = TokioIo::new(Patient { stream, limit, stalled: None });
    let mut connection = pin!(builder.serve_connection(stream, service));
    let mut is_ending = false;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = place.end.notified() => return,
            () = super::sql::ended(&mut stopped), if !is_ending => {
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    match ended {
        Err(error) if error.is_timeout() => place.tell_slow(peer.ip().to_canonical()),
        Err(error) => tracing::debug!(%peer, %error, "HTTP connection lost"),
        Ok(()) => {}
    }
}

/// The body of a request, if it comes in time.
///
/// # Errors
/// The answer, if it does not.
pub(super) async fn body_in_time(request: Request, limit: Duration) -> Result<Bytes, Response> {
    let length = request.headers().get(axum::http::header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let steps = u32::try_from(1 + length.unwrap_or_default() / BODY_STEP).unwrap_or(u32::MAX);
    match timeout(limit.saturating_mul(steps), Bytes::from_request(request, &())).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(refused)) => Err(refused.into_response()),
        Err(_) => {
            let head = [("connection", "close")];
            let text = "the request did not come in time\n";
            Err((StatusCode::REQUEST_TIMEOUT, head, text).into_response())
        }
    }
}

/// An answer on its way: while it is, its connection does not rest.
struct Answering {
    body: Body,
    place: Arc<Place>,
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.place.rests();
    }
}

/// A stream to a client that must take something of what is written, again and again.
struct Patient {
    stream: TcpStream,
    limit: Duration,
    /// Since it takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn waited<T>(
        &mut self,
        context: &mut Context<'_>,
        done: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.stalled = None;
            return done;
        }
        let limit = self.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        stalled.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.waited(context, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.waited(context, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_rests_of_the_address_with_most_makes_room() {
        let limits = Limits { connections_max: 4, timeout: Duration::from_secs(1) };
        let places = Arc::new(Places { limits, open: Mutex::default() });
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        let enter = |last: u8| places.enter(address(last));
        let is_there = |place: &Option<Place>| {
            places.open.lock().all.contains_key(&place.as_ref().unwrap().id)
        };
        let calm = enter(1);
        let (busy, first, second) = (enter(2), enter(2), enter(2));
        busy.as_ref().unwrap().asks();
        // It has asked, and rests since then.
        first.as_ref().unwrap().asks();
        first.as_ref().unwrap().rests();
        let next = enter(3);
        assert!(!is_there(&second) && is_there(&first) && is_there(&calm) && is_there(&busy));
        for place in [&calm, &first, &next] {
            place.as_ref().unwrap().asks();
        }
        assert!(enter(3).is_none());
        drop(next);
        assert!(enter(3).is_some());
    }

    #[test]
    fn the_refusal_has_the_length_that_it_names() {
        let (head, body) = REFUSAL.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }
}
