//! Who may ask over HTTP. For figures: anybody on the same machine, from elsewhere users with their passwords (basic
//! authentication, against the same users as SQL). Failed attempts are slowed down as those of SQL are.
//!
//! For SQL: who could run it over the wire from the same place. Without a password that is `root`, on the same machine,
//! while the rules and the lack of a password let root in.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millrace_pg::session::{Authentication, Login};

use crate::http::{Web, called_by_address, refusal};
use crate::shared::Shared;

/// Who asks without a name.
const ROOT: &str = "root";

/// Lets a request through, or asks for a password.
pub(crate) async fn check(
    State(web): State<Arc<Web>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let address = peer.ip().to_canonical();
    if is_open(&web.shared, address) {
        return next.run(request).await;
    }
    let Some((user, password)) = credentials(request.headers()) else { return unauthorized() };
    match proved(&web.shared, address, user, password).await {
        Ok(()) => next.run(request).await,
        Err(response) => response,
    }
}

/// Says whose statements the request runs, or asks for a password.
pub(crate) async fn user(
    State(web): State<Arc<Web>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = peer.ip().to_canonical();
    match login(&web.shared, address, request.headers()).await {
        Ok(login) => {
            request.extensions_mut().insert(login);
            next.run(request).await
        }
        Err(response) => response,
    }
}

async fn login(shared: &Arc<Shared>, peer: IpAddr, headers: &HeaderMap) -> Result<Login, Response> {
    let (user, password) = match credentials(headers) {
        Some((user, password)) => (user, Some(password)),
        None => (ROOT.to_owned(), None),
    };
    let login = Login {
        user,
        database: "dev".to_owned(),
        peer,
        encrypted: false,
        options: vec![("application_name".to_owned(), "http".to_owned())],
    };
    let asked = shared.guard.authentication(&shared.catalog(), &login, shared.clock.now());
    if let Authentication::Reject(report) = asked {
        shared.guard.attempts.count_refused();
        return Err(refusal(&report.message));
    }
    let trusted = matches!(asked, Authentication::Trust) && is_open(shared, peer);
    match password {
        Some(password) if !trusted => proved(shared, peer, login.user.clone(), password).await?,
        None if !trusted => return Err(unauthorized()),
        _ if !called_by_address(headers) => {
            return Err(refusal(
                "without a password the server answers to its address or to localhost alone; \
                 give the user a password (ALTER USER root PASSWORD '...') to use other names",
            ));
        }
        _ => {}
    }
    Ok(login)
}

/// True if nobody there is asked for a password.
fn is_open(shared: &Shared, peer: IpAddr) -> bool {
    peer.is_loopback() || shared.config.insecure
}

/// Checks a password.
async fn proved(
    shared: &Arc<Shared>,
    address: IpAddr,
    user: String,
    password: String,
) -> Result<(), Response> {
    let attempts = &shared.guard.attempts;
    if attempts.turn(address, &user).await.is_err() {
        attempts.count_refused();
        return Err(StatusCode::TOO_MANY_REQUESTS.into_response());
    }
    let (asked, name) = (Arc::clone(shared), user.clone());
    let accepts =
        move || asked.guard.accepts(&asked.catalog(), &name, &password, asked.clock.now());
    // Hashing takes a while.
    if tokio::task::spawn_blocking(accepts).await.unwrap_or(false) {
        attempts.succeeded(address, &user);
        return Ok(());
    }
    attempts.failed(address, &user);
    attempts.count_refused();
    let user: String = user.chars().take(64).collect();
    tracing::warn!(?user, %address, "login over HTTP failed");
    Err(unauthorized())
}

/// User and password of a request.
fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, coded) = value.split_once(' ')?;
    let coded = scheme.eq_ignore_ascii_case("basic").then_some(coded.trim())?;
    let text = String::from_utf8(STANDARD.decode(coded).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn unauthorized() -> Response {
    let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"millrace\", charset=\"UTF-8\"")];
    (StatusCode::UNAUTHORIZED, challenge, "a user and a password, please\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_from_basic_authentication_alone() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            credentials(&headers)
        };
        let pair = Some(("ann".to_owned(), "a:b".to_owned()));
        assert_eq!(read("Basic YW5uOmE6Yg=="), pair);
        assert_eq!(read("basic YW5uOmE6Yg=="), pair);
        for other in ["Bearer YW5uOmE6Yg==", "Basic", "Basic !", "Basic YW5u"] {
            assert_eq!(read(other), None, "{other}");
        }
        assert_eq!(credentials(&HeaderMap::new()), None);
    }
}
