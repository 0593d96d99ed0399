//! OTLP destinations as variables and files describe them: endpoints as the specification has them, which become the base of a
//! URL where that says the same, so that signals of one destination share it.
//!
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/#endpoint-urls-for-otlphttp>

use std::time::Duration;

use cupola_config::mask;
use cupola_export::otlp::{Compression, OtlpConfig, Protocol};
use cupola_export::retry::RetryConfig;
use cupola_telemetry::Signal;

use crate::backend::{Backend, Destination};

pub(super) const GRPC_DEFAULT: &str = "http://localhost:4317";
pub(super) const HTTP_DEFAULT: &str = "http://localhost:4318";
/// Of one attempt.
pub(super) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// The default endpoint of a protocol.
pub(super) fn default_endpoint(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Grpc => GRPC_DEFAULT,
        Protocol::HttpProtobuf | Protocol::HttpJson => HTTP_DEFAULT,
    }
}

/// A destination with the defaults of the specification. The queue around it repeats, so that it does not itself.
pub(super) fn config(protocol: Protocol) -> OtlpConfig {
    OtlpConfig {
        compression: Compression::None,
        timeout: TIMEOUT_DEFAULT,
        retry: RetryConfig::disabled(),
        tenant_header: false,
        ..OtlpConfig::new(protocol, default_endpoint(protocol))
    }
}

pub(super) fn backend(config: OtlpConfig) -> Backend {
    let timeout = config.timeout;
    let mut backend = Backend::new("otlp", Destination::Otlp(config));
    backend.delivery.timeout = timeout;
    backend
}

/// The path that a signal has over HTTP.
pub(super) fn path(signal: Signal) -> &'static str {
    match signal {
        Signal::Logs => "/v1/logs",
        Signal::Metrics => "/v1/metrics",
        Signal::Traces => "/v1/traces",
    }
}

/// Sets where to. `of` is the signal whose whole URL it is; without one it is the base for all.
pub(super) fn set_endpoint(
    config: &mut OtlpConfig,
    text: &str,
    of: Option<Signal>,
    is_insecure: bool,
) -> Result<(), String> {
    if config.protocol == Protocol::Grpc {
        config.endpoint = grpc_endpoint(text, is_insecure)?;
        return Ok(());
    }
    let url = checked(text)?;
    let Some(signal) = of else {
        if url.contains(['?', '#']) {
            return Err(format!(
                "`{}` has a query, which only the URL of one signal can have",
                mask::urls(url).unwrap_or_else(|| url.to_owned())
            ));
        }
        config.endpoint = url.trim_end_matches('/').to_owned();
        return Ok(());
    };
    match url.strip_suffix(path(signal)) {
        Some(base) if is_url(base) => {
            config.endpoint = base.to_owned();
            config.signal_endpoints[signal as usize] = None;
        }
        _ => {
            // What is without a path has that of the root.
            let is_bare = !url.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
            config.endpoint = origin(url).to_owned();
            config.signal_endpoints[signal as usize] = Some(match is_bare {
                true => format!("{url}/"),
                false => url.to_owned(),
            });
        }
    }
    Ok(())
}

/// Whether the URL of one signal has no path, which is hardly what was meant.
pub(super) fn lacks_path(config: &OtlpConfig, signal: Signal) -> bool {
    config.signal_endpoints[signal as usize]
        .as_deref()
        .and_then(|url| url.split_once("://"))
        .is_some_and(|(_, rest)| rest.ends_with('/') && rest.matches('/').count() == 1)
}

fn grpc_endpoint(text: &str, is_insecure: bool) -> Result<String, String> {
    if text.contains("://") && !text.starts_with("dns://") {
        return checked(text).map(|url| url.trim_end_matches('/').to_owned());
    }
    let address = text.strip_prefix("dns:///").unwrap_or(text);
    let scheme = if is_insecure { "http" } else { "https" };
    let url = format!("{scheme}://{address}");
    checked(&url).map(str::to_owned).map_err(|_| problem(text))
}

fn checked(text: &str) -> Result<&str, String> {
    match is_url(text) {
        true => Ok(text),
        false => Err(problem(text)),
    }
}

fn problem(text: &str) -> String {
    let shown = mask::urls(text).unwrap_or_else(|| text.to_owned());
    format!("`{shown}` is no URL of a server; write for example http://localhost:4318")
}

/// Whether it is `http://` or `https://` with a host and, if there is one, a port.
fn is_url(text: &str) -> bool {
    let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    let rest = match (lower.starts_with("https://"), lower.starts_with("http://")) {
        (true, _) => &text[8..],
        (_, true) => &text[7..],
        _ => return false,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (server, None),
    };
    let is_plain = !text
        .chars()
        .any(|character| character.is_whitespace() || character.is_control());
    !host.is_empty() && is_plain && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// A URL up to its path.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| start + at);
    &url[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(text: &str, of: Option<Signal>) -> Result<(String, Option<String>), String> {
        let mut config = config(Protocol::HttpProtobuf);
        set_endpoint(&mut config, text, of, false)?;
        let own = of.and_then(|signal| config.signal_endpoints[signal as usize].clone());
        Ok((config.endpoint, own))
    }

    #[test]
    fn endpoints_are_bases_for_all_and_whole_urls_for_one() {
        let base = |text: &str| (text.to_owned(), None);
        assert_eq!(http("http://c:4318/", None), Ok(base("http://c:4318")));
        assert_eq!(http("https://c/otlp", None), Ok(base("https://c/otlp")));
        assert_eq!(
            http("http://c:4318/v1/traces", Some(Signal::Traces)),
            Ok(base("http://c:4318"))
        );
        assert_eq!(
            http("http://c:4318/v1/logs", Some(Signal::Traces)),
            Ok((
                "http://c:4318".to_owned(),
                Some("http://c:4318/v1/logs".to_owned())
            ))
        );
        assert_eq!(
            http("http://c:4318", Some(Signal::Logs)),
            Ok(("http://c:4318".to_owned(), Some("http://c:4318/".to_owned())))
        );
        for wrong in [
            "localhost:4318",
            "ftp://c",
            "http://",
            "http://:1",
            "http://c:port",
            "http://a b",
            "http://c:0",
        ] {
            assert!(http(wrong, None).is_err(), "{wrong}");
        }
        assert!(http("http://c/?x=1", None).is_err());
    }

    #[test]
    fn over_grpc_an_address_is_with_tls_unless_it_is_said_not_to_be() {
        for (text, insecure, expected) in [
            ("c:4317", false, "https://c:4317"),
            ("c:4317", true, "http://c:4317"),
            ("dns:///c:4317", true, "http://c:4317"),
            ("http://c:4317/", false, "http://c:4317"),
            ("https://[::1]:4317", true, "https://[::1]:4317"),
        ] {
            let mut config = config(Protocol::Grpc);
            assert_eq!(set_endpoint(&mut config, text, None, insecure), Ok(()));
            assert_eq!(config.endpoint, expected);
        }
        assert!(set_endpoint(&mut config(Protocol::Grpc), "unix:///run/c", None, true).is_err());
    }
}
