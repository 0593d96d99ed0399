//! Telling secrets from other text by the names of their keys and by the shape of their values, where no type says so.
//! Guesses on the safe side: what may be a secret is one.

use std::ops::Range;

use crate::secret::MASK;

/// Words within a key (in small letters, without `-`, `_` and `.`) that make its value a secret.
const SECRET_WORDS: &[&str] = &[
    "password",
    "passwd",
    "pasword",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "accountkey",
    "encryptionkey",
    "signingkey",
    "sharedkey",
    "licensekey",
    "instrumentationkey",
    "connectionstring",
    "credential",
    "authorization",
    "bearer",
    "cookie",
    "keypem",
    "signature",
    "htpasswd",
    "sasl_jaas",
];

/// Whole keys that hold a secret.
const SECRET_KEYS: &[&str] = &["auth", "pass", "pwd", "dsn", "inline", "xapikey", "jaas"];

/// Endings of keys that name a secret's place, its kind or its lifetime and not the secret itself.
const HARMLESS_ENDINGS: &[&str] = &[
    "file",
    "path",
    "url",
    "uri",
    "ttl",
    "type",
    "name",
    "interval",
    "timeout",
    "expiry",
    "endpoint",
    "header",
    "length",
    "enabled",
    "cachesize",
    "count",
    "scheme",
    "prefix",
    "attribute",
    "cookies",
];

