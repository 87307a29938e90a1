//! The protocol by hand: exact sequences of messages, broken messages, TLS.

use std::path::Path;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::Server;
use super::database::TestDatabase;
use crate::{Certificate, Config, Tls};

struct Raw<S>(S);

pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_u8(kind);
    out.put_u32(u32::try_from(body.len() + 4).unwrap());
    out.put_slice(body);
    out.to_vec()
}

pub(super) fn startup(minor: u16, options: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_u32(u32::try_from(options.len() + 9).unwrap());
    out.put_u16(3);
    out.put_u16(minor);
    out.put_slice(options);
    out.put_u8(0);
    out.to_vec()
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The next message; None when the server has closed.
    async fn receive(&mut self) -> Option<(char, Vec<u8>)> {
        let kind = self.0.read_u8().await.ok()?;
        let length = usize::try_from(self.0.read_u32().await.unwrap()).unwrap();
        let mut body = vec![0; length - 4];
        self.0.read_exact(&mut body).await.unwrap();
        Some((char::from(kind), body))
    }

    /// The messages up to ReadyForQuery or the end.
    async fn answers(&mut self) -> Vec<(char, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some(message) = self.receive().await {
            let last = message.0 == 'Z';
            all.push(message);
            if last {
                break;
            }
        }
        all
    }

    /// Their types only.
    async fn kinds(&mut self) -> String {
        self.answers().await.into_iter().map(|(kind, _)| kind).collect()
    }
}

async fn open(server: &Server) -> Raw<TcpStream> {
    let mut raw = Raw(TcpStream::connect(server.address).await.unwrap());
    raw.send(&startup(0, b"user\0root\0")).await;
    assert!(raw.kinds().await.ends_with("KZ"));
    raw
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).replace('\0', "|")
}

#[tokio::test]
async fn a_query_string_is_answered_statement_by_statement_and_ready_once() {
    let server = Server::start().await;
    let mut raw = open(&server).await;
    for (query, kinds) in [
        ("SELECT 1; SELECT 2 WHERE false;", "TDCTCZ"),
        ("", "IZ"),
        (" ; ;", "IZ"),
        ("-- ping", "IZ"),
        ("SELECT 1; SELECT nosuch; SELECT 2", "TDCEZ"),
        ("SELECT 'x", "EZ"),
        ("HALF", "TDEZ"),
        ("NOTE; SELECT 1", "NNCTDCZ"),
        ("SET TimeZone = 'Asia/Tokyo'", "CSZ"),
    ] {
        raw.send(&message(b'Q', format!("{query}\0").as_bytes())).await;
        assert_eq!(raw.kinds().await, kinds, "{query}");
    }
}

#[tokio::test]
async fn ready_tells_where_the_transaction_stands() {
    let server = Server::start().await;
    let mut raw = open(&server).await;
    for (query, status) in [("SELECT 1", b'I'), ("BEGIN", b'T'), ("HALF", b'E'), ("ROLLBACK", b'I')]
    {
        raw.send(&message(b'Q', format!("{query}\0").as_bytes())).await;
        assert_eq!(raw.answers().await.pop(), Some(('Z', vec![status])), "{query}");
    }
}

#[tokio::test]
async fn startup_tells_what_clients_ask_a_postgresql_16_for() {
    let server = Server::start().await;
    let mut raw = Raw(TcpStream::connect(server.address).await.unwrap());
    raw.send(&startup(0, b"user\0root\0application_name\0test\0")).await;
    let told: Vec<String> = raw
        .answers()
        .await
        .into_iter()
        .filter(|(kind, _)| *kind == 'S')
        .map(|(_, body)| text(&body))
        .collect();
    for setting in [
        "server_version|16.6 (Millrace 0.1.0)|",
        "client_encoding|UTF8|",
        "DateStyle|ISO, MDY|",
        "TimeZone|UTC|",
        "integer_datetimes|on|",
        "standard_conforming_strings|on|",
        "IntervalStyle|postgres|",
        "application_name|test|",
        "is_superuser|on|",
        "session_authorization|root|",
    ] {
        assert!(told.iter().any(|one| one == setting), "{setting} in {told:?}");
    }
}

#[tokio::test]
async fn after_a_failure_everything_up_to_sync_is_skipped() {
    let server = Server::start().await;
    let mut raw = open(&server).await;
    let mut batch = message(b'P', b"\0SELECT nosuch\0\0\0");
    batch.extend(message(b'B', b"\0\0\0\0\0\0\0\0"));
    batch.extend(message(b'E', b"\0\0\0\0\0"));
    batch.extend(message(b'Q', b"SELECT 1\0"));
    batch.extend(message(b'S', b""));
    batch.extend(message(b'P', b"\0SELECT 1\0\0\0"));
    batch.extend(message(b'B', b"\0\0\0\0\0\0\0\0"));
    batch.extend(message(b'D', b"P\0"));
    batch.extend(message(b'E', b"\0\0\0\0\0"));
    batch.extend(message(b'C', b"Sgone\0"));
    batch.extend(message(b'S', b""));
    raw.send(&batch).await;
    assert_eq!(raw.kinds().await, "EZ");
    assert_eq!(raw.kinds().await, "12TDC3Z");
}

