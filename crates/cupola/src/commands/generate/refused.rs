//! What kept an endpoint from taking a batch, as far as its words tell, and what can be done about it. Owns the headers that
//! OpenTelemetry's environment variable names. Guesses nothing: a reason that is not known has the most general hint.

use cupola_config::Secret;

use crate::failure::Failure;

const HEADERS_VARIABLE: &str = "OTEL_EXPORTER_OTLP_HEADERS";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The certificate is of nobody who is trusted.
    NotTrusted,
    /// The certificate is made out for another name.
    OtherName,
    /// The server wants to see a certificate.
    CertificateWanted,
    NoTls,
    Unauthenticated,
    Forbidden,
    RateLimit,
    Timeout,
    TooLarge,
    /// Somebody answers, who does not know OTLP there.
    NotThere,
    Unreachable,
    /// Without a word, as servers end connections that are not what they expect.
    Closed,
    Unknown,
}

/// Words of reasons, of rustls, HTTP and gRPC, in the order in which they count.
const WORDS: [(Refused, &[&str]); 12] = [
    (
        Refused::CertificateWanted,
        &["CertificateRequired", "certificate required", "HandshakeFailure"],
    ),
    (
        Refused::OtherName,
        &["NotValidForName", "not valid for name", "not valid for any names"],
    ),
    (Refused::NotTrusted, &["invalid peer certificate", "UnknownCA"]),
    (
        Refused::NoTls,
        &["InvalidContentType", "corrupt message", "unexpected message"],
    ),
    (Refused::Unauthenticated, &["401 ", "Unauthenticated"]),
    (Refused::Forbidden, &["403 ", "PermissionDenied"]),
    (Refused::RateLimit, &["429 ", "ResourceExhausted"]),
    (Refused::TooLarge, &["413 ", "OutOfRange"]),
    (Refused::NotThere, &["404 ", "405 ", "415 ", "Unimplemented"]),
    (
        Refused::Timeout,
        &["no answer within", "DeadlineExceeded", "timed out", "504 "],
    ),
    (
        Refused::Unreachable,
        &[
            "Connection refused",
            "connection refused",
            "unreachable",
            "dns error",
        ],
    ),
    (
        Refused::Closed,
        &[
            "connection closed",
            "Connection reset",
            "connection reset",
            "Broken pipe",
            "broken pipe",
        ],
    ),
];

impl Refused {
    pub(super) fn of(reason: &str) -> Refused {
        let known = WORDS
            .into_iter()
            .find(|(_, words)| words.iter().any(|word| reason.contains(word)));
        known.map_or(Refused::Unknown, |(refused, _)| refused)
    }

    /// Whether waiting does not mend it.
    pub(super) fn is_lasting(self) -> bool {
        matches!(
            self,
            Refused::NotTrusted
                | Refused::OtherName
                | Refused::CertificateWanted
                | Refused::NoTls
                | Refused::Closed
        )
    }

    pub(super) fn failure(self, reason: &str) -> Failure {
        Failure::new("the endpoint did not take a batch")
            .cause(reason)
            .hint(self.hint())
    }

    fn hint(self) -> &'static str {
        match self {
            Refused::NotTrusted => {
                "name the authority that signed the server's certificate with --ca-file FILE"
            }
            Refused::OtherName => "the server's certificate is for another name: use that name in --endpoint",
            Refused::CertificateWanted => {
                "the server asks for a client's certificate: give --cert-file FILE and --key-file FILE, of an authority that it trusts"
            }
            Refused::NoTls => "the server does not speak TLS there: write http:// in --endpoint",
            Refused::Unauthenticated => {
                "the server asks for credentials: give --header 'Authorization=Bearer TOKEN', --token-file FILE, or \
                 --header 'Authorization=Basic …'"
            }
            Refused::Forbidden => {
                "the credentials are not allowed to send there: look at --header and --token-file"
            }
            Refused::RateLimit => "the server takes no more for now: send less with --rate or --batch",
            Refused::TooLarge => {
                "the request is larger than the server takes: send fewer items in one with --batch"
            }
            Refused::NotThere => {
                "no OTLP is taken there with this protocol: look at --protocol, and at port and path of --endpoint"
            }
            Refused::Timeout => "the server took too long: is it overloaded? --rate and --batch send less",
            Refused::Unreachable => "is a server listening there?",
            Refused::Closed => {
                "the server closed the connection: does it take this --protocol there, does --endpoint begin with https:// if and \
                 only if it speaks TLS, and does it ask for a client's certificate (--cert-file, --key-file)?"
            }
            Refused::Unknown => {
                "does an OTLP receiver listen there, for this --protocol, and with TLS if and only if --endpoint begins with https://?"
            }
        }
    }
}

