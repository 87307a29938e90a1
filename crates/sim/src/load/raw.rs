//! A client that reads no more than it is told to, and leaves when it is told to.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::server::Server;

/// A connection as root, with a small buffer for what comes.
pub(super) struct Raw {
    stream: TcpStream,
    /// The number and the secret that a cancel request names.
    key: Vec<u8>,
}

impl Raw {
    pub(super) async fn open(server: &Server) -> Raw {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        let stream = socket.connect(address(server)).await.unwrap();
        let mut raw = Raw { stream, key: Vec::new() };
        let mut packet = 0x0003_0000_u32.to_be_bytes().to_vec();
        packet.extend_from_slice(b"user\0root\0database\0dev\0\0");
        raw.untyped(&packet).await;
        for (kind, body) in raw.until('Z').await {
            if kind == 'K' {
                raw.key = body;
            }
        }
        raw
    }

    async fn untyped(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        self.stream.write_all(&[&length[..], body].concat()).await.unwrap();
    }

    /// Sends a message.
    pub(super) async fn send(&mut self, kind: u8, body: &[u8]) {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        self.stream.write_all(&[&[kind][..], &length, body].concat()).await.unwrap();
    }

    /// Sends a query string and does not wait for its answer.
    pub(super) async fn ask(&mut self, sql: &str) {
        self.send(b'Q', format!("{sql}\0").as_bytes()).await;
    }

    /// Prepares a query and asks for some of its rows.
    pub(super) async fn ask_portal(&mut self, sql: &str, rows: u32) {
        self.send(b'P', format!("\0{sql}\0\0\0").as_bytes()).await;
        self.send(b'B', b"\0\0\0\0\0\0\0\0").await;
        self.send(b'E', &[&b"\0"[..], &rows.to_be_bytes()].concat()).await;
        self.send(b'H', b"").await;
    }

    /// The next message.
    pub(super) async fn message(&mut self) -> (char, Vec<u8>) {
        let kind = self.stream.read_u8().await.unwrap();
        let length = usize::try_from(self.stream.read_u32().await.unwrap()).unwrap();
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).await.unwrap();
        (char::from(kind), body)
    }

    /// The messages up to one of a kind.
    pub(super) async fn until(&mut self, last: char) -> Vec<(char, Vec<u8>)> {
        let mut messages = Vec::new();
        loop {
            let message = self.message().await;
            let ends = message.0 == last;
            messages.push(message);
            if ends {
                return messages;
            }
        }
    }

    /// The SQLSTATE of the error that comes before the server is ready; None if none does.
    pub(super) async fn refusal(&mut self) -> Option<String> {
        let messages = self.until('Z').await;
        let (_, error) = messages.into_iter().find(|(kind, _)| *kind == 'E')?;
        let field = error.split(|byte| *byte == 0).find(|field| field.first() == Some(&b'C'))?;
        Some(String::from_utf8_lossy(&field[1..]).into_owned())
    }

    /// Cancels what runs.
    pub(super) async fn cancel(&self, server: &Server) {
        let stream = TcpStream::connect(address(server)).await.unwrap();
        let mut canceller = Raw { stream, key: Vec::new() };
        let code = 80_877_102_u32.to_be_bytes();
        canceller.untyped(&[&code[..], &self.key].concat()).await;
    }

    /// Leaves with a reset: nothing that was sent is waited for.
    pub(super) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

fn address(server: &Server) -> SocketAddr {
    (*server.address().borrow()).expect("the server listens")
}