#[tokio::test]
async fn the_extended_protocol_answers_an_empty_statement_and_unknown_names() {
    let server = Server::start().await;
    let mut raw = open(&server).await;
    let mut batch = message(b'P', b"\0-- ping\0\0\0");
    batch.extend(message(b'D', b"S\0"));
    batch.extend(message(b'B', b"\0\0\0\0\0\0\0\0"));
    batch.extend(message(b'E', b"\0\0\0\0\0"));
    batch.extend(message(b'S', b""));
    raw.send(&batch).await;
    assert_eq!(raw.kinds().await, "1tn2IZ");
    for (broken, code) in [
        (message(b'B', b"\0nosuch\0\0\0\0\0\0\0"), "26000"),
        (message(b'E', b"nosuch\0\0\0\0\0"), "34000"),
        (message(b'D', b"Pnosuch\0"), "34000"),
        (message(b'B', b"\0\0\0\x07"), "08P01"),
        (message(b'B', b"\0\0\0\0\0\x01\0\0\0\0\0\0"), "08P01"),
        (message(b'Q', b"SELECT '\xff'\0"), "22021"),
        (message(b'F', b"\0\0\0\0"), "0A000"),
    ] {
        raw.send(&broken).await;
        if broken[0] != b'Q' && broken[0] != b'F' {
            raw.send(&message(b'S', b"")).await;
        }
        let answers = raw.answers().await;
        assert_eq!(answers.len(), 2, "{answers:?}");
        assert!(text(&answers[0].1).contains(&format!("|C{code}|")), "{}", text(&answers[0].1));
    }
}

#[tokio::test]
async fn a_row_is_sent_before_the_next_one_is_there() {
    let server = Server::start().await;
    let mut raw = open(&server).await;
    raw.send(&message(b'Q', b"STALL\0")).await;
    assert_eq!(raw.receive().await.unwrap().0, 'T');
    assert_eq!(raw.receive().await.unwrap().0, 'D');
}

#[tokio::test]
async fn a_portal_is_gone_with_its_transaction() {
    let server = Server::start().await;
    let mut raw = open(&server).await;
    let mut batch = message(b'P', b"s\0ENDLESS\0\0\0");
    batch.extend(message(b'B', b"p\0s\0\0\0\0\0\0\0"));
    batch.extend(message(b'E', b"p\0\0\0\0\x02"));
    batch.extend(message(b'E', b"p\0\0\0\0\x01"));
    batch.extend(message(b'S', b""));
    batch.extend(message(b'E', b"p\0\0\0\0\x01"));
    batch.extend(message(b'S', b""));
    raw.send(&batch).await;
    assert_eq!(raw.kinds().await, "12DDsDsZ");
    assert_eq!(raw.kinds().await, "EZ");
    server.database.dropped.reach(1).await;
}

#[tokio::test]
async fn a_newer_minor_version_is_negotiated_and_its_key_is_longer() {
    let server = Server::start().await;
    let mut raw = Raw(TcpStream::connect(server.address).await.unwrap());
    raw.send(&startup(7, b"user\0root\0_pq_.novelty\0on\0")).await;
    let answers = raw.answers().await;
    assert_eq!(answers[0].0, 'v');
    assert!(text(&answers[0].1).ends_with("_pq_.novelty|"));
    let key = answers.iter().find(|(kind, _)| *kind == 'K').unwrap();
    assert_eq!(key.1.len(), 4 + 32);
}

#[tokio::test]
async fn nonsense_ends_a_connection_and_nothing_else() {
    let server = Server::start().await;
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0; 64],
        vec![0xff; 64],
        startup(0, b"user"),
        startup(0, b"user\0root\0database\0"),
        vec![0, 0, 0, 9, 0, 2, 0, 0, 0],
    ] {
        let mut raw = Raw(TcpStream::connect(server.address).await.unwrap());
        raw.send(&bytes).await;
        raw.0.shutdown().await.unwrap();
        raw.0.read_to_end(&mut Vec::new()).await.ok();
    }
    let mut raw = open(&server).await;
    raw.send(&message(b'?', b"")).await;
    let answers = raw.answers().await;
    assert!(text(&answers[0].1).contains("FATAL"), "{answers:?}");
    let mut raw = open(&server).await;
    raw.send(&[b'Q', 0xff, 0xff, 0xff, 0xff]).await;
    assert!(text(&raw.answers().await[0].1).contains("invalid message length"));
    open(&server).await;
}

#[tokio::test]
async fn encryption_is_refused_without_a_certificate() {
    let server = Server::start().await;
    let mut raw = Raw(TcpStream::connect(server.address).await.unwrap());
    for code in [80_877_104_u32, 80_877_103] {
        raw.send(&[&8_u32.to_be_bytes()[..], &code.to_be_bytes()].concat()).await;
        assert_eq!(raw.0.read_u8().await.unwrap(), b'N');
    }
    raw.send(&startup(0, b"user\0root\0")).await;
    assert!(raw.kinds().await.ends_with('Z'));
}