/// Whether a key of this name holds a secret, as far as a name can tell.
pub fn is_secret_name(key: &str) -> bool {
    let plain: String = key
        .chars()
        .filter(|character| character.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    if SECRET_KEYS.contains(&plain.as_str()) {
        return true;
    }
    SECRET_WORDS.iter().any(|word| plain.contains(word))
        && !HARMLESS_ENDINGS.iter().any(|ending| plain.ends_with(ending))
}

/// Keys whose values below are headers, or something like them, which hold a secret more often than not.
const HEADERS: &[&str] = &["headers", "record_headers", "params", "endpoint_params"];

/// Keys of a list of headers that do not have their values.
const ABOUT_HEADERS: &[&str] = &[
    "key",
    "name",
    "action",
    "from_context",
    "from_attribute",
    "value_file",
];

/// Whether what is at this path, where `*` is an item of a list, is the value of a header.
pub(crate) fn is_of_headers(path: &[&str]) -> bool {
    let is_headers = |step: &&str| HEADERS.iter().any(|name| step.eq_ignore_ascii_case(name));
    let Some(position) = path.iter().position(is_headers) else {
        return false;
    };
    match &path[position + 1..] {
        [] => false,
        ["*", .., key] => !ABOUT_HEADERS.contains(key),
        _ => true,
    }
}

/// Where in `text` the user information of URLs stands, and values that follow the name of a secret and a `=`. In bytes.
pub(crate) fn spots(text: &str) -> Vec<Range<usize>> {
    let mut spots = user_information(text);
    let mut from = 0;
    while let Some(sign) = text[from..].find('=').map(|position| position + from) {
        from = sign + 1;
        let ends = |character: char| character.is_whitespace() || "{[,(&?;\"'".contains(character);
        let name = text[..sign].rsplit(ends).next().unwrap_or_default();
        let value = &text[from..];
        let end = value
            .find(|character: char| character.is_whitespace() || "&;,\"'".contains(character))
            .unwrap_or(value.len());
        if end > 0 && !value.starts_with('=') && is_secret_name(name) {
            spots.push(from..from + end);
        }
    }
    spots
}

/// Where in `text` the user information of URLs stands: the password, or all of it where there is but one part.
fn user_information(text: &str) -> Vec<Range<usize>> {
    let mut spots = Vec::new();
    let mut from = 0;
    while let Some(position) = text[from..].find("://") {
        let begin = from + position + 3;
        let after = &text[begin..];
        let end = after
            .find(|character: char| character.is_whitespace() || "/?#\"'`,<>".contains(character))
            .unwrap_or(after.len());
        // A password may hold what ends an authority; the last `@` before white space then ends the user information.
        let wide = after.find(char::is_whitespace).unwrap_or(after.len());
        let at = after[..end].rfind('@').or_else(|| {
            after[..end]
                .contains(':')
                .then(|| after[..wide].rfind('@'))
                .flatten()
        });
        from = begin;
        if let Some(at) = at {
            // A lone user may be a token: `https://ghp_xyz@host`.
            let secret = after[..at].find(':').map_or(0, |colon| colon + 1);
            spots.push(begin + secret..begin + at);
            from = begin + at;
        }
    }
    spots
}

/// `text` with the user information of each URL in it masked, or `None` if there is none.
pub fn urls(text: &str) -> Option<String> {
    let (mut shown, mut at) = (String::new(), 0);
    for spot in user_information(text) {
        shown.push_str(&text[at..spot.start]);
        shown.push_str(MASK);
        at = spot.end;
    }
    shown.push_str(&text[at..]);
    (shown != text).then_some(shown)
}

/// Whether a step of a dotted path names a secret, or headers, which hold one more often than not.
pub fn is_secret_path(path: &str) -> bool {
    path.split(['.', '[']).any(is_secret_name) || is_headers_path(path)
}

/// Whether a dotted path is that of a header, or of all of them.
pub(crate) fn is_headers_path(path: &str) -> bool {
    let steps = path.split(['.', '[']);
    let mut steps: Vec<&str> = steps
        .map(|step| if step.ends_with(']') { "*" } else { step })
        .collect();
    let whole = steps.last().is_some_and(|step| HEADERS.contains(step));
    if whole {
        steps.push("");
    }
    is_of_headers(&steps)
}

/// A line of a YAML file of which only the key is shown.
pub(crate) fn key_only(text: &str) -> String {
    let indent = text.len() - text.trim_start().len();
    match text.split_once(':') {
        Some((key, value)) if value.trim().is_empty() => format!("{key}:"),
        // A flow mapping may have another secret before the key.
        Some((key, _)) if !key.contains(['{', '[']) => format!("{key}: {MASK}"),
        _ => format!("{}{MASK}", &text[..indent]),
    }
}

/// A line of a YAML file with what follows each secret key masked, to the end of the line: the value may hold anything.
pub fn line(text: &str) -> String {
    let mut from = 0;
    while let Some(colon) = text[from..].find([':', '=']).map(|position| position + from) {
        let name = text[..colon]
            .rsplit(|character: char| character.is_whitespace() || "{[,(&?;".contains(character))
            .next()
            .unwrap_or_default();
        from = colon + 1;
        let said = !text[from..].trim().is_empty();
        let name = name.trim_matches(['"', '\'']);
        if said && (is_secret_name(name) || HEADERS.contains(&name)) {
            return format!("{} {MASK}", &text[..from]);
        }
    }
    urls(text).unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in [
            "password",
            "api_key",
            "X-Api-Key",
            "Authorization",
            "client_secret",
            "bearer_token",
            "sasl.password",
            "aws_secret_access_key",
            "key_pem",
            "dsn",
            "connection_string",
            "Proxy-Authorization",
            "Cookie",
            "auth",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "endpoint",
            "key_file",
            "token_url",
            "password_file",
            "keys",
            "key",
            "metric_expiration",
            "username",
            "token_type",
            "keepalive",
            "cert_file",
            "group_by_keys",
            "from_attribute",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn user_information_of_urls_is_masked() {
        let masked = |text| urls(text).unwrap();
        assert_eq!(
            masked("postgres://me:pw@db:5432/x"),
            "postgres://me:[REDACTED]@db:5432/x"
        );
        assert_eq!(
            masked("https://tok@host a://b:c@d"),
            "https://[REDACTED]@host a://b:[REDACTED]@d"
        );
        assert!(!masked("https://me:p/w?x@host/").contains("p/w?x"));
        assert_eq!(urls("http://host:1/path"), None);
        assert_eq!(urls("me@host"), None);
    }
}
