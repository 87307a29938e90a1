//! What keeps the page of another site from running SQL here, in the browser of somebody who may.
//!
//! A browser sends requests of any page to any address, loopback too. It says from where they come: `Sec-Fetch-Site`
//! and `Origin` must name this very place, and a body must be JSON, which no form sends. No answer allows another
//! origin to read it. A page whose name was made to point here (DNS rebinding) is of the same origin to the browser;
//! its `Host` betrays it: who shows no password must have called the server by its address or as `localhost`.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// What a page of the console may load and do: its own files and requests, nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Sent with every answer.
const HEADERS: [(&str, &str); 5] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Adds what every answer says.
pub(super) async fn with_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Refuses what comes from another site.
pub(super) async fn same_site(request: Request, next: Next) -> Response {
    match foreign(request.method(), request.uri().path(), request.headers()) {
        None => next.run(request).await,
        Some(why) => refusal(why),
    }
}

pub(crate) fn refusal(why: &str) -> Response {
    (StatusCode::FORBIDDEN, format!("{why}\n")).into_response()
}

/// Why a request is not of the console or a program, but of another page.
fn foreign(method: &Method, path: &str, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    // Links lead to the page alone; a frame of another page must not begin a subscription.
    let is_page = method == Method::GET && path == "/";
    let follows_a_link = is_page && text("sec-fetch-mode") == Some("navigate");
    let from_here = matches!(text("sec-fetch-site"), None | Some("same-origin" | "none"));
    if !from_here && !follows_a_link {
        return Some("the request comes from a page of another site");
    }
    let host = text("host").unwrap_or_default();
    let here = |origin: &str| {
        let place = origin.strip_prefix("http://").or(origin.strip_prefix("https://"));
        place.is_some_and(|place| place.eq_ignore_ascii_case(host))
    };
    if text("origin").is_some_and(|origin| !here(origin)) {
        return Some("the request comes from a page of another origin");
    }
    let json = text("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    (method == Method::POST && !json).then_some("the body of a request must be application/json")
}

/// True if the server was called by its address, or by a name that always means the same machine.
pub(crate) fn called_by_address(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    let name = name.unwrap_or_default().to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (name.parse().unwrap(), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_a_page_from_here_and_programs_may_ask() {
        let json = ("content-type", "application/json");
        let host = ("host", "127.0.0.1:4568");
        let post = |more: &[(&'static str, &'static str)]| {
            foreign(&Method::POST, "/api/sql", &headers(&[&[json, host], more].concat())).is_none()
        };
        assert!(post(&[]));
        assert!(post(&[("origin", "http://127.0.0.1:4568"), ("sec-fetch-site", "same-origin")]));
        assert!(!post(&[("origin", "http://127.0.0.1:8080")]));
        assert!(!post(&[("origin", "null")]));
        assert!(!post(&[("origin", "http://evil.example")]));
        assert!(!post(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")]));
        assert!(!post(&[("sec-fetch-site", "same-site")]));
        let form = headers(&[("content-type", "text/plain"), host]);
        assert!(foreign(&Method::POST, "/api/sql", &form).is_some());
        let link =
            headers(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), host]);
        assert!(foreign(&Method::GET, "/", &link).is_none());
        assert!(foreign(&Method::GET, "/api/subscribe", &link).is_some());
        let image =
            headers(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), host]);
        assert!(foreign(&Method::GET, "/", &image).is_some());
    }

    #[test]
    fn names_that_could_point_anywhere_are_no_addresses() {
        let called = |host: &'static str| called_by_address(&headers(&[("host", host)]));
        for host in
            ["127.0.0.1:4568", "[::1]:4568", "10.0.0.7", "localhost:1", "LOCALHOST", "a.localhost"]
        {
            assert!(called(host), "{host}");
        }
        for host in ["evil.example:4568", "localhost.evil.example", "", "127.0.0.1.evil.example"] {
            assert!(!called(host), "{host}");
        }
        assert!(!called_by_address(&HeaderMap::new()));
    }
}