/// `name=value,…`, values with `%XX` for what cannot stand there.
/// <https://opentelemetry.io/docs/specs/otel/protocol/exporter/#specifying-headers-via-environment-variables>
pub(super) fn headers_of_environment() -> Result<Vec<(String, Secret)>, Failure> {
    match std::env::var(HEADERS_VARIABLE) {
        Ok(text) => headers(&text),
        Err(std::env::VarError::NotPresent) => Ok(Vec::new()),
        Err(error) => Err(Failure::usage(format!("{HEADERS_VARIABLE} cannot be read")).caused_by(&error)),
    }
}

fn headers(text: &str) -> Result<Vec<(String, Secret)>, Failure> {
    let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
    let read = |member: &str| {
        let (name, value) = member.split_once('=')?;
        let value = percent_decoded(value.trim())?;
        (!name.trim().is_empty()).then(|| (name.trim().to_owned(), Secret::new(value)))
    };
    // Which one is wrong is not said: it may be a secret.
    let headers: Option<Vec<_>> = members.map(read).collect();
    headers.ok_or_else(|| {
        Failure::usage(format!("{HEADERS_VARIABLE} is not a list of headers"))
            .hint("write name=value,other=value, with %XX for commas and the like")
    })
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits)
            .ok()
            .filter(|two| !two.starts_with('+'))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_fit_what_the_endpoint_said() {
        for (reason, expected) in [
            (
                "client error (Connect): invalid peer certificate: UnknownIssuer",
                Refused::NotTrusted,
            ),
            (
                "invalid peer certificate: certificate not valid for name \"localhost\"; certificate is only valid for a",
                Refused::OtherName,
            ),
            (
                "received fatal alert: CertificateRequired",
                Refused::CertificateWanted,
            ),
            (
                "received corrupt message of type InvalidContentType",
                Refused::NoTls,
            ),
            (
                "401 Unauthorized: credentials are missing or wrong",
                Refused::Unauthenticated,
            ),
            (
                "Unauthenticated: credentials are missing or wrong",
                Refused::Unauthenticated,
            ),
            ("429 Too Many Requests", Refused::RateLimit),
            ("no answer within 10s", Refused::Timeout),
            ("404 Not Found", Refused::NotThere),
            (
                "tcp connect error: Connection refused (os error 111)",
                Refused::Unreachable,
            ),
            ("connection closed before message completed", Refused::Closed),
            ("something else", Refused::Unknown),
        ] {
            assert_eq!(Refused::of(reason), expected, "{reason}");
        }
    }

    #[test]
    fn headers_are_read_as_the_specification_writes_them() {
        let read = headers("Authorization=Basic%20dTpw, x-a = b=c ,,y=%C3%BC%2C").unwrap();
        let shown: Vec<(&str, &str)> = read
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose()))
            .collect();
        assert_eq!(
            shown,
            [("Authorization", "Basic dTpw"), ("x-a", "b=c"), ("y", "ü,")]
        );
        for wrong in ["token", "=a", "a=%2", "a=%zz", "a=%+1", "a=%ff"] {
            let failure = headers(wrong).unwrap_err();
            assert!(!failure.to_string().contains(wrong));
        }
    }
}
