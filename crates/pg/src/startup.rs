//! From an accepted socket to an open session: encryption, startup packet, authentication.
//!
//! Invariants: 1. nothing that came before TLS is read after it; 2. a name that may not come in and
//! a wrong password take the same steps and give the same answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use millrace_types::{Report, SqlState};
use pgwire::messages::ProtocolVersion;
use pgwire::messages::startup as message;
use pgwire::tokio::server::MaybeTls;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::connection::Key;
use crate::failure::Failure;
use crate::frontend::Body;
use crate::listener::Shared;
use crate::report::{self, Severity};
use crate::scram::{self, Binding, Exchange, Refused, Verifier};
use crate::session::{Authentication, Login, Session};
use crate::wire::Wire;

/// The protocol name of TLS connections that begin without an SSLRequest.
pub(crate) const ALPN: &[u8] = b"postgresql";

const PACKET_BYTES_MAX: usize = 10_000;
const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;
/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;
const DEFAULT_DATABASE: &str = "dev";

/// A client with an open session.
pub(crate) struct Started {
    pub(crate) wire: Wire,
    pub(crate) session: Box<dyn Session>,
    pub(crate) login: Login,
    pub(crate) key: Key,
    /// Its place among the sessions.
    pub(crate) permit: OwnedSemaphorePermit,
    /// The longest message that it may send.
    pub(crate) message_bytes_max: usize,
}

/// A client that has shown who it is.
struct Entrant {
    login: Login,
    version: ProtocolVersion,
    permit: OwnedSemaphorePermit,
}

/// Opens a session; None if the client wanted something else or was sent away.
pub(crate) async fn start(
    stream: TcpStream,
    peer: SocketAddr,
    shared: &Shared,
    timeout: Duration,
) -> io::Result<Option<Started>> {
    let entering = async {
        let Some((mut wire, packet)) = negotiate(stream, shared).await? else { return Ok(None) };
        let entrant = admit(&mut wire, packet, peer, shared).await;
        io::Result::Ok(Some((wire, entrant)))
    };
    let Ok(entered) = tokio::time::timeout(timeout, entering).await else {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "startup took too long"));
    };
    let Some((mut wire, entrant)) = entered? else { return Ok(None) };
    let opened = match entrant {
        Ok(Entrant { login, version, permit }) => match shared.database.open(login.clone()).await {
            Ok(session) => Ok((session, login, version, permit)),
            Err(report) => Err(Failure::Session(report)),
        },
        Err(failure) => Err(failure),
    };
    match opened {
        Ok((mut session, login, version, permit)) => {
            let key = shared.keys.register(peer, version);
            session.known_as(key.process(), key.ender().clone());
            let message_bytes_max = shared.message_bytes_max;
            Ok(Some(Started { wire, session, login, key, permit, message_bytes_max }))
        }
        Err(Failure::Connection(error)) => Err(error),
        Err(Failure::Session(report) | Failure::Statement(report)) => {
            // Who is not let in has a line of its own.
            if !report.code.code().starts_with("28") {
                tracing::info!(%peer, %report, "a connection ended before it was a session");
            }
            wire.put(&report::error(Severity::Fatal, &report, 0))?;
            wire.close().await?;
            Ok(None)
        }
    }
}

/// Settles encryption; gives the startup packet, or None after a cancel request.
async fn negotiate(stream: TcpStream, shared: &Shared) -> io::Result<Option<(Wire, Bytes)>> {
    attend_stream(&stream, None)?;
    let mut first = [0];
    let direct = stream.peek(&mut first).await? == 1 && first[0] == TLS_HANDSHAKE;
    let mut wire = Wire::new(MaybeTls::Plain(stream));
    let mut encrypted = false;
    if direct {
        wire = encrypt(wire, shared, true).await?;
        encrypted = true;
    }
    loop {
        let Some(packet) = wire.startup_frame(PACKET_BYTES_MAX).await? else { return Ok(None) };
        let mut body = Body(packet.clone());
        match body.i32().unwrap_or_default() {
            SSL_REQUEST if shared.tls.is_some() && !encrypted => {
                wire.outgoing().put_u8(b'S');
                wire.flush().await?;
                wire = encrypt(wire, shared, false).await?;
                encrypted = true;
            }
            SSL_REQUEST | GSS_REQUEST => {
                wire.outgoing().put_u8(b'N');
                wire.flush().await?;
            }
            CANCEL_REQUEST => {
                if let Ok(process) = body.i32() {
                    shared.keys.cancel(process, &body.0);
                }
                return Ok(None);
            }
            _ => return Ok(Some((wire, packet))),
        }
    }
}

