//! Cross-origin requests: who may send from a browser. Owns the answers to preflights and the headers on
//! all others. Off unless configured; the wildcard is never sent together with credentials.
//!
//! <https://fetch.spec.whatwg.org/#http-cors-protocol>

use ::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use ::http::{Method, Response, StatusCode};

use super::config::CorsConfig;
use crate::receivers::http::refusal::{Refusal, quote};
use crate::receivers::http::response::ResponseBody;

/// What OTLP needs beyond the headers a browser sends anyway.
const HEADERS_ALWAYS: &str = "content-type, content-encoding, x-scope-orgid";

pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Answers the question whether a page may send. [`allow`] adds the origin, as on every answer.
pub(super) fn preflight(
    cors: Option<&CorsConfig>,
    headers: &HeaderMap,
) -> Result<Response<ResponseBody>, Refusal> {
    let origin = headers
        .get(ORIGIN)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let Some(cors) = cors.filter(|cors| cors.allows(origin)) else {
        return Err(Refusal::Origin(quote(origin)));
    };
    let mut answer = Response::new(ResponseBody::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    let mut allowed = HEADERS_ALWAYS.to_owned();
    for name in &cors.allowed_headers {
        allowed.push_str(", ");
        allowed.push_str(name);
    }
    if let Ok(allowed) = HeaderValue::try_from(allowed) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    if let Some(max_age) = cors.max_age {
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(max_age.as_secs()));
    }
    Ok(answer)
}

/// Lets the page of an allowed origin read an answer.
pub(super) fn allow(cors: &CorsConfig, origin: &HeaderValue, headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("origin"));
    if !origin.to_str().is_ok_and(|origin| cors.allows(origin)) {
        return;
    }
    let everyone = cors.allowed_origins.iter().any(|pattern| pattern == "*");
    if everyone && !cors.allow_credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    } else {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    if cors.allow_credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("retry-after"),
    );
}

impl CorsConfig {
    fn allows(&self, origin: &str) -> bool {
        self.allowed_origins
            .iter()
            .any(|pattern| matches(pattern, origin))
    }
}

/// Whether an origin is what a pattern with at most one `*` describes. Schemes and hosts know no case.
fn matches(pattern: &str, origin: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern.eq_ignore_ascii_case(origin);
    };
    let (before, after) = (before.to_ascii_lowercase(), after.to_ascii_lowercase());
    let origin = origin.to_ascii_lowercase();
    origin.len() >= before.len() + after.len() && origin.starts_with(&before) && origin.ends_with(&after)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_pattern_allows_what_it_describes_and_nothing_else() {
        assert!(matches("*", "https://a.example"));
        assert!(matches("https://app.example", "https://APP.example"));
        assert!(matches("https://*.example", "https://app.example"));
        assert!(!matches("https://*.example", "https://example"));
        assert!(!matches("https://app.example", "https://app.example.evil"));
        assert!(!matches("https://a*a", "https://a"));
    }
}