#[tokio::test]
async fn a_session_can_be_encrypted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests");
    let tls = Tls { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
    let tls = Some(Arc::new(Certificate::load(tls).unwrap()));
    let config = Config { tls, ..Config::default() };
    let server = Server::start_with(TestDatabase::new().await, config).await;
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(folder.join("certificate.pem")).unwrap();
    for certificate in rustls_pemfile::certs(&mut pem.as_slice()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let mut client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = || ServerName::try_from("localhost").unwrap();

    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = [&8_u32.to_be_bytes()[..], &80_877_103_u32.to_be_bytes()].concat();
    stream.write_all(&request).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'S');
    let connector = TlsConnector::from(Arc::new(client.clone()));
    let mut raw = Raw(connector.connect(name(), stream).await.unwrap());
    raw.send(&startup(0, b"user\0root\0")).await;
    assert!(raw.kinds().await.ends_with('Z'));

    client.alpn_protocols = vec![b"postgresql".to_vec()];
    let stream = TcpStream::connect(server.address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let mut raw = Raw(connector.connect(name(), stream).await.unwrap());
    raw.send(&startup(0, b"user\0root\0")).await;
    assert!(raw.kinds().await.ends_with('Z'));
    raw.send(&message(b'Q', b"SELECT 1\0")).await;
    assert_eq!(raw.kinds().await, "TDCZ");
}

#[tokio::test]
async fn bytes_sent_in_plain_before_encryption_are_not_taken_for_encrypted_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests");
    let tls = Tls { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
    let tls = Some(Arc::new(Certificate::load(tls).unwrap()));
    let config = Config { tls, ..Config::default() };
    let server = Server::start_with(TestDatabase::new().await, config).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut bytes = [&8_u32.to_be_bytes()[..], &80_877_103_u32.to_be_bytes()].concat();
    bytes.extend(startup(0, b"user\0root\0"));
    stream.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    assert!(answer.len() <= 1, "{answer:?}");
}

/// What a server says to a client that does not know the password, and the salt that it gave.
async fn refused(server: &Server, user: &str) -> (Vec<String>, String) {
    let mut raw = Raw(TcpStream::connect(server.address).await.unwrap());
    raw.send(&startup(0, format!("user\0{user}\0").as_bytes())).await;
    let mut said = vec![text(&raw.receive().await.unwrap().1)];
    let first = b"n,,n=,r=0123456789";
    let mut body = b"SCRAM-SHA-256\0".to_vec();
    body.put_u32(u32::try_from(first.len()).unwrap());
    body.extend_from_slice(first);
    raw.send(&message(b'p', &body)).await;
    let (_, challenge) = raw.receive().await.unwrap();
    let challenge = String::from_utf8(challenge[4..].to_vec()).unwrap();
    let parts: Vec<&str> = challenge.split(',').collect();
    let [nonce, salt, iterations] = parts[..] else { panic!("{challenge}") };
    said.push(format!("{} {iterations} {}", &nonce[..12], salt.len()));
    let last = format!("c=biws,{nonce},p={}", "A".repeat(43) + "=");
    raw.send(&message(b'p', last.as_bytes())).await;
    for (kind, body) in raw.answers().await {
        said.push(format!("{kind} {}", text(&body).replace(user, "USER")));
    }
    (said, salt.to_owned())
}

#[tokio::test]
async fn an_unknown_name_is_answered_as_a_wrong_password_is_message_by_message() {
    let mut database = TestDatabase::new().await;
    database.password = Some("x".to_owned());
    let server = Server::start_with(database, Config::default()).await;
    let (wrong, _) = refused(&server, "root").await;
    let (unknown, salt) = refused(&server, "nobody").await;
    assert_eq!(wrong, unknown);
    assert!(wrong.last().unwrap().contains("28P01"), "{wrong:?}");
    // A name that nobody has keeps its salt, as a user does.
    assert_eq!(refused(&server, "nobody").await.1, salt);
    assert_ne!(refused(&server, "nobodyelse").await.1, salt);
}

#[tokio::test]
async fn a_client_that_says_too_much_before_it_is_in_is_sent_away() {
    let mut database = TestDatabase::new().await;
    database.password = Some("x".to_owned());
    let server = Server::start_with(database, Config::default()).await;
    let mut raw = Raw(TcpStream::connect(server.address).await.unwrap());
    raw.send(&startup(0, b"user\0root\0")).await;
    raw.receive().await.unwrap();
    raw.send(&[b'p', 0, 1, 0, 0]).await;
    assert!(raw.receive().await.is_none(), "a message of 64 kB is not read");
    let mut raw = Raw(TcpStream::connect(server.address).await.unwrap());
    raw.send(&startup(0, b"user\0root\0")).await;
    raw.receive().await.unwrap();
    raw.send(&message(b'Q', b"SELECT 1\0")).await;
    let answers = raw.answers().await;
    assert!(text(&answers[0].1).contains("expected a SASL response"), "{answers:?}");
}
