//! What every answer and every request of the HTTP API has in common for safety's sake. There is no CORS: pages of other
//! origins can neither read answers nor send changes. Refuses cross-site changes and, on loopback, foreign host names.

use std::net::SocketAddr;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

use crate::error::ApiError;
use crate::web::CONTENT_SECURITY_POLICY;

/// Which `Host` names are answered.
#[derive(Debug, Clone)]
pub(crate) struct HostPolicy {
    /// A page elsewhere can point its own name at 127.0.0.1 and read what is there (DNS rebinding); so as long as only
    /// this machine is served, only this machine's names and the configured ones are.
    pub(crate) loopback_only: bool,
    pub(crate) allowed: Vec<String>,
}

impl HostPolicy {
    /// That of a listener.
    pub(crate) fn of(listen: SocketAddr, allowed: &[String]) -> HostPolicy {
        HostPolicy {
            loopback_only: listen.ip().is_loopback(),
            allowed: allowed.to_vec(),
        }
    }

    fn admits(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        if !self.loopback_only {
            return true;
        }
        let named = headers.get(header::HOST).and_then(|value| value.to_str().ok());
        // HTTP/2 carries the name in the request line. A client without any name is no browser.
        let Some(named) = named.or_else(|| uri.authority().map(|authority| authority.as_str())) else {
            return true;
        };
        let host = without_port(named);
        host.eq_ignore_ascii_case("localhost")
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
            || self.allowed.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

fn without_port(named: &str) -> &str {
    match named.rfind(':') {
        Some(colon) if !named.ends_with(']') => &named[..colon],
        _ => named,
    }
}

/// Checks the request, then sets the headers every answer carries.
pub(crate) async fn protect(State(policy): State<HostPolicy>, request: Request, next: Next) -> Response {
    let mut response = match refusal(&policy, &request) {
        Some(error) => error.into_response(),
        None => next.run(request).await,
    };
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    if is_page {
        set(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
        set(header::X_FRAME_OPTIONS, "DENY");
        set(
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        );
    } else {
        // Answers hold telemetry of a tenant: no cache between us and the reader may keep them.
        set(header::CACHE_CONTROL, "no-store");
    }
    response
}

fn refusal(policy: &HostPolicy, request: &Request) -> Option<ApiError> {
    if !policy.admits(request.uri(), request.headers()) {
        let error = ApiError::new(
            StatusCode::MISDIRECTED_REQUEST,
            "host_not_allowed",
            "this host name is not served",
        );
        return Some(error.with_hint("use localhost or 127.0.0.1, or add the name to api.allowed_hosts"));
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let site = request
        .headers()
        .get("sec-fetch-site")
        .and_then(|value| value.to_str().ok());
    if !reads && matches!(site, Some("cross-site" | "same-site")) {
        return Some(ApiError::new(
            StatusCode::FORBIDDEN,
            "cross_site",
            "changes are not accepted from pages of other origins",
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_loopback_only_its_own_names_are_served() {
        let policy = HostPolicy {
            loopback_only: true,
            allowed: vec!["cupola.test".to_owned()],
        };
        let check = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
            policy.admits(&Uri::from_static("/"), &headers)
        };
        for host in [
            "localhost:4300",
            "127.0.0.1:4300",
            "[::1]:4300",
            "[::1]",
            "LOCALHOST",
            "cupola.test:1",
        ] {
            assert!(check(host), "{host}");
        }
        for host in ["evil.example", "evil.example:4300", "localhost.evil.example", ""] {
            assert!(!check(host), "{host}");
        }
        let open = HostPolicy {
            loopback_only: false,
            allowed: Vec::new(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("anything"));
        assert!(open.admits(&Uri::from_static("/"), &headers));
    }
}
