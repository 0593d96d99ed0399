//! Claims of a JSON Web Token as baggage: who asks, and for which tenant.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Longest text that becomes baggage.
const VALUE_BYTES_MAX: usize = 256;

/// Which claims become which members of the baggage. The signature is **not** checked: to be used behind what has checked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    names: Vec<(String, String)>,
}

impl Claims {
    /// Of the bearer token of a request that somebody in front has verified: pairs of a claim and what it is called in the baggage.
    pub fn verified_by_a_gateway<'n>(names: impl IntoIterator<Item = (&'n str, &'n str)>) -> Claims {
        let names = names
            .into_iter()
            .map(|(claim, member)| (claim.to_owned(), member.to_owned()));
        Claims {
            names: names.collect(),
        }
    }

    /// Calls `with` with the name and the value of each member that the token brings.
    pub(super) fn each(&self, headers: &HeaderMap, mut with: impl FnMut(&str, &str)) {
        let Some(payload) = payload(headers) else {
            return;
        };
        for (claim, member) in &self.names {
            match payload.get(claim) {
                Some(serde_json::Value::String(text)) if text.len() <= VALUE_BYTES_MAX => with(member, text),
                Some(serde_json::Value::Number(number)) => with(member, &number.to_string()),
                _ => {}
            }
        }
    }
}

/// What the token says, whoever has signed it.
fn payload(headers: &HeaderMap) -> Option<serde_json::Map<String, serde_json::Value>> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let mut parts = token.trim().split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    let payload = BASE64_URL_SAFE_NO_PAD
        .decode(payload.trim_end_matches('='))
        .ok()?;
    serde_json::from_slice(&payload).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn members(header: &str) -> Vec<(String, String)> {
        let claims =
            Claims::verified_by_a_gateway([("sub", "user.id"), ("tenant", "tenant.id"), ("admin", "admin")]);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::try_from(header).unwrap());
        let mut found = Vec::new();
        claims.each(&headers, |name, value| {
            found.push((name.to_owned(), value.to_owned()))
        });
        found
    }

    #[test]
    fn texts_and_numbers_of_a_token_are_taken_and_nothing_of_what_is_none() {
        let payload = BASE64_URL_SAFE_NO_PAD.encode(r#"{"sub":"alice","tenant":7,"admin":true}"#);
        let found = members(&format!("Bearer e30.{payload}.c2ln"));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(found, [pair("user.id", "alice"), pair("tenant.id", "7")]);
        let long = BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"sub":"{}"}}"#, "x".repeat(1_000)));
        for none in [
            "Basic YTpi".to_owned(),
            "Bearer a.b".to_owned(),
            "Bearer a.!.c".to_owned(),
            "Bearer a.W10.c".to_owned(),
            format!("Bearer a.{long}.c"),
            format!("Bearer {}", "x".repeat(100_000)),
        ] {
            assert!(members(&none).is_empty(), "{none:.40}");
        }
    }
}