/// Sets what every connection of a client has: small answers leave at once, and one whose machine is gone is noticed,
/// also while it takes nothing if `untaken` says after which time.
///
/// # Errors
/// The connection is gone already.
pub fn attend_stream(stream: &TcpStream, untaken: Option<Duration>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive())?;
    #[cfg(target_os = "linux")]
    if untaken.is_some() {
        socket.set_tcp_user_timeout(untaken)?;
    }
    Ok(())
}

/// A client whose machine is gone says nothing: after two minutes its session and its locks end.
fn keepalive() -> TcpKeepalive {
    let (idle, between) = (Duration::from_secs(60), Duration::from_secs(10));
    TcpKeepalive::new().with_time(idle).with_interval(between).with_retries(6)
}

async fn encrypt(wire: Wire, shared: &Shared, direct: bool) -> io::Result<Wire> {
    let refused = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason.to_owned());
    let tls = shared.tls.as_ref().ok_or_else(|| refused("TLS is not configured"))?;
    let acceptor = tls.acceptor();
    let Some(MaybeTls::Plain(stream)) = wire.into_stream() else {
        return Err(refused("received unencrypted data after SSL request"));
    };
    let stream = acceptor.tls.accept(stream).await?;
    if direct && stream.get_ref().1.alpn_protocol() != Some(ALPN) {
        return Err(refused("direct TLS connection without ALPN"));
    }
    Ok(Wire::new(MaybeTls::Tls(Box::new(stream))).with_endpoint(acceptor.endpoint))
}

/// Reads the startup packet and has the client prove who it is.
async fn admit(
    wire: &mut Wire,
    packet: Bytes,
    peer: SocketAddr,
    shared: &Shared,
) -> Result<Entrant, Failure> {
    let (version, mut login) = read_startup(wire, packet, peer)?;
    login.encrypted = wire.is_encrypted();
    authenticate(wire, &login, shared).await?;
    let permit = Arc::clone(&shared.sessions).try_acquire_owned().map_err(|_| {
        let message = "sorry, too many clients already";
        Failure::Session(Report::new(SqlState::TOO_MANY_CONNECTIONS, message))
    })?;
    wire.put(&message::Authentication::Ok)?;
    Ok(Entrant { login, version, permit })
}

/// Has the client prove what the database asks for. Who fails is logged and counted, and waits the next time.
async fn authenticate(wire: &mut Wire, login: &Login, shared: &Shared) -> Result<(), Failure> {
    let failed = |report: Report| {
        shared.attempts.count_refused();
        tracing::warn!(user = ?clipped(&login.user), address = %login.peer, %report, "login failed");
        Err(Failure::Session(report))
    };
    let (verifier, known) = match shared.database.authentication(login) {
        Authentication::Trust => return Ok(()),
        Authentication::Reject(report) => return failed(report),
        Authentication::Password(verifier) => (*verifier, true),
        Authentication::Nobody(verifier) => (*verifier, false),
    };
    if shared.attempts.turn(login.peer, &login.user).await.is_err() {
        let message = "too many failed logins of this user from this address";
        let report = Report::new(SqlState::INVALID_AUTHORIZATION, message);
        return failed(report.hint("Wait a few seconds."));
    }
    match scram(wire, verifier, known).await? {
        true => {
            shared.attempts.succeeded(login.peer, &login.user);
            Ok(())
        }
        false => {
            shared.attempts.failed(login.peer, &login.user);
            let message = format!("password authentication failed for user \"{}\"", login.user);
            failed(Report::new(SqlState::INVALID_PASSWORD, message))
        }
    }
}

/// A name as it goes into the log: who writes it may write anything.
fn clipped(user: &str) -> String {
    user.chars().take(64).collect()
}

fn read_startup(
    wire: &mut Wire,
    packet: Bytes,
    peer: SocketAddr,
) -> Result<(ProtocolVersion, Login), Failure> {
    let mut body = Body(packet);
    let code = body.i32().map_err(Failure::Session)?;
    let (major, minor) = (code >> 16, code & 0xffff);
    if major != 3 {
        let message =
            format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2");
        return Err(Failure::Session(Report::new(SqlState::FEATURE_NOT_SUPPORTED, message)));
    }
    let mut options = Vec::new();
    loop {
        let name = body.text().map_err(Failure::Session)?;
        if name.is_empty() {
            break;
        }
        options.push((name, body.text().map_err(Failure::Session)?));
    }
    let version = match minor {
        0 => ProtocolVersion::PROTOCOL3_0,
        _ => ProtocolVersion::PROTOCOL3_2,
    };
    let unknown: Vec<String> = options
        .iter()
        .filter(|(name, _)| name.starts_with("_pq_."))
        .map(|(name, _)| name.clone())
        .collect();
    if !matches!(minor, 0 | 2) || !unknown.is_empty() {
        wire.put(&message::NegotiateProtocolVersion::new(i32::from(version), unknown))?;
    }
    let login = login(options, peer)?;
    Ok((version, login))
}

