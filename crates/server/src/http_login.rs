//! Who may ask over HTTP: anybody on the same machine, from elsewhere users with their passwords (basic
//! authentication, against the same users as SQL). Failed attempts are slowed down as those of SQL are.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::shared::Shared;

/// Lets a request through, or asks for a password.
pub(crate) async fn check(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let address = peer.ip().to_canonical();
    if address.is_loopback() || shared.config.insecure {
        return next.run(request).await;
    }
    let Some((user, password)) = credentials(request.headers()) else { return unauthorized() };
    let attempts = &shared.guard.attempts;
    if attempts.turn(address, &user).await.is_err() {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    }
    let (asked, name) = (Arc::clone(&shared), user.clone());
    let accepts =
        move || asked.guard.accepts(&asked.catalog(), &name, &password, asked.clock.now());
    // Hashing takes a while.
    if tokio::task::spawn_blocking(accepts).await.unwrap_or(false) {
        attempts.succeeded(address, &user);
        return next.run(request).await;
    }
    attempts.failed(address, &user);
    let user: String = user.chars().take(64).collect();
    tracing::warn!(?user, %address, "login over HTTP failed");
    unauthorized()
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
