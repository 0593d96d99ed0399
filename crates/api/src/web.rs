//! The web interface, embedded in the binary from `web/dist`. Everything that is not an API answers from here.
//! Refuses paths that are not plain names under the folder; without a built interface it serves one page that says so.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use rust_embed::RustEmbed;

use crate::error::ApiError;

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Embedded;

/// A file of the interface.
pub(crate) struct Asset {
    pub(crate) bytes: Cow<'static, [u8]>,
    pub(crate) hash: [u8; 32],
}

/// Vite puts content-hashed names here, so they may be kept for ever.
const HASHED_FOLDER: &str = "assets/";
const INDEX: &str = "index.html";

/// Only our own files, no inline script or style, no framing, nothing from elsewhere.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

const MISSING_PAGE: &str = "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Cupola</title></head>\n<body>\n\
<h1>Cupola is running, without its web page</h1>\n\
<p>This binary was built without the web interface, because Node.js was not there or <code>CUPOLA_SKIP_WEB</code> was set. \
Everything else works: see the <a href=\"/api/v1/openapi.json\">API</a>, <code>cupola query</code> and <code>cupola tail</code>.</p>\n\
<p>To have the page, install Node.js 20.19 or newer with npm and build again: <code>cargo build --release</code>. \
Or build it by hand and then build again: <code>cd web &amp;&amp; npm ci &amp;&amp; npm run build</code>.</p>\n\
</body>\n</html>\n";

/// Fallback of the router.
pub(crate) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if uri.path() == "/api" || uri.path().starts_with("/api/") {
        return ApiError::not_found(format!("no such endpoint: {method} {}", uri.path()))
            .with_hint("the endpoints are listed at /api/v1/openapi.json")
            .into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "only GET is answered here",
        )
        .into_response();
    }
    respond(uri.path(), &headers, &embedded)
}

fn embedded(name: &str) -> Option<Asset> {
    let file = Embedded::get(name)?;
    Some(Asset {
        hash: file.metadata.sha256_hash(),
        bytes: file.data,
    })
}

fn respond(path: &str, headers: &HeaderMap, lookup: &dyn Fn(&str) -> Option<Asset>) -> Response {
    let name = path.trim_start_matches('/');
    if !is_plain(name) {
        return ApiError::not_found("no such page").into_response();
    }
    if !name.is_empty()
        && let Some(asset) = lookup(name)
    {
        return file(name, asset, headers);
    }
    // A view of the interface lives in the address; a name with an extension is a file that is not there.
    if name.rsplit('/').next().is_some_and(|last| last.contains('.')) {
        return ApiError::not_found("no such file").into_response();
    }
    match lookup(INDEX) {
        Some(asset) => file(INDEX, asset, headers),
        None => page(MISSING_PAGE),
    }
}

/// Plain names, no empty or dotted parts, nothing encoded: what a build emits, and nothing that climbs.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
    name.is_empty()
        || (name.bytes().all(plain)
            && name
                .trim_end_matches('/')
                .split('/')
                .all(|part| !part.is_empty() && !part.starts_with('.')))
}

fn file(name: &str, asset: Asset, headers: &HeaderMap) -> Response {
    let etag = format!("\"{}\"", hex::encode(&asset.hash[..16]));
    let caching = if name.starts_with(HASHED_FOLDER) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let unchanged = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|known| {
            known
                .split(',')
                .any(|tag| tag.trim().trim_start_matches("W/") == etag)
        });
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = Response::new(Body::from(asset.bytes.into_owned()));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(name)));
        response
    };
    let fields = response.headers_mut();
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        fields.insert(header::ETAG, etag);
    }
    response
}

fn page(text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    let fields = response.headers_mut();
    fields.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(name: &str) -> Option<Asset> {
        let text: &'static str = match name {
            "index.html" => "<html>",
            "assets/index-abc123.js" => "let a",
            _ => return None,
        };
        Some(Asset {
            bytes: Cow::Borrowed(text.as_bytes()),
            hash: [7; 32],
        })
    }

    fn check(path: &str, status: u16, content_type: Option<&str>, caching: Option<&str>) {
        let response = respond(path, &HeaderMap::new(), &built);
        let text = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(text(header::CONTENT_TYPE), content_type, "{path}");
        assert_eq!(text(header::CACHE_CONTROL), caching, "{path}");
    }

    #[test]
    fn files_views_and_what_is_not_there() {
        let html = Some("text/html; charset=utf-8");
        let json = Some("application/json");
        check("/", 200, html, Some("no-cache"));
        check("/traces/abc", 200, html, Some("no-cache"));
        let script = Some("text/javascript; charset=utf-8");
        check(
            "/assets/index-abc123.js",
            200,
            script,
            Some("public, max-age=31536000, immutable"),
        );
        check("/assets/gone.js", 404, json, None);
        check("/../Cargo.toml", 404, json, None);
        check("/assets/..%2f..%2fCargo.toml", 404, json, None);
        check("/.cupola-sources", 404, json, None);
        check("/a\\b", 404, json, None);
    }

    #[test]
    fn an_unchanged_file_is_not_sent_again() {
        let mut headers = HeaderMap::new();
        let etag = format!("\"{}\"", hex::encode([7; 16]));
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(&etag).unwrap());
        assert_eq!(respond("/", &headers, &built).status(), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn without_a_build_the_page_says_so() {
        let response = respond("/", &HeaderMap::new(), &|_| None);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    }
}