fn login(mut options: Vec<(String, String)>, peer: SocketAddr) -> Result<Login, Failure> {
    let mut take = |name: &str| {
        let at = options.iter().position(|(key, _)| key == name)?;
        Some(options.swap_remove(at).1).filter(|value| !value.is_empty())
    };
    let Some(user) = take("user") else {
        let message = "no PostgreSQL user name specified in startup packet";
        return Err(Failure::Session(Report::new(SqlState::INVALID_AUTHORIZATION, message)));
    };
    // libpq sends the user's name where the person named no database.
    let database = take("database").filter(|database| *database != user);
    if take("replication").is_some_and(|value| !matches!(value.as_str(), "false" | "off" | "0")) {
        return Err(Failure::Session(Report::unsupported("streaming replication")));
    }
    Ok(Login {
        user,
        database: database.unwrap_or_else(|| DEFAULT_DATABASE.to_owned()),
        peer: peer.ip().to_canonical(),
        encrypted: false,
        options,
    })
}

/// SCRAM-SHA-256: true if the client knows the password; of a name that is not `known` nobody does.
async fn scram(wire: &mut Wire, verifier: Verifier, known: bool) -> Result<bool, Failure> {
    let endpoint = wire.endpoint();
    let bound = endpoint.as_ref().map(|_| scram::METHOD_BOUND.to_owned());
    let methods = bound.into_iter().chain([scram::METHOD.to_owned()]).collect();
    wire.put(&message::Authentication::SASL(methods))?;
    let mut first = Body(answer(wire).await?);
    let method = first.text().map_err(Failure::Session)?;
    let binding = match (method.as_str(), endpoint.as_deref()) {
        (scram::METHOD_BOUND, Some(endpoint)) => Binding::To(endpoint),
        (scram::METHOD, Some(_)) => Binding::Declined,
        (scram::METHOD, None) => Binding::NotOffered,
        _ => {
            let message = "client selected an invalid SASL authentication mechanism";
            return Err(Failure::protocol(message));
        }
    };
    let first = first.value().map_err(Failure::Session)?.unwrap_or_default();
    let malformed = || Failure::protocol("malformed SCRAM message");
    let nonce = scram::nonce().map_err(io::Error::other)?;
    let (exchange, reply) =
        Exchange::begin(verifier, &first, &nonce, binding).map_err(|_| malformed())?;
    wire.put(&message::Authentication::SASLContinue(reply.into_bytes().into()))?;
    let last = answer(wire).await?;
    match exchange.finish(&last) {
        Ok(proven) if known => {
            wire.put(&message::Authentication::SASLFinal(proven.into_bytes().into()))?;
            Ok(true)
        }
        Ok(_) | Err(Refused::Wrong) => Ok(false),
        Err(Refused::Malformed) => Err(malformed()),
    }
}

/// The client's next authentication message.
async fn answer(wire: &mut Wire) -> Result<Bytes, Failure> {
    wire.flush().await?;
    match wire.frame(PACKET_BYTES_MAX).await? {
        Some(frame) if frame.kind == b'p' => Ok(frame.body),
        Some(_) => Err(Failure::protocol("expected a SASL response")),
        None => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[(&str, &str)]) -> Result<Login, Failure> {
        let owned = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        login(owned, "127.0.0.1:9".parse().unwrap())
    }

    #[test]
    fn a_database_named_like_the_user_is_an_unnamed_one() {
        assert_eq!(parse(&[("user", "root")]).unwrap().database, "dev");
        assert_eq!(parse(&[("user", "root"), ("database", "root")]).unwrap().database, "dev");
        assert_eq!(parse(&[("user", "root"), ("database", "x")]).unwrap().database, "x");
    }

    #[test]
    fn a_client_must_name_a_user() {
        assert!(matches!(parse(&[("database", "dev")]), Err(Failure::Session(_))));
    }
}
