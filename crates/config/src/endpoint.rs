//! Where something listens.

use std::net::SocketAddr;

use crate::leaf;

/// A socket address; a bare port is one of this machine only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint(pub SocketAddr);

impl Endpoint {
    /// A port of this machine only.
    pub fn loopback(port: u16) -> Self {
        Self(SocketAddr::from(([127, 0, 0, 1], port)))
    }
}

impl std::str::FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
            return Ok(Endpoint::loopback(port));
        }
        let numeric = text
            .strip_prefix("localhost:")
            .map(|port| format!("127.0.0.1:{port}"));
        numeric
            .as_deref()
            .unwrap_or(text)
            .parse()
            .map(Endpoint)
            .map_err(|_| {
                format!("`{text}` is not an address; write for example 127.0.0.1:4317, [::1]:4317 or 4317")
            })
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

leaf::deserialize_leaf!(Endpoint: leaf::ENDPOINT, typed: true;);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_alone_are_of_this_machine() {
        for text in ["4317", ":4317", "localhost:4317", " 127.0.0.1:4317 "] {
            assert_eq!(text.parse(), Ok(Endpoint::loopback(4317)), "{text}");
        }
        for text in ["", "::1", "70000", "otel:4317", "localhost"] {
            let problem = text.parse::<Endpoint>().unwrap_err();
            assert!(problem.contains("write for example"), "{text}: {problem}");
        }
    }
}
