//! Messages that are nearly right: to the decoders alone, and to a listener, which answers or closes and keeps serving.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use datafusion::common::ScalarValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use super::Server;
use super::database::TestDatabase;
use super::raw::{message, startup};
use crate::Config;
use crate::decode;
use crate::encode::{Column, Format};
use crate::frontend::{Request, is_known};
use crate::fuzz_run::{Random, fuzz, panics_of};
use crate::scram::{Binding, Exchange, Verifier};
use crate::types;
use crate::wire::Frame;
use millrace_types::input::Zone;

/// How long a listener may take to answer or close.
const PATIENCE: Duration = Duration::from_secs(30);

const THREADS: &str = "fuzz-listener";

/// Bodies that are right, by the type of their message.
const MESSAGES: &[(u8, &[u8])] = &[
    (b'Q', b"SELECT 1\0"),
    (b'Q', b"SELECT 1; SELECT nosuch; SELECT 2\0"),
    (b'Q', b"SET TimeZone = 'Asia/Tokyo'\0"),
    (b'Q', b"BEGIN\0"),
    (b'Q', b"HALF\0"),
    (b'Q', b"NOTE; SELECT x FROM (VALUES (1.5, 'a'), (NULL, NULL)) AS t(x, y)\0"),
    (b'Q', b"\0"),
    (b'P', b"\0SELECT $1::int, $2::text\0\0\x02\0\0\0\x17\0\0\0\x19"),
    (b'P', b"s\0SELECT 1\0\0\0"),
    (b'P', b"\0SELECT $1::timestamptz, $2::numeric, $3::float8\0\0\0"),
    (b'B', b"\0\0\0\x01\0\x01\0\x02\0\0\0\x04\0\0\0\x07\0\0\0\x02ab\0\x01\0\x01"),
    (b'B', b"p\0s\0\0\0\0\0\0\0"),
    (b'B', b"\0\0\0\0\0\x03\0\0\0\x0a2024-01-01\0\0\0\x041.50\xff\xff\xff\xff\0\0"),
    (b'D', b"Ss\0"),
    (b'D', b"P\0"),
    (b'E', b"\0\0\0\0\0"),
    (b'E', b"p\0\0\0\0\x01"),
    (b'C', b"Ss\0"),
    (b'H', b""),
    (b'S', b""),
    (b'd', b"1\tone\n"),
    (b'c', b""),
    (b'f', b"no more\0"),
    (b'F', b"\0\0\0\x01\0\0\0\0\0\0"),
    (b'p', b"SCRAM-SHA-256\0\0\0\0\x0cn,,n=,r=abcd"),
    (b'X', b""),
];

/// A message, mostly a right one.
fn request(random: &mut Random) -> (u8, Vec<u8>) {
    let (mut kind, body) = MESSAGES[random.below(MESSAGES.len())];
    let mut body = body.to_vec();
    if random.one_in(2) {
        random.damage(&mut body);
    }
    if random.one_in(20) {
        kind = random.byte();
    }
    (kind, body)
}

#[test]
fn damaged_messages_and_values_are_errors() {
    let ran = fuzz("wire decoder", |random| {
        let (kind, body) = request(random);
        let decoded = Request::decode(Frame { kind, body: Bytes::from(body), passed_over: false });
        assert!(decoded.is_err() || is_known(kind), "a message of type {kind}");
        let value = value(random);
        let oid = u32::from(random.byte()) + 1_000 * u32::from(random.byte() % 5);
        for format in [Format::Text, Format::Binary] {
            let wanted = types::hint(oid).unwrap_or(arrow::datatypes::DataType::Utf8);
            for oid in [oid, 25] {
                if let Ok(value) =
                    decode::parameter(Some(&value), format, (oid, &wanted), Zone::Utc)
                {
                    show(&value);
                }
            }
        }
        scram(random);
        decoded.is_ok()
    });
    assert!(ran.accepted > ran.inputs / 4, "nearly all is refused");
}

/// Writes a value that was taken: what comes in goes out again.
fn show(value: &ScalarValue) {
    let array = value.to_array().expect("an array of one");
    let Ok(column) = Column::new(&array, Zone::Utc) else { return };
    for format in [Format::Text, Format::Binary] {
        // Not every value has a form on the wire.
        drop(column.put(0, format, &mut BytesMut::new()));
    }
}

