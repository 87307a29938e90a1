//! The console's files: compressed in the binary, served as they are, under names that change with their content.

use std::io::Read;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;

use super::assets::ASSETS;

/// What a browser may keep of a file whose name changes with its content.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The page; asked for anew each time, it names the files that belong together.
pub(super) async fn index(headers: HeaderMap) -> Response {
    given("index.html", "no-cache", &headers)
}

pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match name.as_str() {
        "index.html" => StatusCode::NOT_FOUND.into_response(),
        name => given(name, FOR_EVER, &headers),
    }
}

/// The icon is in the page; this is for browsers that ask nevertheless.
pub(super) async fn icon() -> StatusCode {
    StatusCode::NO_CONTENT
}

fn given(name: &str, keep: &'static str, headers: &HeaderMap) -> Response {
    let Some((_, bytes)) = ASSETS.iter().find(|(found, _)| *found == name) else {
        return (StatusCode::NOT_FOUND, "there is no such file\n").into_response();
    };
    let head = [
        (header::CONTENT_TYPE, kind(name)),
        (header::CACHE_CONTROL, keep),
        (header::VARY, "accept-encoding"),
    ];
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    if accepted.is_some_and(|accepted| accepted.contains("gzip")) {
        return (head, [(header::CONTENT_ENCODING, "gzip")], *bytes).into_response();
    }
    let mut plain = Vec::new();
    match GzDecoder::new(*bytes).read_to_end(&mut plain) {
        Ok(_) => (head, plain).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}
