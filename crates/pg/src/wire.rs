//! One client's byte stream: frames in, messages out, both buffered.
//!
//! Invariants: 1. what is in the outgoing buffer is whole messages, so a statement can be abandoned
//! between any two of its rows; 2. memory for an incoming message grows with the bytes that came,
//! not with the length it claims, and of a statement that is too long nothing is kept; 3. reading and flushing can be dropped half way and lose nothing.

use std::io;
use std::mem;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use pgwire::messages::Message;
use pgwire::tokio::server::MaybeTls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Outgoing bytes beyond which rows wait for the client.
pub(crate) const FLUSH_BYTES: usize = 64 << 10;
/// The longest message that a client may ever send once it is in.
pub(crate) const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// What it may send whatever the memory is.
pub(crate) const MESSAGE_BYTES_MIN: usize = 20 << 20;
/// The longest query string; the parser takes no more either.
const STATEMENT_BYTES_MAX: usize = (16 << 20) + (64 << 10);
/// Bytes of further messages read ahead while a statement runs.
const READ_AHEAD_BYTES: usize = 64 << 10;

/// A message of the client: its type and its body without the length.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) body: Bytes,
    /// It was a statement that is too long, which is not in the body.
    pub(crate) passed_over: bool,
}

/// The stream with its buffers.
pub(crate) struct Wire {
    stream: MaybeTls,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// The type of a message that is passed over, and its bytes that have not come yet.
    passing: Option<(u8, usize)>,
    /// What a login can be bound to, if it is encrypted.
    endpoint: Option<Arc<[u8]>>,
}

impl Wire {
    pub(crate) fn new(stream: MaybeTls) -> Wire {
        let (incoming, outgoing) = Default::default();
        Wire { stream, incoming, outgoing, passing: None, endpoint: None }
    }

    /// The same, encrypted by a server with such an end point.
    pub(crate) fn with_endpoint(self, endpoint: Option<Arc<[u8]>>) -> Wire {
        Wire { endpoint, ..self }
    }

    /// What a login can be bound to.
    pub(crate) fn endpoint(&self) -> Option<Arc<[u8]>> {
        self.endpoint.clone()
    }

    /// The bare stream, for a change to TLS; None if the client has sent more than it may before.
    pub(crate) fn into_stream(self) -> Option<MaybeTls> {
        self.incoming.is_empty().then_some(self.stream)
    }

    /// True once TLS has begun.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self.stream, MaybeTls::Tls(_))
    }

    /// The next message after startup; None at the end of the stream.
    pub(crate) async fn frame(&mut self, bytes_max: usize) -> io::Result<Option<Frame>> {
        if self.passing.is_some() {
            return self.pass_over().await;
        }
        if !self.fill(5).await? {
            return Ok(None);
        }
        let length = usize::try_from((&self.incoming[1..5]).get_u32()).unwrap_or(usize::MAX);
        let kind = self.incoming[0];
        // Before the client is in it may send no statements at all.
        let is_in = bytes_max > STATEMENT_BYTES_MAX;
        let too_long = STATEMENT_BYTES_MAX < length && length <= MESSAGE_BYTES_MAX;
        if is_in && too_long && matches!(kind, b'Q' | b'P') {
            self.incoming.advance(5);
            self.passing = Some((kind, length - 4));
            return self.pass_over().await;
        }
        if !(4..=bytes_max).contains(&length) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "invalid message length"));
        }
        if !self.fill(length + 1).await? {
            return Ok(None);
        }
        let mut frame = self.incoming.split_to(length + 1);
        if self.incoming.is_empty() && length > FLUSH_BYTES {
            // One long message must not hold its memory for the life of the connection.
            self.incoming = BytesMut::new();
        }
        frame.advance(5);
        Ok(Some(Frame { kind, body: frame.freeze(), passed_over: false }))
    }

    /// Reads to the end of a message of which nothing is kept.
    async fn pass_over(&mut self) -> io::Result<Option<Frame>> {
        while let Some((kind, left)) = self.passing {
            let come = left.min(self.incoming.len());
            self.incoming.advance(come);
            self.passing = (come < left).then_some((kind, left - come));
            if come == left {
                return Ok(Some(Frame { kind, body: Bytes::new(), passed_over: true }));
            }
            if !self.read().await? {
                break;
            }
        }
        Ok(None)
    }

    /// The next message before startup is over: it has a length but no type.
    pub(crate) async fn startup_frame(&mut self, bytes_max: usize) -> io::Result<Option<Bytes>> {
        if !self.fill(4).await? {
            return Ok(None);
        }
        let length = usize::try_from((&self.incoming[..4]).get_u32()).unwrap_or(usize::MAX);
        if !(8..=bytes_max).contains(&length) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "invalid startup packet"));
        }
        if !self.fill(length).await? {
            return Ok(None);
        }
        let mut frame = self.incoming.split_to(length);
        frame.advance(4);
        Ok(Some(frame.freeze()))
    }

    /// Reads until so many bytes are there; false if the stream ends before.
    async fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        while self.incoming.len() < bytes {
            if !self.read().await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn read(&mut self) -> io::Result<bool> {
        self.incoming.reserve(8 << 10);
        Ok(self.stream.read_buf(&mut self.incoming).await? > 0)
    }

    /// Waits until the client is gone, and keeps what it sends meanwhile.
    pub(crate) async fn gone(&mut self) -> io::Error {
        loop {
            if self.incoming.len() >= READ_AHEAD_BYTES {
                std::future::pending::<()>().await;
            }
            match self.read().await {
                Ok(true) => {}
                Ok(false) => return io::ErrorKind::UnexpectedEof.into(),
                Err(error) => return error,
            }
        }
    }

    /// Appends a message to what will be sent.
    pub(crate) fn put(&mut self, message: &impl Message) -> io::Result<()> {
        let start = self.outgoing.len();
        message.encode(&mut self.outgoing).map_err(|error| {
            self.outgoing.truncate(start);
            io::Error::new(io::ErrorKind::InvalidData, error)
        })
    }

    /// The buffer of what will be sent, for rows.
    pub(crate) fn outgoing(&mut self) -> &mut BytesMut {
        &mut self.outgoing
    }

    /// True when rows should wait until the client has taken some.
    pub(crate) fn is_full(&self) -> bool {
        self.outgoing.len() >= FLUSH_BYTES
    }

    /// Sends all that waits.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            if self.stream.write_buf(&mut self.outgoing).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        if self.outgoing.capacity() > 8 * FLUSH_BYTES {
            // Nor must one wide row.
            drop(mem::take(&mut self.outgoing));
        }
        self.stream.flush().await
    }

    /// Sends all that waits and closes.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.stream.shutdown().await
    }
}