/// The bytes of a value that some type may have.
fn value(random: &mut Random) -> Vec<u8> {
    let good: &[&[u8]] = &[
        b"true",
        b"-123.456e7",
        b"2024-02-30 25:00:00+99",
        b"{1,NULL,\"a b\",{}}",
        b"{\"a\": [1, {\"b\": null}]}",
        b"1 year -2 mons 03:04:05.6",
        b"\\x00ff",
        b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        b"99999999999999999999999999999999999999999999999999999999999999999999999999999999",
        b"\0\x02\0\0\0\0\0\x02\0\x01\x13\x88",
        b"\0\0\0\x01\0\0\0\0\0\0\0\x17\0\0\0\x01\0\0\0\x01\0\0\0\x04\0\0\0\x07",
        b"\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"infinity",
    ];
    let mut value = random.pick(good).to_vec();
    if !random.one_in(6) {
        random.damage(&mut value);
    }
    value
}

fn scram(random: &mut Random) {
    let mut first = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO".to_vec();
    if random.one_in(2) {
        random.damage(&mut first);
    }
    let verifier = Verifier::mock(b"key", "user");
    let mut stored = verifier.to_string().into_bytes();
    random.damage(&mut stored);
    drop(Verifier::parse(&String::from_utf8_lossy(&stored)));
    let Ok((exchange, _)) = Exchange::begin(verifier, &first, "server", Binding::NotOffered) else {
        return;
    };
    let mut last = b"c=biws,r=rOprNGfwEbeRWgbNEkqOserver,\
                     p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        .to_vec();
    random.damage(&mut last);
    assert!(exchange.finish(&last).is_err(), "nobody has the password");
}

/// What a client sends from the first byte on; true if all its lengths are right, so that its good bye is read.
fn stream(random: &mut Random) -> (Vec<u8>, bool) {
    let (mut sent, mut whole_ones) = (Vec::new(), true);
    if random.one_in(10) {
        // An SSLRequest or a GSSENCRequest.
        sent.extend([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2e + random.byte() % 4]);
    }
    let mut first = startup(random.byte().into(), b"user\0root\0application_name\0fuzz\0");
    if random.one_in(4) {
        random.damage(&mut first);
        whole_ones = false;
    } else {
        first = startup(0, b"user\0root\0");
    }
    sent.extend(first);
    for _ in 0..random.below(10) {
        let (kind, body) = request(random);
        let mut whole = message(kind, &body);
        // Of most, the length is right.
        if random.one_in(20) {
            random.damage(&mut whole);
            whole_ones = false;
        }
        sent.extend(whole);
    }
    if random.one_in(2) {
        sent.extend(message(b'S', b""));
        sent.extend(message(b'Q', b"SELECT 1\0"));
    }
    sent.extend(message(b'X', b""));
    (sent, whole_ones)
}

/// Sends all of it and reads what comes until the listener closes. A client that closes its side ends what runs.
async fn answered(server: &Server, sent: &[u8], closing: bool) -> Vec<u8> {
    let talk = async {
        let mut stream = TcpStream::connect(server.address).await.expect("it listens");
        let (mut read, mut write) = stream.split();
        let mut answer = Vec::new();
        let send = async {
            // It may have closed already.
            drop(write.write_all(sent).await);
            if closing {
                drop(write.shutdown().await);
            }
        };
        // Closed before all was read ends in a reset.
        let (_, _) = tokio::join!(send, read.read_to_end(&mut answer));
        answer
    };
    tokio::time::timeout(PATIENCE, talk).await.expect("it answers or closes")
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).thread_name(THREADS).enable_all().build().expect("a runtime")
}

#[test]
fn a_listener_answers_or_closes_and_keeps_serving() {
    let panicked = panics_of(THREADS);
    let runtime = runtime();
    let (open, locked) = runtime.block_on(async {
        let mut locked = TestDatabase::new().await;
        locked.password = Some("secret".to_owned());
        (Server::start().await, Server::start_with(locked, Config::default()).await)
    });
    let good = [startup(0, b"user\0root\0"), message(b'Q', b"SELECT 1\0"), message(b'X', b"")];
    let good = good.concat();
    let ran = fuzz("listener", |random| {
        let server = if random.one_in(40) { &locked } else { &open };
        let (sent, whole_ones) = stream(random);
        let answer = runtime.block_on(answered(server, &sent, !whole_ones));
        if random.one_in(8) {
            let answer = runtime.block_on(answered(&open, &good, false));
            assert!(answer.ends_with(b"SELECT 1\0Z\0\0\0\x05I"), "{:?}", text(&answer));
        }
        assert!(!panicked.load(Ordering::SeqCst), "it panicked: {:?}", text(&sent));
        !answer.is_empty()
    });
    assert!(ran.accepted > ran.inputs / 4, "nearly all is refused");
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
